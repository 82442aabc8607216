"""Ensembles, dropout, laplace-torch, Gaussian processes are asked what networks are asked; equal draws are refused."""

from __future__ import annotations

import copy

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from torch import nn

import memorymaps as mm
from memorymaps.core.likelihoods.categorical import Categorical
from memorymaps.core.likelihoods.exponential_family import Gaussian
from memorymaps.models.draws.draws import Draws, Sampler
from memorymaps.nets import chain, ensemble, mc_dropout, snapshots

N = 24


def data(dtype=torch.float64):
    torch.manual_seed(0)
    x = torch.randn(N, 4, dtype=dtype)
    return x, (x[:, 0] + 0.5 * x[:, 1] > 0).long() + (x[:, 2] > 1).long()


class Core(nn.Module):
    """Two layers with dropout; subclasses make examples influence each other."""

    def __init__(self, seed=1):
        super().__init__()
        torch.manual_seed(seed)
        self.a, self.drop, self.b = nn.Linear(4, 6).double(), nn.Dropout(0.3), nn.Linear(6, 3).double()

    def forward(self, x):
        return self.b(self.drop(torch.tanh(self.a(x))))


class MinusMean(Core):
    def forward(self, x):
        f = super().forward(x)
        return f - f.mean(0)


class BatchStatistics(Core):
    def forward(self, x):
        return self.b(self.drop(nn.functional.batch_norm(self.a(x), None, None, training=True)))


class AlwaysRandom(Core):
    def forward(self, x):
        return super().forward(x) + 0.1 * torch.randn(len(x), 3, dtype=x.dtype)


class Probabilities(Core):
    def forward(self, x):
        return super().forward(x).softmax(1)


MAKE = {
    "ensemble": lambda kind, **more: ensemble([kind(1), kind(2), kind(3)], Categorical(), **more),
    "snapshots": lambda kind, **more: snapshots(
        kind(1), [kind(k).state_dict() for k in (1, 2, 3)], Categorical(), **more
    ),
    "chain": lambda kind, **more: chain(kind(1), [kind(k).state_dict() for k in (1, 2, 3)], Categorical(), **more),
    "mc_dropout": lambda kind, **more: mc_dropout(kind(1), Categorical(), draws=8, **more),
}
FAULTS = {
    MinusMean: "influence each other",
    BatchStatistics: "influence each other",
    AlwaysRandom: "output is random",
    Probabilities: "outputs are probabilities",
}


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", MAKE)
def test_members_are_asked_as_networks_are_and_forward_is_the_remedy(name, fault):
    x, y = data()
    with pytest.raises(mm.DataError, match=rf"{FAULTS[fault]}.*forward=lambda net, x"):
        mm.memory_map(MAKE[name](fault), x, y)
    m = mm.memory_map(MAKE[name](fault, forward=Core.forward), x, y)
    np.testing.assert_allclose(m["leverage"], mm.memory_map(MAKE[name](Core), x, y)["leverage"], rtol=1e-12)


def test_each_member_of_an_ensemble_is_asked_once(monkeypatch):
    x, y = data()
    with pytest.raises(mm.DataError, match="influence each other"):
        mm.memory_map(ensemble([Core(1), Core(2), MinusMean(3)], Categorical()), x, y)
    calls = []
    counted = ensemble([Core(1), Core(2)], Categorical(), forward=lambda net, x: calls.append(len(x)) or net(x))
    mm.memory_map(counted, x, y)
    first = len(calls)
    mm.memory_map(counted, x, y)
    assert len(calls) - first < first


def test_dropout_masks_of_every_kind_are_one_function():
    x = torch.randn(N, 2, 6, dtype=torch.float64)
    for layer in (nn.Dropout(0.4), nn.Dropout1d(0.4)):
        torch.manual_seed(0)
        net = nn.Sequential(layer, nn.Flatten(), nn.Linear(12, 3)).double()
        m = mm.memory_map(mc_dropout(net, Categorical(), draws=6), x, torch.arange(N) % 3)
        assert m["leverage"].sum() > 0


# --- draws without variance ----------------------------------------------------------------------------------------


def test_equal_members_are_refused_and_what_the_message_says_to_type_works():
    x, y = data()
    net = Core(1)
    for nets in ([net] * 5, [copy.deepcopy(net) for _ in range(5)]):
        with pytest.raises(mm.DataError, match=r"all 5 draws of 'deep ensemble of 5 Core' are equal.*different seeds"):
            mm.memory_map(ensemble(nets, Categorical()), x, y)
    assert mm.memory_map(ensemble([Core(k) for k in range(5)], Categorical()), x, y)["leverage"].sum() > 0
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, weight_decay=0.01)
    recipe = mm.Laplace(prior=mm.prior_from(optimizer, N))
    assert mm.memory_map(net, x, y, likelihood="categorical", posterior=recipe)["leverage"].sum() > 0


def test_snapshots_that_share_their_tensors_are_refused_and_copies_are_not():
    (x, y), net = data(), Core(1)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.5)
    shared, copied = [], []
    for _ in range(4):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()
        shared.append(net.state_dict())
        copied.append(copy.deepcopy(net.state_dict()))
    with pytest.raises(mm.DataError, match=r"copy\.deepcopy\(net\.state_dict\(\)\)"):
        mm.memory_map(snapshots(net, shared, Categorical()), x, y)
    assert mm.memory_map(snapshots(net, copied, Categorical()), x, y)["leverage"].sum() > 0


@pytest.mark.parametrize("c", [1, 3])
@pytest.mark.parametrize("jitter", [0.0, 1e-15])
def test_draws_without_variance_are_refused_whatever_their_kind(c, jitter):
    rng = np.random.default_rng(0)
    x, f = rng.normal(size=(N, 2)), rng.normal(size=(1, N, c))
    y = f[0] if c > 1 else f[0, :, 0]
    still = f + jitter * rng.normal(size=(30, N, c))
    for model in (Draws(still, Gaussian(1.0)), Sampler(lambda inputs: still[:, : len(inputs)], Gaussian(1.0))):
        with pytest.raises(mm.DataError, match=r"30 draws.*are equal.*memory_map"):
            mm.memory_map(model, x, y)
    moved = Draws(f + 0.1 * rng.normal(size=(30, N, c)), Gaussian(1.0))
    assert mm.memory_map(moved, x, y)["leverage"].sum() > 0


def test_examples_or_outputs_that_are_constant_among_others_are_mapped():
    rng = np.random.default_rng(0)
    f = rng.normal(size=(40, N, 3))
    f[:, :5], f[:, :, 1] = 2.0, -1.0
    m = mm.memory_map(Draws(f, Categorical()), np.zeros((N, 1)), np.arange(N) % 3)
    assert np.all(m["leverage"][:5] == 0)
    assert np.all(m["leverage"][5:] > 0)


# --- other packages ------------------------------------------------------------------------------------------------


def test_laplace_torch_is_asked_the_same_and_a_map_of_the_network_is_the_remedy():
    laplace = pytest.importorskip("laplace", reason="laplace-torch is not installed")
    x, y = data(torch.float32)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=12)
    for fault in (MinusMean, Probabilities, Core):
        net = fault(1).float().eval()
        la = laplace.Laplace(net, "classification", subset_of_weights="all", hessian_structure="full")
        la.fit(loader)
        if fault is Core:
            assert mm.memory_map(la, x, y)["leverage"].sum() > 0
            continue
        with pytest.raises(mm.DataError, match=rf"{FAULTS[fault]}.*laplace-torch.*posterior=Laplace\(forward=…"):
            mm.memory_map(la, x, y)
        recipe = mm.Laplace("full", prior=1.0, forward=Core.forward)
        assert mm.memory_map(net, x, y, likelihood="categorical", posterior=recipe)["leverage"].sum() > 0


def process(features):
    gpytorch = pytest.importorskip("gpytorch")

    class Deep(gpytorch.models.ExactGP):
        def __init__(self, x, y):
            super().__init__(x, y, gpytorch.likelihoods.GaussianLikelihood())
            torch.manual_seed(0)
            self.features = features
            self.mean, self.kernel = gpytorch.means.ConstantMean(), gpytorch.kernels.RBFKernel()

        def forward(self, x):
            z = self.features(x)
            return gpytorch.distributions.MultivariateNormal(self.mean(z), self.kernel(z))

    x, y = data()
    return Deep(x, y.double()).double(), x, y.double()


class Centre(nn.Module):
    def forward(self, x):
        return (x - x.mean(0)) / x.std(0)


class Stored(nn.Module):
    def __init__(self, x):
        super().__init__()
        self.register_buffer("mean", x.mean(0))
        self.register_buffer("sd", x.std(0))

    def forward(self, x):
        return (x - self.mean) / self.sd


class Noisy(nn.Module):
    def forward(self, x):
        return x + 0.1 * torch.randn_like(x)


def test_gaussian_processes_with_features_of_the_batch_are_refused_and_stored_statistics_are_the_remedy():
    model, x, y = process(Centre())
    with pytest.raises(mm.DataError, match=r"forward of Deep.*influence each other.*register_buffer"):
        mm.memory_map(model, x, y)
    with pytest.raises(mm.DataError, match="Deep is random"):
        mm.memory_map(process(Noisy())[0], x, y)
    m = mm.memory_map(process(Stored(x))[0], x, y)
    assert m["leverage"].sum() > 1
    assert np.isfinite(mm.memory_map(process(nn.BatchNorm1d(4))[0], x, y)["leverage"]).all()


@pytest.mark.parametrize("tasks", [1, 2])
def test_variational_and_multitask_processes_are_asked_too(tasks):
    gpytorch = pytest.importorskip("gpytorch")
    from memorymaps.nets.interop.gpytorch_variational import Variational

    class Sparse(gpytorch.models.ApproximateGP):
        def __init__(self, x, features):
            shape = torch.Size([tasks] if tasks > 1 else [])
            q = gpytorch.variational.CholeskyVariationalDistribution(6, batch_shape=shape)
            strategy = gpytorch.variational.VariationalStrategy(self, x[:6].clone(), q)
            if tasks > 1:
                strategy = gpytorch.variational.IndependentMultitaskVariationalStrategy(strategy, num_tasks=tasks)
            super().__init__(strategy)
            self.features, self.mean = features, gpytorch.means.ConstantMean(batch_shape=shape)
            self.kernel = gpytorch.kernels.RBFKernel(batch_shape=shape)

        def forward(self, x):
            z = self.features(x)
            return gpytorch.distributions.MultivariateNormal(self.mean(z), self.kernel(z))

    x, y = data()
    y = y.double() if tasks == 1 else torch.stack([y, 1 - y], 1).double()
    likelihood = (
        gpytorch.likelihoods.GaussianLikelihood()
        if tasks == 1
        else gpytorch.likelihoods.MultitaskGaussianLikelihood(num_tasks=tasks)
    ).double()

    def mapped(features):
        model = Sparse(x, features).double()
        model.train()
        model(x)  # initialises q(u)
        return mm.memory_map(model, x, y, likelihood=likelihood, posterior=Variational())

    with pytest.raises(mm.DataError, match="influence each other"):
        mapped(Centre())
    assert mapped(Stored(x))["leverage"].sum() > 0


def test_exact_multitask_processes_are_asked_too():
    gpytorch = pytest.importorskip("gpytorch")

    class Multi(gpytorch.models.ExactGP):
        def __init__(self, x, y, features):
            super().__init__(x, y, gpytorch.likelihoods.MultitaskGaussianLikelihood(num_tasks=2))
            self.features = features
            self.mean = gpytorch.means.MultitaskMean(gpytorch.means.ConstantMean(), num_tasks=2)
            self.kernel = gpytorch.kernels.MultitaskKernel(gpytorch.kernels.RBFKernel(), num_tasks=2, rank=1)

        def forward(self, x):
            z = self.features(x)
            return gpytorch.distributions.MultitaskMultivariateNormal(self.mean(z), self.kernel(z))

    x, y = data()
    y = torch.stack([y, 1 - y], 1).double()
    with pytest.raises(mm.DataError, match="influence each other"):
        mm.memory_map(Multi(x, y, Centre()).double(), x, y)
    assert mm.memory_map(Multi(x, y, Stored(x)).double(), x, y)["leverage"].sum() > 0
