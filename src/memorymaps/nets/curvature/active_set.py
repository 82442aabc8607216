"""Exact rows for the examples with the largest output curvature, a diagonal for the rest."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from memorymaps.core.arrays import Batch
from memorymaps.nets.covariance.block_diagonal import Covariance
from memorymaps.nets.curvature.dual import _DUAL, _ROWS
from memorymaps.nets.curvature.kronecker import _diag
from memorymaps.nets.curvature.structure import Held, _exact_rows, _with_rows
from memorymaps.nets.problem import Setting

TRUSTED_SHARE = 0.8  # of the curvature's trace in exact rows, from which sizes can be trusted


def _active_set(setting: Setting) -> Held[Covariance]:
    """Exact rows of the examples with the largest `tr Λ`, the diagonal of all others [method: Woodbury]."""
    trace = torch.cat([_traces(setting, batch) for batch in setting.examples]).cpu()
    order = trace.argsort(descending=True)
    chosen = order[: _enough(setting, trace[order])].sort().values
    outside = torch.ones(len(trace), dtype=torch.float64)
    outside[chosen] = 0
    parts = iter(torch.split(outside.to(setting.network.device), [len(batch) for batch in setting.examples]))
    base = _diag(setting, lambda batch: setting.weights(batch) * next(parts))
    pieces = torch.split(chosen, 64)
    rows = torch.cat([_exact_rows(setting, setting.examples.take(piece.numpy())) for piece in pieces])
    share = float(trace[chosen].sum() / trace.sum())
    note = f"exact curvature of {len(chosen):,} examples with {share:.0%} of its trace, diagonal for the rest"
    if len(chosen) < min(len(trace), setting.recipe.rows):
        note += f" ({setting.recipe.rows:,} were asked for: no more fit in memory)"
    return Held(lambda deltas: _with_rows(base.build(deltas), rows), (note,), share)


def _enough(setting: Setting, trace: Tensor) -> int:
    """At least `rows` examples, more until their share of the trace can be trusted, no more than fit in memory.

    More only up to the number of rows whose eigenvectors are found in half a minute.
    """
    share = trace.cumsum(0) / trace.sum()
    trusted = int((share < TRUSTED_SHARE + 0.05).sum()) + 1
    wanted = max(setting.recipe.rows, min(trusted, _DUAL // setting.outputs))
    return min(len(trace), wanted, max(1, int(_ROWS / setting.outputs / setting.count)))


def _traces(setting: Setting, batch: Batch) -> Tensor:
    y = setting.target(batch)

    def work(x: Any, part: slice) -> Tensor:
        f = setting.network.outputs(setting.network.place(x)).double()
        found: Tensor = setting.network.likelihood.fisher_diagonal(f, y[part]).sum(-1)
        return found

    with torch.no_grad():
        return torch.cat(list(setting.size.run(batch.inputs, work))) * setting.weights(batch)
