"""GPyTorch's Gaussian processes against dense algebra, refits and GPyTorch itself."""

import numpy as np
import pytest
import scipy.stats

from memorymaps import memory_map
from memorymaps.analysis.predictive import loo_predictive
from memorymaps.training.tracker import Tracker

torch = pytest.importorskip("torch")
gpytorch = pytest.importorskip("gpytorch")

from memorymaps.nets import Variational  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")


class Exact(gpytorch.models.ExactGP):
    def __init__(self, x, y, likelihood):
        super().__init__(x, y, likelihood)
        self.mean_module = gpytorch.means.ConstantMean()
        self.covar_module = gpytorch.kernels.ScaleKernel(gpytorch.kernels.RBFKernel())

    def forward(self, x):
        return gpytorch.distributions.MultivariateNormal(self.mean_module(x), self.covar_module(x))


class Sparse(gpytorch.models.ApproximateGP):
    def __init__(self, z, tasks=1, strategy=gpytorch.variational.VariationalStrategy):
        shape = torch.Size([tasks] if tasks > 1 else [])
        q = gpytorch.variational.CholeskyVariationalDistribution(z.shape[-2], batch_shape=shape)
        made = strategy(self, z, q, learn_inducing_locations=False)
        if tasks > 1:
            made = gpytorch.variational.IndependentMultitaskVariationalStrategy(made, num_tasks=tasks)
        super().__init__(made)
        self.mean_module = gpytorch.means.ConstantMean(batch_shape=shape)
        kernel = gpytorch.kernels.RBFKernel(batch_shape=shape)
        self.covar_module = gpytorch.kernels.ScaleKernel(kernel, batch_shape=shape)

    def forward(self, x):
        return gpytorch.distributions.MultivariateNormal(self.mean_module(x), self.covar_module(x))


class Several(gpytorch.models.ExactGP):
    """Two tasks with a shared kernel, or one kernel for each (`batch`)."""

    def __init__(self, x, y, likelihood, batch=False):
        super().__init__(x, y, likelihood)
        k, self.batch = gpytorch.kernels, batch
        if batch:
            self.mean_module = gpytorch.means.ConstantMean(batch_shape=torch.Size([2]))
            self.covar_module = k.ScaleKernel(k.RBFKernel(batch_shape=torch.Size([2])), batch_shape=torch.Size([2]))
            self.covar_module.base_kernel.lengthscale = torch.tensor([0.5, 1.5])[:, None, None]
        else:
            self.mean_module = gpytorch.means.MultitaskMean(gpytorch.means.ConstantMean(), num_tasks=2)
            self.covar_module = k.MultitaskKernel(k.RBFKernel(), num_tasks=2, rank=2)

    def forward(self, x):
        d = gpytorch.distributions
        if self.batch:
            return d.MultitaskMultivariateNormal.from_batch_mvn(
                d.MultivariateNormal(self.mean_module(x), self.covar_module(x))
            )
        return d.MultitaskMultivariateNormal(self.mean_module(x), self.covar_module(x))


class Mixed(Sparse):
    """`tasks` outputs that are mixtures of two latent processes."""

    def __init__(self, z, tasks, strategy=gpytorch.variational.LMCVariationalStrategy):
        super().__init__(z, tasks=2)
        inner, more = self.variational_strategy.base_variational_strategy, {}
        if strategy is gpytorch.variational.LMCVariationalStrategy:
            more = {"num_latents": 2}
        self.variational_strategy = strategy(inner, num_tasks=tasks, **more)


def data(n=30, dtype=torch.float64):
    g = torch.Generator().manual_seed(0)
    x = torch.rand(n, 2, generator=g, dtype=torch.float64) * 4
    y = torch.sin(x[:, 0]) + 0.1 * torch.randn(n, generator=g, dtype=torch.float64)
    return x.to(dtype), y.to(dtype)


def exact(x, y, noise=None):
    if noise is None:
        likelihood = gpytorch.likelihoods.GaussianLikelihood().to(x)
        likelihood.noise = 0.05
    else:
        likelihood = gpytorch.likelihoods.FixedNoiseGaussianLikelihood(noise=noise)
    return Exact(x, y, likelihood).to(x)


def dense(model, x, y, noise):
    with torch.no_grad():
        k = model.covar_module(x).to_dense().double().numpy()
    a = np.linalg.inv(k + np.diag(noise))
    r = y.double().numpy()
    return r - (a @ r) / np.diag(a), 1 / np.diag(a)


@pytest.mark.parametrize("fixed", [False, True])
def test_exact_leave_one_out_equals_dense_algebra_and_the_mode_is_unchanged(fixed):
    x, y = data()
    noise = torch.linspace(0.01, 0.2, len(y), dtype=torch.float64) if fixed else None
    model = exact(x, y, noise)
    m = memory_map(model)  # carries its data; still in train mode
    assert model.training
    assert model.covar_module.training
    mean, variance = dense(model, x, y, np.full(len(y), 0.05) if noise is None else noise.numpy())
    found = loo_predictive(m)
    np.testing.assert_allclose(found.mean[:, 0], mean, atol=1e-8)
    np.testing.assert_allclose(found.variance[:, 0], variance, atol=1e-8)
    model.eval()
    with torch.no_grad():
        np.testing.assert_allclose(m["prediction"], model(x).mean.numpy(), atol=1e-6)


def test_exact_in_float32_keeps_five_digits():
    x, y = data(dtype=torch.float32)
    model = exact(x, y)
    m = memory_map(model, x.numpy(), y.numpy())
    np.testing.assert_allclose(loo_predictive(m).mean[:, 0], dense(model, x, y, np.full(30, 0.05))[0], atol=1e-4)


def test_exact_refuses_other_data_and_weights():
    x, y = data()
    with pytest.raises(ValueError, match="not those"):
        memory_map(exact(x, y), x.numpy() + 1, y.numpy())
    with pytest.raises(ValueError, match="FixedNoise"):
        memory_map(exact(x, y), x.numpy(), y.numpy(), sample_weight=np.ones(30))


def several(rank=0, batch=False):
    torch.manual_seed(1)
    x, y = data(14)
    y = torch.stack([y, torch.cos(x[:, 1]) + 0.3 * y], dim=1)
    likelihood = gpytorch.likelihoods.MultitaskGaussianLikelihood(num_tasks=2, rank=rank)
    likelihood.noise = 0.03
    if rank == 0:
        likelihood.task_noises = torch.tensor([0.02, 0.2])
    return Several(x, y, likelihood.double(), batch).double(), x, y


SEVERAL = {"shared": {}, "correlated noise": {"rank": 1}, "own kernels": {"batch": True}}


def conditioned(model, x, y, kept, asked):
    """GPyTorch's posterior of all tasks at the inputs `asked`, given the examples `kept`."""
    again = Several(x[kept], y[kept], model.likelihood, model.batch).double()
    again.load_state_dict(model.state_dict())
    again.eval()
    with torch.no_grad(), gpytorch.settings.fast_computations(False, False, False):
        f = again(x[asked])
        covariance = np.stack([f[k].covariance_matrix.numpy() for k in range(len(asked))])
        noise = model.likelihood(f).covariance_matrix - f.covariance_matrix
    return (
        f.mean.numpy(),
        covariance,
        noise.numpy()[:2, :2] if not model.batch else np.diag(noise.numpy()[[0, -1], [0, -1]]),
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", SEVERAL)
def test_several_tasks_without_an_example_equal_gpytorch_without_it(name):
    model, x, y = several(**SEVERAL[name])
    m = memory_map(model)
    assert model.training
    found = loo_predictive(m)
    for i in range(14):
        kept = [j for j in range(14) if j != i]
        mean, covariance, noise = conditioned(model, x, y, kept, [i])
        np.testing.assert_allclose(m["loo_prediction"][i], mean[0], atol=1e-8)
        np.testing.assert_allclose(found.variance[i], np.diagonal(covariance[0] + noise), atol=1e-8)
        expected = scipy.stats.multivariate_normal(mean[0], covariance[0] + noise).logpdf(y[i].numpy())
        assert found.log_density[i] == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize("name", SEVERAL)
def test_several_tasks_without_a_group_equal_gpytorch_without_it(name):
    model, x, y = several(**SEVERAL[name])
    m = memory_map(model)
    gone = [2, 5, 9]
    mean, _, _ = conditioned(model, x, y, [j for j in range(14) if j not in gone], list(range(14)))
    rest = np.delete(np.abs(mean - m["prediction"]).sum(axis=1), gone)
    assert m.leave_out({"a": gone})["rest_sensitivity"][0] == pytest.approx(rest.sum(), abs=1e-7)


@pytest.mark.parametrize("name", SEVERAL)
def test_several_tasks_between_the_examples_are_gpytorchs(name):
    model, x, _ = several(**SEVERAL[name])
    found = memory_map(model).origin.posterior.marginals(x.numpy()[:3] + 0.3)
    model.eval()
    with torch.no_grad(), gpytorch.settings.fast_computations(False, False, False):
        f = model(x[:3] + 0.3)
        covariance = [f[k].covariance_matrix.numpy() for k in range(3)]
    np.testing.assert_allclose(found.f, f.mean.numpy(), atol=1e-8)
    np.testing.assert_allclose(found.variance, covariance, atol=1e-8)


def test_leverages_of_several_tasks_add_up_to_the_effective_parameters():
    m = memory_map(several(rank=1)[0])
    assert m["leverage"].sum() == pytest.approx(m.provenance.description.effective_parameters, rel=1e-9)


def test_several_tasks_need_a_target_for_each():
    model, x, y = several()
    model.set_train_data(x, y[:, 0], strict=False)
    with pytest.raises(ValueError, match=r"expected \(14, 2\)"):
        memory_map(model)


def optimal(model, x, y, noise):
    """Put the optimal Gaussian q(u) for inducing points = data into a whitened or unwhitened strategy."""
    with torch.no_grad():
        k = model.covar_module(x).to_dense() + model.variational_strategy.jitter_val * torch.eye(len(x)).to(x)
        gain = torch.linalg.solve(k + noise * torch.eye(len(x)).to(x), k).T
        mean, covariance = gain @ y, k - gain @ k
        q = model.variational_strategy._variational_distribution
        if isinstance(model.variational_strategy, gpytorch.variational.VariationalStrategy):
            half = torch.linalg.cholesky(k)
            mean = torch.linalg.solve_triangular(half, mean[:, None], upper=False)[:, 0]
            inner = torch.linalg.solve_triangular(half, covariance, upper=False)
            covariance = torch.linalg.solve_triangular(half, inner.T, upper=False)
        q.variational_mean.copy_(mean)
        q.chol_variational_covar.copy_(torch.linalg.cholesky(covariance + 1e-12 * torch.eye(len(x)).to(x)))
        model.variational_strategy.variational_params_initialized.fill_(1)


@pytest.mark.parametrize(
    "strategy", [gpytorch.variational.VariationalStrategy, gpytorch.variational.UnwhitenedVariationalStrategy]
)
def test_svgp_with_inducing_points_at_the_data_equals_the_exact_process(strategy):
    x, y = data()
    reference, model = exact(x, y), Sparse(x.clone(), strategy=strategy).double()
    model.variational_strategy.jitter_val = 1e-10
    optimal(model, x, y, 0.05)
    m = memory_map(model, x.numpy(), y.numpy(), likelihood=reference.likelihood, posterior=Variational())
    truth = memory_map(reference)
    for name in ("prediction", "leverage", "deviation", "loo_prediction"):
        np.testing.assert_allclose(m[name], truth[name], atol=1e-5)
    groups = {"a": [0, 3, 5]}
    np.testing.assert_allclose(
        m.leave_out(groups)["rest_sensitivity"], truth.leave_out(groups)["rest_sensitivity"], atol=1e-4
    )


def train(model, likelihood, x, y, steps=60):
    objective = gpytorch.mlls.VariationalELBO(likelihood, model, num_data=len(y))
    optimizer = torch.optim.Adam([*model.parameters()], lr=0.05)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = -objective(model(x), y)
        loss.backward()
        optimizer.step()
        yield optimizer


LIKELIHOODS = {
    "bernoulli": (gpytorch.likelihoods.BernoulliLikelihood, lambda y: (y > 0).to(y)),
    "student": (gpytorch.likelihoods.StudentTLikelihood, lambda y: y),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", list(LIKELIHOODS))
def test_svgp_errors_are_gpytorchs_expected_gradients(name):
    torch.manual_seed(0)
    kind, target = LIKELIHOODS[name]
    x, y = data()
    y = target(y)
    model, likelihood = Sparse(x[:8].clone()).double(), kind().double()
    for _ in train(model, likelihood, x, y):
        pass
    m = memory_map(model, x.numpy(), y.numpy(), likelihood=likelihood, posterior=Variational())
    model.eval()
    with torch.no_grad():
        q = model(x)
    np.testing.assert_allclose(m["output"], q.mean.numpy(), atol=1e-4)
    mean = q.mean.clone().requires_grad_()
    spread = gpytorch.distributions.MultivariateNormal(mean, torch.diag(q.variance))
    with gpytorch.settings.num_gauss_hermite_locs(60):
        likelihood.expected_log_prob(y, spread).sum().backward()
    at = m.origin.batch_statistics(next(iter(m.origin.examples)))
    np.testing.assert_allclose(at.error[:, 0], -mean.grad.numpy(), atol=2e-3)


@pytest.mark.slow
def test_svgp_with_laplace_noise_has_closed_forms():
    x, y = data()
    model, likelihood = Sparse(x[:8].clone()).double(), gpytorch.likelihoods.LaplaceLikelihood().double()
    for _ in train(model, likelihood, x, y):
        pass
    m = memory_map(model, x.numpy(), y.numpy(), likelihood=likelihood, posterior=Variational())
    model.eval()
    with torch.no_grad():
        q, b = model(x), likelihood.noise.sqrt()
        gap, sd = q.mean - y, q.variance.sqrt()
        draws = gap[:, None] + sd[:, None] * torch.randn(30, 20_000, dtype=torch.float64)
    at = m.origin.batch_statistics(next(iter(m.origin.examples)))
    np.testing.assert_allclose(at.error[:, 0], (draws.sign().mean(1) / b).numpy(), atol=0.05)


@pytest.mark.slow
def test_svgp_softmax_in_minibatches_and_in_a_tracker(tmp_path):
    torch.manual_seed(0)
    x, y = data(40, torch.float32)
    labels = torch.bucketize(y, torch.tensor([-0.3, 0.4]))
    model = Sparse(x[:6].clone(), tasks=3)
    likelihood = gpytorch.likelihoods.SoftmaxLikelihood(num_classes=3, mixing_weights=False)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, labels), batch_size=16)
    model(x)
    tracker = None
    for optimizer in train(model, likelihood, x, labels, 20):
        tracker = tracker or Tracker(
            model, optimizer, loader, likelihood=likelihood, posterior=Variational(), every=5, path=tmp_path / "run",
            test=(x[:5].numpy(), labels[:5].numpy()),
        )  # fmt: skip
        tracker.step()
    assert model.training
    assert len(tracker.trajectory().steps) == 4
    m = memory_map(model, loader, likelihood=likelihood, posterior=Variational())
    model.eval()
    with torch.no_grad():
        np.testing.assert_allclose(m["output"], model(x).mean.numpy(), atol=1e-3)
    assert np.all(m["leverage"] > 0)
    assert np.all(np.isfinite(m["sensitivity"]))


def seen(model, likelihood, x, target):
    m = memory_map(model, x.numpy(), target.numpy(), likelihood=likelihood, posterior=Variational())
    return m, m.origin.batch_statistics(next(iter(m.origin.examples))), m.origin.posterior.marginals(x.numpy())


MIXED = {
    "coregionalisation": (lambda z: Mixed(z, 3), None),
    "mixing weights": (lambda z: Sparse(z, tasks=2), 2),
    "both": (lambda z: Mixed(z, 4), 4),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MIXED)
def test_svgp_mixtures_are_gpytorchs_joint_gaussian_and_its_expected_gradient(name):
    torch.manual_seed(0)
    made, features = MIXED[name]
    x, y = data()
    labels = torch.bucketize(y, torch.tensor([-0.3, 0.4], dtype=torch.float64))
    model = made(x[:8].clone()).double()
    likelihood = gpytorch.likelihoods.SoftmaxLikelihood(
        num_features=features, num_classes=3, mixing_weights=features is not None
    ).double()
    for _ in train(model, likelihood, x, labels, 25):
        pass
    m, at, marginals = seen(model, likelihood, x, labels)
    model.eval()
    with torch.no_grad():
        q = model(x)
        weights = torch.eye(3).double() if features is None else likelihood.mixing_weights
        mean = q.mean @ weights.T
        covariance = torch.stack([weights @ q[i].covariance_matrix @ weights.T for i in range(30)])
    np.testing.assert_allclose(m["output"], mean.numpy(), atol=1e-5)
    np.testing.assert_allclose(marginals.variance + marginals.residual_variance, covariance.numpy(), atol=2e-3)
    draws = torch.randn(8_000, 3, dtype=torch.float64)
    root = torch.linalg.cholesky(covariance + 1e-9 * torch.eye(3))
    centre = mean.clone().requires_grad_()
    loss = torch.nn.functional.cross_entropy(
        (centre[:, None] + draws @ root.mT).reshape(-1, 3), labels.repeat_interleave(8_000), reduction="sum"
    )
    (loss / 8_000).backward()
    np.testing.assert_allclose(at.error, centre.grad.numpy(), atol=0.03)
    assert np.abs(marginals.variance[:, 0, 1]).max() > 1e-3  # outputs are correlated


def test_svgp_coregionalisation_by_the_identity_is_independent_tasks():
    torch.manual_seed(0)
    x, y = data()
    y = torch.stack([y, y**2], dim=1)
    model = Mixed(x[:8].clone(), 2).double()
    likelihood = gpytorch.likelihoods.MultitaskGaussianLikelihood(num_tasks=2).double()
    for _ in train(model, likelihood, x, y, 20):
        pass
    with torch.no_grad():
        model.variational_strategy.lmc_coefficients.copy_(torch.eye(2))
    mixed, _, _ = seen(model, likelihood, x, y)
    inner = model.variational_strategy.base_variational_strategy
    model.variational_strategy = gpytorch.variational.IndependentMultitaskVariationalStrategy(inner, num_tasks=2)
    plain, _, _ = seen(model, likelihood, x, y)
    for column in ("prediction", "leverage", "deviation"):
        np.testing.assert_allclose(mixed[column], plain[column], rtol=1e-9)


def test_svgp_multitask_errors_are_gpytorchs_expected_gradients():
    torch.manual_seed(0)
    x, y = data()
    y = torch.stack([y, y**2, -y], dim=1)
    model = Mixed(x[:8].clone(), 3).double()
    likelihood = gpytorch.likelihoods.MultitaskGaussianLikelihood(num_tasks=3, rank=1).double()
    for _ in train(model, likelihood, x, y, 20):
        pass
    _, at, marginals = seen(model, likelihood, x, y)
    centre = torch.as_tensor(marginals.f).requires_grad_()
    belief = torch.block_diag(*torch.as_tensor(marginals.variance + marginals.residual_variance))
    q = gpytorch.distributions.MultitaskMultivariateNormal(centre, belief + 1e-8 * torch.eye(90))
    likelihood.expected_log_prob(y, q).sum().backward()
    np.testing.assert_allclose(at.error, -centre.grad.numpy(), rtol=1e-6, atol=1e-8)


def test_svgp_groups_follow_the_joint_covariance():
    torch.manual_seed(0)
    x, y = data()
    y = torch.stack([y, y**2, -y], dim=1)
    model = Mixed(x[:8].clone(), 3).double()
    likelihood = gpytorch.likelihoods.MultitaskGaussianLikelihood(num_tasks=3).double()
    for _ in train(model, likelihood, x, y, 20):
        pass
    m, _, marginals = seen(model, likelihood, x, y)
    z = m.origin.posterior.covariance_root(x.numpy())
    np.testing.assert_allclose(z @ z.mT, marginals.variance, atol=1e-10)


def test_svgp_of_one_process_for_several_tasks_is_refused():
    x, y = data()
    model = Mixed(x[:8].clone(), 3, gpytorch.variational.IndependentMultitaskVariationalStrategy).double()
    model.variational_strategy.variational_params_initialized.fill_(1)
    with pytest.raises(TypeError, match="2 variational distribution"):
        seen(model, gpytorch.likelihoods.MultitaskGaussianLikelihood(num_tasks=3).double(), x, y)


def test_svgp_errors_name_the_call_to_use():
    x, y = data()
    with pytest.raises(TypeError, match="Variational"):
        memory_map(Sparse(x[:5]).double(), x.numpy(), y.numpy())
    with pytest.raises(ValueError, match="not initialised"):
        memory_map(
            Sparse(x[:5]).double(), x.numpy(), y.numpy(), likelihood=gpytorch.likelihoods.GaussianLikelihood(),
            posterior=Variational(),
        )  # fmt: skip
