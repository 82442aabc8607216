"""What a pass over the data costs, and how much work may be done unasked."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace

import torch
from torch.utils.flop_counter import FlopCounterMode

from memorymaps.data.in_memory import Cached
from memorymaps.nets.autograd.network import evaluating
from memorymaps.nets.autograd.pytree import leaves, rows
from memorymaps.nets.problem import Setting

MINUTE = 5e11  # multiplications that take a core less than a minute where they come in large products
_NUMBERS = 5e7  # that inputs may take in memory: 0.2 GB in single precision


def forward_work(setting: Setting) -> float:
    """Multiplications of one forward pass over the whole data; torch counts them on the first example.

    At least one a parameter and example: not every operation is counted.
    """
    first = rows(next(iter(setting.examples)).inputs, slice(0, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, of what it counts with: no matter of the user's
        with evaluating(setting.network.module), FlopCounterMode(display=False) as counter, torch.no_grad():
            setting.network.outputs(setting.network.place(first))
    return max(float(counter.get_total_flops()) / 2, setting.count) * len(setting.examples)


def is_small(setting: Setting) -> bool:
    """Whether all inputs can stay in memory: else a loader may take longer than the network, pass after pass."""
    first = next(iter(setting.examples))
    numbers = sum(math.prod(leaf.shape) for leaf in leaves(first.inputs))
    return bool(numbers / len(first) * len(setting.examples) <= _NUMBERS)


def at_hand(setting: Setting) -> Setting:
    """The same with its data in memory, where they are small: for many passes."""
    return replace(setting, examples=Cached.of(setting.examples)) if is_small(setting) else setting
