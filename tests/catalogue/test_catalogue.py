"""No map is wrong without saying so: every family of models by every fault that has a meaning for it.

Each cell is one input. It is refused by a message that tells what to type, which then is typed; or mapped rightly, by
refits; or mapped with a warning or a trust verdict that says what is wrong with it. Silent wrong maps fail.
"""

from __future__ import annotations

import functools
import warnings

import faults
import hard_data
import pytest
import sklearn_families
import statsmodels_families
from families import Family
from verdict import Case, judge

FAMILIES = {family.name: family for family in (*sklearn_families.FAMILIES, *statsmodels_families.FAMILIES)}
FAULTS = {
    **faults.REGISTERED,
    **{name: functools.partial(hard_data.case, change=change) for name, change in hard_data.DATA.items()},
}
SLOW: set[str] = set()
KNOWN: dict[str, str] = {}


def cells() -> list[object]:
    """All cells that have a meaning, without fitting a model."""
    found = []
    for family in FAMILIES.values():
        for name in FAULTS:
            if not applies(family, name):
                continue
            cell = f"{family.name}-{name}".replace(" ", "_")
            marks = [pytest.mark.slow] if cell in SLOW else []
            marks += [pytest.mark.xfail(strict=True, reason=KNOWN[cell])] if cell in KNOWN else []
            found.append(pytest.param(family.name, name, id=cell, marks=marks))
    return found


def applies(family: Family, name: str) -> bool:
    if name in hard_data.DATA:
        return hard_data.applies(family, name)
    return faults.applies(family, name)


@pytest.mark.parametrize(("family", "fault"), cells())
def test_no_map_is_wrong_without_saying_so(family: str, fault: str) -> None:
    with warnings.catch_warnings(action="ignore"):
        case = FAULTS[fault](FAMILIES[family])
    assert isinstance(case, Case), f"{family} by {fault} has no meaning: leave it out of the catalogue"
    found = judge(case)
    assert found.kind != "silent", str(found)


def test_the_catalogue_is_large() -> None:
    assert len(cells()) >= 250
