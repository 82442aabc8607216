"""A network and its optimizer as an instance of the Bayesian learning rule: `λ`, and each example's `g̃`.

    SGD, RMSprop, Adam    q = N(m, S⁻¹), S fixed           λ = S m            g̃_i = ∇ℓ_i(m)
    IVON, VON             q = N(m, S⁻¹), S = diag s        λ = (S m, −S/2)    g̃_i = (E∇ℓ_i − ĥ_i m, ½ ĥ_i)

with `ĥ_i = diag E[J_iᵀΛ_iJ_i]`. The algorithms of the first row scale their steps by an `S` that is not a sum over
examples, so removing an example changes the mean only. Sources: [BLR], [MPE] Table 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from memorymaps.core.arrays import Array
from memorymaps.core.bayesian_learning_rule import BLR, GaussianCandidate
from memorymaps.core.perturbation.local import FullVariance
from memorymaps.core.perturbation.sketched import SketchedVariance
from memorymaps.data.examples import DataError
from memorymaps.nets.autograd.batch_size import linearize, to_numpy
from memorymaps.nets.autograd.network import evaluation_mode
from memorymaps.nets.laplace.posterior import NetworkPosterior
from memorymaps.nets.optimizers.from_optimizer import FromOptimizer
from memorymaps.nets.optimizers.state_precision import OptimizerPrecision, precision_from_state
from memorymaps.nets.optimizers.trained_parameters import TrainedParameters
from memorymaps.nets.prior import prior_from
from memorymaps.posteriors.origin import Origin

if TYPE_CHECKING:
    from memorymaps.maps.memory_map import MemoryMap

_MAX_NUMBERS = 250_000_000  # largest number of values in all natural gradients: 2 GB


def rule_of(m: MemoryMap, recipe: FromOptimizer, rate: float = 1.0) -> BLR:
    """The learning rule at the state for which a map was computed, with the natural gradient of every example.

    Parameters
    ----------
    m : a map computed with `FromOptimizer`, its network and data in memory.
    recipe : the recipe it was computed with; the optimizer has taken no step since.
    rate : `ρ`; 1 takes the whole step that the state's precision describes.

    Returns
    -------
    `natural [k]`, `gradients [n, k]` of all training examples (also if the map contains only some of them), with
    `k = P` (or `2P` for variational optimisers), in the order of `m.origin.posterior.blocks`.

    Raises
    ------
    TypeError
        The map does not belong to this optimizer's current state, or its network is no longer in memory.
    DataError
        All natural gradients together would take more than 2 GB.

    Examples
    --------
    >>> import torch, memorymaps as mm
    >>> net, x, y = torch.nn.Linear(3, 2), torch.randn(40, 3), torch.arange(40) % 2
    >>> optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    >>> torch.nn.functional.cross_entropy(net(x), y).backward(); optimizer.step()
    >>> recipe = mm.FromOptimizer(optimizer, n=40)
    >>> rule = rule_of(mm.memory_map(net, x, y, likelihood="categorical", posterior=recipe), recipe)
    >>> rule.deviation([3, 7]).shape
    (8,)
    """
    state = precision_from_state(recipe.optimizer, recipe.n, recipe.loss)
    origin, source, variational = *_source(m, state), state.variational
    _refuse_large(source, variational)
    mean, precision, delta = (_packed(source, value) for value in _state(source, recipe, state))
    family = GaussianCandidate(len(mean), "diag" if variational else "fixed", None if variational else precision)
    gradient, hessian = (
        np.concatenate(each) for each in zip(*_gradient_chunks(origin, source, variational), strict=True)
    )
    # S learned: the prior contributes δm − δm = 0; S fixed: the KL term contributes −Sm
    prior = family.natural_gradients(mean, (delta * mean)[None], delta[None])[0]
    constant = prior if variational else prior - precision * mean
    return BLR(family, family.pack(mean, precision), family.natural_gradients(mean, gradient, hessian), constant, rate)


def _source(m: MemoryMap, state: OptimizerPrecision) -> tuple[Origin, NetworkPosterior]:
    source = m.origin.posterior if m.origin is not None else None
    if m.origin is None or not isinstance(source, NetworkPosterior):
        got = f"a map of {type(source).__name__}" if source is not None else "a map without its model"
        raise TypeError(f"got {got}: expected memory_map(net, …, posterior=FromOptimizer(…))")
    if source.description.algorithm != state.algorithm:
        raise TypeError(
            f"the map is of {source.description.algorithm!r} and the optimiser is at {state.algorithm!r}: "
            "compute it again with posterior=FromOptimizer(optimizer, n)"
        )
    return m.origin, source


def _refuse_large(source: NetworkPosterior, variational: bool) -> None:
    n = len(source.problem.examples)
    needed = n * source.covariance.size * (1 + variational)
    if needed > _MAX_NUMBERS:
        raise DataError(
            f"natural gradients of {n:,} examples × {source.covariance.size:,} parameters take {8 * needed / 1e9:.1f} "
            "GB: expected at most 2. Give the optimiser fewer parameters (train part of the network), or fewer examples"
        )


def _state(source: NetworkPosterior, recipe: FromOptimizer, state: OptimizerPrecision) -> Iterator[dict[str, Tensor]]:
    """Means, precisions and prior precisions by parameter."""
    module, covered = source.problem.network.module, source.problem.covered
    decays = prior_from(recipe.optimizer, recipe.n, loss=recipe.loss).of(module).by_parameter
    precision = TrainedParameters.of(recipe.optimizer).matched(state.precision, module)[1]
    yield {name: value.detach() for name, value in covered.items()}
    yield {name: precision[id(value)] + recipe.prior for name, value in covered.items()}
    yield {name: torch.as_tensor(decays.get(id(v), 0.0)).expand(v.shape) + recipe.prior for name, v in covered.items()}


def _packed(source: NetworkPosterior, values: dict[str, Tensor]) -> Array:
    return to_numpy(torch.cat([block.pack(values).reshape(-1).double() for block in source.blocks]))


def _gradient_chunks(origin: Origin, source: NetworkPosterior, variational: bool) -> Iterator[tuple[Array, Array]]:
    """`J_iᵀe_i` and `diag J_iᵀΛ_iJ_i` (row sums of `(J_iᵀR)²` with `Λ = RRᵀ`), chunk by chunk."""
    problem = source.problem
    for batch in (rows for whole in problem.examples for rows in origin.chunks(whole)):
        at = origin.batch_statistics(batch)
        roots = list(np.moveaxis(_root(at), -1, 0)) if variational else []
        directions = torch.as_tensor(np.stack([at.error, *roots]))

        def work(x: Any, rows: slice, directions: Tensor = directions) -> tuple[Array, Array]:
            linearized = linearize(source.network, problem.owners, x, rows, lambda _, rows: directions[:, rows])
            g = torch.cat(
                [linearized.gradient(block).materialize(slice(None)).double() for block in source.blocks], dim=-1
            )
            return to_numpy(g[:, 0]), to_numpy(g[:, 1:].square().sum(1))

        parts = problem.batch_size.run(batch.inputs, work)
        while True:
            with evaluation_mode(
                source.network.module
            ):  # not around `yield`: what is done with a part is not our doing
                found = next(parts, None)
            if found is None:
                break
            yield found


def _root(at: FullVariance | SketchedVariance) -> Array:
    """`R [n, c, c]` with `RRᵀ = wΛ`."""
    curvature = at.weight[:, None, None] * at.likelihood.curvature(at.f, at.y)
    values, vectors = np.linalg.eigh(curvature)
    return vectors * np.sqrt(np.clip(values, 0, None))[:, None, :]
