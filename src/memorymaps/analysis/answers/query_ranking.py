"""The most helpful and the most harmful examples of each query, kept while examples pass by block by block."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from memorymaps.core.arrays import Array


@dataclass(frozen=True)
class RankedEffects:
    """Effects on `k` queries, of the same number `b` of examples or groups for each.

    Attributes
    ----------
    position : `[k, b]`, of the examples in the map (or of the groups among them).
    change : `[k, b, c]`, of the queries' predicted means.
    loss_change : `[k, b]`, of their losses; NaN where these are unknown.
    refitted : `[k, b]`, whether the model was fitted again.
    """

    position: Array
    change: Array
    loss_change: Array
    refitted: Array

    @classmethod
    def of(cls, position: Array, change: Array, loss_change: Array, refitted: bool) -> Self:
        """Effects `[k, b]` of the same examples `position [b]` on every query."""
        shape = loss_change.shape
        return cls(np.tile(position, (shape[0], 1)), change, loss_change, np.full(shape, refitted))

    def merged(self, other: Self) -> Self:
        """Both, those of `other` last."""
        return type(self)(
            np.concatenate([self.position, other.position], axis=1),
            np.concatenate([self.change, other.change], axis=1),
            np.concatenate([self.loss_change, other.loss_change], axis=1),
            np.concatenate([self.refitted, other.refitted], axis=1),
        )

    def most(self, number: int) -> Array:
        """Positions of at most so many examples that change some query, the largest change first."""
        size = np.linalg.norm(np.nan_to_num(self.change, posinf=np.inf), axis=2)
        order = np.argsort(-size, axis=None, kind="stable")
        order = order[size.reshape(-1)[order] > 0]
        position = self.position.reshape(-1)[order]
        return position[np.sort(np.unique(position, return_index=True)[1])][:number]

    def replaced(self, other: Self) -> Self:
        """With the effects of `other` [k, b'], of the same queries, in the place of those of the same examples."""
        where = {position: b for b, position in enumerate(other.position[0].tolist())}
        column = np.array([[where.get(each, -1) for each in row] for row in self.position.tolist()], dtype=np.intp)
        known, query = column >= 0, np.arange(len(column))[:, None]
        return type(self)(
            self.position,
            np.where(known[..., None], other.change[query, column], self.change),
            np.where(known, other.loss_change[query, column], self.loss_change),
            np.where(known, other.refitted[query, column], self.refitted),
        )

    def sorted(self) -> Self:
        """The most helpful first, by the change of the loss; by the size of the change of the mean without losses."""
        known = not np.all(np.isnan(self.loss_change))
        score = self.loss_change if known else np.abs(self.change).sum(axis=2)
        return self._take(np.lexsort((self.position, -np.nan_to_num(score)), axis=1))

    def largest(self, top: int | None) -> Self:
        """Sorted, only the `top` first and, where losses are known, the `top` last of each query; None: all."""
        found, b = self.sorted(), self.position.shape[1]
        if top is None or np.all(np.isnan(self.loss_change)):
            return found._take(np.tile(np.arange(b)[:top], (len(self.position), 1)))
        ends = np.arange(b) if b <= 2 * top else np.concatenate([np.arange(top), np.arange(b - top, b)])
        return found._take(np.tile(ends, (len(self.position), 1)))

    def _take(self, order: Array) -> Self:
        return type(self)(
            np.take_along_axis(self.position, order, axis=1),
            np.take_along_axis(self.change, order[..., None], axis=1),
            np.take_along_axis(self.loss_change, order, axis=1),
            np.take_along_axis(self.refitted, order, axis=1),
        )
