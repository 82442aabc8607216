"""Model families other than networks: one folder a family, one file a library.

The names here are models that the library itself offers, and what an adapter of another linear model is made of
(`LinearModel`, `laplace`, …; CONTRIBUTING.md); fitted models of other libraries are passed to `memory_map` as they are.
"""

from memorymaps._imports import lazy_names

_MODULES = {
    "BetaBernoulli": "memorymaps.models.conjugate.discrete",
    "BoostedTrees": "memorymaps.models.trees.boosting_posterior",
    "DirichletCategorical": "memorymaps.models.conjugate.discrete",
    "Draws": "memorymaps.models.draws.draws",
    "ExpectedInformation": "memorymaps.models.linear.expected_information",
    "GammaPoisson": "memorymaps.models.conjugate.discrete",
    "ImproperError": "memorymaps.models.conjugate.family",
    "LinearModel": "memorymaps.models.linear.glm.model",
    "LinearPosterior": "memorymaps.models.linear.glm.posterior",
    "NormalMean": "memorymaps.models.conjugate.gaussian",
    "NormalWishart": "memorymaps.models.conjugate.gaussian",
    "Sampler": "memorymaps.models.draws.draws",
    "StateSpace": "memorymaps.models.conjugate.kalman_smoother",
    "class_data": "memorymaps.models.sklearn_targets",
    "coefficients_of": "memorymaps.models.linear.sklearn",
    "design_of": "memorymaps.models.linear.sklearn",
    "from_arviz": "memorymaps.models.draws.arviz",
    "laplace": "memorymaps.models.linear.glm.fit",
    "newton": "memorymaps.models.linear.newton_methods",
    "numeric_data": "memorymaps.models.sklearn_targets",
    "online_newton": "memorymaps.models.linear.newton_methods",
    "psis": "memorymaps.models.draws.importance_sampling",
    "support_vectors": "memorymaps.models.kernels.sklearn_svm",
    "von": "memorymaps.models.linear.newton_methods",
}

__all__ = [
    "BetaBernoulli",
    "BoostedTrees",
    "DirichletCategorical",
    "Draws",
    "ExpectedInformation",
    "GammaPoisson",
    "ImproperError",
    "LinearModel",
    "LinearPosterior",
    "NormalMean",
    "NormalWishart",
    "Sampler",
    "StateSpace",
    "class_data",
    "coefficients_of",
    "design_of",
    "from_arviz",
    "laplace",
    "newton",
    "numeric_data",
    "online_newton",
    "psis",
    "support_vectors",
    "von",
]
__getattr__, __dir__ = lazy_names(__name__, _MODULES)
