"""One table for all results: the same reading and displaying in all of them."""

import numpy as np
import pyarrow as pa
import pytest
from sklearn.datasets import load_diabetes
from sklearn.linear_model import LinearRegression, Ridge

import memorymaps as mm
from memorymaps.analysis.agreement import Comparison
from memorymaps.analysis.answers.model_selection import ModelSelection
from memorymaps.analysis.answers.noise_floor import Movers
from memorymaps.analysis.answers.query_influence import QueryInfluence
from memorymaps.analysis.predictive import LooPredictive, loo_predictive
from memorymaps.analysis.retraining import RetrainCheck
from memorymaps.maps.group_removal import LeaveOut
from memorymaps.maps.result_table import ResultTable, SummarisedTable

X, Y = load_diabetes(return_X_y=True)
X, Y = X[:60], Y[:60]


@pytest.fixture(scope="module")
def results():
    a, b = (mm.memory_map(Ridge(alpha=alpha).fit(X, Y), X, Y) for alpha in (0.1, 1.0))
    check = pa.table({name: np.arange(1.0, 4.0) for name in ("estimate", "truth")})
    return {
        mm.MemoryMap: a,
        LeaveOut: a.leave_out(np.arange(60) % 3),
        Comparison: mm.compare(a, b),
        RetrainCheck: RetrainCheck(check, drift=0.0),
        LooPredictive: loo_predictive(a),
        ModelSelection: mm.select_model([a, b]),
        Movers: mm.compare(a, b, floor=[a]).movers(),
        QueryInfluence: mm.influence_on(a, X[:2], Y[:2]),
    }


KINDS = [
    mm.MemoryMap, LeaveOut, Comparison, RetrainCheck, LooPredictive, ModelSelection, Movers, QueryInfluence
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_every_result_is_read_as_its_table(kind, results):
    result = results[kind]
    assert isinstance(result, kind)
    assert isinstance(result, ResultTable)
    frame = result.to_pandas()
    assert (len(result), list(frame)) == (result.table.num_rows, result.table.column_names)
    for name in frame:
        np.testing.assert_array_equal(result[name], np.stack(frame[name].to_list()))
    with pytest.raises(KeyError, match=r"no column 'nothing': expected one of \["):
        result["nothing"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_notebook_shows_what_a_terminal_shows(kind, results):
    result = results[kind]
    page = result._repr_html_()
    if issubclass(kind, SummarisedTable):
        assert page == f"<pre>{result}</pre>"
        assert repr(result) == str(result)
    else:
        assert "<table" in page
        assert str(result.table.column_names[0]) in repr(result).splitlines()[kind is mm.MemoryMap]


def test_summaries_are_escaped():
    class Named(SummarisedTable):
        def _text(self):
            return "<script>"

    assert Named(pa.table({}))._repr_html_() == "<pre>&lt;script&gt;</pre>"


def test_columns_of_several_outputs_are_matrices():
    targets = np.column_stack([Y, Y**2 / 100])
    m = mm.memory_map(LinearRegression().fit(X, targets), X, targets)
    found = loo_predictive(m)
    assert found["mean"].shape == found.mean.shape == found.variance.shape == (60, 2)
    np.testing.assert_array_equal(found["id"], m["id"])
    single = loo_predictive(mm.memory_map(LinearRegression().fit(X, Y), X, Y))
    assert (single["mean"].shape, single.mean.shape, single.variance.shape) == ((60,), (60, 1), (60, 1))
    np.testing.assert_array_equal(single.mean[:, 0], single["mean"])
