"""Cox regressions fitted again without single subjects: equal to statsmodels' fits of the others."""

import numpy as np
import pytest
from statsmodels.duration.hazard_regression import PHReg

import memorymaps as mm

RNG = np.random.default_rng(3)
N = 70
X = RNG.normal(size=(N, 3))
TIME = RNG.exponential(size=N) * np.exp(-X[:, 0])
EVENT = (RNG.random(N) < 0.7).astype(int)
FACTS = {
    "plain": {},
    "strata": {"strata": np.arange(N) % 2},
    "late entry": {"entry": TIME * RNG.uniform(0, 0.5, N)},
    "offsets": {"offset": RNG.normal(size=N)},
    "ties, Efron": {"ties": "efron"},
}


def fitted(kept, facts, start=None):
    named = {name: value[kept] if isinstance(value, np.ndarray) else value for name, value in facts.items()}
    return PHReg(TIME[kept], X[kept], status=EVENT[kept], **named).fit(start_params=start)


def hazard(beta, kept, subject):
    """`H` of a subject by Breslow's baseline of the subjects kept; statsmodels gives that of the times before."""
    risk, time = np.exp(X[kept] @ beta), TIME[kept]
    jumps = [1 / risk[time >= event].sum() for event in time[(EVENT[kept] == 1) & (time <= TIME[subject])]]
    return np.sum(jumps) * np.exp(X[subject] @ beta)


def test_the_largest_sizes_are_those_of_fits_without():
    everyone = np.arange(N)
    results = fitted(everyone, {})
    m = mm.memory_map(results)
    largest = np.argsort(-m["sensitivity"])[:25]
    assert m["refitted"][largest].all()
    truth = []
    for i in largest:
        kept = np.delete(everyone, i)
        truth.append(abs(hazard(fitted(kept, {}).params, kept, i) - hazard(results.params, everyone, i)))
    np.testing.assert_allclose(m["sensitivity"][largest], truth, rtol=1e-5, atol=1e-7)


def test_the_last_event_is_refitted_whatever_its_size():
    """Its own jump is most of its hazard: one step is far off, and may be far too short."""
    m = mm.memory_map(fitted(np.arange(N), {}))
    assert m["refitted"][np.argsort(-m["leverage"])[:5]].all()


@pytest.mark.parametrize("name", FACTS)
def test_coefficients_without_subjects_are_those_of_a_fit_of_the_others(name):
    results = fitted(np.arange(N), FACTS[name])
    refits = mm.memory_map(results).origin.posterior.refits
    for removed in (np.array([4]), np.flatnonzero(EVENT)[:5]):
        _, moving, beta = refits.refit_with_coefficients(removed, removed)
        expected = fitted(np.delete(np.arange(N), removed), FACTS[name], results.params).params
        assert moving == 0
        np.testing.assert_allclose(beta[:, 0], expected, rtol=1e-5, atol=1e-6)


def test_losses_of_refitted_and_of_other_subjects_compare():
    """Of subjects of little leverage, whose step is right, the loss is the same by a refit."""
    m = mm.memory_map(fitted(np.arange(N), {}))
    least = m["id"][np.argsort(m["leverage"])[:20]]
    again = mm.refit(m.select(least), top=20)
    np.testing.assert_allclose(again["loo_loss"], m.select(least)["loo_loss"], atol=0.05)


def test_many_subjects_are_refitted_as_far_as_time_allows():
    refits = mm.memory_map(fitted(np.arange(N), {})).origin.posterior.refits
    many = type(refits)(refits.fitted, np.zeros((100_000, refits.inputs.shape[1])), refits.ties)
    assert refits.max_automatic_refits() > 100
    assert many.max_automatic_refits() < 10
