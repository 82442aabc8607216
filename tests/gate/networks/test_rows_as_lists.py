"""Rows of a network's data as Python lists, as tokenised data sets hold them: mapped like arrays, or refused."""

import numpy as np
import pytest
from remedies import remedy

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


TEXTS = [("good film", "bad film", "good")[y] for y in Y]


@pytest.fixture(scope="module")
def tokenizer():
    tokenizers, transformers = pytest.importorskip("tokenizers"), pytest.importorskip("transformers")
    words = {"[PAD]": 0, "[UNK]": 1, "good": 2, "bad": 3, "film": 4}
    model = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="[UNK]"))
    model.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    return transformers.PreTrainedTokenizerFast(tokenizer_object=model, pad_token="[PAD]", model_max_length=8)


class Masked(Bag):
    """The mean of the words that the tokenizer has not added."""

    def forward(self, input_ids, attention_mask):
        mask = attention_mask[..., None]
        return self.last((self.words(input_ids) * mask).sum(1) / mask.sum(1))


def padded(batch):
    words = [torch.as_tensor(row["input_ids"] if isinstance(row, dict) else row[0]) for row in batch]
    labels = torch.as_tensor([row["label"] if isinstance(row, dict) else row[1] for row in batch])
    return {"input_ids": torch.nn.utils.rnn.pad_sequence(words, batch_first=True), "labels": labels}


def drawn(model, *data, **options):
    recipe = mm.Laplace("diag", prior=1.0)
    return mm.memory_map(model, *data, likelihood="categorical", posterior=recipe, progress=False, **options)


NUMBERS = {
    "pairs of list and number": [(X[i].tolist(), Y[i]) for i in range(N)],
    "lists of list and number": [[X[i].tolist(), Y[i]] for i in range(N)],
    "pairs with array targets": [(X[i].tolist(), np.int64(Y[i])) for i in range(N)],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", NUMBERS)
def test_rows_of_numbers_are_arrays(name):
    expected, found = drawn(net(), X, Y), drawn(net(), NUMBERS[name])
    np.testing.assert_allclose(found["leverage"], expected["leverage"], rtol=1e-5)
    np.testing.assert_array_equal(found["target"], expected["target"])


@pytest.mark.slow
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
    assert len(drawn(Bag(), rows, collate=padded)) == N


def is_the_map_of_the_texts(m, tokenizer):
    whole = tokenizer(TEXTS, padding=True, return_tensors="pt")
    np.testing.assert_allclose(m["leverage"], drawn(Masked(), dict(whole), Y)["leverage"], rtol=1e-5)
    np.testing.assert_array_equal(m["target"], Y)


@pytest.mark.slow
@remedy("in different rows: expected equal ones. Pad the rows, tokenizer(texts, padding=")
def test_rows_of_texts_are_padded(said, tokenizer):
    rows = [{**tokenizer(text), "label": y} for text, y in zip(TEXTS, Y, strict=True)]
    with said:
        drawn(Masked(), rows)
    collate = pytest.importorskip("transformers").DataCollatorWithPadding(tokenizer)
    is_the_map_of_the_texts(drawn(Masked(), rows, collate=collate), tokenizer)
    equal = [{**tokenizer(text, padding="max_length"), "label": y} for text, y in zip(TEXTS, Y, strict=True)]
    is_the_map_of_the_texts(drawn(Masked(), equal), tokenizer)
    pairs = list(zip(RAGGED, Y, strict=True))
    with said:
        drawn(Bag(), pairs)
    assert len(drawn(Bag(), pairs, collate=padded)) == N


@pytest.mark.slow
@remedy("have different lengths: expected equal ones. Pad them, for a tokenizer with tokenizer(texts, padding=True)")
@pytest.mark.parametrize("column", [False, True], ids=["lists", "mapping"])
def test_columns_of_different_lengths_are_padded(said, tokenizer, column):
    with said:
        drawn(Bag(), {"input_ids": RAGGED} if column else RAGGED, Y)
    with said:
        drawn(Masked(), dict(tokenizer(TEXTS)), Y)
    is_the_map_of_the_texts(drawn(Masked(), dict(tokenizer(TEXTS, padding=True)), Y), tokenizer)
    assert len(drawn(Bag(), list(zip(RAGGED, Y, strict=True)), collate=padded)) == N


@pytest.mark.slow
@remedy("expected numbers, arrays or lists of numbers. Leave it out of the rows, or pass collate=")
@pytest.mark.parametrize("notes", [[None] * N, [1, None] * (N // 2)], ids=["all", "some"])
def test_fields_that_are_no_arrays_are_left_out(said, notes):
    rows = [{"input_ids": WORDS[i], "note": notes[i], "label": Y[i]} for i in range(N)]
    with said:
        drawn(Bag(), rows)
    assert "'note' holds" in said.text
    expected = drawn(Bag(), {"input_ids": np.array(WORDS)}, Y)["leverage"]
    left = [{name: value for name, value in row.items() if name != "note"} for row in rows]
    np.testing.assert_allclose(drawn(Bag(), left)["leverage"], expected, rtol=1e-5)
    np.testing.assert_allclose(drawn(Bag(), rows, collate=padded)["leverage"], expected, rtol=1e-5)


ROWS = {
    "a field is missing": [
        {"input_ids": x, "label": y} | ({} if y else {"note": 1}) for x, y in zip(WORDS, Y, strict=True)
    ],
    "pairs and triples": [(x, y) if y else (x, y, 1) for x, y in zip(WORDS, Y, strict=True)],
}


@pytest.mark.slow
@remedy("the same fields in each. Pass collate= as in DataLoader(collate_fn=…)")
@pytest.mark.parametrize("name", ROWS)
def test_rows_of_several_kinds(said, name):
    with said:
        drawn(Bag(), ROWS[name])
    expected = drawn(Bag(), {"input_ids": np.array(WORDS)}, Y)["leverage"]
    np.testing.assert_allclose(drawn(Bag(), ROWS[name], collate=padded)["leverage"], expected, rtol=1e-5)


@pytest.mark.slow
@remedy(
    "Expected numbers: tokenize text first, memory_map(net, tokenizer(texts, padding=True, return_tensors='pt'), y)"
)
def test_texts_are_tokenized(said, tokenizer):
    with said:
        drawn(Masked(), [{"input_ids": text, "label": y} for text, y in zip(TEXTS, Y, strict=True)])
    m = drawn(Masked(), tokenizer(TEXTS, padding=True, return_tensors="pt"), Y)
    is_the_map_of_the_texts(m, tokenizer)
