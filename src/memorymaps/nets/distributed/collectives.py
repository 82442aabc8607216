"""Sums and exchanges among the processes of a group, each preceded by a word on whether all are well.

Before every operation the processes exchange a number for what they are about to do. A process that has failed
exchanges the number of failures instead, so that the others stop with its message at their next operation; processes
that are at different operations stop too, instead of adding up different things. A process that was killed closes its
connections, or lets the group's timeout pass.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from memorymaps.nets.distributed.tensor_pickle import from_bytes, to_bytes

_FAILED = -1


class ProcessGroupError(RuntimeError):
    """Another process of the group has failed, was killed, or did something else."""


@dataclass
class Traffic:
    """Bytes of this process: of its sums, those it gave to all others, and those it was given by them."""

    summed: int = 0
    given: int = 0
    received: int = 0
    operations: int = 0


class Collectives:
    """Operations of the default process group; `traffic` counts what they communicate."""

    def __init__(self) -> None:
        self.rank, self.size, self.traffic = dist.get_rank(), dist.get_world_size(), Traffic()
        self._backend = dist.get_backend_config()

    def total(self, values: Sequence[Tensor]) -> list[Tensor]:
        """Sums over processes, in the values' own memory where they are contiguous."""
        self._agree(f"sums of {[(value.dtype, tuple(value.shape)) for value in values]}")
        return [self._reduced(value) for value in values]

    def gathered(self, value: Any) -> list[Any]:
        """Every process' value, in their order; this process' own is the one that was given."""
        content = to_bytes(value)
        found = self._exchanged(content, self._agree("a gathering of values", len(content)))
        return [value if k == self.rank else from_bytes(each) for k, each in enumerate(found)]

    def first(self, value: Any) -> Any:
        """The first process' value."""
        content = to_bytes(value) if self.rank == 0 else b""
        found = self._exchanged(content, self._agree("a value of the first process", len(content)))
        return value if self.rank == 0 else from_bytes(found[0])

    def finish(self) -> None:
        """Wait for all to be well at the end."""
        self._agree("the end")

    def announce(self, error: BaseException) -> None:
        """Let the others stop with this error at their next operation."""
        content = to_bytes(f"{type(error).__name__}: {error}")
        self._exchanged(content, _of_failed(*self._lengths(_FAILED, len(content), "the error of this process")))

    def _agree(self, what: str, length: int = 0) -> list[int]:
        """The lengths of what the processes are about to exchange, if all are well and about to do the same."""
        found, lengths = self._lengths(zlib.crc32(what.encode()), length, what)
        failed = [k for k, number in enumerate(found) if number == _FAILED]
        if failed:
            words = self._exchanged(b"", _of_failed(found, lengths))
            raise ProcessGroupError(
                f"process {failed[0]} of {self.size} has stopped, so that this one (process {self.rank}) stops too. "
                f"Its error: {from_bytes(words[failed[0]])}"
            )
        if len(set(found)) > 1:
            raise ProcessGroupError(
                f"process {self.rank} is at {what}, and other processes are not: every process has to call memory_map "
                "with the same network, recipe and data, in the same order. For a map by one of them: with "
                "memorymaps.nets.single_process(): memory_map(…)"
            )
        return lengths

    def _lengths(self, number: int, length: int, what: str) -> tuple[list[int], list[int]]:
        mine = torch.tensor([number, length], device=self._device())
        found = [torch.empty_like(mine) for _ in range(self.size)]
        with self._lost(what):
            dist.all_gather(found, mine)
        self.traffic.operations += 1
        numbers, lengths = zip(*(each.tolist() for each in found), strict=True)
        return list(numbers), list(lengths)

    def _reduced(self, value: Tensor) -> Tensor:
        found = value.detach().to(self._device(value)).contiguous()
        with self._lost("a sum"):
            dist.all_reduce(found)
        self.traffic.summed += found.numel() * found.element_size()
        return found.to(value.device)

    def _exchanged(self, content: bytes, lengths: list[int]) -> list[bytes]:
        """Bytes of all processes, padded to the same length on the way."""
        mine = torch.zeros(max(lengths), dtype=torch.uint8)
        mine[: len(content)] = torch.frombuffer(bytearray(content), dtype=torch.uint8) if content else mine[:0]
        mine = mine.to(self._device())
        found = [torch.empty_like(mine) for _ in range(self.size)]
        with self._lost("an exchange of values"):
            dist.all_gather(found, mine)
        self.traffic.given += len(content)
        self.traffic.received += sum(lengths) - len(content)
        return [each[:n].cpu().numpy().tobytes() for each, n in zip(found, lengths, strict=True)]

    def _device(self, value: Tensor | None = None) -> torch.device:
        """Where the group communicates: tensors of a GPU there if it can, anything else in main memory if it can."""
        on_gpu = torch.device("cuda", torch.cuda.current_device()) if "nccl" in str(self._backend) else None
        if on_gpu is not None and ((value is not None and value.is_cuda) or "cpu:" not in str(self._backend)):
            return on_gpu if value is None or not value.is_cuda else value.device
        return torch.device("cpu")

    @contextmanager
    def _lost(self, what: str) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            raise ProcessGroupError(
                f"process {self.rank} of {self.size} has lost another one at {what}: that one was killed, or did not "
                "come within the group's timeout, init_process_group(timeout=…). Run the same again; with "
                f"memory_map(…, path=…) the finished batches are kept. ({str(error).splitlines()[0]})"
            ) from error


def _of_failed(numbers: list[int], lengths: list[int]) -> list[int]:
    """Lengths of the errors; those that are well exchange nothing then."""
    return [length if number == _FAILED else 0 for number, length in zip(numbers, lengths, strict=True)]
