"""Cost of one pass over the data, and the limits of what is computed without being requested."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace

import torch
from torch.utils.flop_counter import FlopCounterMode

from memorymaps.data.in_memory import CachedExamples
from memorymaps.nets.autograd.network import evaluation_mode
from memorymaps.nets.autograd.pytree import leaves, take_rows
from memorymaps.nets.distributed.shares import require_first
from memorymaps.nets.laplace_problem import LaplaceProblem

MACS_PER_MINUTE = 5e11  # multiply–accumulates of a core in less than a minute, in large matrix products
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


def fits_in_memory(problem: LaplaceProblem) -> bool:
    """Whether all inputs are small enough to be cached in memory."""
    first = require_first(problem.examples)
    numbers = sum(math.prod(leaf.shape) for leaf in leaves(first.inputs))
    return bool(numbers / len(first) * len(problem.examples) <= _MAX_INPUT_NUMBERS)


def in_memory(problem: LaplaceProblem) -> LaplaceProblem:
    """The problem with its data cached in memory if they are small, for algorithms that make many passes."""
    return replace(problem, examples=CachedExamples.of(problem.examples)) if fits_in_memory(problem) else problem
