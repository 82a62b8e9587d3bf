"""Arithmetic that stays finite where the textbook formula does not."""

import jax.numpy as jnp
from jax import Array


def safe_log(x: Array) -> Array:
    """Log of x >= 0 that is minus infinity at 0 and whose gradient there is 0, not NaN."""
    above = x > 0
    return jnp.where(above, jnp.log(jnp.where(above, x, 1)), -jnp.inf)


def log_sum_exp(x: Array, axis: int) -> Array:
    """log sum exp over one axis; minus infinity, with gradient 0, where every term is."""
    largest = jnp.max(x, axis=axis, keepdims=True)
    largest = jnp.where(jnp.isfinite(largest), largest, 0)
    total = jnp.sum(jnp.exp(x - largest), axis=axis)
    return safe_log(total) + jnp.squeeze(largest, axis)
