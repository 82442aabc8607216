"""Which examples a loader trains on: those that its sampler visits, whatever their order."""

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
    "part of it, with sample_weight=… where examples counted unequally"
)


def visited_indices(loader: DataLoader[Any]) -> list[int] | None:
    """Indices of the loader's dataset that training visits, ascending; `None`: all of them.

    A sampler that is not torch's own is asked twice.

    Raises
    ------
    DataError
        It draws with replacement, a part at a time, or other examples in another pass.
    """
    sampler, n = _innermost(loader), len(loader.dataset)
    known = _known_indices(sampler, bool(getattr(loader.batch_sampler, "drop_last", False)))
    found = _observed_indices(loader, sampler, n) if known is None else _unique_indices(known, sampler, n)
    return None if found == list(range(n)) else found


def _innermost(loader: DataLoader[Any]) -> Any:
    """What chooses examples: batches of torch's own kind only cut its choice."""
    return loader.batch_sampler.sampler if type(loader.batch_sampler) is BatchSampler else loader.batch_sampler


def _known_indices(sampler: Sampler[Any], drop_last: bool) -> Iterable[int] | None:
    """What torch's own samplers visit over many epochs; what a shuffling one drops at the end, it visits in another."""
    if isinstance(sampler, WeightedRandomSampler) or (isinstance(sampler, RandomSampler) and not _is_plain(sampler)):
        raise _unsupported(sampler, "draws examples with replacement, or some of them a time")
    if isinstance(sampler, SubsetRandomSampler):
        indices: Iterable[int] = sampler.indices
        return indices
    if isinstance(sampler, DistributedSampler):  # a share a process: the network learns from all of them
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
        raise _unsupported(sampler, "visits other examples in every pass")
    return first


def _unique_indices(indices: Iterable[Any], sampler: Any, n: int) -> list[int]:
    """Ascending; a sampler that goes on for ever repeats itself after `n`."""
    try:
        found = sorted(operator.index(index) for index in islice(indices, n + 1))
    except TypeError as error:
        raise _unsupported(sampler, f"gives something else than row numbers ({error})") from error
    if len(set(found)) < len(found):
        raise _unsupported(sampler, "visits examples more than once in a pass")
    return found


def _unsupported(sampler: Any, what: str) -> DataError:
    return DataError(f"the loader's {type(sampler).__name__} {what}: {_ADVICE}")
