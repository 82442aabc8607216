"""Networks with Laplace posteriors of every structure, and posteriors from optimisers, by faults."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from verdict import Case, Truth

import memorymaps as mm
from memorymaps.core.likelihoods.categorical import Categorical
from memorymaps.core.likelihoods.exponential_family import Bernoulli, Gaussian, Poisson

N, PRIOR, NOISE = 40, 1.0, 0.25
STRUCTURES = ("full", "hessian", "dual", "block", "ekfac", "kfac", "diag", "lowrank", "active_set", "sampled", "auto")


@dataclass(frozen=True)
class Task:
    """A kind of target: likelihood, summed loss, number of outputs, targets from a signal."""

    likelihood: Any
    loss: Callable[[Tensor, Tensor], Tensor]
    outputs: int
    target: Callable[[Tensor], Tensor]


TASKS = {
    "classes": Task(
        Categorical(), lambda f, y: functional.cross_entropy(f, y, reduction="sum"), 3,
        lambda s: (s > -0.5).long() + (s > 0.7).long(),
    ),
    "two classes": Task(
        Bernoulli(), lambda f, y: functional.binary_cross_entropy_with_logits(f[:, 0], y, reduction="sum"), 1,
        lambda s: (s > 0).double(),
    ),
    "numbers": Task(
        Gaussian(dispersion=NOISE), lambda f, y: ((f[:, 0] - y) ** 2).sum() / (2 * NOISE), 1,
        lambda s: s + 0.5 * torch.randn(len(s), dtype=torch.float64),
    ),
    "counts": Task(
        Poisson(), lambda f, y: (f[:, 0].exp() - y * f[:, 0]).sum(), 1, lambda s: torch.poisson((0.5 * s).exp())
    ),
}  # fmt: skip


@functools.cache
def data(task: str) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(N, 3, dtype=torch.float64, generator=generator)
    torch.manual_seed(1)
    return x, TASKS[task].target(x[:, 0] - 0.7 * x[:, 1] + 0.4 * torch.randn(N, dtype=torch.float64))


class Small(nn.Module):
    """Two layers with tanh."""

    def __init__(self, outputs: int):
        super().__init__()
        torch.manual_seed(2)
        self.inner, self.head = nn.Linear(3, 4).double(), nn.Linear(4, outputs).double()

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.inner(x)))


def train(net: nn.Module, task: str, x: Tensor, y: Tensor) -> nn.Module:
    """To the minimum of the summed loss and the prior, by L-BFGS."""
    parameters = [p for p in net.parameters() if p.requires_grad]
    optimizer = torch.optim.LBFGS(
        parameters, max_iter=400, line_search_fn="strong_wolfe", tolerance_grad=1e-9, tolerance_change=1e-14
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        total = TASKS[task].loss(net(x), y) + PRIOR / 2 * sum((p**2).sum() for p in parameters)
        total.backward()
        return total

    optimizer.step(closure)
    return net


@functools.cache
def trained(task: str) -> nn.Module:
    return train(Small(TASKS[task].outputs), task, *data(task))


@functools.cache
def without(task: str, row: int) -> np.ndarray:
    """Outputs `[c]` of a row by training on without it."""
    x, y = data(task)
    kept = torch.arange(N) != row
    net = train(copy.deepcopy(trained(task)), task, x[kept], y[kept])
    return net(x[[row]]).detach().numpy()[0]


def truth(task: str) -> Truth:
    x, y = data(task)

    def changes(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        before = trained(task)(x[torch.as_tensor(rows)]).detach().numpy()
        return before, np.stack([without(task, int(row)) for row in rows])

    return Truth(changes, y.numpy())


def mapped(task: str, structure: str = "full", *, net: Any = None, x: Any = None, y: Any = None, **options: Any) -> Any:
    own_x, own_y = data(task)
    recipe = mm.Laplace(structure, prior=options.pop("prior", PRIOR), **options.pop("recipe", {}))
    options = {"likelihood": TASKS[task].likelihood, "posterior": recipe, **options}
    return mm.memory_map(
        trained(task) if net is None else net, own_x if x is None else x, own_y if y is None else y, **options
    )


@functools.cache
def usual(task: str, structure: str) -> tuple[str, ...]:
    return mapped(task, structure).summary().warnings


# --- faults ----------------------------------------------------------------------------------------------------------


def changed(values: Tensor, where: Any, value: float) -> Tensor:
    found = values.clone()
    found[where] = value
    return found


def edited(task: str, edit: Callable[[nn.Module], None]) -> nn.Module:
    net = copy.deepcopy(trained(task))
    edit(net)
    return net


class Around(nn.Module):
    """The trained network with something done to its outputs."""

    def __init__(self, net: nn.Module, change: Callable[[Tensor], Tensor]):
        super().__init__()
        self.net, self.change = copy.deepcopy(net), change

    def forward(self, x: Tensor) -> Tensor:
        return self.change(self.net(x))


class Frozen(nn.Module):
    """A first layer that no gradient reaches."""

    def __init__(self, net: Any):
        super().__init__()
        self.inner, self.head = copy.deepcopy(net.inner), copy.deepcopy(net.head)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.inner(x).detach()))


def _nan_weight(net: Any) -> None:
    net.head.weight.data[0, 0] = np.nan


def _half(net: Any) -> None:
    for p in net.parameters():
        p.data *= 0.4


GIVEN: dict[str, Callable[[str], dict[str, Any]]] = {
    "nan_in_inputs": lambda t: {"x": changed(data(t)[0], (3, 1), np.nan)},
    "infinity_in_inputs": lambda t: {"x": changed(data(t)[0], (3, 1), np.inf)},
    "fewer_targets": lambda t: {"y": data(t)[1][:-1]},
    "one_column_less": lambda t: {"x": data(t)[0][:, :-1]},
    "text_targets": lambda t: {"y": np.array(["a"] * N)},
    "shuffled_targets": lambda t: {"y": data(t)[1][torch.randperm(N, generator=torch.Generator().manual_seed(3))]},
    "shuffled_inputs": lambda t: {"x": data(t)[0][torch.randperm(N, generator=torch.Generator().manual_seed(3))]},
    "inputs_in_other_units": lambda t: {"x": 10 * data(t)[0]},
    "some_of_the_rows": lambda t: {"x": data(t)[0][:15], "y": data(t)[1][:15]},
    "nan_parameter": lambda t: {"net": edited(t, _nan_weight)},
    "edited_parameters": lambda t: {"net": edited(t, _half)},
    "negative_prior": lambda t: {"prior": -1.0},
    "nan_prior": lambda t: {"prior": float("nan")},
    "zero_prior": lambda t: {"prior": 0.0},
    "prior_a_hundred_times": lambda t: {"prior": 100 * PRIOR},
    "prior_a_hundredth": lambda t: {"prior": PRIOR / 100},
    "outputs_minus_their_mean": lambda t: {"net": Around(trained(t), lambda f: f - f.mean(0))},
    "outputs_normalised_over_the_batch": lambda t: {"net": Around(trained(t), lambda f: f / (1 + f.norm(dim=0)))},
    "outputs_attend_to_the_batch": lambda t: {"net": Around(trained(t), lambda f: torch.softmax(f @ f.T, 1) @ f)},
    "random_outputs": lambda t: {"net": Around(trained(t), lambda f: f + 0.1 * torch.randn_like(f))},
    "no_gradient_to_a_layer": lambda t: {"net": Frozen(trained(t))},
    "no_outputs": lambda t: {"net": Around(trained(t), lambda f: f[:, :0])},
    "duplicate_ids": lambda t: {"ids": [0, 0, *range(2, N)]},
    "nan_ids": lambda t: {"ids": [np.nan, *range(1, N)]},
    "negative_weights": lambda t: {"sample_weight": np.r_[-1.0, np.ones(N - 1)]},
    "invented_weights": lambda t: {"sample_weight": np.random.default_rng(0).uniform(0.2, 4, N)},
    "no_likelihood": lambda t: {"likelihood": None},
    "unknown_likelihood": lambda t: {"likelihood": "normal"},
}
OF_CLASSES: dict[str, Callable[[str], dict[str, Any]]] = {
    "softmax_as_logits": lambda t: {"net": Around(trained(t), lambda f: f.softmax(1))},
    "class_out_of_range": lambda t: {"y": changed(data(t)[1], 0, 3)},
    "negative_class": lambda t: {"y": changed(data(t)[1], 0, -1)},
    "padding_label": lambda t: {"y": changed(data(t)[1], 0, -100)},
    "one_hot_of_another_width": lambda t: {"y": functional.one_hot(data(t)[1], 5)},
}
OF_NUMBERS: dict[str, Callable[[str], dict[str, Any]]] = {
    "nan_target": lambda t: {"y": changed(data(t)[1], 0, np.nan)},
    "infinite_target": lambda t: {"y": changed(data(t)[1], 0, np.inf)},
    "rescaled_targets": lambda t: {"y": 10 * data(t)[1]},
    "noise_of_another_size": lambda t: {"likelihood": Gaussian(dispersion=100 * NOISE)},
    "nan_noise": lambda t: {"likelihood": Gaussian(dispersion=float("nan"))},
    "negative_noise": lambda t: {"likelihood": Gaussian(dispersion=-1.0)},
    "targets_of_two_columns": lambda t: {"y": torch.stack([data(t)[1]] * 2, 1)},
}
OF_TWO: dict[str, Callable[[str], dict[str, Any]]] = {
    "sigmoid_as_logits": lambda t: {"net": nn.Sequential(copy.deepcopy(trained(t)), nn.Sigmoid())},
    "target_of_two": lambda t: {"y": changed(data(t)[1], 0, 2.0)},
    "targets_of_minus_one": lambda t: {"y": 2 * data(t)[1] - 1},
}
OF_COUNTS: dict[str, Callable[[str], dict[str, Any]]] = {
    "negative_count": lambda t: {"y": changed(data(t)[1], 0, -1.0)},
    "fractional_target_nan": lambda t: {"y": changed(data(t)[1], 0, np.nan)},
}
OWN = {"classes": OF_CLASSES, "numbers": OF_NUMBERS, "two classes": OF_TWO, "counts": OF_COUNTS}


def cases() -> dict[str, Callable[[], Case]]:
    found: dict[str, Callable[[], Case]] = {}
    for task in TASKS:
        for structure in STRUCTURES:
            found[f"{task}-{structure}-as_it_is"] = functools.partial(clean_case, task, structure)
        for name, change in OWN[task].items():
            found[f"{task}-full-{name}"] = functools.partial(given_case, task, "full", change)
    for task, structure in (("classes", "full"), ("classes", "kfac"), ("numbers", "full"), ("numbers", "diag"),
                            ("two classes", "auto"), ("counts", "dual")):  # fmt: skip
        for name, change in GIVEN.items():
            found[f"{task}-{structure}-{name}"] = functools.partial(given_case, task, structure, change)
    return found


def clean_case(task: str, structure: str) -> Case:
    return Case(lambda: mapped(task, structure), truth(task))


def given_case(task: str, structure: str, change: Callable[[str], dict[str, Any]]) -> Case:
    return Case(
        lambda: mapped(task, structure, **change(task)), truth(task), lambda: mapped(task, structure), "",
        usual(task, structure),
    )  # fmt: skip
