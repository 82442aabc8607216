"""One bar over all passes of a map: it moves with the work, and its end is known from the beginning."""

import numpy as np
import pytest

from memorymaps.files.progress_plan import PlannedPass, ProgressPlan, Step


def plan():
    steps = [Step("factors", 10, 2.0), Step("sample", 5, 4.0, is_pass=False), Step("map", 10, 6.0)]
    return ProgressPlan(steps, "memory map", disable=True)


def one_pass(p, batches=(4, 6)):
    p.start_pass()
    for size in batches:
        p.advance(size)
    p.end_pass()


def test_passes_and_samples_move_the_bar_to_the_end():
    p = plan()
    assert p.total == 100
    one_pass(p)
    assert p.done == 20
    p.takes(3)
    assert p.done == 32
    p.takes(300)  # never beyond the end of the step
    assert p.done == 40
    p.begin_last()
    p.start_pass()
    p.advance(5)
    assert p.done == 70
    p.end_pass()
    assert p.done == 100
    assert p.is_over


def test_a_pass_ends_a_sample_and_what_is_not_planned_moves_nothing():
    p = plan()
    p.takes(7)  # the first step is a pass
    assert p.done == 0
    one_pass(p)
    one_pass(p)  # the sample is over; the map has not begun
    assert p.done == 40
    one_pass(p)
    assert p.done == 40
    p.begin_last()
    one_pass(p, (10,))
    one_pass(p)
    p.advance(3)
    p.takes(3)
    assert p.done == p.total


def test_the_last_step_begins_where_steps_before_it_have_not_come():
    p = plan()
    p.begin_last()
    assert p.done == 40
    one_pass(p)
    assert p.is_over


def test_a_pass_moves_the_bar_when_its_batches_are_done_and_one_that_is_left_moves_nothing():
    p = plan()
    left = PlannedPass(p)
    left.update(4)
    left.__exit__(GeneratorExit, GeneratorExit(), None)
    assert p.done == 0
    with PlannedPass(p) as whole:
        whole.update(4)
        assert p.done == 0
        whole.update(6)
        assert p.done == 8
    assert p.done == 20


@pytest.mark.parametrize(
    "structure", ["ekfac", "kfac", "diag", "full", "dual", "block", "unit_block", "sampled", "few"]
)
def test_maps_of_networks_reach_the_end_in_all_their_passes(structure, monkeypatch):
    torch = pytest.importorskip("torch")
    from memorymaps import Laplace, memory_map
    from memorymaps.nets import EKFAC

    moves = []
    move = ProgressPlan._set_done
    monkeypatch.setattr(ProgressPlan, "_set_done", lambda self, done: (moves.append((self, done)), move(self, done)))
    torch.manual_seed(0)
    x, y = torch.randn(60, 4), torch.arange(60) % 3
    net = torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.Tanh(), torch.nn.Linear(5, 3))
    recipe = Laplace(EKFAC(examples=20) if structure == "few" else structure, prior=1.0, probes=0)
    rows = None if structure != "kfac" else np.arange(7)
    memory_map(net, x, y, likelihood="categorical", posterior=recipe, rows=rows, progress=False)
    (p,) = {each for each, _ in moves}
    done = [each for _, each in moves]
    assert np.all(np.diff(done) >= 0)
    assert p.is_over
    assert done[-1] == pytest.approx(p.total)
    assert len({round(each / p.total, 6) for each in done}) >= 3
