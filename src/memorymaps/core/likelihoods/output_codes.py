"""Several classes by several binary models: a code says which class is which side of which output."""

from __future__ import annotations

import itertools
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from array_api_compat import array_namespace

from memorymaps.core.arrays import Array
from memorymaps.core.likelihoods.base import Likelihood, TargetError, refuse
from memorymaps.core.likelihoods.exponential_family import diagonal_matrix


@dataclass(frozen=True)
class Coded(Likelihood):
    """Class numbers `y [n]` met output by output by one `binary` likelihood with targets 0 and 1.

    `code [classes, c]` says which; NaN: examples of this class take no part in that output (`e = Λ = ℓ = 0`).
    """

    binary: Likelihood
    classes: int

    @property
    @abstractmethod
    def code(self) -> Array:
        """`[classes, c]` of 0, 1 and NaN."""

    def encode(self, y: Array, c: int) -> Array:
        """The code's rows, NaN as it is: `[n, c]`."""
        return self.code[np.asarray(y).astype(np.intp)]

    def _met(self, f: Array, y: Array) -> tuple[Array, Array]:
        target = self.encode(y, f.shape[1])
        taking_part = np.isfinite(target)
        return np.where(taking_part, target, 0.0), taking_part

    def nll(self, f: Array, y: Array) -> Array:
        """Summed over the outputs that the example takes part in."""
        target, part = self._met(f, y)
        columns = [self.binary.nll(f[:, [k]], target[:, k]) for k in range(f.shape[1])]
        return np.asarray(np.sum(np.stack(columns, axis=1) * part, axis=1))

    @property
    def is_density(self) -> bool:
        """As the binary likelihood: of the code, output by output."""
        return self.binary.is_density

    def mean(self, f: Array) -> Array:
        """The binary models' means."""
        return self.binary.mean(f)

    def mean_jacobian(self, f: Array) -> Array:
        """The binary models' slopes."""
        return self.binary.mean_jacobian(f)

    def residual(self, f: Array, y: Array) -> Array:
        """Zero where the example takes no part."""
        target, part = self._met(f, y)
        return self.binary.residual(f, target) * part

    def error(self, f: Array, y: Array) -> Array:
        """Zero where the example takes no part."""
        target, part = self._met(f, y)
        return self.binary.error(f, target) * part

    def curvature(self, f: Array, y: Array) -> Array:
        """Zero where the example takes no part."""
        target, part = self._met(f, y)
        return self.binary.curvature(f, target) * diagonal_matrix(part.astype(float))

    def averaged_over(self, variance: Array) -> Likelihood:
        """The binary likelihood under each output's variance."""
        return type(self)(self.binary.averaged_over(variance), self.classes)

    def check_target(self, y: Array, c: int) -> None:
        """Raise `TargetError` unless every target is a class number."""
        if c != self.code.shape[1]:
            raise TargetError(f"{c} outputs: expected {self.code.shape[1]} for {self.classes} classes")
        refuse(~((y >= 0) & (y < self.classes) & (y == y // 1)), y, f"class numbers 0 … {self.classes - 1}")


@dataclass(frozen=True)
class OneVsRest(Coded):
    """Output `k` tells class `k` from all others; the largest mean wins."""

    @property
    def code(self) -> Array:
        """The identity."""
        return np.eye(self.classes)

    def predict_target(self, mean: Array) -> Array:
        """The class with the largest mean."""
        return array_namespace(mean).argmax(mean, axis=-1)


@dataclass(frozen=True)
class OneVsOne(Coded):
    """One output for each pair `i < j` of classes, positive for `i`; other classes take no part in it."""

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """The outputs' pairs of classes."""
        return list(itertools.combinations(range(self.classes), 2))

    @property
    def code(self) -> Array:
        """1 for the pair's first class, 0 for its second, NaN for others."""
        code = np.full((self.classes, len(self.pairs)), np.nan)
        for k, (i, j) in enumerate(self.pairs):
            code[i, k], code[j, k] = 1.0, 0.0
        return code

    def note(self, classes: Sequence[Any], machines: str) -> str:
        """What the outputs are, for users: `classes` by name, and what the model fits for each pair."""
        names = ", ".join(f"{classes[i]}|{classes[j]}" for i, j in self.pairs)
        return (
            f"Several classes are separated pair by pair: the outputs are {len(self.pairs)} {machines}, positive for "
            f"the first class ({names}); an example takes part in those of its own class."
        )

    def predict_target(self, mean: Array) -> Array:
        """The class with most votes of the pairs; the first one of several."""
        votes, even = np.zeros((len(mean), self.classes)), self.binary.mean(np.zeros((1, 1)))[0, 0]
        for k, (i, j) in enumerate(self.pairs):
            positive = mean[:, k] > even
            votes[:, i] += positive
            votes[:, j] += ~positive
        return np.asarray(np.argmax(votes, axis=1))
