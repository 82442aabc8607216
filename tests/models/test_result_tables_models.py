"""Tables of classical influence and of posterior draws are what deletion and plain loops give."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import digamma, polygamma
from sklearn.linear_model import LinearRegression, PoissonRegressor
from table_oracles import Dense, expected_group, gaussian, linear, map_row, poisson

import memorymaps as mm
from memorymaps.analysis import measures
from memorymaps.core.likelihoods.expected import ExpectedLikelihood
from memorymaps.core.likelihoods.exponential_family import Bernoulli, Gaussian
from memorymaps.models.draws.draws import Draws, Sampler
from memorymaps.models.draws.importance_sampling import ImportanceWeights

RNG = np.random.default_rng(61)
N, P = 24, 3
X = RNG.normal(size=(N, P - 1))
ONES = np.column_stack([np.ones(N), X])
WEIGHT = RNG.uniform(0.4, 2.5, N)
Y = ONES @ [0.5, -1.0, 2.0] + RNG.normal(size=N) / np.sqrt(WEIGHT)
IDS = [f"case {k}" for k in RNG.permutation(N)]
NEAR = {"rtol": 1e-8, "atol": 1e-10}


# --- influence -------------------------------------------------------------------------------------------------------


def weighted_fit(keep):
    """Coefficients, `s²` and `(XᵀWX)⁻¹` of a fit to some rows, by a loop."""
    gram = sum(WEIGHT[i] * np.outer(ONES[i], ONES[i]) for i in keep)
    b = np.linalg.solve(gram, sum(WEIGHT[i] * Y[i] * ONES[i] for i in keep))
    rss = sum(WEIGHT[i] * (Y[i] - ONES[i] @ b) ** 2 for i in keep)
    return b, rss / (len(keep) - P), np.linalg.inv(gram)


def deletion(i) -> dict[str, float]:
    """Every influence measure by its definition: a fit with, and a fit without, example `i`."""
    keep = [k for k in range(N) if k != i]
    (b, s2, inverse), (b_i, s2_i, inverse_i) = weighted_fit(range(N)), weighted_fit(keep)
    x, w = ONES[i], WEIGHT[i]
    hat = w * x @ inverse @ x
    rss = s2 * (N - P)
    share = w * (Y[i] - x @ b) ** 2 / rss
    moved = [ONES[k] @ (b - b_i) for k in range(N)]
    errors = [math.sqrt(inverse[j, j]) for j in range(P)]
    named = {
        "hat": hat,
        "rstandard": math.sqrt(w) * (Y[i] - x @ b) / math.sqrt(s2 * (1 - hat)),
        "rstudent": math.sqrt(w) * (Y[i] - x @ b) / math.sqrt(s2_i * (1 - hat)),
        "cooks_distance": sum(WEIGHT[k] * moved[k] ** 2 for k in range(N)) / (P * s2),
        "dffits": moved[i] / math.sqrt(s2_i * x @ inverse @ x),
        "covratio": np.linalg.det(s2_i * inverse_i) / np.linalg.det(s2 * inverse),
        "press_residual": Y[i] - x @ b_i,
        "hadi": hat / (1 - hat) + P / (1 - hat) * share / (1 - share),
    }
    names = ("(Intercept)", "x0", "x1")
    return named | {f"dfb_{n}": (b - b_i)[j] / (math.sqrt(s2_i) * errors[j]) for j, n in enumerate(names)}


def test_the_influence_table_is_what_deletion_gives():
    m = mm.memory_map(LinearRegression().fit(X, Y, sample_weight=WEIGHT), X, Y, sample_weight=WEIGHT, ids=IDS)
    table, expected = measures.influence_table(m), [deletion(i) for i in range(N)]
    assert table.index.tolist() == IDS
    assert list(table.columns) == list(expected[0])
    for name in expected[0]:
        np.testing.assert_allclose(table[name], [row[name] for row in expected], **NEAR, err_msg=name)


def test_measures_beside_the_table_are_what_deletion_gives():
    m = mm.memory_map(LinearRegression().fit(X, Y, sample_weight=WEIGHT), X, Y, sample_weight=WEIGHT)
    b, s2, inverse = weighted_fit(range(N))
    without = [weighted_fit([k for k in range(N) if k != i]) for i in range(N)]
    errors = [math.sqrt(s2 * inverse[j, j]) for j in range(P)]
    np.testing.assert_allclose(measures.standard_errors(m), errors, **NEAR)
    np.testing.assert_allclose(measures.dfbeta(m), [b - each[0] for each in without], **NEAR)
    np.testing.assert_allclose(measures.dfbetas_internal(m), [(b - each[0]) / errors for each in without], **NEAR)
    np.testing.assert_allclose(measures.loo_scale(m), [math.sqrt(each[1] / s2) for each in without], **NEAR)
    pearson = [math.sqrt(WEIGHT[i] / s2) * (Y[i] - ONES[i] @ b) for i in range(N)]
    np.testing.assert_allclose(measures.pearson_residuals(m), pearson, **NEAR)
    assert measures.press(m) == pytest.approx(sum((Y[i] - ONES[i] @ without[i][0]) ** 2 for i in range(N)), rel=1e-9)
    inside = [ONES[i] @ (b - without[i][0]) / math.sqrt(s2 * ONES[i] @ inverse @ ONES[i]) for i in range(N)]
    np.testing.assert_allclose(measures.dffits_internal(m), inside, **NEAR)


def test_the_influence_table_with_a_known_dispersion_is_one_step():
    counts = np.floor(np.exp(0.3 * Y) + 0.5)
    model = PoissonRegressor(alpha=0.0, tol=1e-12, max_iter=5000).fit(X, counts)
    m = mm.memory_map(model, X, counts)
    b = np.r_[model.intercept_, model.coef_][:, None]
    d = linear(poisson(), ONES, counts, np.ones(N), b, np.zeros((P, 1)))
    table, covariance = measures.influence_table(m), d.covariance()
    total = sum((counts[i] - math.exp(d.f[i, 0])) ** 2 / math.exp(d.f[i, 0]) for i in range(N))
    for i in range(N):
        mu, x = math.exp(d.f[i, 0]), ONES[i]
        hat, pearson, shift = mu * x @ covariance @ x, (counts[i] - mu) / math.sqrt(mu), -d.shift([i])
        expected = {
            "hat": hat,
            "rstandard": pearson / math.sqrt(1 - hat),
            "rstudent": pearson / math.sqrt(1 - hat),
            "cooks_distance": shift @ np.linalg.inv(covariance) @ shift / P,
            "dffits": x @ shift / math.sqrt(x @ covariance @ x),
            "covratio": 1 / (1 - hat),
            "press_residual": counts[i] - math.exp(d.f[i, 0] + map_row(d, i)["deviation"][0]),
            "hadi": hat / (1 - hat) + P / (1 - hat) * pearson**2 / (total - pearson**2),
        }
        expected |= {
            f"dfb_{n}": shift[j] / math.sqrt(covariance[j, j]) for j, n in enumerate(("(Intercept)", "x0", "x1"))
        }
        assert table.iloc[i].to_dict() == pytest.approx(expected, rel=1e-6, abs=1e-9)


# --- draws -----------------------------------------------------------------------------------------------------------


def sample_covariances(f):
    """Mean `[n, c]` and covariances `[n, c, c]` of draws `[s, n, c]`, divided by `s − 1`, by loops."""
    s, n, c = f.shape
    mean = [[sum(f[k, i, a] for k in range(s)) / s for a in range(c)] for i in range(n)]
    products = [
        [
            [sum((f[k, i, a] - mean[i][a]) * (f[k, i, b] - mean[i][b]) for k in range(s)) for b in range(c)]
            for a in range(c)
        ]
        for i in range(n)
    ]
    return np.array(mean), np.array(products) / (s - 1)


def shrunk(covariances, s):
    """Shapes by OAS and sizes by Smyth's rule in coordinates where the mean covariance is one; `c` full directions."""
    n, c = len(covariances), covariances.shape[1]
    root = np.linalg.cholesky(sum(covariances) / n)
    white = [np.linalg.solve(root, np.linalg.solve(root, v).T) for v in covariances]
    size = [sum(a[k, k] for k in range(c)) / c for a in white]
    centre, strength = prior_of_sizes(size, (s - 1) * c)
    found = []
    for a, own in zip(white, size, strict=True):
        if c > 1:
            rho = oas(a, s - 1, c)
            a = (1 - rho) * a + rho * own * np.eye(c)
        df = s * c - c
        better = centre if math.isinf(strength) else (strength * centre + df * own) / (strength + df)
        found.append(root @ (a * better / own) @ root.T)
    return np.array(found)


def oas(a, df, c):
    """Chen, Wiesel, Eldar and Hero 2010, eq. 23, with `df` degrees of freedom of a known mean."""
    square = sum(a[i, j] ** 2 for i in range(c) for j in range(c))
    trace2 = sum(a[i, i] for i in range(c)) ** 2
    return min(((1 - 2 / c) * square + trace2) / ((df + 1 - 2 / c) * (square - trace2 / c)), 1.0)


def prior_of_sizes(size, df):
    """Smyth 2004, section 6.2: the centre `s₀²` and the degrees of freedom `d₀` of the prior of variances."""
    e = [math.log(v) - digamma(df / 2) + math.log(df / 2) for v in size]
    mean = sum(e) / len(e)
    excess = sum((value - mean) ** 2 for value in e) / (len(e) - 1) - polygamma(1, df / 2)
    if excess <= 0:
        return math.exp(mean), math.inf
    half = math.exp(brentq(lambda t: polygamma(1, math.exp(t)) - excess, -10, 10, xtol=1e-14))
    return math.exp(mean + digamma(half) - math.log(half)), 2 * half


def dense_of(f, variance, y, weight, phi):
    """Draws as a linear model with a Jacobian for each example that has exactly its covariance, one block each."""
    n, c = len(variance), variance.shape[1]
    d = []
    for i in range(n):
        root = np.linalg.cholesky(variance[i])
        curvature = weight[i] * np.eye(c) / phi
        prior = np.eye(c) - root.T @ curvature @ root  # S = I, so that V = root rootᵀ
        d.append(OneExample(gaussian(*[phi] * c), f[i : i + 1], root[None], y[i : i + 1], weight[i : i + 1], prior))
    return d


class OneExample(Dense):
    """A dense prior in place of a diagonal one."""

    def covariance(self, without=()):
        own = self.jacobian[0].T @ self.curvature(0) @ self.jacobian[0]
        return np.linalg.inv(self.delta + (0 if 0 in without else own))


def draws(c, s, seed=0):
    """Few draws whose variances differ between examples."""
    rng = np.random.default_rng(seed)
    scale = 0.4 * np.exp(0.8 * rng.normal(size=(N, 1)))
    mix = np.linalg.cholesky(0.5 * np.eye(c) + 0.5)
    return rng.normal(size=(1, N, 1)) + scale * (rng.normal(size=(s, N, c)) @ mix.T)


def check_rows(m, expected):
    for name in set(expected[0]) & set(m):
        values = np.reshape(np.array([row[name] for row in expected], dtype=float), m[name].shape)
        np.testing.assert_allclose(m[name], values, rtol=1e-7, atol=1e-9, err_msg=name)


@pytest.mark.parametrize(("c", "s"), [(1, 2), (1, 6), (1, 60), (2, 6), (3, 9)])
def test_every_column_of_a_map_of_draws(c, s):
    f, phi = draws(c, s), 9.0
    y = RNG.normal(size=(N, c))
    targets = y[:, 0] if c == 1 else y
    mean, raw = sample_covariances(f)
    variance = shrunk(raw, s)
    assert np.max(np.abs(variance / raw - 1)) > 0.01  # there is something to shrink
    expected = [map_row(d, 0) for d in dense_of(mean, variance, y, WEIGHT, phi)]
    likelihood = Gaussian(phi if c == 1 else (phi,) * c)
    for model in (Draws(f, likelihood), Sampler(lambda x: f[:, np.asarray(x, dtype=int)[:, 0]], likelihood)):
        m = mm.memory_map(model, np.arange(N)[:, None], targets, sample_weight=WEIGHT)
        check_rows(m, expected)
        note = (
            f"Each V is estimated from {s:,} draws: about {math.sqrt(2 / (s - 1)):.0%} relative error of one leverage"
        )
        assert m.provenance.description.notes[0].startswith(note)


def test_draws_of_one_example_are_not_shrunk():
    f, y = np.array([1.0, 2.0, 4.0, 5.5])[:, None], np.array([7.0])
    m = mm.memory_map(Draws(f, Gaussian(30.0)), y, y)
    mean = 12.5 / 4
    variance = sum((value - mean) ** 2 for value in f[:, 0]) / 3
    assert m["leverage"][0] == pytest.approx(variance / 30, rel=1e-12)
    assert m["deviation"][0] == pytest.approx(variance / (1 - variance / 30) * (mean - 7) / 30, rel=1e-12)


def test_groups_of_draws_leave_by_their_sample_covariance():
    s, phi = 40, 4.0
    f, y = draws(1, s), RNG.normal(size=N)
    z = (f[:, :, 0] - f[:, :, 0].mean(axis=0)).T / math.sqrt(s - 1)
    prior = np.eye(s) - sum(WEIGHT[i] / phi * np.outer(z[i], z[i]) for i in range(N))  # S = I: V = z zᵀ

    class Joint(Dense):
        def covariance(self, without=()):
            found = self.delta + sum(WEIGHT[i] / phi * np.outer(z[i], z[i]) for i in range(N) if i not in without)
            return np.linalg.inv(found)

    d = Joint(gaussian(phi), f.mean(axis=0), z[:, None], y[:, None], WEIGHT, prior)
    groups = {"a": [0, 5, 6], "b": [11]}
    m = mm.memory_map(Draws(f, Gaussian(phi)), y, y, sample_weight=WEIGHT)
    found = m.leave_out(groups)
    for k, members in enumerate(groups.values()):
        expected = expected_group(d, members) | {"leverage": sum(m["leverage"][members].tolist())}  # the shrunk one
        assert found.to_pandas().iloc[k].drop(["group", "warning"]).to_dict() == pytest.approx(
            expected, rel=1e-8, nan_ok=True
        )


def weights_as_they_are(log_likelihood):
    """Importance weights `1/p` without smoothing, and tail shapes that the test chooses."""
    logs = -log_likelihood
    top = logs.max(axis=1, keepdims=True)
    total = top + np.log(np.exp(logs - top).sum(axis=1, keepdims=True))
    return ImportanceWeights(logs - total, np.linspace(0.3, 0.8, len(logs)))


@pytest.mark.slow
@pytest.mark.parametrize("s", [50, 4000])
def test_columns_of_reweighted_draws(s):
    phi, f = 9.0, draws(1, s)
    y = RNG.normal(size=N)
    m = mm.memory_map(Draws(f, Gaussian(phi), importance=weights_as_they_are), y, y, sample_weight=WEIGHT)
    limit = min(1 - 1 / math.log10(s), 0.7)
    mean, raw = sample_covariances(f)
    variance = shrunk(raw, s)[:, 0, 0]
    for i in range(N):
        p = [math.exp(-0.5 * (v - y[i]) ** 2 / phi) / math.sqrt(2 * math.pi * phi) for v in f[:, i, 0]]
        ratio = [value ** -WEIGHT[i] for value in p]
        total = sum(ratio)
        assert m["pareto_k"][i] == pytest.approx(0.3 + 0.5 * i / (N - 1))
        assert m["psis_loo_loss"][i] == pytest.approx(
            -math.log(sum(r * v for r, v in zip(ratio, p, strict=True)) / total)
        )
        moved = sum(r * v for r, v in zip(ratio, f[:, i, 0], strict=True)) / total
        assert m["psis_deviation"][i] == pytest.approx(moved - f[:, i, 0].mean(), rel=1e-9, abs=1e-12)
        room = 1 - WEIGHT[i] * variance[i] / phi
        assert room > 1e-3
        around = phi + variance[i] / room
        gap = mean[i, 0] + variance[i] / room * WEIGHT[i] * (mean[i, 0] - y[i]) / phi - y[i]
        loss = 0.5 * (gap**2 / around + math.log(2 * math.pi * around))
        assert m["gaussian_loo_loss"][i] == pytest.approx(loss, rel=1e-9)
        flagged = (m["warning"][i] & int(mm.Warn.PARETO_K)) > 0
        assert flagged == (0.3 + 0.5 * i / (N - 1) > limit)


def test_reweighted_classes_in_expectation():
    """Draws of log odds: importance weights ask the likelihood at each draw, not its average."""
    f, y = draws(1, 80), np.arange(N) % 2
    m = mm.memory_map(Draws(f, ExpectedLikelihood(Bernoulli()), importance=weights_as_they_are), y, y)
    for i in range(N):
        p = [1 / (1 + math.exp(-v if y[i] else v)) for v in f[:, i, 0]]
        loss = -math.log(len(p) / sum(1 / value for value in p))
        assert m["psis_loo_loss"][i] == pytest.approx(loss, rel=1e-9)
