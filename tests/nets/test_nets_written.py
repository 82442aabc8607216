"""Decomposed recurrent layers and attention: the same numbers as torch's, and weights that are separate layers."""

from __future__ import annotations

import copy

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from networks import case
from test_nets import kronecker_variance
from test_nets_kinds import dense_leverage
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import memorymaps as mm
from memorymaps.nets.autograd.layers.decompositions import decomposed_layers
from memorymaps.nets.autograd.vmap_fallback import VmapFallbackWarning


def close(found, expected):
    assert (found is None) == (expected is None)
    if isinstance(expected, torch.Tensor):
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    elif expected is not None:
        for one, other in zip(found, expected, strict=True):
            close(one, other)


def same_as_torch(module, *args, **kwargs):
    module = module.double().eval()
    expected, before = (
        module(*args, **kwargs),
        set(vars(module)),
    )
    with decomposed_layers(module):
        assert "forward" in vars(module)
        with decomposed_layers(module):  # nested, as when one posterior evaluates another
            close(module(*args, **kwargs), expected)
        close(module(*args, **kwargs), expected)
    assert set(vars(module)) == before
    assert "in_proj" not in dict(module.named_modules())


RECURRENT = {
    "lstm": lambda: nn.LSTM(3, 4),
    "lstm, projected": lambda: nn.LSTM(3, 4, num_layers=2, proj_size=2, bidirectional=True),
    "gru": lambda: nn.GRU(3, 4, num_layers=2, batch_first=True),
    "gru, both ways, no bias": lambda: nn.GRU(3, 4, bidirectional=True, bias=False),
    "tanh": lambda: nn.RNN(3, 4, num_layers=2, bidirectional=True),
    "relu": lambda: nn.RNN(3, 4, nonlinearity="relu", batch_first=True),
}


@pytest.mark.parametrize("name", RECURRENT)
def test_decomposed_recurrence_equals_torchs(name):
    torch.manual_seed(0)
    module, x = RECURRENT[name](), torch.randn(5, 6, 3, dtype=torch.float64)
    same_as_torch(module, x)
    same_as_torch(module, x[0])  # a single sequence
    start = torch.randn_like(module(x)[1]) if "lstm" not in name else tuple(map(torch.randn_like, module(x)[1]))
    same_as_torch(module, x, start)


class Packed(nn.Module):
    """Sequences of several lengths; zeros are padding."""

    def __init__(self):
        super().__init__()
        self.layer, self.head = nn.GRU(2, 3, batch_first=True), nn.Linear(3, 3)

    def forward(self, x):
        lengths = (x[..., 0] != 0).sum(1).tolist()
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        return self.head(pad_packed_sequence(self.layer(packed)[0], batch_first=True)[0].sum(1))


@pytest.mark.slow
@pytest.mark.parametrize("directions", [0, 3])
def test_packed_sequences_are_evaluated_one_after_another(directions):
    torch.manual_seed(0)
    net, x, y = Packed().double(), torch.randn(7, 4, 2, dtype=torch.float64), torch.arange(7) % 3
    x[2:5, 2:] = 0
    recipe = mm.Laplace("full", prior=0.5, directions=directions)
    with pytest.warns(VmapFallbackWarning, match="the whole network.*one after another"):
        m = mm.memory_map(net, x, y, likelihood="categorical", posterior=recipe)
    np.testing.assert_allclose(m["leverage"], dense_leverage(net, x), rtol=1e-8)


# --- attention -------------------------------------------------------------------------------------------------------

T, S, N, E = 4, 5, 3, 6


def masks(batch):
    generator = torch.Generator().manual_seed(1)
    causal = torch.triu(torch.full((T, T), float("-inf"), dtype=torch.float64), diagonal=1)
    padding = torch.zeros(N, T, dtype=torch.bool)
    padding[1, 2:] = True
    return {
        "none": {},
        "causal": {"attn_mask": causal, "is_causal": True},
        "forbidden": {"attn_mask": causal.isinf()},
        "by head": {"attn_mask": torch.randn(2 * N, T, T, generator=generator, dtype=torch.float64)},
        "padding": {"key_padding_mask": padding},
        "added padding": {"key_padding_mask": torch.zeros(N, T).double().masked_fill(padding, float("-inf"))},
        "both": {"key_padding_mask": padding, "attn_mask": causal.isinf()},
    }[batch]


@pytest.mark.slow
@pytest.mark.parametrize("mask", ["none", "causal", "forbidden", "by head", "padding", "added padding", "both"])
@pytest.mark.parametrize("told", [{"need_weights": False}, {}, {"average_attn_weights": False}])
@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_decomposed_attention_equals_torchs(mask, told, batch_first, bias):
    torch.manual_seed(0)
    module = nn.MultiheadAttention(E, 2, batch_first=batch_first, bias=bias)
    x = torch.randn(*((N, T) if batch_first else (T, N)), E, dtype=torch.float64)
    same_as_torch(module, x, x, x, **masks(mask), **told)


@pytest.mark.parametrize("batch_first", [True, False])
def test_decomposed_cross_attention_equals_torchs(batch_first):
    torch.manual_seed(0)
    module = nn.MultiheadAttention(E, 3, batch_first=batch_first)
    shapes = ((N, T), (N, S), (N, S)) if batch_first else ((T, N), (S, N), (S, N))
    query, key, value = (torch.randn(*shape, E, dtype=torch.float64) for shape in shapes)
    same_as_torch(module, query, key, value)
    same_as_torch(module, query, key, key)
    same_as_torch(module, query[0], key[0], value[0])


class Spelled(nn.Module):
    """An encoder layer's attention implemented with two linear layers."""

    def __init__(self, attention: nn.MultiheadAttention):
        super().__init__()
        o, d = attention.in_proj_weight.shape
        self.heads, self.into, self.out = attention.num_heads, nn.Linear(d, o), nn.Linear(d, d)
        self.into.weight, self.into.bias = attention.in_proj_weight, attention.in_proj_bias
        self.out.load_state_dict(attention.out_proj.state_dict())

    def forward(self, x):
        q, k, v = (each.unflatten(2, (self.heads, -1)) for each in self.into(x).chunk(3, 2))
        weights = (torch.einsum("nthd,nshd->nhts", q, k) / q.shape[-1] ** 0.5).softmax(-1)
        return self.out(torch.einsum("nhts,nshd->nthd", weights, v).flatten(2))


class Attending(nn.Module):
    """An attention layer, given as a module, and a head."""

    def __init__(self, attend: nn.Module):
        super().__init__()
        self.attend, self.head = attend, nn.Linear(4, 3)

    def forward(self, x):
        return self.head(torch.tanh(self._attended(x)).mean(1))

    def _attended(self, x):
        if isinstance(self.attend, Spelled):
            return self.attend(x)
        y = x if self.attend.batch_first else x.transpose(0, 1)
        y = self.attend(y, y, y, need_weights=False)[0]
        return y if self.attend.batch_first else y.transpose(0, 1)


def attending(batch_first):
    torch.manual_seed(0)
    net = Attending(nn.MultiheadAttention(4, 2, batch_first=batch_first)).double()
    net.attend.in_proj_bias.data.normal_()
    spelled = copy.deepcopy(net)
    spelled.attend = Spelled(spelled.attend)
    return net, spelled.double(), torch.randn(9, 3, 4, dtype=torch.float64), torch.arange(9) % 3


@pytest.mark.slow
@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize(("structure", "reduce"), [("kfac", False), ("kfac", True), ("ekfac", False)])
def test_attention_under_kronecker_structures_is_that_of_its_projections(structure, reduce, batch_first):
    net, spelled, x, y = attending(batch_first)
    recipe = mm.Laplace(structure, prior=0.3, reduce=reduce)
    m = mm.memory_map(net, x, y, likelihood="categorical", posterior=recipe)
    expected = kronecker_variance(spelled, x, structure, reduce)
    np.testing.assert_allclose(m.origin.posterior.marginals(x).variance, expected, rtol=1e-8, atol=1e-10)
    assert "covered: attend.in_proj_weight, attend.in_proj_bias (12 × 5), " + structure in (
        m.provenance.description.coverage
    )


@pytest.mark.slow
@pytest.mark.parametrize("structure", ["full", "kfac", "dual"])
@pytest.mark.parametrize("layer", ["encoder", "decoder"])
def test_transformer_layers_are_made_of_matrices_and_norms(structure, layer):
    torch.manual_seed(0)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            kind = nn.TransformerEncoderLayer if layer == "encoder" else nn.TransformerDecoderLayer
            self.layer, self.head = kind(4, 2, 5, batch_first=True), nn.Linear(4, 3)

        def forward(self, x):
            mask = torch.triu(x.new_full((3, 3), float("-inf")), diagonal=1)
            if layer == "encoder":
                return self.head(self.layer(x, src_mask=mask).mean(1))
            return self.head(self.layer(x, x.flip(1) ** 2, tgt_mask=mask).mean(1))

    net, x, y = Net().double(), torch.randn(7, 3, 4, dtype=torch.float64), torch.arange(7) % 3
    m = mm.memory_map(net, x, y, likelihood="categorical", posterior=mm.Laplace(structure, prior=0.5))
    diagonal = [line for line in m.provenance.description.coverage if "diagonal" in line]
    assert all("norm" in line for line in diagonal)
    if structure != "kfac":
        np.testing.assert_allclose(m["leverage"], dense_leverage(net.eval(), x), rtol=1e-8)


@pytest.mark.parametrize("options", [{"kdim": 4, "vdim": 3}, {"add_bias_kv": True}, {"add_zero_attn": True}])
def test_other_attention_is_left_to_torch(options):
    torch.manual_seed(0)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.attend, self.head = nn.MultiheadAttention(4, 2, batch_first=True, **options), nn.Linear(4, 3)

        def forward(self, x):
            value = x[..., : self.attend.vdim]
            return self.head(self.attend(x, x, value, need_weights=False)[0].mean(1))

    net, x, y = Net().double(), torch.randn(7, 3, 4, dtype=torch.float64), torch.arange(7) % 3
    m = mm.memory_map(net, x, y, likelihood="categorical", posterior=mm.Laplace("full", prior=0.5))
    np.testing.assert_allclose(m["leverage"], dense_leverage(net.eval(), x), rtol=1e-8)


def test_a_network_is_restored():
    net, x, y = case("attention")
    before, state = [name for name, _ in net.named_modules()], list(net.state_dict())
    mm.memory_map(net, x, y, likelihood="categorical", posterior=mm.Laplace("kfac", prior=0.5))
    assert [name for name, _ in net.named_modules()] == before
    assert list(net.state_dict()) == state
