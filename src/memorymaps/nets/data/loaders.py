"""Conversion of a network's training data: loaders, datasets, and batches or examples in any re-iterable object."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Sized
from dataclasses import replace
from typing import Any

import numpy as np
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset

from memorymaps.data.examples import DataError, Examples
from memorymaps.data.in_memory import ArrayExamples
from memorymaps.data.loading import Loading
from memorymaps.nets.autograd.pytree import leaves
from memorymaps.nets.data.datasets import DatasetExamples, LoaderExamples, refuse_graphs, split
from memorymaps.nets.data.hugging_face import from_hugging_face, is_hugging_face, of_known_columns
from memorymaps.nets.data.samplers import visited_indices
from memorymaps.posteriors.registry import as_examples

_DEFAULT = Loading()


def from_loader(loader: Any) -> Examples:
    """Examples of a loader: a map-style dataset is read directly, in order, restricted to the rows its sampler visits.

    Any other loader is iterated as it is.
    """
    if isinstance(loader.dataset, IterableDataset) or loader.batch_sampler is None:
        return LoaderExamples(loader)
    indices = visited_indices(loader)
    dataset = loader.dataset if indices is None else Subset(loader.dataset, indices)
    size = getattr(loader.batch_sampler, "batch_size", None) or DatasetExamples.batch_size
    return DatasetExamples(dataset, size, loader.collate_fn, workers=loader.num_workers)


def from_dataset(dataset: Dataset[Any]) -> Examples:
    """Examples of a dataset, in its own order."""
    return LoaderExamples(dataset) if isinstance(dataset, IterableDataset) else DatasetExamples(dataset)


def from_anything(model: Any, data: Any, loading: Loading = _DEFAULT) -> Examples:
    """Examples of a registered type, of one batch, or of an iterable of batches or of single examples.

    Raises
    ------
    DataError
        No rows, no targets, or something that can be read only once.
    ValueError
        Options of loading for data that are batches already.
    """
    if is_hugging_face(data):
        return from_hugging_face(model, data, loading)
    if loading.collate is not None and isinstance(data, (list, tuple)):
        return DatasetExamples(data, **loading.options)  # examples one by one, however they look
    found = of_known_columns(_found(data), model)
    if not loading.given:
        return found
    if not isinstance(found, DatasetExamples):
        raise ValueError(
            f"{' and '.join(loading.options)} for a {type(data).__name__}, whose batches are made already: pass the "
            "data set, one example at a time, or leave them out"
        )
    return replace(found, **loading.options)


def _found(data: Any) -> Examples:
    if isinstance(data, (Examples, DataLoader, Dataset)) or hasattr(data, "shape"):
        found: Examples = as_examples(data)
        return found
    if isinstance(data, Mapping) or _is_one_batch(data):
        return ArrayExamples.of(*split(data))
    if isinstance(data, Iterable):
        return _from_items(data)
    return DatasetExamples(data) if isinstance(data, Sized) and hasattr(data, "__getitem__") else as_examples(data)


def _is_one_batch(data: Any) -> bool:
    """Whether data are `(x, y)` or `(x, y, ids)` of arrays."""
    return isinstance(data, (tuple, list)) and len(data) in (2, 3) and hasattr(data[0], "shape")


def _from_items(data: Iterable[Any]) -> Examples:
    batches = LoaderExamples(data)  # raises for iterators, which can be read only once
    first = next(iter(data), None)
    if first is None:
        raise DataError("the data has no rows")
    if _is_batch(*split(first)[:2]):
        return batches
    return DatasetExamples(data if isinstance(data, Sequence) else list(data))


def _is_batch(inputs: Any, target: Any) -> bool:
    """Whether inputs and targets have the same number of rows.

    Raises
    ------
    DataError
        Ambiguous: one example with several targets has the same shapes; or a batch of graphs.
    """
    refuse_graphs(inputs)
    x, y = tuple(getattr(next(leaves(inputs), None), "shape", ())), tuple(np.shape(target))
    if x[:1] != y[:1] or not y:
        return False
    if len(x) == 1 and len(y) == 1 and x[0] > 1:
        raise DataError(
            f"inputs {x} and targets {y} may be a batch of numbers or a single example: pass LoaderExamples(batches), "
            "or DataLoader(examples, batch_size=256)"
        )
    return True
