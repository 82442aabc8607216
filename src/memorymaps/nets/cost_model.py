"""Cost of one pass over the data, counted or timed, and the limits of what is computed without being requested."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from memorymaps.data.in_memory import CachedExamples
from memorymaps.nets.autograd.network import evaluation_mode
from memorymaps.nets.autograd.pytree import leaves, take_rows
from memorymaps.nets.distributed.shares import require_first
from memorymaps.nets.laplace_problem import LaplaceProblem

MACS_PER_MINUTE = 5e11  # multiply–accumulates of a core in less than a minute, in large matrix products
_TIMED = 4  # times that a work is timed, the last two as often as takes …
_SECONDS, _MOST_REPEATED = 0.006, 32  # … so long, at most so often
_BATCH = 128  # of the training that is timed
_SIDE, _SIDE_ELSEWHERE = 512, 1024  # of the products: as fast as larger ones on processors, not on other devices
_STEP, _TINY = 1.1, 1e-9
_MAX_INPUT_NUMBERS = 5e7  # largest number of cached input values: 0.2 GB in single precision


def forward_macs(problem: LaplaceProblem) -> float:
    """Multiply–accumulates of one forward pass over all data, from torch's `FlopCounterMode` on the first example.

    Half the FLOPs; at least one per parameter and example, because torch does not count every operation.
    """
    first = take_rows(require_first(problem.examples).inputs, slice(0, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # from the counter itself, not from the user's network
        # with gradients: without them the counter refuses a parameter that is a module's input (as in DeBERTa)
        with evaluation_mode(problem.network.module), FlopCounterMode(display=False) as counter, torch.enable_grad():
            problem.network.outputs(problem.network.to_device(first))
    return max(float(counter.get_total_flops()) / 2, problem.num_parameters) * len(problem.examples)


def training_step(problem: LaplaceProblem) -> tuple[Callable[[], None], int]:
    """A step of Adam on the first examples, at most 128, and their number: outputs, gradients, and a step on copies of
    the parameters. For a network in evaluation mode.
    """
    batch = problem.examples.take(np.arange(min(len(problem.examples), _BATCH)))
    inputs = problem.network.to_device(batch.inputs)
    values = [value for value in problem.network.module.parameters() if value.requires_grad]
    copies = [value.detach().clone() for value in values]
    optimizer = torch.optim.Adam(copies)

    def step() -> None:
        with torch.enable_grad():
            found = torch.autograd.grad(problem.network.outputs(inputs).square().sum(), values, allow_unused=True)
        for copy, gradient in zip(copies, found, strict=True):
            copy.grad = gradient
        optimizer.step()

    return step, len(batch.ids)


class TimedWorks(NamedTuple):
    """Multiplications that take as long as `each` of some works, and as all that was done to time them, `together`."""

    each: list[float]
    together: float


def multiplications_like(works: Sequence[Callable[[], Any]], device: torch.device) -> TimedWorks:
    """Multiply–accumulates in double precision that take this machine as long as each work, in steps of a tenth.

    Large matrix products in single precision, two of which count as one; in turn with the works, so that whatever else
    the machine does slows down both.

    Examples
    --------
    >>> product = lambda: torch.ones(100, 100) @ torch.ones(100, 100)
    >>> multiplications_like([product], torch.device("cpu")).each[0] > 0
    True
    """
    side = _SIDE if device.type == "cpu" else _SIDE_ELSEWHERE
    matrix = torch.ones(side, side, device=device)
    (*each, product), together = least_seconds((*works, lambda: matrix @ matrix), device)
    found = [seconds * side**3 / product / 2 for seconds in (*each, together)]
    *rounded, of_all = (float(_STEP ** round(math.log(work, _STEP))) for work in found)
    return TimedWorks(rounded, of_all)


def least_seconds(works: Sequence[Callable[[], Any]], device: torch.device) -> tuple[list[float], float]:
    """The least of some repetitions, one work after the other, and how long all of it took: seconds of the processor,
    or of the wall's clock once another device has finished.
    """
    start, counts, turns = _clock(device), [1] * len(works), []
    for turn in range(_TIMED):
        turns.append([_seconds(work, count, device) for work, count in zip(works, counts, strict=True)])
        if turn == 1:
            counts = [min(_MOST_REPEATED, math.ceil(_SECONDS / seconds)) for seconds in turns[1]]
    return [float(seconds) for seconds in np.min(turns, axis=0)], _clock(device) - start


def _seconds(work: Callable[[], Any], count: int, device: torch.device) -> float:
    """That a work takes when it is done so many times; the first time after another work takes longer."""
    if count > 1:
        work()
    start = _clock(device)
    for _ in range(count):
        work()
    return max(_TINY, (_clock(device) - start) / count)


def _clock(device: torch.device) -> float:
    if device.type == "cpu":
        return time.process_time()
    torch.get_device_module(device).synchronize()
    return time.perf_counter()


def fits_in_memory(problem: LaplaceProblem) -> bool:
    """Whether all inputs are small enough to be cached in memory."""
    first = require_first(problem.examples)
    numbers = sum(math.prod(leaf.shape) for leaf in leaves(first.inputs))
    return bool(numbers / len(first) * len(problem.examples) <= _MAX_INPUT_NUMBERS)


def in_memory(problem: LaplaceProblem) -> LaplaceProblem:
    """The problem with its data cached in memory if they are small, for algorithms that make many passes."""
    return replace(problem, examples=CachedExamples.of(problem.examples)) if fits_in_memory(problem) else problem
