"""Posteriors in the state of optimisers: hand-computed precisions, the dense definition with them, and refusals."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from networks import case, jacobian
from torch import nn

import memorymaps as mm
from memorymaps.nets.optimizers.state_precision import OptimizerStateError, precision_from_state

N = 20
MAKERS = {
    "adam": lambda p: torch.optim.Adam(p, lr=1e-2, weight_decay=0.01),
    "adam foreach": lambda p: torch.optim.Adam(p, lr=1e-2, weight_decay=0.01, foreach=True),
    "adam fused": lambda p: torch.optim.Adam(p, lr=1e-2, weight_decay=0.01, fused=True),
    "adam amsgrad": lambda p: torch.optim.Adam(p, lr=1e-2, weight_decay=0.01, amsgrad=True),
    "adamw": lambda p: torch.optim.AdamW(p, lr=1e-2, weight_decay=0.01),
    "nadam": lambda p: torch.optim.NAdam(p, lr=1e-2, weight_decay=0.01),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=1e-2, weight_decay=0.01, centered=True),
    "sgd": lambda p: torch.optim.SGD(p, lr=1e-2, weight_decay=0.01, momentum=0.9),
}


def trained(make, steps=5, loss="mean"):
    net, x, y = case("mlp", N)
    optimizer = make(net.parameters())
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), y, reduction=loss).backward()
        optimizer.step()
    return net, x, y, optimizer


def drawn(net, x, y, optimizer, **options):
    recipe = mm.FromOptimizer(optimizer, n=N, **options)
    return mm.memory_map(net, x, y, likelihood="categorical", posterior=recipe)


def test_adam_on_one_weight_computed_by_hand():
    w = nn.Parameter(torch.tensor([2.0], dtype=torch.float64))
    optimizer = torch.optim.Adam([w], lr=0.1, betas=(0.9, 0.99), eps=1.0, weight_decay=0.5)
    gradients, v = [], 0.0
    for slope in (3.0, -1.0):
        optimizer.zero_grad()
        (slope * w).sum().backward()
        gradients.append(slope + 0.5 * w.item())  # Adam's coupled decay enters the gradient
        optimizer.step()
        v = 0.99 * v + 0.01 * gradients[-1] ** 2
    expected = 50 * (np.sqrt(v / (1 - 0.99**2)) + 0.5)
    assert float(precision_from_state(optimizer, n=50).precision[id(w)]) == pytest.approx(expected, rel=1e-12)
    assert float(precision_from_state(optimizer, n=50, loss="sum").precision[id(w)]) == pytest.approx(
        expected / 50, rel=1e-12
    )


def test_rmsprop_and_sgd_on_one_weight_computed_by_hand():
    w = nn.Parameter(torch.tensor([2.0], dtype=torch.float64))
    for optimizer, expected in (
        (torch.optim.RMSprop([w], lr=0.0, alpha=0.9, weight_decay=0.5), 10 * (np.sqrt(0.1 * 16.0) + 0.5)),
        (torch.optim.SGD([w], lr=0.25, weight_decay=0.5), 10 * (4 + 0.5)),
    ):
        optimizer.zero_grad()
        (3.0 * w).sum().backward()
        w.grad = torch.tensor([3.0], dtype=torch.float64)
        optimizer.step()
        assert float(precision_from_state(optimizer, n=10).precision[id(w)]) == pytest.approx(expected, rel=1e-12)
        w.data.fill_(2.0)


@pytest.mark.slow
@pytest.mark.parametrize("name", MAKERS)
def test_maps_are_the_dense_computation_with_the_diagonal(name):
    net, x, y, optimizer = trained(MAKERS[name])
    m = drawn(net, x, y, optimizer)
    s = precision_from_state(optimizer, n=N).precision
    j = jacobian(net, x)
    z = torch.cat([(j[key] / s[id(value)].sqrt()).flatten(2) for key, value in net.named_parameters()], 2)
    v = torch.einsum("ncp,ndp->ncd", z, z).numpy()
    np.testing.assert_allclose(m.origin.posterior.marginals(x).variance, v, rtol=1e-9, atol=1e-14)
    p = net(x).softmax(1).detach().numpy()
    error = p - np.eye(3)[y]
    np.testing.assert_allclose(m["deviation"], np.einsum("ncd,nd->nc", v, error), rtol=1e-8, atol=1e-14)
    assert type(optimizer).__name__ in m.provenance.description.algorithm


def test_variants_of_adam_read_the_same():
    plain, *others = (trained(MAKERS[name]) for name in ("adam", "adam foreach", "adam fused"))
    expected = drawn(*plain)
    for other in others:
        np.testing.assert_allclose(drawn(*other)["leverage"], expected["leverage"], rtol=1e-8)


def test_a_capturable_state_reads_the_same():
    """On the device its step is a tensor that graphs advance; its precision does not depend on the device."""
    net, x, y, optimizer = trained(MAKERS["adam"])
    expected = drawn(net, x, y, optimizer)
    for group in optimizer.param_groups:
        group["capturable"] = True
    for state in optimizer.state.values():
        state["step"] = torch.as_tensor(state["step"], dtype=torch.float32).reshape(())
    np.testing.assert_array_equal(drawn(net, x, y, optimizer)["leverage"], expected["leverage"])


def test_groups_have_their_own_decay():
    def make(parameters):
        parameters = list(parameters)
        groups = [{"params": parameters[:2], "weight_decay": 1.0}, {"params": parameters[2:]}]
        return torch.optim.Adam(groups, lr=1e-2, weight_decay=0.1)

    _, _, _, optimizer = trained(make)
    for group, decay in zip(optimizer.param_groups, (1.0, 0.1), strict=True):
        for p in group["params"]:
            corrected = optimizer.state[p]["exp_avg_sq"] / (1 - 0.999**5)
            torch.testing.assert_close(
                precision_from_state(optimizer, N).precision[id(p)], N * (corrected.sqrt() + decay)
            )


def test_a_variational_optimiser_is_read_by_its_attributes():
    net, x, y = case("mlp", N)

    class Variational(torch.optim.Optimizer):
        """The attributes of IVON's state."""

        def __init__(self, parameters):
            super().__init__(parameters, {"ess": 50.0, "weight_decay": 0.2})
            for group in self.param_groups:
                count = sum(p.numel() for p in group["params"])
                group["hess"] = torch.linspace(0.1, 1, count, dtype=torch.float64)
            self.current_step = 7

    optimizer = Variational(net.parameters())
    m = drawn(net, x, y, optimizer)
    s = 50 * (torch.linspace(0.1, 1, sum(p.numel() for p in net.parameters()), dtype=torch.float64) + 0.2)
    j = torch.cat([each.flatten(2) for each in jacobian(net, x).values()], 2)
    np.testing.assert_allclose(
        m.origin.posterior.marginals(x).variance, torch.einsum("ncp,p,ndp->ncd", j, 1 / s, j), rtol=1e-9
    )
    assert m.provenance.description.algorithm == "Variational, step 7"


@pytest.mark.skipif(importlib.util.find_spec("ivon") is None, reason="ivon-opt is not installed (GPL, tests only)")
def test_ivon_itself_is_read():
    import ivon

    net, x, y = case("mlp", N)
    optimizer = ivon.IVON(net.parameters(), lr=0.1, ess=N, weight_decay=1e-3)
    for _ in range(3):
        with optimizer.sampled_params(train=True):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()
    assert drawn(net, x, y, optimizer).provenance.description.algorithm == "IVON, step 3"


def test_parameters_outside_the_optimiser_are_fixed():
    net, x, y, optimizer = trained(lambda p: torch.optim.Adam(list(p)[2:], lr=1e-2, weight_decay=0.1))
    lines = drawn(net, x, y, optimizer).provenance.description.coverage
    assert "held fixed: 0.weight (24), outside the subset" in lines


def test_resumed_state_reads_the_same():
    net, x, y, optimizer = trained(MAKERS["adam"])
    again = torch.optim.Adam(net.parameters(), lr=1e-2, weight_decay=0.01)
    again.load_state_dict(optimizer.state_dict())
    np.testing.assert_array_equal(drawn(net, x, y, again)["leverage"], drawn(net, x, y, optimizer)["leverage"])


# --- refusals ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["adam", "rmsprop"])
def test_an_optimiser_that_has_not_stepped_is_refused(name):
    with pytest.raises(OptimizerStateError, match="no step yet"):
        drawn(*trained(MAKERS[name], steps=0))


def test_optimisers_without_a_precision_are_refused():
    with pytest.raises(OptimizerStateError, match="expected exp_avg_sq"):
        drawn(*trained(lambda p: torch.optim.Rprop(p, lr=1e-3)))


def test_optimisers_that_need_a_closure_are_refused():
    net, x, y = case("mlp", N)
    optimizer = torch.optim.LBFGS(net.parameters())

    def closure():
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(x), y)
        loss.backward()
        return loss

    optimizer.step(closure)
    with pytest.raises(OptimizerStateError, match=r"closure \(LBFGS\) store none"):
        drawn(net, x, y, optimizer)


def test_accumulated_gradients_read_as_the_large_batch():
    """Two half-batches, each loss halved, are one step of the whole: the state and so the map are the same."""
    whole = trained(MAKERS["adam"], steps=1)
    net, x, y = case("mlp", N)
    optimizer = MAKERS["adam"](net.parameters())
    for part in (slice(0, N // 2), slice(N // 2, N)):
        (nn.functional.cross_entropy(net(x[part]), y[part]) / 2).backward()
    optimizer.step()
    np.testing.assert_allclose(drawn(net, x, y, optimizer)["leverage"], drawn(*whole)["leverage"], rtol=1e-9)


def test_scaled_gradients_are_unscaled_before_the_optimiser_step():
    """As `GradScaler` does: loss times `2¹⁰`, gradients divided by it again; the map itself is computed in float64."""
    net, x, y = case("mlp", N)
    net, x = net.float(), x.float()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2, weight_decay=0.01)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = nn.functional.cross_entropy(net(x), y)
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()
    m = drawn(net, x, y, optimizer)
    assert m["leverage"].dtype == np.float64
    net, x, y, optimizer = trained(MAKERS["adam"], steps=1)
    np.testing.assert_allclose(m["leverage"], drawn(net, x, y, optimizer)["leverage"], rtol=0.2)


def test_another_networks_optimiser_is_refused():
    _, x, y, optimizer = trained(MAKERS["adam"])
    apart = case("mlp")[0]  # the same shapes, other weights
    for k, p in enumerate(apart.parameters()):
        nn.init.normal_(p, generator=torch.Generator().manual_seed(100 + k))
    with pytest.raises(OptimizerStateError, match="none of this network's"):
        drawn(apart, x, y, optimizer)


def test_weights_with_zero_precision_are_refused():
    net, x, y = case("tied", N)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    nn.functional.cross_entropy(net(x * 0), y).backward()
    for p in net.parameters():
        p.grad[0] = 0
    optimizer.step()
    with pytest.raises(OptimizerStateError, match="their precision is zero"):
        drawn(net, x, y, optimizer)
    held = drawn(net, x, y, optimizer, prior=2.0)
    assert "+ 2" in held.provenance.description.prior
    assert np.all(np.isfinite(held["leverage"]))


def test_a_diverged_state_is_refused():
    net, x, y, optimizer = trained(MAKERS["adam"])
    optimizer.state[next(net.parameters())]["exp_avg_sq"].fill_(float("nan"))
    with pytest.raises(OptimizerStateError, match="not finite"):
        drawn(net, x, y, optimizer)


@pytest.mark.parametrize("options", [{"n": 0}, {"n": None}, {"n": "a"}, {"n": 5, "loss": "median"}])
def test_wrong_numbers_are_refused(options):
    *_, optimizer = trained(MAKERS["adam"])
    with pytest.raises(ValueError, match="expected n ≥ 1"):
        precision_from_state(optimizer, **options)


def many_outputs(make=MAKERS["adam"], c=10):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 12), nn.Tanh(), nn.Linear(12, c)).double()
    x = 2 * torch.randn(60, 6, dtype=torch.float64)
    y = (x @ torch.randn(6, c, dtype=torch.float64)).argmax(1)
    optimizer = make(net.parameters())
    for _ in range(150):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()
    return net, x, y, optimizer


def map_along(net, x, y, optimizer, directions):
    recipe = mm.FromOptimizer(optimizer, n=len(x), directions=directions)
    return mm.memory_map(net, x, y, likelihood="categorical", posterior=recipe)


def test_along_directions_deviations_are_exact_and_leverages_close():
    case = many_outputs()
    whole, few, almost = (map_along(*case, directions) for directions in (0, 1, 7))
    for column in ("deviation", "sensitivity", "loo_loss", "memorization"):
        np.testing.assert_allclose(few[column], whole[column], rtol=1e-8, atol=1e-12)
    assert "leverage_norm" not in list(few)
    assert np.median(np.abs(few["leverage"] / whole["leverage"] - 1)) < 0.1
    assert np.median(np.abs(almost["leverage"] / whole["leverage"] - 1)) < 0.002
    np.testing.assert_allclose(few["leverage"].sum(), whole["leverage"].sum(), rtol=0.05)


def test_directions_that_need_as_many_passes_are_not_used():
    case = many_outputs(c=4)
    np.testing.assert_array_equal(map_along(*case, 2)["leverage_norm"], map_along(*case, 0)["leverage_norm"])
