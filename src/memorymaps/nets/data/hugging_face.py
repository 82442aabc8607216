"""Data sets of the library `datasets`: rows are mappings, with more columns than the network takes.

As in the `Trainer`, the network receives the columns that its `forward` names; labels and ids are taken out of them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

from torch import nn
from torch.utils.data import DataLoader, IterableDataset

from memorymaps.data.examples import DataError, Examples
from memorymaps.data.loading import Loading
from memorymaps.nets.autograd.network import call_module
from memorymaps.nets.data.collation import collate_rows
from memorymaps.nets.data.datasets import IDS, TARGETS, DatasetExamples, LoaderExamples

Collate = Callable[[list[Any]], Any]


def is_hugging_face(data: Any) -> bool:
    """Whether it is an object of the library `datasets`."""
    return type(data).__module__.partition(".")[0] == "datasets"


def from_hugging_face(model: Any, data: Any, loading: Loading) -> Examples:
    """Examples of a `datasets.Dataset` or `IterableDataset`; without `collate=`, of its columns as tensors.

    Raises
    ------
    DataError
        Several splits, or no column that the network takes.
    """
    if isinstance(data, Mapping):
        raise DataError(f"a {type(data).__name__} has the splits {list(data)}: pass one of them, data['train']")
    collate = with_known_columns(loading.collate or collate_rows, model)
    rows = data if loading.collate is not None else data.with_format("torch")
    size = loading.batch_size or DatasetExamples.batch_size
    if isinstance(data, IterableDataset):
        return LoaderExamples(DataLoader(rows, size, collate_fn=collate))
    return DatasetExamples(rows, size, collate)


def of_known_columns(examples: Examples, model: Any) -> Examples:
    """Examples that a loader of such a data set makes, without the columns that the network does not take."""
    if isinstance(examples, DatasetExamples) and is_hugging_face(examples.dataset):
        return replace(examples, collate=with_known_columns(examples.collate, model))
    return examples


def with_known_columns(collate: Collate, model: Any) -> Collate:
    """A collator without the columns that are neither labels, ids nor arguments of the network's `forward`.

    For a recipe with a `forward` of its own: without those that are no arrays.
    """
    known = known_columns(model)
    return lambda rows: _arrays(collate(rows)) if known is None else _selected(collate(rows), known)


def known_columns(model: Any) -> tuple[str, ...] | None:
    """Names of the arguments of the network's `forward`; None where a recipe calls it in its own way."""
    if not isinstance(model, nn.Module) and model.network.forward is not call_module:
        return None
    module = model if isinstance(model, nn.Module) else model.network.module
    inner = module.get_base_model() if hasattr(module, "get_base_model") else module  # of peft
    return tuple(inspect.signature(inner.forward).parameters)


def _selected(batch: Any, known: Collection[str]) -> Any:
    if not isinstance(batch, Mapping):
        return batch
    found = {name: value for name, value in batch.items() if name in (*known, *TARGETS, *IDS)}
    if not set(found) - {*TARGETS, *IDS}:
        raise DataError(
            f"the columns {list(batch)} are none of the arguments {list(known)} of the network's forward: "
            f"data.rename_column('…', {next(iter(known), 'x')!r}), or collate= with a function that returns "
            "(inputs, target)"
        )
    return found


def _arrays(batch: Any) -> Any:
    if not isinstance(batch, Mapping):
        return batch
    return {name: value for name, value in batch.items() if name in (*TARGETS, *IDS) or hasattr(value, "shape")}
