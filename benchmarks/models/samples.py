"""Posterior samples: convergence to the exact map, NUTS, ArviZ's PSIS-LOO on the same draws, and few draws.

    MEMORYMAPS_DATA=… python benchmarks/models/samples.py

Needs numpyro and arviz. `birthwt` (189 births, logistic) is read from `$MEMORYMAPS_DATA/tabular`; all else is bundled.
"""

from __future__ import annotations

import os
import pathlib
import time
import warnings

import numpy as np
import pandas as pd
from sklearn.datasets import load_diabetes

import memorymaps as mm
from memorymaps.core.likelihoods.expected import ExpectedLikelihood
from memorymaps.core.likelihoods.exponential_family import Bernoulli, Gaussian
from memorymaps.models.draws.covariance_shrinkage import ShrinkageTarget
from memorymaps.models.draws.draws import Draws
from memorymaps.models.draws.importance_sampling import psis
from memorymaps.models.draws.sample_posterior import covariance

DELTA = 1.0


def linear():
    """Diabetes, standardised; noise variance 0.5, prior precision 1: exact posterior mean and covariance."""
    x, y = load_diabetes(return_X_y=True)
    x, y, noise = (x - x.mean(0)) / x.std(0), (y - y.mean()) / y.std(), 0.5
    cov = np.linalg.inv(x.T @ x / noise + DELTA * np.eye(x.shape[1]))
    return x, y, noise, cov @ x.T @ y / noise, cov


def exact(x, y, noise, mean, cov):
    """Leverage and leave-one-out prediction."""
    h = np.einsum("np,pq,nq->n", x, cov, x) / noise
    f = x @ mean
    return h, f + h / (1 - h) * (f - y)


def nuts(model, count, seed=0):
    """Draws by NUTS, and the sampler."""
    import jax
    import numpyro
    from numpyro.infer import MCMC, NUTS

    numpyro.enable_x64()
    sampler = MCMC(NUTS(model), num_warmup=500, num_samples=count, progress_bar=False)
    sampler.run(jax.random.PRNGKey(seed))
    return sampler


def relative(a, b):
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def convergence():
    x, y, noise, mean, cov = linear()
    h, loo = exact(x, y, noise, mean, cov)
    move = loo - x @ mean
    print("| draws | from | leverage, relative error | × √draws | deviation, relative error | × √draws |")
    print("|---|---|---|---|---|---|")
    for count in (250, 1000, 4000, 16000, 64000):
        found = []
        for seed in range(3):
            b = np.random.default_rng(seed).multivariate_normal(mean, cov, size=count)
            m = mm.memory_map(Draws(b @ x.T, Gaussian(noise)), x, y)
            found.append((relative(m["leverage"], h), relative(m["deviation"], move)))
        a, d = np.mean(found, axis=0)
        print(
            f"| {count:,} | exact posterior | {a:.4f} | {a * count**0.5:.2f} | {d:.4f} | {d * count**0.5:.2f} |",
            flush=True,
        )
    import numpyro
    import numpyro.distributions as dist

    def model():
        b = numpyro.sample("b", dist.Normal(0, DELTA**-0.5).expand([x.shape[1]]).to_event(1))
        numpyro.sample("y", dist.Normal(x @ b, noise**0.5), obs=y)

    for count in (1000, 4000):
        b = np.asarray(nuts(model, count).get_samples()["b"])
        m = mm.memory_map(Draws(b @ x.T, Gaussian(noise)), x, y)
        a, d = relative(m["leverage"], h), relative(m["deviation"], move)
        print(f"| {count:,} | NUTS | {a:.4f} | {a * count**0.5:.2f} | {d:.4f} | {d * count**0.5:.2f} |", flush=True)


def births():
    frame = pd.read_csv(pathlib.Path(os.environ["MEMORYMAPS_DATA"]) / "tabular" / "birthwt.csv")
    x = frame[["age", "lwt", "smoke", "ptl", "ht", "ui", "ftv"]].to_numpy(float)
    x = np.column_stack([np.ones(len(x)), (x - x.mean(0)) / x.std(0)])
    return x, frame["low"].to_numpy(float)


def logistic(x, y):
    import numpyro
    import numpyro.distributions as dist

    def model():
        b = numpyro.sample("b", dist.Normal(0, 2).expand([x.shape[1]]).to_event(1))
        numpyro.sample("y", dist.Bernoulli(logits=x @ b), obs=y)

    return model


def against_arviz():
    import arviz as az

    x, y = births()
    b = np.asarray(nuts(logistic(x, y), 4000).get_samples()["b"])
    f = b @ x.T
    logs = -np.logaddexp(0, -(2 * y - 1) * f)
    theirs = az.loo(az.from_dict(posterior={"b": b[None]}, log_likelihood={"y": logs[None]}), pointwise=True)
    plain = mm.memory_map(Draws(f, ExpectedLikelihood(Bernoulli()), importance=psis), x, y)
    rows = plain.top(10)["row"]
    truth = []
    for i in rows:
        again = nuts(logistic(np.delete(x, i, 0), np.delete(y, i)), 8000, seed=1).get_samples()["b"]
        truth.append(float(np.mean(np.asarray(again) @ x[i]) - f[:, i].mean()))
    truth = np.asarray(truth)
    print(f"\nbirthwt, logistic, 4,000 NUTS draws; largest Pareto-k {plain['pareto_k'].max():.2f}")
    print(f"elpd: arviz.loo {theirs.elpd_loo:.3f}, psis column {-plain['psis_loo_loss'].sum():.3f}, "
          f"Gaussian form {-plain['gaussian_loo_loss'].sum():.3f}; largest difference of one example "
          f"{np.abs(plain['gaussian_loo_loss'] + theirs.loo_i.values).max():.4f}")  # fmt: skip
    print("| move of the posterior mean, 10 most sensitive, against sampling again | slope | relative error |")
    print("|---|---|---|")
    found = {
        "ExpectedLikelihood(Bernoulli()), R": plain["deviation"],
        "Bernoulli() at the mean, R": mm.memory_map(Draws(f, Bernoulli()), x, y)["deviation"],
        "ExpectedLikelihood(Bernoulli()), first order": mm.memory_map(
            Draws(f, ExpectedLikelihood(Bernoulli())), x, y, estimator="F"
        )["deviation"],
        "PSIS": plain["psis_deviation"],
    }
    for name, moves in found.items():
        a = moves[rows]
        print(f"| {name} | {a @ truth / (truth @ truth):.3f} | {relative(a, truth):.3f} |", flush=True)


def few():
    x, _, noise, mean, cov = linear()
    h = np.einsum("np,pq,nq->n", x, cov, x) / noise
    print("\n| draws | log leverage, RMSE raw | shrunk | ratio |\n|---|---|---|---|")
    for count in (5, 10, 30, 100, 1000):
        found = []
        for seed in range(20):
            b = np.random.default_rng(seed).multivariate_normal(mean, cov, size=count)
            v = covariance((b @ x.T)[..., None])
            both = (v, ShrinkageTarget.from_covariances(v, count).shrink(v, count))
            found.append([np.sqrt(np.mean(np.log(each[:, 0, 0] / noise / h) ** 2)) for each in both])
        raw, shrunk = np.mean(found, axis=0)
        print(f"| {count:,} | {raw:.3f} | {shrunk:.3f} | {shrunk / raw:.2f} |", flush=True)


def cost():
    rng = np.random.default_rng(0)
    f = rng.normal(size=(1000, 10_000))
    y = rng.normal(size=10_000)
    for importance in (None, psis):
        start = time.perf_counter()
        mm.memory_map(Draws(f, Gaussian(1.0), importance=importance), y, y)
        name = "with PSIS" if importance else "alone"
        print(f"10,000 examples × 1,000 draws, {name}: {time.perf_counter() - start:.1f} s", flush=True)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    convergence()
    if "MEMORYMAPS_DATA" in os.environ:
        against_arviz()
    few()
    print()
    cost()
