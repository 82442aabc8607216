"""The ridge that LightGBM adds to the leaves of a categorical split: `λ + cat_l2` instead of `λ`.

A split by the categories of a feature with more than `max_cat_to_onehot` of them (the one for missing and unknown
values counted) is found by sorting the categories by their gradients, and the two nodes that it makes have `cat_l2`
added to their ridge; a later split of such a node is again without it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from memorymaps.core.arrays import Array
from memorymaps.models.trees.boosting import FixedStructureBoosting


def with_category_ridge(booster: Any, p: Mapping[str, str], model: FixedStructureBoosting, labels: Array) -> Any:
    """The ensemble with `cat_l2` added where the split above a leaf sorted categories; `labels [n, T, c]` of leaves.

    Parameters
    ----------
    p : training parameters in the words of LightGBM's model text.
    """
    dumped = booster.dump_model()
    sorts = _sorted_features(dumped, int(p["max_cat_to_onehot"]))
    if not sorts:
        return model
    ridge, c = np.zeros(model.num_leaf_values), model.shape[2]
    for index, tree in enumerate(dumped["tree_info"]):
        t, k = divmod(index, c)
        present = np.unique(labels[:, t, k])  # leaves are numbered in this order
        below = list(_leaves_below_sorted(tree["tree_structure"], sorts, False))
        ridge[model.first_leaf[t, k] + np.flatnonzero(np.isin(present, below))] = float(p["cat_l2"])
    return dataclasses.replace(model, leaf_ridge=ridge) if ridge.any() else model


def _sorted_features(dumped: Mapping[str, Any], one_hot: int) -> set[int]:
    """Indices of the features whose categories are sorted, not split off one at a time."""
    features = [dumped["feature_infos"].get(name, {}) for name in dumped["feature_names"]]
    return {j for j, each in enumerate(features) if len(each.get("values", ())) > one_hot}


def _leaves_below_sorted(node: Mapping[str, Any], sorts: set[int], here: bool) -> Iterator[int]:
    """Numbers of the leaves whose parent splits by sorted categories."""
    if "split_index" not in node:
        if here:
            yield node["leaf_index"]
        return
    categorical = node["decision_type"] == "==" and node["split_feature"] in sorts
    for side in ("left_child", "right_child"):
        yield from _leaves_below_sorted(node[side], sorts, categorical)
