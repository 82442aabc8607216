"""Measures of one's own: columns of the influence table, of the explorer and of a display, and gone again."""

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

import memorymaps as mm
from memorymaps import measures
from memorymaps.viz import ExplorerOptions, HalfNormalDisplay
from memorymaps.viz.explorer.packing import pack


@pytest.fixture
def squared():
    @measures.register("squared")
    def _(m):
        return measures.internally_studentised(m) ** 2

    yield
    measures.unregister("squared")


def page(m, **options):
    packed = pack(m, ExplorerOptions(**options))
    return packed, [meta["name"] for meta in packed.meta["columns"]]


@pytest.mark.usefixtures("squared")
def test_a_registered_measure_is_a_column_of_the_page(diabetes_map):
    packed, names = page(diabetes_map, color="squared", measures=("leverage", "squared"))
    assert names[-1] == "squared"
    assert (packed.meta["color"], packed.meta["agreement"]["measures"]) == ("squared", ["leverage", "squared"])
    expected = measures.internally_studentised(diabetes_map) ** 2
    np.testing.assert_allclose(packed.table["squared"].to_numpy(), expected, rtol=1e-6)


@pytest.mark.usefixtures("squared")
def test_a_registered_measure_that_is_given_as_well_is_one_column(diabetes_map):
    table = measures.influence_table(diabetes_map)
    names = page(diabetes_map, columns=table)[1]
    assert names.count("squared") == 1
    assert not [name for name in names if "yours" in name]


@pytest.mark.usefixtures("squared")
def test_a_registered_measure_is_a_score_of_the_half_normal_plot(diabetes_map):
    drawn = HalfNormalDisplay.from_map(diabetes_map, by="squared")
    expected = np.sort(measures.internally_studentised(diabetes_map) ** 2)
    np.testing.assert_allclose(drawn.frame()["value"], expected)


@pytest.mark.usefixtures("squared")
def test_a_measure_that_is_undefined_for_a_map_is_left_out_of_its_page_with_the_reason():
    X, y = load_iris(return_X_y=True)
    m = mm.memory_map(LogisticRegression(max_iter=10_000, tol=1e-8).fit(X, y), X, y)
    with pytest.warns(UserWarning, match="no column 'squared', a registered measure: .* defined for one output"):
        names = page(m)[1]
    assert "squared" not in names


def test_names_in_use_are_refused_and_the_remedy_works(diabetes_map):
    register = measures.register("mine")
    register(lambda m: m["leverage"])
    with pytest.raises(ValueError, match=r"measures.unregister\('mine'\) first"):
        measures.register("mine")
    measures.unregister("mine")
    measures.register("mine")(lambda m: 2 * m["leverage"])
    np.testing.assert_array_equal(measures.influence_table(diabetes_map)["mine"], 2 * diabetes_map["leverage"])
    measures.unregister("mine")
    assert "mine" not in measures.influence_table(diabetes_map)
    with pytest.raises(ValueError, match="there is a measure 'hat' already"):
        measures.register("hat")
    with pytest.raises(ValueError, match=r"no measure 'mine' was registered: expected one of \[\]"):
        measures.unregister("mine")


@pytest.mark.parametrize("values", [lambda m: 3.0, lambda m: m["leverage"][:3], lambda m: np.full(len(m), "a")])
def test_a_measure_is_one_number_per_example(values, diabetes_map):
    measures.register("wrong")(values)
    try:
        with pytest.raises(ValueError, match=r"'wrong' returned .*: expected one number for each example"):
            measures.influence_table(diabetes_map)
    finally:
        measures.unregister("wrong")
