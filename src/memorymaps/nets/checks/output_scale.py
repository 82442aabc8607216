"""Whether outputs are on the scale that the likelihood expects: logits, not probabilities; log rates, not rates."""

from __future__ import annotations

import torch
from torch import Tensor

from memorymaps.core.likelihoods.base import Likelihood
from memorymaps.core.likelihoods.categorical import Categorical
from memorymaps.core.likelihoods.exponential_family import Bernoulli, Poisson
from memorymaps.core.likelihoods.heteroscedastic import HeteroscedasticGaussian
from memorymaps.data.examples import DataError

_UNIT_SUM = 1e-3  # of a row of probabilities in single precision
_SHAPE_ONLY = (
    "Alias", "Clamp", "Clone", "Expand", "Index", "Permute", "Reshape", "Select", "Slice", "Squeeze", "T", "ToCopy",
    "Transpose", "Unsafe", "Unsqueeze", "View",
)  # fmt: skip
_RATES = ("ExpBackward", "SoftplusBackward")


def check_output_scale(likelihood: Likelihood, f: Tensor) -> None:
    """Raise for outputs `f [n, c]`, with their graph, that were transformed by the inverse link already.

    Probabilities of classes are recognised by rows that are not negative and sum to one; a single probability or a
    rate, which a logit or log rate can equal by chance, by the operation that made it as well.

    Raises
    ------
    DataError
        They were; the message says what to pass instead.
    """
    values, last = f.detach().double(), _last_operation(f)
    if isinstance(likelihood, Categorical) and f.shape[1] > 1 and _are_class_probabilities(values):
        raise DataError(_CLASS_PROBABILITIES)
    if isinstance(likelihood, Bernoulli) and are_in_unit_interval(values) and last.startswith("SigmoidBackward"):
        raise DataError(PROBABILITIES)
    if isinstance(likelihood, Poisson) and last.startswith(_RATES):
        raise DataError(_POSITIVE.format(what="the rate", name="the log rate", forward="torch.log(net(x))"))
    if isinstance(likelihood, HeteroscedasticGaussian) and last.startswith(_RATES) and bool((values[:, 1] > 0).all()):
        forward = "torch.stack([net(x)[:, 0], net(x)[:, 1].log()], 1)"
        raise DataError(_POSITIVE.format(what="the variance", name="(m, log σ²)", forward=forward))


def are_in_unit_interval(values: Tensor) -> bool:
    """Whether all outputs lie in [0, 1]."""
    return bool(((values >= 0) & (values <= 1)).all())


def losses_as_probabilities_and_logits(likelihood: Likelihood, f: Tensor, y: Tensor) -> tuple[float, float]:
    """Sum of the losses of `f` read as probabilities, and read as logits."""
    as_logits = torch.logit(f.clamp(1e-12, 1 - 1e-12))
    return float(likelihood.nll(as_logits, y).sum()), float(likelihood.nll(f, y).sum())


def _are_class_probabilities(values: Tensor) -> bool:
    return bool((values >= 0).all()) and bool(((values.sum(1) - 1).abs() <= _UNIT_SUM).all())


def _last_operation(f: Tensor) -> str:
    """Name of the last operation in the graph of `f` (of its last column) that changes numbers; empty for none."""
    node = f.grad_fn
    while node is not None and node.next_functions:
        name = node.name().rpartition(".")[2]
        if name.startswith(("Cat", "Stack")):
            node = node.next_functions[-1][0]
        elif name.startswith(_SHAPE_ONLY):
            node = node.next_functions[0][0]
        else:
            return str(name)
    return ""


_CLASS_PROBABILITIES = (
    "the network's outputs are probabilities (not negative, each row sums to one): likelihood='categorical' expects "
    "logits. Pass the layer before the softmax, or Laplace(forward=lambda net, x: torch.log(net(x))). If cross_entropy "
    "was minimised on these very outputs, say so: likelihood=Custom(lambda f, y: torch.nn.functional.cross_entropy(f, "
    "y.long(), reduction='none'), predict=lambda f: f.softmax(1))"
)
PROBABILITIES = (
    "the network's outputs are probabilities (all in [0, 1], made by a sigmoid or better explained as probabilities): "
    "likelihood='bernoulli' expects logits. Pass the layer before the sigmoid, or "
    "Laplace(forward=lambda net, x: torch.logit(net(x), eps=1e-6))"
)
_POSITIVE = (
    "the network's last operation makes its output positive (exp or softplus): this likelihood expects {name}, and "
    "{what} itself seems to be passed. Pass the layer before it, or Laplace(forward=lambda net, x: {forward})"
)
