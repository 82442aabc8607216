"""Pictures of runs: their numbers are the run's, files are what they are called, refusals name the way out."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from matplotlib import pyplot as plt
from networks import case
from PIL import Image
from torch import nn

from memorymaps.maps.summary import top_share
from memorymaps.training.tracker import Tracker
from memorymaps.viz.displays.evolution import EvolutionDisplay, GeneralisationDisplay
from memorymaps.viz.displays.trajectory import TrajectoryDisplay


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    net, x, y = case("mlp", 30)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.05, weight_decay=0.01)
    path = tmp_path_factory.mktemp("run")
    with Tracker(net, optimizer, x, y, every=2, likelihood="categorical", path=path, test=(x, y)) as tracker:
        for _ in range(24):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x), y).backward()
            optimizer.step()
            tracker.step()
    return tracker.trajectory()


def lines(ax):
    return {line.get_label(): line.get_xydata() for line in ax.lines}


@pytest.mark.slow
def test_losses_are_drawn_as_they_were_recorded(run):
    display = GeneralisationDisplay.from_trajectory(run, unit="epoch", scale=2)
    losses = run.losses()
    assert display.ax_.get_xlabel() == "epoch"
    drawn = lines(display.ax_)
    left_out = "leave-one-out, estimated" + ("" if run.loo_trust().sizes else f": {run.loo_trust()}")
    np.testing.assert_allclose(drawn[left_out][:, 1], losses["loo_loss"])
    np.testing.assert_allclose(drawn["test"], np.column_stack([losses.index / 2, losses["test_loss"]]))


@pytest.mark.slow
def test_sorted_sensitivities_at_given_steps(run):
    display = EvolutionDisplay.from_trajectory(run, steps=[2, 24])
    assert len(display.ax_.lines) == 2
    for step, line in zip((2, 24), display.ax_.lines, strict=True):
        s = run.at(step)["sensitivity"]
        np.testing.assert_array_equal(line.get_ydata(), np.sort(s)[::-1])
        assert line.get_label() == f"{step}: {top_share(s, 0.01):.0%}"
    assert len(EvolutionDisplay.from_trajectory(run).ax_.lines) == 5
    with pytest.raises(KeyError, match="not recorded"):
        EvolutionDisplay.from_trajectory(run, steps=[3])


def test_paths_are_those_of_the_examples(run):
    display = TrajectoryDisplay.from_trajectory(run, ids=[4, 7])
    path = run.example(7)
    np.testing.assert_allclose(display.ax_.lines[4].get_xydata(), path[["leverage", "error"]])
    assert display.followed == (4, 7)
    assert list(TrajectoryDisplay.from_trajectory(run, follow=3).followed) == run.at(24).top(3)["id"].tolist()
    with pytest.raises(KeyError, match="not in this map"):
        TrajectoryDisplay.from_trajectory(run, ids=[99])


def test_small_multiples_share_their_axes_and_show_every_example(run):
    figure = TrajectoryDisplay.from_trajectory(run).multiples(steps=[2, 4, 6, 8, 24])
    panels = [ax for ax in figure.axes if ax.axison]
    assert [ax.get_title(loc="left") for ax in panels] == ["step 2", "step 4", "step 6", "step 8", "step 24"]
    assert len({ax.get_xlim() for ax in panels}) == 1
    assert sum(len(line.get_xdata()) for line in panels[4].lines) == 30


@pytest.mark.slow
def test_animations_have_the_format_of_their_suffix(run, tmp_path):
    display = TrajectoryDisplay.from_trajectory(run)
    with Image.open(display.animate(tmp_path / "film.gif", steps=[2, 12, 24])) as film:
        assert film.n_frames == 3
    page = display.animate(tmp_path / "film.html", steps=[2, 24]).read_text(encoding="utf-8")
    assert page.count("data:image/png;base64") == 2
    with pytest.raises(ValueError, match=r"expected \.gif"):
        display.animate(tmp_path / "film.avi")


def test_an_mp4_without_ffmpeg_lists_the_other_formats(run, tmp_path, monkeypatch):
    monkeypatch.setattr("matplotlib.animation.FFMpegWriter.isAvailable", lambda: False)
    with pytest.raises(ValueError, match="needs the program ffmpeg"):
        TrajectoryDisplay.from_trajectory(run).animate(tmp_path / "film.mp4")
