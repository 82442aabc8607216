"""What messages of comparisons, selections, flips, pruning, queries and devices say to type, typed."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from remedies import remedy
from scipy import stats
from sklearn.ensemble import ExtraTreesRegressor, HistGradientBoostingRegressor
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF
from sklearn.linear_model import (
    HuberRegressor,
    Lasso,
    LinearRegression,
    PoissonRegressor,
    QuantileRegressor,
    Ridge,
)
from sklearn.preprocessing import OneHotEncoder

import memorymaps as mm
from memorymaps.analysis.answers import local_objective
from memorymaps.analysis.answers.paired_means import paired_scores
from memorymaps.maps import summary

RNG = np.random.default_rng(0)
N = 40
X = RNG.normal(size=(N, 3))
Y = X @ [1.0, -0.5, 0.2] + 0.3 * RNG.normal(size=N)
BITS = (Y + RNG.normal(size=N) > 0).astype(int)
NAMES = [f"row {i}" for i in range(N)]


def ridge(alpha=1.0, **settings):
    return mm.memory_map(Ridge(alpha).fit(X, Y), X, Y, **settings)


def tree():
    return HistGradientBoostingRegressor(max_iter=8, min_samples_leaf=6, early_stopping=False, random_state=0)


# --- comparisons ------------------------------------------------------------------------------------------------------


@remedy("compare(a, b, floor=[…]) takes maps of a's model with other seeds, or fitted to resamples")
@remedy("pass memory_map(…, ids=…) the same names, for a resample those of its rows")
def test_repeats_of_a_comparison(said):
    a, b = ridge(ids=NAMES), ridge(20.0, ids=NAMES)
    with said:
        mm.compare(a, b).movers()
    rows = np.unique(RNG.integers(0, N, N))
    model = Ridge().fit(X[rows], Y[rows])
    with said:
        mm.compare(a, b, floor=[mm.memory_map(model, X[rows], Y[rows], ids=[f"other {i}" for i in rows])])
    resample = mm.memory_map(model, X[rows], Y[rows], ids=[NAMES[i] for i in rows])
    assert len(mm.compare(a, b, floor=[resample]).movers()) >= 0


@remedy("expected the map that memory_map(model, X, y) returns, or mm.load(path) of a saved one")
def test_a_path_is_no_map(said, tmp_path):
    path = tmp_path / "m.parquet"
    ridge().save(path)
    with said:
        mm.compare(ridge(20.0), path)
    assert mm.compare(ridge(20.0), mm.load(path)).table.num_rows == N


# --- selections -------------------------------------------------------------------------------------------------------


@remedy("expected maps by name, select_model({'C = 1': a, 'C = 10': b})")
def test_one_map_is_no_selection(said):
    a, b = ridge(), ridge(20.0)
    with said:
        mm.select_model(a)
    assert len(mm.select_model({"C = 1": a, "C = 10": b}).table) == 2


@remedy("map(s): expected at least two, select_model(")
def test_one_model(said):
    a, b = ridge(), ridge(10.0)
    with said:
        mm.select_model([a])
    assert len(mm.select_model({"C = 1": a, "C = 10": b}).table) == 2


@remedy("ids are in one map only. Select the common ones, m.select(ids), or draw the maps on the same data")
@remedy(". Joined by row numbers: pass memory_map(…, ids=…) the examples' names")
def test_models_of_other_examples(said):
    a, b = ridge(), mm.memory_map(Ridge(2.0).fit(X[:30], Y[:30]), X[:30], Y[:30])
    with said:
        mm.select_model([a, b])
    assert len(mm.select_model([a.select(range(30)), b]).table) == 2
    assert len(mm.select_model([a, ridge(2.0)]).table) == 2
    order = RNG.permutation(N)
    turned = Ridge(2.0).fit(X[order], Y[order])
    with said:
        mm.select_model([a, mm.memory_map(turned, X[order], Y[order])])
    named = mm.memory_map(turned, X[order], Y[order], ids=[NAMES[i] for i in order])
    assert len(mm.select_model([ridge(ids=NAMES), named]).table) == 2


@remedy("left-out figures of … are … (…): pass cross_fit=5, which predicts each example by a refit without its fold")
@remedy("select_model(maps, by='score', cross_fit=…) ranks by the predictions alone")
@remedy("…: select_model(maps, by='score') ranks by accuracy or root mean squared error")
@remedy("may be off by more than their errors: retrain_check(m) measures it, cross_fit=5 refits")
@pytest.mark.slow
def test_models_whose_losses_do_not_compare(said):
    maps = [ridge(), mm.memory_map(HuberRegressor(tol=1e-8, max_iter=1000).fit(X, Y), X, Y)]
    with said:
        mm.select_model(maps)
    assert len(mm.select_model(maps, by="score").table) == 2
    kinked = [mm.memory_map(QuantileRegressor(alpha=a).fit(X, Y), X, Y) for a in (0.0, 0.01)]
    said.reads(str(mm.select_model(kinked, by="score")))
    assert np.isfinite(mm.retrain_check(kinked[0], k=4).slope)
    assert len(mm.select_model(kinked, by="score", cross_fit=5).table) == 2
    trees = [mm.memory_map(tree().set_params(max_iter=k).fit(X, Y), X, Y) for k in (4, 8)]
    with said:
        mm.select_model(trees)
    with said:
        mm.select_model(trees, cross_fit=5)
    assert len(mm.select_model(trees, by="score", cross_fit=5).table) == 2


@remedy("no example has a left-out prediction in all maps: refit(m, top=…) computes them")
def test_models_without_left_out_predictions(said):
    a, b = ridge(), ridge(2.0)
    hidden = a.table.set_column(a.table.column_names.index("loo_loss"), "loo_loss", [np.full(N, np.nan)])
    lost = dataclasses.replace(a, table=hidden)
    with said:
        paired_scores([lost, b]).best()
    found = mm.refit(lost, top=N)
    assert paired_scores([found, b]).best() in (0, 1)


@remedy("by='predictive' with cross_fit=…: refits have no variances. Leave cross_fit out")
def test_predictive_densities_of_refits(said):
    a, b = (
        mm.memory_map(GaussianProcessRegressor(RBF(), alpha=noise, optimizer=None).fit(X, Y), X, Y)
        for noise in (0.1, 1.0)
    )
    with said:
        mm.select_model([a, b], by="predictive", cross_fit=3)
    assert mm.select_model([a, b], by="predictive").ranked_by == "left-out predictive loss"


# --- queries ----------------------------------------------------------------------------------------------------------


@remedy("the map has no examples, nothing can be removed: ask the whole map, or m.select(ids)")
def test_queries_of_an_empty_selection(said):
    m, ids = ridge(), [7, 3]
    with said:
        mm.influence_on(m.filter(m["leverage"] < 0), X[:2])
    assert len(mm.influence_on(m, X[:1], top=None)) == N
    assert sorted(mm.influence_on(m.select(ids), X[:1], top=None)["id"]) == sorted(ids)


# --- flips and pruning ------------------------------------------------------------------------------------------------


@remedy("Coefficients of several outputs without chosen examples: m.leave_out({'chosen': ids}).coefficients()")
@remedy("expected a linear model or a GLM. Examples that change a prediction: influence_on(m, inputs)")
def test_flips_of_other_models(said):
    several = np.column_stack([Y, -Y + X[:, 0]])
    m, ids, inputs = mm.memory_map(LinearRegression().fit(X, several), X, several), [0, 3], X[:2]
    with said:
        mm.smallest_flip(m, "x0")
    assert m.leave_out({"chosen": ids}).coefficients() is not None
    m = mm.memory_map(GaussianProcessRegressor(RBF(), alpha=0.1, optimizer=None).fit(X, Y), X, Y)
    with said:
        mm.smallest_flip(m, "x0")
    assert len(mm.influence_on(m, inputs)) > 0


@remedy("with a smooth penalty or none. Without chosen examples: m.leave_out({'chosen': ids}).coefficients()")
def test_flips_of_coefficients_at_zero(said):
    ids = [0, 3]
    m = mm.memory_map(Lasso(alpha=0.1).fit(X, Y), X, Y)
    with said:
        mm.smallest_flip(m, "x0")
    rest = np.delete(np.arange(N), ids)
    refitted = np.r_[(model := Lasso(alpha=0.1).fit(X[rest], Y[rest])).intercept_, model.coef_]
    np.testing.assert_allclose(m.leave_out({"chosen": ids}).coefficients().loc["chosen"], refitted, atol=1e-4)
    assert mm.smallest_flip(ridge(), "x0").parameter == "x0"
    counts = np.round(np.exp(Y))
    smooth = PoissonRegressor(alpha=0.1, tol=1e-9, max_iter=10_000).fit(X, counts)
    assert mm.smallest_flip(mm.memory_map(smooth, X, counts), "x2").confirmed


@remedy("expected at most …. Fit on fewer rows or columns, or remove chosen groups: m.leave_out(groups)")
@remedy("or a small network with Laplace('full'). For chosen examples: m.leave_out({'chosen': ids})")
def test_pruning_other_models(said, monkeypatch):
    ids = [0, 3]
    m = mm.memory_map(tree().fit(X, Y), X, Y)
    with said:
        mm.prune(m)
    assert m.leave_out({"chosen": ids})["size"][0] == 2
    monkeypatch.setattr(local_objective, "_MAX_ROOT", 130)
    m, groups = ridge(), {"a": ids}
    with said:
        mm.prune(m)
    assert m.leave_out(groups)["size"][0] == 2
    assert mm.prune(mm.memory_map(Ridge().fit(X[:, :2], Y), X[:, :2], Y)).fewest > 0


@remedy("examples do not determine the model: keep more")
def test_pruning_too_much(said):
    m = mm.memory_map(LinearRegression().fit(X, Y), X, Y)
    with said:
        mm.prune(m, keep=1)
    least = int(said.text.partition("fewer than ")[2].split()[0])
    assert len(mm.prune(m, keep=least).kept) == least


# --- trees ------------------------------------------------------------------------------------------------------------


@remedy("held fixed no prediction is left without them (NaN); refit(m, top=…)")
@remedy("read sizes as ranks, refit(m, top=…) leaves out one at a time")
@pytest.mark.slow
def test_trees_that_are_fully_grown(said):
    rng, n = np.random.default_rng(1), 400
    x = rng.normal(size=(n, 3))
    y = x @ [1.0, -0.5, 0.2] + 0.3 * rng.normal(size=n)
    m = mm.memory_map(ExtraTreesRegressor(5, random_state=0).fit(x, y), x, y)
    said.reads(str(m.summary()))
    said.reads(summary._warning_line(mm.Warn.BOUND, 1, n, "splits of trees"))
    refitted = mm.refit(m, top=40)
    chosen = refitted["refitted"]
    assert np.all(np.isfinite(refitted["sensitivity"][chosen]))
    assert stats.spearmanr(m["sensitivity"][chosen], refitted["sensitivity"][chosen])[0] > 0.3


@remedy(
    "rows or weights: its weights sum to …, those given to …. Pass the rows of the fit, each once, and sample_weight"
)
@pytest.mark.filterwarnings("ignore")
def test_trees_with_other_weights(said):
    weight = np.where(np.arange(N) % 2, 2.0, 1.0)
    for name, kind in (("xgboost", "XGBRegressor"), ("lightgbm", "LGBMRegressor"), ("catboost", "CatBoostRegressor")):
        library = pytest.importorskip(name)
        quiet = {"verbose": 0, "allow_writing_files": False} if name == "catboost" else {"n_jobs": 1}
        quiet |= {"verbose": -1, "min_child_samples": 3} if name == "lightgbm" else {}
        model = getattr(library, kind)(n_estimators=5, **quiet).fit(X, Y, sample_weight=weight)
        try:
            with said:
                mm.memory_map(model, np.repeat(X, 2, axis=0), np.repeat(Y, 2), sample_weight=np.repeat(weight, 2))
        except AssertionError:
            continue
        assert len(mm.memory_map(model, X, Y, sample_weight=weight)) == N
        return
    raise AssertionError("no library tells its weights")


# --- networks ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def net(torch):
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2)).double()


def mapped(torch, net, **options):
    recipe = mm.Laplace("full", prior=1.0)
    x, y = torch.tensor(X), torch.tensor(BITS)
    return mm.memory_map(net, x, y, likelihood="categorical", posterior=recipe, **options)


@remedy("or leave it out: the map is then computed where the network is")
@remedy("leave device= out, and the model is evaluated where it is")
@pytest.mark.slow
def test_devices(said, torch, net):
    with said:
        mapped(torch, net, device="meta")
    assert len(mapped(torch, net, device="cpu")) == N
    assert len(mapped(torch, net)) == N
    with said:
        ridge(device="cpu")
    assert len(ridge()) == N


@remedy("Move the network itself instead, net.to(device), and leave device= out")
def test_networks_that_cannot_be_copied(said, torch, net, monkeypatch):
    from memorymaps.nets import other_device

    class Stubborn(type(net)):
        def __deepcopy__(self, memo):
            raise RuntimeError("holds an open file")

    net.__class__ = Stubborn
    with said:
        other_device._copied(net, torch.device("cpu"))
    net.to("cpu")
    assert len(mapped(torch, net)) == N


@remedy("net.load_state_dict(exported.state_dict())")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.slow
def test_exported_programs(said, torch, net):
    exported = torch.export.export(net, (torch.tensor(X),)).module()
    with said:
        mapped(torch, exported)
    own = type(net)(*[type(each)(*size) for each, size in zip(net, ((3, 4), (), (4, 2)), strict=True)]).double()
    own.load_state_dict(exported.state_dict())
    np.testing.assert_allclose(mapped(torch, own)["leverage"], mapped(torch, net)["leverage"], rtol=1e-7)


@remedy("stop that for the map, net.apply(torch.ao.quantization.disable_observer)")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.slow
def test_fake_quantisation(said, torch, net):
    net.insert(1, torch.ao.quantization.FakeQuantize())
    net.float()(torch.tensor(X, dtype=torch.float32))
    recipe = mm.Laplace("kfac", prior=1.0, subset=["3.weight", "3.bias"])
    x, y = torch.tensor(X, dtype=torch.float32), torch.tensor(BITS)
    with said:
        mm.memory_map(net, x, y, likelihood="categorical", posterior=recipe)
    net.apply(torch.ao.quantization.disable_observer)
    assert len(mm.memory_map(net, x, y, likelihood="categorical", posterior=recipe)) == N


@remedy("has no numbers: net.to_empty(device='cpu'), then net.load_state_dict(state)")
def test_networks_without_numbers(said, torch, net):
    state, empty = net.state_dict(), type(net)(*net).to("meta")
    with said:
        mapped(torch, empty)
    empty.to_empty(device="cpu")
    empty.load_state_dict(state)
    assert len(mapped(torch, empty)) == N


@remedy("make it nn.Parameter(torch.view_as_real(weight)), and torch.view_as_complex(self.weight) in forward")
def test_complex_parameters(said, torch):
    class Net(torch.nn.Module):
        def __init__(self, real):
            super().__init__()
            torch.manual_seed(0)
            weight, self.real = torch.randn(3, 2, dtype=torch.complex128), real
            self.weight = torch.nn.Parameter(torch.view_as_real(weight) if real else weight)
            self.head = torch.nn.Linear(2, 2).double()

        def forward(self, x):
            weight = torch.view_as_complex(self.weight) if self.real else self.weight
            return self.head((x.to(torch.complex128) @ weight).abs())

    with said:
        mapped(torch, Net(False))
    assert len(mapped(torch, Net(True))) == N


@remedy("use a larger prior precision, or a posterior with better curvature, Laplace('auto')")
def test_queries_that_are_not_solved(said, torch, net, monkeypatch):
    from memorymaps.nets.refit import queries

    x, y = torch.tensor(X), torch.tensor(BITS)

    def influence(structure, prior, steps):
        with monkeypatch.context() as hurried:
            hurried.setattr(queries, "_STEPS", steps)
            recipe = mm.Laplace(structure, prior=prior)
            m = mm.memory_map(net, x, y, likelihood="categorical", posterior=recipe)
            return mm.influence_on(m, x[:2])

    with said:
        influence("diag", 1e-6, 1)
    assert len(influence("diag", 100.0, 3)) > 0
    assert len(influence("auto", 1e-3, 50)) > 0


@remedy("the map has no examples, nothing can be removed: ask the whole map, or m.select(ids)")
def test_queries_of_an_empty_map(said):
    m, ids = ridge(), [0, 3]
    with said:
        mm.influence_on(m.filter(np.zeros(N, dtype=bool)), X[:2])
    assert len(mm.influence_on(m, X[:2])) > 0
    assert len(mm.influence_on(m.select(ids), X[:2])) > 0


# --- inputs of queries ------------------------------------------------------------------------------------------------


@remedy("Pass a data frame with its variables and levels, or the design's columns")
def test_queries_that_a_formula_does_not_take(said):
    frame = pd.DataFrame(X, columns=["a", "b", "c"]).assign(y=Y)
    m = mm.memory_map(smf.ols("y ~ a + np.exp(b)", frame).fit())
    with said:
        mm.influence_on(m, frame[:2][["c"]])
    design = pd.DataFrame({"Intercept": 1.0, "a": X[:2, 0], "np.exp(b)": np.exp(X[:2, 1])})
    first, second = mm.influence_on(m, frame[:2][["a", "b"]]), mm.influence_on(m, design)
    np.testing.assert_allclose(first["change"], second["change"])


@remedy("row(s) have missing values: drop or impute them", at="models/linear/statsmodels")
def test_queries_with_missing_values_of_a_formula(said):
    pytest.importorskip("statsmodels", minversion="0.15")  # the first with formulaic, which drops such rows
    from statsmodels.formula import options

    frame = pd.DataFrame(X, columns=["a", "b", "c"]).assign(y=Y)
    before, options.formula_engine = options.formula_engine, "formulaic"
    try:
        m = mm.memory_map(smf.ols("y ~ a", frame).fit())
    finally:
        options.formula_engine = before
    asked = frame[:2].assign(a=[1.0, np.nan])
    with said:
        mm.influence_on(m, asked)
    assert len(mm.influence_on(m, asked.dropna(), top=None)) == N


@remedy("Pass real and imaginary parts as columns of the fit")
def test_queries_of_complex_numbers(said):
    with said:
        mm.influence_on(ridge(), X[:2] + 1j)
    split = np.column_stack([X, 0 * X])
    assert len(mm.influence_on(mm.memory_map(Ridge().fit(split, Y), split, Y), split[:1], top=None)) == N


@remedy("lacks columns of the training data")
def test_queries_of_a_network_without_a_column(said):
    torch = pytest.importorskip("torch")
    from memorymaps import nets

    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    net = torch.nn.Linear(3, 1).double()
    m = mm.memory_map(net, frame, Y, likelihood="gaussian", posterior=nets.Laplace("full", prior=1.0))
    with said:
        mm.influence_on(m, frame[:2][["a", "b"]])
    assert len(mm.influence_on(m, frame[:2], top=None)) == 2 * N


@remedy("networks take numbers. Encode text and categories first")
def test_text_for_a_network(said):
    torch = pytest.importorskip("torch")
    from memorymaps import nets

    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    recipe = {"likelihood": "gaussian", "posterior": nets.Laplace("full", prior=1.0)}
    with said:
        mm.memory_map(torch.nn.Linear(3, 1).double(), frame.assign(c="red"), Y, **recipe)
    encoded = OneHotEncoder(sparse_output=False).fit_transform(np.array([["red"], ["blue"]] * (N // 2)))
    assert len(mm.memory_map(torch.nn.Linear(2, 1).double(), encoded, Y, **recipe)) == N
