"""Curvature structures by name: each makes its passes over the data and returns a curvature for any prior.

full, block        dense matrices                       Σ Gᵀ G
hessian            dense, with the residual part        row by row
kfac, ekfac, diag  Kronecker factors, diagonals         one or two passes
dual, active_set   exact rows plus a diagonal           solved in the rows' space; a large dual layer by layer
lowrank            leading eigenvectors                 Lanczos
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from memorymaps.nets.curvature.active_set import _active_set
from memorymaps.nets.curvature.dense import _block, _full, _hessian
from memorymaps.nets.curvature.dual import _dual
from memorymaps.nets.curvature.kronecker import _diag, _ekfac, _kfac
from memorymaps.nets.curvature.low_rank import _lowrank
from memorymaps.nets.curvature.structure import Held
from memorymaps.nets.problem import LaplaceProblem

STRUCTURES: dict[str, Callable[[LaplaceProblem], Held[Any]]] = {
    "hessian": _hessian,
    "full": _full,
    "block": _block,
    "diag": _diag,
    "kfac": _kfac,
    "ekfac": _ekfac,
    "dual": _dual,
    "active_set": _active_set,
    "lowrank": _lowrank,
}
