"""Train ResNet-20 with filter response normalisation on CIFAR-10 until it over-fits; a checkpoint after every epoch.

The network that [MM] ranks examples with. Full command, as in the source (50,000 images, a GPU):

    python benchmarks/papers/resnet_cifar10.py --examples 50000 --epochs 200 --delta 25

Shortened, the default: 25,000 images of 32 × 32, no augmentation, Adam, batches of 64, a learning rate that follows a
half cosine down to a fiftieth and stays there until `--accuracy` of the training images are right. Products are taken
in bfloat16, weights and steps in float32; forward and backward passes are compiled (which takes a C++ compiler;
`--no-compile` does without and takes 2.3 times as long): 52 processor seconds an epoch. A run that was stopped goes on
from its last epoch. The network of the gallery is shortened further, as it had less than a tenth of a core:

    MEMORYMAPS_DATA=… python benchmarks/papers/resnet_cifar10.py --examples 4096 --tests 250 --epochs 32 --delta 1
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from setting import Data, batches, load, parser, resnet20
from torch import Tensor, nn

FLOOR = 0.02  # of the learning rate, at the end of the half cosine and beyond


def rate(step: float, epochs: int) -> float:
    """Share of the learning rate after `step` epochs: one epoch of warm-up, a half cosine, then constant."""
    return min(step + 0.01, 1.0, max(FLOOR, 0.5 + 0.5 * math.cos(math.pi * min(1.0, step / epochs))))


def one_epoch(net: Callable[[Tensor], Tensor], optimizer: Any, data: Data, epoch: int, a: argparse.Namespace) -> float:
    """One pass; returns the accuracy on each batch before its step, averaged."""
    right, steps = 0, math.ceil(len(data.y) / a.batch)
    for k, (x, y) in enumerate(batches(data, a.batch, epoch)):
        for group in optimizer.param_groups:
            group["lr"] = a.rate * rate(epoch - 1 + k / steps, a.epochs)
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=a.bfloat16):
            outputs = net(x).float()
        nn.functional.cross_entropy(outputs, y).backward()
        optimizer.step()
        right += int((outputs.argmax(1) == y).sum())
    return right / len(data.y)


@torch.no_grad()
def accuracy(net: Callable[[Tensor], Tensor], x: Tensor, y: Tensor, size: int) -> float:
    found = [(net(a).argmax(1) == b).float() for a, b in zip(x.split(size), y.split(size), strict=True)]
    return float(torch.cat(found).mean())


def checkpoint(run: Path, epoch: int) -> Path:
    return run / f"epoch={epoch:03d}.pt"


def last_epoch(run: Path) -> int:
    """Of the checkpoints in a folder; 0 without."""
    return max((int(path.stem.partition("=")[2]) for path in run.glob("epoch=*.pt")), default=0)


def train(net: nn.Module, optimizer: Any, data: Data, run: Path, a: argparse.Namespace) -> None:
    """Go on from the last checkpoint until all epochs are over and the accuracy, or `--most` epochs, is reached."""
    epoch = last_epoch(run)
    if epoch:
        saved = torch.load(checkpoint(run, epoch), weights_only=True)
        net.load_state_dict(saved["net"])
        optimizer.load_state_dict(saved["optimizer"])
    passes: Callable[[Tensor], Tensor] = torch.compile(net) if a.compile else net  # type: ignore[assignment]
    right = 0.0
    while epoch < a.epochs or (right < a.accuracy and epoch < a.most):
        epoch += 1
        start, wall = time.process_time(), time.perf_counter()
        right = one_epoch(passes, optimizer, data, epoch, a)
        spent = {"cpu": round(time.process_time() - start, 1), "wall": round(time.perf_counter() - wall, 1)}
        test = accuracy(net, data.test_x, data.test_y, 500)
        partial = checkpoint(run, epoch).with_suffix(".partial")
        torch.save({"net": net.state_dict(), "optimizer": optimizer.state_dict()}, partial)
        partial.replace(checkpoint(run, epoch))
        row = {"epoch": epoch, "running_accuracy": round(right, 4), "test_accuracy": round(test, 4), **spent}
        with (run / "log.jsonl").open("a") as log:
            print(json.dumps(row), file=log)
        print(json.dumps(row), flush=True)


def options() -> argparse.ArgumentParser:
    defaults = {"examples": 25_000, "tests": 2_000, "epochs": 20, "most": 40, "batch": 64, "delta": 5.0}
    made = parser(__doc__, **defaults, rate=3e-3, accuracy=0.9)
    made.add_argument("--compile", action=argparse.BooleanOptionalAction, default=True)
    made.add_argument("--bfloat16", action=argparse.BooleanOptionalAction, default=True)
    return made


def network(a: argparse.Namespace) -> tuple[nn.Module, torch.optim.Adam]:
    torch.manual_seed(0)
    net = resnet20()
    return net, torch.optim.Adam(net.parameters(), lr=a.rate, weight_decay=a.delta / a.examples)


def main() -> None:
    a = options().parse_args()
    data = load("cifar10", a.examples, a.tests)
    run = a.out / f"resnet20-cifar10-{a.examples}"
    run.mkdir(parents=True, exist_ok=True)
    net, optimizer = network(a)
    train(net, optimizer, data, run, a)
    print(f"accuracy on the training images: {accuracy(net, data.x, data.y, 500):.4f}")


if __name__ == "__main__":
    main()
