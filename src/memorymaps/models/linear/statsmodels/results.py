"""statsmodels' fitted values and parameters, for comparison with what the adapters make of the results."""

from __future__ import annotations

from typing import Any

import numpy as np
from statsmodels.base.model import LikelihoodModelResults
from statsmodels.base.wrapper import ResultsWrapper
from statsmodels.duration.hazard_regression import PHReg
from statsmodels.genmod.generalized_linear_model import GLM
from statsmodels.regression.linear_model import RegressionModel

from memorymaps.posteriors.model_state import parameters_of
from memorymaps.posteriors.reproduction import AdapterOutputs, Comparand, own_predictions


@own_predictions.register(ResultsWrapper)
@own_predictions.register(LikelihoodModelResults)
def _fitted_values(results: Any, seen: AdapterOutputs) -> tuple[Comparand, ...]:
    model = results.model
    if isinstance(model, PHReg):
        return ()  # its outputs are cumulative hazards of the training data, which `predict` does not give
    mean = seen.likelihood.mean(seen.total)
    if isinstance(model, (GLM, RegressionModel)):
        return (Comparand("fittedvalues", np.asarray(results.fittedvalues)[seen.rows], mean),)
    return (Comparand("predict()", np.asarray(results.predict())[seen.rows], mean),)


@parameters_of.register(ResultsWrapper)
@parameters_of.register(LikelihoodModelResults)
def _parameters(results: Any) -> dict[str, Any]:
    scale = getattr(results, "scale", None)
    return {"params": np.asarray(results.params, dtype=float), "scale": str(scale)}
