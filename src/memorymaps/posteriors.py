"""The contract: what a posterior must answer, and the two open functions that model kinds plug into.

A model kind is added from outside, in any package, by registering two functions:

    @posterior.register(MyModel)
    def _(model, examples): ...      # → Posterior

    @training_data.register(MyModel)
    def _(model, examples): ...      # → the examples as the model's training saw them
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from array_api_compat import array_namespace

from memorymaps._types import Array, Batch
from memorymaps.adapters import adapters_for
from memorymaps.directions import error_and_roots, scales
from memorymaps.examples import DataError, Examples
from memorymaps.likelihoods import Likelihood, TargetError
from memorymaps.perturbation import Local, Sketched


class UnsupportedModelError(TypeError):
    """No adapter knows this kind of model."""


@dataclass(frozen=True)
class Marginals:
    """Outputs `f [n, c]` and their posterior covariances `V [n, c, c]`.

    `spread [n, c, c]` is uncertainty of `f` beyond `V` that no example can move (a sparse Gaussian process has some):
    expectations are taken under `V + spread`, deviations follow `V`.
    """

    f: Array
    variance: Array
    spread: Array | None = None


@dataclass(frozen=True)
class Description:
    """What a posterior says of itself; it travels into the map's provenance as it is.

    `form` is the estimate of deviations that this posterior's sizes can be trusted with;
    `effective_parameters` is the posterior's own count, independent of the map (`P − δ tr S⁻¹` where known);
    `distance` how far the parameters are from the optimum: posterior standard deviations per effective parameter;
    `bends` whether outputs are not linear in the parameters, so that sizes are those of one Newton step.
    """

    model: str
    posterior: str
    likelihood: str
    prior: str = "none"
    algorithm: str = ""
    coverage: tuple[str, ...] = ()
    parameters: tuple[str, ...] = ()
    aliased: tuple[str, ...] = ()
    classes: tuple[Any, ...] = ()
    rank: int | None = None
    effective_parameters: float | None = None
    dispersion: float | tuple[float, ...] | None = None
    dispersion_estimated: bool = False
    residual_df: float | None = None
    distance: float | None = None
    bends: bool = False
    form: str = "R-sm"
    notes: tuple[str, ...] = ()
    methods: tuple[str, ...] = field(default=("nickl2023memory", "tailor2023maps"))


@runtime_checkable
class Posterior(Protocol):
    """A Gaussian belief about outputs: all that the map needs of a model."""

    @property
    def likelihood(self) -> Likelihood:
        """How outputs and targets meet."""

    @property
    def description(self) -> Description:
        """What this posterior is, for provenance."""

    def marginals(self, inputs: Any) -> Marginals:
        """`f` and `V` of a batch, in one pass."""


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


@dataclass(frozen=True)
class Origin:
    """Where a map came from, while it is still in memory: the posterior and the examples it was fitted to."""

    posterior: Posterior
    examples: Examples

    def local(self, batch: Batch) -> Local | Sketched:
        """A batch seen from the posterior: outputs with their offset, variances, weights; float64."""
        if isinstance(self.posterior, Directional):
            return self._sketched(self.posterior, batch)
        marginals = self.posterior.marginals(batch.inputs)
        xp = array_namespace(marginals.f)
        variance = xp.astype(marginals.variance, xp.float64)
        belief = variance if marginals.spread is None else variance + marginals.spread
        fitted = self.posterior.fit_errors(batch.ids) if isinstance(self.posterior, Fitted) else None
        f, y, weight = self._seen(marginals.f, batch)
        return Local(self.posterior.likelihood.under(belief).at(f), f, y, weight, variance, fitted)

    def parts(self, batch: Batch) -> Iterator[Batch]:
        """A batch in the parts that the posterior looks at together."""
        if not isinstance(self.posterior, Directional):
            yield batch
            return
        for rows, inputs in self.posterior.parts(batch.inputs):
            yield batch.cut(rows, inputs)

    def _sketched(self, source: Directional, batch: Batch) -> Sketched:
        likelihood = self.posterior.likelihood

        def choose(f: Array, rows: slice) -> Array:
            f, y, weight = self._seen(f, batch.cut(rows))
            return error_and_roots(likelihood.at(f), f, y, weight, source.directions)

        seen = source.along(batch.inputs, choose)
        f, y, weight = self._seen(seen.f, batch)
        likelihood = likelihood.at(f)
        scale = scales(likelihood, f, y, seen.directions)
        return Sketched(likelihood, f, y, weight, seen.directions, scale, seen.gram, seen.respond)

    def _seen(self, f: Array, batch: Batch) -> tuple[Array, Array, Array]:
        """Outputs with their offset, targets that were checked, weights."""
        xp = array_namespace(f)
        f = xp.astype(f, xp.float64, copy=False)
        n, c = f.shape
        if batch.offset is not None:
            f = f + xp.reshape(xp.asarray(batch.offset, dtype=f.dtype), (n, -1))
        weight = xp.ones(n, dtype=f.dtype) if batch.weight is None else xp.asarray(batch.weight, dtype=f.dtype)
        check_targets(self.posterior.likelihood, batch, c)
        return f, xp.asarray(batch.target), weight


def check_targets(likelihood: Likelihood, batch: Batch, c: int) -> None:
    """Raise `TargetError` for targets outside the support of `c` outputs, naming the example by its id."""
    y = batch.target
    if len(y) and isinstance(y[0], str):
        raise TargetError(
            f"targets are text, the first is {str(y[0])!r}: expected numbers. The model does not know its classes' "
            "names: pass their numbers, [names.index(label) for label in y], counted from 0 in the order of its outputs"
        )
    try:
        likelihood.check_target(y, c)
    except TargetError as error:
        raise error.named(batch.ids) from None


class OpenFunction:
    """A function of a model, open to new model kinds: dispatch on the class of its first argument.

    Adapters of this package are imported on first use, by the package names in the class's ancestry, so that
    a subclass of a scikit-learn estimator is found and nobody pays for libraries they do not use.
    """

    def __init__(self, default: Callable[..., Any]):
        self._dispatch = functools.singledispatch(default)
        functools.update_wrapper(self, default)

    def __call__(self, model: Any, *args: Any) -> Any:
        """Answer for this model."""
        for kind in type(model).__mro__:
            for module in adapters_for(kind.__module__):
                importlib.import_module(module)
        return self._dispatch(model, *args)

    def register(self, kind: type) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Decorator: this function answers for models of class `kind` and its subclasses."""
        return self._dispatch.register(kind)

    def kinds(self) -> list[type]:
        """The model classes with an answer so far."""
        return [kind for kind in self._dispatch.registry if kind is not object]


@OpenFunction
def posterior(model: Any, examples: Examples) -> Any:
    """Posterior of a fitted model, given the examples it was trained on (as `training_data` returns them).

    Raises
    ------
    UnsupportedModelError
        No adapter for this kind of model; the message lists those there are.
    """
    kinds = ", ".join(sorted({kind.__name__ for kind in posterior.kinds()})) or "none loaded"
    raise UnsupportedModelError(
        f"no posterior for {type(model).__module__}.{type(model).__qualname__}; supported here: {kinds}. "
        "To add a model kind: @memorymaps.posterior.register(YourModel)"
    )


@OpenFunction
def examples_for(model: Any, data: Any) -> Any:
    """Training data that come as one object, as this kind of model reads it: networks also take batches of any kind."""
    return as_examples(data)


@OpenFunction
def as_examples(data: Any) -> Any:
    """Training data that comes as one object (a loader, a data set) as `Examples`.

    Raises
    ------
    DataError
        Not a kind of data that holds its own targets.
    """
    if isinstance(data, Examples):
        return data
    raise DataError(
        f"{type(data).__name__} holds no targets: pass memory_map(model, X, y), a torch Dataset or DataLoader, "
        "or LoaderExamples([(x, y), …]) for batches"
    )


@OpenFunction
def training_data(model: Any, examples: Examples | None) -> Any:
    """The examples as the model's training saw them: encoded targets, class weights, offsets.

    A model that carries its own training data (statsmodels results) answers with `examples=None`.

    Raises
    ------
    ValueError
        The model does not carry its data and none was given.
    """
    if examples is None:
        raise ValueError(f"{type(model).__name__} does not keep its training data: pass it, memory_map(model, X, y)")
    return examples
