"""Every structure against its dense definition, from Jacobians made one example at a time."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from networks import CASES, case, jacobian
from scipy.optimize import minimize_scalar
from torch import nn

import memorymaps as mm
from memorymaps.core.likelihoods.categorical import Categorical
from memorymaps.core.likelihoods.exponential_family import Gaussian
from memorymaps.data.in_memory import ArrayExamples
from memorymaps.nets.autograd.network import Network, evaluation_mode
from memorymaps.nets.autograd.parameter_blocks import find_blocks
from memorymaps.nets.autograd.parameter_owners import find_owners
from memorymaps.nets.covariance.block_diagonal import BlockDiagonalCovariance
from memorymaps.nets.covariance.block_precision import CholeskyPrecision
from memorymaps.nets.covariance.gram import GramCovariance
from memorymaps.nets.curvature import dual, unit_block
from memorymaps.nets.curvature.auto import Auto
from memorymaps.nets.curvature.ggn import ggn_operator, group_order
from memorymaps.nets.curvature.structure import (
    CurvatureEstimate,
    CurvatureStructure,
    exact_rows,
    with_exact_rows,
)
from memorymaps.nets.curvature.unit_block import UnitBlock
from memorymaps.nets.problem import build_problem
from memorymaps.nets.recipe import Laplace

DELTA = 0.3


def drawn(net, x, y, structure, **options):
    recipe = Laplace(structure, prior=options.pop("prior", DELTA), **options)
    return mm.memory_map(net, x, y, likelihood="categorical", posterior=recipe)


def variances(m, x):
    return m.origin.posterior.marginals(x).variance


def flat(jacobians, names=None):
    each = (jacobians[name] for name in names or jacobians)
    return torch.cat([j.reshape(*j.shape[:2], -1) for j in each], dim=2)


def curvature(net, x):
    p = net(x).softmax(1).detach()
    return torch.diag_embed(p) - p[:, :, None] * p[:, None]


def gauss_newton(j, h):
    return torch.einsum("ncp,ncd,ndq->pq", j, h, j)


def dense_variance(j, precision):
    return torch.einsum("ncp,pq,ndq->ncd", j, torch.linalg.inv(precision), j).numpy()


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("structure", ["full", "dual", "active_set"])
def test_exact_structures_are_the_dense_posterior(name, structure):
    net, x, y = case(name)
    m = drawn(net, x, y, structure)
    j, h = flat(jacobian(net, x)), curvature(net, x)
    expected = dense_variance(j, gauss_newton(j, h) + DELTA * torch.eye(j.shape[2], dtype=torch.float64))
    np.testing.assert_allclose(variances(m, x), expected, rtol=1e-8, atol=1e-10)


@pytest.fixture
def gram(monkeypatch):
    """As for problems whose rows do not fit in memory."""
    monkeypatch.setattr(dual, "MAX_EIGH_ROWS", 0)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_the_gram_form_layer_by_layer_is_the_dense_posterior(name, gram):
    net, x, y = case(name)
    m = drawn(net, x, y, "dual")
    source = m.origin.posterior
    assert isinstance(source.covariance, GramCovariance)
    j, h = flat(jacobian(net, x)), curvature(net, x)
    whole = gauss_newton(j, h)
    inverse = torch.linalg.inv(whole + DELTA * torch.eye(len(whole), dtype=torch.float64))
    np.testing.assert_allclose(variances(m, x), torch.einsum("ncp,pq,ndq->ncd", j, inverse, j), rtol=1e-8, atol=1e-10)
    assert source.description.effective_parameters == pytest.approx(float((inverse * whole).sum()), rel=1e-8)
    v = torch.randn(2, len(whole), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    places = ggn_operator(source.problem).parameters.unflatten(torch.arange(len(whole)))
    named = torch.cat([places[name].reshape(-1) for name in jacobian(net, x)]).argsort()
    order = named[group_order(source.problem, source.covariance.groups)]
    found = source.covariance.solve(v[:, order])[:, order.argsort()]
    np.testing.assert_allclose(found, v @ inverse, rtol=1e-7, atol=1e-9)


def test_the_gram_form_follows_a_prior_that_differs_by_parameter(gram):
    net, x, y = case("mlp")
    values = dict(net.named_parameters())
    generator = torch.Generator().manual_seed(2)
    optimizer = torch.optim.AdamW(net.parameters(), weight_decay=0.1)
    for value in values.values():
        square = torch.rand(value.shape, generator=generator, dtype=value.dtype)
        optimizer.state[value] = {"step": torch.tensor(1e9), "exp_avg_sq": square}
    prior = mm.prior_from(optimizer, 11)
    m = drawn(net, x, y, "dual", prior=prior)
    j, h = flat(jacobian(net, x)), curvature(net, x)
    delta = torch.cat([prior.by_parameter[id(value)].reshape(-1) for value in values.values()])
    np.testing.assert_allclose(variances(m, x), dense_variance(j, gauss_newton(j, h) + torch.diag(delta)), rtol=1e-8)


def test_the_gram_form_has_the_evidence_prior_of_the_full_matrix(gram):
    net, x, y = case("mlp")
    forms = [drawn(net, x, y, structure, prior="evidence") for structure in ("dual", "full")]
    np.testing.assert_allclose(*(variances(m, x) for m in forms), rtol=1e-3)


@pytest.mark.parametrize("directions", [0, 1])
def test_the_gram_form_along_directions_and_for_removed_groups(directions, gram):
    net, x, y = case("mlp")
    forms = [drawn(net, x, y, structure, directions=directions) for structure in ("dual", "full")]
    for column in ("leverage", "sensitivity"):
        np.testing.assert_allclose(*(m[column] for m in forms), rtol=1e-8)
    left = [m.leave_out({"some": [1, 2]}).to_pandas() for m in forms]
    common = left[0].select_dtypes("number").columns  # the Gram form has no joint score
    np.testing.assert_allclose(*(found[common] for found in left), rtol=1e-3)


def test_the_gram_form_has_the_trace_for_its_own_prior_only(gram):
    net, x, y = case("mlp")
    covariance = drawn(net, x, y, "dual").origin.posterior.covariance
    with pytest.raises(ValueError, match="its own prior"):
        covariance.inverse_trace([2 * part.eigenvalues for part in covariance.prior.precisions])


def test_the_error_of_a_gram_form_that_does_not_fit_names_alternatives(gram, monkeypatch):
    net, x, y = case("mlp")
    monkeypatch.setattr(dual, "MAX_ROW_NUMBERS", 10)
    with pytest.raises(ValueError, match=r"examples × outputs.*Use 'auto'"):
        drawn(net, x, y, "dual")


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_diagonal_is_the_dense_diagonal(name):
    net, x, y = case(name)
    m = drawn(net, x, y, "diag")
    j, h = flat(jacobian(net, x)), curvature(net, x)
    precision = torch.diag(gauss_newton(j, h).diagonal() + DELTA)
    np.testing.assert_allclose(variances(m, x), dense_variance(j, precision), rtol=1e-8, atol=1e-10)


def blocks_of(net, x):
    network = Network(net, Categorical())
    names = [name for name, _ in net.named_parameters()]
    with evaluation_mode(net):
        return find_blocks(network, find_owners(network, x, names))


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_block_is_block_diagonal(name):
    net, x, y = case(name)
    m = drawn(net, x, y, "block")
    jacobians, h = jacobian(net, x), curvature(net, x)
    expected = 0
    for block in blocks_of(net, x):
        j = flat(jacobians, block.parameters)
        expected = expected + dense_variance(j, gauss_newton(j, h) + DELTA * torch.eye(j.shape[2], dtype=torch.float64))
    np.testing.assert_allclose(variances(m, x), expected, rtol=1e-8, atol=1e-10)


def unit_masks(net, x):
    """Masks of the Gauss–Newton matrix, in the order of the parameters: which pairs belong to one unit."""
    units = {}
    for block in blocks_of(net, x):
        for name in block.parameters:
            value = net.get_parameter(name)
            shared = torch.arange(len(value))[(...,) + (None,) * (value.ndim - 1)].expand(value.shape).reshape(-1)
            own = torch.arange(value.numel())
            units[name] = [
                (block.name if block.is_matrix else name, int(u)) for u in (shared if block.is_matrix else own)
            ]
    every = [unit for name, _ in net.named_parameters() for unit in units[name]]
    return torch.tensor([[a == b for b in every] for a in every])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mlp", "cnn", "norms", "attention"])
def test_unit_block_is_block_diagonal_over_units(name):
    net, x, y = case(name)
    m = drawn(net, x, y, UnitBlock())
    j, h = flat(jacobian(net, x), [n for n, _ in net.named_parameters()]), curvature(net, x)
    kept = gauss_newton(j, h) * unit_masks(net, x) + DELTA * torch.eye(j.shape[2], dtype=torch.float64)
    expected = dense_variance(j, kept)
    np.testing.assert_allclose(variances(m, x), expected, rtol=1e-8, atol=1e-10)
    effective = j.shape[2] - DELTA * float(torch.linalg.inv(kept).trace())
    assert m.provenance.description.effective_parameters == pytest.approx(effective, rel=1e-8)


def test_unit_block_is_full_for_one_output():
    x = torch.randn(20, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    net, y = nn.Linear(3, 1).double(), x[:, 0] + 0.1
    units, full = (
        mm.memory_map(net, x, y, likelihood="gaussian", posterior=Laplace(structure, prior=DELTA))
        for structure in ("unit_block", "full")
    )
    np.testing.assert_allclose(units["leverage"], full["leverage"], rtol=1e-10)
    assert units.provenance.estimator == full.provenance.estimator


def test_unit_block_says_its_size_before_it_is_made(monkeypatch):
    monkeypatch.setattr(unit_block, "_MAX_NUMBERS", 10)
    with pytest.raises(ValueError, match=r"unit_block.*Use 'ekfac'"):
        drawn(*case("mlp"), "unit_block")


class ScaledIdentity:
    """A block `S = s I`, of no class of the package."""

    def __init__(self, scale):
        self.scale, self.dtype = scale, scale.dtype

    def variance(self, gradient, n, k):
        g = gradient.materialize(slice(None))
        return g @ g.mT / self.scale

    def inv_sqrt_rmatvec(self, v):
        return v * self.scale.rsqrt()

    inv_sqrt_matvec = inv_sqrt_rmatvec

    def solve(self, v):
        return v / self.scale

    def inverse_trace(self, prior):
        return float(prior.sum() / self.scale)

    def prior_over_precision(self, prior):
        return (prior / self.scale).reshape(-1).double()


@dataclass(frozen=True)
class PriorAndRows(CurvatureStructure):
    """The prior, as blocks of another form, and exact rows of some examples."""

    rows: int
    name = "prior_and_rows"

    def fit(self, problem):
        rows = exact_rows(problem, problem.examples.take(np.arange(self.rows))) if self.rows else None

        def build(deltas):
            blocks = (ScaledIdentity(group.pack(deltas).mean()) for group in problem.block_groups)
            base = BlockDiagonalCovariance(problem.block_groups, tuple(blocks))
            return base if rows is None else with_exact_rows(base, rows)

        return CurvatureEstimate(build)


@pytest.mark.slow
@pytest.mark.parametrize("rows", [0, 4])
@pytest.mark.parametrize("name", ["mlp", "cnn"])
def test_a_precision_of_another_form_plugs_in(name, rows):
    net, x, y = case(name)
    m = drawn(net, x, y, PriorAndRows(rows))
    j, h = flat(jacobian(net, x)), curvature(net, x)
    precision = gauss_newton(j[:rows], h[:rows]) + DELTA * torch.eye(j.shape[2], dtype=torch.float64)
    np.testing.assert_allclose(variances(m, x), dense_variance(j, precision), rtol=1e-8, atol=1e-10)
    effective = j.shape[2] - DELTA * float(torch.linalg.inv(precision).trace())
    assert m.provenance.description.effective_parameters == pytest.approx(effective, rel=1e-8, abs=1e-8)
    along = drawn(net, x, y, PriorAndRows(rows), directions=1)
    np.testing.assert_allclose(along["deviation"][0], first_order(j, precision, m, x, y)[0], rtol=1e-6)


def first_order(j, precision, m, x, y):
    """`V_i e_i`, as maps of approximate curvature estimate deviations."""
    e = torch.tensor(m.origin.posterior.likelihood.error(m["output"], y.numpy()))
    return torch.einsum("ncd,nd->nc", torch.tensor(dense_variance(j, precision)), e).numpy()


def test_a_dense_block_with_a_low_rank_term_is_refused_with_what_to_give():
    dense = CholeskyPrecision(torch.eye(2, dtype=torch.float64))
    with pytest.raises(TypeError, match=r"got a CholeskyPrecision.*EigenbasisPrecision blocks.*or low_rank=None"):
        dense.prior_over_precision(torch.ones(2))


def layer_factors(net, x, layer):
    """Inputs `a [n, t, d]` of a linear layer or a convolution, by its own definition, and `g [n, c, t, o]`."""
    kept = []
    handle = layer.register_forward_hook(lambda _, args, out: kept.append((args[0].detach(), out)))
    f = net(x)
    handle.remove()
    ((a, out),) = kept
    g = torch.stack([torch.autograd.grad(f[:, c].sum(), out, retain_graph=True)[0] for c in range(f.shape[1])], 1)
    if isinstance(layer, torch.nn.Conv2d):
        a = torch.nn.functional.unfold(a, layer.kernel_size, layer.dilation, layer.padding, layer.stride).transpose(
            1, 2
        )
        g = g.flatten(3).transpose(2, 3)
    else:
        a, g = a.reshape(len(x), -1, a.shape[-1]), g.reshape(*g.shape[:2], -1, g.shape[-1])
    if layer.bias is not None:
        a = torch.cat([a, torch.ones_like(a[..., :1])], 2)
    return a, g


def kronecker_variance(net, x, structure, reduce=False):
    """KFAC or EKFAC of a network of linear layers and convolutions, with dense Kronecker products."""
    h, total = curvature(net, x), 0
    for layer in [part for part in net.modules() if isinstance(part, (torch.nn.Linear, torch.nn.Conv2d))]:
        a, g = layer_factors(net, x, layer)
        rows = torch.einsum("ncto,ntd->ncod", g, a)
        if reduce:
            a, g = a.mean(1, keepdim=True), g.sum(2, keepdim=True)
        first = torch.einsum("ntd,nte->de", a, a) / (len(x) * a.shape[1])
        second = torch.einsum("ncto,nctp->op", g, torch.einsum("ncd,ndtp->nctp", h, g))
        precision = torch.kron(second, first)
        if structure == "ekfac":
            q = torch.kron(torch.linalg.eigh(second)[1], torch.linalg.eigh(first)[1])
            exact = gauss_newton(rows.flatten(2), h)
            precision = q @ torch.diag((q.T @ exact @ q).diagonal()) @ q.T
        total = total + dense_variance(
            rows.flatten(2), precision + DELTA * torch.eye(len(precision), dtype=torch.float64)
        )
    return total


def plain_cnn():
    torch.manual_seed(1)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(2, 3, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(3, 2, 2, stride=2, bias=False),
        torch.nn.Tanh(), torch.nn.Flatten(), torch.nn.Linear(8, 3),
    ).double()  # fmt: skip
    return net, torch.randn(9, 2, 4, 4, dtype=torch.float64), torch.randint(0, 3, (9,))


@pytest.mark.slow
@pytest.mark.parametrize("structure", ["kfac", "ekfac"])
@pytest.mark.parametrize("make", [lambda: case("mlp"), plain_cnn], ids=["mlp", "cnn"])
def test_kronecker_structures_are_dense_kronecker_products(structure, make):
    net, x, y = make()
    m = drawn(net, x, y, structure)
    np.testing.assert_allclose(variances(m, x), kronecker_variance(net, x, structure), rtol=1e-8, atol=1e-10)


def test_reduced_kfac_sums_positions_first():
    net, x, y = plain_cnn()
    m = drawn(net, x, y, "kfac", reduce=True)
    np.testing.assert_allclose(variances(m, x), kronecker_variance(net, x, "kfac", True), rtol=1e-8, atol=1e-10)


def test_kfac_is_exact_for_one_layer_of_one_output():
    """Constant curvature and one output: the Kronecker product is the Gauss–Newton matrix itself."""
    torch.manual_seed(0)
    net, x = torch.nn.Linear(5, 1).double(), torch.randn(30, 5, dtype=torch.float64)
    y = net(x).detach()[:, 0] + torch.randn(30)
    maps = [mm.memory_map(net, x, y, likelihood="gaussian", posterior=Laplace(s, prior=1.0)) for s in ("kfac", "full")]
    np.testing.assert_allclose(maps[0]["leverage"], maps[1]["leverage"], rtol=1e-10)


def test_lowrank_with_all_eigenvectors_is_exact():
    net, x, y = case("mlp")
    both = [drawn(net, x, y, s, rows=200) for s in ("lowrank", "full")]
    np.testing.assert_allclose(both[0]["leverage"], both[1]["leverage"], rtol=1e-6)


def hessian(net, x, y, delta):
    """Of `Σℓ + δ‖θ‖²/2`, by double backward on the whole loss."""
    names, values = zip(*net.named_parameters(), strict=True)

    def loss(*tensors):
        f = torch.func.functional_call(net, dict(zip(names, tensors, strict=True)), x)
        return torch.nn.functional.cross_entropy(f, y, reduction="sum")

    blocks = torch.autograd.functional.hessian(loss, tuple(value.detach() for value in values))
    n = [value.numel() for value in values]
    rows = [
        torch.cat([b.reshape(i, j) for b, j in zip(row, n, strict=True)], 1) for row, i in zip(blocks, n, strict=True)
    ]
    return torch.cat(rows) + delta * torch.eye(sum(n), dtype=torch.float64)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_the_hessian_is_that_of_the_loss(name):
    net, x, y = case(name)
    with evaluation_mode(net):
        j, h = flat(jacobian(net, x)), hessian(net, x, y, 300.0)
    expected = torch.einsum("ncp,pq,ndq->ncd", j, torch.linalg.inv(h), j).numpy()
    m = drawn(net, x, y, "hessian", prior=300.0)
    np.testing.assert_allclose(variances(m, x), expected, rtol=1e-8, atol=1e-10)
    assert m.provenance.estimator.name == "bounded_cavity"
    assert not np.allclose(variances(drawn(net, x, y, "full", prior=300.0), x), expected, rtol=1e-6)


def test_queries_and_removed_groups_take_the_hessian_too():
    net, x, y = case("mlp")
    with evaluation_mode(net):
        j, h, curved = flat(jacobian(net, x)), hessian(net, x, y, 300.0), curvature(net, x)
        error = net(x).softmax(1).detach() - nn.functional.one_hot(y, 3)
    source, rows = drawn(net, x, y, "hessian", prior=300.0).origin.posterior, np.array([1, 2])
    inverse = torch.linalg.inv(h)
    expected = torch.einsum("ncp,pq,kdq->nckd", j, inverse, j[:2])
    np.testing.assert_allclose(source.cross_covariance(x[:2])(x), expected, rtol=1e-5, atol=1e-10)
    gradient = torch.einsum("ncp,nc->p", j[rows], error[rows])
    change = torch.linalg.solve(h - gauss_newton(j[rows], curved[rows]), gradient)
    found = source.output_change(x, source.parameter_change([rows], tolerance=1e-8)[0])[:, :, 0]
    np.testing.assert_allclose(found, j @ change, rtol=1e-5, atol=1e-10)
    assert not np.allclose(found, j @ torch.linalg.solve(h, gradient), rtol=1e-3)


def test_where_the_loss_curves_downwards_the_hessian_is_refused():
    net, x, y = case("mlp")  # never trained
    with pytest.raises(ValueError, match=r"curves downwards.*'full'"):
        drawn(net, x, y, "hessian", prior=1e-3)
    with pytest.raises(ValueError, match="expected fisher='exact'"):
        drawn(net, x, y, "hessian", prior=300.0, fisher="mc")


@pytest.mark.slow
@pytest.mark.parametrize("rank", [3, 12])  # by Lanczos, and from all columns
def test_lowrank_is_the_leading_part_of_the_dense_matrix(rank):
    net, x, y = case("mlp")
    j, h = flat(jacobian(net, x)), curvature(net, x)
    matrix = gauss_newton(j, h)
    values, vectors = torch.linalg.eigh(matrix)
    main = vectors[:, -rank:] * values[-rank:] @ vectors[:, -rank:].T
    expected = dense_variance(j, main + DELTA * torch.eye(len(main), dtype=main.dtype))
    np.testing.assert_allclose(variances(drawn(net, x, y, "lowrank", rows=rank), x), expected, rtol=1e-8, atol=1e-10)


def test_dense_matrices_that_exceed_memory_are_refused_with_alternatives():
    net = torch.nn.Sequential(torch.nn.Linear(300, 200), torch.nn.Tanh(), torch.nn.Linear(200, 2))
    x, y = torch.randn(4, 300), torch.arange(4) % 2
    for structure in ("full", "block"):
        with pytest.raises(ValueError, match=r"GB.*'ekfac'"):
            drawn(net, x, y, structure)


@pytest.mark.slow
@pytest.mark.parametrize("structure", ["full", "dual", "ekfac", "diag", "block", "unit_block"])
def test_leverage_sums_to_the_effective_parameters(structure):
    net, x, y = case("cnn")
    m = drawn(net, x, y, structure)
    np.testing.assert_allclose(m["leverage"].sum(), m.provenance.description.effective_parameters, rtol=1e-8)


def test_a_linear_network_is_ridge_regression():
    from sklearn.linear_model import Ridge

    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 3)), rng.normal(size=40)
    ridge = Ridge(alpha=2.0, fit_intercept=False).fit(x, y)
    expected = mm.memory_map(ridge, x, y)
    phi = expected.provenance.description.dispersion
    net = torch.nn.Linear(3, 1, bias=False).double()
    net.weight.data = torch.tensor(ridge.coef_[None])
    m = mm.memory_map(net, torch.tensor(x), y, likelihood=Gaussian(dispersion=phi), posterior=Laplace(prior=2.0 / phi))
    for column in ("leverage", "deviation", "loo_loss"):
        np.testing.assert_allclose(m[column], expected[column], rtol=1e-9)
    assert m.provenance.description.distance < 1e-6


# --- V along directions: no number of which depends on c² -----------------------------------------------------------


def recipe_along(structure, k):
    return mm.Laplace(structure, prior=0.7, rows=4, directions=k)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "structure"),
    [
        *itertools.product(CASES, ["ekfac", "dual"]),  # along the factors of layers, and along rows of examples
        *itertools.product(
            ["mlp", "cnn", "attention", "tied"],
            ["full", "block", "unit_block", "kfac", "diag", "active_set", "lowrank"],
        ),
    ],
)
def test_products_and_grams_are_those_of_the_full_variance(name, structure):
    net, x, y = case(name)
    whole, along = (
        mm.memory_map(net, x, y, likelihood="categorical", posterior=recipe_along(structure, k)).origin.posterior
        for k in (0, 2)
    )
    v = whole.marginals(x).variance
    rng = np.random.default_rng(0)
    d = rng.normal(size=(len(x), v.shape[1], 3))
    share = rng.normal(size=(len(x), 3))
    for size in (len(x), 4):  # in one chunk, and in several, which are linearised again
        along.problem.batch_size.size = size
        seen = along.directional_marginals(x, lambda f, rows: d[rows])
        np.testing.assert_allclose(seen.gram, d.swapaxes(1, 2) @ v @ d, rtol=1e-8, atol=1e-10)
        expected = np.einsum("ncd,ndk,nk->nc", v, d, share)
        np.testing.assert_allclose(seen.matvec(share), expected, rtol=1e-8, atol=1e-10)
        np.testing.assert_allclose(seen.f, whole.marginals(x).f, rtol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("structure", ["full", "kfac", "dual"])
def test_top_outputs_diagonals_and_single_products_are_those_of_the_full_variance(structure, monkeypatch):
    monkeypatch.setattr("memorymaps.nets.laplace.posterior._OUTPUTS_PER_PASS", 2)
    net, x, y = case("attention")
    source = drawn(net, x, y, structure).origin.posterior
    v, f = variances(drawn(net, x, y, structure), x), net(x).detach().numpy()
    top, seen = source.top_marginals(x, 2)
    np.testing.assert_array_equal(top, np.argsort(-f, axis=1)[:, :2])
    np.testing.assert_allclose(seen.f, -np.sort(-f, axis=1)[:, :2], rtol=1e-10)
    expected = np.stack([v[i][np.ix_(top[i], top[i])] for i in range(len(f))])
    np.testing.assert_allclose(seen.variance, expected, rtol=1e-8)
    np.testing.assert_allclose(source.variances(x), np.diagonal(v, axis1=1, axis2=2), rtol=1e-8)
    for k in (0, 4):
        with pytest.raises(ValueError, match=f"k = {k} of 3 outputs"):
            source.top_marginals(x, k)
    with pytest.raises(ValueError, match="directions of shape"):
        source.respond(x, f[:1])
    e = np.random.default_rng(0).normal(size=f.shape)
    np.testing.assert_allclose(source.respond(x, e), np.einsum("ncd,nd->nc", v, e), rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("form", ["F-sm", "R-sm", "R/F-sm", "R"])
def test_a_map_along_all_directions_is_the_whole_map(form):
    net, x, y = case("mlp")
    whole, along = (
        mm.memory_map(net, x, y, likelihood="categorical", posterior=recipe_along("full", k), estimator=form)
        for k in (0, 3)
    )
    for column in ("leverage", "sensitivity", "loo_loss", "deviation", "memorization"):
        np.testing.assert_allclose(along[column], whole[column], rtol=1e-7, atol=1e-12, err_msg=column)
    np.testing.assert_array_equal(along["warning"], whole["warning"])
    assert "leverage_norm" not in list(along)


def test_the_cavity_form_along_few_directions_lies_between_first_order_and_the_whole():
    torch.manual_seed(2)
    net = torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.Tanh(), torch.nn.Linear(5, 40)).double()
    x, y = torch.randn(60, 4, dtype=torch.float64), torch.arange(60) % 40
    first, along, whole = (
        mm.memory_map(net, x, y, likelihood="categorical", posterior=recipe_along("full", k), estimator=form)
        for k, form in ((0, "F"), (1, "R"), (0, "R"))
    )
    assert whole["leverage"].mean() > 1  # one signed direction for all others would exceed the bound
    assert not along["warning"].any()
    sizes = [m["output_sensitivity"] for m in (first, along, whole)]
    assert np.all(sizes[0] < sizes[1])
    assert np.all(sizes[1] < sizes[2] * (1 + 1e-9))
    assert np.median(sizes[1] / sizes[2]) > 0.9


def test_weights_have_the_same_effect_along_directions():
    net, x, y = case("mlp")
    weight = np.linspace(0.5, 2, len(y))
    whole, along = (
        mm.memory_map(net, x, y, likelihood="categorical", posterior=recipe_along("full", k), sample_weight=weight)
        for k in (0, 3)
    )
    np.testing.assert_allclose(along["sensitivity"], whole["sensitivity"], rtol=1e-8)


def test_forms_that_need_all_of_the_variance_are_refused_along_directions():
    net, x, y = case("mlp")
    with pytest.raises(ValueError, match="directions=0"):
        mm.memory_map(net, x, y, likelihood="categorical", posterior=recipe_along("full", 2), estimator="P")


@pytest.mark.slow
def test_many_outputs_are_mapped_along_directions_without_wide_columns():
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.Tanh(), torch.nn.Linear(8, 150)).double()
    x, y = torch.randn(30, 6, dtype=torch.float64), torch.randint(0, 150, (30,))
    recipe = mm.Laplace("kfac", prior=1.0, fisher="leading")
    m = mm.memory_map(net, x, y, likelihood="categorical", posterior=recipe)
    assert "mean" not in list(m)
    assert m.provenance.outputs == 150
    full = mm.memory_map(
        net, x, y, likelihood="categorical", posterior=mm.Laplace("kfac", prior=1.0, fisher="leading", directions=0)
    )
    assert np.median(np.abs(m["leverage"] / full["leverage"] - 1)) < 0.15  # an untrained, flat softmax: the worst case
    np.testing.assert_allclose(m["leverage"].sum(), full["leverage"].sum(), rtol=0.05)
    assert m.summary()


@pytest.mark.slow
def test_the_leading_fisher_is_close_to_the_exact_one():
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.Tanh(), torch.nn.Linear(8, 10)).double()
    x, y = torch.randn(400, 6, dtype=torch.float64), torch.randint(0, 10, (400,))
    exact, few = (drawn(net, x, y, "kfac", prior=1.0, fisher=f)["leverage"] for f in ("exact", "leading"))
    np.testing.assert_allclose(few, exact, rtol=0.1)


# --- the prior by the marginal likelihood ---------------------------------------------------------------------------


@pytest.mark.parametrize("structure", ["full", "dual"])
def test_the_tuned_prior_makes_the_log_evidence_stationary(structure):
    net, x, y = case("mlp", 40)
    recipe = mm.Laplace(structure, prior="evidence")
    m = mm.memory_map(net, x, y, likelihood="categorical", posterior=recipe)
    delta = float(m.provenance.description.prior.split()[2].rstrip(","))
    j, h = flat(jacobian(net, x)), curvature(net, x)
    ggn = gauss_newton(j, h).numpy()
    theta = torch.nn.utils.parameters_to_vector(net.parameters()).detach().numpy()

    def evidence(log_delta):
        d = np.exp(log_delta)
        logdet = np.linalg.slogdet(ggn + d * np.eye(len(ggn)))[1]
        return -d * theta @ theta / 2 + len(theta) * log_delta / 2 - logdet / 2

    best = minimize_scalar(lambda t: -evidence(t), bounds=(-5, 8), method="bounded", options={"xatol": 1e-8})
    assert delta == pytest.approx(np.exp(best.x), rel=2e-3)


def test_the_active_set_is_limited_by_memory_with_a_note(monkeypatch):
    net, x, y = case("mlp")
    size = sum(value.numel() for value in net.parameters())
    monkeypatch.setattr("memorymaps.nets.curvature.active_set.MAX_ROW_NUMBERS", 2.5 * 3 * size)
    m = mm.memory_map(net, x, y, likelihood="categorical", posterior=mm.Laplace("active_set", prior=0.5, rows=6))
    notes = " ".join(m.provenance.description.notes)
    assert "exact curvature of 2 examples" in notes
    assert "6 were requested: no more fit in memory" in notes


def test_the_active_set_is_limited_by_the_cost_of_its_eigenvectors(monkeypatch):
    monkeypatch.setattr("memorymaps.nets.curvature.active_set.MAX_EIGH_ROWS", 12)
    net, x, y = case("mlp", 12)
    m = mm.memory_map(net, x, y, likelihood="categorical", posterior=mm.Laplace("active_set", prior=0.5, rows=1))
    assert "exact curvature of 4 examples" in " ".join(m.provenance.description.notes)  # of three outputs each


def inputs_of(n, width):
    return np.random.default_rng(0).normal(size=(n, width)).astype(np.float32)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("width", "inputs", "outputs", "n", "structure"),
    [
        (20, 10, 10, 1500, "full"),
        (300, 64, 10, 600, "dual"),
        (60, 30, 5, 2000, "full"),
        (400, 20, 5, 1700, "sampled"),
        (300, 64, 10, 820, "sampled"),
        (300, 64, 10, 10_000, "ekfac"),
    ],
)
def test_auto_selects_structures_that_cost_less_than_a_minute(width, inputs, outputs, n, structure):
    net = nn.Sequential(nn.Linear(inputs, width), nn.Tanh(), nn.Linear(width, outputs))
    model = Laplace("auto", prior=1.0)(net, "categorical")
    problem = build_problem(model, ArrayExamples.of(inputs_of(n, inputs), np.arange(n) % outputs))
    with evaluation_mode(net):
        found, why = Auto().resolve(problem)
    assert found.name == structure
    assert ("'dual' would be exact" in why[0]) == (structure == "sampled")


def test_leverage_along_directions_is_noted():
    net, x, y = case("mlp")
    for directions, told in ((0, False), (1, True)):
        recipe = mm.Laplace("diag", prior=0.5, directions=directions)
        m = mm.memory_map(net, x, y, likelihood="categorical", posterior=recipe)
        assert any("unbiased, not exact" in note for note in m.provenance.description.notes) == told
