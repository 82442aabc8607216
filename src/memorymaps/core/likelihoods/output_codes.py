"""Multiclass likelihoods from several binary models: one-vs-rest and one-vs-one output codes."""

from __future__ import annotations

import itertools
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from array_api_compat import array_namespace

from memorymaps.core.arrays import Array
from memorymaps.core.likelihoods.base import Likelihood, TargetError, raise_for_targets
from memorymaps.core.likelihoods.exponential_family import diagonal_matrix


@dataclass(frozen=True)
class OutputCode(Likelihood):
    """Likelihood of class numbers `y [n]`: a sum over outputs of one `binary` likelihood with targets 0 and 1.

    `code [classes, c]` has the binary target of each class for each output; NaN excludes the class from that output
    (`e = Λ = ℓ = 0`). scikit-learn: `OutputCodeClassifier.code_book_`.
    """

    binary: Likelihood
    classes: int

    @property
    @abstractmethod
    def code(self) -> Array:
        """`[classes, c]` of 0, 1 and NaN."""

    def encode(self, y: Array, c: int) -> Array:
        """Rows of the code, with NaN for excluded outputs: `[n, c]`."""
        return self.code[np.asarray(y).astype(np.intp)]

    def _binary_targets(self, f: Array, y: Array) -> tuple[Array, Array]:
        """Targets 0 and 1, and the mask of outputs that the example is used for: `[n, c]` each."""
        target = self.encode(y, f.shape[1])
        used = np.isfinite(target)
        return np.where(used, target, 0.0), used

    def nll(self, f: Array, y: Array) -> Array:
        """Sum over the outputs that the example is used for: `[n]`."""
        target, used = self._binary_targets(f, y)
        columns = [self.binary.nll(f[:, [k]], target[:, k]) for k in range(f.shape[1])]
        return np.asarray(np.sum(np.stack(columns, axis=1) * used, axis=1))

    @property
    def is_density(self) -> bool:
        """As the binary likelihood: of the code, output by output."""
        return self.binary.is_density

    def mean(self, f: Array) -> Array:
        """The binary models' means."""
        return self.binary.mean(f)

    def mean_jacobian(self, f: Array) -> Array:
        """The binary models' derivatives of the mean."""
        return self.binary.mean_jacobian(f)

    def residual(self, f: Array, y: Array) -> Array:
        """Zero for outputs that exclude the example."""
        target, used = self._binary_targets(f, y)
        return self.binary.residual(f, target) * used

    def error(self, f: Array, y: Array) -> Array:
        """Zero for outputs that exclude the example."""
        target, used = self._binary_targets(f, y)
        return self.binary.error(f, target) * used

    def curvature(self, f: Array, y: Array) -> Array:
        """Zero for outputs that exclude the example."""
        target, used = self._binary_targets(f, y)
        return self.binary.curvature(f, target) * diagonal_matrix(used.astype(float))

    def averaged_over(self, variance: Array) -> Likelihood:
        """The code with `binary.averaged_over(V)`."""
        return type(self)(self.binary.averaged_over(variance), self.classes)

    def check_target(self, y: Array, c: int) -> None:
        """Raise `TargetError` unless every target is a class number."""
        if c != self.code.shape[1]:
            raise TargetError(f"{c} outputs: expected {self.code.shape[1]} for {self.classes} classes")
        raise_for_targets(~((y >= 0) & (y < self.classes) & (y == y // 1)), y, f"class numbers 0 … {self.classes - 1}")


@dataclass(frozen=True)
class OneVsRest(OutputCode):
    """Output `k` separates class `k` from all others; the prediction is the class with the largest mean."""

    @property
    def code(self) -> Array:
        """The identity."""
        return np.eye(self.classes)

    def predict_target(self, mean: Array) -> Array:
        """The class with the largest mean."""
        return array_namespace(mean).argmax(mean, axis=-1)


@dataclass(frozen=True)
class OneVsOne(OutputCode):
    """One output for each pair `i < j` of classes, positive for `i`; examples of other classes are excluded."""

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """Pairs of classes, one per output."""
        return list(itertools.combinations(range(self.classes), 2))

    @property
    def code(self) -> Array:
        """1 for the pair's first class, 0 for its second, NaN for others."""
        code = np.full((self.classes, len(self.pairs)), np.nan)
        for k, (i, j) in enumerate(self.pairs):
            code[i, k], code[j, k] = 1.0, 0.0
        return code

    def describe_outputs(self, classes: Sequence[Any], machines: str) -> str:
        """A note for users: the pair of `classes` of each output; `machines` names the model's binary parts."""
        names = ", ".join(f"{classes[i]}|{classes[j]}" for i, j in self.pairs)
        return (
            f"Several classes are separated pair by pair: the outputs are {len(self.pairs)} {machines}, positive for "
            f"the first class ({names}); an example is used for the pairs that contain its class."
        )

    def predict_target(self, mean: Array) -> Array:
        """The class with most votes of the pairs; the first of them if tied."""
        votes, threshold = np.zeros((len(mean), self.classes)), self.binary.mean(np.zeros((1, 1)))[0, 0]
        for k, (i, j) in enumerate(self.pairs):
            positive = mean[:, k] > threshold
            votes[:, i] += positive
            votes[:, j] += ~positive
        return np.asarray(np.argmax(votes, axis=1))
