"""How the precision is held: each structure streams the data and gives a curvature that any prior can be added to.

full, block        dense matrices                     Σ Gᵀ G
hessian            the same and what residuals add    row by row
kfac, ekfac, diag  Kronecker factors, diagonals       one or two passes
dual, active_set   exact rows on top of a diagonal    solved in the rows' space; a large dual layer by layer
lowrank            leading eigenvectors               Lanczos
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh
from torch import Tensor

from memorymaps._types import Array, Batch
from memorymaps.nets.batching import look, numpy
from memorymaps.nets.covariance import FACTORED, Covariance, Spreading, gradient
from memorymaps.nets.curvature import Curvature, DenseCurvature, DiagonalCurvature, KroneckerCurvature
from memorymaps.nets.fisher import ROOTS
from memorymaps.nets.ggn import operator_of, order_of
from memorymaps.nets.gradients import Block
from memorymaps.nets.gram import GramCovariance, Kind, Written, group_rows, kind_of
from memorymaps.nets.hessian import residual_curvature
from memorymaps.nets.network import rows as some
from memorymaps.nets.parts import Group, Rotated
from memorymaps.nets.setting import Setting
from memorymaps.nets.woodbury import Woodbury
from memorymaps.nets.work import MINUTE

Deltas = dict[str, Tensor]  # prior precisions by parameter
S = TypeVar("S", bound=Spreading)

_FULL = 4_000  # parameters: a dense float64 precision of 128 MB
_DENSE = 40_000  # parameters of one dense matrix: 13 GB
_DUAL = 4_000  # rows (examples × outputs) whose eigenvectors are found in half a minute
_GRAM = 8_000  # rows whose Gram matrix `"auto"` makes: 0.5 GB
_ROWS = 2.5e8  # numbers in exact rows: 2 GB in double precision
_OWN = "Of the residuals' curvature an example left out keeps its own part: sizes tend to be too small, not too large."
TRUSTED_SHARE = 0.8  # of the curvature's trace in exact rows, from which sizes can be trusted


@dataclass(frozen=True)
class Held(Generic[S]):
    """A structure's curvature before a prior: `build(δ)` is the covariance, `share` how much of its trace is exact.

    `bounded` says whether it holds each example's own `J_iᵀΛ_iJ_i` and nothing negative, so that `ΛV` stays below 1.
    """

    build: Callable[[Deltas], S]
    notes: tuple[str, ...] = ()
    share: float = 0.0
    bounded: bool = True


def _streamed(groups: tuple[Group, ...], made: list[Curvature], share: float = 0.0) -> Held[Covariance]:
    def build(deltas: Deltas) -> Covariance:
        parts = (c.part(group.pack(deltas)) for c, group in zip(made, groups, strict=True))
        return Covariance(groups, tuple(parts))

    return Held(build, (), share)


def _directions(setting: Setting, batch: Batch, weight: Tensor) -> Callable[[Tensor, slice], Tensor]:
    """Root directions of `wΛ` for the rows of a batch: `[k, n, c]`."""
    root, y = ROOTS[setting.recipe.fisher], setting.target(batch)

    def directions(f: Tensor, rows: slice) -> Tensor:
        return root(setting.network.likelihood, f, y[rows]) * weight[rows, None].sqrt()

    return directions


Weight = Callable[[Batch], Tensor]


def _stream(setting: Setting, groups: tuple[Group, ...], made: list[Curvature], weight: Weight | None = None) -> None:
    """One pass: every group's curvature takes in the data along the root directions of `wΛ`."""
    for batch in setting.examples:
        directions = _directions(setting, batch, (weight or setting.weights)(batch))

        def work(x: Any, part: slice, directions: Any = directions) -> list[Any]:
            seen = look(setting.network, setting.owners, x, part, directions)
            k = len(seen.g[0])
            return [c.measure(gradient(seen, g), len(seen.f), k) for c, g in zip(made, groups, strict=True)]

        for measured in setting.size.run(batch.inputs, work):
            for curvature, increment in zip(made, measured, strict=True):
                curvature.take_in(increment)


def _hessian(setting: Setting) -> Held[Covariance]:
    """The Gauss–Newton matrix and what residuals add to it.

    Raises
    ------
    ValueError
        Of a Fisher that is drawn or cut; when built, where the sum is not positive definite.
    """
    if setting.recipe.fisher != "exact":
        raise ValueError(f"structure='hessian' with fisher={setting.recipe.fisher!r}: expected fisher='exact'")
    group = Group(setting.blocks)
    _check_dense(setting, group)
    made: list[Curvature] = [DenseCurvature(setting.zeros(group.size, group.size))]
    _stream(setting, (group,), made)
    made[0].take_in(residual_curvature(setting, group))
    held = _streamed((group,), made, 1.0)

    def build(deltas: Deltas) -> Covariance:
        try:
            return held.build(deltas)
        except torch.linalg.LinAlgError:
            raise ValueError(
                "structure='hessian': the loss curves downwards along some direction at these parameters (a saddle, a "
                "kink, or training that has not arrived). Train on, or use structure='full', which never does"
            ) from None

    return Held(build, (_OWN,), 1.0, bounded=False)


def _check_dense(setting: Setting, group: Group) -> None:
    if group.size > _DENSE:
        raise ValueError(
            f"structure={setting.recipe.structure!r} holds a dense matrix of {group.size:,} × {group.size:,} "
            f"({group.name}): {8e-9 * group.size**2:,.0f} GB. Use 'auto', 'active_set' or 'ekfac', or a subset"
        )


def _dense(setting: Setting, groups: tuple[Group, ...], share: float) -> Held[Covariance]:
    _check_dense(setting, max(groups, key=lambda group: group.size))
    made: list[Curvature] = [DenseCurvature(setting.zeros(group.size, group.size)) for group in groups]
    _stream(setting, groups, made)
    return _streamed(groups, made, share)


def _full(setting: Setting) -> Held[Covariance]:
    return _dense(setting, (Group(setting.blocks),), 1.0)


def _block(setting: Setting) -> Held[Covariance]:
    return _dense(setting, setting.separate, 1.0 if len(setting.blocks) == 1 else 0.0)


def _diag(setting: Setting, weight: Weight | None = None) -> Held[Covariance]:
    made: list[Curvature] = [DiagonalCurvature(setting.zeros(*block.shape)) for block in setting.blocks]
    _stream(setting, setting.separate, made, weight)
    return _streamed(setting.separate, made)


def _kronecker(setting: Setting) -> list[Curvature]:
    n = len(setting.examples)

    def start(block: Block) -> Curvature:
        if not block.is_matrix:
            return DiagonalCurvature(setting.zeros(*block.shape))
        o, d = block.shape
        return KroneckerCurvature(setting.zeros(d, d), setting.zeros(o, o), n, setting.recipe.reduce)

    made = [start(block) for block in setting.blocks]
    _stream(setting, setting.separate, made)
    return made


def _kfac(setting: Setting) -> Held[Covariance]:
    return _streamed(setting.separate, _kronecker(setting))


def _ekfac(setting: Setting) -> Held[Covariance]:
    dtype = next(iter(setting.prior.values())).dtype

    def corrected(block: Block, first: Curvature) -> Curvature:
        bases = first.bases(dtype)[:2] if isinstance(first, KroneckerCurvature) else ()
        return DiagonalCurvature(setting.zeros(*block.shape), *bases)

    made = [corrected(b, first) for b, first in zip(setting.blocks, _kronecker(setting), strict=True)]
    _stream(setting, setting.separate, made)
    return _streamed(setting.separate, made)


def _prior_only(setting: Setting, deltas: Deltas) -> Covariance:
    return Covariance(setting.separate, tuple(Rotated(group.pack(deltas)) for group in setting.separate))


def _with_rows(base: Covariance, rows: Tensor) -> Covariance:
    return Covariance(base.groups, base.parts, Woodbury.of(base.whiten(rows)))


def _dual(setting: Setting) -> Held[Any]:
    if not _rows_fit(setting):
        return _gram(setting)
    rows = torch.cat([_exact_rows(setting, batch) for batch in setting.examples])
    return Held(lambda deltas: _with_rows(_prior_only(setting, deltas), rows), (), 1.0)


def _rows_fit(setting: Setting) -> bool:
    """Whether all exact rows are written out and diagonalised, as factors of the posterior need them."""
    r = len(setting.examples) * setting.outputs
    return setting.count <= FACTORED and r <= _DUAL and r * setting.count <= _ROWS


def _gram(setting: Setting) -> Held[GramCovariance]:
    """All rows, kept in their factors where a layer allows it."""
    r, kinds = len(setting.examples) * setting.outputs, _kinds(setting)
    written = _written(setting, kinds)
    if not _gram_fits(r, written):
        raise ValueError(
            f"structure='dual' holds a matrix of {r:,} × {r:,} (examples × outputs) and rows of {written:,} parameters "
            f"of layers used more than once: more than 2 GB. Use 'auto', 'active_set' or 'ekfac'"
        )
    each = [_gram_rows(setting, batch, kinds) for batch in setting.examples]
    rows = tuple(kind.joined(pieces) for kind, pieces in zip(kinds, zip(*each, strict=True), strict=True))
    return Held(lambda deltas: GramCovariance.of(_prior_only(setting, deltas), rows), (), 1.0)


def _gram_fits(r: int, written: int) -> bool:
    """Whether a matrix of `r × r` and the rows that must be written out stay within memory."""
    return max(r, written) * r <= _ROWS


def _kinds(setting: Setting) -> list[Kind]:
    """How each group's rows are held, seen on a first example."""
    first = some(next(iter(setting.examples)).inputs, slice(0, 1))
    batch = look(setting.network, setting.owners, first, slice(0, 1), lambda f, _: torch.ones_like(f)[None])
    return [kind_of(gradient(batch, group), group.pack(setting.prior)) for group in setting.separate]


def _written(setting: Setting, kinds: list[Kind]) -> int:
    """Parameters whose rows are written out."""
    return sum(group.size for kind, group in zip(kinds, setting.separate, strict=True) if kind is Written)


def _gram_rows(setting: Setting, batch: Batch, kinds: list[Kind]) -> list[Any]:
    directions = _directions(setting, batch, setting.weights(batch))

    def work(x: Any, part: slice) -> list[Any]:
        return group_rows(look(setting.network, setting.owners, x, part, directions), setting.separate, kinds)

    parts = zip(*setting.size.run(batch.inputs, work), strict=True)
    return [kind.joined(pieces) for kind, pieces in zip(kinds, parts, strict=True)]


def _active_set(setting: Setting) -> Held[Covariance]:
    """Exact rows of the examples with the largest `tr Λ`, the diagonal of all others [method: Woodbury]."""
    trace = torch.cat([_traces(setting, batch) for batch in setting.examples]).cpu()
    order = trace.argsort(descending=True)
    chosen = order[: _enough(setting, trace[order])].sort().values
    outside = torch.ones(len(trace), dtype=torch.float64)
    outside[chosen] = 0
    parts = iter(torch.split(outside.to(setting.network.device), [len(batch) for batch in setting.examples]))
    base = _diag(setting, lambda batch: setting.weights(batch) * next(parts))
    pieces = torch.split(chosen, 64)
    rows = torch.cat([_exact_rows(setting, setting.examples.take(piece.numpy())) for piece in pieces])
    share = float(trace[chosen].sum() / trace.sum())
    note = f"exact curvature of {len(chosen):,} examples with {share:.0%} of its trace, diagonal for the rest"
    if len(chosen) < min(len(trace), setting.recipe.rows):
        note += f" ({setting.recipe.rows:,} were asked for: no more fit in memory)"
    return Held(lambda deltas: _with_rows(base.build(deltas), rows), (note,), share)


def _enough(setting: Setting, trace: Tensor) -> int:
    """At least `rows` examples, more until their share of the trace can be trusted, no more than fit in memory.

    More only up to the number of rows whose eigenvectors are found in half a minute.
    """
    share = trace.cumsum(0) / trace.sum()
    trusted = int((share < TRUSTED_SHARE + 0.05).sum()) + 1
    wanted = max(setting.recipe.rows, min(trusted, _DUAL // setting.outputs))
    return min(len(trace), wanted, max(1, int(_ROWS / setting.outputs / setting.count)))


def _traces(setting: Setting, batch: Batch) -> Tensor:
    y = setting.target(batch)

    def work(x: Any, part: slice) -> Tensor:
        f = setting.network.outputs(setting.network.place(x)).double()
        found: Tensor = setting.network.likelihood.information(f, y[part]).sum(-1)
        return found

    with torch.no_grad():
        return torch.cat(list(setting.size.run(batch.inputs, work))) * setting.weights(batch)


def _exact_rows(setting: Setting, batch: Batch) -> Tensor:
    """Rows `√w L_iᵀ J_i [n·k, P]`."""
    directions = _directions(setting, batch, setting.weights(batch))

    def work(x: Any, part: slice) -> Tensor:
        seen = look(setting.network, setting.owners, x, part, directions)
        pieces = [gradient(seen, group).dense(slice(None)) for group in setting.separate]
        return torch.cat(pieces, dim=-1).flatten(0, 1).detach()

    return torch.cat(list(setting.size.run(batch.inputs, work)))


def _lowrank(setting: Setting) -> Held[Covariance]:
    """Leading eigenvectors of the whitened curvature by Lanczos, the prior for all other directions."""
    rank = min(setting.recipe.rows, setting.count)
    return Held(lambda deltas: _leading(setting, deltas, rank), (f"{rank:,} leading eigenvectors",))


def _leading(setting: Setting, deltas: Deltas, rank: int) -> Covariance:
    base, operator = _prior_only(setting, deltas), operator_of(setting, with_prior=False)
    order = order_of(setting, base.groups)

    def whitened(q: Array) -> Array:
        """The curvature between whitened parameters, of columns `[P, k]`."""
        along = base.unwhiten(torch.as_tensor(q.T).to(operator.prior))[:, order.argsort()]
        return numpy(base.whiten(operator(along)[:, order])).T

    values, vectors = _largest(whitened, setting.count, rank, 100 * torch.finfo(operator.prior.dtype).eps)
    rows = np.sqrt(np.clip(values, 0, None))[:, None] * vectors.T
    return Covariance(base.groups, base.parts, Woodbury.of(torch.as_tensor(rows).to(operator.prior.device)))


def _largest(act: Callable[[Array], Array], size: int, rank: int, tolerance: float) -> tuple[Array, Array]:
    """The `rank` largest eigenvalues and their vectors `[size, rank]`: by Lanczos, or from all columns if they are few.

    Raises
    ------
    RuntimeError
        Lanczos does not converge.
    """
    if 3 * rank > size:
        matrix = act(np.eye(size))
        values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
        return values[-rank:], vectors[:, -rank:]
    operator = LinearOperator((size, size), lambda v: act(v.reshape(-1, 1))[:, 0], dtype=np.float64)
    start = np.random.default_rng(0).normal(size=size)
    try:
        found: tuple[Array, Array] = eigsh(operator, rank, which="LA", v0=start, tol=tolerance)
    except ArpackNoConvergence as error:
        raise RuntimeError(
            f"structure='lowrank': {len(error.eigenvalues)} of {rank} leading eigenvectors converged. Ask for fewer, "
            "Laplace('lowrank', rows=…), or use 'active_set' or 'ekfac'"
        ) from error
    return found


STRUCTURES: dict[str, Callable[[Setting], Held[Any]]] = {
    "hessian": _hessian,
    "full": _full,
    "block": _block,
    "diag": _diag,
    "kfac": _kfac,
    "ekfac": _ekfac,
    "dual": _dual,
    "active_set": _active_set,
    "lowrank": _lowrank,
}


def chosen(setting: Setting) -> tuple[str, tuple[str, ...]]:
    """The structure asked for, or the most faithful one that the problem's size allows, and why."""
    asked = setting.recipe.structure
    if asked != "auto":
        return asked, ()
    n, c, p, m = len(setting.examples), setting.outputs, setting.count, setting.recipe.rows
    size = f"{n:,} examples × {c} outputs, {p:,} parameters"
    if p <= _FULL and n * c * p**2 <= MINUTE:
        return "full", (f"auto chose full: {size}",)
    if _rows_fit(setting) or (n * c <= _GRAM and n * c * _written(setting, _kinds(setting)) <= _ROWS):
        return "dual", (f"auto chose dual: {size}",)
    if m * c <= _DUAL and m * c * p <= _ROWS and m * c * p * (m + n) * c <= MINUTE:
        return "active_set", (f"auto chose active_set: {size}",)
    within_reach = _gram_fits(n * c, 0) and _gram_fits(n * c, _written(setting, _kinds(setting)))
    exact = " 'dual' would be exact and take minutes." if within_reach else ""
    return "ekfac", (f"auto chose ekfac: {size}.{exact}",)
