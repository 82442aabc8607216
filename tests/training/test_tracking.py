"""Tracking: what is recorded is what memory_map gives, hostile data is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from networks import case
from runs import trained
from torch import nn

import memorymaps as mm
from memorymaps.maps.trajectory import Trajectory
from memorymaps.training.tracker import Tracker, schedule


def test_the_last_record_is_the_map_of_the_trained_network(tmp_path):
    tracker, net, optimizer, x, y = trained(tmp_path, test=(case("mlp", 9)[1], case("mlp", 9)[2]))
    t = tracker.trajectory()
    assert t.steps == [4, 8, 12]
    m = mm.memory_map(net, x, y, likelihood="categorical", posterior=mm.FromOptimizer(optimizer, n=30))
    for column in ("id", "leverage", "sensitivity", "loo_loss"):
        np.testing.assert_array_equal(t.at(12)[column], m[column])
    losses = t.losses()
    _, tx, ty = case("mlp", 9)
    assert losses.loc[12, "test_loss"] == pytest.approx(nn.functional.cross_entropy(net(tx), ty).item(), rel=1e-9)
    assert losses.loc[12, "loo_loss"] == pytest.approx(m.leave_one_out().loo_loss, rel=1e-12)
    assert tracker.overhead > 0
    assert t.at(8).provenance.description.algorithm == "Adam, step 8"


def test_other_posteriors_and_subsets(tmp_path):
    recipe = mm.Laplace("diag", prior=0.3)
    tracker, net, _, x, y = trained(tmp_path, posterior=recipe, subset=np.array([3, 1, 7]))
    m = tracker.trajectory().at(12)
    assert m["id"].tolist() == [1, 3, 7]
    whole = mm.memory_map(net, x, y, likelihood="categorical", posterior=recipe)  # curvature is that of all the data
    np.testing.assert_allclose(m["leverage"], whole["leverage"][[1, 3, 7]], rtol=1e-12)
    assert len(trained(tmp_path / "b", subset=5)[0].trajectory().at(4)) == 5


def test_a_part_of_the_data_is_drawn_with_the_posterior_of_all_of_it(tmp_path):
    tracker, net, _, x, y = trained(tmp_path, posterior=mm.Laplace("kfac", prior=0.3), subset=np.array([3, 1, 7]))
    whole = mm.memory_map(net, x, y, likelihood="categorical", posterior=mm.Laplace("kfac", prior=0.3))
    part = tracker.trajectory().at(12)
    for name in ("leverage", "sensitivity", "loo_loss"):
        np.testing.assert_allclose(part[name], whole.select([1, 3, 7])[name], rtol=1e-12)


def test_paths_ranks_and_cartography(tmp_path):
    t = trained(tmp_path, steps=20, every=2)[0].trajectory()
    path = t.example(5)
    assert path.index.tolist() == t.steps
    assert path.loc[20, "loss"] == t.at(20).select([5])["loss"][0]
    ids, ranks = t.rank_evolution()
    assert np.array_equal(np.sort(ranks, axis=1), np.tile(np.arange(1, 31), (10, 1)))
    assert ids[np.argmin(ranks[-1])] == t.at(20).top(1)["id"][0]
    table = t.cartography().set_index("id")
    right = np.stack([t.at(s)["prediction"] == t.at(s)["target"] for s in t.steps])
    p = np.stack([np.exp(-t.at(s)["loss"]) for s in t.steps])
    np.testing.assert_allclose(table["confidence"], p.mean(0))
    np.testing.assert_allclose(table["correctness"], right.mean(0))
    for k, row in enumerate(table.itertuples()):
        seen = [s for s, r in zip(t.steps, right[:, k], strict=True) if r]
        assert row.first_learned == (seen[0] if seen else -1)
        stays = [s for j, s in enumerate(t.steps) if right[j:, k].all()]
        assert row.learned == (stays[0] if stays else -1)
        assert row.forgotten == sum(a and not b for a, b in zip(right[:-1, k], right[1:, k], strict=True))
    assert np.all(t.concentration((1.0,)) == 1)


@pytest.mark.parametrize(
    ("every", "due"), [(3, [3, 6, 9]), ("log", [1, 2, 5, 10]), ([4, 7], [4, 7]), (None, []), (lambda s: s == 2, [2])]
)
def test_schedules(every, due):
    assert [s for s in range(1, 12) if schedule(every)(s)] == due


@pytest.mark.parametrize("every", [0, -1, "often", 2.5])
def test_unknown_schedules_are_refused(every):
    with pytest.raises(ValueError, match="expected a positive"):
        schedule(every)


# --- bad input -----------------------------------------------------------------------------------------------------


def test_a_folder_with_a_run_is_not_written_over(tmp_path):
    trained(tmp_path)
    with pytest.raises(ValueError, match="up to step 12"):
        trained(tmp_path)


def test_other_data_under_the_same_path_is_refused(tmp_path):
    _, net, optimizer, x, y = trained(tmp_path)
    again = Tracker(net, optimizer, x, (y + 1) % 3, likelihood="categorical", path=tmp_path / "run", start=12)
    with pytest.raises(mm.DataError, match="one data set"):
        again.record()
    assert Trajectory.load(tmp_path / "run").steps == [4, 8, 12]


def test_a_step_before_the_first_is_refused(tmp_path):
    net, x, y = case("mlp")
    optimizer = torch.optim.Adam(net.parameters())
    with pytest.raises(ValueError, match="no step yet"):
        Tracker(net, optimizer, x, y, likelihood="categorical", path=tmp_path).record()


def test_missing_steps_and_folders_say_what_there_is(tmp_path):
    t = trained(tmp_path)[0].trajectory()
    with pytest.raises(KeyError, match="4, 8, 12"):
        t.at(5)
    with pytest.raises(FileNotFoundError, match="Tracker wrote"):
        Trajectory.load(tmp_path)


def test_regressions_have_no_cartography(tmp_path):
    net = nn.Linear(3, 1).double()
    x, y = torch.randn(10, 3, dtype=torch.float64), torch.randn(10, dtype=torch.float64)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    tracker = Tracker(net, optimizer, x, y, likelihood="gaussian", path=tmp_path / "r")
    tracker.record()
    with pytest.raises(ValueError, match="no classes"):
        tracker.trajectory().cartography()


@pytest.mark.parametrize("option", [{"prior": 1.0}, {"directions": 0}])
def test_options_of_another_posterior_are_refused(option, tmp_path):
    with pytest.raises(ValueError, match=r"posterior= was given: say them there"):
        trained(tmp_path, posterior=mm.Laplace("diag", prior=0.3), **option)
