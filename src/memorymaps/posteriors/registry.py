"""The contract: what a posterior must answer, and the two open functions that model kinds plug into.

A model kind is added from outside, in any package, by registering two functions:

    @posterior.register(MyModel)
    def _(model, examples): ...      # → Posterior

    @training_data.register(MyModel)
    def _(model, examples): ...      # → the examples as the model's training saw them
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from memorymaps._imports import require
from memorymaps.data.examples import DataError, Examples
from memorymaps.posteriors.adapters import adapters_for


class UnsupportedModelError(TypeError):
    """No adapter knows this kind of model."""


class OpenFunction:
    """A function of a model, open to new model kinds: dispatch on the class of its first argument.

    Adapters of this package are imported on first use, by the package names in the class's ancestry, so that
    a subclass of a scikit-learn estimator is found and nobody pays for libraries they do not use.
    """

    def __init__(self, default: Callable[..., Any]):
        self._dispatch = functools.singledispatch(default)
        functools.update_wrapper(self, default)

    def __call__(self, model: Any, *args: Any) -> Any:
        """Answer for this model."""
        for kind in type(model).__mro__:
            for module in adapters_for(kind.__module__):
                require(module)
        return self._dispatch(model, *args)

    def register(self, kind: type) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Decorator: this function answers for models of class `kind` and its subclasses."""
        return self._dispatch.register(kind)

    def answers(self, model: Any) -> bool:
        """Whether a function has been registered for this kind of model."""
        return self._dispatch.dispatch(type(model)) is not self._dispatch.registry[object]

    def kinds(self) -> list[type]:
        """The model classes with an answer so far."""
        return [kind for kind in self._dispatch.registry if kind is not object]


@OpenFunction
def posterior(model: Any, examples: Examples) -> Any:
    """Posterior of a fitted model, given the examples it was trained on (as `training_data` returns them).

    Raises
    ------
    UnsupportedModelError
        No adapter for this kind of model; the message lists those there are.
    """
    kinds = ", ".join(sorted({kind.__name__ for kind in posterior.kinds()})) or "none loaded"
    raise UnsupportedModelError(
        f"no posterior for {type(model).__module__}.{type(model).__qualname__}; supported here: {kinds}. "
        "To add a model kind: @memorymaps.posterior.register(YourModel)"
    )


@OpenFunction
def examples_for(model: Any, data: Any) -> Any:
    """Training data that come as one object, as this kind of model reads it: networks also take batches of any kind."""
    return as_examples(data)


@OpenFunction
def as_examples(data: Any) -> Any:
    """Training data that comes as one object (a loader, a data set) as `Examples`.

    Raises
    ------
    DataError
        Not a kind of data that holds its own targets.
    """
    if isinstance(data, Examples):
        return data
    raise DataError(
        f"{type(data).__name__} holds no targets: pass memory_map(model, X, y), a torch Dataset or DataLoader, "
        "or LoaderExamples([(x, y), …]) for batches"
    )


@OpenFunction
def training_data(model: Any, examples: Examples | None) -> Any:
    """The examples as the model's training saw them: encoded targets, class weights, offsets.

    A model that carries its own training data (statsmodels results) answers with `examples=None`.

    Raises
    ------
    ValueError
        The model does not carry its data and none was given.
    """
    if examples is None:
        if not posterior.answers(model):
            posterior(model, None)  # no adapter: raises, whatever data would be passed
        raise ValueError(f"{type(model).__name__} does not keep its training data: pass it, memory_map(model, X, y)")
    return examples
