"""Kinked losses: every closed form against quadrature, every derivative against differences."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from memorymaps.core.likelihoods.base import TargetError
from memorymaps.core.likelihoods.hinge import (
    EpsilonInsensitive,
    Hinge,
    Huber,
    ModifiedHuber,
    Perceptron,
    Pinball,
    SquaredEpsilonInsensitive,
    SquaredHinge,
)

MARGINS = [Hinge(2.0), SquaredHinge(0.5), ModifiedHuber(), Perceptron()]
DEVIATIONS = [EpsilonInsensitive(0.3, 2.0), SquaredEpsilonInsensitive(0.3), Huber(0.7, 3.0), Pinball(0.8, 2.0)]
NAIVE = {
    "Hinge": lambda s, f: np.maximum(0, 1 - s * f),
    "SquaredHinge": lambda s, f: np.maximum(0, 1 - s * f) ** 2,
    "ModifiedHuber": lambda s, f: np.where(s * f >= -1, np.maximum(0, 1 - s * f) ** 2, -4 * s * f),
    "Perceptron": lambda s, f: np.maximum(0, -s * f),
    "EpsilonInsensitive": lambda y, f: np.maximum(0, abs(f - y) - 0.3),
    "SquaredEpsilonInsensitive": lambda y, f: np.maximum(0, abs(f - y) - 0.3) ** 2,
    "Huber": lambda y, f: np.where(abs(f - y) < 0.7, (f - y) ** 2 / 2, 0.7 * (abs(f - y) - 0.35)),
    "Pinball": lambda y, f: np.where(y > f, 0.8 * (y - f), 0.2 * (f - y)),
}
F = np.array([-2.0, -1.0, -0.2, 0.0, 0.4, 1.0, 1.7])


def cases():
    for loss in MARGINS + DEVIATIONS:
        for y in (0, 1):
            yield pytest.param(loss, y, id=f"{type(loss).__name__}-{y}")


def naive(loss, y, f):
    return loss.cost * NAIVE[type(loss).__name__](2 * y - 1 if loss in MARGINS else y, f)


@pytest.mark.parametrize(("loss", "y"), list(cases()))
def test_the_loss_is_the_textbooks(loss, y):
    np.testing.assert_allclose(loss.nll(F[:, None], np.full(7, y)), naive(loss, y, F), atol=1e-14)


@pytest.mark.slow
@pytest.mark.parametrize(("loss", "y"), list(cases()))
@pytest.mark.parametrize("sd", [0.05, 0.8])
def test_smoothed_values_and_derivatives_equal_quadrature(loss, y, sd):
    kinks = [-1.0, 0.0, 1.0, y - 0.3, y + 0.3, y - 0.7, y + 0.7, y]

    def mean(g, f):
        points = sorted(k for k in kinks if abs(k - f) < 9 * sd)
        return quad(lambda z: g(z) * norm.pdf(z, f, sd), f - 9 * sd, f + 9 * sd, points=points, limit=200, epsabs=1e-8)[
            0
        ]

    value, first, second = loss.expected_derivatives(F[:, None], np.full(7, y), np.full((7, 1), sd))
    for row, f in enumerate(F):
        assert value[row, 0] == pytest.approx(mean(lambda z: naive(loss, y, z), f), abs=1e-8)
        # Bonnet and Price: derivatives of the expectation, with the loss itself under the integral
        pull = mean(lambda z, f=f: (naive(loss, y, z) - naive(loss, y, f)) * (z - f) / sd**2, f)
        bend = mean(lambda z, f=f: (naive(loss, y, z) - naive(loss, y, f)) * ((z - f) ** 2 / sd**4 - 1 / sd**2), f)
        assert first[row, 0] == pytest.approx(pull, abs=1e-7)
        assert second[row, 0] == pytest.approx(bend, abs=1e-5)


def test_hinge_closed_forms_are_those_of_the_paper():
    f, y, v = np.array([[0.3]]), np.array([1]), np.full((1, 1, 1), 0.25)
    seen, z = Hinge().averaged_over(v), (1 - 0.3) / 0.5
    assert seen.error(f, y)[0, 0] == pytest.approx(-norm.cdf(z))
    assert seen.curvature(f, y)[0, 0, 0] == pytest.approx(norm.pdf(z) / 0.5)


def test_without_variance_a_kink_has_its_middle_subgradient_and_the_interval_is_known():
    f, y = np.array([[1.0], [0.0], [2.0]]), np.array([1, 1, 1])
    np.testing.assert_allclose(Hinge(2.0).error(f, y)[:, 0], [-1.0, -2.0, 0.0])
    low, high = Hinge(2.0).subgradients(f, y, 1e-6)
    np.testing.assert_allclose(low[:, 0], [-2.0, -2.0, 0.0])
    np.testing.assert_allclose(high[:, 0], [0.0, -2.0, 0.0])


def test_targets_are_checked():
    with pytest.raises(TargetError, match="0 or 1"):
        Hinge().check_target(np.array([-1, 1]), 1)
    with pytest.raises(TargetError, match="finite"):
        Pinball().check_target(np.array([np.nan, 1.0]), 1)
