"""Posterior precision in an optimizer's state, recognised by its state's keys [MPE Table 1].

    IVON, VON, iBLR       S = ess (h + δ/N)     any optimizer whose groups have `hess`, `ess`, `weight_decay`
    Adam, AdamW, NAdam    S = N √v̂ + δ          v̂ = v/(1 − β₂ᵗ), bias-corrected (AMSGrad: its maximum)
    RMSprop               S = N √v + δ          v without bias correction
    SGD, with momentum    S = N/ρ + δ           its step size as a precision: sizes are up to scale, ranks are not
                                                (at the end of a schedule, where ρ = 0: the rate at its start)

for a loss averaged over `N` examples. The optimizer's ε guards a division and is no curvature: it is not included,
except in the prior of a decoupled decay, `δ = N w (√v̂ + ε)`, where it acts as one (`weight_decay.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from memorymaps.nets.optimizers.weight_decay import (
    check_loss_scale,
    decay_coefficient,
    has_second_moment,
    inner_optimizer,
    is_variational,
    preconditioner_root,
    trial_state,
)


class OptimizerStateError(ValueError):
    """The optimizer's state contains no precision yet, or is of an unknown kind."""


@dataclass(frozen=True)
class OptimizerPrecision:
    """Precisions by parameter (its `id`), with the algorithm and step they belong to.

    `variational`: the algorithm learns `q` itself, from losses at samples of it.
    """

    precision: Mapping[int, Tensor]
    algorithm: str
    formula: str
    variational: bool = False


def precision_from_state(optimizer: Any, n: int, loss: str = "mean") -> OptimizerPrecision:
    """Posterior precision in an optimizer's state.

    Parameters
    ----------
    n : number of training examples `N`.
    loss : how the training loss is reduced, `"mean"` or `"sum"`.

    Raises
    ------
    OptimizerStateError
        No step has been taken, the state is not finite, or it contains no precision of a known kind.
    """
    check_loss_scale(n, loss)
    optimizer = inner_optimizer(optimizer)
    family = _family_of(optimizer)
    found = family.precision(optimizer, n if loss == "mean" else 1)
    for value in found.values():
        if not bool(torch.isfinite(value).all() and (value >= 0).all()):
            raise OptimizerStateError(
                f"the state of {type(optimizer).__name__} is not finite: training has diverged. Load an earlier state"
            )
    return OptimizerPrecision(
        found, f"{type(optimizer).__name__}, step {family.step(optimizer)}", family.formula, family.variational
    )


def check_will_have_precision(optimizer: Any) -> None:
    """Raise, before training, if the optimizer's state will contain no precision of a known kind.

    Raises
    ------
    OptimizerStateError
        An optimizer of an unknown kind.
    ValueError
        It cannot take a step on numbers of its own, so that this cannot be told.
    """
    optimizer = inner_optimizer(optimizer)
    group = optimizer.param_groups[0]
    if isinstance(optimizer, torch.optim.SGD) or is_variational(group):
        return
    state = trial_state(optimizer, group)
    if "exp_avg_sq" not in state and ("square_avg" not in state or "acc_delta" in state):
        raise _unknown(optimizer)
    _check_second_moment(optimizer, group, "exp_avg_sq" if "exp_avg_sq" in state else "square_avg")


@dataclass(frozen=True)
class OptimizerFamily:
    """A family of optimizers: a test for membership, and functions that read precision and step."""

    matches: Callable[[Any], bool]
    precision: Callable[[Any, float], dict[int, Tensor]]
    step: Callable[[Any], str]
    formula: str
    variational: bool = False


def _family_of(optimizer: Any) -> OptimizerFamily:
    found = next((family for family in _FAMILIES if family.matches(optimizer)), None)
    if found is not None:
        return found
    name = type(optimizer).__name__
    if not getattr(optimizer, "state", None):
        raise OptimizerStateError(f"{name} has taken no step yet: compute the map after training has begun")
    raise _unknown(optimizer)


def _unknown(optimizer: Any) -> OptimizerStateError:
    return OptimizerStateError(
        f"the state of {type(optimizer).__name__} contains no known precision: expected exp_avg_sq (Adam), square_avg "
        "(RMSprop, not Adadelta), hess and ess (IVON), or SGD; those that need a closure (LBFGS) store none. Use "
        "posterior=Laplace(...) for the curvature of the loss itself"
    )


def _parameters(optimizer: Any) -> list[tuple[Mapping[str, Any], nn.Parameter]]:
    return [(group, p) for group in optimizer.param_groups for p in group["params"] if p.requires_grad]


def _has_state(key: str) -> Callable[[Any], bool]:
    return lambda optimizer: any(isinstance(s, Mapping) and key in s for s in optimizer.state.values())


def _is_rmsprop(optimizer: Any) -> bool:
    return _has_state("square_avg")(optimizer) and not _has_state("acc_delta")(optimizer)  # Adadelta


def _state(optimizer: Any, parameter: nn.Parameter, key: str) -> Tensor:
    state = optimizer.state.get(parameter, {})
    if getattr(state.get(key), "shape", parameter.shape) != parameter.shape or (state and key not in state):
        raise _unknown(optimizer)  # factored (Adafactor of Hugging Face) or projected (GaLore)
    if key not in state:
        raise OptimizerStateError(
            f"a parameter of shape {tuple(parameter.shape)} has no {key} yet: it has had no gradient. Freeze it with "
            "requires_grad_(False) if it is not trained"
        )
    found: Tensor = state[key].detach()
    return found


def _adam(optimizer: Any, scale: float) -> dict[int, Tensor]:
    return _preconditioned(optimizer, scale, "exp_avg_sq")


def _rmsprop(optimizer: Any, scale: float) -> dict[int, Tensor]:
    return _preconditioned(optimizer, scale, "square_avg")


def _preconditioned(optimizer: Any, scale: float, key: str) -> dict[int, Tensor]:
    """`N (√v̂ + w)`, with the decay as it acts on the gradient."""
    found = {}
    for group, p in _parameters(optimizer):
        _check_evaluated(optimizer, group)
        _check_second_moment(optimizer, group, key)
        _state(optimizer, p, "max_exp_avg_sq" if group.get("amsgrad") else key)
        root, decay = preconditioner_root(optimizer, group, p), decay_coefficient(optimizer, group, p)
        found[id(p)] = scale * (root + decay)  # type: ignore[operator]  # both exist, as the state does
    return found


def _check_evaluated(optimizer: Any, group: Mapping[str, Any]) -> None:
    if group.get("train_mode"):
        raise OptimizerStateError(
            f"{type(optimizer).__name__} is in training mode, its parameters are not those it returns: call "
            "optimizer.eval() before the map, optimizer.train() after it"
        )


def _check_second_moment(optimizer: Any, group: Mapping[str, Any], key: str) -> None:
    if not has_second_moment(optimizer, group, key):
        raise OptimizerStateError(
            f"{key} in the state of {type(optimizer).__name__} is not the running mean of squared gradients as "
            "Adam's is: it contains no known precision. Use posterior=Laplace(...) for the curvature of the loss itself"
        )


def _sgd(optimizer: Any, scale: float) -> dict[int, Tensor]:
    return {
        id(p): torch.full_like(p, scale * (1 / _rate(optimizer, group) + float(group["weight_decay"])))
        for group, p in _parameters(optimizer)
    }


def _rate(optimizer: Any, group: Mapping[str, Any]) -> float:
    """The learning rate; where a schedule has brought it to 0, that at its start."""
    rate = float(group["lr"]) or float(group.get("initial_lr", 0.0))
    if not 0 < rate < float("inf"):
        raise OptimizerStateError(
            f"the learning rate of {type(optimizer).__name__} is {float(group['lr']):g}: its precision N/ρ does not "
            "exist. Set the rate it was trained with, optimizer.param_groups[0]['lr'] = …, for the map, or use "
            "posterior=Laplace(...)"
        )
    return rate


def _variational_newton(optimizer: Any, scale: float) -> dict[int, Tensor]:
    """`hess` is one vector per group, in the order of its parameters."""
    found = {}
    for group in optimizer.param_groups:
        sizes = [p.numel() for p in group["params"]]
        pieces = torch.split(group["hess"].detach().reshape(-1), sizes)
        for p, h in zip(group["params"], pieces, strict=True):
            found[id(p)] = float(group["ess"]) * (h.reshape(p.shape) + float(group["weight_decay"]))
    return found


def _step_count(optimizer: Any) -> str:
    states = (s for s in optimizer.state.values() if isinstance(s, Mapping) and "step" in s)
    groups = (group[key] for group in optimizer.param_groups for key in ("step", "k") if key in group)
    return str(max((*(int(s["step"]) for s in states), *map(int, groups)), default=0))


_FAMILIES = (
    OptimizerFamily(
        lambda o: all("hess" in g and "ess" in g for g in o.param_groups), _variational_newton,
        lambda o: str(getattr(o, "current_step", "?")), "ess (h + δ/N)", variational=True,
    ),
    OptimizerFamily(_has_state("exp_avg_sq"), _adam, _step_count, "N √v̂ + δ"),
    OptimizerFamily(_is_rmsprop, _rmsprop, _step_count, "N √v + δ"),
    OptimizerFamily(lambda o: isinstance(o, torch.optim.SGD), _sgd, lambda _: "?", "N/ρ + δ, up to scale"),
)  # fmt: skip
