"""Description of a Laplace posterior and diagnostics of its approximations."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor

from memorymaps.core.likelihoods.categorical import Categorical
from memorymaps.core.likelihoods.exponential_family import Gaussian
from memorymaps.core.wording import counted
from memorymaps.nets.cost_model import MACS_PER_MINUTE, fits_in_memory, forward_macs, in_memory
from memorymaps.nets.covariance.block_diagonal import PosteriorCovariance
from memorymaps.nets.covariance.rounding import relative_rounding, rounding_cautions, with_rounding
from memorymaps.nets.curvature.active_set import TRUSTED_FRACTION
from memorymaps.nets.curvature.conjugate_gradient import conjugate_gradients, preconditioner
from memorymaps.nets.curvature.ggn import ggn_operator
from memorymaps.nets.curvature.structure import CurvatureEstimate, CurvatureStructure
from memorymaps.nets.laplace.cautions import held, num_trained, structure_name, subset_cautions, unreached_notes
from memorymaps.nets.laplace.convexity import negative_curvature
from memorymaps.nets.laplace.saddle import lowest_curvature
from memorymaps.nets.laplace_problem import LaplaceProblem
from memorymaps.posteriors.approximation import Approximation
from memorymaps.posteriors.contract import Description

_MAX_DEFICIT, _MAX_EXCESS = (
    0.2,
    0.05,
)  # relative errors of effective parameters that are accepted: the cavity estimator amplifies an excess
_DEFAULT_PROBES, _STEPS = 8, 50  # random vectors of the check, conjugate-gradient steps
_CLEAR = (0.7, 1.2)  # ratios of effective parameters outside of which the check ends early …
_CLEAR_RESIDUAL = 0.01  # … from this residual: the exact ones are then 2 to 6 % too few (measured)
_MAX_RESIDUAL = 0.05  # relative residual above which the check is inconclusive
_SLOW_PRODUCTS = " (an operation of the network can be differentiated only once, each probe would be slow)"
_STATIONARY = 0.05  # posterior standard deviations (each) below which only a saddle point has somewhere to go
_SADDLE_NOTE = (
    "A saddle point, or a kink, as networks of ReLUs have them: the loss curves downwards along some direction, and "
    "retraining may leave these parameters. The distance is that from which it would fall as much as there, within a "
    "standard deviation."
)
_RANKS_NOTE = "sizes by the first-order estimator, read them as ranks."


def posterior_description(
    problem: LaplaceProblem,
    structure: CurvatureStructure,
    estimate: CurvatureEstimate[Any],
    covariance: PosteriorCovariance,
    why: tuple[str, ...],
    source: str,
) -> Description:
    """Description of a fitted posterior; `why` is the reason for the structure, `source` that of the prior."""
    effective = problem.num_parameters - covariance.inverse_trace(
        [group.pack(problem.prior) for group in covariance.groups]
    )
    rounding = relative_rounding(covariance.rounding, effective)
    estimator, notes = _choose_estimator(problem, covariance, estimate)
    n, gradient = len(problem.examples), _loss_gradient(problem)
    distance, saddle_notes = _distance_and_notes(problem, covariance, effective, gradient)
    return Description(
        model=_model(problem),
        approximation=_approximation(problem, estimator, estimate),
        posterior=f"Laplace, {structure_name(problem, structure)}, {_curvature_name(problem, estimate)}",
        likelihood=type(problem.network.likelihood).__name__,
        prior=source,
        algorithm="the trained network (a stationary point)",
        coverage=coverage(problem, structure),
        classes=_classes(problem),
        effective_parameters=effective,
        distance=distance,
        hyperparameters_held=held(problem),
        nonlinear=not problem.is_linear and estimate.loo_bounded,
        negative_curvature=negative_curvature(problem),
        estimator=estimator,
        relative_error=with_rounding(estimate.relative_error, rounding),
        size_errors=_sizes_with_rounding(estimate.size_errors, rounding),
        notes=(
            *why,
            *problem.notes,
            *estimate.notes,
            *_averaged_prior_note(problem, structure),
            *notes,
            *saddle_notes,
            *unreached_notes([name for name in problem.covered if name not in gradient]),
            f"{counted(n, 'example')} in batches of up to {problem.batch_size.size}",
        ),
        cautions=(*estimate.cautions, *rounding_cautions(rounding), *subset_cautions(problem)),
        methods=("nickl2023memory", "tailor2023maps"),
    )


def _model(problem: LaplaceProblem) -> str:
    every = sum(v.numel() for v in problem.network.module.parameters())
    return f"{type(problem.network.module).__name__}, {problem.num_parameters:,} of {every:,} parameters"


def _classes(problem: LaplaceProblem) -> tuple[int, ...]:
    return tuple(range(problem.num_outputs)) if isinstance(problem.network.likelihood, Categorical) else ()


def _curvature_name(problem: LaplaceProblem, estimate: CurvatureEstimate[Any]) -> str:
    return f"{problem.options.fisher} Gauss–Newton" if estimate.loo_bounded else "exact Gauss–Newton and residuals"


def _sizes_with_rounding(errors: tuple[float, float] | None, rounding: float) -> tuple[float, float] | None:
    if errors is None:
        return None
    sensitivity, loss = (with_rounding(each, rounding) or 0.0 for each in errors)
    return sensitivity, loss


def _approximation(problem: LaplaceProblem, estimator: str, estimate: CurvatureEstimate[Any]) -> Approximation:
    """The kind of posterior that a Laplace approximation of these parameters is."""
    if problem.num_parameters < num_trained(problem.network.module):
        return Approximation.SOME_PARAMETERS
    if estimator == "first_order":
        return Approximation.APPROXIMATE_CURVATURE
    if estimate.exact_trace_fraction < 1.0 or not estimate.loo_bounded:
        return Approximation.CHECKED_CURVATURE
    if not problem.is_linear:
        return Approximation.EXACT_CURVATURE
    return Approximation.EXACT if isinstance(problem.network.likelihood, Gaussian) else Approximation.ONE_STEP


def _averaged_prior_note(problem: LaplaceProblem, structure: CurvatureStructure) -> tuple[str, ...]:
    """Note for Kronecker factors, which use one `δ` per layer, if the prior has several within a layer."""
    ranges = {
        block.name: torch.aminmax(block.pack(problem.prior))
        for block in problem.blocks
        if structure.averages_prior and block.is_matrix
    }
    several = {name: (float(low), float(high)) for name, (low, high) in ranges.items() if high > 1.01 * low}
    if not several:
        return ()
    low, high = (pick(each[side] for each in several.values()) for side, pick in ((0, min), (1, max)))
    return (
        f"The prior differs within {len(several)} layer{'s' * (len(several) > 1)} (δ from {low:.3g} to {high:.3g}): "
        f"{structure.name} uses each layer's mean. 'diag' and 'active_set' use every parameter's own.",
    )


def _choose_estimator(
    problem: LaplaceProblem, covariance: PosteriorCovariance, estimate: CurvatureEstimate[Any]
) -> tuple[str, tuple[str, ...]]:
    """Estimator for which sizes are reliable, and notes; the cavity form requires an exact or verified curvature."""
    if estimate.exact_trace_fraction == 1.0:
        return "cavity" if estimate.loo_bounded else "bounded_cavity", ()
    if estimate.exact_trace_fraction >= TRUSTED_FRACTION and not problem.options.probes:
        return "bounded_cavity", ()
    probes = _num_probes(problem)
    if not probes:
        why = "" if problem.options.probes is not None or _has_fast_products(problem) else _SLOW_PRODUCTS
        return "first_order", (
            f"Curvature is approximate and unverified{why}: {_RANKS_NOTE} Laplace(probes={_DEFAULT_PROBES}) verifies "
            "it.",
        )
    approximate, exact, residual = _effective_parameters(problem, covariance, probes)
    statement = f"Effective parameters {approximate:.1f}, by the exact curvature {exact:.1f}"
    if not residual <= _MAX_RESIDUAL:
        return "first_order", (f"{statement}, not converged in {_STEPS} steps: {_RANKS_NOTE}",)
    agrees = (1 - _MAX_DEFICIT) * exact <= approximate <= (1 + _MAX_EXCESS) * exact
    return ("bounded_cavity" if agrees else "first_order"), (
        f"{statement}: {'reliable with the cavity estimator.' if agrees else _RANKS_NOTE}",
    )


def _has_fast_products(problem: LaplaceProblem) -> bool:
    return problem.product_strategy != "per example"


def _num_probes(problem: LaplaceProblem) -> int:
    """Number of probes: as requested, or the default if they take less than about ten seconds."""
    if problem.options.probes is not None:
        return problem.options.probes
    if not _has_fast_products(problem):
        return 0
    each = 5 * forward_macs(problem)  # one pass forward, two with a tangent, two back
    return (
        _DEFAULT_PROBES
        if fits_in_memory(problem) and _DEFAULT_PROBES * (_STEPS + 1) * each <= MACS_PER_MINUTE / 5
        else 0
    )


def _effective_parameters(
    problem: LaplaceProblem, covariance: PosteriorCovariance, probes: int
) -> tuple[float, float, float]:
    """Effective parameters `tr(GGN S⁻¹)` with this covariance and with the exact one, and the relative residual.

    Both traces use the same random signs [Hutchinson 1990]. Solved less accurately where they clearly differ.
    """
    operator, solve = ggn_operator(in_memory(problem)), preconditioner(problem, covariance)
    generator = torch.Generator().manual_seed(0)
    z = torch.randint(0, 2, (probes, problem.num_parameters), generator=generator).to(operator.prior) * 2 - 1
    ggn_z = operator(z) - operator.prior * z
    approximate = (solve(z) * ggn_z).sum(-1).mean()

    def differ(x: Tensor, residual: Tensor) -> bool:
        ratio = float(approximate / (z * x).sum(-1).mean())
        return float(residual.max()) <= _CLEAR_RESIDUAL and not _CLEAR[0] <= ratio <= _CLEAR[1]

    x, residual = conjugate_gradients(operator, ggn_z, solve, steps=_STEPS, tolerance=1e-3, enough=differ)
    return float(approximate), float((z * x).sum(-1).mean()), float(residual.max())


def _distance_to_optimum(
    problem: LaplaceProblem, covariance: PosteriorCovariance, effective: float, gradient: dict[str, Tensor]
) -> float:
    """`‖S^{-1/2}∇L‖/√d`: distance from the optimum in posterior standard deviations per effective parameter."""
    total = {name: problem.prior[name] * value.detach() for name, value in problem.covered.items()}
    total |= {name: total[name] + found for name, found in gradient.items()}
    packed = torch.cat([group.pack(total).reshape(-1) for group in covariance.groups])
    squared = (packed.double() * covariance.solve(packed).double()).sum().clamp(min=0)
    return float(squared.sqrt() / max(1.0, effective) ** 0.5)


def _distance_and_notes(
    problem: LaplaceProblem, covariance: PosteriorCovariance, effective: float, gradient: dict[str, Tensor]
) -> tuple[float, tuple[str, ...]]:
    """The distance by the gradient or, where that vanishes, by the lowest curvature; and what is to be said of it."""
    distance = _distance_to_optimum(problem, covariance, effective, gradient)
    beyond = _distance_beyond_saddle(problem, effective) if distance < _STATIONARY else 0.0
    return max(distance, beyond), (_SADDLE_NOTE,) if beyond >= _STATIONARY else ()


def _distance_beyond_saddle(problem: LaplaceProblem, effective: float) -> float:
    """`√(−λ/d)`, 0 at a minimum: from this distance to it a quadratic loss falls by as much as along a direction with
    the curvature `λ < 0`, in units of single parameters' precisions, within one of their standard deviations.
    """
    return float((max(0.0, -lowest_curvature(problem)) / max(1.0, effective)) ** 0.5)


def _loss_gradient(problem: LaplaceProblem) -> dict[str, Tensor]:
    """Gradient of the loss over all data, without the parameters that no gradient reaches in any batch."""
    total: dict[str, Tensor] = {}
    for batch in problem.examples:
        work = functools.partial(_chunk_gradient, problem, problem.target(batch), problem.weights(batch))
        for found in problem.batch_size.run(batch.inputs, work):
            total |= {name: total[name] + g if name in total else g for name, g in found.items()}
    reached = set(problem.ranks.gathered(list(total)))
    return problem.ranks.total(
        {n: total.get(n, torch.zeros_like(v)) for n, v in problem.covered.items() if n in reached}
    )


def _chunk_gradient(problem: LaplaceProblem, y: Tensor, w: Tensor, x: Any, rows: slice) -> dict[str, Tensor]:
    with torch.enable_grad():
        f = problem.network.outputs(problem.network.to_device(x))
        error = w[rows, None] * problem.network.likelihood.error(f.detach().double(), y[rows])
        named = problem.covered
        found = torch.autograd.grad(f, list(named.values()), error.to(f), allow_unused=True)
    return {name: g for name, g in zip(named, found, strict=True) if g is not None}


def coverage(problem: LaplaceProblem, structure: CurvatureStructure) -> tuple[str, ...]:
    """One line per parameter of the network: covered and by which structure, or held fixed and the reason."""
    lines = []
    for block in problem.blocks:
        shape = " × ".join(map(str, block.shape))
        lines.append(f"covered: {', '.join(block.parameters)} ({shape}), {structure.representation(block)}")
    for name, value in problem.network.module.named_parameters():
        if name not in problem.prior:
            reason = "outside the subset" if value.requires_grad else "frozen (requires_grad=False)"
            lines.append(f"held fixed: {name} ({value.numel():,}), {reason}")
    return tuple(lines)
