"""Nearly collinear columns: the rank of a map against that of its fit, and what rounding changes of leverages."""

from __future__ import annotations

from memorymaps.core.covariance_roots import AnyCovarianceRoot, IndependentCovarianceRoots
from memorymaps.core.rounding_error import stated
from memorymaps.data.examples import DataError
from memorymaps.models.linear.glm.model import LinearModel
from memorymaps.models.linear.glm.rounding import cautions

_OF_A_DIRECTION = (
    2.0  # relative error of leverages where one of as many directions as the rank is missing: √3 of random ones
)
_FEWER = (
    "nearly collinear columns: the fit kept {kept} directions, of which double precision determines {rank}; a map of "
    "the others does not exist. Drop columns that are combinations of others, to rounding"
)


def check_rank(model: LinearModel, structure: AnyCovarianceRoot) -> None:
    """Raise `DataError` where columns determine more directions than the fit kept, which is not their optimum then."""
    if model.rank is None:
        return
    rank = max(root.rank for root in _roots(structure))
    if rank <= model.rank.kept:
        return
    raise DataError(
        f"{model.name} dropped {rank - model.rank.kept} of {rank} directions as singular ({model.rank.rule}): the fit "
        "is the optimum neither of all columns nor of fewer of them. Expected columns of about the same size, none "
        f"nearly a combination of others: {model.rank.remedy}"
    )


def rounding_error(model: LinearModel, structure: AnyCovarianceRoot) -> float | None:
    """Relative error of leverages by rounding, or by directions that only the fit has; `None` below 1e-4."""
    missing = _OF_A_DIRECTION * missing_directions(model, structure) / max(1, structure.rank)
    return stated(max(structure.rounding, missing))


def rounding_cautions(model: LinearModel, structure: AnyCovarianceRoot) -> tuple[str, ...]:
    """Sentences where rounding may change leverages by a percent or more."""
    if missing_directions(model, structure) and model.rank is not None:
        rank = min(root.rank for root in _roots(structure))
        return (_FEWER.format(kept=model.rank.kept, rank=rank),)
    return cautions(structure.rounding)


def missing_directions(model: LinearModel, structure: AnyCovarianceRoot) -> int:
    """Directions that the fit kept and the map has not."""
    if model.rank is None:
        return 0
    return sum(max(0, model.rank.kept - root.rank) for root in _roots(structure))


def _roots(structure: AnyCovarianceRoot) -> tuple[AnyCovarianceRoot, ...]:
    return structure.roots if isinstance(structure, IndependentCovarianceRoots) else (structure,)
