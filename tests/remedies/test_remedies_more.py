"""What refusals say to type that have said so since every refusal has to; each typed."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from PIL import Image
from remedies import remedy
from sklearn.compose import TransformedTargetRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression, LogisticRegressionCV, PoissonRegressor, Ridge
from sklearn.multioutput import MultiOutputRegressor
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler
from sklearn_versions import RATIOS
from statsmodels.duration.hazard_regression import PHReg
from statsmodels.miscmodels.ordinal_model import OrderedModel

import memorymaps as mm
from memorymaps import measures
from memorymaps.analysis.cleanlab import for_cleanlab
from memorymaps.analysis.journal import Journal
from memorymaps.analysis.learning_events import events
from memorymaps.analysis.scale_refitted import loo_loss_scale_refitted
from memorymaps.maps.trajectory import Trajectory
from memorymaps.models import Draws, psis

RNG = np.random.default_rng(0)
N = 40
X = RNG.normal(size=(N, 3))
Y = X @ [1.0, -0.5, 0.2] + 0.3 * RNG.normal(size=N)
BITS = (Y + RNG.normal(size=N) > 0).astype(int)
COUNTS = RNG.poisson(np.exp(Y / 2))
THREE = np.argsort(np.argsort(Y + RNG.normal(size=N))) * 3 // N
SEVERAL = np.column_stack([Y, -Y])
M = mm.memory_map(Ridge().fit(X, Y), X, Y)


# --- linear models ----------------------------------------------------------------------------------------------------


@remedy("the inputs lack columns the model was fitted on, …: pass those of the fit")
def test_missing_columns(said):
    table = pd.DataFrame(X, columns=["a", "b", "c"])
    model = Ridge().fit(table, Y)
    with said:
        mm.memory_map(model, table[["a", "c"]], Y)
    assert len(mm.memory_map(model, table, Y)) == N


@remedy("one-versus-rest: fit LogisticRegression(C=…) with one of them")
@remedy("chose a different l1_ratio for each class (…): fit LogisticRegression(l1_ratio=…) with one of them")
@pytest.mark.skipif(not RATIOS, reason="before 1.8 C_ and l1_ratio_ had a value for each class, of one fit")
@pytest.mark.filterwarnings("ignore")
def test_a_penalty_for_each_class(said):
    model = LogisticRegressionCV(Cs=[0.1, 1.0], cv=3).fit(X, THREE)
    model.C_ = np.array([0.1, 1.0, 1.0])
    with said:
        mm.memory_map(model, X, THREE)
    assert len(mm.memory_map(LogisticRegression(C=0.1, tol=1e-8).fit(X, THREE), X, THREE)) == N
    model.C_, model.l1_ratio_ = np.array([0.1]), np.array([0.2, 0.5, 0.5])
    with said:
        mm.memory_map(model, X, THREE)
    model = LogisticRegression(C=0.5, l1_ratio=0.2, solver="saga", tol=1e-8, max_iter=10_000)
    assert len(mm.memory_map(model.fit(X, THREE), X, THREE)) == N


@remedy("was fitted with a penalty. Fit scikit-learn's Ridge, Lasso or ElasticNet instead")
def test_penalties_of_statsmodels(said):
    from sklearn.linear_model import ElasticNet, Lasso

    with said:
        mm.memory_map(sm.OLS(Y, X).fit_regularized(alpha=0.1))
    for make in (Ridge(alpha=0.1 * N), Lasso(alpha=0.1, tol=1e-10), ElasticNet(alpha=0.1, tol=1e-10)):
        assert len(mm.memory_map(make.fit(X, Y), X, Y)) == N
    with said:
        mm.memory_map(sm.Logit(BITS, X).fit_regularized(alpha=0.5, disp=0))
    assert len(mm.memory_map(LogisticRegression(tol=1e-8).fit(X, BITS), X, BITS)) == N


@remedy("has parameters that are not finite: it has not converged. Scale the columns, and fit again")
@pytest.mark.filterwarnings("ignore")
def test_ordered_models_that_have_not_converged(said):
    fit = lambda x: OrderedModel(THREE, x, distr="logit").fit(method="bfgs", gtol=1e-9, disp=0)  # noqa: E731
    results = fit(X)
    results.params[0] = np.nan
    with said:
        mm.memory_map(results)
    assert len(mm.memory_map(fit(StandardScaler().fit_transform(1e6 * X)))) == N


@remedy("has coefficients that are not finite: it has not converged. Scale the columns, and fit again")
def test_hazards_that_have_not_converged(said):
    time, event = RNG.exponential(np.exp(-0.3 * Y)), np.arange(N) % 2
    results = PHReg(time, X, status=event).fit()
    results.params[0] = np.nan
    with said:
        mm.memory_map(results)
    assert len(mm.memory_map(PHReg(time, StandardScaler().fit_transform(1e6 * X), status=event).fit())) == N


@remedy("target column(s): the model was fitted on …, pass these")
@remedy("target column(s) for … models: pass one for each")
def test_several_targets_in_another_number(said):
    model = MultiOutputRegressor(Ridge()).fit(X, SEVERAL)
    with said:
        mm.memory_map(model, X, Y)
    m = mm.memory_map(model, X, SEVERAL)
    with said:
        m.origin.posterior.likelihood.check_target(Y, 2)
    m.origin.posterior.likelihood.check_target(SEVERAL, 2)
    assert len(m) == N


@remedy("values that are not finite for these targets: pass those of the fit")
@pytest.mark.filterwarnings("ignore:invalid value", "ignore:divide by zero")
def test_targets_that_a_transformer_cannot_take(said):
    model = TransformedTargetRegressor(Ridge(), func=np.log, inverse_func=np.exp).fit(X, np.exp(Y))
    with said:
        mm.memory_map(model, X, -np.exp(Y))
    assert len(mm.memory_map(model, X, np.exp(Y))) == N


# --- analyses ---------------------------------------------------------------------------------------------------------


@remedy("or Bernoulli with one output and targets 0 and 1; m.top(by='error') ranks others")
def test_label_errors_of_counts(said):
    m = mm.memory_map(PoissonRegressor(tol=1e-9).fit(X, COUNTS), X, COUNTS)
    with said:
        for_cleanlab(m)
    assert m.top(1, by="error")["error"][0] == m["error"].max()


@remedy("classical measures are defined for one output; this map has …: use m['leverage'] and the other columns")
def test_measures_of_several_outputs(said):
    m = mm.memory_map(LinearRegression().fit(X, SEVERAL), X, SEVERAL)
    with said:
        measures.cooks_distance(m)
    assert m["leverage"].sum() == pytest.approx(2 * 4)


@remedy("Use the column loo_loss, which holds the scale at its value")
def test_the_scale_of_a_ridge(said):
    with said:
        loo_loss_scale_refitted(M)
    assert np.all(np.isfinite(M["loo_loss"]))


@remedy("another program has changed it. To go on: …", at="analysis/journal.py")
def test_a_journal_that_is_cut(said, tmp_path):
    path, rows = tmp_path / "journal", np.arange(3)
    f = {row: np.zeros(1) for row in rows.tolist()}
    with said, Journal.resume(path, M, f, {"memorymaps": "refit"}) as journal:
        journal.add(0, rows[:1], np.zeros((1, 1)), 0.0)
        path.write_text("")
        journal.add(1, rows[1:2], np.zeros((1, 1)), 0.0)
    with Journal.resume(tmp_path / "another", M, f, {"memorymaps": "refit"}) as journal:
        journal.add(1, rows[1:2], np.zeros((1, 1)), 0.0)


@pytest.fixture
def run(tmp_path):
    """The run of a regression."""
    torch = pytest.importorskip("torch")
    net = torch.nn.Linear(3, 1).double()
    x, y = torch.tensor(X), torch.tensor(Y)
    options = {
        "likelihood": "gaussian",
        "posterior": mm.Laplace("diag", prior=1.0),
        "path": tmp_path / "run",
        "every": 1,
    }
    with mm.Tracker(net, None, x, y, **options) as tracker:
        for _ in range(3):
            net.weight.data += 0.1
            tracker.step()
    return Trajectory.load(tmp_path / "run")


@remedy("learning events need maps of classes: the likelihood of these maps has none. Use run.example(id)")
@remedy("cartography needs maps of classes: the likelihood of these maps has none. Use example(id) or rank_evolution()")
def test_runs_of_regressions(said, run):
    with said:
        events(run)
    with said:
        run.cartography()
    assert run.example(3).index.tolist() == run.steps
    assert run.rank_evolution()[1].shape[0] == 3


@remedy("a posterior covariance needs two at least. Pass more, better hundreds")
@remedy("importance sampling fits the tail of the weights and needs at least 25. Pass more, better 1,000")
def test_few_draws(said):
    pytest.importorskip("arviz")
    draws = Y + 0.2 * RNG.normal(size=(1000, N))
    with said:
        Draws(draws[:1], mm.Gaussian(0.1))
    with said:
        mm.memory_map(Draws(draws[:10], mm.Gaussian(0.1), importance=psis), X, Y)
    assert len(mm.memory_map(Draws(draws[:200], mm.Gaussian(0.1)), X, Y)) == N
    assert len(mm.memory_map(Draws(draws, mm.Gaussian(0.1), importance=psis), X, Y)) == N


# --- networks ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


@remedy("target(s) are not finite, row … is …: drop such rows")
def test_custom_losses_of_missing_targets(said, torch):
    loss = mm.Custom(lambda f, y: (f[:, 0] - y) ** 2, predict=lambda f: f[:, 0])
    x, y = torch.tensor(X), torch.tensor(Y)
    y[4] = torch.nan

    def draw(x, y):
        net = torch.nn.Linear(3, 1).double()
        return mm.memory_map(net, x, y, likelihood=loss, posterior=mm.Laplace(prior=1.0))

    with said:
        draw(x, y)
    kept = torch.isfinite(y)
    assert len(draw(x[kept], y[kept])) == N - 1


@remedy("all its draws would be the same. Map the network itself, posterior=Laplace(prior=δ)")
def test_dropout_of_a_network_without(said, torch):
    net = torch.nn.Linear(3, 2).double()
    with said:
        mm.nets.mc_dropout(net, mm.Categorical())
    x, y = torch.tensor(X), torch.tensor(BITS)
    assert len(mm.memory_map(net, x, y, likelihood="categorical", posterior=mm.Laplace(prior=1.0))) == N


@remedy("FromOptimizer is for torch.nn.Module, got …: call memory_map without it")
def test_the_optimiser_of_another_model(said, torch):
    optimizer = torch.optim.SGD(torch.nn.Linear(3, 2).parameters(), 0.1)
    model = Ridge().fit(X, Y)
    with said:
        mm.memory_map(model, X, Y, posterior=mm.FromOptimizer(optimizer, N))
    assert len(mm.memory_map(model, X, Y)) == N


@remedy("is not finite: training has diverged. Load an earlier state", at="nets/optimizers/state_precision.py")
def test_optimisers_that_have_diverged(said, torch):
    net = torch.nn.Linear(3, 2).double()
    x, y = torch.tensor(X), torch.tensor(BITS)
    optimizer = torch.optim.Adam(net.parameters(), weight_decay=0.01)
    torch.nn.functional.cross_entropy(net(x), y).backward()
    optimizer.step()
    earlier = {name: value.clone() for name, value in optimizer.state[net.weight].items()}
    optimizer.state[net.weight]["exp_avg_sq"][0, 0] = torch.inf
    draw = lambda: mm.memory_map(net, x, y, likelihood="categorical", posterior=mm.FromOptimizer(optimizer, N))  # noqa: E731
    with said:
        draw()
    optimizer.state[net.weight].update(earlier)
    assert len(draw()) == N


@remedy("and its prior follows from its state: call prior_from after training")
def test_priors_before_training(said, torch):
    net = torch.nn.Linear(3, 2).double()
    x, y = torch.tensor(X), torch.tensor(BITS)
    optimizer = torch.optim.AdamW(net.parameters(), weight_decay=0.01)
    with said:
        mm.prior_from(optimizer, N)
    torch.nn.functional.cross_entropy(net(x), y).backward()
    optimizer.step()
    recipe = mm.Laplace(prior=mm.prior_from(optimizer, N))
    assert len(mm.memory_map(net, x, y, likelihood="categorical", posterior=recipe)) == N


@remedy("no parameter to cover: none requires a gradient. For the map, net.requires_grad_(True)")
def test_frozen_networks(said, torch):
    net = torch.nn.Linear(3, 2).double().requires_grad_(False)
    x, y, recipe = torch.tensor(X), torch.tensor(BITS), mm.Laplace(prior=1.0)
    with said:
        mm.memory_map(net, x, y, likelihood="categorical", posterior=recipe)
    net.requires_grad_(True)
    assert len(mm.memory_map(net, x, y, likelihood="categorical", posterior=recipe)) == N


@remedy("Call posterior.marginals(inputs) for new inputs")
def test_new_inputs_of_sampled_rows(said, torch):
    net, x, y = torch.nn.Linear(3, 2).double(), torch.tensor(X), torch.tensor(BITS)
    m = mm.memory_map(net, x, y, likelihood="categorical", posterior=mm.Laplace("sampled", prior=1.0))
    posterior = m.origin.posterior
    (batch,) = m.origin.examples
    with said:
        posterior.training_marginals(dataclasses.replace(batch, ids=batch.ids + N))
    inputs = x[:5] + 0.1
    assert posterior.marginals(inputs).variance.shape == (5, 2, 2)


@remedy("the model was fitted on …. Pass these, in this order", at="nets/interop/sklearn_mlp.py")
def test_columns_in_another_order(said, torch):
    table = pd.DataFrame(X, columns=["a", "b", "c"])
    model = MLPClassifier((4,), solver="lbfgs", alpha=1.0, max_iter=2000, random_state=0).fit(table, BITS)
    with said:
        mm.memory_map(model, table[["b", "a", "c"]], BITS)
    assert len(mm.memory_map(model, table[["a", "b", "c"]], BITS)) == N


@remedy("Variational() needs a likelihood: pass the GPyTorch one of the training, likelihood=likelihood")
@pytest.mark.filterwarnings("ignore")
def test_variational_processes_without_likelihood(said, torch):
    gpytorch = pytest.importorskip("gpytorch")

    class Sparse(gpytorch.models.ApproximateGP):
        def __init__(self, z):
            q = gpytorch.variational.CholeskyVariationalDistribution(len(z))
            super().__init__(gpytorch.variational.VariationalStrategy(self, z, q))
            self.mean_module, self.covar_module = gpytorch.means.ZeroMean(), gpytorch.kernels.RBFKernel()

        def forward(self, x):
            return gpytorch.distributions.MultivariateNormal(self.mean_module(x), self.covar_module(x))

    x, y = torch.tensor(X), torch.tensor(Y)
    model, likelihood = Sparse(x[:8].clone()).double(), gpytorch.likelihoods.GaussianLikelihood().double()
    model(x)
    model.eval()
    with said:
        mm.memory_map(model, x, y, posterior=mm.nets.Variational())
    assert len(mm.memory_map(model, x, y, likelihood=likelihood, posterior=mm.nets.Variational())) == N


# --- the explorer -----------------------------------------------------------------------------------------------------


@remedy("the compared map shares no id with this one: pass memory_map(…, ids=…) the same names in both")
@remedy("of the map's … ids: pass maps of the same examples")
@remedy("more than once: pass one row for each")
def test_pages_of_other_examples(said, tmp_path):
    model, names, path = Ridge().fit(X, Y), [f"row {i}" for i in range(N)], tmp_path / "page.html"
    other = mm.memory_map(model, X, Y, ids=np.arange(N) + 100)
    with said:
        M.explore(path, compare=other)
    with said:
        M.explore(path, trajectory={0: M, 1: other})
    named = [mm.memory_map(model, X, Y, ids=names) for _ in range(2)]
    named[0].explore(path, compare=named[1])
    named[0].explore(path, trajectory=dict(enumerate(named)))
    with said:
        named[0].explore(path, payload=pd.DataFrame({"id": [*names, "row 3"], "a": 0}))
    named[0].explore(path, payload=pd.DataFrame({"id": names, "a": 0}))
    assert path.stat().st_size > 0


@remedy("pass paths of files that exist, or the pictures as arrays")
def test_pictures_that_cannot_be_read(said, tmp_path):
    page, pictures = tmp_path / "page.html", RNG.integers(0, 255, (N, 8, 8)).astype("uint8")
    with said:
        M.explore(page, payload=[str(tmp_path / f"missing{i}.png") for i in range(N)])
    paths = [tmp_path / f"{i}.png" for i in range(N)]
    for path, picture in zip(paths, pictures, strict=True):
        Image.fromarray(picture).save(path)
    M.explore(page, payload=list(map(str, paths)))
    M.explore(page, payload=pictures)
    assert page.stat().st_size > 0
