"""How many rows are drawn is chance and says nothing of them: weights and errors are those given that number."""

from __future__ import annotations

import itertools
from functools import partial

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from torch import nn

import memorymaps as mm
from memorymaps.core.likelihoods.exponential_family import Gaussian
from memorymaps.nets import Sampled
from memorymaps.nets.sampled.covariance import _less
from memorymaps.nets.sampled.errors.jackknife import _centred
from memorymaps.nets.sampled.rows.sampling import given_count, given_weight, uniform_numbers


def conditional(q, count):
    """Each row's probability to be drawn given how many were, from all samples there are."""
    found, total = np.zeros(len(q)), 0.0
    for chosen in itertools.combinations(range(len(q)), count):
        there = np.isin(np.arange(len(q)), chosen)
        chance = np.prod(np.where(there, q, 1 - q))
        found, total = found + chance * there, total + chance
    return found / total


@pytest.mark.parametrize("count", [4, 7, 10])
def test_probabilities_given_their_number_are_nearly_those_of_all_samples(count):
    q = np.array([0.2, 0.3, 0.35, 0.4, 0.45, 0.5, 0.5, 0.55, 0.6, 0.6, 0.65, 0.7, 0.75, 0.8])
    found = given_count(torch.tensor(q), count).numpy()
    true = conditional(q, count)
    assert found.sum() == pytest.approx(count)
    assert np.abs(found - true).max() < 0.035  # of the order of one over their number
    assert np.abs(q - true).max() > 0.1 or count == 7  # about the expected number, which changes little


def test_rows_that_are_certain_or_never_drawn_keep_their_probability():
    q = torch.tensor([1.0, 0.5, 0.0, 0.25, 1.0], dtype=torch.float64)
    found = given_count(q, 3)
    assert found[[0, 2, 4]].tolist() == [1.0, 0.0, 1.0]
    assert float(found.sum()) == pytest.approx(3)
    odds = found[[1, 3]] / (1 - found[[1, 3]])
    assert float(odds[0] / odds[1]) == pytest.approx(3)  # as before: 1 and 1/3
    assert torch.equal(given_count(q, 2), q)  # none of the others
    assert given_count(q, 4).tolist() == [1.0, 1.0, 0.0, 1.0, 1.0]  # all of them: nothing is left to chance


def test_a_map_whose_rows_were_all_drawn_by_chance_is_exact():
    net, x, y = linear(n=20)
    recipe = partial(mm.memory_map, net, x, y, likelihood=Gaussian(1.0), progress=False)
    exact = recipe(posterior=mm.Laplace("full", prior=0.5))
    drawn = [recipe(posterior=mm.Laplace(Sampled(rows=19, seed=seed), prior=0.5)) for seed in range(8)]
    every = [m for m in drawn if len(m.origin.posterior.covariance.q) == 20]
    assert every
    for m in every:
        np.testing.assert_allclose(m["leverage"], exact["leverage"], rtol=1e-9)


@pytest.mark.parametrize("count", [1, 2])
def test_probabilities_near_zero_and_near_one(count):
    q = torch.tensor([5e-324, 1e-300, 1e-310, 1 - 1e-16, 0.5], dtype=torch.float64)
    found = given_count(q, count + 2)
    assert float(found.sum()) == pytest.approx(count + 2)


def test_probabilities_of_many_small_rows_and_a_few_large_ones():
    q = torch.cat([torch.full((10**5,), 1e-5, dtype=torch.float64), torch.full((3,), 1 - 1e-12, dtype=torch.float64)])
    for count in (1, 3, 4, 50, 10**5):
        found = given_count(q, count)
        assert float(found.sum()) == pytest.approx(count)
        assert bool(((found > 0) & (found <= 1)).all())


def test_changes_that_are_alike_say_nothing_of_the_draw():
    q = torch.tensor([0.1, 0.5, 0.9, 1.0], dtype=torch.float64)
    alike = (1 - q).sqrt()[None, None] * torch.tensor([2.0, -3.0], dtype=torch.float64)[None, :, None]
    torch.testing.assert_close(_centred(alike.clone(), q), torch.zeros_like(alike))
    changes = torch.tensor([1.0, -2.0, 4.0, 7.0], dtype=torch.float64)
    mean = ((1 - q) * changes).sum() / (1 - q).sum()
    found = _centred(((1 - q).sqrt() * changes)[None, None], q)
    count = (1 - q).sum() ** 2 / (1 - q).square().sum()
    torch.testing.assert_close(found[0, 0], (1 - q).sqrt() * (changes - mean) * (count / (count - 1)).sqrt())


def test_of_one_row_that_is_not_certain_the_change_is_its_error():
    q = torch.tensor([0.5, 1.0, 1.0], dtype=torch.float64)
    change = torch.tensor([[[0.3, 0.0, 0.0]]], dtype=torch.float64)
    torch.testing.assert_close(_centred(change.clone(), q), change)


def test_bias_far_above_the_variance_of_equal_outputs():
    ones = torch.ones(1, 2, 2, dtype=torch.float64)
    found = _less(0.0066 * ones, 6271.7355 * ones)
    assert bool(((found >= 0) & (found < 0.0066)).all())


def linear(n=2000, d=8):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, d))
    y = x.sum(1) + rng.normal(size=n)
    net = nn.Linear(d, 1, bias=False).double()
    with torch.no_grad():
        net.weight[0] = torch.tensor(np.linalg.solve(x.T @ x + np.eye(d), x.T @ y))
    return net, torch.tensor(x), torch.tensor(y)[:, None]


@pytest.mark.slow
def test_the_number_of_rows_moves_no_map_as_a_whole():
    net, x, y = linear()

    def drawn(structure):
        recipe = mm.Laplace(structure, prior=1.0)
        return mm.memory_map(net, x, y, likelihood=Gaussian(1.0), posterior=recipe, progress=False)

    exact = drawn("full")["leverage"]
    maps = [drawn(Sampled(rows=100, seed=seed)) for seed in range(16)]
    counts = np.array([len(m.origin.posterior.covariance.q) for m in maps])
    assert counts.std() > 5  # of some hundred: by their number alone, sums of leverages would be off by as much
    sums = np.array([m["leverage"].sum() for m in maps]) / exact.sum()
    assert sums.std() < counts.std() / counts.mean() / 2
    assert np.abs(np.corrcoef(counts, sums)[0, 1]) < 0.6
    within = [np.mean(np.abs(m["leverage"] - exact) <= 2 * m["leverage_se"]) for m in maps]
    assert min(within) > 0.8  # in each draw; of the number, too, errors of a draw went together
    assert np.mean(within) < 0.98


def test_draws_do_not_follow_numbers_that_data_are_made_with():
    numbers = uniform_numbers(1000, 0).numpy()
    for made in (np.random.default_rng(0).random(1000), np.random.default_rng(0).random((1000, 2))[:, 0]):
        assert np.abs(np.corrcoef(numbers, made)[0, 1]) < 0.1
    assert np.abs(np.corrcoef(numbers, uniform_numbers(1000, 1).numpy())[0, 1]) < 0.1


@pytest.mark.parametrize(("n", "rows"), [(100, 10), (100, 30), (1000, 10)])
def test_debiased_weights_of_equal_examples_know_that_their_number_is_given(n, rows):
    x, y = torch.ones(n, 1).double(), torch.randn(n, 1, generator=torch.Generator().manual_seed(0)).double()
    net = nn.Linear(1, 1, bias=False).double()
    nn.init.constant_(net.weight, float(y.sum()) / (n + 1e-3))
    exact = 1 / (n + 1e-3)
    for seed in range(4):
        recipe = mm.Laplace(Sampled(rows=rows, seed=seed), prior=1e-3)
        m = mm.memory_map(net, x, y, likelihood=Gaussian(1.0), posterior=recipe)
        off = m["leverage"].mean() / exact - 1
        assert abs(off) < 0.05  # without: 6 to 19 % too small
        assert abs(off) < 1.2 * m.provenance.description.relative_error


def test_certain_rows_keep_their_weight():
    q = torch.tensor([1.0, 1.0, 0.5], dtype=torch.float64)
    assert given_weight(q).tolist() == [1.0, 1.0, 1.0]
    assert given_weight(torch.full((4,), 0.5, dtype=torch.float64)).tolist() == [0.875] * 4
