"""What messages about GPyTorch, ArviZ, scikit-learn's perceptrons and smoothed losses say to type, typed."""

import dataclasses

import numpy as np
import pytest
from remedies import remedy
from scipy import stats
from sklearn.linear_model import LogisticRegression, SGDRegressor
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.svm import SVC

import memorymaps as mm
from memorymaps.models import Draws, LinearModel, Sampler, coefficients_of, design_of, laplace, numeric_data, psis
from memorymaps.posteriors.polish import polished

RNG = np.random.default_rng(0)
N = 40
X = RNG.normal(size=(N, 3))
Y = X @ [1.0, -0.5, 0.2] + 0.3 * RNG.normal(size=N)
BITS = (Y + RNG.normal(size=N) > 0).astype(int)


# --- perceptrons ------------------------------------------------------------------------------------------------------


def perceptron(**settings):
    return MLPClassifier(**{"hidden_layer_sizes": (4,), "solver": "lbfgs", "alpha": 1.0, "random_state": 0, **settings})


@pytest.fixture
def needs_torch():
    pytest.importorskip("torch")


@remedy("is not fitted: call model.fit(X, y) before memory_map", at="nets/interop/sklearn_mlp.py")
@remedy("does not keep its training data: pass it, memory_map(model, X, y)", at="nets/interop/sklearn_mlp.py")
@pytest.mark.slow
def test_perceptrons_without_fit_and_data(said, needs_torch):
    model = perceptron(max_iter=2000)
    with said:
        mm.memory_map(model, X, BITS)
    model.fit(X, BITS)
    with said:
        mm.memory_map(model)
    assert len(mm.memory_map(model, X, BITS)) == N


@remedy("does not record which: fit with early_stopping=False")
@pytest.mark.filterwarnings("ignore")
def test_perceptrons_that_hold_rows_out(said, needs_torch):
    model = perceptron(solver="adam", early_stopping=True)
    with said:
        mm.memory_map(model.fit(X, BITS), X, BITS)
    model = perceptron(solver="adam", early_stopping=False, max_iter=2000, learning_rate_init=0.02)
    assert len(mm.memory_map(model.fit(X, BITS), X, BITS)) == N


@remedy("the noise variance is zero and leverage is undefined. Fit again with a larger alpha")
@pytest.mark.filterwarnings("ignore")
def test_perceptrons_that_fit_exactly(said, needs_torch):
    def make(alpha):
        return MLPRegressor(hidden_layer_sizes=(4,), solver="lbfgs", alpha=alpha, max_iter=2000, random_state=0)

    model, zeros = make(0.0).fit(X, np.zeros(N)), np.zeros(N)
    model.coefs_[-1][:], model.intercepts_[-1][:] = 0.0, 0.0  # as it is after enough iterations
    with said:
        mm.memory_map(model, X, zeros)
    y = np.round(Y, 1)
    assert len(mm.memory_map(make(1.0).fit(X, y), X, y)) == N


# --- linear models of your own, losses with kinks ---------------------------------------------------------------------


def own_model(model, examples):
    design, coefficients = design_of(model), coefficients_of(model)
    return LinearModel(
        name="own", likelihood=mm.Gaussian(), coefficients=coefficients, design=design, parameters=design.parameters,
        penalty=lambda weight: np.zeros(coefficients.shape), free=np.ones(coefficients.shape, dtype=bool), prior="flat",
        dispersion=0.1,
    )  # fmt: skip


@remedy("was made without a LinearModel: make it with laplace(…)")
def test_polishing_a_posterior_of_your_own(said):
    from sklearn.linear_model import LinearRegression

    model = LinearRegression().fit(X, Y)
    examples = numeric_data(model, mm.ArrayExamples.of(X, Y))
    found = laplace(own_model(model, examples), examples)
    with said:
        polished(dataclasses.replace(found, model=None), examples)
    assert polished(found, examples).coefficients.shape == found.coefficients.shape


@remedy("Fit again with weights of like size, fewer features or a stronger penalty")
def test_smoothing_that_does_not_converge(said, monkeypatch):
    from memorymaps.models import smoothing

    model = SVC(tol=1e-9).fit(X, BITS)
    with monkeypatch.context() as hurried:
        hurried.setattr(smoothing, "_MAX_ITERATIONS", 1)
        with said:
            mm.memory_map(model, X, BITS)
    for made, x in ((SVC(tol=1e-9, C=0.1), X), (SVC(tol=1e-9), X[:, :2])):
        assert mm.memory_map(made.fit(x, BITS), x, BITS)["leverage"].sum() > 0.5


@remedy("SGD stops near the optimum, not at it: the map treats its coefficients as the optimum; see `distance`.")
def test_stochastic_gradients(said):
    model = SGDRegressor(random_state=0, max_iter=5000, tol=1e-8, alpha=0.01).fit(X, Y)
    m = mm.memory_map(model, X, Y)
    said.reads(str(m.summary()))
    assert 0 < m.provenance.description.distance < 1


# --- summaries --------------------------------------------------------------------------------------------------------


def one_hot(C=1e4, n=90, levels=30):
    rng = np.random.default_rng(3)
    codes = np.eye(levels)[rng.integers(0, levels, n)]
    labels = (codes @ rng.normal(size=levels) + rng.normal(size=n) > 0).astype(int)
    model = LogisticRegression(C=C, tol=1e-10, max_iter=100_000).fit(codes, labels)
    return model, codes, labels


@remedy("whose Newton step may be too long: read sizes as ranks, or refit(m, top=…)")
def test_long_steps(said, monkeypatch):
    from memorymaps.models.linear.newton_refit import LinearRefit

    monkeypatch.setattr(LinearRefit, "max_automatic_refits", lambda self: 1)
    m = mm.memory_map(*one_hot(C=10.0))
    said.reads(str(m.summary()))
    refitted = mm.refit(m, top=len(m))
    assert refitted["refitted"].all()
    assert stats.spearmanr(m["sensitivity"], refitted["sensitivity"])[0] > 0.8
    assert not any("too long" in line for line in refitted.summary().warnings)


@remedy("refit(m, top=…) refits without the largest, retrain_check(m) measures the agreement")
@remedy("refit(m, top=…) does so for more, retrain_check(m) measures the agreement")
@pytest.mark.slow
def test_newton_steps_of_networks(said):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1)).double()
    x, y = torch.tensor(X), torch.tensor(Y)
    optimizer = torch.optim.LBFGS(net.parameters(), max_iter=400, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = ((net(x)[:, 0] - y) ** 2).sum() / 0.2 + 0.05 * sum((p**2).sum() for p in net.parameters()) / 2
        loss.backward()
        return loss

    optimizer.step(closure)
    m = mm.memory_map(net, x, y, likelihood=mm.Gaussian(0.1), posterior=mm.Laplace("full", prior=0.05))
    text = str(m.summary())
    said.reads(text)
    more = mm.refit(m, top=5)
    said.reads(str(more.summary()))
    assert more["refitted"].sum() >= 5
    assert np.isfinite(mm.retrain_check(m, k=4).slope)


@remedy("one Newton step, which may be too long: m.leave_out(groups) refits without each")
@remedy("one Newton step, which may be too long: read as a rank")
@pytest.mark.slow
def test_groups_of_networks_by_one_step(said):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1)).double()
    x, y = torch.tensor(X), torch.tensor(Y)
    options = {"max_iter": 3000, "tolerance_grad": 1e-10, "tolerance_change": 1e-14}
    optimizer = torch.optim.LBFGS(net.parameters(), line_search_fn="strong_wolfe", **options)

    def closure():
        optimizer.zero_grad()
        loss = ((net(x)[:, 0] - y) ** 2).sum() / 0.2 + 0.5 * sum((p**2).sum() for p in net.parameters())
        loss.backward()
        return loss

    optimizer.step(closure)
    m = mm.memory_map(net, x, y, likelihood=mm.Gaussian(0.1), posterior=mm.Laplace("full", prior=1.0))
    groups = {f"{k}": [k, k + N // 2] for k in range(N // 2)}
    steps = m.leave_out(groups)
    said.reads(" ".join(steps["warning"]))
    most = int(said.text.partition("of at most ")[2].split()[0])
    assert most < len(groups)
    names = list(groups)
    refits = [m.leave_out({name: groups[name] for name in names[k : k + most]}) for k in range(0, len(names), most)]
    assert all(set(part["warning"]) == {""} for part in refits)
    sizes = np.concatenate([part["sensitivity"] for part in refits])
    assert not np.allclose(sizes, steps["sensitivity"], rtol=1e-2)
    alone = m.leave_out({f"{k}": [k] for k in range(N)})
    said.reads(" ".join(alone["warning"]))
    refitted = mm.refit(m, top=N)
    assert stats.spearmanr(alone["sensitivity"], refitted["sensitivity"])[0] > 0.8


@remedy("with a Pareto-k above the limit of importance sampling: use more draws, or refit without them")
@pytest.mark.slow
def test_pareto_k(said):
    pytest.importorskip("arviz")
    from memorymaps.models import Draws, psis

    y = Y.copy()
    y[5] += 4.0

    def mapped(draws):
        rng = np.random.default_rng(2)
        design = np.column_stack([np.ones(N), X])
        root = np.linalg.cholesky(np.linalg.inv(design.T @ design / 0.1))
        center = np.linalg.lstsq(design, y, rcond=None)[0]
        f = (center + rng.normal(size=(draws, 4)) @ root.T) @ design.T
        return mm.memory_map(Draws(f, mm.Gaussian(0.1), importance=psis), X, y)

    few = mapped(60)
    said.reads(str(few.summary()))
    many = mapped(20_000)
    assert np.count_nonzero(many["warning"] & int(mm.Warn.PARETO_K)) < np.count_nonzero(
        few["warning"] & int(mm.Warn.PARETO_K)
    )


@remedy("without which other coefficients are zero: sizes fix the zeros, refit without them")
def test_active_sets_that_change(said):
    lasso = {"penalty": "l1"} if LogisticRegression().penalty == "l2" else {"l1_ratio": 1.0}  # scikit-learn < 1.8
    rng = np.random.default_rng(1)
    x = rng.normal(size=(60, 12))
    y = (x[:, 0] + rng.normal(size=60) > 0).astype(int)

    def make():
        return LogisticRegression(**lasso, C=0.15, solver="saga", tol=1e-10, max_iter=100_000)

    m = mm.memory_map(make().fit(x, y), x, y)
    marked = np.flatnonzero(m["warning"] & int(mm.Warn.ACTIVE_SET))
    assert len(marked)
    said.reads(str(m.summary()))
    refitted = mm.refit(m, top=len(m))
    kept = np.arange(60) != marked[0]
    truth = make().fit(x[kept], y[kept]).decision_function(x[marked[:1]])[0]
    whole = make().fit(x, y).decision_function(x[marked[:1]])[0]
    assert refitted["deviation"][marked[0]] == pytest.approx(truth - whole, abs=1e-3)


@remedy("whose iteration has not converged: no fixed point (NaN), or too few steps (refine, refit)")
def test_iterations_that_do_not_converge(said):
    m = mm.memory_map(*one_hot(C=1.0))
    hurried = mm.refit(m, top=5, steps=1, tolerance=1e-12)
    said.reads(str(hurried.summary()))
    patient = mm.refit(m, top=5, steps=200)
    assert not any("not converged" in line for line in patient.summary().warnings)


@remedy("group removal has a relative residual of …: use smaller groups", at="maps")
@remedy("group removal has a relative residual of …: use smaller groups", at="analysis")
def test_groups_that_are_too_large(said, monkeypatch):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(3, 6), torch.nn.Tanh(), torch.nn.Linear(6, 2)).double()
    recipe = mm.Laplace("sampled", prior=0.1)
    m = mm.memory_map(net, torch.tensor(X), torch.tensor(BITS), likelihood="categorical", posterior=recipe)
    influence = type(m.origin.posterior.capabilities.removal)
    change = influence.parameter_change

    def inexact(self, groups):
        """A solver whose residual grows with the group."""
        return change(self, groups)[0], np.array([1e-3 * len(rows) for rows in groups])

    monkeypatch.setattr(influence, "parameter_change", inexact)
    with said:
        m.leave_out({"large": np.arange(30)})
    assert np.isfinite(m.leave_out({"small": [0, 1]})["sensitivity"][0])
    with said:
        mm.influence_on(m, torch.tensor(X[:2]), groups={"large": np.arange(30)})
    assert len(mm.influence_on(m, torch.tensor(X[:2]), groups={"small": [0, 1]})) == 2


# --- ArviZ ------------------------------------------------------------------------------------------------------------


def arviz_result(name="mu", dims=("chain", "draw", "n")):
    arviz = pytest.importorskip("arviz")
    draws = Y + 0.2 * RNG.normal(size=(2, 200, N))
    if len(dims) == 2:
        draws = draws[..., 0]
    return arviz.from_dict(posterior={name: draws}, observed_data={"y": Y})


@remedy("does not determine which variable is the model's output: from memorymaps.models.draws.arviz import from_arviz")
@remedy("expected (chain, draw, n) or (chain, draw, n, c)")
@pytest.mark.filterwarnings("ignore")
def test_arviz(said):
    from memorymaps.models.draws.arviz import from_arviz

    data, likelihood = arviz_result(), mm.Gaussian(0.1)
    with said:
        mm.memory_map(data)
    assert len(mm.memory_map(from_arviz(data, "mu", likelihood, y="y"))) == N
    with said:
        from_arviz(arviz_result(dims=("chain", "draw")), "mu", likelihood, y="y")


# --- GPyTorch ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def gp():
    """Classes of GPyTorch models of which `forward` can be changed."""
    torch = pytest.importorskip("torch")
    gpytorch = pytest.importorskip("gpytorch")
    normal = gpytorch.distributions.MultivariateNormal

    class Exact(gpytorch.models.ExactGP):
        def __init__(self, x, y, likelihood, features=lambda model, x: x):
            super().__init__(x, y, likelihood)
            self.mean_module = gpytorch.means.ConstantMean()
            self.covar_module = gpytorch.kernels.ScaleKernel(gpytorch.kernels.RBFKernel())
            self.features = features

        def forward(self, x):
            z = self.features(self, x)
            return normal(self.mean_module(z), self.covar_module(z))

    class Sparse(gpytorch.models.ApproximateGP):
        def __init__(self, z, tasks=1, distributions=None, kind=gpytorch.variational.CholeskyVariationalDistribution):
            shape = torch.Size([tasks] if tasks > 1 else [])
            own = torch.Size([distributions]) if distributions else shape
            q = kind(z.shape[-2], batch_shape=own)
            made = gpytorch.variational.VariationalStrategy(self, z, q, learn_inducing_locations=False)
            if tasks > 1:
                made = gpytorch.variational.IndependentMultitaskVariationalStrategy(made, num_tasks=tasks)
            super().__init__(made)
            self.mean_module = gpytorch.means.ConstantMean(batch_shape=shape)
            kernel = gpytorch.kernels.RBFKernel(batch_shape=shape)
            self.covar_module = gpytorch.kernels.ScaleKernel(kernel, batch_shape=shape)

        def forward(self, x):
            return normal(self.mean_module(x), self.covar_module(x))

    return type("gp", (), {"torch": torch, "gpytorch": gpytorch, "Exact": Exact, "Sparse": Sparse})


def exact(gp, features=None, **settings):
    likelihood = gp.gpytorch.likelihoods.GaussianLikelihood()
    x, y = gp.torch.tensor(X), gp.torch.tensor(Y)
    more = {} if features is None else {"features": features}
    return gp.Exact(x, y, likelihood, **more).double().eval()


@remedy("draw random features once, in __init__, self.register_buffer(…)")
@remedy("store the statistics of the training data, self.register_buffer('mean', x.mean(0))")
@pytest.mark.filterwarnings("ignore")
def test_forwards_of_gpytorch(said, gp):
    torch = gp.torch
    with said:
        mm.memory_map(exact(gp, lambda model, x: x @ torch.randn(3, 3, dtype=x.dtype)))
    drawn = exact(gp, lambda model, x: x @ model.projection)
    drawn.register_buffer("projection", torch.randn(3, 3, dtype=torch.float64))
    assert len(mm.memory_map(drawn)) == N
    with said:
        mm.memory_map(exact(gp, lambda model, x: x / x.std(0)))
    stored = exact(gp, lambda model, x: x / model.scale)
    stored.register_buffer("scale", torch.tensor(X).std(0))
    assert len(mm.memory_map(stored)) == N


@remedy("the model has no training data: call model.set_train_data(x, y)")
@remedy("ExactGP has no sample_weight: give each example its noise, FixedNoiseGaussianLikelihood")
@pytest.mark.filterwarnings("ignore")
def test_exact_processes(said, gp):
    torch, x, y = gp.torch, gp.torch.tensor(X), gp.torch.tensor(Y)
    model = gp.Exact(None, None, gp.gpytorch.likelihoods.GaussianLikelihood()).double().eval()
    with said:
        mm.memory_map(model)
    model.set_train_data(x, y, strict=False)
    assert len(mm.memory_map(model)) == N
    weight = RNG.uniform(0.5, 2.0, N)
    with said:
        mm.memory_map(model, X, Y, sample_weight=weight)
    fixed = gp.gpytorch.likelihoods.FixedNoiseGaussianLikelihood(0.1 / torch.tensor(weight))
    assert len(mm.memory_map(gp.Exact(x, y, fixed).double().eval())) == N


@remedy("does not contain its likelihood: memory_map(model, X, y, likelihood=likelihood, posterior=Variational())")
@remedy("a variational Gaussian process does not keep its training data: memory_map(model, X, y, …)")
@remedy("q(u) is not initialised yet: pass one batch through the model before the first map")
@pytest.mark.filterwarnings("ignore")
def test_variational_processes(said, gp):
    from memorymaps.nets import Variational

    likelihood, x, y = gp.gpytorch.likelihoods.GaussianLikelihood().double(), gp.torch.tensor(X), gp.torch.tensor(Y)
    model = gp.Sparse(x[:8].clone()).double()

    def draw(*data):
        return mm.memory_map(model, *data, likelihood=likelihood, posterior=Variational())

    with said:
        mm.memory_map(model, X, Y)
    with said:
        draw()
    with said:
        draw(x, y)
    model(x)
    model.eval()
    assert len(draw(x, y)) == N


@remedy("Train with CholeskyVariationalDistribution(M) or NaturalVariationalDistribution(M) in its place")
@pytest.mark.filterwarnings("ignore")
def test_variational_processes_that_are_points(said, gp):
    from memorymaps.nets import Variational

    likelihood, x = gp.gpytorch.likelihoods.GaussianLikelihood().double(), gp.torch.tensor(X)
    kinds = gp.gpytorch.variational

    def draw(kind):
        model = gp.Sparse(x[:8].clone(), kind=kind).double()
        model(x)
        return mm.memory_map(model.eval(), x, gp.torch.tensor(Y), likelihood=likelihood, posterior=Variational())

    with said:
        draw(kinds.DeltaVariationalDistribution)
    for kind in (kinds.CholeskyVariationalDistribution, kinds.NaturalVariationalDistribution):
        assert len(draw(kind)) == N


@remedy("Pass the columns of its training, no others")
@pytest.mark.filterwarnings("ignore")
def test_predictions_of_processes_at_other_columns(said, gp):
    from memorymaps.nets import Variational

    likelihood, x, y = gp.gpytorch.likelihoods.GaussianLikelihood().double(), gp.torch.tensor(X), gp.torch.tensor(Y)
    sparse = gp.Sparse(x[:8].clone()).double()
    sparse(x)
    variational = mm.memory_map(sparse.eval(), x, y, likelihood=likelihood, posterior=Variational())
    for m in (mm.memory_map(exact(gp)), variational):
        for inputs in (X[:2, :2], X[0], X[None, :2]):
            with said:
                mm.influence_on(m, inputs)
        assert set(mm.influence_on(m, X[:2], top=1)["query"]) == {0, 1}


@remedy("give each its own, CholeskyVariationalDistribution(M, batch_shape=torch.Size([…]))")
@pytest.mark.filterwarnings("ignore")
def test_processes_of_several_tasks(said, gp):
    from memorymaps.nets import Variational

    likelihood = gp.gpytorch.likelihoods.MultitaskGaussianLikelihood(num_tasks=2).double()
    x, y = gp.torch.tensor(X), gp.torch.tensor(np.column_stack([Y, -Y]))

    def draw(model):
        model.double()(x)
        return mm.memory_map(model.eval(), x, y, likelihood=likelihood, posterior=Variational())

    with said:
        draw(gp.Sparse(x[:8].clone(), tasks=2, distributions=1))
    assert len(draw(gp.Sparse(x[:8].clone(), tasks=2))) == N


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


@remedy("For other inputs map a Sampler(predict, likelihood), whose predict(inputs) returns draws [s, k] or [s, k, c]")
def test_predictions_at_inputs_without_draws(said):
    slopes = RNG.multivariate_normal(np.linalg.solve(X.T @ X, X.T @ Y), 0.1 * np.linalg.inv(X.T @ X), size=200)
    m = mm.memory_map(Draws(slopes @ X.T, mm.Gaussian(0.1)), X, Y)
    for inputs in (X[:2], X[:2].astype(int), [[0], [1]], [0.0, 1.0], [N], [-1]):
        with said:
            mm.influence_on(m, inputs)
    known = mm.influence_on(m, [0, 3], top=3)
    found = mm.influence_on(mm.memory_map(Sampler(lambda x: slopes @ x.T, mm.Gaussian(0.1)), X, Y), X[[0, 3]], top=3)
    np.testing.assert_array_equal(found["id"], known["id"])
    np.testing.assert_allclose(found["change"], known["change"], rtol=1e-9)


@remedy("Variational() needs a likelihood: pass the GPyTorch one of the training, likelihood=likelihood")
@pytest.mark.filterwarnings("ignore")
def test_variational_processes_without_likelihood(said):
    torch = pytest.importorskip("torch")
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
