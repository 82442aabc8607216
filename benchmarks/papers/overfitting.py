"""An over-fitting run (AdamW, no decay): where does leave-one-out loss turn up, where does test loss?

MEMORYMAPS_DATA=… python benchmarks/papers/overfitting.py --net lenet5 --examples 2000
"""

from __future__ import annotations

import torch
from setting import NETWORKS, load, parser, tracked

from memorymaps.nets.laplace import Laplace
from memorymaps.viz.trajectory_displays import GeneralisationDisplay


def main() -> None:
    made = parser(__doc__, data="fmnist", net="lenet5", epochs=30, examples=2_000, tests=2_000, delta=1.0)
    args = made.parse_args()
    data = load(args.data, args.examples, args.tests)
    torch.manual_seed(0)
    net = NETWORKS[args.net]()
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=0.0)
    run = args.out / f"overfitting-{args.data}-{args.net}-{args.examples}"
    recipe = Laplace("kfac", prior=args.delta)
    tracker = tracked(run, net, optimizer, data, 32, args.epochs, lambda epoch: True, posterior=recipe)
    losses = tracker.trajectory().losses()
    print(losses[["loss", "loo_loss", "test_loss"]].round(3).to_string())
    turns = {name: int(losses[name].idxmin()) for name in ("loo_loss", "test_loss")}
    print(f"lowest: leave-one-out at epoch {turns['loo_loss']}, test at epoch {turns['test_loss']}")
    display = GeneralisationDisplay.from_trajectory(tracker.trajectory(), unit="epoch", title="AdamW, no decay")
    display.figure_.savefig(f"{run}.png", dpi=200)


if __name__ == "__main__":
    main()
