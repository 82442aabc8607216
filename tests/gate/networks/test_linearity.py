"""Networks that are linear in the covered parameters, and networks of one layer that are not."""

from __future__ import annotations

import numpy as np
import pytest

import memorymaps as mm
from memorymaps.maps.trust import Level
from memorymaps.posteriors.approximation import Approximation

torch = pytest.importorskip("torch")
nn = torch.nn

N, D = 40, 3


class Twice(nn.Module):
    """One layer, called twice."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(D, D)

    def forward(self, x):
        return self.layer(self.layer(x))[:, :1]


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.LSTM(D, 1, batch_first=True)

    def forward(self, x):
        return self.layer(x[:, None])[0][:, 0]


def one_layer():
    return nn.Linear(D, 1)


def normed():
    return nn.utils.parametrizations.weight_norm(nn.Linear(D, 1))


def frozen_head():
    net = nn.Sequential(nn.Linear(D, 4), nn.ReLU(), nn.Linear(4, 1))
    net[2].requires_grad_(False)
    return net


def frozen_body():
    net = nn.Sequential(nn.Linear(D, 4), nn.ReLU(), nn.Linear(4, 1))
    net[0].requires_grad_(False)
    return net


def examples(seed=0):
    random = np.random.default_rng(seed)
    x = random.normal(size=(N, D))
    y = x @ [1.0, -0.5, 0.2] + 0.3 * random.normal(size=N)
    return torch.tensor(x), torch.tensor(y)[:, None]


def fitted(net, x, y, prior=1.0):
    """At the minimum of `Σ(y − f)²/2 + δ‖θ‖²/2`, over the parameters that require a gradient."""
    trained = [p for p in net.parameters() if p.requires_grad]
    options = {"max_iter": 500, "tolerance_grad": 1e-10, "tolerance_change": 1e-16, "line_search_fn": "strong_wolfe"}
    optimizer = torch.optim.LBFGS(trained, history_size=30, **options)

    def closure():
        optimizer.zero_grad()
        loss = (net(x) - y).square().sum() / 2 + prior / 2 * sum(p.square().sum() for p in trained)
        loss.backward()
        return loss

    for _ in range(3):
        optimizer.step(closure)
    return net


def mapped(net, x, y, likelihood="gaussian", **recipe):
    recipe = mm.Laplace("full", prior=1.0, **recipe)
    return mm.memory_map(net, x, y, likelihood=likelihood, posterior=recipe, progress=False)


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Sequential(nn.Linear(D, 1), nn.Tanh()),
        lambda: nn.Sequential(nn.Linear(D, 2), nn.ReLU()),
        Twice,
        Recurrent,
        normed,
        frozen_head,
    ],
)
def test_one_layer_that_is_not_linear_is_no_exact_kind(make):
    torch.manual_seed(0)
    x, y = examples()
    net = make().double()
    d = mapped(net, x, y.expand(-1, net(x).shape[1])).provenance.description
    assert d.approximation == Approximation.EXACT_CURVATURE
    assert d.nonlinear


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("make", [one_layer, frozen_body, lambda: nn.Sequential(one_layer(), nn.Flatten())])
def test_one_linear_layer_is_exact(make, dtype):
    torch.manual_seed(0)
    x, y = examples()
    net = fitted(make().to(dtype), x.to(dtype), y.to(dtype))
    d = mapped(net, x.to(dtype), y.to(dtype)).provenance.description
    assert d.approximation == Approximation.EXACT
    assert not d.nonlinear


def test_raw_columns_and_zero_weights_are_linear_all_the_same():
    x, y = examples()
    net = nn.Linear(D, 1)
    nn.init.zeros_(net.weight)
    scaled = (1e4 + 1e3 * x).float()
    assert not mapped(net, scaled, y.float()).provenance.description.nonlinear


def test_linear_classifiers_are_one_step():
    x, y = examples()
    m = mapped(nn.Linear(D, 2).double(), x, (y[:, 0] > 0).long(), "categorical")
    assert m.provenance.description.approximation == Approximation.ONE_STEP


def test_a_trained_head_on_a_frozen_body_is_refitted_exactly():
    torch.manual_seed(0)
    x, y = examples()
    net = fitted(frozen_body().double(), x, y)
    m = mapped(net, x, y)
    before = net(x).detach().numpy()
    for row in (0, 7):
        kept = np.delete(np.arange(N), row)
        torch.manual_seed(0)
        other = frozen_body().double()
        other.load_state_dict(net.state_dict())
        fitted(other, x[kept], y[kept])
        change = abs(other(x).detach().numpy() - before)[row, 0]
        assert m["sensitivity"][row] == pytest.approx(change, rel=1e-5)
    assert m.trust["sensitivity"].level == Level.EXACT
    assert "held as in the fit: 16 frozen parameters" in str(m.trust["sensitivity"])


def test_maps_of_an_optimisers_state_name_what_is_frozen():
    torch.manual_seed(0)
    x, y = examples()
    net = frozen_body().double()
    optimizer = torch.optim.Adam([p for p in net.parameters() if p.requires_grad])
    for _ in range(3):
        optimizer.zero_grad()
        (net(x) - y).square().mean().backward()
        optimizer.step()
    recipe = mm.FromOptimizer(optimizer, N, prior=1.0)
    m = mm.memory_map(net, x, y, likelihood="gaussian", posterior=recipe)
    assert "held as in the fit: 16 frozen parameters" in m.trust["sensitivity"].reasons


def test_a_subset_of_the_trained_parameters_has_a_leverage_of_its_own():
    torch.manual_seed(0)
    x, y = examples()
    net = fitted(nn.Sequential(nn.Linear(D, 4), nn.Tanh(), nn.Linear(4, 1)).double(), x, y)
    last, every = mapped(net, x, y, subset="last_layer"), mapped(net, x, y)
    assert last["leverage"].sum() < 0.7 * every["leverage"].sum()
    assert last.trust["leverage"].level == Level.RANKS
    assert "frozen" not in str(last.trust)
    assert "not covered" not in str(every.trust)
    words = f"held as in the fit: {4 * D + 4} trained parameters not covered"
    assert last.leave_out({"some": [0, 1, 2]}).held == words
    for figure in ("sensitivity", "loo_loss", "groups"):
        assert words in last.trust[figure].reasons
