"""What a map by sampled rows will cost and how exact it will be, said before it is spent."""

from __future__ import annotations

import math
from dataclasses import dataclass

from memorymaps.nets.sampled.cost import SampledCost

_HUGE = 1e9  # relative to the requested error: as many rows as there may be


@dataclass(frozen=True)
class Forecast:
    """Of a map by `rows` rows: work, memory, and the relative standard error expected of its worst column."""

    rows: int
    seconds: float
    epochs: float
    passes: int
    gigabytes: float
    error: float

    @classmethod
    def of(cls, cost: SampledCost, rows: int, error: float) -> Forecast:
        """For so many rows at an error that is known or expected."""
        work = cost.multiplications(rows)
        return cls(rows, cost.seconds(rows), work / cost.epoch, cost.reads, cost.gigabytes(rows), error)

    @classmethod
    def to_reach(cls, cost: SampledCost, pilot: tuple[int, float], requested: float, most: int) -> Forecast:
        """From a first sample of some rows and its error: errors fall at least as `1/√rows` [independent draws]."""
        rows, error = pilot
        times = min(most / rows, max(1.0, min(error / requested, _HUGE) ** 2))
        wanted = min(most, math.ceil(rows * times))
        return cls.of(cost, wanted, error * math.sqrt(rows / wanted))

    def __str__(self) -> str:
        return (
            f"{self.rows:,} rows, {self.seconds:.3g} seconds of a core or {self.epochs:.3g} epochs of training, "
            f"{self.passes} passes over the data, {self.gigabytes:.2g} GB, error at most about {self.error:.2g}"
        )
