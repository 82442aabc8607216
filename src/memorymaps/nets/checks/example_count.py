"""The number of training examples that a prior or an optimizer's posterior was computed for is that of the data."""

from __future__ import annotations

import numpy as np

from memorymaps.data.examples import DataError, Examples


def check_example_count(n: int | None, examples: Examples, recipe: str) -> None:
    """Raise unless `n` is the number of examples, or the sum of their weights.

    Raises
    ------
    DataError
        It is neither; `recipe` is what to type with the right number.
    """
    found = len(examples)
    if n is None or n == found:
        return
    weight = sum(len(batch) if batch.weight is None else float(np.sum(batch.weight)) for batch in examples)
    if abs(weight - n) > 0.5:
        weighted = "" if abs(weight - found) <= 0.5 else f" (sum of their weights {weight:,.6g})"
        raise DataError(
            f"n = {n:,}, and the data has {found:,} examples{weighted}: precisions of a mean loss are multiples of n. "
            f"Pass {recipe.format(n=found)}, or all training data, with rows=… for a map of some of them"
        )
