"""Priors from optimizers: decay recognised by the steps taken, numbers that do not fit refused, remedies run."""

from __future__ import annotations

import copy

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from torch import nn

import memorymaps as mm
from memorymaps.nets.optimizers.state_precision import (
    OptimizerStateError,
    check_will_have_precision,
    precision_from_state,
)
from memorymaps.nets.optimizers.weight_decay import decay_kind

N, DECAY = 30, 0.1


class AdamWByHand(torch.optim.Optimizer):
    """AdamW of another library: neither torch's class nor its options."""

    def __init__(self, parameters, lr, weight_decay, betas=(0.9, 0.99), eps=1e-8):
        super().__init__(parameters, {"lr": lr, "weight_decay": weight_decay, "betas": betas, "eps": eps})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                if not state:
                    state.update(step=0, exp_avg=torch.zeros_like(p), exp_avg_sq=torch.zeros_like(p))
                state["step"] += 1
                b1, b2 = group["betas"]
                state["exp_avg"].mul_(b1).add_(p.grad, alpha=1 - b1)
                state["exp_avg_sq"].mul_(b2).addcmul_(p.grad, p.grad, value=1 - b2)
                m, v = (state[k] / (1 - b ** state["step"]) for k, b in (("exp_avg", b1), ("exp_avg_sq", b2)))
                p.sub_(group["lr"] * (m / (v.sqrt() + group["eps"]) + group["weight_decay"] * p))


class ScheduleFreeAdamW(torch.optim.Optimizer):
    """The update of schedulefree 1.4: `y` are the parameters in training, `x` after `eval()`."""

    def __init__(self, parameters, lr, weight_decay, betas=(0.9, 0.999), eps=1e-8):
        options = {"lr": lr, "weight_decay": weight_decay, "betas": betas, "eps": eps}
        super().__init__(parameters, {**options, "k": 0, "train_mode": False, "weight_sum": 0.0})

    @torch.no_grad()
    def _switch(self, training):
        for group in self.param_groups:
            if group["train_mode"] != training:
                weight = 1 - group["betas"][0] if training else 1 - 1 / group["betas"][0]
                for p in group["params"]:
                    if "z" in self.state[p]:
                        p.lerp_(self.state[p]["z"], weight)
                group["train_mode"] = training

    def train(self):
        self._switch(True)

    def eval(self):
        self._switch(False)

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            if not group["train_mode"]:
                raise RuntimeError("optimizer was not in train mode")
            b1, b2 = group["betas"]
            group["weight_sum"] += group["lr"] ** 2
            share = group["lr"] ** 2 / group["weight_sum"]
            for y in group["params"]:
                state = self.state[y]
                if "z" not in state:
                    state["z"], state["exp_avg_sq"] = y.clone(), torch.zeros_like(y)
                state["exp_avg_sq"].mul_(b2).addcmul_(y.grad, y.grad, value=1 - b2)
                root = (state["exp_avg_sq"] / (1 - b2 ** (group["k"] + 1))).sqrt() + group["eps"]
                step = y.grad / root + group["weight_decay"] * y
                y.lerp_(state["z"], share)
                y.add_(step, alpha=group["lr"] * (b1 * (1 - share) - 1))
                state["z"].sub_(step, alpha=group["lr"])
            group["k"] += 1


class SGDW(torch.optim.SGD):
    """Momentum, with decoupled decay."""

    @torch.no_grad()
    def step(self, closure=None):
        decays = [group["weight_decay"] for group in self.param_groups]
        for group in self.param_groups:
            for p in group["params"]:
                p.mul_(1 - group["lr"] * group["weight_decay"])
            group["weight_decay"] = 0
        super().step()
        for group, decay in zip(self.param_groups, decays, strict=True):
            group["weight_decay"] = decay


class ShrinksByItself(AdamWByHand):
    """Decay that is not multiplied by the rate."""

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                p.mul_(1 - group["weight_decay"] / 10)
        decays = [group["weight_decay"] for group in self.param_groups]
        for group in self.param_groups:
            group["weight_decay"] = 0
        super().step()
        for group, decay in zip(self.param_groups, decays, strict=True):
            group["weight_decay"] = decay


class NeedsClosure(torch.optim.SGD):
    """As sharpness-aware minimisation."""

    def step(self, closure=None):
        if closure is None:
            raise RuntimeError("SAM requires a closure")
        return super().step(closure)


class SecondMomentOfDifferences(AdamWByHand):
    """`exp_avg_sq` of something other than the gradient, as Adan's."""

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                p.grad = p.grad * 3
        super().step()


O = torch.optim
KINDS = {
    "SGD": (O.SGD, {}, "coupled"),
    "momentum": (O.SGD, {"momentum": 0.9, "nesterov": True}, "coupled"),
    "Adam": (O.Adam, {}, "coupled"),
    "Adam fused": (O.Adam, {"fused": True}, "coupled"),
    "AMSGrad": (O.Adam, {"amsgrad": True}, "coupled"),
    "maximising": (O.Adam, {"maximize": True}, "coupled"),
    "RAdam": (O.RAdam, {}, "coupled"),
    "NAdam": (O.NAdam, {}, "coupled"),
    "Adamax": (O.Adamax, {}, "coupled"),
    "Adagrad": (O.Adagrad, {}, "coupled"),
    "Adadelta": (O.Adadelta, {}, "coupled"),
    "RMSprop": (O.RMSprop, {"centered": True, "momentum": 0.5}, "coupled"),
    "AdamW": (O.AdamW, {}, "decoupled"),
    "AdamW foreach": (O.AdamW, {"foreach": True, "amsgrad": True}, "decoupled"),
    "NAdamW": (O.NAdam, {"decoupled_weight_decay": True}, "decoupled"),
    "RAdamW": (O.RAdam, {"decoupled_weight_decay": True}, "decoupled"),
    "AdamW by hand": (AdamWByHand, {}, "decoupled"),
    "schedule-free AdamW": (ScheduleFreeAdamW, {}, "decoupled"),
    "SGDW without momentum": (SGDW, {}, "coupled"),  # the same as coupled decay
}
REFUSED = {
    "Adafactor": (O.Adafactor, {}),
    "SGDW": (SGDW, {"momentum": 0.9}),
    "decay without the rate": (ShrinksByItself, {}),
    "needs a closure": (NeedsClosure, {}),
}


def trained(kind, steps=20, **options):
    torch.manual_seed(0)
    x = torch.randn(N, 4, dtype=torch.float64)
    y = (x[:, 0] > 0).long()
    net = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 2)).double()
    optimizer = kind(net.parameters(), lr=0.01, weight_decay=DECAY, **options)
    if hasattr(optimizer, "train"):
        optimizer.train()

    def closure():
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(x), y)
        loss.backward()
        return loss

    for _ in range(steps):
        closure()
        optimizer.step(closure) if kind is NeedsClosure else optimizer.step()
    return net, x, y, optimizer


def mapped(net, x, y, posterior):
    return mm.memory_map(net, x, y, likelihood="categorical", posterior=posterior)


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_the_kind_of_decay_is_told_by_the_steps_and_nothing_is_changed(name):
    kind, options, expected = KINDS[name]
    net, _, _, optimizer = trained(kind, **options)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5) if kind is not ScheduleFreeAdamW else None
    calls = []
    optimizer.register_step_post_hook(lambda *_: calls.append(1))
    weights, state = copy.deepcopy(net.state_dict()), copy.deepcopy(optimizer.state_dict())
    assert decay_kind(optimizer, optimizer.param_groups[0]) == expected
    for key, value in net.state_dict().items():
        assert torch.equal(value, weights[key])
    for key, values in optimizer.state_dict()["state"].items():
        for name_, value in values.items():
            same = torch.equal(value, state["state"][key][name_]) if isinstance(value, torch.Tensor) else True
            assert same
    assert optimizer.state_dict()["param_groups"] == state["param_groups"]
    assert calls == []
    assert scheduler is None or scheduler.last_epoch == 0


@pytest.mark.parametrize("name", REFUSED)
def test_decays_that_are_no_quadratic_prior_are_refused_and_the_way_out_works(name):
    kind, options = REFUSED[name]
    net, x, y, optimizer = trained(kind, **options)
    with pytest.raises(ValueError, match=r"[Pp]ass Laplace\(prior=δ\) or prior='evidence'"):
        mm.prior_from(optimizer, N)
    for prior in (1.0, "evidence"):
        assert np.isfinite(mapped(net, x, y, mm.Laplace("full", prior=prior))["leverage"]).all()


@pytest.mark.parametrize("kind", [O.AdamW, AdamWByHand])
def test_adamws_prior_is_one_formula_in_both_places(kind):
    net, _, _, optimizer = trained(kind)
    tensors = mm.prior_from(optimizer, N).tensors(dict(net.named_parameters()))
    beta = optimizer.param_groups[0]["betas"][1]
    for name, p in net.named_parameters():
        root = (optimizer.state[p]["exp_avg_sq"] / (1 - beta**20)).sqrt()
        torch.testing.assert_close(tensors[name], N * DECAY * (root + 1e-8))
        precision = precision_from_state(optimizer, N).precision[id(p)]
        torch.testing.assert_close(precision, N * root + tensors[name])


def test_schedule_free_adamw_is_read_in_eval_mode_only():
    net, x, y, optimizer = trained(ScheduleFreeAdamW)
    with pytest.raises(OptimizerStateError, match=r"optimizer\.eval\(\)"):
        mapped(net, x, y, mm.FromOptimizer(optimizer, N))
    optimizer.eval()
    m = mapped(net, x, y, mm.FromOptimizer(optimizer, N))
    assert m.provenance.description.algorithm == "ScheduleFreeAdamW, step 20"
    p = net[0].weight
    root = (optimizer.state[p]["exp_avg_sq"] / (1 - 0.999**20)).sqrt()
    torch.testing.assert_close(precision_from_state(optimizer, N).precision[id(p)], N * (root + DECAY * (root + 1e-8)))


def test_adadelta_is_no_rmsprop():
    net, x, y, optimizer = trained(O.Adadelta)
    with pytest.raises(OptimizerStateError, match=r"not Adadelta.*posterior=Laplace"):
        mapped(net, x, y, mm.FromOptimizer(optimizer, N))
    prior = mm.prior_from(optimizer, N)
    assert float(prior.tensors(dict(net.named_parameters()))["0.bias"][0]) == pytest.approx(N * DECAY)
    assert len(mapped(net, x, y, mm.Laplace("full", prior=prior))) == N


def test_a_second_moment_of_something_else_is_refused():
    net, x, y, optimizer = trained(SecondMomentOfDifferences)
    with pytest.raises(OptimizerStateError, match=r"not the running mean of squared gradients.*posterior=Laplace"):
        mapped(net, x, y, mm.FromOptimizer(optimizer, N))


class CountsInItsGroup(torch.optim.Optimizer):
    """Adam of another library, which counts steps in the group; `moment` updates the state of squared gradients."""

    def __init__(self, parameters, lr, weight_decay):
        super().__init__(parameters, {"lr": lr, "weight_decay": weight_decay, "betas": (0.9, 0.99), "step": 0})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            group["step"] += 1
            beta = group["betas"][1]
            for p in group["params"]:
                v = self.state[p].setdefault("exp_avg_sq", torch.zeros_like(p))
                g = p.grad + group["weight_decay"] * p
                self.moment(v, g, group["step"], beta)
                p.sub_(group["lr"] * g / ((v / (1 - beta ** group["step"])).sqrt() + 1e-8))

    @staticmethod
    def moment(v, g, step, beta):
        v.mul_(beta).addcmul_(g, g, value=1 - beta)


class NotAveragedAtFirst(CountsInItsGroup):
    """As ADOPT: the first square is taken whole."""

    @staticmethod
    def moment(v, g, step, beta):
        v.mul_(1 if step == 1 else beta).addcmul_(g, g, value=1 if step == 1 else 1 - beta)


class MovesBySigns(CountsInItsGroup):
    """As Yogi and Ano: the change of the mean has the size of the last square."""

    @staticmethod
    def moment(v, g, step, beta):
        v.sub_((1 - beta) * (v - g.square()).sign() * g.square())


class ClipsGradients(CountsInItsGroup):
    """As AdaGC: of squares that are cut."""

    @staticmethod
    def moment(v, g, step, beta):
        v.mul_(beta).add_((1 - beta) * g.square().clamp(max=0.02))


class WithoutBetas(CountsInItsGroup):
    """As MSVAG and Amos: the weight of the mean has another name."""

    def __init__(self, parameters, lr, weight_decay):
        super().__init__(parameters, lr, weight_decay)
        self.param_groups[0]["beta"] = self.param_groups[0].pop("betas")[1]

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                v = self.state[p].setdefault("exp_avg_sq", torch.zeros_like(p))
                self.moment(v, p.grad, group["step"], group["beta"])
                p.sub_(group["lr"] * (p.grad + group["weight_decay"] * p))


class Factored(CountsInItsGroup):
    """As Adafactor: rows and columns of wide matrices, the mean itself of what is small."""

    @torch.no_grad()
    def step(self, closure=None):
        super().step()
        for p in self.param_groups[0]["params"]:
            if p.shape == (5, 4):
                v = self.state[p].pop("exp_avg_sq")
                self.state[p].update(exp_avg_sq_row=v.mean(1), exp_avg_sq_col=v.mean(0))


class Projected(CountsInItsGroup):
    """As GaLore: the mean of a projection of wide matrices, with another shape."""

    @torch.no_grad()
    def step(self, closure=None):
        super().step()
        for p in self.param_groups[0]["params"]:
            if p.shape == (5, 4):
                self.state[p]["exp_avg_sq"] = self.state[p]["exp_avg_sq"][:2]


def test_a_state_of_another_library_that_is_adams_is_read_with_its_steps():
    net, x, y, optimizer = trained(CountsInItsGroup)
    m = mapped(net, x, y, mm.FromOptimizer(optimizer, N))
    assert m.provenance.description.algorithm == "CountsInItsGroup, step 20"
    p = net[0].weight
    want = N * ((optimizer.state[p]["exp_avg_sq"] / (1 - 0.99**20)).sqrt() + DECAY)
    torch.testing.assert_close(precision_from_state(optimizer, N).precision[id(p)], want)


OTHER_STATES = {
    NotAveragedAtFirst: "not the running mean",
    MovesBySigns: "not the running mean",
    ClipsGradients: "not the running mean",
    WithoutBetas: "not the running mean",
    Factored: "the state of Factored contains no known precision",
    Projected: "the state of Projected contains no known precision",
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", OTHER_STATES)
def test_other_states_of_the_same_name_are_refused_by_name_and_the_remedy_works(kind):
    net, x, y, optimizer = trained(kind, 1)
    with pytest.raises(OptimizerStateError, match=f"{OTHER_STATES[kind]}.*posterior=Laplace"):
        mapped(net, x, y, mm.FromOptimizer(optimizer, N))
    assert len(mapped(net, x, y, mm.Laplace("diag", prior=1.0))) == N


@pytest.mark.parametrize("kind", [NotAveragedAtFirst, MovesBySigns, ClipsGradients, WithoutBetas])
def test_other_states_of_the_same_name_are_refused_before_training(kind):
    net = nn.Linear(2, 2)
    with pytest.raises(OptimizerStateError, match=r"not the running mean.*posterior=Laplace"):
        check_will_have_precision(kind(net.parameters(), lr=0.01, weight_decay=DECAY))


@pytest.mark.slow
def test_adafactor_of_hugging_face_is_refused_by_name():
    library = pytest.importorskip("transformers.optimization")
    net, x, y, optimizer = trained(
        lambda parameters, **options: library.Adafactor(parameters, relative_step=False, **options)
    )
    with pytest.raises(OptimizerStateError, match=r"state of Adafactor .*no known precision.*posterior=Laplace"):
        mapped(net, x, y, mm.FromOptimizer(optimizer, N))


class Wrapper(torch.optim.Optimizer):
    """As accelerate's: everything is passed on to the optimizer inside."""

    def __init__(self, optimizer):
        self.optimizer = optimizer

    state = property(lambda self: self.optimizer.state)
    param_groups = property(lambda self: self.optimizer.param_groups)
    defaults = property(lambda self: self.optimizer.defaults)


def test_wrapped_optimizers_are_read_inside():
    net, x, y, optimizer = trained(O.AdamW)
    wrapped = Wrapper(optimizer)
    weights = copy.deepcopy(net.state_dict())
    a, b = (mapped(net, x, y, mm.FromOptimizer(each, N)) for each in (optimizer, wrapped))
    np.testing.assert_array_equal(a["leverage"], b["leverage"])
    assert mm.prior_from(wrapped, N).source == mm.prior_from(optimizer, N).source
    assert all(torch.equal(value, weights[key]) for key, value in net.state_dict().items())


# --- numbers -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("n", [N - 1, 10 * N])
def test_another_number_of_examples_is_refused_with_the_right_one(n):
    net, x, y, optimizer = trained(O.Adam)
    with pytest.raises(
        mm.DataError, match=rf"n = {n}, and the data has {N} examples.*FromOptimizer\(optimizer, n={N}\)"
    ):
        mapped(net, x, y, mm.FromOptimizer(optimizer, n))
    with pytest.raises(mm.DataError, match=rf"n = {n}, and the data has {N} examples.*prior_from\(optimizer, n={N}\)"):
        mapped(net, x, y, mm.Laplace("full", prior=mm.prior_from(optimizer, n)))
    whole = mapped(net, x, y, mm.FromOptimizer(optimizer, N))
    part = mm.memory_map(
        net, x, y, likelihood="categorical", posterior=mm.FromOptimizer(optimizer, n=N), rows=[0, 5, 9]
    )
    np.testing.assert_allclose(part["leverage"], whole["leverage"][[0, 5, 9]], rtol=1e-12)
    assert len(mapped(net, x, y, mm.Laplace("full", prior=mm.prior_from(optimizer, n=N)))) == N


def test_the_sum_of_weights_is_a_number_of_examples_too():
    net, x, y, optimizer = trained(O.Adam)
    weight = np.full(N, 2.0)
    for posterior in (mm.FromOptimizer(optimizer, 2 * N), mm.Laplace("full", prior=mm.prior_from(optimizer, 2 * N))):
        m = mm.memory_map(net, x, y, sample_weight=weight, likelihood="categorical", posterior=posterior)
        assert len(m) == N
    with pytest.raises(mm.DataError, match="sum of their weights 60"):
        mm.memory_map(
            net, x, y, sample_weight=weight, likelihood="categorical", posterior=mm.FromOptimizer(optimizer, 3 * N)
        )


def test_a_summed_loss_has_no_number_of_examples_in_its_prior():
    net, x, y, optimizer = trained(O.SGD)
    prior = mm.prior_from(optimizer, 7, loss="sum")
    assert len(mapped(net, x, y, mm.Laplace("full", prior=prior))) == N


@pytest.mark.parametrize("prior", [-0.5, float("nan"), float("inf")])
def test_priors_beside_the_optimiser_that_are_no_precision_are_refused(prior):
    *_, optimizer = trained(O.Adam)
    with pytest.raises(ValueError, match="expected a number ≥ 0"):
        mm.FromOptimizer(optimizer, N, prior=prior)
    with pytest.raises(ValueError, match="expected a number ≥ 0"):
        mm.prior_from(optimizer, N, floor=prior)


def test_decays_that_are_no_number_are_refused():
    *_, optimizer = trained(O.SGD)
    for decay in (-0.1, float("nan")):
        optimizer.param_groups[0]["weight_decay"] = decay
        with pytest.raises(ValueError, match=r"weight_decay = .* of SGD.*Laplace\(prior=δ\)"):
            mm.prior_from(optimizer, N)


def test_the_floor_is_for_groups_without_decay_only():
    net = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 2)).double()
    groups = [
        {"params": net[0].parameters(), "weight_decay": 1e-4},
        {"params": net[2].parameters(), "weight_decay": 0.0},
    ]
    prior = mm.prior_from(torch.optim.SGD(groups, lr=0.1), 100, floor=2.0)
    found = prior.tensors(dict(net.named_parameters()))
    assert float(found["0.bias"][0]) == pytest.approx(0.01)
    assert float(found["2.bias"][0]) == 2.0
    assert "2 for groups without" in prior.source


def test_a_schedule_that_ends_at_rate_0_is_read_at_its_start():
    net, x, y, optimizer = trained(O.SGD, steps=0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / 3)
    before = precision_from_state(optimizer, N).precision[id(net[0].weight)].clone()
    for _ in range(3):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()
        schedule.step()
    assert optimizer.param_groups[0]["lr"] == 0
    torch.testing.assert_close(precision_from_state(optimizer, N).precision[id(net[0].weight)], before)
    assert np.isfinite(mapped(net, x, y, mm.FromOptimizer(optimizer, N))["leverage"]).all()


@pytest.mark.slow
@pytest.mark.parametrize("kind", [O.Adam, O.AdamW, O.RMSprop])
def test_rate_0_does_not_matter_to_adaptive_optimizers(kind):
    net, x, y, optimizer = trained(kind)
    expected = mapped(net, x, y, mm.FromOptimizer(optimizer, N))["leverage"]
    optimizer.param_groups[0]["lr"] = 0.0
    np.testing.assert_array_equal(mapped(net, x, y, mm.FromOptimizer(optimizer, N))["leverage"], expected)
    assert len(mapped(net, x, y, mm.Laplace("full", prior=mm.prior_from(optimizer, N)))) == N


def test_rate_0_without_a_schedule_is_refused_and_the_rate_it_had_works():
    net, x, y, optimizer = trained(O.SGD)
    optimizer.param_groups[0]["lr"] = 0.0
    with pytest.raises(OptimizerStateError, match=r"param_groups\[0\]\['lr'\] ="):
        mapped(net, x, y, mm.FromOptimizer(optimizer, N))
    optimizer.param_groups[0]["lr"] = 0.01
    assert len(mapped(net, x, y, mm.FromOptimizer(optimizer, N))) == N
