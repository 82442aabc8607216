"""Influence on given predictions against refits: single examples, groups, the top 10, and random tenths of the data.

Sizes: `slope` and `error` of estimated changes against those of refits without the example (half of them the most
influential, half random), for every query together. Networks: the change of a query's loss without its ten most
helpful examples, and the linear datamodeling score [Park et al. 2023], Spearman's correlation over random removals of a
tenth of the data between the sum of the single effects and the retrained loss, averaged over queries; beside the
product of gradients (TracIn at the last step) and, where they are installed, kronfluence's EKFAC influence and TRAK
(one fit; gradients as they are with the prior's ridge, and projected to half as many numbers as examples without).
Networks are trained, and trained again, to the minimum (`../fidelity/descent.py`): a refit has arrived where its
gradient is at most 1 % of what the removal made, in the norm of the inverse Hessian; slopes are of these. `near` is the
share that ended within `NEAR` lengths of the first Newton step; the others went to another minimum.

    MEMORYMAPS_DATA=… python benchmarks/answers/behind_a_prediction.py [--n 1000] [--seeds 3]
        [--only TEXT] [--removed 20] [--queries 10] [--subsets 30] [--steps 200] [--prior 1]
"""

from __future__ import annotations

import argparse
import copy
import functools
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from data import Data, bikes, fashion, spambase
from scipy.stats import spearmanr
from sklearn.base import clone
from sklearn.gaussian_process import GaussianProcessClassifier, GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, WhiteKernel
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LogisticRegression, PoissonRegressor, Ridge
from sklearn.svm import SVC
from torch.nn.utils import parameters_to_vector

import memorymaps as mm

sys.path.insert(0, str(Path(__file__).parents[1] / "fidelity"))
import descent

QUERIES, REMOVED, SUBSETS, STEPS = 10, 20, 30, 200


def logarithms() -> Data:
    """The logarithm of that number."""
    X, y = bikes()
    return X, np.log1p(y)


CASES: dict[str, tuple[Any, Callable[[], Data]]] = {
    "ridge": (Ridge(1.0), logarithms),
    "kernel ridge": (KernelRidge(alpha=0.3, kernel="rbf", gamma=0.1), logarithms),
    "GP regression": (GaussianProcessRegressor(2.0 * RBF(2.0) + WhiteKernel(0.2), optimizer=None), logarithms),
    "Poisson": (PoissonRegressor(alpha=0.01, tol=1e-8, max_iter=3000), bikes),
    "logistic C = 1": (LogisticRegression(tol=1e-8, max_iter=5000), spambase),
    "logistic C = 100": (LogisticRegression(C=100.0, tol=1e-8, max_iter=10_000), spambase),
    "softmax C = 1": (LogisticRegression(tol=1e-8, max_iter=5000), fashion),
    "GP classification": (GaussianProcessClassifier(4.0 * RBF(5.0), optimizer=None), spambase),
    "SVC": (SVC(C=1.0, gamma=0.02, tol=1e-8), spambase),
}


def outputs(model: Any, X: np.ndarray) -> np.ndarray:
    """Predicted means `[k, c]`; margins of an SVC, latent means through the logistic function of a Gaussian process."""
    if isinstance(model, GaussianProcessClassifier):
        inner = model.base_estimator_
        return 1 / (1 + np.exp(-inner.kernel_(X, inner.X_train_) @ (inner.y_train_ - inner.pi_)))[:, None]
    if isinstance(model, SVC):
        return model.decision_function(X)[:, None]
    p = model.predict_proba(X) if hasattr(model, "predict_proba") else model.predict(X)[:, None]
    return p[:, 1:] if p.shape[1] == 2 else p


def changes(found: Any, n: int) -> np.ndarray:
    """All changes of an `influence_on(…, top=None)` as `[k, n, c]`."""
    order = np.lexsort((found["id"], found["query"]))
    change = found["change"].reshape(len(found), -1)
    return change[order].reshape(-1, n, change.shape[1])


def agreement(estimate: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Slope, relative error, and mean rank correlation over queries."""
    pairs = list(zip(estimate, truth, strict=True))
    return {
        "slope": float(np.sum(estimate * truth) / np.sum(truth**2)),
        "error": float(np.linalg.norm(estimate - truth) / np.linalg.norm(truth)),
        "rank correlation": float(np.mean([spearmanr(a.ravel(), b.ravel()).statistic for a, b in pairs])),
    }


def removed_rows(change: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Half of them the most influential over all queries, half random."""
    total = np.abs(change).sum(axis=(0, 2))
    largest = np.argsort(-np.nan_to_num(total))[: REMOVED // 2]
    return np.concatenate([largest, rng.choice(np.setdiff1d(np.arange(len(total)), largest), REMOVED // 2, False)])


def family(name: str, n: int, seed: int) -> Iterator[dict[str, Any]]:
    """Single examples, then twenty random groups of a twentieth each."""
    model, data = CASES[name]
    (X, y), rng = data(), np.random.default_rng(seed)
    rows = rng.permutation(len(y))
    new, (X, y) = X[rows[n : n + QUERIES]], (X[rows[:n]], y[rows[:n]])
    fitted = clone(model).fit(X, y)
    before = outputs(fitted, new)
    m = mm.memory_map(fitted, X, y)
    start = time.process_time()
    change = changes(mm.influence_on(m, new, top=None), n)
    seconds = time.process_time() - start
    rows = removed_rows(change, rng)
    truth = []
    for row in rows:
        rest = np.arange(n) != row
        truth.append(outputs(clone(model).fit(X[rest], y[rest]), new) - before)
    yield {
        "case": name,
        "removed": "examples",
        "seed": seed,
        **agreement(change[:, rows], np.stack(truth, axis=1)),
        "CPU s": seconds,
    }
    group = rng.permutation(n) % 20
    start = time.process_time()
    found = mm.influence_on(m, new, groups=group)
    seconds = time.process_time() - start
    order = np.lexsort((found["group"].astype(int), found["query"]))
    estimate = found["change"].reshape(len(found), -1)[order].reshape(QUERIES, 20, -1)
    truth = [outputs(clone(model).fit(X[group != g], y[group != g]), new) - before for g in range(20)]
    yield {
        "case": name,
        "removed": "groups of 5 %",
        "seed": seed,
        **agreement(estimate, np.stack(truth, axis=1)),
        "CPU s": seconds,
    }


# --- networks --------------------------------------------------------------------------------------------------------

PRIOR = 1.0
NEAR = 2.0  # lengths of the first Newton step


def network(hidden: int) -> torch.nn.Module:
    """One hidden layer."""
    return torch.nn.Sequential(torch.nn.Linear(49, hidden), torch.nn.Tanh(), torch.nn.Linear(hidden, 10)).double()


def convolution(filters: int) -> torch.nn.Module:
    """One convolution of 3 × 3 pixels of 7 × 7, and a linear layer."""
    return torch.nn.Sequential(
        torch.nn.Unflatten(1, (1, 7, 7)), torch.nn.Conv2d(1, filters, 3), torch.nn.Tanh(), torch.nn.Flatten(),
        torch.nn.Linear(25 * filters, 10),
    ).double()  # fmt: skip


def train(net: torch.nn.Module, x: torch.Tensor, y: torch.Tensor, steps: int) -> torch.nn.Module:
    """By L-BFGS on the summed loss with `δ‖θ‖²/2`, from where it stands."""
    optimizer = torch.optim.LBFGS(
        net.parameters(), max_iter=steps, history_size=50, tolerance_grad=1e-6, tolerance_change=1e-12,
        line_search_fn="strong_wolfe",
    )  # fmt: skip

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        penalty = sum((p**2).sum() for p in net.parameters())
        loss = torch.nn.functional.cross_entropy(net(x), y, reduction="sum") + PRIOR / 2 * penalty
        loss.backward()
        return loss

    optimizer.step(closure)
    return net


ROUNDS, ROUND, MINIMUM = 20, 60, 1e-3  # of the descent to the minimum, steps of each, and its gradient there, sd


class Refit(NamedTuple):
    """Parameters, whether they are at a minimum, and whether that is near the first one."""

    theta: np.ndarray
    arrived: bool
    near: bool


class Fit:
    """A network at the minimum of its objective, with an inverse Hessian; `size`, its gradient there, is taken off."""

    def __init__(self, net: torch.nn.Module, x: torch.Tensor, y: torch.Tensor):
        start = parameters_to_vector(train(net, x, y, 1000).parameters()).detach().numpy()
        self.objective = descent.Objective(net, x, y, PRIOR, start, batch=len(x))
        whole = functools.partial(descent.whole, self.objective, 9 * len(x))
        for last in descent.rounds(self.objective, whole, len(start), range(ROUNDS), ROUND, MINIMUM):
            self.solve, self.size, self.arrived = last.solve, last.last, last.arrived
        self.objective.settle()

    def losses(self, x: torch.Tensor, y: torch.Tensor, theta: np.ndarray | None = None) -> np.ndarray:
        """Losses `[k]` at the minimum or at other parameters."""
        self.objective.put(self.objective.origin if theta is None else theta)
        return losses(self.objective.net, x, y)

    def without(self, removed: np.ndarray) -> Refit:
        """The refit without some examples."""
        without = descent.Without.of(self.objective, self.solve, removed.tolist())
        steps = list(without.iterates(STEPS))
        first, (last, size) = steps[0][1], steps[-1]
        newton = without.newton_step(self.objective.origin)
        moved = np.linalg.norm(last - self.objective.origin)
        return Refit(last, size <= descent.LEFT * first, bool(moved <= NEAR * np.linalg.norm(newton)))


def losses(net: torch.nn.Module, x: torch.Tensor, y: torch.Tensor) -> np.ndarray:
    """Losses `[k]`."""
    with torch.no_grad():
        return torch.nn.functional.cross_entropy(net(x), y, reduction="none").numpy()


def gradients(net: torch.nn.Module, x: torch.Tensor, y: torch.Tensor) -> np.ndarray:
    """Gradients of the losses `[n, P]`."""
    values = dict(net.named_parameters())

    def loss(values: Any, one: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        f = torch.func.functional_call(net, values, one[None])
        return torch.nn.functional.cross_entropy(f, label[None])

    found = torch.func.vmap(torch.func.grad(loss), (None, 0, 0))(values, x, y)
    return torch.cat([g.flatten(1) for g in found.values()], dim=1).detach().numpy()


def kronfluence_scores(
    net: torch.nn.Module, x: torch.Tensor, y: torch.Tensor, new: torch.Tensor, asked: torch.Tensor
) -> Any:
    """Scores `[k, n]` by EKFAC influence functions; None where kronfluence is not installed."""
    try:
        from kronfluence.analyzer import Analyzer, prepare_model
        from kronfluence.arguments import FactorArguments, ScoreArguments
        from kronfluence.task import Task
    except ImportError:
        return None
    import tempfile

    class Classification(Task):
        def compute_train_loss(self, batch: Any, model: Any, sample: bool = False) -> Any:
            f = model(batch[0])
            labels = torch.multinomial(f.detach().softmax(-1), 1).flatten() if sample else batch[1]
            return torch.nn.functional.cross_entropy(f, labels, reduction="sum")

        def compute_measurement(self, batch: Any, model: Any) -> Any:
            return torch.nn.functional.cross_entropy(model(batch[0]), batch[1], reduction="sum")

    task, single = Classification(), copy.deepcopy(net).float()
    train_set = torch.utils.data.TensorDataset(x.float(), y)
    query_set = torch.utils.data.TensorDataset(new.float(), asked)
    with tempfile.TemporaryDirectory() as folder:
        model = prepare_model(single, task)
        analyzer = Analyzer("net", model, task, output_dir=folder, disable_tqdm=True, cpu=True)
        analyzer.fit_all_factors(
            "ekfac", train_set, per_device_batch_size=256, factor_args=FactorArguments(strategy="ekfac")
        )
        analyzer.compute_pairwise_scores(
            "scores", "ekfac", query_set, train_set, per_device_query_batch_size=len(new),
            per_device_train_batch_size=256, score_args=ScoreArguments(damping_factor=PRIOR / len(x)),
        )  # fmt: skip
        return analyzer.load_pairwise_scores("scores")["all_modules"].double().numpy()


def trak_scores(
    net: torch.nn.Module, x: torch.Tensor, y: torch.Tensor, new: torch.Tensor, asked: torch.Tensor
) -> dict[str, np.ndarray]:
    """Scores `[k, n]` of TRAK [Park et al. 2023] at one fit; none where `traker` is not installed."""
    try:
        from trak import TRAKer
        from trak.projectors import BasicProjector, NoOpProjector
    except ImportError:
        return {}
    import tempfile

    single, size = copy.deepcopy(net).float(), sum(p.numel() for p in net.parameters())
    half = min(512, len(x) // 2)
    projected = BasicProjector(size, half, 0, "rademacher", torch.device("cpu"), block_size=half // 2)
    ways = {
        "TRAK": (NoOpProjector(size, size, device="cpu"), PRIOR / size),
        f"TRAK, projected to {half}": (projected, 0.0),
    }
    found = {}
    for how, (projector, ridge) in ways.items():
        with tempfile.TemporaryDirectory() as folder:
            trak = TRAKer(
                single, "image_classification", len(x), save_dir=folder, device="cpu", projector=projector,
                proj_dim=projector.proj_dim, use_half_precision=False, lambda_reg=ridge, logging_level=40,
            )  # fmt: skip
            trak.load_checkpoint(single.state_dict(), model_id=0)
            trak.featurize((x.float(), y), num_samples=len(x))
            trak.finalize_features()
            trak.start_scoring_checkpoint("queries", single.state_dict(), model_id=0, num_targets=len(new))
            trak.score((new.float(), asked), num_samples=len(new))
            found[how] = np.array(trak.finalize_scores("queries"), dtype=float).T
    return found


def of_network(
    name: str, make: Callable[[], torch.nn.Module], structures: tuple[str, ...], n: int, seed: int
) -> Iterator[dict[str, Any]]:
    """Single examples, then the ten most helpful of each query, and random tenths."""
    (X, labels), rng = fashion(), np.random.default_rng(seed)
    rows = rng.permutation(len(labels))
    x, y = torch.tensor(X[rows[:n]]), torch.tensor(labels[rows[:n]])
    new, asked = torch.tensor(X[rows[n : n + QUERIES]]), torch.tensor(labels[rows[n : n + QUERIES]])
    torch.manual_seed(seed)
    fit = Fit(make(), x, y)
    before, net = fit.losses(new, asked), copy.deepcopy(fit.objective.net)
    print(f"# {name}, seed {seed}: minimum {fit.arrived}, gradient {fit.size:.1g} sd", flush=True)

    def without(removed: np.ndarray) -> tuple[np.ndarray, Refit]:
        refit = fit.without(removed)
        return fit.losses(new, asked, refit.theta) - before, refit

    scores: dict[str, np.ndarray] = {}
    for structure in structures:
        m = mm.memory_map(net, x, y, likelihood="categorical", posterior=mm.Laplace(structure, prior=PRIOR))
        found = mm.influence_on(m, new, asked.numpy(), top=None)
        scores[structure] = found["loss_change"][np.lexsort((found["id"], found["query"]))].reshape(QUERIES, n)
    chosen = removed_rows(scores[structures[0]][:, :, None], rng)
    refits = [without(np.array([row])) for row in chosen]
    arrived, near = (np.array([getattr(refit, which) for _, refit in refits]) for which in ("arrived", "near"))
    truth = np.stack([change for change, _ in refits], axis=1)
    case = {"case": name, "seed": seed}
    random = np.arange(len(chosen)) >= len(chosen) // 2
    for structure in structures:
        for which, among in (("", arrived), (", random half", arrived & random)):
            found = agreement(scores[structure][:, chosen[among]], truth[:, among])
            shares = {"arrived": among.mean(), "near": (near & among).mean()}
            yield case | {"removed": f"examples, {structure}{which}"} | found | shares
    if not SUBSETS:
        return
    scores["gradient product"] = gradients(net, new, asked) @ gradients(net, x, y).T
    other = kronfluence_scores(net, x, y, new, asked)
    scores |= {} if other is None else {"kronfluence EKFAC": other}
    scores |= trak_scores(net, x, y, new, asked)
    yield from (case | {"removed": f"top 10, {how}"} | found for how, found in of_groups(scores, without, n, rng))


def of_groups(
    scores: dict[str, np.ndarray], without: Callable[[np.ndarray], tuple[np.ndarray, Refit]], n: int,
    rng: np.random.Generator,
) -> Iterator[tuple[str, dict[str, float]]]:  # fmt: skip
    """Random tenths, and the ten most helpful examples of each query; all refits, and the share that arrived."""
    tenths = [rng.permutation(n)[: n // 10] for _ in range(SUBSETS)]
    refits = [without(part) for part in tenths]
    actual, there = np.stack([each[0] for each in refits]), [each[1].arrived for each in refits]
    for how, score in scores.items():
        predicted = np.stack([score[:, part].sum(axis=1) for part in tenths])
        lds = np.mean([spearmanr(predicted[:, k], actual[:, k]).statistic for k in range(QUERIES)])
        top = np.argsort(-score, axis=1)[:, :10]
        refits = [without(part) for part in top]
        rise = np.mean([change[k] for k, (change, _) in enumerate(refits)])
        of_sum = np.take_along_axis(score, top, axis=1).sum(axis=1).mean()
        share = np.mean([*there, *(each[1].arrived for each in refits)])
        yield how, {"LDS": lds, "rise": rise, "predicted": of_sum, "arrived": share}


NETWORKS = {
    "MLP 49-16-10": (lambda: network(16), ("full", "hessian")),
    "MLP 49-32-10": (lambda: network(32), ("full", "ekfac")),
    "MLP 49-400-10": (lambda: network(400), ("auto",)),
    "CNN 4 filters": (lambda: convolution(4), ("full", "hessian")),
}


def rows(n: int, seeds: int, only: str) -> Iterator[dict[str, Any]]:
    """All cases."""
    for seed in range(seeds):
        for name in CASES:
            yield from family(name, n, seed) if only in name else ()
        for name, (make, structures) in NETWORKS.items():
            yield from of_network(name, make, structures, n, seed) if only in name else ()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", default="")
    parser.add_argument("--removed", type=int, default=REMOVED)
    parser.add_argument("--queries", type=int, default=QUERIES)
    parser.add_argument("--subsets", type=int, default=SUBSETS)
    parser.add_argument("--steps", type=int, default=STEPS, help="of L-BFGS, most of each refit of a network")
    parser.add_argument("--prior", type=float, default=PRIOR, help="of networks")
    options = parser.parse_args()
    globals().update(STEPS=options.steps, REMOVED=options.removed, QUERIES=options.queries, SUBSETS=options.subsets)
    globals().update(PRIOR=options.prior)
    warnings.simplefilter("ignore")
    found = []
    for row in rows(options.n, options.seeds, options.only):
        found.append(row)
        print(pd.DataFrame([row]).round(4).to_string(index=False, header=False), flush=True)
    table = pd.DataFrame(found).groupby(["case", "removed"], sort=False).mean(numeric_only=True)
    print(table.drop(columns="seed").round(3).to_string())


if __name__ == "__main__":
    main()
