"""Events and speeds are what counting by hand gives."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from runs import trained

from memorymaps.analysis.learning_events import events, half_steps, memorisation_speed


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("events"), steps=30, every=2)[0].trajectory()


@pytest.mark.slow
def test_events_are_the_turns_of_each_example(run):
    table = events(run)
    for id in run.at(2)["id"].tolist():
        path = run.example(id)
        right, seen, expected = (path["prediction"] == path["target"]), False, []
        before = False
        for step, now in right.items():
            if now and not before:
                expected.append((step, "learned" if seen else "first learned"))
            if before and not now:
                expected.append((step, "forgotten"))
            before, seen = now, seen or now
        found = table[table["id"] == id]
        assert list(zip(found["step"], found["event"], strict=True)) == expected
    counts = run.cartography()["forgotten"].sum()
    assert (table["event"] == "forgotten").sum() == counts > 0


@pytest.mark.slow
def test_speed_of_memorisation(run):
    table = memorisation_speed(run, threshold=0.05)
    means = [run.at(step)["memorization"].mean() for step in run.steps]
    np.testing.assert_allclose(table["memorization"], means)
    np.testing.assert_allclose(table["speed"].iloc[1:], np.diff(means) / 2)
    assert table["memorized"].iloc[-1] == (run.at(30)["memorization"] > 0.05).mean()
    halves = half_steps(run, "loss")
    path = run.example(3)["loss"]
    gone = (path - path.iloc[0]) / (path.iloc[-1] - path.iloc[0])
    assert halves[3] == gone.index[np.argmax(gone >= 0.5)]
