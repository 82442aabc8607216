"""The one equation against its dense definition, its invariances and a root finder."""

import numpy as np
import pytest
from scipy.optimize import root

from memorymaps.core.likelihoods.categorical import Categorical
from memorymaps.core.likelihoods.exponential_family import Bernoulli, Gaussian, Poisson
from memorymaps.core.perturbation.deviation import (
    Warn,
    bound_warnings,
    cavity,
    cavity_variance,
    first_order,
    implicit,
    leverage,
    leverage_norm,
)
from memorymaps.core.perturbation.estimators import CODES, estimator_named, loo_loss, memorization, perturb
from memorymaps.core.perturbation.group_removal import (
    GroupSystem,
    few_rows_coordinates,
    group_coordinates,
    group_deviation,
)
from memorymaps.core.perturbation.local import FullVariance

rng = np.random.default_rng(2)
N, C = 7, 4
ROOT = rng.normal(size=(N, C, C)) * 0.3
V = ROOT @ np.swapaxes(ROOT, 1, 2)
F = rng.normal(size=(N, C))
Y = rng.integers(0, C, N)
W = rng.uniform(0.5, 2, N)
AT = FullVariance(Categorical(), F, Y, W, V)


def test_cavity_is_its_dense_definition():
    inverse = np.linalg.inv(np.eye(C) - AT.curvature @ V)
    np.testing.assert_allclose(
        cavity(AT.error, V, AT.curvature), (V @ inverse @ AT.error[..., None])[..., 0], rtol=1e-9
    )
    np.testing.assert_allclose(cavity_variance(V, AT.curvature), V @ inverse, rtol=1e-9, atol=1e-13)


def test_leverages_are_their_definitions():
    product = AT.curvature @ V
    np.testing.assert_allclose(leverage(V, AT.curvature), np.trace(product, axis1=1, axis2=2), rtol=1e-12)
    expected = np.linalg.norm(np.diagonal(V @ AT.curvature, axis1=1, axis2=2), axis=1)
    np.testing.assert_allclose(leverage_norm(V, AT.curvature), expected, rtol=1e-12)


def test_implicit_form_solves_its_equation():
    delta, converged = implicit(Categorical(), F, Y, W, V)
    assert converged.all()
    for i in range(N):
        gap = lambda d, i=i: d - V[i] @ (W[i] * Categorical().error((F[i] + d)[None], Y[i : i + 1])[0])  # noqa: E731
        np.testing.assert_allclose(delta[i], root(gap, np.zeros(C), tol=1e-13).x, rtol=1e-7, atol=1e-10)


def test_implicit_form_equals_cavity_for_gaussians():
    f, y, v = F[:, :1], rng.normal(size=N), 0.2 * V[:, :1, :1]
    at = FullVariance(Gaussian(0.8), f, y, np.ones(N), v)
    delta, _ = implicit(at.likelihood, f, y, at.weight, v)
    np.testing.assert_allclose(delta, cavity(at.error, v, at.curvature), rtol=1e-9)


def test_implicit_form_without_fixed_point_says_so():
    f, y, v = np.array([[0.0], [3.0]]), np.array([1.0, 1.0]), np.array([[[0.1]], [[5.0]]])
    effect = perturb(FullVariance(Poisson(), f, y, np.ones(2), v), CODES["I-sm"])
    assert np.isfinite(effect.sensitivity[0])
    assert np.isnan(effect.sensitivity[1])
    assert Warn(int(effect.warning[0])) == Warn.NONE
    assert Warn.NOT_CONVERGED in Warn(int(effect.warning[1]))


def binary_pair():
    f, y, v = F[:, :1], (Y > 1).astype(float), V[:, :1, :1]
    one = FullVariance(Bernoulli(), f, y, W, v)
    # two logits ±f/2, so that their difference has the variance of f
    basis = np.array([[-0.5], [0.5]])
    two = FullVariance(Categorical(), f @ basis.T, y.astype(int), W, basis @ v @ basis.T)
    return one, two


@pytest.mark.parametrize("name", ["F", "F-sm", "R", "R-sm", "I-sm"])
def test_two_class_softmax_equals_the_binary_model(name):
    one, two = (perturb(at, CODES[name]) for at in binary_pair())
    np.testing.assert_allclose(two.change[:, 1], one.change[:, 0], rtol=1e-8)
    np.testing.assert_allclose(two.leverage, one.leverage, rtol=1e-10)


def test_diagonal_products_do_not_share_that_invariance():
    one, two = (perturb(at, CODES["P"]) for at in binary_pair())
    assert np.max(np.abs(two.change[:, 1] / one.change[:, 0] - 1)) > 0.1


def test_small_variances_make_all_full_forms_agree():
    at = FullVariance(Categorical(), F, Y, W, V * 1e-6)
    reference = perturb(at, CODES["F"]).change
    for name in ("F-sm", "R", "R-sm", "I", "I-sm"):
        np.testing.assert_allclose(perturb(at, CODES[name]).change, reference, rtol=1e-4, atol=1e-12)


def test_diagonal_form_is_the_papers_product():
    effect = perturb(AT, CODES["P"])
    p = Categorical().mean(F)
    expected = p * (1 - p) * np.diagonal(V, axis1=1, axis2=2) * AT.error
    np.testing.assert_allclose(effect.change, expected, rtol=1e-12)


@pytest.mark.parametrize("name", CODES)
def test_torch_and_numpy_agree(name, torch):
    t = torch.tensor
    ours, theirs = perturb(AT, CODES[name]), perturb(FullVariance(Categorical(), t(F), t(Y), t(W), t(V)), CODES[name])
    np.testing.assert_allclose(ours.change, theirs.change.numpy(), rtol=1e-7, atol=1e-10)
    np.testing.assert_allclose(ours.leverage, theirs.leverage.numpy(), rtol=1e-10)


def test_group_of_one_is_the_cavity():
    i = 3
    delta = group_deviation(AT.error[[i]], V[i][None, :, None, :], AT.curvature[[i]], V[i][None, :, None, :])
    np.testing.assert_allclose(delta[0], cavity(AT.error, V, AT.curvature)[i], rtol=1e-9)


def test_both_group_forms_are_the_parameter_space_step():
    r, m = 9, 3
    z = rng.normal(size=(m, C, r)) * 0.2
    elsewhere = rng.normal(size=(5, C, r))
    error, curvature = AT.error[:m], AT.curvature[:m]
    flat = z.reshape(m * C, r)
    bent = np.concatenate([curvature[k] @ z[k] for k in range(m)])
    step = np.linalg.solve(np.eye(r) - flat.T @ bent, flat.T @ error.ravel())
    np.testing.assert_allclose(group_coordinates([(error, z, curvature)]), step, rtol=1e-9)
    halves = [(error[part], z[part], curvature[part]) for part in (slice(0, 1), slice(1, None))]
    np.testing.assert_allclose(group_coordinates(halves), step, rtol=1e-9)
    share = rng.normal(size=r)
    expected = group_coordinates([(error, z, curvature)], share)
    np.testing.assert_allclose(few_rows_coordinates(error, z, curvature, share), expected, rtol=1e-9)
    within = np.einsum("acr,bdr->acbd", z, z)
    across = np.einsum("acr,bdr->acbd", elsewhere, z)
    np.testing.assert_allclose(group_deviation(error, within, curvature, across), elsewhere @ step, rtol=1e-9)


@pytest.mark.parametrize("m", [1, 3])
def test_systems_of_few_rows_are_those_of_all_coordinates(m):
    r = m * C + 5
    z, share = rng.normal(size=(m, C, r)) * 0.1, rng.normal(size=r)
    piece = (AT.error[:m], z, AT.curvature[:m])
    whole, few = GroupSystem.of([piece]), GroupSystem.of_few_rows(*piece)
    assert few.matrix.shape == (m * C, m * C)
    assert few.rank == whole.rank == r
    for gradient in (0.0, share):
        u = whole.coordinates(gradient)
        np.testing.assert_allclose(few.coordinates(gradient), u, rtol=1e-9, atol=1e-12)
        assert few.log_integral(u) == pytest.approx(whole.log_integral(u), rel=1e-9)


def test_first_order_is_the_product():
    np.testing.assert_allclose(first_order(AT.error, V)[2], V[2] @ AT.error[2], rtol=1e-12)


@pytest.mark.parametrize(
    ("h", "flag"),
    [(0.5, Warn.NONE), (1 - 1e-8, Warn.NEAR_SINGULAR), (1.0, Warn.BOUND), (1 - 1e-13, Warn.BOUND), (1.7, Warn.BOUND)],
)
def test_warnings_at_the_bound(h, flag):
    v, unit = np.array([[[h]]]), np.ones((1, 1, 1))
    assert Warn(int(bound_warnings(v, unit)[0])) == flag
    delta = cavity(np.ones((1, 1)), v, unit)[0, 0]
    assert np.isnan(delta) if flag is Warn.BOUND else delta == pytest.approx(h / (1 - h), rel=1e-6)


def test_words_of_warnings():
    assert (Warn.BOUND | Warn.NOT_CONVERGED).labels == "bound, not converged"
    assert Warn.NONE.labels == ""


def test_loss_and_memorization_follow_from_the_deviation():
    effect = perturb(AT, CODES["R-sm"])
    after = Categorical().mean(F + effect.deviation)[np.arange(N), Y]
    before = Categorical().mean(F)[np.arange(N), Y]
    np.testing.assert_allclose(loo_loss(AT, effect.deviation), -np.log(after), rtol=1e-10)
    memorized = memorization(AT.likelihood.nll(AT.f, AT.y), loo_loss(AT, effect.deviation))
    np.testing.assert_allclose(memorized, before - after, rtol=1e-8, atol=1e-12)
    assert np.all(memorized > 0)


def test_sensitivities_are_norms_of_the_changes():
    effect = perturb(AT, CODES["R-sm"])
    np.testing.assert_allclose(effect.sensitivity, np.abs(effect.change).sum(1))
    np.testing.assert_allclose(effect.output_sensitivity, np.linalg.norm(effect.deviation, axis=1))


def test_zero_weight_means_no_influence():
    effect = perturb(FullVariance(Categorical(), F, Y, np.zeros(N), V), CODES["R-sm"])
    np.testing.assert_array_equal(effect.sensitivity, 0)
    np.testing.assert_array_equal(effect.leverage, 0)


def test_unknown_forms_are_refused_with_the_list():
    with pytest.raises(ValueError, match=r"no estimator 'X'.*diagonal, first_order, cavity"):
        estimator_named("X")
