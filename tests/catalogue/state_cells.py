"""Models and data that change after their map was drawn: what asks them again refuses, or says what it said before."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from families import Family
from tables import Table, targets
from verdict import check_refusal

import memorymaps as mm

Change = Callable[[Family, Any, Table], None]
ROWS = np.arange(6)


def fitted_again(family: Family, model: Any, data: Table) -> None:
    rng = np.random.default_rng(11)
    y = targets(family.kind, rng.normal(size=len(data)), rng)
    with warnings.catch_warnings(action="ignore"):
        weight = {} if data.weight is None else {"sample_weight": data.weight}
        model.fit(data.x.copy(), y, **weight)


def parameters_edited(family: Family, model: Any, data: Table) -> None:
    for name in ("params", "coef_", "dual_coef_", "alpha_"):
        found = getattr(model, name, None)
        if isinstance(found, np.ndarray) and found.flags.writeable:
            found *= 1.7
            return
    raise AssertionError(f"{family.name} has no parameters that can be edited")


def inputs_edited(family: Family, model: Any, data: Table) -> None:
    x = model.model.exog if family.carries else data.x
    x[:, -1] *= 3.0


def targets_edited(family: Family, model: Any, data: Table) -> None:
    y = model.model.endog if family.carries else data.y
    y[:10] = y[10:20]


def left_out(m: mm.MemoryMap) -> np.ndarray:
    table = m.leave_out({"first": ROWS})
    return np.asarray([table["sensitivity"][0], table["loss"][0]], dtype=float)


def refitted(m: mm.MemoryMap) -> np.ndarray:
    return np.asarray(mm.refit(m, top=3)["sensitivity"])


def retrained(m: mm.MemoryMap) -> np.ndarray:
    return np.asarray(mm.retrain_check(m, lambda removed, wanted: np.asarray(m["output"])[wanted], k=4)["estimate"])


ACTIONS = {"leave_out": left_out, "refit": refitted, "retrain_check": retrained}
HANDED = (
    "least squares", "ridge", "logistic", "softmax", "poisson", "lasso", "linear svc", "svc", "kernel ridge", "gp regression",
    "forest",
)  # fmt: skip
CARRIED = ("ols", "glm poisson", "logit", "glm gamma log")
CHANGES: dict[str, tuple[Change, tuple[str, ...]]] = {
    "fitted_again": (fitted_again, HANDED),
    "parameters_edited": (parameters_edited, (*HANDED[:6], "kernel ridge", "gp regression", *CARRIED)),
    "inputs_edited": (inputs_edited, (*HANDED, *CARRIED)),
    "targets_edited": (targets_edited, (*HANDED, *CARRIED)),
}


def check(family: Family, change: Change, action: Callable[[mm.MemoryMap], np.ndarray]) -> None:
    """The map of a model that changes; what is asked afterwards is refused, or as before."""
    data = Table(family.data.x.copy(), np.array(family.data.y))
    with warnings.catch_warnings(action="ignore"), np.errstate(all="ignore"):
        model = family.fitted(data)
        m = family.map(model, data)
        try:
            before = action(m)
        except TypeError as error:  # the family has no such action
            check_refusal(error, "")
            return
        change(family, model, data)
        try:
            after = action(m)
        except ValueError as error:
            check_refusal(error, "changed|map|draw")
            return
    np.testing.assert_allclose(after, before, rtol=1e-6)


def cells(families: dict[str, Family]) -> dict[str, Callable[[], None]]:
    found: dict[str, Callable[[], None]] = {}
    for name, (change, names) in CHANGES.items():
        for family in (families[each] for each in names):
            for action, ask in ACTIONS.items():
                found[f"{family.name}-{name}-{action}".replace(" ", "_")] = functools.partial(
                    check, family, change, ask
                )
    return found
