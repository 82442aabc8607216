"""Fit of the Laplace posterior from a network, a recipe and the training data."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import nn

from memorymaps.core.likelihoods.base import Likelihood
from memorymaps.data.examples import DataError, Examples
from memorymaps.data.in_memory import ArrayExamples
from memorymaps.data.repeated import RepeatedExamples
from memorymaps.data.views import without_weight
from memorymaps.files.progress_plan import Step
from memorymaps.nets.autograd.error_context import name_failing_example
from memorymaps.nets.autograd.network import evaluation_mode
from memorymaps.nets.checks.loss_curvature import check_curvature
from memorymaps.nets.checks.unit_interval import check_probabilities
from memorymaps.nets.curvature.kronecker import EKFAC
from memorymaps.nets.curvature.structure import CurvatureStructure
from memorymaps.nets.distributed.shares import unshared
from memorymaps.nets.laplace.diagnostics import posterior_description
from memorymaps.nets.laplace.posterior import NetworkPosterior, build_posterior
from memorymaps.nets.laplace_problem import LaplaceProblem
from memorymaps.nets.prior import evidence_prior
from memorymaps.nets.problem import build_problem
from memorymaps.nets.recipe import LaplaceNetwork
from memorymaps.nets.sampled.cost import MOST_OUTPUTS
from memorymaps.posteriors.registry import posterior, training_data


def fit(model: LaplaceNetwork, examples: Examples) -> NetworkPosterior:
    """Laplace posterior of a trained network.

    Raises
    ------
    DataError
        Outputs that are not finite or not one row an example, examples that influence each other.
    ValueError
        A subset that names no parameter, a prior that does not cover one, a Hessian that is not positive definite.
    """
    with evaluation_mode(model.network.module), name_failing_example(model.network, examples):
        problem = build_problem(model, examples)
        check_curvature(problem)
        check_probabilities(problem)
        structure, why = model.structure.resolve(problem)
        if model.recipe.fisher is None and model.structure.chosen_by_size and isinstance(structure, EKFAC):
            problem, why = _with_affordable_fisher(problem, why)
        _announce(problem, structure)
        estimate, source = structure.fit(problem if structure.shared else _unshared(problem)), model.prior.source
        if problem.prior_by_evidence:
            prior, source = estimate.evidence or evidence_prior(problem.prior, problem.covered, estimate.build)
            problem = replace(problem, prior=prior)
        covariance = estimate.build(problem.prior)
        description = posterior_description(problem, structure, estimate, covariance, why, source)
    if estimate.posterior is not None:
        made: NetworkPosterior = estimate.posterior(problem, covariance, description)
        return made
    return build_posterior(problem, covariance, description, problem.options.directions)


def _announce(problem: LaplaceProblem, structure: CurvatureStructure) -> None:
    """What the passes over the data are, where the structure says which it makes, for one progress bar."""
    steps = structure.steps(problem)
    if steps and isinstance(problem.examples, RepeatedExamples):
        n, outputs = len(problem.examples), min(problem.num_outputs, MOST_OUTPUTS)
        problem.examples.announce([*steps, Step("gradient", n, 3), Step("map", n, 1 + 2 * outputs)])


def _unshared(problem: LaplaceProblem) -> LaplaceProblem:
    """The problem with all examples in every process."""
    return replace(problem, examples=unshared(problem.examples))


def _with_affordable_fisher(problem: LaplaceProblem, why: tuple[str, ...]) -> tuple[LaplaceProblem, tuple[str, ...]]:
    """The Fisher along leading directions for many outputs, as the exact one takes a reverse pass for each of them."""
    if problem.num_outputs <= MOST_OUTPUTS:
        return problem, why
    words = f"{problem.num_outputs:,} outputs: the Fisher along leading directions. fisher='exact': all."
    return replace(problem, options=replace(problem.options, fisher="leading")), (*why, words)


posterior.register(LaplaceNetwork)(fit)


@training_data.register(LaplaceNetwork)
def _data(model: LaplaceNetwork, examples: Examples | None) -> Examples:
    return without_ignored(training_examples(examples), model.network.likelihood)


def without_ignored(examples: Examples, likelihood: Likelihood) -> Examples:
    """The examples, those without a target (`ignore_index`) with weight 0."""
    change = without_weight(likelihood.without_target)
    return (
        replace(examples, whole=change(examples.whole)) if isinstance(examples, ArrayExamples) else examples.map(change)
    )


def training_examples(examples: Examples | None) -> Examples:
    """A network's training data; arrays in batches of at most 1,024 examples.

    Raises
    ------
    DataError
        None given.
    """
    if examples is None:
        raise DataError("a network does not keep its training data: memory_map(net, data, …) with arrays or a loader")
    if isinstance(examples, ArrayExamples):
        return replace(examples, batch_size=min(examples.batch_size, 1024))
    return examples


@posterior.register(nn.Module)
def _refuse_bare_module(model: nn.Module, examples: Examples) -> Any:
    raise ValueError(
        "a network specifies neither its likelihood nor its regularisation: "
        'memory_map(net, data, likelihood="categorical", posterior=Laplace(prior=prior_from(optimizer, n)))'
    )
