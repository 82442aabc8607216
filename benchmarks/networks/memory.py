"""Memory of a variance pass: megabytes an example in the batch (all C × C), and the peak of a 10-million-parameter
network with 1,000 outputs along directions. Each figure is a process of its own, its peak as the system counts it.
`--whole`: the peak of a whole map of 60,000 examples instead, data included (an hour and more a network).

    python benchmarks/networks/memory.py
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time

import torch
from speed import NETS, OUTPUTS
from torch import nn

import memorymaps as mm
from memorymaps.data.in_memory import ArrayExamples
from memorymaps.nets.recipe import Laplace
from memorymaps.posteriors.origin import Origin
from memorymaps.posteriors.registry import posterior, training_data


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def one(name: str, batch: int) -> None:
    """Peak of this process after one variance pass over a batch."""
    make, shape, *_ = NETS[name]
    torch.manual_seed(0)
    model = Laplace("kfac", prior=1.0)(make(), "categorical")
    few = ArrayExamples.of(torch.randn(8, *shape), torch.randint(0, OUTPUTS, (8,)))
    source = posterior(model, training_data(model, few))
    source.problem.batch_size.size = batch
    source.marginals(torch.randn(batch, *shape))
    print(peak())


def many(n: int) -> None:
    """A map's peak for 1,000 outputs and ten million parameters."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(1024, 3000), nn.ReLU(), nn.Linear(3000, 1800), nn.ReLU(), nn.Linear(1800, 1000))
    recipe = Laplace("diag", prior=1.0, fisher="leading")
    model = recipe(net, "categorical")
    data = training_data(model, ArrayExamples.of(torch.randn(n, 1024), torch.randint(0, 1000, (n,))))
    source = posterior(model, data)
    origin = Origin(source, data)
    for batch in data:
        for part in origin.chunks(batch):
            origin.batch_statistics(part).first_order()
    print(sum(p.numel() for p in net.parameters()), peak())


def whole(name: str, structure: str, every: int, n: int) -> None:
    """Peak of this process with the data, and after a map of all of it."""
    make, shape, *_ = NETS[name]
    torch.manual_seed(0)
    net, x, y = make(), torch.randn(n, *shape), torch.randint(0, OUTPUTS, (n,))
    before, start = peak(), time.process_time()
    recipe, rows = mm.Laplace(structure, prior=100.0), None if every == 1 else range(0, n, every)
    m = mm.memory_map(net, x, y, likelihood="categorical", posterior=recipe, rows=rows)
    spent, what = time.process_time() - start, m.provenance.description.posterior
    print(f"| {name}, {len(m):,} of {n:,} drawn | {what} | {before:,.0f} | {peak():,.0f} | {spent:,.0f} |", flush=True)


def measured(*arguments: str) -> list[float]:
    done = subprocess.run([sys.executable, __file__, *arguments], capture_output=True, text=True, check=True)
    return [float(word) for word in done.stdout.split()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--one", nargs=2)
    parser.add_argument("--many", type=int)
    parser.add_argument("--whole", choices=NETS)
    parser.add_argument("--structure", default="auto", help="of the whole map")
    parser.add_argument("--every", type=int, default=1, help="of which only every k-th example is drawn")
    arguments = parser.parse_args()
    if arguments.one:
        one(arguments.one[0], int(arguments.one[1]))
    elif arguments.many:
        many(arguments.many)
    elif arguments.whole:
        print("| network | posterior | MB before, data included | peak, MB | processor s |\n|---|---|---|---|---|")
        whole(arguments.whole, arguments.structure, arguments.every, 60_000)
    else:
        print("| network | MB an example, all C × C |\n|---|---|")
        for name in NETS:
            low, high = 64, 256
            small, large = (measured("--one", name, str(size))[0] for size in (low, high))
            print(f"| {name} | {(large - small) / (high - low):.2f} |", flush=True)
        count, top = measured("--many", "2000")
        print(f"\n{count:,.0f} parameters, 1,000 outputs, 2,000 examples, along directions: peak {top:,.0f} MB")


if __name__ == "__main__":
    main()
