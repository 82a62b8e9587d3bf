"""Figures on weighted samples, against definitions and arviz."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from arviz_stats.base import array_stats
from scipy import special, stats

from gmm_jax.diagnostics import effective_sample_size, log_evidence, pareto_k


def log_weights(n=500, spread=1.0):
    return np.random.default_rng(n).normal(0, spread, n)


def test_effective_sample_size_by_definition(x64):
    weights = np.exp(log_weights())
    expected = weights.sum() ** 2 / (weights**2).sum()
    np.testing.assert_allclose(effective_sample_size(jnp.asarray(log_weights())), expected)


def test_effective_sample_size_of_equal_and_of_single_weights():
    np.testing.assert_allclose(effective_sample_size(jnp.full(70, -3000.0)), 70, rtol=1e-3)
    single = jnp.full(70, -jnp.inf).at[3].set(1e4)
    np.testing.assert_allclose(effective_sample_size(single), 1, rtol=1e-3)


def test_log_evidence_is_the_log_of_the_mean_weight(x64):
    weights = np.exp(log_weights())
    estimate, error = log_evidence(jnp.asarray(log_weights()))
    np.testing.assert_allclose(estimate, np.log(weights.mean()), rtol=1e-12)
    np.testing.assert_allclose(error, weights.std() / weights.mean() / np.sqrt(500), rtol=1e-10)


def test_log_evidence_of_tiny_weights():
    estimate, error = log_evidence(jnp.asarray(log_weights() - 5000, jnp.float32))
    expected = special.logsumexp(log_weights()) - np.log(500) - 5000
    np.testing.assert_allclose(estimate, expected, rtol=1e-6)
    assert np.isfinite(error)


def test_the_standard_error_is_the_spread_of_estimates(x64):
    """Over many repetitions the estimates vary as much as each says, within a tenth."""
    many = np.random.default_rng(0).normal(0, 0.8, (4000, 200))
    estimates, errors = jax.vmap(log_evidence)(jnp.asarray(many))
    np.testing.assert_allclose(np.std(estimates), np.mean(errors), rtol=0.1)


@pytest.mark.parametrize("n", [100, 1000, 5000])
@pytest.mark.parametrize("spread", [0.3, 1.0, 3.0])
def test_pareto_k_is_arvizs(n, spread, x64):
    weights = log_weights(n, spread)
    _, expected = array_stats.psislw(-weights)
    np.testing.assert_allclose(pareto_k(jnp.asarray(weights)), expected, atol=0.02)


@pytest.mark.parametrize("shape", [0.2, 0.5, 1.0])
def test_pareto_k_finds_the_shape_of_pareto_weights(shape):
    """Within five standard errors (1 + k) / sqrt(tail) of the maximum likelihood estimate."""
    n = 20_000
    weights = stats.genpareto.rvs(shape, size=n, random_state=3)
    error = (1 + shape) / np.sqrt(3 * np.sqrt(n))
    got = float(pareto_k(jnp.asarray(np.log(weights), jnp.float32)))
    assert abs(got - shape) < 5 * error


def test_pareto_k_does_not_depend_on_the_size_of_weights(x64):
    weights = jnp.asarray(log_weights(1000))
    np.testing.assert_allclose(pareto_k(weights - 3000), pareto_k(weights), rtol=1e-8)


def test_pareto_k_of_few_or_equal_weights():
    assert np.isnan(pareto_k(jnp.zeros(20)))
    assert np.isneginf(pareto_k(jnp.zeros(1000)))
