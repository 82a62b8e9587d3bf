"""Weights of known components: the optimum of a concave problem has a certificate."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from gmm_jax.proportions import maximise


def certificate(log_densities, weights, counts=None):
    """Largest directional derivative of the mean log-likelihood less one: zero at the optimum.

    For the concave problem over the simplex, max_k sum_i c_i p_k(x_i) / p(x_i) - 1 bounds how far
    the mean log-likelihood lies below its maximum.
    """
    log_densities = np.asarray(log_densities, np.float64)
    counts = np.ones(len(log_densities)) if counts is None else counts
    densities = np.exp(log_densities - log_densities.max(1, keepdims=True))
    weights = np.asarray(weights, np.float64)
    ratios = densities / (densities @ (weights / weights.sum()))[:, None]
    return (counts / counts.sum() @ ratios).max() - 1


def problem(seed, n=60, k=4):
    rng = np.random.default_rng(seed)
    x = rng.normal(rng.choice([-2, 0, 3], n), 1)
    return stats.norm.logpdf(x[:, None], np.linspace(-3, 3, k), 1)


@pytest.mark.parametrize("seed", range(8))
def test_the_optimum_is_certified(seed, dtype):
    log_densities = problem(seed)
    weights = maximise(jnp.asarray(log_densities, dtype), jnp.ones(60, dtype))
    assert weights.dtype == dtype
    assert np.all(np.asarray(weights) >= 0)
    np.testing.assert_allclose(weights.sum(), 1, rtol=1e-6)
    assert certificate(log_densities, weights) < (2e-5 if dtype == np.float32 else 1e-9)


def test_weights_that_gain_nothing_are_exactly_zero(dtype):
    x = np.random.default_rng(0).normal(0, 1, 60)
    log_densities = stats.norm.logpdf(x[:, None], [0.0, 50, -50, 70], 1)
    weights = maximise(jnp.asarray(log_densities, dtype), jnp.ones(60, dtype))
    np.testing.assert_array_equal(weights, [1, 0, 0, 0])


def test_counts_are_copies(x64):
    log_densities = problem(1, n=15)
    counts = np.arange(15) % 4
    weighted = maximise(jnp.asarray(log_densities), jnp.asarray(counts, float))
    copied = maximise(jnp.asarray(np.repeat(log_densities, counts, 0)), jnp.ones(counts.sum()))
    np.testing.assert_allclose(weighted, copied, atol=1e-8)


def test_separate_components_get_their_counts(dtype):
    counts = np.array([3.0, 5.0, 0.0, 12.0])
    impossible = np.where(np.eye(4) == 1, 0, -np.inf)
    weights = maximise(jnp.asarray(impossible, dtype), jnp.asarray(counts, dtype))
    np.testing.assert_allclose(weights, counts / 20, atol=2e-6)


def test_densities_of_any_size(dtype):
    """A factor common to a point's densities says nothing."""
    log_densities = problem(2)
    shifted = log_densities + np.linspace(-5000, 5000, 60)[:, None]
    expected, got = (
        maximise(jnp.asarray(a, dtype), jnp.ones(60, dtype)) for a in (log_densities, shifted)
    )
    np.testing.assert_allclose(got, expected, atol=3e-3 if dtype == np.float32 else 1e-8)


def test_one_component_takes_all():
    np.testing.assert_array_equal(maximise(jnp.zeros((5, 1)), jnp.ones(5)), [1])
