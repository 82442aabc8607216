"""Tables of training, retraining and refits are what a plain loop over records gives."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
import math

import numpy as np
import pyarrow as pa
import pytest

pytest.importorskip("torch")

import torch
from networks import case
from sklearn.linear_model import LogisticRegression
from table_oracles import Dense, categorical, largest, map_row, mean_of, rank_correlation, share, softmax
from torch import nn

import memorymaps as mm
from memorymaps.analysis.learning_events import events, half_steps, memorisation_speed
from memorymaps.maps.trajectory import MAP, SCALARS, Trajectory, step_folder
from memorymaps.training.tracker import Tracker
from memorymaps.viz.displays.evolution import EvolutionDisplay
from memorymaps.viz.displays.leave_out import RetrainingDisplay

RNG = np.random.default_rng(5)


def near(found, expected, name="", rtol=1e-9):
    shaped = np.reshape(np.array(expected, dtype=float), np.shape(found))
    np.testing.assert_allclose(found, shaped, rtol=rtol, atol=1e-11, err_msg=name)


# --- retraining ------------------------------------------------------------------------------------------------------

N = 30
X = RNG.normal(size=(N, 2))
THREE = np.digitize(X[:, 0] + RNG.normal(size=N), [-0.5, 0.5])
IDS = 200 - RNG.permutation(N)


def fitted(keep):
    return LogisticRegression(C=1.5, tol=1e-10, max_iter=5000).fit(X[keep], THREE[keep])


def retrain(removed, wanted):
    """A recipe that drifts: with and without examples its outputs are those of another model, turned a little."""
    f = fitted(np.setdiff1d(np.arange(N), removed)).decision_function(X[wanted])
    return f + 0.05 * np.cos(X[wanted] @ [[1.0, 2.0, 3.0], [3.0, 1.0, 2.0]])


@functools.cache
def three_classes():
    """One step for every example: no estimate is a refit, which would be the truth."""
    return mm.memory_map(fitted(np.arange(N)), X, THREE, ids=IDS, estimator="cavity")


@functools.cache
def check():
    """The 12 retrainings, with one estimate undefined."""
    m = three_classes()
    values = m["sensitivity"].copy()
    values[largest(values.tolist(), 3)[2]] = np.nan
    place = m.table.column_names.index("sensitivity")
    changed = dataclasses.replace(m, table=m.table.set_column(place, "sensitivity", pa.array(values)))
    return changed, mm.retrain_check(changed, retrain, k=12)


def expected_check():
    m, found = check()
    at = fitted(np.arange(N)).decision_function(X)
    rest, rows, drift = retrain(np.array([], dtype=int), np.arange(N)), [], []
    for row in found["row"].tolist():
        after = at[row] + retrain(np.array([row]), np.array([row]))[0] - rest[row]
        drift.append(sum(abs(a - b) for a, b in zip(softmax(rest[row]), softmax(at[row]), strict=True)))
        rows.append(
            {
                "id": IDS[row],
                "row": row,
                "estimate": m["sensitivity"][row],
                "truth": sum(abs(a - b) for a, b in zip(softmax(after), softmax(at[row]), strict=True)),
                "loss": m["loss"][row],
                "loo_loss": m["loo_loss"][row],
                "true_loo_loss": -math.log(softmax(after)[THREE[row]]),
            }
        )
    return rows, max(drift)


def test_every_column_and_number_of_the_retraining_check():
    m, found = check()
    rows, drift = expected_check()
    assert found.table.column_names == list(rows[0])
    for name in rows[0]:
        near(found[name], [row[name] for row in rows], name)
    assert found.drift == pytest.approx(drift)
    known = [row for row in rows if not math.isnan(row["estimate"])]
    assert len(known) == len(rows) - 1
    pairs = [(row["estimate"], row["truth"]) for row in known]
    slope = sum(s * t for s, t in pairs) / sum(t * t for _, t in pairs)
    error = math.sqrt(sum((s - t) ** 2 for s, t in pairs) / sum(t * t for _, t in pairs))
    ranked = rank_correlation(*map(list, zip(*pairs, strict=True)))
    assert (found.slope, found.relative_error, found.spearman) == pytest.approx((slope, error, ranked))
    assert abs(slope - 1) > 1e-3  # estimate on truth is not truth on estimate
    assert str(found) == (
        f"12 examples retrained without: slope {slope:.2f}, relative error {error:.3f}, rank correlation "
        f"{ranked:.3f}; 1 without an estimate; drift of retraining {drift:.2g}"
    )
    data = RetrainingDisplay.from_check(found, label=3).frame()
    gaps = [-math.inf if math.isnan(row["estimate"]) else abs(row["estimate"] - row["truth"]) for row in rows]
    assert np.flatnonzero(data["labelled"]).tolist() == sorted(largest(gaps, 3))
    assert m["id"][largest(m["sensitivity"].tolist(), 6)].tolist() == found["id"][:6].tolist()
    assert len(set(found["id"].tolist())) == 12


# --- refits of a network ---------------------------------------------------------------------------------------------


def network_jacobian(net, x):
    """`f [n, c]` and `J [n, c, P]` by autograd, one output of one example at a time."""
    outputs, rows = [], []
    for one in x:
        f = net(one[None])[0]
        outputs.append(f.detach().numpy())
        rows.append([flat(torch.autograd.grad(value, list(net.parameters()), retain_graph=True)) for value in f])
    return np.array(outputs), np.array(rows)


def flat(parts):
    return torch.cat([part.reshape(-1) for part in parts]).numpy()


def small_network():
    torch.manual_seed(1)
    net = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 3)).double()
    return net, torch.tensor(X), torch.tensor(THREE)


def drawn(net, x, y, structure="full", **options):
    recipe = mm.Laplace(structure, prior=0.6, directions=0)
    return mm.memory_map(net, x, y, likelihood="categorical", posterior=recipe, ids=IDS, **options)


def dense_network(net, x, y):
    f, jacobian = network_jacobian(net, x)
    codes = y.numpy()[:, None]
    return Dense(categorical(3), f, jacobian, codes, np.ones(len(f)), np.full(jacobian.shape[2], 0.6))


def moved_row(f, deviation, code):
    """The columns that a deviation decides, of one example of a softmax."""
    mean, after = softmax(f), softmax(f + deviation)
    return {
        "output": f,
        "deviation": deviation,
        "output_sensitivity": math.sqrt(sum(value**2 for value in deviation)),
        "mean": mean,
        "loo_mean": after,
        "prediction": int(np.argmax(mean)),
        "loo_prediction": int(np.argmax(after)),
        "sensitivity": sum(abs(a - b) for a, b in zip(after, mean, strict=True)),
        "loss": -math.log(mean[code]),
        "loo_loss": -math.log(after[code]),
        "memorization": mean[code] - after[code],
        "error": math.sqrt(sum((p - (k == code)) ** 2 for k, p in enumerate(mean))),
        "target": code,
    }


def check_replaced(before, after, mark, chosen, expected, rtol):
    """Chosen rows have the expected columns, all others those of before."""
    assert np.flatnonzero(after[mark]).tolist() == sorted(chosen)
    assert set(after) == {*before, mark}
    for row in range(N):
        for name in before:
            want = expected[row][name] if row in chosen and name in expected[row] else before[name][row]
            np.testing.assert_allclose(after[name][row], want, rtol=rtol, atol=1e-9, err_msg=f"{name} of row {row}")


@pytest.mark.slow
def test_every_column_of_a_network_s_map_and_of_a_refined_one():
    net, x, y = small_network()
    exact, rough, d = drawn(net, x, y, estimator="R-sm"), drawn(net, x, y, "diag"), dense_network(net, x, y)
    rows = [map_row(d, i) for i in range(N)]
    for name in set(rows[0]) & set(exact):
        near(exact[name], [row[name] for row in rows], name, rtol=1e-7)
    chosen = largest(rough["sensitivity"].tolist(), 5)
    fine = mm.refine(rough, top=5, steps=300, tolerance=1e-11)
    expected = {i: moved_row(d.f[i], rows[i]["deviation"], int(THREE[i])) | {"warning": 0} for i in chosen}
    check_replaced(rough, fine, "refined", chosen, expected, 1e-7)


@pytest.mark.slow
def test_every_column_of_refitted_rows(tmp_path):
    """Deviations of the journal: outputs without the example minus outputs of the trained model, row by row."""
    net, x, y = small_network()
    m = drawn(net, x, y, estimator="R-sm")
    fine = mm.refit(m, top=4, path=tmp_path / "journal")
    lines = [json.loads(line) for line in (tmp_path / "journal").read_text().splitlines()[1:]]
    at = {line["row"]: line for line in lines}
    rest = dict(zip(at[-1]["wanted"], np.array(at[-1]["f"]), strict=True))
    chosen, d = largest(m["sensitivity"].tolist(), 4), dense_network(net, x, y)
    expected = {
        row: moved_row(d.f[row], np.array(at[row]["f"][0]) - rest[row], int(THREE[row]))
        | {"warning": int(mm.Warn.NOT_CONVERGED) * (at[row]["moving"] > 0.05)}
        for row in chosen
    }
    assert sorted(at) == sorted([-1, *chosen])
    check_replaced(m, fine, "refitted", chosen, expected, 1e-7)
    drift = max(sum(abs(a - b) for a, b in zip(softmax(rest[k]), softmax(d.f[k]), strict=True)) for k in chosen)
    assert drift > 1e-3
    assert fine.provenance.description.notes[-1].endswith(f"up to {drift:.2g}")
    assert fine.provenance.description.notes[-1].startswith("4 examples (largest sensitivity) refitted without each")


# --- the tracker -----------------------------------------------------------------------------------------------------


def tracked(path, n=30, steps=(2, 5, 6), **options):
    """A short training run whose maps and scalars are kept as they are logged."""
    net, x, y = case("mlp", n)
    optimizer, kept = torch.optim.Adam(net.parameters(), lr=0.05, weight_decay=0.01), {}
    options = {"likelihood": "categorical", "every": steps, "path": path} | options
    log = lambda step, m, scalars: kept.__setitem__(step, (m, dict(scalars)))  # noqa: E731
    with Tracker(net, optimizer, x, y, log=log, **options) as tracker:
        for _ in range(max(steps)):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x), y).backward()
            optimizer.step()
            tracker.step()
    return tracker, net, kept


def loss_error(net, x, y):
    each = [-math.log(softmax(net(one[None])[0].tolist())[int(code)]) for one, code in zip(x, y, strict=True)]
    return np.std(each, ddof=1) / math.sqrt(len(each))


def mean_loss(net, x, y):
    """Cross entropy of each example by a loop, averaged."""
    with torch.no_grad():
        losses = [-math.log(softmax(net(one[None])[0].tolist())[int(code)]) for one, code in zip(x, y, strict=True)]
    return sum(losses) / len(losses)


@pytest.mark.slow
@pytest.mark.parametrize("subset", [None, 7, np.array([3, 1, 12, 29])], ids=["all", "drawn", "chosen"])
@pytest.mark.parametrize("posterior", [None, mm.Laplace("kfac", prior=0.4)], ids=["optimizer", "laplace"])
def test_every_scalar_of_a_record(tmp_path, subset, posterior):
    _, test_x, test_y = case("mlp", 13)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(test_x, test_y), batch_size=5)
    tracker, net, kept = tracked(tmp_path / "run", subset=subset, posterior=posterior, test=loader)
    table = tracker.trajectory().losses()
    assert table.index.tolist() == [2, 5, 6]
    names = ["loss", "loo_loss", "test_loss", "effective", "loo_loss_se", "test_loss_se", "seconds", "loo_trust"]
    assert list(table.columns) == names
    for step, (m, scalars) in kept.items():
        many = len(m)
        assert many == {0: 30, 1: 7, 2: 4}[0 if subset is None else 1 if isinstance(subset, int) else 2]
        assert scalars["loss"] == pytest.approx(sum(m["loss"].tolist()) / many)
        assert scalars["loo_loss"] == pytest.approx(sum(m["loo_loss"].tolist()) / many)
        assert scalars["effective"] == pytest.approx(sum(m["leverage"].tolist()) / many * 30)
        assert scalars["loo_loss_se"] == pytest.approx(np.std(m["loo_loss"], ddof=1) / math.sqrt(many))
        assert table.loc[step].to_dict() == {**scalars, "loo_trust": m.trust["loo_loss"].level}
        assert scalars["seconds"] > 0
        near(tracker.trajectory().at(step)["leverage"], m["leverage"])
    assert kept[6][1]["test_loss"] == pytest.approx(mean_loss(net, test_x, test_y), rel=1e-9)
    assert kept[6][1]["test_loss_se"] == pytest.approx(loss_error(net, test_x, test_y), rel=1e-9)
    assert kept[2][1]["test_loss"] != kept[5][1]["test_loss"]


def test_without_test_data_there_is_no_test_loss(tmp_path):
    table = tracked(tmp_path / "run")[0].trajectory().losses()
    assert table[["test_loss", "test_loss_se"]].isna().all(axis=None)
    assert not table[["loss", "loo_loss", "effective"]].isna().any(axis=None)


def test_losses_are_averaged_over_the_posterior_where_training_averages(tmp_path):
    """Gaussian noise of one: `E[½(f − y)²] = ½(f − y)² + ½V`, and `V` is the leverage."""
    torch.manual_seed(2)
    net = nn.Linear(3, 1).double()
    x = torch.randn(20, 3, dtype=torch.float64)
    y = x @ torch.tensor([1.0, -1.0, 0.5], dtype=torch.float64) + 0.3 * torch.randn(20, dtype=torch.float64)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.1, weight_decay=0.1)
    for _ in range(4):
        optimizer.zero_grad()
        (0.5 * (net(x)[:, 0] - y) ** 2).mean().backward()
        optimizer.step()
    recipe = mm.FromOptimizer(optimizer, 20, average=True)
    tracker = Tracker(
        net, None, x, y, likelihood="gaussian", posterior=recipe, path=tmp_path / "r", test=(x[:8], y[:8])
    )
    m, scalars = tracker.record(), tracker.trajectory().losses().loc[0]
    f = net(x).detach()[:, 0].tolist()
    terms = [0.5 * (a - float(b)) ** 2 + 0.5 * math.log(2 * math.pi) for a, b in zip(f, y, strict=True)]
    losses = [term + 0.5 * v for term, v in zip(terms, m["leverage"].tolist(), strict=True)]
    near(m["loss"], losses, rtol=1e-7)
    assert sum(m["leverage"].tolist()) > 1e-3
    assert scalars["loss"] == pytest.approx(sum(losses) / 20, rel=1e-7)
    assert scalars["test_loss"] == pytest.approx(sum(losses[:8]) / 8, rel=1e-7)


# --- a run on disk ---------------------------------------------------------------------------------------------------

STEPS = (1, 4, 6, 15, 16, 40)
COUNT = 12
NAMES = [f"example {k}" for k in range(COUNT)]
SCORES = ("error", "leverage", "sensitivity", "loss", "loo_loss", "memorization")


def base_map():
    x = RNG.normal(size=(COUNT, 2))
    labels = np.where(np.arange(COUNT) % 2 == 0, "cat", "dog")
    return mm.memory_map(LogisticRegression().fit(x, labels), x, labels, ids=NAMES)


def with_columns(m, columns):
    table = m.table
    for name, values in columns.items():
        table = table.set_column(table.column_names.index(name), name, pa.array(values))
    return dataclasses.replace(m, table=table)


def written():
    """What each record holds, `{step: {name: {id: value}}}`: random turns, equal values, NaN, one always right."""
    found = {}
    for step in STEPS:
        right = RNG.random(COUNT) < 0.5
        right[0], right[1] = True, False
        right[2] = step >= 15
        values = {name: np.round(RNG.exponential(size=COUNT), 1 if name == "sensitivity" else 6) for name in SCORES}
        values["memorization"] = values["memorization"] / 4 - 0.1
        if step == 6:
            values["sensitivity"][5] = values["memorization"][5] = np.nan
        values["loss"][11] = 0.7  # never moves
        target = np.where(np.arange(COUNT) % 2 == 0, "cat", "dog")
        prediction = np.where(right, target, np.where(target == "cat", "dog", "cat"))
        columns = values | {"target": target, "prediction": prediction}
        found[step] = {name: dict(zip(NAMES, column.tolist(), strict=True)) for name, column in columns.items()}
    return found


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The run, its columns, its scalars; the maps' rows come in another order at every step."""
    path, m, held = tmp_path_factory.mktemp("run"), base_map(), written()
    scalars = {}
    for step in STEPS:
        order = RNG.permutation(COUNT)
        columns = {name: [column[key] for key in NAMES] for name, column in held[step].items()}
        shuffled = with_columns(m, columns)._rows(order)
        shuffled.save(step_folder(path, step) / MAP)
        scalars[step] = {"loss": float(step), "loo_loss": 2.0 * step, "test_loss": math.nan, "effective": 1.0 / step}
        (step_folder(path, step) / SCALARS).write_text(json.dumps(scalars[step]))
    return Trajectory.load(path), held, scalars


def path_of(held, name, key):
    return [held[step][name][key] for step in STEPS]


@pytest.mark.slow
def test_scalars_columns_and_paths(run):
    t, held, scalars = run
    assert (t.steps, len(t)) == (list(STEPS), len(STEPS))
    table = t.losses()
    assert table.index.tolist() == list(STEPS)
    for step in STEPS:
        np.testing.assert_array_equal(list(table.loc[step]), list(scalars[step].values()))
    for name in (*SCORES, "target", "prediction"):
        ids, values = t.column(name)
        for k, key in enumerate(ids.tolist()):
            np.testing.assert_array_equal(values[:, k], path_of(held, name, key))
            np.testing.assert_array_equal(t.example(key)[name], path_of(held, name, key))
    assert t.example(NAMES[3]).index.tolist() == list(STEPS)


def test_ranks_and_concentration(run):
    t, held, _ = run
    ids, ranks = t.rank_evolution()
    shares = t.concentration((0.01, 0.25, 1.0))
    for k, step in enumerate(STEPS):
        values = [held[step]["sensitivity"][key] for key in ids.tolist()]
        order = largest(values, COUNT)
        assert ranks[k].tolist() == [order.index(place) + 1 for place in range(COUNT)]
        assert shares.loc[step].tolist() == pytest.approx([share(values, part) for part in (0.01, 0.25, 1.0)])


def expected_cartography(held, key):
    p = [math.exp(-value) for value in path_of(held, "loss", key)]
    right = [a == b for a, b in zip(path_of(held, "prediction", key), path_of(held, "target", key), strict=True)]
    mean = sum(p) / len(p)
    first = [step for step, now in zip(STEPS, right, strict=True) if now]
    stays = [step for k, step in enumerate(STEPS) if all(right[k:])]
    return {
        "confidence": mean,
        "variability": math.sqrt(sum((value - mean) ** 2 for value in p) / len(p)),
        "correctness": sum(right) / len(right),
        "first_learned": first[0] if first else -1,
        "learned": stays[0] if stays else -1,
        "forgotten": sum(before and not now for before, now in itertools.pairwise(right)),
    }


def test_every_column_of_the_cartography(run):
    t, held, _ = run
    table = t.cartography().set_index("id")
    assert sorted(table.index) == sorted(NAMES)
    for key in NAMES:
        assert table.loc[key].to_dict() == pytest.approx(expected_cartography(held, key), rel=1e-12)
    assert table["forgotten"].sum() > 0


def test_every_row_of_the_events(run):
    t, held, _ = run
    expected = []
    for key in NAMES:
        before, ever = False, False
        for step in STEPS:
            now = held[step]["prediction"][key] == held[step]["target"][key]
            if now and not before:
                expected.append((step, key, "learned" if ever else "first learned"))
            if before and not now:
                expected.append((step, key, "forgotten"))
            before, ever = now, ever or now
    table = events(t)
    assert list(table.columns) == ["step", "id", "event"]
    assert [tuple(row) for row in table.itertuples(index=False)] == sorted(expected)
    assert {event for _, _, event in expected} == {"first learned", "learned", "forgotten"}


def test_every_column_of_the_speed(run):
    t, held, _ = run
    table, before = memorisation_speed(t, threshold=0.05), None
    assert list(table.columns) == ["memorization", "memorized", "speed"]
    for step in STEPS:
        values = list(held[step]["memorization"].values())
        mean = mean_of(values)
        speed = math.nan if before is None else (mean - before[1]) / (step - before[0])
        near(table.loc[step, "memorization"], mean)
        near(table.loc[step, "speed"], speed)
        known = [value for value in values if not math.isnan(value)]
        near(table.loc[step, "memorized"], sum(value > 0.05 for value in known) / len(known))
        before = (step, mean)


@pytest.mark.parametrize("name", ["loss", "leverage"])
def test_half_steps(run, name):
    t, held, _ = run
    found = half_steps(t, name)
    assert (found.name, found.index.name) == ("half_step", "id")
    for key in NAMES:
        values = path_of(held, name, key)
        way = values[-1] - values[0]
        steps = [step for step, value in zip(STEPS, values, strict=True) if way and (value - values[0]) / way >= 0.5]
        assert found[key] == (steps[0] if steps else -1)
    assert name != "loss" or found[NAMES[11]] == -1


def test_numbers_behind_the_picture_of_an_evolution(run):
    t, held, _ = run
    data = EvolutionDisplay.from_trajectory(t, steps=[4, 6]).frame()
    for step in (4, 6):
        values = sorted((v for v in held[step]["sensitivity"].values() if not math.isnan(v)), reverse=True)
        rows = data[data["step"] == step]
        assert rows["value"].tolist() == values
        near(rows["part"], [(k + 1) / len(values) for k in range(len(values))])
