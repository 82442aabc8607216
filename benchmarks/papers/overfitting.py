"""An over-fitting run (AdamW, no decay): where does leave-one-out loss turn up, where does test loss?

The posterior is the exact Gauss–Newton matrix: Kronecker factors count more effective parameters than there
are examples on so few data, and their left-out loss rises from the first epoch.

MEMORYMAPS_DATA=… python benchmarks/papers/overfitting.py
"""

from __future__ import annotations

import torch
from setting import NETWORKS, load, parser, tracked

from memorymaps.nets.recipe import Laplace
from memorymaps.viz.displays.evolution import GeneralisationDisplay


def main() -> None:
    made = parser(__doc__, data="fmnist", net="mlp-16", epochs=45, examples=600, tests=2_000)
    made.add_argument(
        "--delta",
        type=lambda word: word if word == "evidence" else float(word),
        default="evidence",
        help="prior precision of the maps; training has none (default: evidence, at every checkpoint)",
    )
    made.add_argument("--structure", default="full")
    made.add_argument("--every", type=int, default=3, help="epochs between checkpoints")
    made.add_argument("--rate", type=float, default=1e-2, help="learning rate")
    args = made.parse_args()
    data = load(args.data, args.examples, args.tests)
    torch.manual_seed(0)
    net = NETWORKS[args.net]()
    optimizer = torch.optim.AdamW(net.parameters(), lr=args.rate, weight_decay=0.0)
    run = args.out / f"overfitting-{args.data}-{args.net}-{args.examples}-{args.structure}-{args.delta}-{args.rate:g}"
    recipe = Laplace(args.structure, prior=args.delta)
    tracker = tracked(
        run, net, optimizer, data, 32, args.epochs, lambda epoch: epoch % args.every == 0, posterior=recipe
    )
    losses = tracker.trajectory().losses()
    print(losses[["loss", "loo_loss", "test_loss"]].round(3).to_string())
    turns = {name: int(losses[name].idxmin()) for name in ("loo_loss", "test_loss")}
    print(f"lowest: leave-one-out at epoch {turns['loo_loss']}, test at epoch {turns['test_loss']}")
    display = GeneralisationDisplay.from_trajectory(tracker.trajectory(), unit="epoch", title="AdamW, no decay")
    display.figure_.savefig(f"{run}.png", dpi=200)


if __name__ == "__main__":
    main()
