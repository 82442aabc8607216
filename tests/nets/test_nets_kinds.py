"""Networks as libraries make them: tied language models, adapters, mixed precision, other memory layouts."""

from __future__ import annotations

import copy
import warnings

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from networks import case, jacobian
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import memorymaps as mm
from memorymaps.nets.autograd.batch_size import OutOfMemoryWarning
from memorymaps.nets.autograd.vmap_fallback import VmapFallbackWarning

COLUMNS = ("leverage", "error", "sensitivity", "loo_loss")


def drawn(net, data, target=None, structure="full", **options):
    recipe = mm.Laplace(structure, prior=0.5, **options)
    return mm.memory_map(net, data, target, likelihood="categorical", posterior=recipe)


def dense_leverage(net, x, delta=0.5):
    """`tr(ΛJS⁻¹Jᵀ)` from autograd's Jacobians of every parameter that is trained, one example at a time."""
    trained = [name for name, value in net.named_parameters() if value.requires_grad]
    net = copy.deepcopy(net).requires_grad_(True)
    j = {name: found for name, found in jacobian(net, x).items() if name in trained}
    j = torch.cat([found.reshape(*found.shape[:2], -1) for found in j.values()], 2)
    p = torch.stack([net(row[None])[0] for row in x]).softmax(1).detach()
    curvature = torch.diag_embed(p) - p[:, :, None] * p[:, None]
    precision = torch.einsum("nap,nab,nbq->pq", j, curvature, j) + delta * torch.eye(j.shape[2], dtype=j.dtype)
    variance = torch.einsum("nap,pq,nbq->nab", j, torch.linalg.inv(precision), j)
    return (curvature * variance).sum((1, 2)).numpy()


# --- language models -------------------------------------------------------------------------------------------------


class LastToken(nn.Module):
    """The prediction of the next token of a sequence."""

    def __init__(self, language: nn.Module):
        super().__init__()
        self.language = language

    def forward(self, tokens):
        return self.language(tokens).logits[:, -1]


@pytest.fixture(scope="module")
def gpt():
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    shape = transformers.GPT2Config(
        vocab_size=11, n_positions=6, n_embd=4, n_layer=2, n_head=2, attn_implementation="eager"
    )
    net = LastToken(transformers.GPT2LMHeadModel(shape)).double().eval()
    for value in net.parameters():
        value.data += 0.3 * torch.randn_like(value)  # at GPT-2's small initial weights all outputs are alike
    return net, torch.randint(0, 11, (9, 6)), torch.randint(0, 11, (9,))


@pytest.mark.slow
def test_a_tied_language_model_is_its_dense_gauss_newton_matrix(gpt):
    net, tokens, y = gpt
    assert net.language.lm_head.weight is net.language.transformer.wte.weight
    m = drawn(net, tokens, y)
    np.testing.assert_allclose(m["leverage"], dense_leverage(net, tokens), rtol=1e-8)
    covered = "\n".join(m.provenance.description.coverage)
    assert "wte.weight" in covered


@pytest.mark.slow
@pytest.mark.parametrize("structure", ["dual", "kfac", "diag"])
def test_a_tied_language_model_under_other_structures(gpt, structure):
    net, tokens, y = gpt
    m = drawn(net, tokens, y, structure)
    assert np.all(m["leverage"] > 0)
    if structure == "dual":
        np.testing.assert_allclose(m["leverage"], dense_leverage(net, tokens), rtol=1e-8)


class Padded(nn.Module):
    """A language model in its default settings, with a mask of padding tokens."""

    def __init__(self, language: nn.Module):
        super().__init__()
        self.language = language

    def forward(self, tokens):
        return self.language(input_ids=tokens, attention_mask=(tokens != 0).long()).logits


def padded(kind, **options):
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    shape = transformers.GPT2Config(
        vocab_size=11, n_positions=6, n_embd=4, n_layer=2, n_head=2, bos_token_id=1, eos_token_id=1, **options
    )
    net = getattr(transformers, kind)(shape).double().eval()
    for value in net.parameters():
        value.data += 0.3 * torch.randn_like(value)
    tokens = torch.randint(1, 11, (9, 6))
    tokens[:4, 4:] = 0
    return net, tokens


@pytest.mark.slow
@pytest.mark.parametrize("structure", ["full", "dual"])
def test_a_masked_classifier_of_sequences_is_its_dense_gauss_newton_matrix(structure):
    net, tokens = padded("GPT2ForSequenceClassification", pad_token_id=0, num_labels=3)
    with pytest.warns(VmapFallbackWarning, match=r"one after another.*wpe"):
        m = drawn(Padded(net), tokens, torch.arange(9) % 3, structure)
    np.testing.assert_allclose(m["leverage"], dense_leverage(Padded(net), tokens), rtol=1e-8)


@pytest.mark.slow
@pytest.mark.parametrize("directions", [0, 1])
def test_a_masked_language_model_under_kfac(directions):
    net, tokens = padded("GPT2LMHeadModel")
    last = nn.Sequential(Padded(net), Last())
    with pytest.warns(VmapFallbackWarning):
        m = drawn(last, tokens, torch.randint(0, 11, (9,)), "kfac", directions=directions, probes=1)
    assert np.all(m["leverage"] > 0)


class Last(nn.Module):
    """The output at the last token."""

    def forward(self, logits):
        return logits[:, -1]


class Mixing(nn.Module):
    """Tokens mixed by a matrix that is the same for all examples, scaled by the module's own tensors."""

    def __init__(self):
        super().__init__()
        self.scale, self.shift = nn.Parameter(torch.randn(4)), nn.Parameter(torch.randn(4))

    def forward(self, x, *, weights):
        return torch.tanh(weights @ (x * self.scale) + self.shift)


class Summing(nn.Module):
    """As many tokens as examples in a batch."""

    def __init__(self):
        super().__init__()
        self.mix, self.head = Mixing(), nn.Linear(4, 3)

    def forward(self, x):
        return self.head(self.mix(x, weights=torch.tril(x.new_ones(x.shape[1], x.shape[1]))).sum(1))


@pytest.mark.slow
@pytest.mark.parametrize("structure", ["full", "dual"])
@pytest.mark.parametrize("directions", [0, 3])
@pytest.mark.parametrize("n", [3, 4, 7])
def test_arguments_without_a_batch_axis(structure, directions, n):
    torch.manual_seed(0)
    net, x, y = Summing().double(), torch.randn(n, n, 4, dtype=torch.float64), torch.arange(n) % 3
    m = drawn(net, x, y, structure, directions=directions)
    np.testing.assert_allclose(m["leverage"], dense_leverage(net, x), rtol=1e-8)


class Wide(nn.Module):
    """A perceptron on tokens, made of the given layers."""

    def __init__(self, first: nn.Module, second: nn.Module):
        super().__init__()
        self.first, self.second = first, second

    def forward(self, x):
        return self.second(torch.tanh(self.first(x))).mean(1)


def transposed(layer):
    """GPT-2's `Conv1D` layer with the weights of a linear layer."""
    conv = pytest.importorskip("transformers.pytorch_utils").Conv1D(*layer.weight.shape)
    conv.weight.data, conv.bias.data = layer.weight.data.T.clone(), layer.bias.data.clone()
    return conv


@pytest.mark.slow
@pytest.mark.parametrize(
    "structure", ["full", "block", "unit_block", "kfac", "ekfac", "diag", "dual", "active_set", "lowrank"]
)
@pytest.mark.parametrize("options", [{}, {"reduce": True}, {"directions": 3}, {"probes": 2}])
def test_layers_with_a_transposed_matrix_are_linear_layers(structure, options):
    torch.manual_seed(0)
    linear = Wide(nn.Linear(4, 5), nn.Linear(5, 3)).double()
    other = Wide(transposed(linear.first), transposed(linear.second))
    x, y = torch.randn(9, 3, 4, dtype=torch.float64), torch.arange(9) % 3
    found, expected = (drawn(net, x, y, structure, **{"probes": 0, **options}) for net in (other, linear))
    exact = structure != "lowrank" and "probes" not in options  # whose random start goes by the order of parameters
    for column in COLUMNS:
        np.testing.assert_allclose(found[column], expected[column], rtol=1e-8 if exact else 1e-4, err_msg=column)
    lines = found.provenance.description.coverage
    assert lines == expected.provenance.description.coverage
    group = found.leave_out({"some": [1, 2]}), expected.leave_out({"some": [1, 2]})
    np.testing.assert_allclose(*(each.to_pandas().select_dtypes("number") for each in group), rtol=1e-3)


@pytest.mark.slow
def test_every_matrix_of_gpt_2_is_a_matrix_under_kfac(gpt):
    m = drawn(*gpt, "kfac")
    diagonal = [line for line in m.provenance.description.coverage if "diagonal" in line]
    assert all(any(name in line for name in ("wte", "wpe", "ln_")) for line in diagonal)


class Choosing(nn.Module):
    """A free scale, and a layer for inputs with a negative first number only."""

    def __init__(self):
        super().__init__()
        self.scale, self.first, self.head = nn.Parameter(torch.ones(3)), nn.Linear(4, 3), nn.Linear(3, 3)

    def forward(self, x):
        h = self.first(x)
        if (x[:, 0] < 0).any():
            h = torch.where(x[:, :1] < 0, torch.tanh(h), h)
        return self.head(h * self.scale)


class ChoosingScaledLast(Choosing):
    """The scale is used element by element, after what depends on the data: no loop is needed."""

    def forward(self, x):
        h = self.first(x)
        if (x[:, 0] < 0).any():
            h = torch.where(x[:, :1] < 0, torch.tanh(h), h)
        return self.head(h) * self.scale


def test_a_scale_of_outputs_after_data_dependent_control_flow_takes_no_loop():
    torch.manual_seed(0)
    net, x, y = ChoosingScaledLast().double(), torch.randn(11, 4, dtype=torch.float64), torch.arange(11) % 3
    with warnings.catch_warnings():
        warnings.simplefilter("error", VmapFallbackWarning)
        m = drawn(net, x, y, "full")
    np.testing.assert_allclose(m["leverage"], dense_leverage(net, x), rtol=1e-8)


@pytest.mark.slow
@pytest.mark.parametrize("structure", ["full", "dual", "active_set"])
@pytest.mark.parametrize("directions", [0, 3])
def test_a_network_with_data_dependent_control_flow_is_evaluated_example_by_example(structure, directions):
    torch.manual_seed(0)
    net, x, y = Choosing().double(), torch.randn(11, 4, dtype=torch.float64), torch.arange(11) % 3
    with pytest.warns(VmapFallbackWarning, match=r"the whole network.*one after another.*exclude scale"):
        m = drawn(net, x, y, structure, directions=directions)
    np.testing.assert_allclose(m["leverage"], dense_leverage(net, x), rtol=1e-8)
    drawn(net, x, y, structure, subset=["first", "head"])


class Own(torch.autograd.Function):
    """A square as a custom `autograd.Function`, without support for `torch.func`."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, g):
        return 2 * ctx.saved_tensors[0] * g


class WithOwn(nn.Module):
    """A custom operation after a free scale."""

    def __init__(self):
        super().__init__()
        self.scale, self.head = nn.Parameter(torch.ones(4)), nn.Linear(4, 3)

    def forward(self, x):
        return self.head(Own.apply(x * self.scale))


@pytest.mark.parametrize("directions", [0, 3])
def test_custom_operations_are_evaluated_example_by_example(directions):
    torch.manual_seed(0)
    net, x, y = WithOwn().double(), torch.randn(11, 4, dtype=torch.float64), torch.arange(11) % 3
    with pytest.warns(VmapFallbackWarning):
        m = drawn(net, x, y, directions=directions)
    np.testing.assert_allclose(m["leverage"], dense_leverage(net, x), rtol=1e-8)


# --- adapters --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_low_rank_adapters_alone_are_covered():
    peft = pytest.importorskip("peft")
    torch.manual_seed(0)
    base = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3))
    net = peft.get_peft_model(base, peft.LoraConfig(r=2, target_modules=["0"], lora_dropout=0.1)).double().eval()
    for name, value in net.named_parameters():
        if "lora_B" in name:
            value.data.normal_()  # at their initial zeros the adapters do nothing
    x, y = torch.randn(10, 4, dtype=torch.float64), torch.randint(0, 3, (10,))
    net.train()
    m = drawn(net, x, y)
    assert net.training
    net.eval()
    np.testing.assert_allclose(m["leverage"], dense_leverage(net, x), rtol=1e-8)
    coverage = m.provenance.description.coverage
    assert sum("lora" in line and not line.startswith("held fixed") for line in coverage) == 2
    assert any(line.startswith("held fixed") and "frozen" in line for line in coverage)


def test_a_network_without_trained_parameters_is_refused():
    net, x, y = case("mlp")
    net = copy.deepcopy(net).requires_grad_(False)
    with pytest.raises((TypeError, ValueError), match="parameter"):
        drawn(net, x, y)


# --- precision and layout --------------------------------------------------------------------------------------------


class Mixed(nn.Module):
    """Evaluated in bfloat16, as mixed-precision training does."""

    def __init__(self, inner: nn.Module):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        with torch.autocast("cpu", torch.bfloat16):
            return self.inner(x)


@pytest.mark.slow
@pytest.mark.parametrize("structure", ["full", "kfac", "diag"])
@pytest.mark.parametrize("name", ["mlp", "cnn"])
def test_mixed_precision_costs_precision_only(name, structure):
    net, x, y = case(name, 30)
    single = copy.deepcopy(net).float()
    plain, mixed = drawn(single, x.float(), y, structure), drawn(Mixed(single), x.float(), y, structure)
    off = np.abs(mixed["leverage"] / plain["leverage"] - 1)
    assert np.quantile(off, 0.9) < 0.05  # rounding turns a ReLU on or off here and there
    assert mixed.table.schema.field("leverage").type == plain.table.schema.field("leverage").type


@pytest.mark.slow
@pytest.mark.parametrize("structure", ["full", "kfac", "diag"])
def test_single_precision_is_near_double(structure):
    net, x, y = case("cnn", 30)
    double, single = drawn(net, x, y, structure), drawn(copy.deepcopy(net).float(), x.float(), y, structure)
    np.testing.assert_allclose(single["leverage"], double["leverage"], rtol=2e-4)


@pytest.mark.slow
@pytest.mark.parametrize("structure", ["full", "kfac", "ekfac", "diag"])
@pytest.mark.parametrize("directions", [0, 2])
def test_the_layout_in_memory_changes_nothing(structure, directions):
    net, x, y = case("cnn", 12)
    last = copy.deepcopy(net).to(memory_format=torch.channels_last)
    expected = drawn(net, x, y, structure, directions=directions)
    permuted = x.permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0)  # the same numbers, no dimension in its place
    for one, inputs in ((last, x.contiguous(memory_format=torch.channels_last)), (net, permuted)):
        assert not inputs.is_contiguous()
        m = drawn(one, inputs, y, structure, directions=directions)
        for column in COLUMNS[: 1 if directions else None]:  # signs of the rest come from content: layout-free too
            np.testing.assert_allclose(m[column], expected[column], rtol=1e-8, err_msg=column)


def test_every_second_row_of_an_array_is_that_row():
    net, x, y = case("mlp", 12)
    wide = torch.zeros(24, 8, dtype=x.dtype)
    wide[::2, ::2] = x
    for inputs in (wide[::2, ::2], wide.numpy()[::2, ::2], wide.flip(0).numpy()[::-1][::2, ::2]):
        np.testing.assert_allclose(drawn(net, inputs, y)["leverage"], drawn(net, x, y)["leverage"], rtol=1e-12)


# --- failures during a fit -------------------------------------------------------------------------------------------


class Watched(nn.Module):
    """Calls back before every forward pass."""

    def __init__(self, inner: nn.Module, before):
        super().__init__()
        self.inner, self.before = inner, before

    def forward(self, x):
        self.before(x)
        return self.inner(x)


@pytest.mark.slow
@pytest.mark.parametrize("structure", ["full", "ekfac", "active_set"])
def test_a_fit_continues_after_memory_has_run_out(structure):
    net, x, y = case("mlp", 40)
    expected = drawn(net, x, y, structure)

    def full(batch):
        if len(batch) > 6:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    with pytest.warns(OutOfMemoryWarning, match="continuing with"):
        m = drawn(Watched(net, full), DataLoader(TensorDataset(x, y), batch_size=10), None, structure)
    for column in COLUMNS:
        np.testing.assert_allclose(m[column], expected[column], rtol=1e-9, err_msg=column)


def test_logits_that_become_nonfinite_later_are_refused_by_row():
    net, x, y = case("mlp", 20)
    bad = x.clone()
    bad[13] = float("inf")
    with pytest.raises(mm.DataError, match="not finite"):
        drawn(net, bad, y, "kfac")


class Norm(nn.Module):
    """Distances, whose gradient is not a number at 0, by a layer's outputs or by a scale of the network's own."""

    def __init__(self):
        super().__init__()
        self.first, self.head, self.scale = nn.Linear(4, 5), nn.Linear(1, 3), nn.Parameter(torch.ones(1))

    def forward(self, x):
        from_layer = (self.first(x) * x[:, :1]).square().sum(1, keepdim=True).sqrt()
        from_scale = (self.scale * x[:, 1:2]).square().sqrt()
        return self.head(from_layer + from_scale)


STRUCTURES = ("full", "block", "unit_block", "kfac", "ekfac", "diag", "dual", "active_set", "lowrank", "auto")


@pytest.mark.slow
@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize(("column", "named"), [(0, "at the output of 'first'"), (1, "of scale")])
@pytest.mark.parametrize("row", [2, 7])
def test_gradients_that_are_no_numbers_are_refused_by_layer_and_row(structure, column, named, row):
    torch.manual_seed(0)
    net, x, y = Norm().double(), torch.randn(12, 4, dtype=torch.float64), torch.arange(12) % 3
    x[row, column] = 0
    with pytest.raises(mm.DataError, match=rf"{named} are not finite for example {row}.*fixed: Laplace"):
        drawn(net, x, y, structure)
    drawn(net, x, y, structure, subset=["head"])


class Capped(nn.Module):
    """An infinite input to a layer, whose outputs are capped."""

    def __init__(self):
        super().__init__()
        self.first, self.head = nn.Linear(4, 5), nn.Linear(5, 3)
        self.first.weight.data.abs_()

    def forward(self, x):
        return self.head(torch.sigmoid(self.first(x.exp())))


@pytest.mark.parametrize("structure", STRUCTURES)
def test_infinite_inputs_of_a_layer_are_refused_by_layer_and_row(structure):
    torch.manual_seed(0)
    net, x, y = Capped().double(), torch.randn(12, 4, dtype=torch.float64), torch.arange(12) % 3
    x[7, 0] = 1e4
    with pytest.raises(mm.DataError, match=r"'first' are not finite for example 7"):
        drawn(net, x, y, structure)


@pytest.mark.parametrize("structure", ["kfac", "ekfac", "diag"])
def test_curvature_that_overflows_is_refused(structure):
    net, x, y = case("mlp")
    net.float()[-1].weight.data *= 1e25
    recipe = mm.Laplace(structure, prior=0.5)
    with pytest.raises(mm.DataError, match=r"curvature of a layer.*overflow"):
        mm.memory_map(net, x.float(), torch.eye(3)[y], likelihood="gaussian", posterior=recipe)


def test_a_network_that_breaks_down_in_a_later_pass_is_refused():
    net, x, y = case("mlp", 20)
    calls = []

    class Failing(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = net

        def forward(self, x):
            calls.append(1)
            return self.inner(x) * (float("nan") if len(calls) > 6 else 1.0)

    with pytest.raises(mm.DataError, match="not finite"):
        drawn(Failing(), x, y, "ekfac")


def test_a_loader_with_other_inputs_on_the_second_pass_is_refused():
    net, x, y = case("mlp", 12)

    class Drifting:
        passes = 0

        def __iter__(self):
            self.passes += 1
            yield x + self.passes, y

    with pytest.raises(mm.DataError):
        drawn(net, mm.LoaderExamples(Drifting()))


def test_a_loader_that_runs_dry_is_refused():
    net, x, y = case("mlp", 12)
    with pytest.raises(mm.DataError):
        drawn(net, mm.LoaderExamples(iter([(x, y)])))


@pytest.mark.parametrize("delta", [0, -1.0, float("nan"), float("inf")])
def test_a_prior_that_is_no_precision_is_refused(delta):
    with pytest.raises(ValueError, match="positive"):
        mm.Laplace("full", prior=delta)


@pytest.mark.slow
def test_normalisation_and_dropout_in_training_mode_are_the_network_at_rest():
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout2d(0.4), nn.Flatten(), nn.Linear(64, 3)
    ).double()
    x, y = torch.randn(14, 2, 6, 6, dtype=torch.float64), torch.randint(0, 3, (14,))
    net(x)
    before = copy.deepcopy(net.state_dict())
    for structure in ("full", "kfac"):
        net.train()
        m = drawn(net, x, y, structure)
        assert all(part.training for part in net.modules())
        assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
        net.eval()
        np.testing.assert_allclose(m["leverage"], drawn(net, x, y, structure)["leverage"], rtol=1e-12)
