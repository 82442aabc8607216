"""Arguments of a wrong kind: what was got, what was expected, what to type, and what to type works."""

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler

import memorymaps as mm

CANCER = load_breast_cancer()
X, Y = StandardScaler().fit_transform(CANCER.data[:80, :4]), CANCER.target[:80]


@pytest.fixture(scope="module")
def m():
    return mm.memory_map(LogisticRegression(tol=1e-9).fit(X, Y), X, Y)


@pytest.fixture(scope="module")
def network(torch):
    recipe = mm.Laplace("diag", prior=1.0)
    net, inputs = torch.nn.Linear(4, 2), torch.tensor(X).float()
    return mm.memory_map(net, inputs, torch.tensor(Y), likelihood="categorical", posterior=recipe)


WRONG = {"ids": [0, 3], "array": np.array([0, 3]), "text": "all", "part": 2.5, "none": None}


@pytest.mark.parametrize("value", WRONG.values(), ids=WRONG)
def test_a_number_of_examples_to_refit_or_refine(value, m, network):
    for function, of in (("refit", m), ("refine", network)):
        with pytest.raises(TypeError, match=r"top = .*: expected a positive whole number: how many examples, .*largest "
                           rf"'loss'. For chosen examples: {function}\(m.select\(ids\), top=len\(ids\)\)"):  # fmt: skip
            getattr(mm, function)(of, value, by="loss")


def test_chosen_examples_are_refitted_and_refined_as_the_message_says(m, network):
    ids = [0, 3]
    refitted = mm.refit(m.select(ids), top=len(ids))
    assert refitted["id"].tolist() == ids
    assert refitted["refitted"].all()
    whole = mm.refit(m, top=len(m))
    np.testing.assert_allclose(refitted["deviation"], whole.select(ids)["deviation"], rtol=1e-4)
    refined = mm.refine(network.select(ids), top=len(ids))
    assert (refined["id"].tolist(), refined["refined"].tolist()) == (ids, [True, True])


@pytest.mark.parametrize("name", ["steps", "jobs", "tolerance"])
def test_settings_of_refits_are_numbers(name, m):
    with pytest.raises(TypeError, match=rf"{name} = \[1\]: expected a positive (whole )?number"):
        mm.refit(m, **{name: [1]})
    with pytest.raises(ValueError, match=rf"{name} = -1: expected a positive (whole )?number"):
        mm.refit(m, **{name: -1})


@pytest.mark.parametrize("name", ["steps", "tolerance"])
def test_settings_of_refinement_are_numbers(name, network):
    with pytest.raises(TypeError, match=rf"{name} = 'many': expected a positive (whole )?number"):
        mm.refine(network, **{name: "many"})
    with pytest.raises(ValueError, match=rf"{name} = -1: expected a positive (whole )?number"):
        mm.refine(network, **{name: -1})


_OF_A_MAP = [
    mm.refit,
    mm.refine,
    lambda m: mm.retrain_check(m, print),
    mm.label_issues,
    mm.prune,
    lambda m: mm.influence_on(m, X),
    lambda m: mm.smallest_flip(m, "x0"),
    lambda m: mm.compare(m, m),
    mm.measures.influence_table,
    mm.measures.press,
]


@pytest.mark.parametrize("function", _OF_A_MAP)
def test_a_model_is_no_map(function):
    with pytest.raises(TypeError, match=r"got a Ridge: expected the map that memory_map\(model, X, y\) returns"):
        function(Ridge().fit(X, Y))


def test_what_is_compared_and_selected_are_maps(m):
    for call in (lambda: mm.compare(m, "m.parquet"), lambda: mm.compare(m, m, floor=["m.parquet"])):
        with pytest.raises(TypeError, match=r"got a str: expected the map .* or mm.load\(path\) of a saved one"):
            call()
    with pytest.raises(TypeError, match=r"got a float: expected maps by name, select_model\("):
        mm.select_model(2.0)


def test_ids_are_a_column():
    with pytest.raises(mm.DataError, match=r"ids = 7: expected one name an example"):
        mm.memory_map(Ridge().fit(X, Y), X, Y, ids=7)


def test_shares_and_seeds_of_pruning_are_numbers(m):
    for value in ("half", True, [0.5]):
        with pytest.raises(TypeError, match=r"keep = .*: expected a share below 1, as 0.5, or a number of examples"):
            mm.prune(m, keep=value)
    with pytest.raises(TypeError, match=r"seed = 1\.5: expected a whole number of at least 0"):
        mm.prune(m, seed=1.5)


def test_retraining_is_a_function_and_examples_are_ids(m):
    with pytest.raises(TypeError, match=r"retrain is a list: .*retrain_check\(m, retrain, ids=ids\)"):
        mm.retrain_check(m, [0, 3])
    for value in WRONG.values():
        with pytest.raises(TypeError, match=r"k = .*: expected a whole number of at least 2.*ids=ids\)"):
            mm.retrain_check(m, k=value)

    def retrain(removed, wanted):
        model = LogisticRegression(tol=1e-9).fit(np.delete(X, removed, axis=0), np.delete(Y, removed))
        return model.decision_function(X[wanted])

    assert mm.retrain_check(m, retrain, ids=[0, 3])["id"].tolist() == [0, 3]


@pytest.mark.parametrize("value", WRONG.values(), ids=WRONG)
def test_the_number_of_top_examples(value, m):
    with pytest.raises(TypeError, match=r"k = .*: expected a whole number of at least 0.* For chosen ones: m.select"):
        m.top(value)


def test_the_number_of_top_examples_is_not_negative(m):
    with pytest.raises(ValueError, match="k = -3: expected a whole number of at least 0"):
        m.top(-3)
    assert len(m.top(0)) == 0
    assert len(m.top(np.int64(3))) == 3
    with pytest.raises(KeyError, match=r"no column \['loss'\]: expected one of"):
        m.top(3, by=["loss"])


@pytest.mark.parametrize("value", [3, "abc", None, np.int64(3), np.array(3)])
def test_one_id_is_put_into_a_list(value, m):
    for function in (m.select, lambda ids: m.leave_out({"chosen": ids})):
        with pytest.raises(TypeError, match=r"ids = .*: expected several ids; for one: \["):
            function(value)
    assert m.select([3])["id"].tolist() == [3]
    assert m.leave_out({"chosen": [3]})["size"].tolist() == [1]


def test_a_mask_is_for_filter(m):
    mask = m["leverage"] > np.median(m["leverage"])
    with pytest.raises(KeyError, match=r"For a mask of True and False: m.filter\(mask\)"):
        m.select(mask)
    assert m.filter(mask)["id"].tolist() == np.flatnonzero(mask).tolist()


@pytest.mark.parametrize("groups", [3, None, [0, 3], {0, 3}, "loo_mean", 2.5], ids=str)
def test_groups_are_labels_or_ids_by_name(groups, m):
    with pytest.raises((ValueError, KeyError), match=r"m.leave_out\(\{'chosen': ids\}\)|no column 'loo_mean'"):
        m.leave_out(groups)
    assert m.leave_out({"chosen": [0, 3]})["size"].tolist() == [2]
    with pytest.raises(ValueError, match=r"expected \{name: ids\} with at least one group"):
        m.leave_out({})
