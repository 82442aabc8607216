"""Optional abilities of a posterior."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from memorymaps.core.arrays import Array, Batch
from memorymaps.core.perturbation.local import Local


@runtime_checkable
class Factored(Protocol):
    """Ability: prediction covariances `V_ij = Z_i Z_jᵀ` in finitely many coordinates; gives group removal."""

    def factor(self, inputs: Any) -> Array:
        """`Z [n, c, r]`."""


class Along(Protocol):
    """A batch seen along directions `D [n, c, k]`: outputs `f [n, c]` and `gram = DᵀVD [n, k, k]`."""

    f: Array
    directions: Array
    gram: Array

    def respond(self, share: Array) -> Array:
        """`V D s [n, c]` for shares `s [n, k]` of the directions."""


@runtime_checkable
class Directional(Protocol):
    """Ability: `V` along chosen directions at a cost that does not grow with `c`, for models with many outputs.

    `directions` is how many leading directions of each `Λ` the map should ask for.
    """

    directions: int

    def parts(self, inputs: Any) -> Iterator[tuple[slice, Any]]:
        """Inputs in parts of which all that is known fits in memory, with their places in the batch."""

    def along(self, inputs: Any, choose: Callable[[Array, slice], Array]) -> Along:
        """A batch along `D = choose(f, rows)`, chosen once the outputs of these rows are known."""


@runtime_checkable
class Removable(Protocol):
    """Ability: parameters' moves for removed groups on the exact curvature, by iteration; for models of any size."""

    def removal(self, groups: Sequence[Array], steps: int = ..., tolerance: float = ...) -> tuple[Array, Array]:
        """Moves `[g, P]` for groups of training rows, and the relative residuals `[g]` they were solved to."""

    def answer(self, inputs: Any, moves: Array) -> Array:
        """How outputs answer to the moves: `[n, c, g]`."""


@runtime_checkable
class Refittable(Protocol):
    """Ability: the model fitted again without some training rows, from where it is; the truth that sizes estimate.

    `affordable` is how many of its largest sizes a map should replace by this truth of its own accord, where one step
    may be too long; 0: only when asked for.
    """

    def affordable(self) -> int:
        """How many refits a map may make unasked."""

    def refit(self, removed: Array, wanted: Array, steps: int = ..., tolerance: float = ...) -> tuple[Array, float]:
        """Outputs `f [n, c]` of the rows `wanted`, and which part of their way they still moved at last.

        With nothing removed: the outputs from which removal moves them, those of the model at rest.
        """


@runtime_checkable
class Parametric(Protocol):
    """Ability: moves of named parameters; gives DFBETA and one-step parameters."""

    def shift(self, u: Array) -> Array:
        """Parameters' move `[..., p, c]` for coordinates `u [..., r]` of `Factored.factor`."""


@runtime_checkable
class Annotated(Protocol):
    """Ability: columns of its own for every example; one named `warning` joins the map's lights."""

    def annotate(self, batch: Batch, at: Local) -> Mapping[str, Array]:
        """Columns `[n]` or `[n, c]` for a batch and what the map sees of it."""


@runtime_checkable
class Fitted(Protocol):
    """Ability: the errors that the fit ended with (dual variables), for losses with kinks, where `∇_f ℓ` is a set."""

    def fit_errors(self, ids: Array) -> Array:
        """`w e [n, c]` of the training examples with these ids."""
