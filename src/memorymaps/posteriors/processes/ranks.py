"""The processes that draw one map together, each from its own share of the examples; by default this one only.

Everything that is computed from the data is a sum over examples, or one value an example. `Ranks` is all that several
processes need for it: `total` adds up the sums, `gathered` puts the values together, in the order of the examples.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TypeVar

from memorymaps.core.arrays import Array
from memorymaps.data.examples import Examples
from memorymaps.data.repeated import Fingerprint, RepeatedExamples
from memorymaps.posteriors.origin import Origin
from memorymaps.posteriors.registry import LazyDispatch

T = TypeVar("T")

_SINGLE: ContextVar[bool] = ContextVar("single_process", default=False)


class Ranks:
    """One process: every method returns what it was given. Several processes: `nets.distributed.process_group`.

    Inside `with ranks:` all processes make the same calls in the same order, and an error in one of them ends all.
    After it each process is independent of the others.
    """

    rank: int = 0
    size: int = 1

    def __enter__(self) -> Ranks:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None: ...

    @property
    def is_first(self) -> bool:
        """Whether this process is number 0."""
        return self.rank == 0

    def part(self, n: int) -> slice:
        """This process' positions of `0 … n − 1`: contiguous, of equal numbers to within one."""
        return slice(self.rank * n // self.size, (self.rank + 1) * n // self.size)

    def total(self, value: T) -> T:
        """Sum over processes of a number, an array, a tensor, or a tuple or mapping of such; may overwrite arrays."""
        return value

    def gathered(self, parts: list[T]) -> list[T]:
        """The lists of all processes one after the other, in every process."""
        return parts

    def stream(self, parts: Iterable[T]) -> Iterable[T]:
        """The same of parts that need not all be in memory: of one process as they come."""
        return parts

    def agreed(self, value: T) -> T:
        """The first process' value, in every process: for decisions that must be the same everywhere."""
        return value

    def share(self, examples: Examples) -> Examples:
        """The examples, of which a pass reads this process' part."""
        return examples

    def own(self, positions: Array) -> Array:
        """This process' part of some positions."""
        return positions

    def all_of(self, examples: RepeatedExamples) -> Examples:
        """All examples, of those that were shared."""
        return examples

    def journal_path(self, path: Path) -> Path:
        """The path beside which this process keeps its finished batches."""
        return path

    def progress(self, progress: bool | None) -> bool | None:
        """Whether this process shows its progress."""
        return progress

    def fingerprint(self, drawn: RepeatedExamples) -> Fingerprint:
        """Fingerprint of the examples that all processes have drawn."""
        return drawn.fingerprint

    def independent(self, origin: Origin) -> Origin:
        """The posterior and all examples, for work after the map that needs no other process."""
        return origin


@LazyDispatch
def ranks_of_kind(model: Any) -> Any:
    """The processes that can draw a map of this kind of model together: this one."""
    return Ranks()


def ranks_for(model: Any) -> Ranks:
    """The processes that draw a map of this model together; this one inside `single_process()`."""
    found: Ranks = Ranks() if _SINGLE.get() else ranks_of_kind(model)
    return found


@contextmanager
def single_process() -> Iterator[None]:
    """Context in which a map is drawn by the calling process, also inside a process group of `torch.distributed`.

    For code that only one of the processes runs: `if rank == 0: with single_process(): m = memory_map(…)`.

    Examples
    --------
    >>> with single_process():
    ...     ranks_for(None).size
    1
    """
    token = _SINGLE.set(True)
    try:
        yield
    finally:
        _SINGLE.reset(token)
