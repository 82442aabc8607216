"""Labels of tokens (or pixels) by how suspicious they are, where each example has several."""

from __future__ import annotations

from typing import Any

import numpy as np

from memorymaps.analysis.refinement import require_origin
from memorymaps.core.arrays import Array
from memorymaps.maps.memory_map import MemoryMap

_PARALLEL = 1e-3  # largest 1 − cosine of a loss's gradient with that of cross entropy


def token_columns(m: MemoryMap, left_out: bool) -> dict[str, Array]:
    """Columns `id`, `position`, `given`, `suggested`, `score`, `probability` of all tokens with a label.

    Outputs `f [n, T·K]` are logits of `K` classes at `T` positions, `f.view(n, T, K)`, with a cross entropy: its
    gradient says so, and is 0 at positions without a label. The score is `‖p_t − onehot(y_t)‖₂`, of the outputs left
    out or as they are.

    Raises
    ------
    TypeError
        The outputs or the loss are others.
    ValueError
        The map was read from disk.
    """
    origin = require_origin(m)
    stats: Any = origin.batch_statistics(origin.examples.take(m["row"]))
    given = np.asarray(m["target"])
    f, gradient = (_by_position(np.asarray(values), given) for values in (stats.f, stats.error))
    rows, positions = np.nonzero(np.any(gradient != 0, axis=2))
    y = given[rows, positions].astype(np.intp)
    _check_cross_entropy(_softmax(f)[rows, positions], y, gradient[rows, positions])
    p = _softmax(f + _by_position(m["deviation"], given) if left_out else f)[rows, positions]
    return {
        "id": m["id"][rows], "position": positions, "given": y, "suggested": p.argmax(axis=1),
        "score": np.linalg.norm(p - np.eye(p.shape[1])[y], axis=1), "probability": p[np.arange(len(p)), y],
    }  # fmt: skip


def _by_position(values: Array, given: Array) -> Array:
    """`[n, T·K]` as `[n, T, K]`."""
    classes, rest = divmod(values.shape[1], given.shape[1])
    if rest or classes < 2 or given.dtype.kind not in "iu":
        raise TypeError(
            f"targets {given.dtype} [n, {given.shape[1]}] with {values.shape[1]} outputs: expected class numbers of T "
            "tokens and logits f.view(n, T, K), K at least 2. m.top(by='loss') ranks whole examples"
        )
    return values.reshape(*given.shape, classes)


def _softmax(f: Array) -> Array:
    p = np.exp(f - f.max(axis=2, keepdims=True))
    return np.asarray(p / p.sum(axis=2, keepdims=True))


def _check_cross_entropy(p: Array, y: Array, gradient: Array) -> None:
    """Raise `TypeError` if the gradients `[tokens, K]` are not those of a cross entropy at each position."""
    inside = np.all((y >= 0) & (y < p.shape[1]))
    expected = p - np.eye(p.shape[1])[y] if inside else np.zeros_like(p)
    product = np.sum(expected * gradient, axis=1)
    sizes = np.linalg.norm(expected, axis=1) * np.linalg.norm(gradient, axis=1)
    if not np.all(product >= (1 - _PARALLEL) * sizes) or not inside:
        raise TypeError(
            "the loss is no cross entropy of logits f.view(n, T, K) and class numbers [n, T]: m.top(by='loss') ranks "
            "whole examples"
        )
