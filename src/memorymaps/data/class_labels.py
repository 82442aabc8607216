"""Encoding of class labels as class numbers."""

from __future__ import annotations

import dataclasses

import numpy as np

from memorymaps.core.arrays import Array, Batch
from memorymaps.core.likelihoods.base import TargetError
from memorymaps.data.coercion import check_utf8, first_missing


def encode_labels(classes: Array, batch: Batch) -> Batch:
    """The batch with labels replaced by their positions in the sorted `classes`; labels may match as text.

    Raises
    ------
    TargetError
        A label that is not among the classes, or a missing one.
    """
    target = np.asarray(batch.target)
    missing = first_missing(target)
    if missing is not None:
        raise TargetError(f"the target of row {missing} of its batch is missing ({target[missing]}): drop such rows")
    if target.dtype.kind not in "biuf" or classes.dtype.kind not in "biuf":
        classes, target = classes.astype(str), target.astype(str)
        for name in classes.tolist():
            check_utf8("a class of the model", name)
    order = np.argsort(classes, kind="stable")  # numbers as text are sorted differently
    codes = order[np.clip(np.searchsorted(classes[order], target), 0, len(classes) - 1)]
    unknown = np.flatnonzero(classes[codes] != target)
    if len(unknown):
        raise TargetError(
            f"class {target[unknown[0]].item()!r} was not among the model's classes {classes.tolist()} ({len(unknown)} "
            "such target(s)): pass the targets as to fit, or fit again"
        )
    return dataclasses.replace(batch, target=codes)
