"""Result tables by plain loops: dense matrices, one example at a time, losses written out, nothing of the library."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import numpy as np

BOUND, NEAR_SINGULAR = 1, 2


@dataclass(frozen=True)
class Loss:
    """Loss in nats of one example of a weight; mean `[c]`, gradient `[c]`, Fisher information `[c, c]` at `f [c]`."""

    nll: Callable[[Any, Any, float], float]
    mean: Callable[[Any], Any]
    error: Callable[[Any, Any], Any]
    curvature: Callable[[Any], Any]
    encode: Callable[[Any], Any]
    precise: bool = False  # an example of weight w has the variance φ/w; otherwise it stands for w examples


def gaussian(*phi: float) -> Loss:
    def nll(f, y, w):
        own = [v / (w if w > 0 else 1.0) for v in phi]
        return sum(0.5 * (a - b) ** 2 / v + 0.5 * math.log(2 * math.pi * v) for a, b, v in zip(f, y, own, strict=True))

    noise = np.array(phi)
    return Loss(nll, lambda f: f, lambda f, y: (f - y) / noise, lambda f: np.diag(1 / noise), np.array, precise=True)


def poisson() -> Loss:
    return Loss(
        lambda f, y, w: math.exp(f[0]) - y[0] * f[0] + math.lgamma(y[0] + 1),
        np.exp,
        lambda f, y: np.exp(f) - y,
        lambda f: np.diag(np.exp(f)),
        np.array,
    )


def sigmoid(f):
    return np.array([1 / (1 + math.exp(-value)) for value in f])


def bernoulli() -> Loss:
    return Loss(
        lambda f, y, w: -math.log(sigmoid(f)[0] if y[0] == 1 else 1 - sigmoid(f)[0]),
        sigmoid,
        lambda f, y: sigmoid(f) - y,
        lambda f: np.diag(sigmoid(f) * (1 - sigmoid(f))),
        np.array,
    )


def softmax(f):
    total = sum(math.exp(value) for value in f)
    return np.array([math.exp(value) / total for value in f])


def categorical(c: int) -> Loss:
    return Loss(
        lambda f, y, w: -math.log(softmax(f)[int(np.argmax(y))]),
        softmax,
        lambda f, y: softmax(f) - y,
        lambda f: np.diag(softmax(f)) - np.outer(softmax(f), softmax(f)),
        lambda code: np.eye(c)[int(code[0])],
    )


@dataclass(frozen=True)
class Dense:
    """Outputs, Jacobians and targets of every example, and the precision of a diagonal prior.

    `f [n, c]`, `jacobian [n, c, P]`, `y [n, c]` (numbers, or the class number), `weight [n]`, `delta [P]`; `share [P]`:
    gradient of the penalty that an example takes along for each unit of its weight.
    """

    loss: Loss
    f: Any
    jacobian: Any
    y: Any
    weight: Any
    delta: Any
    share: Any = 0.0

    def __len__(self) -> int:
        return len(self.f)

    def counts(self, i: int) -> float:
        """How much an example counts in a mean loss."""
        return float(self.weight[i] > 0) if self.loss.precise else float(self.weight[i])

    def target(self, i: int):
        return self.loss.encode(self.y[i])

    def error(self, i: int):
        return self.weight[i] * self.loss.error(self.f[i], self.target(i))

    def curvature(self, i: int):
        return self.weight[i] * self.loss.curvature(self.f[i])

    def covariance(self, without: Collection[int] = ()):
        """`S⁻¹` with these examples' curvature left out."""
        s = np.diag(self.delta).astype(float)
        for i in range(len(self)):
            if i not in without:
                s = s + self.jacobian[i].T @ self.curvature(i) @ self.jacobian[i]
        return np.linalg.pinv(s, rcond=1e-12, hermitian=True)

    def shift(self, members: Collection[int]):
        """One Newton step of the parameters, `S_{\\M}⁻¹ Σ_M (Jᵀe + w share)`."""
        moved = (self.jacobian[i].T @ self.error(i) + self.weight[i] * self.share for i in members)
        push = sum(moved, np.zeros(len(self.delta)))
        return self.covariance(members) @ push

    def leverage_matrix(self, i: int):
        """`ΛV [c, c]`."""
        return self.curvature(i) @ self.jacobian[i] @ self.covariance() @ self.jacobian[i].T


def linear(loss: Loss, x, y, weight, coefficients, penalty, per_weight=False) -> Dense:
    """A linear predictor `f = Bᵀx` with `x [n, p]`, `B [p, c]` and the ridge `penalty [p, c]`.

    `per_weight`: the penalty is proportional to the total weight.
    """
    n, c = len(x), coefficients.shape[1]
    f = np.array([[sum(x[i, j] * coefficients[j, k] for j in range(x.shape[1])) for k in range(c)] for i in range(n)])
    jacobian = np.array([np.kron(np.eye(c), x[i]) for i in range(n)])
    share = (penalty * coefficients).T.reshape(-1) / np.sum(weight) if per_weight else 0.0
    return Dense(loss, f, jacobian, np.reshape(y, (n, -1)), weight, penalty.T.reshape(-1), share)


def map_row(d: Dense, i: int) -> dict[str, Any]:
    """Every numeric column of one row; `deviation` is that of the exact cavity form, NaN at the bound."""
    h = d.leverage_matrix(i)
    room = 1 - max(np.linalg.eigvals(h).real)
    deviation = d.jacobian[i] @ d.shift([i]) if room >= 1e-10 else np.full(len(d.f[i]), np.nan)
    f, y, after = d.f[i], d.target(i), d.f[i] + deviation
    mean, loo_mean = d.loss.mean(f), d.loss.mean(after)
    w = d.weight[i]
    loss, loo_loss = d.loss.nll(f, y, w), (d.loss.nll(after, y, w) if room >= 1e-10 else math.nan)
    return {
        "error": math.sqrt(sum((a - b) ** 2 for a, b in zip(mean, y, strict=True))),
        "leverage": sum(h[k, k] for k in range(len(f))),
        "sensitivity": sum(abs(a - b) for a, b in zip(loo_mean, mean, strict=True)),
        "loss": loss,
        "loo_loss": loo_loss,
        "memorization": math.exp(-loss) - math.exp(-loo_loss),
        "weight": d.weight[i],
        "leverage_norm": math.sqrt(sum(h.T[k, k] ** 2 for k in range(len(f)))),
        "output_sensitivity": math.sqrt(sum(value**2 for value in deviation)),
        "warning": BOUND if room < 1e-10 else NEAR_SINGULAR if room < 1e-6 else 0,
        "output": f,
        "deviation": deviation,
        "residual": mean - y,
        "mean": mean,
        "loo_mean": loo_mean,
    }


def expected_group(d: Dense, members) -> dict[str, float]:
    """The row of a group in the table of `leave_out`: sums and means over members and over everybody else."""
    shift, sums, rest = d.shift(members), np.zeros(4), np.zeros(4)
    terms = {True: [], False: []}
    for i in range(len(d)):
        after, target = d.f[i] + d.jacobian[i] @ shift, d.target(i)
        change = sum(abs(a - b) for a, b in zip(d.loss.mean(after), d.loss.mean(d.f[i]), strict=True))
        w, count = d.weight[i], d.counts(i)
        before, left_out = d.loss.nll(d.f[i], target, w), d.loss.nll(after, target, w)
        row = np.array([change, count * before, count * left_out, count])
        terms[i in members].append((left_out, left_out - before, count))
        if i in members:
            sums += row
        else:
            rest += row
    return {
        "size": len(members),
        "leverage": sum(np.trace(d.leverage_matrix(i)) for i in members),
        "sensitivity": sums[0],
        "loss": sums[1] / sums[3],
        "leave_out_loss": sums[2] / sums[3],
        "rest_sensitivity": rest[0],
        "rest_loss": rest[1] / rest[3],
        "rest_leave_out_loss": rest[2] / rest[3],
        "leave_out_loss_se": error_of_mean([(after, w) for after, _, w in terms[True]]),
        "loss_change_se": error_of_mean([(change, w) for _, change, w in terms[True]]),
        "rest_leave_out_loss_se": error_of_mean([(after, w) for after, _, w in terms[False]]),
        "rest_loss_change_se": error_of_mean([(change, w) for _, change, w in terms[False]]),
    }


def error_of_mean(pairs) -> float:
    """Standard error of a weighted mean of pairs `(value, weight)`: of rows written out, where weights are whole."""
    pairs = [(value, w) for value, w in pairs if w > 0]
    total, n = sum(w for _, w in pairs), len(pairs)
    whole = all(float(w).is_integer() for _, w in pairs)
    if (total if whole else n) <= 1:
        return math.nan
    mean = sum(w * value for value, w in pairs) / total
    if whole:
        return math.sqrt(sum(w * (value - mean) ** 2 for value, w in pairs) / (total * (total - 1)))
    return math.sqrt(n / (n - 1) * sum((w * (value - mean)) ** 2 for value, w in pairs)) / total


def mean_of(values) -> float:
    """The plain mean of what is left after NaN; NaN of nothing."""
    kept = [value for value in values if not math.isnan(value)]
    return sum(kept) / len(kept) if kept else math.nan


def ranks(values) -> list[float]:
    """Ranks from 1 for the smallest; equal values share the mean of theirs."""
    found = []
    for value in values:
        below = sum(other < value for other in values)
        equal = sum(other == value for other in values)
        found.append(below + (equal + 1) / 2)
    return found


def correlation(a, b) -> float:
    ma, mb = sum(a) / len(a), sum(b) / len(b)
    top = sum((x - ma) * (y - mb) for x, y in zip(a, b, strict=True))
    return top / math.sqrt(sum((x - ma) ** 2 for x in a) * sum((y - mb) ** 2 for y in b))


def rank_correlation(a, b) -> float:
    return correlation(ranks(a), ranks(b))


def largest(values, k: int) -> list[int]:
    """Places of the `k` largest, the first of equal ones first; NaN counts as the largest."""
    keys = [(-math.inf if math.isnan(value) else -value, place) for place, value in enumerate(values)]
    return [place for _, place in sorted(keys)[:k]]


def share(values, part: float) -> float:
    """What the largest `part` of the finite values holds of their sum, one value at least."""
    kept = sorted((value for value in values if math.isfinite(value)), reverse=True)
    return sum(kept[: max(1, round(part * len(kept)))]) / sum(kept) if sum(kept) > 0 else 0.0
