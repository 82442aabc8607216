"""Read data without moving anybody's random numbers: loaders draw from the process's generators when they start."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch

_END = object()
_TURN = threading.RLock()  # the generators are the process's: threads that read data take turns


class PrivateRandomState:
    """A state of Python's, NumPy's and torch's (CPU) generators that goes on from block to block, not the user's.

    It begins as a copy of the user's. Data that are random (augmentation) stay so, and differ from pass to pass.

    Examples
    --------
    >>> before, private = torch.get_rng_state(), PrivateRandomState()
    >>> with private:
    ...     first = torch.rand(())
    >>> with private:
    ...     second = torch.rand(())
    >>> bool(first == second), torch.equal(torch.get_rng_state(), before)
    (False, True)
    """

    def __init__(self) -> None:
        self._own: Any = None
        self._user: list[Any] = []

    def __enter__(self) -> PrivateRandomState:
        _TURN.acquire()
        self._user.append(_states())
        if self._own is not None:
            _set(self._own)
        return self

    def __exit__(self, *_: object) -> None:
        self._own = _states()
        _set(self._user.pop())
        _TURN.release()

    def batches(self, source: Iterable[Any]) -> Iterator[Any]:
        """The elements of `source`, read inside; what is done with them is not."""
        with self:
            found = iter(source)
        while True:
            with self:
                element = next(found, _END)
            if element is _END:
                return
            yield element


def _states() -> tuple[Any, Any, Any]:
    return random.getstate(), np.random.get_state(), torch.get_rng_state()


def _set(states: tuple[Any, Any, Any]) -> None:
    random.setstate(states[0])
    np.random.set_state(states[1])
    torch.set_rng_state(states[2])
