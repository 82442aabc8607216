"""Is the model still the one that the map was drawn of? A fingerprint of its parameters."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from memorymaps.data.examples import DataError
from memorymaps.data.fingerprint import digest_of
from memorymaps.posteriors.registry import LazyDispatch

_SMALL = 2**20  # bytes that are hashed as they are: the sums of larger arrays are faster


@LazyDispatch
def parameters_of(model: Any) -> Any:
    """Everything that a fit or the user may set, as nested mappings and lists of arrays, numbers and texts."""
    return {}


@LazyDispatch
def model_name(model: Any) -> Any:
    """What a message calls the model: its class; of a recipe bound to a model, the class of that model."""
    return type(model).__name__


@dataclass(frozen=True)
class ModelState:
    """A model and the fingerprint of its parameters when the map was drawn."""

    model: Any
    parameters: str

    @classmethod
    def of(cls, model: Any) -> ModelState:
        """As the model is now."""
        return cls(model, fingerprint_of(model))

    def check_unchanged(self) -> None:
        """Raise `DataError` if the parameters are others now."""
        if fingerprint_of(self.model) != self.parameters:
            raise DataError(
                f"the {model_name(self.model)} has changed since the map was drawn (fitted again, trained on, or "
                "edited): what its parts say would mix two models. To go on, draw the map again: memory_map(…)"
            )


def fingerprint_of(model: Any) -> str:
    """Hash of `parameters_of(model)`; empty for kinds of models that do not tell their parameters."""
    found = parameters_of(model)
    if not found:
        return ""
    total = hashlib.blake2b(digest_size=8)
    for name, value in _flat(found, ""):
        total.update(f",{name}=".encode())
        total.update(_content(value))
    return total.hexdigest()


def _flat(values: Any, name: str) -> Iterator[tuple[str, Any]]:
    if isinstance(values, Mapping):
        for key in sorted(values, key=str):
            yield from _flat(values[key], f"{name}.{key}")
    elif isinstance(values, (list, tuple)) and any(isinstance(v, (Mapping, list, tuple, np.ndarray)) for v in values):
        for k, value in enumerate(values):
            yield from _flat(value, f"{name}.{k}")
    else:
        yield name, values


def _content(value: Any) -> bytes:
    """Text of a value; type, shape and bits of an array, of large ones their sums."""
    if not isinstance(value, np.ndarray) or not value.ndim:
        return str(value).encode()
    small = value.nbytes <= _SMALL and value.dtype.kind in "biufc"
    return f"{value.dtype}{value.shape}".encode() + (value.tobytes() if small else digest_of(value).encode())
