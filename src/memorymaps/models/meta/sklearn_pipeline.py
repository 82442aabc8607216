"""scikit-learn's wrappers: a pipeline's or a search's map is the map of its last fitted estimator.

The preprocessing is held fixed: leaving an example out changes the final estimator, not the scaler before it.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from sklearn.model_selection import GridSearchCV, RandomizedSearchCV
from sklearn.pipeline import Pipeline

from memorymaps.core.likelihoods.base import Likelihood
from memorymaps.data.examples import Examples
from memorymaps.data.indexed import preserving_rows
from memorymaps.data.views import with_inputs
from memorymaps.models.sklearn_targets import held_at_value
from memorymaps.posteriors.capabilities import Capabilities, capabilities_of
from memorymaps.posteriors.contract import Description, Marginals, Posterior
from memorymaps.posteriors.polish import polished
from memorymaps.posteriors.registry import posterior, training_data


@dataclass(frozen=True)
class TransformedPosterior:
    """A posterior as a function of raw inputs, which a fitted transformer converts to features."""

    steps: Pipeline
    inner: Posterior
    description: Description

    @property
    def likelihood(self) -> Likelihood:
        """Likelihood of the inner posterior."""
        return self.inner.likelihood

    @property
    def capabilities(self) -> Capabilities:
        """The inner posterior's, behind the transformer."""
        return capabilities_of(self.inner).on_inputs(preserving_rows(self.steps.transform))

    def marginals(self, inputs: Any) -> Marginals:
        """`f` and `V` of the transformed inputs."""
        return self.inner.marginals(preserving_rows(self.steps.transform)(inputs))


def _features(steps: Pipeline, description: Description) -> Description:
    """The description with parameters named by the transformers' columns, if those have names."""
    if not description.parameters:
        return description
    try:
        names = [str(name) for name in steps.get_feature_names_out()]
    except (AttributeError, ValueError):  # a transformer without names: keep x0, x1, …
        return description
    first = len(description.parameters) - len(names)
    new = dict(zip(description.parameters[first:], names, strict=True))
    return dataclasses.replace(
        description,
        parameters=tuple(new.get(name, name) for name in description.parameters),
        aliased=tuple(new.get(name, name) for name in description.aliased),
    )


@posterior.register(Pipeline)
def _pipeline_posterior(model: Any, examples: Examples) -> Any:
    if len(model) == 1:
        return posterior(model[-1], examples)
    steps = model[:-1]
    inner = posterior(model[-1], examples.map(with_inputs(preserving_rows(steps.transform))))
    named = _features(steps, inner.description)
    names = " → ".join(type(step).__name__ for _, step in model.steps)
    note = "Preprocessing steps are held fixed: the map is that of the final estimator."
    fitted = ", ".join(type(step).__name__ for _, step in steps.steps if step not in (None, "passthrough"))
    description = dataclasses.replace(
        named,
        model=f"scikit-learn Pipeline {names}",
        notes=(*named.notes, note),
        hyperparameters_held=held_at_value(named.hyperparameters_held, fitted and f"preprocessing, by {fitted}"),
    )
    return TransformedPosterior(steps, inner, description)


@polished.register(TransformedPosterior)
def _polished_pipeline(source: TransformedPosterior, examples: Examples) -> TransformedPosterior:
    named = dataclasses.replace(source.inner, description=source.description)  # type: ignore[type-var]
    inner = polished(named, examples.map(with_inputs(preserving_rows(source.steps.transform))))
    return TransformedPosterior(source.steps, inner, inner.description)


@training_data.register(Pipeline)
def _pipeline_data(model: Any, examples: Examples | None) -> Any:
    return training_data(model[-1], examples)


@posterior.register(GridSearchCV)
@posterior.register(RandomizedSearchCV)
def _search_posterior(model: Any, examples: Examples) -> Any:
    found: Posterior = posterior(_best(model), examples)
    if not model.best_params_:
        return found
    chosen = f"{', '.join(model.best_params_)}, by {type(model).__name__}"
    held = held_at_value(found.description.hyperparameters_held, chosen)
    return _described(found, dataclasses.replace(found.description, hyperparameters_held=held))


def _described(source: Any, description: Description) -> Any:
    """The posterior with another description; one that is no dataclass keeps its own."""
    if not dataclasses.is_dataclass(source):
        return source
    return dataclasses.replace(source, description=description)  # type: ignore[type-var]


@training_data.register(GridSearchCV)
@training_data.register(RandomizedSearchCV)
def _search_data(model: Any, examples: Examples | None) -> Any:
    return training_data(_best(model), examples)


def _best(model: Any) -> Any:
    if not hasattr(model, "best_estimator_"):
        raise ValueError(f"{type(model).__name__} has no best_estimator_: fit it with refit=True")
    return model.best_estimator_
