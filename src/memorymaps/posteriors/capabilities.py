"""What a posterior offers beside outputs and variances: one record of optional functions.

A posterior lists what it has in its attribute `capabilities`; a wrapper passes the record of the posterior inside on,
with `on_inputs` where it transforms the inputs. Nothing else in the library asks a posterior for its kind.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from memorymaps.core.arrays import Array, Batch
from memorymaps.core.perturbation.local import Local
from memorymaps.data.coercion import rows_of
from memorymaps.posteriors.contract import Marginals, Posterior

Transform = Callable[[Any], Any]


class Along(Protocol):
    """A batch restricted to directions `D [n, c, k]`: outputs `f [n, c]` and `gram = DᵀVD [n, k, k]`."""

    @property
    def f(self) -> Array:
        """`[n, c]`."""

    @property
    def directions(self) -> Array:
        """`D [n, c, k]`."""

    @property
    def gram(self) -> Array:
        """`DᵀVD [n, k, k]`."""

    def respond(self, share: Array) -> Array:
        """`V D s [n, c]` for coefficients `s [n, k]` of the directions."""


class Directional(Protocol):
    """`V` restricted to chosen directions, at a cost that does not grow with `c`, for models with many outputs."""

    @property
    def directions(self) -> int:
        """Number of leading directions of each `Λ` that the map uses."""

    def parts(self, inputs: Any) -> Iterator[tuple[slice, Any]]:
        """Consecutive parts of a batch that fit in memory, each with its rows."""

    def along(self, inputs: Any, choose: Callable[[Array, slice], Array]) -> Along:
        """A batch restricted to `D = choose(f, rows)`, which depends on the outputs `f` of these rows."""


class RemovalInfluence(Protocol):
    """Changes of parameters and outputs when groups of training rows are removed, on the exact curvature."""

    def parameter_change(self, groups: Sequence[Array], steps: int = ..., tolerance: float = ...) -> tuple[Any, Array]:
        """Changes `Δθ [g, P]` for groups of training rows, and the relative residuals `[g]` of the linear systems."""

    def output_change(self, inputs: Any, deltas: Any) -> Array:
        """Changes of the outputs for the parameter changes of `parameter_change`: `[n, c, g]`."""


class Refit(Protocol):
    """The model fitted again without some training rows, starting from its own parameters."""

    @property
    def concurrent(self) -> bool:
        """Whether several refits may run at once, in threads."""

    def affordable(self) -> int:
        """Number of refits that a map may make without being asked; 0: only on request."""

    def refit(self, removed: Array, wanted: Array, steps: int = ..., tolerance: float = ...) -> tuple[Array, float]:
        """Outputs `f [n, c]` of the rows `wanted`, and the fraction by which they still changed in the last half.

        With nothing removed: the outputs at the optimum, from which the changes are counted.
        """


class NewtonRefit(Refit, Protocol):
    """Refits by Newton's method, of which a map takes the first step: cheap enough to be made unasked."""

    def second_step(self, rows: Array) -> tuple[Array, Array]:
        """What a second Newton step would add to the deviation of each row left out: the step, and a bound `[k, c]`."""


@dataclass(frozen=True)
class Capabilities:
    """Optional functions of a posterior; `None` where it does not offer one.

    Attributes
    ----------
    covariance_root : `inputs → Z [n, c, r]` with prediction covariances `V_ij = Z_i Z_jᵀ`; gives removal of groups.
        (linear_operator: `root_decomposition`)
    from_whitened : `u [..., r] → Δθ [..., p, c]`, parameters from the coordinates of `covariance_root`; gives DFBETA.
    directional : `V` along chosen directions only, for many outputs.
    removal : removal of groups by iteration on the exact curvature, for models of any size.
    refit : refitting without some rows.
    newton : refitting by Newton's method, for models that are not linear in their parameters: removal of groups is
        solved by it, and maps check their steps.
    extra_columns : `(batch, at) → {name: [n] or [n, c]}`; a column `warning` is combined with the map's.
    training_marginals : `batch → Marginals` of training examples, where they differ from those of new inputs (an
        estimate of `S` that must not contain the example's own rows).
    subgradient : `ids → w e [n, c]`, the element of `∂ℓ` that the optimum selects (dual variables), for losses with
        kinks.
    """

    covariance_root: Callable[[Any], Array] | None = None
    from_whitened: Callable[[Array], Array] | None = None
    directional: Directional | None = None
    removal: RemovalInfluence | None = None
    refit: Refit | None = None
    newton: NewtonRefit | None = None
    extra_columns: Callable[[Batch, Local], Mapping[str, Array]] | None = None
    training_marginals: Callable[[Batch], Marginals] | None = None
    subgradient: Callable[[Array], Array] | None = None

    def on_inputs(self, transform: Transform) -> Capabilities:
        """The capabilities of a posterior whose inputs pass through `transform` first (a pipeline's)."""
        return dataclasses.replace(
            self,
            covariance_root=_optional(self.covariance_root, lambda root: lambda x: root(transform(x))),
            directional=_optional(self.directional, lambda inner: _TransformedDirections(inner, transform)),
            training_marginals=_optional(
                self.training_marginals, lambda of: lambda batch: of(_transformed(batch, transform))
            ),
            removal=_optional(self.removal, lambda inner: _TransformedRemoval(inner, transform)),
            extra_columns=_optional(
                self.extra_columns, lambda add: lambda batch, at: add(_transformed(batch, transform), at)
            ),
        )


NONE = Capabilities()


def capabilities_of(source: Posterior) -> Capabilities:
    """The posterior's record; a posterior without the attribute `capabilities` has none."""
    found: Capabilities = getattr(source, "capabilities", NONE)
    return found


def _optional(value: Any, change: Callable[[Any], Any]) -> Any:
    return None if value is None else change(value)


def _transformed(batch: Batch, transform: Transform) -> Batch:
    return dataclasses.replace(batch, inputs=transform(batch.inputs))


@dataclass(frozen=True)
class _TransformedDirections:
    inner: Directional
    transform: Transform

    @property
    def directions(self) -> int:
        return self.inner.directions

    def parts(self, inputs: Any) -> Iterator[tuple[slice, Any]]:
        whole = self.transform(inputs)
        for rows, _ in self.inner.parts(whole):
            yield rows, rows_of(inputs, rows)

    def along(self, inputs: Any, choose: Callable[[Array, slice], Array]) -> Along:
        return self.inner.along(self.transform(inputs), choose)


@dataclass(frozen=True)
class _TransformedRemoval:
    inner: RemovalInfluence
    transform: Transform

    def parameter_change(self, groups: Sequence[Array], steps: int = 200, tolerance: float = 1e-4) -> tuple[Any, Array]:
        return self.inner.parameter_change(groups, steps, tolerance)

    def output_change(self, inputs: Any, deltas: Any) -> Array:
        return self.inner.output_change(self.transform(inputs), deltas)
