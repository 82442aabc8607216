"""The remaining Newton steps of a model that stopped early, made on a copy: `memory_map(…, polish=True)`."""

from __future__ import annotations

import functools
from typing import Any

from memorymaps.data.examples import Examples


@functools.singledispatch
def polished(source: Any, examples: Examples) -> Any:
    """The posterior at the optimum of the model's own objective on these examples; the model is left as it is.

    Open by the class of the posterior: `polished.register(MyPosterior)`.

    Raises
    ------
    TypeError
        The posterior's objective has no Newton steps.
    """
    raise TypeError(
        f"polish=True: {type(source).__name__} has no Newton steps to make. Fit again with a smaller tolerance and "
        "more iterations (tol=1e-8, max_iter=10_000) and map that"
    )
