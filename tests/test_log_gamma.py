"""Draws of gamma variables, in logs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from gmm_jax._numerics import log_gamma

SHAPES = (0.02, 0.5, 1.0, 1.7, 30.0, 1e5)


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_draws_follow_the_gamma(precision, x64):
    shapes = jnp.broadcast_to(jnp.asarray(SHAPES, precision), (20_000, len(SHAPES)))
    draws = log_gamma(jax.random.key(0), shapes)
    assert draws.dtype == precision
    for shape, own in zip(SHAPES, np.asarray(draws, np.float64).T, strict=True):
        assert stats.kstest(own, stats.loggamma(shape).cdf).pvalue > 1e-3, shape


def test_entries_are_independent():
    """Those that need another proposal are not told apart by it."""
    draws = np.asarray(log_gamma(jax.random.key(0), jnp.full((50_000, 2), 0.7)))
    assert abs(np.corrcoef(draws.T)[0, 1]) < 4 / 50_000**0.5


def test_each_key_of_a_batch_draws_what_it_draws_alone():
    keys, shapes = jax.random.split(jax.random.key(0), 40), jnp.array([0.3, 2.0])
    together = jax.vmap(lambda key: log_gamma(key, shapes))(keys)
    alone = jnp.stack([log_gamma(key, shapes) for key in keys])
    np.testing.assert_allclose(together, alone, rtol=1e-5)


def test_what_is_no_shape_gives_nan_and_ends():
    draws = log_gamma(jax.random.key(0), jnp.array([jnp.nan, -1.0, jnp.inf, 2.0]))
    assert np.isnan(draws).tolist() == [True, True, True, False]


@pytest.mark.slow
def test_a_proposal_on_the_edge_of_acceptance_is_drawn_or_not():
    """Of many millions, some are accepted or not depending on how the test is rounded."""
    shape = jnp.full((256,), 4.0)

    def draw(found, key):
        return found | jnp.isnan(log_gamma(key, shape)).any(), None

    keys = jax.random.split(jax.random.key(1), 500_000)
    assert not jax.jit(lambda keys: jax.lax.scan(draw, False, keys)[0])(keys)
