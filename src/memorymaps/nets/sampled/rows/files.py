"""Rows that do not fit in memory: single precision, in files mapped into memory, read a piece at a time.

Products are in double precision unless all of the map's are in single (`covariance.py`). Rounding the rows changes `S̃`
by at most `2ε√‖K‖`, relative: 10⁻³ at `‖K‖ = 10⁸`. Products in single precision have an error of `ε‖K‖` beside
variances that are small differences.
"""

from __future__ import annotations

import errno
import mmap
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, ClassVar

import numpy as np
import torch
from torch import Tensor

from memorymaps.core.arrays import Array
from memorymaps.nets.autograd.chunking import chunk_slices
from memorymaps.nets.autograd.parameter_blocks import ParameterGroup
from memorymaps.nets.autograd.per_example_gradients import PerExampleGradient
from memorymaps.nets.covariance.gram import DenseRows

_PIECE = 2**23  # numbers read at once: 64 MB in double precision
_READ = 1.3  # times the work of a product, with rows that are read (measured)


@dataclass
class RowFile:
    """Single-precision rows `[r, q]` of one group in a file without a name, the first `count` of them written.

    Groups share a file, which ends with the last of them: the number of open files does not grow with the data. Pages
    that were read or written are given back to the operating system, which keeps them where it has memory to spare.
    """

    numbers: Array
    pages: mmap.mmap
    count: int = 0

    @classmethod
    def of_groups(cls, rows: int, widths: Sequence[int], folder: Path | None) -> list[RowFile]:
        """One file for `rows` rows of groups of such `widths`.

        Raises
        ------
        OSError
            The folder does not exist, or its disk has not so much room.
        """
        total = rows * sum(widths)
        with tempfile.TemporaryFile(dir=folder) as file:
            _reserve(file, max(1, 4 * total))
            pages = mmap.mmap(file.fileno(), max(1, 4 * total))
        numbers = np.frombuffer(pages, np.float32, total) if total else np.empty(0, np.float32)
        parts = np.split(numbers, rows * np.cumsum(widths, dtype=np.int64)[:-1])
        return [cls(part.reshape(rows, width), pages) for part, width in zip(parts, widths, strict=True)]

    def add(self, rows: DenseRows) -> None:
        """Write rows of one direction each after those that are there."""
        stop = self.count + rows.shape[0]
        self.numbers[self.count : stop] = rows.rows[:, 0].detach().float().cpu().numpy()
        self.count = stop
        self.release()

    def release(self) -> None:
        """Give its pages back, on systems where that can be said."""
        if hasattr(self.pages, "madvise"):
            self.pages.madvise(mmap.MADV_DONTNEED)


def _reserve(file: IO[bytes], size: int) -> None:
    """Room for so many bytes, at once where the system can: a page that finds no room later ends the process."""
    if not hasattr(os, "posix_fallocate"):
        file.truncate(size)
        return
    try:
        os.posix_fallocate(file.fileno(), 0, size)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise OSError(
            errno.ENOSPC,
            f"drawn rows take {size / 1e9:.2g} GB of a disk that has not so much room: expected a folder that has, "
            "Sampled(folder=...), or fewer rows, Sampled(rows=...)",
        ) from error


@dataclass(frozen=True)
class FiledRows:
    """Gradients of single directions in files, `scale_r files[index_r] [m, 1, q]`.

    What is made of a batch (`of`) is `DenseRows`: these are only the rows that are kept.
    """

    at_one: ClassVar[bool] = False
    files: tuple[RowFile, ...]
    index: Tensor
    scale: Tensor
    _starts: Array = field(init=False)

    def __post_init__(self) -> None:
        lengths = [len(file.numbers) for file in self.files]
        object.__setattr__(self, "_starts", np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]))

    @staticmethod
    def of(found: PerExampleGradient, examples: slice = slice(None)) -> DenseRows:
        """Gradients of a batch, in memory, of some of its examples."""
        return DenseRows.of(found, examples)

    @staticmethod
    def numbers(group: ParameterGroup) -> int:
        """In one row while it is made."""
        return DenseRows.numbers(group)

    @staticmethod
    def held(group: ParameterGroup) -> int:
        """Numbers in memory of a row that is kept: none."""
        return 0

    @staticmethod
    def product_work(group: ParameterGroup, k: float) -> float:
        """Multiplications for the product of two rows, and what takes as long as reading them."""
        return _READ * group.size

    @classmethod
    def of_file(cls, file: RowFile, device: torch.device) -> FiledRows:
        """All that were written, with products on a device."""
        return cls((file,), torch.arange(file.count), torch.ones(file.count, dtype=torch.float64, device=device))

    @classmethod
    def concatenate(cls, each: Sequence[FiledRows]) -> FiledRows:
        """One after the other, without a copy."""
        starts = np.concatenate([[0], np.cumsum([rows._starts[-1] for rows in each])])
        index = torch.cat([rows.index + int(start) for rows, start in zip(each, starts, strict=False)])
        return cls(sum((rows.files for rows in each), ()), index, torch.cat([rows.scale for rows in each]))

    @property
    def shape(self) -> tuple[int, int]:
        """`(m, 1)`."""
        return len(self.index), 1

    @property
    def width(self) -> int:
        """`q`, the numbers in a row."""
        return int(self.files[0].numbers.shape[1]) if self.files else 0

    def to(self, dtype: torch.dtype) -> FiledRows:
        """With products in another precision."""
        return replace(self, scale=self.scale.to(dtype))

    def take(self, examples: slice | Tensor) -> FiledRows:
        """Some rows."""
        where = examples.cpu() if isinstance(examples, Tensor) else examples
        return replace(self, index=self.index[where], scale=self.scale[examples])

    def single(self, examples: Tensor, directions: Tensor) -> FiledRows:
        """Rows as they are: each has one direction already."""
        return self.take(examples)

    def scaled(self, by: Tensor) -> FiledRows:
        """Every row multiplied by a number."""
        return replace(self, scale=self.scale * by)

    def cross_gram(self, others: FiledRows, inverse: Tensor) -> Tensor:
        """`G D⁻¹G'ᵀ [m, m']`."""
        found = self.scale[:, None].repeat(1, len(others.index))
        for positions, rows in self._pieces():
            found[positions] *= others.matvec(rows * inverse.reshape(-1))
        return found

    def example_gram(self, inverse: Tensor) -> Tensor:
        """`G_i D⁻¹G_iᵀ [m, 1, 1]`."""
        found = self.scale.square()
        for positions, rows in self._pieces():
            found[positions] *= rows.square() @ inverse.reshape(-1)
        return found[:, None, None]

    def matvec(self, v: Tensor) -> Tensor:
        """`G v [..., m]` for `v [..., q]`."""
        found = self.scale.repeat(*v.shape[:-1], 1)
        for positions, rows in self._pieces():
            found[..., positions] *= v @ rows.T
        return found

    def rmatvec(self, x: Tensor) -> Tensor:
        """`Gᵀx [..., q]` for `x [..., m]`."""
        found, scaled = self.scale.new_zeros(*x.shape[:-1], self.width), x * self.scale
        for positions, rows in self._pieces():
            found += scaled[..., positions] @ rows
        return found

    def _pieces(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Positions `[r]` among these rows and what the files have there, `[r, q]` without its scale: some at a time.

        In single precision rows that are neighbours in their file are no copies.
        """
        index = self.index.numpy()
        owner = np.searchsorted(self._starts, index, side="right") - 1
        for k in np.unique(owner):
            positions = np.flatnonzero(owner == k)
            for part in chunk_slices(len(positions), max(1, self.width), _PIECE):
                rows = self.files[k].numbers[_as_slice(index[positions[part]] - self._starts[k])]
                yield torch.from_numpy(positions[part]).to(self.scale.device), torch.from_numpy(rows).to(self.scale)
                self.files[k].release()


def _as_slice(rows: Array) -> Array | slice:
    """Consecutive numbers as a slice; others as they are."""
    first = int(rows[0])
    return slice(first, first + len(rows)) if np.array_equal(rows, np.arange(first, first + len(rows))) else rows
