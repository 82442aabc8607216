"""All rows of the weighted Jacobian exactly, solved in the space of rows (the dual or Gram form)."""

from __future__ import annotations

from typing import Any

import torch

from memorymaps.core.arrays import Batch
from memorymaps.nets.autograd.batch_size import look
from memorymaps.nets.autograd.pytree import rows as some
from memorymaps.nets.covariance.block_diagonal import FACTORED, gradient
from memorymaps.nets.covariance.gram import GramCovariance, Kind, Written, group_rows, kind_of
from memorymaps.nets.curvature.structure import Held, _directions, _exact_rows, _prior_only, _with_rows
from memorymaps.nets.problem import Setting

_DUAL = 4_000  # rows (examples × outputs) whose eigenvectors are found in half a minute


_GRAM = 8_000  # rows whose Gram matrix `"auto"` makes: 0.5 GB


_ROWS = 2.5e8  # numbers in exact rows: 2 GB in double precision


def _dual(setting: Setting) -> Held[Any]:
    if not _rows_fit(setting):
        return _gram(setting)
    rows = torch.cat([_exact_rows(setting, batch) for batch in setting.examples])
    return Held(lambda deltas: _with_rows(_prior_only(setting, deltas), rows), (), 1.0)


def _rows_fit(setting: Setting) -> bool:
    """Whether all exact rows are written out and diagonalised, as factors of the posterior need them."""
    r = len(setting.examples) * setting.outputs
    return setting.count <= FACTORED and r <= _DUAL and r * setting.count <= _ROWS


def _gram(setting: Setting) -> Held[GramCovariance]:
    """All rows, kept in their factors where a layer allows it."""
    r, kinds = len(setting.examples) * setting.outputs, _kinds(setting)
    written = _written(setting, kinds)
    if not _gram_fits(r, written):
        raise ValueError(
            f"structure='dual' holds a matrix of {r:,} × {r:,} (examples × outputs) and rows of {written:,} parameters "
            f"of layers used more than once: more than 2 GB. Use 'auto', 'active_set' or 'ekfac'"
        )
    each = [_gram_rows(setting, batch, kinds) for batch in setting.examples]
    rows = tuple(kind.joined(pieces) for kind, pieces in zip(kinds, zip(*each, strict=True), strict=True))
    return Held(lambda deltas: GramCovariance.of(_prior_only(setting, deltas), rows), (), 1.0)


def _gram_fits(r: int, written: int) -> bool:
    """Whether a matrix of `r × r` and the rows that must be written out stay within memory."""
    return max(r, written) * r <= _ROWS


def _kinds(setting: Setting) -> list[Kind]:
    """How each group's rows are held, seen on a first example."""
    first = some(next(iter(setting.examples)).inputs, slice(0, 1))
    batch = look(setting.network, setting.owners, first, slice(0, 1), lambda f, _: torch.ones_like(f)[None])
    return [kind_of(gradient(batch, group), group.pack(setting.prior)) for group in setting.separate]


def _written(setting: Setting, kinds: list[Kind]) -> int:
    """Parameters whose rows are written out."""
    return sum(group.size for kind, group in zip(kinds, setting.separate, strict=True) if kind is Written)


def _gram_rows(setting: Setting, batch: Batch, kinds: list[Kind]) -> list[Any]:
    directions = _directions(setting, batch, setting.weights(batch))

    def work(x: Any, part: slice) -> list[Any]:
        return group_rows(look(setting.network, setting.owners, x, part, directions), setting.separate, kinds)

    parts = zip(*setting.size.run(batch.inputs, work), strict=True)
    return [kind.joined(pieces) for kind, pieces in zip(kinds, parts, strict=True)]
