"""Networks, ensembles, boosters and Gaussian processes that changed after their map: its parts refuse, by name."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from sklearn.compose import TransformedTargetRegressor
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import memorymaps as mm
from memorymaps.data.examples import DataError
from memorymaps.posteriors.model_state import ModelState

rng = np.random.default_rng(0)
X = rng.normal(size=(60, 3))
Y = X @ [1.0, -2.0, 0.5] + 0.3 * rng.normal(size=60)


def refused(m, later, name):
    with pytest.raises(DataError, match=rf"{name}.* has changed since the map was drawn.*memory_map\(…\)"):
        later(m)


# --- networks ------------------------------------------------------------------------------------------------------


def network():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Tanh(), torch.nn.Linear(4, 1))
    x, y = torch.tensor(X, dtype=torch.float32), torch.tensor(Y, dtype=torch.float32)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01, weight_decay=0.01)
    return net, x, y, optimizer


def train(net, x, y, optimizer, steps=1):
    for _ in range(steps):
        optimizer.zero_grad()
        ((net(x)[:, 0] - y) ** 2).mean().backward()
        optimizer.step()


def map_of(net, x, y, recipe):
    return mm.memory_map(net, x, y, likelihood="gaussian", posterior=recipe)


LATER = {
    "leave_out": lambda m: m.leave_out({"g": [1, 2, 3]}),
    "refit": lambda m: mm.refit(m, top=2, steps=3),
    "refine": lambda m: mm.refine(m, top=2, steps=3),
    "retrain_check": lambda m: mm.retrain_check(m, lambda removed, wanted: m["output"][wanted], k=2),
}
RECIPES = {
    "Laplace": lambda optimizer: mm.Laplace("kfac", prior=1.0),
    "FromOptimizer": lambda optimizer: mm.FromOptimizer(optimizer, 60, prior=1.0),
}


@pytest.mark.slow
@pytest.mark.parametrize("later", LATER)
@pytest.mark.parametrize("recipe", RECIPES)
def test_a_network_that_was_trained_on_is_refused_and_a_new_map_is_not(recipe, later):
    net, x, y, optimizer = network()
    train(net, x, y, optimizer, 5)
    m = map_of(net, x, y, RECIPES[recipe](optimizer))
    LATER[later](m)
    train(net, x, y, optimizer)
    refused(m, LATER[later], "Sequential")
    LATER[later](map_of(net, x, y, RECIPES[recipe](optimizer)))


def _one_weight(net):
    net[0].weight.data[1, 2] += 1e-4


def _running_statistics(net):
    net.train()
    net(net[0].weight.new_ones(8, 3))
    net.eval()


def _loaded(net):
    net.load_state_dict({name: 2 * value for name, value in net.state_dict().items()})


@pytest.mark.slow
@pytest.mark.parametrize("change", [_one_weight, _running_statistics, _loaded])
def test_any_parameter_or_buffer_counts(change):
    net, x, y, _ = network()
    m = map_of(net, x, y, mm.Laplace("diag", prior=1.0))
    change(net)
    refused(m, LATER["leave_out"], "Sequential")


@pytest.mark.slow
def test_using_a_network_is_no_change_and_weights_put_back_are_the_old_ones():
    net, x, y, optimizer = network()
    m = map_of(net, x, y, mm.Laplace("diag", prior=1.0))
    before = copy.deepcopy(net.state_dict())
    net.eval()
    net(x)
    LATER["leave_out"](m)
    net.train()
    train(net, x, y, optimizer)
    refused(m, LATER["leave_out"], "Sequential")
    net.load_state_dict(before)
    LATER["leave_out"](m)


def test_large_tensors_are_seen_by_sums_and_samples(monkeypatch):
    torch = pytest.importorskip("torch")
    from memorymaps.nets import parameter_bits

    layer = torch.nn.Linear(40, 50)
    whole = ModelState.of(layer)
    monkeypatch.setattr(parameter_bits, "_WHOLE", 100)
    state = ModelState.of(layer)
    assert state.parameters != whole.parameters
    layer.weight.data[7, 3] = torch.nextafter(layer.weight.data[7, 3], torch.tensor(9.0))
    with pytest.raises(DataError, match="Linear has changed"):
        state.check_unchanged()


@pytest.mark.parametrize("kind", ["bfloat16", "float16", "complex64", "int8", "bool"])
def test_tensors_of_every_type_have_a_state(kind):
    torch = pytest.importorskip("torch")
    layer = torch.nn.Linear(2, 2)
    layer.register_buffer("own", torch.ones(3, 2).to(getattr(torch, kind)).T)
    state = ModelState.of(layer)
    state.check_unchanged()
    layer.own[0, 1] = 0
    with pytest.raises(DataError, match="has changed"):
        state.check_unchanged()


def test_ensembles_snapshots_and_dropout_know_their_networks():
    torch = pytest.importorskip("torch")
    from memorymaps.core.likelihoods.exponential_family import Gaussian
    from memorymaps.nets import ensemble, mc_dropout, snapshots

    x, y = torch.tensor(X, dtype=torch.float32), torch.tensor(Y, dtype=torch.float32)
    nets = [torch.nn.Sequential(torch.nn.Dropout(0.5), torch.nn.Linear(3, 1)) for _ in range(8)]
    states = [net.state_dict() for net in nets]
    made = {
        "deep ensemble": ensemble(nets, Gaussian(0.1)),
        "8 snapshots": snapshots(nets[0], states, Gaussian(0.1)),
        "MC-dropout": mc_dropout(nets[0], Gaussian(0.1), draws=8),
    }
    maps = {name: mm.memory_map(sampler, x, y) for name, sampler in made.items()}
    for m in maps.values():
        m.leave_out({"g": [1, 2]})
    nets[0][1].bias.data += 0.1
    for name, m in maps.items():
        refused(m, LATER["leave_out"], name)


# --- boosting ------------------------------------------------------------------------------------------------------


def _xgboost_booster(lib):
    data = lib.DMatrix(X, Y)
    model = lib.train({"max_depth": 2, "base_score": 0.0}, data, 5)

    def go_on():
        for k in range(5):
            model.update(data, 5 + k)
        return Y

    return model, go_on


def _again(model):
    model.fit(X, Y)
    other = np.roll(Y, 1)

    def go_on():
        model.fit(X, other)
        return other

    return model, go_on


def _lightgbm_booster(lib):
    settings = {"min_data_in_leaf": 5, "verbosity": -1, "num_threads": 1}
    model = lib.train(settings, lib.Dataset(X, Y, free_raw_data=False), 5, keep_training_booster=True)

    def go_on():
        model.update()
        return Y

    return model, go_on


BOOSTERS = {
    "xgboost Booster": ("xgboost", _xgboost_booster),
    "XGBRegressor": ("xgboost", lambda lib: _again(lib.XGBRegressor(n_estimators=5, max_depth=2))),
    "lightgbm Booster": ("lightgbm", _lightgbm_booster),
    "LGBMRegressor": ("lightgbm", lambda lib: _again(lib.LGBMRegressor(n_estimators=5, verbosity=-1, n_jobs=1))),
    "CatBoostRegressor": (
        "catboost",
        lambda lib: _again(
            lib.CatBoostRegressor(iterations=5, depth=2, verbose=False, leaf_estimation_method="Newton",
                                  allow_writing_files=False, thread_count=1)
        ),
    ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("kind", BOOSTERS)
def test_boosters_that_were_trained_on_or_fitted_again_are_refused(kind):
    library, make = BOOSTERS[kind]
    model, go_on = make(pytest.importorskip(library))
    m, again = (mm.memory_map(model, X, Y) for _ in range(2))
    assert m.provenance.model_state == again.provenance.model_state != ""
    m.leave_out({"g": [1, 2, 3]})
    target = go_on()
    refused(m, LATER["leave_out"], type(model).__name__)
    refused(m, LATER["retrain_check"], type(model).__name__)
    mm.memory_map(model, X, target).leave_out({"g": [1, 2, 3]})


def test_boosters_inside_a_pipeline_count():
    xgboost = pytest.importorskip("xgboost")
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), xgboost.XGBRegressor(n_estimators=5, max_depth=2)).fit(X, Y)
    m = mm.memory_map(model, X, Y)
    model[-1].fit(StandardScaler().fit_transform(X), np.roll(Y, 1))
    refused(m, LATER["leave_out"], "Pipeline")


# --- other packages ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("owner", "own"),
    [
        (lambda bare: GridSearchCV(bare, {}, cv=2), "best_estimator_"),
        (lambda bare: TransformedTargetRegressor(bare, check_inverse=False), "regressor_"),
    ],
)
def test_an_estimator_that_was_cloned_may_be_fitted_by_its_owner(owner, own):
    bare = Ridge(alpha=0.5)
    model = owner(bare).fit(X, Y)
    m = mm.memory_map(model, X, Y)
    bare.fit(X[:20], Y[:20])
    assert len(LATER["leave_out"](m)) == 1
    bare.alpha = 7.0  # what its clone was not told
    refused(m, LATER["leave_out"], type(model).__name__)
    bare.alpha = 0.5
    assert len(LATER["leave_out"](m)) == 1
    getattr(model, own).coef_ = 2 * getattr(model, own).coef_
    refused(m, LATER["leave_out"], type(model).__name__)


def test_an_estimator_that_a_pipeline_has_fitted_is_its_own():
    bare = Ridge(alpha=0.5)
    model = make_pipeline(StandardScaler(), bare).fit(X, Y)
    m = mm.memory_map(model, X, Y)
    bare.fit(X[:20], Y[:20])
    refused(m, LATER["leave_out"], "Pipeline")


def test_draws_that_were_edited_in_place_are_refused():
    from memorymaps.core.likelihoods.exponential_family import Gaussian
    from memorymaps.models.draws.draws import Draws

    f = rng.normal(size=(50, 60, 1))
    m = mm.memory_map(Draws(f, Gaussian(1.0)), X, Y)
    m.leave_out({"g": [1, 2]})
    f[3] += 1
    refused(m, LATER["leave_out"], "draws")


def test_laplace_torch_posteriors_know_prior_and_weights():
    torch = pytest.importorskip("torch")
    laplace = pytest.importorskip("laplace")
    x, y = torch.tensor(X, dtype=torch.float32), torch.tensor(Y, dtype=torch.float32)[:, None]
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=30)
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))
    la = laplace.Laplace(net, "regression", subset_of_weights="all", hessian_structure="full")
    la.fit(loader)
    m = mm.memory_map(la, x, y[:, 0])
    m.origin.check_unchanged()
    la.prior_precision = 7.0
    with pytest.raises(DataError, match="FullLaplace has changed"):
        m.origin.check_unchanged()


def test_gaussian_processes_of_gpytorch_know_their_hyperparameters():
    torch = pytest.importorskip("torch")
    gpytorch = pytest.importorskip("gpytorch")

    class Process(gpytorch.models.ExactGP):
        def __init__(self, x, y, likelihood):
            super().__init__(x, y, likelihood)
            self.mean, self.kernel = gpytorch.means.ConstantMean(), gpytorch.kernels.RBFKernel()

        def forward(self, x):
            return gpytorch.distributions.MultivariateNormal(self.mean(x), self.kernel(x))

    x, y = torch.tensor(X), torch.tensor(Y)
    model = Process(x, y, gpytorch.likelihoods.GaussianLikelihood()).double()
    m = mm.memory_map(model, X, Y)
    m.leave_out({"g": [1, 2]})
    model.kernel.lengthscale = 3.0
    refused(m, LATER["leave_out"], "Process")
