"""scikit-learn's multi-output wrappers: one independent estimator for each target column.

The posteriors are independent given the data: `V` is block-diagonal, losses and leverages are sums over targets.
`class_weight` may give an example another weight in each target: it multiplies the errors and curvatures of that
target, as in training.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import block_diag
from sklearn.multioutput import MultiOutputClassifier, MultiOutputRegressor

from memorymaps.core.arrays import Array, Batch
from memorymaps.core.likelihoods.base import Likelihood, TargetError
from memorymaps.core.likelihoods.delegating import DelegatingLikelihood
from memorymaps.core.wording import counted
from memorymaps.data.examples import DataError, Examples
from memorymaps.models.joint_refits import JointNewtonRefit, JointRefit
from memorymaps.models.sklearn_targets import apply_class_weights, class_weights, has_class_weights
from memorymaps.posteriors.capabilities import (
    Capabilities,
    CrossCovariance,
    GroupRemoval,
    PenaltyPerWeight,
    RemovalInfluence,
    Undetermined,
    capabilities_of,
)
from memorymaps.posteriors.contract import Description, Marginals, Posterior
from memorymaps.posteriors.polish import polished
from memorymaps.posteriors.registry import posterior, training_data


@dataclass(frozen=True)
class ProductLikelihood(Likelihood):
    """Product of one likelihood for each target: `f [n, Σc_k]`, targets `[n, k]`; `sizes` are the `c_k`."""

    parts: tuple[Likelihood, ...]
    sizes: tuple[int, ...]

    def _split(self, f: Array) -> list[Array]:
        return list(np.split(f, np.cumsum(self.sizes)[:-1], axis=1))

    def averaged_over(self, variance: Array) -> Likelihood:
        """Each likelihood averaged over its own block of `V [n, Σc_k, Σc_k]`."""
        ends = np.cumsum((0, *self.sizes))
        blocks = [variance[:, a:b, a:b] for a, b in itertools.pairwise(ends)]
        each = (part.averaged_over(block) for part, block in zip(self.parts, blocks, strict=True))
        return dataclasses.replace(self, parts=tuple(each))

    def cached_at(self, f: Array) -> Likelihood:
        """Each likelihood with its quantities at its own outputs precomputed."""
        each = (part.cached_at(own) for part, own in zip(self.parts, self._split(f), strict=True))
        return dataclasses.replace(self, parts=tuple(each))

    def _targets(self, y: Array) -> list[Array]:
        return list(np.asarray(y).reshape(len(y), -1).T)

    def _each(self, name: str, f: Array, *y: Array) -> list[Array]:
        columns = [self._split(f), *map(self._targets, y)]
        return [getattr(part, name)(*of) for part, *of in zip(self.parts, *columns, strict=True)]

    def nll(self, f: Array, y: Array) -> Array:
        """The sum of losses."""
        return np.sum(self._each("nll", f, y), axis=0)

    @property
    def is_density(self) -> bool:
        """Whether all parts' losses are."""
        return all(part.is_density for part in self.parts)

    @property
    def weights_are_precisions(self) -> bool:
        """Whether all parts read them so."""
        return all(part.weights_are_precisions for part in self.parts)

    def example_loss(self, f: Array, y: Array, weight: Array) -> Array:
        """The sum of losses of one example of weight `w [n]`."""
        columns = zip(self.parts, self._split(f), self._targets(y), strict=True)
        return np.sum([part.example_loss(own, column, weight) for part, own, column in columns], axis=0)

    def mean(self, f: Array) -> Array:
        """Means of all targets, concatenated: `[n, m]`."""
        return np.concatenate(self._each("mean", f), axis=1)

    def mean_jacobian(self, f: Array) -> Array:
        """Block-diagonal."""
        return _blocks(self._each("mean_jacobian", f))

    def error(self, f: Array, y: Array) -> Array:
        """Errors of all targets, concatenated: `[n, Σc_k]`."""
        return np.concatenate(self._each("error", f, y), axis=1)

    def curvature(self, f: Array, y: Array) -> Array:
        """Block-diagonal over targets."""
        return _blocks(self._each("curvature", f, y))

    def encode(self, y: Array, c: int) -> Array:
        """Each target encoded in the space of its mean, concatenated: `[n, m]`."""
        columns = zip(self.parts, self._targets(y), self.sizes, strict=True)
        return np.concatenate([part.encode(column, size) for part, column, size in columns], axis=1)

    def check_target(self, y: Array, c: int) -> None:
        """Raise `TargetError` unless there is one supported target for each part."""
        columns = self._targets(y)
        if len(columns) != len(self.parts):
            raise TargetError(f"{len(columns)} target column(s) for {len(self.parts)} models: pass one for each")
        for part, column, size in zip(self.parts, columns, self.sizes, strict=True):
            part.check_target(column, size)


@dataclass(frozen=True)
class ClassWeightedLikelihood(DelegatingLikelihood):
    """One target whose training weighs class `y` by `weights[y]`: `w_y e` and `w_y Λ`; losses stay in nats."""

    weights: Array

    def error(self, f: Array, y: Array) -> Array:
        """`w_y e`."""
        return self.weights[y.astype(np.intp), None] * self.likelihood.error(f, y)

    def curvature(self, f: Array, y: Array) -> Array:
        """`w_y Λ`."""
        return self.weights[y.astype(np.intp), None, None] * self.likelihood.curvature(f, y)


def _blocks(matrices: Sequence[Array]) -> Array:
    """Block-diagonal matrices `[n, Σa, Σb]` from blocks `[n, a_k, b_k]`."""
    return np.stack([block_diag(*each) for each in zip(*matrices, strict=True)])


@dataclass(frozen=True)
class MultiOutputPosterior:
    """Product of independent posteriors, one for each target."""

    parts: tuple[Posterior, ...]
    likelihood: ProductLikelihood
    description: Description

    @property
    def capabilities(self) -> Capabilities:
        """Those that all parts have."""
        return combined(self.parts)

    def marginals(self, inputs: Any) -> Marginals:
        """`f` concatenated over targets, `V` block-diagonal."""
        return _joint_marginals([part.marginals(inputs) for part in self.parts])


def _joint_marginals(found: Sequence[Marginals]) -> Marginals:
    """`f` concatenated, variances block-diagonal; cavity variances where all parts state them."""
    f, variance = np.concatenate([m.f for m in found], axis=1), _blocks([m.variance for m in found])
    without = [m.cavity_variance for m in found if m.cavity_variance is not None]
    return Marginals(f, variance, _joint_spread(found), _blocks(without) if len(without) == len(found) else None)


def _joint_training_marginals(parts: Sequence[Posterior], able: Sequence[Capabilities]) -> Any:
    """`batch → Marginals` of training examples, where a part has its own for them."""
    own = [each.training_marginals for each in able]
    if all(of is None for of in own):
        return None

    def of_batch(batch: Batch) -> Marginals:
        pairs = zip(parts, own, strict=True)
        return _joint_marginals([part.marginals(batch.inputs) if of is None else of(batch) for part, of in pairs])

    return of_batch


def _joint_group_removal(removals: Sequence[Callable[[Array], GroupRemoval]]) -> Callable[[Array], GroupRemoval]:
    """Of independent models: outputs concatenated, log integrals added."""

    def of_rows(rows: Array) -> GroupRemoval:
        found = [remove(rows) for remove in removals]
        return GroupRemoval(
            np.concatenate([one.deviation for one in found], axis=1),
            np.concatenate([one.error for one in found], axis=1),
            sum(one.log_integral for one in found),
        )

    return of_rows


def _joint_spread(found: Sequence[Marginals]) -> Array | None:
    """Block-diagonal residual variances, zero for the parts without."""
    if all(m.residual_variance is None for m in found):
        return None
    return _blocks([np.zeros_like(m.variance) if m.residual_variance is None else m.residual_variance for m in found])


def combined(parts: Sequence[Posterior]) -> Capabilities:
    """Capabilities of independent posteriors together: those that all of them have; of a single one, its own."""
    able = [capabilities_of(part) for part in parts]
    if len(able) == 1:
        return able[0]
    roots, chosen = [each.covariance_root for each in able], [each.subgradient for each in able]
    removals, refits = [each.removal for each in able], [each.refit for each in able]
    bags = [each.out_of_bag for each in able]
    crossed = [each.cross_covariance for each in able]
    without_rest = [each.undetermined for each in able if each.undetermined is not None]
    stated = [each.group_removal for each in able]
    newton, grouped = [each.newton for each in able], [each.group_refit for each in able]
    return Capabilities(
        covariance_root=None if None in roots else lambda x: _blocks([root(x) for root in roots if root]),
        cross_covariance=None if None in crossed else _joint_cross_covariance([each for each in crossed if each]),
        subgradient=None if None in chosen else lambda ids: np.concatenate([of(ids) for of in chosen if of], axis=1),
        removal=None if None in removals else JointRemoval(tuple(each for each in removals if each)),
        refit=None if None in refits else JointRefit(tuple(each for each in refits if each)),
        group_refit=None if None in grouped else JointRefit(tuple(each for each in grouped if each)),
        out_of_bag=None if None in bags else lambda batch: np.concatenate([of(batch) for of in bags if of], axis=1),
        undetermined=_joint_undetermined(without_rest),
        training_marginals=_joint_training_marginals(parts, able),
        group_removal=None if None in stated else _joint_group_removal([each for each in stated if each]),
        newton=None if None in newton else JointNewtonRefit(tuple(each for each in newton if each)),
        penalty=_joint_penalty(tuple(each.penalty for each in able if each.penalty), len(able)),
    )


def _joint_undetermined(parts: Sequence[Undetermined]) -> Undetermined | None:
    """The examples of any of the models."""
    if not parts:
        return None
    return Undetermined(np.unique(np.concatenate([part.rows for part in parts])), min(part.models for part in parts))


def _joint_cross_covariance(parts: Sequence[CrossCovariance]) -> CrossCovariance:
    """Covariances `[n, Σc, k, Σc]` of independent models: zero between outputs of different ones."""

    def joint(each: Sequence[Callable[[Any], Array]], inputs: Any) -> Array:
        found = [one(inputs).transpose(0, 2, 1, 3) for one in each]  # [n, k, c, c]
        n, k = found[0].shape[:2]
        blocks = _blocks([one.reshape(n * k, *one.shape[2:]) for one in found])
        return blocks.reshape(n, k, *blocks.shape[1:]).transpose(0, 2, 1, 3)

    def at(queries: Any) -> Callable[[Any], Array]:
        return functools.partial(joint, [part.at(queries) for part in parts])

    def of_training(queries: Any) -> Callable[[Batch], Array]:
        return functools.partial(joint, [part.of_batch(queries) for part in parts])

    return CrossCovariance(at, sum(part.numbers for part in parts), of_training)


def _joint_penalty(parts: tuple[PenaltyPerWeight, ...], models: int) -> PenaltyPerWeight | None:
    """That of models of one kind, which all have a penalty per unit of weight or none of them."""
    if not parts:
        return None
    if len(parts) < models:
        raise TypeError("some of the models have a penalty on mean losses, others on summed ones: map them one by one")
    return PenaltyPerWeight(
        lambda x: np.concatenate([each.outputs(x) for each in parts], axis=1),
        np.concatenate([each.coordinates for each in parts]),
    )


@dataclass(frozen=True)
class JointRemoval:
    """Removal of groups from independent models, one after the other."""

    parts: tuple[RemovalInfluence, ...]

    def parameter_change(
        self, groups: Sequence[Array], steps: int = 200, tolerance: float = 1e-4
    ) -> tuple[tuple[Any, ...], Array]:
        """Parameter changes of every model, and the largest of their residuals `[g]`."""
        deltas, residuals = zip(*(part.parameter_change(groups, steps, tolerance) for part in self.parts), strict=True)
        return deltas, np.max(residuals, axis=0)

    def output_change(self, inputs: Any, deltas: tuple[Any, ...]) -> Array:
        """Changes `[n, Σc_k, g]`."""
        each = (part.output_change(inputs, delta) for part, delta in zip(self.parts, deltas, strict=True))
        return np.concatenate(list(each), axis=1)


@dataclass(frozen=True)
class MultiTargetExamples(Examples):
    """The same examples with several targets `[n, k]`, one column from each part."""

    parts: tuple[Examples, ...]

    def __len__(self) -> int:
        return len(self.parts[0])

    def __iter__(self) -> Iterator[Batch]:
        return (_stack_targets(batches) for batches in zip(*self.parts, strict=True))

    def take(self, rows: Any) -> Batch:
        """The examples at these positions, in one batch."""
        return _stack_targets([part.take(rows) for part in self.parts])


def _stack_targets(batches: Sequence[Batch]) -> Batch:
    return dataclasses.replace(batches[0], target=np.column_stack([batch.target for batch in batches]))


def _columns(target: Array) -> Array:
    """Targets `[n, k]`, also of one column that came as `[n]`."""
    return np.reshape(np.asarray(target), (len(target), -1))


def _select_target(k: int) -> Callable[[Batch], Batch]:
    return lambda batch: dataclasses.replace(batch, target=_columns(batch.target)[:, k])


@training_data.register(MultiOutputRegressor)
@training_data.register(MultiOutputClassifier)
def _data(model: Any, examples: Examples | None) -> Examples:
    if not hasattr(model, "estimators_"):
        raise DataError(f"{type(model).__name__} is not fitted: call model.fit(X, Y) before memory_map")
    if examples is None:
        raise ValueError(f"{type(model).__name__} does not keep its training data: pass it, memory_map(model, X, Y)")
    found = np.size(examples.take([0]).target)
    if found != len(model.estimators_):
        raise TargetError(f"{found} target column(s): the model was fitted on {len(model.estimators_)}, pass these")
    parts = map(_without_class_weight, model.estimators_)
    return MultiTargetExamples(
        tuple(training_data(part, examples.map(_select_target(k))) for k, part in enumerate(parts))
    )


def _without_class_weight(part: Any) -> Any:
    """A shallow copy of the estimator without `class_weight`: its examples have the weights common to all targets."""
    if not has_class_weights(part):
        return part
    unweighted = copy.copy(part)
    unweighted.class_weight = None
    return unweighted


def _target_posterior(part: Any, examples: Examples) -> tuple[Posterior, Likelihood]:
    """Posterior and likelihood of one target, with class weights as in training."""
    if not has_class_weights(part):
        fitted = posterior(part, examples)
        return fitted, fitted.likelihood
    weights = class_weights(part, examples)
    fitted = posterior(part, examples.map(functools.partial(apply_class_weights, weights)))
    return fitted, ClassWeightedLikelihood(fitted.likelihood, weights)


@posterior.register(MultiOutputRegressor)
@posterior.register(MultiOutputClassifier)
def _posterior(model: Any, examples: Examples) -> MultiOutputPosterior:
    fitted_targets = [
        _target_posterior(part, examples.map(_select_target(k))) for k, part in enumerate(model.estimators_)
    ]
    parts, likelihoods = zip(*fitted_targets, strict=True)
    one = examples.take([0]).inputs
    sizes = tuple(int(part.marginals(one).f.shape[1]) for part in parts)
    first, counts = parts[0].description, [part.description.effective_parameters for part in parts]
    description = dataclasses.replace(
        first,
        model=f"scikit-learn {type(model).__name__} of {len(parts)} {type(model.estimators_[0]).__name__}",
        likelihood=f"{first.likelihood}, {counted(len(parts), 'target')}",
        parameters=(), aliased=(), classes=(), rank=None, dispersion=None, residual_df=None, dispersion_estimated=False,
        effective_parameters=None if None in counts else float(sum(count for count in counts if count is not None)),
        distance=max((part.description.distance or 0.0) for part in parts),
        cautions=tuple(dict.fromkeys(caution for part in parts for caution in part.description.cautions)),
        relative_error=max((part.description.relative_error or 0.0) for part in parts) or None,
    )  # fmt: skip
    return MultiOutputPosterior(parts, ProductLikelihood(likelihoods, sizes), description)


def _training_target(k: int, likelihood: Likelihood) -> Callable[[Batch], Batch]:
    """A change of batches to target `k`, with its class weights."""
    select = _select_target(k)
    if not isinstance(likelihood, ClassWeightedLikelihood):
        return select
    return lambda batch: apply_class_weights(likelihood.weights, select(batch))


@polished.register(MultiOutputPosterior)
def _polished_targets(source: MultiOutputPosterior, examples: Examples) -> MultiOutputPosterior:
    columns = [_training_target(k, likelihood) for k, likelihood in enumerate(source.likelihood.parts)]
    parts = tuple(polished(part, examples.map(of)) for part, of in zip(source.parts, columns, strict=True))
    notes = parts[0].description.notes[-1:]
    description = dataclasses.replace(
        source.description,
        distance=max((part.description.distance or 0.0) for part in parts),
        notes=(*source.description.notes, *notes),
    )
    likelihoods = tuple(
        dataclasses.replace(before, likelihood=part.likelihood)
        if isinstance(before, ClassWeightedLikelihood)
        else part.likelihood
        for before, part in zip(source.likelihood.parts, parts, strict=True)
    )
    likelihood = dataclasses.replace(source.likelihood, parts=likelihoods)
    return MultiOutputPosterior(parts, likelihood, description)
