"""How much of a loss's curvature is negative at the fit, and counts as none in `Λ`."""

from __future__ import annotations

from typing import Any

import torch

from memorymaps.nets.custom import Custom
from memorymaps.nets.laplace_problem import LaplaceProblem


def negative_curvature(problem: LaplaceProblem) -> float:
    """`Σ w_i tr(∇²_f ℓ_i)⁻ / Σ w_i tr(∇²_f ℓ_i)⁺`; 0 of a loss that is convex in the outputs.

    Of losses of the user's own only, whose Fisher information nothing states: all others have one.
    """
    loss = problem.network.likelihood
    if not isinstance(loss, Custom):
        return 0.0
    total = problem.zeros(2)
    for batch in problem.examples:
        y, w = problem.target(batch), problem.weights(batch)

        def parts(x: Any, rows: slice, y: torch.Tensor = y, w: torch.Tensor = w) -> torch.Tensor:
            f = problem.network.outputs(problem.network.to_device(x)).detach().double()
            values = w[rows, None] * torch.linalg.eigvalsh(loss.hessian(f, y[rows]))
            return torch.stack([(-values).clamp(min=0).sum(), values.clamp(min=0).sum()])

        total = total + sum(problem.batch_size.run(batch.inputs, parts))
    negative, positive = problem.ranks.total({"curvature": total})["curvature"].cpu().tolist()
    return negative / positive if positive else float(negative > 0)
