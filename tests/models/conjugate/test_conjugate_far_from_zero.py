"""Conjugate posteriors of numbers far from zero are those of the same numbers near it."""

import numpy as np
import pytest

import memorymaps as mm
from memorymaps.models.conjugate.gaussian import NormalMean, NormalWishart

RNG = np.random.default_rng(0)
Y = np.round(RNG.normal(size=12), 6)
PAIRS = np.round(RNG.normal(size=(12, 2)), 6)
FAMILIES = {
    "mean": (lambda far: NormalMean(far + 1.0, 1.0, 1.0), Y),
    "wishart": (lambda far: NormalWishart(far + 0.5, 1.0, 2.0, 1.0), Y),
    "means": (lambda far: NormalMean([far, far + 1.0], np.eye(2), np.eye(2)), PAIRS),
    "wisharts": (lambda far: NormalWishart([far, far + 1.0], 1.0, 3.0, np.eye(2)), PAIRS),
}


@pytest.mark.parametrize("far", [1e5, 1e7, 1e9])
@pytest.mark.parametrize("name", FAMILIES)
def test_numbers_far_from_zero(name, far):
    family, y = FAMILIES[name]
    near = mm.memory_map(family(0.0).given((y + far) - far))  # the same rounding of targets
    m = mm.memory_map(family(far).given(y + far))
    for column in ("kl", "loo_predictive_loss", "leverage"):
        np.testing.assert_allclose(m[column], near[column], rtol=1e-14 * far + 1e-9, atol=1e-15 * far)
    assert np.all(m["kl"] > 0)
    np.testing.assert_allclose(m["prediction"], near["prediction"] + far, rtol=1e-12)
    rows = [0, 3]
    found, expected = family(far).given(y + far).divergence(rows), family(0.0).given((y + far) - far).divergence(rows)
    assert found == pytest.approx(expected, rel=1e-14 * far + 1e-9)
