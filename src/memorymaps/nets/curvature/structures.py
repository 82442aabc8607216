"""Curvature structures by name, for `Laplace("name")`.

full, block        dense matrices                       Σ Gᵀ G
unit_block         a dense matrix per output unit       Σ G_uᵀ G_u
hessian            dense, with the residual part        row by row
kfac, ekfac, diag  Kronecker factors, diagonals         one or two passes
dual, active_set   exact rows plus a diagonal           solved in the rows' space; a large dual layer by layer
sampled            sampled rows, own rows left out      solved in the rows' space, with standard errors
lowrank            leading eigenvectors                 Lanczos
auto               one of these, by the problem's size
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from memorymaps.nets.curvature.active_set import ActiveSet
from memorymaps.nets.curvature.auto import Auto
from memorymaps.nets.curvature.dense import Block, Full, Hessian
from memorymaps.nets.curvature.dual import Dual
from memorymaps.nets.curvature.kronecker import EKFAC, KFAC, Diagonal
from memorymaps.nets.curvature.low_rank import LowRank
from memorymaps.nets.curvature.structure import CurvatureStructure
from memorymaps.nets.curvature.unit_block import UnitBlock
from memorymaps.nets.sampled.budget import Budget
from memorymaps.nets.sampled.structure import Sampled

DEFAULT_ROWS = 400

# name → structure, given the recipe's `rows` and `reduce`
STRUCTURES: dict[str, Callable[[int | None, bool], CurvatureStructure]] = {
    "auto": lambda rows, _: Auto(rows or DEFAULT_ROWS),
    "hessian": lambda *_: Hessian(),
    "full": lambda *_: Full(),
    "block": lambda *_: Block(),
    "unit_block": lambda *_: UnitBlock(),
    "kfac": lambda _, reduce: KFAC(reduce),
    "ekfac": lambda _, reduce: EKFAC(reduce),
    "diag": lambda *_: Diagonal(),
    "lowrank": lambda rows, _: LowRank(rows or DEFAULT_ROWS),
    "active_set": lambda rows, _: ActiveSet(rows or DEFAULT_ROWS),
    "dual": lambda *_: Dual(),
    "sampled": lambda rows, _: _sampled(rows),
}


def as_structure(
    structure: str | CurvatureStructure, rows: int | None = None, reduce: bool = False
) -> CurvatureStructure:
    """The structure itself, or the one of that name.

    Raises
    ------
    ValueError
        An unknown name; the message lists the known ones.
    """
    if isinstance(structure, CurvatureStructure):
        return structure
    if structure not in STRUCTURES:
        hint = "; subset='last_layer' covers that layer alone" if structure == "last_layer" else ""
        raise ValueError(f"no structure {structure!r}: choose one of {', '.join(STRUCTURES)}{hint}")
    return STRUCTURES[structure](rows, reduce)


def _sampled(rows: int | None) -> Sampled:
    if rows is not None:
        raise ValueError(
            f"structure='sampled' with Laplace(rows={rows}), which is for 'active_set' and 'lowrank': write "
            f"Laplace(Sampled(rows={rows}))"
        )
    return Sampled()


def with_budget(structure: CurvatureStructure, budget: Budget) -> CurvatureStructure:
    """`"auto"` or `"sampled"` with another budget.

    Raises
    ------
    ValueError
        Another structure, or no budget.
    """
    if not isinstance(structure, (Auto, Sampled)):
        raise ValueError(
            f"structure={structure.name!r} with budget={budget!r}: expected 'auto' or 'sampled', whose rows follow "
            "from a budget. Leave budget out"
        )
    return replace(structure, budget=budget)
