"""What can be recorded of a training, asked before its first step."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from memorymaps.build.draw import memory_map
from memorymaps.data.examples import Examples
from memorymaps.data.views import Subset
from memorymaps.maps.memory_map import MemoryMap
from memorymaps.posteriors.processes.ranks import single_process

_EXAMPLES = 4


def some_of(examples: Examples) -> Examples:
    """The first four."""
    return Subset(examples, np.arange(min(_EXAMPLES, len(examples))))


def check_recordable(model: Any, examples: Examples, likelihood: Any, recipe: Any, device: Any = None) -> MemoryMap:
    """A map of some examples; raises what a record of this network, data and recipe would raise at any step.

    Raises
    ------
    DataError, ValueError, TypeError
        As for `memory_map`; an optimizer whose state will contain no precision.
    """
    from memorymaps.nets.optimizers.from_optimizer import FromOptimizer
    from memorymaps.nets.optimizers.state_precision import check_will_have_precision
    from memorymaps.nets.recipe import Laplace

    if isinstance(recipe, FromOptimizer):
        check_will_have_precision(recipe.optimizer)
    forward = {"forward": recipe.forward} if hasattr(recipe, "forward") else {}
    trial = Laplace("diag", prior=1.0, probes=0, **forward) if callable(recipe) else recipe
    with warnings.catch_warnings(), single_process():
        warnings.simplefilter("ignore")
        return memory_map(
            model, some_of(examples), likelihood=likelihood, posterior=trial, estimator="first_order", device=device,
            progress=False,
        )  # fmt: skip
