"""Nested inputs (mappings, tuples, lists of tensors): map over leaves, number of rows, slices."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from scipy.sparse import issparse
from torch import Tensor

from memorymaps.core.arrays import Array
from memorymaps.data.examples import DataError


def as_tensor_like(leaf: Any, like: Tensor) -> Any:
    """An array as a tensor on the device of `like`; float32 and float64 in its dtype, other leaves unchanged.

    Raises
    ------
    DataError
        An array of text or objects, a sparse matrix.
    """
    if isinstance(leaf, np.ndarray):
        if leaf.dtype.kind in "OUSMm":
            raise DataError(
                f"inputs of dtype {leaf.dtype}, for instance {leaf.flat[0] if leaf.size else None!r}: networks take "
                "numbers. Encode text and categories first, for instance with scikit-learn's OneHotEncoder"
            )
        leaf = torch.from_numpy(np.ascontiguousarray(leaf))
    if issparse(leaf):
        raise DataError(f"inputs are a sparse {type(leaf).__name__}, networks take dense arrays: pass X.toarray()")
    if not isinstance(leaf, Tensor):
        return leaf
    leaf = leaf.clone() if leaf.is_inference() else leaf  # which autograd cannot save
    is_float = leaf.is_floating_point() and leaf.dtype in (torch.float32, torch.float64)
    return leaf.to(like.device, like.dtype if is_float else leaf.dtype)


def tree_map(function: Callable[[Any], Any], inputs: Any) -> Any:
    """Apply a function to every leaf of nested mappings, tuples and lists; a data frame becomes one array."""
    if isinstance(inputs, Mapping):
        return {key: tree_map(function, value) for key, value in inputs.items()}
    if isinstance(inputs, (tuple, list)):
        return tuple(tree_map(function, value) for value in inputs)
    if hasattr(inputs, "iloc"):
        inputs = inputs.to_numpy()
    return function(inputs)


def leaves(inputs: Any) -> Iterator[Any]:
    """The arrays and tensors in nested inputs."""
    if isinstance(inputs, Mapping):
        inputs = tuple(inputs.values())
    if isinstance(inputs, (tuple, list)):
        for value in inputs:
            yield from leaves(value)
    elif hasattr(inputs, "shape"):
        yield inputs


def length(inputs: Any) -> int:
    """Number of examples in a batch of inputs.

    Raises
    ------
    DataError
        No array in them.
    """
    first = next(leaves(inputs), None)
    if first is None:
        raise DataError(
            f"the inputs of a batch hold no array: {str(inputs)[:80]}. Expected numbers: tokenize text first, "
            "memory_map(net, tokenizer(texts, padding=True, return_tensors='pt'), y)"
        )
    return int(first.shape[0])


def take_rows(inputs: Any, rows: slice | Array) -> Any:
    """Some examples of a batch, by a slice or positions; leaves without a batch axis are unchanged."""
    if hasattr(inputs, "iloc"):
        return inputs.iloc[rows]  # a data frame keeps its columns' names
    n = length(inputs)
    return tree_map(lambda leaf: leaf[rows] if hasattr(leaf, "shape") and leaf.shape[:1] == (n,) else leaf, inputs)
