"""What rows that were not drawn may change is seen beside half of the drawn rows, and is part of the stated errors."""

from __future__ import annotations

import functools

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from sklearn.datasets import load_digits
from torch import nn

import memorymaps as mm
from memorymaps.nets import Sampled
from memorymaps.nets.sampled.directions import Directions
from memorymaps.nets.sampled.errors.example_estimates import left_out_posteriors
from memorymaps.nets.sampled.errors.half import AllAndHalf, UndrawnRows
from memorymaps.nets.sampled.errors.leverage_excess import excess
from memorymaps.nets.sampled.errors.stated import Stated
from memorymaps.nets.sampled.rows import leverages

DELTA = 0.3


@functools.cache
def classes(rare, size=1.0):
    """Softmax regression at its minimum: digits modulo three, and features that only two examples have; of the same
    class where the features are large, so that these examples are confident.
    """
    images, digits = load_digits(return_X_y=True)
    rng, features, y = np.random.default_rng(0), np.zeros((300, rare)), digits[:300] % 3
    pairs = [rng.choice(300, 2, replace=False) for _ in range(rare)]
    if size > 1:
        pairs = np.arange(2 * rare).reshape(rare, 2)
        y[pairs[:, 1]] = y[pairs[:, 0]]
    for feature, pair in enumerate(pairs):
        features[pair, feature] = size
    x, y = torch.tensor(np.c_[images[:300, ::4] / 16, features]), torch.tensor(y)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(x.shape[1], 3)).double()
    optimizer = torch.optim.LBFGS(net.parameters(), max_iter=100, line_search_fn="strong_wolfe")

    def loss():
        optimizer.zero_grad()
        penalty = DELTA / 2 * sum(p.square().sum() for p in net.parameters())
        total = nn.functional.cross_entropy(net(x), y, reduction="sum") + penalty
        total.backward()
        return total

    optimizer.step(loss)
    return net, x, y


def drawn(rare, structure, size=1.0):
    net, x, y = classes(rare, size)
    recipe = mm.Laplace(structure, prior=DELTA)
    return mm.memory_map(net, x, y, likelihood="categorical", posterior=recipe, progress=False)


@pytest.fixture
def by_trace_alone(monkeypatch):
    """No first sample, so that rare rows are hardly ever drawn."""
    monkeypatch.setattr(leverages, "FIRST", 0)


def rows_of(m):
    """The covariance, and all rows that its own were drawn from."""
    posterior = m.origin.posterior
    return posterior.problem, posterior.covariance, posterior.solving.pool


def test_half_of_the_rows_are_those_of_a_sample_of_half_the_size():
    problem, whole, pool = rows_of(drawn(0, Sampled(rows=60)))
    alone = pool.without_rows().covariance(30, problem.prior)
    sources = AllAndHalf.by(whole, pool.half(60))
    batch, places = next(iter(problem.examples)), torch.arange(len(problem.examples))
    everywhere = Directions.all_of(problem)
    assert 0 < len(alone.q) < len(whole.q)
    torch.testing.assert_close(sources.half.q, alone.q)
    torch.testing.assert_close(sources.half.kept, alone.cavities(torch.float64).kept)
    both = list(left_out_posteriors(problem, sources, batch, places, everywhere))
    for number, source in enumerate((whole, alone)):
        single = list(left_out_posteriors(problem, source.cavities(torch.float64), batch, places, everywhere))
        for name in ("variance", "removed"):
            found = torch.cat([getattr(cavities[number], name) for *_, cavities in both])
            expected = torch.cat([getattr(cavity, name) for *_, cavity in single])
            torch.testing.assert_close(found, expected)


def test_what_is_beyond_two_standard_errors_of_half_was_not_stated():
    share = torch.full((100,), 0.5, dtype=torch.float64)
    value = torch.ones(3, 100, dtype=torch.float64)
    found = torch.stack([value, 0.1 * value, value])
    within, beyond = value.clone(), value.clone()
    within[:, ::2], within[:, 1::2], beyond[:, ::10] = 1.39, 0.61, 2
    nothing = UndrawnRows.of(torch.stack([within, 0.2 * value, within]), found, share)
    assert nothing == UndrawnRows((0.0, 0.0, 0.0), 0.0)
    some = UndrawnRows.of(torch.stack([beyond, 0.2 * value, beyond]), found, share)
    at_two = np.sqrt(1 / 4 - 0.2**2) / 2  # of the larger value; errors fall by a half from half of the rows to all
    np.testing.assert_allclose(some.spread, np.full(3, at_two / 2))
    assert some.of_loss == pytest.approx(10 * 0.5 * np.sqrt(1 - 4 * 0.2**2) / 2)


def test_an_example_whose_value_overflows_leaves_the_errors_of_the_others():
    share, value = torch.ones(100, dtype=torch.float64), torch.ones(3, 100, dtype=torch.float64)
    found, half = torch.stack([value, 0.1 * value, value]), torch.stack([value, 0.2 * value, value])
    half[:, 1:, 0], found[:, 1:, 0], half[1, 1:, 1] = torch.inf, torch.inf, torch.nan
    assert UndrawnRows.of(half, found, share).spread == (0.0, 0.0, 0.0)
    half[0, 1:, :20] = found[0, 1:, :20] = torch.inf
    np.testing.assert_allclose(UndrawnRows.of(half, found, share).spread, (0, 0.5, 0.5))


def test_all_rows_leave_nothing_undrawn():
    m = drawn(0, Sampled(rows=10_000))
    assert m.origin.posterior.covariance.undrawn == (0.0, 0.0, 0.0)
    np.testing.assert_array_equal(m["leverage_se"], 0)


@pytest.mark.usefixtures("by_trace_alone")
@pytest.mark.parametrize("seed", range(3))
def test_errors_hold_where_two_examples_decide_a_direction_and_neither_was_drawn(seed):
    m, exact = drawn(80, Sampled(rows=450, seed=seed)), drawn(80, "full")
    assert "rows that were not drawn matter" in " ".join(m.provenance.description.notes)
    for name in ("leverage", "sensitivity"):
        off = np.abs(m[name] - exact[name])
        assert np.mean(off <= 2 * m[f"{name}_se"]) > 0.9
        assert np.mean(off <= 10 * m[f"{name}_se"]) > 0.97


def test_nothing_is_added_where_the_stated_errors_hold():
    m, exact = drawn(0, Sampled(rows=200)), drawn(0, "full")
    assert m.origin.posterior.covariance.undrawn == (0.0, 0.0, 0.0)
    assert "rows that were not drawn" not in " ".join(m.provenance.description.notes)
    assert np.mean(np.abs(m["leverage"] - exact["leverage"]) <= 2 * m["leverage_se"]) > 0.85


@pytest.mark.usefixtures("by_trace_alone")
@pytest.mark.parametrize("seed", range(3))
def test_confident_examples_whose_rows_are_hardly_ever_drawn_have_an_error(seed):
    exact, m = (drawn(25, structure, size=30.0) for structure in ("full", Sampled(rows=150, seed=seed)))
    pairs = np.arange(300) < 50
    off = np.abs(m["leverage"] - exact["leverage"])
    assert np.mean(off[pairs] > 0.25) > 0.5  # the other one of the pair was not drawn
    assert np.mean(off[pairs] <= 2 * m["leverage_se"][pairs]) > 0.8
    assert m.provenance.description.cautions  # of so many errors it warns
    others = off[~pairs], m["leverage_se"][~pairs]
    assert np.median(others[1]) < 10 * np.median(others[0])  # what half of the rows shows is one part for all examples
    default = drawn(25, Sampled(seed=seed), size=30.0)
    np.testing.assert_allclose(default["leverage"], exact["leverage"], atol=0.02)


def test_errors_that_are_no_numbers_are_infinite():
    stated = Stated((0.05, float("nan"), 0.1), (0.0, 0.0, 0.0))
    assert stated.worst == np.inf
    assert stated.unusable


@pytest.mark.usefixtures("by_trace_alone")
def test_leverage_that_no_drawn_row_stands_for_is_said():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2000, 8))
    y = (x[:, :3] + 0.7 * rng.normal(size=(2000, 3))).argmax(1)  # nobody has the fourth class
    x, y = torch.tensor(x), torch.tensor(y)
    torch.manual_seed(0)
    net = nn.Linear(8, 4).double()
    optimizer = torch.optim.LBFGS(net.parameters(), max_iter=300, line_search_fn="strong_wolfe")

    def loss():
        optimizer.zero_grad()
        penalty = 0.05 / 2 * sum(p.square().sum() for p in net.parameters())
        total = nn.functional.cross_entropy(net(x), y, reduction="sum") + penalty
        total.backward()
        return total

    optimizer.step(loss)
    exact, m = (
        mm.memory_map(net, x, y, likelihood="categorical", posterior=mm.Laplace(each, prior=0.05), progress=False)
        for each in ("full", Sampled(rows=400))
    )
    assert m["leverage"].sum() > 2 * exact["leverage"].sum()
    found = m.provenance.description
    assert found.relative_error > 0.5
    assert any("directions in which no row was drawn" in note for note in found.notes)
    assert "too few for sizes" in found.cautions[0]


@pytest.mark.parametrize("shares", [1.0, 3.0])
def test_the_excess_is_what_is_beyond_two_standard_errors(shares):
    class Rows:
        effective_parameters_and_error = (10.0, 1.0)

    leverage, share = torch.tensor([4.0, 5.0, 6.0, 5.0]) / shares, torch.full((4,), shares)
    of_examples = 4 * 2 / 3 if shares > 1 else 0.0  # the variance of a sum of four draws
    assert excess(leverage, share, Rows()) == pytest.approx((20 - 10 - 2 * np.sqrt(1 + of_examples)) / 20)
    assert excess(leverage / 2, share, Rows()) == 0
    assert excess(leverage * torch.inf, share, Rows()) == 0
