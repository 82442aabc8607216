"""GPyTorch: exact Gaussian processes [MPE App. H].

Priors are evaluated through `model.forward`, which is the same in training and evaluation mode, so that a map can be
computed during training; the model is not modified. Kernels are evaluated in the model's own dtype, everything
else in float64.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from gpytorch.likelihoods import FixedNoiseGaussianLikelihood, GaussianLikelihood
from gpytorch.models import ApproximateGP, ExactGP
from torch import Tensor

from memorymaps.core.arrays import Array, Batch
from memorymaps.core.likelihoods.exponential_family import Gaussian
from memorymaps.data.examples import DataError, Examples
from memorymaps.data.gather import check_training_data, gather_examples
from memorymaps.data.in_memory import ArrayExamples
from memorymaps.models.kernels.gram_posterior import GramPosterior, KernelOutput
from memorymaps.models.kernels.rounding import Rounding
from memorymaps.models.smoothing import FittedErrors
from memorymaps.nets.interop.gpytorch_checks import check_prior
from memorymaps.posteriors.approximation import Approximation
from memorymaps.posteriors.contract import Description
from memorymaps.posteriors.registry import posterior, training_data

TRAINED_HYPERPARAMETERS = "hyperparameters of mean, kernel and likelihood, by training"
FIXED_HYPERPARAMETERS = (
    "Hyperparameters are fixed at their values: they are not optimised again when an example is left out."
)


@dataclass(frozen=True)
class GPPrior:
    """Prior mean and covariance of a GPyTorch model as functions of inputs, as float64 NumPy arrays.

    `columns`: number of columns `d` of the inputs that the model was trained on.
    """

    model: Any
    columns: int

    @classmethod
    def of(cls, model: ExactGP) -> GPPrior:
        """That of a process with its training data."""
        return cls(model, model.train_inputs[0].shape[-1])

    def tensor(self, inputs: Any) -> Tensor:
        """Inputs `[n, d]` on the device and in the dtype of the model's parameters.

        Raises
        ------
        DataError
            Inputs of another shape, or that are not finite.
        """
        like = next(self.model.parameters())
        x = inputs if isinstance(inputs, Tensor) else torch.as_tensor(np.array(inputs, dtype=float))
        x = (x[:, None] if x.ndim == 1 else x).to(like)
        if x.shape[1:] != (self.columns,):
            raise DataError(
                f"inputs of shape {np.shape(inputs)}: the process was trained on (n, {self.columns}). Pass the columns "
                "of its training, no others"
            )
        bad = ~torch.isfinite(x).flatten(1).all(dim=1)
        if bool(bad.any()):
            rows = torch.nonzero(bad)[:, 0]
            raise DataError(
                f"inputs of {len(rows):,} of {len(x):,} row(s) of a batch are not finite, first of its row "
                f"{int(rows[0])}: expected finite numbers"
            )
        return x

    def joint(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean `[..., n]` and covariance `[..., n, n]`, float64; for several tasks `[n, c]` and `[nc, nc]`."""
        with torch.no_grad(), _evaluation_mode(self.model):
            f = self.model.forward(x)
            covariance = f.covariance_matrix.detach().double()
            return f.mean.detach().double(), covariance if getattr(f, "_interleaved", True) else _interleaved(f)

    def kernel(self, a: Any, b: Any) -> Array:
        """`k(a, b) [n, n']`; for several tasks `[nc, n'c]` with the tasks of an example adjacent."""
        first = self.tensor(a)
        if a is b:
            return self.joint(first)[1].cpu().numpy()
        covariance = self.joint(torch.cat([first, self.tensor(b)]))[1]
        rows = len(first) * (len(covariance) // (len(first) + len(self.tensor(b))))
        return covariance[:rows, rows:].cpu().numpy()

    def mean(self, a: Any) -> Array:
        """`m(a) [n]` or `[n, c]`."""
        return self.joint(self.tensor(a))[0].cpu().numpy()


def _interleaved(f: Any) -> Tensor:
    """Covariance with the tasks of an example adjacent, of a distribution that stores task by task."""
    n, c = f.mean.shape
    whole: Tensor = f.covariance_matrix.detach().double()
    return whole.reshape(c, n, c, n).permute(1, 0, 3, 2).reshape(n * c, n * c)


@contextlib.contextmanager
def _evaluation_mode(model: Any) -> Iterator[None]:
    """Context: every module in evaluation mode; the modes are restored afterwards."""
    modes = {module: module.training for module in model.modules()}
    for module in modes:
        module.training = False
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training


@functools.singledispatch
def noise_of(likelihood: Any) -> Array:
    """Noise variances `[n]` or `[1]` of one output; noise covariance `[c, c]` of several.

    Raises
    ------
    TypeError
        Not a Gaussian likelihood.
    """
    raise TypeError(
        f"ExactGP with {type(likelihood).__name__}: expected GaussianLikelihood, FixedNoiseGaussianLikelihood or "
        "MultitaskGaussianLikelihood"
    )


@noise_of.register(GaussianLikelihood)
@noise_of.register(FixedNoiseGaussianLikelihood)
def _noise(likelihood: Any) -> Array:
    return np.asarray(likelihood.noise.detach().double().cpu()).reshape(-1)


@training_data.register(ExactGP)
def _exact_data(model: Any, examples: Examples | None) -> Examples:
    if model.train_inputs is None:
        raise DataError("the model has no training data: call model.set_train_data(x, y)")
    x, y = model.train_inputs[0].detach().cpu().numpy(), model.train_targets.detach().cpu().numpy()
    noise = noise_of(model.likelihood)
    shape = (len(x), len(noise)) if noise.ndim == 2 else (len(x),)
    if y.shape != shape:
        raise DataError(f"train_targets of shape {y.shape}: expected {shape}, and no batch of models")
    whole = ArrayExamples.of(x, y).whole if examples is None else gather_examples(examples)
    check_training_data(whole.inputs, x, "the model")
    check_training_data(whole.target, y, "the model")
    if whole.weight is not None:
        raise DataError("ExactGP has no sample_weight: give each example its noise, FixedNoiseGaussianLikelihood")
    weight = np.broadcast_to(np.mean(noise) / noise, (len(y),)).copy() if noise.ndim == 1 < len(noise) else None
    return ArrayExamples(dataclasses.replace(whole, target=y.astype(float), weight=weight), max(len(y), 1))


@posterior.register(ExactGP)
def _exact(model: Any, examples: Examples) -> Any:
    whole = gather_examples(examples)
    check_prior(GPPrior.of(model), whole.inputs)
    return exact_process(model.likelihood, model, whole)


@functools.singledispatch
def exact_process(likelihood: Any, model: Any, whole: Batch) -> Any:
    """Posterior of an exact process conditioned on all its data; dispatches on the likelihood."""
    prior = GPPrior.of(model)
    noise = np.broadcast_to(noise_of(likelihood), (len(whole),))
    gram = prior.kernel(whole.inputs, whole.inputs)
    alpha = np.linalg.solve(gram + np.diag(noise), whole.target - prior.mean(whole.inputs))
    gram_output = KernelOutput(prior.kernel, whole.inputs, gram, 1 / noise, error=-alpha)
    rounding = Rounding.of((gram_output,), torch.finfo(next(model.parameters()).dtype).eps)
    description = Description(
        model=f"GPyTorch {type(model).__name__} (ExactGP)",
        approximation=Approximation.EXACT,
        posterior="exact Gaussian process",
        likelihood="Gaussian",
        prior="the model's mean and kernel, from the model",
        coverage=(f"f at {len(whole)} training inputs: exact, full covariance",),
        effective_parameters=gram_output.effective_parameters,
        dispersion=float(np.mean(noise)),
        hyperparameters_held=TRAINED_HYPERPARAMETERS,
        notes=(FIXED_HYPERPARAMETERS,),
        cautions=rounding.cautions("noise", "a larger likelihood.noise"),
        relative_error=rounding.stated,
        methods=("nickl2023memory", "tailor2023maps", "rasmussen2006gaussian"),
    )

    def outputs(inputs: Any) -> Array:
        return (prior.mean(inputs) + prior.kernel(inputs, whole.inputs) @ alpha)[:, None]

    fitted = FittedErrors.of(whole.ids, -alpha[:, None])
    return GramPosterior(Gaussian(float(np.mean(noise))), description, outputs, (gram_output,), fitted=fitted)


def _needs_likelihood(model: Any, *_: Any) -> Any:
    raise TypeError(
        f"{type(model).__name__} does not contain its likelihood: memory_map(model, X, y, likelihood=likelihood, "
        "posterior=Variational()) with memorymaps.nets.Variational"
    )


posterior.register(ApproximateGP)(_needs_likelihood)
training_data.register(ApproximateGP)(_needs_likelihood)


def numpy_targets(batch: Batch) -> Batch:
    """A batch with its targets as NumPy arrays; inputs are unchanged."""
    target = batch.target.detach().cpu() if isinstance(batch.target, Tensor) else batch.target
    return dataclasses.replace(batch, target=np.asarray(target))
