"""Which adapters know which library: the one table that a new model kind of this package adds a line to.

A key is the package, or the module, in which a model's class or one of its ancestors is defined; its modules register
themselves with `posterior` and `training_data` when they are imported, on first use.
"""

from __future__ import annotations

ADAPTERS: dict[str, tuple[str, ...]] = {
    "sklearn": ("memorymaps.models.sklearn_linear", "memorymaps.models.sklearn_meta"),
    "sklearn.calibration": ("memorymaps.models.sklearn_wrapped",),
    "sklearn.compose": ("memorymaps.models.sklearn_wrapped",),
    "sklearn.ensemble": ("memorymaps.models.sklearn_forests", "memorymaps.models.sklearn_boosting"),
    "sklearn.gaussian_process": ("memorymaps.models.sklearn_gp", "memorymaps.models.sklearn_gpc"),
    "sklearn.kernel_ridge": ("memorymaps.models.kernel_ridge",),
    "sklearn.linear_model": ("memorymaps.models.robust",),
    "sklearn.multioutput": ("memorymaps.models.sklearn_multioutput",),
    "sklearn.neural_network": ("memorymaps.nets.sklearn_mlp",),
    "sklearn.svm": ("memorymaps.models.kernel_machines", "memorymaps.models.robust"),
    "sklearn.tree": ("memorymaps.models.sklearn_forests",),
    "statsmodels": ("memorymaps.models.statsmodels_glm",),
    "statsmodels.duration": ("memorymaps.models.statsmodels_survival",),
    "statsmodels.miscmodels": ("memorymaps.models.statsmodels_ordinal",),
    "lightgbm": ("memorymaps.models.lightgbm_trees",),
    "xgboost": ("memorymaps.models.xgboost_trees",),
    "catboost": ("memorymaps.models.catboost_trees",),
    "torch": ("memorymaps.nets.adapters",),
    "gpytorch": ("memorymaps.models.gpytorch_gp", "memorymaps.models.gpytorch_multitask"),
    "laplace": ("memorymaps.nets.adapters", "memorymaps.nets.laplace_torch"),
    "arviz": ("memorymaps.models.arviz_results",),
    "xarray": ("memorymaps.models.arviz_trees",),
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
