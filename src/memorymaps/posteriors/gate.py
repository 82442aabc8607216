"""The checks that every map passes, whatever its model: finite numbers, and the model's own predictions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from array_api_compat import array_namespace

from memorymaps.core.arrays import Array, Batch
from memorymaps.core.likelihoods.base import Likelihood
from memorymaps.core.perturbation.deviation import Warn
from memorymaps.core.perturbation.estimators import Perturbation
from memorymaps.data.coercion import take_rows
from memorymaps.data.examples import DataError, Examples
from memorymaps.data.indexed import InputsWithRows
from memorymaps.posteriors.contract import Description, Posterior
from memorymaps.posteriors.origin import Origin
from memorymaps.posteriors.reproduction import AdapterOutputs, check_reproduction

NO_CURVATURE = (
    "the loss has no curvature at any example, as L1, quantile and hinge losses away from their kink: Σ leverage is 0 "
    "and says nothing. Expected a smooth loss, with a scale s of its own: Custom(lambda f, y: "
    "torch.sqrt((f[:, 0] - y)**2 + s**2)) for L1, Custom(lambda f, y: q*(y - f[:, 0]) + "
    "s*torch.nn.functional.softplus((f[:, 0] - y)/s)) for the quantile q, Custom(lambda f, y: "
    "s*torch.nn.functional.softplus((1 - y*f[:, 0])/s)) for the hinge"
)
_COMPARED = 256  # examples, evenly spread over a batch, whose outputs are compared with the model's own


@dataclass(frozen=True)
class Gate:
    """The checks of one map: `check_posterior` once, `check_batch` for each batch that is mapped.

    `model` is `None` where the posterior is no longer that of the model's own parameters (`polish=True`).
    """

    model: Any
    posterior: Posterior

    def check_posterior(self) -> None:
        """Raise `DataError` for a dispersion that is not positive, or counts and distances that are no numbers."""
        d = self.posterior.description
        for value in _dispersions(self.posterior.likelihood, d):
            if not 0 < value < np.inf:
                raise DataError(
                    f"the dispersion (noise variance) of {d.model} is {value:.6g}: expected a positive number. "
                    f"{_noise_advice(value)}"
                )
        for name, number in (("effective parameters", d.effective_parameters), ("distance to the optimum", d.distance)):
            if number is not None and not np.isfinite(number):
                raise DataError(
                    f"{name} of {d.model}: {number}. Parameters, weights or offset hold a NaN or an infinity, or the "
                    "fit has diverged: fit again on finite data"
                )

    def check_batch(self, batch: Batch, rows: Array, at: Any, effect: Perturbation) -> None:
        """Raise where a number is not finite (`DataError`), or outputs are not the model's own.

        Raises
        ------
        DataError
            A NaN or an infinity in offset, outputs, errors or leverages.
        UnsupportedModelError
            The model's own predictions differ from the adapter's outputs.
        """
        if batch.offset is not None:
            _require_finite("offset", np.asarray(batch.offset, dtype=float), batch)
        for name, values in (("model output", at.f), ("error", at.error), ("leverage", effect.leverage)):
            _require_finite(name, values, batch)
        check_reproduction(self.model, self._seen(batch, rows, at))

    def check_curvature(self, examples: Examples, leverage: Array) -> None:
        """Raise `DataError` if every `leverage [n]` is 0 because a loss that is no log density is flat everywhere.

        Reads no data if a leverage is not 0, and no further than the first example with `Λ ≠ 0`. Probabilities that are
        saturated have no curvature either: there the fit has run away, not the loss, and the distance says so.
        """
        if np.any(leverage) or self.posterior.likelihood.is_density:
            return
        origin, error = Origin(self.posterior, examples), 0.0
        for batch in (part for whole in examples for part in origin.chunks(whole)):
            at = origin.batch_statistics(batch)
            if np.any(np.asarray(at.likelihood.fisher_diagonal(at.f, at.y)) != 0):
                return
            error += float(np.sum(np.abs(np.asarray(at.error))))
        if error > 0:
            raise DataError(NO_CURVATURE)

    def check_outputs(self, examples: Examples) -> None:
        """Raise `UnsupportedModelError` if the model's own predictions at some of the examples are others."""
        rows = examples.sample_rows(_COMPARED)
        batch = examples.take(rows)
        check_reproduction(
            self.model, self._seen(batch, rows, Origin(self.posterior, examples).batch_statistics(batch))
        )

    def _seen(self, batch: Batch, rows: Array, at: Any) -> AdapterOutputs:
        some = _evenly_spread(len(batch))
        inputs = batch.inputs if len(some) == len(batch) else _rows_of(batch.inputs, some)
        part = Batch(inputs, batch.target[some], batch.ids[some])
        total = np.asarray(at.f)[some]
        offset = 0.0 if batch.offset is None else np.reshape(np.asarray(batch.offset)[some], (len(some), -1))
        source = self.posterior
        return AdapterOutputs(part, rows[some], total - offset, total, source.likelihood, source.description)


def _evenly_spread(n: int) -> Array:
    """At most `_COMPARED` positions of `0 … n − 1`, first and last among them."""
    if n <= _COMPARED:
        return np.arange(n)
    return np.arange(_COMPARED) * (n - 1) // (_COMPARED - 1)


def _rows_of(inputs: Any, rows: Array) -> Any:
    if isinstance(inputs, InputsWithRows):
        return InputsWithRows(take_rows(inputs.inputs, rows), inputs.rows[rows])
    return take_rows(inputs, rows)


def undefined_warnings(effect: Perturbation, loo_loss: Array) -> Array:
    """`Warn.UNDEFINED [n]` where no left-out prediction or loss exists and no other warning says why."""
    xp = array_namespace(effect.deviation)
    finite = xp.all(xp.isfinite(effect.deviation), axis=-1) & xp.isfinite(loo_loss)
    unexplained = ~finite & (xp.asarray(effect.warning) == 0)
    return np.where(np.asarray(unexplained), int(Warn.UNDEFINED), 0)


def _dispersions(likelihood: Likelihood, description: Description) -> list[float]:
    """All dispersions that the likelihood, those inside it, and the description state."""
    found: list[Any] = [] if description.dispersion is None else [description.dispersion]
    inside: Any = likelihood
    while inside is not None:
        own = getattr(inside, "dispersion", None)
        found += [own] if isinstance(own, (int, float, tuple, np.floating, np.ndarray)) else []
        inside = getattr(inside, "likelihood", None)
    return [float(value) for each in found for value in np.ravel(np.asarray(each, dtype=float))]


def _noise_advice(value: float) -> str:
    if value == 0:
        return "Every example is fitted exactly: use fewer features, a penalised model, or a known noise variance"
    if not np.isfinite(value):
        return "As many parameters as examples leave nothing to estimate it from: use fewer features or a penalty"
    return "Gaussian(dispersion=noise_variance) takes the variance of the noise in units of the target squared"


def _require_finite(name: str, values: Array, batch: Batch) -> None:
    xp = array_namespace(values)
    if bool(xp.isfinite(xp.sum(values))) or bool(xp.all(xp.isfinite(values))):
        return
    bad = ~np.isfinite(np.asarray(values, dtype=float)).reshape(len(batch), -1).all(axis=1)
    first = int(np.argmax(bad))
    value = np.asarray(values, dtype=float).reshape(len(batch), -1)[first].tolist()
    raise DataError(
        f"{name} of {np.count_nonzero(bad)} example(s) is not finite, first of example "
        f"{batch.ids[first : first + 1].tolist()[0]!r}: {value[:3]}. Expected finite numbers: look for NaN in the "
        "offset, for parameters that diverged, and fit again"
    )
