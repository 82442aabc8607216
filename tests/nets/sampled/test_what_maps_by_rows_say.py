"""What a map by sampled rows says of itself, for its figures and after they are refined, and awkward examples."""

from __future__ import annotations

import functools

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from remedies import remedy
from sklearn.datasets import load_digits
from torch import nn

import memorymaps as mm
from memorymaps.files.batch_journal import BatchJournal, BatchJournalError
from memorymaps.nets import Sampled
from memorymaps.nets.sampled.cost import SampledCost
from memorymaps.nets.sampled.forecast import Forecast


@functools.cache
def digits(n=400, width=6, bias=True):
    x, y = load_digits(return_X_y=True)
    x, y = torch.tensor(x[:n] / 16), torch.tensor(y[:n])
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(64, width, bias=bias), nn.Tanh(), nn.Linear(width, 10, bias=bias)).double()
    optimizer = torch.optim.Adam(net.parameters(), 0.02)
    for _ in range(200):
        optimizer.zero_grad()
        penalty = sum(p.square().sum() for p in net.parameters()) / 2
        (nn.functional.cross_entropy(net(x), y, reduction="sum") + penalty).backward()
        optimizer.step()
    return net, x, y


def drawn(structure, data=None, **options):
    net, x, y = digits() if data is None else data
    return mm.memory_map(net, x, y, likelihood="categorical", posterior=mm.Laplace(structure, prior=1.0), **options)


RECIPES = [Sampled(), Sampled(rows=100), Sampled(rows=10), Sampled(projection=4), Sampled(budget="20 epochs")]


@pytest.mark.parametrize("recipe", RECIPES, ids=str)
def test_an_example_on_which_no_parameter_has_an_effect_has_no_leverage(recipe):
    net, x, y = digits(bias=False)
    x = x.clone()
    x[[3, 11]] = 0  # without biases the outputs are zero, whatever the weights
    m = drawn(recipe, (net, x, y))
    for name in ("leverage", "sensitivity", "leverage_se", "sensitivity_se", "loo_loss_se"):
        np.testing.assert_allclose(m[name][[3, 11]], 0, atol=1e-100)
        assert np.isfinite(m[name]).all()


def test_confident_outputs_of_which_next_to_nothing_is_seen_are_no_overflow():
    cost = SampledCost(n=100, k=10, directions=10, product=100.0, written=100, passes=1e6, epoch=1e5)
    assert Forecast.to_reach(cost, (50, 1e180), 0.1, 700).rows == 700
    assert Forecast.to_reach(cost, (50, 0.2), 0.1, 700).rows == 200
    assert Forecast.to_reach(cost, (50, 0.01), 0.1, 700).rows == 50


def test_trust_has_the_error_of_each_figure():
    m = drawn(Sampled(rows=300))
    d = m.provenance.description
    assert [m.trust[name].error for name in ("leverage", "sensitivity", "loo_loss")] == [
        d.relative_error, *d.size_errors
    ]  # fmt: skip
    assert m.trust["ranks"].error == d.size_errors[0]
    note = next(each for each in d.notes if each.startswith("Relative standard errors"))
    assert f"sensitivity {d.size_errors[0]:.1%}" in note
    assert f"mean left-out loss {d.size_errors[1]:.1%}" in note


@pytest.mark.slow
def test_a_share_by_rows_states_the_error_of_all_examples():
    data = digits(1200)
    m, exact = (drawn(structure, data) for structure in (Sampled(share=0.02, error=0.05), "full"))
    others = ~m["sampled"]
    assert others.sum() > 500
    for name in ("leverage", "sensitivity"):
        off, size = m[name] - exact[name], np.linalg.norm(exact[name])
        true, stated = np.linalg.norm(off) / size, m.trust[name].error
        assert 0.5 < stated / true < 2.5
        inside = np.mean(np.abs(off[others]) < 2 * m[f"{name}_se"][others])
        assert inside > 0.8


@pytest.mark.slow
def test_of_a_share_by_rows_the_mean_left_out_loss_contains_the_error_of_the_others():
    data = digits(1200)
    m, whole = (drawn(Sampled(rows=500, share=share), data) for share in (0.02, 1.0))
    others = 1 - np.mean(m["sampled"])
    added = np.sqrt(m.trust["loo_loss"].error ** 2 - whole.trust["loo_loss"].error ** 2)
    off = np.abs(m["loo_loss"].mean() / whole["loo_loss"].mean() - 1)
    assert others > 0.4
    assert 0 < off < 3 * added


@pytest.mark.slow
def test_refined_examples_are_not_verified_and_have_no_error_of_the_draw():
    m = drawn(Sampled(rows=150), digits(120))
    some, every = mm.refine(m, top=20), mm.refine(m, top=len(m))
    for name in ("sensitivity", "loo_loss", "ranks"):
        assert every.trust[name].level == m.trust[name].level
        assert "verified" not in str(some.trust)
    assert "one step on the exact curvature for 20 of 120 examples" in str(some.trust["sensitivity"])
    assert some.trust["sensitivity"].error == m.trust["sensitivity"].error
    assert every.trust["sensitivity"].error is None
    chosen = some["refined"]
    assert not some["sensitivity_se"][chosen].any()
    assert some["leverage_se"][chosen].all()
    assert some["sensitivity_se"][~chosen].all()


@pytest.mark.slow
def test_queries_say_that_their_factor_is_the_maps():
    m = drawn(Sampled(rows=300))
    error = m.provenance.description.relative_error
    assert f"of leverages off by about {error:.0%}" in mm.influence_on(m, digits()[1][:1], top=2).caution


@remedy("Expected a budget in seconds, which are counted, budget=600, or no path= and m.save(path)")
@pytest.mark.parametrize("sampled", [True, False])
def test_a_timed_budget_is_no_map_that_can_be_gone_on_with(said, tmp_path, sampled):
    net, x, y = digits()
    budget = "30 epochs"
    recipe = mm.Laplace(Sampled(budget=budget), prior=1.0) if sampled else mm.Laplace(prior=1.0, budget=budget)
    with said:
        mm.memory_map(net, x, y, likelihood="categorical", posterior=recipe, path=tmp_path / "m.parquet")
    assert drawn(Sampled(budget=600), path=tmp_path / "m.parquet") == mm.load(tmp_path / "m.parquet")
    m = mm.memory_map(net, x, y, likelihood="categorical", posterior=recipe)
    assert len(mm.load(m.save(tmp_path / "other.parquet"))) == len(m)


def test_the_journal_says_where_long_values_differ(tmp_path):
    with BatchJournal.resume(tmp_path / "map", {"posterior": ["Laplace", "x" * 200 + "seed 0"]}):
        pass
    with pytest.raises(BatchJournalError, match=r"was '…x+seed 0', is '…x+seed 1'"):
        BatchJournal.resume(tmp_path / "map", {"posterior": ["Laplace", "x" * 200 + "seed 1"]})


@pytest.mark.parametrize("name", ["rows", "projection", "error", "share", "seed"])
@pytest.mark.parametrize("value", ["a", True, 1.5, float("nan"), -1])
def test_settings_of_other_kinds_are_refused_by_name(name, value):
    if (name, value) == ("error", 1.5):
        return
    with pytest.raises((TypeError, ValueError), match=f"{name} = .*: expected"):
        Sampled(**{name: value})


def test_rows_of_other_structures_are_refused_whatever_their_number():
    for rows in (300, 400):
        with pytest.raises(ValueError, match=r"write Laplace\(Sampled\(rows="):
            mm.Laplace("sampled", prior=1.0, rows=rows)
    assert mm.Laplace("sampled", prior=1.0).structure == Sampled()
