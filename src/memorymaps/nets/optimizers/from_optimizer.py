"""Recipe for the posterior in an optimizer's state: `memory_map(net, data, posterior=FromOptimizer(…))`.

Precisions by optimizer: `memorymaps.nets.optimizers.state_precision`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from memorymaps.core.likelihoods.categorical import Categorical
from memorymaps.core.likelihoods.expected import ExpectedLikelihood
from memorymaps.data.examples import Examples
from memorymaps.nets.autograd.error_context import name_failing_example
from memorymaps.nets.autograd.network import Forward, Network, call_module, evaluation_mode
from memorymaps.nets.checks.example_count import example_count_notes
from memorymaps.nets.checks.module_wrappers import unwrapped
from memorymaps.nets.covariance.block_diagonal import BlockDiagonalCovariance
from memorymaps.nets.covariance.block_precision import EigenbasisPrecision
from memorymaps.nets.curvature.kronecker import Diagonal
from memorymaps.nets.distributed.unsharding import whole
from memorymaps.nets.laplace.cautions import held
from memorymaps.nets.laplace.diagnostics import coverage
from memorymaps.nets.laplace.fitting import training_examples, without_ignored
from memorymaps.nets.laplace.posterior import NetworkPosterior, build_posterior
from memorymaps.nets.optimizers.state_precision import OptimizerPrecision, OptimizerStateError, precision_from_state
from memorymaps.nets.optimizers.trained_parameters import TrainedParameters
from memorymaps.nets.prior import prior_from
from memorymaps.nets.problem import build_problem
from memorymaps.nets.recipe import Laplace, LaplaceNetwork, as_likelihood
from memorymaps.posteriors.approximation import Approximation
from memorymaps.posteriors.contract import Description
from memorymaps.posteriors.registry import posterior, training_data

_AVERAGED = ("Losses, means, errors and curvatures are averages over the posterior of the outputs.",)


@dataclass(frozen=True)
class FromOptimizer:
    """Recipe for the posterior described by the optimizer's state, at any step of training.

    `memory_map(net, data, likelihood=…, posterior=FromOptimizer(optimizer, n))`; no pass for curvature is needed.
    Parameters that are not in the optimizer are fixed and listed.

    Parameters
    ----------
    optimizer : IVON or its family, Adam and its family, RMSprop, or SGD, after at least one step.
    n : number of training examples, or the sum of their weights.
    loss : how the training loss is reduced, `"mean"` or `"sum"`.
    forward : as for `Laplace`.
    directions : as for `Laplace`, taken where they are fewer reverse passes than outputs (`directions + 2`) and
        nothing is averaged.
    prior : precision `δ` added to the state's, for weights without gradient or decay so far: for example rows of an
        embedding whose token has not occurred yet.
    average : take losses, means, errors and curvatures in expectation under `q(f) = N(f, V)`, as a variational
        optimizer does in training, instead of at the mean. Default: True for variational optimizers. Up to 32
        outputs; beyond, where `V` is computed along directions only, all are at the mean.

    Raises
    ------
    ValueError
        A prior that is negative or not finite.

    Examples
    --------
    >>> import torch, memorymaps as mm
    >>> net, x, y = torch.nn.Linear(3, 2), torch.randn(40, 3), torch.arange(40) % 2
    >>> optimizer = torch.optim.Adam(net.parameters(), weight_decay=0.01)
    >>> torch.nn.functional.cross_entropy(net(x), y).backward(); optimizer.step()
    >>> m = mm.memory_map(net, x, y, likelihood="categorical", posterior=FromOptimizer(optimizer, n=40))
    >>> m.provenance.description.algorithm
    'Adam, step 1'
    """

    optimizer: Any
    n: int
    loss: str = "mean"
    forward: Forward = call_module
    directions: int | None = None
    prior: float = 0.0
    average: bool | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.prior < float("inf"):
            raise ValueError(f"prior = {self.prior!r}: expected a number ≥ 0, the precision added to the optimiser's")

    def __call__(self, module: Any, likelihood: Any) -> OptimizedNetwork:
        """Bind the recipe to a module and its likelihood.

        Raises
        ------
        TypeError
            Not a `torch.nn.Module`, or a TorchScript or sharded one.
        """
        if not isinstance(module, nn.Module):
            raise TypeError(
                f"FromOptimizer is for torch.nn.Module, got {type(module).__name__}: call memory_map without it"
            )
        module = unwrapped(module, keep_parallel=self.forward is not call_module)
        return OptimizedNetwork(Network(module, as_likelihood(likelihood), self.forward), self)


@dataclass(frozen=True)
class OptimizedNetwork:
    """A network and the recipe with its optimizer.

    `original`: the network that `network` was copied from to another device; None where it is the one that was given.
    """

    network: Network
    recipe: FromOptimizer
    original: nn.Module | None = None

    def matched(self, precision: Mapping[int, Tensor]) -> tuple[str, dict[int, Tensor]]:
        """Precisions by the optimizer's parameters as precisions by the network's, and how they were matched."""
        module = self.network.module
        given = module if self.original is None else self.original
        how, found = TrainedParameters.of(self.recipe.optimizer).matched(precision, given)
        found = {name: whole(value) for name, value in found.items()}
        if given is not module:
            pairs = zip(given.parameters(), module.parameters(), strict=True)
            found = {id(to): found[id(p)] for p, to in pairs if id(p) in found}
        return how, found


@posterior.register(OptimizedNetwork)
def _posterior(model: OptimizedNetwork, examples: Examples) -> NetworkPosterior:
    recipe, likelihood = model.recipe, model.network.likelihood
    state = precision_from_state(recipe.optimizer, recipe.n, recipe.loss)
    how, own = model.matched(state.precision)
    state = replace(state, precision=own)
    average = state.variational if recipe.average is None else recipe.average
    network = replace(model.network, likelihood=ExpectedLikelihood(likelihood) if average else likelihood)
    names = _covered_names(network.module, state)
    directions = None if average else recipe.directions
    diagonal = Laplace("diag", subset=names, prior=1.0, forward=recipe.forward, directions=directions)
    counted = example_count_notes(recipe.n, examples, "FromOptimizer(optimizer, n={n})")
    with evaluation_mode(network.module), name_failing_example(network, examples):
        problem = build_problem(LaplaceNetwork(network, diagonal), examples)
        precision = {
            name: state.precision[id(value)].to(value) + recipe.prior for name, value in problem.covered.items()
        }
        precisions = tuple(
            EigenbasisPrecision(_require_positive(group.name, group.pack(precision))) for group in problem.block_groups
        )
    description = Description(
        model=f"{type(network.module).__name__}, {problem.num_parameters:,} of "
        f"{sum(v.numel() for v in network.module.parameters()):,} parameters",
        approximation=Approximation.VARIATIONAL if average else Approximation.OPTIMIZER_STATE,
        posterior=f"diagonal, from the optimiser's state: S = {state.formula}",
        likelihood=type(likelihood).__name__,
        prior=_prior_words(recipe),
        algorithm=state.algorithm,
        coverage=coverage(problem, Diagonal()),
        classes=tuple(range(problem.num_outputs)) if isinstance(likelihood, Categorical) else (),
        hyperparameters_held=held(problem),
        estimator="first_order",
        notes=(
            "The optimiser's own curvature: read sizes as ranks.",
            *counted,
            *(_AVERAGED if average else ()),
            *_copied(how),
        ),
    )
    covariance = BlockDiagonalCovariance(problem.block_groups, precisions)
    return build_posterior(problem, covariance, description, _useful_directions(directions, problem.num_outputs))


def _prior_words(recipe: FromOptimizer) -> str:
    """The optimizer's prior and what was added."""
    added = f" + {recipe.prior:g}" if recipe.prior > 0 else ""
    return prior_from(recipe.optimizer, recipe.n, loss=recipe.loss).source + added


def _copied(how: str) -> tuple[str, ...]:
    """A note if the network is a copy of the optimizer's own."""
    words = "The network is a copy of the optimiser's own (averaged or reloaded); its parameters were matched"
    return (f"{words} {how}.",) if how else ()


def _useful_directions(directions: int | None, outputs: int) -> int | None:
    """The number of directions, or None where they need as many reverse passes as all outputs."""
    return None if directions is not None and outputs <= directions + 2 else directions


def _covered_names(module: nn.Module, state: OptimizerPrecision) -> list[str]:
    names = [name for name, value in module.named_parameters() if value.requires_grad and id(value) in state.precision]
    if not names:
        raise OptimizerStateError(
            "none of this network's parameters are in the optimizer, nor are there as many of the same shapes: pass "
            "the one it is trained with. A copy (averaged, reloaded) of a network with several parameter groups is "
            "matched by name: Adam(net.named_parameters()), or groups of them, instead of net.parameters()"
        )
    return names


def _require_positive(name: str, precision: Tensor) -> Tensor:
    if not bool((precision > 0).all()):
        lost = int((precision <= 0).sum())
        raise OptimizerStateError(
            f"{lost:,} weights of {name!r} have had no gradient and no weight decay: their precision is zero. Train "
            "with weight_decay, freeze them, or add a prior: Tracker(prior=…), FromOptimizer(prior=…)"
        )
    return precision


@training_data.register(OptimizedNetwork)
def _data(model: OptimizedNetwork, examples: Examples | None) -> Examples:
    return without_ignored(training_examples(examples), model.network.likelihood)
