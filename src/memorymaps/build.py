"""From a model and its training data to a memory map: two streamed passes, in bounded memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from memorymaps.analysis.refinement import require_origin
from memorymaps.analysis.refitting import refit
from memorymaps.core.arrays import Array, Batch
from memorymaps.core.perturbation.estimators import Estimator, estimator_named, perturb
from memorymaps.data.coercion import as_array, check_unique
from memorymaps.data.examples import DataError, Examples
from memorymaps.data.in_memory import ArrayExamples
from memorymaps.data.repeated import RepeatedExamples
from memorymaps.data.views import Subset, WithColumns
from memorymaps.maps.columns import columns_of, record_of
from memorymaps.maps.memory_map import MemoryMap
from memorymaps.maps.provenance import Provenance, versions
from memorymaps.maps.summary import newton_step_unreliable, not_stationary
from memorymaps.posteriors import registry as posteriors
from memorymaps.posteriors.capabilities import capabilities_of
from memorymaps.posteriors.gate import Gate, undefined_lights
from memorymaps.posteriors.model_state import ModelState
from memorymaps.posteriors.origin import Origin
from memorymaps.posteriors.polish import polished
from memorymaps.posteriors.registry import examples_for, training_data


def memory_map(
    model: Any,
    data: Any = None,
    target: Any = None,
    *,
    ids: Any = None,
    sample_weight: Any = None,
    offset: Any = None,
    likelihood: Any = None,
    posterior: Any = None,
    estimator: str | None = None,
    change: str | None = None,
    rows: Any = None,
    polish: bool = False,
    progress: bool | None = None,
) -> MemoryMap:
    """Draw the memory map of a fitted model over its training data.

    For every example: leverage `h = tr(ΛV)`, prediction error, and what leaving it out would do,
    `Δf = V(I − ΛV)⁻¹e` and what follows from it.

    Parameters
    ----------
    model : a fitted scikit-learn estimator or pipeline, a statsmodels result, or any model registered with
        `memorymaps.posterior.register`.
    data : inputs `[n, p]` as the model was fitted on (array, data frame, sparse; for networks also a mapping or tuple
        of arrays), or `ParquetExamples`, or any `Examples`; for networks a dataset, a loader or batches, which hold
        their targets; nothing for statsmodels results, which keep theirs.
    target : `[n]` or `[n, c]`, as passed to `fit`.
    ids : `[n]` unique names of the examples; default: a data frame's index, else row numbers.
    sample_weight : `[n]`, as passed to `fit`.
    offset : `[n]`, added to the model's output.
    likelihood : for models that do not say it themselves: `"categorical"`, `"gaussian"`, … or a `Likelihood`.
    posterior : recipe for a posterior, for models that have none of their own: `Laplace(...)` for networks.
    estimator : how deviations are estimated: `"diagonal"`, `"first_order"`, `"cavity"`, `"bounded_cavity"`,
        `"implicit"`; default: the one that can be trusted with the posterior, and `refit` for the largest where none
        can and the model is small (networks with `Laplace("auto")`). The papers' codes (`"R-sm"`) are accepted.
    change : how the change of the mean follows from it: `"exact"` (default) or `"linearised"`.
    rows : positions of the examples to draw; the posterior is still that of all of them. Default: all.
    polish : make the Newton steps that a solver which stopped early has left, on a copy, and map that (linear models).
    polish : make the Newton steps that a solver which stopped early has left, on a copy, and map that (linear models).
    progress : show a progress bar; default: on a terminal, for work longer than a second.

    Raises
    ------
    UnsupportedModelError
        No adapter for this kind of model.
    DataError, TargetError
        Data no map can be drawn from; the message says what was got and expected.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)
    >>> m = memory_map(model, X, y)
    >>> m.top(3)["id"].tolist()
    [213, 68, 190]
    """
    chosen = _asked_for(estimator, change)
    model = _with_recipe(model, likelihood, posterior)
    given = _as_examples(model, data, target, (ids, sample_weight, offset))
    examples = RepeatedExamples(training_data(model, given), progress)
    gate = _checked(model, examples, polish)
    source = gate.posterior
    used = chosen or Estimator(source.description.estimator)
    state = ModelState.of(model)
    origin = Origin(source, examples, state)
    places = np.arange(len(examples)) if rows is None else _positions(rows, len(examples))
    drawn = examples if rows is None else RepeatedExamples(Subset(examples, places), progress)
    table, outputs = _table(origin, gate, drawn, places, used)
    check_unique(np.asarray(table.column("id")))
    provenance = Provenance(
        description=source.description,
        estimator=used,
        n=len(examples),
        outputs=outputs,
        fingerprint=drawn.fingerprint.columns,
        versions=versions(model),
        inputs=drawn.fingerprint.inputs,
        model_state=state.parameters,
    )
    m = MemoryMap(table, provenance, origin)
    return m if chosen else _refit_largest(m, progress)


def _checked(model: Any, examples: Examples, polish: bool) -> Gate:
    """The gate of the model's posterior, after the Newton steps that its solver left where `polish`."""
    gate = Gate(model, posteriors.posterior(model, examples))
    gate.check_posterior()
    if not polish:
        return gate
    gate.check_outputs(examples)
    at_rest = Gate(None, polished(gate.posterior, examples))
    at_rest.check_posterior()
    return at_rest


def _asked_for(estimator: str | None, change: str | None) -> Estimator | None:
    if estimator is None:
        if change is not None:
            raise ValueError(
                f"change = {change!r} without an estimator: pass both, estimator='cavity', change={change!r}"
            )
        return None
    return estimator_named(estimator, change)


def _refit_largest(m: MemoryMap, progress: bool | None) -> MemoryMap:
    """Where one Newton step may be too long: with the most sensitive really left out, as many as the posterior affords.

    Only for a model at rest: left where it is not, it moves by more than what is left out.
    """
    source = capabilities_of(require_origin(m).posterior).refit
    if source is None or not_stationary(m) or not newton_step_unreliable(m):
        return m
    many = min(source.affordable(), len(m))
    return refit(m, top=many, progress=progress) if many else m


def _positions(rows: Any, n: int) -> Array:
    """Ascending positions, each once.

    Raises
    ------
    DataError
        None, or one that is not a position among `n`.
    """
    found = np.unique(as_array(rows))
    if found.size == 0 or found.dtype.kind not in "iu" or found[0] < 0 or found[-1] >= n:
        raise DataError(f"rows = {rows!r}: expected positions from 0 to {n - 1}, at least one")
    return found


def _with_recipe(model: Any, likelihood: Any, recipe: Any) -> Any:
    if recipe is None and likelihood is None:
        return model
    if recipe is None:
        raise ValueError(
            f"likelihood = {likelihood!r} without posterior=…: a network needs both, posterior=Laplace(prior="
            "prior_from(optimizer, n)); any other model brings its own likelihood: leave it out"
        )
    if isinstance(recipe, type) or not callable(recipe):
        raise TypeError(
            f"posterior = {recipe!r}: expected a recipe, such as "
            f"posterior=Laplace({recipe if isinstance(recipe, str) else 'auto'!r}, prior=prior_from(optimizer, n))"
        )
    return recipe(model, likelihood)


def _as_examples(model: Any, data: Any, target: Any, columns: tuple[Any, Any, Any]) -> Examples | None:
    brought = any(value is not None for value in (target, *columns))
    if data is None:
        if brought:
            raise ValueError("targets, ids, weights or an offset without inputs: call memory_map(model, X, y, …)")
        return None
    if isinstance(data, Examples):
        if brought:
            raise ValueError(f"{type(data).__name__} brings its own targets, ids, weights and offset: pass it alone")
        return data
    if target is not None:
        return ArrayExamples.of(data, target, *columns)
    found: Examples = examples_for(model, data)
    return WithColumns.of(found, *columns) if brought else found


def _with_extra_columns(columns: dict[str, Array], source: Any, batch: Batch, at: Any) -> dict[str, Array]:
    """The columns, with those that the posterior has to add."""
    add = capabilities_of(source).extra_columns
    if add is None:
        return columns
    own = dict(add(batch, at))
    lights = np.asarray(own.pop("warning", 0), dtype=np.int8)
    return {**columns, "warning": columns["warning"] | lights, **own}


def _table(origin: Origin, gate: Gate, drawn: Examples, rows: Array, estimator: Estimator) -> tuple[pa.Table, int]:
    """One row an example, and the number of outputs; `rows` are the positions of those drawn."""
    records, start, outputs = [], 0, 1
    for batch in (part for whole in drawn for part in origin.parts(whole)):
        at = origin.local(batch)
        named = {"id": batch.ids, "row": rows[start : start + len(batch)]}
        effect = perturb(at, estimator)
        gate.check_batch(batch, named["row"], at, effect)
        columns = columns_of(at, effect, origin.posterior.description)
        columns["warning"] = columns["warning"] | undefined_lights(effect, columns["loo_loss"]).astype(np.int8)
        records.append(record_of(named | _with_extra_columns(columns, origin.posterior, batch, at)))
        outputs = int(at.f.shape[1])
        start += len(batch)
    if not records:
        raise DataError("the data has no rows")
    return pa.Table.from_batches(records).combine_chunks(), outputs
