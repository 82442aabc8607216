"""Variational Gaussian processes without some examples: maps against GPyTorch's ELBO maximised again by L-BFGS."""

import copy
import dataclasses

import numpy as np
import pytest
from remedies import remedy

torch = pytest.importorskip("torch")
gpytorch = pytest.importorskip("gpytorch")

import memorymaps as mm  # noqa: E402
from memorymaps import Warn  # noqa: E402
from memorymaps.maps.premises import variational_steps_too_long  # noqa: E402
from memorymaps.nets import Variational  # noqa: E402
from memorymaps.nets.interop.variational_refits import VariationalRefit  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")
gv = gpytorch.variational
N, M = 36, 10
QUERIES = np.random.default_rng(3).normal(size=(4, 2))


class Sparse(gpytorch.models.ApproximateGP):
    def __init__(self, z, strategy=gv.VariationalStrategy, tasks=1, q=gv.CholeskyVariationalDistribution):
        shape = torch.Size([tasks] if tasks > 1 else [])
        made = strategy(self, z, q(len(z), batch_shape=shape), learn_inducing_locations=False)
        super().__init__(gv.IndependentMultitaskVariationalStrategy(made, num_tasks=tasks) if tasks > 1 else made)
        self.mean_module = gpytorch.means.ConstantMean()
        self.covar_module = gpytorch.kernels.ScaleKernel(gpytorch.kernels.RBFKernel())
        self.covar_module.outputscale, self.covar_module.base_kernel.lengthscale = 25.0, 1.5
        self.mean_module.constant = 0.3

    def forward(self, x):
        return gpytorch.distributions.MultivariateNormal(self.mean_module(x), self.covar_module(x))


def train(model, loss_of, x, y, steps=1500):
    """Minimise `Σ loss_of(q(f), y) + KL` in `q(u)`."""
    model.train()
    parameters = list(model.variational_parameters())
    fit = torch.optim.LBFGS(
        parameters, max_iter=steps, history_size=60, tolerance_grad=1e-9, tolerance_change=1e-13,
        line_search_fn="strong_wolfe",
    )  # fmt: skip

    def closure():
        fit.zero_grad()
        loss = loss_of(model(x), y) + model.variational_strategy.kl_divergence().sum()
        loss.backward()
        return loss

    fit.step(closure)
    return model.eval()


def expected_loss(likelihood):
    return lambda q, y: -likelihood.expected_log_prob(y, q).sum()


def fitted(likelihood, loss_of, x, y, **options):
    torch.manual_seed(0)
    model = Sparse(x[:M].clone() + 0.1, **options).double()
    model(x)
    return train(model, loss_of, x, y)


def two_classes():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(N, 2)) * 1.5
    y = (np.sin(x[:, 0]) + 0.3 * rng.normal(size=N) > 0).astype(float)
    y[:2] = 1 - y[:2]
    return torch.as_tensor(x), torch.as_tensor(y)


def map_of(model, likelihood, x, y, **more):
    return mm.memory_map(model, x.numpy(), y.numpy(), likelihood=likelihood, posterior=Variational(), **more)


@pytest.fixture(scope="module")
def binary():
    x, y = two_classes()
    likelihood = gpytorch.likelihoods.BernoulliLikelihood().double()
    with gpytorch.settings.num_gauss_hermite_locs(32):
        model = fitted(likelihood, expected_loss(likelihood), x, y)
    return model, likelihood, x, y, map_of(model, likelihood, x, y)


def without(binary, rows):
    model, likelihood, x, y, _ = binary
    kept = np.setdiff1d(np.arange(N), rows)
    with gpytorch.settings.num_gauss_hermite_locs(32):
        return train(copy.deepcopy(model), expected_loss(likelihood), x[kept], y[kept])


def test_sizes_and_left_out_losses_are_those_of_training_without_an_example(binary):
    model, likelihood, x, y, m = binary
    assert m["refitted"].sum() > 10
    step = map_of(model, likelihood, x, y, estimator="bounded_cavity")
    rows, losses = np.argsort(-m["sensitivity"])[:3], []
    for i in rows:
        left = without(binary, [i])
        with torch.no_grad(), gpytorch.settings.num_gauss_hermite_locs(32):
            before, after = model(x[[i]]), left(x[[i]])
            loss = expected_loss(likelihood)(after, y[[i]]).item()
            change = (likelihood(after).probs - likelihood(before).probs).abs().item()
        assert m["deviation"][i] == pytest.approx((after.mean - before.mean).item(), rel=2e-3)
        assert m["sensitivity"][i] == pytest.approx(change, rel=2e-3)
        assert m["loo_loss"][i] == pytest.approx(loss, rel=2e-3)
        losses.append(loss)
    assert np.linalg.norm(step["loo_loss"][rows] - losses) > 0.1 * np.linalg.norm(losses)
    assert not m["warning"].any()
    assert m.trust["sensitivity"].sizes
    assert not step.trust["sensitivity"].sizes


@pytest.mark.slow
def test_an_unwhitened_strategy_has_the_same_refits(binary):
    _, likelihood, x, y, m = binary
    with gpytorch.settings.num_gauss_hermite_locs(32):
        other = fitted(likelihood, expected_loss(likelihood), x, y, strategy=gv.UnwhitenedVariationalStrategy)
        found = map_of(other, likelihood, x, y)
        i = int(np.argmax(found["sensitivity"]))
        kept = np.arange(N) != i
        left = train(copy.deepcopy(other), expected_loss(likelihood), x[kept], y[kept])
    with torch.no_grad():
        change = (left(x[[i]]).mean - other(x[[i]]).mean).item()
    assert found["refitted"][i]
    assert found["deviation"][i] == pytest.approx(change, rel=5e-3)
    assert found["sensitivity"][i] == pytest.approx(m["sensitivity"][i], rel=0.05)


def test_groups_and_other_predictions_are_those_of_training_without(binary):
    model, _, x, _, m = binary
    left = without(binary, [0, 1, 5])
    with torch.no_grad():
        change = (left(x).mean - model(x).mean).numpy()[[0, 1, 5]]
    found = m.leave_out({"three": [0, 1, 5]})
    likelihood = m.origin.batch_statistics(m.origin.examples.take(np.array([0, 1, 5]))).likelihood
    f = m["output"][[0, 1, 5]]
    after, before = (likelihood.mean(np.reshape(each, (3, 1))) for each in (f.ravel() + change, f))
    assert found["sensitivity"][0] == pytest.approx(np.abs(after - before).sum(), rel=5e-3)
    left, queries = without(binary, [0]), torch.as_tensor(QUERIES)
    with torch.no_grad():
        change = (left(queries).mean - model(queries).mean).numpy()
    able = m.origin.posterior.capabilities.example_refits
    np.testing.assert_allclose(able.at(QUERIES)(np.array([0, 7]))[:, 0, 0], change, rtol=5e-3, atol=2e-3)
    assert able.affordable() > N


def test_refits_on_request_are_those_made_unasked(binary):
    model, likelihood, x, y, m = binary
    step = map_of(model, likelihood, x, y, estimator="bounded_cavity")
    found = mm.refit(step, top=4)
    rows = found["refitted"]
    assert rows.sum() == 4
    np.testing.assert_allclose(found["deviation"][rows], m["deviation"][rows], rtol=1e-4)
    np.testing.assert_allclose(found["loo_loss"][rows], m["loo_loss"][rows], rtol=1e-4)


def test_long_steps_that_are_not_refitted_are_marked_and_warned_of(binary, monkeypatch):
    monkeypatch.setattr(VariationalRefit, "_affordable", lambda self, budget: 2)
    m = map_of(*binary[:4])
    assert m["refitted"].sum() == 2
    assert np.any(m["warning"] & int(Warn.LONG_STEP))
    assert variational_steps_too_long(m)
    assert not m.trust["sensitivity"].sizes


def test_a_refit_that_does_not_converge_is_marked(binary, monkeypatch):
    without_rows = VariationalRefit._without
    monkeypatch.setattr(VariationalRefit, "_without", lambda self, removed, steps=2: without_rows(self, removed, 2))
    m = map_of(*binary[:4])
    assert "refitted" not in m
    assert np.any(m["warning"] & int(Warn.LONG_STEP))
    assert np.all(np.isfinite(m["loo_loss"]))


def test_a_fit_that_stopped_early_says_so_and_is_polished(binary):
    _, likelihood, x, y, m = binary
    torch.manual_seed(0)
    model = Sparse(x[:M].clone() + 0.1).double()
    model(x)
    train(model, expected_loss(likelihood), x, y, steps=4)
    early = map_of(model, likelihood, x, y)
    assert "refitted" not in early
    assert any("from the optimum" in line for line in early.summary().warnings)
    polished = map_of(model, likelihood, x, y, polish=True)
    assert not polished.summary().warnings
    np.testing.assert_allclose(polished["sensitivity"], m["sensitivity"], rtol=2e-2, atol=2e-3)


def test_training_by_minibatches_is_not_warned_of_where_sizes_are_those_at_the_optimum(binary):
    model, likelihood, x, y, m = binary
    noisy = copy.deepcopy(model)
    q = noisy.variational_strategy._variational_distribution
    torch.manual_seed(0)
    with torch.no_grad():
        q.variational_mean += 0.075 * q.chol_variational_covar.tril() @ torch.randn(M, dtype=torch.float64)
    found = map_of(noisy, likelihood, x, y)
    assert found.provenance.description.distance > 0.1
    assert not found.summary().warnings
    rows = m["refitted"] & found["refitted"]
    assert rows.sum() > 10
    np.testing.assert_allclose(found["deviation"][rows], m["deviation"][rows], rtol=1e-3)


def test_no_refits_of_gaussian_noise_or_a_diagonal_covariance():
    x, y = two_classes()
    noise = gpytorch.likelihoods.GaussianLikelihood().double()
    gaussian = map_of(fitted(noise, expected_loss(noise), x, y), noise, x, y)
    bernoulli = gpytorch.likelihoods.BernoulliLikelihood().double()
    model = fitted(bernoulli, expected_loss(bernoulli), x, y, q=gv.MeanFieldVariationalDistribution)
    for m in (gaussian, map_of(model, bernoulli, x, y)):
        assert "refitted" not in m
        assert m.origin.posterior.capabilities.refit is None
        assert m.provenance.description.distance is None


@pytest.mark.slow
def test_several_classes_that_share_mixed_processes():
    """Truth: the softmax averaged over other quasi-random points."""
    x, y = two_classes()
    y = y.long() + 2 * (x[:, 1] > 1).long()
    y = y.clamp(max=2)
    likelihood = gpytorch.likelihoods.SoftmaxLikelihood(num_features=2, num_classes=3).double()
    normal = (
        torch.quasirandom.SobolEngine(2, scramble=True, seed=5).draw(1024, dtype=torch.float64).clamp(1e-9, 1 - 1e-9)
    )
    normal = torch.distributions.Normal(0.0, 1.0).icdf(normal)

    def loss_of(q, y):
        g = q.mean[None] + q.variance.sqrt()[None] * normal[:, None]
        logits = g @ likelihood.mixing_weights.detach().T
        found = torch.nn.functional.cross_entropy(logits.permute(0, 2, 1), y.expand(1024, -1), reduction="none")
        return found.mean(0).sum()

    torch.manual_seed(1)
    with torch.no_grad():
        likelihood.mixing_weights.copy_(torch.randn(3, 2))
    model = fitted(likelihood, loss_of, x, y, tasks=2)
    one_step = map_of(model, likelihood, x, y)
    assert not one_step.trust["sensitivity"].sizes
    assert any("no correlations" in line for line in one_step.summary().warnings)
    m = mm.refit(one_step, top=3)
    i = int(np.argmax(one_step["sensitivity"]))
    kept = np.arange(N) != i
    left = train(copy.deepcopy(model), loss_of, x[kept], y[kept])
    with torch.no_grad():
        change = (left(x[[i]]).mean - model(x[[i]]).mean) @ likelihood.mixing_weights.T
        loss = loss_of(left(x[[i]]), y[[i]]).item()
    assert m["refitted"][i]
    np.testing.assert_allclose(m["deviation"][i], change[0].numpy(), rtol=0.05, atol=0.02)
    assert m["loo_loss"][i] == pytest.approx(loss, rel=0.05)


def test_verified_rows_do_not_count_as_long_steps(binary):
    m = binary[4]
    assert not variational_steps_too_long(m)
    others = dataclasses.replace(m, table=m.table.drop_columns(["refitted"]))
    assert variational_steps_too_long(others)


def test_checks_by_retraining_average_over_the_variance_without_the_example(binary):
    """By that with it, as before, sizes that agree with training had slopes of 0.6 to 0.8."""
    found = mm.retrain_check(binary[4], k=12)
    assert found.slope == pytest.approx(1, abs=0.02)
    assert found.map.trust["loo_loss"].sizes


def test_a_singular_covariance_is_refused_and_a_diagonal_one_is_for_ranks():
    x, y = two_classes()
    likelihood = gpytorch.likelihoods.BernoulliLikelihood().double()
    model = Sparse(x[:M].clone()).double()
    model(x)
    model.variational_strategy._variational_distribution.chol_variational_covar.data.zero_()
    with pytest.raises(mm.DataError, match="distance to the optimum"):
        map_of(model, likelihood, x, y)
    diagonal = fitted(likelihood, expected_loss(likelihood), x, y, q=gv.MeanFieldVariationalDistribution)
    m = map_of(diagonal, likelihood, x, y)
    assert not m.trust["sensitivity"].sizes
    assert "diagonal covariance" in str(m.summary())


def expected_absolute_loss(likelihood):
    """`E_q|y − f|/b + log 2b` in closed form, of which GPyTorch takes quadrature points."""
    scale = likelihood.noise.detach().sqrt()

    def loss(q, y):
        u, sd = q.mean - y, q.variance.sqrt()
        z = u / sd
        absolute = u * torch.erf(z / 2**0.5) + sd * (2 / np.pi) ** 0.5 * torch.exp(-(z**2) / 2)
        return (absolute / scale + torch.log(2 * scale)).sum()

    return loss


@remedy("Train with gpytorch.settings.num_gauss_hermite_locs(200), or map with polish=True")
@pytest.mark.slow
def test_a_laplace_likelihood_is_at_the_optimum_of_its_closed_form(said):
    rng = np.random.default_rng(0)
    x = torch.as_tensor(rng.normal(size=(N, 2)))
    y = torch.sin(x[:, 0]) + torch.as_tensor(rng.laplace(scale=0.1, size=N))
    likelihood = gpytorch.likelihoods.LaplaceLikelihood().double()
    likelihood.noise = 0.01
    exact = fitted(likelihood, expected_absolute_loss(likelihood), x, y)
    assert distance(map_of(exact, likelihood, x, y)) < 5e-3
    model = fitted(likelihood, expected_loss(likelihood), x, y)
    m = map_of(model, likelihood, x, y)
    said.reads(str(m.summary()))
    assert distance(m) > 0.05
    with gpytorch.settings.num_gauss_hermite_locs(200):
        fine = gpytorch.likelihoods.LaplaceLikelihood().double()
        fine.noise = 0.01
        assert distance(map_of(fitted(fine, expected_loss(fine), x, y), fine, x, y)) < 0.6 * distance(m)
    assert distance(map_of(model, likelihood, x, y, polish=True)) < 1e-3


def distance(m):
    return m.provenance.description.distance


def test_inputs_that_are_not_finite_are_named(binary):
    model, likelihood, x, y, _ = binary
    broken = x.clone()
    broken[3, 1] = float("nan")
    with pytest.raises(mm.DataError, match="first of its row 3"):
        map_of(model, likelihood, broken, y)
