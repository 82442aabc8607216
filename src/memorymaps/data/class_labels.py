"""From the labels that users write to class numbers."""

from __future__ import annotations

import dataclasses

import numpy as np

from memorymaps.core.arrays import Array, Batch
from memorymaps.core.likelihoods.base import TargetError


def numbered(classes: Array, batch: Batch) -> Batch:
    """A batch with labels as positions in the sorted `classes`; text and numbers that read the same are the same.

    Raises
    ------
    TargetError
        A label that is not among the classes.
    """
    target = np.asarray(batch.target)
    codes = np.searchsorted(classes, target.astype(classes.dtype)) if target.dtype.kind == classes.dtype.kind else None
    if codes is None:
        codes = np.searchsorted(classes.astype(str), target.astype(str))
        classes, target = classes.astype(str), target.astype(str)
    codes = np.clip(codes, 0, len(classes) - 1)
    unknown = np.flatnonzero(classes[codes] != target)
    if len(unknown):
        raise TargetError(f"class {target[unknown[0]]!r} was not among the model's classes {classes.tolist()}")
    return dataclasses.replace(batch, target=codes)
