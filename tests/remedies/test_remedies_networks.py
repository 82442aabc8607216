"""What messages about PyTorch networks, their outputs and gradients say to type, typed."""

import copy
import dataclasses

import numpy as np
import pytest
from remedies import remedy
from scipy import sparse

pytest.importorskip("torch")

import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

import memorymaps as mm
from memorymaps.core.likelihoods.heteroscedastic import HeteroscedasticGaussian
from memorymaps.nets import mc_dropout
from memorymaps.nets.autograd.network import Network

N = 30
X = torch.randn(N, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
LABELS = torch.arange(N) % 3
Y = X[:, 0] - 0.5 * X[:, 1] + 0.3 * X[:, 2] ** 2
BITS = (Y > 0).double()


def body(out=3, *last):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, out), *last).double()


class Body(nn.Module):
    """The same, with names to derive others from."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b = nn.Linear(4, 6).double(), nn.Linear(6, 3).double()

    def forward(self, x):
        return self.b(torch.tanh(self.a(x)))


def mapped(net, x=X, y=LABELS, structure="full", likelihood="categorical", **options):
    return mm.memory_map(net, x, y, likelihood=likelihood, posterior=mm.Laplace(structure, **{"prior": 1.0, **options}))


def is_map_of(m, other):
    np.testing.assert_allclose(m["leverage"], other["leverage"], rtol=1e-7)


# --- outputs ----------------------------------------------------------------------------------------------------------


class Output(Body):
    """An object with the scores."""

    def forward(self, x):
        return {"scores": super().forward(x)}


@remedy("pass Laplace(..., forward=lambda net, x: net(x).logits) or the like")
def test_outputs_that_are_no_tensor(said):
    with said:
        mapped(Output())
    is_map_of(mapped(Output(), forward=lambda net, x: net(x)["scores"]), mapped(Body()))


@remedy("pass Laplace(..., forward=lambda net, x: net(x).flatten(1)), and a loss of all of them, nets.Custom(")
@remedy("Custom(nll, predict=lambda f: f.view(len(f), T, K).argmax(2).double()) for T class numbers an example")
def test_scores_of_several_tokens_or_pixels(said):
    def nll(f, y):
        scores = f.view(len(f), 2, 3).transpose(1, 2)
        return functional.cross_entropy(scores, y.long(), ignore_index=-100, reduction="none").sum(1)

    net, tokens = nn.Sequential(body(6), nn.Unflatten(1, (2, 3))), torch.stack([LABELS, LABELS.flip(0)], 1)
    tokens[3, 1] = tokens[5] = -100
    with said:
        mapped(net, y=tokens)
    flat = {"forward": lambda net, x: net(x).flatten(1)}
    with said:
        mapped(net, y=tokens, likelihood=mm.nets.Custom(nll), **flat)
    loss = mm.nets.Custom(nll, predict=lambda f: f.view(len(f), 2, 3).argmax(2).double(), ignore_index=-100)
    m = mapped(net, y=tokens, likelihood=loss, **flat)
    assert m["leverage"][5] == 0 < m["leverage"][3]


def test_labels_of_pixels_are_compared_pixel_by_pixel():
    def nll(f, y):
        return functional.cross_entropy(f.view(-1, 2, 2, 2), y, reduction="none").sum((1, 2))

    torch.manual_seed(0)
    images, flat = torch.randn(9, 1, 2, 2, dtype=torch.float64), lambda net, x: net(x).flatten(1)
    loss = mm.nets.Custom(nll, predict=lambda f: f.view(-1, 2, 2, 2).argmax(1).double())
    m = mapped(nn.Conv2d(1, 2, 1).double(), images, (images[:, 0] > 0).long(), likelihood=loss, forward=flat)
    np.testing.assert_array_equal(m["target"], (images[:, 0] > 0).flatten(1))
    assert m["residual"].shape == (9, 4)


@remedy("the network's output for example … of a batch is not finite: …. Load an earlier state, or drop the example")
@remedy("Check its inputs, and whether training has diverged")
@pytest.mark.parametrize("how", ["state", "drop"])
def test_outputs_that_are_not_finite(said, how, monkeypatch):
    x, good = X.clone(), copy.deepcopy(body().state_dict())
    x[7, 0] = torch.inf if how == "drop" else x[7, 0]
    net = body()
    net[1] = nn.ReLU()
    if how == "state":
        net.register_forward_hook(lambda module, inputs, f: f / module.factor)
        net.factor = 0.0
    with said:
        mapped(net, x)
    with said:
        Network(net, mm.Categorical()).outputs(x)
    net.factor = 1.0
    net.load_state_dict(good)
    keep = torch.isfinite(x).all(1)
    assert len(mapped(net, x[keep], LABELS[keep])) == int(keep.sum())


@remedy("Load an earlier state, net.load_state_dict(...), or train again with a smaller rate")
def test_parameters_that_are_not_finite(said):
    net = body()
    earlier = copy.deepcopy(net.state_dict())
    net[0].weight.data[0, 0] = torch.nan
    with said:
        mapped(net)
    net.load_state_dict(earlier)
    is_map_of(mapped(net), mapped(body()))


class Random(Body):
    """Samples in every mode, as variational autoencoders do; its mean is in `Body.forward`."""

    def forward(self, x):
        f = super().forward(x)
        return f + 0.1 * torch.randn_like(f)


class MeanInEval(Random):
    def forward(self, x):
        return super().forward(x) if self.training else Body.forward(self, x)


@remedy("return the mean in eval mode, or call the part without sampling, Laplace(forward=lambda net, x: …)")
def test_outputs_that_are_random(said):
    with said:
        mapped(Random())
    is_map_of(mapped(MeanInEval().eval()), mapped(Body()))
    is_map_of(mapped(Random(), forward=lambda net, x: Body.forward(net, x)), mapped(Body()))
    dropout = nn.Sequential(nn.Linear(4, 6), nn.Dropout(0.2), nn.Linear(6, 3)).double()
    assert len(mm.memory_map(mc_dropout(dropout, mm.Categorical()), X, LABELS)) == N


class Centred(Body):
    def forward(self, x):
        f = super().forward(x)
        return f - f.mean(0)


class Stored(Body):
    def __init__(self):
        super().__init__()
        self.register_buffer("mean", Body.forward(self, X).mean(0).detach())

    def forward(self, x):
        return super().forward(x) - self.mean


@remedy(
    "store the statistic as a buffer, as BatchNorm does, or pass the part before it, Laplace(forward=lambda net, x: …)"
)
def test_examples_that_influence_each_other(said):
    with said:
        mapped(Centred())
    assert mapped(Stored())["leverage"].sum() > 1
    is_map_of(mapped(Centred(), forward=lambda net, x: Body.forward(net, x)), mapped(Body()))


@remedy("Train with track_running_stats=True, or with GroupNorm or LayerNorm")
@pytest.mark.parametrize("norm", [lambda: nn.BatchNorm1d(6), lambda: nn.GroupNorm(2, 6), lambda: nn.LayerNorm(6)])
def test_norms_by_the_batch(said, norm):
    with said:
        mapped(nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6, track_running_stats=False), nn.Linear(6, 3)).double())
    net = nn.Sequential(nn.Linear(4, 6), norm(), nn.Linear(6, 3)).double()
    net(X)  # training, for running statistics
    assert mapped(net)["leverage"].sum() > 1


@remedy("draw its random numbers once, outside of it")
def test_losses_that_are_random(said):
    net = body(1)
    with said:
        loss = mm.Custom(lambda f, y: (f[:, 0] - y) ** 2 + 0.1 * torch.rand(len(f)), predict=lambda f: f[:, 0])
        mapped(net, y=Y, likelihood=loss)
    shift = 0.1 * torch.rand(1, dtype=torch.float64)
    loss = mm.Custom(lambda f, y: (f[:, 0] - y) ** 2 + shift, predict=lambda f: f[:, 0])
    assert mapped(net, y=Y, likelihood=loss)["leverage"].sum() > 1


# --- probabilities for logits -----------------------------------------------------------------------------------------


@remedy("Pass the layer before the softmax, or Laplace(forward=lambda net, x: torch.log(net(x)))")
def test_probabilities_of_classes(said):
    net = body(3, nn.Softmax(1))
    with said:
        mapped(net)
    is_map_of(mapped(net, forward=lambda net, x: torch.log(net(x))), mapped(net[:-1]))
    likelihood = mm.Custom(
        lambda f, y: torch.nn.functional.cross_entropy(f, y.long(), reduction="none"), predict=lambda f: f.softmax(1)
    )
    assert len(mapped(net, likelihood=likelihood)) == N


@remedy("Pass the layer before the sigmoid, or Laplace(forward=lambda net, x: torch.logit(net(x), eps=1e-6))")
def test_probabilities_of_one_class(said):
    net = body(1, nn.Sigmoid())
    with said:
        mapped(net, y=BITS, likelihood="bernoulli")
    m = mapped(net, y=BITS, likelihood="bernoulli", forward=lambda net, x: torch.logit(net(x), eps=1e-6))
    is_map_of(m, mapped(net[:-1], y=BITS, likelihood="bernoulli"))


@remedy("itself seems to be passed. Pass the layer before it, or Laplace(forward=lambda net, x: {forward})")
@remedy("torch.stack([net(x)[:, 0], net(x)[:, 1].log()], 1)")
def test_rates_and_variances(said):
    counts = torch.poisson(torch.exp(Y / 4)).double()
    net = body(1, nn.Softplus())
    with said:
        mapped(net, y=counts, likelihood=mm.Poisson())
    assert "torch.log(net(x))" in said.text
    assert len(mapped(net[:-1], y=counts, likelihood=mm.Poisson())) == N
    assert len(mapped(net, y=counts, likelihood=mm.Poisson(), forward=lambda net, x: torch.log(net(x)))) == N

    class MeanAndVariance(Body):
        def forward(self, x):
            f = super().forward(x)
            return torch.stack([f[:, 0], functional.softplus(f[:, 1])], 1)

    likelihood = HeteroscedasticGaussian()
    with said:
        mapped(MeanAndVariance(), y=Y, likelihood=likelihood)

    def forward(net, x):
        return torch.stack([net(x)[:, 0], net(x)[:, 1].log()], 1)

    assert len(mapped(MeanAndVariance(), y=Y, likelihood=likelihood, forward=forward)) == N


# --- gradients --------------------------------------------------------------------------------------------------------


class Detached(Body):
    def forward(self, x):
        return self.b(torch.tanh(self.a(x).detach()))


class Checkpointed(Body):
    def __init__(self, reentrant):
        super().__init__()
        self.reentrant = reentrant

    def forward(self, x):
        return self.b(checkpoint(lambda z: torch.tanh(self.a(z)), x, use_reentrant=self.reentrant))


@remedy("Expected a gradient for every covered parameter: …remove what blocks it")
@remedy("exclude them, Laplace(subset=…), or ")
@pytest.mark.filterwarnings("ignore")
def test_gradients_that_are_blocked(said):
    with said:
        mapped(Detached())
    assert "subset=['b.weight', 'b.bias']" in said.text
    assert mapped(Detached(), subset=["b.weight", "b.bias"])["leverage"].sum() > 0
    is_map_of(mapped(Body()), mapped(Body()))
    with said:
        mapped(Checkpointed(True))
    is_map_of(mapped(Checkpointed(False)), mapped(Body()))


class NoGrad(Body):
    def forward(self, x):
        with torch.no_grad():
            z = self.a(x[:, :4])
        return self.b(torch.tanh(x @ torch.ones(4, 6, dtype=x.dtype))) + 0 * z[:, :3]


@remedy("it runs under no_grad. Exclude it: Laplace(subset=[...])")
def test_layers_under_no_grad(said):
    with said:
        mapped(NoGrad(), structure="kfac")
    assert mapped(NoGrad(), structure="kfac", subset=["b.weight", "b.bias"])["leverage"].sum() > 0


class Bias(nn.Module):
    def __init__(self):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(6, dtype=torch.float64))

    def forward(self, x):
        return x + self.bias


class InPlace(Body):
    def __init__(self, inplace):
        super().__init__()
        self.c, self.act = Bias(), nn.ReLU(inplace=inplace)

    def forward(self, x):
        z = self.a(x)
        after = self.c(z)
        return self.b(self.act(z) + after)


@remedy("use an activation with inplace=False there")
def test_inputs_changed_in_place(said):
    with said:
        mapped(InPlace(True), structure="kfac")
    assert mapped(InPlace(False), structure="kfac")["leverage"].sum() > 1


class Norm(Body):
    def __init__(self, eps):
        super().__init__()
        self.eps, self.head = eps, nn.Linear(1, 3).double()

    def forward(self, x):
        return self.head(((self.a(x) * x[:, :1]).square().sum(1, keepdim=True) + self.eps).sqrt())


@remedy("avoid 0 (√(x + 1e-12)), leave the example out, or keep … fixed: Laplace(subset=[...])")
def test_gradients_at_zero(said):
    x = X.clone()
    x[7, 0] = 0
    names = ["a.weight", "a.bias", "head.weight", "head.bias"]
    with said:
        mapped(Norm(0.0), x, subset=names)
    assert len(mapped(Norm(1e-12), x, subset=names)) == N
    rest = torch.arange(N) != 7
    assert len(mapped(Norm(0.0), x[rest], LABELS[rest], subset=names)) == N - 1
    assert len(mapped(Norm(0.0), x, subset=["head.weight", "head.bias"])) == N


@remedy("Scale the network's outputs down, or give it double precision: net.double()")
def test_curvature_that_overflows(said):
    net = body().float()
    net[-1].weight.data *= 1e25
    targets = torch.eye(3)[LABELS]

    def draw(net, forward=None):
        return mapped(
            net, X.to(net[0].weight.dtype), targets.to(net[0].weight.dtype), "kfac", "gaussian",
            **({} if forward is None else {"forward": forward}),
        )  # fmt: skip

    with said:
        draw(net)
    assert len(draw(copy.deepcopy(net).double())) == N
    assert len(draw(net, lambda net, x: net(x) * 1e-25)) == N


class DependsOnData(Body):
    """Control flow by the data: no vmap."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1, dtype=torch.float64))

    def forward(self, x):
        rows = [row * self.scale if float(row.detach().sum()) > 0 else row * self.scale**2 for row in x]
        return super().forward(torch.stack(rows))


@remedy("exclude … to avoid it: Laplace(subset=[...])")
@pytest.mark.slow
def test_examples_one_after_another(said):
    net = DependsOnData()
    with said:
        m = mapped(net, structure="kfac")
        assert len(m) == N
    assert "exclude scale" in said.text
    subset = [name for name, _ in net.named_parameters() if name != "scale"]
    assert len(mapped(net, structure="kfac", subset=subset)) == N


@remedy("examples of a batch influence each other there. Exclude it with Laplace(subset=[...])")
def test_gradients_that_mix_examples(said):
    net = Body()
    net.a.weight.register_hook(lambda gradient: 2 * gradient)
    with said:
        mapped(net, structure="kfac")
    assert "'a" in said.text
    assert len(mapped(net, structure="kfac", subset=["b.weight", "b.bias"])) == N


# --- modules ----------------------------------------------------------------------------------------------------------


@remedy("pass the nn.Module it was made from, with its weights, net.load_state_dict(scripted.state_dict())")
@pytest.mark.filterwarnings("ignore")
def test_scripted_modules(said):
    scripted = torch.jit.script(body())
    with said:
        mapped(scripted)
    net = body()
    net[0].weight.data.zero_()
    net.load_state_dict(scripted.state_dict())
    is_map_of(mapped(net), mapped(body()))


@remedy("torch.inference_mode() is on: call it outside of that block (torch.no_grad() may be on)")
@remedy("make the network outside of it and load the weights, net.load_state_dict(state)")
def test_inference_mode(said):
    with torch.inference_mode():
        with said:
            mapped(body())
        made = body()
        state = made.state_dict()
    with said:
        mapped(made)
    net = body()
    net.load_state_dict(state)
    with torch.no_grad():
        is_map_of(mapped(net), mapped(body()))


@remedy("inputs are a sparse …, networks take dense arrays: pass X.toarray()")
def test_sparse_inputs(said):
    x = sparse.csr_matrix(X.numpy())
    with said:
        mapped(body(), x)
    is_map_of(mapped(body(), x.toarray()), mapped(body()))


@remedy(". Quantised (int8) layers have none: pass the network it was made from")
@pytest.mark.filterwarnings("ignore")
def test_quantised_networks(said):
    net = body().float()
    try:
        quantised = torch.ao.quantization.quantize_dynamic(net, {nn.Linear})
    except RuntimeError as error:
        pytest.skip(f"this build of torch has no quantisation: {error}")
    with said:
        mapped(quantised, X.float())
    assert len(mapped(net, X.float())) == N


@remedy("Name them: Laplace(subset=[...])")
def test_no_last_layer(said):
    class Free(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.ones(4, 3, dtype=torch.float64))

        def forward(self, x):
            return x @ self.w

    with said:
        mapped(Free(), subset="last_layer")
    assert mapped(Free(), subset=["w"])["leverage"].sum() > 0


@remedy("are frozen: call requires_grad_(True)")
def test_frozen_parameters(said):
    net = body()
    net[0].requires_grad_(False)
    with said:
        mapped(net, subset=["0"])
    net[0].requires_grad_(True)
    assert mapped(net, subset=["0"])["leverage"].sum() > 0


@remedy("set net.get_submodule(…).sparse = False for the map")
def test_sparse_gradients(said):
    net = nn.Sequential(nn.Embedding(7, 4, sparse=True), nn.Flatten(), nn.Linear(8, 3)).double()
    tokens = torch.arange(2 * N).reshape(N, 2) % 7
    with said:
        mapped(net, tokens)
    net.get_submodule("0").sparse = False
    assert mapped(net, tokens)["leverage"].sum() > 1


@remedy("Laplace(forward=…) specifies how to call a network")
@remedy("For a network with several inputs pass memory_map(net, (x1, x2), y), or LoaderExamples(")
def test_networks_of_two_inputs(said):
    class Two(Body):
        def forward(self, a, b):
            return super().forward(torch.cat([a, b], 1))

    with said:
        mapped(Two())
    a, b = X[:, :2], X[:, 2:]
    is_map_of(mapped(Two(), (a, b)), mapped(Body()))
    dataset = torch.utils.data.TensorDataset(a, b, LABELS)
    loader = torch.utils.data.DataLoader(dataset, 256)
    examples = mm.LoaderExamples(loader, split=lambda batch: ((batch[0], batch[1]), batch[2], None))
    recipe = mm.Laplace("full", prior=1.0)
    is_map_of(mm.memory_map(Two(), examples, likelihood="categorical", posterior=recipe), mapped(Body()))
    is_map_of(mapped(Two(), forward=lambda net, x: net(x[:, :2], x[:, 2:])), mapped(Body()))


class Nodes(nn.Module):
    """Class scores of graphs from their mean node."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.out = nn.Linear(4, 3).double()

    def forward(self, nodes, graph):
        graphs = torch.zeros(10, 4, dtype=nodes.dtype).index_add(0, graph, nodes)
        return self.out(graphs / 3)


@remedy("Every input has one row for each example: pad graphs, whose nodes are concatenated, with torch_geometric")
def test_networks_of_concatenated_nodes(said):
    graph = torch.arange(10).repeat_interleave(3)
    with said:
        mapped(Nodes(), [((X, graph), LABELS[:10])], None)
    dense = X.reshape(10, 3, 4)  # to_dense_batch(x, batch)[0]: torch_geometric is not among the tests'
    m = mapped(Nodes(), dense, LABELS[:10], forward=lambda net, nodes: net.out(nodes.mean(1)))
    assert len(m) == 10


# --- losses -----------------------------------------------------------------------------------------------------------


@remedy("are the targets of a loss of your own, nets.Custom(nll, predict=…, ignore_index=…)")
def test_several_class_numbers_an_example(said):
    net, tokens = body(6), torch.stack([LABELS % 2, LABELS], 1)
    with said:
        mapped(net, y=tokens)
    loss = mm.nets.Custom(
        lambda f, y: functional.cross_entropy(f.view(-1, 3, 2), y.long(), reduction="none").sum(1),
        predict=lambda f: f.view(-1, 3, 2).argmax(1).double(), ignore_index=-100,
    )  # fmt: skip
    assert mapped(net, y=tokens, likelihood=loss)["leverage"].sum() > 1


@remedy("specify the prediction, Custom(nll, predict=lambda f: f.softmax(1)) for class numbers (integers)")
def test_custom_losses_of_classes(said):
    def nll(f, y):
        return functional.cross_entropy(f, y.long(), reduction="none")

    with said:
        mapped(body(), likelihood=mm.Custom(nll))
    is_map_of(mapped(body(), likelihood=mm.Custom(nll, predict=lambda f: f.softmax(1))), mapped(body()))

    def squares(f, y):
        return (f[:, 0] - y) ** 2 / 2

    m = mapped(body(2), y=Y, likelihood=mm.Custom(squares, predict=lambda f: f[:, 0]))
    assert m["leverage"].sum() > 1


@remedy("expected one finite loss each: use reduction='none'")
def test_custom_losses_that_are_means(said):
    def mean(f, y):
        return functional.cross_entropy(f, y.long())

    def each(f, y):
        return functional.cross_entropy(f, y.long(), reduction="none")

    with said:
        mapped(body(), likelihood=mm.Custom(mean, predict=lambda f: f.softmax(1)))
    is_map_of(mapped(body(), likelihood=mm.Custom(each, predict=lambda f: f.softmax(1))), mapped(body()))


@remedy("pass weight=weight.to(f), and likewise any other tensor")
@pytest.mark.parametrize("structure", ["full", "ekfac", "sampled"])
def test_custom_losses_with_tensors_of_another_type(said, structure):
    weight = torch.tensor([1.0, 2.0, 0.5])

    def single(f, y):
        return functional.cross_entropy(f, y.long(), weight=weight, reduction="none")

    def double(f, y):
        return functional.cross_entropy(f, y.long(), weight=weight.to(f), reduction="none")

    def recipe(loss):
        return {"likelihood": mm.Custom(loss, predict=lambda f: f.softmax(1)), "structure": structure}

    with said:
        mapped(body(), **recipe(single))
    assert mapped(body(), **recipe(double))["leverage"].sum() > 1


@remedy("Pass Custom(nll, predict=…, ignore_index=None), or ignore_index=… to the loss, too")
def test_minus_100_is_a_number(said):
    y = torch.arange(N) - 100

    def nll(f, y):
        return (f[:, 0] - y) ** 2 / 200

    with said:
        mapped(body(1), y=y, likelihood=mm.Custom(nll, predict=lambda f: f[:, 0]))
    m = mapped(body(1), y=y, likelihood=mm.Custom(nll, predict=lambda f: f[:, 0], ignore_index=None))
    assert m["leverage"].sum() > 0

    def ignoring(f, y):
        return torch.where(y == -100, 0.0 * f[:, 0], (f[:, 0] - y) ** 2 / 200)

    assert mapped(body(1), y=y, likelihood=mm.Custom(ignoring, predict=lambda f: f[:, 0]))["leverage"][0] == 0


@remedy("keep away from that point, (1 - p).clamp(min=1e-3)**gamma, and take logarithms by log_softmax")
def test_focal_losses(said):
    gamma, net = 1.5, body()
    net[-1].weight.data *= 1e4
    net.requires_grad_(True)

    def focal(factor):
        def nll(f, y):
            log_p = functional.log_softmax(f, 1).gather(1, y.long()[:, None])[:, 0]
            return -(factor(log_p.exp()) ** gamma) * log_p

        return mm.Custom(nll, predict=lambda f: f.softmax(1))

    with said:
        mapped(net, likelihood=focal(lambda p: 1 - p))
    assert len(mapped(net, likelihood=focal(lambda p: (1 - p).clamp(min=1e-3)))) == N


@remedy("Expected a smooth loss, with a scale s of its own", at="posteriors/gate.py")
def test_losses_without_curvature(said):
    net, s, q = body(1), 0.5, 0.8

    def predict(f):
        return f[:, 0]

    with said:
        mapped(net, y=Y, likelihood=mm.Custom(lambda f, y: (f[:, 0] - y).abs(), predict=predict))
    smooth = {
        "l1": lambda f, y: torch.sqrt((f[:, 0] - y) ** 2 + s**2),
        "quantile": lambda f, y: q * (y - f[:, 0]) + s * functional.softplus((f[:, 0] - y) / s),
    }
    for nll in smooth.values():
        assert mapped(net, y=Y, likelihood=mm.Custom(nll, predict=predict))["leverage"].sum() > 0.5


@remedy("target(s) are not finite, row … is …: drop such rows")
def test_custom_losses_of_missing_targets(said):
    loss = mm.Custom(lambda f, y: (f[:, 0] - y) ** 2, predict=lambda f: f[:, 0])
    y = Y.clone()
    y[4] = torch.nan

    with said:
        mapped(body(1), y=y, likelihood=loss)
    kept = torch.isfinite(y)
    assert len(mapped(body(1), X[kept], y[kept], likelihood=loss)) == N - 1


@remedy("all its draws would be the same. Map the network itself, posterior=Laplace(prior=δ)")
def test_dropout_of_a_network_without(said):
    with said:
        mc_dropout(body(), mm.Categorical())
    assert len(mapped(body())) == N


@remedy("no parameter to cover: none requires a gradient. For the map, net.requires_grad_(True)")
def test_frozen_networks(said):
    net = body().requires_grad_(False)
    with said:
        mapped(net)
    net.requires_grad_(True)
    assert len(mapped(net)) == N


@remedy("Call posterior.marginals(inputs) for new inputs")
def test_new_inputs_of_sampled_rows(said):
    m = mapped(body(), structure="sampled")
    posterior = m.origin.posterior
    (batch,) = m.origin.examples
    with said:
        posterior.training_marginals(dataclasses.replace(batch, ids=batch.ids + N))
    assert posterior.marginals(X[:5] + 0.1).variance.shape == (5, 3, 3)
