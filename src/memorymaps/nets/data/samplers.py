"""The set of examples that a loader's sampler visits, whatever their order."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from itertools import chain, islice
from typing import Any

from torch.utils.data import (
    BatchSampler,
    DataLoader,
    RandomSampler,
    Sampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)
from torch.utils.data.distributed import DistributedSampler

from memorymaps.data.examples import DataError
from memorymaps.nets.random_state import PrivateRandomState

_ADVICE = (
    "a map has every training example once. Pass the dataset itself, or DataLoader(Subset(dataset, indices)) for a "
    "part of it, with sample_weight=… where examples have unequal weights"
)


def visited_indices(loader: DataLoader[Any]) -> list[int] | None:
    """Indices of the loader's dataset that are visited in an epoch, ascending; None: all of them.

    A sampler that is not torch's own is iterated twice.

    Raises
    ------
    DataError
        It samples with replacement, some examples at a time, or different ones in each pass.
    """
    sampler, n = _innermost(loader), len(loader.dataset)
    known = _known_indices(sampler, bool(getattr(loader.batch_sampler, "drop_last", False)))
    found = _observed_indices(loader, sampler, n) if known is None else _unique_indices(known, sampler, n)
    return None if found == list(range(n)) else found


def _innermost(loader: DataLoader[Any]) -> Any:
    """The object that selects examples; a `BatchSampler` of torch only groups its sampler's indices."""
    return loader.batch_sampler.sampler if type(loader.batch_sampler) is BatchSampler else loader.batch_sampler


def _known_indices(sampler: Sampler[Any], drop_last: bool) -> Iterable[int] | None:
    """Indices that torch's own samplers visit over many epochs, those dropped by `drop_last` in one epoch included."""
    if isinstance(sampler, WeightedRandomSampler) or (isinstance(sampler, RandomSampler) and not _is_plain(sampler)):
        raise _unsupported(sampler, "draws examples with replacement, or only some of them per epoch")
    if isinstance(sampler, SubsetRandomSampler):
        indices: Iterable[int] = sampler.indices
        return indices
    if isinstance(sampler, DistributedSampler):  # one part per process: the network is trained on all of them
        return range(len(sampler.dataset))
    if isinstance(sampler, RandomSampler) or (isinstance(sampler, SequentialSampler) and not drop_last):
        return range(len(sampler.data_source))
    return None


def _is_plain(sampler: RandomSampler) -> bool:
    return not sampler.replacement and sampler.num_samples == len(sampler.data_source)


def _observed_indices(loader: DataLoader[Any], sampler: Any, n: int) -> list[int]:
    with PrivateRandomState():  # asking leaves the user's random numbers as they were
        first, second = (_unique_indices(chain.from_iterable(loader.batch_sampler), sampler, n) for _ in range(2))
    if first != second:
        raise _unsupported(sampler, "visits different examples in every pass")
    return first


def _unique_indices(indices: Iterable[Any], sampler: Any, n: int) -> list[int]:
    """Sorted indices; an endless sampler is detected after `n + 1` of them."""
    try:
        found = sorted(operator.index(index) for index in islice(indices, n + 1))
    except TypeError as error:
        raise _unsupported(sampler, f"returns values that are not row numbers ({error})") from error
    if len(set(found)) < len(found):
        raise _unsupported(sampler, "visits examples more than once in a pass")
    return found


def _unsupported(sampler: Any, what: str) -> DataError:
    return DataError(f"the loader's {type(sampler).__name__} {what}: {_ADVICE}")
