"""The dispatch functions `posterior` and `training_data`, with which model families are registered.

A model family is added in any package by registering two functions:

    @posterior.register(MyModel)
    def _(model, examples): ...      # → Posterior

    @training_data.register(MyModel)
    def _(model, examples): ...      # → the examples as used in training
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from memorymaps._imports import require
from memorymaps.data.examples import DataError, Examples
from memorymaps.posteriors.adapters import adapters_for


class UnsupportedModelError(TypeError):
    """No adapter is registered for the model's class."""


@functools.cache
def _adapters_in(module: str) -> tuple[str, ...]:
    """Adapter modules of classes that are defined in a module."""
    return tuple(adapters_for(module))


class LazyDispatch:
    """A function that dispatches on the class of its first argument and imports adapters on first use.

    As `functools.singledispatch`; before a call, the adapters listed for the packages of the class and its base
    classes are imported, so that subclasses are supported and unused libraries are not loaded.
    """

    def __init__(self, default: Callable[..., Any]):
        self._dispatch = functools.singledispatch(default)
        functools.update_wrapper(self, default)

    def __call__(self, model: Any, *args: Any) -> Any:
        """Call the function registered for the class of `model`."""
        for kind in type(model).__mro__:
            for module in _adapters_in(kind.__module__):
                require(module)
        return self._dispatch(model, *args)

    def register(self, kind: type) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Decorator: register a function for models of class `kind` and its subclasses."""
        return self._dispatch.register(kind)

    def is_registered(self, model: Any) -> bool:
        """Whether a function has been registered for this kind of model."""
        return self._dispatch.dispatch(type(model)) is not self._dispatch.registry[object]

    def registered_classes(self) -> list[type]:
        """The registered model classes (adapters that are not imported yet are missing)."""
        return [kind for kind in self._dispatch.registry if kind is not object]


@LazyDispatch
def posterior(model: Any, examples: Examples) -> Any:
    """Posterior of a fitted model, given the examples it was trained on (as `training_data` returns them).

    Raises
    ------
    UnsupportedModelError
        No adapter for this class; the message lists the registered ones.
    """
    kinds = ", ".join(sorted({kind.__name__ for kind in posterior.registered_classes()})) or "none loaded"
    raise UnsupportedModelError(
        f"no posterior for {type(model).__module__}.{type(model).__qualname__}; supported here: {kinds}. "
        "To add a model kind: @memorymaps.posterior.register(YourModel)"
    )


@LazyDispatch
def examples_for(model: Any, data: Any) -> Any:
    """Training data given as one object, as `Examples`, read as this kind of model requires (networks: any batches)."""
    return as_examples(data)


@LazyDispatch
def as_examples(data: Any) -> Any:
    """Training data given as one object (a loader, a dataset) as `Examples`.

    Raises
    ------
    DataError
        An object without targets.
    """
    if isinstance(data, Examples):
        return data
    raise DataError(
        f"{type(data).__name__} holds no targets: pass memory_map(model, X, y), a torch Dataset or DataLoader, "
        "or LoaderExamples([(x, y), …]) for batches"
    )


@LazyDispatch
def training_data(model: Any, examples: Examples | None) -> Any:
    """The examples as used in the model's training: encoded targets, class weights, offsets.

    For models that contain their training data (statsmodels results) `examples` may be `None`.

    Raises
    ------
    ValueError
        The model does not contain its training data, and none was given.
    """
    if examples is None:
        if not posterior.is_registered(model):
            posterior(model, None)  # no adapter: raises, whatever data would be passed
        raise ValueError(f"{type(model).__name__} does not keep its training data: pass it, memory_map(model, X, y)")
    return examples
