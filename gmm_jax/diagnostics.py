"""How far a weighted sample can be trusted."""

import math

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int

from gmm_jax._numerics import log_sum_exp


def effective_sample_size(log_importance_weights: Float[Array, "s"]) -> Float[Array, ""]:
    """(sum w)^2 / sum w^2: how many equally weighted draws would say as much (Kong 1992)."""
    weights = log_importance_weights
    return jnp.exp(2 * log_sum_exp(weights, -1) - log_sum_exp(2 * weights, -1))


LAST_PLACES = 16
"""A log weight is right to so many units in the last place."""


def log_evidence(
    log_importance_weights: Float[Array, "s"],
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Log of the mean weight, and its standard error by the delta method, rounding included."""
    size = log_importance_weights.shape[0]
    estimate = log_sum_exp(log_importance_weights, -1) - math.log(size)
    relative = jnp.exp(log_importance_weights - estimate)
    rounding = LAST_PLACES * jnp.finfo(estimate.dtype).eps * jnp.abs(estimate)
    return estimate, jnp.hypot(jnp.std(relative) / math.sqrt(size), rounding)


TRUSTED = 0.7
"""The greatest Pareto k at which weights, and draws of variational inference, are trusted [1].

[1] Yao, Vehtari, Simpson and Gelman (2018), "Yes, but did it work?: Evaluating variational
    inference".
"""


def pareto_k(log_importance_weights: Float[Array, "s"]) -> Float[Array, ""]:
    """Shape of the generalised Pareto distribution that fits the largest weights.

    Above 0.7 the largest weights rule the estimate and its standard error means little. Weakly
    regularised towards 0.5, as for Pareto smoothed importance sampling [1]; the fit is the
    empirical Bayes estimate of [2].

    Returns:
        k-hat; minus infinity where the largest weights are all equal, NaN for fewer than 25.

    [1] Vehtari, Simpson, Gelman, Yao and Gabry (2024), "Pareto smoothed importance sampling".
    [2] Zhang and Stephens (2009), "A new and efficient estimation method for the generalized
        Pareto distribution".
    """
    size = log_importance_weights.shape[0]
    tail = int(min(size / 5, 3 * math.sqrt(size)))
    if tail < 5:
        return jnp.full((), jnp.nan, log_importance_weights.dtype)
    largest = jnp.sort(log_importance_weights)[-tail - 1 :]
    weights = jnp.exp(largest - largest[-1])
    excess = weights[1:] - weights[0]

    n_trials = 30 + int(math.sqrt(tail))
    quartile = excess[int(tail / 4 + 0.5) - 1]
    trials = 1 - jnp.sqrt(n_trials / (jnp.arange(n_trials) + 0.5))
    trials = 1 / excess[-1] + trials / (3 * quartile)
    shapes = jnp.log1p(-trials[:, None] * excess).mean(-1)
    profile = tail * (jnp.log(-trials / shapes) - shapes - 1)
    trial = (jax.nn.softmax(profile) * trials).sum()
    shape = jnp.log1p(-trial * excess).mean()
    shape = (tail * shape + 10 * 0.5) / (tail + 10)
    return jnp.where(excess[-1] > 0, shape, -jnp.inf)


FEW_FAMILIES = 10


def effective_among_families(
    values: Float[Array, "s m"], families: Int[Array, "s"]
) -> Float[Array, "m"]:
    """How many independent draws would tell the mean of each column as well; at most s.

    Draws of one family depend on each other, as far as their common origin still shows: the
    variance of a mean is the sum over families of (sum of deviations)^2 / s^2. Few families can't
    tell how much they differ, a single one not at all, since deviations sum to zero; so, where s^2
    over the sum of their squared sizes is below 10, draws are worth no more than that.
    """
    size = values.shape[0]
    off = values - values.mean(0)
    _, rank, sizes = jnp.unique(families, return_inverse=True, return_counts=True, size=size)
    n_families = size**2 / jnp.sum(sizes.astype(values.dtype) ** 2)
    most = jnp.where(n_families < FEW_FAMILIES, n_families, size)
    by_family = jnp.zeros_like(off).at[rank].add(off)
    within, between = (off**2).sum(0), (by_family**2).sum(0)
    ratio = within / jnp.where(between > 0, between, 1)
    return jnp.minimum(jnp.where(between > 0, size * ratio, size), most)
