"""The interface of likelihoods (observation models) `p(y ∣ f)`.

For outputs `f [n, c]` and targets `y [n]` or `[n, c]` (losses are summed, `e = prediction − truth`):

    nll        −log p(y ∣ f)                       [n]
    mean       μ = σ(f)                            [n, c]
    error      e = ∇_f nll                         [n, c]
    curvature  Λ ≈ ∇²_f nll, PSD                   [n, c, c]

`curvature` is the Fisher information `E_y[∇²_f nll]` of the outputs where it has a closed form; for canonical links
(and every Gaussian) it is the Hessian itself and does not depend on `y`. For NumPy arrays and torch tensors.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

from array_api_compat import array_namespace, device

from memorymaps.core.arrays import Array


class TargetError(ValueError):
    """A target outside the likelihood's support; `row` is the position of the first one among the checked targets."""

    def __init__(self, message: str, row: int | None = None):
        super().__init__(message)
        self.row = row

    def with_id(self, ids: Array) -> TargetError:
        """The same error with the example's id in place of its row, which refers to the checked batch."""
        if self.row is None:
            return self
        return TargetError(
            str(self).replace(f"row {self.row}", f"example {ids[self.row : self.row + 1].tolist()[0]!r}", 1)
        )


class Likelihood(ABC):
    """Observation model `p(y ∣ f)`: loss, mean, and derivatives of the loss in `f`, for every example of a batch."""

    @abstractmethod
    def nll(self, f: Array, y: Array) -> Array:
        """Loss of each example, `ℓ = −log p(y ∣ f)`: `[n]`, in nats."""

    @abstractmethod
    def mean(self, f: Array) -> Array:
        """Predicted mean `μ = σ(f)`: `[n, c]`, in units of the target."""

    @abstractmethod
    def mean_jacobian(self, f: Array) -> Array:
        """Jacobian `dσ/df` of the mean: `[n, c, c]`. For a GLM: the inverse link's derivative on the diagonal."""

    @abstractmethod
    def error(self, f: Array, y: Array) -> Array:
        """`e = ∇_f ℓ`: `[n, c]`; positive where the prediction is too high. Minus the score of statistics."""

    @abstractmethod
    def curvature(self, f: Array, y: Array) -> Array:
        """`Λ`, the Fisher information of the outputs: `[n, c, c]`, PSD."""

    @abstractmethod
    def encode(self, y: Array, c: int) -> Array:
        """Targets in the space of the mean (one-hot for classes): `[n, c]`."""

    @abstractmethod
    def check_target(self, y: Array, c: int) -> None:
        """Raise `TargetError` where a target lies outside the support."""

    def without_target(self, y: Array) -> Array | None:
        """Which examples have no target at all (`ignore_index` throughout) and count nowhere: `[n]`; None: none."""
        return None

    @property
    def is_density(self) -> bool:
        """Whether `exp(−ℓ)` is a probability or density of `y`; otherwise only differences of `ℓ` have a meaning."""
        return True

    @property
    def weights_are_precisions(self) -> bool:
        """Whether an example of weight `w` is one observation of dispersion `φ/w`; otherwise it is `w` examples."""
        return False

    def example_loss(self, f: Array, y: Array, weight: Array) -> Array:
        """Loss of one example of weight `w [n]`: `[n]`, in nats; `nll`, unless the weight is a precision."""
        return self.nll(f, y)

    def residual(self, f: Array, y: Array) -> Array:
        """`μ − y`: `[n, c]`, in units of the target."""
        return self.mean(f) - self.encode(y, f.shape[-1])

    def predict_target(self, mean: Array) -> Array:
        """Predicted targets: the mean `[n, c]` for numeric targets, class numbers `[n]` for classes."""
        return mean

    def cached_at(self, f: Array) -> Likelihood:
        """Likelihood with quantities at `f` precomputed, for repeated calls with the same `f`; by default itself."""
        return self

    def averaged_over(self, variance: Array) -> Likelihood:
        """Likelihood whose methods are expectations under `N(f, V)`, `V [n, c, c]`; by default itself."""
        return self

    # --- products with Λ and its roots; overridden where Λ need not be formed ---------------------------------------

    def fisher_diagonal(self, f: Array, y: Array) -> Array:
        """The diagonal of `Λ`: `[n, c]`."""
        return array_namespace(f).linalg.diagonal(self.curvature(f, y))

    def fisher_matvec(self, f: Array, y: Array, v: Array) -> Array:
        """`Λ v` for directions `v [n, c, k]`."""
        return array_namespace(f).matmul(self.curvature(f, y), v)

    def fisher_root_matvec(self, f: Array, y: Array, v: Array) -> Array:
        """`L v` for directions `v [n, c, k]`, with `L Lᵀ = Λ`."""
        xp = array_namespace(f)
        values, vectors = xp.linalg.eigh(self.curvature(f, y))
        scaled = xp.sqrt(xp.clip(values, min=0))[..., None] * xp.matmul(xp.matrix_transpose(vectors), v)
        return xp.matmul(vectors, scaled)  # the symmetric root: column k belongs to output k

    def fisher_root(self, f: Array, y: Array) -> Array:
        """A root `L [n, c, r]` of `Λ = L Lᵀ`; likelihoods override it with fewer columns where possible."""
        xp, (n, c) = array_namespace(f), f.shape
        return self.fisher_root_matvec(f, y, xp.broadcast_to(xp.eye(c, dtype=f.dtype, device=device(f)), (n, c, c)))

    def score_preimage(self, f: Array, y: Array) -> tuple[Callable[[Array], Array], Array]:
        """Function `v ↦ xᵀv [n, k]` for `v [n, k, c]`, and `κ ≥ 0 [n]`, where `x [n, c]` solves `Λx = κe`.

        Zeros where no solution is known.
        """
        xp = array_namespace(f)
        return lambda v: xp.zeros_like(v[..., 0]), xp.zeros_like(f[:, 0])

    def fisher_root_gram(self, f: Array, y: Array, outputs: Array) -> Array:
        """Inner products `[n, m, m]` of the columns of `L` for the outputs at positions `outputs [n, m]`."""
        xp = array_namespace(f)
        positions = xp.arange(f.shape[-1], device=device(f))
        columns = self.fisher_root_matvec(f, y, xp.astype(positions[:, None] == outputs[:, None], f.dtype))
        return xp.matmul(xp.matrix_transpose(columns), columns)


def raise_for_targets(bad: Array, y: Array, expected: str) -> None:
    """Raise `TargetError` if any of `bad [n]`; the message has the first such target of `y` and what was expected."""
    xp = array_namespace(y)
    if xp.any(bad):
        row = int(xp.nonzero(bad)[0][0])
        count = int(xp.sum(xp.astype(bad, xp.int64)))
        raise TargetError(f"{count} target(s) outside the support: row {row} is {y[row]}; expected {expected}", row)


def as_numbers(y: Array) -> Array:
    """Booleans as integers 0 and 1; other dtypes unchanged."""
    xp = array_namespace(y)
    return xp.astype(y, xp.int64) if xp.isdtype(y.dtype, "bool") else y
