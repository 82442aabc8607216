"""A small vision transformer: patches of 4 × 4 pixels as tokens, layers of attention, the mean token classified."""

from __future__ import annotations

import torch
from torch import nn


class VisionTransformer(nn.Module):
    """For pictures of 3 × 32 × 32: 64 tokens of `width` numbers, `depth` layers of four heads (Dosovitskiy et al. 2021,
    with the mean token of Zhai et al. 2022 instead of one of its own).
    """

    def __init__(self, width: int = 64, depth: int = 4, classes: int = 10) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, width, 4, stride=4)
        self.place = nn.Parameter(0.02 * torch.randn(64, width))
        layer = nn.TransformerEncoderLayer(width, 4, 2 * width, 0.0, "gelu", batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, depth, norm=nn.LayerNorm(width), enable_nested_tensor=False)
        self.head = nn.Linear(width, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """As a module is called."""
        tokens = self.embed(x).flatten(2).mT + self.place
        return self.head(self.layers(tokens).mean(1))
