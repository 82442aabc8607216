"""What passes over the examples cost, timed or counted, and the map that a short budget leaves."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from networks import CASES, case

import memorymaps as mm
from memorymaps.core.likelihoods.exponential_family import Gaussian
from memorymaps.data.in_memory import ArrayExamples
from memorymaps.nets import cost_model
from memorymaps.nets.autograd.batch_size import linearize
from memorymaps.nets.autograd.network import evaluation_mode
from memorymaps.nets.cost_model import TimedWorks, forward_macs, least_seconds, multiplications_like
from memorymaps.nets.covariance import gram
from memorymaps.nets.covariance.gram import DenseRows, GroupRows, group_rows, inverses_of, products_with
from memorymaps.nets.curvature import structure
from memorymaps.nets.curvature.dual import rows_types
from memorymaps.nets.curvature.structure import prior_covariance
from memorymaps.nets.problem import build_problem
from memorymaps.nets.sampled import sample_size
from memorymaps.nets.sampled.cost import cost_of
from memorymaps.nets.sampled.directions import Directions
from memorymaps.nets.sampled.rows import pool
from memorymaps.nets.sampled.rows import work as row_work
from memorymaps.nets.sampled.rows.files import FiledRows
from memorymaps.nets.sampled.rows.work import PassWork, counted_work, products_of_rows, timed_work
from memorymaps.nets.sampled.structure import Sampled


def problem(name="cnn", n=24, likelihood="categorical"):
    net, x, y = case(name, n)
    with evaluation_mode(net):
        return build_problem(mm.Laplace("sampled", prior=1.0)(net, likelihood), ArrayExamples.of(x, y))


@pytest.mark.parametrize("name", CASES)
def test_rows_made_some_examples_at_a_time_are_those_of_the_whole_batch(name, monkeypatch):
    monkeypatch.setattr(gram, "_PIECE", 100)
    setting, n = problem(name, 7), 7
    x = setting.examples.take(np.arange(n)).inputs
    with evaluation_mode(setting.network.module):
        kinds = rows_types(setting)
        seen = linearize(setting.network, setting.owners, x, slice(0, n), lambda f, _: torch.randn(3, *f.shape).to(f))
        whole, pieces = (make(seen, setting.block_groups, kinds) for make in (group_rows, GroupRows.of_batch))
        which, column = torch.tensor([0, 2, 2, 6]), torch.tensor([1, 0, 2, 1])
        few = [rows.single(which, column) for rows in whole]
        inverses = inverses_of(prior_covariance(setting, setting.prior).precisions)
        for mine, theirs, inverse in zip((each.single(which, column) for each in pieces), few, inverses, strict=True):
            torch.testing.assert_close(mine.example_gram(inverse), theirs.example_gram(inverse))
        part = slice(2, 6)
        own, cross = products_with(pieces, few, inverses, part, torch.float64)
        triples = list(zip([rows.take(part) for rows in whole], few, inverses, strict=True))
        torch.testing.assert_close(own, sum(rows.example_gram(inverse) for rows, _, inverse in triples))
        torch.testing.assert_close(cross, sum(rows.cross_gram(others, inverse) for rows, others, inverse in triples))


@pytest.mark.parametrize("name", CASES)
def test_a_row_takes_as_many_reverse_passes_as_its_neighbours_have_rows(name, monkeypatch):
    setting, passes = problem(name, 12), []

    def recorded(network, owners, inputs, rows, directions):
        def counted(f, part):
            found = directions(f, part)
            passes.append(len(found))
            return found

        return linearize(network, owners, inputs, rows, counted)

    monkeypatch.setattr(pool, "linearize", recorded)
    with evaluation_mode(setting.network.module):
        kinds, inverses = rows_types(setting), inverses_of(prior_covariance(setting, setting.prior).precisions)
        whole = setting.examples.take(np.arange(12))
        roots = structure.root_directions(setting, whole, setting.weights(whole))
        seen = linearize(setting.network, setting.owners, whole.inputs, slice(0, 12), roots)
        k = len(seen.g[0])
        which, column = torch.tensor([0, 2, 2, 6, 11]), torch.tensor([1, 0, k - 1, 1, 0])
        found = pool.rows_at(setting, kinds, which * k + column, k)
        wanted = [rows.single(which, column) for rows in group_rows(seen, setting.block_groups, kinds)]
    assert sum(passes) <= 2 * len(passes)
    for mine, expected, inverse in zip(found, wanted, inverses, strict=True):
        torch.testing.assert_close(mine.cross_gram(expected, inverse), expected.cross_gram(expected, inverse))


def test_a_step_and_rows_are_timed_beside_matrix_products_and_leave_the_network_as_it_is():
    setting = problem()
    before = [value.detach().clone() for value in setting.network.module.parameters()]
    found = timed_work(setting, rows_types(setting))
    assert min(found.epoch, found.outputs + found.direction, found.outputs + found.single) > 0
    assert all(value.grad is None for value in setting.network.module.parameters())
    assert all(map(torch.equal, before, setting.network.module.parameters()))


def test_the_time_of_one_direction_is_what_one_more_takes(monkeypatch):
    setting = problem()
    several = min(setting.num_outputs, row_work._DIRECTIONS)
    kinds, single = rows_types(setting), 3.0 + several
    slower = 1.5 * several * (256 - 8) * products_of_rows(setting, kinds, several) / 2  # than a large matrix product
    times = iter([12.0, 8 * 5.0, 8 * (5.0 + 2 * (several - 1)), 8 * single, 8 * (single + slower)])
    of_timing = 700.0
    timed = lambda works, device: TimedWorks([next(times) for _ in works], of_timing)  # noqa: E731
    monkeypatch.setattr(row_work, "multiplications_like", timed)
    found = timed_work(setting, rows_types(setting))
    assert found.product == pytest.approx(1.5)
    passes = PassWork(epoch=12.0, outputs=3.0, direction=2.0, single=1.0, before=of_timing)
    assert replace(found, product=1.0, example=0.0, entry=0.0, timed=False) == passes
    cost = cost_of(setting, rows_types(setting), found)
    before = of_timing + 4 * 24 * found.example  # once for the map, three times for its errors
    checks = 4 * 12.0 / 3
    assert cost.passes == pytest.approx(before + checks + 24 * (3.0 + 2.0 * setting.num_outputs))
    assert cost.product == pytest.approx(1.5 * cost_of(setting, kinds, replace(found, product=1.0)).product)
    few = cost_of(setting, rows_types(setting), found, directions=1.5)
    assert few.passes == pytest.approx(before + checks + 4.0 + 24 * (3.0 + 1.5 * 1.0))


def test_one_output_has_one_direction(monkeypatch):
    setting = problem("mlp")
    one = build_problem(mm.Laplace("sampled", prior=1.0)(torch.nn.Linear(3, 1), Gaussian(1.0)), regression(24))
    times = iter([12.0, 24.0, 24.0, 16.0, 16.0])
    timed = lambda works, device: TimedWorks([next(times) for _ in works], 92.0)  # noqa: E731
    monkeypatch.setattr(row_work, "multiplications_like", timed)
    found = timed_work(one, rows_types(one))
    assert (found.outputs, found.direction, found.single, found.before) == (0.0, 3.0, 2.0, 92.0)
    counted = counted_work(setting, rows_types(setting))
    assert counted.epoch == 3 * forward_macs(setting)
    assert counted.direction == 2 * counted.outputs == pytest.approx(2 * forward_macs(setting) / 24)


def regression(n):
    x = torch.randn(n, 3, generator=torch.Generator().manual_seed(0))
    return ArrayExamples.of(x, x @ torch.tensor([[1.0], [-2.0], [0.5]]))


def test_multiplications_are_the_ratio_to_a_product_in_steps_of_a_tenth(monkeypatch):
    monkeypatch.setattr(cost_model, "least_seconds", lambda works, device: ([2.0, 0.25, 0.5], 3.0))
    found, together = multiplications_like([lambda: None, lambda: None], torch.device("cpu"))
    assert together == pytest.approx(3.0 / 0.5 * 512**3 / 2, rel=0.05)
    assert found == pytest.approx([2.0 / 0.5 * 512**3 / 2, 0.25 / 0.5 * 512**3 / 2], rel=0.05)
    steps = [math.log(each, 1.1) for each in found]
    assert steps == pytest.approx([round(step) for step in steps], abs=1e-9)


def test_short_works_are_timed_in_a_row_and_all_that_timing_takes_is_known(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(cost_model, "_clock", lambda device: now[0])
    before, calls = [None], []

    def work(name, seconds):
        def done():
            now[0] += seconds * (1 if before[0] == name else 5)  # the first time after another work takes longer
            before[0] = name
            calls.append(name)

        return done

    found, together = least_seconds([work("short", 1e-4), work("long", 1.0)], torch.device("cpu"))
    assert found[0] == pytest.approx(1e-4)
    assert calls.count("long") == 4
    assert 4 < calls.count("short") < 100
    assert together == pytest.approx(now[0])


@pytest.mark.parametrize("most", [1.0, 1.7, 2.5])
def test_a_short_budget_leaves_fewer_directions_where_they_matter_least(most):
    setting = problem()
    free, few = Directions.leading(setting), Directions.leading(setting, most)
    assert few.mean <= most
    assert bool((few.counts <= free.counts).all())
    assert Directions.leading(setting, 99.0).counts.tolist() == free.counts.tolist()


def test_leverages_are_asked_for_where_the_budget_allows_reverse_passes():
    net = torch.nn.Linear(3, 1)
    data = regression(600)
    prior = mm.Laplace("sampled", prior=1.0)(net, Gaussian(1.0))
    setting = build_problem(prior, data)
    for budget, measure, reads in ((600.0, "curvature and leverage", 6), (1e-8, "curvature (seed", 5)):
        found = Sampled(rows=8, budget=budget).fit(setting)
        chosen = "directions of each example" in " ".join(found.notes)
        assert f"drawn by {measure}" in found.notes[0]
        assert f"{reads + chosen} passes over the data" in found.notes[2]


def test_samples_are_not_followed_by_others_of_about_the_same_size():
    assert sample_size._next(256, wanted=600, most=600) == 600
    assert sample_size._next(256, wanted=768, most=768) == 768
    assert sample_size._next(256, wanted=700, most=768) == 700
    assert sample_size._next(256, wanted=800, most=800) == 512
    assert sample_size._next(256, wanted=400, most=600) == 400
    assert sample_size._next(256, wanted=260, most=5000) == 320
    assert sample_size._next(256, wanted=256, most=700) == 320  # never the same sample again
    assert sample_size._next(256, wanted=256, most=300) == 300
    assert sample_size._next(512, wanted=600, most=600) == 600


def test_products_with_rows_in_files_take_a_third_longer():
    each = problem()
    kinds = rows_types(each)
    filed = [FiledRows if kind is DenseRows else kind for kind in kinds]
    dense = sum(group.size for kind, group in zip(kinds, each.block_groups, strict=True) if kind is DenseRows)
    assert dense > 0
    held, on_disk = (cost_of(each, some, counted_work(each, some)).product for some in (kinds, filed))
    assert on_disk - held == pytest.approx(0.3 * dense)
