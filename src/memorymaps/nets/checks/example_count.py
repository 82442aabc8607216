"""The number of training examples that a prior or an optimizer's posterior was computed for is that of the data."""

from __future__ import annotations

import numpy as np

from memorymaps.data.examples import DataError, Examples
from memorymaps.nets.distributed.shares import ranks_in

_CLOSE = 0.01  # relative difference that changes no score by more than this: said, not refused


def example_count_notes(n: int | None, examples: Examples, recipe: str) -> tuple[str, ...]:
    """A sentence on a number of examples `n` that differs from the data's by at most 1 %; empty if it does not.

    Right are the number of examples, that of those with a weight, and the sum of their weights: a mean loss is divided
    by one of them. Precisions are multiples of `n`, so that scores are off by no more than `n` is.

    Raises
    ------
    DataError
        It differs by more; `recipe` is what to type with the right number.
    """
    if n is None or n == len(examples):
        return ()
    own = [np.ones(len(batch)) if batch.weight is None else np.asarray(batch.weight) for batch in examples]
    weights = ranks_in(examples).gathered(own)
    total, counted = float(sum(np.sum(w) for w in weights)), int(sum(np.count_nonzero(w) for w in weights))
    if n == counted or abs(total - n) <= 0.5:
        return ()
    typed = recipe.format(n=counted)
    if abs(n - counted) <= _CLOSE * counted:
        return (
            f"Precisions are those of n = {n:,} examples, the data has {counted:,}: scores are off by about "
            f"{abs(n / counted - 1):.1%}; {typed} is exact.",
        )
    advice = f"{typed}, or all training data, with rows=… for a map of some of them"
    raise DataError(_message(n, counted, len(examples), total) + advice)


def _message(n: int, counted: int, rows: int, total: float) -> str:
    ignored = f" of {rows:,} with a weight or a target" if counted < rows else ""
    weighted = "" if abs(total - counted) <= 0.5 else f" (sum of their weights {total:,.6g})"
    return (
        f"n = {n:,}, and the data has {counted:,} examples{ignored}{weighted}: precisions of a mean loss are multiples "
        "of n, the number of examples that training draws from; a shuffling loader with drop_last draws from all of "
        "them. Pass "
    )
