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

NO_ROOM = 1e-9
"""Standard deviation, in the unit of the data, of a mean that is held."""
CELLS = 128
COARSE = 32
ZOOMS = 5
"""Times that the window is narrowed to where the density is, on a grid of `COARSE` cells."""
DEPTH = 25.0
"""Where the log density lies more than this below its peak, there is no cell."""


@pytree
class MeanAndScale:
    """Independent (mean, scale) pairs with a piecewise constant density of the log scale."""

    low: Float[Array, "k ..."]
    width: Float[Array, "k ..."]
    log_mass: Float[Array, "k ... cells"]
    count: Float[Array, "k ..."]
    average: Float[Array, "k ..."]
    mean_prior: IndependentNormal

    def sample(
        self, key: Array, known: Float[Array, "k ..."] | None = None
    ) -> tuple[Float[Array, "k ..."], Float[Array, "k ..."]]:
        """Draw means and scales, or means given the scales that are `known` and not NaN."""
        dtype = self.low.dtype
        uniforms = jax.random.uniform(key, (2, *self.low.shape), dtype)
        cumulative = jnp.cumsum(jnp.exp(self.log_mass), -1)
        level = (uniforms[0] * cumulative[..., -1])[..., None]
        below = cumulative <= level
        cell = jnp.minimum(below.sum(-1), CELLS - 1)
        reached = jnp.max(jnp.where(below, cumulative, 0), -1)
        mass = jnp.maximum(jnp.min(jnp.where(below, jnp.inf, cumulative), -1) - reached, 1e-30)
        within = jnp.clip((level[..., 0] - reached) / mass, 0, 1 - jnp.finfo(dtype).eps)
        scales = jnp.exp(self.low + (cell + within) * self.width)
        if known is not None:
            scales = jnp.where(jnp.isnan(known), scales, known)
        centre, spread = _mean_given_scale(self.count, self.average, self.mean_prior, scales)
        normals = jax.scipy.special.ndtri(jnp.maximum(uniforms[1], jnp.finfo(dtype).eps / 4))
        return centre + spread * normals, scales

    def log_prob_matched(
        self, means: Float[Array, "k ..."], scales: Float[Array, "k ..."]
    ) -> Float[Array, "k k"]:
        """Log density of every pair (column) in the place of every other (row)."""
        k = means.shape[0]
        place = jax.tree.map(lambda a: a[:, None], self)
        position = (jnp.log(scales) - place.low) / place.width
        cell = jnp.clip(jnp.floor(position).astype(int), 0, CELLS - 1)
        table = self.log_mass.reshape(-1, CELLS)
        entry = jnp.arange(table.shape[0]).reshape(place.low.shape)
        mass = table[entry, cell]
        mass = jnp.where((position >= 0) & (position < CELLS), mass, -jnp.inf)
        centre, spread = _mean_given_scale(place.count, place.average, place.mean_prior, scales)
        standardised = (means - centre) / spread
        log_mean = -0.5 * standardised**2 - jnp.log(spread) - 0.5 * jnp.log(2 * jnp.pi)
        terms = mass - jnp.log(place.width) - jnp.log(scales) + log_mean
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
        variance = jnp.exp(2 * u)
        total = variance + prior_variance
        pull = u - 0.5 * jnp.log(total) - 0.5 * distance / total
        return jnp.moveaxis(fit + pull + _log_prior(scale_prior, u), 0, -1)

    typical, tail = _typical_and_tail(scale_prior)
    lowest = jnp.full(average.shape, jnp.log(floor), dtype)
    highest = jnp.maximum(jnp.maximum(typical, reference), lowest) + tail

    def tabulate(low, high, cells):
        width = (high - low) / cells
        middles = jnp.arange(cells, dtype=dtype) + 0.5
        return width, log_density(low[..., None] + middles * width[..., None])

    def zoom(_, window):
        low, high = window
        width, values = tabulate(low, high, COARSE)
        inside = values > values.max(-1, keepdims=True) - DEPTH
        first = jnp.argmax(inside, -1)
        last = COARSE - 1 - jnp.argmax(inside[..., ::-1], -1)
        return jnp.maximum(low + (first - 1) * width, lowest), low + (last + 2) * width

    low, high = jax.lax.fori_loop(0, ZOOMS, zoom, (lowest, highest))
    width, values = tabulate(low, high, CELLS)
    log_mass = jax.nn.log_softmax(values, -1)
    return MeanAndScale(low, width, log_mass, count, average, mean_prior)


def _log_prior(scale_prior, u):
    """Log density of the log scale, up to a constant."""
    if isinstance(scale_prior, IndependentInverseGamma):
        return -2 * scale_prior.shape * u - scale_prior.rate * jnp.exp(-2 * u)
    return scale_prior.shape * u - scale_prior.rate * jnp.exp(u)


def _typical_and_tail(scale_prior):
    """Where the log scale is without data, and how far above that it may be."""
    if isinstance(scale_prior, IndependentInverseGamma):
        return jnp.log(scale_prior.rate / scale_prior.shape) / 2, 6 + 12 / scale_prior.shape
    return jnp.log(scale_prior.shape / scale_prior.rate), 6


def _mean_given_scale(count, average, mean_prior, scales):
    """Mean and standard deviation of the normal conditional of the mean."""
    trust = (scales / mean_prior.scale) ** 2
    centre = (count * average + trust * mean_prior.mean) / (count + trust)
    return centre, scales / jnp.sqrt(count + trust)


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
