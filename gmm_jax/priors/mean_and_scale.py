"""The conditional of a normal's mean and standard deviation under normal and gamma priors.

With n points of average a and squares S about it, a prior Normal(m, t) on the mean and
Gamma(shape, rate) on the standard deviation s, the mean integrates out in closed form and leaves,
for u = log s, the density

    g(u) = shape u - rate e^u - n u - S e^(-2u) / 2
           - log(1 + n t^2 e^(-2u)) / 2 - n (a - m)^2 / (2 (e^(2u) + n t^2)),

which is tabulated where it matters; the mean given s is normal. Under InverseGamma(shape, rate) on
the variance the first two terms are -2 shape u - rate e^(-2u). So the draw costs the same for ten
points and ten million, and without points it is a draw from the prior.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from gmm_jax._pytree import pytree, rebuild
from gmm_jax.distributions import (
    IndependentGamma,
    IndependentGammaAbove,
    IndependentInverseGamma,
    IndependentNormal,
)
from gmm_jax.families import Normal
from gmm_jax.families.normal import Moments
from gmm_jax.priors.tables import Table

NO_ROOM = 1e-9
"""Standard deviation, in the unit of the data, of a mean that is held."""


@pytree
class MeanAndScale:
    """Independent (mean, scale) pairs with a tabulated density of the log scale."""

    log_scales: Table
    count: Float[Array, "k ..."]
    average: Float[Array, "k ..."]
    mean_prior: IndependentNormal

    def sample(
        self, key: Array, known: Float[Array, "k ..."] | None = None
    ) -> tuple[Float[Array, "k ..."], Float[Array, "k ..."]]:
        """Draw means and scales, or means given the scales that are `known` and not NaN."""
        scales_key, means_key = jax.random.split(key)
        scales = jnp.exp(self.log_scales.sample(scales_key))
        if known is not None:
            scales = jnp.where(jnp.isnan(known), scales, known)
        means = _mean_given_scale(self.count, self.average, self.mean_prior, scales)
        return means.sample(means_key), scales

    def log_prob_matched(
        self, means: Float[Array, "k ..."], scales: Float[Array, "k ..."]
    ) -> Float[Array, "k k"]:
        """Log density of every pair (column) in the place of every other (row)."""
        k = means.shape[0]
        place = jax.tree.map(lambda a: a[:, None], self)
        given = _mean_given_scale(place.count, place.average, place.mean_prior, scales)
        log_mean = given.log_prob_each(jnp.broadcast_to(means, given.mean.shape))
        log_scales = jnp.log(scales)
        terms = self.log_scales.log_prob_matched(log_scales) - log_scales + log_mean
        return terms.reshape(k, k, -1).sum(-1)


def mean_and_scale(
    count: Float[Array, "k ..."],
    average: Float[Array, "k ..."],
    squares: Float[Array, "k ..."],
    mean_prior: IndependentNormal,
    scale_prior: IndependentGamma | IndependentGammaAbove | IndependentInverseGamma,
    floor: Float[Array, "..."],
) -> MeanAndScale:
    """Tabulate the conditional of means and scales.

    Args:
        count: Points, or sums of weights, per entry.
        average: Their average.
        squares: Their squared deviations from it, summed.
        mean_prior: Prior of the means.
        scale_prior: Prior of the scales; if an inverse gamma, of their squares.
        floor: Scales below are left out; it keeps the conditional of equal points proper. One for
            all, or one per entry.
    """
    dtype = average.dtype
    tiny = jnp.finfo(dtype).tiny
    reference = jnp.maximum(squares / jnp.maximum(count, 1), floor**2)
    spring = squares / jnp.maximum(count * reference, tiny)
    reference = 0.5 * jnp.log(reference)
    prior_variance = count * mean_prior.scale**2
    distance = count * (average - mean_prior.mean) ** 2

    def log_density(u):
        """g(u), with the large terms taken about their peak so that they do not cancel."""
        u = jnp.moveaxis(u, -1, 0)
        offset = u - reference
        fit = -count * (offset + 0.5 * spring * jnp.expm1(-2 * offset))
        scale = jnp.exp(u)
        total = scale**2 + prior_variance
        pull = u - 0.5 * jnp.log(total) - 0.5 * distance / total
        return jnp.moveaxis(fit + pull + _log_prior(scale_prior, u, scale), 0, -1)

    typical, tail = _typical_and_tail(scale_prior)
    lowest = jnp.full(average.shape, jnp.log(floor), dtype)
    highest = jnp.maximum(jnp.maximum(typical, reference), lowest) + tail

    table = Table.of(log_density, lowest, highest)
    return MeanAndScale(table, count, average, mean_prior)


def _log_prior(scale_prior, u, scale):
    """Log density of u, the log of the scale, up to a constant."""
    if isinstance(scale_prior, IndependentInverseGamma):
        return -2 * scale_prior.shape * u - scale_prior.rate / scale**2
    return scale_prior.shape * u - scale_prior.rate * scale


def _typical_and_tail(scale_prior):
    """Where the log scale is without data, and how far above that it may be."""
    if isinstance(scale_prior, IndependentInverseGamma):
        return jnp.log(scale_prior.rate / scale_prior.shape) / 2, 6 + 12 / scale_prior.shape
    return jnp.log(scale_prior.shape / scale_prior.rate), 6


def _mean_given_scale(count, average, mean_prior, scales):
    """The normal conditional of the mean."""
    trust = (scales / mean_prior.scale) ** 2
    centre = (count * average + trust * mean_prior.mean) / (count + trust)
    return IndependentNormal(centre, scales / jnp.sqrt(count + trust))


def draw_unheld(
    self: Any,
    key: Array,
    components: Normal,
    statistics: Moments,
    floor: Float[Array, ""],
    held: Normal,
) -> Normal:
    """Scales given the means that are held, then means given scales.

    A mean that is held is one whose prior leaves it no room.
    """
    mean = jnp.where(held.means, components.means, self.mean)
    mean_scale = jnp.where(held.means, NO_ROOM, self.mean_scale)
    certain = self._with({"mean": mean, "mean_scale": mean_scale})
    known = jnp.where(held.scales, components.scales, jnp.nan)
    drawn = certain.given(components, statistics, floor).sample(key, known)
    means = jnp.where(held.means, components.means, drawn.means)
    return rebuild(Normal, means=means, scales=drawn.scales)
