"""`scale_pos_weight`: the factor by which LightGBM and XGBoost multiply the weights of positive examples."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

from memorymaps.core.arrays import Batch
from memorymaps.data.examples import Examples


def weight_positives(examples: Examples, factor: float) -> Examples:
    """Examples with the weights of positive targets multiplied by `factor`."""
    return examples if factor == 1 else examples.map(functools.partial(_with_weighted_positives, factor))


def _with_weighted_positives(factor: float, batch: Batch) -> Batch:
    weight = np.ones(len(batch)) if batch.weight is None else batch.weight
    return dataclasses.replace(batch, weight=np.where(np.asarray(batch.target) == 1, factor, 1.0) * weight)
