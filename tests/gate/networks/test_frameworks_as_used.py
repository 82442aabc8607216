"""Networks and optimisers as frameworks leave them: copies, wrappers, modes, kinds of batches."""

from __future__ import annotations

import copy

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from torch import nn
from torch.nn import functional

import memorymaps as mm
from memorymaps.data.examples import DataError
from memorymaps.nets.data.datasets import LoaderExamples
from memorymaps.nets.optimizers.state_precision import OptimizerStateError

N = 30
torch.manual_seed(0)
X, Y = torch.randn(N, 4, dtype=torch.float64), torch.arange(N) % 3


def network(hidden=5):
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(4, hidden), nn.Tanh(), nn.Linear(hidden, 3)).double()


def step(net, optimizer):
    optimizer.zero_grad()
    functional.cross_entropy(net(X), Y).backward()
    optimizer.step()


def trained(parameters=lambda net: net.parameters()):
    net = network()
    optimizer = torch.optim.AdamW(parameters(net), lr=0.01, weight_decay=0.01)
    for _ in range(5):
        step(net, optimizer)
    return net, optimizer


def drawn(net, posterior, x=X, y=Y):
    return mm.memory_map(net, x, y, likelihood="categorical", posterior=posterior)


def diagonal(prior=1.0):
    return mm.Laplace("diag", prior=prior)


def averaged(net):
    found = torch.optim.swa_utils.AveragedModel(net)
    found.update_parameters(net)
    return found


def reloaded(net):
    found = network()
    found.load_state_dict(net.state_dict())
    return found


def decayed_groups(net):
    """Weights and biases apart, as most training scripts have them: the order differs from the network's."""
    named = list(net.named_parameters())
    return [
        {"params": [(name, p) for name, p in named if p.ndim > 1]},
        {"params": [(name, p) for name, p in named if p.ndim == 1]},
    ]


@pytest.mark.slow
@pytest.mark.parametrize("copied", [averaged, reloaded, copy.deepcopy])
@pytest.mark.parametrize("parameters", [nn.Module.parameters, nn.Module.named_parameters, decayed_groups])
def test_copies_of_a_network_are_matched_to_the_optimisers_parameters(copied, parameters):
    try:
        net, optimizer = trained(parameters)
    except TypeError:
        pytest.skip("this torch has no optimisers of named parameters")
    other = copied(net)
    for recipe in (mm.FromOptimizer(optimizer, n=N), diagonal(mm.prior_from(optimizer, N))):
        own, found = drawn(net, recipe), drawn(other, recipe)
        np.testing.assert_allclose(found["leverage"], own["leverage"], rtol=1e-12)
        words = " ".join((*found.provenance.description.notes, found.provenance.description.prior))
        assert "matched by name" in words or "matched by order and shape" in words
        assert "matched" not in " ".join((*own.provenance.description.notes, own.provenance.description.prior))


def test_parameters_of_wrapped_networks_have_the_names_of_the_network():
    net, optimizer = trained()
    group = optimizer.param_groups[0]
    group["param_names"] = [f"module.{name}" for name, _ in net.named_parameters()]
    own, found = (drawn(each, mm.FromOptimizer(optimizer, n=N)) for each in (net, copy.deepcopy(net)))
    np.testing.assert_allclose(found["leverage"], own["leverage"], rtol=1e-12)
    assert any("by name" in note for note in found.provenance.description.notes)


def test_a_copy_that_cannot_be_matched_is_refused_and_the_remedy_works():
    plain = lambda net: [{"params": [p for p in net.parameters() if (p.ndim > 1) == big]} for big in (True, False)]  # noqa: E731
    net, optimizer = trained(plain)
    for recipe, error in (
        (mm.FromOptimizer(optimizer, n=N), OptimizerStateError),
        (diagonal(mm.prior_from(optimizer, N)), ValueError),
    ):
        with pytest.raises(error, match="named_parameters"):
            drawn(copy.deepcopy(net), recipe)
    torch.manual_seed(5)
    apart = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double()
    for other in (network(7), apart):
        with pytest.raises(OptimizerStateError, match="pass the one it is trained with"):
            drawn(other, mm.FromOptimizer(trained()[1], n=N))


class Normed(nn.Module):
    """Gains of norms are ones in every network, and most of its length where weights are small."""

    def __init__(self, seed):
        super().__init__()
        torch.manual_seed(seed)
        self.layers = nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.Tanh(), nn.LayerNorm(8), nn.Linear(8, 3))
        for p in self.parameters():
            if p.ndim > 1:
                nn.init.normal_(p, std=0.02)
        self.double()

    def forward(self, x):
        return self.layers(x)


def test_networks_that_have_only_the_gains_of_norms_in_common_are_no_copies():
    net, other = Normed(0), Normed(1)
    a, b = (torch.cat([p.detach().flatten() for p in each.parameters()]) for each in (net, other))
    assert a @ b > 0.9 * a.norm() * b.norm()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3, weight_decay=0.01)
    step(net, optimizer)
    assert len(drawn(copy.deepcopy(net), mm.FromOptimizer(optimizer, n=N))) == N
    with pytest.raises(OptimizerStateError, match="pass the one it is trained with"):
        drawn(other, mm.FromOptimizer(optimizer, n=N))


def test_a_copy_of_vectors_only_is_matched():
    net = network()
    for p in net.parameters():
        p.requires_grad_(p.ndim < 2)
    with torch.no_grad():
        net[0].bias.add_(1)
    optimizer = torch.optim.Adam([p for p in net.parameters() if p.requires_grad], lr=1e-3, weight_decay=0.01)
    step(net, optimizer)
    m = drawn(copy.deepcopy(net), mm.FromOptimizer(optimizer, n=N))
    np.testing.assert_array_equal(m["leverage"], drawn(net, mm.FromOptimizer(optimizer, n=N))["leverage"])


class SharpnessAware(torch.optim.Optimizer):
    """SAM around another optimiser, as its authors' repository has it."""

    def __init__(self, parameters, base, **options):
        super().__init__(parameters, {"rho": 0.05, **options})
        self.base_optimizer = base(self.param_groups, **options)
        self.param_groups = self.base_optimizer.param_groups

    @torch.no_grad()
    def step(self, closure=None):
        norm = torch.stack([p.grad.norm() for group in self.param_groups for p in group["params"]]).norm()
        moves = [(p, 0.05 * p.grad / norm) for group in self.param_groups for p in group["params"]]
        for p, move in moves:
            p.add_(move)
        torch.enable_grad()(closure)()
        for p, move in moves:
            p.sub_(move)
        self.base_optimizer.step()


@pytest.mark.slow
@pytest.mark.parametrize("base", [torch.optim.SGD, torch.optim.AdamW])
def test_sharpness_aware_optimisers_are_their_base_optimiser(base):
    net = network()
    optimizer = SharpnessAware(net.parameters(), base, lr=0.01, weight_decay=0.01)

    def closure():
        optimizer.zero_grad()
        loss = functional.cross_entropy(net(X), Y)
        loss.backward()
        return loss

    for _ in range(3):
        closure()
        optimizer.step(closure)
    for of in (lambda o: mm.FromOptimizer(o, n=N), lambda o: diagonal(mm.prior_from(o, N))):
        np.testing.assert_array_equal(
            drawn(net, of(optimizer))["leverage"], drawn(net, of(optimizer.base_optimizer))["leverage"]
        )


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.RMSprop])
def test_a_learning_rate_of_zero_changes_nothing(kind):
    net = network()
    optimizer = kind(net.parameters(), lr=0.01, weight_decay=0.01)
    step(net, optimizer)
    before = drawn(net, mm.FromOptimizer(optimizer, n=N))["leverage"]
    optimizer.param_groups[0]["lr"] = 0.0
    np.testing.assert_array_equal(drawn(net, mm.FromOptimizer(optimizer, n=N))["leverage"], before)


def test_sgd_at_a_learning_rate_of_zero_is_refused_and_the_remedy_works():
    net = network()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, weight_decay=0.01)
    step(net, optimizer)
    before = drawn(net, mm.FromOptimizer(optimizer, n=N))["leverage"]
    optimizer.param_groups[0]["lr"] = 0.0
    with pytest.raises(OptimizerStateError, match=r"param_groups\[0\]\['lr'\] = "):
        drawn(net, mm.FromOptimizer(optimizer, n=N))
    optimizer.param_groups[0]["lr"] = 0.01
    np.testing.assert_array_equal(drawn(net, mm.FromOptimizer(optimizer, n=N))["leverage"], before)


@pytest.mark.skipif(not hasattr(torch.optim, "Adafactor"), reason="torch before 2.5")
def test_adafactor_is_refused_by_name():
    net = network()
    optimizer = torch.optim.Adafactor(net.parameters(), weight_decay=0.01)
    step(net, optimizer)
    with pytest.raises(OptimizerStateError, match=r"Adafactor contains no known precision.*posterior=Laplace"):
        drawn(net, mm.FromOptimizer(optimizer, n=N))


# --- modes ---------------------------------------------------------------------------------------------------------


def test_inference_mode_is_refused_and_no_grad_is_not():
    net, want = network(), drawn(network(), diagonal())["leverage"]
    with torch.inference_mode(), pytest.raises(TypeError, match="outside of that block"):
        drawn(net, diagonal())
    with torch.no_grad():
        np.testing.assert_array_equal(drawn(net, diagonal())["leverage"], want)
    with torch.inference_mode():
        inputs, made = X + 0.0, network()
    np.testing.assert_array_equal(drawn(net, diagonal(), inputs)["leverage"], want)
    with pytest.raises(TypeError, match="load_state_dict"):
        drawn(made, diagonal())
    net.load_state_dict(made.state_dict())
    np.testing.assert_array_equal(drawn(net, diagonal())["leverage"], want)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_scripted_part_is_named_and_the_remedy_works():
    net = network()
    scripted = nn.Sequential(torch.jit.script(net[0]), net[1], net[2])
    with pytest.raises(TypeError, match=r"'0' is a TorchScript module.*load_state_dict"):
        drawn(scripted, diagonal())
    other = network()
    other.load_state_dict(scripted.state_dict())
    np.testing.assert_array_equal(drawn(other, diagonal())["leverage"], drawn(net, diagonal())["leverage"])


@pytest.mark.slow
def test_an_exported_program_is_refused_and_the_remedy_works():
    net = network()
    exported = torch.export.export(net, (X,)).module()
    with pytest.raises(TypeError, match=r"exported program.*load_state_dict"):
        drawn(exported, diagonal())
    other = network(5)
    other.load_state_dict(exported.state_dict())
    np.testing.assert_array_equal(drawn(other, diagonal())["leverage"], drawn(net, diagonal())["leverage"])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::UserWarning")  # of torch.ao, which has moved to torchao
@pytest.mark.filterwarnings("ignore::memorymaps.nets.VmapFallbackWarning")  # fused observers take no vmap
def test_fake_quantisation_that_adapts_is_refused_and_the_remedy_works():
    quantization = torch.ao.quantization
    net = nn.Sequential(quantization.QuantStub(), *network().float(), quantization.DeQuantStub()).train()
    net.qconfig = quantization.get_default_qat_qconfig("fbgemm")
    net = quantization.prepare_qat(net)
    net(X.float())
    state = {name: value.clone() for name, value in net.state_dict().items()}
    with pytest.raises(TypeError, match=r"adapts its range.*disable_observer"):
        drawn(net, diagonal(), X.float())
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())
    net.apply(quantization.disable_observer)
    assert np.isfinite(drawn(net, diagonal(), X.float())["leverage"]).all()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_quantised_networks_are_refused_in_words():
    quantised = torch.ao.quantization.quantize_dynamic(network().float(), {nn.Linear}, dtype=torch.qint8)
    with pytest.raises(ValueError, match=r"Quantised .* layers have none: pass the network it was made from"):
        drawn(quantised, diagonal(), X.float())


def test_parameters_without_numbers_are_refused_and_the_remedy_works():
    net, state = network().to("meta"), network().state_dict()
    with pytest.raises(TypeError, match=r"to_empty\(device='cpu'\), then net.load_state_dict"):
        drawn(net, diagonal())
    net.to_empty(device="cpu")
    net.load_state_dict(state)
    np.testing.assert_array_equal(drawn(net, diagonal())["leverage"], drawn(network(), diagonal())["leverage"])


class Spectral(nn.Module):
    """A filter in the frequencies, its weight complex or as pairs of real numbers."""

    def __init__(self, pairs):
        super().__init__()
        torch.manual_seed(2)
        weight = torch.randn(3, dtype=torch.complex128)
        self.weight = nn.Parameter(torch.view_as_real(weight) if pairs else weight)
        self.head = nn.Linear(4, 3, dtype=torch.float64)

    def forward(self, x):
        weight = self.weight if self.weight.is_complex() else torch.view_as_complex(self.weight)
        return self.head(torch.fft.irfft(torch.fft.rfft(x) * weight, n=4))


def test_complex_parameters_are_refused_and_the_remedy_works():
    with pytest.raises(TypeError, match=r"'weight' is complex.*view_as_real\(weight\)"):
        drawn(Spectral(pairs=False), diagonal())
    net = Spectral(pairs=True)
    m = drawn(net, mm.Laplace("full", prior=1.0))
    jacobian = torch.stack([
        torch.cat([g.flatten() for g in torch.autograd.grad(f, list(net.parameters()), retain_graph=True)])
        for f in net(X).flatten()
    ]).reshape(N, 3, -1)  # fmt: skip
    p = net(X).softmax(1).detach()
    curvature = torch.diag_embed(p) - p[:, :, None] * p[:, None]
    precision = torch.einsum("ncp,ncd,ndq->pq", jacobian, curvature, jacobian) + torch.eye(jacobian.shape[2])
    variance = jacobian @ torch.linalg.inv(precision) @ jacobian.mT
    want = torch.einsum("ncd,ndc->n", curvature, variance)
    np.testing.assert_allclose(m["leverage"], want.numpy(), rtol=1e-8)


def test_a_frozen_network_is_refused_and_the_remedy_works():
    net = network().requires_grad_(False)
    with pytest.raises(ValueError, match=r"none requires a gradient. For the map, net.requires_grad_\(True\)"):
        drawn(net, diagonal())
    assert len(drawn(net.requires_grad_(True), diagonal())) == N


class Graphs:
    """A batch of graphs: nodes one after another."""

    num_graphs = 3

    def __init__(self):
        self.x, self.batch, self.y = torch.randn(9, 4), torch.arange(9) // 3, torch.arange(3)


@pytest.mark.parametrize("data", [[Graphs()], [(Graphs(), torch.arange(3))]])
def test_batches_of_graphs_are_refused_in_words(data):
    with pytest.raises(DataError, match=r"batch of graphs.*to_dense_batch"):
        mm.memory_map(network(), data, likelihood="categorical", posterior=diagonal())


# --- how batches are made ------------------------------------------------------------------------------------------


class Bag(nn.Module):
    """The mean of embeddings, padding left out."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(2)
        self.tokens, self.out = nn.Embedding(12, 4).double(), nn.Linear(4, 3).double()

    def forward(self, tokens, mask):
        mask = mask[:, :, None]
        return self.out((self.tokens(tokens) * mask).sum(1) / mask.sum(1))


ROWS = [{"tokens": [k % 12] * (1 + k % 4), "label": k % 3} for k in range(N)]


def padded(rows):
    longest = max(len(row["tokens"]) for row in rows)
    tokens = torch.tensor([row["tokens"] + [0] * (longest - len(row["tokens"])) for row in rows])
    mask = torch.tensor([[1.0] * len(row["tokens"]) + [0.0] * (longest - len(row["tokens"])) for row in rows])
    return {"tokens": tokens, "mask": mask.double(), "labels": torch.tensor([row["label"] for row in rows])}


@pytest.mark.slow
def test_ragged_rows_are_put_together_by_the_users_collate_function():
    net = Bag()
    whole = padded(ROWS)
    want = mm.memory_map(net, whole, likelihood="categorical", posterior=diagonal())
    for size in (None, 1, 7):
        found = mm.memory_map(
            net, ROWS, collate=padded, batch_size=size, likelihood="categorical", posterior=diagonal()
        )
        np.testing.assert_allclose(found["leverage"], want["leverage"], rtol=1e-10)
    loader = torch.utils.data.DataLoader(ROWS, batch_size=5, collate_fn=padded, shuffle=True)
    found = mm.memory_map(net, loader, batch_size=4, likelihood="categorical", posterior=diagonal())
    np.testing.assert_allclose(found["leverage"], want["leverage"], rtol=1e-10)


def test_options_of_loading_are_refused_where_they_mean_nothing():
    from sklearn.linear_model import Ridge

    options = {"likelihood": "categorical", "posterior": diagonal()}
    with pytest.raises(ValueError, match="batch_size: for a network's data set"):
        mm.memory_map(network(), X, Y, batch_size=3, **options)
    with pytest.raises(ValueError, match="collate: for a network's data set"):
        mm.memory_map(network(), LoaderExamples([(X, Y)]), collate=padded, **options)
    with pytest.raises(ValueError, match="whose batches are made already"):
        mm.memory_map(network(), [(X, Y)], batch_size=3, **options)
    with pytest.raises(ValueError, match="expected at least 1"):
        mm.memory_map(network(), list(zip(X, Y, strict=True)), batch_size=0, **options)
    with pytest.raises(ValueError, match="batch_size"):
        mm.memory_map(Ridge().fit(X, Y), torch.utils.data.TensorDataset(X, Y), batch_size=3)


@pytest.mark.slow
def test_auto_takes_leading_directions_for_many_outputs_and_says_so():
    torch.manual_seed(0)
    outputs = 64
    net = nn.Sequential(nn.Linear(20, 70), nn.Tanh(), nn.Linear(70, outputs))
    x, y = torch.randn(700, 20), torch.arange(700) % outputs
    found, asked, exact = (drawn(net, mm.Laplace(prior=1.0, probes=0, fisher=kind), x, y)
                           for kind in (None, "leading", "exact"))  # fmt: skip
    assert "ekfac, leading Gauss–Newton" in found.provenance.description.posterior
    assert any("fisher='exact'" in note for note in found.provenance.description.notes)
    assert "exact Gauss–Newton" in exact.provenance.description.posterior
    np.testing.assert_allclose(found["leverage"], asked["leverage"], rtol=0.05)
    few = drawn(network(), mm.Laplace(prior=1.0))
    assert "exact Gauss–Newton" in few.provenance.description.posterior


@pytest.mark.parametrize("recipe", [diagonal(), mm.Laplace("full", prior=1.0)], ids=["diag", "full"])
def test_the_device_a_network_is_on_changes_nothing(recipe):
    net = network()
    there = mm.memory_map(net, X, Y, likelihood="categorical", posterior=recipe, device="cpu")
    assert there.table.equals(drawn(net, recipe).table)
    assert there.origin.posterior.network.module is net


@pytest.mark.slow
@pytest.mark.parametrize("device", ["gpu", "meta", 1.5, "cuda:99"])
def test_a_device_that_is_not_here_is_refused_and_the_remedy_works(device):
    options = {"likelihood": "categorical", "posterior": diagonal()}
    with pytest.raises(ValueError, match=r"expected a device of this machine's torch, such as device='cpu'"):
        mm.memory_map(network(), X, Y, device=device, **options)
    assert len(mm.memory_map(network(), X, Y, device="cpu", **options)) == N


def test_a_device_is_refused_for_models_that_are_no_networks_and_the_remedy_works():
    linear_model = pytest.importorskip("sklearn.linear_model")
    model = linear_model.Ridge().fit(X.numpy(), Y.numpy())
    with pytest.raises(ValueError, match=r"for networks, .* got Ridge: leave device= out"):
        mm.memory_map(model, X.numpy(), Y.numpy(), device="cpu")
    assert len(mm.memory_map(model, X.numpy(), Y.numpy())) == N


class Uncopied(nn.Sequential):
    """Keeps an open file, which cannot be copied."""

    def __init__(self, path):
        super().__init__(nn.Linear(4, 3, dtype=torch.float64), nn.Identity())
        self.file = path.open("w")


def test_a_network_that_cannot_be_copied_to_a_device_is_refused_and_the_remedy_works(tmp_path, monkeypatch):
    net, options = Uncopied(tmp_path / "log"), {"likelihood": "categorical", "posterior": diagonal()}
    monkeypatch.setattr("memorymaps.nets.other_device.device_named", lambda _: torch.device("cpu:7"))  # another
    monkeypatch.setattr("memorymaps.nets.other_device._tensor_on", lambda tensor, _: tensor.clone())
    with pytest.raises(ValueError, match=r"Uncopied cannot be copied \(TypeError: .*net.to\(device\)"):
        mm.memory_map(net, X, Y, device="other", **options)
    assert len(mm.memory_map(net.to("cpu"), X, Y, **options)) == N
    net.file.close()
