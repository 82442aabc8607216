"""Examples that processes read a part of each, without processes."""

import numpy as np
import pytest
from remedies import remedy

torch = pytest.importorskip("torch")
from torch.utils.data import TensorDataset  # noqa: E402

from memorymaps import LoaderExamples  # noqa: E402
from memorymaps.data.in_memory import ArrayExamples, CachedExamples  # noqa: E402
from memorymaps.data.repeated import RepeatedExamples, fingerprint_of  # noqa: E402
from memorymaps.data.views import without_weight  # noqa: E402
from memorymaps.nets.curvature.accumulators import combine  # noqa: E402
from memorymaps.nets.data.datasets import DatasetExamples  # noqa: E402
from memorymaps.nets.distributed.shares import SharedExamples, first_batch, ranks_in, shared_subset  # noqa: E402
from memorymaps.posteriors.processes.ranks import Ranks  # noqa: E402

X, Y = np.arange(46.0).reshape(23, 2), np.arange(23) % 3


class Part(Ranks):
    """One of some processes that are not there; all others have the same sums."""

    def __init__(self, rank, size):
        self.rank, self.size = rank, size

    def total(self, value):
        return self.size * value


def sources():
    tensors = torch.as_tensor(X), torch.as_tensor(Y)
    yield ArrayExamples.of(X, Y, batch_size=4)
    yield DatasetExamples(TensorDataset(*tensors), 5)
    yield LoaderExamples([tuple(each[k : k + 6] for each in tensors) for k in range(0, 23, 6)])
    yield ArrayExamples.of(X, Y, batch_size=4).map(without_weight(lambda y: y == 1))


@pytest.mark.parametrize("source", list(sources()), ids=lambda source: type(source).__name__)
@pytest.mark.parametrize("size", [2, 3, 30])
def test_the_parts_are_all_examples_once_and_in_order(source, size):
    parts = [SharedExamples(source, Part(k, size)) for k in range(size)]
    found = [batch for part in parts for batch in part]
    assert np.concatenate([batch.ids for batch in found]).tolist() == list(range(23))
    np.testing.assert_array_equal(np.concatenate([np.asarray(batch.inputs) for batch in found]), X)
    assert {len(part) for part in parts} == {23}
    assert [part.take([22]).ids.tolist() for part in parts] == [[22]] * size
    assert max(part.share.stop - part.share.start for part in parts) <= -(-23 // size)


def test_the_fingerprint_of_the_parts_is_that_of_the_whole():
    source = ArrayExamples.of(X, Y, batch_size=4)
    whole, contents = RepeatedExamples(source, False), []
    assert sum(map(len, whole)) == 23
    for k in range(3):
        part = RepeatedExamples(SharedExamples(source, Part(k, 3)), False, content=[])
        assert sum(map(len, part)) == len(range(23)[part.share])
        contents += part.content
    assert fingerprint_of(contents) == whole.fingerprint


def test_processes_are_found_through_checks_and_caches_only():
    ranks = Part(1, 2)
    shared = RepeatedExamples(SharedExamples(ArrayExamples.of(X, Y), ranks), False)
    assert ranks_in(shared) is ranks_in(CachedExamples.of(shared)) is ranks
    assert CachedExamples.of(shared).share == slice(11, 23)
    assert first_batch(shared).ids[0] == 0
    some = shared_subset(shared, np.asarray([1, 5, 7]), np.ones(3))
    assert ranks_in(some) is ranks
    assert [batch.ids.tolist() for batch in some] == [[5, 7]]
    assert ranks_in(ArrayExamples.of(X, Y)).size == 1


class OwnSum:
    """An accumulator of another package."""

    total = 2.0


@remedy("has no method combine(ranks)", at="nets")
def test_an_accumulator_that_cannot_be_combined(said):
    combine(OwnSum(), Part(0, 1))
    with said:
        combine(OwnSum(), Part(0, 2))

    def combined(self, ranks):
        self.total = ranks.total(self.total)

    OwnSum.combine = combined
    own = OwnSum()
    combine(own, Part(0, 2))
    assert own.total == 4.0
