"""`nn.LSTM`, `nn.GRU` and `nn.RNN` as loops over time steps, with torch's definitions.

torch's fused kernels support neither `vmap` over examples, nor forward mode, nor (cuDNN) gradients in eval mode.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

State = tuple[Tensor, ...]  # (h,) or (h, c), [n, …] each


def forward(module: Any, x: Any, hx: Any = None) -> tuple[Tensor, Any]:
    """The result of `module(x, hx)`; packed and unbatched sequences are delegated to torch."""
    if not isinstance(x, Tensor) or x.ndim != 3:
        with torch.backends.cudnn.flags(enabled=False):
            found: tuple[Tensor, Any] = type(module).forward(module, x, hx)
        return found
    sequence, states = x.transpose(0, 1) if module.batch_first else x, []
    starts = _initial_states(module, sequence, hx)
    sides = ("", "_reverse") if module.bidirectional else ("",)
    for layer in range(module.num_layers):
        both = [_run_direction(module, f"_l{layer}{side}", sequence, next(starts)) for side in sides]
        sequence = torch.cat([outputs for outputs, _ in both], -1)
        states += [state for _, state in both]
    last = tuple(torch.stack(each) for each in zip(*states, strict=True))
    return sequence.transpose(0, 1) if module.batch_first else sequence, last if len(last) == 2 else last[0]


def _initial_states(module: Any, sequence: Tensor, hx: Any) -> Any:
    """Initial states in the order layer, direction."""
    if hx is None:
        count, n = module.num_layers * (1 + module.bidirectional), sequence.shape[1]
        sizes = [module.proj_size or module.hidden_size, module.hidden_size][: 1 + (module.mode == "LSTM")]
        hx = tuple(sequence.new_zeros(count, n, size) for size in sizes)
    return zip(*(hx if isinstance(hx, (tuple, list)) else (hx,)), strict=True)


def _run_direction(module: Any, suffix: str, sequence: Tensor, state: State) -> tuple[Tensor, State]:
    """Outputs `[t, n, h]` of one layer in one direction, and its last state."""
    input_gates = F.linear(sequence, *_weights(module, "ih", suffix))
    hidden_gates = _weights(module, "hh", suffix)
    cell, outputs = _CELLS[module.mode], []
    for step in input_gates.flip(0) if suffix.endswith("reverse") else input_gates:
        state = cell(step, F.linear(state[0], *hidden_gates), state)
        if module.proj_size:
            state = (F.linear(state[0], getattr(module, f"weight_hr{suffix}")), state[1])
        outputs.append(state[0])
    return torch.stack(outputs[::-1] if suffix.endswith("reverse") else outputs), state


def _weights(module: Any, kind: str, suffix: str) -> Sequence[Tensor]:
    names = ("weight", "bias") if module.bias else ("weight",)
    return [getattr(module, f"{name}_{kind}{suffix}") for name in names]


def _lstm(input_gates: Tensor, hidden_gates: Tensor, state: State) -> State:
    i, f, g, o = (input_gates + hidden_gates).chunk(4, -1)
    c = torch.sigmoid(f) * state[1] + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


def _gru(input_gates: Tensor, hidden_gates: Tensor, state: State) -> State:
    (r, z, n), (r_hidden, z_hidden, n_hidden) = input_gates.chunk(3, -1), hidden_gates.chunk(3, -1)
    new = torch.tanh(n + torch.sigmoid(r + r_hidden) * n_hidden)
    return (new + torch.sigmoid(z + z_hidden) * (state[0] - new),)


_CELLS: dict[str, Callable[[Tensor, Tensor, State], State]] = {
    "LSTM": _lstm,
    "GRU": _gru,
    "RNN_TANH": lambda input_gates, hidden_gates, _: (torch.tanh(input_gates + hidden_gates),),
    "RNN_RELU": lambda input_gates, hidden_gates, _: (torch.relu(input_gates + hidden_gates),),
}
