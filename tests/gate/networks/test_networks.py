"""What a network's map rests on is checked: independent outputs, gradients, scale, wrappers; every remedy is run."""

from __future__ import annotations

import copy
import functools

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

import memorymaps as mm
from memorymaps.core.likelihoods.categorical import Categorical
from memorymaps.nets import ensemble

N = 24
STRUCTURES = ("full", "kfac", "diag")


def data(dtype=torch.float64):
    torch.manual_seed(0)
    x = torch.randn(N, 4, dtype=dtype)
    return x, (x[:, 0] + 0.5 * x[:, 1] > 0).long() + (x[:, 2] > 1).long()


def mapped(net, x, y, structure="full", likelihood="categorical", prior=1.0, **options):
    recipe = mm.Laplace(structure, prior=prior, **options)
    return mm.memory_map(net, x, y, likelihood=likelihood, posterior=recipe)


class Body(nn.Module):
    """Two layers; subclasses make examples influence each other in different places."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.a, self.b = nn.Linear(4, 6).double(), nn.Linear(6, 3).double()

    def forward(self, x):
        return self.b(torch.tanh(self.a(x)))


class Centred(Body):
    def forward(self, x):
        f = super().forward(x)
        return f - f.mean(0)


class Attends(Body):
    def forward(self, x):
        h = torch.tanh(self.a(x))
        return self.b(h + torch.softmax(h @ h.T, 1) @ h)


class LearnsStatistics(Body):
    """BatchNorm that insists on the batch's statistics, also in eval mode."""

    def forward(self, x):
        h = nn.functional.batch_norm(self.a(x), None, None, training=True)
        return self.b(torch.tanh(h))


class Cumulative(Body):
    def forward(self, x):
        return super().forward(x).cumsum(0)


class ByBatchSize(Body):
    def forward(self, x):
        return super().forward(x) * len(x)


class FirstRow(Body):
    def forward(self, x):
        f = super().forward(x)
        return f - 0.5 * f[:1]


class Detached(Body):
    def forward(self, x):
        return self.b(torch.tanh(self.a(x)).detach())


class Rounded(Body):
    def forward(self, x):
        return self.b((8 * torch.tanh(self.a(x))).round() / 8)


class NoGrad(Body):
    def forward(self, x):
        with torch.no_grad():
            h = torch.tanh(self.a(x))
        return self.b(h)


class Samples(Body):
    """A variational encoder that samples in eval mode, too."""

    def forward(self, x):
        mean = torch.tanh(self.a(x))
        return self.b(mean + 0.1 * torch.randn_like(mean))


class DropsAlways(Body):
    def forward(self, x):
        return self.b(nn.functional.dropout(torch.tanh(self.a(x)), 0.5, training=True))


@pytest.mark.slow
@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("kind", [Centred, Attends, LearnsStatistics, Cumulative, ByBatchSize, FirstRow])
def test_examples_that_influence_each_other_are_refused_and_the_remedy_works(kind, structure):
    x, y = data()
    net = kind()
    with pytest.raises(mm.DataError, match=r"influence each other.*forward=lambda net, x"):
        mapped(net, x, y, structure)
    m = mapped(net, x, y, structure, forward=Body.forward)
    np.testing.assert_allclose(m["leverage"], mapped(Body(), x, y, structure)["leverage"], rtol=1e-9)


@pytest.mark.parametrize("kind", [Samples, DropsAlways])
def test_random_outputs_are_told_from_influence_and_the_generator_stays(kind):
    (x, y), net = data(), kind()
    state = torch.get_rng_state()
    with pytest.raises(mm.DataError, match="output is random"):
        mapped(net, x, y)
    assert torch.equal(torch.get_rng_state(), state)
    assert len(mapped(kind(), x, y, forward=Body.forward)) == N


def test_one_example_alone_is_mapped():
    x, y = data()
    assert np.isfinite(mapped(Body(), x[:1], y[:1])["leverage"]).all()
    with pytest.raises(mm.DataError, match="influence each other"):
        mapped(ByBatchSize(), x[:1], y[:1])


def test_ensembles_are_asked_the_same():
    x, y = data()
    with pytest.raises(mm.DataError, match="influence each other"):
        mm.memory_map(ensemble([Centred(), Centred()], Categorical()), x, y)
    other = Centred()
    other.b.weight.data *= 1.1
    m = mm.memory_map(ensemble([Body(), other], Categorical(), forward=Body.forward), x, y)
    assert any("deep ensemble" in line for line in m.summary().warnings)


# --- gradients -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("kind", [Detached, Rounded, NoGrad])
def test_parameters_behind_a_blocked_gradient_are_refused_by_name_and_the_subset_works(kind, structure):
    x, y = data()
    with pytest.raises(ValueError, match=r"no gradient reaches 'a.weight', 'a.bias'.*subset=\['b.weight', 'b.bias'\]"):
        mapped(kind(), x, y, structure)
    m = mapped(kind(), x, y, structure, subset=["b.weight", "b.bias"])
    assert m["leverage"].sum() > 0
    net = kind()
    net.a.requires_grad_(False)
    np.testing.assert_allclose(mapped(net, x, y, structure)["leverage"], m["leverage"], rtol=1e-9)


def test_networks_of_zeros_have_gradients_elsewhere_and_are_mapped():
    x, y = data()
    net = Body()
    for parameter in net.parameters():
        torch.nn.init.zeros_(parameter)
    m = mapped(net, x, y)
    np.testing.assert_allclose(m["mean"], np.full_like(m["mean"], 1 / m["mean"].shape[1]))
    assert m["leverage"].sum() > 0


class Checkpointed(Body):
    """Activations computed again in the reverse pass; `reentrant` is torch's older way."""

    def __init__(self, reentrant, whole=False):
        super().__init__()
        self.reentrant, self.whole = reentrant, whole

    def forward(self, x):
        if self.whole:
            return checkpoint(super().forward, x, use_reentrant=self.reentrant)
        return self.b(checkpoint(lambda z: torch.tanh(self.a(z)), x, use_reentrant=self.reentrant))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("structure", STRUCTURES)
def test_reentrant_checkpoints_are_refused_and_the_other_kind_has_the_map_without(structure, whole):
    x, y = data()
    with pytest.raises(ValueError, match=r"no gradient reaches 'a.weight'.*checkpoint\(…, use_reentrant=False\)"):
        mapped(Checkpointed(True, whole), x, y, structure)
    m = mapped(Checkpointed(False, whole), x, y, structure)
    np.testing.assert_allclose(m["leverage"], mapped(Body(), x, y, structure)["leverage"], rtol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("structure", STRUCTURES)
def test_decorated_forwards_and_losses_are_those_they_wrap(structure):
    x, y = data()

    def logged(function):
        @functools.wraps(function)
        def call(*args, **kwargs):
            return function(*args, **kwargs)

        return call

    net, loss = (
        Body(),
        mm.Custom(
            logged(lambda f, y: nn.functional.cross_entropy(f, y.long(), reduction="none")),
            predict=lambda f: f.softmax(1),
        ),
    )
    net.forward = logged(net.forward)
    m = mapped(net, x, y, structure, likelihood=loss, forward=logged(lambda net, x: net(x)))
    np.testing.assert_allclose(m["leverage"], mapped(Body(), x, y, structure)["leverage"], rtol=1e-8)


@pytest.mark.filterwarnings("ignore")
def test_quantised_layers_are_refused_and_the_float_network_is_mapped():
    x, y = data(torch.float32)
    net = nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.Linear(8, 3))
    quantised = torch.ao.quantization.quantize_dynamic(copy.deepcopy(net), {nn.Linear}, dtype=torch.qint8)
    with pytest.raises(ValueError, match=r"'1.weight', '1.bias'.*int8.*map the one it was made from"):
        mapped(quantised, x, y)
    assert mapped(net, x, y, subset=["1"])["leverage"].sum() > 1


class Unused(Body):
    """A layer that is not called, and one multiplied by zero as LoRA's at the start."""

    def __init__(self):
        super().__init__()
        self.unused = nn.Linear(2, 2).double()
        self.down, self.up = nn.Linear(4, 2, bias=False).double(), nn.Linear(2, 6, bias=False).double()
        nn.init.zeros_(self.up.weight)

    def forward(self, x):
        return self.b(torch.tanh(self.a(x) + self.up(self.down(x))))


@pytest.mark.slow
@pytest.mark.parametrize("structure", STRUCTURES)
def test_parameters_that_change_nothing_are_mapped_and_said(structure):
    x, y = data()
    m = mapped(Unused(), x, y, structure)
    note = next(line for line in m.provenance.description.notes if "No output depends on" in line)
    assert "unused.weight, unused.bias:" in note
    alone = Unused()
    alone.unused.requires_grad_(False)
    np.testing.assert_allclose(m["leverage"], mapped(alone, x, y, structure)["leverage"], rtol=1e-8)


# --- scale of outputs ----------------------------------------------------------------------------------------------


def logits(c):
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, c)).double()


def test_softmax_outputs_are_refused_and_their_logarithms_are_the_logits():
    x, y = data()
    net = logits(3)
    bad = nn.Sequential(net, nn.Softmax(1))
    with pytest.raises(mm.DataError, match=r"probabilities.*torch\.log\(net\(x\)\)"):
        mapped(bad, x, y)
    m = mapped(bad, x, y, forward=lambda net, x: torch.log(net(x)))
    np.testing.assert_allclose(m["leverage"], mapped(net, x, y)["leverage"], rtol=1e-8)
    own = mm.Custom(
        lambda f, y: nn.functional.cross_entropy(f, y.long(), reduction="none"), predict=lambda f: f.softmax(1)
    )
    assert np.isfinite(mapped(bad, x, y, likelihood=own)["leverage"]).all()


class WrittenSigmoid(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return 1 / (1 + torch.exp(-self.net(x)))


def binary(seed=0, n=200):
    torch.manual_seed(seed)
    x = torch.randn(n, 4, dtype=torch.float64)
    return x, (torch.rand(n) < torch.sigmoid(2 * x[:, 0] - 1)).double()


def trained(net, loss, x, y):
    optimizer = torch.optim.LBFGS(net.parameters(), max_iter=100, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        value = loss(net(x)[:, 0], y) + 0.5 * sum((p**2).sum() for p in net.parameters()) / len(x)
        value.backward()
        return value

    optimizer.step(closure)
    return net


@pytest.mark.slow
@pytest.mark.parametrize("wrap", [lambda net: nn.Sequential(net, nn.Sigmoid()), WrittenSigmoid])
def test_sigmoid_outputs_are_refused_by_their_operation_or_their_loss(wrap):
    x, y = binary()
    net = logits(1)
    bad = trained(wrap(net), nn.functional.binary_cross_entropy, x, y)
    with pytest.raises(mm.DataError, match=r"probabilities.*torch\.logit\(net\(x\), eps=1e-6\)"):
        mapped(bad, x, y, likelihood="bernoulli")
    m = mapped(bad, x, y, likelihood="bernoulli", forward=lambda net, x: torch.logit(net(x), eps=1e-6))
    np.testing.assert_allclose(m["leverage"], mapped(net, x, y, likelihood="bernoulli")["leverage"], rtol=1e-4)


@pytest.mark.parametrize("rate", [0.6, 0.65])
def test_weak_logits_that_lie_between_0_and_1_are_mapped(rate):
    torch.manual_seed(3)
    x, y = 0.1 * torch.randn(300, 4, dtype=torch.float64), (torch.rand(300) < rate).double()
    net = trained(logits(1), nn.functional.binary_cross_entropy_with_logits, x, y)
    assert bool(((net(x) >= 0) & (net(x) <= 1)).all())
    assert np.isfinite(mapped(net, x, y, likelihood="bernoulli")["leverage"]).all()


@pytest.mark.parametrize("link", [torch.exp, nn.functional.softplus])
def test_rates_are_refused_where_log_rates_are_expected(link):
    class Rate(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = logits(1)

        def forward(self, x):
            return link(self.net(x)).squeeze(-1)

    x, _ = data()
    y = torch.poisson(torch.ones(N))
    with pytest.raises(mm.DataError, match=r"log rate.*torch\.log\(net\(x\)\)"):
        mapped(Rate(), x, y, likelihood="poisson")
    m = mapped(Rate(), x, y, likelihood="poisson", forward=lambda net, x: torch.log(net(x)))
    if link is torch.exp:
        np.testing.assert_allclose(m["leverage"], mapped(logits(1), x, y, likelihood="poisson")["leverage"], rtol=1e-9)


def test_variances_are_refused_where_their_logarithms_are_expected():
    class Pair(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = logits(2)

        def forward(self, x):
            f = self.net(x)
            return torch.stack([f[:, 0], nn.functional.softplus(f[:, 1])], 1)

    x, _ = data()
    y = torch.randn(N, dtype=torch.float64)
    with pytest.raises(mm.DataError, match=r"\(m, log σ²\).*torch\.stack"):
        mapped(Pair(), x, y, likelihood="heteroscedastic")
    m = mapped(
        Pair(), x, y, likelihood="heteroscedastic",
        forward=lambda net, x: torch.stack([net(x)[:, 0], net(x)[:, 1].log()], 1),
    )  # fmt: skip
    assert np.isfinite(m["leverage"]).all()


# --- finite --------------------------------------------------------------------------------------------------------


def test_parameters_that_are_not_finite_are_refused_by_name():
    x, y = data()
    net = Body()
    before = copy.deepcopy(net.state_dict())
    net.a.bias.data[2] = float("nan")
    with pytest.raises(mm.DataError, match=r"'a.bias' has 1 of 6 values.*load_state_dict"):
        mapped(net, x, y)
    net.load_state_dict(before)
    assert len(mapped(net, x, y)) == N


# --- wrappers ------------------------------------------------------------------------------------------------------


def averaged(net):
    found = torch.optim.swa_utils.AveragedModel(net)
    found.update_parameters(net)
    return found


class InnerCompiled(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.front, self.back = torch.compile(net[:2], backend="eager"), net[2]

    def forward(self, x):
        return self.back(self.front(x))


def compiled_in_place(net):
    net.compile(backend="eager")
    return net


WRAPPERS = {
    "compiled": lambda net: torch.compile(net, backend="eager"),
    "compiled twice": lambda net: torch.compile(nn.DataParallel(torch.compile(net, backend="eager")), backend="eager"),
    "data parallel": nn.DataParallel,
    "averaged": averaged,
    "a part compiled": InnerCompiled,
    "compiled in place": compiled_in_place,
}


@pytest.mark.slow
@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("name", WRAPPERS)
def test_wrapped_networks_have_the_map_of_the_network(name, structure):
    x, y = data()
    plain = mapped(logits(3), x, y, structure)
    net = WRAPPERS[name](logits(3))
    before = net(x)
    m = mapped(net, x, y, structure)
    np.testing.assert_allclose(m["leverage"], plain["leverage"], rtol=1e-9)
    np.testing.assert_allclose(m["deviation"], plain["deviation"], rtol=1e-8)
    assert m.provenance.description.posterior == plain.provenance.description.posterior
    torch.testing.assert_close(net(x), before)


def test_torchscript_is_refused_and_the_module_with_its_weights_is_mapped():
    x, y = data()
    scripted = torch.jit.script(logits(3))
    with pytest.raises(TypeError, match=r"TorchScript.*load_state_dict"):
        mapped(scripted, x, y)
    net = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)).double()
    net.load_state_dict(scripted.state_dict())
    np.testing.assert_allclose(mapped(net, x, y)["leverage"], mapped(logits(3), x, y)["leverage"], rtol=1e-12)


def test_a_fallback_is_in_the_posteriors_name():
    x, y = data()

    class Written(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.randn(4, 3, dtype=torch.float64))

        def forward(self, x):
            return x @ self.w

    for structure in ("kfac", "ekfac"):
        name = mapped(Written(), x, y, structure).provenance.description.posterior
        assert f"{structure} (diagonal for all 12 parameters)" in name
    mixed = nn.Sequential(nn.Linear(4, 6), nn.LayerNorm(6), nn.Linear(6, 3)).double()
    assert "kfac (diagonal for 12 of 63 parameters)" in mapped(mixed, x, y, "kfac").provenance.description.posterior
    assert mapped(Body(), x, y, "kfac").provenance.description.posterior == "Laplace, kfac, exact Gauss–Newton"


# --- cautions ------------------------------------------------------------------------------------------------------


def warned(m, words):
    return any(words in line for line in m.summary().warnings)


def test_partly_covered_networks_carry_a_caution():
    x, y = data()
    assert warned(mapped(Body(), x, y, subset="last_layer"), "only 21 of 51 trained parameters")
    frozen = Body()
    frozen.a.requires_grad_(False)  # fixed in training as well
    assert not warned(mapped(frozen, x, y), "trained parameters")
    assert not warned(mapped(Body(), x, y), "trained parameters")


def test_active_sets_chosen_among_equal_curvatures_carry_a_caution(tmp_path):
    x, _ = data()
    y = torch.randn(N, dtype=torch.float64)
    m = mapped(logits(1), x, y, "active_set", likelihood="gaussian", rows=5)
    assert warned(m, "arbitrary")
    m.save(tmp_path / "m.parquet")
    assert warned(mm.load(tmp_path / "m.parquet"), "arbitrary")
    assert not warned(mapped(logits(1), x, y, "active_set", likelihood="gaussian", rows=N), "arbitrary")
    x, y = data()
    assert not warned(mapped(logits(3), x, y, "active_set", rows=5), "arbitrary")


def test_the_full_hessian_carries_a_caution():
    x, y = data()
    m = mapped(nn.Linear(4, 3).double(), x, y, "hessian")
    assert warned(m, "structure='hessian'")
