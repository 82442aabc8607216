"""Data on which leaving an example out is hard: the verdict is by refits of the very fit that is mapped."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version

import numpy as np
import pytest
import tables
from families import Family
from tables import Table
from verdict import Case

Change = Callable[[Family], Table | None]
DATA: dict[str, Change] = {}


def hard(make: Change) -> Change:
    DATA[make.__name__] = make
    return make


def applies(family: Family, name: str) -> bool:
    """Whether the data means something to the family, and its library can fit it."""
    data = None if family.noisy else DATA[name](family)
    if data is None or (not family.wide and data.x.shape[1] > 5):
        return False
    return (family.name, name) not in CANNOT_BE_FITTED | CANNOT_BE_FITTED_BY_THIS_STATSMODELS


def case(family: Family, change: Change) -> Case:
    """The family fitted on changed data; skipped where its library refuses that, which for some depends on rounding."""
    data = change(family)
    assert data is not None
    try:
        fit = family.own if data is family.data else family.fit_of(data)
    except (ValueError, ArithmeticError, np.linalg.LinAlgError) as error:
        pytest.skip(f"cannot be fitted here: {error}")
    return Case(lambda: family.map(fit.model, data), fit.truth, None)


CANNOT_BE_FITTED = {  # refused by the library itself
    ("discrete poisson", "constant_column"),
    ("catboost", "constant_target"),
    ("columns", "few_rows"),
    ("glm gaussian", "constant_target"),
    ("glm gaussian log", "constant_target"),
    ("glm gamma log", "collinear_columns"),
    ("glm gamma log", "constant_target"),
    ("glm gamma log", "heavy_tails"),
    ("glm inverse gaussian log", "collinear_columns"),
    ("glm inverse gaussian log", "constant_target"),
    ("glm inverse gaussian log", "heavy_tails"),
    ("glm tweedie", "collinear_columns"),
    ("glm tweedie", "constant_target"),
    ("logit", "constant_column"),
    ("mnlogit", "constant_column"),
    ("ordered logit", "constant_column"),
    ("ordered probit", "constant_column"),
    ("discrete negative binomial", "constant_column"),
}

# Before 0.15 the covariance of a singular fit was a LinAlgError (the fit itself, or the refits that are the truth).
SINGULAR_BEFORE_0_15 = {
    ("glm gamma log", "constant_column"),
    ("logit", "as_many_columns_as_rows"),
    ("logit", "column_of_zeros_but_one"),
    ("logit", "few_rows"),
    ("logit", "more_columns_than_rows"),
    ("logit", "separable_classes"),
    ("logit", "zero_counts"),
    ("probit", "constant_column"),
    ("probit", "few_rows"),
}
OLD_STATSMODELS = version("statsmodels").split(".")[:2] in (["0", "13"], ["0", "14"])
CANNOT_BE_FITTED_BY_THIS_STATSMODELS = SINGULAR_BEFORE_0_15 if OLD_STATSMODELS else set()


def _with_inputs(family: Family, x: np.ndarray) -> Table:
    return family.data.with_(x=x)


@hard
def as_it_is(family: Family) -> Table | None:
    return family.data


@hard
def constant_column(family: Family) -> Table | None:
    return _with_inputs(family, np.c_[family.data.x, np.full(len(family.data), 2.0)])


@hard
def collinear_columns(family: Family) -> Table | None:
    x = family.data.x
    return _with_inputs(family, np.c_[x, x[:, 0] - x[:, 1]])


@hard
def nearly_constant_column(family: Family) -> Table | None:
    x = np.array(family.data.x)
    x[:, 1] += 1e6
    return _with_inputs(family, x)


@hard
def column_of_zeros_but_one(family: Family) -> Table | None:
    """A dummy variable of one example: its leverage is one without a penalty."""
    dummy = np.zeros(len(family.data))
    dummy[7] = 1.0
    return _with_inputs(family, np.c_[family.data.x, dummy])


@hard
def more_columns_than_rows(family: Family) -> Table | None:
    return tables.table(family.kind, n=30, p=45)


@hard
def as_many_columns_as_rows(family: Family) -> Table | None:
    """With the intercept as many coefficients as rows: every example is fitted exactly without a penalty."""
    return tables.table(family.kind, n=24, p=23)


@hard
def large_leverage(family: Family) -> Table | None:
    x = np.array(family.data.x)
    x[:3] *= 12.0
    return _with_inputs(family, x)


@hard
def outlying_targets(family: Family) -> Table | None:
    if family.kind in ("two", "three"):
        return None
    y = np.array(family.data.y)
    y[:2] = 30.0 + 10.0 * y[:2]
    return family.data.with_(y=y)


@hard
def mislabelled(family: Family) -> Table | None:
    """Confident examples with the wrong class."""
    if family.kind not in ("two", "three"):
        return None
    x, y = 2.5 * family.data.x, np.array(family.data.y)
    signal = x @ [1.0, -0.7, 0.4]
    y = (signal > 0).astype(int) if family.kind == "two" else np.digitize(signal, [-1.5, 1.5])
    first = np.argsort(-signal)[:3]
    y[first] = 0
    return Table(x, y)


@hard
def separable_classes(family: Family) -> Table | None:
    if family.kind not in ("two", "three"):
        return None
    signal = family.data.x @ [1.0, -0.7, 0.4]
    y = (signal > 0).astype(int) if family.kind == "two" else np.digitize(signal, [-0.7, 0.7])
    return Table(3.0 * family.data.x, y)


@hard
def rare_class(family: Family) -> Table | None:
    """Two examples of the last class."""
    if family.kind not in ("two", "three"):
        return None
    y = np.array(family.data.y)
    last = np.flatnonzero(y == y.max())
    y[last[2:]] = 0
    return family.data.with_(y=y)


@hard
def single_example_of_a_class(family: Family) -> Table | None:
    if family.kind not in ("two", "three"):
        return None
    y = np.array(family.data.y)
    last = np.flatnonzero(y == y.max())
    y[last[1:]] = 0
    return family.data.with_(y=y)


@hard
def zero_counts(family: Family) -> Table | None:
    """A group without a single event: its coefficient runs away without a penalty."""
    if family.kind not in ("count", "two"):
        return None
    dummy, y = (np.arange(len(family.data)) < 6).astype(float), np.array(family.data.y)
    y[:6] = 0
    return Table(np.c_[family.data.x, dummy], y)


@hard
def constant_target(family: Family) -> Table | None:
    if family.kind in ("two", "three"):
        return None
    return family.data.with_(y=np.full(np.shape(family.data.y), 2.0))


@hard
def exact_fit(family: Family) -> Table | None:
    """Targets that are a linear function of the inputs: no noise at all."""
    if family.kind != "real":
        return None
    return family.data.with_(y=family.data.x @ [1.0, -0.7, 0.4])


@hard
def targets_of_another_size(family: Family) -> Table | None:
    if family.kind not in ("real", "positive"):
        return None
    return family.data.with_(y=1e6 * family.data.y)


@hard
def duplicated_rows(family: Family) -> Table | None:
    return family.data.rows(np.tile(np.arange(25), 3))


@hard
def few_rows(family: Family) -> Table | None:
    return tables.table(family.kind, n=12, p=2, seed=3)


@hard
def weights_of_every_size(family: Family) -> Table | None:
    return family.data.with_(weight=tables.weights(len(family.data))) if family.weighted else None


@hard
def one_weight_outweighs_all(family: Family) -> Table | None:
    if not family.weighted:
        return None
    weight = np.ones(len(family.data))
    weight[4] = 1e3
    return family.data.with_(weight=weight)


@hard
def zero_weights(family: Family) -> Table | None:
    if not family.weighted:
        return None
    weight = np.ones(len(family.data))
    weight[:9] = 0.0
    return family.data.with_(weight=weight)


@hard
def weights_are_counts(family: Family) -> Table | None:
    if not family.weighted:
        return None
    return family.data.with_(weight=np.random.default_rng(8).integers(1, 5, len(family.data)).astype(float))


@hard
def heavy_tails(family: Family) -> Table | None:
    return tables_with_heavy_tails(family)


def tables_with_heavy_tails(family: Family) -> Table:
    rng = np.random.default_rng(4)
    x = np.sign(family.data.x) * np.abs(rng.standard_t(2, size=family.data.x.shape))
    return Table(x, tables.targets(family.kind, np.clip(x @ [1.0, -0.7, 0.4], -4, 4), rng))
