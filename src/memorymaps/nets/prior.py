"""Prior precision `δ` of a network's parameters, from the regularisation used in training.

Convention of the summed loss: training minimises `Σ_i ℓ_i + Σ_j δ_j θ_j²/2`. PyTorch's `weight_decay` belongs to the
mean loss, hence `δ = n · weight_decay`.
"""

from __future__ import annotations

import numbers
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

_EVIDENCE_STEPS = 100
_UNSUPPORTED = ("Adafactor", "Lion", "Muon")  # decoupled decay after a step without a diagonal preconditioner


@dataclass(frozen=True)
class Prior:
    """Prior precision per parameter (a number, or a tensor of its shape), and a description of its source."""

    default: float | None
    source: str
    by_parameter: Mapping[int, float | Tensor] = field(default_factory=dict)  # id of the parameter → δ
    by_evidence: bool = False

    def tensors(self, parameters: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
        """Prior precision `δ` of every parameter, each in the parameter's shape.

        Raises
        ------
        ValueError
            A parameter has no prior, or not a positive one.
        """
        return {name: self._tensor(name, value) for name, value in parameters.items()}

    def _tensor(self, name: str, value: nn.Parameter) -> Tensor:
        found = self.by_parameter.get(id(value), self.default)
        if found is None:
            raise ValueError(
                f"parameter {name!r} was not in the optimizer, or had no gradient there: exclude it with "
                "Laplace(subset=[...]), or pass Laplace(prior=δ)"
            )
        delta = torch.as_tensor(found, dtype=value.dtype, device=value.device).detach().expand(value.shape)
        if not bool(torch.isfinite(delta).all() and (delta > 0).all()):
            raise ValueError(
                f"prior precision of {name!r} is {float(delta.min()):g}: expected positive numbers. Without weight "
                "decay a parameter that the data do not determine has no finite variance; pass "
                "prior_from(..., floor=1.0) or Laplace(prior=1.0)"
            )
        return delta


def as_prior(prior: Any) -> Prior:
    """Convert a positive number, a `Prior` or `'evidence'` to a `Prior`.

    Raises
    ------
    ValueError
        None given, or not a positive number.
    """
    if isinstance(prior, Prior):
        return prior
    if prior is None:
        raise ValueError(
            "a network's map needs the prior it was trained with: Laplace(prior=prior_from(optimizer, n)), "
            "or prior=δ for a loss Σℓ + δ‖θ‖²/2 (δ = n · weight_decay for a mean loss)"
        )
    if prior == "evidence":
        return Prior(1.0, "by the marginal likelihood", by_evidence=True)
    delta = _number(prior)
    if delta is None or not 0 < delta < float("inf"):
        raise ValueError(f"prior = {prior!r}: expected a positive number δ, prior_from(optimizer, n), or 'evidence'")
    return Prior(delta, f"δ = {delta:.4g}, given")


def _number(value: Any) -> float | None:
    """A scalar of Python, NumPy or PyTorch as a float; None for anything else."""
    single = isinstance(value, numbers.Real) or (hasattr(value, "shape") and tuple(value.shape) == ())
    return float(value) if single else None


def evidence_prior(
    prior: dict[str, Tensor], parameters: Mapping[str, Tensor], build: Callable[[dict[str, Tensor]], Any]
) -> tuple[dict[str, Tensor], str]:
    """Scalar prior precision at which the marginal likelihood is stationary: `δ = (P − δ tr S⁻¹)/‖θ‖²`, iterated.

    Evaluated at the trained parameters. Returns the prior by parameter and a description of its source
    [MacKay 1992, "Bayesian interpolation"].

    Raises
    ------
    ValueError
        No positive `δ` is found: the data determine no parameter, or the weights are zero.
    """
    theta = sum(float(value.detach().double().square().sum()) for value in parameters.values())
    count, delta = sum(value.numel() for value in parameters.values()), 1.0
    for _ in range(_EVIDENCE_STEPS):
        deltas = {name: torch.full_like(value, delta) for name, value in prior.items()}
        covariance = build(deltas)
        effective = count - covariance.inverse_trace([group.pack(deltas) for group in covariance.groups])
        last, delta = delta, effective / max(theta, 1e-300)
        if not 0 < delta < float("inf"):
            raise ValueError(f"the marginal likelihood gives δ = {delta:g}: pass a prior, Laplace(prior=δ)")
        if abs(delta / last - 1) < 1e-4:
            break
    words = f"δ = {delta:.4g}, by the marginal likelihood at the trained weights"
    return {name: torch.full_like(value, delta) for name, value in prior.items()}, words


def prior_from(optimizer: Any, n: int, *, loss: str = "mean", floor: float = 0.0) -> Prior:
    """Prior implied by a PyTorch optimizer's weight decay: `δ = n · weight_decay` for a loss averaged over examples.

    AdamW's decay acts after its preconditioner; a stationary point of AdamW is one of the loss with
    `δ_j = n · weight_decay · (√v̂_j + ε)`.

    Parameters
    ----------
    optimizer : the one used in training, its state included.
    n : number of training examples.
    loss : `"mean"` or `"sum"`, how the training loss was reduced.
    floor : smallest `δ`, for parameter groups without weight decay.

    Raises
    ------
    ValueError
        `n` is not positive, `loss` is unknown, AdamW has no state yet, or the optimizer's decay corresponds to no
        quadratic prior.

    Examples
    --------
    >>> import torch
    >>> net = torch.nn.Linear(2, 1)
    >>> prior_from(torch.optim.SGD(net.parameters(), lr=0.1, weight_decay=1e-3), n=500).source
    'δ = 500 · weight_decay from SGD (weight_decay 0.001)'
    """
    if n < 1 or loss not in ("mean", "sum"):
        raise ValueError(f"n = {n}, loss = {loss!r}: expected n ≥ 1 and loss 'mean' or 'sum'")
    kind = type(optimizer).__name__
    if kind in _UNSUPPORTED:
        raise ValueError(
            f"the decoupled weight decay of {kind} corresponds to no quadratic prior: "
            "pass Laplace(prior=δ) or prior='evidence'"
        )
    scale = n if loss == "mean" else 1
    decays = {
        id(parameter): _decay(optimizer, group, parameter)
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    found = {key: _floored(scale * decay, floor) for key, decay in decays.items() if decay is not None}
    if not found:
        raise ValueError(f"{kind} has taken no step yet: its prior follows from its state after training")
    listed = sorted({float(group.get("weight_decay", 0.0)) for group in optimizer.param_groups})
    factor = " · (√v̂ + ε)" if any(isinstance(delta, Tensor) for delta in found.values()) else ""
    words = f"δ = {scale} · weight_decay{factor} from {kind} (weight_decay {_format_values(listed)})"
    return Prior(None, words + (f", at least {floor:g}" if floor else ""), found)


def _floored(delta: float | Tensor, floor: float) -> float | Tensor:
    return delta.clamp(min=floor) if isinstance(delta, Tensor) else max(delta, floor)


def _decay(optimizer: Any, group: Mapping[str, Any], parameter: nn.Parameter) -> float | Tensor | None:
    """Decay coefficient as it acts on the gradient; None if it depends on optimizer state that does not exist yet."""
    decay = float(group.get("weight_decay", 0.0))
    decoupled = isinstance(optimizer, torch.optim.AdamW) or group.get("decoupled_weight_decay", False)
    if decay == 0 or not decoupled:
        return decay
    state, key = optimizer.state.get(parameter, {}), "max_exp_avg_sq" if group.get("amsgrad") else "exp_avg_sq"
    if key not in state:
        return None
    corrected = state[key] / (1 - group["betas"][1] ** float(state["step"]))
    return decay * (corrected.sqrt() + group["eps"])


def _format_values(values: Iterable[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)
