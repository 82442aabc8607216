"""What maps by sampled rows are forecast to cost: always printed, of the rows there are, and epochs only if timed."""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from torch import nn

import memorymaps as mm
from memorymaps.nets import Sampled
from memorymaps.nets.sampled.cost import SampledCost
from memorymaps.nets.sampled.rows import leverages
from memorymaps.nets.sampled.rows.work import PassWork

BEFORE = "error known once the rows are drawn"


@functools.cache
def network(n=60):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3)), torch.randn(n, 5), torch.arange(n) % 3


def drawn(structure, progress=False):
    net, x, y = network()
    recipe = mm.Laplace(structure, prior=1.0)
    return mm.memory_map(net, x, y, likelihood="categorical", posterior=recipe, progress=progress)


def notes(m):
    return m.provenance.description.notes


def of_work(m):
    (words,) = [note for note in notes(m) if note.startswith("Forecast")]
    return words.partition("work: ")[2]


def timed_as(monkeypatch, epoch):
    work = PassWork(epoch, 1e3, 2e3, 2e3, timed=True)
    monkeypatch.setattr("memorymaps.nets.sampled.curvature.timed_work", lambda problem, kinds: work)


RECIPES = [Sampled(rows=50), Sampled(budget=0.01), Sampled(error=5.0), Sampled(), Sampled(budget="9 epochs")]


@pytest.mark.parametrize("recipe", RECIPES, ids=str)
def test_a_forecast_is_printed_before_the_map_is_drawn_whatever_says_how_many_rows(recipe, monkeypatch, capsys):
    timed_as(monkeypatch, 1e8)
    monkeypatch.setattr("memorymaps.nets.sampled.sample_size.FIRST", 16)
    m = drawn(recipe, progress=True)
    printed = [line for line in capsys.readouterr().err.splitlines() if "forecast" in line]
    assert printed[-1].endswith(of_work(m))
    for each in printed:
        assert all(part in each for part in ("rows, ", "seconds of a core", "passes over the data", "GB, error "))
    assert len(printed) == len(set(printed))
    drawn(recipe)
    assert "forecast" not in capsys.readouterr().err


def test_rows_that_are_asked_for_have_their_passes_and_error_in_the_forecast(capsys):
    m = drawn(Sampled(rows=40), progress=True)
    first, last = [line for line in capsys.readouterr().err.splitlines() if "forecast" in line]
    assert "forecast: 40 rows" in first
    assert BEFORE in first
    error = max(m.trust[name].error for name in ("leverage", "sensitivity", "loo_loss"))
    assert f"error at most about {error:.2g}" in last


def test_more_rows_than_there_are_cost_what_these_do(capsys):
    many, every = (
        drawn(Sampled(rows=rows), progress=True) for rows in (100_000, 120)
    )  # of three classes two rows an example
    printed = [line for line in capsys.readouterr().err.splitlines() if "forecast" in line]
    assert all("forecast: 120 rows" in line for line in printed)
    assert "all there are" in notes(many)[0]
    np.testing.assert_array_equal(many["leverage"], every["leverage"])


def test_epochs_of_training_are_stated_where_they_were_timed(monkeypatch):
    timed_as(monkeypatch, 1e9)
    assert "epoch" not in of_work(drawn(Sampled(rows=50)))
    assert "epoch" not in of_work(drawn(Sampled(budget=0.5)))
    assert "seconds of a core or" in of_work(drawn(Sampled(budget="5 epochs")))


def test_a_budget_that_the_least_map_exceeds_is_not_said_to_allow_it(monkeypatch):
    timed_as(monkeypatch, 10.0)
    for budget in ("5 epochs", 1e-9):
        m = drawn(Sampled(budget=budget))
        assert f"as many as add a quarter to the least map, together longer than budget={budget!r}" in notes(m)[0]
        assert "allows" not in notes(m)[0]
    assert "allows" in notes(drawn(Sampled(budget=0.004, error=1e-6)))[0]


def test_one_row_is_no_rows():
    (of_one,) = [line for line in notes(drawn(Sampled(rows=1))) if "1 row, " in line]
    assert "1 rows" not in of_one
    assert any("2 rows, " in line for line in notes(drawn(Sampled(rows=2))))


def test_what_is_done_with_products_of_the_first_sample_is_part_of_a_timed_budget():
    cost = SampledCost(n=100, k=10, directions=10, product=50.0, written=100, passes=1e6, epoch=1e5)
    counted = PassWork(1e5, 1e3, 2e3, 2e3)
    of_both = (leverages._multiplications(cost, work, 64, 10) for work in (counted, replace(counted, entry=1200.0)))
    without, beside = of_both
    assert beside - without == 100 * 64 * 10 * 1200


def test_rows_for_effective_parameters_are_advised_and_not_all_there_are():
    torch.manual_seed(0)
    x, y = torch.randn(400, 30), torch.arange(400) % 10
    net = nn.Sequential(nn.Linear(30, 16), nn.Tanh(), nn.Linear(16, 10))
    draw = functools.partial(mm.memory_map, net, x, y, likelihood="categorical")
    few, every = (draw(posterior=mm.Laplace(structure, prior=30.0)) for structure in (Sampled(rows=15), "full"))
    (words,) = [line for line in few.summary().warnings if "rows are too few for sizes" in line]
    wanted = int(words.partition("Sampled(rows=")[2].partition(")")[0])
    assert 4 * every["leverage"].sum() < wanted < 3600 / 4
    more = draw(posterior=mm.Laplace(Sampled(rows=wanted), prior=30.0))
    assert not any("too few" in line for line in more.summary().warnings)


@pytest.mark.parametrize("folder", [3, b"rows", True, ["rows"], "/no/such/folder"])
def test_a_folder_that_is_none_is_refused_at_once(folder, tmp_path):
    with pytest.raises(ValueError, match=r"folder = .*: expected the path of a folder that exists, or None"):
        Sampled(folder=folder)
    for there in (tmp_path, str(tmp_path), None):
        assert Sampled(folder=there).folder == there
