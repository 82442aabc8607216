"""The processes of a `torch.distributed` group as the ranks that draw a map."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from memorymaps.core.arrays import Array
from memorymaps.data.examples import Examples
from memorymaps.data.repeated import Fingerprint, RepeatedExamples, fingerprint_of
from memorymaps.nets.distributed.collectives import Collectives, ProcessGroupError
from memorymaps.nets.distributed.same_inputs import check_same_data, check_same_network
from memorymaps.nets.distributed.shares import SharedExamples
from memorymaps.nets.laplace_problem import LaplaceProblem
from memorymaps.nets.optimizers.from_optimizer import OptimizedNetwork
from memorymaps.nets.recipe import LaplaceNetwork
from memorymaps.posteriors.origin import Origin
from memorymaps.posteriors.processes.ranks import Ranks

T = TypeVar("T")


class GroupRanks(Ranks):
    """The processes of the default group; one process before and after `with`.

    Raises
    ------
    ProcessGroupError
        Another process has failed (with its message), was killed, or does something else.
    """

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._collectives: Collectives | None = None

    def __enter__(self) -> GroupRanks:
        self._collectives = Collectives()
        self.rank, self.size = self._collectives.rank, self._collectives.size
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        collectives, self._collectives, self.rank, self.size = self._collectives, None, 0, 1
        if collectives is None or isinstance(error, ProcessGroupError):
            return
        if error is None:
            collectives.finish()
            return
        if not isinstance(error, Exception):  # interrupted, perhaps within an operation: the others lose this process
            return
        try:
            collectives.announce(error)
        except ProcessGroupError as lost:
            error.add_note(f"The other processes could not be told: {lost}")

    def total(self, value: T) -> T:
        """Sum over processes of a number, an array, a tensor, or a tuple or mapping of such; arrays are overwritten."""
        if self._collectives is None:
            return value
        found = iter(self._collectives.total([_as_tensor(leaf) for leaf in _leaves(value)]))
        whole: T = _filled(value, found)
        return whole

    def gathered(self, parts: list[T]) -> list[T]:
        """The lists of all processes one after the other, in every process."""
        if self._collectives is None:
            return parts
        return [part for each in self._collectives.gathered(parts) for part in each]

    def stream(self, parts: Iterable[T]) -> Iterable[T]:
        """The parts of all processes one after the other."""
        return self.gathered(list(parts))

    def agreed(self, value: T) -> T:
        """The first process' value, in every process."""
        if self._collectives is None:
            return value
        found: T = self._collectives.first(value)
        return found

    def share(self, examples: Examples) -> Examples:
        """The examples, of which a pass reads this process' part.

        Raises
        ------
        DataError
            Processes were given other examples.
        ValueError
            Their networks have other parameters.
        """
        check_same_network(self, self._module)
        check_same_data(self, examples)
        return SharedExamples(examples, self)

    def own(self, positions: Array) -> Array:
        """This process' part of some positions."""
        return positions[self.part(len(positions))]

    def all_of(self, examples: RepeatedExamples) -> Examples:
        """All examples, of those that were shared."""
        return examples.source.source if isinstance(examples.source, SharedExamples) else examples

    def journal_path(self, path: Path) -> Path:
        """The path beside which this process keeps its finished batches: one for each process and number of them."""
        return path if self.size == 1 else path.with_name(f"{path.name}.process-{self.rank}-of-{self.size}")

    def progress(self, progress: bool | None) -> bool | None:
        """Only the first process shows progress."""
        return progress if self.is_first else False

    def fingerprint(self, drawn: RepeatedExamples) -> Fingerprint:
        """Fingerprint of the examples that all processes have drawn, as one process would have computed it."""
        own = drawn.first
        parts = self.gathered([(drawn.content or [], own is None or bool(own.inputs))])
        found = fingerprint_of(part for parts_of_one, _ in parts for part in parts_of_one)
        return found if all(repeats for _, repeats in parts) else Fingerprint(found.columns)

    def independent(self, origin: Origin) -> Origin:
        """The posterior and all examples, for work after the map that needs no other process."""
        if not isinstance(origin.examples, RepeatedExamples):
            return origin
        whole = RepeatedExamples(self.all_of(origin.examples), origin.examples.progress)
        whole.first = self.fingerprint(origin.examples)
        problem, source = getattr(origin.posterior, "problem", None), origin.posterior
        if isinstance(problem, LaplaceProblem):
            source = replace(source, problem=replace(problem, examples=whole))  # type: ignore[type-var]
        return replace(origin, posterior=source, examples=whole)


def _leaves(value: Any) -> Iterator[Any]:
    """Numbers, arrays and tensors of a tuple or mapping of such, or of one of them."""
    if isinstance(value, (tuple, Mapping)):
        for each in value.values() if isinstance(value, Mapping) else value:
            yield from _leaves(each)
    else:
        yield value


def _as_tensor(leaf: Any) -> Tensor:
    return torch.tensor(leaf, dtype=torch.float64) if isinstance(leaf, float) else torch.as_tensor(leaf)


def _filled(value: Any, found: Iterator[Tensor]) -> Any:
    """The same tuple or mapping with other leaves, each of its old kind."""
    if isinstance(value, Mapping):
        return {name: _filled(each, found) for name, each in value.items()}
    if isinstance(value, tuple):
        return tuple(_filled(each, found) for each in value)
    total = next(found)
    if isinstance(value, Tensor):
        return total
    return total.numpy() if isinstance(value, np.ndarray) else float(total)


def group_ranks(model: LaplaceNetwork | OptimizedNetwork) -> Ranks:
    """The processes of the default group, if there are several.

    Raises
    ------
    TypeError
        A network whose every pass communicates.
    """
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return Ranks()
    if isinstance(model.network.module, nn.parallel.DistributedDataParallel):
        raise TypeError(
            "forward= is called on DistributedDataParallel, which communicates in every pass, and processes make "
            "different numbers of them: pass the network inside, memory_map(net.module, …), with a forward for it"
        )
    return GroupRanks(model.network.module)
