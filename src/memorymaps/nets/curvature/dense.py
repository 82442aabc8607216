"""Dense curvature: full, one block a layer, and the full Hessian."""

from __future__ import annotations

import torch

from memorymaps.nets.autograd.parameter_blocks import Group
from memorymaps.nets.covariance.block_diagonal import Covariance
from memorymaps.nets.curvature.accumulators import Curvature, DenseCurvature
from memorymaps.nets.curvature.residual_hessian import residual_curvature
from memorymaps.nets.curvature.structure import Deltas, Held, _stream, _streamed
from memorymaps.nets.problem import Setting

_DENSE = 40_000  # parameters of one dense matrix: 13 GB


_OWN = "Of the residuals' curvature an example left out keeps its own part: sizes tend to be too small, not too large."


def _hessian(setting: Setting) -> Held[Covariance]:
    """The Gauss–Newton matrix and what residuals add to it.

    Raises
    ------
    ValueError
        Of a Fisher that is drawn or cut; when built, where the sum is not positive definite.
    """
    if setting.recipe.fisher != "exact":
        raise ValueError(f"structure='hessian' with fisher={setting.recipe.fisher!r}: expected fisher='exact'")
    group = Group(setting.blocks)
    _check_dense(setting, group)
    made: list[Curvature] = [DenseCurvature(setting.zeros(group.size, group.size))]
    _stream(setting, (group,), made)
    made[0].take_in(residual_curvature(setting, group))
    held = _streamed((group,), made, 1.0)

    def build(deltas: Deltas) -> Covariance:
        try:
            return held.build(deltas)
        except torch.linalg.LinAlgError:
            raise ValueError(
                "structure='hessian': the loss curves downwards along some direction at these parameters (a saddle, a "
                "kink, or training that has not arrived). Train on, or use structure='full', which never does"
            ) from None

    return Held(build, (_OWN,), 1.0, bounded=False)


def _check_dense(setting: Setting, group: Group) -> None:
    if group.size > _DENSE:
        raise ValueError(
            f"structure={setting.recipe.structure!r} holds a dense matrix of {group.size:,} × {group.size:,} "
            f"({group.name}): {8e-9 * group.size**2:,.0f} GB. Use 'auto', 'active_set' or 'ekfac', or a subset"
        )


def _dense(setting: Setting, groups: tuple[Group, ...], share: float) -> Held[Covariance]:
    _check_dense(setting, max(groups, key=lambda group: group.size))
    made: list[Curvature] = [DenseCurvature(setting.zeros(group.size, group.size)) for group in groups]
    _stream(setting, groups, made)
    return _streamed(groups, made, share)


def _full(setting: Setting) -> Held[Covariance]:
    return _dense(setting, (Group(setting.blocks),), 1.0)


def _block(setting: Setting) -> Held[Covariance]:
    return _dense(setting, setting.separate, 1.0 if len(setting.blocks) == 1 else 0.0)
