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

from gmm_jax._numerics import normal, uniform
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


ScalePrior = IndependentGamma | IndependentGammaAbove | IndependentInverseGamma


@pytree
class LogScales:
    """The density g(u) of log scales, means integrated out."""

    count: Float[Array, "k ..."]
    average: Float[Array, "k ..."]
    reference: Float[Array, "k ..."]
    """Log of the root mean square about the average, or of the floor."""
    spring: Float[Array, "k ..."]
    """The mean square over that of `reference`."""
    mean_prior: IndependentNormal
    scale_prior: ScalePrior

    def __call__(self, u: Float[Array, "k ... s"]) -> Float[Array, "k ... s"]:
        """g(u), with the large terms taken about their peak so that they do not cancel."""
        u = jnp.moveaxis(u, -1, 0)
        offset = u - self.reference
        fit = -self.count * (offset + 0.5 * self.spring * jnp.expm1(-2 * offset))
        scale = jnp.exp(u)
        total = scale**2 + self.count * self.mean_prior.scale**2
        distance = self.count * (self.average - self.mean_prior.mean) ** 2
        pull = u - 0.5 * jnp.log(total) - 0.5 * distance / total
        return jnp.moveaxis(fit + pull + _log_prior(self.scale_prior, u, scale), 0, -1)

    def means(self, scales: Float[Array, "..."]) -> IndependentNormal:
        """The distribution of means given scales."""
        trust = (scales / self.mean_prior.scale) ** 2
        total = self.count + trust
        centre = (self.count * self.average + trust * self.mean_prior.mean) / total
        return IndependentNormal(centre, scales / jnp.sqrt(total))


@pytree
class MeanAndScale:
    """Independent (mean, scale) pairs with a tabulated density of the log scale."""

    log_scales: Table

    def sample(self, key: Array) -> tuple[Float[Array, "k ..."], Float[Array, "k ..."]]:
        """Draw means and scales."""
        uniforms = uniform(key, (2, *self.log_scales.low.shape), self.log_scales.low.dtype)
        return self._with_means(jnp.exp(self.log_scales.quantile(uniforms[0])), uniforms[1])

    def redraw(
        self, key: Array, scales: Float[Array, "k ..."], held: Any = False
    ) -> tuple[Float[Array, "k ..."], Float[Array, "k ..."]]:
        """Draw means and scales where chains stand at `scales`; those `held` stay."""
        uniforms = uniform(key, (3, *scales.shape), scales.dtype)
        drawn = jnp.exp(self.log_scales.redraw(jnp.log(scales), uniforms[:2]))
        return self._with_means(jnp.where(held, scales, drawn), uniforms[2])

    def _with_means(self, scales: Array, uniform: Array) -> tuple[Array, Array]:
        means = self.log_scales.density.means(scales)
        return means.mean + means.scale * normal(uniform), scales

    def log_prob_matched(
        self, means: Float[Array, "k ..."], scales: Float[Array, "k ..."]
    ) -> Float[Array, "k k"]:
        """Log density of every pair (column) in the place of every other (row)."""
        k = means.shape[0]
        place = jax.tree.map(lambda a: a[:, None], self.log_scales.density)
        given = place.means(scales)
        log_mean = given.log_prob_each(jnp.broadcast_to(means, given.mean.shape))
        log_scales = jnp.log(scales)
        terms = self.log_scales.log_prob_matched(log_scales) - log_scales + log_mean
        return terms.reshape(k, k, -1).sum(-1)


def mean_and_scale(
    count: Float[Array, "k ..."],
    average: Float[Array, "k ..."],
    squares: Float[Array, "k ..."],
    mean_prior: IndependentNormal,
    scale_prior: ScalePrior,
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
    density = LogScales(count, average, 0.5 * jnp.log(reference), spring, mean_prior, scale_prior)
    typical, tail = _typical_and_tail(scale_prior)
    lowest = jnp.full(average.shape, jnp.log(floor), dtype)
    highest = jnp.maximum(jnp.maximum(typical, density.reference), lowest) + tail
    return MeanAndScale(Table.of(density, lowest, highest))


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
    conditional = certain.given(components, statistics, floor)
    drawn = conditional.redraw(key, components, held.scales)
    means = jnp.where(held.means, components.means, drawn.means)
    return rebuild(Normal, means=means, scales=drawn.scales)
