"""Independent normal means and inverse gamma variances, of normal components."""

from typing import Any, ClassVar

import jax.numpy as jnp
from jax import Array
from jaxtyping import ArrayLike, Float

from gmm_jax._pytree import pytree, rebuild
from gmm_jax.distributions import IndependentInverseGamma, IndependentNormal
from gmm_jax.families import Normal
from gmm_jax.families.limits import Limits
from gmm_jax.families.normal import Moments
from gmm_jax.priors.components import ConditionalPrior
from gmm_jax.priors.mean_and_scale import MeanAndScale, draw_unheld, mean_and_scale
from gmm_jax.priors.normal_gamma import NormalGammaConditional


@pytree
class SemiconjugateNormal(ConditionalPrior):
    """means ~ Normal(mean, mean_scale), variances ~ InverseGamma(shape, rate), independent.

    Where components are expected doesn't depend on how wide they are, unlike under
    `NormalInverseGamma`.

    Args:
        mean: Where component means are expected, in the data's unit.
        mean_scale: Standard deviation of that expectation, in the data's unit.
        shape: Of the inverse gamma: half as many points as what is known of a variance is worth.
        rate: Of the inverse gamma, in the square of the data's unit; rate / (shape + 1) is the
            most probable variance.

    Each is one number for all components, or one per component (with several features, one row
    of features per component).

    Raises:
        ValueError: a mean_scale, shape or rate that is not positive.

    Example:
        >>> from gmm_jax import MixturePrior, SemiconjugateNormal
        >>> sorted(MixturePrior(1, SemiconjugateNormal(400, 100, shape=1, rate=8)).sites(2))
        ['means', 'variances', 'weights']
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
        """The standard deviation where that of the variance is most probable."""
        return jnp.sqrt(self.rate / (self.shape + 1))

    def sites(self) -> dict[str, Any]:
        return {
            "means": IndependentNormal(self.mean, self.mean_scale),
            "variances": IndependentInverseGamma(self.shape, self.rate),
        }

    def assemble(self, **values: Array) -> Normal:
        return rebuild(Normal, means=values["means"], scales=jnp.sqrt(values["variances"]))

    def values(self, components: Normal) -> dict[str, Array]:
        return {"means": components.means, "variances": components.scales**2}

    draw = draw_unheld

    def given(
        self, components: Normal, statistics: Moments, floor: Float[Array, ""]
    ) -> "SemiconjugateConditional":
        counts, deviations, squares = statistics
        counts = counts.reshape((-1,) + (1,) * len(components.event_shape))
        moved = deviations / jnp.maximum(counts, jnp.finfo(counts.dtype).tiny)
        sites = self.sites()
        # At this variance the density is exp(-40) or less of what it is at its peak.
        least = self.rate / (60 + 10 * (self.shape + counts / 2))
        return SemiconjugateConditional(
            mean_and_scale(
                count=jnp.broadcast_to(counts, components.means.shape),
                average=components.means + moved,
                squares=jnp.maximum(squares - moved * deviations, 0),
                mean_prior=sites["means"],
                scale_prior=sites["variances"],
                floor=jnp.maximum(floor, jnp.sqrt(least)),
            )
        )

    def mode(self, components: Normal, statistics: Moments, limits: Limits) -> Normal:
        """Means first, at the current scales; then variances about the new means."""
        counts, deviations, squares = statistics
        counts = counts.reshape((-1,) + (1,) * len(components.event_shape))
        trust = (components.scales / self.mean_scale) ** 2
        pulled = deviations + trust * (self.mean - components.means)
        moved = jnp.where(limits.held.means, 0, pulled / (counts + trust))
        about = jnp.maximum(squares - 2 * moved * deviations + counts * moved**2, 0)
        scales = jnp.sqrt((self.rate + about / 2) / (self.shape + 1 + counts / 2))
        scales = jnp.maximum(scales, limits.floor)
        scales = jnp.where(limits.held.scales, components.scales, scales)
        return rebuild(Normal, means=components.means + moved, scales=scales)

    def affine(self, shift: ArrayLike, scale: ArrayLike) -> "SemiconjugateNormal":
        moved = {
            "mean": shift + scale * self.mean,
            "mean_scale": scale * self.mean_scale,
            "rate": self.rate * scale**2,
        }
        return self._with(moved)


@pytree
class SemiconjugateConditional(NormalGammaConditional):
    """Means and variances given statistics."""

    pairs: MeanAndScale

    def log_prob_matched(self, components: Normal) -> Float[Array, "k k"]:
        """Log density of every component (column) in the place of every other (row)."""
        # Of variances, of which there are 2 s ds for each ds.
        stretch = jnp.log(2 * components.scales).reshape(components.n_components, -1).sum(-1)
        return super().log_prob_matched(components) - stretch
