"""Batches of a size that fits: found from a first look, halved when memory runs out, and said so."""

from __future__ import annotations

import functools
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

from memorymaps.core.arrays import Array
from memorymaps.nets.autograd.hooks import OwnerCall, ParameterOwner, backward_cotangents, record_forward
from memorymaps.nets.autograd.network import Network
from memorymaps.nets.autograd.per_example_gradients import LinearizedBatch
from memorymaps.nets.autograd.pytree import length, take_rows

T = TypeVar("T")
_MEMORY_BYTES = 2**30  # what the tensors of one batch may take: 1 GB in double precision
_CACHE_NUMBERS = 2**23  # numbers in a batch beyond which it slows down: they leave the caches
_MIN_EXAMPLES, _MAX_EXAMPLES = 32, 256  # examples: fewer do not fill the processor's vectors, more gain nothing


class OutOfMemoryWarning(RuntimeWarning):
    """The batch size was lowered because memory ran out."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocator gave up, on a GPU or on the CPU."""
    return isinstance(error, (torch.cuda.OutOfMemoryError, MemoryError)) or "can't allocate memory" in str(error)


@functools.cache
def retain_allocator_pages() -> None:
    """Have the C library keep a batch's memory for the next one, unless `MEMORYMAPS_KEEP_PAGES=0`.

    glibc learns from the largest block that is freed, of 32 MB at most, how much to keep. Before, it gives the pages of
    every batch back and takes them anew: a fifth of LeNet5's time. The block is never touched; other systems ignore it.
    The threshold is the whole process's and cannot be read, hence not put back: from then on the process may hold up to
    62 MB (twice the block) that it does not use.
    """
    if os.environ.get("MEMORYMAPS_KEEP_PAGES", "1") != "0":
        torch.empty(31 * 2**20, dtype=torch.uint8)


@dataclass
class BatchSize:
    """How many examples are looked at together; only ever goes down."""

    size: int

    def run(self, inputs: Any, work: Callable[[Any, slice], T]) -> Iterator[T]:
        """`work(inputs, take_rows)` on consecutive parts; a part that does not fit in memory is tried again in halves.

        Raises
        ------
        The allocator's own error, if a single example does not fit.
        """
        start, n = 0, length(inputs)
        while start < n:
            rows = slice(start, min(n, start + self.size))
            try:
                result = work(take_rows(inputs, rows), rows)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error) or self.size == 1:
                    raise
                self._halve(rows.stop - rows.start)
                continue
            yield result
            start = rows.stop

    def _halve(self, attempted: int) -> None:
        self.size = max(1, attempted // 2)
        warnings.warn(f"out of memory with {attempted} examples: going on with {self.size}", OutOfMemoryWarning, 4)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def initial_batch_size(calls: Sequence[OwnerCall], outputs: int, n: int) -> BatchSize:
    """A size at which recorded layer inputs, outputs and `outputs + 1` cotangents stay near, or at least fit."""
    numbers = max(1.0, sum((outputs + 2) * call.shape.numel() for call in calls) / max(1, n))
    fitting = min(_MAX_EXAMPLES, max(_MIN_EXAMPLES, _CACHE_NUMBERS / numbers))
    return BatchSize(int(max(1, min(fitting, _MEMORY_BYTES / 8 / numbers))))


ChooseTensorDirections = Callable[[torch.Tensor, slice], torch.Tensor]


def linearize(
    network: Network, owners: Sequence[ParameterOwner], inputs: Any, rows: slice, directions: ChooseTensorDirections
) -> LinearizedBatch:
    """Record one part of a batch and send its directions `[k, n, c]` back to every owner."""
    f, calls = record_forward(network, network.to_device(inputs), owners)
    g = backward_cotangents(f, calls, directions(f.detach(), rows).to(f))
    return LinearizedBatch(network, f.detach(), tuple(calls), tuple(g))


def to_numpy(tensor: torch.Tensor) -> Array:
    """A tensor as a double-precision array in main memory."""
    return tensor.detach().double().cpu().numpy()
