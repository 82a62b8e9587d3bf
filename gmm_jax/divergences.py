"""Kullback-Leibler divergences between two distributions of one kind, KL(q || p), in nats.

They are written so that nothing large cancels: of n points they come to a multiple of log n, though
n log n is in the textbook's terms.
"""

import jax.numpy as jnp
from jax import Array
from jax.scipy.special import digamma, gammaln
from jaxtyping import Float

LARGE = 12.0
"""From here on Stirling's series is as good as the functions."""


def dirichlet(q: Float[Array, "... c"], p: Float[Array, "... c"]) -> Float[Array, "..."]:
    """Between Dirichlets of these concentrations."""
    total, least = q.sum(-1), p.sum(-1)
    apart = _excess(q) - p * digamma(q) + gammaln(p)
    return apart.sum(-1) - _excess(total) + least * digamma(total) - gammaln(least)


def gamma(
    shape: Float[Array, "..."],
    rate: Float[Array, "..."],
    p_shape: Float[Array, "..."],
    p_rate: Float[Array, "..."],
) -> Float[Array, "..."]:
    """Between gammas, and so between inverse gammas, of these shapes and rates."""
    rates = p_shape * jnp.log(rate / p_rate) + shape * p_rate / rate
    return _excess(shape) - p_shape * digamma(shape) + gammaln(p_shape) + rates


def inverse_wishart(
    df: Float[Array, "..."],
    p_df: Float[Array, "..."],
    log_ratio: Float[Array, "..."],
    trace: Float[Array, "..."],
    d: int,
) -> Float[Array, "..."]:
    """Between inverse Wisharts of d dimensions.

    Args:
        df: Degrees of freedom of q.
        p_df: Of p.
        log_ratio: Log determinant of the scale matrix of q, less that of p.
        trace: Of the scale matrix of p times the inverse of that of q.
        d: Dimensions.
    """
    lower = jnp.arange(d) / 2
    half, p_half = df[..., None] / 2, p_df[..., None] / 2
    each = _excess(half - lower) + (lower - p_half) * digamma(half - lower)
    each = each + gammaln(p_half - lower)
    return each.sum(-1) - d * (d - 1) / 4 + (p_df * log_ratio + df * trace) / 2


def _excess(a: Array) -> Array:
    """a digamma(a) - log gamma(a) - a, written so that nothing cancels."""
    small = jnp.minimum(a, LARGE)
    direct = small * digamma(small) - gammaln(small) - small
    large = jnp.maximum(a, LARGE)
    series = (jnp.log(large / (2 * jnp.pi)) - 1) / 2 - 1 / (6 * large) + 1 / (90 * large**3)
    series = series - 1 / (210 * large**5) + 1 / (210 * large**7)
    return jnp.where(a < LARGE, direct, series)
