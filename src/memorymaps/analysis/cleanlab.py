"""Conversion of a map to the input of cleanlab."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from memorymaps.core.arrays import Array
from memorymaps.maps.loo_averages import is_binary

if TYPE_CHECKING:
    from memorymaps.maps.memory_map import MemoryMap


def for_cleanlab(m: MemoryMap) -> dict[str, Any]:
    """`labels [n]` and leave-one-out `pred_probs [n, c]`, for `cleanlab.filter.find_label_issues`.

    Out-of-sample probabilities without cross-validation: `σ(f_i + Δf_i)` from the one trained model.

    Raises
    ------
    ValueError
        The map is not of classes, has no columns per class, or has undefined examples.

    Examples
    --------
    >>> from memorymaps import memory_map
    >>> from memorymaps.data.datasets import demo_model
    >>> for_cleanlab(memory_map(*demo_model()))["pred_probs"].shape
    (1797, 10)
    """
    labels, p = left_out_probabilities(m)
    if not np.all(np.isfinite(p)):
        undefined = int(np.count_nonzero(~np.isfinite(p).all(axis=1)))
        raise ValueError(
            f"{undefined} example(s) have no leave-one-out prediction: m.filter(np.isfinite(m['loo_loss'])) first"
        )
    return {"labels": labels, "pred_probs": p}


def left_out_probabilities(m: MemoryMap) -> tuple[Array, Array]:
    """Given classes as numbers `[n]`, and leave-one-out probabilities `[n, c]`, NaN where there are none.

    Raises
    ------
    ValueError
        The map is not of classes, has no columns per class, or its loss gives no probabilities (margins).
    """
    classes = [0, 1] if is_binary(m) else list(m.provenance.description.classes)
    several = "loo_mean" in m.table.column_names
    if not m.provenance.loss_is_density:
        raise ValueError(
            f"the map is of a {m.provenance.description.likelihood} loss, whose outputs are margins and no "
            "probabilities. Expected a classifier with probabilities, such as LogisticRegression; "
            "m.top(by='error') ranks the examples of this one"
        )
    if not classes or not (several or m.provenance.outputs == 1):
        d = m.provenance.description
        raise ValueError(
            f"the map is of a {d.likelihood} likelihood with {m.provenance.outputs} output(s): for_cleanlab needs a "
            "classifier's: Categorical with up to 100 classes, or Bernoulli with one output and targets 0 and 1; "
            "m.top(by='error') ranks others"
        )
    p = m["loo_mean"] if several else _binary_probabilities(m)
    codes = {label: code for code, label in enumerate(classes)}
    return np.asarray([codes[label] for label in m["target"].tolist()]), np.asarray(p)


def _binary_probabilities(m: MemoryMap) -> Array:
    """Leave-one-out `(1 − p, p) [n, 2]` of a binary map: from `loo_prediction` if a probability, else `σ(f + Δf)`."""
    if is_binary(m):
        p = np.clip(m["loo_prediction"], 0, 1)
        return np.asarray(np.stack([1 - p, p], axis=1))
    p = 1 / (1 + np.exp(-(m["output"] + m["deviation"])))
    return np.stack([1 - p, p], axis=1)
