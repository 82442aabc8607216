"""Along the error and the leading directions of each curvature, in single precision, against all in double."""

from __future__ import annotations

import functools

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from networks import case
from sklearn.datasets import load_digits
from torch import nn

import memorymaps as mm
from memorymaps.core.likelihoods.categorical import Categorical
from memorymaps.core.likelihoods.exponential_family import Gaussian
from memorymaps.nets.autograd.batch_size import linearize
from memorymaps.nets.autograd.hooks import one_hot_directions
from memorymaps.nets.autograd.network import evaluation_mode
from memorymaps.nets.covariance.gram import DenseRows
from memorymaps.nets.sampled.directions import Directions, ordered_directions
from memorymaps.nets.sampled.measures import Removal, cavity_measures
from memorymaps.nets.sampled.rows.files import FiledRows, RowFile
from memorymaps.nets.sampled.structure import Sampled

SHORT = 1e-6  # seconds: no budget for all directions
MEASURES = ("leverage", "sensitivity", "loo_loss")


def some_data(n=12, c=5):
    generator = torch.Generator().manual_seed(0)
    f = 2 * torch.randn(n, c, generator=generator, dtype=torch.float64)
    return f, torch.arange(n) % c, 0.5 + torch.rand(n, generator=generator, dtype=torch.float64)


def test_the_error_comes_first_and_then_what_is_left_of_the_curvature():
    f, y, w = some_data()
    basis, left = ordered_directions(Categorical(), f, y, w)
    np.testing.assert_allclose(basis.mT @ basis, torch.eye(5).expand(12, 5, 5), atol=1e-12)
    error, curvature = Categorical().error(f, y), w[:, None, None] * Categorical().curvature(f, y)
    np.testing.assert_allclose((basis[:, :, 0] * error).sum(1).abs(), error.norm(dim=1))
    for count in range(6):
        outside = torch.eye(5, dtype=f.dtype) - basis[:, :, :count] @ basis[:, :, :count].mT
        trace = (curvature @ outside).diagonal(dim1=1, dim2=2).sum(1)
        np.testing.assert_allclose(left[:, count], trace, atol=1e-12)
    gained = -left.diff(dim=1)[:, 1:]
    assert bool((gained.diff(dim=1) < 1e-12).all())  # the largest first


def test_one_output_without_an_error_has_all_its_variance():
    f = torch.tensor([[1.0], [2.0]], dtype=torch.float64)
    _, left = ordered_directions(Gaussian(1.0), f, f[:, 0], torch.ones(2, dtype=torch.float64))
    assert left[:, 0].tolist() == [1, 1]
    found = Directions(torch.ones(2, dtype=torch.long)).completion(torch.ones(2, 1, 1).double()).whole(f[:, :, None])
    assert found.flatten().tolist() == [1, 2]


def test_all_directions_are_the_whole_and_few_the_whole_of_these():
    f, y, w = some_data()
    root = torch.randn(12, 5, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    exact = root @ root.mT
    basis, _ = ordered_directions(Categorical(), f, y, w)
    for count in range(1, 6):
        some = basis[:, :, :count]
        found = Directions(torch.full((12,), count)).completion(some).whole(some.mT @ exact @ some)
        np.testing.assert_allclose(some.mT @ found @ some, some.mT @ exact @ some, atol=1e-10)
        if count == 5:
            np.testing.assert_allclose(found, exact, atol=1e-10)
        mean = (some.mT @ exact @ some).diagonal(dim1=1, dim2=2).mean(1)
        others = found.diagonal(dim1=1, dim2=2).sum(1) - count * mean
        np.testing.assert_allclose(others, (5 - count) * mean**0.75, atol=1e-10)


def test_what_is_left_out_is_found_on_examples_with_all_directions():
    f, y, w = some_data(n=400)
    root = torch.randn(400, 5, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    exact, part = 0.1 * root @ root.mT, torch.ones(400, dtype=torch.float64)
    before = Directions(torch.full((400,), 2), chosen=True)
    found, off = before.calibrated(Categorical(), (f, y, w), exact, torch.arange(400), part)
    whole = cavity_measures(Categorical(), f, y, w, exact)
    assert abs(float(off[0].sum())) < 0.02 * float(whole[0].sum())  # leverage is right on average
    shape = found.mean_variance / found.mean_variance.trace()
    torch.testing.assert_close(shape, torch.eye(5).double() / 5, atol=0.02, rtol=0)
    basis, _ = ordered_directions(Categorical(), f, y, w)
    some = basis[:, :, :2]
    within = some.mT @ exact @ some
    removal = Removal.of(Categorical(), f, y, w, found.completion(some).whole(within))
    value, others = removal.value(Categorical(), y, w), found.completion(some).others(within)
    stated = found.uncertainty(Categorical(), (f, y, w), some, value, removal.added_leverage(others))
    np.testing.assert_allclose(stated.norm(dim=1), (value - whole).norm(dim=1), rtol=0.01)
    assert "2.00 directions of each example's outputs" in " ".join(found.notes)


@functools.cache
def digits(c=10):
    x, y = load_digits(n_class=c, return_X_y=True)
    x, y = torch.tensor(x[:90] / 16), torch.tensor(y[:90])
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(64, 12), nn.Tanh(), nn.Linear(12, c)).double()
    optimizer = torch.optim.Adam(net.parameters(), 0.02)
    for _ in range(80):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()
    return net, x, y


@functools.cache
def drawn(structure, c=10):
    net, x, y = digits(c)
    return mm.memory_map(net, x, y, likelihood="categorical", posterior=mm.Laplace(structure, prior=1.0))


def notes(m):
    return " ".join(m.provenance.description.notes)


def test_deviations_along_few_directions_have_an_error_of_their_own():
    exact, m = drawn("full")["deviation"], drawn(Sampled(rows=10**6, budget=SHORT))
    true = np.linalg.norm(m["deviation"] - exact) / np.linalg.norm(exact)
    d = m.provenance.description
    assert true > 0.1
    assert 0.7 < m.trust["deviation"].error / true < 1.5
    assert m.trust["deviation"].error > 3 * d.size_errors[0]
    assert f"'deviation', whose outputs that Λ does not see are only estimated, {d.deviation_error:.1%}" in notes(m)
    whole = drawn(Sampled(rows=10**6))
    assert whole.provenance.description.deviation_error is None
    assert whole.trust["deviation"] == whole.trust["sensitivity"]


@pytest.mark.slow
def test_a_short_budget_leads_to_few_directions_whose_error_is_stated():
    exact, m = drawn("full"), drawn(Sampled(rows=10**6, budget=SHORT))
    counts = m.origin.posterior.directions.counts
    assert 1 <= float(counts.double().mean()) < 6
    for column, bound in zip(MEASURES, (0.1, 0.08, 0.02), strict=True):
        off = m[column] - exact[column]
        assert np.linalg.norm(off) < bound * np.linalg.norm(exact[column])
        assert 0.3 < np.linalg.norm(m[f"{column}_se"]) / np.linalg.norm(off) < 3  # all rows: of the directions alone
    assert abs(m["leverage"].sum() / exact["leverage"].sum() - 1) < 0.05
    assert "the exact posterior" not in notes(m)
    assert 0 < m.provenance.description.relative_error < 0.1
    whole = drawn(Sampled(rows=10**6))
    assert "6 passes over the data" in notes(m)
    assert "5 passes over the data" in notes(whole)
    assert "directions" not in notes(whole)


def test_two_classes_have_one_direction_and_nothing_is_left_out():
    exact, m = drawn("full", 2), drawn(Sampled(rows=10**6, budget=SHORT), 2)
    assert m.origin.posterior.directions.mean == 1
    for column in MEASURES:
        np.testing.assert_allclose(m[column], exact[column], rtol=1e-3, atol=1e-6 * exact[column].max())


def test_the_order_and_the_batches_of_the_examples_do_not_matter():
    net, x, y = digits()
    m = drawn(Sampled(rows=200, budget=SHORT))
    recipe = mm.Laplace(Sampled(rows=200, budget=SHORT), prior=1.0)
    batches = [(x[rows], y[rows]) for rows in torch.arange(90).split(37)]
    other = mm.memory_map(net, batches, likelihood="categorical", posterior=recipe)
    for column in (*MEASURES, "leverage_se"):
        np.testing.assert_allclose(other[column], m[column], rtol=1e-3, atol=1e-5 * m[column].max())


@pytest.mark.parametrize("name", ["mlp", "cnn", "tied"])
def test_single_precision_is_double_precision_to_rounding(name):
    net, x, y = case(name)
    recipe = mm.Laplace(Sampled(rows=9, seed=1), prior=0.3)
    source = mm.memory_map(net, x, y, likelihood="categorical", posterior=recipe).origin.posterior
    part = slice(0, len(x))
    with evaluation_mode(net):
        batch = linearize(source.network, source.problem.owners, x, part, lambda f, _: one_hot_directions(f))
    positions = torch.arange(len(x))
    double, single = (
        next(source.covariance.cavities(dtype).of(batch, positions))[1] for dtype in (torch.float64, torch.float32)
    )
    assert single.moves.dtype == torch.float32
    assert single.variance.dtype == torch.float64
    for each in ("variance", "moves", "kept"):
        exact, found = getattr(double, each), getattr(single, each)
        np.testing.assert_allclose(found, exact, atol=1e-4 * float(exact.abs().max()))


def test_rows_in_files_are_multiplied_in_single_precision_too():
    rows = torch.randn(6, 1, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    other, file = RowFile.of_groups(6, [5, 4], None)
    other.add(DenseRows(torch.ones(6, 1, 5)))
    for each in rows.split(3):
        file.add(DenseRows(each))
    filed = FiledRows.of_file(file, rows.device).to(torch.float32)
    found = filed.matvec(torch.eye(4))
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found, rows[:, 0].T, rtol=1e-6)


def test_double_precision_is_kept_where_single_changes_the_columns(monkeypatch):
    single = drawn(Sampled(rows=200, budget=SHORT))  # before: maps of this module are drawn once
    monkeypatch.setattr("memorymaps.nets.sampled.sample_size._OF_ROUNDING", 0.0)
    net, x, y = digits()
    recipe = mm.Laplace(Sampled(rows=60, budget=SHORT), prior=1.0)
    m = mm.memory_map(net, x, y, likelihood="categorical", posterior=recipe)
    assert m.origin.posterior.cavities.root.dtype == torch.float64
    assert single.origin.posterior.cavities.root.dtype == torch.float32
