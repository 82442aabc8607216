"""What an optimiser already knows: the posterior precision in its state, read by duck typing [MPE Table 1].

    IVON, VON, iBLR       S = ess (h + δ/N)     any optimiser whose groups hold `hess`, `ess`, `weight_decay`
    Adam, AdamW, NAdam    S = N √v̂ + δ          v̂ = v/(1 − β₂ᵗ) corrected for its start (the largest so far: AMSGrad)
    RMSprop               S = N √v + δ          v as it stands: RMSprop corrects nothing
    SGD, with momentum    S = N/ρ + δ           its step as a precision: sizes are up to scale, ranks are not

for a loss averaged over `N` examples. The optimiser's ε guards a division and is no curvature: it is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from memorymaps.examples import Examples
from memorymaps.likelihoods import Categorical
from memorymaps.nets.covariance import Covariance
from memorymaps.nets.fit import training_examples
from memorymaps.nets.laplace import Laplace, LaplaceNetwork, likelihood_named
from memorymaps.nets.network import Forward, Network, call, evaluating
from memorymaps.nets.network_posterior import NetworkPosterior, kind_for
from memorymaps.nets.parts import Rotated
from memorymaps.nets.prior import prior_from
from memorymaps.nets.setting import setting_of
from memorymaps.nets.trust import coverage
from memorymaps.posteriors import Description, posterior, training_data


class OptimizerStateError(ValueError):
    """The optimiser's state holds no precision yet, or none that is known how to read."""


@dataclass(frozen=True)
class Reading:
    """Precisions by parameter (its `id`), the algorithm and the step they were read at."""

    precision: Mapping[int, Tensor]
    algorithm: str
    formula: str


def read(optimizer: Any, n: int, loss: str = "mean") -> Reading:
    """The posterior precision in an optimiser's state.

    Parameters
    ----------
    n : number of training examples `N`.
    loss : how the training loss is reduced, `"mean"` or `"sum"`.

    Raises
    ------
    OptimizerStateError
        It has taken no step, its state is not finite, or it is of a kind that holds no precision.
    """
    if n < 1 or loss not in ("mean", "sum"):
        raise ValueError(f"n = {n}, loss = {loss!r}: expected n ≥ 1 and loss 'mean' or 'sum'")
    kind = _kind(optimizer)
    found = kind.precision(optimizer, n if loss == "mean" else 1)
    for value in found.values():
        if not bool(torch.isfinite(value).all() and (value >= 0).all()):
            raise OptimizerStateError(f"the state of {type(optimizer).__name__} is not finite: training has diverged")
    return Reading(found, f"{type(optimizer).__name__}, step {kind.step(optimizer)}", kind.formula)


@dataclass(frozen=True)
class _Kind:
    """A family of optimisers: how to know one, and how to read it."""

    knows: Callable[[Any], bool]
    precision: Callable[[Any, float], dict[int, Tensor]]
    step: Callable[[Any], str]
    formula: str


def _kind(optimizer: Any) -> _Kind:
    found = next((kind for kind in _KINDS if kind.knows(optimizer)), None)
    if found is not None:
        return found
    name = type(optimizer).__name__
    if not getattr(optimizer, "state", None):
        raise OptimizerStateError(f"{name} has taken no step yet: draw the map after training has begun")
    raise OptimizerStateError(
        f"the state of {name} holds no precision that is known: expected exp_avg_sq (Adam), square_avg (RMSprop), "
        "hess and ess (IVON), or SGD. Use posterior=Laplace(...) for the curvature of the loss itself"
    )


def _parameters(optimizer: Any) -> list[tuple[Mapping[str, Any], nn.Parameter]]:
    return [(group, p) for group in optimizer.param_groups for p in group["params"] if p.requires_grad]


def _has_state(key: str) -> Callable[[Any], bool]:
    return lambda optimizer: any(isinstance(s, Mapping) and key in s for s in optimizer.state.values())


def _state(optimizer: Any, parameter: nn.Parameter, key: str) -> Tensor:
    state = optimizer.state.get(parameter, {})
    if key not in state:
        raise OptimizerStateError(
            f"a parameter of shape {tuple(parameter.shape)} has no {key} yet: it has had no gradient. Freeze it with "
            "requires_grad_(False) if it is not trained"
        )
    found: Tensor = state[key].detach()
    return found


def _adam(optimizer: Any, scale: float) -> dict[int, Tensor]:
    found = {}
    for group, p in _parameters(optimizer):
        key = "max_exp_avg_sq" if group.get("amsgrad") else "exp_avg_sq"
        corrected = _state(optimizer, p, key) / (1 - group["betas"][1] ** float(optimizer.state[p]["step"]))
        decay = float(group.get("weight_decay", 0.0))
        # AdamW decays after the preconditioner: at its rest the prior is δ = N · decay · √v̂
        decoupled = isinstance(optimizer, torch.optim.AdamW) or group.get("decoupled_weight_decay", False)
        found[id(p)] = scale * (corrected.sqrt() * (1 + decay) if decoupled else corrected.sqrt() + decay)
    return found


def _rmsprop(optimizer: Any, scale: float) -> dict[int, Tensor]:
    return {
        id(p): scale * (_state(optimizer, p, "square_avg").sqrt() + float(group["weight_decay"]))
        for group, p in _parameters(optimizer)
    }


def _sgd(optimizer: Any, scale: float) -> dict[int, Tensor]:
    return {
        id(p): torch.full_like(p, scale * (1 / float(group["lr"]) + float(group["weight_decay"])))
        for group, p in _parameters(optimizer)
    }


def _variational(optimizer: Any, scale: float) -> dict[int, Tensor]:
    """`hess` is one vector a group, in the order of its parameters."""
    found = {}
    for group in optimizer.param_groups:
        sizes = [p.numel() for p in group["params"]]
        pieces = torch.split(group["hess"].detach().reshape(-1), sizes)
        for p, h in zip(group["params"], pieces, strict=True):
            found[id(p)] = float(group["ess"]) * (h.reshape(p.shape) + float(group["weight_decay"]))
    return found


def _first_step(optimizer: Any) -> str:
    return str(
        max((int(s["step"]) for s in optimizer.state.values() if isinstance(s, Mapping) and "step" in s), default=0)
    )


_KINDS = (
    _Kind(
        lambda o: all("hess" in g and "ess" in g for g in o.param_groups), _variational,
        lambda o: str(getattr(o, "current_step", "?")), "ess (h + δ/N)",
    ),
    _Kind(_has_state("exp_avg_sq"), _adam, _first_step, "N √v̂ + δ"),
    _Kind(_has_state("square_avg"), _rmsprop, _first_step, "N √v + δ"),
    _Kind(lambda o: isinstance(o, torch.optim.SGD), _sgd, lambda _: "?", "N/ρ + δ, up to scale"),
)  # fmt: skip


@dataclass(frozen=True)
class FromOptimizer:
    """Recipe: the posterior that the optimiser's own state describes, at whatever step training is.

    `memory_map(net, data, likelihood=…, posterior=FromOptimizer(optimizer, n))`; no pass for curvature is needed.
    Parameters that the optimiser does not hold are held fixed and listed.

    Parameters
    ----------
    optimizer : IVON or its family, Adam and its family, RMSprop, or SGD, after at least one step.
    n : number of training examples.
    loss : how the training loss is reduced, `"mean"` or `"sum"`.
    forward, directions : as for `Laplace`.

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
    forward: Forward = call
    directions: int | None = None

    def __call__(self, module: Any, likelihood: Any) -> OptimizedNetwork:
        """The recipe applied to a module: a model the map can be drawn of.

        Raises
        ------
        TypeError
            Not a `torch.nn.Module`.
        """
        if not isinstance(module, nn.Module):
            raise TypeError(f"FromOptimizer is for torch.nn.Module, got {type(module).__name__}")
        return OptimizedNetwork(Network(module, likelihood_named(likelihood), self.forward), self)


@dataclass(frozen=True)
class OptimizedNetwork:
    """A network and the optimiser it is trained with."""

    network: Network
    recipe: FromOptimizer


@posterior.register(OptimizedNetwork)
def _posterior(model: OptimizedNetwork, examples: Examples) -> NetworkPosterior:
    recipe, network = model.recipe, model.network
    reading = read(recipe.optimizer, recipe.n, recipe.loss)
    names = _held(network.module, reading)
    diagonal = Laplace("diag", subset=names, prior=1.0, forward=recipe.forward, directions=recipe.directions)
    with evaluating(network.module):
        setting = setting_of(LaplaceNetwork(network, diagonal), examples)
        precision = {name: reading.precision[id(value)].to(value) for name, value in setting.covered.items()}
        parts = tuple(Rotated(_positive(group.name, group.pack(precision))) for group in setting.separate)
    description = Description(
        model=f"{type(network.module).__name__}, {setting.count:,} of "
        f"{sum(v.numel() for v in network.module.parameters()):,} parameters",
        posterior=f"diagonal, from the optimiser's state: S = {reading.formula}",
        likelihood=type(network.likelihood).__name__,
        prior=prior_from(recipe.optimizer, recipe.n, loss=recipe.loss).source,
        algorithm=reading.algorithm,
        coverage=coverage(setting, "diag"),
        classes=tuple(range(setting.outputs)) if isinstance(network.likelihood, Categorical) else (),
        form="F-sm",
        notes=("The optimiser's own curvature: read sizes as ranks.",),
    )
    kind = kind_for(setting.count, setting.outputs, recipe.directions)
    return kind(setting, Covariance(setting.separate, parts), description)


def _held(module: nn.Module, reading: Reading) -> list[str]:
    names = [
        name for name, value in module.named_parameters() if value.requires_grad and id(value) in reading.precision
    ]
    if not names:
        raise OptimizerStateError(
            "the optimiser holds none of this network's parameters: pass the one it is trained with"
        )
    return names


def _positive(name: str, precision: Tensor) -> Tensor:
    if not bool((precision > 0).all()):
        lost = int((precision <= 0).sum())
        raise OptimizerStateError(
            f"{lost:,} weights of {name!r} have had no gradient and no weight decay: nothing holds them. Train with "
            "weight_decay, freeze them, or use posterior=Laplace(prior=…)"
        )
    return precision


@training_data.register(OptimizedNetwork)
def _data(model: OptimizedNetwork, examples: Examples | None) -> Examples:
    return training_examples(examples)
