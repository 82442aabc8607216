"""scikit-learn's multi-layer perceptrons as torch networks with the same weights.

scikit-learn minimises `(Σ_i w_i ℓ_i + alpha ‖W‖²/2)/Σw` over each *batch* (all data for L-BFGS): for the summed loss
the weights' prior precision is `δ = alpha · n/batch_size`, and biases have none. Squared error is a Gaussian
likelihood with estimated noise, `φ = Σ_i w_i ‖e_i‖²/(c Σw)`; the prior is then `δ/φ`, and leverage does not depend on
φ. (With several targets scikit-learn's loss and gradient differ by a factor `c`; its gradient is used here.)
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.exceptions import NotFittedError
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.utils.validation import check_is_fitted
from torch import nn
from torch.nn.utils import skip_init

from memorymaps.core.arrays import Array, Batch
from memorymaps.core.likelihoods.base import Likelihood, TargetError
from memorymaps.core.likelihoods.categorical import Categorical
from memorymaps.core.likelihoods.exponential_family import Bernoulli, Gaussian, Poisson
from memorymaps.data.class_labels import encode_labels
from memorymaps.data.examples import DataError, Examples
from memorymaps.models.linear.design_matrix import Design
from memorymaps.nets.autograd.network import Network
from memorymaps.nets.laplace.fitting import fit, training_examples
from memorymaps.nets.laplace.posterior import NetworkPosterior
from memorymaps.nets.prior import Prior
from memorymaps.nets.recipe import Laplace, LaplaceNetwork
from memorymaps.posteriors.origin import check_targets
from memorymaps.posteriors.registry import posterior, training_data

FREE_PRECISION = 1e-6  # prior precision of unregularised parameters: precision matrices must be invertible
_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "identity": nn.Identity,
    "logistic": nn.Sigmoid,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
}


def as_module(model: MLPClassifier | MLPRegressor) -> nn.Sequential:
    """The fitted network as a torch module in double precision, without its last activation: logits, log rates.

    Raises
    ------
    NotFittedError
        The model has no weights yet.
    UnsupportedModelError, TypeError
        An activation that is not one of scikit-learn's four.

    Examples
    --------
    >>> import numpy as np, torch
    >>> from sklearn.neural_network import MLPRegressor
    >>> x = np.random.default_rng(0).normal(size=(30, 2))
    >>> model = MLPRegressor(hidden_layer_sizes=(4,), solver="lbfgs", max_iter=500, random_state=0).fit(x, x[:, 0])
    >>> bool(np.allclose(as_module(model)(torch.as_tensor(x)).detach()[:, 0], model.predict(x)))
    True
    """
    _check(model)
    layers: list[nn.Module] = []
    for weight, bias in zip(model.coefs_, model.intercepts_, strict=True):
        layer = skip_init(nn.Linear, *weight.shape, dtype=torch.float64)  # no random numbers are drawn
        with torch.no_grad():
            layer.weight.copy_(torch.as_tensor(weight.T.astype(float)))
            layer.bias.copy_(torch.as_tensor(bias.astype(float)))
        layers += [layer, _ACTIVATIONS[model.activation]()]
    return nn.Sequential(*layers[:-1])


def prior_of(model: MLPClassifier | MLPRegressor, module: nn.Module, n: int, dispersion: float = 1.0) -> Prior:
    """Prior precision `δ/φ` of weights, and `FREE_PRECISION/φ` of biases."""
    size = n if model.solver == "lbfgs" else min(200, n) if model.batch_size == "auto" else min(model.batch_size, n)
    delta = float(model.alpha) * n / size
    values = {
        id(value): max(delta, FREE_PRECISION) / dispersion if name.endswith("weight") else FREE_PRECISION / dispersion
        for name, value in module.named_parameters()
    }
    batches = "" if size == n else f" · n/batch_size = {model.alpha:.4g} · {n}/{size}"
    unit = "" if dispersion == 1 else "/φ"
    return Prior(None, f"δ = alpha{batches} = {delta:.4g}{unit} on weights, from the model; biases free (1e-6)", values)


def _check(model: Any) -> None:
    try:
        check_is_fitted(model, "coefs_")
    except NotFittedError as error:
        raise NotFittedError(f"{type(model).__name__} is not fitted: call model.fit(X, y) before memory_map") from error
    if model.early_stopping:
        raise ValueError(
            f"{type(model).__name__}(early_stopping=True) excluded {model.validation_fraction:.0%} of the rows from "
            "training and does not record which: fit with early_stopping=False"
        )


@dataclass(frozen=True)
class TableNetwork(Network):
    """A network of tabular inputs; features are checked before they become tensors."""

    design: Callable[[Any], Array] = np.asarray

    def to_device(self, inputs: Any) -> Any:
        """Finite features, in double precision."""
        return super().to_device(self.design(inputs))


def _likelihood(model: Any) -> Likelihood:
    """The likelihood that belongs to scikit-learn's output activation."""
    found: dict[str, Likelihood] = {"softmax": Categorical(), "logistic": Bernoulli(), "exp": Poisson()}
    return found.get(model.out_activation_, Gaussian())


def _noise_variance(network: Network, examples: Examples) -> float:
    total, weight, c = 0.0, 0.0, 1
    for batch in examples:
        with torch.no_grad():
            f = network.outputs(network.to_device(batch.inputs)).numpy()
        check_targets(network.likelihood, batch, f.shape[1])
        w = np.ones(len(f)) if batch.weight is None else batch.weight
        c = f.shape[1]
        total += float(w @ np.sum(network.likelihood.residual(f, batch.target) ** 2, axis=1))
        weight += float(np.sum(w))
    if total == 0:
        raise DataError(
            "all residuals are exactly zero: the noise variance is zero and leverage is undefined. Fit again with a "
            "larger alpha"
        )
    return total / (c * weight)


@posterior.register(MLPClassifier)
@posterior.register(MLPRegressor)
def _posterior(model: Any, examples: Examples) -> NetworkPosterior:
    module, likelihood = as_module(model), _likelihood(model)
    network = TableNetwork(module, likelihood, design=Design.of_estimator(model))
    phi = _noise_variance(network, examples) if isinstance(likelihood, Gaussian) else 1.0
    if isinstance(likelihood, Gaussian):
        network = dataclasses.replace(network, likelihood=Gaussian(dispersion=phi))
    prior = prior_of(model, module, len(examples), phi)
    found = fit(LaplaceNetwork(network, Laplace("auto", prior=prior)), examples)
    hidden = "-".join(str(weight.shape[0]) for weight in model.coefs_[1:])
    description = dataclasses.replace(
        found.description,
        model=f"scikit-learn {type(model).__name__}, hidden units {hidden or 'none'}, {model.activation}",
        classes=_classes(model),
        dispersion=phi if isinstance(likelihood, Gaussian) else None,
        dispersion_estimated=isinstance(likelihood, Gaussian),
    )
    return dataclasses.replace(found, description=description)


def _classes(model: Any) -> tuple[Any, ...]:
    """Class labels, if each example has exactly one."""
    single = isinstance(model, MLPClassifier) and (model.out_activation_ == "softmax" or len(model.coefs_[-1].T) == 1)
    return tuple(model.classes_.tolist()) if single else ()


@training_data.register(MLPClassifier)
@training_data.register(MLPRegressor)
def _data(model: Any, examples: Examples | None) -> Examples:
    _check(model)
    if examples is None:
        raise ValueError(f"{type(model).__name__} does not keep its training data: pass it, memory_map(model, X, y)")
    coded = functools.partial(encode_labels, model.classes_) if _classes(model) else _numeric
    return training_examples(examples).map(coded)


def _numeric(batch: Batch) -> Batch:
    try:
        target: Array = np.asarray(batch.target, dtype=float)
    except (TypeError, ValueError) as error:
        raise TargetError(f"expected numeric targets, got {batch.target[0]!r}") from error
    return dataclasses.replace(batch, target=target)
