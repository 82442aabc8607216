"""What a pass over the data costs, and how much work may be done unasked."""

from __future__ import annotations

import torch
from torch.utils.flop_counter import FlopCounterMode

from memorymaps.nets.network import evaluating, rows
from memorymaps.nets.setting import Setting

MINUTE = 5e11  # multiplications that take a core less than a minute where they come in large products


def forward_work(setting: Setting) -> float:
    """Multiplications of one forward pass over the whole data; torch counts them on the first example.

    At least one a parameter and example: not every operation is counted.
    """
    first = rows(next(iter(setting.examples)).inputs, slice(0, 1))
    with evaluating(setting.network.module), FlopCounterMode(display=False) as counter, torch.no_grad():
        setting.network.outputs(setting.network.place(first))
    return max(float(counter.get_total_flops()) / 2, setting.count) * len(setting.examples)
