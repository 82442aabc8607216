"""The contract for tree ensembles: outputs and variances of training examples, exact removal on fixed leaves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from memorymaps.core.arrays import Array
from memorymaps.core.likelihoods.base import Likelihood
from memorymaps.data.examples import DataError
from memorymaps.data.indexed import Numbered
from memorymaps.posteriors.capabilities import Capabilities
from memorymaps.posteriors.contract import Description, Marginals


class LeafModel(Protocol):
    """An ensemble as a function of its leaf values."""

    def leaf_values_without(self, rows: Array) -> Array:
        """Leaf values `[P·c]` after the removal of these examples."""

    def outputs_from(self, leaf_values: Array, rows: Array) -> Array:
        """Outputs `[rows, c]` of leaf values `[P·c]`."""


@dataclass(frozen=True)
class LeafPosterior:
    """A tree ensemble's belief about the outputs of its own training examples; the structure of its trees is held.

    Removal replays the training on the same leaves without the examples: no linearisation.
    """

    likelihood: Likelihood
    description: Description
    f: Array
    variance: Array
    leaf_values: Array
    leaf_model: LeafModel

    @property
    def capabilities(self) -> Capabilities:
        """Removal by replaying the training on the same leaves."""
        return Capabilities(removal=self)

    def marginals(self, inputs: Any) -> Marginals:
        """`f` and `V` of training examples."""
        rows = _training_rows(inputs)
        return Marginals(self.f[rows], self.variance[rows])

    def parameter_change(self, groups: Sequence[Array], steps: int = 1, tolerance: float = 0.0) -> tuple[Array, Array]:
        """Moves of leaf values `[g, P·c]` and residuals `[g]`, which are zero: one replay a group."""
        moves = np.stack([self.leaf_model.leaf_values_without(np.asarray(rows)) - self.leaf_values for rows in groups])
        return moves, np.zeros(len(groups))

    def output_change(self, inputs: Any, deltas: Array) -> Array:
        """Changes of the outputs for changes of the leaf values: `[n, c, g]`."""
        rows = _training_rows(inputs)
        return np.stack(
            [self.leaf_model.outputs_from(self.leaf_values + move, rows) - self.f[rows] for move in deltas], axis=-1
        )


def _training_rows(inputs: Any) -> Array:
    if not isinstance(inputs, Numbered):
        raise DataError(
            f"a tree ensemble's map is known at its training examples, got {type(inputs).__name__}: "
            "read examples from memory_map(...).origin.examples"
        )
    return inputs.rows
