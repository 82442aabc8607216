"""The subspaces that a problem's rows are kept in, found from some of the rows that are drawn first."""

from __future__ import annotations

import torch

from memorymaps.nets.autograd.chunking import chunk_slices
from memorymaps.nets.autograd.parameter_blocks import ParameterGroup
from memorymaps.nets.covariance.gram import RankOneRows
from memorymaps.nets.laplace_problem import LaplaceProblem
from memorymaps.nets.sampled.cost import Kind
from memorymaps.nets.sampled.rows.pool import RowPool, rows_at
from memorymaps.nets.sampled.rows.projection import MORE, RangeSketch

_ROWS = 512  # from which the subspaces are found


def projected_kinds(pool: RowPool, kept: int, seed: int) -> list[Kind]:
    """The pool's kinds, with a projection on `kept` directions of inputs and of outputs for every layer that it makes
    smaller; the pool holds none of its rows in files.
    """
    problem, generator = pool.problem, torch.Generator().manual_seed(seed)
    places = pool.drawn(_ROWS)
    sketches = {
        n: RangeSketch.of(_shape(group), kept, generator, problem.network.device)
        for n, (kind, group) in enumerate(zip(pool.kinds, problem.block_groups, strict=True))
        if _makes_smaller(problem, kind, group, kept)
    }
    for part in chunk_slices(len(places) if sketches else 0, problem.num_parameters):
        rows = rows_at(problem, pool.kinds, places[part], pool.k)
        for n, sketch in sketches.items():
            sketch.add(rows[n])
    return [sketches[n].projection(kind is RankOneRows) if n in sketches else kind for n, kind in enumerate(pool.kinds)]


def sketch_multiplications(problem: LaplaceProblem, kinds: list[Kind], kept: int) -> float:
    """What finding the subspaces takes beside making the rows."""
    found = 0.0
    for kind, group in zip(kinds, problem.block_groups, strict=True):
        if _makes_smaller(problem, kind, group, kept):
            o, d = _shape(group)
            found += 2 * o * d * (min(o, MORE * kept) + min(d, MORE * kept))
    return _ROWS * found


def _shape(group: ParameterGroup) -> tuple[int, int]:
    o, d = group.blocks[0].shape
    return o, d


def _makes_smaller(problem: LaplaceProblem, kind: Kind, group: ParameterGroup, kept: int) -> bool:
    """Whether the layer is a matrix with one prior precision and more numbers a row than its projection."""
    prior = group.pack(problem.prior)
    if len(group.blocks) != 1 or not group.blocks[0].is_matrix or bool((prior != prior.flatten()[0]).any()):
        return False
    o, d = _shape(group)
    s, r = min(kept, o), min(kept, d)
    return s + r < o + d if kind is RankOneRows else s * r < o * d
