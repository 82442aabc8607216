"""What a posterior says of itself, and how far it can be trusted: its own checks, made before any map is drawn."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor

from memorymaps.core.likelihoods.categorical import Categorical
from memorymaps.nets.cost_model import MINUTE, at_hand, forward_work, is_small
from memorymaps.nets.covariance.block_diagonal import Spreading
from memorymaps.nets.curvature.active_set import TRUSTED_SHARE
from memorymaps.nets.curvature.conjugate_gradient import conjugate_gradients, preconditioner
from memorymaps.nets.curvature.ggn import operator_of
from memorymaps.nets.curvature.structure import Held
from memorymaps.nets.problem import Setting
from memorymaps.posteriors.contract import Description

_FEWER, _MORE = 0.2, 0.05  # parts by which effective parameters may be off: the cavity form blows an excess up
_PROBES, _STEPS = 8, 50  # random vectors of a check, conjugate-gradient steps
_SOLVED = 0.05  # relative residual from which the check says nothing
_RANKS = "sizes by the first-order estimator, read them as ranks."


def describe(
    setting: Setting, structure: str, held: Held[Any], covariance: Spreading, why: tuple[str, ...], source: str
) -> Description:
    """The description of a finished posterior; `why` the structure was chosen, `source` of the prior."""
    own = setting.count - covariance.trace_inverse([group.pack(setting.prior) for group in covariance.groups])
    what = f"{setting.recipe.fisher} Gauss–Newton" if held.bounded else "exact Gauss–Newton and residuals"
    trusted, words = _trust(setting, covariance, held)
    n, c = len(setting.examples), setting.outputs
    return Description(
        model=f"{type(setting.network.module).__name__}, {setting.count:,} of "
        f"{sum(v.numel() for v in setting.network.module.parameters()):,} parameters",
        posterior=f"Laplace, {structure}, {what}",
        likelihood=type(setting.network.likelihood).__name__,
        prior=source,
        algorithm="the trained network (a stationary point)",
        coverage=coverage(setting, structure),
        classes=tuple(range(c)) if isinstance(setting.network.likelihood, Categorical) else (),
        effective_parameters=own,
        distance=_distance(setting, covariance, own),
        nonlinear=len(setting.blocks) > 1 and held.bounded,
        estimator=trusted,
        notes=(
            *why,
            *held.notes,
            *_averaged(setting, structure),
            *words,
            f"{n:,} examples in batches of up to {setting.size.size}",
        ),
        methods=("nickl2023memory", "tailor2023maps"),
    )


def _averaged(setting: Setting, structure: str) -> tuple[str, ...]:
    """Kronecker factors take one `δ` a layer: said where the prior has several."""
    ranges = {
        block.name: torch.aminmax(block.pack(setting.prior))
        for block in setting.blocks
        if structure in ("kfac", "ekfac") and block.is_matrix
    }
    several = {name: (float(low), float(high)) for name, (low, high) in ranges.items() if high > 1.01 * low}
    if not several:
        return ()
    low, high = (pick(each[side] for each in several.values()) for side, pick in ((0, min), (1, max)))
    return (
        f"The prior differs within {len(several)} layer{'s' * (len(several) > 1)} (δ from {low:.3g} to {high:.3g}): "
        f"{structure} takes each layer's mean. 'diag' and 'active_set' keep every parameter's own.",
    )


def _trust(setting: Setting, covariance: Spreading, held: Held[Any]) -> tuple[str, tuple[str, ...]]:
    """Which form the sizes can be trusted with: the cavity form only where the curvature is exact or verified."""
    if held.share == 1.0:
        return "cavity" if held.bounded else "bounded_cavity", ()
    if held.share >= TRUSTED_SHARE and not setting.recipe.probes:
        return "bounded_cavity", ()
    probes = _probes(setting)
    if not probes:
        return "first_order", (
            f"Curvature is approximate and unverified: {_RANKS} Laplace(probes={_PROBES}) verifies it.",
        )
    mine, exact, residual = _effective(setting, covariance, probes)
    said = f"Effective parameters {mine:.1f}, by the exact curvature {exact:.1f}"
    if not residual <= _SOLVED:
        return "first_order", (f"{said}, which {_STEPS} steps have not settled: {_RANKS}",)
    fits = (1 - _FEWER) * exact <= mine <= (1 + _MORE) * exact
    return ("bounded_cavity" if fits else "first_order"), (
        f"{said}: {'trusted with the cavity estimator.' if fits else _RANKS}",
    )


def _probes(setting: Setting) -> int:
    """As many as asked for; unasked, some where they come cheap."""
    if setting.recipe.probes is not None:
        return setting.recipe.probes
    each = 5 * forward_work(setting)  # one pass forward, two with a tangent, two back
    return _PROBES if is_small(setting) and _PROBES * (_STEPS + 1) * each <= MINUTE / 5 else 0


def _effective(setting: Setting, covariance: Spreading, probes: int) -> tuple[float, float, float]:
    """Effective parameters `tr(GGN S⁻¹)` with this covariance and with the exact one, and the latter's residual.

    By the same random signs [Hutchinson].
    """
    operator, solve = operator_of(at_hand(setting)), preconditioner(setting, covariance)
    generator = torch.Generator().manual_seed(0)
    z = torch.randint(0, 2, (probes, setting.count), generator=generator).to(operator.prior) * 2 - 1
    curved = operator(z) - operator.prior * z
    mine = (solve(z) * curved).sum(-1).mean()
    x, residual = conjugate_gradients(operator, curved, solve, steps=_STEPS, tolerance=1e-3)
    return float(mine), float((z * x).sum(-1).mean()), float(residual.max())


def _distance(setting: Setting, covariance: Spreading, effective: float) -> float:
    """`‖S^{-1/2}∇L‖/√d`: how many posterior standard deviations an effective parameter is from the optimum."""
    total = {name: setting.prior[name] * value.detach() for name, value in setting.covered.items()}
    for batch in setting.examples:
        work = functools.partial(_gradient, setting, setting.target(batch), setting.weights(batch))
        for found in setting.size.run(batch.inputs, work):
            total = {name: total[name] + found[name] for name in total}
    packed = torch.cat([group.pack(total).reshape(-1) for group in covariance.groups])
    squared = (packed.double() * covariance.solve(packed).double()).sum().clamp(min=0)
    return float(squared.sqrt() / max(1.0, effective) ** 0.5)


def _gradient(setting: Setting, y: Tensor, w: Tensor, x: Any, part: slice) -> dict[str, Tensor]:
    with torch.enable_grad():
        f = setting.network.outputs(setting.network.place(x))
        error = w[part, None] * setting.network.likelihood.error(f.detach().double(), y[part])
        named = setting.covered
        found = torch.autograd.grad(f, list(named.values()), error.to(f), allow_unused=True)
    return {n: torch.zeros_like(v) if g is None else g for (n, v), g in zip(named.items(), found, strict=True)}


def coverage(setting: Setting, structure: str) -> tuple[str, ...]:
    """Every parameter of the network: covered, and how, or held fixed, and why."""
    exact = structure in ("hessian", "full", "dual", "block")
    lines = []
    for block in setting.blocks:
        shape = " × ".join(map(str, block.shape))
        how = structure if exact or block.is_matrix or structure not in ("kfac", "ekfac") else "diagonal"
        lines.append(f"covered: {', '.join(block.parameters)} ({shape}), {how}")
    for name, value in setting.network.module.named_parameters():
        if name not in setting.prior:
            reason = "outside the subset" if value.requires_grad else "frozen (requires_grad=False)"
            lines.append(f"held fixed: {name} ({value.numel():,}), {reason}")
    return tuple(lines)
