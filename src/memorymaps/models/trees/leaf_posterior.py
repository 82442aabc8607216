"""Posterior of tree ensembles with fixed structure: outputs and variances of training examples, exact removal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from memorymaps.core.arrays import Array, Batch
from memorymaps.core.likelihoods.base import Likelihood
from memorymaps.data.examples import DataError
from memorymaps.data.indexed import InputsWithRows
from memorymaps.posteriors.capabilities import Capabilities, Refit, Undetermined
from memorymaps.posteriors.contract import Description, Marginals


class LeafModel(Protocol):
    """Protocol: a tree ensemble with fixed structure as a function of its leaf values."""

    def leaf_values_without(self, rows: Array) -> Array:
        """Leaf values `[P·c]` refitted without these examples."""

    def outputs_from(self, leaf_values: Array, rows: Array) -> Array:
        """Outputs `[rows, c]` of leaf values `[P·c]`."""


@dataclass(frozen=True)
class LeafPosterior:
    """Posterior `N(f_i, V_i)` of a tree ensemble's outputs at its training examples, with the tree structure fixed.

    `out_of_bag [n, c]`: outputs of the trees that did not draw the example, NaN where all did; `None` without draws.
    `undetermined`: examples that are alone in most of their leaves; `None` where refits are not needed for them.
    `removal` refits the leaf values without the examples, without linearisation.
    """

    likelihood: Likelihood
    description: Description
    f: Array
    variance: Array
    leaf_values: Array
    leaf_model: LeafModel
    refits: Refit | None = None
    out_of_bag: Array | None = None
    undetermined: Undetermined | None = None
    stages: Callable[[], Array] | None = None  # () → f [T, n, c], after each iteration of boosting
    votes: Callable[[], Array] | None = None  # () → p [n, c], of the other examples in the same leaves (classes)

    @property
    def capabilities(self) -> Capabilities:
        """Removal by refitting the values of the same leaves; refits with splits free, of estimators."""
        return Capabilities(
            removal=self, refit=self.refits, out_of_bag=None if self.out_of_bag is None else self._out_of_bag,
            group_refit=None if self.out_of_bag is None else self.refits, undetermined=self.undetermined,
            staged_outputs=None if self.stages is None else self._staged_outputs,
            leaf_votes=None if self.votes is None else self._leaf_votes,
        )  # fmt: skip

    def _leaf_votes(self, batch: Batch) -> Array:
        assert self.votes is not None
        return self.votes()[_training_rows(batch.inputs)]

    def _staged_outputs(self, batch: Batch) -> Array:
        assert self.stages is not None
        return self.stages()[:, _training_rows(batch.inputs)]

    def _out_of_bag(self, batch: Batch) -> Array:
        return np.asarray(self.out_of_bag)[_training_rows(batch.inputs)]

    def marginals(self, inputs: Any) -> Marginals:
        """`f [n, c]` and `V [n, c, c]` of training examples."""
        rows = _training_rows(inputs)
        return Marginals(self.f[rows], self.variance[rows])

    def parameter_change(self, groups: Sequence[Array], steps: int = 1, tolerance: float = 0.0) -> tuple[Array, Array]:
        """Changes of leaf values `[g, P·c]`, by one refit for each group, and residuals `[g]`, which are zero."""
        moves = np.stack([self.leaf_model.leaf_values_without(np.asarray(rows)) - self.leaf_values for rows in groups])
        return moves, np.zeros(len(groups))

    def output_change(self, inputs: Any, deltas: Array) -> Array:
        """Changes of outputs `[n, c, g]` for changes of leaf values."""
        rows = _training_rows(inputs)
        return np.stack(
            [self.leaf_model.outputs_from(self.leaf_values + move, rows) - self.f[rows] for move in deltas], axis=-1
        )


def _training_rows(inputs: Any) -> Array:
    if not isinstance(inputs, InputsWithRows):
        raise DataError(
            f"the posterior of a tree ensemble is defined at its training examples only, got {type(inputs).__name__}: "
            "read examples from memory_map(...).origin.examples"
        )
    return inputs.rows
