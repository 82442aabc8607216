"""What messages about recipes of posteriors, structures, priors and optimisers say to type, typed."""

import copy

import numpy as np
import pytest
from remedies import remedy
from scipy import stats
from sklearn.linear_model import Ridge

pytest.importorskip("torch")

import torch
from torch import nn

import memorymaps as mm
from memorymaps.nets import EKFAC, FromOptimizer, Sampled, VariationalNewton, ensemble
from memorymaps.nets.covariance.block_diagonal import BlockDiagonalCovariance
from memorymaps.nets.covariance.block_precision import CholeskyPrecision, EigenbasisPrecision
from memorymaps.nets.curvature import auto, dense, dual, kronecker, low_rank, unit_block
from memorymaps.nets.optimizers import learning_rule
from memorymaps.nets.prior import evidence_prior
from memorymaps.nets.sampled import cost
from memorymaps.nets.sampled import curvature as sampled_curvature

N = 30
X = torch.randn(N, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
LABELS = torch.arange(N) % 3
Y = X[:, 0] - 0.5 * X[:, 1] + 0.3 * X[:, 2] ** 2


def body(out=3, width=6):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, width), nn.Tanh(), nn.Linear(width, out)).double()


def mapped(net=None, recipe=None, likelihood="categorical", y=LABELS, x=X, **options):
    return mm.memory_map(
        net or body(), x, y, likelihood=likelihood, posterior=recipe or mm.Laplace(prior=1.0), **options
    )


def laplace(*structure, **options):
    return mm.Laplace(*structure, **{"prior": 1.0, "probes": 0, **options})


def trained(optimizer_of, net=None, steps=3, y=LABELS):
    net = net or body()
    optimizer = optimizer_of(net)
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(X), y).backward()
        optimizer.step()
    return net, optimizer


def adam(net, **settings):
    return torch.optim.Adam(net.parameters(), **{"weight_decay": 0.01, **settings})


def works(recipe, net=None, **options):
    m = mapped(net, recipe, **options)
    assert len(m) == N
    assert m["leverage"].sum() > 0
    return m


# --- Laplace ----------------------------------------------------------------------------------------------------------


@remedy("a network specifies neither its likelihood nor its regularisation")
@remedy("a network does not keep its training data: memory_map(net, data, …) with arrays or a loader")
@remedy("a network's map needs the prior it was trained with")
def test_networks_without_a_recipe(said):
    net, optimizer = trained(adam)
    n = N
    with said:
        mm.memory_map(net, X, LABELS)
    with said:
        mm.memory_map(net, likelihood="categorical", posterior=mm.Laplace(prior=1.0))
    with said:
        mm.memory_map(net, X, LABELS, likelihood="categorical", posterior=mm.Laplace())
    posterior = mm.Laplace(prior=mm.prior_from(optimizer, n))
    assert len(mm.memory_map(net, X, LABELS, likelihood="categorical", posterior=posterior)) == n
    data = torch.utils.data.TensorDataset(X, LABELS)
    for loader in (data, torch.utils.data.DataLoader(data, 16)):
        assert len(mm.memory_map(net, loader, likelihood="categorical", posterior=posterior)) == n
    decay = 0.01
    m = mm.memory_map(net, X, LABELS, likelihood="categorical", posterior=mm.Laplace(prior=n * decay))
    np.testing.assert_allclose(m["leverage"], mapped(net, posterior)["leverage"], rtol=1e-6)


@remedy("expected one of …, or a Likelihood such as Gaussian(dispersion=noise_variance) or Custom(nll)")
def test_names_of_likelihoods(said):
    with said:
        mapped(likelihood="softmax")
    assert "'categorical'" in said.text
    works(mm.Laplace(prior=1.0), body(1), likelihood=mm.Gaussian(dispersion=0.1), y=Y)

    def nll(f, y):
        return (f[:, 0] - y) ** 2

    works(mm.Laplace(prior=1.0), body(1), likelihood=mm.Custom(nll, predict=lambda f: f[:, 0]), y=Y)


@remedy("no Fisher …: choose one of …")
@remedy("no structure …: choose one of …")
@pytest.mark.slow
def test_names_of_structures(said):
    with said:
        mm.Laplace(fisher="observed", prior=1.0)
    for name in said.text.partition("choose one of ")[2].splitlines()[0].split(", "):
        works(laplace("diag", fisher=name))
    with said:
        mapped(recipe=mm.Laplace("dense", prior=1.0))
    names = said.text.partition("choose one of ")[2].splitlines()[0].split(", ")
    assert "ekfac" in names
    for name in names:
        works(laplace(name, prior=50.0))


@remedy("Laplace is for torch.nn.Module, got …: call memory_map without it")
def test_laplace_of_another_model(said):
    x, y = X.numpy(), Y.numpy()
    model = Ridge().fit(x, y)
    with said:
        mm.memory_map(model, x, y, posterior=mm.Laplace(prior=1.0))
    assert len(mm.memory_map(model, x, y)) == N


@remedy("expected a positive number δ, prior_from(optimizer, n), or 'evidence'")
def test_priors(said):
    net, optimizer = trained(adam)
    with said:
        mm.Laplace(prior="flat")
        mapped(net, mm.Laplace(prior="flat"))
    n = N
    for prior in (0.3, mm.prior_from(optimizer, n), "evidence"):
        works(mm.Laplace("full", prior=prior), net)


@remedy("the marginal likelihood gives δ = …: pass a prior, Laplace(prior=δ)")
def test_evidence_without_information(said):
    class Undetermined:
        """A posterior that is its prior: no parameter is determined."""

        groups = ()

        def __init__(self, deltas):
            self.deltas = deltas

        def inverse_trace(self, _):
            return float(sum(delta.numel() for delta in self.deltas.values()))

    values = dict(body().named_parameters())
    with said:
        evidence_prior(values, values, Undetermined)
    works(mm.Laplace("full", prior=1.0))


@remedy("pass prior_from(..., floor=1.0) or Laplace(prior=1.0)")
def test_priors_of_zero(said):
    net, optimizer = trained(lambda net: torch.optim.SGD(net.parameters(), lr=0.1))
    with said:
        mapped(net, mm.Laplace(prior=mm.prior_from(optimizer, N)))
    a = works(mm.Laplace("full", prior=mm.prior_from(optimizer, N, floor=1.0)), net)
    b = works(mm.Laplace("full", prior=1.0), net)
    np.testing.assert_allclose(a["leverage"], b["leverage"], rtol=1e-7)


@remedy("was not in the optimizer, or had no gradient there: exclude it with Laplace(subset=[...])")
def test_parameters_outside_the_optimizer(said):
    net, optimizer = trained(lambda net: torch.optim.Adam(net[2].parameters(), weight_decay=0.01))
    with said:
        mapped(net, mm.Laplace(prior=mm.prior_from(optimizer, N)))
    works(mm.Laplace(prior=mm.prior_from(optimizer, N), subset=["2.weight", "2.bias"]), net)
    works(mm.Laplace(prior=0.3), net)

    def named(net):
        return torch.optim.Adam(net.named_parameters(), weight_decay=0.01)

    net, optimizer = trained(named)
    works(mm.Laplace(prior=mm.prior_from(optimizer, N)), copy.deepcopy(net))


@remedy("n = …, and the data has … examples")
def test_another_number_of_examples(said):
    net, optimizer = trained(adam)
    with said:
        mapped(net, mm.Laplace(prior=mm.prior_from(optimizer, 10 * N)))
    assert f"Pass prior_from(optimizer, n={N})" in said.text
    works(mm.Laplace(prior=mm.prior_from(optimizer, n=N)), net)


# --- structures -------------------------------------------------------------------------------------------------------


@remedy(
    "are exact is arbitrary and sizes of the two kinds do not compare. Use 'full', 'dual' or 'sampled', or rows= all"
)
def test_active_sets_of_regressions(said):
    gaussian = {"likelihood": mm.Gaussian(dispersion=0.1), "y": Y}
    said.reads(str(mapped(body(1), laplace("active_set", rows=10), **gaussian).summary()))
    truth = works(laplace("full"), body(1), **gaussian)["leverage"]
    for recipe in (laplace("dual"), laplace("active_set", rows=N), laplace("sampled")):
        np.testing.assert_allclose(works(recipe, body(1), **gaussian)["leverage"], truth, rtol=1e-4)


@remedy("Sampled rows miss an error of a tenth within budget=…: Laplace(budget=…) is more.")
def test_auto_with_a_small_budget(said, monkeypatch):
    for name in ("_MAX_FULL_PARAMETERS", "MAX_GRAM_ROWS", "MAX_EIGH_ROWS"):
        monkeypatch.setattr(auto, name, 0)
    monkeypatch.setattr(auto, "rows_fit", lambda problem: False)
    monkeypatch.setattr(auto, "gram_fits", lambda *_: False)
    said.reads(str(mapped(recipe=laplace("auto", budget=1e-9)).summary()))
    words = str(mapped(recipe=laplace("auto", budget=600)).summary())
    assert "auto chose sampled" in words


@remedy(
    "keeps its own part of the residual curvature, sizes tend to be too small, not too large. structure='full' errs"
)
@pytest.mark.slow
def test_the_hessian(said):
    net, _ = trained(lambda net: torch.optim.Adam(net.parameters(), 0.05, weight_decay=0.03), steps=400)
    m = mapped(net, laplace("hessian", prior=5.0))
    said.reads(str(m.summary()))
    works(laplace(prior=5.0), net)
    assert mm.refit(m, top=2)["refitted"].sum() == 2


@remedy("scale the inputs (StandardScaler), or increase the prior precision; structure='full' determines more digits")
def test_large_inputs_under_a_weak_prior(said):
    large, gaussian = X * 1e7, {"likelihood": "gaussian", "y": Y}
    net = nn.Linear(4, 1).double()
    with said:
        mapped(net, laplace("dual"), x=large, **gaussian)
    said.reads(str(mapped(net, laplace("dual", prior=30.0), x=large, **gaussian).summary()))
    for recipe, x in ((laplace("dual"), large / large.std(0)), (laplace("dual", prior=1e9), large), (laplace(), large)):
        m = mapped(net, recipe, x=x, **gaussian)
        assert m.provenance.description.relative_error is None
        assert "ill-conditioned" not in str(m.summary())


@remedy("(a saddle point, a kink, or unfinished training). Train longer, or use structure='full'")
@pytest.mark.slow
def test_a_hessian_that_is_not_positive(said):
    net = body()
    with said:
        mapped(net, laplace("hessian", prior=1e-3))
    works(laplace("full", prior=1e-3), net)
    net, _ = trained(lambda net: torch.optim.Adam(net.parameters(), 0.03, weight_decay=0.1), net, steps=1500)
    works(laplace("hessian", prior=0.1 * N), net)


@remedy("which an operation of this network does not have (…). Use structure='full'")
@pytest.mark.filterwarnings("ignore")
def test_a_hessian_without_second_derivatives(said):
    tokens = torch.arange(3 * N).reshape(N, 3) % 9
    net = nn.Sequential(nn.EmbeddingBag(9, 4, mode="mean"), nn.Linear(4, 3)).double()
    with said:
        mapped(net, laplace("hessian", prior=50.0), x=tokens)
    works(laplace("full"), net, x=tokens)


@remedy("GB. Use 'auto', 'active_set' or 'ekfac', or a subset", at="nets/curvature/dense.py")
def test_dense_matrices_that_are_too_large(said, monkeypatch):
    monkeypatch.setattr(dense, "_MAX_DENSE_PARAMETERS", 30)
    monkeypatch.setattr(auto, "_MAX_FULL_PARAMETERS", 30)
    with said:
        mapped(recipe=laplace("full"))
    for recipe in (laplace("auto"), laplace("active_set"), laplace("ekfac"), laplace("full", subset=["2.weight"])):
        works(recipe)


@remedy("more than 2 GB. Use 'auto', 'active_set' or 'ekfac'", at="nets/curvature/dual.py")
def test_gram_matrices_that_are_too_large(said, monkeypatch):
    monkeypatch.setattr(dual, "gram_fits", lambda *_: False)
    monkeypatch.setattr(dual, "rows_fit", lambda *_: False)
    with said:
        mapped(recipe=laplace("dual"))
    for name in ("auto", "active_set", "ekfac"):
        works(laplace(name))


@remedy("GB. Use 'ekfac' or 'diag', or a subset", at="nets/curvature/unit_block.py")
def test_unit_blocks_that_are_too_large(said, monkeypatch):
    monkeypatch.setattr(unit_block, "_MAX_NUMBERS", 150)
    with said:
        mapped(recipe=laplace("unit_block"))
    for recipe in (laplace("ekfac"), laplace("diag"), laplace("unit_block", subset=["0.weight", "0.bias"])):
        works(recipe)


@remedy("expected at least …, EKFAC(examples=4096), or EKFAC(examples='all')")
def test_too_few_examples_of_ekfac(said):
    with said:
        EKFAC(examples=1)
    works(laplace(EKFAC(examples=4096)))
    works(laplace(EKFAC(examples="all")))
    assert kronecker.EKFAC is EKFAC


@remedy("Request fewer, Laplace('lowrank', rows=…), or use 'active_set' or 'ekfac'")
def test_eigenvectors_that_do_not_converge(said, monkeypatch):
    from scipy.sparse.linalg import ArpackNoConvergence

    wide, whole = body(width=40), low_rank.eigsh

    def eigsh(operator, rank, **settings):
        if rank > 2:
            raise ArpackNoConvergence("no", np.zeros(1), np.zeros((1, 1)))
        return whole(operator, rank, **settings)

    monkeypatch.setattr(low_rank, "eigsh", eigsh)
    with said:
        mapped(wide, laplace("lowrank", rows=12))
    for recipe in (laplace("lowrank", rows=2), laplace("active_set", rows=12), laplace("ekfac")):
        works(recipe, wide)


@remedy("write Laplace(Sampled(rows=…))")
def test_rows_of_sampled(said):
    with said:
        mapped(recipe=laplace("sampled", rows=40))
    works(laplace(Sampled(rows=40)))


@remedy("whose rows follow from a budget. Leave budget out")
def test_a_budget_of_another_structure(said):
    with said:
        mapped(recipe=laplace("ekfac", budget=600))
    works(laplace("ekfac"))
    works(laplace("sampled", budget=600))


@remedy("give EigenbasisPrecision blocks to BlockDiagonalCovariance, or low_rank=None")
def test_low_rank_terms_of_dense_blocks(said):
    block = torch.eye(4, dtype=torch.float64)
    with said:
        CholeskyPrecision(torch.linalg.cholesky(block)).prior_over_precision(torch.ones(4, dtype=torch.float64))
    found = EigenbasisPrecision(torch.ones(4, dtype=torch.float64)).prior_over_precision(
        torch.ones(4, dtype=torch.float64)
    )
    np.testing.assert_allclose(np.asarray(found).reshape(-1), np.ones(4))
    assert "low_rank" in BlockDiagonalCovariance.__dataclass_fields__


@remedy("say so with Laplace('sampled', directions=0), or use 'ekfac', which answers along directions")
def test_sampled_rows_of_many_outputs(said, monkeypatch):
    monkeypatch.setattr(sampled_curvature, "MOST_OUTPUTS", 2)
    with said:
        mapped(recipe=laplace("sampled"))
    works(laplace("sampled", directions=0))
    works(laplace("ekfac"))


@remedy("Leave directions out, or use 'ekfac', which answers along directions")
def test_sampled_rows_along_directions(said):
    with said:
        mapped(recipe=laplace("sampled", directions=1))
    works(laplace("sampled"))
    works(laplace("ekfac", directions=1))


@remedy("more than 4 GB. Use Sampled(rows=…), or fewer parameters: Laplace(subset=[...])")
def test_sampled_rows_that_are_too_many(said, monkeypatch):
    monkeypatch.setattr(cost, "NUMBERS", 13_500)
    with said:
        mapped(recipe=laplace(Sampled(rows=60)))
    rows = int(said.text.partition("Use Sampled(rows=")[2].partition(")")[0])
    works(laplace(Sampled(rows=rows)))
    works(laplace(Sampled(rows=60), subset=["2.weight", "2.bias"]))


@remedy("this estimator needs the full variances of … outputs; the posterior has directions only")
def test_estimators_along_directions(said):
    recipe = laplace("ekfac", directions=1)
    with said:
        mapped(recipe=recipe, estimator="implicit")
    with said:
        mapped(recipe=recipe, estimator="diagonal")
    for name in ("first_order", "cavity", "bounded_cavity"):
        works(recipe, estimator=name, change="exact")
    works(laplace("ekfac", directions=0), estimator="implicit")


# --- cautions ---------------------------------------------------------------------------------------------------------


@remedy("Sizes are those of the covered part and much too small for the network; read ranks with care")
def test_a_subset(said):
    m = mapped(recipe=laplace(subset=["2.weight", "2.bias"]))
    said.reads(str(m.summary()))
    checked = mm.retrain_check(m, k=4)
    assert np.isfinite(checked.slope)


@remedy("Read ranks of the sensitivity only; Laplace(...) of one network, or retraining, gives sizes")
@pytest.mark.slow
def test_deep_ensembles(said):
    nets = [trained(adam, None, 30)[0]]
    other = body()
    other[0].weight.data += 0.1
    nets.append(trained(adam, other, 30)[0])
    said.reads(str(mm.memory_map(ensemble(nets, mm.Categorical()), X, LABELS).summary()))
    m = works(mm.Laplace(prior=0.3), nets[0])
    assert mm.refit(m, top=2)["refitted"].sum() == 2


@remedy("Use an exact structure, refine(m) or refit(m), or ranks only")
@remedy(
    "first-order sizes of a network: use ranks only. refine(m, top=…) or refit(m, top=…) gives sizes of the largest"
)
@remedy("sizes by the first-order estimator, read them as ranks.", at="nets/laplace")
@pytest.mark.slow
def test_first_order_sizes(said):
    net, _ = trained(lambda net: torch.optim.Adam(net.parameters(), 0.05), steps=200)
    m = mapped(net, laplace("kfac", prior=0.01))
    said.reads(str(m.summary()))
    net, _ = trained(lambda net: torch.optim.Adam(net.parameters(), 0.05), steps=200)
    few = mapped(net, laplace("kfac", prior=20.0))
    said.reads(str(few.summary()))
    assert works(laplace("full", prior=20.0), net).provenance.estimator.name != "first_order"
    exact = mm.refine(few, top=5)
    assert mm.refit(few, top=2)["refitted"].sum() == 2
    assert stats.spearmanr(few["sensitivity"], exact["sensitivity"])[0] > 0.8


# --- optimisers -------------------------------------------------------------------------------------------------------


def state_recipe(optimizer, **options):
    return FromOptimizer(optimizer, N, **options)


@remedy("pass the one it is trained with. A copy (averaged, reloaded) of a network with several parameter groups")
def test_another_optimizer(said):
    net, optimizer = trained(adam)
    _, other = trained(adam, body(5))
    with said:
        mapped(net, state_recipe(other))
    works(state_recipe(optimizer), net)

    def named(net):
        return torch.optim.Adam(net.named_parameters(), weight_decay=0.01)

    net, optimizer = trained(named)
    works(state_recipe(optimizer), copy.deepcopy(net))


@remedy("Train with weight_decay, freeze them, or add a prior: Tracker(prior=…), FromOptimizer(prior=…)")
def test_weights_without_gradient(said):
    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.embedding, self.head = nn.Embedding(9, 4).double(), nn.Linear(4, 3).double()

        def forward(self, x):
            return self.head(self.embedding(x).mean(1))

    x = (torch.arange(2 * N) % 7).reshape(N, 2)

    def fit(decay, frozen=False):
        net = Tokens()
        net.embedding.requires_grad_(not frozen)
        optimizer = torch.optim.Adam([p for p in net.parameters() if p.requires_grad], weight_decay=decay)
        for _ in range(3):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x), LABELS).backward()
            optimizer.step()
        return net, optimizer

    def zero(net, optimizer):
        return [state.update(exp_avg_sq=state["exp_avg_sq"] * 1) for state in optimizer.state.values()]

    net, optimizer = fit(0.0)
    for group in optimizer.param_groups:
        group["eps"] = 0.0
    zero(net, optimizer)
    with said:
        mapped(net, state_recipe(optimizer), x=x)
    works(state_recipe(optimizer, prior=1.0), net, x=x)
    for found in (fit(0.01), fit(0.0, True)):
        works(state_recipe(found[1]), found[0], x=x)


@remedy("has taken no step yet: compute the map after training has begun")
def test_an_optimizer_without_steps(said):
    net, optimizer = trained(adam, steps=0)
    with said:
        mapped(net, state_recipe(optimizer))
    net, optimizer = trained(adam, steps=1)
    works(state_recipe(optimizer), net)


@remedy("contains no known precision: expected exp_avg_sq (Adam)")
def test_an_optimizer_without_precision(said):
    net, optimizer = trained(lambda net: torch.optim.Adadelta(net.parameters()))
    with said:
        mapped(net, state_recipe(optimizer))
    works(mm.Laplace(prior=1.0), net)


@remedy("is not the running mean of squared gradients as Adam's is: it contains no known precision")
def test_an_optimizer_with_another_second_moment(said):
    class Cubes(torch.optim.Adam):
        @torch.no_grad()
        def step(self, closure=None):
            super().step()
            for state in self.state.values():
                state["exp_avg_sq"].mul_(3.0)

    net, optimizer = trained(lambda net: Cubes(net.parameters()))
    with said:
        mapped(net, state_recipe(optimizer))
    works(mm.Laplace(prior=1.0), net)


@remedy("it has had no gradient. Freeze it with requires_grad_(False) if it is not trained")
def test_a_parameter_that_is_not_trained(said):
    net = body()
    net.register_parameter("unused", nn.Parameter(torch.zeros(3, dtype=torch.float64)))
    net, optimizer = trained(adam, net)
    with said:
        mapped(net, state_recipe(optimizer))
    net.unused.requires_grad_(False)
    works(state_recipe(optimizer), net)


@remedy("call optimizer.eval() before the map, optimizer.train() after it")
def test_schedule_free_optimizers(said):
    class ScheduleFree(torch.optim.Adam):
        def train(self):
            for group in self.param_groups:
                group["train_mode"] = True

        def eval(self):
            for group in self.param_groups:
                group["train_mode"] = False

    net, optimizer = trained(lambda net: ScheduleFree(net.parameters()))
    optimizer.train()
    with said:
        mapped(net, state_recipe(optimizer))
    optimizer.eval()
    works(state_recipe(optimizer), net)
    optimizer.train()


@remedy("Set the rate it was trained with, optimizer.param_groups[0]['lr'] = …, for the map")
def test_a_rate_of_zero(said):
    net, optimizer = trained(lambda net: torch.optim.SGD(net.parameters(), lr=0.1, weight_decay=0.01))
    optimizer.param_groups[0]["lr"] = 0.0
    with said:
        mapped(net, state_recipe(optimizer))
    works(mm.Laplace(prior=1.0), net)
    optimizer.param_groups[0]["lr"] = 0.1
    works(state_recipe(optimizer), net)


@remedy("pass Laplace(prior=δ) or prior='evidence'")
def test_decay_without_a_prior(said):
    class Clipped(torch.optim.SGD):
        """A decay by the sign of the weights."""

        @torch.no_grad()
        def step(self, closure=None):
            for group in self.param_groups:
                for p in group["params"]:
                    p -= group["lr"] * (p.grad + group["weight_decay"] * p.sign())

    net, optimizer = trained(lambda net: Clipped(net.parameters(), 0.1, weight_decay=0.1))
    with said:
        mm.prior_from(optimizer, N)
    for prior in (0.5, "evidence"):
        works(mm.Laplace("full", prior=prior), net)


@remedy("The optimiser's own curvature: read sizes as ranks")
def test_the_optimisers_curvature(said):
    net, optimizer = trained(lambda net: adam(net, lr=0.02), steps=300)
    m = mapped(net, state_recipe(optimizer))
    said.reads(str(m.summary()))
    truth = mapped(net, laplace("full", prior=mm.prior_from(optimizer, N)))
    assert stats.spearmanr(m["sensitivity"], truth["sensitivity"])[0] > 0.5


@remedy("compute it again with posterior=FromOptimizer(optimizer, n)")
@remedy("Give the optimiser fewer parameters (train part of the network), or fewer examples")
@pytest.mark.slow
def test_learning_rules(said, monkeypatch):
    net, optimizer = trained(adam)
    recipe = state_recipe(optimizer)
    m = mapped(net, recipe)
    nn.functional.cross_entropy(net(X), LABELS).backward()
    optimizer.step()
    with said:
        learning_rule.rule_of(m, recipe)
    m = mapped(net, recipe)
    assert learning_rule.rule_of(m, recipe).deviation([3]).ndim == 1
    monkeypatch.setattr(learning_rule, "_MAX_NUMBERS", 1000)
    with said:
        learning_rule.rule_of(m, recipe)
    part = m.filter(np.arange(N) < 5)
    assert len(part) == 5
    few = mm.memory_map(net, X[:10], LABELS[:10], likelihood="categorical", posterior=FromOptimizer(optimizer, 10))
    assert learning_rule.rule_of(few, FromOptimizer(optimizer, 10)).deviation([3]).ndim == 1

    def head(net):
        return torch.optim.Adam(net[2].parameters(), weight_decay=0.01)

    net[0].requires_grad_(False)
    net, optimizer = trained(head, net)
    m = mapped(net, state_recipe(optimizer))
    assert learning_rule.rule_of(m, state_recipe(optimizer)).deviation([3]).ndim == 1


@remedy("a sample within a sample: leave the first `with optimizer.sampled_params()` before")
@remedy("no sample since the last step: put the loss in `with optimizer.sampled_params(True):`")
def test_variational_steps(said):
    net = body()
    optimizer = VariationalNewton(net.parameters(), lr=0.1, ess=N)
    with said, optimizer.sampled_params(), optimizer.sampled_params():
        pass
    with said:
        optimizer.step()
    with optimizer.sampled_params():
        net(X)
    with optimizer.sampled_params(True):
        nn.functional.cross_entropy(net(X), LABELS).backward()
    optimizer.step()
    assert optimizer.current_step == 1


@remedy("FromOptimizer is for torch.nn.Module, got …: call memory_map without it")
def test_the_optimiser_of_another_model(said):
    x, y = X.numpy(), Y.numpy()
    model = Ridge().fit(x, y)
    with said:
        mm.memory_map(model, x, y, posterior=FromOptimizer(adam(body()), N))
    assert len(mm.memory_map(model, x, y)) == N


@remedy("is not finite: training has diverged. Load an earlier state", at="nets/optimizers/state_precision.py")
def test_optimisers_that_have_diverged(said):
    net, optimizer = trained(adam)
    weight, recipe = net[0].weight, FromOptimizer(optimizer, N)
    earlier = {name: value.clone() for name, value in optimizer.state[weight].items()}
    optimizer.state[weight]["exp_avg_sq"][0, 0] = torch.inf
    with said:
        mapped(net, recipe)
    optimizer.state[weight].update(earlier)
    works(recipe, net)


@remedy("and its prior follows from its state: call prior_from after training")
def test_priors_before_training(said):
    with said:
        mm.prior_from(torch.optim.AdamW(body().parameters(), weight_decay=0.01), N)
    net, optimizer = trained(lambda net: torch.optim.AdamW(net.parameters(), weight_decay=0.01))
    works(laplace(prior=mm.prior_from(optimizer, N)), net)


@remedy("too few for sizes, which are off by … by their own account: read …, or use …")
def test_too_few_sampled_rows(said):
    m = mapped(recipe=laplace(Sampled(rows=2)))
    said.reads(str(m.summary()))
    rows = int(str(m.summary()).partition("or use Sampled(rows=")[2].partition(")")[0])
    more = mapped(recipe=laplace(Sampled(rows=rows)))
    assert not any("too few" in line for line in more.summary().warnings)


@remedy(
    "is too few directions for sizes, which are off by … by their own account: read ranks, or use Sampled(projection="
)
def test_too_few_directions_of_sampled_rows(said):
    m = mapped(recipe=laplace(Sampled(rows=200, projection=1)))
    (words,) = [line for line in m.summary().warnings if "too few" in line]
    said.reads(words)
    kept = int(words.partition("read ranks, or use Sampled(projection=")[2].partition(")")[0])
    more = mapped(recipe=laplace(Sampled(rows=200, projection=kept)))
    assert not any("too few" in line for line in more.summary().warnings)


@remedy("fewer parameters, Laplace(subset=[...])")
def test_sampled_rows_of_which_memory_holds_too_few(said, monkeypatch):
    m = mapped(recipe=laplace(Sampled(rows=2)))
    held = len(m.origin.posterior.covariance.q)
    monkeypatch.setattr(cost.SampledCost, "most", lambda self, work: held)
    m = mapped(recipe=laplace(Sampled(rows=2)))
    said.reads(str(m.summary()))
    works(laplace(Sampled(rows=2), subset=["2.weight", "2.bias"]))
