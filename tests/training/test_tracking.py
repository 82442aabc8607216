"""Tracking: what is recorded is what memory_map gives, hostile data is refused."""

from __future__ import annotations

import gc
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from networks import case
from runs import trained
from torch import nn

import memorymaps as mm
from memorymaps.files.locks import InUseError
from memorymaps.maps.trajectory import RunFolderError, Trajectory
from memorymaps.training.tracker import Tracker, schedule
from memorymaps.viz.displays.evolution import GeneralisationDisplay


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


@pytest.mark.slow
def test_other_posteriors_and_subsets(tmp_path):
    recipe = mm.Laplace("diag", prior=0.3)
    tracker, net, _, x, y = trained(tmp_path, posterior=recipe, subset=np.array([3, 1, 7]))
    m = tracker.trajectory().at(12)
    assert m["id"].tolist() == [1, 3, 7]
    whole = mm.memory_map(net, x, y, likelihood="categorical", posterior=recipe)  # curvature is that of all the data
    np.testing.assert_allclose(m["leverage"], whole["leverage"][[1, 3, 7]], rtol=1e-12)
    assert len(trained(tmp_path / "b", subset=5)[0].trajectory().at(4)) == 5


@pytest.mark.slow
def test_a_part_of_the_data_is_drawn_with_the_posterior_of_all_of_it(tmp_path):
    tracker, net, _, x, y = trained(tmp_path, posterior=mm.Laplace("kfac", prior=0.3), subset=np.array([3, 1, 7]))
    whole = mm.memory_map(net, x, y, likelihood="categorical", posterior=mm.Laplace("kfac", prior=0.3))
    part = tracker.trajectory().at(12)
    for name in ("leverage", "sensitivity", "loo_loss"):
        np.testing.assert_allclose(part[name], whole.select([1, 3, 7])[name], rtol=1e-12)


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_second_tracker_is_refused_until_the_first_is_closed(tmp_path):
    _, net, optimizer, x, y = trained(tmp_path)
    options = {"likelihood": "categorical", "path": tmp_path / "run", "start": 12}
    first = Tracker(net, optimizer, x, y, **options)
    with pytest.raises(InUseError, match=r"this process already .* close\(\) the other"):
        Tracker(net, optimizer, x, y, **options)
    first.close()
    with Tracker(net, optimizer, x, y, **options), pytest.raises(InUseError):
        first.record()
    first.record()
    del first  # what nobody holds any more holds nothing
    gc.collect()
    Tracker(net, optimizer, x, y, **options).close()


@pytest.mark.slow
def test_a_step_recorded_again_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    _, net, optimizer, x, y = trained(tmp_path)
    step = tmp_path / "run" / "step=000000012"
    before, rename = (step / "map.parquet").read_bytes(), Path.rename
    with Tracker(net, optimizer, x, y, likelihood="categorical", path=tmp_path / "run", start=12) as tracker:
        with torch.no_grad():
            net[0].weight += 0.1

        def fails(self, to):
            if str(self).endswith(".partial"):
                raise OSError("no space left")
            return rename(self, to)

        monkeypatch.setattr(Path, "rename", fails)
        with pytest.raises(OSError, match="no space"):
            tracker.record()
        monkeypatch.undo()
        assert (step / "map.parquet").read_bytes() == before
        step.rename(tmp_path / "run" / ".step=000000012.aside")  # killed between two names
    with Tracker(net, optimizer, x, y, likelihood="categorical", path=tmp_path / "run", start=12) as tracker:
        assert (step / "map.parquet").read_bytes() == before
        tracker.record()
    assert (step / "map.parquet").read_bytes() != before
    assert [path.name for path in (tmp_path / "run").iterdir() if path.name.startswith(".step")] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["step=12", "step=abc", "step=", "step=000000000000012", "step=-00000001", "step=٠٠٠٠٠٠٠١٢"]
)
def test_strays_in_a_run_are_named(tmp_path, name):
    tracker, net, optimizer, x, y = trained(tmp_path)
    (tmp_path / "run" / "checkpoint.pt").touch()
    assert tracker.trajectory().steps == [4, 8, 12]
    (tmp_path / "run" / name).mkdir()
    with pytest.raises(RunFolderError, match=f"{name}' is not a recorded step"):
        tracker.trajectory()
    with pytest.raises(RunFolderError, match=f"{name}' is not a recorded step"):
        Tracker(net, optimizer, x, y, likelihood="categorical", path=tmp_path / "run", start=12)


def test_damaged_steps_are_named(tmp_path):
    t = trained(tmp_path)[0].trajectory()
    step = tmp_path / "run" / "step=000000008"
    for content in (b"", b"[1]", b'{"loss": "x"}', b"[" * 100_000, b"\xff"):
        (step / "scalars.json").write_bytes(content)
        with pytest.raises(RunFolderError, match=r"step=000000008/scalars.json' is missing or damaged"):
            t.losses()
    (step / "map.parquet").unlink()
    with pytest.raises(RunFolderError, match=r"step=000000008/map.parquet' is missing"):
        t.at(8)
    with pytest.raises(RunFolderError, match="is missing"):
        t.example(3)


def test_a_step_before_the_first_is_refused(tmp_path):
    net, x, y = case("mlp")
    optimizer = torch.optim.Adam(net.parameters())
    with pytest.raises(ValueError, match="no step yet"):
        Tracker(net, optimizer, x, y, likelihood="categorical", path=tmp_path).record()


def test_missing_steps_and_folders_list_the_existing(tmp_path):
    t = trained(tmp_path)[0].trajectory()
    with pytest.raises(KeyError, match="4, 8, 12"):
        t.at(5)
    with pytest.raises(FileNotFoundError, match="written by a Tracker"):
        Trajectory.load(tmp_path)


def test_regressions_have_no_cartography(tmp_path):
    net = nn.Linear(3, 1).double()
    x, y = torch.randn(10, 3, dtype=torch.float64), torch.randn(10, dtype=torch.float64)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    tracker = Tracker(net, optimizer, x, y, likelihood="gaussian", path=tmp_path / "r")
    tracker.record()
    with pytest.raises(ValueError, match="needs maps of classes"):
        tracker.trajectory().cartography()


@pytest.mark.parametrize("option", [{"prior": 1.0}, {"directions": 0}])
def test_options_of_another_posterior_are_refused(option, tmp_path):
    with pytest.raises(ValueError, match=r"posterior= was given: pass them to the recipe"):
        trained(tmp_path, posterior=mm.Laplace("diag", prior=0.3), **option)


def test_left_out_losses_that_cannot_be_trusted_say_so_in_table_picture_and_page(tmp_path):
    torch.manual_seed(0)
    x, y = torch.randn(40, 3), torch.arange(40) % 2
    net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2))
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01, weight_decay=0.01)

    def recorded(path, posterior):
        with Tracker(net, optimizer, x, y, likelihood="categorical", path=path, posterior=posterior) as tracker:
            for _ in range(2):
                optimizer.zero_grad()
                torch.nn.functional.cross_entropy(net(x), y).backward()
                optimizer.step()
                tracker.step()
                m = tracker.record()
        return tracker.trajectory(), m

    state, m = recorded(tmp_path / "state", None)
    assert state.losses()["loo_trust"].tolist() == ["not to be used"] * 2
    assert state.loo_trust() == m.trust["loo_loss"].level
    assert "optimiser's state" in str(m.trust["loo_loss"])
    labels = [line.get_label() for line in GeneralisationDisplay.from_trajectory(state).ax_.lines]
    assert "leave-one-out, estimated: not to be used" in labels
    page = state.explore(tmp_path / "page.html")
    assert page is not None
    assert "leave-one-out losses of the steps: not to be used" in (tmp_path / "page.html").read_text()
    exact, m = recorded(tmp_path / "exact", mm.Laplace("full", prior=50.0))
    assert exact.losses()["loo_trust"].tolist()[-1] == m.trust["loo_loss"].level
