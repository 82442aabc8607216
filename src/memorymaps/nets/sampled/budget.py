"""What a map may cost, as the user says it: seconds of a core, or epochs of training."""

from __future__ import annotations

import math
import re

Budget = float | str

_EPOCHS = re.compile(r"\s*(\d+\.?\d*|\.\d+)\s*epochs?\s*")
PER_SECOND = 1.6e10  # multiply–accumulates of a core in double precision, at least, in large matrix products
PASSES_PER_EPOCH = 3  # forward passes that an epoch of training is worth: one forward, one back of twice its work


def multiplications_of(budget: Budget, epoch: float) -> float:
    """Multiplications within a budget, for training epochs of `epoch` multiplications.

    A number is seconds of a core, counted, not timed: the same on every machine.

    Raises
    ------
    ValueError
        Neither a positive number nor a text such as "30 epochs".

    Examples
    --------
    >>> multiplications_of("30 epochs", 2e9)
    60000000000.0
    >>> multiplications_of(60, 2e9) == 60 * PER_SECOND
    True
    """
    found = _EPOCHS.fullmatch(budget) if isinstance(budget, str) else None
    if found:
        amount, unit = float(found[1]), epoch
    else:
        amount, unit = _seconds(budget), PER_SECOND
    if not 0 < amount < math.inf:
        raise _refusal(budget)
    return amount * unit


def _seconds(budget: Budget) -> float:
    if isinstance(budget, (str, bool)):
        raise _refusal(budget)
    try:
        return float(budget)
    except (TypeError, ValueError):
        raise _refusal(budget) from None


def _refusal(budget: Budget) -> ValueError:
    return ValueError(
        f"budget = {budget!r}: expected a positive number of seconds of a core, budget=600, or of epochs of training, "
        'budget="30 epochs"'
    )
