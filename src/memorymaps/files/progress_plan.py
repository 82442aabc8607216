"""One progress bar over all steps of a computation, whose work is known before it begins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from memorymaps.files.progress import ProgressBar

_FORMAT = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}"


@dataclass(frozen=True)
class Step:
    """A step by its name: so many `examples` are read, at a `cost` each, in the same unit for all steps.

    `is_pass`: it ends with a complete pass over the data; otherwise with the beginning of the next one, however many
    examples have been taken by then.
    """

    name: str
    examples: float
    cost: float = 1.0
    is_pass: bool = True

    @property
    def work(self) -> float:
        """Of the whole step."""
        return self.examples * self.cost


class ProgressPlan:
    """Steps in the order in which they come; passes that nothing was said of do not move the bar.

    The last step begins where `begin_last` says so, whatever came before.

    Examples
    --------
    >>> plan = ProgressPlan([Step("factors", 10, 2.0), Step("map", 10)], "memory map", disable=True)
    >>> plan.start_pass()
    >>> plan.advance(5)
    >>> plan.done, plan.total
    (10.0, 30.0)
    >>> plan.end_pass()
    >>> plan.done
    20.0
    """

    def __init__(self, steps: Sequence[Step], what: str, disable: bool | None = None):
        self._steps, self._what, self._at = list(steps), what, 0
        self.done, self._start, self._last_has_begun = 0.0, 0.0, False
        self.total = float(sum(step.work for step in steps))
        self._bar: Any = ProgressBar(total=self.total, desc=self._label, bar_format=_FORMAT, delay=1.0, disable=disable)

    @property
    def is_over(self) -> bool:
        """Whether the last step has ended."""
        return self._at >= len(self._steps)

    @property
    def _is_last(self) -> bool:
        return self._at == len(self._steps) - 1

    @property
    def _label(self) -> str:
        return f"{self._what}, {self._steps[self._at].name}"

    def start_pass(self) -> None:
        """A pass over the data begins: a step that is none has ended."""
        if not self.is_over and not self._steps[self._at].is_pass:
            self._end_step()

    def end_pass(self) -> None:
        """It is complete."""
        if not self.is_over and (not self._is_last or self._last_has_begun):
            self._end_step()

    def begin_last(self) -> None:
        """The next pass is the last step."""
        while not self.is_over and not self._is_last:
            self._end_step()
        self._last_has_begun = True

    def advance(self, examples: int) -> None:
        """So many examples more have been read, not beyond the end of the step."""
        if self.is_over or (self._is_last and not self._last_has_begun):
            return
        step = self._steps[self._at]
        self._set_done(min(self.done + examples * step.cost, self._start + step.work))

    def takes(self, examples: int) -> None:
        """So many examples have been read outside passes."""
        if not self.is_over and not self._steps[self._at].is_pass:
            self.advance(examples)

    def _end_step(self) -> None:
        self._set_done(self._start + self._steps[self._at].work)
        self._at, self._start = self._at + 1, self.done
        if self.is_over:
            self._bar.close()
        else:
            self._bar.set_description_str(self._label, refresh=False)

    def _set_done(self, done: float) -> None:
        self._bar.update(done - self.done)
        self.done = done


@dataclass
class PlannedPass:
    """The part of a plan's bar that one pass moves, as each batch is done; one that ends before moves nothing."""

    plan: ProgressPlan
    _begun: bool = False
    _reading: int = 0

    def __enter__(self) -> PlannedPass:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: Any) -> None:
        if kind is None:
            self.update(0)
            self.plan.end_pass()

    def update(self, examples: int) -> None:
        """A batch of so many examples has been read; those before it are done."""
        if self._reading and not self._begun:
            self.plan.start_pass()
            self._begun = True
        self.plan.advance(self._reading)
        self._reading = examples
