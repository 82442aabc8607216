"""What a map of many examples costs: sampled rows, a share of the examples by them, EKFAC; in epochs of training.

Real images, a network trained for some epochs of Adam. Every case runs in a process of its own (peak memory), and its
result is a line of the file `--path`: an interrupted run goes on with the cases that are missing. Processor time, so
that other work on the machine matters less; on another device (`--device cuda`, `mps`, `xpu`) wall time, for which it
must be quiet, and beside the peak of main memory the device's. `--seconds` ends the run: a case that is not finished
by then is stopped and said to be. Cases stand in order of their cost.

    MEMORYMAPS_DATA=… python benchmarks/networks/sampled_large.py --path large.jsonl
    MEMORYMAPS_DATA=… python benchmarks/networks/sampled_large.py --path gpu.jsonl --device cuda --seconds 600
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from speed import NETS as CONVOLUTIONAL
from torch import nn
from vision_transformer import VisionTransformer

import memorymaps as mm
from memorymaps.nets.curvature.kronecker import EKFAC
from memorymaps.nets.sampled.structure import Sampled

DELTA, EPOCHS = 60.0, 3
NETS = CONVOLUTIONAL | {"ViT": (VisionTransformer,)}
STRUCTURES: dict[str, Callable[[], Any]] = {
    "ekfac": lambda: "ekfac",
    "ekfac, 4,096 examples": lambda: EKFAC(examples=4096),
    "ekfac, all examples, all C × C": lambda: EKFAC(examples="all"),
    "sampled 5 %, 1,024 rows": lambda: Sampled(rows=1024, share=0.05),
    "sampled 5 %, 4,096 rows": lambda: Sampled(rows=4096, share=0.05),
    "sampled, 30 epochs": lambda: Sampled(budget="30 epochs", share=1.0),
    "sampled, 30 epochs, projected on 64": lambda: Sampled(budget="30 epochs", share=1.0, projection=64),
    "sampled, 30 epochs, share chosen": lambda: Sampled(budget="30 epochs"),
}


def data(n: int, name: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Images and labels, 2 % of them drawn at random."""
    file, rng = np.load(Path(os.environ["MEMORYMAPS_DATA"]) / f"{name}.npz"), np.random.default_rng(0)
    rows = rng.permutation(len(file["x_train"]))[:n]
    x = torch.tensor(file["x_train"][rows] / np.float32(255))
    y = file["y_train"][rows].astype(np.int64)
    flipped = rng.random(len(rows)) < 0.02
    y[flipped] = rng.integers(0, 10, flipped.sum())
    return (x[:, None] if x.ndim == 3 else x.permute(0, 3, 1, 2)), torch.tensor(y)


def clock(device: str) -> float:
    """Seconds of the processor, or of the wall once another device has finished."""
    if device == "cpu":
        return time.process_time()
    module_of(device).synchronize()
    return time.perf_counter()


def module_of(device: str) -> Any:
    """`torch.cuda`, `torch.mps`, …"""
    return torch.get_device_module(torch.device(device))


def device_peak(device: str) -> float | None:
    """GB of the device's own memory at most; None of the processor, and where torch does not count it."""
    counted = None if device == "cpu" else getattr(module_of(device), "max_memory_allocated", None)
    return None if counted is None else counted() / 2**30


def train(net: nn.Module, x: torch.Tensor, y: torch.Tensor, device: str) -> float:
    """Some epochs of Adam; the seconds of one."""
    optimizer, start = torch.optim.Adam(net.parameters(), 1e-3), clock(device)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(x)).split(128):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(net(x[rows].to(device)), y[rows].to(device))
            penalty = DELTA / len(x) / 2 * sum(v.square().sum() for v in net.parameters())
            (loss + penalty).backward()
            optimizer.step()
    return (clock(device) - start) / EPOCHS


def one(network: str, structure: str, n: int, device: str, name: str) -> dict[str, Any]:
    """One case: epochs, seconds, memory, and what the map says of itself."""
    torch.manual_seed(0)
    x, y = data(n, name)
    net = NETS[network][0]().to(device)
    epoch = train(net, x, y, device)
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, clock(device)
    recipe = mm.Laplace(STRUCTURES[structure](), prior=DELTA, probes=0)
    m = mm.memory_map(net, x, y, likelihood="categorical", posterior=recipe, progress=False)
    seconds = clock(device) - start
    return {
        "network": network, "structure": structure, "n": len(x), "device": device, "epoch": epoch,
        "epochs": seconds / epoch, "before": before, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "device_peak": device_peak(device), "sum": float(m["leverage"].sum()), "loo_loss": float(m["loo_loss"].mean()),
        "notes": list(m.provenance.description.notes),
    }  # fmt: skip


def finished(path: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """The cases in the file; a cut last line is not one."""
    lines = path.read_text().splitlines() if path.exists() else []
    found = [json.loads(line) for line in lines if line.endswith("}")]
    return {(line["network"], line["structure"]): line for line in found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--path", type=Path, required=True)
    parser.add_argument("--n", type=int, default=60_000)
    parser.add_argument("--data", default="mnist")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--net", choices=NETS, action="append")
    parser.add_argument("--structure", choices=STRUCTURES, action="append")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="no case begins or goes on after them")
    parser.add_argument("--one", nargs=2, help="network and structure, in this process")
    a = parser.parse_args()
    if a.one:
        with open(a.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(one(*a.one, a.n, a.device, a.data)) + "\n")
        return
    start = time.monotonic()
    for network in a.net or ["LeNet5"]:
        for structure in a.structure or STRUCTURES:
            left = a.seconds - (time.monotonic() - start)
            if (network, structure) in finished(a.path) or left <= 0:
                continue
            given = ["--path", str(a.path), "--n", str(a.n), "--device", a.device, "--data", a.data]
            command = [sys.executable, __file__, *given, "--one", network, structure]
            try:
                subprocess.run(command, check=True, timeout=None if left == float("inf") else left)
            except subprocess.TimeoutExpired:
                print(f"<!-- {network}, {structure}: stopped after {left:.0f} s -->", flush=True)
    print("| network | N | structure | epochs | of seconds | GB before | peak, GB | device, GB | Σh | left-out loss |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for case in finished(a.path).values():
        device = "–" if case.get("device_peak") is None else f"{case['device_peak']:.1f}"
        print(
            f"| {case['network']} | {case['n']:,} | {case['structure']} | {case['epochs']:.1f} | {case['epoch']:.1f} | "
            f"{case['before']:.1f} | {case['peak']:.1f} | {device} | {case['sum']:.0f} | {case['loo_loss']:.4f} |"
        )


if __name__ == "__main__":
    main()
