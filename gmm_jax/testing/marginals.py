"""Marginal likelihoods of groups of points: parameters integrated out, exactly.

Where the conditional of the parameters is a density in closed form, Bayes' rule at any parameters
gives log p(group) = log prior + log likelihood - log conditional. It is taken at two of them, which
agree only if the conditional is right. Under `NormalGamma` the mean integrates out in closed form
and the log of the standard deviation on a grid.
"""

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float

from gmm_jax.priors.normal_gamma import NormalGamma
from gmm_jax.priors.products import ProductPrior
from gmm_jax.testing.quantities import quick

DEPTH = 45.0
"""Where the log integrand lies more than this below its peak it is left out."""
WIDEST = 0.1
"""Widest cell, in units of the log scale."""
BLOCK = 512
"""How many groups are integrated at once."""
FEW = 2**12
"""For up to so many groups the optimiser takes longer than it saves."""


def log_marginals(
    prior: Any, points: Float[np.ndarray, "n ..."], groups: Bool[np.ndarray, "g n"], k: int
) -> Float[np.ndarray, "g k"]:
    """Log density of every group of points if it is all that one component has produced.

    Args:
        prior: Of k components, with every hyperparameter written out, in float64.
        points: n points, float64.
        groups: Which points belong to each.
        k: Number of components; exchangeable ones are computed once.

    Raises:
        ValueError: the integral is infinite, or the conditional of the prior is not exact.
    """
    if isinstance(prior, ProductPrior):
        pairs = zip(prior.parts, prior.columns, strict=True)
        parts = [
            log_marginals(part, points[:, columns if isinstance(columns, int) else list(columns)],
                          groups, k)
            for part, columns in pairs
        ]  # fmt: skip
        return np.sum(parts, axis=0)
    if not isinstance(prior, NormalGamma):
        return _by_bayes(prior, points, groups)
    if prior.least_scale is not None:
        raise ValueError("exact takes no least_scale: leave it out of the prior.")
    columns = points.reshape(len(points), -1)
    total = np.zeros((len(groups), k))
    for j in range(k):
        names = ("mean", "mean_scale", "shape", "rate")
        own = np.stack([np.asarray(getattr(prior, name)).reshape(k, -1)[j] for name in names])
        if j and prior.exchangeable:
            total[:, j] = total[:, 0]
            continue
        for x, hyperparameters in zip(columns.T, own.T, strict=True):
            total[:, j] += _by_quadrature(x, groups, *hyperparameters)
    return total


def _by_bayes(prior: Any, points: np.ndarray, groups: np.ndarray) -> np.ndarray:
    with jax.enable_x64(True):
        prior = jax.tree.map(jnp.asarray, prior)
        compiled = quick(_bayes) if len(groups) <= FEW else jax.jit(_bayes)
        first, second = np.asarray(compiled(prior, jnp.asarray(points), jnp.asarray(groups)))
    if not np.isfinite(first).all():
        raise ValueError(
            f"{type(prior).__name__} gives some of these points no density: check that data and "
            "prior speak of the same unit, and of the same categories."
        )
    if not np.allclose(first, second, rtol=1e-7, atol=1e-6):
        raise ValueError(
            f"exact needs a prior whose `given` is the exact conditional, with its density, but by "
            f"that of {type(prior).__name__} a marginal likelihood depends on the parameters at "
            f"which it is taken, by up to {np.abs(first - second).max():.2g} nats."
        )
    return first


def _bayes(
    prior: Any, points: Float[Array, "n ..."], groups: Bool[Array, "g n"]
) -> Float[Array, "2 g k"]:
    start_key, two_keys = jax.random.split(jax.random.key(0))
    floor = jnp.zeros(())
    start = prior.sample(start_key)

    def conditional(components, group):
        shares = jnp.broadcast_to(group[:, None], (len(group), components.n_components))
        statistics = components.statistics(points, shares.astype(points.dtype))
        return prior.given(components, statistics, floor)

    def one(group):
        def at(key):
            # Parameters that the group itself makes likely, and statistics taken there.
            components = conditional(start, group).sample(key)
            after = jnp.diagonal(conditional(components, group).log_prob_matched(components))
            before = jnp.diagonal(prior.log_prob_matched(components))
            likelihood = jnp.where(group[:, None], components.log_prob(points), 0).sum(0)
            return before + likelihood - after

        return jax.vmap(at)(jax.random.split(two_keys))

    return jnp.moveaxis(jax.lax.map(one, groups, batch_size=1024), 0, 1)


def _by_quadrature(
    x: Float[np.ndarray, "n"],
    groups: Bool[np.ndarray, "g n"],
    mean: float,
    mean_scale: float,
    shape: float,
    rate: float,
) -> Float[np.ndarray, "g"]:
    """Integrate normal likelihoods over mean ~ Normal and standard deviation ~ Gamma."""
    count = groups.sum(1)
    _, same = np.unique(x, return_counts=True)
    if same.max() >= shape + 1:
        raise ValueError(
            f"the evidence is infinite: {same.max()} values are equal, and a prior of standard "
            f"deviations with shape {shape:g} lets a component shrink onto {math.ceil(shape + 1)} "
            "or more. Pass a larger shape, or NormalInverseGamma."
        )
    average = groups @ x / np.maximum(count, 1)
    deviations = np.where(groups, x - average[:, None], 0)
    varied = np.ptp(np.where(groups, x, x[np.argmax(groups, 1)][:, None]), axis=1) > 0
    squares = np.where(varied, (deviations**2).sum(1), 0)
    constant = shape * np.log(rate) - math.lgamma(shape) - count / 2 * np.log(2 * np.pi)

    def log_density(rows, u):
        """Of the log scale and the group, up to `constant`."""
        n, variance = count[rows, None], np.exp(2 * u)
        spread = n * mean_scale**2
        return (
            shape * u - rate * np.exp(u) - n * u - squares[rows, None] / (2 * variance)
            - np.log1p(spread / variance) / 2
            - n * (average[rows, None] - mean) ** 2 / (2 * (variance + spread))
        )  # fmt: skip

    # Beyond these ends the density only falls: doubly exponentially, but for groups of equal
    # values, where exp(fall u) is left of it.
    fall = np.where(varied, 1, shape - np.maximum(count - 1, 0))
    tail = min(np.log(shape / rate), np.log(mean_scale)) - 2 - 60 / fall
    spread = np.log(np.where(varied, squares / np.maximum(count, 1), 1)) / 2
    low = np.where(varied, spread - 4, tail)
    high = np.maximum(np.log((shape + 12 * np.sqrt(shape) + 60) / rate), low + 8)
    blocks = np.split(np.arange(len(groups)), range(BLOCK, len(groups), BLOCK))
    integrals = [_log_integral(partial(log_density, i), low[i], high[i]) for i in blocks]
    return np.where(count > 0, np.concatenate(integrals) + constant, 0.0)


def _log_integral(log_density: Any, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Log integrals, a row each, by the trapezoidal rule where the integrand matters.

    For smooth integrands that vanish at both ends its error falls exponentially in the number of
    cells.
    """
    rows = np.arange(len(low))
    for size in (512, 128, 128):
        u = np.linspace(low, high, size, axis=1)
        values = log_density(u)
        inside = values > values.max(1, keepdims=True) - DEPTH
        first, last = np.argmax(inside, 1), size - 1 - np.argmax(inside[:, ::-1], 1)
        low = u[rows, np.maximum(first - 1, 0)]
        high = u[rows, np.minimum(last + 1, size - 1)]
    size = int(np.clip((high - low).max() / WIDEST, 256, 2**15))
    u = np.linspace(low, high, size, axis=1)
    values = log_density(u)
    peak = values.max(1)
    return peak + np.log(np.exp(values - peak[:, None]).sum(1) * (u[:, 1] - u[:, 0]))
