"""More columns than examples: the map in the row space equals that of a dense `p × p` precision, without one."""

import tracemalloc

import numpy as np
import pytest
from scipy import sparse
from sklearn import linear_model as sk
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC, LinearSVR

import memorymaps as mm
from memorymaps import measures
from memorymaps.models.linear import sklearn as smooth_adapters
from memorymaps.models.linear import sklearn_robust as robust_adapters
from memorymaps.models.linear.coordinates.row_space import RowSpaceDesign

rng = np.random.default_rng(0)
N, P = 40, 90
X = rng.normal(size=(N, P)) * (rng.random((N, P)) < 0.3)
Z = X[:, :5].sum(1) + rng.normal(size=N)
BITS, THREE, COUNTS = (Z > 0).astype(int), np.digitize(Z, [-0.7, 0.7]), rng.poisson(np.exp(0.2 * Z)).astype(float)
TIGHT = {"tol": 1e-12, "max_iter": 10**5}
SOLVER = {"tol": 1e-9, "max_iter": 10**6}
CASES = {
    "ridge": (sk.Ridge(3.0), Z),
    "ridge, two targets": (sk.Ridge(np.array([3.0, 7.0])), np.column_stack([Z, X[:, 1] + COUNTS])),
    "ridge, no intercept": (sk.Ridge(3.0, fit_intercept=False), Z),
    "logistic": (sk.LogisticRegression(C=2.0, **TIGHT), BITS),
    "logistic, weak prior": (sk.LogisticRegression(C=1e4, **TIGHT), BITS),
    "logistic, liblinear": (sk.LogisticRegression(solver="liblinear", **TIGHT), BITS),
    "softmax": (sk.LogisticRegression(**TIGHT), THREE),
    "poisson": (sk.PoissonRegressor(alpha=0.1, **TIGHT), COUNTS),
    "gamma": (sk.GammaRegressor(alpha=0.1, **TIGHT), np.exp(Z / 5)),
    "squared hinge": (LinearSVC(**SOLVER), BITS),
    "squared hinge, three classes": (LinearSVC(**SOLVER), THREE),
    "hinge": (LinearSVC(loss="hinge", C=0.1, **SOLVER), BITS),
    "squared ε-insensitive": (LinearSVR(loss="squared_epsilon_insensitive", C=0.1, **SOLVER), Z),
    "SGD": (sk.SGDClassifier("log_loss", alpha=0.05, max_iter=10**4, tol=1e-8, random_state=0), BITS),
    "huber": (sk.HuberRegressor(alpha=20.0, epsilon=3.0, tol=1e-10, max_iter=10**5), Z),
}  # fmt: skip


@pytest.fixture
def primal(monkeypatch):
    """`memory_map` with all columns' coordinates."""

    def mapped(*given, **options):
        with monkeypatch.context() as patch:
            for module in (smooth_adapters, robust_adapters):
                patch.setattr(module, "in_row_space", lambda model, examples: model)
            return mm.memory_map(*given, **options)

    return mapped


def near(found, expected, tolerance=1e-8):
    scale = np.nanmax(np.abs(expected), initial=1e-300)
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * scale)


SLOW = ("squared hinge, three classes", "huber")


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in CASES])
def test_the_row_space_gives_the_numbers_of_all_columns(name, primal):
    model, y = CASES[name]
    model = model.fit(X, y)
    full = primal(model, X, y)
    for inputs in (X, sparse.csr_matrix(X)):
        m = mm.memory_map(model, inputs, y)
        assert isinstance(m.origin.posterior.design, RowSpaceDesign)
        for column in ("output", "leverage", "deviation", "sensitivity", "loo_loss"):
            near(m[column], full[column], 1e-4 if name == "huber" and column != "leverage" else 1e-8)
        found, expected = m.provenance.description, full.provenance.description
        assert (found.parameters, found.coverage, found.aliased) == (
            expected.parameters, expected.coverage, expected.aliased,
        )  # fmt: skip
        assert found.effective_parameters == pytest.approx(expected.effective_parameters, rel=1e-9)
        assert found.distance == pytest.approx(expected.distance, rel=1e-3, abs=1e-6)
    few = {"a few": [0, 5, 9]}
    for column in ("sensitivity", "rest_sensitivity", "leave_out_loss"):
        near(m.leave_out(few)[column], full.leave_out(few)[column], 1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ridge", "ridge, two targets", "logistic", "gamma", "squared hinge", "softmax"])
def test_new_inputs_have_the_prior_outside_the_row_space(name, primal):
    model, y = CASES[name]
    model, new = model.fit(X, y), rng.normal(size=(5, P))
    found, expected = (of(model, X, y).origin.posterior.marginals(new) for of in (mm.memory_map, primal))
    near(found.f, expected.f)
    near(found.variance, expected.variance)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ridge", "ridge, no intercept", "logistic", "squared hinge"])
def test_parameters_and_their_standard_errors(name, primal):
    model, y = CASES[name]
    model = model.fit(X, y)
    m, full = (of(model, X, y) for of in (mm.memory_map, primal))
    near(measures.dfbeta(m), measures.dfbeta(full))
    near(measures.standard_errors(m), measures.standard_errors(full))


def test_far_columns_are_centred_before():
    x = X[:, :60] + 1e6
    model = make_pipeline(StandardScaler(with_std=False), sk.Ridge(3.0, solver="svd")).fit(x, Z)
    direct = sk.Ridge(3.0, solver="svd").fit(x, Z)
    m, truth = mm.memory_map(direct, x, Z), mm.memory_map(model, x, Z)
    near(m["leverage"], truth["leverage"], 1e-6)
    near(measures.dfbeta(m)[:, 1:], measures.dfbeta(truth)[:, 1:], 1e-5)


def test_a_fit_that_stopped_early_is_polished_in_the_row_space(primal):
    model = sk.LogisticRegression(max_iter=3)
    with pytest.warns(Warning, match="converge"):
        model.fit(X, BITS)
    m, full = (of(model, X, BITS, polish=True) for of in (mm.memory_map, primal))
    near(m["sensitivity"], full["sensitivity"], 1e-6)
    assert m.provenance.description.parameters == full.provenance.description.parameters


def test_coefficients_outside_the_row_space_are_noticed(primal):
    """The optimum lies in the row space: an edited coefficient vector is as far from it as in all columns."""
    model = sk.LogisticRegression(**TIGHT).fit(X, BITS)
    model.coef_ = model.coef_ + 0.1 * rng.normal(size=P)
    found, expected = (of(model, X, BITS).provenance.description.distance for of in (mm.memory_map, primal))
    assert found == pytest.approx(expected, rel=1e-6)
    assert found > 0.05


def test_tall_data_and_penalties_that_cannot_be_rotated_keep_their_columns():
    tall = mm.memory_map(sk.Ridge(1.0).fit(X[:, :30], Z), X[:, :30], Z)
    lasso = mm.memory_map(sk.Lasso(0.1).fit(X, Z), X, Z)
    for m in (tall, lasso):
        assert not isinstance(m.origin.posterior.design, RowSpaceDesign)


def test_wrong_sparse_inputs_are_refused():
    model = sk.Ridge(3.0).fit(X, Z)
    bad = sparse.csr_matrix(X)
    bad.data[3] = np.nan
    with pytest.raises(mm.DataError, match="NaN or infinite values"):
        mm.memory_map(model, bad, Z)
    with pytest.raises(mm.DataError, match="fitted on"):
        mm.memory_map(model, sparse.csr_matrix(X[:, :80]), Z)


def texts(n, words):
    draws = np.random.default_rng(1)
    topic = draws.integers(0, 2, n)
    shares = np.stack([draws.dirichlet(np.full(words, 0.02)) for _ in range(2)])
    rows = [draws.choice(words, 60, p=0.5 * shares[t] + 0.5 * shares.mean(0)) for t in topic]
    return [" ".join(f"w{word}" for word in row) for row in rows], topic


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ridge", "logistic", "squared hinge"])
def test_text_needs_no_square_matrix_of_its_vocabulary(kind):
    """4,000 columns, 120 documents: `p × p` doubles would be 128 MB."""
    documents, topic = texts(120, 6000)
    x = TfidfVectorizer().fit_transform(documents)
    x.resize((120, 4000))
    model = {"ridge": sk.Ridge(1.0, tol=1e-12), "logistic": sk.LogisticRegression(), "squared hinge": LinearSVC()}[kind]
    model.fit(x, topic)
    tracemalloc.start()
    m = mm.memory_map(model, x, topic)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.5 * 8 * 4000**2
    i = int(np.argmax(m["leverage"]))
    dense, kept = x.toarray(), np.arange(120) != i
    if kind == "ridge":
        truth = sk.Ridge(1.0).fit(dense[kept], topic[kept]).predict(dense[[i]])[0]
        assert m["loo_prediction"][i] == pytest.approx(truth, abs=1e-6)
