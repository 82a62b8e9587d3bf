"""Normal means and gamma standard deviations: the tutorial's prior of normal components."""

from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import ArrayLike, Float

from gmm_jax._checks import as_floats, positive
from gmm_jax._pytree import pytree, rebuild, set_fields
from gmm_jax.distributions import IndependentGamma, IndependentGammaAbove, IndependentNormal
from gmm_jax.families import Normal
from gmm_jax.families.limits import Limits
from gmm_jax.families.normal import Moments
from gmm_jax.priors.components import ConditionalPrior, same_for_all
from gmm_jax.priors.mean_and_scale import MeanAndScale, draw_unheld, mean_and_scale
from gmm_jax.priors.mixtures import MixturePrior
from gmm_jax.priors.propriety import spike


@pytree
class NormalGamma(ConditionalPrior):
    """means ~ Normal(mean, mean_scale), scales ~ Gamma(shape, rate), independent.

    The gamma is on the standard deviation, not on the variance or the precision, and `rate` is one
    over its scale parameter.

    Args:
        mean: Where component means are expected, in the data's unit.
        mean_scale: Standard deviation of that expectation, in the data's unit.
        shape: Of the gamma; shape / rate is the expected standard deviation of a component.
        rate: Of the gamma, in one over the data's unit.
        least_scale: Standard deviations below it are ruled out, such as those below the width to
            which the data were rounded; the gamma is that above it. None rules out none: then
            shape + 1 or more equal values leave no posterior (`MixturePrior.improper`).

    Each is one number for all components, or one per component (with several features, one row
    of features per component): then components have names, and are never reordered.

    Raises:
        ValueError: a mean_scale, shape, rate or least_scale that is not positive.
    """

    mean: Float[Array, "..."]
    mean_scale: Float[Array, "..."]
    shape: Float[Array, "..."]
    rate: Float[Array, "..."]
    least_scale: Float[Array, "..."] | None = None

    kind: ClassVar[Any] = Normal
    supports: ClassVar[dict[str, str]] = {
        "mean": "real",
        "mean_scale": "positive",
        "shape": "positive",
        "rate": "positive",
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.least_scale is not None:
            least = as_floats("least_scale", self.least_scale)
            positive("least_scale", least)
            set_fields(self, least_scale=least)

    @property
    def typical_scale(self) -> Float[Array, "..."]:
        """The expected standard deviation of a component, but for `least_scale`."""
        return self.shape / self.rate

    @property
    def exchangeable(self) -> bool:
        same = self.least_scale is None or same_for_all(self.least_scale)
        return super().exchangeable and same

    def shapes(self, n_components: int, event_shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        names = [*self.supports, *([] if self.least_scale is None else ["least_scale"])]
        return dict.fromkeys(names, (n_components, *event_shape))

    def sites(self) -> dict[str, Any]:
        means = IndependentNormal(self.mean, self.mean_scale)
        if self.least_scale is None:
            return {"means": means, "scales": IndependentGamma(self.shape, self.rate)}
        scales = IndependentGammaAbove(self.shape, self.rate, self.least_scale)
        return {"means": means, "scales": scales}

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
        scales = jnp.maximum(scales, jnp.maximum(limits.floor, _or_zero(self.least_scale)))
        scales = jnp.where(limits.held.scales, components.scales, scales)
        return rebuild(Normal, means=components.means + moved, scales=scales)

    draw = draw_unheld

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
                floor=jnp.maximum(floor, _or_zero(self.least_scale)),
            )
        )

    def improper(
        self,
        points: Float[np.ndarray, "n ..."],
        weight: Float[np.ndarray, "n"],
        known: dict[str, np.ndarray],
    ) -> str | None:
        if self.least_scale is not None:
            return None
        return spike(points, weight, np.asarray(self.shape, np.float64), known)

    def affine(self, shift: ArrayLike, scale: ArrayLike) -> "NormalGamma":
        moved = {
            "mean": shift + scale * self.mean,
            "mean_scale": scale * self.mean_scale,
            "rate": self.rate / scale,
        }
        if self.least_scale is not None:
            moved["least_scale"] = scale * self.least_scale
        return self._with(moved)


@pytree
class NormalGammaConditional:
    """Means and scales given statistics."""

    pairs: MeanAndScale

    def sample(self, key: Array) -> Normal:
        """Draw components."""
        means, scales = self.pairs.sample(key)
        return rebuild(Normal, means=means, scales=scales)

    def redraw(self, key: Array, components: Normal, held: Any = False) -> Normal:
        """Draw where chains stand at `components`, of whose scales those stay that are `held`."""
        means, scales = self.pairs.redraw(key, components.scales, held)
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
        ValueError: a concentration, mean_scale, shape, rate or least_scale that is not positive.

    Example:
        >>> from gmm_jax import DirichletNormalGamma
        >>> prior = DirichletNormalGamma(concentration=1, mean=400, mean_scale=50, shape=2, rate=1)
        >>> sorted(prior.sites(2))
        ['means', 'scales', 'weights']
    """

    concentration: Float[Array, "..."]
    components: NormalGamma

    def __init__(
        self,
        concentration: Any,
        mean: Any,
        mean_scale: Any,
        shape: Any,
        rate: Any,
        least_scale: Any = None,
    ) -> None:
        super().__init__(concentration, NormalGamma(mean, mean_scale, shape, rate, least_scale))


def _or_zero(least_scale: Array | None) -> Any:
    return 0.0 if least_scale is None else least_scale


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
