"""Rows within a Kronecker subspace against dense matrices, and what projecting changes against the map without it."""

from __future__ import annotations

import functools
import weakref

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from networks import case
from sklearn.datasets import load_digits
from torch import nn

import memorymaps as mm
from memorymaps.nets.covariance.gram import DenseRows, RankOneRows
from memorymaps.nets.sampled.errors import projection as compared
from memorymaps.nets.sampled.rows.projection import LayerProjection, ProjectedRows, RangeSketch
from memorymaps.nets.sampled.structure import Sampled

MEASURES = ("leverage", "sensitivity", "loo_loss")
O, D = 4, 7
INVERSE = torch.full((O, D), 0.5, dtype=torch.float64)


def numbers(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class Gradients:
    """Gradients of a layer at `t` positions, as a batch has them."""

    def __init__(self, n=5, k=3, t=2):
        self.inputs, self.cotangents = numbers(n, t, D), numbers(n, k, t, O, seed=1)
        self.a = self.inputs
        self.g = self.cotangents

    def materialize(self, rows):
        return torch.einsum("nkto,ntd->nkod", self.g, self.a)[rows].flatten(2)


def rows_of(projection, t):
    found = Gradients(t=t)
    plain = RankOneRows.of(found) if projection.at_one else DenseRows.of(found)
    return projection.of(found), plain, found.materialize(slice(None)).unflatten(2, (O, D))


def bases(s, r, at_one):
    q, p = (torch.linalg.qr(numbers(n, n, seed=n))[0] for n in (O, D))
    return LayerProjection(q[:, :s].contiguous(), p[:, :r].contiguous(), at_one)


BOTH = pytest.mark.parametrize(("at_one", "t"), [(True, 1), (False, 2)])


@BOTH
def test_all_directions_in_another_basis_are_the_rows_as_they_are(at_one, t):
    projected, plain, _ = rows_of(bases(O, D, at_one), t)
    assert projected.shape == plain.shape
    v, x = numbers(2, O * D), numbers(2, 15)
    for ours, theirs in (
        (projected.cross_gram(projected, INVERSE), plain.cross_gram(plain, INVERSE)),
        (projected.example_gram(INVERSE), plain.example_gram(INVERSE)),
        (projected.matvec(v), plain.matvec(v)),
        (projected.rmatvec(x), plain.rmatvec(x)),
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


@BOTH
def test_some_directions_keep_products_within_them_and_the_length_of_each_row(at_one, t):
    projection = bases(2, 3, at_one)
    projected, plain, dense = rows_of(projection, t)
    q, r = projection.outputs, projection.inputs
    inside = (q.T @ dense @ r).flatten(2).flatten(0, 1)
    torch.testing.assert_close(projected.cross_gram(projected, INVERSE), inside @ inside.T / 2)
    torch.testing.assert_close(projected.example_gram(INVERSE), plain.example_gram(INVERSE))
    lifted = (q @ q.T @ dense @ r @ r.T).flatten(2).flatten(0, 1)
    v, x = numbers(O * D), numbers(15)
    torch.testing.assert_close(projected.matvec(v), lifted @ v)
    torch.testing.assert_close(projected.rmatvec(x), x @ lifted)


@BOTH
def test_single_rows_scaled_and_joined_keep_what_they_lack(at_one, t):
    projected, _, dense = rows_of(bases(2, 3, at_one), t)
    places, columns, by = torch.tensor([0, 3, 4]), torch.tensor([2, 0, 1]), torch.tensor([1.0, 2.0, 3.0]).double()
    some = projected.single(places, columns).scaled(by)
    some = some.projection.concatenate([some.take(slice(0, 1)), some.take(slice(1, 3))])
    assert isinstance(some, ProjectedRows)
    whole = dense[places, columns].flatten(1).square().sum(1) / 2 * by.square()
    own = some.cross_gram(some, INVERSE).diagonal() + some.own_outside(INVERSE)
    torch.testing.assert_close(own, whole)
    assert float(some.to(torch.float32).own_outside(INVERSE).sub(some.own_outside(INVERSE)).abs().max()) < 1e-5


def test_the_sketch_finds_the_subspace_that_rows_are_in():
    left, right = numbers(O, 2), numbers(D, 3, seed=2)
    g = left @ numbers(20, 2, 3, seed=3) @ right.T
    sketch = RangeSketch.of((O, D), 3, torch.Generator().manual_seed(0), torch.device("cpu"))
    for part in (slice(0, 8), slice(8, 20)):
        sketch.add(DenseRows(g[part].flatten(1)[:, None]))
    q, r = sketch.projection(False).outputs, sketch.projection(False).inputs
    torch.testing.assert_close(q @ q.T @ g @ r @ r.T, g)
    torch.testing.assert_close(r.T @ r, torch.eye(3, dtype=r.dtype))


def mapped(net, x, y, likelihood="categorical", prior=0.3, **options):
    recipe = mm.Laplace(Sampled(**options), prior=prior)
    return mm.memory_map(net, x, y, likelihood=likelihood, posterior=recipe, progress=False)


@pytest.mark.parametrize("name", ["mlp", "cnn", "attention"])
def test_as_many_directions_as_there_are_change_nothing(name):
    net, x, y = case(name, 10)
    m, plain = (mapped(net, x, y, rows=12, projection=projection) for projection in (1000, None))
    assert all(np.array_equal(m[column], plain[column]) for column in MEASURES)
    assert m.provenance.description.notes == plain.provenance.description.notes


@pytest.mark.parametrize("name", ["mlp", "cnn", "attention"])
@pytest.mark.parametrize("piece", [2**26, 40])
def test_the_stated_change_is_that_from_the_map_of_the_same_rows_as_they_are(name, piece, monkeypatch):
    monkeypatch.setattr(compared, "_PIECE", piece)
    net, x, y = case(name, 16)
    m, plain = (mapped(net, x, y, rows=14, projection=projection) for projection in (2, None))
    covariance = m.origin.posterior.covariance
    loss = plain["loss"]
    for column, stated, size in zip(
        MEASURES,
        covariance.projected.relative,
        (plain["leverage"], plain["sensitivity"], plain["loo_loss"] - loss),
        strict=True,
    ):
        change = np.linalg.norm(m[column] - plain[column]) / np.linalg.norm(size)
        assert stated == pytest.approx(change, rel=1e-6)
        assert change > 1e-3
    assert covariance.gram.rows[0].shape == plain.origin.posterior.covariance.gram.rows[0].shape
    assert "leading ones of a random projection" in " ".join(m.provenance.description.notes)


def test_of_rows_as_they_are_one_other_piece_is_in_memory_while_one_is_made(monkeypatch):
    alive, most = [], []

    def made(*args):
        alive[:] = [row for row in alive if row() is not None]
        most.append(len(alive))
        found = compared_rows_at(*args)
        alive.append(weakref.ref(found[0]))
        return found

    compared_rows_at = compared.rows_at
    monkeypatch.setattr(compared, "rows_at", made)
    monkeypatch.setattr(compared, "_PIECE", 200)
    net, x, y = case("mlp", 16)
    mapped(net, x, y, rows=14, projection=2)
    assert len(most) > 20
    assert max(most) == 1


def test_all_rows_of_few_directions_are_not_called_exact():
    net, x, y = case("mlp", 12)
    m = mapped(net, x, y, rows=10**6, projection=2)
    assert "the exact posterior" not in " ".join(m.provenance.description.notes)
    assert np.all(m["leverage_se"] > 0)


def test_layers_whose_prior_differs_between_parameters_stay_as_they_are():
    net, x, y = case("mlp", 12)
    optimizer = torch.optim.AdamW(net.parameters(), weight_decay=0.1)
    for value in net.parameters():
        optimizer.state[value] = {"step": torch.tensor(1e9), "exp_avg_sq": torch.rand_like(value)}
    m = mapped(net, x, y, rows=8, projection=2, prior=mm.prior_from(optimizer, 12))
    assert m.origin.posterior.covariance.projected is None


@functools.cache
def digits():
    torch.manual_seed(0)
    x, y = load_digits(return_X_y=True)
    x, y = torch.tensor(x[:200] / 16), torch.tensor(y[:200])
    net = nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)),
        nn.Conv2d(1, 4, 3),
        nn.Tanh(),
        nn.Conv2d(4, 6, 3),
        nn.Tanh(),
        nn.Flatten(),
        nn.Linear(96, 10),
    ).double()
    optimizer = torch.optim.LBFGS(net.parameters(), max_iter=60, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        penalty = sum(value.square().sum() for value in net.parameters()) / 2
        loss = nn.functional.cross_entropy(net(x), y, reduction="sum") + penalty
        loss.backward()
        return loss

    optimizer.step(closure)
    return net, x, y


@pytest.mark.slow
def test_stated_errors_cover_the_exact_posterior_of_a_small_network():
    net, x, y = digits()
    exact = mm.memory_map(net, x, y, likelihood="categorical", posterior=mm.Laplace("full", prior=1.0), progress=False)
    for kept, close in ((6, 0.8), (12, 0.1)):
        m = mapped(net, x, y, rows=360, projection=kept, prior=1.0)
        for column in MEASURES:
            off = np.abs(m[column] - exact[column])
            assert np.mean(off <= 2 * m[f"{column}_se"]) > 0.8
        assert np.linalg.norm(m["leverage"] - exact["leverage"]) < close * np.linalg.norm(exact["leverage"])


@pytest.mark.parametrize("directions", [0, -3, 2.5, float("nan"), "abc"])
def test_a_projection_on_no_directions_is_refused_with_one_that_works(directions):
    with pytest.raises((TypeError, ValueError), match="expected a positive whole number of directions, projection=64"):
        Sampled(projection=directions)
    assert Sampled(projection=64).projection == 64
