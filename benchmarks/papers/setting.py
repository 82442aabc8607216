"""What the scripts of the papers' figures share: data sets, networks, one epoch of training, resumable runs."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from data import images
from torch import Tensor, nn

from memorymaps.maps.memory_map import MemoryMap
from memorymaps.maps.memory_map import load as load_map
from memorymaps.nets.optimizers.variational_newton import VariationalNewton
from memorymaps.training.tracker import Tracker


@dataclass(frozen=True)
class Data:
    """Pictures in [0, 1] (standardised for CIFAR-10), class numbers, on one device."""

    x: Tensor
    y: Tensor
    test_x: Tensor
    test_y: Tensor
    classes: tuple[str, ...]


def load(name: str, examples: int, tests: int = 2_000, shrink: int = 1) -> Data:
    """The first `examples` of a data set that `data.images` finds, `shrink` pixels averaged each way."""
    raw = images(name)
    pictures = [torch.tensor(raw[key][:k], dtype=torch.float32) / 255 for key, k in _cuts(examples, tests)]
    labels = [torch.tensor(raw[key][:k]).long() for key, k in (("y_train", examples), ("y_test", tests))]
    classes = tuple(str(c) for c in raw["classes"])
    if pictures[0].ndim == 4:  # colours: channels first, zero mean
        pictures = [(p.permute(0, 3, 1, 2) - 0.47) / 0.25 for p in pictures]
    else:
        pictures = [p[:, None] for p in pictures]
    pictures = [nn.functional.avg_pool2d(p, shrink) for p in pictures]
    return Data(pictures[0].contiguous(), labels[0], pictures[1].contiguous(), labels[1], classes)


def _cuts(examples: int, tests: int) -> tuple[tuple[str, int], ...]:
    return (("x_train", examples), ("x_test", tests))


# --- networks -------------------------------------------------------------------------------------------------------


def lenet(channels: int = 1) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(channels, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(),
        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    )  # fmt: skip


def mlp(*hidden: int) -> nn.Module:
    sizes = (784, *hidden)
    layers = [layer for i, o in zip(sizes, hidden, strict=False) for layer in (nn.Linear(i, o), nn.ReLU())]
    return nn.Sequential(nn.Flatten(), *layers, nn.Linear(sizes[-1], 10))


def small() -> nn.Module:
    """Few enough parameters for the exact Gauss–Newton matrix at every checkpoint: 3,322."""
    layers = (nn.Linear(196, 16), nn.ReLU(), nn.Linear(16, 10))
    return nn.Sequential(nn.AvgPool2d(2), nn.Flatten(), *layers)


class FRN(nn.Module):
    """Filter response normalisation with its thresholded activation [Singh & Krishnan 2020]."""

    def __init__(self, channels: int):
        super().__init__()
        self.scale, self.shift, self.threshold = (nn.Parameter(v * torch.ones(1, channels, 1, 1)) for v in (1, 0, 0))

    def forward(self, x: Tensor) -> Tensor:
        """As a module is called."""
        x = x * torch.rsqrt(x.pow(2).mean((2, 3), keepdim=True) + 1e-6)
        return torch.maximum(self.scale * x + self.shift, self.threshold)


class Block(nn.Module):
    """Two convolutions and a way around them."""

    def __init__(self, i: int, o: int, step: int):
        super().__init__()
        self.way = nn.Sequential(nn.Conv2d(i, o, 3, step, 1), FRN(o), nn.Conv2d(o, o, 3, 1, 1), FRN(o))
        self.around = nn.Conv2d(i, o, 1, step) if step > 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """As a module is called."""
        return self.way(x) + self.around(x)


def resnet20() -> nn.Module:
    shape = [(16, 16, 1)] * 3 + [(16, 32, 2)] + [(32, 32, 1)] * 2 + [(32, 64, 2)] + [(64, 64, 1)] * 2
    blocks = [Block(*each) for each in shape]
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, 1, 1), FRN(16), *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10)
    )


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "lenet5": lenet,
    "mlp-32-16": lambda: mlp(32, 16),
    "mlp-16": small,
    "mlp-500-300": lambda: mlp(500, 300),
    "resnet20": resnet20,
}


# --- training -------------------------------------------------------------------------------------------------------


def batches(data: Data, size: int, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch's batches; its order depends on the epoch alone, so that a resumed run goes on as it would have."""
    order = torch.randperm(len(data.y), generator=torch.Generator().manual_seed(epoch))
    for rows in order.split(size):
        yield data.x[rows], data.y[rows]


def train_epoch(net: nn.Module, optimizer: Any, data: Data, size: int, epoch: int) -> None:
    net.train()
    torch.manual_seed(1_000 + epoch)
    for x, y in batches(data, size, epoch):
        if isinstance(optimizer, VariationalNewton):
            with optimizer.sampled_params(train=True):
                _backward(net, optimizer, x, y)
        else:
            _backward(net, optimizer, x, y)
        optimizer.step()


def _backward(net: nn.Module, optimizer: Any, x: Tensor, y: Tensor) -> None:
    optimizer.zero_grad()
    nn.functional.cross_entropy(net(x), y).backward()


def tracked(
    run: Path, net: nn.Module, optimizer: Any, data: Data, size: int, epochs: int, due: Callable[[int], bool],
    **options: Any,
) -> Tracker:  # fmt: skip
    """Train for `epochs`, each one step; record those that are due; go on with a run that was stopped."""
    checkpoint, start = run / "checkpoint.pt", 0
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=False)
        start = saved["epoch"]
        net.load_state_dict(saved["net"])
        optimizer.load_state_dict(saved["optimizer"])
    tracker = Tracker(
        net, optimizer, data.x, data.y, likelihood="categorical", every=due, path=run, start=start,
        test=(data.test_x, data.test_y), **options,
    )  # fmt: skip
    for epoch in range(start + 1, epochs + 1):
        train_epoch(net, optimizer, data, size, epoch)
        tracker.step()
        state = {"epoch": epoch, "net": net.state_dict(), "optimizer": optimizer.state_dict()}
        torch.save(state, checkpoint.with_suffix(".partial"))
        checkpoint.with_suffix(".partial").replace(checkpoint)
    return tracker


def kept(path: Path, make: Callable[[], MemoryMap]) -> MemoryMap:
    """The map in a file; made and saved where there is none."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        make().save(path)
    return load_map(path)


def parser(words: str | None, **defaults: Any) -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=words, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in defaults.items():
        made.add_argument(f"--{name}", type=type(value), default=value, help="default: %(default)s")
    made.add_argument("--out", type=Path, default=Path("out/papers"), help="runs and figures (default: %(default)s)")
    return made
