"""Memory maps: what does a model remember, and which examples does it hang on?

The headline names are here; more are in the namespaces `models`, `nets`, `viz`, `measures`, `likelihoods` and
`training`. All are imported on first use, so that `import memorymaps` costs nothing. What is not named in
`docs/project/api.md` is private.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from memorymaps._imports import lazy_names

if TYPE_CHECKING:
    from memorymaps import models, nets, training, viz
    from memorymaps.analysis import measures
    from memorymaps.analysis.agreement import compare
    from memorymaps.analysis.answers.flips import smallest_flip
    from memorymaps.analysis.answers.label_errors import label_issues
    from memorymaps.analysis.answers.model_selection import select_model
    from memorymaps.analysis.answers.pruning import prune
    from memorymaps.analysis.answers.query_influence import influence_on
    from memorymaps.analysis.refinement import refine
    from memorymaps.analysis.refitting import refit
    from memorymaps.analysis.retraining import retrain_check
    from memorymaps.build.draw import memory_map
    from memorymaps.core import likelihoods
    from memorymaps.core.likelihoods.base import TargetError
    from memorymaps.core.likelihoods.categorical import Categorical
    from memorymaps.core.likelihoods.exponential_family import Bernoulli, Gaussian, Poisson
    from memorymaps.core.perturbation.deviation import Warn
    from memorymaps.data.examples import DataError
    from memorymaps.data.in_memory import ArrayExamples
    from memorymaps.data.streamed.parquet import ParquetExamples
    from memorymaps.maps.memory_map import MemoryMap, load
    from memorymaps.maps.trajectory import Trajectory
    from memorymaps.nets.custom import Custom
    from memorymaps.nets.data.datasets import LoaderExamples
    from memorymaps.nets.optimizers.from_optimizer import FromOptimizer
    from memorymaps.nets.prior import prior_from
    from memorymaps.nets.recipe import Laplace
    from memorymaps.posteriors.capabilities import Capabilities
    from memorymaps.posteriors.contract import Description, Marginals, Posterior
    from memorymaps.posteriors.registry import UnsupportedModelError, posterior, training_data
    from memorymaps.training.tracker import Tracker
    from memorymaps.viz.displays.leave_out import LeaveOutDisplay, RetrainingDisplay
    from memorymaps.viz.displays.map import MapDisplay
    from memorymaps.viz.explorer.explorer import explore

_MODULES = {
    "ArrayExamples": "memorymaps.data.in_memory",
    "Bernoulli": "memorymaps.core.likelihoods.exponential_family",
    "Capabilities": "memorymaps.posteriors.capabilities",
    "Categorical": "memorymaps.core.likelihoods.categorical",
    "Custom": "memorymaps.nets.custom",
    "DataError": "memorymaps.data.examples",
    "Description": "memorymaps.posteriors.contract",
    "FromOptimizer": "memorymaps.nets.optimizers.from_optimizer",
    "Gaussian": "memorymaps.core.likelihoods.exponential_family",
    "Laplace": "memorymaps.nets.recipe",
    "LeaveOutDisplay": "memorymaps.viz.displays.leave_out",
    "LoaderExamples": "memorymaps.nets.data.datasets",
    "MapDisplay": "memorymaps.viz.displays.map",
    "Marginals": "memorymaps.posteriors.contract",
    "MemoryMap": "memorymaps.maps.memory_map",
    "ParquetExamples": "memorymaps.data.streamed.parquet",
    "Poisson": "memorymaps.core.likelihoods.exponential_family",
    "Posterior": "memorymaps.posteriors.contract",
    "RetrainingDisplay": "memorymaps.viz.displays.leave_out",
    "TargetError": "memorymaps.core.likelihoods.base",
    "Tracker": "memorymaps.training.tracker",
    "Trajectory": "memorymaps.maps.trajectory",
    "UnsupportedModelError": "memorymaps.posteriors.registry",
    "Warn": "memorymaps.core.perturbation.deviation",
    "compare": "memorymaps.analysis.agreement",
    "explore": "memorymaps.viz.explorer.explorer",
    "influence_on": "memorymaps.analysis.answers.query_influence",
    "label_issues": "memorymaps.analysis.answers.label_errors",
    "likelihoods": "memorymaps.core.likelihoods:",
    "load": "memorymaps.maps.memory_map",
    "measures": "memorymaps.analysis.measures:",
    "memory_map": "memorymaps.build.draw",
    "models": "memorymaps.models:",
    "nets": "memorymaps.nets:",
    "posterior": "memorymaps.posteriors.registry",
    "prior_from": "memorymaps.nets.prior",
    "prune": "memorymaps.analysis.answers.pruning",
    "refine": "memorymaps.analysis.refinement",
    "refit": "memorymaps.analysis.refitting",
    "retrain_check": "memorymaps.analysis.retraining",
    "select_model": "memorymaps.analysis.answers.model_selection",
    "smallest_flip": "memorymaps.analysis.answers.flips",
    "training": "memorymaps.training:",
    "training_data": "memorymaps.posteriors.registry",
    "viz": "memorymaps.viz:",
}

__version__ = "0.2.0"

__all__ = [
    "ArrayExamples",
    "Bernoulli",
    "Capabilities",
    "Categorical",
    "Custom",
    "DataError",
    "Description",
    "FromOptimizer",
    "Gaussian",
    "Laplace",
    "LeaveOutDisplay",
    "LoaderExamples",
    "MapDisplay",
    "Marginals",
    "MemoryMap",
    "ParquetExamples",
    "Poisson",
    "Posterior",
    "RetrainingDisplay",
    "TargetError",
    "Tracker",
    "Trajectory",
    "UnsupportedModelError",
    "Warn",
    "compare",
    "explore",
    "influence_on",
    "label_issues",
    "likelihoods",
    "load",
    "measures",
    "memory_map",
    "models",
    "nets",
    "posterior",
    "prior_from",
    "prune",
    "refine",
    "refit",
    "retrain_check",
    "select_model",
    "smallest_flip",
    "training",
    "training_data",
    "viz",
]
__getattr__, __dir__ = lazy_names(__name__, _MODULES)
