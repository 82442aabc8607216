"""How alike are a network and its copies during training, and networks that are none? Cosines of their parameters.

    python benchmarks/networks/copied.py [--steps 1500]

An optimiser's state is read for a copy of its network (averaged, reloaded) if the two are alike
(`memorymaps.nets.optimizers.trained_parameters`). Digits, three architectures, five optimisers. Copies: exponential
averages, the mean of the last half of training, checkpoints of the same run. Others: another seed on the same data;
another seed before training; the same shapes with another activation. The same first weights trained on other rows
are neither: they are a copy at first and stop being one. Printed for each kind: the smallest, median and largest
cosine over all pairs, of all parameters and of matrices (tensors of two axes and more) only.
"""

from __future__ import annotations

import argparse
import copy
from collections import defaultdict
from collections.abc import Iterator

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

DECAYS, SEEDS = (0.9, 0.99, 0.999, 0.9999), (0, 1)
OPTIMISERS = {
    "SGD 0.1": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
    "SGD 0.1 decay": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=5e-3),
    "Adam 0.001": lambda p: torch.optim.Adam(p, lr=1e-3),
    "Adam 0.01": lambda p: torch.optim.Adam(p, lr=1e-2),
    "AdamW 0.001 decay": lambda p: torch.optim.AdamW(p, lr=1e-3, weight_decay=0.5),
}


def mlp(activation: type[nn.Module] = nn.Tanh) -> nn.Module:
    return nn.Sequential(nn.Linear(64, 64), activation(), nn.Linear(64, 32), activation(), nn.Linear(32, 10))


def cnn(activation: type[nn.Module] = nn.ReLU) -> nn.Module:
    return nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), activation(), nn.Conv2d(8, 16, 3),
        nn.BatchNorm2d(16), activation(), nn.Flatten(), nn.Linear(256, 10),
    )  # fmt: skip


class Transformer(nn.Module):
    """Rows of a digit are tokens; norms first, as many models have them, and small first weights."""

    def __init__(self, activation: type[nn.Module] = nn.GELU):
        super().__init__()
        self.embed, self.place = nn.Linear(8, 32), nn.Parameter(0.02 * torch.randn(8, 32))
        layer = nn.TransformerEncoderLayer(32, 4, 64, 0.0, activation(), batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(layer, 2, nn.LayerNorm(32), enable_nested_tensor=False)
        self.head = nn.Linear(32, 10)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        """Logits `[n, 10]`."""
        return self.head(self.blocks(self.embed(x.reshape(-1, 8, 8)) + self.place).mean(1))


NETWORKS = {"MLP": mlp, "CNN": cnn, "transformer": Transformer}


def cosine(a: dict[str, Tensor], b: dict[str, Tensor], axes: int) -> float:
    """Of all tensors with so many axes and more."""
    x, y = (torch.cat([v.double().flatten() for v in each.values() if v.ndim >= axes]) for each in (a, b))
    return float(x @ y / (x.norm() * y.norm()))


def parameters(net: nn.Module) -> dict[str, Tensor]:
    """A copy of them."""
    return {name: p.detach().clone() for name, p in net.named_parameters()}


class Run:
    """One training, with its averages and checkpoints."""

    def __init__(self, build, optimiser, seed: int, rows: np.ndarray, first: nn.Module | None = None):
        torch.manual_seed(seed)
        self.net = build() if first is None else copy.deepcopy(first)
        self.first, self.optimiser, self.rows = copy.deepcopy(self.net), optimiser(self.net.parameters()), rows
        self.averages = {decay: parameters(self.net) for decay in DECAYS}
        self.half: dict[str, Tensor] | None = None
        self.counted, self.generator = 0, torch.Generator().manual_seed(seed)

    def step(self, x: Tensor, y: Tensor, late: bool) -> None:
        """One step on 64 rows."""
        some = self.rows[torch.randint(len(self.rows), (64,), generator=self.generator).numpy()]
        self.optimiser.zero_grad()
        nn.functional.cross_entropy(self.net(x[some]), y[some]).backward()
        self.optimiser.step()
        now = parameters(self.net)
        for decay, mean in self.averages.items():
            for name, value in mean.items():
                value.lerp_(now[name], 1 - decay)
        if late:
            self.counted += 1
            self.half = now if self.half is None else self.half
            for name, value in self.half.items():
                value.lerp_(now[name], 1 / self.counted)


def pairs(build, optimiser, steps: int, x: Tensor, y: Tensor) -> Iterator[tuple[str, dict, dict]]:
    """Kinds of pairs, with the parameters of both."""
    rows = np.random.default_rng(0).permutation(len(x))
    a, b = (Run(build, optimiser, seed, rows[::2]) for seed in SEEDS)
    other = Run(build, optimiser, SEEDS[0], rows[1::2], first=a.first)
    activated = Run(lambda: build(nn.SiLU), optimiser, 2, rows[::2])
    marks = sorted({int(m) for m in np.geomspace(1, steps, 12)})
    checkpoints: list[tuple[int, dict[str, Tensor]]] = []
    for step in range(1, steps + 1):
        for run in (a, b, other, activated):
            run.step(x, y, late=step > steps // 2)
        if step not in marks:
            continue
        now = parameters(a.net)
        yield from ((f"copy: average {decay}", now, mean) for decay, mean in a.averages.items())
        if a.half is not None:
            yield "copy: mean of the last half", now, a.half
        yield from (
            (f"copy: checkpoint at {'half of' if s >= step / 2 else 'less than half of'} the steps", now, held)
            for s, held in checkpoints
        )
        yield "other: seed", now, parameters(b.net)
        yield "other: seed, before training", now, parameters(b.first)
        yield "other: seed, average 0.999", now, b.averages[0.999]
        yield "other: seed and activation", now, parameters(activated.net)
        yield "either: first weights, other rows", now, parameters(other.net)
        yield "either: before training", now, parameters(a.first)
        checkpoints.append((step, now))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1500)
    args = parser.parse_args()
    torch.set_num_threads(1)
    X, labels = load_digits(return_X_y=True)
    x, y = torch.tensor(X / 16).float(), torch.tensor(labels)
    found: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    for name, build in NETWORKS.items():
        for optimiser in OPTIMISERS.values():
            for kind, p, q in pairs(build, optimiser, args.steps, x, y):
                found[kind, name].append((cosine(p, q, 1), cosine(p, q, 2)))
    print(f"{'':64s} all parameters           matrices only")
    for (kind, name), values in sorted(found.items()):
        columns = "     ".join(f"{min(v):6.3f} {np.median(v):6.3f} {max(v):6.3f}" for v in zip(*values, strict=True))
        print(f"{kind:46s} {name:12s} {len(values):4d} {columns}", flush=True)


if __name__ == "__main__":
    main()
