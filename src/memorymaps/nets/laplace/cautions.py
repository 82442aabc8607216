"""What a user must know of a posterior before reading sizes: its name with every fallback, and its cautions."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from memorymaps.core.wording import counted
from memorymaps.nets.curvature.structure import CurvatureStructure
from memorymaps.nets.laplace_problem import LaplaceProblem

_SUBSET = (
    "only {covered:,} of {trained:,} trained parameters are covered: the others are held fixed, as if leaving an "
    "example out did not change them. Sizes are those of the covered part and much too small for the network; read "
    "ranks with care, retrain_check(m) measures the agreement"
)


def structure_name(problem: LaplaceProblem, structure: CurvatureStructure) -> str:
    """The structure's name, with the number of parameters for which it falls back to another."""
    other: dict[str, int] = {}
    for block in problem.blocks:
        how = structure.representation(block)
        if how != structure.name:
            other[how] = other.get(how, 0) + block.size
    total = problem.num_parameters
    named = (f"{how} for {'all' if n == total else f'{n:,} of'} {total:,} parameters" for how, n in other.items())
    return structure.name + (f" ({', '.join(named)})" if other else "")


def num_trained(module: nn.Module) -> int:
    """Number of parameters that require a gradient."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def held(problem: LaplaceProblem) -> str:
    """What leaving an example out holds although it may come from the data: a prior by evidence, parameters."""
    prior = "prior precision δ, by the marginal likelihood" if problem.prior_by_evidence else ""
    return "; ".join(filter(None, (prior, held_parameters(problem.network.module, problem.num_parameters))))


def held_parameters(module: nn.Module, covered: int) -> str:
    """How many parameters are frozen, and how many are trained beside the `covered` ones; empty if there are none."""
    frozen = sum(p.numel() for p in module.parameters() if not p.requires_grad)
    others = num_trained(module) - covered
    words = (
        counted(frozen, "frozen parameter") if frozen else "",
        f"{counted(others, 'trained parameter')} not covered" if others > 0 else "",
    )
    return "; ".join(filter(None, words))


def subset_cautions(problem: LaplaceProblem) -> tuple[str, ...]:
    """A caution where parameters that were trained are held fixed."""
    trained = num_trained(problem.network.module)
    if problem.num_parameters == trained:
        return ()
    return (_SUBSET.format(covered=problem.num_parameters, trained=trained),)


def unreached_notes(names: Sequence[str]) -> tuple[str, ...]:
    """A note on parameters that no output of the training data depends on."""
    if not names:
        return ()
    listed = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
    return (
        f"No output depends on {listed}: no gradient reaches them in any batch. They keep the prior's variance and "
        "change no score.",
    )
