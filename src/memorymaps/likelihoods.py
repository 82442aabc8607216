"""Likelihoods: what an output `f` says about a target `y`.

Every likelihood answers the same questions about one example (sum-loss convention, sign
`e = prediction − truth`), with `f [n, c]`, `y [n]` or `[n, c]`:

    nll        −log p(y ∣ f)                       [n]
    mean       μ = σ(f)                            [n, c]
    error      e = ∇_f nll                         [n, c]
    curvature  Λ ≈ ∇²_f nll, PSD                   [n, c, c]

`curvature` is the Fisher information `E_y[∇²_f nll]` of the outputs where it has a closed form; for canonical links
(and every Gaussian) it is the Hessian itself and does not depend on `y`. NumPy arrays and torch tensors work alike.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from array_api_compat import array_namespace, device

from memorymaps._types import Array
from memorymaps.links import BinaryLink, Identity, Link, Log, Logit
from memorymaps.special import gammaln, logsumexp, xlogy


class TargetError(ValueError):
    """A target outside the likelihood's support; `row` is the first one's place among those that were checked."""

    def __init__(self, message: str, row: int | None = None):
        super().__init__(message)
        self.row = row

    def named(self, ids: Array) -> TargetError:
        """The same complaint about an example by its id, whatever part of the data was checked."""
        if self.row is None:
            return self
        return TargetError(
            str(self).replace(f"row {self.row}", f"example {ids[self.row : self.row + 1].tolist()[0]!r}", 1)
        )


class Likelihood(ABC):
    """What the map needs to know about the loss of one example."""

    @abstractmethod
    def nll(self, f: Array, y: Array) -> Array:
        """Loss of each example, `ℓ = −log p(y ∣ f)`: `[n]`, in nats."""

    @abstractmethod
    def mean(self, f: Array) -> Array:
        """Predicted mean `μ = σ(f)`: `[n, c]`, in units of the target."""

    @abstractmethod
    def slope(self, f: Array) -> Array:
        """`dσ/df`: `[n, c, c]`."""

    @abstractmethod
    def error(self, f: Array, y: Array) -> Array:
        """`e = ∇_f ℓ`: `[n, c]`; positive where the prediction is too high."""

    @abstractmethod
    def curvature(self, f: Array, y: Array) -> Array:
        """`Λ`, the Fisher information of the outputs: `[n, c, c]`, PSD."""

    @abstractmethod
    def encode(self, y: Array, c: int) -> Array:
        """Targets in the space of the mean, `[n, c]`."""

    @abstractmethod
    def check_target(self, y: Array, c: int) -> None:
        """Raise `TargetError` where a target lies outside the support."""

    def residual(self, f: Array, y: Array) -> Array:
        """`μ − y`: `[n, c]`, in units of the target."""
        return self.mean(f) - self.encode(y, f.shape[-1])

    def decide(self, mean: Array) -> Array:
        """Predicted targets: the mean itself `[n, c]` where targets are numbers, class numbers `[n]` otherwise."""
        return mean

    def at(self, f: Array) -> Likelihood:
        """This likelihood, for many questions about the same outputs; itself, unless it has something to remember."""
        return self

    def under(self, variance: Array) -> Likelihood:
        """This likelihood as a belief `N(f, V)` sees it, `V [n, c, c]`; itself, unless it averages over `q`."""
        return self

    # --- Λ without forming it, for likelihoods with structure and many outputs ---------------------------------

    def information(self, f: Array, y: Array) -> Array:
        """The diagonal of `Λ`: `[n, c]`."""
        return array_namespace(f).linalg.diagonal(self.curvature(f, y))

    def curve(self, f: Array, y: Array, v: Array) -> Array:
        """`Λ v` for directions `v [n, c, k]`."""
        return array_namespace(f).matmul(self.curvature(f, y), v)

    def root(self, f: Array, y: Array, v: Array) -> Array:
        """`L v` for directions `v [n, c, k]`, with `L Lᵀ = Λ`."""
        xp = array_namespace(f)
        values, vectors = xp.linalg.eigh(self.curvature(f, y))
        scaled = xp.sqrt(xp.clip(values, min=0))[..., None] * xp.matmul(xp.matrix_transpose(vectors), v)
        return xp.matmul(vectors, scaled)  # the symmetric root: each of its columns belongs to an output

    def columns(self, f: Array, y: Array) -> Array:
        """A root `L [n, c, r]` of `Λ = L Lᵀ` with as few columns as are known to do."""
        xp, (n, c) = array_namespace(f), f.shape
        return self.root(f, y, xp.broadcast_to(xp.eye(c, dtype=f.dtype, device=device(f)), (n, c, c)))

    def pull(self, f: Array, y: Array) -> tuple[Callable[[Array], Array], Array]:
        """With `x [n, c]` and `κ ≥ 0 [n]` such that `Λx = κe`: products `xᵀv [n, k]` with any `v [n, k, c]`, and `κ`.

        Zeros where no such `x` is known.
        """
        xp = array_namespace(f)
        return lambda v: xp.zeros_like(v[..., 0]), xp.zeros_like(f[:, 0])

    def root_gram(self, f: Array, y: Array, outputs: Array) -> Array:
        """Inner products `[n, m, m]` of the columns of `L` that belong to some outputs `[n, m]`."""
        xp = array_namespace(f)
        places = xp.arange(f.shape[-1], device=device(f))
        columns = self.root(f, y, xp.astype(places[:, None] == outputs[:, None], f.dtype))
        return xp.matmul(xp.matrix_transpose(columns), columns)


def refuse(bad: Array, y: Array, expected: str) -> None:
    """Raise `TargetError` for the targets `y` where `bad [n]`, naming the first and what was expected."""
    xp = array_namespace(y)
    if xp.any(bad):
        row = int(xp.nonzero(bad)[0][0])
        count = int(xp.sum(xp.astype(bad, xp.int64)))
        raise TargetError(f"{count} target(s) outside the support: row {row} is {y[row]}; expected {expected}", row)


def _numbers(y: Array) -> Array:
    """Truth values as 0 and 1, in which one can compute; everything else as it is."""
    xp = array_namespace(y)
    return xp.astype(y, xp.int64) if xp.isdtype(y.dtype, "bool") else y


class ExponentialFamily(Likelihood):
    """A generalised linear model's likelihood: a unit variance `v(μ)`, a dispersion `φ` and a link.

    Outputs are independent of each other, so `c > 1` means several targets at once:
    `e = (μ − y) σ'(f) / (φ v(μ))` and `Λ = diag(σ'(f)² / (φ v(μ)))`.
    """

    support: ClassVar[str] = "finite numbers"
    canonical: ClassVar[tuple[type[Link], ...]] = ()  # links for which σ'(f) = v(μ)
    dispersion: float | tuple[float, ...]
    link: Link

    @abstractmethod
    def unit_variance(self, mu: Array) -> Array:
        """`v(μ)`, so that `Var y = φ v(μ)`."""

    @abstractmethod
    def _nll(self, f: Array, y: Array, phi: Array) -> Array:
        """Loss of every output, `[n, c]`."""

    def _unsupported(self, y: Array) -> Array:
        xp = array_namespace(y)
        return ~xp.isfinite(y)

    def _phi(self, f: Array) -> Array:
        return array_namespace(f).asarray(self.dispersion, dtype=f.dtype, device=device(f))

    def _gain(self, f: Array) -> Array:
        """`σ'(f) / v(μ)`, exactly one for the canonical link."""
        if isinstance(self.link, self.canonical):
            return array_namespace(f).ones_like(f)
        return self.link.slope(f) / self.unit_variance(self.mean(f))

    def encode(self, y: Array, c: int) -> Array:
        """`y` as `[n, c]`."""
        y = _numbers(y)
        if y.ndim == 1:
            y = y[:, None]
        if y.ndim != 2 or y.shape[1] != c:
            raise TargetError(f"targets of shape {tuple(y.shape)} for a model with {c} output(s): expected (n, {c})")
        return y

    def check_target(self, y: Array, c: int) -> None:
        """Raise `TargetError` where a target lies outside the support."""
        y = self.encode(y, c)
        xp = array_namespace(y)
        refuse(xp.any(self._unsupported(y), axis=1), y, f"{self.support} for {type(self).__name__}")

    def mean(self, f: Array) -> Array:
        """`μ = σ(f)`."""
        return self.link.mean(f)

    def slope(self, f: Array) -> Array:
        """`diag(σ'(f))`."""
        return diagonal_matrix(self.link.slope(f))

    def nll(self, f: Array, y: Array) -> Array:
        """Loss summed over outputs, `[n]`."""
        xp = array_namespace(f)
        return xp.sum(self._nll(f, self.encode(y, f.shape[-1]), self._phi(f)), axis=-1)

    def error(self, f: Array, y: Array) -> Array:
        """`(μ − y) σ'(f) / (φ v(μ))`."""
        return self.residual(f, y) * self._gain(f) / self._phi(f)

    def information(self, f: Array, y: Array) -> Array:
        """The diagonal of `Λ`, `σ'(f)² / (φ v(μ))`: `[n, c]`."""
        return self.link.slope(f) * self._gain(f) / self._phi(f)

    def curvature(self, f: Array, y: Array) -> Array:
        """`diag(σ'(f)² / (φ v(μ)))`."""
        return diagonal_matrix(self.information(f, y))

    def curve(self, f: Array, y: Array, v: Array) -> Array:
        """`Λ v`, row by row."""
        return self.information(f, y)[..., None] * v

    def root(self, f: Array, y: Array, v: Array) -> Array:
        """`√Λ v`, row by row."""
        return array_namespace(f).sqrt(self.information(f, y))[..., None] * v

    def pull(self, f: Array, y: Array) -> tuple[Callable[[Array], Array], Array]:
        """`e/Λ` where there is curvature at every output that has an error, `κ = 1`."""
        xp = array_namespace(f)
        bend, error = self.information(f, y), self.error(f, y)
        known = xp.all((bend > 0) | (error == 0), axis=-1)
        x = xp.where(bend > 0, error / xp.where(bend > 0, bend, xp.ones_like(bend)), xp.zeros_like(bend))
        kappa = xp.astype(known, f.dtype)
        return lambda v: xp.matmul(v, (kappa[:, None] * x)[..., None])[..., 0], kappa

    def root_gram(self, f: Array, y: Array, outputs: Array) -> Array:
        """A part of `Λ` itself."""
        return diagonal_matrix(array_namespace(f).take_along_axis(self.information(f, y), outputs, axis=-1))


def diagonal_matrix(d: Array) -> Array:
    """Put the last axis on a diagonal: `[n, c]` → `[n, c, c]`."""
    xp = array_namespace(d)
    return d[..., :, None] * xp.eye(d.shape[-1], dtype=d.dtype, device=device(d))


@dataclass(frozen=True)
class Gaussian(ExponentialFamily):
    """`y ~ N(μ, φ)`; the dispersion is the noise variance σ², one for all outputs or one each.

    Examples
    --------
    >>> import numpy as np
    >>> Gaussian(dispersion=4.0).error(np.array([[3.0]]), np.array([1.0]))
    array([[0.5]])
    """

    dispersion: float | tuple[float, ...] = 1.0
    link: Link = Identity()
    canonical = (Identity,)

    def unit_variance(self, mu: Array) -> Array:
        """One."""
        return array_namespace(mu).ones_like(mu)

    def _nll(self, f: Array, y: Array, phi: Array) -> Array:
        return 0.5 * ((self.mean(f) - y) ** 2 / phi + array_namespace(f).log(2 * math.pi * phi))


@dataclass(frozen=True)
class Bernoulli(ExponentialFamily):
    """`y ∈ [0, 1]` with mean `μ`: 0/1 labels, or proportions whose number of trials is the weight.

    Several outputs are independent labels. The binomial coefficient, which no map depends on, is left out
    of the loss.

    Examples
    --------
    >>> import numpy as np
    >>> Bernoulli().error(np.array([[0.0]]), np.array([1.0]))
    array([[-0.5]])
    """

    dispersion: float | tuple[float, ...] = 1.0
    link: BinaryLink = Logit()
    canonical = (Logit,)
    support = "values in [0, 1]"

    def _unsupported(self, y: Array) -> Array:
        return ~((y >= 0) & (y <= 1))

    def unit_variance(self, mu: Array) -> Array:
        """`μ(1 − μ)`."""
        return mu * (1 - mu)

    def _gain(self, f: Array) -> Array:
        if isinstance(self.link, self.canonical):
            return array_namespace(f).ones_like(f)
        return self.link.slope(f) / (self.link.mean(f) * self.link.complement(f))

    def residual(self, f: Array, y: Array) -> Array:
        """`(1 − y) μ − y (1 − μ)`, without cancellation."""
        y = self.encode(y, f.shape[-1])
        return (1 - y) * self.link.mean(f) - y * self.link.complement(f)

    def _nll(self, f: Array, y: Array, phi: Array) -> Array:
        return -(y * self.link.log_mean(f) + (1 - y) * self.link.log_complement(f)) / phi


@dataclass(frozen=True)
class Poisson(ExponentialFamily):
    """Counts, `Var y = φμ` (φ = 1: Poisson; otherwise a quasi-likelihood)."""

    dispersion: float | tuple[float, ...] = 1.0
    link: Link = Log()
    canonical = (Log,)
    support = "values ≥ 0"

    def _unsupported(self, y: Array) -> Array:
        return ~(array_namespace(y).isfinite(y) & (y >= 0))

    def unit_variance(self, mu: Array) -> Array:
        """`μ`."""
        return mu

    def _nll(self, f: Array, y: Array, phi: Array) -> Array:
        mu = self.mean(f)
        return (mu - xlogy(y, mu) + gammaln(y + 1)) / phi


@dataclass(frozen=True)
class Gamma(ExponentialFamily):
    """Positive targets, `Var y = φμ²` (shape `1/φ`)."""

    dispersion: float | tuple[float, ...] = 1.0
    link: Link = Log()
    support = "values > 0"

    def _unsupported(self, y: Array) -> Array:
        return ~(array_namespace(y).isfinite(y) & (y > 0))

    def unit_variance(self, mu: Array) -> Array:
        """`μ²`."""
        return mu**2

    def _nll(self, f: Array, y: Array, phi: Array) -> Array:
        xp = array_namespace(f)
        k, mu = 1 / phi, self.mean(f)
        return k * (y / mu + xp.log(mu)) - k * xp.log(k) - (k - 1) * xp.log(y) + gammaln(k)


@dataclass(frozen=True)
class InverseGaussian(ExponentialFamily):
    """Positive targets, `Var y = φμ³`."""

    dispersion: float | tuple[float, ...] = 1.0
    link: Link = Log()
    support = "values > 0"

    def _unsupported(self, y: Array) -> Array:
        return ~(array_namespace(y).isfinite(y) & (y > 0))

    def unit_variance(self, mu: Array) -> Array:
        """`μ³`."""
        return mu**3

    def _nll(self, f: Array, y: Array, phi: Array) -> Array:
        mu = self.mean(f)
        return (y - mu) ** 2 / (2 * phi * y * mu**2) + 0.5 * array_namespace(f).log(2 * math.pi * phi * y**3)


@dataclass(frozen=True)
class NegativeBinomial(ExponentialFamily):
    """Over-dispersed counts, `Var y = φ(μ + αμ²)` (NB2) with a known `α > 0`."""

    alpha: float = 1.0
    dispersion: float | tuple[float, ...] = 1.0
    link: Link = Log()
    support = "values ≥ 0"

    def _unsupported(self, y: Array) -> Array:
        return ~(array_namespace(y).isfinite(y) & (y >= 0))

    def unit_variance(self, mu: Array) -> Array:
        """`μ + αμ²`."""
        return mu + self.alpha * mu**2

    def _nll(self, f: Array, y: Array, phi: Array) -> Array:
        xp, a = array_namespace(f), self.alpha
        am = a * self.mean(f)
        r = xp.ones_like(am) / a
        counting = gammaln(y + 1) + gammaln(r) - gammaln(y + r)
        return (counting + (y + r) * xp.log1p(am) - xlogy(y, am)) / phi


@dataclass(frozen=True)
class Tweedie(ExponentialFamily):
    """`Var y = φμ^power` with `1 < power < 2` (targets ≥ 0) or `power > 2` (targets > 0).

    Its density has no closed form: the loss is half the deviance over `φ`, zero at a perfect prediction.
    Powers 0, 1, 2, 3 have likelihoods of their own: `Gaussian`, `Poisson`, `Gamma`, `InverseGaussian`.
    """

    power: float = 1.5
    dispersion: float | tuple[float, ...] = 1.0
    link: Link = Log()
    support = "values ≥ 0 (> 0 from power 2 on)"

    def __post_init__(self) -> None:
        if not (self.power > 1 and self.power not in (2.0, 3.0)):
            raise ValueError(
                f"Tweedie power {self.power}: expected 1 < power, not 2 or 3; for 0, 1, 2, 3 use Gaussian, Poisson, "
                "Gamma, InverseGaussian"
            )

    def _unsupported(self, y: Array) -> Array:
        low = y > 0 if self.power > 2 else y >= 0
        return ~(array_namespace(y).isfinite(y) & low)

    def unit_variance(self, mu: Array) -> Array:
        """`μ^power`."""
        return mu**self.power

    def _nll(self, f: Array, y: Array, phi: Array) -> Array:
        p, mu = self.power, self.mean(f)
        half = y ** (2 - p) / ((1 - p) * (2 - p)) - y * mu ** (1 - p) / (1 - p) + mu ** (2 - p) / (2 - p)
        return half / phi


@dataclass(frozen=True)
class HeteroscedasticGaussian(Likelihood):
    """`y ~ N(m, exp s)` with outputs `f = (m, s)`: mean and log variance, learned together.

    For one learned noise level let the network give the same `s` for every example.
    `Λ = diag(e⁻ˢ, ½)`; the mean, and with it error and sensitivity, is that of `m` alone.

    Examples
    --------
    >>> import numpy as np
    >>> HeteroscedasticGaussian().error(np.array([[3.0, 0.0]]), np.array([1.0]))
    array([[ 2. , -1.5]])
    """

    def nll(self, f: Array, y: Array) -> Array:
        """`½ (log 2π + s + (m − y)² e⁻ˢ)`."""
        xp = array_namespace(f)
        return 0.5 * (math.log(2 * math.pi) + f[:, 1] + self.residual(f, y)[:, 0] ** 2 * xp.exp(-f[:, 1]))

    def mean(self, f: Array) -> Array:
        """`m`: `[n, 1]`."""
        return f[:, :1]

    def slope(self, f: Array) -> Array:
        """`(1, 0)`: `[n, 1, 2]`."""
        xp = array_namespace(f)
        return xp.stack([xp.ones_like(f[:, :1]), xp.zeros_like(f[:, :1])], axis=-1)

    def error(self, f: Array, y: Array) -> Array:
        """`((m − y) e⁻ˢ, ½ − ½ (m − y)² e⁻ˢ)`."""
        xp = array_namespace(f)
        gap, precision = self.residual(f, y)[:, 0], xp.exp(-f[:, 1])
        return xp.stack([gap * precision, 0.5 - 0.5 * gap**2 * precision], axis=-1)

    def curvature(self, f: Array, y: Array) -> Array:
        """`diag(e⁻ˢ, ½)`."""
        xp = array_namespace(f)
        return diagonal_matrix(xp.stack([xp.exp(-f[:, 1]), xp.full_like(f[:, 1], 0.5)], axis=-1))

    def encode(self, y: Array, c: int) -> Array:
        """`[n, 1]`."""
        return y[:, None] if y.ndim == 1 else y

    def check_target(self, y: Array, c: int) -> None:
        """Raise `TargetError` unless there are two outputs and one finite number an example."""
        if c != 2 or self.encode(y, c).shape[1] != 1:
            raise TargetError(f"{c} outputs, targets {tuple(y.shape)}: expected the outputs (m, log σ²), targets (n,)")
        refuse(~array_namespace(y).isfinite(self.encode(y, c)[:, 0]), y, "finite numbers")


@dataclass(frozen=True)
class Categorical(Likelihood):
    """One of `c` classes, softmax of `f [n, c]`; targets are class numbers 0 … c − 1.

    Examples
    --------
    >>> import numpy as np
    >>> Categorical().error(np.zeros((1, 2)), np.array([0]))
    array([[-0.5,  0.5]])
    """

    def nll(self, f: Array, y: Array) -> Array:
        """`log Σ exp f − f_y`."""
        xp = array_namespace(f)
        chosen = xp.astype(y, xp.int64)[:, None]
        return logsumexp(f) - xp.take_along_axis(f, chosen, axis=-1)[:, 0]

    def at(self, f: Array) -> Likelihood:
        """With the class probabilities of `f` remembered; subclasses, whose mean may be another, as they are."""
        return _CategoricalAt(f, self.mean(f)) if type(self) is Categorical else self

    def mean(self, f: Array) -> Array:
        """Class probabilities."""
        xp = array_namespace(f)
        grown = xp.exp(f - xp.max(f, axis=-1, keepdims=True))
        return grown / xp.sum(grown, axis=-1, keepdims=True)

    def decide(self, mean: Array) -> Array:
        """The most probable class."""
        return array_namespace(mean).argmax(mean, axis=-1)

    def error(self, f: Array, y: Array) -> Array:
        """`p − onehot(y)`."""
        return self.residual(f, y)

    def slope(self, f: Array) -> Array:
        """`diag(p) − ppᵀ`."""
        p = self.mean(f)
        return diagonal_matrix(p) - p[..., :, None] * p[..., None, :]

    def curvature(self, f: Array, y: Array) -> Array:
        """`diag(p) − ppᵀ`."""
        return self.slope(f)

    def information(self, f: Array, y: Array) -> Array:
        """`p(1 − p)`."""
        p = self.mean(f)
        return p * (1 - p)

    def curve(self, f: Array, y: Array, v: Array) -> Array:
        """`p ∘ v − p(pᵀv)`."""
        p = self.mean(f)
        return _spread_less_mean(p, p, v)

    def root(self, f: Array, y: Array, v: Array) -> Array:
        """`L = diag(√p) − p√pᵀ`: column `k` is `√p_k (1_k − p)`."""
        p = self.mean(f)
        half = array_namespace(f).sqrt(p)
        return _spread_less_mean(half, p, v)

    def columns(self, f: Array, y: Array) -> Array:
        """Cholesky's: `c − 1` columns, `L_kk = √(p_k q_k/q_{k−1})` and `L_jk = −(p_j/q_k) L_kk`, `q_k = Σ_{j>k} p_j`.

        Source: Tanabe & Sagae 1992. Sums of positive numbers only: no digits are lost.
        """
        xp, p = array_namespace(f), self.mean(f)
        if p.shape[1] < 2:
            return super().columns(f, y)
        before = xp.flip(xp.cumulative_sum(xp.flip(p, axis=1), axis=1), axis=1)
        after = before[:, 1:]
        known = after > 0
        diagonal = xp.sqrt(p[:, :-1] * after / xp.where(known, before[:, :-1], xp.ones_like(after)))
        below = xp.tril(-p[:, :, None] / xp.where(known, after, xp.ones_like(after))[:, None, :], k=-1)
        unit = xp.eye(p.shape[1], p.shape[1] - 1, dtype=p.dtype, device=device(p))
        return (below + unit) * diagonal[:, None, :]

    def pull(self, f: Array, y: Array) -> tuple[Callable[[Array], Array], Array]:
        """`Λ(−1_y) = p_y e`."""
        xp = array_namespace(f)
        rows, chosen = xp.arange(len(f), device=device(f)), xp.astype(y, xp.int64)
        return lambda v: -v[rows, :, chosen], self.mean(f)[rows, chosen]

    def root_gram(self, f: Array, y: Array, outputs: Array) -> Array:
        """`√p_a √p_b (1_ab − p_a − p_b + pᵀp)`."""
        xp = array_namespace(f)
        p = self.mean(f)
        some = xp.take_along_axis(p, outputs, axis=-1)
        inner = xp.sum(p * p, axis=-1)[:, None, None] - some[..., :, None] - some[..., None, :]
        half = xp.sqrt(some)
        return diagonal_matrix(some) + half[..., :, None] * half[..., None, :] * inner

    def encode(self, y: Array, c: int) -> Array:
        """One-hot rows."""
        xp, y = array_namespace(y), _numbers(y)
        classes = xp.arange(c, dtype=y.dtype, device=device(y))
        return xp.astype(y[:, None] == classes, xp.float64)

    def check_target(self, y: Array, c: int) -> None:
        """Raise `TargetError` unless every target is a class number."""
        if y.ndim != 1:
            raise TargetError(f"class numbers of shape {tuple(y.shape)}: expected (n,)")
        y = _numbers(y)
        refuse(~((y >= 0) & (y < c) & (y == y // 1)), y, f"class numbers 0 … {c - 1} (classes are counted from 0)")


def _spread_less_mean(a: Array, p: Array, v: Array) -> Array:
    """`a ∘ v − p(aᵀv)` for directions `v [n, c, k]`, each of which had better lie together in memory."""
    xp = array_namespace(p)
    spread = a[:, None] * xp.matrix_transpose(v)
    return xp.matrix_transpose(spread - p[:, None] * xp.sum(spread, axis=-1, keepdims=True))


@dataclass(frozen=True)
class _CategoricalAt(Categorical):
    """Knows the class probabilities of one array of outputs; for all others it asks anew."""

    f: Array
    p: Array

    def mean(self, f: Array) -> Array:
        """Class probabilities."""
        return self.p if f is self.f else super().mean(f)
