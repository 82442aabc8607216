"""Batch size from the memory that one recorded batch needs, halved with a warning when memory runs out."""

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
_MEMORY_BYTES = 2**30  # limit for the tensors of one batch: 1 GB in double precision
_CACHE_NUMBERS = 2**23  # numbers in a batch beyond which the processor's cache is too small
_MIN_EXAMPLES, _MAX_EXAMPLES = 32, 256  # examples: fewer use vector units badly, more give no speed-up


class OutOfMemoryWarning(RuntimeWarning):
    """The batch size was halved because memory ran out."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception reports failed memory allocation, on a GPU or on the CPU.

    Devices without a class of their own for it say so in words: "MPS backend out of memory".
    """
    known = isinstance(error, (torch.cuda.OutOfMemoryError, MemoryError))
    return known or any(words in str(error) for words in ("can't allocate memory", "out of memory"))


@functools.cache
def retain_allocator_pages() -> None:
    """Raise glibc's dynamic mmap threshold so that the memory of a batch is reused, unless `MEMORYMAPS_KEEP_PAGES=0`.

    glibc sets the threshold to the size of the largest freed block (at most 32 MB); below it every batch returns its
    pages to the system, a fifth of LeNet5's time. The block is never written to; other systems are not affected.
    The threshold is the whole process's and has no getter, so it cannot be restored: from then on the process may
    retain up to 62 MB (twice the block) that it does not use.
    """
    if os.environ.get("MEMORYMAPS_KEEP_PAGES", "1") != "0":
        torch.empty(31 * 2**20, dtype=torch.uint8)


@dataclass
class BatchSize:
    """Number of examples processed together; it can only decrease."""

    size: int

    def run(self, inputs: Any, work: Callable[[Any, slice], T]) -> Iterator[T]:
        """Yield `work(inputs, rows)` for consecutive chunks of a batch; a chunk that runs out of memory is halved.

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
        warnings.warn(f"out of memory with {attempted} examples: continuing with {self.size}", OutOfMemoryWarning, 4)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def initial_batch_size(calls: Sequence[OwnerCall], outputs: int, n: int) -> BatchSize:
    """Batch size for which inputs, outputs and `outputs + 1` cotangents of all layers fit in cache, or in memory.

    `calls` are those recorded for `n` examples.
    """
    numbers = max(1.0, sum((outputs + 2) * call.shape.numel() for call in calls) / max(1, n))
    fitting = min(_MAX_EXAMPLES, max(_MIN_EXAMPLES, _CACHE_NUMBERS / numbers))
    return BatchSize(int(max(1, min(fitting, _MEMORY_BYTES / 8 / numbers))))


ChooseTensorDirections = Callable[[torch.Tensor, slice], torch.Tensor]


def linearize(
    network: Network, owners: Sequence[ParameterOwner], inputs: Any, rows: slice, directions: ChooseTensorDirections
) -> LinearizedBatch:
    """Record a forward pass over some rows of a batch and pull `directions(f, rows) [k, n, c]` back to every owner."""
    f, calls = record_forward(network, network.to_device(inputs), owners)
    g = backward_cotangents(f, calls, directions(f.detach(), rows).to(f))
    return LinearizedBatch(network, f.detach(), tuple(calls), tuple(g))


def to_numpy(tensor: torch.Tensor) -> Array:
    """A tensor as a float64 NumPy array."""
    return tensor.detach().double().cpu().numpy()
