"""States of Newton's methods whose precision is none: refused, in the steps and in the map."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import memorymaps as mm
from memorymaps.core.likelihoods.exponential_family import Bernoulli
from memorymaps.data.examples import DataError
from memorymaps.models.linear.newton_methods import newton, online_newton, von

RNG = np.random.default_rng(0)
X = np.column_stack([np.ones(40), RNG.normal(size=(40, 2))])
Y = (X[:, 1] + RNG.normal(size=40) > 0).astype(float)
METHODS = {"newton": newton, "online newton": online_newton, "von": von}


def last(make, x=X, prior=1.0, **options):
    *_, state = make(x, Y, likelihood=Bernoulli(), prior=prior, **options)
    return state


def with_least(precision, value):
    """The matrix with another smallest eigenvalue."""
    values, vectors = np.linalg.eigh(precision)
    values[0] = value
    return (vectors * values) @ vectors.T


FLAWS = {
    "singular": (lambda s: np.diag([1.0, 0.0, 2.0]), "has an eigenvalue of 0"),
    "singular to rounding": (lambda s: with_least(s, 0.0), "the precision has an eigenvalue of"),
    "tiny": (lambda s: with_least(s, 1e-14), r"less than δ = 1\."),
    "less than the prior": (lambda s: with_least(s, 0.01), r"has an eigenvalue of 0.01, less than δ = 1\."),
    "negative": (lambda s: with_least(s, -1.0), "has an eigenvalue of -1"),
    "NaN": (lambda s: s * np.nan, "has a NaN or an infinity"),
    "infinite": (lambda s: s * np.inf, "has a NaN or an infinity"),
    "asymmetric": (lambda s: s + np.triu(np.ones((3, 3)), 1), "is not symmetric"),
}


@pytest.mark.parametrize("flaw", FLAWS)
@pytest.mark.parametrize("method", METHODS)
def test_a_precision_that_is_none_is_refused(method, flaw):
    change, words = FLAWS[flaw]
    state = last(METHODS[method], steps=30)
    with pytest.raises(DataError, match=f"step {state.step}: the precision .*{words.removeprefix('the precision ')}"):
        mm.memory_map(dataclasses.replace(state, precision=change(state.precision)), X, Y)


@pytest.mark.parametrize("value", [0.0, 1e-300, -1.0, np.nan, np.inf])
@pytest.mark.parametrize("method", ["online newton", "von"])
def test_a_diagonal_that_is_none_is_refused(method, value):
    state = last(METHODS[method], steps=30, structure="diag")
    precision = state.precision.copy()
    precision[0] = value
    with pytest.raises(DataError, match="the precision has"):
        mm.memory_map(dataclasses.replace(state, precision=precision), X, Y)


@pytest.mark.parametrize("method", METHODS)
def test_columns_of_any_size_have_the_same_map(method):
    size = np.array([1e-6, 1.0, 1e6])
    m, other = (
        mm.memory_map(last(METHODS[method], x, 1e-20, steps=40), x, Y, estimator="cavity") for x in (X, X * size)
    )
    np.testing.assert_allclose(other["leverage"], m["leverage"], rtol=1e-3)
    assert other.provenance.description.distance == pytest.approx(m.provenance.description.distance, abs=1e-3)


def test_nearly_collinear_columns_state_what_rounding_changes():
    x = np.column_stack([X, X[:, 1] + 1e-9 * RNG.normal(size=40)])
    m = mm.memory_map(last(newton, x, 1e-12), x, Y)
    assert 1e-4 < m.provenance.description.relative_error < 0.1
    truth = mm.memory_map(last(newton, prior=1e-12), X, Y)
    np.testing.assert_allclose(m["leverage"], truth["leverage"], rtol=m.provenance.description.relative_error)


@pytest.mark.parametrize("make", METHODS.values(), ids=METHODS)
def test_steps_with_columns_that_are_combinations_of_others_are_refused(make):
    with pytest.raises(DataError, match=r"step 0: the precision is singular to rounding.*drop one, or take a larger"):
        last(make, np.column_stack([X, X[:, 1]]), 1e-18, steps=3)
