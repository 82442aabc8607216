"""Weight decay of an optimizer as a coefficient of the gradient, recognised by the steps that the optimizer takes.

    coupled      the gradient becomes g + wθ                δ = N w                  SGD, Adam, RMSprop, Adadelta, …
    decoupled    θ shrinks by lr·w beside the step          δ = N w (√v̂ + ε)         AdamW and its kin

A stationary point of a decoupled decay after the diagonal preconditioner `√v̂ + ε` is one of the loss with this `δ`. The
optimizer's own `step` is run on a few numbers of its own, never on the network's parameters.
"""

from __future__ import annotations

import copy
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any, Literal

import torch
from torch import Tensor, nn

_STEPS, _RATE, _DECAY = 8, 1e-3, 0.5  # of the probe; RAdam becomes adaptive after five steps
_START = ((2.0, -3.0), (1.0, 4.0))
_GRADIENT = ((-0.1, 0.2), (-0.2, 0.1))  # smaller than the decay and against it: signs tell the two kinds apart
_VARIED, _HALF = (1.0, 2.0, 0.1, 1.5, 0.2, 3.0, 0.5, 1.0), 0.5  # sizes of gradients, and the weight of the last one
_COUNTERS = {"step": 0, "k": 0, "weight_sum": 0.0, "lr_max": -1.0}  # in a group, of other libraries' optimizers
_SWITCHES = {
    "lr": _RATE, "foreach": False, "fused": None, "capturable": False, "maximize": False, "differentiable": False,
    "train_mode": True, "warmup_steps": 0,
}  # fmt: skip
_HOOKS = (
    "_optimizer_step_pre_hooks", "_optimizer_step_post_hooks", "_optimizer_state_dict_pre_hooks",
    "_optimizer_state_dict_post_hooks", "_optimizer_load_state_dict_pre_hooks", "_optimizer_load_state_dict_post_hooks",
)  # fmt: skip
DecayKind = Literal["coupled", "decoupled"]
_ALTERNATIVE = "pass Laplace(prior=δ) or prior='evidence'"


@dataclass(frozen=True)
class ProbeRun:
    """Parameters `[2, 2]` before every step and after the last, and the parameter's state at the end."""

    path: tuple[Tensor, ...]
    state: Mapping[str, Any]

    @property
    def change(self) -> Tensor:
        """From the first to the last."""
        return self.path[-1] - self.path[0]


def check_loss_scale(n: Any, loss: Any) -> None:
    """Raise `ValueError` unless the training loss is a mean or a sum of the losses of `n ≥ 1` examples."""
    is_number = isinstance(n, Real) and not isinstance(n, bool)
    if not is_number or not n >= 1 or loss not in ("mean", "sum"):
        raise ValueError(
            f"n = {n!r}, loss = {loss!r}: expected n ≥ 1, the number of training examples, and loss 'mean' or 'sum'"
        )


def inner_optimizer(optimizer: Any) -> Any:
    """The optimizer inside a wrapper of a training library (accelerate, Lightning), or inside SAM."""
    while True:
        inside = [getattr(optimizer, name, None) for name in ("optimizer", "base_optimizer")]
        found = [each for each in inside if isinstance(each, torch.optim.Optimizer)]
        if not found:
            return optimizer
        optimizer = found[0]


def decay_coefficient(optimizer: Any, group: Mapping[str, Any], parameter: nn.Parameter) -> float | Tensor | None:
    """`w` or `w (√v̂ + ε)`: the decay as it acts on the gradient; None if it depends on a state that does not exist yet.

    Raises
    ------
    ValueError
        A decay that is negative or not finite, or that corresponds to no quadratic prior.
    """
    decay = float(group.get("weight_decay", 0.0))
    if not 0 <= decay < float("inf"):
        raise ValueError(
            f"weight_decay = {decay:g} of {type(optimizer).__name__}: expected a number ≥ 0; {_ALTERNATIVE}"
        )
    if decay == 0 or is_variational(group) or decay_kind(optimizer, group) == "coupled":
        return decay
    root = preconditioner_root(optimizer, group, parameter)
    return None if root is None else decay * (root + float(group.get("eps", 0.0)))


def is_variational(group: Mapping[str, Any]) -> bool:
    """Whether a group belongs to IVON or its family, whose decay is part of the precision that it learns."""
    return "hess" in group and "ess" in group


def preconditioner_root(optimizer: Any, group: Mapping[str, Any], parameter: nn.Parameter) -> Tensor | None:
    """`√v̂` of Adam's family, `√v` of RMSprop's; None before the first step."""
    state = optimizer.state.get(parameter, {})
    key = "max_exp_avg_sq" if group.get("amsgrad") else "exp_avg_sq"
    if key in state:
        found: Tensor = (state[key].detach() / (1 - group["betas"][1] ** steps_taken(group, state))).sqrt()
        return found
    return state["square_avg"].detach().sqrt() if "square_avg" in state else None


def steps_taken(group: Mapping[str, Any], state: Mapping[str, Any]) -> float:
    """Number of steps, from the parameter's state or (schedule-free optimizers) from its group."""
    return float(state["step"]) if "step" in state else float(group.get("step", group.get("k", float("inf"))))


def decay_kind(optimizer: Any, group: Mapping[str, Any]) -> DecayKind:
    """How an optimizer's weight decay acts, by some of its steps.

    Raises
    ------
    ValueError
        In neither of the two ways, decoupled without a diagonal preconditioner, or not to be told.
    """
    optimizer = inner_optimizer(optimizer)
    decayed = _run(optimizer, group, _DECAY, lambda theta: torch.zeros_like(theta))
    plain = _run(optimizer, group, 0.0, lambda theta: torch.zeros_like(theta))
    added = _run(optimizer, group, 0.0, lambda theta: _DECAY * theta)
    if torch.allclose(decayed.change, added.change, rtol=1e-4, atol=1e-9):
        return "coupled"
    shrink = (decayed.change - plain.change) / (-_DECAY * decayed.path[0])
    gradient_rate = plain.change / -torch.tensor(_GRADIENT, dtype=torch.float64).sign()  # of Adam's family
    rates = (torch.full_like(shrink, _STEPS * _RATE), gradient_rate)
    if not any(torch.allclose(shrink, rate, rtol=0.05, atol=0.0) for rate in rates):
        raise ValueError(
            f"the weight decay of {type(optimizer).__name__} neither adds weight_decay·θ to the gradient nor shrinks "
            f"weights by lr·weight_decay: it corresponds to no quadratic prior; {_ALTERNATIVE}"
        )
    if not {"exp_avg_sq", "square_avg"} & {k for k, v in plain.state.items() if getattr(v, "shape", None) == (2, 2)}:
        raise ValueError(
            f"the decoupled weight decay of {type(optimizer).__name__} follows a step without a diagonal "
            f"preconditioner in its state and corresponds to no quadratic prior: {_ALTERNATIVE}"
        )
    return "decoupled"


def has_second_moment(optimizer: Any, group: Mapping[str, Any], key: str = "exp_avg_sq") -> bool:
    """Whether a state is the running mean of squared gradients, as Adam's; torch's own optimizers are not asked.

    It is compared after some steps with gradients of different sizes.
    """
    optimizer = inner_optimizer(optimizer)
    if type(optimizer).__module__.startswith("torch.optim"):
        return True
    if "betas" not in group and "alpha" not in group:
        return False
    weights = {"betas": (group["betas"][0], _HALF, *group["betas"][2:])} if "betas" in group else {"alpha": _HALF}
    g, sizes, mean = torch.tensor(_GRADIENT, dtype=torch.float64), iter(_VARIED), 0.0
    for size in _VARIED:
        mean = _HALF * mean + (1 - _HALF) * (size * g).square()
    found = _run(optimizer, group, 0.0, lambda theta: (next(sizes) - 1) * g, **weights).state.get(key)
    if not isinstance(found, Tensor) or found.shape != g.shape:
        return False
    return bool(torch.allclose(found.double(), mean, rtol=1e-3))


def trial_state(optimizer: Any, group: Mapping[str, Any]) -> Mapping[str, Any]:
    """What an optimizer stores for a parameter after some steps, taken on numbers of its own.

    Raises
    ------
    ValueError
        The optimizer cannot take a step of this kind.
    """
    return _run(inner_optimizer(optimizer), group, 0.0, lambda theta: torch.zeros_like(theta)).state


def _run(
    optimizer: Any, group: Mapping[str, Any], decay: float, added: Callable[[Tensor], Tensor], **options: Any
) -> ProbeRun:
    """Some steps on numbers of the probe's own, with a constant gradient plus `added(θ)`; `options` replace its own.

    Raises
    ------
    ValueError
        The optimizer cannot take a step of this kind.
    """
    theta = nn.Parameter(torch.tensor(_START, dtype=torch.float64))
    probe, path = _copied(optimizer, {**group, **options}, decay, theta), [theta.detach().clone()]
    try:
        for _ in range(_STEPS):
            theta.grad = torch.tensor(_GRADIENT, dtype=torch.float64) + added(theta.detach())
            type(optimizer).step(probe)
            path.append(theta.detach().clone())
    except Exception as error:  # of a library's own step, whatever it is
        raise ValueError(
            f"how the weight decay of {type(optimizer).__name__} acts cannot be told: its step() failed on a trial "
            f"parameter ({type(error).__name__}: {error}). {_ALTERNATIVE[0].upper()}{_ALTERNATIVE[1:]}"
        ) from error
    return ProbeRun(tuple(path), probe.state.get(theta, {}))


def _copied(optimizer: Any, group: Mapping[str, Any], decay: float, theta: nn.Parameter) -> Any:
    """An optimizer of the same class and options, with no parameter but `theta` and no state.

    Wherever the original holds a parameter of the network, its state or itself, the copy holds a stand-in.
    """
    probe = object.__new__(type(optimizer))
    memo: dict[int, Any] = {id(p): theta for each in optimizer.param_groups for p in each["params"]}
    memo |= {id(optimizer): probe, id(optimizer.state): defaultdict(dict)}
    options = {key: copy.deepcopy(value, memo) for key, value in group.items() if key != "params"}
    frozen = {"alpha": 0.9} if options.get("alpha") == 1 else {}  # RMSprop with a preconditioner that stays zero
    switches = {key: value for key, value in (_SWITCHES | _COUNTERS).items() if key in options} | frozen
    skipped = ("step", "param_groups", "state", *_HOOKS)  # a scheduler wraps `step`, users add hooks
    probe.__dict__ = {key: copy.deepcopy(value, memo) for key, value in vars(optimizer).items() if key not in skipped}
    probe.__dict__ |= {name: OrderedDict() for name in _HOOKS}
    probe.__dict__["state"] = defaultdict(dict)
    probe.__dict__["param_groups"] = [{**options, **switches, "params": [theta], "weight_decay": decay}]
    return probe
