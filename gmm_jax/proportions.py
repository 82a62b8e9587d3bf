"""Shares of known components: the concave problem of fitting weights alone, solved exactly."""

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

STEPS = 60


@jax.jit
def maximise(
    log_densities: Float[Array, "n k"], sample_weight: Float[Array, "n"]
) -> Float[Array, "k"]:
    """Find the weights w of maximum likelihood, sum_i c_i log sum_k w_k p_k(x_i).

    EM needs ever more steps when a weight is headed for zero; a primal-dual interior point method
    reaches the optimum to rounding in a few dozen Newton steps. It minimises
    sum_k w_k - sum_i c_i log(A w)_i / sum_i c_i over w >= 0, whose solution sums to one [1].

    Args:
        log_densities: Log density of each point under each component.
        sample_weight: c, how often each point counts.

    Returns:
        k weights. Weights that can be zero at no loss are zero.

    [1] Koenker and Mizera (2014), "Convex optimization, shape constraints, compound decisions,
        and empirical Bayes rules".
    """
    dtype = log_densities.dtype
    eps = jnp.finfo(dtype).eps
    k = log_densities.shape[1]
    largest = jnp.max(log_densities, axis=1, keepdims=True)
    densities = jnp.exp(log_densities - jnp.where(jnp.isfinite(largest), largest, 0))
    share = sample_weight / sample_weight.sum()

    def newton(_, state):
        weights, slack = state
        ratios = densities / (densities @ weights)[:, None]
        gradient = 1 - share @ ratios
        hessian = jnp.matmul(ratios.T * share, ratios, precision="highest")
        target = 0.1 * (weights @ slack) / k
        matrix = hessian + jnp.diag(slack / weights)
        # Scaled to a unit diagonal, which keeps float32 steps accurate next to the boundary.
        unit = jax.lax.rsqrt(jnp.diagonal(matrix))
        scaled = matrix * unit[:, None] * unit
        move = unit * jax.scipy.linalg.solve(
            scaled, unit * (target / weights - gradient), assume_a="pos"
        )
        slack_move = target / weights - slack - slack / weights * move
        step, slack_step = _inside(weights, move), _inside(slack, slack_move)
        moved = (weights + step * move, slack + slack_step * slack_move)
        finite = jnp.all(jnp.isfinite(moved[0])) & jnp.all(jnp.isfinite(moved[1]))
        unfinished = (weights @ slack > eps**1.5) & finite
        return jax.tree.map(lambda new, old: jnp.where(unfinished, new, old), moved, state)

    start = jnp.full(k, 1 / k, dtype), jnp.full(k, 1, dtype)
    weights, _ = jax.lax.fori_loop(0, STEPS, newton, start)
    weights = weights / weights.sum()

    # A small weight is zero if the likelihood would not rise by giving it back.
    dropped = weights < 10 * jnp.sqrt(eps)
    sparse = jnp.where(dropped, 0, weights)
    sparse = sparse / sparse.sum()
    rise = share @ (densities / jnp.maximum(densities @ sparse, jnp.finfo(dtype).tiny)[:, None])
    optimal = jnp.all(jnp.where(dropped, rise, 1) <= 1 + 8 * eps)
    return jnp.where(optimal, sparse, weights)


def _inside(values: Array, move: Array) -> Array:
    """The longest step, at most 1, along which positive values stay positive."""
    limit = jnp.where(move < 0, -values / jnp.where(move < 0, move, -1), jnp.inf)
    return jnp.minimum(1, 0.99 * limit.min())
