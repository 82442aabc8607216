"""A network's map by 1, 2, … processes of one thread each: time, and bytes communicated against the formula.

Each group draws the same map of random inputs of LeNet5's shapes. `cpu` is the processor time of the slowest process
(`time.process_time`), `wall` its clock, which other work on the machine lengthens. `summed` and `gathered`: bytes of a
process, counted where they are passed to `torch.distributed`, by the formulas of docs/use/more_than_one_process.md.

    python benchmarks/more_processes.py --examples 6000
    python benchmarks/more_processes.py --traffic                  small maps of every structure, 2 to 4 processes
    unshare -rn sh -c 'ip link set lo up; python benchmarks/more_processes.py --wire'      what really is sent (Linux)
"""

from __future__ import annotations

import argparse
import pathlib
import pickle
import re
import subprocess
import sys
import tempfile
import time
import warnings
from dataclasses import asdict

import torch
import torch.distributed as dist
from torch import nn

from memorymaps import Laplace, memory_map
from memorymaps.nets.distributed import process_group
from memorymaps.nets.distributed.collectives import Collectives
from memorymaps.nets.sampled.structure import Sampled

OUTPUTS = 10
SMALL = ("full", "block", "kfac", "ekfac", "diag", "dual", "active_set", "sampled")
EXAMPLES = 120  # of the small maps


def lenet() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, OUTPUTS),
    )  # fmt: skip


def small() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(20, 30), nn.Tanh(), nn.Linear(30, OUTPUTS))


def structure_of(name: str) -> object:
    return Sampled(rows=256) if name == "sampled" else name


def draw(name: str, structure: str, n: int) -> dict[str, float]:
    """Time and traffic of one map, in this process."""
    torch.manual_seed(0)
    net, shape = (lenet(), (1, 28, 28)) if name == "lenet" else (small(), (20,))
    x, y = torch.randn(n, *shape), torch.arange(n) % OUTPUTS
    made: list[Collectives] = []

    class Counted(Collectives):
        def __init__(self) -> None:
            super().__init__()
            made.append(self)

    process_group.Collectives = Counted
    recipe = Laplace(structure_of(structure), prior=10.0, probes=0, rows=32 if structure == "active_set" else 400)
    memory_map(net, x[:64], y[:64], likelihood="categorical", posterior=Laplace("diag", prior=10.0, probes=0))
    made.clear()
    wall, cpu = time.perf_counter(), time.process_time()
    m = memory_map(net, x, y, likelihood="categorical", posterior=recipe, estimator="cavity", progress=False)
    spent = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
    notes = "\n".join(m.provenance.description.notes)
    counts = re.findall(r"exact curvature of ([\d,]+) examples|^([\d,]+) of [\d,]+ rows", notes, re.MULTILINE)
    spent["exact"] = sum(int(count.replace(",", "")) for pair in counts for count in pair if count)
    return spent | (asdict(made[0].traffic) if made else {})


def formula(structure: str, n: int, exact: float) -> tuple[float, float]:
    """Bytes summed by one process, and gathered from all: the table of the page, for the small network."""
    layers = [(20, 30), (30, OUTPUTS)]
    each, k = [(d + 1) * o for d, o in layers], OUTPUTS - 1
    p = sum(each)
    kronecker = sum((d + 1) ** 2 + o**2 for d, o in layers)
    sums = {
        "full": 8 * p**2, "block": 8 * sum(q**2 for q in each), "kfac": 8 * kronecker, "ekfac": 8 * (kronecker + p),
        "diag": 8 * p, "dual": 0, "active_set": 8 * p, "sampled": 0,
    }  # fmt: skip
    factors = 8 * sum((d + 1) + o for d, o in layers)
    gathers = {"dual": 4 * k * n * p, "active_set": 8 * n + 4 * k * exact * p, "sampled": 16 * k * n + exact * factors}
    return sums[structure] + 4 * p, gathers.get(structure, 0.0)


def group(size: int, *arguments: str) -> list[dict[str, float]]:
    """What the processes of a group report; of one process without a group."""
    with tempfile.TemporaryDirectory() as folder:
        started = [
            subprocess.Popen([sys.executable, __file__, "--one", folder, str(rank), str(size), *arguments])
            for rank in range(size)
        ]
        codes = [process.wait() for process in started]
        if any(codes):
            raise SystemExit("a process has failed")
        return [pickle.loads((pathlib.Path(folder) / f"{rank}").read_bytes()) for rank in range(size)]


def one(folder: str, rank: str, size: str, name: str, structures: str, n: str) -> None:
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    if int(size) > 1:
        dist.init_process_group("gloo", init_method=f"file://{folder}/m", rank=int(rank), world_size=int(size))
    found = {structure: draw(name, structure, int(n)) for structure in structures.split(",")}
    (pathlib.Path(folder) / rank).write_bytes(pickle.dumps(found))


def times(sizes: list[int], structures: list[str], n: int) -> None:
    print("| structure | processes | wall, s | 1 process / wall | cpu, s | 1 process / cpu | MB summed | MB gathered |")
    print("|---|---|---|---|---|---|---|---|")
    for structure in structures:
        first: dict[str, float] = {}
        for size in sizes:
            found = [each[structure] for each in group(size, "lenet", structure, str(n))]
            slowest = {key: max(each[key] for each in found) for key in ("wall", "cpu")}
            first = first or slowest
            ratios = {key: first[key] / slowest[key] for key in slowest}
            summed, given = (max(each.get(key, 0) for each in found) / 1e6 for key in ("summed", "given"))
            print(
                f"| {structure} | {size} | {slowest['wall']:.1f} | {ratios['wall']:.2f} | {slowest['cpu']:.1f} | "
                f"{ratios['cpu']:.2f} | {summed:.2f} | {given:.2f} |", flush=True,
            )  # fmt: skip


def traffic(sizes: list[int], n: int) -> None:
    """The bytes that the table of an example takes are those of `diag`'s gatherings, which has no other."""
    print("| structure | processes | kB summed | formula | kB gathered by all, without the table | formula |")
    print("|---|---|---|---|---|---|")
    for size in sizes:
        found = group(size, "small", ",".join(SMALL), str(n))
        table = sum(each["diag"]["given"] for each in found)
        print(f"the table and its fingerprint: {table / n:.0f} bytes an example")
        for structure in SMALL:
            of = [each[structure] for each in found]
            given = sum(each["given"] for each in of) - table
            summed, gathered = formula(structure, n, of[0]["exact"])
            print(
                f"| {structure} | {size} | {of[0]['summed'] / 1e3:.1f} | {summed / 1e3:.1f} | {given / 1e3:.1f} | "
                f"{gathered / 1e3:.1f} |", flush=True,
            )  # fmt: skip


def wire(sizes: list[int], n: int) -> None:
    """Bytes that all processes send over the loopback interface for the sum of `full`, by the system's counter."""
    print("| processes | MB sent by all | 2 B (R - 1) |")
    print("|---|---|---|")
    for size in sizes:
        sent, summed = [], []
        for structure in ("full", "diag"):  # the difference leaves out the start of the group and the table
            before = _sent()
            found = group(size, "small", structure, str(n))
            sent.append(_sent() - before)
            summed.append(found[0][structure]["summed"])
        ring = 2 * (summed[0] - summed[1]) * (size - 1)
        print(f"| {size} | {(sent[0] - sent[1]) / 1e6:.2f} | {ring / 1e6:.2f} |", flush=True)


def _sent() -> int:
    lines = pathlib.Path("/proc/net/dev").read_text().splitlines()
    return next(int(line.split()[9]) for line in lines if line.strip().startswith("lo:"))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        one(*sys.argv[2:])
        raise SystemExit
    parser = argparse.ArgumentParser()
    parser.add_argument("--examples", type=int, default=6000)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--structures", nargs="+", default=["ekfac", "sampled"])
    parser.add_argument("--traffic", action="store_true")
    parser.add_argument("--wire", action="store_true")
    given = parser.parse_args()
    if given.wire:
        wire([2, 3, 4], EXAMPLES)
    elif given.traffic:
        traffic([2, 3, 4], EXAMPLES)
    else:
        times(given.processes, given.structures, given.examples)
