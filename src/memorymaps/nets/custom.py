"""Any differentiable loss as a likelihood: error and curvature by automatic differentiation of the user's function."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from memorymaps.core.arrays import Array
from memorymaps.core.likelihoods.base import Likelihood, TargetError

_TYPES_DIFFER = ("expected scalar type", "same scalar type", "same dtype", "expected dtype", "dtype to be equal")


def _identity(f: Tensor) -> Tensor:
    return f


@dataclass(frozen=True)
class Custom(Likelihood):
    """Likelihood of a user-defined loss `ℓ_i = nll(f, y)_i`: outputs `[n, c]` and targets to unreduced losses `[n]`.

    `e = ∇_f ℓ`; `Λ` is the positive part of `∇²_f ℓ` at the observed target, because a non-convex loss has no Fisher
    information. `predict(f)` gives what the target is compared with: `[n, m]` for targets `[n, m]`, or probabilities of
    `m` classes for integer labels `[n]`; default: the outputs themselves, for targets of their shape.

    Integer targets equal to `ignore_index` (of padded tokens or pixels without a label) have no residual and no
    loss: −100 as in torch's `cross_entropy`; `None` where −100 is a number like any other. An example with no other
    target has weight 0: it counts in no average and in no number of examples; its row stays in the map.

    Raises
    ------
    TargetError
        Losses, errors or curvatures that are not finite; predictions that cannot be compared with the targets.

    Examples
    --------
    >>> import torch
    >>> huber = Custom(lambda f, y: torch.nn.functional.huber_loss(f[:, 0], y, reduction="none"))
    >>> huber.error(torch.tensor([[3.0], [0.2]]), torch.zeros(2)).tolist()
    [[1.0], [0.2...]]
    """

    loss: Callable[[Tensor, Tensor], Tensor]
    predict: Callable[[Tensor], Tensor] = _identity
    ignore_index: int | None = -100

    @property
    def is_density(self) -> bool:
        """Unknown of a loss of the user's own: taken as no."""
        return False

    def nll(self, f: Array, y: Array) -> Array:
        """The user's loss, `[n]`."""
        return _as_input_type(f, self._loss(_tensor(f), _tensor(y)))

    def _loss(self, f: Tensor, y: Tensor) -> Tensor:
        with _one_number_type("nll(f, y)", f):
            found = self.loss(f, y)
        if found.shape != (len(f),) or not bool(torch.isfinite(found).all()):
            raise TargetError(
                f"nll(f, y) gave {tuple(found.shape)} for {len(f)} examples, finite: "
                f"{bool(torch.isfinite(found).all())}; expected one finite loss each: use reduction='none'"
            )
        return found

    def mean(self, f: Array) -> Array:
        """`predict(f)`, `[n, m]`."""
        return _as_input_type(f, self._prediction(_tensor(f)))

    def _prediction(self, f: Tensor) -> Tensor:
        """`predict(f)`, `[n, m]`."""
        with _one_number_type("predict(f)", f):
            return _columns(self.predict(f))

    def mean_jacobian(self, f: Array) -> Array:
        """`d predict/df`: `[n, m, c]`."""
        return _as_input_type(f, _derivative(self._prediction, _tensor(f)))

    def residual(self, f: Array, y: Array) -> Array:
        """`predict(f) − y`, class numbers as one-hot rows: `[n, m]`."""
        mean, target = self._prediction(_tensor(f)), _tensor(y)
        ignored = self._ignored(target)
        self._check_ignored(f, y, ignored)
        known = target if ignored is None else torch.where(ignored, torch.zeros_like(target), target)
        found = mean - self._targets_like_prediction(known, mean.shape[1]).to(mean)
        if ignored is not None:
            found = torch.where(_columns(ignored), torch.zeros_like(found), found)
        return _as_input_type(f, found)

    def without_target(self, y: Array) -> Array | None:
        """Examples whose targets are all `ignore_index`."""
        ignored = self._ignored(_tensor(y))
        return None if ignored is None else _columns(ignored).flatten(1).all(1).cpu().numpy()

    def _ignored(self, y: Tensor) -> Tensor | None:
        """Which targets are `ignore_index`; None if none is."""
        if self.ignore_index is None or y.is_floating_point() or y.dtype == torch.bool:
            return None
        found = y == self.ignore_index
        return found if bool(found.any()) else None

    def _check_ignored(self, f: Array, y: Array, ignored: Tensor | None) -> None:
        """Raise `TargetError` if an example whose targets are all ignored has an error: the loss uses them."""
        if ignored is None:
            return
        nothing = _columns(ignored).flatten(1).all(1)
        error = _tensor(self.error(f, y)).abs().amax(1)
        bad = _true_rows(nothing & (error > 0))
        if bad:
            raise TargetError(
                f"row {bad[0]} has no target but {self.ignore_index} (ignore_index), and the loss has a gradient: "
                f"to the loss it is a number like any other. Pass Custom(nll, predict=…, ignore_index=None), or "
                f"ignore_index={self.ignore_index} to the loss, too",
                bad[0],
            )

    def _targets_like_prediction(self, y: Tensor, m: int) -> Tensor:
        """Targets in the shape of the prediction, `[n, m]`; integer labels as one-hot rows."""
        if _columns(y).shape[1:] == (m,):
            return _columns(y)
        if y.ndim == 1 and self.predict is not _identity and not y.is_floating_point():
            if not bool(((y >= 0) & (y < m)).all()):
                raise TargetError(f"targets {int(y.min())} … {int(y.max())} for {m} classes: expected 0 … {m - 1}")
            return torch.nn.functional.one_hot(y.long(), m)
        raise TargetError(
            f"targets of shape {tuple(y.shape)} ({y.dtype}) cannot be compared with predictions [n, {m}]: specify the "
            "prediction, Custom(nll, predict=lambda f: f.softmax(1)) for class numbers (integers), "
            "Custom(nll, predict=lambda f: f[:, 0]) for one number, "
            "Custom(nll, predict=lambda f: f.view(len(f), T, K).argmax(2).double()) for T class numbers an example"
        )

    def error(self, f: Array, y: Array) -> Array:
        """`∇_f ℓ`."""
        target = _tensor(y)
        found = _derivative(lambda z: self._loss(z, target)[:, None], _tensor(f))[:, 0]
        _check_finite(found, "gradient")
        return _as_input_type(f, found)

    def curvature(self, f: Array, y: Array) -> Array:
        """The positive part of `∇²_f ℓ`."""
        values, vectors = torch.linalg.eigh(self.hessian(_tensor(f), _tensor(y)))
        return _as_input_type(f, (vectors * values.clamp(min=0)[:, None]) @ vectors.mT)

    def hessian(self, f: Tensor, y: Tensor) -> Tensor:
        """`∇²_f ℓ [n, c, c]`, with its negative part."""

        def gradient(z: Tensor) -> Tensor:
            return torch.autograd.grad(self._loss(z, y).sum(), z, create_graph=True)[0]

        found = _derivative(gradient, f)
        _check_finite(found, "curvature")
        return found

    def encode(self, y: Array, c: int) -> Array:
        """`y` as `[n, m]`."""
        return y[:, None] if y.ndim == 1 else y

    def check_target(self, y: Array, c: int) -> None:
        """Raise `TargetError` for targets that are not finite or whose shape differs from the prediction's."""
        target = _tensor(y)
        bad = _true_rows(~torch.isfinite(target).reshape(len(target), -1).all(1))
        if bad:
            raise TargetError(
                f"{len(bad)} target(s) are not finite, row {bad[0]} is {y[bad[0]]}: drop such rows", bad[0]
            )
        prediction = self._prediction(torch.zeros(1, c, dtype=torch.float64, device=target.device))
        ignored = self._ignored(target)
        known = target if ignored is None else torch.where(ignored, torch.zeros_like(target), target)
        self._targets_like_prediction(known, prediction.shape[1])


@contextmanager
def _one_number_type(called: str, f: Tensor) -> Iterator[None]:
    """Context: torch's error about numbers of two types says which the outputs have, and what to type."""
    try:
        yield
    except RuntimeError as error:
        if not any(part in str(error) for part in _TYPES_DIFFER):
            raise
        raise TargetError(
            f"{called} got outputs f of type {f.dtype} and uses other tensors of another type: {error}. Expected those "
            "of the outputs' type, as losses are computed in double precision: pass weight=weight.to(f), and likewise "
            "any other tensor"
        ) from error


def _true_rows(mask: Tensor) -> list[int]:
    """Positions of the true entries of `[n]`."""
    found: list[int] = torch.nonzero(mask.cpu()).flatten().tolist()
    return found


def _check_finite(derivative: Tensor, what: str) -> None:
    """Raise `TargetError` for the first example whose derivative is not finite."""
    bad = _true_rows(~torch.isfinite(derivative).flatten(1).all(1))
    if bad:
        raise TargetError(
            f"the {what} of nll(f, y) is not finite for {len(bad)} example(s), first of row {bad[0]}, although its "
            "loss is, as of powers below 2 at 0 (a focal loss with gamma < 2 where p rounds to 1): keep away from that "
            "point, (1 - p).clamp(min=1e-3)**gamma, and take logarithms by log_softmax",
            bad[0],
        )


def _derivative(g: Callable[[Tensor], Tensor], f: Tensor) -> Tensor:
    """Per-example Jacobian `dg_i/df_i [n, m, c]` of a function that acts on each row independently."""
    with torch.enable_grad():
        z = f.detach().requires_grad_()
        out = g(z)
        columns = [_row_gradient(out[:, k].sum(), z) for k in range(out.shape[1])]
    return torch.stack(columns, dim=1).detach()


def _row_gradient(total: Tensor, z: Tensor) -> Tensor:
    if not total.requires_grad:  # a constant: nothing to differentiate
        return torch.zeros_like(z)
    found = torch.autograd.grad(total, z, retain_graph=True, allow_unused=True)[0]
    return torch.zeros_like(z) if found is None else found


def _columns(mean: Tensor) -> Tensor:
    """`[n, m]`: pixels and other further axes side by side."""
    return mean[:, None] if mean.ndim == 1 else mean.flatten(1)


def _tensor(values: Any) -> Tensor:
    return values if isinstance(values, Tensor) else torch.as_tensor(np.asarray(values))


def _as_input_type(f: Any, found: Tensor) -> Any:
    """As a tensor if `f` is one, else as a NumPy array."""
    return found.detach() if isinstance(f, Tensor) else found.detach().cpu().numpy()
