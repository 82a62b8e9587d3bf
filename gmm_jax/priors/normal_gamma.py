"""Normal means and gamma standard deviations: the tutorial's prior of normal components."""

from typing import Any, ClassVar

import jax.numpy as jnp
from jax import Array
from jaxtyping import ArrayLike, Float

from gmm_jax._pytree import pytree, rebuild
from gmm_jax.distributions import IndependentGamma, IndependentNormal
from gmm_jax.families import Normal
from gmm_jax.families.limits import Limits
from gmm_jax.families.normal import Moments
from gmm_jax.priors.components import ComponentPrior
from gmm_jax.priors.mean_and_scale import MeanAndScale, mean_and_scale
from gmm_jax.priors.mixtures import MixturePrior

NO_ROOM = 1e-9
"""Standard deviation, in the unit of the data, of a mean that is held."""


@pytree
class NormalGamma(ComponentPrior):
    """means ~ Normal(mean, mean_scale), scales ~ Gamma(shape, rate), independent.

    The gamma is on the standard deviation, not on the variance or the precision, and `rate` is one
    over its scale parameter.

    Args:
        mean: Where component means are expected, in the data's unit.
        mean_scale: Standard deviation of that expectation, in the data's unit.
        shape: Of the gamma; shape / rate is the expected standard deviation of a component.
        rate: Of the gamma, in one over the data's unit.

    Each is one number for all components, or one per component (with several features, one row
    of features per component): then components have names, and are never reordered.

    Raises:
        ValueError: a mean_scale, shape or rate that is not positive.
    """

    mean: Float[Array, "..."]
    mean_scale: Float[Array, "..."]
    shape: Float[Array, "..."]
    rate: Float[Array, "..."]

    kind: ClassVar[Any] = Normal
    supports: ClassVar[dict[str, str]] = {
        "mean": "real",
        "mean_scale": "positive",
        "shape": "positive",
        "rate": "positive",
    }

    @property
    def typical_scale(self) -> Float[Array, "..."]:
        """The expected standard deviation of a component."""
        return self.shape / self.rate

    def sites(self) -> dict[str, Any]:
        return {
            "means": IndependentNormal(self.mean, self.mean_scale),
            "scales": IndependentGamma(self.shape, self.rate),
        }

    def mode(self, components: Normal, statistics: Moments, limits: Limits) -> Normal:
        """Means first, at the current scales; then scales about the new means.

        There the density has one peak: the positive root of
        rate s^3 + (n - shape + 1) s^2 - S = 0.
        """
        counts = _entries(statistics.counts, components)
        trust = (components.scales / self.mean_scale) ** 2
        pulled = statistics.deviations + trust * (self.mean - components.means)
        moved = jnp.where(limits.held.means, 0, pulled / (counts + trust))
        squares = statistics.squares - 2 * moved * statistics.deviations + counts * moved**2
        scales = _scale_mode(jnp.maximum(squares, 0), counts - self.shape + 1, self.rate)
        scales = jnp.where(limits.held.scales, components.scales, jnp.maximum(scales, limits.floor))
        return rebuild(Normal, means=components.means + moved, scales=scales)

    def draw(
        self,
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
        pairs = certain.given(components, statistics, floor).pairs
        means, scales = pairs.sample(key, jnp.where(held.scales, components.scales, jnp.nan))
        means = jnp.where(held.means, components.means, means)
        return rebuild(Normal, means=means, scales=scales)

    def given(
        self, components: Normal, statistics: Moments, floor: Float[Array, ""]
    ) -> "NormalGammaConditional":
        counts, deviations, squares = statistics
        entries = _entries(counts, components)
        moved = deviations / jnp.maximum(entries, jnp.finfo(counts.dtype).tiny)
        sites = self.sites()
        return NormalGammaConditional(
            mean_and_scale(
                count=jnp.broadcast_to(entries, components.means.shape),
                average=components.means + moved,
                squares=jnp.maximum(squares - moved * deviations, 0),
                mean_prior=sites["means"],
                scale_prior=sites["scales"],
                floor=floor,
            )
        )

    def affine(self, shift: ArrayLike, scale: ArrayLike) -> "NormalGamma":
        return rebuild(
            type(self),
            mean=shift + scale * self.mean,
            mean_scale=scale * self.mean_scale,
            shape=self.shape,
            rate=self.rate / scale,
        )


@pytree
class NormalGammaConditional:
    """Means and scales given statistics."""

    pairs: MeanAndScale

    def sample(self, key: Array) -> Normal:
        """Draw components."""
        means, scales = self.pairs.sample(key)
        return rebuild(Normal, means=means, scales=scales)

    def log_prob_matched(self, components: Normal) -> Float[Array, "k k"]:
        """Log density of every component (column) in the place of every other (row)."""
        return self.pairs.log_prob_matched(components.means, components.scales)


@pytree
class DirichletNormalGamma(MixturePrior):
    """Dirichlet weights, normal means, gamma standard deviations.

    weights ~ Dirichlet(concentration), means ~ Normal(mean, mean_scale),
    scales ~ Gamma(shape, rate), all independent: `MixturePrior` of `NormalGamma`, which says what
    each argument is.

    Raises:
        ValueError: a concentration, mean_scale, shape or rate that is not positive.

    Example:
        >>> from gmm_jax import DirichletNormalGamma
        >>> prior = DirichletNormalGamma(concentration=1, mean=400, mean_scale=50, shape=2, rate=1)
        >>> sorted(prior.sites(2))
        ['means', 'scales', 'weights']
    """

    concentration: Float[Array, "..."]
    components: NormalGamma

    def __init__(
        self, concentration: Any, mean: Any, mean_scale: Any, shape: Any, rate: Any
    ) -> None:
        super().__init__(concentration, NormalGamma(mean, mean_scale, shape, rate))


def _entries(counts: Array, components: Normal) -> Array:
    """Counts (k,) beside parameters (k, ...)."""
    return counts.reshape((-1,) + (1,) * len(components.event_shape))


def _scale_mode(squares: Array, count: Array, rate: Array) -> Array:
    """The root s > 0 of rate s^3 + count s^2 - squares = 0, or the positive peak without data.

    Newton's method from above the root, where the cubic is convex, descends onto it.
    """
    by_count = jnp.sqrt(squares / jnp.maximum(count, jnp.finfo(squares.dtype).tiny))
    by_rate = jnp.cbrt(squares / rate) + jnp.maximum(-count, 0) / rate
    root = jnp.minimum(jnp.where(count > 0, by_count, jnp.inf), by_rate)
    for _ in range(12):
        value = (rate * root + count) * root**2 - squares
        slope = (3 * rate * root + 2 * count) * root
        root = root - jnp.where(slope > 0, value / jnp.where(slope > 0, slope, 1), 0)
    return root
