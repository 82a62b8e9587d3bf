"""Gamma priors of rates: conjugate to Poisson and to exponential components."""

from typing import Any, ClassVar

import jax.numpy as jnp
from jax import Array
from jax.scipy.special import digamma
from jaxtyping import ArrayLike, Float

from gmm_jax import divergences
from gmm_jax._pytree import pytree, rebuild
from gmm_jax.distributions import IndependentGamma
from gmm_jax.families import Exponential, Poisson
from gmm_jax.families.limits import Limits
from gmm_jax.families.separable import Sums
from gmm_jax.priors.components import ConjugatePrior, by_component


class GammaRates(ConjugatePrior):
    """rates ~ Gamma(shape, rate)."""

    shape: Float[Array, "..."]
    rate: Float[Array, "..."]

    supports: ClassVar[dict[str, str]] = {"shape": "positive", "rate": "positive"}

    def sites(self) -> dict[str, Any]:
        return {"rates": IndependentGamma(self.shape, self.rate)}

    def mode(self, components: Any, statistics: Sums, limits: Limits) -> Any:
        """(shape - 1) / rate of the conditional, or a rate next to zero."""
        after = self.given(components, statistics, limits.floor)
        rates = jnp.maximum((after.shape - 1) / after.rate, jnp.finfo(after.rate.dtype).eps ** 2)
        rates = jnp.where(limits.held.rates, components.rates, rates)
        return rebuild(self.kind, rates=rates)

    def divergence(self, other: Any) -> Float[Array, "k"]:
        each = divergences.gamma(self.shape, self.rate, other.shape, other.rate)
        return by_component(each)


@pytree
class GammaPoisson(GammaRates):
    """rates ~ Gamma(shape, rate), of `Poisson` components; conjugate.

    Args:
        shape: Prior sum of counts.
        rate: Prior number of points; shape / rate is the expected rate of a component.

    Each is one number for all components, or one per component (with several features, one row
    of features per component).

    Raises:
        ValueError: not positive.

    Example:
        >>> from gmm_jax import GammaPoisson, MixturePrior, fit
        >>> counts = [0, 1, 1, 2, 0, 1, 9, 11, 8, 10]
        >>> mode = fit(counts, 2, prior=MixturePrior(2, GammaPoisson(2, 0.5)), method="em")
        >>> [round(float(rate), 2) for rate in mode.mixture.components.rates]
        [0.92, 8.61]
    """

    shape: Float[Array, "..."]
    rate: Float[Array, "..."]

    kind: ClassVar[Any] = Poisson

    def given(self, components: Poisson, statistics: Sums, floor: Float[Array, ""]) -> Any:
        after = {"shape": self.shape + statistics.sums[0]}
        return self._with(after | {"rate": self.rate + components.counts(statistics)})

    def geometric_mean(self) -> tuple[Poisson, Float[Array, "k"]]:
        rates = jnp.exp(digamma(self.shape)) / self.rate
        return rebuild(Poisson, rates=rates), by_component(rates - self.shape / self.rate)


@pytree
class GammaExponential(GammaRates):
    """rates ~ Gamma(shape, rate), of `Exponential` components; conjugate.

    Args:
        shape: Prior number of points.
        rate: Prior sum of waiting times, in the data's unit; shape / rate is the expected rate of
            a component.

    Each is one number for all components, or one per component (with several features, one row
    of features per component).

    Raises:
        ValueError: not positive.

    Example:
        >>> from gmm_jax import GammaExponential, MixturePrior
        >>> sorted(MixturePrior(1, GammaExponential(shape=2, rate=10)).sites(2))
        ['rates', 'weights']
    """

    shape: Float[Array, "..."]
    rate: Float[Array, "..."]

    kind: ClassVar[Any] = Exponential

    def given(self, components: Exponential, statistics: Sums, floor: Float[Array, ""]) -> Any:
        after = {"shape": self.shape + components.counts(statistics)}
        return self._with(after | {"rate": self.rate + statistics.sums[0]})

    def geometric_mean(self) -> tuple[Exponential, Float[Array, "k"]]:
        log_masses = digamma(self.shape) - jnp.log(self.shape)
        return rebuild(Exponential, rates=self.shape / self.rate), by_component(log_masses)

    def affine(self, shift: ArrayLike, scale: ArrayLike) -> Any:
        return self._with({"rate": self.rate * scale})
