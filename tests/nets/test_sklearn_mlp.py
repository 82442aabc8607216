"""scikit-learn's perceptrons against dense posteriors, against linear models, and against their own refits."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr
from sklearn.datasets import load_diabetes, load_iris
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import memorymaps as mm

torch = pytest.importorskip("torch")
from memorymaps.nets.interop.sklearn_mlp import FREE_PRECISION, as_module  # noqa: E402

RNG = np.random.default_rng(2)
N = 50
X = RNG.normal(size=(N, 3))
REAL = X @ RNG.normal(size=(3, 2)) + RNG.normal(size=(N, 2)) / 2
KINDS = np.array(["a", "b", "c"])[np.argmax(X + RNG.gumbel(size=(N, 3)), axis=1)]
BITS = np.where(X[:, 0] + RNG.logistic(size=N) > 0, "yes", "no")
SEVERAL = (X[:, :2] + RNG.logistic(size=(N, 2)) > 0).astype(int)
COUNTS = RNG.poisson(np.exp(0.5 * X[:, 0] + 1)).astype(float)
OPTIONS = {"solver": "lbfgs", "alpha": 0.5, "max_iter": 5000, "tol": 1e-10, "random_state": 0}
CASES = {
    "identity, one target": (MLPRegressor(hidden_layer_sizes=(3,), activation="identity", **OPTIONS), REAL[:, 0]),
    "tanh, two targets": (MLPRegressor(hidden_layer_sizes=(4, 3), activation="tanh", **OPTIONS), REAL),
    "logistic, classes": (MLPClassifier((4,), activation="logistic", **OPTIONS), KINDS),
    "relu, two classes": (MLPClassifier((4,), activation="relu", **OPTIONS), BITS),
    "tanh, several labels": (MLPClassifier((4,), activation="tanh", **OPTIONS), SEVERAL),
    "poisson": (MLPRegressor(hidden_layer_sizes=(3,), activation="tanh", loss="poisson", **OPTIONS), COUNTS),
}


def fitted(model, x, y, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.fit(x, y, **options)


def dense(model, x, delta, weight, dispersion=None):
    """`tr(Λ_i V_i)` from explicit Jacobians and one inverted matrix; independent of the engine."""
    module = as_module(model)
    names, values = zip(*module.named_parameters(), strict=True)

    def outputs(*given):
        return torch.func.functional_call(module, dict(zip(names, given, strict=True)), torch.as_tensor(x))

    parts = torch.autograd.functional.jacobian(outputs, tuple(v.detach() for v in values))
    jacobian = torch.cat([part.reshape(*part.shape[:2], -1) for part in parts], dim=2).numpy()
    f = module(torch.as_tensor(x)).detach().numpy()
    if model.out_activation_ == "softmax":
        p = np.exp(f) / np.exp(f).sum(1, keepdims=True)
        curvature = p[:, :, None] * np.eye(p.shape[1]) - p[:, :, None] * p[:, None, :]
    else:
        p = 1 / (1 + np.exp(-f))
        diagonal = {"logistic": p * (1 - p), "exp": np.exp(f), "identity": np.ones_like(f)}[model.out_activation_]
        curvature = diagonal[:, :, None] * np.eye(f.shape[1])
    curvature = weight[:, None, None] * curvature
    prior = np.concatenate(
        [
            np.full(v.numel(), delta if name.endswith("weight") else FREE_PRECISION)
            for name, v in zip(names, values, strict=True)
        ]
    )
    s = np.einsum("nap,nab,nbq->pq", jacobian, curvature, jacobian) + np.diag(prior)
    variance = np.einsum("nap,pq,nbq->nab", jacobian, np.linalg.inv(s), jacobian)
    return np.einsum("nab,nba->n", curvature, variance)


@pytest.mark.slow
@pytest.mark.parametrize(("model", "y"), CASES.values(), ids=CASES)
def test_the_map_is_the_dense_posterior(model, y):
    fitted(model, X, y)
    m = mm.memory_map(model, X, y)
    np.testing.assert_allclose(m["leverage"], dense(model, X, 0.5, np.ones(N)), rtol=1e-5, atol=1e-8)
    assert m.provenance.description.distance < 0.2  # scikit-learn stops early
    expected = model.predict(X)
    found = m["prediction"] if y is not SEVERAL else (m["prediction"] > 0.5).astype(int)
    if y.dtype.kind in "fi":
        np.testing.assert_allclose(found, expected, rtol=1e-9)
    else:
        assert found.tolist() == expected.tolist()


@pytest.mark.slow
def test_weights_and_frames_and_pipelines():
    weight = RNG.uniform(0.3, 2, N)
    model = fitted(MLPClassifier((4,), activation="tanh", **OPTIONS), X, KINDS, sample_weight=weight)
    m = mm.memory_map(model, X, KINDS, sample_weight=weight)
    np.testing.assert_allclose(m["leverage"], dense(model, X, 0.5, weight), rtol=1e-5)
    frame = pd.DataFrame(X, columns=list("abc"))
    pipe = fitted(make_pipeline(StandardScaler(), MLPClassifier((4,), activation="tanh", **OPTIONS)), frame, KINDS)
    m = mm.memory_map(pipe, frame, KINDS)
    scaled = StandardScaler().fit_transform(X)
    np.testing.assert_allclose(m["leverage"], dense(pipe[-1], scaled, 0.5, np.ones(N)), rtol=1e-5)


def test_without_hidden_units_it_is_ridge_and_logistic_regression():
    x, y = load_diabetes(return_X_y=True)
    x, y = StandardScaler().fit_transform(x)[:150], (y[:150] - 150) / 75
    model = fitted(MLPRegressor(hidden_layer_sizes=(), **{**OPTIONS, "alpha": 3.0}), x, y)
    a, b = mm.memory_map(model, x, y), mm.memory_map(Ridge(alpha=3.0).fit(x, y), x, y)
    np.testing.assert_allclose(a["leverage"], b["leverage"], rtol=1e-6)
    np.testing.assert_allclose(a["loo_prediction"], b["loo_prediction"], atol=1e-3)  # L-BFGS stops early
    x, kinds = load_iris(return_X_y=True)
    model = fitted(MLPClassifier((), **OPTIONS), x, kinds)
    a, b = (
        mm.memory_map(model, x, kinds),
        mm.memory_map(LogisticRegression(C=2, tol=1e-9, max_iter=5000).fit(x, kinds), x, kinds),
    )
    np.testing.assert_allclose(a["leverage"], b["leverage"], rtol=5e-3, atol=1e-5)


def test_batches_raise_the_prior():
    model = fitted(
        MLPRegressor(hidden_layer_sizes=(3,), solver="adam", batch_size=10, alpha=0.1, max_iter=20, random_state=0),
        X,
        REAL[:, 0],
    )
    m = mm.memory_map(model, X, REAL[:, 0])
    assert "0.1 · 50/10 = 0.5" in m.provenance.description.prior
    np.testing.assert_allclose(m["leverage"], dense(model, X, 0.5, np.ones(N)), rtol=1e-5)


def test_leaving_out_agrees_with_refitting():
    x, y = load_diabetes(return_X_y=True)
    x, y = StandardScaler().fit_transform(x)[:150], (y[:150] - 150) / 75
    model = fitted(MLPRegressor(hidden_layer_sizes=(3,), activation="tanh", **{**OPTIONS, "alpha": 20.0}), x, y)
    m = mm.memory_map(model, x, y)
    rows = np.r_[m.top(8)["row"], 0:8]
    truth = []
    for i in rows:
        again = MLPRegressor(hidden_layer_sizes=(3,), activation="tanh", **{**OPTIONS, "alpha": 20.0}, warm_start=True)
        again.coefs_, again.intercepts_ = [c.copy() for c in model.coefs_], [b.copy() for b in model.intercepts_]
        for name in ("n_layers_", "n_outputs_", "out_activation_", "n_features_in_"):
            setattr(again, name, getattr(model, name))
        fitted(again, np.delete(x, i, 0), np.delete(y, i))
        truth.append(again.predict(x[[i]])[0] - model.predict(x[[i]])[0])
    truth, estimate = np.asarray(truth), m["deviation"][rows]
    assert estimate @ truth / (truth @ truth) == pytest.approx(1, abs=0.15)
    assert spearmanr(np.abs(estimate), np.abs(truth)).statistic > 0.95


def test_what_cannot_be_mapped_is_refused():
    model = fitted(MLPClassifier((2,), **OPTIONS), X, KINDS)
    with pytest.raises(NotFittedError, match=r"call model\.fit"):
        mm.memory_map(MLPClassifier(), X, KINDS)
    with pytest.raises(mm.TargetError, match="not among the model's classes"):
        mm.memory_map(model, X, np.full(N, "z"))
    with pytest.raises(mm.DataError, match=r"2\): the model was fitted on \(n, 3\)"):
        mm.memory_map(model, X[:, :2], KINDS)
    with pytest.raises(mm.DataError, match="NaN or infinite"):
        mm.memory_map(model, np.where(X > 2, np.nan, X), KINDS)
    early = fitted(MLPClassifier((2,), early_stopping=True, max_iter=5, random_state=0), X, KINDS)
    with pytest.raises(ValueError, match="early_stopping=False"):
        mm.memory_map(early, X, KINDS)
    with pytest.raises(ValueError, match="does not keep its training data"):
        mm.memory_map(model)
    regression = fitted(MLPRegressor(hidden_layer_sizes=(2,), **OPTIONS), X, REAL)
    with pytest.raises(mm.TargetError):
        mm.memory_map(regression, X, REAL[:, 0])
    with pytest.raises(mm.TargetError, match="numeric targets"):
        mm.memory_map(regression, X, KINDS)
