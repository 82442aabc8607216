"""Prior precision `δ` of a network's parameters, from the regularisation used in training.

Convention of the summed loss: training minimises `Σ_i ℓ_i + Σ_j δ_j θ_j²/2`. PyTorch's `weight_decay` belongs to the
mean loss, hence `δ = n · weight_decay`.
"""

from __future__ import annotations

import numbers
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from memorymaps.nets.distributed.unsharding import whole
from memorymaps.nets.optimizers.trained_parameters import TrainedParameters
from memorymaps.nets.optimizers.weight_decay import check_loss_scale, decay_coefficient, inner_optimizer

_EVIDENCE_STEPS = 100


@dataclass(frozen=True)
class Prior:
    """Prior precision per parameter (a number, or a tensor of its shape), and a description of its source."""

    default: float | None
    source: str
    by_parameter: Mapping[int, float | Tensor] = field(default_factory=dict)  # id of the parameter → δ
    by_evidence: bool = False
    examples: int | None = None  # the number of training examples that it was computed for
    trained: TrainedParameters | None = None  # those of the optimizer it was read from

    def of(self, module: nn.Module) -> Prior:
        """The prior of a network that is a copy of the optimizer's own: averaged, reloaded, deep-copied."""
        if self.trained is None:
            return self
        how, found = self.trained.matched(self.by_parameter, module)
        return replace(self, by_parameter=found, source=f"{self.source}, matched {how}") if how else self

    def tensors(self, parameters: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
        """Prior precision `δ` of every parameter, each in the parameter's shape.

        Raises
        ------
        ValueError
            A parameter has no prior, or not a positive one.
        """
        return {name: self._tensor(name, value) for name, value in parameters.items()}

    def _tensor(self, name: str, value: nn.Parameter) -> Tensor:
        found = whole(self.by_parameter.get(id(value), self.default))
        if found is None:
            raise ValueError(
                f"parameter {name!r} was not in the optimizer, or had no gradient there: exclude it with "
                "Laplace(subset=[...]), or pass Laplace(prior=δ). A copy of the network (averaged, reloaded) is "
                "matched by name: Adam(net.named_parameters()) instead of Adam(net.parameters())"
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
    [MacKay 1992].

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
    `δ_j = n · weight_decay · (√v̂_j + ε)`. Which of the two an optimizer does is recognised by its steps.

    Parameters
    ----------
    optimizer : the one used in training, its state included.
    n : number of training examples.
    loss : `"mean"` or `"sum"`, how the training loss was reduced.
    floor : `δ` of parameter groups without weight decay.

    Raises
    ------
    ValueError
        `n` is not positive, `loss` is unknown, `floor` is negative, AdamW has no state yet, or the optimizer's decay
        corresponds to no quadratic prior.

    Examples
    --------
    >>> import torch
    >>> net = torch.nn.Linear(2, 1)
    >>> prior_from(torch.optim.SGD(net.parameters(), lr=0.1, weight_decay=1e-3), n=500).source
    'δ = 500 · weight_decay from SGD (weight_decay 0.001)'
    """
    check_loss_scale(n, loss)
    if not 0 <= floor < float("inf"):
        raise ValueError(
            f"floor = {floor!r}: expected a number ≥ 0, the prior precision of groups without weight decay"
        )
    optimizer = inner_optimizer(optimizer)
    kind, scale = type(optimizer).__name__, n if loss == "mean" else 1
    decays = {
        id(parameter): decay_coefficient(optimizer, group, parameter)
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    found = {key: _with_floor(scale * decay, floor) for key, decay in decays.items() if decay is not None}
    if not found:
        raise ValueError(
            f"{kind} has taken no step yet, and its prior follows from its state: call prior_from after training"
        )
    listed = sorted({float(group.get("weight_decay", 0.0)) for group in optimizer.param_groups})
    factor = " · (√v̂ + ε)" if any(isinstance(delta, Tensor) for delta in found.values()) else ""
    words = f"δ = {scale} · weight_decay{factor} from {kind} (weight_decay {_format_values(listed)})"
    words += f", {floor:g} for groups without" if floor else ""
    return Prior(None, words, found, examples=n if loss == "mean" else None, trained=TrainedParameters.of(optimizer))


def _with_floor(delta: float | Tensor, floor: float) -> float | Tensor:
    """`δ`, or the floor for a group without weight decay."""
    return delta if isinstance(delta, Tensor) or delta > 0 else floor


def _format_values(values: Iterable[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)
