"""What watching costs: a full map from Adam's state in training epochs, and tracking a subset every epoch.

MEMORYMAPS_DATA=… python benchmarks/papers/overhead.py --examples 60000
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from typing import Any

import torch
from setting import NETWORKS, load, parser, train_epoch

from memorymaps.training.tracker import Tracker


def seconds(work: Callable[[], Any]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def main() -> None:
    args = parser(__doc__, data="fmnist", examples=20_000, epochs=2, subset=5_000, batch=64).parse_args()
    data = load(args.data, args.examples)
    print("processor seconds; 'adds' is time recording for each second of training")
    print("| network | epoch | full map | map/epoch | subset map | adds |\n|---|---|---|---|---|---|")
    for name in ("lenet5", "mlp-500-300"):
        torch.manual_seed(0)
        net = NETWORKS[name]()
        optimizer = torch.optim.Adam(net.parameters(), lr=1e-3, weight_decay=1e-3)
        train_epoch(net, optimizer, data, args.batch, 0)
        epoch = min(
            seconds(lambda k=k: train_epoch(net, optimizer, data, args.batch, k))  # noqa: B023
            for k in range(1, args.epochs + 1)
        )
        spent = []
        for subset in (None, args.subset):
            run = args.out / "overhead"
            shutil.rmtree(run, ignore_errors=True)
            tracker = Tracker(net, optimizer, data.x, data.y, likelihood="categorical", path=run, subset=subset)
            tracker.record()
            tracker.steps += 1
            spent.append(seconds(tracker.record))
        full, part = spent
        print(
            f"| {name} | {epoch:.1f} | {full:.1f} | {full / epoch:.2f} | {part:.1f} | {part / epoch:.0%} |", flush=True
        )


if __name__ == "__main__":
    main()
