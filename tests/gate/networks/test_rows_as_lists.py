"""Rows of a network's data as Python lists, as tokenised data sets hold them: mapped like arrays, or refused."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import memorymaps as mm  # noqa: E402
from memorymaps.data.examples import DataError  # noqa: E402

N = 12
X = np.random.default_rng(0).normal(size=(N, 4)).astype(np.float32)
Y = [i % 3 for i in range(N)]
WORDS = [[(7 * i + j) % 50 for j in range(8)] for i in range(N)]
RAGGED = [[(7 * i + j) % 50 for j in range(5 + i % 3)] for i in range(N)]


class Bag(torch.nn.Module):
    """The mean of embedded words, and a linear layer."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.words, self.last = torch.nn.Embedding(50, 4), torch.nn.Linear(4, 3)

    def forward(self, input_ids):
        return self.last(self.words(input_ids).mean(1))


def net():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Tanh(), torch.nn.Linear(3, 3))


def drawn(model, *data, **options):
    recipe = mm.Laplace("diag", prior=1.0)
    return mm.memory_map(model, *data, likelihood="categorical", posterior=recipe, progress=False, **options)


NUMBERS = {
    "pairs of list and number": [(X[i].tolist(), Y[i]) for i in range(N)],
    "lists of list and number": [[X[i].tolist(), Y[i]] for i in range(N)],
    "pairs with array targets": [(X[i].tolist(), np.int64(Y[i])) for i in range(N)],
}


@pytest.mark.parametrize("name", NUMBERS)
def test_rows_of_numbers_are_arrays(name):
    expected, found = drawn(net(), X, Y), drawn(net(), NUMBERS[name])
    np.testing.assert_allclose(found["leverage"], expected["leverage"], rtol=1e-5)
    np.testing.assert_array_equal(found["target"], expected["target"])


@pytest.mark.parametrize("label", ["label", "labels"])
def test_rows_of_a_tokenised_data_set_are_arrays(label):
    rows = [{"input_ids": words, label: y} for words, y in zip(WORDS, Y, strict=True)]
    expected, found = drawn(Bag(), {"input_ids": np.array(WORDS)}, Y), drawn(Bag(), rows)
    np.testing.assert_allclose(found["sensitivity"], expected["sensitivity"], rtol=1e-5)


@pytest.mark.parametrize(
    "rows",
    [[{"input_ids": words, "label": y} for words, y in zip(RAGGED, Y, strict=True)], list(zip(RAGGED, Y, strict=True))],
    ids=["mappings", "pairs"],
)
def test_rows_of_different_lengths_are_refused_with_both_remedies(rows):
    with pytest.raises(DataError, match=r"has shapes \(5,\) and \(7,\) in different rows.*padding=.*collate="):
        drawn(Bag(), rows)

    def padded(batch):
        words = [torch.as_tensor(row["input_ids"] if isinstance(row, dict) else row[0]) for row in batch]
        labels = torch.as_tensor([row["label"] if isinstance(row, dict) else row[1] for row in batch])
        return {"input_ids": torch.nn.utils.rnn.pad_sequence(words, batch_first=True), "labels": labels}

    assert len(drawn(Bag(), rows, collate=padded)) == N


@pytest.mark.parametrize("inputs", [RAGGED, {"input_ids": RAGGED}], ids=["lists", "mapping"])
def test_columns_of_different_lengths_are_refused(inputs):
    with pytest.raises(DataError, match="have different lengths"):
        drawn(Bag(), inputs, Y)


def test_fields_that_are_no_arrays_are_named():
    with pytest.raises(DataError, match="'note' holds NoneType"):
        drawn(Bag(), [{"input_ids": words, "note": None, "label": 1} for words in WORDS])
    with pytest.raises(DataError, match="tokenize text first"):
        drawn(Bag(), [{"input_ids": "a text", "label": y} for y in Y])
