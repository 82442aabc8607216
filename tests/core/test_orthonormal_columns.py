"""Which columns are combinations of others, and coordinates in which the rest are orthonormal."""

import numpy as np
import pytest

from memorymaps.core.orthonormal_columns import OrthonormalColumns, nearly_collinear, unaliased_columns

RNG = np.random.default_rng(0)
A, B, C = RNG.normal(size=(3, 50))


def triangle(x):
    return np.linalg.qr(x, mode="r")


@pytest.mark.parametrize(
    ("columns", "places"),
    [
        ([A, B, C], [0, 1, 2]),
        ([A, A, B], [0, 2]),
        ([A, 0 * A, B], [0, 2]),
        ([A, B, 2 * A - 3 * B, C], [0, 1, 3]),
        ([A, A + 1e-12 * B, C], [0, 1, 2]),
        ([1e9 * A, 1e-9 * B, 1e9 * A + 1e-9 * B], [0, 1]),
        ([A, A + 1e-7 * B, B], [0, 1]),  # the rest of B is 1e-9 of it: rounding of columns times 1e7
    ],
)
def test_columns_that_are_not_combinations_of_earlier_ones(columns, places):
    found = unaliased_columns(triangle(np.column_stack(columns)))
    assert found.places.tolist() == places


def test_null_vectors_are_combinations_that_are_zero():
    x = np.column_stack([A, B, 2 * A - 3e4 * B, 0 * A, A])
    columns = OrthonormalColumns.of(triangle(x), np.zeros(5, dtype=bool))
    null = columns.basis[:, columns.rank :]
    assert null.shape == (5, 3)
    np.testing.assert_allclose(x @ null, 0, atol=1e-10)
    np.testing.assert_allclose(null[:, 0], [-2, 3e4, 1, 0, 0], rtol=1e-9)


@pytest.mark.parametrize("e", [1e-6, 1e-9, 1e-12])
def test_rounding_is_that_of_leverages(e):
    x = np.column_stack([A, A + e * B])
    found = unaliased_columns(triangle(x))
    root = np.linalg.inv(triangle(x))
    h, exact = np.sum((x @ root) ** 2, axis=1), np.sum(np.linalg.qr(np.column_stack([A, B]))[0] ** 2, axis=1)
    off = np.linalg.norm(h - exact) / np.linalg.norm(exact)
    assert found.rounding / 1000 < off < found.rounding


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ([A, B], False), ([A, A + 1e-3 * B], False), ([A, A + 1e-6 * B], True), ([A, A + 1e-10 * B, C], True),
        ([A, A, B], False), ([A, 0 * A], False), ([A], False), ([A, 1e-9 * B], False), ([A, np.inf * A], False),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:invalid value")
def test_what_loses_half_of_the_digits(columns, expected):
    assert nearly_collinear(np.column_stack(columns)) == expected


def test_coordinates_are_orthonormal_and_lead_back():
    x = np.column_stack([A, A + 1e-6 * B, C, A + C])
    columns = OrthonormalColumns.of(triangle(x), np.zeros(4, dtype=bool))
    features = columns.features(x)
    assert columns.rank == 3
    np.testing.assert_allclose(features.T @ features, np.eye(3), atol=1e-9)
    np.testing.assert_allclose(features @ columns.triangle, x, atol=1e-9)
    np.testing.assert_allclose(x @ columns.basis[:, 3:], 0, atol=1e-9)


def test_columns_without_a_penalty_are_combined_with_each_other_only():
    x = np.column_stack([A, A + 1e-6 * B, np.ones(50), C])
    penalised = np.array([True, True, False, True])
    basis = OrthonormalColumns.of(triangle(x), penalised).basis
    assert np.flatnonzero(basis[:, 0]).tolist() == [2]
    assert np.linalg.matrix_rank(basis / np.linalg.norm(basis, axis=0)) == 4


def test_columns_that_are_no_numbers_are_none_that_is_known():
    r = np.array([[1.0, np.nan, 0.5], [0.0, np.nan, 2.0]])
    assert unaliased_columns(r).places.tolist() == [0, 2]
    assert unaliased_columns(np.full((2, 2), np.nan)).places.tolist() == []
