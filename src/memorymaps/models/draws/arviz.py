"""Results of ArviZ, and through it of PyMC, NumPyro and Stan: draws of a variable that is the model's output."""

from __future__ import annotations

from typing import Any

import numpy as np

from memorymaps.core.arrays import Array
from memorymaps.core.likelihoods.base import Likelihood
from memorymaps.data.examples import DataError
from memorymaps.data.in_memory import ArrayExamples
from memorymaps.models.draws.draws import Draws
from memorymaps.models.draws.importance_sampling import psis_with_efficiency
from memorymaps.posteriors.registry import posterior, training_data

_DIMENSIONS = ("chain", "draw")


def from_arviz(
    data: Any, f: str, likelihood: Likelihood, *, y: str | None = None, log_likelihood: str | None = None
) -> Draws:
    """Draws of the variable `f` in an ArviZ `InferenceData` or `DataTree`, with leave-one-out by PSIS.

    Parameters
    ----------
    data : the result; `arviz.from_numpyro(mcmc)`, `pymc.sample()`, `arviz.from_dict(...)`.
    f : variable of the group `posterior` (or `predictions`-like groups given as `"group/name"`) of shape
        chain × draw × n (× c), on the link scale: logits, linear predictor, latent function.
    likelihood : `p(y ∣ f)`; noise parameters are fixed, for instance at their posterior means.
    y : variable of the group `observed_data` with the targets; without it, `memory_map(draws, X, y)`.
    log_likelihood : variable of the group `log_likelihood`, for PSIS with sampled noise parameters; without it PSIS
        uses `likelihood`.

    Raises
    ------
    DataError
        No such group or variable, other dimensions.

    Examples
    --------
    ```
    mcmc.run(key)                                    # numpyro, with numpyro.deterministic("mu", X @ b) in the model
    draws = from_arviz(arviz.from_numpyro(mcmc), "mu", Gaussian(dispersion=sigma**2), y="y")
    m = memory_map(draws)
    ```
    """
    values = _variable(data, f, "posterior")
    if tuple(values.dims[:2]) != _DIMENSIONS or values.ndim not in (3, 4):
        raise DataError(
            f"variable {f!r} has dimensions {values.dims}: expected (chain, draw, n) or (chain, draw, n, c)"
        )
    examples = None if y is None else _targets(data, y)
    log_p = None if log_likelihood is None else _merge_chains(_variable(data, log_likelihood, "log_likelihood"))
    chains, size = values.shape[0], values.shape[0] * values.shape[1]
    importance = psis_with_efficiency(_efficiency(data, size) if chains > 1 else 1.0)
    return Draws(
        _merge_chains(values), likelihood, importance, log_p, examples, name=f"ArviZ draws of {f!r}, {chains} chain(s)"
    )


def _group(data: Any, name: str) -> Any:
    try:
        group = data[name]
    except KeyError as error:
        raise DataError(f"no group {name!r} in this result: expected an ArviZ result with it") from error
    return group.to_dataset() if hasattr(group, "children") else group  # a node of a tree


def _variable(data: Any, path: str, group: str) -> Any:
    where, _, name = path.rpartition("/")
    dataset = _group(data, where or group)
    if name not in dataset:
        raise DataError(
            f"no variable {name!r} in group {where or group!r}; it has {[str(v) for v in dataset.data_vars]}"
        )
    return dataset[name]


def _merge_chains(values: Any) -> Array:
    """Chains concatenated: `[chain, draw, …]` → `[s, …]`."""
    array = np.asarray(values, dtype=float)
    return array.reshape(-1, *array.shape[2:])


def _targets(data: Any, y: str) -> ArrayExamples:
    target = np.asarray(_variable(data, y, "observed_data"))
    return ArrayExamples.of(np.arange(len(target)), target)


def _efficiency(data: Any, size: int) -> float:
    """Mean effective sample size over the number of draws, as in `arviz.loo`."""
    from arviz import ess

    sizes = ess(_group(data, "posterior"), method="mean")
    return float(np.mean(np.concatenate([np.ravel(sizes[name].values) for name in sizes.data_vars])) / size)


def _raise_hint(data: Any, examples: Any) -> Any:
    raise ValueError(
        f"{type(data).__name__} does not determine which variable is the model's output: "
        'from memorymaps.models.draws.arviz import from_arviz; memory_map(from_arviz(data, "mu", likelihood, y="y"))'
    )


def register_hint(kind: type) -> None:
    """Make `memory_map` raise for objects of class `kind`, with a message that shows `from_arviz`."""
    posterior.register(kind)(_raise_hint)
    training_data.register(kind)(_raise_hint)
