"""Slices of a batch whose temporaries fit in memory."""

from __future__ import annotations

from collections.abc import Iterator

MAX_ELEMENTS = 2**24  # numbers in one temporary: 64 MB in single precision


def chunk_slices(n: int, per_example: int, elements: int = MAX_ELEMENTS) -> Iterator[slice]:
    """Slices of `n` examples whose temporaries, `per_example` numbers each, have at most `elements` numbers."""
    step = max(1, elements // max(1, per_example))
    return (slice(start, min(n, start + step)) for start in range(0, n, step))
