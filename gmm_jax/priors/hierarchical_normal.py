"""Normal components whose variances come from an inverse gamma with a rate that is unknown, too.

With rate ~ Gamma(g, h) and k variances v_j ~ InverseGamma(a_j, rate), the rate given the variances
is Gamma(g + sum a_j, h + sum 1 / v_j), and it integrates out:

    p(v) = h^g / Gamma(g) Gamma(g + sum a_j) / (h + sum 1 / v_j)^(g + sum a_j)
           prod_j v_j^(-a_j - 1) / Gamma(a_j).

So a mixture needs no place for it: every method that asks for the density gets this one, and Gibbs
sampling draws the rate first (`refresh`), which leaves the same distribution of the variances.
"""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import gammaln
from jaxtyping import ArrayLike, Float

from gmm_jax._numerics import log_gamma
from gmm_jax._pytree import pytree, rebuild
from gmm_jax.distributions import IndependentNormal
from gmm_jax.families import Normal
from gmm_jax.families.limits import Limits
from gmm_jax.families.normal import Moments
from gmm_jax.priors.components import ConditionalPrior
from gmm_jax.priors.propriety import common_spike
from gmm_jax.priors.semiconjugate_normal import SemiconjugateConditional, SemiconjugateNormal


@pytree
class HierarchicalNormal(ConditionalPrior):
    """means ~ Normal(mean, mean_scale), variances ~ InverseGamma(shape, rate), rate ~ Gamma.

    The rate is one number for all components (of a feature), so that they tell each other how wide
    components are: a weak prior where nobody knows that. Richardson and Green [1] take, with R the
    range of the data, its middle as the mean, mean_scale R, shape 2, rate_shape 0.2 and rate_rate
    10 / R^2.

    Args:
        mean: Where component means are expected, in the data's unit.
        mean_scale: Standard deviation of that expectation, in the data's unit.
        shape: Of the inverse gamma.
        rate_shape: Of the gamma over the rate of the inverse gamma; one number, or one per feature
            as [[...]].
        rate_rate: Of the same, in one over the square of the data's unit.

    The first three are one number for all components, or one per component (with several features,
    one row of features per component).

    Raises:
        ValueError: a mean_scale, shape, rate_shape or rate_rate that is not positive.

    Example:
        >>> from gmm_jax import HierarchicalNormal, MixturePrior
        >>> components = HierarchicalNormal(425, 156, 2, rate_shape=0.2, rate_rate=10 / 156**2)
        >>> sorted(MixturePrior(1, components).sites(2))
        ['means', 'variances', 'weights']

    [1] Richardson and Green (1997), "On Bayesian analysis of mixtures with an unknown number of
        components".
    """

    mean: Float[Array, "..."]
    mean_scale: Float[Array, "..."]
    shape: Float[Array, "..."]
    rate_shape: Float[Array, "..."]
    rate_rate: Float[Array, "..."]

    kind: ClassVar[Any] = Normal
    supports: ClassVar[dict[str, str]] = {
        "mean": "real",
        "mean_scale": "positive",
        "shape": "positive",
        "rate_shape": "positive",
        "rate_rate": "positive",
    }

    @property
    def hierarchical(self) -> bool:
        return True

    @property
    def typical_scale(self) -> Float[Array, "..."]:
        """The standard deviation where the variance is most probable, at the expected rate."""
        return jnp.sqrt(self.rate_shape / self.rate_rate / (self.shape + 1))

    def shapes(self, n_components: int, event_shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        common = dict.fromkeys(("rate_shape", "rate_rate"), (1, *event_shape))
        return super().shapes(n_components, event_shape) | common

    def sites(self) -> dict[str, Any]:
        return {
            "means": IndependentNormal(self.mean, self.mean_scale),
            "variances": CommonRate(self.shape, self.rate_shape, self.rate_rate),
        }

    def assemble(self, **values: Array) -> Normal:
        return rebuild(Normal, means=values["means"], scales=jnp.sqrt(values["variances"]))

    def values(self, components: Normal) -> dict[str, Array]:
        return {"means": components.means, "variances": components.scales**2}

    def log_prob(self, components: Normal) -> Float[Array, "k"]:
        """Log density of the parameters of all components, as k numbers of which it is the sum."""
        return super().log_prob(components) + self._shared(components)

    def log_prob_matched(self, components: Normal) -> Float[Array, "k k"]:
        """As of all priors; what depends on all components is split evenly over them."""
        return super().log_prob_matched(components) + self._shared(components)

    def _log_prob(self, values: dict[str, Array]) -> Float[Array, "k"]:
        sites = self.sites()
        own = sites["means"].log_prob_each(values["means"])
        own = own + sites["variances"].log_each_apart(values["variances"])
        return own.reshape(len(own), -1).sum(1)

    def _shared(self, components: Normal) -> Float[Array, ""]:
        together = self.sites()["variances"].log_together(components.scales**2)
        return together.sum() / components.n_components

    def _after(self, components: Normal) -> tuple[Array, Array]:
        """Shape and rate of the gamma of the rate, given variances."""
        precisions = (1 / components.scales**2).sum(0, keepdims=True)
        return self.rate_shape + self.shape.sum(0, keepdims=True), self.rate_rate + precisions

    def _at(self, rate: Array) -> SemiconjugateNormal:
        return rebuild(
            SemiconjugateNormal,
            mean=self.mean,
            mean_scale=self.mean_scale,
            shape=self.shape,
            rate=jnp.broadcast_to(rate, self.shape.shape),
        )

    def refresh(self, key: Array, components: Normal) -> SemiconjugateNormal:
        """The prior at a rate drawn from its distribution given the variances of `components`."""
        shape, rate = self._after(components)
        return self._at(jnp.exp(log_gamma(key, shape)) / rate)

    def given(
        self, components: Normal, statistics: Moments, floor: Float[Array, ""]
    ) -> SemiconjugateConditional:
        """The distribution given `statistics` at the rate that `components` let one expect.

        So it is what importance sampling may propose from; Gibbs sampling calls `refresh` first.
        """
        shape, rate = self._after(components)
        return self._at(shape / rate).given(components, statistics, floor)

    def mode(self, components: Normal, statistics: Moments, limits: Limits) -> Normal:
        """As at the rate that the current components let one expect: a step of EM over it, too."""
        shape, rate = self._after(components)
        return self._at(shape / rate).mode(components, statistics, limits)

    def improper(
        self,
        points: Float[np.ndarray, "n ..."],
        weight: Float[np.ndarray, "n"],
        known: dict[str, np.ndarray],
    ) -> str | None:
        shapes = np.asarray(self.shape), np.asarray(self.rate_shape)
        return common_spike(points, weight, *shapes, known)

    def affine(self, shift: ArrayLike, scale: ArrayLike) -> "HierarchicalNormal":
        moved = {
            "mean": shift + scale * self.mean,
            "mean_scale": scale * self.mean_scale,
            "rate_rate": self.rate_rate / scale**2,
        }
        return self._with(moved)


@pytree
class CommonRate:
    """k inverse gammas with one rate for all, which has a gamma of its own; per feature."""

    shape: Float[Array, "..."]
    rate_shape: Float[Array, "..."]
    """With 1 in place of k, as the next."""
    rate_rate: Float[Array, "..."]

    support: ClassVar[str] = "positive"

    def sample(self, key: Array) -> Float[Array, "..."]:
        """Draw the rate, then the values given it."""
        rate_key, values_key = jax.random.split(key)
        rate = jnp.exp(log_gamma(rate_key, self.rate_shape)) / self.rate_rate
        return rate * jnp.exp(-log_gamma(values_key, self.shape))

    def log_prob(self, value: Float[Array, "k ..."]) -> Float[Array, ""]:
        """Log density of the whole value, the rate integrated out."""
        return self.log_each_apart(value).sum() + self.log_together(value).sum()

    def log_each_apart(self, value: Float[Array, "k ..."]) -> Float[Array, "k ..."]:
        """The factors that are each value's own; minus infinity at and below zero."""
        safe = jnp.where(value > 0, value, 1)
        density = -(self.shape + 1) * jnp.log(safe) - gammaln(self.shape)
        return jnp.where(value > 0, density, -jnp.inf)

    def log_together(self, value: Float[Array, "k ..."]) -> Float[Array, "1 ..."]:
        """The factor that is the values' in common."""
        safe = jnp.where(value > 0, value, 1)
        shape = self.rate_shape + self.shape.sum(0, keepdims=True)
        prior = self.rate_shape * jnp.log(self.rate_rate) - gammaln(self.rate_shape)
        total = self.rate_rate + (1 / safe).sum(0, keepdims=True)
        return prior + gammaln(shape) - shape * jnp.log(total)
