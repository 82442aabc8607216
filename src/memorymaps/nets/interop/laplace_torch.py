"""Fitted posteriors of the laplace-torch package: `memory_map(la, X, y)`.

Variances are computed by its own public functions, on batches small enough for the Jacobians they need.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from laplace.baselaplace import BaseLaplace, FullLaplace, ParametricLaplace
from laplace.lllaplace import LLLaplace
from laplace.subnetlaplace import SubnetLaplace
from torch import Tensor
from torch.nn.utils import parameters_to_vector

from memorymaps.core.arrays import Batch
from memorymaps.core.likelihoods.base import Likelihood
from memorymaps.core.likelihoods.categorical import Categorical
from memorymaps.core.likelihoods.exponential_family import Gaussian
from memorymaps.core.wording import counted
from memorymaps.data.examples import DataError, Examples
from memorymaps.data.in_memory import ArrayExamples
from memorymaps.nets.autograd.batch_size import to_numpy
from memorymaps.nets.autograd.network import Network, evaluation_mode
from memorymaps.nets.autograd.pytree import length, take_rows
from memorymaps.nets.checks.network_checks import check_outputs
from memorymaps.nets.data.loaders import from_anything
from memorymaps.nets.laplace.cautions import held_parameters
from memorymaps.nets.parameter_bits import module_state, tensor_state
from memorymaps.posteriors.approximation import Approximation
from memorymaps.posteriors.contract import Description, Marginals
from memorymaps.posteriors.model_state import parameters_of
from memorymaps.posteriors.registry import examples_for, posterior, training_data

_SAMPLE = 200  # examples by which effective parameters are counted
_MAX_JACOBIAN_NUMBERS = 2**26  # largest number of values in the Jacobians of one chunk: 256 MB in single precision


@dataclass(frozen=True)
class LaplaceTorchPosterior:
    """Posterior `q(θ)` of laplace-torch."""

    fitted: Any
    network: Network
    description: Description

    @property
    def likelihood(self) -> Likelihood:
        """Observation model `p(y | f)`."""
        return self.network.likelihood

    def marginals(self, inputs: Any) -> Marginals:
        """`f [n, c]` and `V [n, c, c]`, from explicit Jacobians."""
        per_example = max(1, self.fitted.n_outputs * self.fitted.n_params)
        step = max(1, _MAX_JACOBIAN_NUMBERS // per_example)
        parts = [slice(k, k + step) for k in range(0, length(inputs), step)]
        with evaluation_mode(self.network.module):
            found = [self._part(self.network.to_device(take_rows(inputs, chunk))) for chunk in parts]
        f, variance = (np.concatenate(each) for each in zip(*found, strict=True))
        return Marginals(f, variance)

    def _part(self, x: Any) -> tuple[Any, Any]:
        backend = self.fitted.backend
        last = isinstance(self.fitted, LLLaplace)
        jacobians, f = backend.last_layer_jacobians(x) if last else backend.jacobians(x)
        return to_numpy(f), to_numpy(self.fitted.functional_variance(jacobians))


def _approximation(model: BaseLaplace) -> Approximation:
    if isinstance(model, (LLLaplace, SubnetLaplace)):
        return Approximation.SOME_PARAMETERS
    return Approximation.EXACT_CURVATURE if isinstance(model, FullLaplace) else Approximation.APPROXIMATE_CURVATURE


def _distance(fitted: LaplaceTorchPosterior, examples: Examples) -> float:
    """`√(∇Lᵀ Σ ∇L/d)`: posterior standard deviations for each of the `d` effective parameters, by a sample of rows."""
    model = fitted.fitted
    total = model.prior_precision_diag * _of_posterior(model, model.mean - model.prior_mean)
    for batch in examples:
        with evaluation_mode(fitted.network.module):
            total = total + _gradient(fitted, batch)
    squared = model.functional_variance(total[None, None]).clamp(min=0)
    sample = examples.sample(_SAMPLE)
    found = fitted.marginals(sample.inputs)
    curvature = fitted.likelihood.curvature(torch.as_tensor(found.f), torch.as_tensor(sample.target))
    effective = len(examples) * float((to_numpy(curvature) * found.variance).sum((1, 2)).mean())
    return float(squared.sqrt()) / math.sqrt(max(1.0, effective))


def _gradient(fitted: LaplaceTorchPosterior, batch: Batch) -> Tensor:
    """`−Σ_i J_iᵀe_i` of a batch, over the parameters of the posterior."""
    model = fitted.fitted
    parameters = list(model.model.last_layer.parameters()) if isinstance(model, LLLaplace) else model.params
    with torch.enable_grad():
        f = fitted.network.outputs(fitted.network.to_device(batch.inputs))
        error = fitted.likelihood.error(f.detach().double(), torch.as_tensor(batch.target, device=f.device))
        found = parameters_to_vector(torch.autograd.grad(f, parameters, error.to(f)))
    return _of_posterior(model, found)


def _of_posterior(model: Any, values: Tensor) -> Tensor:
    """Those of a subnetwork's parameters among all the network's; all of them for other posteriors."""
    return values[model.backend.subnetwork_indices] if isinstance(model, SubnetLaplace) else values


@posterior.register(BaseLaplace)
def _posterior(model: Any, examples: Examples) -> LaplaceTorchPosterior:
    if not isinstance(model, ParametricLaplace):
        raise TypeError(
            f"{type(model).__name__} has no parameter posterior: fit laplace.Laplace with another structure"
        )
    likelihood = _likelihood(model)
    network = Network(model.model, likelihood)
    _check_outputs(network, next(iter(examples)).inputs)
    structure = type(model).__name__
    exact = isinstance(model, FullLaplace)
    delta = torch.as_tensor(model.prior_precision).reshape(-1)
    description = Description(
        model=f"{type(model.model).__name__}, {counted(model.n_params, 'parameter')} in laplace-torch",
        approximation=_approximation(model),
        posterior=f"{structure} of laplace-torch",
        likelihood=type(likelihood).__name__,
        prior=f"δ = {float(delta.min()):.4g}" + (f" … {float(delta.max()):.4g}" if len(delta) > 1 else ""),
        algorithm="the trained network (a stationary point)",
        classes=tuple(range(model.n_outputs)) if isinstance(likelihood, Categorical) else (),
        hyperparameters_held=held_parameters(model.model, len(_of_posterior(model, model.mean))),
        nonlinear=not isinstance(model, LLLaplace),
        estimator="cavity" if exact else "first_order",
        notes=() if exact else ("Curvature is approximate: sizes by the first-order estimator, read them as ranks.",),
    )
    found = LaplaceTorchPosterior(model, network, description)
    return replace(found, description=replace(description, distance=_distance(found, examples)))


def _check_outputs(network: Network, inputs: Any) -> None:
    try:
        check_outputs(network, inputs)
    except DataError as error:
        raise DataError(
            f"{error}. laplace-torch has no forward=: fit it to a module without that part, or map the network itself, "
            "memory_map(net, X, y, likelihood=…, posterior=Laplace(forward=…, prior=δ))"
        ) from error


@parameters_of.register(BaseLaplace)
def _state(model: Any) -> dict[str, Any]:
    values = {name: getattr(model, name, None) for name in ("mean", "prior_precision", "sigma_noise", "temperature")}
    return {
        "network": module_state(model.model),
        **tensor_state({name: torch.as_tensor(value) for name, value in values.items() if value is not None}),
    }


examples_for.register(BaseLaplace)(from_anything)


def _likelihood(model: Any) -> Likelihood:
    if str(model.likelihood).endswith("classification"):
        return Categorical()
    if str(model.likelihood).endswith("regression"):
        return Gaussian(dispersion=float(model.sigma_noise) ** 2)
    raise ValueError(f"likelihood {model.likelihood!r} of laplace-torch: expected 'classification' or 'regression'")


@training_data.register(BaseLaplace)
def _data(model: Any, examples: Examples | None) -> Examples:
    if examples is None:
        raise ValueError("laplace-torch does not keep its training data: memory_map(la, data) with the same data")
    if getattr(model, "n_data", 0) == 0:
        raise ValueError("the laplace-torch posterior is not fitted: call la.fit(train_loader) first")
    if isinstance(examples, ArrayExamples):
        return replace(examples, batch_size=min(examples.batch_size, 256))
    return examples
