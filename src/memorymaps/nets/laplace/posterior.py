"""Gaussian posterior of a network: marginals, covariance products, group removal and refits."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from memorymaps.core.arrays import Array
from memorymaps.core.likelihoods.base import Likelihood
from memorymaps.data.fingerprint import digest_of
from memorymaps.nets.autograd.batch_size import linearize, to_numpy
from memorymaps.nets.autograd.error_context import name_failing_example
from memorymaps.nets.autograd.hooks import one_hot_directions
from memorymaps.nets.autograd.network import Network, evaluation_mode
from memorymaps.nets.autograd.parameter_blocks import ParameterBlock
from memorymaps.nets.autograd.pytree import length
from memorymaps.nets.covariance.block_diagonal import (
    MAX_FACTORED_PARAMETERS,
    BlockDiagonalCovariance,
    HessianCovariance,
    PosteriorCovariance,
)
from memorymaps.nets.covariance.directional import ChooseDirections, DirectionalBatch
from memorymaps.nets.covariance.tangent_kernel import gradient_factors, kernel_of_factors
from memorymaps.nets.curvature.ggn import ggn_operator
from memorymaps.nets.laplace_problem import LaplaceProblem
from memorymaps.nets.refit.group_refit import GROUP_PASSES, MOST_GROUPS, NetworkGroupRefit
from memorymaps.nets.refit.influence import removal_influence
from memorymaps.nets.refit.objective import LeaveOutObjective, affordable_refits, refit_outputs
from memorymaps.nets.refit.queries import query_solutions
from memorymaps.posteriors.capabilities import Capabilities, CrossCovariance, ModelKernel
from memorymaps.posteriors.contract import Description, Marginals

_MAX_FULL_OUTPUTS = 32  # number of outputs beyond which V is computed along directions only
_DEFAULT_DIRECTIONS = 1
_TANGENT_RIDGE = 3.0  # in units of the kernel's mean diagonal (chosen by measurement: docs/answers/wrong_labels.md)
_OUTPUTS_PER_PASS = 16  # outputs whose variances are computed in one set of reverse passes
_DIRECTIONAL_NOTE = (
    "Leverage along {} leading direction{} of each Λ, the error and one signed random direction: unbiased, not exact. "
    "Deviations are exact to first order; the cavity form uses Λ along these directions. directions=0: all C × C."
)
_GAUSS_NEWTON = (
    "Gauss-Newton curvature: what one example does to others' predictions lies in directions of little curvature, "
    "where the rest of the Hessian counts. Classifiers were 0.2 to 0.6 off retraining, for random examples 0.2 to 0.9. "
    "Of a small network at its minimum Laplace('hessian') has it"
)


@dataclass(frozen=True)
class NetworkPosterior:
    """`q(θ) = N(θ*, S⁻¹)` over a network's covered parameters; all others are fixed."""

    problem: LaplaceProblem
    covariance: PosteriorCovariance
    description: Description

    @property
    def capabilities(self) -> Capabilities:
        """Covariances with given predictions, removal of groups by iteration, refits, of groups where affordable."""
        numbers = self.problem.num_outputs * self.problem.num_parameters
        groups = NetworkGroupRefit(
            self.refit,
            lambda: affordable_refits(self.problem, self.covariance, GROUP_PASSES, MOST_GROUPS),
        )
        return Capabilities(
            cross_covariance=CrossCovariance(self.cross_covariance, numbers),
            removal=self, refit=self, fingerprint=self.fingerprint, group_refit=groups,
            gradient_norm=self.gradient_norm, query_caution=self._query_caution,
            kernel=None if self.problem.ranks.size > 1 else ModelKernel(self.tangent_kernel, _TANGENT_RIDGE, numbers),
        )  # fmt: skip

    @property
    def _query_caution(self) -> str:
        complete = self.problem.is_linear or isinstance(self.covariance, HessianCovariance)
        return "" if complete else _GAUSS_NEWTON

    def tangent_kernel(self, inputs: Any) -> Array:
        """Inner products of the outputs' gradients over the covered parameters, `[n, n]` of mean diagonal 1."""

        def work(x: Any, rows: slice) -> Any:
            batch = linearize(self.network, self.problem.owners, x, rows, lambda f, _: one_hot_directions(f))
            return gradient_factors(batch, self.blocks)

        with evaluation_mode(self.network.module), self._error_context():
            gram = kernel_of_factors(list(self.problem.batch_size.run(inputs, work)), self.problem.num_outputs)
        return to_numpy(gram / gram.diagonal().mean())

    def gradient_norm(self, inputs: Any, error: Array) -> Array:
        """`‖J_iᵀe_i‖₂ [n]` over the covered parameters: one reverse pass for each batch."""

        def work(x: Any, rows: slice) -> Array:
            along = torch.as_tensor(np.asarray(error)[rows], device=self.network.device)[None]
            batch = linearize(self.network, self.problem.owners, x, rows, lambda f, _: along.to(f))
            every = slice(0, len(batch.f))
            squares = [batch.gradient(b).materialize(every).double().square().sum((1, 2)) for b in self.blocks]
            return to_numpy(torch.stack(squares).sum(0).sqrt())

        with evaluation_mode(self.network.module), self._error_context():
            return np.concatenate(list(self.problem.batch_size.run(inputs, work)))

    def fingerprint(self) -> str:
        """Hash of the module's parameters and buffers, and of the prior precisions."""
        state = {**self.network.module.state_dict(), **{f"δ {n}": v for n, v in self.problem.prior.items()}}
        return digest_of({name: value.reshape(-1) for name, value in state.items() if isinstance(value, torch.Tensor)})

    @property
    def network(self) -> Network:
        """The network."""
        return self.problem.network

    @property
    def likelihood(self) -> Likelihood:
        """Observation model `p(y | f)`."""
        return self.network.likelihood

    @functools.cached_property
    def preconditioner(self) -> PosteriorCovariance:
        """What systems with the exact curvature and refits are preconditioned by: the posterior's own covariance."""
        return self.covariance

    @property
    def blocks(self) -> tuple[ParameterBlock, ...]:
        """The covered blocks, in the order of coordinates."""
        return tuple(block for group in self.covariance.groups for block in group.blocks)

    def _error_context(self) -> AbstractContextManager[None]:
        return name_failing_example(self.network, self.problem.examples)

    def marginals(self, inputs: Any) -> Marginals:
        """`f [n, c]` and `V = J S⁻¹ Jᵀ [n, c, c]`, as float64 arrays."""

        def work(x: Any, rows: slice) -> tuple[Array, Array]:
            batch = linearize(self.network, self.problem.owners, x, rows, lambda f, _: one_hot_directions(f))
            return to_numpy(batch.f), to_numpy(self.covariance.variance(batch, batch.f.shape[1]))

        with evaluation_mode(self.network.module), self._error_context():
            found = list(self.problem.batch_size.run(inputs, work))
        f, variance = (np.concatenate(each) for each in zip(*found, strict=True))
        return Marginals(f, variance)

    def directional_marginals(self, inputs: Any, choose: ChooseDirections) -> DirectionalBatch:
        """The batch restricted to directions `D = choose(f, rows) [n, c, k]`: `k` reverse passes."""
        with self._error_context():
            return DirectionalBatch.of(self.problem, self.covariance, inputs, choose)

    def top_marginals(self, inputs: Any, k: int) -> tuple[Array, Marginals]:
        """The `k` largest outputs of each example, `[n, k]`, with their values and `V [n, k, k]`.

        Raises
        ------
        ValueError
            Fewer than one output, or more than there are.
        """
        if not 1 <= k <= self.problem.num_outputs:
            raise ValueError(f"k = {k} of {self.problem.num_outputs} outputs: expected 1 to {self.problem.num_outputs}")

        def choose(f: Array, _: slice) -> Array:
            return _one_hot_columns(_top_outputs(f, k), f.shape[1])

        batch = self.directional_marginals(inputs, choose)
        top = _top_outputs(batch.f, k)
        return top, Marginals(np.take_along_axis(batch.f, top, axis=1), batch.gram)

    def variances(self, inputs: Any) -> Array:
        """Diagonals of all `V`, `[n, c]`, without `C × C` matrices."""
        c = self.problem.num_outputs
        parts = (np.arange(start, min(c, start + _OUTPUTS_PER_PASS)) for start in range(0, c, _OUTPUTS_PER_PASS))
        batch = (self.directional_marginals(inputs, functools.partial(_fixed_outputs, rows)) for rows in parts)
        return np.concatenate([np.diagonal(each.gram, axis1=1, axis2=2) for each in batch], axis=1)

    def respond(self, inputs: Any, direction: Array) -> Array:
        """`V d [n, c]` for one direction `d [n, c]` per example: a reverse pass, a solve, a forward-mode product.

        Raises
        ------
        ValueError
            Directions of another shape.
        """
        d, shape = np.asarray(direction, dtype=float), (length(inputs), self.problem.num_outputs)
        if d.shape != shape:
            raise ValueError(f"directions of shape {d.shape}: expected one per example, {shape}")
        batch = self.directional_marginals(inputs, lambda _, rows: d[rows, :, None])
        return batch.matvec(np.ones((len(batch.f), 1)))

    def outputs(self, inputs: Any) -> Array:
        """Outputs `f [n, c]`."""
        with evaluation_mode(self.network.module), torch.no_grad():
            found = self.problem.batch_size.run(
                inputs, lambda x, _: to_numpy(self.network.outputs(self.network.to_device(x)))
            )
            return np.concatenate(list(found))

    def cross_covariance(self, queries: Any) -> Callable[[Any], Array]:
        """Function from inputs to the covariances `J S⁻¹J_*ᵀ [n, c, k, c]` with the outputs of `k` queries.

        One linear system `S x = J_*ᵀ` for each of the `k c` outputs, with the exact curvature, by conjugate gradients
        with this posterior as preconditioner; then one forward-mode product for each and every batch of inputs.

        Raises
        ------
        ValueError
            A system that has not converged.
        """
        with evaluation_mode(self.network.module), self._error_context():
            solutions = query_solutions(self.problem, self.preconditioner, queries)
        c = self.problem.num_outputs

        def covariances(inputs: Any) -> Array:
            found = self.output_change(inputs, solutions)
            return found.reshape(*found.shape[:2], -1, c)

        return covariances

    def parameter_change(
        self, groups: Sequence[Array], steps: int = 200, tolerance: float = 1e-4
    ) -> tuple[Array, Array]:
        """Parameter changes for removed groups of training rows, `[g, P]`,
        and relative residuals `[g]` (influence functions).

        `(S − J_MᵀΛ_MJ_M)⁻¹ J_Mᵀe_M` with the exact curvature, by conjugate gradients with this posterior as
        preconditioner; one pass over the data per step, for all groups together.
        """
        with evaluation_mode(self.network.module):
            return removal_influence(self.problem, self.preconditioner, groups, steps, tolerance)

    def output_change(self, inputs: Any, deltas: Array) -> Array:
        """`J δ [n, c, g]`: output changes for parameter changes `δ [g, P]`, to first order."""
        with evaluation_mode(self.network.module):
            operator = ggn_operator(self.problem)
            changes = torch.as_tensor(deltas).to(operator.prior)
            found = self.problem.batch_size.run(inputs, lambda x, _: to_numpy(operator.jvp(x, changes)))
            return np.concatenate([each.transpose(1, 2, 0) for each in found])

    def refit(self, removed: Array, wanted: Array, steps: int = 200, tolerance: float = 0.05) -> tuple[Array, float]:
        """Retrain without some rows: outputs `f [n, c]` of the rows `wanted`, and what is left of the gradient.

        `argmin L(θ) − Σ_{i∈M} w_iℓ_i(θ)`, started at the minimum `θ°` that training leads to from the trained weights.
        Ends where the gradient is `tolerance` of what it was when the rows were removed. With no rows removed: `f(θ°)`.
        The module's weights are unchanged.
        """
        with evaluation_mode(self.network.module), self._error_context():
            return refit_outputs(self._objective.without(removed), self.preconditioner, wanted, steps, tolerance)

    @property
    def concurrent(self) -> bool:
        """One refit at a time: each pass uses all cores."""
        return False

    def max_automatic_refits(self) -> int:
        """Number of refits that `"auto"` makes by default where sizes may be unreliable: about a minute or two."""
        return affordable_refits(self.problem, self.covariance) if self.problem.refits_unasked else 0

    @functools.cached_property
    def _objective(self) -> LeaveOutObjective:
        return LeaveOutObjective.at_minimum(self.problem, self.preconditioner)


@dataclass(frozen=True)
class FactoredNetworkPosterior(NetworkPosterior):
    """A network posterior that can materialise each example's `Z [c, P]`, for small networks."""

    covariance: BlockDiagonalCovariance

    @property
    def capabilities(self) -> Capabilities:
        """Those of every network, and the covariance's root."""
        return replace(super().capabilities, covariance_root=self.covariance_root)

    def covariance_root(self, inputs: Any) -> Array:
        """Whitened Jacobians `Z [n, c, P]` with `V_ij = Z_i Z_jᵀ`."""

        def work(x: Any, rows: slice) -> Array:
            return to_numpy(
                self.covariance.covariance_root(
                    linearize(self.network, self.problem.owners, x, rows, lambda f, _: one_hot_directions(f))
                )
            )

        with evaluation_mode(self.network.module):
            return np.concatenate(list(self.problem.batch_size.run(inputs, work)))


@dataclass(frozen=True)
class DirectionalNetworkPosterior(NetworkPosterior):
    """A network posterior for many outputs: `V` along chosen directions, at a cost that does not depend on `c`."""

    directions: int = 2

    @property
    def capabilities(self) -> Capabilities:
        """Variances along directions, removal of groups by iteration, and refits."""
        return replace(super().capabilities, directional=self)

    def chunks(self, inputs: Any) -> Iterator[tuple[slice, Any]]:
        """Inputs in chunks whose recorded tensors fit in memory, with their rows."""
        return self.problem.batch_size.run(inputs, lambda x, rows: (rows, x))


def _top_outputs(f: Array, k: int) -> Array:
    """Indices `[n, k]` of the largest outputs, in descending order."""
    return np.argsort(-f, axis=1, kind="stable")[:, :k]


def _one_hot_columns(positions: Array, c: int) -> Array:
    """One-hot directions `[n, c, k]` for the outputs at `positions [n, k]`."""
    return np.swapaxes(np.eye(c)[positions], 1, 2)


def _fixed_outputs(rows: Array, f: Array, _: slice) -> Array:
    """One-hot directions of the same outputs for every example."""
    return _one_hot_columns(np.broadcast_to(rows, (len(f), len(rows))), f.shape[1])


def build_posterior(
    problem: LaplaceProblem, covariance: PosteriorCovariance, description: Description, directions: int | None
) -> NetworkPosterior:
    """The posterior class for the problem's size, with the requested (or default) number of leading directions."""
    wanted = (
        (_DEFAULT_DIRECTIONS if problem.num_outputs > _MAX_FULL_OUTPUTS else 0) if directions is None else directions
    )
    if wanted:
        annotated = replace(
            description, notes=(*description.notes, _DIRECTIONAL_NOTE.format(wanted, "s" * (wanted > 1)))
        )
        return DirectionalNetworkPosterior(problem, covariance, annotated, wanted)
    if isinstance(covariance, BlockDiagonalCovariance) and problem.num_parameters <= MAX_FACTORED_PARAMETERS:
        return FactoredNetworkPosterior(problem, covariance, description)
    return NetworkPosterior(problem, covariance, description)
