"""What a map by sampled rows will cost and how exact it will be, said before it is spent."""

from __future__ import annotations

import math
from dataclasses import dataclass

from memorymaps.core.wording import counted
from memorymaps.data.repeated import RepeatedExamples
from memorymaps.nets.laplace_problem import LaplaceProblem
from memorymaps.nets.sampled.cost import SampledCost

_HUGE = 1e9  # relative to the requested error: as many rows as there may be


@dataclass(frozen=True)
class Forecast:
    """Of a map by `rows` rows: work, memory, and the relative standard error expected of its worst column; `None`:
    epochs of training that were not timed, an error before rows were drawn.
    """

    rows: int
    seconds: float
    epochs: float | None
    passes: int
    gigabytes: float
    error: float | None

    @classmethod
    def of(cls, cost: SampledCost, rows: int, error: float | None) -> Forecast:
        """For so many rows at an error that is known or expected, or not known yet."""
        epochs = cost.multiplications(rows) / cost.epoch if cost.timed else None
        return cls(rows, cost.seconds(rows), epochs, cost.reads, cost.gigabytes(rows), error)

    @classmethod
    def to_reach(cls, cost: SampledCost, pilot: tuple[int, float], requested: float, most: int) -> Forecast:
        """From a first sample of some rows and its error: errors fall at least as `1/√rows` [independent draws]."""
        rows, error = pilot
        times = min(most / rows, max(1.0, min(error / requested, _HUGE) ** 2))
        wanted = min(most, math.ceil(rows * times))
        return cls.of(cost, wanted, error * math.sqrt(rows / wanted))

    def __str__(self) -> str:
        epochs = "" if self.epochs is None else f" or {self.epochs:.3g} epochs of training"
        error = "known once the rows are drawn" if self.error is None else f"at most about {self.error:.2g}"
        return (
            f"{counted(self.rows, 'row')}, {self.seconds:.3g} seconds of a core{epochs}, "
            f"{counted(self.passes, 'pass', 'passes')} over the data, "
            f"{self.gigabytes:.2g} GB, error {error}"
        )


def say(problem: LaplaceProblem, forecast: Forecast) -> None:
    """Print a forecast where the data's progress is shown."""
    if isinstance(problem.examples, RepeatedExamples):
        problem.examples.say(f"memory map by sampled rows, forecast: {forecast}")
