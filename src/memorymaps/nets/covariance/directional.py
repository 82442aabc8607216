"""A batch restricted to chosen output directions: `DᵀVD` and products `V D s`, after one forward pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from memorymaps.core.arrays import Array
from memorymaps.nets.autograd.batch_size import linearize, to_numpy
from memorymaps.nets.autograd.hooks import differentiable_cotangents, one_hot_directions, record_forward
from memorymaps.nets.autograd.network import evaluation_mode
from memorymaps.nets.autograd.per_example_gradients import LinearizedBatch
from memorymaps.nets.autograd.pytree import length
from memorymaps.nets.covariance.block_diagonal import PosteriorCovariance
from memorymaps.nets.covariance.tangents import PreconditionedBatch
from memorymaps.nets.laplace_problem import LaplaceProblem

_OUTPUTS_PER_PASS = 16  # outputs whose covariances are computed in one set of reverse passes
ChooseDirections = Callable[[Array, slice], Array]


@dataclass(frozen=True)
class DirectionalChunk:
    """The network linearised at one chunk of a batch, restricted to `k` output directions `D [n, c, k]` per example.

    `call_cotangents` are the cotangents of the first direction, `cotangent [n, c]`, as functions of it. They are linear
    in it, so that their reverse pass with tangents `δ` at the calls is the forward-mode product `Σ J_call δ`.
    """

    preconditioned: PreconditionedBatch
    directions: Array
    cotangent: Tensor
    call_cotangents: dict[int, Tensor]

    @classmethod
    def of(
        cls, problem: LaplaceProblem, covariance: PosteriorCovariance, inputs: Any, choose: Callable[[Array], Array]
    ) -> DirectionalChunk:
        """One forward pass, and one reverse pass for each direction that `choose(f)` returns."""
        f, calls = record_forward(problem.network, problem.network.to_device(inputs), problem.owners)
        chosen = choose(to_numpy(f))
        cotangent, *others = torch.as_tensor(chosen).permute(2, 0, 1).to(f)
        cotangent = cotangent.clone().requires_grad_()
        call_cotangents, g = differentiable_cotangents(f, calls, cotangent, others)
        batch = LinearizedBatch(problem.network, f.detach(), tuple(calls), tuple(g))
        by_call = {id(call): each for call, each in zip(calls, call_cotangents, strict=True)}
        return cls(PreconditionedBatch.of(covariance, batch), chosen, cotangent, by_call)

    @property
    def f(self) -> Array:
        """Outputs `f [n, c]`."""
        return to_numpy(self.preconditioned.batch.f)

    def gram(self) -> Array:
        """`DᵀVD [n, k, k]`."""
        return to_numpy(self.preconditioned.variance())

    def matvec(self, coefficients: Array) -> Array:
        """`V D s [n, c]` for coefficients `s [n, k]`: one solve and a double-backward pass."""
        tangents = self.preconditioned.posterior_tangents(torch.as_tensor(coefficients).to(self.cotangent))
        pairs = [(self.call_cotangents[id(call)], tangent.to(self.cotangent.dtype)) for call, tangent in tangents]
        found = torch.autograd.grad([a for a, _ in pairs], self.cotangent, [b for _, b in pairs], retain_graph=True)
        return to_numpy(found[0])


@dataclass(frozen=True)
class DirectionalBatch:
    """A batch restricted to chosen directions; a batch that fits in one chunk stays linearised for later products."""

    problem: LaplaceProblem
    covariance: PosteriorCovariance
    inputs: Any
    f: Array
    directions: Array
    gram: Array
    _cached: list[DirectionalChunk] = field(default_factory=list)

    @classmethod
    def of(
        cls, problem: LaplaceProblem, covariance: PosteriorCovariance, inputs: Any, choose: ChooseDirections
    ) -> DirectionalBatch:
        """Outputs, directions and `DᵀVD`, chunk by chunk."""
        whole, cached = slice(0, length(inputs)), []

        def work(x: Any, rows: slice) -> tuple[Array, Array, Array]:
            chunk = DirectionalChunk.of(problem, covariance, x, lambda f: choose(f, rows))
            cached.extend([chunk] * (rows == whole))
            return chunk.f, chunk.directions, chunk.gram()

        with evaluation_mode(problem.network.module):
            found = zip(*problem.batch_size.run(inputs, work), strict=True)
            f, directions, gram = map(_concatenate, found)
        return cls(problem, covariance, inputs, f, directions, gram, cached)

    def matvec(self, coefficients: Array) -> Array:
        """`V D s [n, c]` for coefficients `s [n, k]`."""

        def work(x: Any, rows: slice) -> Array:
            if self.problem.has_second_derivatives:
                return self._chunk(x, rows).matvec(coefficients[rows])
            d = np.einsum("nck,nk->nc", self.directions[rows], coefficients[rows])
            return _matvec_by_gradients(self.problem, self.covariance, x, torch.as_tensor(d))

        with evaluation_mode(self.problem.network.module):
            return _concatenate(list(self.problem.batch_size.run(self.inputs, work)))

    def _chunk(self, x: Any, rows: slice) -> DirectionalChunk:
        """The cached chunk if it is the whole batch; else (after memory ran out) the chunk linearised again."""
        if rows != slice(0, len(self.f)):
            self._cached.clear()
        return (
            self._cached[0]
            if self._cached
            else DirectionalChunk.of(self.problem, self.covariance, x, lambda _: self.directions[rows])
        )


def _matvec_by_gradients(
    problem: LaplaceProblem, covariance: PosteriorCovariance, inputs: Any, d: torch.Tensor
) -> Array:
    """`V d [n, c]` for directions `d [n, c]` from the gradients of all outputs, for networks that cannot be
    differentiated twice.
    """
    found = []
    for outputs in torch.arange(d.shape[1]).split(_OUTPUTS_PER_PASS):

        def directions(f: torch.Tensor, _: slice, outputs: torch.Tensor = outputs) -> torch.Tensor:
            return torch.cat([one_hot_directions(f)[outputs.to(f.device)], d.to(f)[None]])

        batch = linearize(problem.network, problem.owners, inputs, slice(None), directions)
        found.append(to_numpy(PreconditionedBatch.of(covariance, batch).variance()[:, :-1, -1]))
    return np.concatenate(found, axis=1)


def _concatenate(pieces: Sequence[Array]) -> Array:
    """Arrays of consecutive chunks as one array."""
    return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
