"""The dispatch functions `posterior` and `training_data`, with which model families are registered.

A model family is added in any package by registering two functions:

    @posterior.register(MyModel)
    def _(model, examples): ...      # → Posterior

    @training_data.register(MyModel)
    def _(model, examples): ...      # → the examples as used in training
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from typing import Any

from memorymaps._imports import require
from memorymaps.data.examples import DataError, Examples
from memorymaps.data.loading import Loading
from memorymaps.posteriors.adapters import adapters_for

_DEFAULT = Loading()


class UnsupportedModelError(TypeError):
    """No adapter is registered for the model's class."""


_IMPORTED: weakref.WeakSet[type] = weakref.WeakSet()  # classes whose adapters are imported


@functools.cache
def _adapters_of(packages: tuple[str, ...]) -> tuple[str, ...]:
    """Adapter modules for the modules that define a class and its base classes."""
    return tuple(dict.fromkeys(adapter for package in packages for adapter in adapters_for(package)))


class LazyDispatch:
    """A function that dispatches on the class of its first argument and imports adapters on first use.

    As `functools.singledispatch`; before a call, the adapters listed for the packages of the class and its base
    classes are imported, so that subclasses are supported and unused libraries are not loaded. Of several functions
    registered for one class the last one is called; those of this package count as registered first.
    """

    def __init__(self, default: Callable[..., Any]):
        self._default = default
        self._functions: dict[type, list[Callable[..., Any]]] = {}
        self._dispatch = functools.singledispatch(default)
        functools.update_wrapper(self, default)

    def __reduce__(self) -> str:
        """Pickled by its name, as functions are."""
        return self._default.__qualname__

    def __call__(self, model: Any, *args: Any) -> Any:
        """Call the function registered for the class of `model`."""
        _import_adapters(type(model))
        return self._dispatch(model, *args)

    def register(self, kind: type) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Decorator: register a function for models of class `kind` and its subclasses.

        It replaces this package's own adapter of `kind`, if there is one; `unregister(kind)` undoes it.
        """

        def add(function: Callable[..., Any]) -> Callable[..., Any]:
            if function.__module__.partition(".")[0] != __package__.partition(".")[0]:
                _import_adapters(kind)  # before, so that they do not replace this one on first use
            self._functions.setdefault(kind, []).append(function)
            return self._dispatch.register(kind, function)

        return add

    def unregister(self, kind: type) -> None:
        """Remove the function registered last for exactly the class `kind`; the one before it is called again.

        Raises
        ------
        ValueError
            No function is registered for this class.
        """
        if kind not in self._functions:
            names = ", ".join(sorted({each.__name__ for each in self._functions})) or "none"
            raise ValueError(f"nothing is registered for {kind.__qualname__}: expected one of the classes {names}")
        self._functions[kind].pop()
        self._functions = {known: functions for known, functions in self._functions.items() if functions}
        self._dispatch = functools.singledispatch(self._default)
        for known, functions in self._functions.items():
            self._dispatch.register(known, functions[-1])

    def is_registered(self, model: Any) -> bool:
        """Whether a function has been registered for this kind of model."""
        return self._dispatch.dispatch(type(model)) is not self._default

    def registered_classes(self) -> list[type]:
        """The registered model classes (adapters that are not imported yet are missing)."""
        return list(self._functions)


def _import_adapters(kind: type) -> None:
    """Import the adapters listed for the packages that define `kind` and its base classes, once."""
    if kind in _IMPORTED:
        return
    for module in _adapters_of(tuple(each.__module__ for each in kind.__mro__)):
        require(module)
    _IMPORTED.add(kind)


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
def on_device(model: Any, device: Any) -> Any:
    """The model, or a copy of it, on another device (networks, bound to a recipe).

    Raises
    ------
    ValueError
        A model that is not a network, or a network without a recipe.
    """
    raise ValueError(
        f"device = {device!r}: for networks, memory_map(net, …, likelihood=…, posterior=…, device=…), got "
        f"{type(model).__name__}: leave device= out, and the model is evaluated where it is"
    )


@LazyDispatch
def examples_for(model: Any, data: Any, loading: Loading = _DEFAULT) -> Any:
    """Training data given as one object, as `Examples`, read as this kind of model requires (networks: any batches).

    Raises
    ------
    ValueError
        Options of loading, which are for networks' data sets.
    """
    if loading.given:
        raise ValueError(
            f"{', '.join(loading.options)}: for data sets of networks only; leave it out for {type(data).__name__}"
        )
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
