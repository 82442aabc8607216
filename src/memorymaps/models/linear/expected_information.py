"""The map of a GLM with expected (Fisher) information, as programs that fit by IRLS report it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from memorymaps.data.examples import Examples
from memorymaps.models.linear.glm.posterior import LinearPosterior
from memorymaps.posteriors.registry import posterior, training_data


@dataclass(frozen=True)
class ExpectedInformation:
    """Recipe for a GLM's posterior: `memory_map(results, posterior=ExpectedInformation())`.

    Links that are not canonical have two curvatures. By default a map uses the observed one, with which one Newton step
    is that of the refit; with this recipe the expected one, `σ'²/(φ v)`: hat values, Cook's distances and DFBETAS are
    then those of `results.get_influence(observed=False)`. Canonical links: no difference.

    Examples
    --------
    >>> import numpy as np, statsmodels.api as sm
    >>> from memorymaps import measures, memory_map
    >>> x, y = np.column_stack([np.ones(6), np.arange(6.0)]), np.array([1.0, 3.0, 2.0, 5.0, 4.0, 9.0])
    >>> results = sm.GLM(y, x, family=sm.families.Gamma(sm.families.links.Log())).fit()
    >>> m = memory_map(results, posterior=ExpectedInformation())
    >>> bool(np.allclose(measures.hat_values(m), results.get_hat_matrix_diag(observed=False)))
    True
    """

    def __call__(self, model: Any, likelihood: Any = None) -> ModelWithExpectedInformation:
        """The model together with this recipe."""
        if likelihood is not None:
            raise ValueError(f"{type(model).__name__} determines its likelihood: leave out likelihood={likelihood!r}")
        return ModelWithExpectedInformation(model)


@dataclass(frozen=True)
class ModelWithExpectedInformation:
    """A fitted GLM whose map is to use expected information."""

    model: Any


@posterior.register(ModelWithExpectedInformation)
def _posterior(model: ModelWithExpectedInformation, examples: Examples) -> LinearPosterior:
    found = posterior(model.model, examples)
    if not isinstance(found, LinearPosterior) or found.with_expected_information is None:
        raise TypeError(
            f"ExpectedInformation() is for generalised linear models, got {type(model.model).__name__}: leave out "
            "posterior=…"
        )
    expected = found.with_expected_information()
    if expected.refits is None:  # clones, which the adapter made
        expected = dataclasses.replace(expected, refits=found.refits, coefficient_refit=found.coefficient_refit)
    return expected


@training_data.register(ModelWithExpectedInformation)
def _data(model: ModelWithExpectedInformation, examples: Examples | None) -> Any:
    return training_data(model.model, examples)
