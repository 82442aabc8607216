"""Small networks of every kind of layer, in double precision, with inputs: test cases for all structures."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Residual(nn.Module):
    """Attention with a residual connection, preceding norms, and a free scale parameter of no layer."""

    def __init__(self, d: int = 4):
        super().__init__()
        self.norm = nn.LayerNorm(d)
        self.attention = nn.MultiheadAttention(d, 2, batch_first=True)
        self.scale = nn.Parameter(torch.ones(d))
        self.head = nn.Linear(d, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(x)
        x = x + self.scale * self.attention(y, y, y, need_weights=False)[0]
        return self.head(x.mean(1))


class Tied(nn.Module):
    """Token embedding and output layer with one tied matrix, as in GPT-2."""

    def __init__(self, vocabulary: int = 5, d: int = 3):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, d)
        self.inner = nn.Linear(d, d)
        self.head = nn.Linear(d, vocabulary, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(torch.tanh(self.inner(self.embedding(tokens))).mean(1))


class Positions(nn.Module):
    """Tokens plus embeddings of their positions, computed once for the whole batch, with or without a batch axis.

    There are as many positions as rows in the batch that the library looks at first.
    """

    def __init__(self, axis: bool, vocabulary: int = 5, d: int = 3):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(vocabulary, d), nn.Embedding(4, d)
        self.mix, self.head, self.axis = nn.Linear(d, d), nn.Linear(d, 3), axis

    def forward(self, tokens: Tensor) -> Tensor:
        places = torch.arange(tokens.shape[1], device=tokens.device)
        where = self.positions(places[None] if self.axis else places)
        return self.head(torch.tanh(self.mix(torch.tanh(self.tokens(tokens) + where))).mean(1))


class Twice(nn.Module):
    """The same layer called twice."""

    def __init__(self):
        super().__init__()
        self.layer, self.head = nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.layer(torch.tanh(self.layer(x)))))


class Tempered(nn.Module):
    """A learned temperature: a zero-dimensional parameter, alone and together with a layer's own tensor."""

    def __init__(self):
        super().__init__()
        self.temperature, self.offset = nn.Parameter(torch.zeros(())), nn.Parameter(torch.zeros(3))
        self.first, self.head = nn.Linear(4, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.first(x))) * torch.exp(self.temperature) + self.offset


class Recurrent(nn.Module):
    """The mean output of a recurrent layer over a sequence, with the batch as second axis or first."""

    def __init__(self, layer: nn.Module, width: int):
        super().__init__()
        self.layer, self.head = layer, nn.Linear(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        out = self.layer(x if self.layer.batch_first else x.transpose(0, 1))[0]
        return self.head(out.mean(1 if self.layer.batch_first else 0))


class InPlace(nn.Module):
    """In-place activations on a residual path."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.head = nn.Linear(4, 6), nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.silu(self.first(x), inplace=True)
        y = self.second(x)
        y += x
        return self.head(nn.functional.relu_(y))


def _mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 5, bias=False), nn.ReLU(), nn.Linear(5, 3))


def _cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, stride=2),
        nn.ReLU(inplace=True),
        nn.Conv2d(4, 4, (3, 1), padding="same", dilation=2),
        nn.Tanh(),
        nn.Conv2d(4, 4, 2, groups=2, dilation=2),
        nn.AvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 3),
    )


def _norms() -> nn.Module:
    net = nn.Sequential(
        nn.Conv2d(2, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.GroupNorm(2, 4), nn.Flatten(),
        nn.LayerNorm(36), nn.Linear(36, 3),
    )  # fmt: skip
    net[1].running_mean.normal_()
    net[1].running_var.uniform_(0.5, 2)
    return net


def _prelu() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, stride=2), nn.PReLU(4), nn.Flatten(), nn.Linear(16, 5), nn.PReLU(), nn.Linear(5, 3)
    )


def _conv1d() -> nn.Module:
    return nn.Sequential(nn.Conv1d(2, 3, 3, stride=2, padding=1), nn.Tanh(), nn.Flatten(), nn.Linear(9, 3))


def _conv3d() -> nn.Module:
    return nn.Sequential(nn.Conv3d(1, 2, 2, padding=1, dilation=2), nn.Tanh(), nn.Flatten(), nn.Linear(54, 3))


CASES = {
    "mlp": (_mlp, (4,)),
    "cnn": (_cnn, (2, 6, 6)),
    "norms": (_norms, (2, 5, 5)),
    "conv1d": (_conv1d, (2, 6)),
    "conv3d": (_conv3d, (1, 3, 3, 3)),
    "attention": (Residual, (3, 4)),
    "tied": (Tied, "tokens"),
    "positions": (lambda: Positions(axis=False), "tokens"),
    "positions, batch of one": (lambda: Positions(axis=True), "tokens"),
    "lstm": (lambda: Recurrent(nn.LSTM(2, 2, bidirectional=True), 4), (3, 2)),
    "gru": (lambda: Recurrent(nn.GRU(2, 2, num_layers=2, batch_first=True), 2), (3, 2)),
    "twice": (Twice, (4,)),
    "in place": (InPlace, (4,)),
    "prelu": (_prelu, (2, 6, 6)),
    "temperature": (Tempered, (4,)),
}


def case(name: str, n: int = 11) -> tuple[nn.Module, Tensor, Tensor]:
    """A network with random weights, its inputs and class numbers."""
    torch.manual_seed(0)
    make, shape = CASES[name]
    net = make().double().eval()
    x = torch.randint(0, 5, (n, 4)) if shape == "tokens" else torch.randn(n, *shape, dtype=torch.float64)
    c = net(x).shape[1]
    return net, x, torch.randint(0, c, (n,))


def jacobian(net: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """`{parameter: [n, c, *shape]}`, one example at a time, by autograd only."""
    names, values = zip(*net.named_parameters(), strict=True)
    rows = []
    for row in x:
        f = net(row[None].clone())[0]
        found = [torch.autograd.grad(out, values, retain_graph=True, allow_unused=True) for out in f]
        rows.append(
            [[torch.zeros_like(v) if g is None else g for g, v in zip(each, values, strict=True)] for each in found]
        )
    return {name: torch.stack([torch.stack([each[j] for each in row]) for row in rows]) for j, name in enumerate(names)}
