"""From a network, a recipe and the training data to the posterior: what is covered, in which structure, how trusted."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from memorymaps._types import Batch as Examples_
from memorymaps.examples import ArrayExamples, DataError, Examples
from memorymaps.nets.batching import BatchSize, first_size, look
from memorymaps.nets.curvature import Curvature, DenseCurvature, DiagonalCurvature, KroneckerCurvature
from memorymaps.nets.fisher import ROOTS
from memorymaps.nets.ggn import GaussNewton, Parameters, conjugate_gradients
from memorymaps.nets.gradients import Block, find_blocks
from memorymaps.nets.laplace import Laplace, LaplaceNetwork
from memorymaps.nets.network import Network, evaluating, length, rows
from memorymaps.nets.network_posterior import Covariance, FactoredNetworkPosterior, NetworkPosterior, gradient
from memorymaps.nets.parts import Group, Part, Rotated
from memorymaps.nets.tape import Owner, find_owners, onehots, record
from memorymaps.nets.woodbury import Woodbury
from memorymaps.posteriors import Description, posterior, training_data

_FULL = 4_000  # parameters: a dense float64 precision of 128 MB
_DUAL = 4_000  # examples × outputs
_ROWS = 2.5e8  # numbers in exact rows: 2 GB
_WORK = 2e13  # multiplications that a map may cost
_FACTORED = 20_000  # parameters up to which Z is written out
_CALIBRATED = 0.15  # effective parameters may be this far off for the cavity form
_COVERED = 0.8  # share of the curvature trace in the active set from which the cavity form is taken


@dataclass(frozen=True)
class Setting:
    """What every step of the fit works with."""

    network: Network
    recipe: Laplace
    examples: Examples
    owners: tuple[Owner, ...]
    blocks: tuple[Block, ...]
    prior: dict[str, Tensor]
    size: BatchSize
    outputs: int

    @property
    def count(self) -> int:
        """`P`: covered parameters."""
        return sum(block.size for block in self.blocks)

    def packed_prior(self, groups: Iterable[Group]) -> list[Tensor]:
        """`δ` in the shape of each group."""
        return [group.pack(self.prior) for group in groups]


def fit(model: LaplaceNetwork, examples: Examples) -> NetworkPosterior:
    """The posterior of a trained network.

    Raises
    ------
    DataError
        Outputs that are not finite or not one row an example, examples that influence each other.
    ValueError
        A subset that names no parameter, a prior that does not cover one.
    """
    with evaluating(model.network.module):
        setting = _setting(model, examples)
        structure, why = _chosen(setting)
        covariance, notes, share = _STRUCTURES[structure](setting)
        description = _describe(setting, structure, (*why, *notes), covariance, share)
    kind = FactoredNetworkPosterior if setting.count <= _FACTORED else NetworkPosterior
    return kind(model.network, setting.owners, covariance, description, setting.size)


def _setting(model: LaplaceNetwork, examples: Examples) -> Setting:
    network = model.network
    first = next(iter(examples), None)
    if first is None or length(first.inputs) == 0:
        raise DataError("the data has no rows")
    inputs = network.place(rows(first.inputs, slice(0, 4)))
    covered = covered_names(network, model.recipe, inputs)
    owners = find_owners(network, inputs, covered)
    blocks = find_blocks(network, owners)
    values = dict(network.module.named_parameters())
    prior = model.prior.tensors({name: values[name] for name in covered})
    f, calls = record(network, inputs, owners)
    _check_alone(network, owners, blocks, inputs)
    size = first_size(calls, f.shape[1], len(f))
    return Setting(network, model.recipe, examples, owners, blocks, prior, size, f.shape[1])


def covered_names(network: Network, recipe: Laplace, inputs: Any) -> tuple[str, ...]:
    """The parameters a recipe's subset means.

    Raises
    ------
    ValueError
        It means none, or a frozen one by name.
    """
    learned = [name for name, value in network.module.named_parameters() if value.requires_grad]
    if recipe.subset == "all":
        chosen = learned
    elif recipe.subset == "last_layer":
        calls = record(network, inputs, find_owners(network, inputs, learned))[1]
        chosen = list(dict.fromkeys(calls[-1].owner.parameters.values()))
    else:
        chosen = _named(network.module, recipe.subset)
    if not chosen:
        raise ValueError("no parameter to cover: none requires a gradient")
    return tuple(chosen)


def _named(module: nn.Module, subset: str | Iterable[str]) -> list[str]:
    wanted = [subset] if isinstance(subset, str) else list(subset)
    values = dict(module.named_parameters())
    chosen = [name for name in values if any(name == w or name.startswith(w.rstrip(".") + ".") for w in wanted)]
    frozen = [name for name in chosen if not values[name].requires_grad]
    if not chosen or frozen:
        got = f"{frozen} are frozen: call requires_grad_(True)" if frozen else f"{wanted} names no parameter"
        raise ValueError(f"subset: {got}. Parameters: {', '.join(list(values)[:12])}, …")
    return chosen


def _check_alone(network: Network, owners: tuple[Owner, ...], blocks: tuple[Block, ...], inputs: Any) -> None:
    """Per-example gradients must add up to autograd's own gradient: each example passes the network alone."""
    f, _ = record(network, inputs, owners)
    generator = torch.Generator().manual_seed(0)
    direction = torch.randn(f.shape, generator=generator).to(f)
    values = dict(network.module.named_parameters())
    names = [name for block in blocks for name in block.parameters]
    found = torch.autograd.grad(f, [values[name] for name in names], direction, allow_unused=True)
    whole = {name: torch.zeros_like(values[name]) if g is None else g for name, g in zip(names, found, strict=True)}
    batch = look(network, owners, inputs, slice(None), lambda *_: direction[None])
    for block in blocks:
        mine, autograd = batch.gradient(block).dense(slice(None)).sum((0, 1)).detach(), block.pack(whole).reshape(-1)
        if not torch.allclose(mine, autograd, rtol=1e-2, atol=1e-3 * float(autograd.abs().max()) + 1e-6):
            raise DataError(
                f"gradients of {block.name!r} do not add up example by example (off by "
                f"{float((mine - autograd).abs().max()):.2g}): examples of a batch influence each other there. "
                "Exclude it with Laplace(subset=[...])"
            )


# --- structures: setting → covariance, words, share of the curvature that is exact ----------------------------------

Made = tuple[Covariance, tuple[str, ...], float]


def _passes(setting: Setting, groups: tuple[Group, ...], made: list[Curvature], weight: Any = None) -> None:
    """One pass: every group's curvature takes in the data along the root directions of `Λ`."""
    root = ROOTS[setting.recipe.fisher]
    for batch in setting.examples:
        y = torch.as_tensor(batch.target, device=setting.network.device)
        w = _weights(setting.network, batch, weight)

        def work(x: Any, part: slice, y: Tensor = y, w: Tensor = w) -> list[Any]:
            def directions(f: Tensor, rows_: slice) -> Tensor:
                return root(setting.network.likelihood, f, y[rows_]) * w[rows_, None].sqrt()

            seen = look(setting.network, setting.owners, x, part, directions)
            k = len(seen.g[0])
            return [c.measure(gradient(seen, g), len(seen.f), k) for c, g in zip(made, groups, strict=True)]

        setting.network.likelihood.check_target(batch.target, setting.outputs)
        for measured in setting.size.run(batch.inputs, work):
            for curvature, increment in zip(made, measured, strict=True):
                curvature.take_in(increment)


def _weights(network: Network, batch: Examples_, weight: Any) -> Tensor:
    n = length(batch.inputs)
    given = torch.ones(n) if batch.weight is None else torch.as_tensor(batch.weight)
    given = given if weight is None else given * weight(batch)
    return given.double().to(network.device)


def _zeros(setting: Setting, *shape: int) -> Tensor:
    return torch.zeros(shape, dtype=torch.float64, device=setting.network.device)


def _parts(setting: Setting, groups: tuple[Group, ...], made: list[Curvature]) -> tuple[Part, ...]:
    return tuple(c.part(delta) for c, delta in zip(made, setting.packed_prior(groups), strict=True))


def _dense(setting: Setting, groups: tuple[Group, ...], share: float) -> Made:
    made: list[Curvature] = [DenseCurvature(_zeros(setting, group.size, group.size)) for group in groups]
    _passes(setting, groups, made)
    return Covariance(groups, _parts(setting, groups, made)), (), share


def _full(setting: Setting) -> Made:
    return _dense(setting, (Group(setting.blocks),), 1.0)


def _block(setting: Setting) -> Made:
    return _dense(setting, _separate(setting), 0.0)


def _separate(setting: Setting) -> tuple[Group, ...]:
    return tuple(Group((block,)) for block in setting.blocks)


def _diag(setting: Setting, weight: Any = None) -> Made:
    groups = _separate(setting)
    made: list[Curvature] = [DiagonalCurvature(_zeros(setting, *block.shape)) for block in setting.blocks]
    _passes(setting, groups, made, weight)
    return Covariance(groups, _parts(setting, groups, made)), (), 0.0


def _kronecker(setting: Setting) -> list[Curvature]:
    n = len(setting.examples)

    def start(block: Block) -> Curvature:
        if not block.is_matrix:
            return DiagonalCurvature(_zeros(setting, *block.shape))
        o, d = block.shape
        return KroneckerCurvature(_zeros(setting, d, d), _zeros(setting, o, o), n, setting.recipe.reduce)

    made = [start(block) for block in setting.blocks]
    _passes(setting, _separate(setting), made)
    return made


def _kfac(setting: Setting) -> Made:
    groups = _separate(setting)
    return Covariance(groups, _parts(setting, groups, _kronecker(setting))), (), 0.0


def _ekfac(setting: Setting) -> Made:
    groups, dtype = _separate(setting), next(iter(setting.prior.values())).dtype

    def corrected(block: Block, first: Curvature) -> Curvature:
        if not isinstance(first, KroneckerCurvature):
            return DiagonalCurvature(_zeros(setting, *block.shape))
        left, right, _ = first.bases(dtype)
        return DiagonalCurvature(_zeros(setting, *block.shape), left, right)

    made = [corrected(b, first) for b, first in zip(setting.blocks, _kronecker(setting), strict=True)]
    _passes(setting, groups, made)
    return Covariance(groups, _parts(setting, groups, made)), (), 0.0


def _prior_only(setting: Setting) -> Covariance:
    groups = _separate(setting)
    return Covariance(groups, tuple(Rotated(delta) for delta in setting.packed_prior(groups)))


def _dual(setting: Setting) -> Made:
    base = _prior_only(setting)
    rows_ = torch.cat([_exact_rows(setting, base, batch) for batch in setting.examples])
    return Covariance(base.groups, base.parts, Woodbury.of(rows_)), (), 1.0


def _active_set(setting: Setting) -> Made:
    """Exact rows of the examples with the largest `tr Λ`, the diagonal of all others [method: Woodbury]."""
    trace = torch.cat([_traces(setting, batch) for batch in setting.examples])
    active = torch.zeros(len(trace), dtype=torch.bool)
    active[trace.topk(min(setting.recipe.rows, len(trace))).indices.cpu()] = True
    outside = iter(torch.split((~active).double(), [len(batch) for batch in setting.examples]))
    base = _diag(setting, lambda batch: next(outside))[0]
    chosen = torch.nonzero(active)[:, 0].numpy()
    pieces = [chosen[start : start + 64] for start in range(0, len(chosen), 64)]
    rows_ = torch.cat([_exact_rows(setting, base, setting.examples.take(piece)) for piece in pieces])
    share = float(trace[active].sum() / trace.sum())
    note = f"exact curvature of {len(chosen):,} examples with {share:.0%} of its trace, diagonal for the rest"
    return Covariance(base.groups, base.parts, Woodbury.of(rows_)), (note,), share


def _traces(setting: Setting, batch: Examples_) -> Tensor:
    def work(x: Any, part: slice) -> Tensor:
        f = setting.network.outputs(setting.network.place(x)).double()
        curvature: Tensor = setting.network.likelihood.curvature(f)
        return curvature.diagonal(dim1=1, dim2=2).sum(-1)

    with torch.no_grad():
        return torch.cat(list(setting.size.run(batch.inputs, work))) * _weights(setting.network, batch, None)


def _exact_rows(setting: Setting, base: Covariance, batch: Examples_) -> Tensor:
    """Whitened rows `√w L_iᵀ J_i D^{-1/2} [n·k, P]`."""
    root = ROOTS[setting.recipe.fisher]
    y, w = torch.as_tensor(batch.target, device=setting.network.device), _weights(setting.network, batch, None)

    def work(x: Any, part: slice) -> Tensor:
        def directions(f: Tensor, rows_: slice) -> Tensor:
            return root(setting.network.likelihood, f, y[rows_]) * w[rows_, None].sqrt()

        return base.factor(look(setting.network, setting.owners, x, part, directions)).flatten(0, 1)

    return torch.cat(list(setting.size.run(batch.inputs, work)))


def _lowrank(setting: Setting) -> Made:
    """Leading eigenvectors of the whitened curvature by subspace iteration, the prior for all other directions."""
    base, operator = _prior_only(setting), _operator(setting, with_prior=False)
    order = _order(setting, base.groups)

    def whitened(q: Tensor) -> Tensor:
        return base.whiten(operator(base.unwhiten(q)[:, order.argsort()])[:, order])

    rank = min(setting.recipe.rows, setting.count)
    generator = torch.Generator().manual_seed(0)
    q = torch.randn(rank + 8, setting.count, generator=generator).to(operator.prior)
    for _ in range(3):
        q = torch.linalg.qr(q.T).Q.T
        q = whitened(q)
    basis = torch.linalg.qr(q.T).Q.T
    inner = basis @ whitened(basis).T
    values, vectors = torch.linalg.eigh((inner + inner.T).double() / 2)
    kept = values.argsort(descending=True)[:rank]
    rows_ = values[kept].clamp(min=0).sqrt()[:, None] * (vectors[:, kept].T @ basis.double())
    return Covariance(base.groups, base.parts, Woodbury.of(rows_)), (f"{len(kept)} leading eigenvectors",), 0.0


_STRUCTURES: dict[str, Callable[[Setting], Made]] = {
    "full": _full,
    "block": _block,
    "diag": _diag,
    "kfac": _kfac,
    "ekfac": _ekfac,
    "dual": _dual,
    "active_set": _active_set,
    "lowrank": _lowrank,
}


def _chosen(setting: Setting) -> tuple[str, tuple[str, ...]]:
    """The structure asked for, or the most faithful one that the problem's size allows, and why."""
    asked = setting.recipe.structure
    if asked != "auto":
        return asked, ()
    n, c, p, m = len(setting.examples), setting.outputs, setting.count, setting.recipe.rows
    size = f"{n:,} examples × {c} outputs, {p:,} parameters"
    if p <= _FULL and n * c * p**2 <= _WORK:
        return "full", (f"auto chose full: {size}",)
    if n * c <= _DUAL and n * c * p <= _ROWS:
        return "dual", (f"auto chose dual: {size}",)
    if m * c * p <= _ROWS and n * c * m * c * p <= _WORK:
        return "active_set", (f"auto chose active_set: {size}",)
    return "ekfac", (f"auto chose ekfac: {size}",)


# --- what the posterior says of itself -------------------------------------------------------------------------------


def _operator(setting: Setting, with_prior: bool = True) -> GaussNewton:
    values = dict(setting.network.module.named_parameters())
    names = [name for block in setting.blocks for name in block.parameters]
    parameters = Parameters({name: values[name].detach() for name in names})
    prior = parameters.flat({name: setting.prior[name] for name in names})
    return GaussNewton(setting.network, setting.examples, parameters, prior if with_prior else prior * 0, setting.size)


def _describe(
    setting: Setting, structure: str, notes: tuple[str, ...], covariance: Covariance, share: float
) -> Description:
    delta = setting.packed_prior(covariance.groups)
    own = setting.count - covariance.trace_inverse(delta)
    trusted, words = _trust(setting, covariance, share)
    n, c = len(setting.examples), setting.outputs
    return Description(
        model=f"{type(setting.network.module).__name__}, {setting.count:,} of "
        f"{sum(v.numel() for v in setting.network.module.parameters()):,} parameters",
        posterior=f"Laplace, {structure}, {setting.recipe.fisher} Gauss–Newton",
        likelihood=type(setting.network.likelihood).__name__,
        prior=setting.recipe.prior.source,
        algorithm="the trained network (a stationary point)",
        coverage=_coverage(setting, structure),
        classes=tuple(range(c)) if type(setting.network.likelihood).__name__ == "Categorical" else (),
        effective_parameters=own,
        distance=_distance(setting, covariance, own),
        form=trusted,
        notes=(*notes, *words, f"{n:,} examples in batches of up to {setting.size.size}"),
        methods=("nickl2023memory", "tailor2023maps"),
    )


def _trust(setting: Setting, covariance: Covariance, share: float) -> tuple[str, tuple[str, ...]]:
    """Which form the sizes can be trusted with: the cavity form only where the curvature is exact or verified."""
    if share == 1.0:
        return "R-sm", ()
    if setting.recipe.probes == 0:
        if share >= _COVERED:
            return "R/F-sm", ()
        return "F-sm", (
            "Curvature is approximate and unverified: sizes by the first-order form F-sm, read them as ranks. "
            "Laplace(probes=4) verifies it.",
        )
    mine, exact = _effective(setting, covariance)
    fits = abs(mine / exact - 1) <= _CALIBRATED
    verdict = "trusted with the cavity form" if fits else "first-order form F-sm, read sizes as ranks"
    return ("R/F-sm" if fits else "F-sm"), (
        f"Effective parameters {mine:.1f}, by the exact curvature {exact:.1f}: {verdict}.",
    )


def _effective(setting: Setting, covariance: Covariance) -> tuple[float, float]:
    """Effective parameters `tr(GGN S⁻¹)` with this covariance and with the exact one, by the same random probes."""
    operator, order = _operator(setting), _order(setting, covariance.groups)

    def solve(v: Tensor) -> Tensor:
        return covariance.solve(v[:, order])[:, order.argsort()]

    generator = torch.Generator().manual_seed(0)
    z = torch.randint(0, 2, (setting.recipe.probes, setting.count), generator=generator).to(operator.prior) * 2 - 1
    curved = operator(z) - operator.prior * z
    mine = (solve(z) * curved).sum(-1).mean()
    x, _ = conjugate_gradients(operator, curved, solve, steps=50, tolerance=1e-3)
    return float(mine), float((z * x).sum(-1).mean())


def _order(setting: Setting, groups: tuple[Group, ...]) -> Tensor:
    """Where each coordinate of the groups sits in a vector of the named parameters: `packed = v[..., order]`."""
    parameters = _operator(setting).parameters
    positions = parameters.named(torch.arange(setting.count, device=setting.network.device))
    return torch.cat([group.pack(positions).reshape(-1) for group in groups])


def _distance(setting: Setting, covariance: Covariance, effective: float) -> float:
    """`‖S^{-1/2}∇L‖/√d`: how many posterior standard deviations an effective parameter is from the optimum."""
    total = {name: setting.prior[name] * value.detach() for name, value in _covered(setting)}
    for batch in setting.examples:
        y, w = torch.as_tensor(batch.target, device=setting.network.device), _weights(setting.network, batch, None)
        work = functools.partial(_gradient, setting, y, w)
        for found in setting.size.run(batch.inputs, work):
            total = {name: total[name] + found[name] for name in total}
    packed = torch.cat([group.pack(total).reshape(-1) for group in covariance.groups])
    squared = (packed.double() * covariance.solve(packed).double()).sum().clamp(min=0)
    return float(squared.sqrt() / max(1.0, effective) ** 0.5)


def _covered(setting: Setting) -> list[tuple[str, nn.Parameter]]:
    return [(name, value) for name, value in setting.network.module.named_parameters() if name in setting.prior]


def _gradient(setting: Setting, y: Tensor, w: Tensor, x: Any, part: slice) -> dict[str, Tensor]:
    with torch.enable_grad():
        f = setting.network.outputs(setting.network.place(x))
        error = w[part, None] * setting.network.likelihood.error(f.detach().double(), y[part])
        named = _covered(setting)
        found = torch.autograd.grad(f, [value for _, value in named], error.to(f), allow_unused=True)
    return {n: torch.zeros_like(v) if g is None else g for (n, v), g in zip(named, found, strict=True)}


def _coverage(setting: Setting, structure: str) -> tuple[str, ...]:
    exact = structure in ("full", "dual", "block")
    lines = []
    for block in setting.blocks:
        shape = " × ".join(map(str, block.shape))
        how = structure if exact or block.is_matrix or structure not in ("kfac", "ekfac") else "diagonal"
        lines.append(f"covered: {', '.join(block.parameters)} ({shape}), {how}")
    for name, value in setting.network.module.named_parameters():
        if name not in setting.prior:
            reason = "outside the subset" if value.requires_grad else "frozen (requires_grad=False)"
            lines.append(f"held fixed: {name} ({value.numel():,}), {reason}")
    return tuple(lines)


posterior.register(LaplaceNetwork)(fit)


@training_data.register(LaplaceNetwork)
def _data(model: LaplaceNetwork, examples: Examples | None) -> Examples:
    if examples is None:
        raise DataError("a network does not keep its training data: memory_map(net, data, …) with arrays or a loader")
    return (
        replace(examples, batch_size=min(examples.batch_size, 1024))
        if isinstance(examples, ArrayExamples)
        else examples
    )


@posterior.register(nn.Module)
def _bare(model: nn.Module, examples: Examples) -> Any:
    raise ValueError(
        "a network alone does not say what its outputs mean and how it was regularised: "
        'memory_map(net, data, likelihood="categorical", posterior=Laplace(prior=prior_from(optimizer, n)))'
    )


__all__ = ["Setting", "covered_names", "fit", "onehots"]
