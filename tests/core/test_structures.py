"""Roots of posterior covariances against dense inverses; aliasing as R decides it."""

import numpy as np
import pytest

from memorymaps.core.covariance_roots import (
    CoupledCurvature,
    IndependentCurvature,
    TriangularFactor,
    root_from_gram,
    root_from_triangular,
    unaliased_columns,
)

rng = np.random.default_rng(3)
X = rng.normal(size=(50, 4))


def spread(curvature, penalty, batches=3):
    made = curvature
    for part in np.array_split(np.arange(50), batches):
        made[0].add(X[part], made[1][part])
    return made[0].posterior_root(penalty, np.ones(penalty.shape, dtype=bool))


def test_triangle_has_the_gram_matrix_however_rows_arrive():
    whole, parts = TriangularFactor(4), TriangularFactor(4)
    whole.add(X, np.ones(len(X)))
    for row in X:
        parts.add(row[None], np.ones(1))
    for triangle in (whole, parts):
        r = triangle.with_penalty(np.array([0, 0, 2.0, 0]))
        np.testing.assert_allclose(r.T @ r, X.T @ X + np.diag([0, 0, 2.0, 0]), rtol=1e-12)


TALL = rng.normal(size=(20_000, 3))
DESIGNS = {
    "independent": TALL,
    "scaled": TALL * [1e-6, 1.0, 1e6],
    "correlated": TALL @ [[1.0, 0.99, 0], [0, 0.1, 0], [0, 0, 1]],
    "nearly collinear": TALL @ [[1.0, 1, 0], [0, 1e-6, 0], [0, 0, 1]],
    "sorted": np.concatenate([TALL[:10_000] * [1.0, 1e-5, 1], TALL[10_000:] @ [[1.0, 1, 0], [0, 1e-3, 0], [0, 0, 1]]]),
    "rare": TALL * np.column_stack([np.arange(20_000) == 15_001, np.ones((20_000, 2))]),
}


@pytest.mark.parametrize("name", DESIGNS)
def test_triangles_of_tall_batches_are_those_of_one_decomposition(name):
    x, s = DESIGNS[name], rng.uniform(0.5, 2, 20_000)
    triangle = TriangularFactor(3)
    for rows in np.split(np.arange(20_000), 2):
        triangle.add(x[rows], s[rows])
    found, size = triangle.with_penalty(np.zeros(3)), np.linalg.norm(s[:, None] * x, axis=0)
    whole = np.linalg.qr(s[:, None] * x / size, mode="r")
    ratio = np.abs(found / size @ np.linalg.inv(whole))  # orthogonal and triangular: signs
    # rounding of either times the condition number of the scaled columns, some 10⁶ where they are nearly collinear
    np.testing.assert_allclose(ratio, np.eye(3), rtol=0, atol=1e-8 if "collinear" in name else 1e-11)


def test_independent_outputs_are_separate_regressions():
    weight = rng.uniform(0.5, 2, (50, 2))
    penalty = np.array([[0.0, 1.0]] * 4)
    structure, estimable = spread((IndependentCurvature(4, 2), weight[:, :, None] * np.eye(2)), penalty)
    assert estimable.all()
    for k in range(2):
        dense = np.linalg.inv((X.T * weight[:, k]) @ X + np.diag(penalty[:, k]))
        np.testing.assert_allclose(structure.variance(X)[:, k, k], np.einsum("np,pq,nq->n", X, dense, X), rtol=1e-10)
    np.testing.assert_array_equal(structure.variance(X)[:, 0, 1], 0)


def dense_coupled(curvature, penalty):
    rows = np.einsum("nab,np,nq->apbq", curvature, X, X).reshape(12, 12) + np.diag(penalty.T.ravel())
    return rows, np.linalg.pinv(rows)


def test_coupled_outputs_are_one_dense_inverse():
    a = rng.normal(size=(50, 3, 3))
    curvature, penalty = a @ np.swapaxes(a, 1, 2), np.full((4, 3), 0.3)
    structure, _ = spread((CoupledCurvature(4, 3), curvature), penalty)
    _, inverse = dense_coupled(curvature, penalty)
    expected = np.einsum("np,apbq,nq->nab", X, inverse.reshape(3, 4, 3, 4), X)
    np.testing.assert_allclose(structure.variance(X), expected, rtol=1e-9)
    z = structure.covariance_root(X)
    np.testing.assert_allclose(z @ np.swapaxes(z, 1, 2), expected, rtol=1e-9)


@pytest.mark.parametrize("kind", [IndependentCurvature, CoupledCurvature])
def test_shift_is_the_root_of_the_covariance(kind):
    curvature = rng.uniform(1, 2, (50, 2))[..., None] * np.eye(2)
    structure, _ = spread((kind(4, 2), curvature), np.zeros((4, 2)))
    basis = structure.from_whitened(np.eye(structure.rank))  # [r, p, c]
    outputs = np.einsum("np,rpc->ncr", X, basis)
    np.testing.assert_allclose(outputs, structure.covariance_root(X), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("missing", [0.0, 1e-13])
def test_softmax_gauge_direction_is_dropped(missing):
    exact = rng.dirichlet(np.ones(3), 50)
    p = exact * (1 - missing)  # probabilities sum to one up to rounding only
    curvature = p[:, :, None] * np.eye(3) - p[:, :, None] * p[:, None, :]
    structure, _ = spread((CoupledCurvature(4, 3), curvature), np.zeros((4, 3)))
    assert structure.rank == 8
    total = np.einsum("nab,nba->", curvature, structure.variance(X))
    assert total == pytest.approx(8, abs=1e-9)
    np.testing.assert_allclose(
        structure.covariance_root(X).sum(axis=1), 0, atol=1e-12
    )  # the Moore–Penrose inverse's choice
    exact_curvature = exact[:, :, None] * np.eye(3) - exact[:, :, None] * exact[:, None, :]
    _, inverse = dense_coupled(exact_curvature, np.zeros((4, 3)))
    expected = np.einsum("np,apbq,nq->nab", X, inverse.reshape(3, 4, 3, 4), X)
    np.testing.assert_allclose(structure.variance(X), expected, rtol=1e-8, atol=1e-10)


def test_held_parameters_do_not_move():
    curvature, free = np.ones((50, 1, 1)), np.array([[True], [False], [True], [True]])
    made = IndependentCurvature(4, 1)
    made.add(X, curvature)
    structure, _ = made.posterior_root(np.zeros((4, 1)), free)
    keep = X[:, [0, 2, 3]]
    np.testing.assert_allclose(
        structure.variance(X)[:, 0, 0], np.einsum("np,pq,nq->n", keep, np.linalg.inv(keep.T @ keep), keep), rtol=1e-10
    )
    np.testing.assert_array_equal(structure.root[0, 1], 0)


def test_later_columns_are_the_aliased_ones():
    x = np.column_stack([X[:, 0], X[:, 1], X[:, 0] - 2 * X[:, 1], X[:, 2], np.zeros(50), X[:, 2] * 1e6])
    assert unaliased_columns(np.linalg.qr(x, mode="r")).places.tolist() == [0, 1, 3]


def test_nearly_collinear_columns_are_none_but_to_rounding():
    x = np.column_stack([X[:, 0], X[:, 0] + 1e-5 * X[:, 1], X[:, 0] + 1e-9 * X[:, 2], X[:, 0] + 1e-15 * X[:, 3]])
    assert unaliased_columns(np.linalg.qr(x, mode="r")).places.tolist() == [0, 1, 2]


def test_column_scales_do_not_matter():
    scale = np.array([1e-8, 1.0, 1e8, 1e3])
    plain, _ = root_from_triangular(np.linalg.qr(X, mode="r"))
    scaled, _ = root_from_triangular(np.linalg.qr(X * scale, mode="r"))
    np.testing.assert_allclose(np.sum((X * scale @ scaled) ** 2, 1), np.sum((X @ plain) ** 2, 1), rtol=1e-11)


def test_gram_root_is_the_pseudo_inverse():
    gram = X.T @ X
    w = root_from_gram(gram)
    np.testing.assert_allclose(w @ w.T, np.linalg.inv(gram), rtol=1e-10)


@pytest.mark.parametrize("kind", ["plain", "rare column", "collinear", "badly scaled", "sorted"])
def test_tall_blocks_lose_no_digits(kind):
    x = rng.normal(size=(20_000, 5))
    if kind == "rare column":
        x[:, 4] = np.arange(20_000) == 17
    if kind == "collinear":
        x[:, 4] = x[:, 0] + 1e-6 * rng.normal(size=20_000)
    if kind == "badly scaled":
        x *= [1e-9, 1e9, 1.0, 1e4, 1e-4]
    if kind == "sorted":
        x = x[np.argsort(x[:, 0])]
    triangle = TriangularFactor(5)
    triangle.add(x, np.ones(len(x)))
    root, unaliased = root_from_triangular(triangle.with_penalty(np.zeros(5)))
    q, _ = np.linalg.qr(x / np.linalg.norm(x, axis=0))
    assert len(unaliased.places) == 5
    np.testing.assert_allclose(np.sum((x @ root) ** 2, 1), np.sum(q**2, 1), rtol=1e-7 if kind == "collinear" else 1e-11)
