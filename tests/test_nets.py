"""Every structure against its dense definition, from Jacobians made one example at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from networks import CASES, case, jacobian

import memorymaps as mm
from memorymaps.likelihoods import Categorical, Gaussian
from memorymaps.nets.gradients import find_blocks
from memorymaps.nets.laplace import Laplace
from memorymaps.nets.network import Network
from memorymaps.nets.tape import find_owners

DELTA = 0.3


def drawn(net, x, y, structure, **options):
    recipe = Laplace(structure, prior=options.pop("prior", DELTA), **options)
    return mm.memory_map(net, x, y, likelihood="categorical", posterior=recipe)


def variances(m, x):
    return m.origin.posterior.marginals(x).variance


def flat(jacobians, names=None):
    return torch.cat([jacobians[name].flatten(2) for name in names or jacobians], dim=2)


def curvature(net, x):
    p = net(x).softmax(1).detach()
    return torch.diag_embed(p) - p[:, :, None] * p[:, None]


def gauss_newton(j, h):
    return torch.einsum("ncp,ncd,ndq->pq", j, h, j)


def dense_variance(j, precision):
    return torch.einsum("ncp,pq,ndq->ncd", j, torch.linalg.inv(precision), j).numpy()


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("structure", ["full", "dual", "active_set"])
def test_exact_structures_are_the_dense_posterior(name, structure):
    net, x, y = case(name)
    m = drawn(net, x, y, structure)
    j, h = flat(jacobian(net, x)), curvature(net, x)
    expected = dense_variance(j, gauss_newton(j, h) + DELTA * torch.eye(j.shape[2], dtype=torch.float64))
    np.testing.assert_allclose(variances(m, x), expected, rtol=1e-8, atol=1e-10)


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
    return find_blocks(network, find_owners(network, x, names))


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
        second = torch.einsum("ncto,ncd,ndtp->op", g, h, g)
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


@pytest.mark.parametrize("structure", ["full", "dual", "ekfac", "diag", "block"])
def test_leverage_sums_to_the_posteriors_own_count(structure):
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
