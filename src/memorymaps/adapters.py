"""Which adapters know which library: the one table that a new model kind of this package adds a line to.

A key is the package, or the module, in which a model's class or one of its ancestors is defined; its modules register
themselves with `posterior` and `training_data` when they are imported, on first use.
"""

from __future__ import annotations

ADAPTERS: dict[str, tuple[str, ...]] = {
    "sklearn": ("memorymaps.models.sklearn_linear", "memorymaps.models.sklearn_meta"),
    "sklearn.calibration": ("memorymaps.models.sklearn_wrapped",),
    "sklearn.compose": ("memorymaps.models.sklearn_wrapped",),
    "sklearn.multioutput": ("memorymaps.models.sklearn_multioutput",),
    "sklearn.neural_network": ("memorymaps.nets.sklearn_mlp",),
    "statsmodels.duration": ("memorymaps.models.statsmodels_survival",),
    "statsmodels.miscmodels": ("memorymaps.models.statsmodels_ordinal",),
    "sklearn.tree": ("memorymaps.models.sklearn_forests",),
    "sklearn.ensemble": ("memorymaps.models.sklearn_forests", "memorymaps.models.sklearn_boosting"),
    "lightgbm": ("memorymaps.models.lightgbm_trees",),
    "catboost": ("memorymaps.models.catboost_trees",),
    "xgboost": ("memorymaps.models.xgboost_trees",),
    "statsmodels": ("memorymaps.models.statsmodels_glm",),
    "torch": ("memorymaps.nets.adapters",),
    "arviz": ("memorymaps.models.arviz_results",),
    "xarray": ("memorymaps.models.arviz_trees",),
    "laplace": ("memorymaps.nets.adapters", "memorymaps.nets.laplace_torch"),
    "memorymaps.models.learning_rule": ("memorymaps.models.learning_rule",),
    "memorymaps.nets": ("memorymaps.nets.adapters",),
}


def adapters_for(module: str) -> list[str]:
    """Modules to import for a class defined in `module`, those of whole packages first.

    Examples
    --------
    >>> adapters_for("statsmodels.regression.linear_model")
    ['memorymaps.models.statsmodels_glm']
    """
    return [name for key, found in ADAPTERS.items() if f"{module}.".startswith(f"{key}.") for name in found]
