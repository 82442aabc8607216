"""Solving with the exact curvature from sampled rows: more rows than the map's where it has few."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from sklearn.datasets import load_digits
from torch import nn

import memorymaps as mm
from memorymaps.nets import Sampled
from memorymaps.nets.refit.influence import removal_influence
from memorymaps.nets.sampled import cost as sampled_cost
from memorymaps.nets.sampled.rows.pool import RowPool

PRIOR = 0.1
FEW = 300  # rows, 1.8 for each of 166 effective parameters


@functools.cache
def trained():
    x, y = load_digits(return_X_y=True)
    x, y = torch.tensor(x[:300] / 16), torch.tensor(y[:300])
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(64, 20), nn.Tanh(), nn.Linear(20, 10)).double()
    optimizer = torch.optim.LBFGS(net.parameters(), max_iter=200, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(x), y, reduction="sum")
        loss = loss + PRIOR / 2 * sum(p.square().sum() for p in net.parameters())
        loss.backward()
        return loss

    optimizer.step(closure)
    return net, x, y


@functools.cache
def drawn(structure):
    net, x, y = trained()
    return mm.memory_map(net, x, y, likelihood="categorical", posterior=mm.Laplace(structure, prior=PRIOR))


def residuals(posterior, covariance, rows, steps):
    return removal_influence(posterior.problem, covariance, [np.array([row]) for row in rows], steps, 0.01)[1]


@pytest.mark.slow
def test_refine_converges_in_ten_passes_with_two_rows_an_effective_parameter():
    m, exact = drawn(Sampled(rows=FEW)), drawn("full")
    posterior, rows = m.origin.posterior, m.top(30)["row"]
    own, more = (residuals(posterior, each, rows, 5) for each in (posterior.covariance, posterior.preconditioner))
    assert own.max() > 3 * more.max()  # with the map's own rows it takes longer
    fine = mm.refine(m, top=30, steps=10)
    chosen = fine["refined"]
    assert chosen.sum() == 30
    assert not np.any(fine["warning"][chosen] & int(mm.Warn.NOT_CONVERGED))
    error = np.abs(fine["sensitivity"] - exact["sensitivity"]) / exact["sensitivity"]
    assert error[chosen].max() < 0.05


@pytest.mark.slow
def test_projected_rows_are_not_what_is_solved_with():
    """They leave all outside of a subspace to the prior: 10 of 30 had not converged after ten steps."""
    m, exact = drawn(Sampled(rows=FEW, projection=8)), drawn("full")
    fine = mm.refine(m, top=30, steps=10)
    assert not np.any(fine["warning"][fine["refined"]] & int(mm.Warn.NOT_CONVERGED))
    np.testing.assert_allclose(fine["sensitivity"][fine["refined"]], exact["sensitivity"][fine["refined"]], rtol=0.05)


@pytest.mark.slow
def test_standard_errors_of_what_has_not_converged_are_unknown():
    fine = mm.refine(drawn(Sampled(rows=FEW)), top=30, steps=1)
    open_, solved = (fine["refined"] & ((fine["warning"] & int(mm.Warn.NOT_CONVERGED) > 0) == each) for each in (1, 0))
    assert np.any(open_)
    for name in ("sensitivity_se", "loo_loss_se"):
        assert np.all(np.isinf(fine[name][open_]))
        assert np.all(fine[name][solved] == 0)


def test_four_rows_are_drawn_for_each_effective_parameter_and_the_maps_own_are_among_them():
    m = drawn(Sampled(rows=FEW))
    posterior = m.origin.posterior
    more, own = posterior.preconditioner, posterior.covariance
    assert len(more.q) == pytest.approx(4 * own.effective_parameters, rel=0.1)
    assert own.effective_parameters == pytest.approx(drawn("full")["leverage"].sum(), rel=0.1)
    assert more.effective_parameters == pytest.approx(drawn("full")["leverage"].sum(), rel=0.03)
    np.testing.assert_array_equal(np.isin(own.owners, more.owners), True)
    assert posterior.preconditioner is more  # drawn once


def test_the_maps_own_rows_where_they_are_enough():
    posterior = drawn(Sampled(rows=900)).origin.posterior
    assert posterior.preconditioner is posterior.covariance


def test_no_more_than_memory_allows_beside_the_maps_own(monkeypatch):
    m = drawn(Sampled(rows=FEW))
    posterior = dataclasses.replace(m.origin.posterior)
    held = posterior.solving.cost.written
    monkeypatch.setattr(sampled_cost, "NUMBERS", 800 * (3 * 800 + held))
    assert len(posterior.preconditioner.q) == pytest.approx(800 - len(posterior.covariance.q), rel=0.1)


def test_few_rows_grow_until_they_are_enough_for_the_effective_parameters_they_find():
    m = drawn(Sampled(rows=60))
    posterior, parameters = m.origin.posterior, drawn("full")["leverage"].sum()
    assert len(posterior.preconditioner.q) > 3.2 * parameters
    assert residuals(posterior, posterior.preconditioner, m.top(30)["row"], 10).max() < 0.01


def test_a_draw_of_fewer_rows_than_asked_for_is_not_repeated(monkeypatch):
    posterior = dataclasses.replace(drawn(Sampled(rows=60)).origin.posterior)
    own, asked = posterior.covariance, []

    def as_few_as_before(pool, rows, deltas):
        assert len(asked) < 10
        asked.append(rows)
        return own

    monkeypatch.setattr(RowPool, "covariance", as_few_as_before)
    assert posterior.preconditioner is own
    assert len(asked) == 1


def test_no_more_than_what_takes_as_long_as_the_map(monkeypatch):
    posterior = dataclasses.replace(drawn(Sampled(rows=60)).origin.posterior)
    cost = dataclasses.replace(posterior.solving.cost, epoch=0.0)
    work = cost.multiplications(len(posterior.covariance.q))
    solving = dataclasses.replace(posterior.solving, cost=dataclasses.replace(cost, pair=work / (1.8 * 200**2)))
    posterior = dataclasses.replace(posterior, solving=solving)
    assert 150 < len(posterior.preconditioner.q) < 230


def test_examples_of_which_some_have_sampled_rows_are_refined_alike():
    net, x, y = trained()
    recipe = mm.Laplace(Sampled(rows=FEW, share=0.2), prior=PRIOR)
    m = mm.memory_map(net, x, y, likelihood="categorical", posterior=recipe)
    fine = mm.refine(m, top=10, steps=10)
    assert not np.any(fine["warning"][fine["refined"]] & int(mm.Warn.NOT_CONVERGED))


@pytest.mark.slow
def test_removed_groups_and_queries_are_solved_from_them(monkeypatch):
    m, exact = drawn(Sampled(rows=FEW)), drawn("full")
    posterior = m.origin.posterior
    group, (_, x, _) = {"some": m["row"][:20]}, trained()
    found, wanted = (each.leave_out(group)["sensitivity"] for each in (m, drawn("ekfac")))
    np.testing.assert_allclose(found, wanted, rtol=1e-4)  # the same systems by another preconditioner
    found, wanted = (each.origin.posterior.cross_covariance(x[:2])(x[:20]) for each in (m, exact))
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6)
    monkeypatch.setattr(type(posterior), "preconditioner", property(lambda self: 1 / 0))
    for solve in (lambda: m.leave_out(group), lambda: posterior.cross_covariance(x[:2])):
        with pytest.raises(ZeroDivisionError):
            solve()


@pytest.mark.slow
def test_refits_are_preconditioned_by_them(monkeypatch):
    found, wanted = (mm.refit(drawn(structure), top=4) for structure in (Sampled(rows=60), "full"))
    same = np.intersect1d(found["id"][found["refitted"]], wanted["id"][wanted["refitted"]])
    assert len(same)
    np.testing.assert_allclose(found.select(same)["sensitivity"], wanted.select(same)["sensitivity"], rtol=0.1)
    posterior = drawn(Sampled(rows=61)).origin.posterior
    monkeypatch.setattr(type(posterior), "preconditioner", property(lambda self: 1 / 0))
    with pytest.raises(ZeroDivisionError):
        posterior.refit(np.array([0]), np.array([0]))
