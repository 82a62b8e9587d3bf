"""Averages over posterior draws of mixtures."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int

from gmm_jax._numerics import categorical, log_sum_exp
from gmm_jax.mixture import Mixture


@jax.jit
def mean_log_joint(draws: Mixture, points: Array) -> tuple[Float[Array, "n k"], Float[Array, "n"]]:
    """Log of the mean, over draws, of weight times density; a block of draws at a time.

    Also how many draws the mean of the density is worth at each point, (sum p)^2 / sum p^2.
    """
    n_draws, k = draws.weights.shape
    block = min(max(1, 2**22 // (points.shape[0] * k)), n_draws)
    nothing = jnp.full((points.shape[0], k), -jnp.inf, points.dtype)
    none = nothing[:, 0]

    def add(i, sums):
        total, squares = sums
        index = jnp.minimum(i * block + jnp.arange(block), n_draws - 1)
        log_joint = jax.vmap(lambda m: m.log_joint(points))(jax.tree.map(lambda a: a[index], draws))
        new = (i * block + jnp.arange(block) < n_draws)[:, None, None]
        log_joint = jnp.where(new, log_joint, -jnp.inf)
        log_squares = log_sum_exp(2 * log_sum_exp(log_joint, -1), 0)
        return (
            jnp.logaddexp(total, log_sum_exp(log_joint, 0)),
            jnp.logaddexp(squares, log_squares),
        )

    total, squares = jax.lax.fori_loop(0, -(-n_draws // block), add, (nothing, none))
    effective = jnp.exp(2 * log_sum_exp(total, -1) - squares)
    return total - math.log(n_draws), effective


@jax.jit
def log_density(draws: Mixture, points: Array) -> Float[Array, "s n"]:
    return jax.lax.map(lambda mixture: mixture.log_prob(points), draws, batch_size=64)


@jax.jit
def log_prior(prior: Any, draws: Mixture) -> Float[Array, "s"]:
    return jax.vmap(prior.log_prob)(draws)


@jax.jit
def number_occupied(key: Array, draws: Mixture, points: Array, real: Array) -> Int[Array, "s"]:
    """How many components points are assigned to, in one draw of the assignments a mixture."""
    n_draws, k = draws.weights.shape
    uniforms = jax.random.uniform(key, (n_draws, points.shape[0]), points.dtype)

    def count(mixture, uniform):
        assignments = categorical(uniform, mixture.log_joint(points))
        held = (assignments[:, None] == jnp.arange(k)) & real[:, None]
        return held.any(0).sum()

    return jax.vmap(count)(draws, uniforms)
