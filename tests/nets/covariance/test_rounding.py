"""Ill-conditioned posteriors state what rounding changes, or are refused; the oracle is a QR with scaled columns."""

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from torch import nn

import memorymaps as mm
from memorymaps.nets import Sampled
from memorymaps.nets.covariance.rounding import IllConditionedError, cholesky, of_cholesky

RNG = np.random.default_rng(0)
YEAR = RNG.uniform(1900, 2020, 60)
NORMAL = RNG.normal(size=(60, 20))
ALL_ROWS = Sampled(rows=10**6)
DIFFERENCES = ("dual", "active_set", "lowrank", ALL_ROWS)


def leverages(x, delta):
    whole = np.c_[x, np.ones(len(x))]
    scale = np.abs(whole).max(0)
    q, _ = np.linalg.qr(np.r_[whole / scale, np.sqrt(delta) * np.diag(1 / scale)])
    return (q[: len(x)] ** 2).sum(1)


def mapped(x, delta, structure, dtype=torch.float64):
    net, y = nn.Linear(x.shape[1], 1).to(dtype), torch.zeros(len(x), 1, dtype=dtype)
    recipe = mm.Laplace(structure, prior=delta, probes=0)
    return mm.memory_map(net, torch.tensor(x, dtype=dtype), y, likelihood="gaussian", posterior=recipe)


def errors(m, x, delta):
    true = leverages(x, delta)
    return np.linalg.norm(m["leverage"] - true) / np.linalg.norm(true), m.provenance.description.relative_error


@pytest.mark.parametrize("structure", [*DIFFERENCES, "full", "block", "unit_block", "kfac", "ekfac"], ids=str)
def test_nothing_is_stated_where_all_digits_are_there(structure):
    off, stated = errors(mapped(NORMAL, 1.0, structure), NORMAL, 1.0)
    assert off < 1e-12
    assert stated is None


@pytest.mark.parametrize("structure", DIFFERENCES, ids=str)
def test_differences_of_large_numbers_state_their_rounding(structure):
    x = NORMAL * 1e6
    m = mapped(x, 1.0, structure)
    assert "ill-conditioned" in str(m.provenance.description.cautions)
    off, stated = errors(m, x, 1.0)
    assert 1e-4 < off < stated < 0.3
    assert m.trust["leverage"].level != "exact"
    assert m.trust["groups"].level != "exact"


@pytest.mark.parametrize("structure", DIFFERENCES, ids=str)
def test_what_rounding_leaves_nothing_of_is_refused(structure):
    with pytest.raises(IllConditionedError, match="too ill-conditioned for double precision"):
        mapped(NORMAL * 1e8, 1.0, structure)


@pytest.mark.parametrize("structure", ["full", "block", "unit_block"])
def test_columns_of_any_scale_are_exact_by_a_cholesky_factor(structure):
    x = NORMAL * 10.0 ** np.arange(-8, 12)
    off, stated = errors(mapped(x, 1e-3, structure), x, 1e-3)
    assert off < 1e-9
    assert stated is None


@pytest.mark.parametrize("structure", ["full", "block", "unit_block", "kfac"])
def test_nearly_equal_columns_state_their_rounding(structure):
    x = np.c_[YEAR * 1e4, YEAR * 1e4 + NORMAL[:, 0], NORMAL[:, 1]]
    m = mapped(x, 1e-4, structure)
    assert "ill-conditioned" in str(m.provenance.description.cautions)
    off, stated = errors(m, x, 1e-4)
    assert off < 2 * stated < 1


@pytest.mark.parametrize("structure", ["kfac", *DIFFERENCES], ids=str)
def test_powers_of_a_year_are_refused_unless_the_structure_can_do_it(structure):
    x = np.c_[YEAR, YEAR**2, YEAR**3]
    with pytest.raises(IllConditionedError):
        mapped(x, 1.0, structure)
    off, stated = errors(mapped(x, 1.0, "full"), x, 1.0)
    assert off < 1e-6
    assert stated is None


def test_rows_that_share_nothing_keep_their_digits_in_the_cavity_form():
    x = RNG.normal(size=(20, 40)) * 1e8
    off, stated = errors(mapped(x, 1.0, ALL_ROWS), x, 1.0)
    assert off < 1e-12
    assert stated is None


@pytest.mark.parametrize("structure", ["dual", ALL_ROWS], ids=str)
def test_single_precision_networks_state_as_much(structure):
    x = (NORMAL * 1e6).astype(np.float32).astype(np.float64)
    m = mapped(x, 1.0, structure, torch.float32)
    assert "ill-conditioned" in str(m.provenance.description.cautions)
    off, stated = errors(m, x, 1.0)
    assert off < stated < 0.3


def test_directions_without_gradients_have_no_rounding():
    x = np.c_[NORMAL[:, 0], NORMAL[:, 0], NORMAL[:, 1]]
    off, stated = errors(mapped(x, 1e-10, "full"), x, 1e-10)
    assert off < 1e-6
    assert stated is None or stated < 1e-3


def test_a_few_rows_of_networks_state_rounding_beside_the_draw():
    x = NORMAL * 1e6
    m = mapped(x, 1.0, Sampled(rows=50))
    assert "ill-conditioned" in str(m.provenance.description.cautions)
    d = m.provenance.description
    plain = mapped(NORMAL, 1.0, Sampled(rows=50)).provenance.description
    assert d.relative_error > plain.relative_error


def test_a_matrix_without_a_cholesky_factor_is_refused_with_what_to_do():
    with pytest.raises(IllConditionedError, match="scale the inputs"):
        cholesky(torch.tensor([[1.0, 2.0], [2.0, 1.0]], dtype=torch.float64))


def test_rounding_by_a_cholesky_factor_leaves_out_the_priors_part():
    r = torch.tensor([[1.0, 1 - 1e-14], [1 - 1e-14, 1.0]], dtype=torch.float64)
    inverse = torch.linalg.inv(torch.linalg.cholesky(r))
    little, all_of_it = (of_cholesky(inverse, torch.full((2,), d, dtype=torch.float64)) for d in (0.0, 0.9e-14))
    assert 0 < all_of_it < 0.6 * little
