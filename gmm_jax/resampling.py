"""Equally weighted particles in place of weighted ones."""

import functools

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int


@functools.partial(jax.jit, static_argnames=("n_draws",))
def systematic(
    key: Array, log_importance_weights: Float[Array, "p"], n_draws: int
) -> Int[Array, "s"]:
    """Pick particles with one uniform number and equal steps.

    Every particle is picked its expected number of times, rounded up or down. The index is
    clipped, since in float32 the last step can round past the end.
    """
    weights = jax.nn.softmax(log_importance_weights)
    cumulative = jnp.cumsum(weights)
    positions = (jnp.arange(n_draws) + jax.random.uniform(key, (), weights.dtype)) / n_draws
    indices = jnp.searchsorted(cumulative, positions * cumulative[-1], side="right")
    # Past the end lies the last particle of positive weight, not simply the last one.
    last = weights.shape[0] - 1 - jnp.argmax(weights[::-1] > 0)
    return jnp.minimum(indices, last)
