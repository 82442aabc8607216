"""What messages about kernel machines and scikit-learn's Gaussian processes say to type, typed."""

import numpy as np
import pytest
from remedies import remedy
from sklearn.gaussian_process import GaussianProcessClassifier, GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
from sklearn.kernel_ridge import KernelRidge
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.svm import SVC, SVR

import memorymaps as mm
from memorymaps.models import support_vectors
from memorymaps.models.kernels.gram_posterior import GramConditional

RNG = np.random.default_rng(0)
N = 40
X = RNG.normal(size=(N, 3))
Y = X @ [1.0, -0.5, 0.2] + 0.3 * RNG.normal(size=N)
BITS = (Y + RNG.normal(size=N) > 0).astype(int)
WEIGHT = RNG.uniform(0.5, 2.0, N)


def svr(**settings):
    return SVR(**{"tol": 1e-9, **settings})


def svc(**settings):
    return SVC(**{"tol": 1e-9, **settings})


def process(**settings):
    return GaussianProcessRegressor(**{"kernel": RBF(), "alpha": 0.1, "optimizer": None, **settings})


def is_mapped(model, *data, **settings):
    m = mm.memory_map(model, *data, **settings)
    assert np.all(np.isfinite(m["leverage"]))
    assert m["leverage"].sum() > 0.5


@remedy("penalty: the fit had alpha = …. Set alpha back, or fit again")
def test_kernel_ridge_with_another_alpha(said):
    model = KernelRidge(alpha=1.0, kernel="rbf").fit(X, Y)
    model.alpha = 0.1
    with said:
        mm.memory_map(model, X, Y)
    assert "alpha = 1." in said.text
    model.alpha = 1.0
    is_mapped(model, X, Y)
    is_mapped(model.set_params(alpha=0.1).fit(X, Y), X, Y)


@remedy("targets. Pass those of the fit, row by row", at="models/kernels/fit_checks.py")
def test_a_process_with_other_targets(said):
    with said:
        mm.memory_map(process().fit(X, Y), X, Y[::-1])
    is_mapped(process().fit(X, Y), X, Y)


@remedy("kernel_ or alpha were changed after the fit. Set them back, or fit again with them")
def test_a_process_with_another_alpha(said):
    model = process().fit(X, Y)
    model.alpha = 0.5
    with said:
        mm.memory_map(model, X, Y)
    model.alpha = 0.1
    is_mapped(model, X, Y)
    is_mapped(process(alpha=0.5).fit(X, Y), X, Y)


@remedy("Leave sample_weight out, or fit with it", at="models/kernels")
def test_kernel_ridge_with_weights_it_had_not(said):
    model = KernelRidge(alpha=1.0, kernel="rbf")
    with said:
        mm.memory_map(model.fit(X, Y), X, Y, sample_weight=WEIGHT)
    is_mapped(model, X, Y)
    is_mapped(model.fit(X, Y, WEIGHT), X, Y, sample_weight=WEIGHT)


@remedy("weights: the fit had a sample_weight. Pass it to memory_map, too")
def test_kernel_ridge_without_its_weights(said):
    model = KernelRidge(alpha=1.0, kernel="rbf").fit(X, Y, WEIGHT)
    with said:
        mm.memory_map(model, X, Y)
    is_mapped(model, X, Y, sample_weight=WEIGHT)


@remedy("Pass y and sample_weight exactly as to fit, or fit again")
def test_kernel_ridge_with_other_targets(said):
    model = KernelRidge(alpha=1.0, kernel="rbf").fit(X, Y)
    with said:
        mm.memory_map(model, X, Y[::-1])
    is_mapped(model, X, Y)
    is_mapped(model.fit(X, Y[::-1]), X, Y[::-1])


@remedy("Pass the rows of the fit, no others", at="models/kernels")
def test_a_machine_with_other_rows(said):
    model = svr().fit(X, Y)
    with said:
        mm.memory_map(model, X[:-1], Y[:-1])
    is_mapped(model, X, Y)


@remedy("Fit again with a smaller epsilon")
def test_a_machine_without_support_vectors(said):
    with said:
        mm.memory_map(svr(epsilon=10.0).fit(X, Y), X, Y)
    is_mapped(svr(epsilon=0.1).fit(X, Y), X, Y)


@remedy("support vectors have other classes now. Pass those of the fit")
def test_a_machine_with_other_classes(said):
    model = svc().fit(X, BITS)
    with said:
        mm.memory_map(model, X, 1 - BITS)
    is_mapped(model, X, BITS)


@remedy("Set C back, fit again…")
@remedy(", or pass the sample_weight of the fit to memory_map")
def test_a_machine_with_a_smaller_c(said):
    model = svc(C=1.0).fit(X, BITS)
    model.C = 0.1
    with said:
        mm.memory_map(model, X, BITS)
    model.C = 1.0
    is_mapped(model, X, BITS)
    is_mapped(svc(C=0.1).fit(X, BITS), X, BITS)
    is_mapped(svc().fit(X, BITS, 3 * WEIGHT), X, BITS, sample_weight=3 * WEIGHT)


@remedy("Set C back, or fit again")
def test_a_machine_with_a_larger_c(said):
    model = svc(C=1.0).fit(X, BITS)
    model.C = 100.0
    with said:
        mm.memory_map(model, X, BITS)
    model.C = 1.0
    is_mapped(model, X, BITS)
    is_mapped(svc(C=100.0).fit(X, BITS), X, BITS)


@remedy("the model's outputs have nothing to do with them. Pass those of the fit, row by row")
def test_a_machine_with_targets_of_others(said):
    model = svr().fit(X, 10 * Y)
    with said:
        mm.memory_map(model, X, 10 * RNG.normal(size=N))
    is_mapped(model, X, 10 * Y)


@remedy("and the intercept is not identified. Fit again with other hyperparameters")
@pytest.mark.parametrize("how", ["epsilon", "targets"])
def test_a_machine_without_curvature(said, how):
    with said:
        GramConditional.from_gram(rbf_kernel(X, X), np.zeros(N), intercept=True)
    is_mapped(*((svr(epsilon=0.01).fit(X, Y), X, Y) if how == "epsilon" else (svc().fit(X, BITS), X, BITS)))


@remedy("fit with one that is, such as kernel='rbf'")
@pytest.mark.filterwarnings("ignore:Singular matrix")
def test_a_kernel_that_is_none(said):
    def indefinite(a, b):
        return -3 * np.exp(-np.sum((a - b) ** 2))

    model = KernelRidge(alpha=1.0, kernel=indefinite).fit(X, Y)
    with said:
        mm.memory_map(model, X, Y)
    is_mapped(KernelRidge(alpha=1.0, kernel="rbf").fit(X, Y), X, Y)


@remedy("or with a larger alpha where only rounding makes it so")
def test_a_kernel_that_rounding_makes_indefinite(said):
    x = np.linspace(0, 1, N)[:, None]
    with said:
        GramConditional.from_gram(1e6 * rbf_kernel(x, x, gamma=0.1), np.full(N, 1e12))
    is_mapped(KernelRidge(alpha=1e-6, kernel="rbf", gamma=0.1).fit(x, x[:, 0]), x, x[:, 0])


LINE = np.sort(np.random.default_rng(1).uniform(0, 10, 30))[:, None]
SMOOTH = ConstantKernel(1e4) * RBF(3.0)


def is_exact(model):
    """Its map has no caution, and the deviation of a refit."""
    y, keep = np.sin(LINE[:, 0]), np.arange(30) != 3
    m = mm.memory_map(model.fit(LINE, y), LINE, y)
    assert not m.provenance.description.cautions
    assert m.trust["sensitivity"].level == "exact"
    change = model.fit(LINE[keep], y[keep]).predict(LINE[[3]]) - m["prediction"][3]
    assert m["deviation"][3] == pytest.approx(change[0], rel=1e-3)


@remedy("a larger alpha, or add a WhiteKernel")
@pytest.mark.parametrize("add", ["alpha", "white"])
def test_a_process_of_large_condition_number(said, add):
    y = np.sin(LINE[:, 0])
    said.reads(str(mm.memory_map(process(kernel=SMOOTH, alpha=1e-10).fit(LINE, y), LINE, y).summary()))
    noisy = {"kernel": SMOOTH, "alpha": 1e-4} if add == "alpha" else {"kernel": SMOOTH + WhiteKernel(1e-4), "alpha": 0}
    is_exact(process(**noisy))


@remedy("rounding may change the figures …. Fit with …")
def test_kernel_ridge_of_large_condition_number(said):
    model, y = KernelRidge(alpha=1e-14, kernel="rbf", gamma=1 / 18), np.sin(LINE[:, 0])
    said.reads(str(mm.memory_map(model.fit(LINE, y), LINE, y).summary()))
    assert said.text.rstrip().endswith("Fit with a larger alpha")
    is_exact(model.set_params(alpha=1e-8))


@remedy("Fit with the kernel as a function of two …, …(kernel=lambda a, b: ...)")
@pytest.mark.parametrize("kind", [SVR, KernelRidge])
def test_precomputed_kernels(said, kind):
    gram = rbf_kernel(X, X)
    with said:
        mm.memory_map(kind(kernel="precomputed").fit(gram, Y), gram, Y)
    of_rows, of_matrices = lambda a, b: np.exp(-np.sum((a - b) ** 2) / 3), lambda a, b: rbf_kernel(a, b, gamma=1 / 3)
    model = kind(kernel=of_rows if kind is KernelRidge else of_matrices)
    m, same = mm.memory_map(model.fit(X, Y), X, Y), mm.memory_map(kind(kernel="rbf", gamma=1 / 3).fit(X, Y), X, Y)
    np.testing.assert_allclose(m["leverage"], same["leverage"], rtol=1e-6)


@remedy("does not keep its training data: pass it, memory_map(model, X, y)", at="models/kernels/kernel_functions.py")
@remedy("is not fitted: call model.fit(X, y) before memory_map", at="models/kernels/kernel_functions.py")
@pytest.mark.parametrize("kind", [SVR, KernelRidge])
def test_kernel_models_without_fit_and_data(said, kind):
    model = kind()
    with said:
        mm.memory_map(model, X, Y)
    with said:
        mm.memory_map(model.fit(X, Y))
    is_mapped(model, X, Y)


@remedy("does not keep its training data: pass it, memory_map(model, X, y)", at="models/kernels/sklearn_gpc.py")
@remedy("is not fitted: call model.fit(X, y) before memory_map", at="models/kernels/sklearn_gpr.py")
@remedy("targets. Pass those of the fit, row by row", at="models/kernels/sklearn_gpc.py")
def test_process_classifiers(said):
    model = GaussianProcessClassifier(RBF(), optimizer=None)
    with said:
        mm.memory_map(model, X, BITS)
    with said:
        mm.memory_map(model.fit(X, BITS))
    with said:
        mm.memory_map(model, X, 1 - BITS)
    is_mapped(model, X, BITS)


@remedy("are fitted without sample_weight: leave it out", at="models/kernels/sklearn_gpr.py")
@remedy("keeps no targets in their original units: call memory_map(model, X, y)")
def test_process_regressors(said):
    model = process().fit(X, Y)
    with said:
        mm.memory_map(model)
    with said:
        mm.memory_map(model, X, Y, sample_weight=WEIGHT)
    is_mapped(model, X, Y)
    is_mapped(process(alpha=0.1 / WEIGHT).fit(X, Y), X, Y)


@remedy("the model was fitted on …. Pass the rows of the fit", at="models/kernels/sklearn_gpr.py")
def test_a_process_with_other_rows(said):
    model = process(alpha=0.1 / WEIGHT).fit(X, Y)
    with said:
        mm.memory_map(model, X[:-1], Y[:-1])
    is_mapped(model, X, Y)


@remedy("a noise variance is not positive: set alpha > 0 or add a WhiteKernel")
def test_a_process_without_noise(said):
    with said:
        mm.memory_map(process(alpha=0.0).fit(X, Y), X, Y)
    is_mapped(process(alpha=1e-6).fit(X, Y), X, Y)
    is_mapped(process(alpha=0.0, kernel=RBF() + WhiteKernel()).fit(X, Y), X, Y)


@remedy("kernel models have no offset: fit the residuals instead, and map with those targets")
def test_an_offset_of_a_kernel_model(said):
    offset = np.linspace(0, 3, N)
    with said:
        mm.memory_map(process().fit(X, Y), X, Y, offset=offset)
    is_mapped(process().fit(X, Y - offset), X, Y - offset)


@remedy("was fitted on: pass the training data, in its order")
def test_a_process_in_another_order(said):
    model = process().fit(X, Y)
    with said:
        mm.memory_map(model, X[::-1], Y[::-1])
    is_mapped(model, X, Y)


@remedy("support vectors need the map of an SVC or SVR, not loaded from disk: call memory_map(model, X, y) first")
def test_support_vectors_of_a_loaded_map(said, tmp_path):
    model = svc().fit(X, BITS)
    mm.memory_map(model, X, BITS).save(tmp_path / "m.parquet")
    with said:
        support_vectors(mm.load(tmp_path / "m.parquet"))
    assert np.count_nonzero(support_vectors(mm.memory_map(model, X, BITS)) != "none") == len(model.support_)
