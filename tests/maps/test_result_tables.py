"""Every column of a map and of the tables made from one map, or from two, is what a plain loop gives."""

from __future__ import annotations

import dataclasses
import functools
import math
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import statsmodels.api as sm
from sklearn.linear_model import LinearRegression, LogisticRegression, PoissonRegressor, Ridge
from table_oracles import (
    BOUND,
    Dense,
    bernoulli,
    categorical,
    expected_group,
    gaussian,
    largest,
    linear,
    map_row,
    mean_of,
    poisson,
    rank_correlation,
    share,
)

import memorymaps as mm
from memorymaps.analysis.cleanlab import for_cleanlab
from memorymaps.analysis.predictive import loo_predictive
from memorymaps.models.linear.glm.posterior import LinearPosterior
from memorymaps.viz.displays.leave_out import LeaveOutDisplay
from memorymaps.viz.displays.sensitivity import SensitivityDisplay

RNG = np.random.default_rng(16)
N, P, ALPHA = 36, 3, 0.7
X = RNG.normal(size=(N, P))
X[5] = X[4]  # two equal rows: equal scores
WEIGHT = RNG.uniform(0.4, 2, N)
WEIGHT[5] = WEIGHT[4]
WEIGHT[9] = 0.0
IDS = 500 - 3 * RNG.permutation(N)
SIGNAL = X @ RNG.normal(size=P)
NOISE = RNG.normal(size=N)
NOISE[5] = NOISE[4]
Y = SIGNAL + NOISE
Y2 = np.column_stack([Y, 0.5 * SIGNAL - NOISE**2])
COUNTS = np.floor(np.exp(0.5 + SIGNAL / 3) + np.abs(NOISE))
BITS = (Y > 0.1).astype(int)
THREE = np.digitize(Y, [-0.8, 0.8])
ONES = np.column_stack([np.ones(N), X])
TIGHT = {"tol": 1e-10, "max_iter": 5000}


@dataclass(frozen=True)
class Case:
    m: mm.MemoryMap
    d: Dense
    names: tuple[str, ...] = ()  # of classes


def coefficients(model):
    """`[p + 1, c]`, the intercept first."""
    return np.vstack([np.reshape(model.intercept_, (1, -1)), np.atleast_2d(model.coef_).T])


def penalty(size, c=1):
    found = np.full((P + 1, c), float(size))
    found[0] = 0.0
    return found


def dispersion(x, y, weight, delta, fitted):
    """Pearson's `χ²/(n − tr H)` of a least-squares fit, `H` by a loop over examples."""
    inverse = np.linalg.pinv(sum((w * np.outer(row, row) for w, row in zip(weight, x, strict=True)), np.diag(delta)))
    trace = sum(w * row @ inverse @ row for w, row in zip(weight, x, strict=True))
    chi2 = sum(w * (a - b) ** 2 for w, a, b in zip(weight, y, fitted, strict=True))
    return chi2 / (np.count_nonzero(weight) - trace)


def least_squares(model, y, x=X, weight=WEIGHT, alpha=ALPHA):
    """A map of a Gaussian linear model and its dense twin."""
    model.fit(x, y, sample_weight=weight)
    m = mm.memory_map(model, x, y, sample_weight=weight, ids=IDS, estimator="cavity")
    b = coefficients(model)
    design, targets = np.column_stack([np.ones(len(x)), x]), np.reshape(y, (len(x), -1))
    delta = np.full(b.shape, alpha)
    delta[0] = 0.0
    columns = range(b.shape[1])
    phi = [dispersion(design, targets[:, k], weight, delta[:, k], design @ b[:, k]) for k in columns]
    return Case(m, linear(gaussian(*phi), design, y, weight, b, delta / np.array(phi)))


def at_the_bound():
    """Least squares with a column that only one example has: it cannot be left out."""
    x = np.column_stack([X[:, 0], np.eye(N)[7]])
    return least_squares(LinearRegression(), Y, x, np.ones(N), 0.0)


def poisson_case():
    model = PoissonRegressor(alpha=0.05, **TIGHT).fit(X, COUNTS, sample_weight=WEIGHT)
    m = mm.memory_map(model, X, COUNTS, sample_weight=WEIGHT, ids=IDS, estimator="cavity")
    delta = penalty(0.05 * WEIGHT.sum())
    return Case(m, linear(poisson(), ONES, COUNTS, WEIGHT, coefficients(model), delta, per_weight=True))


def logistic_case():
    labels = np.array(["no", "yes"])[BITS]
    model = LogisticRegression(C=2.0, **TIGHT).fit(X, labels, sample_weight=WEIGHT)
    m = mm.memory_map(model, X, labels, sample_weight=WEIGHT, ids=IDS, estimator="cavity")
    return Case(m, linear(bernoulli(), ONES, BITS, WEIGHT, coefficients(model), penalty(0.5)), ("no", "yes"))


def softmax_case():
    labels = np.array(["b", "c", "a"])[THREE]
    model = LogisticRegression(C=2.0, **TIGHT).fit(X, labels, sample_weight=WEIGHT)
    m = mm.memory_map(model, X, labels, sample_weight=WEIGHT, ids=IDS, estimator="cavity")
    codes = np.array([1, 2, 0])[THREE]
    return Case(m, linear(categorical(3), ONES, codes, WEIGHT, coefficients(model), penalty(0.5, 3)), ("a", "b", "c"))


def binary_case():
    results = sm.GLM(BITS, ONES, family=sm.families.Binomial()).fit(tol=1e-14, maxiter=300, tol_criterion="params")
    b = results.params[:, None]
    return Case(
        mm.memory_map(results, estimator="cavity"), linear(bernoulli(), ONES, BITS, np.ones(N), b, penalty(0.0))
    )


CASES = {
    "ridge": lambda: least_squares(Ridge(alpha=ALPHA), Y),
    "two targets": lambda: least_squares(Ridge(alpha=ALPHA), Y2),
    "at the bound": at_the_bound,
    "poisson": poisson_case,
    "logistic": logistic_case,
    "softmax": softmax_case,
    "binary": binary_case,
}


@functools.cache
def case(name: str) -> Case:
    return CASES[name]()


@functools.cache
def rows(name: str) -> list[dict[str, Any]]:
    return [map_row(case(name).d, i) for i in range(N)]


def column(found, name: str):
    return [row[name] for row in found]


def decided(c: Case, mean):
    """What a mean predicts: a class by its name, or the mean itself."""
    if not c.names:
        return mean if len(mean) > 1 else mean[0]
    if len(mean) == 1:
        return c.names[1] if mean[0] > 0.5 else c.names[0]
    return c.names[int(np.argmax(mean))]


def near(found, expected, name=""):
    shaped = np.reshape(np.array(expected, dtype=float), np.shape(found))
    np.testing.assert_allclose(found, shaped, rtol=1e-6, atol=1e-8, err_msg=name)


# --- the map ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_every_column_of_the_map(name):
    c, expected = case(name), rows(name)
    m, d, seen = c.m, c.d, set()
    assert m["id"].tolist() == (list(range(N)) if name == "binary" else IDS.tolist())
    assert m["row"].tolist() == list(range(N))
    assert m["warning"].tolist() == column(expected, "warning")
    for key, mean in (("prediction", "mean"), ("loo_prediction", "loo_mean")):
        values = [decided(c, row[mean]) for row in expected]
        assert m[key].tolist() == values if c.names else near(m[key], values, key) is None
    targets = [c.names[int(code)] for code in d.y[:, 0]] if c.names else np.reshape(d.y, m["target"].shape).tolist()
    assert m["target"].tolist() == targets
    seen |= {"id", "row", "warning", "prediction", "loo_prediction", "target"}
    if len(d.f[0]) == 1:
        scale = [math.sqrt(d.curvature(i)[0, 0]) for i in range(N)]
        near(m["standardised_error"], [d.error(i)[0] / s if s > 0 else 0.0 for i, s in enumerate(scale)])
        seen |= {"standardised_error"}
    for key in set(expected[0]) & set(m) - seen:
        near(m[key], column(expected, key), key)
        seen |= {key}
    assert seen == set(m)
    assert ("mean" in m) == ("loo_mean" in m) == (len(d.f[0]) > 1)


def test_exactly_the_example_at_the_bound_is_undefined():
    m = case("at the bound").m
    assert np.flatnonzero(np.isnan(m["deviation"])).tolist() == [7]
    assert column(rows("at the bound"), "warning") == [BOUND * (i == 7) for i in range(N)]


# --- leave-one-out and words -----------------------------------------------------------------------------------------


def expected_leave_one_out(name):
    """Means over the examples whose leave-one-out loss is defined; accuracy or root mean squared error."""
    c, d = case(name), case(name).d
    found = [(i, row) for i, row in enumerate(rows(name)) if math.isfinite(row["loo_loss"]) and d.weight[i] > 0]
    classes = name in ("logistic", "softmax", "binary")
    scores, total = [], sum(d.weight[i] for i, _ in found)
    for mean in ("mean", "loo_mean"):
        if classes:
            scores.append(sum(d.weight[i] * _right(row[mean], d.target(i), c) for i, row in found) / total)
        else:
            squares = [(i, zip(row[mean], d.target(i), strict=True)) for i, row in found]
            summed = sum(d.weight[i] * sum((a - b) ** 2 for a, b in pairs) for i, pairs in squares)
            scores.append(math.sqrt(summed / total))
    counts = sum(d.counts(i) for i, _ in found)
    losses = [sum(d.counts(i) * row[key] for i, row in found) / counts for key in ("loss", "loo_loss")]
    return len(found), total, *losses, "accuracy" if classes else "RMSE", *scores


def counted(name):
    """Number of examples with a weight: the others are no examples."""
    return sum(float(weight) > 0 for weight in case(name).d.weight)


def _right(mean, target, c):
    return (mean[0] > 0.5) == (target[0] == 1) if len(mean) == 1 else int(np.argmax(mean)) == int(np.argmax(target))


@pytest.mark.parametrize("name", CASES)
def test_every_field_of_leave_one_out(name):
    loo = case(name).m.leave_one_out()
    defined, total, loss, loo_loss, metric, score, loo_score = expected_leave_one_out(name)
    n = counted(name)
    assert (loo.n, loo.defined, loo.metric) == (n, defined, metric)
    assert defined == n - (name == "at the bound")
    for found, expected in zip(
        (loo.loss, loo.loo_loss, loo.score, loo.loo_score), (loss, loo_loss, score, loo_score), strict=True
    ):
        assert found == pytest.approx(expected, rel=1e-7)
    assert len({loo.loss, loo.loo_loss}) == 2
    weighted = "" if total == defined else f" (weighted, sum of weights {total:,.6g})"
    estimated = case(name).m.provenance.description.dispersion_estimated
    held = " (the noise scale is held at its value)" if estimated else ""
    assert str(loo) == (
        f"over {defined} of {n} examples{weighted}: loss {loss:.4f} ± {loo.loss_se:.4f} in training, "
        f"{loo_loss:.4f} ± {loo.loo_loss_se:.4f} left out; {metric} {score:.4f} ± {loo.score_se:.4f} in training, "
        f"{loo_score:.4f} ± {loo.loo_score_se:.4f} left out{held}"
    )


@pytest.mark.parametrize("name", CASES)
def test_every_number_of_the_summary(name):
    m, expected = case(name).m, rows(name)
    text = dict(m.summary().sections)
    total = sum(column(expected, "leverage"))
    d, sensitivity = m.provenance.description, m["sensitivity"].tolist()
    n = counted(name)
    without = f", {N - n} of weight 0, which count nowhere" * int(n < N)
    assert text["Map"][0] == f"{N} examples{without}, {d.model}"
    assert text["Complexity"][:2] == (
        f"Σ leverage = {total:.2f} effective parameters, {total / n:.4f} per example",
        f"computed by the posterior: {total:.2f}",
    )
    phi = 1 / case(name).d.loss.curvature(case(name).d.f[0])[0, 0]
    if name in ("ridge", "at the bound"):
        assert text["Complexity"][2:] == (f"dispersion {phi:.4g} (estimated)",)
    else:
        assert text["Complexity"][2:] == (() if name == "two targets" else ("dispersion 1 (known)",))
    shares = [(share(sensitivity, part), part) for part in (0.01, 0.05, 0.2)]
    assert text["Memory"] == (
        *(f"{held:.0%} of the sensitivity is in {part:.0%} of the examples" for held, part in shares),
        "most sensitive: " + ", ".join(str(m["id"][place]) for place in largest(sensitivity, 5)),
    )
    assert text["Leave-one-out"] == (str(dataclasses.replace(m.leave_one_out(), held="")),)  # held: in the verdicts
    if name == "at the bound":
        assert len(text["Warnings"]) == 1
        assert text["Warnings"][0].startswith(f"1 of {N} examples at the bound")
    else:
        assert text["Warnings"] == ()


def test_the_summary_of_some_examples_counts_these():
    part = case("ridge").m.filter(np.arange(N) % 3 == 0)
    text = dict(part.summary().sections)
    total = sum(column(rows("ridge")[::3], "leverage"))
    assert text["Map"][0].startswith(f"12 examples (of {N} in training; ")
    n = int(np.count_nonzero(part["weight"]))
    assert text["Complexity"][0] == f"Σ leverage = {total:.2f} effective parameters, {total / n:.4f} per example"
    assert not any("computed by the posterior" in line for line in text["Complexity"])


def test_numbers_in_warnings():
    """Distance to the optimum `√(gᵀS⁻¹g/γ)` of a fit that stopped early, and the mean leverage of first-order sizes."""
    other = Y
    with warnings.catch_warnings(action="ignore"):
        model = Ridge(alpha=ALPHA, solver="sparse_cg", max_iter=1).fit(X, Y, sample_weight=WEIGHT)
    m = mm.memory_map(model, X, other, sample_weight=WEIGHT, estimator="F-sm")
    b, delta = np.r_[model.intercept_, model.coef_], penalty(ALPHA)[:, 0]
    phi = dispersion(ONES, other, WEIGHT, delta, ONES @ b)
    d = linear(gaussian(phi), ONES, other, WEIGHT, b[:, None], penalty(ALPHA) / phi)
    gradient = sum((d.jacobian[i].T @ d.error(i) for i in range(N)), d.delta * b)
    count = sum(np.trace(d.leverage_matrix(i)) for i in range(N))
    distance = math.sqrt(gradient @ d.covariance() @ gradient / count)
    assert m.provenance.description.distance == pytest.approx(distance, rel=1e-8)
    assert m.summary().warnings[0].startswith(f"the parameters are {distance:.2g} posterior standard deviations")
    few = np.flatnonzero(WEIGHT > 0)[:9]
    small = mm.memory_map(Ridge(alpha=0.01).fit(X[few], Y[few]), X[few], Y[few], estimator="F-sm")
    mean = sum(small["leverage"].tolist()) / 9
    assert mean > 0.3
    assert small.summary().warnings[0].startswith(f"first-order sizes with {mean:.2g} effective parameters per example")


def test_labels_and_probabilities_for_cleanlab():
    for name in ("logistic", "softmax", "binary"):
        given, d = for_cleanlab(case(name).m), case(name).d
        assert given["labels"].tolist() == [int(code) for code in d.y[:, 0]]
        p = [row["loo_mean"] for row in rows(name)]
        near(given["pred_probs"], p if name == "softmax" else [[1 - value[0], value[0]] for value in p])


def test_numbers_behind_the_pictures_of_one_map():
    m = case("ridge").m
    s = m["sensitivity"].tolist()
    order, data = largest(s, N), SensitivityDisplay.from_map(m).frame()
    assert data["id"].tolist() == [m["id"][place] for place in order]
    assert data["rank"].tolist() == list(range(1, N + 1))
    near(data["part"], [(k + 1) / N for k in range(N)])
    near(data["sensitivity"], [s[place] for place in order])
    near(data["share"], [sum(s[place] for place in order[: k + 1]) / sum(s) for k in range(N)])
    data = LeaveOutDisplay.from_map(m, label=4).frame()
    rise = [after - before for before, after in zip(m["loss"].tolist(), m["loo_loss"].tolist(), strict=True)]
    assert np.flatnonzero(data["labelled"]).tolist() == sorted(largest(rise, 4))


# --- groups ----------------------------------------------------------------------------------------------------------

GROUPS = {"one": [3], "pair": [4, 30], "many": [0, 1, 2, 9, 11, 20, 21], "overlapping": [1, 2, 3, 35]}


def check_groups(found, d, groups):
    assert found["group"].tolist() == list(groups)
    expected = [expected_group(d, members) for members in groups.values()]
    names = found.table.column_names  # the others have their oracles in test_group_statistics.py
    assert (names[: len(expected[0]) + 1], names[-1]) == (["group", *expected[0]], "warning")
    for key in expected[0]:
        near(found[key], column(expected, key), key)
    return expected


def one_step(m):
    """The map whose groups are removed by one linear step, where the library would refit."""
    source = m.origin.posterior
    if not isinstance(source, LinearPosterior):
        return m
    return dataclasses.replace(
        m, origin=dataclasses.replace(m.origin, posterior=dataclasses.replace(source, refits=None))
    )


@pytest.mark.parametrize("name", [name for name in CASES if name != "at the bound"])
def test_every_column_of_the_table_of_groups(name):
    c = case(name)
    named = {group: [c.m["id"][row] for row in members] for group, members in GROUPS.items()}
    expected = check_groups(one_step(c.m).leave_out(named), c.d, GROUPS)
    assert abs(expected[2]["rest_leave_out_loss"] / expected[2]["leave_out_loss"] - 1) > 1e-3  # two different numbers


def test_groups_by_label_and_of_a_map_of_some_rows():
    c = case("softmax")
    by_name = {name: np.flatnonzero(c.m["target"] == name).tolist() for name in c.names}
    check_groups(one_step(c.m).leave_out("target"), c.d, by_name)
    model = Ridge(alpha=ALPHA).fit(X, Y, sample_weight=WEIGHT)
    some = mm.memory_map(model, X, Y, sample_weight=WEIGHT, ids=IDS, rows=[3, 4, 8, 30])
    check_groups(some.leave_out(["a", "b", "a", "b"]), case("ridge").d, {"a": [3, 8], "b": [4, 30]})


# --- two maps --------------------------------------------------------------------------------------------------------

SCORES = ("leverage", "error", "sensitivity", "loss", "loo_loss")


@functools.cache
def two_maps():
    """The second without six examples, in another order, of a stiffer model, with an undefined row; equal scores."""
    a = least_squares(LinearRegression(), Y, np.column_stack([X[:, 0], np.eye(N)[7]]), np.ones(N), 0.0).m
    b = mm.memory_map(Ridge(alpha=5.0).fit(X, Y), X, Y, ids=IDS)
    return a, b.select(IDS[np.random.default_rng(1).permutation(N)[:30]])


def expected_pairs(score, finite=True):
    a, b = two_maps()
    values = [dict(zip(m["id"].tolist(), m[score].tolist(), strict=True)) for m in (a, b)]
    common = sorted(set(values[0]) & set(values[1]))
    found = [(values[0][key], values[1][key]) for key in common]
    return [pair for pair in found if not finite or all(map(math.isfinite, pair))]


def expected_agreement(score, part):
    pairs = expected_pairs(score)
    a, b = ([pair[side] for pair in pairs] for side in (0, 1))
    k = max(1, round(part * len(pairs)))
    return (
        rank_correlation(a, b),
        len([place for place in largest(a, k) if place in largest(b, k)]) / k,
        sum(x * y for x, y in pairs) / sum(x * x for x, _ in pairs),
    )


def test_every_column_and_number_of_a_comparison():
    a, b = two_maps()
    c = mm.compare(a, b)
    common = sorted(set(a["id"].tolist()) & set(b["id"].tolist()))
    assert (len(c), c.only_a, c.only_b) == (30, 6, 0)
    back = mm.compare(b, a)
    assert (back.only_a, back.only_b) == (0, 6)
    assert c.to_pandas()["id"].tolist() == common
    assert set(c.table.column_names) == {"id", *(f"{score}_{side}" for score in SCORES for side in "ab")}
    for score in SCORES:
        for side, values in zip("ab", zip(*expected_pairs(score, finite=False), strict=True), strict=True):
            near(c.to_pandas()[f"{score}_{side}"], values, score)
        near(np.array(c.pair(score)).T, expected_pairs(score))
    assert c.effective_parameters == pytest.approx((sum(a["leverage"].tolist()), sum(b["leverage"].tolist())))


@pytest.mark.parametrize("score", SCORES)
def test_agreement_of_two_maps(score):
    c = mm.compare(*two_maps())
    for part in (0.01, 0.2, 0.5):
        ranked, overlap, slope = expected_agreement(score, part)
        assert c.spearman(score) == pytest.approx(ranked, rel=1e-10)
        assert c.overlap(score, part) == pytest.approx(overlap)
        assert c.slope(score) == pytest.approx(slope, rel=1e-10)
    assert abs(expected_agreement(score, 0.01)[2] - 1) > 1e-3  # b on a is not a on b
    ranked, overlap, slope = expected_agreement(score, 0.01)
    (line,) = [line for line in str(c).splitlines() if line.startswith(f"  {score} ")]
    assert line == (
        f"  {score:<12} rank correlation {ranked:6.3f}   top 1 % in common {overlap:5.0%}   slope b on a {slope:8.4g}"
    )


def test_the_head_of_a_comparison():
    a, b = two_maps()
    lines = str(mm.compare(a, b)).splitlines()
    totals = [sum(m["leverage"].tolist()) for m in (a, b)]
    assert lines[0] == "30 examples in both maps, 6 only in a, 0 only in b"
    assert lines[1] == f"effective parameters: a {totals[0]:.2f}, b {totals[1]:.2f}"


# --- leave-one-out predictive ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ridge", "two targets", "at the bound"])
def test_leave_one_out_predictive_distributions(name):
    c = case(name)
    found, d = loo_predictive(c.m), c.d
    mean, variance, density = [], [], []
    for i in range(N):
        defined = d.weight[i] > 0 and rows(name)[i]["warning"] == 0
        noise = np.linalg.inv(d.curvature(i)) if defined else np.full((len(d.f[i]), len(d.f[i])), np.nan)
        total = noise + d.jacobian[i] @ d.covariance([i]) @ d.jacobian[i].T
        at = d.f[i] + rows(name)[i]["deviation"]
        gap = at - d.target(i)
        terms = [g * g / total[k, k] + math.log(2 * math.pi * total[k, k]) for k, g in enumerate(gap)]
        mean, variance, density = [*mean, at], [*variance, np.diag(total)], [*density, -0.5 * sum(terms)]
    near(found.mean, mean)
    near(found.variance, variance)
    near(found.log_density, density)
    kept = loo_predictive(c.m.filter((c.m["weight"] > 0) & (c.m["warning"] == 0)))
    assert kept.total == pytest.approx(mean_of(density) * sum(map(math.isfinite, density)), rel=1e-9)
