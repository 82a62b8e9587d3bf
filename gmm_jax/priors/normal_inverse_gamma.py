"""The conjugate prior of normal components with independent features."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.special import digamma
from jaxtyping import ArrayLike, Float

from gmm_jax import divergences
from gmm_jax._pytree import pytree, rebuild
from gmm_jax.distributions import IndependentInverseGamma, IndependentNormal
from gmm_jax.families import Normal
from gmm_jax.families.limits import Limits
from gmm_jax.families.normal import Moments
from gmm_jax.priors.components import ConjugatePrior, by_component


@pytree
class NormalInverseGamma(ConjugatePrior):
    """variances ~ InverseGamma(shape, rate), means ~ Normal(mean, sqrt(variance / mean_count)).

    Conjugate: after n points the distribution is of the same kind [1].

    Args:
        mean: Where component means are expected, in the data's unit.
        mean_count: How many points that expectation is worth.
        shape: Of the inverse gamma: half as many points as what is known of a variance is worth.
        rate: Of the inverse gamma, in the square of the data's unit; rate / (shape + 1) is the
            most probable variance.

    Each is one number for all components, or one per component (with several features, one row
    of features per component).

    Raises:
        ValueError: a mean_count, shape or rate that is not positive.

    Example:
        >>> from gmm_jax import MixturePrior, NormalInverseGamma, fit
        >>> prior = MixturePrior(1, NormalInverseGamma(mean=400, mean_count=0.01, shape=2, rate=8))
        >>> mode = fit([498, 352, 501, 349, 497, 503, 351, 500], 2, prior=prior, method="em")
        >>> [round(float(scale), 2) for scale in mode.mixture.components.scales]
        [2.12, 3.39]

    [1] Murphy (2007), "Conjugate Bayesian analysis of the Gaussian distribution", section 6.
    """

    mean: Float[Array, "..."]
    mean_count: Float[Array, "..."]
    shape: Float[Array, "..."]
    rate: Float[Array, "..."]

    kind: ClassVar[Any] = Normal
    supports: ClassVar[dict[str, str]] = {
        "mean": "real",
        "mean_count": "positive",
        "shape": "positive",
        "rate": "positive",
    }

    @property
    def typical_scale(self) -> Float[Array, "..."]:
        """The standard deviation where that of the variance is most probable."""
        return jnp.sqrt(self.rate / (self.shape + 1))

    def sites(self) -> dict[str, Any]:
        def means(values: dict[str, Array]) -> IndependentNormal:
            return IndependentNormal(self.mean, jnp.sqrt(values["variances"] / self.mean_count))

        return {"variances": IndependentInverseGamma(self.shape, self.rate), "means": means}

    def assemble(self, **values: Array) -> Normal:
        scales = jnp.sqrt(values["variances"])
        return rebuild(Normal, means=values["means"], scales=scales)

    def values(self, components: Normal) -> dict[str, Array]:
        return {"means": components.means, "variances": components.scales**2}

    def given(
        self, components: Normal, statistics: Moments, floor: Float[Array, ""]
    ) -> "NormalInverseGamma":
        counts, deviations, squares = statistics
        counts = counts.reshape((-1,) + (1,) * len(components.event_shape))
        average = deviations / jnp.maximum(counts, jnp.finfo(counts.dtype).tiny)
        within = jnp.maximum(squares - average * deviations, 0)
        total = self.mean_count + counts
        distance = components.means + average - self.mean
        return rebuild(
            type(self),
            mean=self.mean + counts / total * distance,
            mean_count=total,
            shape=self.shape + counts / 2,
            rate=self.rate + (within + self.mean_count * counts / total * distance**2) / 2,
        )

    def draw(
        self,
        key: Array,
        components: Normal,
        statistics: Moments,
        floor: Float[Array, ""],
        held: Normal,
    ) -> Normal:
        """Variances given the means that are held, then means given variances."""
        after = self.given(components, statistics, floor)
        variances_key, means_key = jax.random.split(key)
        off = after.mean_count * (components.means - after.mean) ** 2 / 2
        variances = IndependentInverseGamma(
            after.shape + 0.5 * held.means, after.rate + jnp.where(held.means, off, 0)
        ).sample(variances_key)
        scales = jnp.where(held.scales, components.scales, jnp.sqrt(variances))
        spread = scales / jnp.sqrt(after.mean_count)
        means = IndependentNormal(after.mean, spread).sample(means_key)
        means = jnp.where(held.means, components.means, means)
        return rebuild(Normal, means=means, scales=scales)

    def mode(self, components: Normal, statistics: Moments, limits: Limits) -> Normal:
        """The mean of the conditional, and rate / (shape + 3 / 2) as the variance."""
        after = self.given(components, statistics, limits.floor)
        means = jnp.where(limits.held.means, components.means, after.mean)
        rate = after.rate + after.mean_count * (means - after.mean) ** 2 / 2
        scales = jnp.maximum(jnp.sqrt(rate / (after.shape + 1.5)), limits.floor)
        scales = jnp.where(limits.held.scales, components.scales, scales)
        return rebuild(Normal, means=means, scales=scales)

    def geometric_mean(self) -> tuple[Normal, Float[Array, "k"]]:
        scales = jnp.sqrt(self.rate / self.shape)
        log_masses = (digamma(self.shape) - jnp.log(self.shape) - 1 / self.mean_count) / 2
        return rebuild(Normal, means=self.mean, scales=scales), by_component(log_masses)

    def divergence(self, other: "NormalInverseGamma") -> Float[Array, "k"]:
        variances = divergences.gamma(self.shape, self.rate, other.shape, other.rate)
        ratio = other.mean_count / self.mean_count
        off = other.mean_count * self.shape / self.rate * (self.mean - other.mean) ** 2
        return by_component(variances + (ratio - 1 - jnp.log(ratio) + off) / 2)

    def affine(self, shift: ArrayLike, scale: ArrayLike) -> "NormalInverseGamma":
        moved = {"mean": shift + scale * self.mean, "rate": self.rate * scale**2}
        return self._with(moved)
