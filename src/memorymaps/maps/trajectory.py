"""Maps of one model at several steps of its training, and their evolution."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from memorymaps.core.arrays import Array
from memorymaps.files.safe_text import printable
from memorymaps.maps.memory_map import MemoryMap
from memorymaps.maps.memory_map import load as load_map
from memorymaps.maps.trust import Level

if TYPE_CHECKING:
    import pandas as pd

MAP, SCALARS, LOO_TRUST = "map.parquet", "scalars.json", "loo_trust"
_REMEDY = "Delete this step's folder, or resume the run before it with Tracker(…, start=…)"


def step_folder(run: Path, step: int) -> Path:
    """Folder of a step's map, a Hive partition: Parquet readers add the column `step`."""
    return run / f"step={step:09d}"


class RunFolderError(ValueError):
    """A run's folder has a file that no Tracker wrote, or a damaged one; the message names it."""


def recorded_steps(run: Path) -> dict[int, Path]:
    """Recorded steps and their folders, in ascending order.

    Raises
    ------
    RunFolderError
        A path begins with `step=` but is not a recorded step.
    """
    return dict(sorted((_step_of(path), path) for path in run.glob("step=*")))


def _step_of(path: Path) -> int:
    if not re.fullmatch(r"step=(\d{9}|[1-9]\d{9,17})", path.name, re.ASCII) or not path.is_dir():
        raise RunFolderError(
            f"{str(path)!r} is not a recorded step: expected a folder such as 'step=000000100'. Move it elsewhere"
        )
    return int(path.name.removeprefix("step="))


def _scalars(folder: Path) -> dict[str, Any]:
    """Scalars recorded with a step's map.

    Raises
    ------
    RunFolderError
        The file is missing or damaged.
    """
    path = folder / SCALARS
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            raise TypeError(f"expected an object, got {type(found).__name__}")
        return {str(name): value if name == LOO_TRUST else float(value) for name, value in found.items()}
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise RunFolderError(f"{str(path)!r} is missing or damaged: {printable(str(error))}. {_REMEDY}") from error


@dataclass(frozen=True)
class Trajectory:
    """A run recorded by a `Tracker`; maps are read from disk on demand.

    Raises
    ------
    FileNotFoundError
        No recorded steps in this folder.
    """

    run: Path

    @classmethod
    def load(cls, run: str | Path) -> Trajectory:
        """The trajectory recorded in the folder `run`."""
        if not recorded_steps(Path(run)):
            raise FileNotFoundError(f"{run} has no recorded steps: expected a folder written by a Tracker")
        return cls(Path(run))

    @property
    def steps(self) -> list[int]:
        """Recorded steps."""
        return list(recorded_steps(self.run))

    def __len__(self) -> int:
        return len(self.steps)

    def at(self, step: int) -> MemoryMap:
        """The map at a recorded step.

        Raises
        ------
        KeyError
            That step was not recorded.
        RunFolderError, MapFileError
            Its map is missing or damaged.
        """
        if step not in self.steps:
            raise KeyError(f"step {step} was not recorded: expected one of {self.steps}")
        path = step_folder(self.run, step) / MAP
        try:
            return load_map(path)
        except FileNotFoundError as error:
            raise RunFolderError(f"{str(path)!r} is missing. {_REMEDY}") from error

    def losses(self) -> pd.DataFrame:
        """One row per step: `loss` (training), `loo_loss`, `test_loss` (nats; NaN without test data), `effective`
        (Σ leverage), `loo_loss_se`, `test_loss_se` (standard errors of these means over the examples; not in runs that
        an earlier version recorded), `seconds` that recording took; `loo_trust`, how far the `loo_loss` can be trusted
        (`m.trust`)."""
        import pandas as pd

        rows = {step: _scalars(folder) for step, folder in recorded_steps(self.run).items()}
        return pd.DataFrame(list(rows.values()), index=pd.Index(list(rows), name="step"))

    def loo_trust(self) -> Level | None:
        """The lowest verdict on a step's left-out loss; None in runs that an earlier version recorded."""
        found = [str(_scalars(folder).get(LOO_TRUST, "")) for folder in recorded_steps(self.run).values()]
        known = [Level(word) for word in found if word in list(Level)]
        return max(known, key=list(Level).index) if known else None

    def explore(self, path: str | Path | None = None, **options: Any) -> Any:
        """Interactive explorer of the last map, with a slider over all steps; see `memorymaps.explore`."""
        import memorymaps  # lazy: loads the plotting code on first use

        return memorymaps.explore(self, path, **options)

    @cached_property
    def _tables(self) -> dict[int, MemoryMap]:
        return {step: self.at(step) for step in self.steps}

    def column(self, name: str) -> tuple[Array, Array]:
        """One column over time: ids `[n]` and values `[steps, n]`, joined by id."""
        first = next(iter(self._tables.values()))["id"].tolist()
        values = [m.select(first)[name] for m in self._tables.values()]
        return np.asarray(first), np.stack(values)

    def example(self, id: Any) -> pd.DataFrame:  # the column's name
        """One example's scores over training: one row per step."""
        import pandas as pd

        names = ["error", "leverage", "sensitivity", "loss", "loo_loss", "memorization", "target", "prediction"]
        rows = [{name: m.select([id])[name][0] for name in names} for m in self._tables.values()]
        return pd.DataFrame(rows, index=pd.Index(self.steps, name="step"))

    def rank_evolution(self, by: str = "sensitivity") -> tuple[Array, Array]:
        """Ids `[n]` and ranks `[steps, n]` by a column; rank 1 is the largest."""
        ids, values = self.column(by)
        order = np.argsort(-np.nan_to_num(values, nan=np.inf), axis=1, kind="stable")
        ranks = np.empty_like(order)
        np.put_along_axis(ranks, order, np.arange(1, len(ids) + 1)[None], axis=1)
        return ids, ranks

    def concentration(self, parts: Sequence[float] = (0.01, 0.05)) -> pd.DataFrame:
        """Share of all sensitivity in the most sensitive `parts` of the examples, one row per step."""
        import pandas as pd

        from memorymaps.maps.summary import top_share

        rows = [{part: top_share(m["sensitivity"], part) for part in parts} for m in self._tables.values()]
        return pd.DataFrame(rows, index=pd.Index(self.steps, name="step"))

    def cartography(self) -> pd.DataFrame:
        """Data cartography [Swayamdipta et al. 2020], and when each example was learned; one row per example.

        `confidence` and `variability` are mean and standard deviation over steps of `p(y ∣ f)`, `correctness` the
        share of steps with the right prediction; `first_learned` the first such step, `learned` the step from which it
        stays right (−1: never), `forgotten` the number of changes from right to wrong. For classes.

        Raises
        ------
        ValueError
            The maps are not of classes.
        """
        import pandas as pd

        if not next(iter(self._tables.values())).provenance.description.classes:
            raise ValueError(
                "cartography needs maps of classes: the likelihood of these maps has none. Use example(id) or "
                "rank_evolution()"
            )
        ids, loss = self.column("loss")
        right = self.column("prediction")[1] == self.column("target")[1]
        p, steps = np.exp(-loss), np.asarray(self.steps)
        last_wrong = np.where(right.all(axis=0), -1, len(steps) - 1 - np.argmax(~right[::-1], axis=0))
        stays = np.append(steps, -1)[last_wrong + 1]
        return pd.DataFrame(
            {
                "id": ids,
                "confidence": p.mean(axis=0),
                "variability": p.std(axis=0),
                "correctness": right.mean(axis=0),
                "first_learned": np.where(right.any(axis=0), steps[np.argmax(right, axis=0)], -1),
                "learned": stays,
                "forgotten": np.sum(right[:-1] & ~right[1:], axis=0),
            }
        )
