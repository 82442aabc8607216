"""What a pass over the data costs, and how much work may be done unasked."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace

import torch
from torch.utils.flop_counter import FlopCounterMode

from memorymaps.data.in_memory import Cached
from memorymaps.nets.autograd.network import evaluation_mode
from memorymaps.nets.autograd.pytree import leaves, take_rows
from memorymaps.nets.problem import LaplaceProblem

MACS_PER_MINUTE = 5e11  # multiplications that take a core less than a minute where they come in large products
_MAX_INPUT_NUMBERS = 5e7  # that inputs may take in memory: 0.2 GB in single precision


def forward_macs(problem: LaplaceProblem) -> float:
    """Multiplications of one forward pass over the whole data; torch counts them on the first example.

    At least one a parameter and example: not every operation is counted.
    """
    first = take_rows(next(iter(problem.examples)).inputs, slice(0, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, of what it counts with: no matter of the user's
        with evaluation_mode(problem.network.module), FlopCounterMode(display=False) as counter, torch.no_grad():
            problem.network.outputs(problem.network.to_device(first))
    return max(float(counter.get_total_flops()) / 2, problem.num_parameters) * len(problem.examples)


def fits_in_memory(problem: LaplaceProblem) -> bool:
    """Whether all inputs can stay in memory: else a loader may take longer than the network, pass after pass."""
    first = next(iter(problem.examples))
    numbers = sum(math.prod(leaf.shape) for leaf in leaves(first.inputs))
    return bool(numbers / len(first) * len(problem.examples) <= _MAX_INPUT_NUMBERS)


def in_memory(problem: LaplaceProblem) -> LaplaceProblem:
    """The same with its data in memory, where they are small: for many passes."""
    return replace(problem, examples=Cached.of(problem.examples)) if fits_in_memory(problem) else problem
