"""What the processes of a group do in the tests."""

import os
import signal
import time

import maps_of_many_kinds as kinds
import numpy as np
import pytest
import torch

from memorymaps import FromOptimizer, Laplace, load, memory_map, refine
from memorymaps.nets import Sampled, single_process
from memorymaps.training import Tracker


def numbers(m):
    """A map as what the processes of a group and one process have to agree on."""
    p = m.provenance
    return {name: m[name] for name in m.table.column_names}, p.fingerprint, p.inputs, p.description


def draw(folder, rank, names):
    """Maps of many kinds."""
    return {name: numbers(kinds.draw_all([name])[name]) for name in names.split(";")}


def draw_and_fail(folder, rank, names):
    """Maps of many kinds, what becomes of faults, and a training, in one group."""
    return draw(folder, rank, names) | {
        "faults": {fault.__name__: outcome(fault, rank) for fault in FAULTS},
        "tracker": tracker(folder, rank),
        "parts": in_parts(folder, rank),
    }


def outcome(fault, rank):
    start = time.perf_counter()
    try:
        return "no error", len(fault(rank))
    except Exception as error:  # of any kind: it is what the test compares
        return f"{type(error).__name__}: {error}", time.perf_counter() - start


def small_map(x=None, n=kinds.N, structure="diag", **options):
    inputs, y = kinds.data()
    x = inputs if x is None else x
    recipe = Laplace(structure, prior=1.0, probes=0)
    return memory_map(
        kinds.network(), x[:n], y[:n], likelihood="categorical", posterior=recipe, progress=False, **options
    )


def nan_in_the_last_part(rank):
    """A NaN that only the last process reads."""
    x = kinds.data()[0].clone()
    x[-1] = torch.nan
    return small_map(x)


def own_error_of_one(rank):
    """One process cannot write its batches."""
    return small_map(path="/dev/null/map.parquet" if rank else None)


def other_numbers_of_examples(rank):
    return small_map(n=kinds.N - rank)


def other_examples(rank):
    """As many, of which each process was given its own by hand."""
    x, y = kinds.data()
    recipe = Laplace("diag", prior=1.0, probes=0)
    return memory_map(kinds.network(), x[rank:36:2], y[rank:36:2], likelihood="categorical", posterior=recipe)


def other_parameters(rank):
    """Refused; drawn with those of the first process."""
    x, y = kinds.data()
    net, recipe = kinds.network(seed=rank), Laplace("diag", prior=1.0, probes=0)
    with pytest.raises(ValueError, match="differ between processes"):
        memory_map(net, x, y, likelihood="categorical", posterior=recipe)
    for p in net.parameters():
        torch.distributed.broadcast(p.data, 0)
    return memory_map(net, x, y, likelihood="categorical", posterior=recipe)


def other_running_statistics(rank):
    """Those of the first process, with each process' own batches so far."""
    x, y = kinds.data()
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3)).double()
    net(x[rank::2])
    recipe = Laplace("full", prior=1.0)
    m = memory_map(net, x, y, likelihood="categorical", posterior=recipe, estimator="cavity")
    with single_process():
        again = memory_map(net, x, y, likelihood="categorical", posterior=recipe, estimator="cavity")
    np.testing.assert_allclose(m["sensitivity"], again["sensitivity"], rtol=1e-9)
    return m


def other_recipes(rank):
    return small_map(structure=["diag", "kfac"][rank])


def by_one_process(rank):
    """The first process draws two maps, the other one none; then both draw one."""
    if rank == 0:
        with single_process():
            small_map()
            small_map()
    return small_map()


def refined_by_one_process(rank):
    """The first process draws more rows for its own solves; then both draw one."""
    m = small_map(structure=Sampled(rows=12))
    if rank == 0:
        fine = refine(m, top=3)
        assert len(m.origin.posterior.preconditioner.q) > len(m.origin.posterior.covariance.q)
        assert not fine["warning"].any()
    return small_map()


def own_forward_of_a_wrapper(rank):
    """Refused with the wrapper, drawn with the network inside it."""
    x, y = kinds.data()
    net = torch.nn.parallel.DistributedDataParallel(kinds.network())
    recipe = Laplace("diag", prior=1.0, probes=0, forward=lambda net, x: net(x))
    with pytest.raises(TypeError, match="pass the network inside, memory_map"):
        memory_map(net, x, y, likelihood="categorical", posterior=recipe)
    return memory_map(net.module, x, y, likelihood="categorical", posterior=recipe)


FAULTS = (
    nan_in_the_last_part, own_error_of_one, other_numbers_of_examples, other_recipes, by_one_process,
    refined_by_one_process, own_forward_of_a_wrapper, other_examples, other_parameters, other_running_statistics,
)  # fmt: skip


def tracker(folder, rank):
    """A training in `DistributedDataParallel` that the first process records: step, rows and loss of every record."""
    x, y = kinds.data()
    net = torch.nn.parallel.DistributedDataParallel(kinds.network())
    optimizer = torch.optim.Adam(net.parameters(), weight_decay=0.01)
    run = Tracker(net, optimizer, x, y, every=2, likelihood="categorical", path=folder / "run") if rank == 0 else None
    part = slice(rank, None, 2)
    for _ in range(4):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(net(x[part]), y[part]).backward()
        optimizer.step()
        if run is not None:
            run.step()
    recipe = FromOptimizer(optimizer, n=kinds.N)
    together = memory_map(net, x, y, likelihood="categorical", posterior=recipe)
    if run is None:
        return None
    run.close()
    return run.trajectory().steps, numbers(run.trajectory().at(4)), numbers(together)


def in_parts(folder, rank):
    """A map in a folder: the map, what the folder holds, and its files."""
    m = small_map(path=f"{folder}/parts/")
    return numbers(m), numbers(load(folder / "parts")), sorted(file.name for file in (folder / "parts").iterdir())


def killed(folder, rank):
    """A map to a file; the last process is killed after its first batch."""
    from memorymaps.files.batch_journal import BatchJournal

    add = BatchJournal.add

    def add_and_die(journal, rows, digest, batch):
        add(journal, rows, digest, batch)
        os.kill(os.getpid(), signal.SIGKILL)

    if rank == 1:
        BatchJournal.add = add_and_die
    return outcome(lambda _: to_file(folder), rank)


def to_file(folder):
    x, y = kinds.data()
    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), 4)
    recipe = Laplace("ekfac", prior=0.5, probes=0)
    return memory_map(
        kinds.network(), data, likelihood="categorical", posterior=recipe, path=folder / "map.parquet", progress=False
    )


def resumed(folder, rank):
    """The same map again, how many batches were finished before, and what the file holds."""
    from memorymaps.files.batch_journal import BatchJournal

    read, done = BatchJournal.read, []

    def counted(journal, rows, digest):
        found = read(journal, rows, digest)
        done.append(found is not None)
        return found

    BatchJournal.read = counted
    m = to_file(folder)
    return numbers(m), numbers(load(folder / "map.parquet")), sum(done)
