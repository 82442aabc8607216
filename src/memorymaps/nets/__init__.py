"""PyTorch networks; torch is imported nowhere else.

The names here are recipes for posteriors (`Laplace`, `FromOptimizer`, …), data and losses that `memory_map` takes
together with a module.
"""

from memorymaps._imports import lazy_names

_MODULES = {
    "Custom": "memorymaps.nets.custom",
    "EKFAC": "memorymaps.nets.curvature.kronecker",
    "FromOptimizer": "memorymaps.nets.optimizers.from_optimizer",
    "VmapFallbackWarning": "memorymaps.nets.autograd.vmap_fallback",
    "Laplace": "memorymaps.nets.recipe",
    "LoaderExamples": "memorymaps.nets.data.datasets",
    "NotFiniteError": "memorymaps.nets.autograd.network",
    "OptimizerStateError": "memorymaps.nets.optimizers.state_precision",
    "OutOfMemoryWarning": "memorymaps.nets.autograd.batch_size",
    "Sampled": "memorymaps.nets.sampled.structure",
    "VariationalGP": "memorymaps.nets.interop.gpytorch_variational",
    "VariationalNewton": "memorymaps.nets.optimizers.variational_newton",
    "ensemble": "memorymaps.nets.ensembles",
    "mc_dropout": "memorymaps.nets.ensembles",
    "prior_from": "memorymaps.nets.prior",
    "snapshots": "memorymaps.nets.ensembles",
}

__all__ = [
    "EKFAC",
    "Custom",
    "FromOptimizer",
    "Laplace",
    "LoaderExamples",
    "NotFiniteError",
    "OptimizerStateError",
    "OutOfMemoryWarning",
    "Sampled",
    "VariationalGP",
    "VariationalNewton",
    "VmapFallbackWarning",
    "ensemble",
    "mc_dropout",
    "prior_from",
    "snapshots",
]
__getattr__, __dir__ = lazy_names(__name__, _MODULES)
