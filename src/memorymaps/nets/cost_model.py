"""Cost of one pass over the data, counted or timed, and the limits of what is computed without being requested."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from memorymaps.data.in_memory import CachedExamples
from memorymaps.nets.autograd.network import evaluation_mode
from memorymaps.nets.autograd.pytree import leaves, take_rows
from memorymaps.nets.distributed.shares import require_first
from memorymaps.nets.laplace_problem import LaplaceProblem

MACS_PER_MINUTE = 5e11  # multiply–accumulates of a core in less than a minute, in large matrix products
_BATCH, _SIDE, _REPETITIONS = 128, 1024, 5  # of the training and of the products that are timed
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


def timed_epoch(problem: LaplaceProblem) -> float:
    """Multiply–accumulates in double precision that take this machine as long as an epoch of Adam, batches of 128.

    An epoch by a batch's outputs, their gradients and a step on copies of the parameters; multiply–accumulates by large
    matrix products in single precision, two of which count as one. The shortest of some repetitions, in steps of a
    tenth.
    """
    examples, device = problem.examples, problem.network.device
    batch = examples.take(np.arange(min(len(examples), _BATCH)))
    inputs, count = problem.network.to_device(batch.inputs), len(batch.ids)
    values = [value for value in problem.network.module.parameters() if value.requires_grad]
    copies = [value.detach().clone() for value in values]
    optimizer = torch.optim.Adam(copies)
    matrix = torch.ones(_SIDE, _SIDE, device=device)

    def step() -> None:
        with evaluation_mode(problem.network.module), torch.enable_grad():
            found = torch.autograd.grad(problem.network.outputs(inputs).square().sum(), values, allow_unused=True)
        for copy, gradient in zip(copies, found, strict=True):
            copy.grad = gradient
        optimizer.step()

    each, product = shortest(step, device), shortest(lambda: matrix @ matrix, device)
    found = each * len(examples) / count * _SIDE**3 / product / 2
    return float(_STEP ** round(math.log(found, _STEP)))


def shortest(work: Callable[[], Any], device: torch.device) -> float:
    """Seconds of the shortest of some repetitions: of the processor, or of the wall once another device has finished.

    Examples
    --------
    >>> shortest(lambda: torch.ones(100, 100) @ torch.ones(100, 100), torch.device("cpu")) > 0
    True
    """
    work()
    found = []
    for _ in range(_REPETITIONS):
        start = _clock(device)
        work()
        found.append(_clock(device) - start)
    return max(min(found), _TINY)


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
