"""scikit-learn's Gaussian processes against refitting at fixed hyperparameters and Rasmussen & Williams 5.10–5.12."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm
from sklearn.datasets import load_iris
from sklearn.exceptions import NotFittedError
from sklearn.gaussian_process import GaussianProcessClassifier, GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, Matern, WhiteKernel
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from memorymaps import memory_map
from memorymaps.analysis.predictive import loo_predictive
from memorymaps.core.likelihoods.base import TargetError

KERNEL = ConstantKernel(2.0) * RBF(1.3)


def data(n=40, c=1):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 3))
    y = 4 * np.sin(X[:, :1] + np.arange(c)) + 0.3 * rng.normal(size=(n, c)) + 10
    return X, y[:, 0] if c == 1 else y


CASES = {
    "alpha": {"kernel": KERNEL, "alpha": 0.1},
    "white": {"kernel": KERNEL + WhiteKernel(0.2)},
    "normalised": {"kernel": ConstantKernel(0.7) * Matern(1.0, nu=1.5) + WhiteKernel(0.05), "normalize_y": True},
    "noise of each": {"kernel": KERNEL + WhiteKernel(0.1), "alpha": np.linspace(0.01, 1, 40)},
}


def refit(model, X, y, keep, at):
    """Mean and noisy variance at `at` of a process with the same hyperparameters, mean and scale."""
    mu, sd = (np.mean(y, axis=0), np.std(y, axis=0)) if model.normalize_y else (0.0, 1.0)
    alpha = np.broadcast_to(model.alpha, (len(X),))
    system = model.kernel_(X[keep]) + np.diag(alpha[keep])
    cross = model.kernel_(X[at], X[keep])
    mean = cross @ np.linalg.solve(system, (y[keep] - mu) / sd) * sd + mu
    noisy = model.kernel_(X[at]) + np.diag(alpha[at])
    return mean, np.diag(noisy - cross @ np.linalg.solve(system, cross.T))[:, None] * np.broadcast_to(
        sd, y.shape[1:]
    ) ** 2


@pytest.mark.slow
@pytest.mark.parametrize("name", list(CASES))
@pytest.mark.parametrize("c", [1, 2])
def test_leave_one_out_equals_refitting(name, c):
    X, y = data(c=c)
    model = GaussianProcessRegressor(**CASES[name], optimizer=None).fit(X, y)
    found = loo_predictive(memory_map(model, X, y))
    Y = y.reshape(40, -1)
    for i in range(40):
        mean, variance = refit(model, X, Y, np.delete(np.arange(40), i), [i])
        np.testing.assert_allclose(found.mean[i], mean[0], atol=1e-8)
        np.testing.assert_allclose(found.variance[i], variance[0], atol=1e-8)
        density = norm.logpdf(Y[i], mean[0], np.sqrt(variance[0])).sum()
        assert found.log_density[i] == pytest.approx(density, abs=1e-8)


def test_rasmussen_and_williams():
    X, y = data()
    model = GaussianProcessRegressor(KERNEL, alpha=0.1, optimizer=None).fit(X, y)
    found = loo_predictive(memory_map(model, X, y))
    inverse = np.linalg.inv(model.kernel_(X) + 0.1 * np.eye(40))
    variance = 1 / np.diag(inverse)  # (5.12)
    mean = y - inverse @ y * variance
    density = -0.5 * np.log(variance) - (y - mean) ** 2 / (2 * variance) - 0.5 * np.log(2 * np.pi)  # (5.10)
    np.testing.assert_allclose(found.mean[:, 0], mean, atol=1e-8)
    np.testing.assert_allclose(found.variance[:, 0], variance, atol=1e-8)
    assert found.total == pytest.approx(density.sum(), abs=1e-7)  # (5.11)


@pytest.mark.parametrize("c", [1, 2])
def test_rows_without_weight_or_past_the_bound_are_nan_in_silence(c):
    X, y = data(n=20, c=c)
    X[7] = [0, 0, 1]
    X[np.arange(20) != 7, 2] = 0  # only one example knows this slope
    weight = np.r_[0.0, np.ones(19)]
    found = loo_predictive(memory_map(LinearRegression().fit(X, y, weight), X, y, sample_weight=weight))
    assert np.flatnonzero(np.isnan(found.variance[:, 0])).tolist() == [0, 7]
    assert np.flatnonzero(np.isnan(found.log_density)).tolist() == [0, 7]


def test_groups_equal_refitting_for_members_and_all_others():
    X, y = data()
    model = GaussianProcessRegressor(**CASES["noise of each"], optimizer=None).fit(X, y)
    group = [0, 4, 5, 17]
    found = memory_map(model, X, y).leave_out({"a": group})
    mean, _ = refit(model, X, y[:, None], np.delete(np.arange(40), group), np.arange(40))
    change = np.abs(mean[:, 0] - model.predict(X))
    assert found["sensitivity"][0] == pytest.approx(change[group].sum(), abs=1e-8)
    assert found["rest_sensitivity"][0] == pytest.approx(np.delete(change, group).sum(), abs=1e-8)


def laplace_mode(K, y):
    f = np.zeros(len(y))
    for _ in range(60):
        p = 1 / (1 + np.exp(-f))
        w = p * (1 - p)
        f = K @ np.linalg.solve(np.eye(len(y)) + w[:, None] * K, w * f + y - p)
    return f, y - 1 / (1 + np.exp(-f))


@pytest.mark.slow
def test_classifier_agrees_with_refitting_its_laplace_approximation():
    X, y = load_iris(return_X_y=True)
    X, y = X[50:, :2], y[50:]
    model = GaussianProcessClassifier(ConstantKernel(9.0) * RBF(1.0), optimizer=None).fit(X, y)
    m = memory_map(model, X, y)
    K, codes = model.kernel_(X), y - 1
    f, _ = laplace_mode(K, codes)
    np.testing.assert_allclose(m["output"], f, atol=0.02)  # scikit-learn stops its Newton steps early
    mean, truth = 1 / (1 + np.exp(-f)), np.empty(100)
    for i in range(100):
        keep = np.delete(np.arange(100), i)
        moved = K[i, keep] @ laplace_mode(K[np.ix_(keep, keep)], codes[keep])[1]
        truth[i] = abs(1 / (1 + np.exp(-moved)) - mean[i])
    assert m["sensitivity"] @ truth / (truth @ truth) == pytest.approx(1, abs=0.05)
    assert np.linalg.norm(m["sensitivity"] - truth) < 0.06 * np.linalg.norm(truth)


@pytest.mark.slow
def test_white_noise_of_a_classifier_is_a_latent_term_of_each_example():
    X, y = load_iris(return_X_y=True)
    X, y = X[50:, :2], y[50:]  # with identical rows, which share f and not ε
    assert len(np.unique(X, axis=0)) < 100
    kernel = ConstantKernel(9.0) * RBF(1.0) + WhiteKernel(0.7)
    model = GaussianProcessClassifier(kernel, optimizer=None).fit(X, y)
    m = memory_map(model, X, y)
    K, base, codes = model.kernel_(X), model.kernel_(X, X), y - 1
    g, alpha = laplace_mode(K, codes)
    np.testing.assert_allclose(m["output"], g, atol=0.02)
    mean = 1 / (1 + np.exp(-g))
    W = mean * (1 - mean)
    V = K - K @ np.linalg.solve(K + np.diag(1 / W), K)
    np.testing.assert_allclose(m["leverage"], W * np.diagonal(V), rtol=0.01)
    assert m["leverage"].sum() == pytest.approx(m.provenance.description.effective_parameters, rel=1e-9)
    truth, group = np.empty(100), [3, 50, 70]
    for i in range(100):
        keep = np.delete(np.arange(100), i)
        truth[i] = base[i, keep] @ laplace_mode(K[np.ix_(keep, keep)], codes[keep])[1]
    moved, found = truth - g, m["deviation"].ravel()
    assert found @ moved / (moved @ moved) == pytest.approx(1, abs=0.05)
    assert np.linalg.norm(found - moved) < 0.06 * np.linalg.norm(moved)
    keep = np.delete(np.arange(100), group)
    after = K[np.ix_(keep, keep)] @ laplace_mode(K[np.ix_(keep, keep)], codes[keep])[1]
    change = np.abs(1 / (1 + np.exp(-after)) - mean[keep]).sum()
    assert m.leave_out({"a": group})["rest_sensitivity"][0] == pytest.approx(change, rel=0.05)
    new = m.origin.posterior.marginals(X[:5])  # the same inputs, not the same examples: ε is new
    np.testing.assert_allclose(new.f[:, 0], base[:5] @ alpha, atol=0.02)
    assert np.all(
        new.variance[:, 0, 0] > m.origin.posterior.marginals(m.origin.examples.take(range(5)).inputs).variance[:, 0, 0]
    )
    assert "independent latent term" in str(m.provenance.description.notes)


def test_white_noise_in_pipelines_and_with_several_classes():
    X, y = load_iris(return_X_y=True)
    kernel = ConstantKernel(9.0) * RBF(1.0) + WhiteKernel(0.7)
    scaled = StandardScaler().fit_transform(X)
    inner = memory_map(GaussianProcessClassifier(kernel, optimizer=None).fit(scaled, y), scaled, y)
    model = make_pipeline(StandardScaler(), GaussianProcessClassifier(kernel, optimizer=None)).fit(X, y)
    np.testing.assert_allclose(memory_map(model, X, y)["deviation"], inner["deviation"], atol=1e-9)


@pytest.mark.parametrize("white", [0.0, 0.5])
def test_one_vs_one_has_the_outputs_of_its_binary_classifiers(white):
    X, y = load_iris(return_X_y=True)
    names = np.array(["a", "b", "c"])[y]
    kernel = ConstantKernel(9.0) * RBF(1.0)
    kernel = kernel + WhiteKernel(white) if white else kernel
    model = GaussianProcessClassifier(kernel, optimizer=None, multi_class="one_vs_one").fit(X, names)
    m = memory_map(model, X, names)
    assert np.mean(m["prediction"] == model.predict(X)) > 0.98
    leverage, outputs = np.zeros(150), np.full((150, 3), np.nan)
    for k, pair in enumerate((["a", "b"], ["a", "c"], ["b", "c"])):
        rows = np.flatnonzero(np.isin(names, pair))
        alone = memory_map(
            GaussianProcessClassifier(kernel, optimizer=None).fit(X[rows], names[rows]), X[rows], names[rows]
        )
        leverage[rows] += alone["leverage"]
        outputs[rows, k] = -alone["output"]  # positive for the first class
        np.testing.assert_allclose(m["deviation"][rows, k], -alone["deviation"], atol=1e-9)
    np.testing.assert_allclose(m["leverage"], leverage, atol=1e-9)
    seen = np.isfinite(outputs)
    np.testing.assert_allclose(m["output"][seen], outputs[seen], atol=1e-9)
    assert "a|b, a|c, b|c" in str(m.provenance.description.notes)


def test_one_vs_rest_predicts_as_the_model():
    X, y = load_iris(return_X_y=True)
    names = np.array(["a", "b", "c"])[y]
    model = GaussianProcessClassifier(ConstantKernel(9.0) * RBF(1.0), optimizer=None).fit(X, names)
    m = memory_map(model, X, names)
    assert m["output"].shape == (150, 3)
    assert (m["prediction"] == model.predict(X)).all()
    assert m.leave_out("target")["rest_sensitivity"].min() > 0


def test_frames_pipelines_and_duplicate_rows():
    X, y = data()
    X, y = np.vstack([X, X[:3]]), np.r_[y, y[:3] + 0.1]
    frame = pd.DataFrame(X, columns=list("abc"))
    model = make_pipeline(StandardScaler(), GaussianProcessRegressor(KERNEL, alpha=0.1, optimizer=None)).fit(frame, y)
    m = memory_map(model, frame, y)
    inner = memory_map(model[-1], model[0].transform(frame), y)
    np.testing.assert_allclose(m["deviation"], inner["deviation"], atol=1e-12)
    assert m.leave_out({"twins": [0, 40]})["sensitivity"][0] > 0


def test_bad_input_raises_a_message_with_the_remedy():
    X, y = data()
    with pytest.raises(NotFittedError, match="fit"):
        memory_map(GaussianProcessRegressor(), X, y)
    with pytest.raises(NotFittedError, match="fit"):
        memory_map(GaussianProcessClassifier(), X, y > 10)
    model = GaussianProcessRegressor(KERNEL, alpha=0.1, optimizer=None).fit(X, y)
    with pytest.raises(ValueError, match="sample_weight"):
        memory_map(model, X, y, sample_weight=np.ones(40))
    with pytest.raises(ValueError, match="not those"):
        memory_map(model, X[::-1], y)
    with pytest.raises(TargetError, match="numeric"):
        memory_map(model, X, np.full(40, "x"))
    labels = y > 10
    with pytest.raises(TypeError, match="loo_loss"):
        loo_predictive(memory_map(GaussianProcessClassifier(KERNEL, optimizer=None).fit(X, labels), X, labels))


def test_restarts_of_the_optimiser_leave_the_map_reproducible():
    X, y = data()
    model = GaussianProcessRegressor(KERNEL + WhiteKernel(0.2), n_restarts_optimizer=1, random_state=0).fit(X, y)
    a, b = memory_map(model, X, y), memory_map(model, X, y)
    np.testing.assert_array_equal(a["deviation"], b["deviation"])
    assert "fixed" in a.provenance.description.notes[0]
