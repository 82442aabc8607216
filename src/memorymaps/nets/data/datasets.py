"""PyTorch training data read in a fixed order: map-style datasets, and any iterable of batches."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Subset

from memorymaps.core.arrays import Array, Batch
from memorymaps.data.coercion import as_array
from memorymaps.data.examples import DataError, Examples
from memorymaps.nets.autograd.pytree import leaves, length
from memorymaps.nets.data.collation import Collate, collate_rows
from memorymaps.nets.random_state import PrivateRandomState

TARGETS = ("labels", "label", "target", "targets", "y")
IDS = ("id", "ids", "idx", "index")
SEVERAL_INPUTS_HINT = (
    "For a network with several inputs pass memory_map(net, (x1, x2), y), or LoaderExamples(DataLoader(dataset, 256), "
    "split=lambda batch: ((batch[0], batch[1]), batch[2], None))"
)
Split = Callable[[Any], tuple[Any, Any, Any]]


def split(batch: Any) -> tuple[Any, Any, Any]:
    """Inputs, targets and ids (or None) of a batch: `(x, y)`, `(x, y, ids)`,
    or a mapping with `labels` or a similar key.

    Raises
    ------
    DataError
        Another layout; the message contains an accessor to adapt.
    """
    if isinstance(batch, Mapping):
        target, name = (_first(batch, names) for names in (TARGETS, IDS))
        if target is not None:
            inputs = {key: value for key, value in batch.items() if key not in (target, name)}
            return inputs, batch[target], None if name is None else batch[name]
    elif isinstance(batch, (tuple, list)) and len(batch) in (2, 3):
        return batch[0], batch[1], batch[2] if len(batch) == 3 else None
    refuse_graphs(batch)
    got = f"a mapping with {list(batch)}" if isinstance(batch, Mapping) else f"a {type(batch).__name__}"
    raise DataError(
        f"a batch is {got}: expected (inputs, target), (inputs, target, ids) or a mapping with one of {TARGETS}. "
        "For arrays with separate targets, memory_map(net, inputs, y); for anything else pass LoaderExamples(loader, "
        "split=lambda batch: (inputs, target, ids_or_None))"
    )


def refuse_graphs(batch: Any) -> None:
    """Raise for a batch of graphs, as PyTorch Geometric and DGL make it.

    Raises
    ------
    DataError
        Its nodes are concatenated: no axis of its arrays belongs to the examples.
    """
    if hasattr(batch, "num_graphs") or hasattr(batch, "batch_num_nodes"):
        raise DataError(
            f"a {type(batch).__name__} is a batch of graphs, whose nodes are concatenated: no axis belongs to the "
            "examples. Expected arrays with a row for each graph: pass padded ones, (to_dense_batch(x, batch)[0], "
            "to_dense_adj(edge_index, batch)) of torch_geometric.utils, to a network of torch_geometric's dense layers"
        )


def _first(batch: Mapping[str, Any], names: Iterable[str]) -> str | None:
    return next((name for name in names if name in batch), None)


@dataclass
class LoaderExamples(Examples):
    """Examples of any re-iterable source of batches; inputs must be the same in every pass (no random augmentation).

    Without ids in the batches, ids are positions.

    Raises
    ------
    DataError
        A generator, which can be read only once; on iteration: no rows, or other inputs than in the first pass.
    """

    source: Iterable[Any]
    split: Split = split
    _fingerprint: str | None = field(default=None, repr=False)
    _count: int | None = field(default=None, repr=False)
    _random: PrivateRandomState = field(default_factory=PrivateRandomState, repr=False, compare=False)

    def __post_init__(self) -> None:
        if isinstance(self.source, Iterator):
            raise DataError(
                f"a {type(self.source).__name__} is exhausted after one pass, and a map takes several: pass "
                "list(batches), or an object whose __iter__ starts again, such as the loader itself"
            )

    @property
    def has_ids(self) -> bool:
        """Whether batches contain ids."""
        return any(self.split(raw)[2] is not None for raw in islice(self._random.batches(self.source), 1))

    def __iter__(self) -> Iterator[Batch]:
        start, content = 0, hashlib.blake2b(digest_size=8)
        for raw in self._random.batches(self.source):
            batch = _batch(*self.split(raw), start)
            _update_fingerprint(content, batch.inputs)
            start += len(batch)
            yield batch
        self._check_pass(start, content.hexdigest())

    def _check_pass(self, count: int, content: str) -> None:
        if self._count and not count:
            raise DataError("the data are exhausted after one pass, and a map takes several: pass list(batches)")
        if self._fingerprint not in (None, content):
            raise DataError(
                "the inputs differ between two passes over the data: the loader shuffles or augments at random. "
                "Pass the dataset itself with its evaluation transform, or a loader with shuffle=False"
            )
        self._fingerprint, self._count = content, count

    def __len__(self) -> int:
        if self._count is None:
            for _ in self:
                pass
        return int(self._count or 0)

    def take(self, rows: Any) -> Batch:
        """The examples at these positions; reads the source once."""
        positions = np.arange(len(self))[rows]
        order = np.argsort(positions, kind="stable")
        found, start = [], 0
        for batch in self:
            inside = positions[order][(positions[order] >= start) & (positions[order] < start + len(batch))] - start
            found += [_single_row(batch, int(row)) for row in inside]
            start += len(batch)
        inverse = np.argsort(order, kind="stable")
        return _batch(*_collated([found[row] for row in inverse]))


@dataclass(frozen=True)
class DatasetExamples(Examples):
    """Examples of a map-style dataset, in its own order; ids are row numbers by default.

    Rows of a `Subset` are numbered as in the dataset it is a part of.
    """

    dataset: Any
    batch_size: int = 256
    collate: Collate = collate_rows
    split: Split = split
    workers: int = 0
    _fingerprints: dict[int, str] = field(default_factory=dict, repr=False, compare=False)
    _random: PrivateRandomState = field(default_factory=PrivateRandomState, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.dataset)

    @property
    def has_ids(self) -> bool:
        """Whether examples contain ids."""
        return len(self) > 0 and self.split(self.collate([self.dataset[0]]))[2] is not None

    @cached_property
    def _row_numbers(self) -> Array:
        return _rows_in_base_dataset(self.dataset)

    def __iter__(self) -> Iterator[Batch]:
        loader: DataLoader[Any] = DataLoader(
            self.dataset, self.batch_size, shuffle=False, collate_fn=self.collate, num_workers=self.workers
        )
        start = 0
        for raw in self._random.batches(loader):
            inputs, target, ids = self.split(raw)
            batch = _batch(inputs, target, self._row_numbers[start : start + length(inputs)] if ids is None else ids)
            self._check_same(start, batch.inputs)
            yield batch
            start += len(batch)

    def take(self, rows: Any) -> Batch:
        """The examples at these positions, in the given order."""
        positions = np.arange(len(self))[rows]
        inputs, target, ids = self.split(self.collate([self.dataset[int(row)] for row in positions]))
        return _batch(inputs, target, self._row_numbers[positions] if ids is None else ids)

    def _check_same(self, start: int, inputs: Any) -> None:
        content = hashlib.blake2b(digest_size=8)
        _update_fingerprint(content, inputs)
        if self._fingerprints.setdefault(start, content.hexdigest()) != content.hexdigest():
            raise DataError(
                "the dataset returns different inputs when read again: it augments at random. "
                "Use the evaluation transform, with which predictions are made"
            )


def _rows_in_base_dataset(dataset: Any) -> Array:
    if isinstance(dataset, Subset):
        return _rows_in_base_dataset(dataset.dataset)[np.asarray(dataset.indices, dtype=np.int64)]
    return np.arange(len(dataset))


def _update_fingerprint(content: Any, inputs: Any) -> None:
    """Add all arrays of the inputs to a hash."""
    for leaf in leaves(inputs):
        if isinstance(leaf, torch.Tensor) and leaf.dtype is torch.bfloat16:  # not supported by NumPy
            leaf = leaf.float()
        content.update(np.ascontiguousarray(as_array(leaf)).tobytes())


def _batch(inputs: Any, target: Any, ids: Any, start: int = 0) -> Batch:
    n = length(inputs)
    y = as_array(target)
    if y.shape[:1] != (n,):
        raise DataError(f"a batch has {n} inputs and targets {y.shape}: expected one target per example")
    names = np.arange(start, start + n) if ids is None else _check_ids(ids)
    return Batch(inputs, y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y, names)


def _check_ids(ids: Any) -> Array:
    """Ids as integers or text.

    Raises
    ------
    DataError
        Anything else: the third item of a batch is not an array of ids.
    """
    values = as_array(ids)
    if values.ndim != 1 or values.dtype.kind not in "iuUSO":
        raise DataError(
            f"ids are {values.dtype} of shape {values.shape}: expected integers or text, one per example. "
            f"The third item of a batch is read as ids. {SEVERAL_INPUTS_HINT}"
        )
    short = values.dtype.kind in "iu" and values.dtype != np.uint64  # which may not fit: text, in every batch
    return values.astype(np.int64) if short else values.astype(str)


def _single_row(batch: Batch, row: int) -> Batch:
    from memorymaps.nets.autograd.pytree import take_rows

    part = slice(row, row + 1)
    return Batch(take_rows(batch.inputs, part), batch.target[part], batch.ids[part])


def _collated(parts: list[Batch]) -> tuple[Any, Array, Array]:
    inputs = _concatenate([part.inputs for part in parts])
    return inputs, np.concatenate([part.target for part in parts]), np.concatenate([part.ids for part in parts])


def _concatenate(trees: list[Any]) -> Any:
    first = trees[0]
    if isinstance(first, Mapping):
        return {key: _concatenate([tree[key] for tree in trees]) for key in first}
    if isinstance(first, (tuple, list)):
        return tuple(_concatenate(list(each)) for each in zip(*trees, strict=True))
    return torch.cat(trees) if isinstance(first, torch.Tensor) else np.concatenate(trees)
