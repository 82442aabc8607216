"""Maps of small networks, one function a kind: drawn by one process in a test, and by all processes of a group."""

import copy
import functools
import warnings

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

import memorymaps as mm
from memorymaps import FromOptimizer, Laplace, LoaderExamples, memory_map, prior_from
from memorymaps.core.likelihoods.exponential_family import Gaussian
from memorymaps.nets import CurvatureStructure, accumulate_over_data, estimate_of, exact_rows
from memorymaps.nets.curvature.accumulators import DiagonalCurvature
from memorymaps.nets.curvature.kronecker import EKFAC
from memorymaps.nets.sampled.structure import Sampled

N = 37  # two and three do not divide it


def data(outputs=3):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(N, 4, generator=generator, dtype=torch.float64)
    y = (x[:, 0] + 0.3 * torch.randn(N, generator=generator, dtype=torch.float64) > 0).long() + (x[:, 1] > 0.8).long()
    return x, y % outputs


def network(outputs=3, seed=1):
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, outputs)).double()
    return net


@functools.cache
def trained_network():
    return trained(network(), *data())


def trained(net, x, y, loss=nn.functional.cross_entropy, decay=0.5):
    optimizer = torch.optim.LBFGS(net.parameters(), max_iter=200, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        value = loss(net(x), y, reduction="sum") + decay / 2 * sum(p.square().sum() for p in net.parameters())
        value.backward()
        return value

    optimizer.step(closure)
    return net


def laplace(structure, **options):
    x, y = data()
    recipe = Laplace(structure, **{"prior": 0.5, **options})
    return memory_map(copy.deepcopy(trained_network()), x, y, likelihood="categorical", posterior=recipe)


class OwnDiagonal(CurvatureStructure):
    """A structure of another package, which reads all examples by itself."""

    name = "own"

    def fit(self, problem):
        rows = torch.cat([exact_rows(problem, batch) for batch in problem.examples])
        assert len(rows) % N == 0  # of all examples
        groups = problem.block_groups
        made = [DiagonalCurvature(problem.zeros(*block.shape)) for block in problem.blocks]
        accumulate_over_data(problem, groups, made)
        return estimate_of(groups, made)


def weighted():
    x, y = data()
    weight = np.where(np.arange(N) % 5 == 0, 0.0, 1 + np.arange(N) % 3)
    recipe = Laplace("full", prior=0.5)
    return memory_map(
        copy.deepcopy(trained_network()), x, y, ids=[f"e{k}" for k in range(N)], sample_weight=weight,
        likelihood="categorical", posterior=recipe, estimator="cavity",
    )  # fmt: skip


def some_rows():
    x, y = data()
    recipe = Laplace("ekfac", prior=0.5)
    return memory_map(
        copy.deepcopy(trained_network()), x, y, likelihood="categorical", posterior=recipe, rows=[3, 4, 17, 30]
    )


def from_loader(loader):
    x, y = data()
    net = copy.deepcopy(trained_network())
    return memory_map(net, loader(TensorDataset(x, y)), likelihood="categorical", posterior=Laplace("kfac", prior=0.5))


def sampler_of_one_part(dataset):
    return DataLoader(dataset, 5, sampler=DistributedSampler(dataset, num_replicas=2, rank=0))


def batches(dataset):
    return LoaderExamples(list(DataLoader(dataset, 10)))


def convolution():
    x, y = data()
    torch.manual_seed(0)
    net = nn.Sequential(nn.Unflatten(1, (1, 2, 2)), nn.Conv2d(1, 4, 2, padding=1), nn.ReLU(), nn.Flatten())
    net = nn.Sequential(net, nn.Linear(36, 3)).double()
    recipe = Laplace("ekfac", prior=0.5, probes=2)
    return memory_map(trained(net, x, y), x, y, likelihood="categorical", posterior=recipe)


def regression():
    x, _ = data()
    y = torch.sin(x[:, 0])
    net = trained(network(1), x, y[:, None], nn.functional.mse_loss)
    return memory_map(net, x, y, likelihood=Gaussian(dispersion=0.5), posterior=Laplace("sampled", prior=1.0))


def adam():
    x, y = data()
    net = network()
    optimizer = torch.optim.Adam(net.parameters(), weight_decay=0.01)
    for _ in range(5):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()
    return memory_map(net, x, y, likelihood="categorical", posterior=FromOptimizer(optimizer, n=N))


def many_outputs():
    x, _ = data()
    net = trained(network(40), x, torch.arange(N) % 40)
    recipe = Laplace("ekfac", prior=0.5, probes=0)
    return memory_map(net, x, torch.arange(N) % 40, likelihood="categorical", posterior=recipe)


def wrapped():
    """In `DistributedDataParallel` where there is a group."""
    x, y = data()
    net = copy.deepcopy(trained_network())
    if torch.distributed.is_initialized():
        net = nn.parallel.DistributedDataParallel(net)
    return memory_map(net, x, y, likelihood="categorical", posterior=Laplace("full", prior=0.5))


def sharded(recipe_of):
    """Trained by an optimizer in `fully_shard` (FSDP2) where there is a group; the copy has the optimizer's prior."""
    x, y = data()
    net = network()
    if torch.distributed.is_initialized():
        from torch.distributed.fsdp import fully_shard  # torch 2.6

        mesh = torch.distributed.device_mesh.init_device_mesh("cpu", (torch.distributed.get_world_size(),))
        for part in (net[0], net[2], net):
            fully_shard(part, mesh=mesh)
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.05, weight_decay=0.1)
    for _ in range(5):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()
    m = memory_map(net, x, y, likelihood="categorical", posterior=recipe_of(optimizer))
    assert net(x).shape == (N, 3)  # still sharded, and in use
    return m


def after_the_map():
    """What each process asks of its map by itself."""
    m = laplace("full")
    left_out = m.leave_out("target").to_pandas()
    m = mm.refit(m, top=3)
    return m if left_out is not None else None


MAPS = {
    "full": lambda: laplace("full"),
    "full, evidence": lambda: laplace("full", prior="evidence"),
    "block": lambda: laplace("block"),
    "unit_block": lambda: laplace("unit_block"),
    "hessian": lambda: laplace("hessian"),
    "kfac": lambda: laplace("kfac", probes=2),
    "ekfac": lambda: laplace("ekfac"),
    "ekfac of some examples": lambda: laplace(EKFAC(examples=20), probes=0),
    "diag": lambda: laplace("diag"),
    "lowrank": lambda: laplace("lowrank", rows=6),
    "active_set": lambda: laplace("active_set", rows=12),
    "dual": lambda: laplace("dual"),
    "sampled": lambda: laplace(Sampled(rows=60)),
    "sampled, to an error": lambda: laplace(Sampled(error=0.2)),
    "sampled, in a short time": lambda: laplace(Sampled(rows=60, budget=1e-6)),
    "sampled, of a share": lambda: laplace(Sampled(rows=60, share=0.3)),
    "auto": lambda: laplace("auto"),
    "empirical Fisher": lambda: laplace("ekfac", fisher="empirical"),
    "own structure": lambda: laplace(OwnDiagonal()),
    "weights": weighted,
    "some rows": some_rows,
    "data set": lambda: from_loader(lambda dataset: dataset),
    "loader of a part": lambda: from_loader(sampler_of_one_part),
    "batches": lambda: from_loader(batches),
    "convolution": convolution,
    "regression": regression,
    "Adam": adam,
    "many outputs": many_outputs,
    "DistributedDataParallel": wrapped,
    "FSDP2": lambda: sharded(lambda optimizer: Laplace("kfac", prior=prior_from(optimizer, N), probes=0)),
    "FSDP2, optimizer's state": lambda: sharded(lambda optimizer: FromOptimizer(optimizer, n=N)),
    "refit after the map": after_the_map,
}
if tuple(map(int, torch.__version__.split(".")[:2])) < (2, 6):  # without `torch.distributed.fsdp.fully_shard`
    MAPS = {name: make for name, make in MAPS.items() if not name.startswith("FSDP2")}


def draw_all(names=tuple(MAPS)):
    """Every map, with warnings as they are."""
    found = {}
    for name in names:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found[name] = MAPS[name]()
    return found
