"""Learning events of a recorded run: examples learned and forgotten, and the speed of memorisation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from memorymaps.maps.trajectory import Trajectory

if TYPE_CHECKING:
    import pandas as pd


def events(run: Trajectory) -> pd.DataFrame:
    """Changes between right and wrong predictions, in order: columns `step`, `id`, `event`; for classes.

    `first learned` (right for the first time), `learned` (right again), `forgotten` (wrong after having been right
    [Toneva et al. 2019]), at the recorded steps.

    Raises
    ------
    ValueError
        The maps are not of classes.
    """
    import pandas as pd

    if not run.at(run.steps[0]).provenance.description.classes:
        raise ValueError(
            "learning events need maps of classes: the likelihood of these maps has none. Use run.example(id) or "
            "run.rank_evolution()"
        )
    ids, predicted = run.column("prediction")
    right = predicted == run.column("target")[1]
    before = np.concatenate([np.zeros_like(right[:1]), right[:-1]])
    ever = np.logical_or.accumulate(before)
    kinds = {
        "first learned": right & ~ever,
        "learned": right & ~before & ever,
        "forgotten": ~right & before,
    }
    pieces = []
    for name, happened in kinds.items():
        step, row = np.nonzero(happened)
        pieces.append(pd.DataFrame({"step": np.asarray(run.steps)[step], "id": ids[row], "event": name}))
    return pd.concat(pieces).sort_values(["step", "id"], kind="stable", ignore_index=True)


def memorisation_speed(run: Trajectory, threshold: float = 0.25) -> pd.DataFrame:
    """Mean memorisation and its rate of change: one row per step.

    `memorization` is the mean over examples of `p(y∣f) − p(y∣f + Δf)`; `memorized` the share of examples above
    `threshold` [FZ]; `speed` the change of the mean per training step since the last record. Undefined examples (NaN)
    are excluded.
    """
    import pandas as pd

    _, values = run.column("memorization")
    mean, steps = np.nanmean(values, axis=1), np.asarray(run.steps)
    speed = np.diff(mean, prepend=np.nan) / np.diff(steps, prepend=0)
    above = np.where(np.isnan(values), np.nan, values > threshold)
    columns = {"memorization": mean, "memorized": np.nanmean(above, axis=1), "speed": speed}
    return pd.DataFrame(columns, index=pd.Index(steps, name="step"))


def half_steps(run: Trajectory, column: str = "memorization") -> pd.Series:
    """The first recorded step at which each example's `column` has made half its change from first to last value.

    One value per example (index: id); −1 if first and last value are equal.
    """
    import pandas as pd

    ids, values = run.column(column)
    change = values[-1] - values[0]
    reached = np.divide(values - values[0], change, out=np.zeros_like(values), where=change != 0) >= 0.5
    found = np.where(reached.any(axis=0), np.asarray(run.steps)[np.argmax(reached, axis=0)], -1)
    return pd.Series(found, index=pd.Index(ids, name="id"), name="half_step")
