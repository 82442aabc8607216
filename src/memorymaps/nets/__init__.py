"""PyTorch networks; torch is imported nowhere else.

The names here are recipes for posteriors (`Laplace`, `FromOptimizer`, …), data and losses that `memory_map` takes
together with a module, and what a curvature structure is made of (`CurvatureStructure`, …; CONTRIBUTING.md).
"""

from memorymaps._imports import lazy_names

_MODULES = {
    "BlockDiagonalCovariance": "memorymaps.nets.covariance.block_diagonal",
    "BlockPrecision": "memorymaps.nets.covariance.block_precision",
    "CholeskyPrecision": "memorymaps.nets.covariance.block_precision",
    "CurvatureAccumulator": "memorymaps.nets.curvature.accumulators",
    "CurvatureEstimate": "memorymaps.nets.curvature.structure",
    "CurvatureStructure": "memorymaps.nets.curvature.structure",
    "Custom": "memorymaps.nets.custom",
    "EKFAC": "memorymaps.nets.curvature.kronecker",
    "EigenbasisPrecision": "memorymaps.nets.covariance.block_precision",
    "FromOptimizer": "memorymaps.nets.optimizers.from_optimizer",
    "Laplace": "memorymaps.nets.recipe",
    "LoaderExamples": "memorymaps.nets.data.datasets",
    "NotFiniteError": "memorymaps.nets.autograd.network",
    "OptimizerStateError": "memorymaps.nets.optimizers.state_precision",
    "OutOfMemoryWarning": "memorymaps.nets.autograd.batch_size",
    "Sampled": "memorymaps.nets.sampled.structure",
    "Variational": "memorymaps.nets.interop.gpytorch_variational",
    "VariationalNewton": "memorymaps.nets.optimizers.variational_newton",
    "VmapFallbackWarning": "memorymaps.nets.autograd.vmap_fallback",
    "accumulate_over_data": "memorymaps.nets.curvature.structure",
    "chain": "memorymaps.nets.ensembles",
    "ensemble": "memorymaps.nets.ensembles",
    "estimate_of": "memorymaps.nets.curvature.structure",
    "exact_rows": "memorymaps.nets.curvature.structure",
    "mc_dropout": "memorymaps.nets.ensembles",
    "prior_covariance": "memorymaps.nets.curvature.structure",
    "prior_from": "memorymaps.nets.prior",
    "single_process": "memorymaps.posteriors.processes.ranks",
    "snapshots": "memorymaps.nets.ensembles",
    "with_exact_rows": "memorymaps.nets.curvature.structure",
}

__all__ = [
    "EKFAC",
    "BlockDiagonalCovariance",
    "BlockPrecision",
    "CholeskyPrecision",
    "CurvatureAccumulator",
    "CurvatureEstimate",
    "CurvatureStructure",
    "Custom",
    "EigenbasisPrecision",
    "FromOptimizer",
    "Laplace",
    "LoaderExamples",
    "NotFiniteError",
    "OptimizerStateError",
    "OutOfMemoryWarning",
    "Sampled",
    "Variational",
    "VariationalNewton",
    "VmapFallbackWarning",
    "accumulate_over_data",
    "chain",
    "ensemble",
    "estimate_of",
    "exact_rows",
    "mc_dropout",
    "prior_covariance",
    "prior_from",
    "single_process",
    "snapshots",
    "with_exact_rows",
]
__getattr__, __dir__ = lazy_names(__name__, _MODULES)
