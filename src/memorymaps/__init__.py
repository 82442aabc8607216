"""Memory maps: what does a model remember, and which examples does it hang on?

Public names are loaded on first use, so that `import memorymaps` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from memorymaps._extras import require

if TYPE_CHECKING:
    from memorymaps.analysis.agreement import compare
    from memorymaps.analysis.refinement import refine
    from memorymaps.analysis.refitting import refit
    from memorymaps.analysis.retraining import retrain_check
    from memorymaps.build import memory_map
    from memorymaps.core.likelihoods.base import TargetError
    from memorymaps.core.perturbation.deviation import Warn
    from memorymaps.data.examples import DataError
    from memorymaps.data.in_memory import ArrayExamples
    from memorymaps.data.parquet import ParquetExamples
    from memorymaps.maps.memory_map import MemoryMap, load
    from memorymaps.nets.custom import Custom
    from memorymaps.nets.data.datasets import LoaderExamples
    from memorymaps.nets.optimizers.from_optimizer import FromOptimizer
    from memorymaps.nets.prior import prior_from
    from memorymaps.nets.recipe import Laplace
    from memorymaps.posteriors.contract import Posterior
    from memorymaps.posteriors.registry import UnsupportedModelError, posterior, training_data
    from memorymaps.viz.displays.leave_out import LeaveOutDisplay, RetrainingDisplay
    from memorymaps.viz.displays.map import MapDisplay
    from memorymaps.viz.explorer.explorer import explore

_HOMES = {
    "ArrayExamples": "data.in_memory",
    "Custom": "nets.custom",
    "DataError": "data.examples",
    "FromOptimizer": "nets.optimizers.from_optimizer",
    "Laplace": "nets.recipe",
    "LeaveOutDisplay": "viz.displays.leave_out",
    "LoaderExamples": "nets.data.datasets",
    "MapDisplay": "viz.displays.map",
    "MemoryMap": "maps.memory_map",
    "ParquetExamples": "data.parquet",
    "Posterior": "posteriors.contract",
    "RetrainingDisplay": "viz.displays.leave_out",
    "TargetError": "core.likelihoods.base",
    "UnsupportedModelError": "posteriors.registry",
    "Warn": "core.perturbation.deviation",
    "compare": "analysis.agreement",
    "explore": "viz.explorer.explorer",
    "load": "maps.memory_map",
    "memory_map": "build",
    "posterior": "posteriors.registry",
    "prior_from": "nets.prior",
    "refine": "analysis.refinement",
    "refit": "analysis.refitting",
    "retrain_check": "analysis.retraining",
    "training_data": "posteriors.registry",
}

__version__ = "0.1.0"

__all__ = [
    "ArrayExamples",
    "Custom",
    "DataError",
    "FromOptimizer",
    "Laplace",
    "LeaveOutDisplay",
    "LoaderExamples",
    "MapDisplay",
    "MemoryMap",
    "ParquetExamples",
    "Posterior",
    "RetrainingDisplay",
    "TargetError",
    "UnsupportedModelError",
    "Warn",
    "compare",
    "explore",
    "load",
    "memory_map",
    "posterior",
    "prior_from",
    "refine",
    "refit",
    "retrain_check",
    "training_data",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'memorymaps' has no attribute {name!r}")
    if _HOMES[name].startswith("nets."):
        require("torch")
    return getattr(importlib.import_module(f"memorymaps.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
