"""The table of adapter modules for each supported library; a new model family adds one line here.

A key is the package or module that defines a model's class or one of its base classes; the adapter modules register
their functions with `posterior` and `training_data` when they are imported, on first use.
"""

from __future__ import annotations

ADAPTERS: dict[str, tuple[str, ...]] = {
    "sklearn": (
        "memorymaps.models.linear.sklearn",
        "memorymaps.models.linear.newton_polish",
        "memorymaps.models.meta.sklearn_pipeline",
        "memorymaps.models.sklearn_predictions",
        "memorymaps.models.sklearn_parameters",
    ),
    "sklearn.calibration": ("memorymaps.models.meta.sklearn_wrappers",),
    "sklearn.compose": ("memorymaps.models.meta.sklearn_wrappers",),
    "sklearn.ensemble": ("memorymaps.models.trees.sklearn_forests", "memorymaps.models.trees.sklearn_boosting"),
    "sklearn.gaussian_process": ("memorymaps.models.kernels.sklearn_gpr", "memorymaps.models.kernels.sklearn_gpc"),
    "sklearn.kernel_ridge": ("memorymaps.models.kernels.sklearn_kernel_ridge",),
    "sklearn.linear_model": ("memorymaps.models.linear.sklearn_robust",),
    "sklearn.multioutput": ("memorymaps.models.meta.sklearn_multioutput",),
    "sklearn.neural_network": ("memorymaps.nets.interop.sklearn_mlp",),
    "sklearn.svm": ("memorymaps.models.kernels.sklearn_svm", "memorymaps.models.linear.sklearn_robust"),
    "sklearn.tree": ("memorymaps.models.trees.sklearn_forests",),
    "statsmodels": (
        "memorymaps.models.linear.statsmodels.glm",
        "memorymaps.models.linear.statsmodels.results",
        "memorymaps.models.linear.newton_polish",
    ),
    "statsmodels.duration": ("memorymaps.models.linear.statsmodels.survival",),
    "statsmodels.miscmodels": ("memorymaps.models.linear.statsmodels.ordinal",),
    "lightgbm": ("memorymaps.models.trees.lightgbm",),
    "xgboost": ("memorymaps.models.trees.xgboost",),
    "catboost": ("memorymaps.models.trees.catboost",),
    "torch": ("memorymaps.nets.register",),
    "gpytorch": ("memorymaps.nets.interop.gpytorch_exact", "memorymaps.nets.interop.gpytorch_multitask"),
    "laplace": ("memorymaps.nets.register", "memorymaps.nets.interop.laplace_torch"),
    "arviz": ("memorymaps.models.draws.arviz_inference_data",),
    "xarray": ("memorymaps.models.draws.arviz_datatree",),
    "memorymaps.models.linear.newton_methods": ("memorymaps.models.linear.newton_methods",),
    "memorymaps.models.linear.expected_information": ("memorymaps.models.linear.expected_information",),
    "memorymaps.nets": ("memorymaps.nets.register",),
}


def adapters_for(module: str) -> list[str]:
    """Adapter modules to import for a class defined in `module`, in the order of the table.

    Examples
    --------
    >>> adapters_for("statsmodels.regression.linear_model")
    ['memorymaps.models.linear.statsmodels.glm', 'memorymaps.models.linear.statsmodels.results', ...]
    """
    return [name for key, found in ADAPTERS.items() if f"{module}.".startswith(f"{key}.") for name in found]
