"""Faults of inputs: what a user may hand over wrongly, and data on which models are hard to leave examples out of.

A fault is a function of a family that returns the case, registered with the condition for it to have a meaning.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import tables
from families import Family, Fit
from tables import Table
from verdict import Case, Truth

import memorymaps as mm

Fault = Callable[[Family], Case]
Condition = Callable[[Family], bool]
REGISTERED: dict[str, Fault] = {}
CONDITIONS: dict[str, Condition] = {}


def fault(condition: Condition) -> Callable[[Fault], Fault]:
    """Register a fault for the families on which it has a meaning."""

    def register(make: Fault) -> Fault:
        REGISTERED[make.__name__], CONDITIONS[make.__name__] = make, condition
        return make

    return register


def applies(family: Family, name: str) -> bool:
    return CONDITIONS[name](family)


def always(family: Family) -> bool:
    return True


def carries(family: Family) -> bool:
    return family.carries


def drops_data(family: Family) -> bool:
    return family.carries and family.name != "hazards"  # statsmodels' own remove_data() fails


def handed(family: Family) -> bool:
    """Whether the data is handed over, and not carried by the model."""
    return not family.carries


def handed_numbers(family: Family) -> bool:
    return handed(family) and family.kind not in ("two", "three", "count")


def handed_weighted(family: Family) -> bool:
    return handed(family) and family.weighted


def takes_offset(family: Family) -> bool:
    return family.offset


def has_penalty(family: Family) -> bool:
    return bool(family.penalty)


def has_coefficients(family: Family) -> bool:
    return family.coefficients


def knows_rows(family: Family) -> bool:
    """Whether the penalty or the dual variables tell how many rows there were; other models are the same fit."""
    return family.name in KNOW_ROWS


KNOW_ROWS = (
    "ridge", "ridge lsqr", "ridge cv", "logistic", "softmax", "logistic l1", "svc", "svc of three", "svr",
    "kernel ridge", "gp regression", "gp classes", "forest", "forest of classes", "search of svc", "perceptron",
)  # fmt: skip


def clean(family: Family) -> mm.MemoryMap:
    return family.map(family.model, family.data)


def usual(family: Family) -> tuple[str, ...]:
    return family.clean.summary().warnings


def right(family: Family) -> Truth:
    """Refits of the family's fit, or the map of the right data where maps of the family have ranks only."""
    if family.sizes:
        return family.own.truth
    m, data = family.clean, family.data

    def changes(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        seen = rows[rows < len(data)]
        return np.asarray(m["output"])[seen].reshape(len(seen), -1), _after(m)[seen]

    return Truth(changes, m["target"], data.weight)


def _after(m: Any) -> np.ndarray:
    """Outputs without each example, as the map has them."""
    f, d = (np.reshape(np.asarray(m[name], dtype=float), (len(m), -1)) for name in ("output", "deviation"))
    return f + d


def given(family: Family, data: Table, says: str = "", **options: Any) -> Case:
    """The fitted model with other data than its own."""
    return Case(
        lambda: family.map(family.model, data, **options), right(family), lambda: clean(family), says, usual(family)
    )


def never_right(family: Family, data: Table, says: str = "", **options: Any) -> Case:
    """As `given`, where no number can be right."""
    return Case(lambda: family.map(family.model, data, **options), None, lambda: clean(family), says, usual(family))


def changed(array: np.ndarray, where: Any, value: Any) -> np.ndarray:
    found = np.array(array, dtype=float) if np.asarray(array).dtype.kind in "iub" else np.array(array)
    found[where] = value
    return found


# --- numbers that are none -------------------------------------------------------------------------------------------


@fault(handed)
def nan_in_inputs(family: Family) -> Case:
    return given(family, family.data.with_(x=changed(family.data.x, (3, 0), np.nan)))


@fault(handed)
def infinity_in_inputs(family: Family) -> Case:
    return given(family, family.data.with_(x=changed(family.data.x, (3, 0), np.inf)))


@fault(handed)
def nan_target(family: Family) -> Case:
    return never_right(family, family.data.with_(y=changed(family.data.y, 3, np.nan)))


@fault(handed)
def infinite_target(family: Family) -> Case:
    return never_right(family, family.data.with_(y=changed(family.data.y, 3, np.inf)))


@fault(handed)
def stray_text_target(family: Family) -> Case:
    y = np.array(family.data.y, dtype=object)
    y[3] = "n/a"
    return never_right(family, family.data.with_(y=y))


@fault(handed)
def nan_weight(family: Family) -> Case:
    return never_right(family, family.data.with_(weight=changed(np.ones(len(family.data)), 3, np.nan)), "weight")


@fault(handed)
def negative_weight(family: Family) -> Case:
    return never_right(family, family.data.with_(weight=changed(np.ones(len(family.data)), 3, -1.0)), "weight")


@fault(takes_offset)
def nan_offset(family: Family) -> Case:
    return never_right(family, family.data, "offset", offset=changed(np.zeros(len(family.data)), 3, np.nan))


# --- shapes and names ------------------------------------------------------------------------------------------------


@fault(handed)
def fewer_targets(family: Family) -> Case:
    return never_right(family, family.data.with_(y=family.data.y[:-1]))


@fault(handed)
def one_column_less(family: Family) -> Case:
    return given(family, family.data.with_(x=family.data.x[:, :-1]))


@fault(handed)
def one_column_more(family: Family) -> Case:
    return given(family, family.data.with_(x=np.c_[family.data.x, family.data.x[:, 0]]))


@fault(always)
def duplicate_ids(family: Family) -> Case:
    ids = np.arange(len(family.data))
    ids[5] = 4
    return _with_ids(family, ids)


@fault(always)
def nan_ids(family: Family) -> Case:
    return _with_ids(family, changed(np.arange(len(family.data)), [4, 5], np.nan))


@fault(always)
def too_few_ids(family: Family) -> Case:
    return _with_ids(family, np.arange(len(family.data) - 1))


def _with_ids(family: Family, ids: Any) -> Case:
    return Case(
        lambda: family.map(family.model, family.data, ids=ids), None, lambda: clean(family), "ids?", usual(family)
    )


@fault(always)
def unsigned_ids(family: Family) -> Case:
    """Large unsigned ids are kept: right, and found again."""
    ids = np.arange(len(family.data), dtype=np.uint64) + np.uint64(2**63)

    def draw() -> mm.MemoryMap:
        m = family.map(family.model, family.data, ids=ids)
        assert [int(i) for i in m["id"].tolist()] == ids.tolist()
        assert len(m.select(ids[:2])) == 2
        return m

    return Case(draw, right(family), usual=usual(family))


# --- other data than that of the fit ---------------------------------------------------------------------------------


@fault(handed)
def shuffled_targets(family: Family) -> Case:
    return given(family, family.data.with_(y=family.data.y[np.random.default_rng(1).permutation(len(family.data))]))


@fault(handed)
def other_targets(family: Family) -> Case:
    """Flipped labels, negated or rescaled numbers."""
    y = family.data.y
    flip = {"two": lambda: 1 - y, "three": lambda: (y + 1) % 3, "count": lambda: y.max() - y}
    return given(
        family,
        family.data.with_(
            y=flip.get(family.kind, lambda: y.mean() / (y + 1e-3) if family.kind == "positive" else -y)()
        ),
    )


@fault(handed_numbers)
def rescaled_targets(family: Family) -> Case:
    """Targets in other units."""
    return given(family, family.data.with_(y=10.0 * family.data.y))


@fault(handed)
def targets_shifted_by_a_row(family: Family) -> Case:
    return given(family, family.data.with_(y=np.roll(family.data.y, 1, axis=0)))


@fault(handed)
def some_targets_changed(family: Family) -> Case:
    """A tenth of the targets corrected after the fit."""
    y = np.array(family.data.y)
    y[:8] = y[8:16]
    return given(family, family.data.with_(y=y))


@fault(handed)
def shuffled_inputs(family: Family) -> Case:
    return given(family, family.data.with_(x=family.data.x[np.random.default_rng(1).permutation(len(family.data))]))


@fault(handed)
def inputs_in_other_units(family: Family) -> Case:
    return given(family, family.data.with_(x=10.0 * family.data.x))


@fault(handed)
def columns_in_another_order(family: Family) -> Case:
    return given(family, family.data.with_(x=family.data.x[:, ::-1].copy()))


@fault(handed)
def some_of_the_rows(family: Family) -> Case:
    """Only the first half of the rows of the fit: everything depends on the others, too."""
    return given(family, family.data.rows(slice(0, len(family.data) // 2)))


@fault(handed)
def rows_never_seen(family: Family) -> Case:
    """A model of half the rows, mapped on all; leaving an unseen row out changes nothing."""
    half = family.of_half
    whole = lambda: family.map(half.model, family.data)  # noqa: E731
    return Case(whole, _truth_of(family, half), lambda: family.map(half.model, half.data), "", usual(family))


def _truth_of(family: Family, fit: Fit) -> Truth:
    """The truth about a fit, for all rows of the family's table: those beyond its data change nothing."""
    inner, data = fit.truth, fit.data
    if not family.sizes:
        with warnings.catch_warnings(action="ignore"):
            m = family.map(fit.model, data)
        inner = Truth(lambda rows: (np.reshape(m["output"], (len(m), -1))[rows], _after(m)[rows]), data.y, data.weight)
    y, weight = family.data.y, family.data.weight

    def changes(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        seen = rows < len(data)
        before, after = inner.changes(rows[seen])
        f = np.zeros((len(rows), before.shape[1]))
        whole = (f, f.copy())
        whole[0][seen], whole[1][seen] = before, after
        return whole

    return Truth(changes, y, weight)


@fault(knows_rows)
def rows_twice(family: Family) -> Case:
    """Every row twice, of a model whose penalty tells how many there were; others are the same fit."""
    twice = family.data.rows(np.tile(np.arange(len(family.data)), 2))

    def changes(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return right(family).changes(rows % len(family.data))

    return Case(
        lambda: family.map(family.model, twice), Truth(changes, twice.y), lambda: clean(family), "", usual(family)
    )


@fault(handed)
def rows_in_another_order(family: Family) -> Case:
    """Inputs and targets in another order together: right where the order of rows plays no part."""
    order = np.random.default_rng(2).permutation(len(family.data))
    truth = right(family)
    moved = Truth(lambda rows: truth.changes(order[rows]), np.asarray(family.data.y)[order])
    return Case(
        lambda: family.map(family.model, family.data.rows(order)), moved, lambda: clean(family), "", usual(family)
    )


# --- weights ---------------------------------------------------------------------------------------------------------


@fault(handed_weighted)
def forgotten_weights(family: Family) -> Case:
    fit, data = family.with_weights, family.with_weights.data
    own = _truth_of(family, fit)
    return Case(
        lambda: family.map(fit.model, family.data), Truth(own.changes, data.y, data.weight),
        lambda: family.map(fit.model, data), "", usual(family),
    )  # fmt: skip


@fault(handed_weighted)
def invented_weights(family: Family) -> Case:
    return given(family, family.data.with_(weight=tables.weights(len(family.data))))


@fault(handed_weighted)
def other_weights(family: Family) -> Case:
    fit, data = family.with_weights, family.with_weights.data
    own = _truth_of(family, fit)
    return Case(
        lambda: family.map(fit.model, data.with_(weight=tables.weights(len(data), seed=9))),
        Truth(own.changes, data.y, data.weight), lambda: family.map(fit.model, data), "", usual(family),
    )  # fmt: skip


# --- models changed after the fit ------------------------------------------------------------------------------------


@fault(has_penalty)
def another_penalty(family: Family) -> Case:
    model = copy.deepcopy(family.model)
    for name, value in family.penalty.items():
        setattr(model, name, value)
    return Case(lambda: family.map(model, family.data), right(family), lambda: clean(family), "", usual(family))


COEFFICIENTS = ("coef_", "dual_coef_", "alpha_", "_dual_coef_")


def _parameters(model: Any) -> np.ndarray | None:
    """The array of fitted parameters that predictions are made of."""
    if hasattr(model, "params"):
        return np.asarray(model.params)
    if hasattr(model, "coefs_"):
        return model.coefs_[0]
    for name in ("coef_", "alpha_", "dual_coef_"):
        found = getattr(model, name, None) if not (name == "coef_" and hasattr(model, "dual_coef_")) else None
        if isinstance(found, np.ndarray) and found.ndim:
            return found
    return None


def _edited(family: Family, edit: Callable[[np.ndarray], Any]) -> Any:
    model = copy.deepcopy(family.model)
    parameters = _parameters(model)
    edit(parameters)
    return model


@fault(has_coefficients)
def nan_parameter(family: Family) -> Case:
    def edit(values: np.ndarray) -> None:
        values.flat[0] = np.nan

    model = _edited(family, edit)
    return Case(lambda: family.map(model, family.data), None, lambda: clean(family), "", usual(family))


@fault(has_coefficients)
def edited_parameters(family: Family) -> Case:
    """Coefficients halved after the fit: not at the optimum of anything."""

    def edit(values: np.ndarray) -> None:
        values *= 0.4

    model = _edited(family, edit)
    return Case(lambda: family.map(model, family.data), right(family), lambda: clean(family), "", usual(family))


@fault(handed)
def predictions_of_its_own(family: Family) -> Case:
    """A subclass that predicts in another way."""
    model = copy.deepcopy(family.model)
    kind = type(model)
    names = [n for n in ("predict", "predict_proba", "decision_function") if hasattr(model, n)]

    def another(name: str) -> Callable[..., Any]:
        def method(self: Any, X: Any, *args: Any, **options: Any) -> Any:
            return _otherwise(getattr(kind, name)(self, X, *args, **options))

        return method

    model.__class__ = type(f"Other{kind.__name__}", (kind,), {name: another(name) for name in names})
    return Case(lambda: family.map(model, family.data), None, lambda: clean(family), "", usual(family))


def _otherwise(values: Any) -> Any:
    """Other predictions: of labels, another order; of probabilities, sharper ones; of numbers, rescaled ones."""
    found = np.asarray(values)
    if found.dtype.kind not in "f":
        return np.roll(found, 1)
    if found.ndim == 2 and np.allclose(found.sum(axis=1), 1):
        return found**2 / np.sum(found**2, axis=1, keepdims=True)
    return 0.1 + 0.6 * found


@fault(handed)
def not_fitted(family: Family) -> Case:
    from sklearn.base import clone

    fresh = clone(family.model)
    return Case(lambda: family.map(fresh, family.data), None, lambda: clean(family), "", usual(family))


@fault(always)
def no_data(family: Family) -> Case:
    """Models that carry no data need it; those that do refuse other data."""
    if family.carries:
        draw = lambda: mm.memory_map(family.model, family.data.x, family.data.y)  # noqa: E731
    else:
        draw = lambda: mm.memory_map(family.model)  # noqa: E731
    return Case(draw, None if not _keeps(family) else right(family), lambda: clean(family), "", usual(family))


def _keeps(family: Family) -> bool:
    return hasattr(family.model, "y_train_") or family.name == "gp classes"


@fault(carries)
def results_with_other_targets(family: Family) -> Case:
    """The targets inside results changed after the fit."""
    model = family.fitted(family.data)
    model.model.endog = np.array(model.model.endog)[np.random.default_rng(1).permutation(len(family.data))]
    return Case(lambda: family.map(model, None), right(family), lambda: clean(family), "", usual(family))


@fault(carries)
def results_with_other_inputs(family: Family) -> Case:
    """The inputs inside results changed in place after the fit."""
    model = family.fitted(family.data)
    model.model.exog[:, -1] *= 3.0
    return Case(lambda: family.map(model, None), right(family), lambda: clean(family), "", usual(family))


@fault(drops_data)
def results_without_data(family: Family) -> Case:
    model = family.fitted(family.data)
    model.remove_data()
    return Case(lambda: family.map(model, None), None, lambda: clean(family), "", usual(family))
