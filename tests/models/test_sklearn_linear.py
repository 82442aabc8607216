"""scikit-learn's linear models against dense definitions and refits."""

import inspect

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oracles import dense_leverage, left_out
from scipy import sparse
from scipy.stats import spearmanr
from sklearn import linear_model as sk
from sklearn.compose import make_column_transformer
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils.class_weight import compute_class_weight
from sklearn_versions import LASSO, RIDGE_CV

import memorymaps as mm
from memorymaps.analysis import measures as me
from memorymaps.core.perturbation.deviation import Warn
from memorymaps.models import ExpectedInformation

rng = np.random.default_rng(8)
ANY_SPEED = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
N = 60
X = rng.normal(size=(N, 3))
Y = X @ [1.0, -1.0, 0.5] + 2 + rng.normal(size=N)
W = rng.uniform(0.5, 2, N)
ONES = np.column_stack([np.ones(N), X])


# --- exact models: leaving out equals refitting ----------------------------------------------------------------------


def check_refits(m, x, y, weight, delta, target=slice(None)):
    prediction = m["loo_prediction"] if m["loo_prediction"].ndim == 1 else m["loo_prediction"][:, target]
    for i in range(0, len(y), 7):
        if weight[i] > 0:
            np.testing.assert_allclose(prediction[i], left_out(x, y, weight, delta, [i])[i], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("weight", [None, W], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("alpha", [0.0, 3.0])
def test_leave_one_out_is_refitting(alpha, intercept, weight):
    make = sk.Ridge(alpha=alpha, fit_intercept=intercept) if alpha else sk.LinearRegression(fit_intercept=intercept)
    m = mm.memory_map(make.fit(X, Y, sample_weight=weight), X, Y, sample_weight=weight)
    x = ONES if intercept else X
    delta = np.r_[[0.0] * intercept, [alpha] * 3]
    check_refits(m, x, Y, np.ones(N) if weight is None else weight, delta)


def design(seed, kind):
    r = np.random.default_rng(seed)
    x, weight = r.normal(size=(30, 4)) * 10.0 ** r.integers(-1, 2, 4), r.uniform(0.2, 3, 30)
    if kind == "duplicates":
        x[10:20] = x[:10]
    if kind == "deficient":
        x[:, 3] = x[:, 0] - 2 * x[:, 1]
    if kind == "zero weights":
        weight[::5] = 0
    return x, r.normal(size=30) + x @ (1 / np.abs(x).max(0)), weight


@pytest.mark.slow
@settings(max_examples=40, **ANY_SPEED)
@given(
    seed=st.integers(0, 10**6),
    kind=st.sampled_from(["plain", "duplicates", "deficient", "zero weights"]),
    alpha=st.sampled_from([0.0, 0.1, 10.0]),
)
def test_any_design_one_by_one_and_in_groups(seed, kind, alpha):
    x, y, weight = design(seed, kind)
    scaled = x / np.abs(x).max(0) if alpha else x
    make = sk.Ridge(alpha=alpha, solver="svd") if alpha else sk.LinearRegression()
    m = mm.memory_map(make.fit(scaled, y, sample_weight=weight), scaled, y, sample_weight=weight)
    dense = np.column_stack([np.ones(30), scaled / np.abs(scaled).max(0)])
    delta = np.r_[0.0, alpha * np.ones(4)] if alpha else np.zeros(5)
    check_refits(m, dense, y, weight, delta)
    group = [1, 2, 11, 29]
    found = m.leave_out({"g": group})
    after = left_out(dense, y, weight, delta, group)
    before = m["prediction"]
    others = np.setdiff1d(np.arange(30), group)
    assert found["sensitivity"][0] == pytest.approx(np.abs(after - before)[group].sum(), rel=1e-8, abs=1e-9)
    assert found["rest_sensitivity"][0] == pytest.approx(np.abs(after - before)[others].sum(), rel=1e-8, abs=1e-9)


@settings(max_examples=20, **ANY_SPEED)
@given(seed=st.integers(0, 10**6))
def test_order_and_units_of_features_do_not_matter(seed):
    x, y, weight = design(seed, "plain")
    order = np.random.default_rng(seed).permutation(30)

    def leverages(a, b, w):
        return mm.memory_map(sk.LinearRegression().fit(a, b, sample_weight=w), a, b, sample_weight=w)

    plain = leverages(x, y, weight)
    moved = leverages(x[order] * [10.0, 1.0, 0.1, 7.0], y[order], weight[order])
    np.testing.assert_allclose(moved["leverage"], plain["leverage"][order], rtol=1e-8)
    np.testing.assert_allclose(moved["deviation"], plain["deviation"][order], rtol=1e-6, atol=1e-9)


def test_ridge_cv_and_vector_alpha_and_several_targets():
    two = np.column_stack([Y, Y**2])
    chosen = sk.RidgeCV(alphas=[0.1, 1.0, 10.0]).fit(X, Y)
    check_refits(mm.memory_map(chosen, X, Y), ONES, Y, np.ones(N), np.r_[0, [chosen.alpha_] * 3])
    m = mm.memory_map(sk.Ridge(alpha=np.array([0.5, 5.0])).fit(X, two), X, two)
    assert m["residual"].shape == (N, 2)
    for k, alpha in enumerate([0.5, 5.0]):
        check_refits(m, ONES, two[:, k], np.ones(N), np.r_[0, [alpha] * 3], target=k)


@pytest.mark.slow
@pytest.mark.parametrize(
    "model",
    [
        sk.Lasso(alpha=0.3, tol=1e-12, max_iter=100_000),
        sk.ElasticNet(alpha=0.4, l1_ratio=0.6, tol=1e-12, max_iter=100_000),
        sk.LinearRegression(positive=True),
        sk.LassoCV(cv=3),
        sk.ElasticNetCV(cv=3, l1_ratio=0.9),
    ],
    ids=lambda model: type(model).__name__,
)
def test_sparse_models_are_mapped_on_their_active_set(model):
    y = X @ [1.0, -1.0, 0.0] + rng.normal(size=N)
    m = mm.memory_map(model.fit(X, y), X, y)
    active = ONES[:, np.r_[True, model.coef_ != 0]]
    alpha, l1 = getattr(model, "alpha_", getattr(model, "alpha", 0)), getattr(model, "l1_ratio", 1.0)
    delta = np.r_[0, np.full(active.shape[1] - 1, N * alpha * (1 - l1))] if alpha else np.zeros(active.shape[1])
    h, _ = dense_leverage(active, np.ones((N, 1, 1)), delta)
    assert active.shape[1] > 1
    np.testing.assert_allclose(m["leverage"], h, rtol=1e-9)
    assert "active set" in " ".join(m.provenance.description.notes)


def test_ridge_with_more_features_than_examples():
    x, y = rng.normal(size=(20, 50)), rng.normal(size=20)
    m = mm.memory_map(sk.Ridge(alpha=2.0).fit(x, y), x, y)
    check_refits(m, np.column_stack([np.ones(20), x]), y, np.ones(20), np.r_[0, [2.0] * 50])


# --- Laplace models: dense definition, and errors against refits ------------------------------------------------------


def bernoulli_curvature(p):
    return (p * (1 - p))[:, None, None]


def softmax_curvature(p):
    return p[:, :, None] * np.eye(p.shape[1]) - p[:, :, None] * p[:, None, :]


BITS = (X @ [1.0, -1.0, 0.5] + rng.logistic(size=N) > 0).astype(int)
KINDS = np.argmax(X @ rng.normal(size=(3, 3)) + rng.gumbel(size=(N, 3)), axis=1)
TIGHT = {"tol": 1e-10, "max_iter": 10_000}
# scikit-learn 1.7 counts sample weights when it balances classes
BALANCED = {"sample_weight": W} if "sample_weight" in inspect.signature(compute_class_weight).parameters else {}


@pytest.mark.parametrize(
    ("extra", "delta", "intercept_delta"),
    [
        ({"C": 0.5}, 2.0, 0.0),
        ({"C": np.inf}, 0.0, 0.0),
        ({"C": 0.5, "fit_intercept": False}, 2.0, None),
        ({"C": 0.5, "solver": "liblinear", "intercept_scaling": 3.0}, 2.0, 2.0 / 9),
        ({"C": 0.5, "class_weight": {0: 1.0, 1: 3.0}}, 2.0, 0.0),
        ({"C": 0.5, "class_weight": "balanced"}, 2.0, 0.0),
    ],
)
def test_binary_logistic_is_the_dense_laplace_posterior(extra, delta, intercept_delta):
    model = sk.LogisticRegression(**TIGHT, **extra).fit(X, BITS, sample_weight=W)
    m = mm.memory_map(model, X, BITS, sample_weight=W)
    weights = extra.get("class_weight", {0: 1.0, 1: 1.0})
    if weights == "balanced":
        weights = dict(enumerate(compute_class_weight("balanced", classes=np.array([0, 1]), y=BITS, **BALANCED)))
    total = W * np.vectorize(weights.get)(BITS)
    p = model.predict_proba(X)[:, 1]
    x = X if intercept_delta is None else ONES
    prior = np.full(3, delta) if intercept_delta is None else np.r_[intercept_delta, [delta] * 3]
    h, _ = dense_leverage(x, total[:, None, None] * bernoulli_curvature(p), prior)
    np.testing.assert_allclose(m["leverage"], h, rtol=1e-8)
    np.testing.assert_allclose(m["weight"], total)
    assert m["leverage"].sum() == pytest.approx(m.provenance.description.effective_parameters, rel=1e-9)
    assert m.provenance.description.distance < 1e-3


@pytest.mark.parametrize("c", [0.7, np.inf])
def test_multinomial_is_the_dense_laplace_posterior(c):
    model = sk.LogisticRegression(C=c, **TIGHT).fit(X, KINDS)
    m = mm.memory_map(model, X, KINDS)
    h, _ = dense_leverage(ONES, softmax_curvature(model.predict_proba(X)), np.tile(np.r_[0, [1 / c] * 3], 3))
    np.testing.assert_allclose(m["leverage"], h, rtol=1e-7)


def test_l1_logistic_is_mapped_on_its_active_set():
    model = sk.LogisticRegression(C=0.1, **LASSO, solver="saga", tol=1e-10, max_iter=100_000).fit(X, BITS)
    active = np.r_[True, model.coef_[0] != 0]
    assert 1 < active.sum() < 4
    p = model.predict_proba(X)[:, 1]
    h, _ = dense_leverage(ONES[:, active], bernoulli_curvature(p), np.zeros(active.sum()))
    np.testing.assert_allclose(mm.memory_map(model, X, BITS)["leverage"], h, rtol=1e-8)


GLMS = {
    "poisson": (sk.PoissonRegressor, lambda mu: mu, rng.poisson(np.exp(0.3 * X[:, 0] + 1)).astype(float)),
    "gamma": (sk.GammaRegressor, np.ones_like, rng.gamma(2.0, np.exp(0.3 * X[:, 0]))),
    "tweedie": (lambda **k: sk.TweedieRegressor(power=1.5, **k), np.sqrt, rng.poisson(np.exp(0.3 * X[:, 0])) * 1.0),
    "inverse gaussian": (
        lambda **k: sk.TweedieRegressor(power=3, **k), lambda mu: 1 / mu, rng.wald(np.exp(0.3 * X[:, 0]), 4.0)
    ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", GLMS)
@pytest.mark.parametrize("alpha", [0.0, 0.1])
def test_glm_regressors_are_the_dense_laplace_posterior(name, alpha):
    make, information, y = GLMS[name]
    model = make(alpha=alpha, tol=1e-10, max_iter=10_000).fit(X, y, sample_weight=W)
    m = mm.memory_map(model, X, y, sample_weight=W, posterior=ExpectedInformation())
    curvature = (W * information(model.predict(X)))[:, None, None]
    h, _ = dense_leverage(ONES, curvature, np.r_[0, [W.sum() * alpha] * 3])
    np.testing.assert_allclose(m["leverage"], h, rtol=1e-8)
    assert m.provenance.description.distance < 1e-3


OBSERVED = {
    "gamma": lambda mu, y: y / mu,
    "tweedie": lambda mu, y: (mu + y) / (2 * np.sqrt(mu)),
    "inverse gaussian": lambda mu, y: (2 * y - mu) / mu**2,
}


@pytest.mark.parametrize("name", OBSERVED)
@pytest.mark.parametrize("alpha", [0.0, 0.1])
def test_links_that_are_not_canonical_have_the_hessian_of_the_loss(name, alpha):
    make, _, y = GLMS[name]
    model = make(alpha=alpha, tol=1e-10, max_iter=10_000).fit(X, y, sample_weight=W)
    m = mm.memory_map(model, X, y, sample_weight=W, estimator="cavity")
    weight = W * OBSERVED[name](model.predict(X), y)
    hessian = (ONES.T * weight) @ ONES + np.diag(np.r_[0, [W.sum() * alpha] * 3])
    h = np.clip(weight, 0, None) * np.einsum("np,pq,nq->n", ONES, np.linalg.inv(hessian), ONES)
    np.testing.assert_allclose(m["leverage"], h, rtol=1e-8, atol=1e-12)
    assert (weight < 0).any() == (name == "inverse gaussian")


CONVEX = {
    "logistic": (lambda: sk.LogisticRegression(**TIGHT), BITS),
    "multinomial": (lambda: sk.LogisticRegression(**TIGHT), KINDS),
    "poisson": (lambda: sk.PoissonRegressor(alpha=0.01, tol=1e-10, max_iter=10_000), GLMS["poisson"][2]),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CONVEX)
def test_laplace_deviations_are_within_a_few_percent_of_retraining(name):
    make, y = CONVEX[name]
    m = mm.memory_map(make().fit(X, y), X, y)
    truth = []
    for i in range(N):
        keep = np.arange(N) != i
        model = make()
        if name == "poisson":  # its penalty is per example: keep the sum
            model.alpha *= N / (N - 1)
        model.fit(X[keep], y[keep])
        before, after = make().fit(X, y), model
        mean = before.predict_proba if hasattr(before, "predict_proba") else before.predict
        new = after.predict_proba if hasattr(after, "predict_proba") else after.predict
        change = np.abs(new(X[[i]]) - mean(X[[i]])).sum()
        truth.append(change / 2 if name == "logistic" else change)  # one output, not two
    s, truth = m["sensitivity"], np.asarray(truth)
    assert np.linalg.norm(s - truth) / np.linalg.norm(truth) < 0.05
    assert s @ truth / (truth @ truth) == pytest.approx(1, abs=0.04)
    assert spearmanr(s, truth).statistic > 0.99


# --- wrappers ------------------------------------------------------------------------------------------------------


def test_pipelines_columns_and_searches():
    frame = pd.DataFrame(X, columns=list("abc")).assign(kind=rng.choice(["u", "v", "w"], N))
    columns = make_column_transformer((StandardScaler(), list("abc")), (OneHotEncoder(drop="first"), ["kind"]))
    search = GridSearchCV(make_pipeline(columns, sk.Ridge()), {"ridge__alpha": [0.1, 1.0]}, cv=3).fit(frame, Y)
    m = mm.memory_map(search, frame, Y)
    x = np.column_stack([np.ones(N), search.best_estimator_[:-1].transform(frame)])
    check_refits(m, x, Y, np.ones(N), np.r_[0, [search.best_params_["ridge__alpha"]] * 5])
    assert "onehotencoder__kind_w" in m.provenance.description.parameters
    assert me.dfbetas(m).shape == (N, 6)
    assert "held fixed" in " ".join(m.provenance.description.notes)


def test_sparse_inputs():
    dense = X * (np.abs(X) > 0.5)
    model = sk.Ridge(alpha=1.0).fit(sparse.csr_matrix(dense), Y)
    np.testing.assert_allclose(
        mm.memory_map(model, sparse.csr_matrix(dense), Y)["leverage"], mm.memory_map(model, dense, Y)["leverage"]
    )


def test_columns_are_reordered_as_in_training():
    frame = pd.DataFrame(X, columns=list("abc"))
    model = sk.LinearRegression().fit(frame, Y)
    shuffled = mm.memory_map(model, frame[list("cab")], Y)
    np.testing.assert_allclose(shuffled["leverage"], mm.memory_map(model, frame, Y)["leverage"])
    with pytest.raises(mm.DataError, match=r"lack columns.*\['b'\]"):
        mm.memory_map(model, frame[["a", "c"]], Y)


def test_string_classes_and_cross_validated_strength():
    names = np.array(["low", "mid", "top"])[KINDS]
    model = sk.LogisticRegressionCV(Cs=[0.1, 1.0], cv=3, scoring="neg_log_loss", **RIDGE_CV, **TIGHT).fit(X, names)
    m = mm.memory_map(model, X, names)
    prior = np.tile(np.r_[0, [1 / np.max(model.C_)] * 3], 3)
    h, _ = dense_leverage(ONES, softmax_curvature(model.predict_proba(X)), prior)
    np.testing.assert_allclose(m["leverage"], h, rtol=1e-7)
    assert m["target"].tolist() == names.tolist()


def test_an_example_with_leverage_one_is_marked():
    x = np.column_stack([X, np.arange(N) == 5])
    m = mm.memory_map(sk.LinearRegression().fit(x, Y), x, Y)
    assert m["leverage"][5] == pytest.approx(1)
    assert Warn(int(m["warning"][5])) == Warn.BOUND
    assert np.isnan(m["sensitivity"][5])
    assert np.isnan(me.cooks_distance(m)[5])
    assert np.isfinite(np.delete(m["sensitivity"], 5)).all()
    assert "1 of 60 examples at the bound" in str(m.summary())


def test_constant_columns_are_aliased():
    x = np.column_stack([X, np.full(N, 3.0)])
    m = mm.memory_map(sk.LinearRegression().fit(x, Y), x, Y)
    assert m.provenance.description.aliased == ("x3",)
    assert m["leverage"].sum() == pytest.approx(4)


# --- broken or unsupported --------------------------------------------------------------------------------------------

FITTED = sk.LinearRegression().fit(X, Y)


def with_hole(a, value=np.nan):
    a = a.copy()
    a[(3,) * a.ndim if a.ndim == 1 else (3, 1)] = value
    return a


@pytest.mark.parametrize(
    ("model", "x", "y", "kind", "words"),
    [
        (FITTED, with_hole(X), Y, mm.DataError, r"NaN or infinite values in column\(s\) \['x1'\], first in row 3"),
        (FITTED, with_hole(X, np.inf), Y, mm.DataError, "NaN or infinite"),
        (FITTED, X, with_hole(Y), mm.TargetError, r"example 3 is \[?nan"),
        (FITTED, X, Y[:-1], mm.DataError, "target has 59 rows, the inputs have 60"),
        (FITTED, X[:, :2], Y, mm.DataError, r"shape \(60, 2\): the model was fitted on \(n, 3\)"),
        (FITTED, X.astype(str).astype(object) + "a", Y, mm.DataError, "non-numeric inputs"),
        (FITTED, X[:0], Y[:0], mm.DataError, "no rows"),
        (sk.LinearRegression().fit(X, BITS), X, BITS.astype(str), None, None),
        (FITTED, X, np.where(BITS, "yes", "no"), mm.TargetError, "numeric targets"),
        (sk.LinearRegression(), X, Y, NotFittedError, "not fitted: call model.fit"),
        (sk.PoissonRegressor().fit(X, np.abs(Y)), X, Y - 9, mm.TargetError, "≥ 0 for Poisson"),
        (sk.GammaRegressor().fit(X, np.abs(Y)), X, 0 * Y, mm.TargetError, "> 0 for Gamma"),
        (sk.LogisticRegression().fit(X, BITS), X, BITS + 1, mm.TargetError, "not among the model's classes"),
        (KNeighborsClassifier(3).fit(X, BITS), X, BITS, mm.UnsupportedModelError, "supported here: .*Ridge"),
        (sk.LassoLars().fit(X, Y), X, Y, mm.UnsupportedModelError, "refit with Lasso"),
        (sk.MultiTaskLasso().fit(X, X), X, X, TypeError, "refit with Lasso or ElasticNet"),
        (sk.LinearRegression().fit(X[:3], Y[:3]), X[:3], Y[:3], mm.DataError, "3 examples for 3.0 free parameters"),
    ],
)
def test_what_cannot_be_mapped_is_refused(model, x, y, kind, words):
    if kind is None:
        assert len(mm.memory_map(model, x, y)) == N  # numbers written as text are numbers
        return
    with pytest.raises(kind, match=words):
        mm.memory_map(model, x, y)


@pytest.mark.skipif(not hasattr(sk.LogisticRegression(), "multi_class"), reason="scikit-learn removed multi_class")
@pytest.mark.filterwarnings("ignore:'multi_class' was deprecated:FutureWarning")
@pytest.mark.parametrize("kind", [sk.LogisticRegression, sk.LogisticRegressionCV])
@pytest.mark.parametrize(("scheme", "other", "y"), [("ovr", "multinomial", KINDS), ("multinomial", "ovr", BITS)])
def test_logistic_fits_of_another_loss_are_refused(kind, scheme, other, y):
    with pytest.raises(TypeError, match=f"multi_class='{scheme}'.*fit it without multi_class"):
        mm.memory_map(kind(multi_class=scheme).fit(X, y), X, y)
    kept, plain = (mm.memory_map(kind(**TIGHT, **given).fit(X, y), X, y) for given in ({"multi_class": other}, {}))
    np.testing.assert_allclose(kept["leverage"], plain["leverage"], rtol=1e-6)


def test_non_numeric_columns_are_named():
    frame = pd.DataFrame(X, columns=list("abc"))
    model = sk.LinearRegression().fit(frame, Y)
    with pytest.raises(mm.DataError, match=r"in column\(s\) \['b'\].*OneHotEncoder"):
        mm.memory_map(model, frame.assign(b="text"), Y)


def test_models_do_not_store_their_data():
    with pytest.raises(ValueError, match="does not keep its training data"):
        mm.memory_map(FITTED)
