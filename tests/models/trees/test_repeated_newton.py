"""Several Newton steps in each tree: to first order one step with another size and another curvature."""

import dataclasses

import numpy as np
import pytest

from memorymaps.core.likelihoods.exponential_family import Bernoulli, Gaussian, Poisson
from memorymaps.models.trees.boosting import FixedStructureBoosting, refit_leaf_values
from memorymaps.models.trees.boosting_tangents import tangent_variance
from memorymaps.models.trees.boosting_variance import leaf_space_variance, sampled_variance
from memorymaps.models.trees.repeated_newton import RepeatedNewtonBoosting, with_leaf_steps

rng = np.random.default_rng(8)
N, TREES = 150, 8
W = rng.uniform(0.5, 2, N)
F = rng.normal(size=N)
LEAVES = rng.integers(0, 5, (N, TREES, 1)).astype(np.int32)
SCALES = tuple(tuple(rng.choice([1.0, 0.5, 0.25], rng.integers(0, 4)).tolist()) for _ in range(TREES))
TARGETS = {
    "gaussian": (Gaussian(), F),
    "bernoulli": (Bernoulli(), (F + rng.normal(size=N) > 0).astype(float)),
    "poisson": (Poisson(), rng.poisson(np.exp(F)).astype(float)),
}


def ensemble(name, scales=SCALES, weight=W):
    likelihood, target = TARGETS[name]
    settings = {"learning_rate": 0.3, "ridge": 0.5, "base": np.zeros(1), "scales": scales}
    return RepeatedNewtonBoosting(LEAVES, target, weight, likelihood, **settings)


@pytest.mark.parametrize("name", TARGETS)
def test_one_full_step_is_plain_boosting(name):
    one = ensemble(name, ((1.0,),) * TREES)
    plain = FixedStructureBoosting(*(getattr(one, each.name) for each in dataclasses.fields(FixedStructureBoosting)))
    found, expected = refit_leaf_values(one), refit_leaf_values(plain)
    np.testing.assert_allclose(found.f, expected.f, rtol=1e-12)
    np.testing.assert_allclose(
        leaf_space_variance(one, found), leaf_space_variance(plain, expected), rtol=1e-12
    )  # fmt: skip


def test_squared_error_leverage_is_the_derivative_by_the_target():
    model = ensemble("gaussian")
    run = refit_leaf_values(model)
    h = W * leaf_space_variance(model, run)[:, 0, 0]
    for i in range(0, N, 17):
        moved = dataclasses.replace(model, target=F + (np.arange(N) == i))
        assert (refit_leaf_values(moved).f - run.f)[i, 0] == pytest.approx(h[i], rel=1e-9, abs=1e-12)


class Recorded:
    """A likelihood that repeats the curvatures of an earlier run, with one perturbed gradient."""

    def __init__(self, inner, perturbation=0.0, path=None):
        self.inner, self.perturbation, self.path, self.stage = inner, perturbation, path, 0
        self.seen = []

    def error(self, f, y):
        return self.inner.error(f, y) - self.perturbation

    def fisher_diagonal(self, f, y):
        self.stage += 1
        self.seen.append(self.inner.fisher_diagonal(f, y) if self.path is None else self.path[self.stage - 1])
        return self.seen[-1]


@pytest.mark.parametrize("name", ["bernoulli", "poisson"])
def test_variance_is_the_derivative_by_minus_the_gradient_with_fixed_denominators(name):
    model = ensemble(name, weight=np.ones(N))
    likelihood = model.likelihood
    variance = leaf_space_variance(model, refit_leaf_values(model))
    first = Recorded(likelihood)
    refit_leaf_values(dataclasses.replace(model, likelihood=first))
    for i in (0, 50, 100):
        ends = []
        for sign in (1e-6, -1e-6):
            perturbation = sign * (np.arange(N) == i)[:, None]
            replay = Recorded(likelihood, perturbation, first.seen)
            ends.append(refit_leaf_values(dataclasses.replace(model, likelihood=replay)).f[i, 0])
        assert variance[i, 0, 0] == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-6)


@pytest.mark.parametrize("name", TARGETS)
def test_tangents_and_the_leaf_space_agree(name):
    model = ensemble(name)
    run = refit_leaf_values(model)
    np.testing.assert_allclose(tangent_variance(model, run), leaf_space_variance(model, run), rtol=1e-9, atol=1e-13)


@pytest.mark.slow
@pytest.mark.parametrize("name", TARGETS)
def test_random_probes_converge_to_the_exact_variance(name):
    model = ensemble(name)
    run, probes = refit_leaf_values(model), 4096
    exact = leaf_space_variance(model, run)[:, 0, 0]
    assert abs((sampled_variance(model, run, probes, seed=0)[:, 0, 0] / exact).mean() - 1) < 0.02


@pytest.mark.parametrize("backtracking", [True, False])
def test_scales_are_found_from_leaf_values(backtracking):
    scales = ((1.0, 1.0, 1.0), (1.0, 0.5), (0.25,)) if backtracking else ((1.0,) * 3,) * 3
    first = ensemble("poisson")
    first = dataclasses.replace(first, leaves=LEAVES[:, :3], scales=scales)
    staged = refit_leaf_values(first).staged_outputs[:, :, 0]
    fields = (getattr(first, each.name) for each in dataclasses.fields(FixedStructureBoosting))
    found = with_leaf_steps(FixedStructureBoosting(*fields), np.zeros(1), np.diff(staged, axis=0).T, 3, backtracking)
    again = refit_leaf_values(found).staged_outputs[:, :, 0]
    if not backtracking:
        assert found.scales == scales
        np.testing.assert_allclose(again, staged, rtol=1e-12)
    else:  # halved steps that decrease the loss are no schedule of the library: only the first tree is
        assert found.scales[0] == scales[0]
