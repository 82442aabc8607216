"""Kernel models with hardly any noise, against 50 digits and refits: leverages, deviations, groups, rounding."""

import mpmath
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, Matern
from sklearn.kernel_ridge import KernelRidge
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import memorymaps as mm
from memorymaps.analysis.answers.query_deviations import example_deviations, group_deviations
from memorymaps.analysis.predictive import loo_predictive
from memorymaps.models.kernels.gram_posterior import GramConditional, KernelOutput
from memorymaps.models.kernels.rounding import Rounding, change_by_rounding, condition_number

N = 30
LINE = np.sort(np.random.default_rng(1).uniform(0, 10, N))[:, None]
PLANE = np.random.default_rng(2).uniform(size=(N, 2))
SINE = np.sin(LINE[:, 0])
WAVES = np.sin(6 * PLANE[:, 0]) * PLANE[:, 1]
GROUP = [3, 4, 5, 12]


def process(kernel, alpha=1e-10):
    return GaussianProcessRegressor(kernel, alpha=alpha, optimizer=None)


def ridge(alpha, gamma):
    return KernelRidge(alpha=alpha, kernel="rbf", gamma=gamma)


CASES = {
    "default noise": (process(RBF(1.0)), LINE, SINE, 1e-6),
    "Matérn": (process(ConstantKernel(1.0) * Matern(3.0, nu=2.5)), LINE, SINE, 1e-6),
    "noise of each": (process(RBF(0.7), np.geomspace(1e-11, 1e-8, N)), LINE, SINE, 1e-6),
    "in the plane": (process(ConstantKernel(2.0) * RBF(0.3)), PLANE, WAVES, 1e-6),
    "kernel ridge": (ridge(1e-12, 10.0), PLANE, WAVES, 1e-6),
    "kernel ridge, more noise": (ridge(1e-3, 1.0), PLANE, WAVES, 1e-8),
}
ILL = (process(ConstantKernel(1e4) * RBF(3.0)), LINE, SINE)


def kernel_of(model, a, b):
    return model.kernel_(a, b) if isinstance(model, GaussianProcessRegressor) else model._get_kernel(a, b)


def refitted(model, x, y, removed, at):
    """Predictions of 50 digits without some rows, for the kernel matrix in float64."""
    keep = np.setdiff1d(np.arange(len(y)), removed)
    with mpmath.workdps(50):
        system = mpmath.matrix(kernel_of(model, x[keep], x[keep]).tolist())
        for i, alpha in enumerate(np.broadcast_to(model.alpha, len(y))[keep].tolist()):
            system[i, i] += mpmath.mpf(alpha)
        duals = mpmath.lu_solve(system, mpmath.matrix(y[keep].tolist()))
        return np.asarray([float(v) for v in mpmath.matrix(kernel_of(model, at, x[keep]).tolist()) * duals])


def exact(model, x, y):
    """`h`, `1 − h` and `Δf` of each example from `A⁻¹` and `A⁻¹y` in 50 digits."""
    with mpmath.workdps(50):
        system, noise = mpmath.matrix(kernel_of(model, x, x).tolist()), np.broadcast_to(model.alpha, len(y)).tolist()
        for i, alpha in enumerate(noise):
            system[i, i] += mpmath.mpf(alpha)
        inverse = system**-1
        duals = inverse * mpmath.matrix(y.tolist())
        rest = [mpmath.mpf(alpha) * inverse[i, i] for i, alpha in enumerate(noise)]
        deviation = [mpmath.mpf(alpha) * duals[i] - duals[i] / inverse[i, i] for i, alpha in enumerate(noise)]
        return tuple(np.asarray([float(v) for v in found]) for found in ([1 - q for q in rest], rest, deviation))


def difference(found, expected):
    return np.linalg.norm(np.ravel(found) - expected) / np.linalg.norm(expected)


@pytest.mark.parametrize("name", list(CASES))
def test_leverages_and_deviations_are_those_of_fifty_digits(name):
    model, x, y, tolerance = CASES[name]
    m = mm.memory_map(model.fit(x, y), x, y)
    h, rest, deviation = exact(model, x, y)
    assert difference(m["deviation"], deviation) < tolerance
    np.testing.assert_allclose(m["leverage"], h, rtol=2e-5)
    variance = m.origin.posterior.kernel_outputs[0].conditional.remaining
    np.testing.assert_allclose(variance, rest, rtol=1e-4)
    assert m["warning"].max() == 0
    assert m.trust["sensitivity"].level == "exact"


@pytest.mark.parametrize("name", ["default noise", "Matérn", "in the plane", "kernel ridge"])
def test_deviations_are_those_of_refits(name):
    model, x, y, _ = CASES[name]
    m = mm.memory_map(model.fit(x, y), x, y)
    rows, truth = np.arange(N), np.empty(N)
    for i in rows:
        left = clone(model).fit(x[rows != i], y[rows != i])
        truth[i] = (left.predict(x[[i]]) - model.predict(x[[i]]))[0]
    assert difference(m["deviation"], truth) < 1e-5
    rmse = np.sqrt(np.mean((model.predict(x) + truth - y) ** 2))
    assert f"{rmse:.4f} ±" in str(m.leave_one_out())


def test_the_bounded_estimator_does_not_stop_at_the_bound_of_differences():
    model, x, y, _ = CASES["default noise"]
    m, bounded = (mm.memory_map(model.fit(x, y), x, y, estimator=name) for name in ("cavity", "bounded_cavity"))
    assert m["leverage"].max() > 1 - 1e-6
    np.testing.assert_array_equal(bounded["deviation"], m["deviation"])
    queries = [
        np.concatenate([part for _, part in example_deviations(each, x[:2] + 0.03, 2)], axis=1) for each in (m, bounded)
    ]
    np.testing.assert_array_equal(*queries)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["default noise", "noise of each", "kernel ridge", "kernel ridge, more noise"])
def test_groups_refits_and_influences_have_the_same_errors(name):
    model, x, y, _ = CASES[name]
    m = mm.memory_map(model.fit(x, y), x, y)
    whole, without = refitted(model, x, y, [], x), refitted(model, x, y, GROUP, x)
    change, others = np.abs(without - whole), np.setdiff1d(np.arange(N), GROUP)
    found = m.leave_out({"a": GROUP})
    assert found["sensitivity"][0] == pytest.approx(change[GROUP].sum(), rel=1e-4)
    assert found["rest_sensitivity"][0] == pytest.approx(change[others].sum(), rel=1e-4)
    assert difference(mm.refit(m, top=N)["deviation"], exact(model, x, y)[2]) < 1e-5
    queries = x[:4] + 0.03
    at = refitted(model, x, y, [], queries)
    moved = np.stack([refitted(model, x, y, [i], queries) - at for i in range(N)], axis=1)
    deviations = np.concatenate([part for _, part in example_deviations(m, queries, 4)], axis=1)
    assert difference(deviations, np.ravel(moved)) < 1e-5
    of_group = group_deviations(m, [np.asarray(GROUP)], queries)[0]
    assert difference(of_group, refitted(model, x, y, GROUP, queries) - at) < 1e-4


def test_the_joint_log_score_of_a_group_is_that_of_its_predictive_distribution():
    model, x, y, _ = CASES["default noise"]
    m = mm.memory_map(model.fit(x, y), x, y)
    keep = np.setdiff1d(np.arange(N), GROUP)
    with mpmath.workdps(50):
        whole = mpmath.matrix(kernel_of(model, x, x).tolist()) + mpmath.mpf(model.alpha) * mpmath.eye(N)
        order = [*keep.tolist(), *GROUP]
        part = lambda rows, columns: mpmath.matrix([[whole[i, j] for j in columns] for i in rows])  # noqa: E731
        cross, inverse = part(GROUP, order[: len(keep)]), part(order[: len(keep)], order[: len(keep)]) ** -1
        covariance = part(GROUP, GROUP) - cross * inverse * cross.T
        gap = mpmath.matrix(y[GROUP].tolist()) - cross * inverse * mpmath.matrix(y[keep].tolist())
        score = -(gap.T * covariance**-1 * gap)[0] / 2 - mpmath.log(mpmath.det(2 * mpmath.pi * covariance)) / 2
    assert m.leave_out({"a": GROUP})["joint_log_score"][0] == pytest.approx(float(score), rel=1e-6)


def test_variances_without_an_example_are_known_beyond_the_bound_of_differences():
    model, x, y = process(RBF(0.3), 1e-13), LINE[::3], SINE[::3]
    m = mm.memory_map(model.fit(x, y), x, y)
    rest = exact(model, x, y)[1]
    assert rest.min() < 1e-10
    np.testing.assert_allclose(loo_predictive(m).variance[:, 0], 1e-13 / rest, rtol=1e-4)
    assert np.isfinite(loo_predictive(m).total)


def test_a_saved_map_has_the_same_figures(tmp_path):
    model, x, y, _ = CASES["default noise"]
    m = mm.memory_map(model.fit(x, y), x, y)
    m.save(tmp_path / "m.parquet")
    loaded = mm.load(tmp_path / "m.parquet")
    np.testing.assert_array_equal(loaded["deviation"], m["deviation"])
    assert str(loaded.leave_one_out()) == str(m.leave_one_out())
    assert str(loaded.trust) == str(m.trust)


def test_pipelines_and_models_of_each_target_state_the_same():
    targets = np.stack([SINE, np.cos(LINE[:, 0])], axis=1)
    own = mm.memory_map(process(RBF(1.0)).fit(LINE, targets), LINE, targets)
    each = mm.memory_map(MultiOutputRegressor(process(RBF(1.0))).fit(LINE, targets), LINE, targets)
    np.testing.assert_allclose(each["deviation"], own["deviation"], rtol=1e-6)
    left, other = (m.leave_out({"a": GROUP}) for m in (each, own))
    for name in ("sensitivity", "rest_sensitivity", "joint_log_score"):
        np.testing.assert_allclose(left[name], other[name], rtol=1e-6)
    pairs = [
        np.concatenate([part for _, part in example_deviations(m, LINE[:3] + 0.1, 3)], axis=1) for m in (each, own)
    ]
    np.testing.assert_allclose(*pairs, rtol=1e-6)
    scaled = StandardScaler().fit_transform(LINE)
    piped = mm.memory_map(make_pipeline(StandardScaler(), process(RBF(0.3))).fit(LINE, SINE), LINE, SINE)
    inner = mm.memory_map(process(RBF(0.3)).fit(scaled, SINE), scaled, SINE)
    np.testing.assert_allclose(piped["deviation"], inner["deviation"], rtol=1e-6)
    np.testing.assert_allclose(
        piped.leave_out({"a": GROUP})["rest_sensitivity"], inner.leave_out({"a": GROUP})["rest_sensitivity"], rtol=1e-6
    )


def test_rows_without_weight_change_nothing():
    weight = np.r_[0.0, 0.0, np.linspace(0.5, 2, N - 2)]
    model = ridge(1e-8, 10.0).fit(PLANE, WAVES, sample_weight=weight)
    m = mm.memory_map(model, PLANE, WAVES, sample_weight=weight)
    assert np.all(m["deviation"][:2] == 0)
    found = m.leave_out({"none": [0, 1], "some": [0, 5, 6]})
    assert found["rest_sensitivity"][0] == 0
    keep = np.setdiff1d(np.arange(N), [0, 5, 6])
    left = ridge(1e-8, 10.0).fit(PLANE[keep], WAVES[keep], sample_weight=weight[keep])
    change = np.abs(left.predict(PLANE) - model.predict(PLANE))
    assert found["sensitivity"][1] == pytest.approx(change[[0, 5, 6]].sum(), rel=1e-4)
    assert found["rest_sensitivity"][1] == pytest.approx(change[keep].sum(), rel=1e-3)


def test_the_dispersion_of_kernel_ridge_is_positive():
    model = ridge(1e-12, 10.0).fit(PLANE, WAVES)
    rest = exact(model, PLANE, WAVES)[1]
    expected = np.sum((1e-12 * model.dual_coef_) ** 2) / rest.sum()
    found = mm.memory_map(model, PLANE, WAVES).provenance.description
    assert found.dispersion == pytest.approx(expected, rel=1e-4)
    assert found.residual_df == pytest.approx(rest.sum(), rel=1e-4)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:An ill-conditioned matrix")
def test_float32_has_the_error_that_is_stated():
    x = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)
    y = np.sin(x[:, 0])
    found = []
    for alpha in (1e-4, 1e-6):
        m = mm.memory_map(ridge(alpha, 0.1).fit(x, y), x, y)
        truth = exact(ridge(alpha, 0.1).fit(x.astype(float), y.astype(float)), x.astype(float), y.astype(float))[2]
        stated = m.provenance.description.relative_error
        assert 0.05 * stated < difference(m["deviation"], truth) < stated
        found.append(stated)
    assert found[0] < 0.005 < found[1]


def test_what_rounding_changes_is_stated_and_lowers_trust():
    model, x, y = ILL
    m = mm.memory_map(model.fit(x, y), x, y)
    h, _, deviation = exact(model, x, y)
    stated = m.provenance.description.relative_error
    assert difference(m["deviation"], deviation) < stated < 0.3
    assert difference(m["leverage"], h) < stated
    assert {v.figure: str(v.level) for v in m.trust} == dict.fromkeys(
        ("leverage", "sensitivity", "loo_loss", "ranks", "groups"), "estimated"
    )
    caution = m.provenance.description.cautions[0]
    assert f"rounding may change the figures by {stated:.0%}" in caution
    assert caution in str(m.summary())


def test_condition_numbers_are_those_of_unit_diagonals():
    gram, curvature = RBF(0.5)(LINE), np.r_[0.0, 100.0 * np.arange(1, N)]
    system = gram[1:, 1:] + np.diag(1 / curvature[1:])
    size = np.diagonal(system) ** -0.5
    found = condition_number(KernelOutput(None, None, gram, curvature))
    assert found == pytest.approx(np.linalg.cond(size[:, None] * system * size, 1), rel=0.25)  # LAPACK's is a bound


def test_a_kernel_that_rounding_makes_indefinite_has_no_finite_error():
    gram = np.ones((4, 4)) + 1e-15 * np.eye(4)
    part = KernelOutput(None, None, gram, np.full(4, 1e15), error=np.ones(4))
    assert change_by_rounding(part, 1e-14) == np.inf
    rounding = Rounding.of((part,), 1e-14)
    assert rounding.stated == np.inf
    assert "by more than their size. Fit with b" in rounding.cautions("a", "b")[0]


@pytest.mark.parametrize("intercept", [True, False])
def test_what_remains_is_a_sum_of_squares(intercept):
    curvature = np.r_[0.0, np.linspace(0.1, 3, N - 1)]
    conditional = GramConditional.from_gram(RBF(1.0)(LINE), curvature, intercept)
    v = conditional.variance(RBF(1.0)(LINE), np.ones(N))
    np.testing.assert_allclose(conditional.remaining, 1 - (curvature * v)[1:], atol=1e-12)
