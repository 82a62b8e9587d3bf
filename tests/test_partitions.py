"""Similarity and partitions: exact posteriors, and all partitions of six points."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import gmm_jax
from gmm_jax import MixturePrior, NormalInverseGamma, partitions, relabelling
from gmm_jax.testing import exact

DATA = np.array([-2.0, -1.5, -0.2, 0.3, 1.9, 2.6])
PRIOR = MixturePrior(1.0, NormalInverseGamma(0.0, 0.2, 2.0, 1.0))


@pytest.fixture(scope="module")
def fitted():
    return gmm_jax.fit(DATA, 3, prior=PRIOR, n_draws=20_000, proposal="prior")


def every_partition(n):
    """Restricted growth strings: each point joins a cluster before it or starts the next."""
    rows = [[0]]
    for _ in range(n - 1):
        rows = [[*row, new] for row in rows for new in range(max(row) + 2)]
    return np.array(rows)


def pairs_that_disagree(c, z):
    pairs = itertools.combinations(range(len(c)), 2)
    return sum((c[i] == c[j]) != (z[i] == z[j]) for i, j in pairs)


def variation(c, z):
    """Entropy of each given the other."""
    within = np.array([[np.sum((c == a) & (z == b)) for b in set(z)] for a in set(c)])
    joint = stats.entropy(within.ravel() / len(c))
    return 2 * joint - sum(stats.entropy(within.sum(axis) / len(c)) for axis in (0, 1))


BY_HAND = {"binder": pairs_that_disagree, "vi": variation}


@pytest.mark.slow
def test_similarity_is_the_exact_co_clustering(fitted):
    posterior = exact(DATA, PRIOR, 3)
    found = fitted.similarity()
    products = np.einsum(
        "snk,smk->snm", *[np.asarray(fitted.responsibilities_by_draw(), float)] * 2
    )
    error = products.std(0) / np.sqrt(fitted.effective_sample_size)
    np.fill_diagonal(error, 0)
    np.testing.assert_array_less(np.abs(found - posterior.co_clustering), 5 * error + 1e-6)
    np.testing.assert_allclose(found, found.T)


@pytest.mark.parametrize("loss", partitions.LOSSES)
@pytest.mark.parametrize("seed", [0, 1])
def test_the_best_of_all_partitions_of_six_points(loss, seed):
    rng = np.random.default_rng(seed)
    truth = np.array([0, 0, 1, 1, 2, 2])
    drawn = np.where(rng.random((12, 6)) < 0.35, rng.integers(0, 3, (12, 6)), truth)
    expected = {tuple(c): np.mean([BY_HAND[loss](c, z) for z in drawn]) for c in every_partition(6)}
    assert len(expected) == 203
    found = partitions.best_partition(drawn, loss)
    assert expected[tuple(found)] <= min(expected.values()) + 1e-9
    some = list(expected)[::25]
    np.testing.assert_allclose(
        [partitions.expected_loss(np.array(c), drawn, loss) for c in some],
        [expected[c] for c in some],
        atol=1e-9,
    )


@pytest.mark.parametrize("loss", partitions.LOSSES)
def test_single_moves_reach_what_no_candidate_is(loss):
    """Every drawn partition misplaces one point; the best one, which none is, misplaces none."""
    drawn = np.tile(np.repeat([0, 1], 6), (12, 1))
    drawn[np.arange(12), np.arange(12)] ^= 1
    np.testing.assert_array_equal(partitions.best_partition(drawn, loss), np.repeat([0, 1], 6))


def test_binder_of_the_fit_is_that_of_its_similarity(fitted):
    """Over all 203 partitions, sum over pairs of the probability of being wrong."""
    together = fitted.similarity()
    upper = np.triu_indices(6, 1)

    def loss(c):
        same = c[:, None] == c
        return np.where(same, 1 - together, together)[upper].sum()

    best = min(map(loss, every_partition(6)))
    assert loss(fitted.partition("binder")) < best + 0.05  # assignments of 1000 draws are drawn


def test_labels_do_not_matter(fitted):
    columns = np.random.default_rng(0).permuted(np.tile(np.arange(3), (20_000, 1)), axis=1)
    inside = jax.tree.map(jnp.asarray, relabelling.permuted(fitted.inside, columns))
    values = {name: getattr(fitted, name) for name in fitted.__dataclass_fields__}
    other = type(fitted)(**{**values, "inside": inside})
    np.testing.assert_allclose(other.similarity(), fitted.similarity(), atol=1e-5)
    drawn = np.random.default_rng(1).integers(0, 3, (30, 9))
    renamed = np.stack([np.random.default_rng(i).permutation(3)[z] for i, z in enumerate(drawn)])
    for loss in partitions.LOSSES:
        np.testing.assert_array_equal(
            partitions.best_partition(drawn, loss), partitions.best_partition(renamed, loss)
        )


def test_the_band_of_the_density(fitted):
    x = np.array([-1.0, 0.5, 2.0, 9.0])
    low, middle, high = fitted.density_band(x, mass=0.8)
    mixtures = jax.tree.map(np.asarray, fitted.draws)
    components = mixtures.components
    densities = stats.norm.pdf(
        x[..., None, None], components.means.astype(float), components.scales.astype(float)
    )
    exact = np.quantile((densities * mixtures.weights).sum(-1), [0.1, 0.5, 0.9], axis=-1)
    for found, expected in zip((low, middle, high), exact, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-3)
    assert np.ndim(fitted.density_band(0.0)[0]) == 0


def test_too_much_and_unknown_are_refused(fitted):
    with pytest.raises(ValueError, match="at most 2000 points, got 2001: pass some"):
        fitted.similarity(np.zeros(2001))
    with pytest.raises(ValueError, match="loss must be 'vi' or 'binder', got 'rand'"):
        fitted.partition("rand")
    with pytest.raises(ValueError, match="mass must be between 0 and 1, got 1"):
        fitted.density_band(0.0, mass=1)
    assert math.isclose(fitted.similarity(DATA[:2])[0, 1], fitted.similarity()[0, 1], rel_tol=1e-5)
