"""Sums over and draws of permutations, against going through all of them."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from gmm_jax import labellings

log_permanent = jax.jit(labellings.log_permanent)
sample_permutation = jax.jit(labellings.sample_permutation)


def by_enumeration(log_matrix):
    """Every permutation and its log probability up to a constant."""
    k = len(log_matrix)
    permutations = list(itertools.permutations(range(k)))
    scores = [sum(log_matrix[r, p[r]] for r in range(k)) for p in permutations]
    return permutations, np.array(scores)


@pytest.mark.parametrize("k", [1, 2, 3, 5, 6])
def test_permanent_is_the_sum_over_permutations(k, x64):
    log_matrix = np.random.default_rng(k).normal(0, 3, (k, k))
    expected = special.logsumexp(by_enumeration(log_matrix)[1])
    np.testing.assert_allclose(log_permanent(jnp.asarray(log_matrix)), expected, rtol=1e-12)


def test_permanent_of_ones_is_the_factorial():
    np.testing.assert_allclose(log_permanent(jnp.zeros((5, 5))), special.gammaln(6), rtol=1e-6)


def test_permanent_with_impossible_places(x64):
    log_matrix = np.random.default_rng(0).normal(size=(4, 4))
    log_matrix[0, 1:] = log_matrix[2, 3] = -np.inf
    expected = special.logsumexp(by_enumeration(log_matrix)[1])
    np.testing.assert_allclose(log_permanent(jnp.asarray(log_matrix)), expected, rtol=1e-12)
    log_matrix[0] = -np.inf
    assert np.isneginf(log_permanent(jnp.asarray(log_matrix)))


def test_permanent_of_extreme_numbers_stays_finite():
    log_matrix = np.random.default_rng(0).normal(0, 1, (3, 3)) - 5000
    expected = special.logsumexp(by_enumeration(log_matrix)[1])
    np.testing.assert_allclose(log_permanent(jnp.asarray(log_matrix)), expected, rtol=1e-6)


def test_permanent_of_a_batch_is_that_of_each(x64):
    matrices = jnp.asarray(np.random.default_rng(0).normal(size=(2, 5, 3, 3)))
    batch = log_permanent(matrices)
    assert batch.shape == (2, 5)
    np.testing.assert_allclose(batch[1, 2], log_permanent(matrices[1, 2]), rtol=1e-12)


def test_permanent_after_another_precision():
    """JAX keeps constants it has seen: tables must suit every precision."""
    matrix = np.random.default_rng(0).normal(size=(2, 4, 4)).astype(np.float32)
    single = jax.jit(jax.vmap(labellings.log_permanent))(jnp.asarray(matrix))
    with jax.enable_x64(True):
        double = jax.jit(jax.vmap(labellings.log_permanent))(jnp.asarray(matrix, jnp.float64))
    np.testing.assert_allclose(single, double, rtol=1e-5)


@pytest.mark.parametrize("k", [1, 2, 4])
def test_permutations_are_drawn_in_proportion(k):
    n = 40_000
    log_matrix = np.random.default_rng(10 + k).normal(0, 1, (k, k))
    permutations, scores = by_enumeration(log_matrix)
    expected = special.softmax(scores)
    many = jnp.broadcast_to(jnp.asarray(log_matrix, jnp.float32), (n, k, k))
    drawn = np.asarray(sample_permutation(jax.random.key(k), many))
    np.testing.assert_array_equal(np.sort(drawn, -1), np.broadcast_to(np.arange(k), (n, k)))
    for permutation, probability in zip(permutations, expected, strict=True):
        frequency = np.mean(np.all(drawn == permutation, -1))
        error = np.sqrt(probability * (1 - probability) / n)
        assert abs(frequency - probability) <= 5 * error


def test_an_impossible_permutation_is_never_drawn():
    log_matrix = jnp.array([[0.0, -jnp.inf, 0.0], [0.0, 0.0, 0.0], [-jnp.inf, 0.0, 0.0]])
    many = jnp.broadcast_to(log_matrix, (5000, 3, 3))
    drawn = np.asarray(sample_permutation(jax.random.key(0), many))
    assert not np.any(drawn[:, 0] == 1)
    assert not np.any(drawn[:, 2] == 0)
