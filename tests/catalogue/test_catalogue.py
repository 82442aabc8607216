"""No map is wrong without saying so: every family of models by every fault that has a meaning for it.

Each cell is one input. It is refused by a message that tells what to type, which then is typed; or mapped rightly, by
refits; or mapped with a warning or a trust verdict that says what is wrong with it. Silent wrong maps fail.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterator
from importlib.util import find_spec

import faults
import hard_data
import other_cells
import pytest
import sklearn_families
import state_cells
import statsmodels_families
from families import Family
from verdict import Case, judge

if find_spec("torch"):
    import network_cells
    import optimiser_cells

    NETWORKS = network_cells.cases() | optimiser_cells.cases()
else:
    NETWORKS = {}

FAMILIES = {family.name: family for family in (*sklearn_families.FAMILIES, *statsmodels_families.FAMILIES)}
STATES = state_cells.cells(FAMILIES)
SIBLINGS = (  # of a family that is tested by every fault: only what concerns the fit, and not at each run
    "least squares of two", "ridge lsqr", "ridge cv", "elastic net", "logistic lbfgs", "logistic balanced", "tweedie",
    "sgd regression", "linear svc of three", "svc of three", "search of svc", "tree", "extra trees",
    "boosting of classes", "hist boosting of classes", "lightgbm of classes", "xgboost of classes", "catboost",
    "several outputs", "columns", "search", "perceptron", "wls", "glm poisson sqrt", "glm binomial cloglog",
    "glm inverse gaussian log", "glm tweedie", "probit", "discrete poisson", "ordered probit", "glm negative binomial",
    "glm gaussian log", "glm binomial probit",
)  # fmt: skip
SLOW = {
    "linear_svr-nearly_constant_column", "perceptron_of_classes-more_columns_than_rows",
    "perceptron_of_classes-as_many_columns_as_rows", "ordered_logit-separable_classes", "ordered_logit-few_rows",
    "ordered_logit-column_of_zeros_but_one", "ordered_logit-nearly_constant_column",
}  # fmt: skip
FORMAL = (
    "infinity_in_inputs", "nan_target", "infinite_target", "stray_text_target", "nan_weight", "negative_weight",
    "fewer_targets", "one_column_less", "duplicate_ids", "nan_ids", "too_few_ids", "not_fitted", "no_data",
)  # fmt: skip
KNOWN: dict[str, str] = {}  # cells that fail, and why


def table_cells() -> Iterator[tuple[str, Callable[[], Case], bool]]:
    """Name, case, and whether it is left out of quick runs."""
    for family in FAMILIES.values():
        sibling = family.name in SIBLINGS
        for name, fault in faults.REGISTERED.items():
            if faults.applies(family, name) and not (sibling and name in FORMAL):
                yield _name(family, name), functools.partial(fault, family), sibling
        for name, change in hard_data.DATA.items():
            if hard_data.applies(family, name):
                yield _name(family, name), functools.partial(hard_data.case, family, change), sibling


def _name(family: Family, fault: str) -> str:
    return f"{family.name}-{fault}".replace(" ", "_")


def cells() -> list[object]:
    """All cells that have a meaning, without fitting a model."""
    others = {**NETWORKS, **other_cells.cases()}
    found = [*table_cells(), *((name.replace(" ", "_"), case, False) for name, case in others.items())]
    return [pytest.param(case, id=name, marks=_marks(name, slow)) for name, case, slow in found]


def _marks(name: str, slow: bool) -> list[pytest.MarkDecorator]:
    known = [pytest.mark.xfail(strict=True, reason=KNOWN[name])] if name in KNOWN else []
    return [*known, *([pytest.mark.slow] if slow or name in SLOW else [])]


@pytest.mark.slow
@pytest.mark.parametrize("case", cells())
def test_no_map_is_wrong_without_saying_so(case: Callable[[], Case]) -> None:
    with warnings.catch_warnings(action="ignore"):
        found = judge(case())
    assert found.kind != "silent", str(found)


@pytest.mark.slow
@pytest.mark.parametrize("check", [pytest.param(check, id=name) for name, check in STATES.items()])
def test_what_changed_after_its_map_is_refused_or_as_before(check: Callable[[], None]) -> None:
    check()


@pytest.mark.slow
def test_the_catalogue_is_large() -> None:
    assert len(cells()) + len(STATES) >= 250
