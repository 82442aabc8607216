"""The tangent kernel is the inner product of the outputs' gradients, and ranks wrong labels of networks."""

import numpy as np
import pytest
import torch
from torch import nn

import memorymaps as mm
from memorymaps.posteriors.capabilities import capabilities_of

NETS = {
    "dense": lambda: nn.Sequential(nn.Linear(16, 5), nn.Tanh(), nn.Linear(5, 3)),
    "convolution": lambda: nn.Sequential(
        nn.Unflatten(1, (1, 4, 4)), nn.Conv2d(1, 2, 3), nn.Tanh(), nn.Flatten(), nn.Linear(8, 3)
    ),
    "norm": lambda: nn.Sequential(nn.Linear(16, 4, bias=False), nn.LayerNorm(4), nn.Tanh(), nn.Linear(4, 3)),
}


def trained(make, x, y):
    torch.manual_seed(0)
    net = make()
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01, weight_decay=1e-3)
    for _ in range(150):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()
    return net


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 90)
    x = 2 * np.eye(3)[y] @ rng.normal(size=(3, 16)) + rng.normal(size=(90, 16))
    changed = np.arange(0, 90, 9)
    noisy = y.copy()
    noisy[changed] = (y[changed] + 1) % 3
    return torch.tensor(x, dtype=torch.float32), torch.tensor(noisy), changed


@pytest.mark.parametrize("name", NETS)
@pytest.mark.filterwarnings("ignore")
def test_the_kernel_is_that_of_the_jacobians(data, name):
    x, y, changed = data
    net = trained(NETS[name], x, y)
    m = mm.memory_map(net, x, y, likelihood="categorical", posterior=mm.Laplace("ekfac", prior=0.1))
    values = dict(net.named_parameters())
    jacobians = torch.func.vmap(
        torch.func.jacrev(lambda v, one: torch.func.functional_call(net, v, one[None])[0]), (None, 0)
    )(values, x)
    flat = torch.cat([j.detach().flatten(2) for j in jacobians.values()], dim=2).double().flatten(1)
    gram = (flat @ flat.T).numpy()
    kernel = capabilities_of(m.origin.posterior).kernel
    np.testing.assert_allclose(kernel.gram(x), gram / gram.diagonal().mean(), rtol=1e-4, atol=1e-5)
    found = mm.label_issues(m)
    assert found.ranked_by == "mean of left-out loss and margin, of least squares with the model's kernel"
    assert np.isin(found["id"][:10], changed).mean() >= 0.8
    np.testing.assert_array_equal(found["given"], y[found["id"].tolist()])


@pytest.mark.filterwarnings("ignore")
def test_one_output_has_two_classes(data):
    x, y, _ = data
    bits = (y > 0).float()
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(16, 4), nn.Tanh(), nn.Linear(4, 1))
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    for _ in range(100):
        optimizer.zero_grad()
        nn.functional.binary_cross_entropy_with_logits(net(x)[:, 0], bits).backward()
        optimizer.step()
    m = mm.memory_map(net, x, bits, likelihood="bernoulli", posterior=mm.Laplace("ekfac", prior=1e-3))
    found = mm.label_issues(m)
    assert set(found["suggested"].tolist()) <= {0, 1}
    assert found["score"][0] > 0 > found["score"][-1]
