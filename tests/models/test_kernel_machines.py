"""Kernel ridge exactly; support vector machines, robust and quantile regression against refitting."""

import os
import pathlib

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix
from scipy.stats import spearmanr
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.exceptions import NotFittedError
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import HuberRegressor, QuantileRegressor, SGDClassifier, SGDRegressor
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, SVR, LinearSVC, LinearSVR

from memorymaps import memory_map, refit
from memorymaps.models import smoothing
from memorymaps.models.kernels import kernel_functions
from memorymaps.models.kernels.gram_posterior import GramConditional
from memorymaps.models.kernels.sklearn_svm import support_vectors

FOLDER = os.environ.get("MEMORYMAPS_DATA") or None
needs_data = pytest.mark.skipif(FOLDER is None, reason="MEMORYMAPS_DATA is not set")


def cancer(n=150):
    X, y = load_breast_cancer(return_X_y=True)
    return StandardScaler().fit_transform(X)[:n], y[:n]


def diabetes(n=150):
    X, y = load_diabetes(return_X_y=True)
    return 20 * X[:n], y[:n] / 50


def without(model, X, y, i, **given):
    keep = np.arange(len(y)) != i
    return model.fit(X[keep], y[keep], **{name: value[keep] for name, value in given.items()})


def agreement(model, X, y, rows=30):
    """Slope, relative error and rank correlation of estimated and true changes of the example's output."""
    m = memory_map(model.fit(X, y), X, y)
    f = (model.decision_function if hasattr(model, "decision_function") else model.predict)(X)
    np.testing.assert_allclose(m["output"], f, atol=1e-9)
    rng = np.random.default_rng(0)
    chosen = np.union1d(
        np.argsort(-m["output_sensitivity"])[:rows], rng.choice(len(y), min(rows, len(y)), replace=False)
    )
    truth = []
    for i in chosen:
        left = without(model, X, y, i)
        truth.append((left.decision_function if hasattr(left, "decision_function") else left.predict)(X[[i]])[0] - f[i])
    truth, found = np.asarray(truth), m["deviation"][chosen]
    still = m["output_sensitivity"][chosen] == 0
    assert np.all(np.abs(truth[still]) < 1e-2 * np.abs(truth).max())
    return found @ truth / (truth @ truth), np.linalg.norm(found - truth) / np.linalg.norm(truth), spearmanr(
        np.abs(found), np.abs(truth)
    )[0]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("kernel", ["rbf", "linear", "poly"])
def test_kernel_ridge_equals_refitting(kernel):
    X, y = diabetes(60)
    weight = np.random.default_rng(1).uniform(0.5, 2, 60)
    make = KernelRidge(alpha=0.5, kernel=kernel, gamma=0.1)
    m = memory_map(make.fit(X, y, sample_weight=weight), X, y, sample_weight=weight)
    for i in range(60):
        left = without(KernelRidge(**make.get_params()), X, y, i, sample_weight=weight)
        assert m["loo_prediction"][i] == pytest.approx(left.predict(X[[i]])[0], abs=1e-8)
    group = [3, 8, 9]
    keep = np.delete(np.arange(60), group)
    left = KernelRidge(**make.get_params()).fit(X[keep], y[keep], sample_weight=weight[keep])
    truth = np.abs(left.predict(X) - make.predict(X))
    assert m.leave_out({"a": group})["sensitivity"][0] == pytest.approx(truth[group].sum(), abs=1e-8)
    assert m.leave_out({"a": group})["rest_sensitivity"][0] == pytest.approx(truth[keep].sum(), abs=1e-7)


SOLVER = {"max_iter": 200_000, "tol": 1e-7, "random_state": 0}
MACHINES = {
    "SVC": (SVC(C=1.0, tol=1e-7), cancer, 0.15, 0.25, 0.9),
    "SVC linear": (SVC(kernel="linear", C=0.1, tol=1e-7), cancer, 0.3, 0.5, 0.85),
    "LinearSVC": (LinearSVC(C=0.1, **SOLVER), cancer, 0.3, 0.5, 0.85),
    "SVR": (SVR(C=1.0, tol=1e-7), diabetes, 0.2, 0.3, 0.85),
    "LinearSVR": (
        LinearSVR(C=1.0, loss="squared_epsilon_insensitive", epsilon=0.2, **SOLVER), diabetes, 0.1, 0.1, 0.95,
    ),
    "Huber": (HuberRegressor(tol=1e-9, max_iter=9999), diabetes, 0.15, 0.2, 0.95),
    "quantile": (QuantileRegressor(quantile=0.5, alpha=0), diabetes, 0.4, 0.6, 0.5),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", list(MACHINES))
def test_sizes_and_ranks_agree_with_refitting(name):
    model, data, tilt, error, rank = MACHINES[name]
    slope, rel, rho = agreement(model, *data())
    assert abs(slope - 1) < tilt
    assert rel < error
    assert rho > rank


@needs_data
@pytest.mark.parametrize("model", [SVC(C=1.0, tol=1e-6), SVC(C=10.0, tol=1e-6)], ids=["C=1", "C=10"])
def test_spambase(model):
    frame = pd.read_parquet(pathlib.Path(FOLDER) / "tabular" / "spambase.parquet").sample(400, random_state=0)
    X = StandardScaler().fit_transform(np.log1p(frame.iloc[:, :57].to_numpy(float)))
    slope, rel, rho = agreement(model, X, frame["spam"].to_numpy().astype(int), rows=20)
    assert abs(slope - 1) < 0.2
    assert rel < 0.3
    assert rho > 0.9


def test_only_support_vectors_have_a_sensitivity():
    X, y = cancer()
    m = memory_map(SVC(C=1.0, tol=1e-7).fit(X, y), X, y)
    kinds = support_vectors(m)
    duals = np.zeros(len(y))
    model = SVC(C=1.0, tol=1e-7).fit(X, y)
    duals[model.support_] = np.abs(model.dual_coef_[0])
    assert np.array_equal(kinds == "none", duals == 0)
    assert np.array_equal(kinds == "bounded", duals >= 1 - 1e-9)
    assert np.all(m["sensitivity"][kinds == "none"] == 0)
    assert np.all(m["sensitivity"][kinds != "none"] > 0)
    far = (2 * y - 1) * m["output"] > 1.5  # beyond the margin
    assert m["leverage"][far].max() < 0.1 * m["leverage"][kinds == "margin"].mean()
    assert m["error"][far].max() == 0
    assert any("on the margin" in note for note in m.provenance.description.notes)
    with pytest.raises(ValueError, match="support vectors"):
        support_vectors(memory_map(KernelRidge().fit(X, y), X, y))


@pytest.mark.slow
def test_several_classes_are_pairs_and_the_notes_say_so():
    X, y = load_iris(return_X_y=True)
    names = np.array(["c", "a", "b"])[y]
    model = SVC(C=2.0, decision_function_shape="ovo", tol=1e-7).fit(X, names)
    m = memory_map(model, X, names)
    np.testing.assert_allclose(m["output"], model.decision_function(X), atol=1e-9)
    assert (m["prediction"] == model.predict(X)).all()
    assert "a|b" in m.provenance.description.notes[0]
    unconcerned = m["deviation"][names == "a"][:, 2]  # the machine of b and c
    assert np.all(unconcerned == 0)
    model = LinearSVC(**SOLVER).fit(X, names)
    m = memory_map(model, X, names)
    np.testing.assert_allclose(m["output"], model.decision_function(X), atol=1e-9)
    assert (m["prediction"] == model.predict(X)).all()


def test_weights_act_as_in_the_fit():
    X, y = cancer(100)
    weight = np.random.default_rng(0).uniform(0.5, 2, 100)
    model = SVC(C=1.0, tol=1e-7, class_weight={0: 2.0}).fit(X, y, sample_weight=weight)
    m = memory_map(model, X, y, sample_weight=weight)
    np.testing.assert_allclose(m["weight"], weight * np.where(y == 0, 2.0, 1.0))
    kinds = support_vectors(m)
    top = np.abs(model.dual_coef_[0]) >= m["weight"][model.support_] * (1 - 1e-9)
    assert np.array_equal(kinds[model.support_] == "bounded", top)


@pytest.mark.slow
def test_sparse_inputs_and_pipelines_give_the_same_map():
    X, y = cancer(100)
    X = np.where(np.abs(X) < 0.3, 0, X)
    dense = memory_map(SVC().fit(X, y), X, y)
    sparse = memory_map(SVC().fit(csr_matrix(X), y), csr_matrix(X), y)
    np.testing.assert_allclose(sparse["deviation"], dense["deviation"], atol=1e-6)
    pipeline = make_pipeline(StandardScaler(), SVC(tol=1e-6)).fit(X, y)
    m = memory_map(pipeline, X, y)
    inner = memory_map(pipeline[-1], pipeline[0].transform(X), y)
    np.testing.assert_allclose(m["deviation"], inner["deviation"])
    assert m.leave_out({"a": [0, 1]})["sensitivity"][0] > 0


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Maximum number of iteration")
def test_sgd_losses_are_mapped():
    X, y = cancer()
    for loss in ("hinge", "log_loss", "squared_hinge", "modified_huber", "perceptron"):
        m = memory_map(SGDClassifier(loss=loss, alpha=0.01, random_state=0, average=True).fit(X, y), X, y)
        assert np.all(np.isfinite(m["sensitivity"]))
    X, y = diabetes()
    for loss in ("squared_error", "huber", "epsilon_insensitive", "squared_epsilon_insensitive"):
        m = memory_map(SGDRegressor(loss=loss, random_state=0, average=True).fit(X, y), X, y)
        assert np.all(np.isfinite(m["sensitivity"]))
        assert m.provenance.description.distance is not None


def test_bad_input_raises_a_message_with_the_remedy():
    X, y = cancer(60)
    for model in (SVC(), LinearSVC(), KernelRidge(), SGDClassifier()):
        with pytest.raises(NotFittedError, match="fit"):
            memory_map(model, X, y)
    with pytest.raises(ValueError, match="precomputed"):
        memory_map(SVC(kernel="precomputed").fit(X @ X.T, y), X @ X.T, y)
    own = SVC(kernel=lambda a, b: a @ b.T, tol=1e-7).fit(X, y)
    linear = SVC(kernel="linear", tol=1e-7).fit(X, y)
    np.testing.assert_allclose(memory_map(own, X, y)["leverage"], memory_map(linear, X, y)["leverage"], atol=1e-4)
    with pytest.raises(ValueError, match="not those"):
        memory_map(linear, X[::-1], y)
    with pytest.raises(ValueError, match="non-numeric"):
        memory_map(linear, pd.DataFrame(X.astype(object)).assign(**{"0": "a"}).iloc[:, 1:], y)
    iris = load_iris(return_X_y=True)
    joint = LinearSVC(multi_class="crammer_singer", C=0.01, max_iter=100_000, random_state=0).fit(*iris)
    with pytest.raises(TypeError, match="ovr"):
        memory_map(joint, *iris)


def test_separable_classes_have_a_map():
    X = np.r_[np.full((5, 1), -2.0), np.full((5, 1), 2.0)] + np.linspace(0, 0.5, 10)[:, None]
    y = np.repeat([0, 1], 5)
    m = memory_map(SVC(kernel="linear", C=1e3, tol=1e-8).fit(X, y), X, y)
    held = support_vectors(m) == "margin"
    assert held.sum() == 2  # two points determine two parameters: the refit decides what happens without either
    for i in np.flatnonzero(held):
        kept = np.arange(10) != i
        without = SVC(kernel="linear", C=1e3, tol=1e-8).fit(X[kept], y[kept])
        change = without.decision_function(X[[i]])[0] - m["output"][i]
        assert m["sensitivity"][i] == pytest.approx(abs(change), abs=1e-4)
    assert np.all(m["sensitivity"][~held] == 0)


@pytest.mark.parametrize("model", [SVC(gamma=0.3), KernelRidge(kernel="rbf", gamma=0.3, alpha=0.5)])
def test_covariances_with_other_inputs_are_products_of_roots(model):
    X, y = load_iris(return_X_y=True)
    source = memory_map(model.fit(X[::3], y[::3]), X[::3], y[::3]).origin.posterior
    new, train = X[1::9], X[:60:3]
    found = source.cross_covariance(new)(train)
    expected = np.einsum("bcr,kdr->bckd", source.covariance_root(train), source.covariance_root(new))
    np.testing.assert_allclose(found, expected, atol=1e-9 * np.abs(expected).max())
    own = source.cross_covariance(new)(new)
    np.testing.assert_allclose(np.einsum("kckd->kcd", own), source.marginals(new).variance, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kernel", ["rbf", "linear"])
def test_what_a_refit_changes_at_the_training_inputs_tells_what_it_changes_elsewhere(kernel):
    X, y = load_iris(return_X_y=True)
    new, X, y = X[1::7], X[::2], y[::2]
    model = SVC(kernel=kernel, gamma=0.3, tol=1e-8, decision_function_shape="ovo")
    f, f_new = (model.fit(X, y).decision_function(inputs) for inputs in (X, new))
    source, kept = memory_map(model, X, y).origin.posterior, np.arange(len(y)) % 3 > 0
    less = model.fit(X[kept], y[kept])
    change = (less.decision_function(X) - f)[..., None]
    found, residual = source.interpolate(new, change)
    truth = less.decision_function(new) - f_new
    assert np.linalg.norm(found[..., 0] - truth) < 1e-8 * np.linalg.norm(truth)  # dual coefficients sum to zero
    assert residual[0] < 1e-8
    noise = np.random.default_rng(0).normal(size=change.shape)
    assert (source.interpolate(new, noise)[1][0] > 0.5) == (kernel == "linear")  # which no linear function is


@pytest.mark.parametrize("intercept", [False, True])
def test_variances_at_the_training_inputs(intercept):
    rng = np.random.default_rng(0)
    gram = rbf_kernel(rng.normal(size=(60, 3)))
    curvature = rng.exponential(size=60) * 10.0 ** rng.uniform(-15, 2, 60)
    conditional = GramConditional.from_gram(gram, curvature, intercept)
    v = gram - gram @ np.linalg.solve(np.eye(60) + curvature[:, None] * gram, curvature[:, None] * gram)
    if intercept:
        weights = np.linalg.solve(np.eye(60) + curvature[:, None] * gram, curvature)  # A1
        v = v + np.outer(1 - gram @ weights, 1 - gram @ weights) / weights.sum()
    found = conditional.training_variance(gram, np.ones(60, dtype=bool))
    np.testing.assert_allclose(found, np.diagonal(v), rtol=1e-6)
    np.testing.assert_allclose(found, conditional.variance(gram, np.diagonal(gram)), rtol=1e-8)


@pytest.mark.parametrize("model", [SVC(C=3.0), SVR(C=1.0, epsilon=0.05)])
def test_extrapolated_curvatures_are_those_of_the_damped_iteration(model, monkeypatch):
    X, y = cancer(80) if isinstance(model, SVC) else diabetes(80)
    calls, found = [], []
    whole = GramConditional.training_variance
    monkeypatch.setattr(GramConditional, "training_variance", lambda *given: calls.append(1) or whole(*given))
    for accelerated in (0, smoothing._ACCELERATED):
        calls.clear()
        monkeypatch.setattr(smoothing, "_ACCELERATED", accelerated)
        found.append((memory_map(model.fit(X, y), X, y)["sensitivity"], len(calls)))
    (damped, slow), (extrapolated, quick) = found
    np.testing.assert_allclose(extrapolated, damped, rtol=3e-3, atol=1e-3 * np.max(damped))
    assert quick < 0.7 * slow


def test_outputs_that_share_a_kernel_share_its_matrix_and_refits_their_fit_with_all_rows(monkeypatch):
    X, y = load_iris(return_X_y=True)
    asked, fits, evaluate, fit = [], [], kernel_functions.pairwise_kernels, SVC.fit

    def counted_kernel(*given, **named):
        asked.append(given)
        return evaluate(*given, **named)

    def counted_fit(self, X, *given, **named):
        fits.append(len(X))
        return fit(self, X, *given, **named)

    model = SVC().fit(X, y)
    monkeypatch.setattr(kernel_functions, "pairwise_kernels", counted_kernel)
    monkeypatch.setattr(SVC, "fit", counted_fit)
    m = memory_map(model, X, y)
    posterior = m.origin.posterior
    assert m["refitted"].sum() > 1
    assert not fits  # the map's checks follow the path of the dual variables
    refit(m, top=3)
    assert fits.count(len(X)) == 1
    assert fits.count(len(X) - 1) == len(fits) - 1 == 3
    asked.clear()
    several = posterior.marginals(X)
    assert len(asked) == 3  # f, k(x, X) and k(x, x) of all three outputs
    for k, part in enumerate(posterior.kernel_outputs):
        np.testing.assert_allclose(several.variance[:, k, k], part.variance(part.prior_at(X)), rtol=1e-12)
