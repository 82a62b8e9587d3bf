"""Gamma shapes and inverse gamma means: a prior of gamma components.

Given its shape a, a component's mean has an inverse gamma conditional. With n points of sum S and
sum of logs L, and InverseGamma(c, d) on the mean, it integrates out and leaves for the shape

    p(a) (a^a / Gamma(a))^n exp(a L) Gamma(c + n a) / (d + a S)^(c + n a),

which is tabulated for log a. Miller (2019), "Fast and accurate approximation of the full
conditional for gamma shape parameters", has a gamma that comes close; this is exact in a chain,
and costs the same for ten points and ten million.
"""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import digamma
from jaxtyping import ArrayLike, Float

from gmm_jax._numerics import log_gamma_peak, uniform
from gmm_jax._pytree import pytree, rebuild
from gmm_jax.distributions import IndependentGamma, IndependentInverseGamma
from gmm_jax.families import Gamma
from gmm_jax.families.limits import Limits
from gmm_jax.families.separable import Sums
from gmm_jax.priors.components import ConditionalPrior
from gmm_jax.priors.tables import Table


@pytree
class GammaInverseGamma(ConditionalPrior):
    """shapes ~ Gamma(shape, rate), means ~ InverseGamma(mean_shape, mean_rate), independent.

    Of `Gamma` components, whose mean is shapes / rates and whose standard deviation is that over
    sqrt(shapes).

    Args:
        shape: Of the gamma over shapes.
        rate: Of the gamma over shapes; shape / rate is the expected shape of a component.
        mean_shape: Of the inverse gamma over means.
        mean_rate: Of the inverse gamma over means, in the data's unit; mean_rate /
            (mean_shape + 1) is the most probable mean.

    Each is one number for all components, or one per component (with several features, one row
    of features per component).

    Raises:
        ValueError: not positive.

    Example:
        >>> from gmm_jax import GammaInverseGamma, MixturePrior
        >>> prior = MixturePrior(1, GammaInverseGamma(2, 0.2, mean_shape=1, mean_rate=5))
        >>> sorted(prior.sites(2))
        ['means', 'shapes', 'weights']
    """

    shape: Float[Array, "..."]
    rate: Float[Array, "..."]
    mean_shape: Float[Array, "..."]
    mean_rate: Float[Array, "..."]

    kind: ClassVar[Any] = Gamma
    supports: ClassVar[dict[str, str]] = dict.fromkeys(
        ("shape", "rate", "mean_shape", "mean_rate"), "positive"
    )

    def sites(self) -> dict[str, Any]:
        return {
            "shapes": IndependentGamma(self.shape, self.rate),
            "means": IndependentInverseGamma(self.mean_shape, self.mean_rate),
        }

    def assemble(self, **values: Array) -> Gamma:
        return rebuild(Gamma, shapes=values["shapes"], rates=values["shapes"] / values["means"])

    def values(self, components: Gamma) -> dict[str, Array]:
        return {"shapes": components.shapes, "means": components.expectation()}

    def given(
        self, components: Gamma, statistics: Sums, floor: Float[Array, ""]
    ) -> "GammaConditional":
        counts, unit = components.counts(statistics), components.expectation()
        above, excess = statistics.sums  # y - 1 and y - 1 - log y, summed, y = x / unit
        # Below, the prior's s^shape is all there is; above, its exp(-rate s) ends everything.
        highest = jnp.log((self.shape + 12 * jnp.sqrt(self.shape) + 60 + counts) / self.rate)
        lowest = jnp.minimum(jnp.log(self.shape / self.rate), 0) - 4 - 30 / self.shape
        ends = (jnp.broadcast_to(end, unit.shape) for end in (lowest, highest))
        density = LogShapes(self, counts, unit, above, excess)
        return GammaConditional(Table.of(density, *ends))

    def check_known(self, known: dict[str, np.ndarray]) -> None:
        rates = known.get("rates", np.full(1, np.nan))
        shapes = known.get("shapes", np.full_like(rates, np.nan))
        if np.any(~np.isnan(rates) & np.isnan(shapes)):
            raise ValueError(
                "fixed['rates'] of gamma components needs fixed['shapes'], too: the prior is one "
                "of shapes and means. Use method='em' to estimate shapes at known rates."
            )

    def draw(
        self,
        key: Array,
        components: Gamma,
        statistics: Sums,
        floor: Float[Array, ""],
        held: Gamma,
    ) -> Gamma:
        """Shapes, then means given these or those that are held."""
        conditional = self.given(components, statistics, floor)
        drawn = conditional.redraw(key, components, held.shapes)
        rates = jnp.where(held.rates, components.rates, drawn.rates)
        return rebuild(Gamma, shapes=drawn.shapes, rates=rates)

    def mode(self, components: Gamma, statistics: Sums, limits: Limits) -> Gamma:
        """Means first, at the current shapes; then shapes at the new means.

        There the slope is zero where shapes = (shape - 1 + n h) / (rate + E), with E the sum of
        y - 1 - log y, y points over means, and h = shapes (log shapes - digamma(shapes)), which
        lies between 1/2 and 1 and hardly changes, so that going round converges at once.
        """
        counts, unit, old = components.counts(statistics), components.expectation(), components
        above, excess = statistics.sums
        total = (counts + above) * unit
        fixed = limits.held.shapes & limits.held.rates
        means = (self.mean_rate + old.shapes * total) / (self.mean_shape + 1 + counts * old.shapes)
        means = jnp.where(fixed, unit, means)
        # Of the same sum about the new means; log1p keeps its digits.
        moved = (unit - means) / means
        about = excess + (counts + above) * moved - counts * jnp.log1p(moved)

        def turn(_, shapes):
            half = shapes * (jnp.log(shapes) - digamma(shapes))
            top = self.shape - 1 + counts * jnp.clip(half, 0.5, 1)
            return jnp.maximum(top, 1e-3) / (self.rate + jnp.maximum(about, 0))

        shapes = jax.lax.fori_loop(0, 25, turn, old.shapes)
        shapes = jnp.where(limits.held.shapes, old.shapes, shapes)
        rates = jnp.where(limits.held.rates, old.rates, shapes / means)
        return rebuild(Gamma, shapes=shapes, rates=rates)

    def affine(self, shift: ArrayLike, scale: ArrayLike) -> "GammaInverseGamma":
        return self._with({"mean_rate": self.mean_rate * scale})


@pytree
class LogShapes:
    """The density of log shapes, means integrated out."""

    prior: GammaInverseGamma
    counts: Float[Array, "k ..."]
    unit: Float[Array, "k ..."]
    above: Float[Array, "k ..."]
    """The sum of y - 1, y points over `unit`."""
    excess: Float[Array, "k ..."]
    """The sum of y - 1 - log y."""

    def __call__(self, u: Float[Array, "k ... s"]) -> Float[Array, "k ... s"]:
        u, prior = jnp.moveaxis(u, -1, 0), self.prior
        shapes = jnp.exp(u)
        total = prior.mean_shape + self.counts * shapes
        rest = prior.mean_rate / self.unit - prior.mean_shape + shapes * self.above
        pull = log_gamma_peak(total) + total * jnp.log1p(rest / total)
        fit = self.counts * log_gamma_peak(shapes) + shapes * (self.above - self.excess)
        return jnp.moveaxis(prior.shape * u - prior.rate * shapes + fit - pull, 0, -1)

    def means(self, shapes: Float[Array, "..."]) -> IndependentInverseGamma:
        """The distribution of means given shapes."""
        sums = (self.counts + self.above) * self.unit
        return IndependentInverseGamma(
            self.prior.mean_shape + self.counts * shapes, self.prior.mean_rate + sums * shapes
        )


@pytree
class GammaConditional:
    """Shapes and means given statistics."""

    log_shapes: Table

    def sample(self, key: Array) -> Gamma:
        """Draw components."""
        shapes_key, means_key = jax.random.split(key)
        uniforms = uniform(shapes_key, self.log_shapes.low.shape, self.log_shapes.low.dtype)
        return self._with_means(means_key, jnp.exp(self.log_shapes.quantile(uniforms)))

    def redraw(self, key: Array, components: Gamma, held: Any = False) -> Gamma:
        """Draw where chains stand at `components`, of whose shapes those stay that are `held`."""
        shapes_key, means_key = jax.random.split(key)
        shapes = components.shapes
        uniforms = uniform(shapes_key, (2, *shapes.shape), shapes.dtype)
        drawn = jnp.exp(self.log_shapes.redraw(jnp.log(shapes), uniforms))
        return self._with_means(means_key, jnp.where(held, shapes, drawn))

    def _with_means(self, key: Array, shapes: Array) -> Gamma:
        means = self.log_shapes.density.means(shapes).sample(key)
        return rebuild(Gamma, shapes=shapes, rates=shapes / means)

    def log_prob_matched(self, components: Gamma) -> Float[Array, "k k"]:
        """Log density of every component (column) in the place of every other (row)."""
        k = components.n_components
        place = jax.tree.map(lambda a: a[:, None], self.log_shapes.density)
        means = jnp.broadcast_to(components.expectation(), (k, *components.shapes.shape))
        density = place.means(components.shapes).log_prob_each(means)
        log_shapes = jnp.log(components.shapes)
        terms = self.log_shapes.log_prob_matched(log_shapes) - log_shapes + density
        return terms.reshape(k, k, -1).sum(-1)
