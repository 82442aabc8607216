"""`memory_map`: from a model and its training data to a memory map, in streamed passes with bounded memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa

from memorymaps.analysis.long_steps import refit_unasked
from memorymaps.core.arrays import Array, Batch
from memorymaps.core.perturbation.estimators import Estimator, estimator_named, perturb
from memorymaps.data.coercion import as_array, check_unique, checked_ids
from memorymaps.data.examples import DataError, Examples
from memorymaps.data.in_memory import ArrayExamples
from memorymaps.data.library_errors import explained_errors
from memorymaps.data.loading import Loading
from memorymaps.data.repeated import RepeatedExamples
from memorymaps.data.views import Subset, WithColumns
from memorymaps.maps.columns import columns_of, to_record_batch
from memorymaps.maps.memory_map import MemoryMap
from memorymaps.maps.provenance import Provenance, versions
from memorymaps.posteriors import registry as posteriors
from memorymaps.posteriors.capabilities import capabilities_of
from memorymaps.posteriors.gate import Gate, undefined_warnings
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
    collate: Callable[[list[Any]], Any] | None = None,
    batch_size: int | None = None,
    progress: bool | None = None,
) -> MemoryMap:
    """Draw the memory map of a fitted model over its training data.

    For every example: leverage `h = tr(ΛV)`, prediction error, and the effect of leaving it out: the deviation
    `Δf = V(I − ΛV)⁻¹e`, the changes of prediction and loss.

    Parameters
    ----------
    model : a fitted scikit-learn estimator or pipeline, a statsmodels result, or any model registered with
        `memorymaps.posterior.register`.
    data : inputs `[n, p]` as the model was fitted on (array, data frame, sparse; for networks also a mapping or tuple
        of arrays), or `ParquetExamples`, or any `Examples`; for networks a dataset, a loader or batches, which contain
        the targets; nothing for statsmodels results, which contain their data.
    target : `[n]` or `[n, c]`, as passed to `fit`.
    ids : `[n]` unique identifiers of the examples; default: a data frame's index, else row numbers. Without `data`, for
        models that contain their training data.
    sample_weight : `[n]`, as passed to `fit`.
    offset : `[n]`, added to the model's output.
    likelihood : for models without a likelihood of their own: `"categorical"`, `"gaussian"`, … or a `Likelihood`.
    posterior : recipe for a posterior, for models without one of their own: `Laplace(...)` for networks.
    estimator : how deviations are estimated: `"diagonal"`, `"first_order"`, `"cavity"`, `"bounded_cavity"`,
        `"implicit"`; default: the posterior's recommendation, plus `refit` of the most sensitive examples if deviations
        may be inaccurate and the model is small (networks with `Laplace("auto")`). The papers' codes (`"R-sm"`) are
        accepted.
    change : how the change of the mean is computed from the deviation: `"exact"` (default) or `"linearised"`.
    rows : positions of the examples in the map; the posterior is that of all examples. Default: all.
    polish : for solvers that stopped early: make the remaining Newton steps on a copy, and map that (linear models).
    collate, batch_size : for a network's data set, how examples are put together in batches that are read, as in
        `DataLoader(collate_fn=…, batch_size=…)`.
    progress : show a progress bar; default: on a terminal, after one second.

    Raises
    ------
    UnsupportedModelError
        No adapter for this class of models.
    DataError, TargetError
        Invalid data; the message has what was given and what is expected.

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
    requested = _parse_estimator(estimator, change)
    model = _with_recipe(model, likelihood, posterior)
    given = _as_examples(model, data, target, (ids, sample_weight, offset), Loading(collate, batch_size))
    examples = RepeatedExamples(_training_examples(model, given, ids), progress)
    gate = _checked_posterior(model, examples, polish)
    source, state = gate.posterior, ModelState.of(model)
    used = requested or Estimator(source.description.estimator)
    origin = Origin(source, examples, state)
    positions = np.arange(len(examples)) if rows is None else _positions(rows, len(examples))
    drawn = examples if rows is None else RepeatedExamples(Subset(examples, positions), progress)
    table, outputs = _table(origin, gate, drawn, positions, used)
    gate.check_curvature(examples, np.asarray(table.column("leverage")))
    check_unique(np.asarray(table.column("id")))
    provenance = Provenance(
        description=source.description,
        estimator=used,
        n=len(examples),
        outputs=outputs,
        fingerprint=drawn.fingerprint.columns,
        versions=versions(model),
        weights_are_precisions=source.likelihood.weights_are_precisions,
        loss_is_density=source.likelihood.is_density,
        inputs=drawn.fingerprint.inputs,
        model_state=state.parameters,
    )
    m = MemoryMap(table, provenance, origin)
    return m if requested else refit_unasked(m, progress)


def _checked_posterior(model: Any, examples: Examples, polish: bool) -> Gate:
    """The gate with the model's posterior, or with that at the optimum of its objective where `polish`."""
    with explained_errors(model):
        gate = Gate(model, posteriors.posterior(model, examples))
    gate.check_posterior()
    if not polish:
        return gate
    gate.check_outputs(examples)
    at_optimum = Gate(None, polished(gate.posterior, examples))
    at_optimum.check_posterior()
    return at_optimum


def _parse_estimator(estimator: str | None, change: str | None) -> Estimator | None:
    if estimator is None:
        if change is not None:
            raise ValueError(
                f"change = {change!r} without an estimator: pass both, estimator='cavity', change={change!r}"
            )
        return None
    return estimator_named(estimator, change)


def _positions(rows: Any, n: int) -> Array:
    """Sorted unique positions.

    Raises
    ------
    DataError
        No position, or one outside `0 … n − 1`.
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
            "prior_from(optimizer, n)); any other model has its own likelihood: leave out likelihood="
        )
    if isinstance(recipe, type) or not callable(recipe):
        raise TypeError(
            f"posterior = {recipe!r}: expected a recipe, such as "
            f"posterior=Laplace({recipe if isinstance(recipe, str) else 'auto'!r}, prior=prior_from(optimizer, n))"
        )
    return recipe(model, likelihood)


def _as_examples(
    model: Any, data: Any, target: Any, columns: tuple[Any, Any, Any], loading: Loading
) -> Examples | None:
    has_columns = any(value is not None for value in (target, *columns))
    if loading.given and (data is None or target is not None or isinstance(data, Examples)):
        raise ValueError(
            f"{' and '.join(loading.options)}: for a network's data set, whose examples contain their targets; arrays "
            "are divided into batches as memory allows: leave it out"
        )
    if data is None:
        if any(value is not None for value in (target, *columns[1:])):
            raise ValueError("targets, weights or an offset without inputs: call memory_map(model, X, y, …)")
        return None
    if isinstance(data, Examples):
        if has_columns:
            raise ValueError(f"{type(data).__name__} has its own targets, ids, weights and offset: pass no others")
        return data
    if target is not None:
        return ArrayExamples.of(data, target, *columns)
    found: Examples = examples_for(model, data, loading)
    return WithColumns.of(found, *columns) if has_columns else found


def _training_examples(model: Any, given: Examples | None, ids: Any) -> Examples:
    """The examples as the model was trained on them; those contained in a model with the `ids` that were given."""
    with explained_errors(model):
        found: Examples = training_data(model, given)
    if given is None and ids is not None:
        return WithColumns(found, checked_ids(ids, None, len(found)))
    return found


def _with_extra_columns(columns: dict[str, Array], source: Any, batch: Batch, stats: Any) -> dict[str, Array]:
    """The map's columns plus the posterior's `extra_columns`; warnings are combined."""
    add = capabilities_of(source).extra_columns
    if add is None:
        return columns
    extra = dict(add(batch, stats))
    warning = np.asarray(extra.pop("warning", 0), dtype=np.int16)
    return {**columns, "warning": columns["warning"] | warning, **extra}


def _table(origin: Origin, gate: Gate, drawn: Examples, rows: Array, estimator: Estimator) -> tuple[pa.Table, int]:
    """The table with one row per example, and the number of outputs; `rows` are the positions of the drawn examples."""
    records, start, outputs = [], 0, 1
    for batch in (part for whole in drawn for part in origin.chunks(whole)):
        stats = origin.batch_statistics(batch)
        named = {"id": batch.ids, "row": rows[start : start + len(batch)]}
        effect = perturb(stats, estimator)
        gate.check_batch(batch, named["row"], stats, effect)
        columns = columns_of(stats, effect, origin.posterior.description)
        columns["warning"] = columns["warning"] | undefined_warnings(effect, columns["loo_loss"]).astype(np.int16)
        records.append(to_record_batch(named | _with_extra_columns(columns, origin.posterior, batch, stats)))
        outputs = int(stats.f.shape[1])
        start += len(batch)
    if not records:
        raise DataError("the data has no rows")
    return pa.Table.from_batches(records).combine_chunks(), outputs
