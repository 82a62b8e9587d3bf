"""Exponential components: waiting times, or d independent ones."""

from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import ArrayLike, Bool, Float, Int

from gmm_jax._checks import per_component, positive
from gmm_jax._pytree import pytree, rebuild, set_fields
from gmm_jax.families.limits import Limits, Outline
from gmm_jax.families.separable import Separable, Sums, ratio


@pytree
class Exponential(Separable):
    """k exponential distributions, with independent features where there are several.

    Args:
        rates: k rates, one over the mean, or k rows of d. In one over the data's unit.

    Raises:
        TypeError: not numbers.
        ValueError: a rate that is not positive, NaN, a wrong shape.

    Example:
        >>> import jax.numpy as jnp
        >>> from gmm_jax import Exponential
        >>> round(float(Exponential(rates=[2.0]).log_prob(jnp.array([0.5]))[0, 0]), 4)
        -0.3069
    """

    rates: Float[Array, "k ..."]

    scaled: ClassVar[bool] = True
    supports: ClassVar[dict[str, str]] = {"rates": "positive"}

    def __post_init__(self) -> None:
        rates = per_component("rates", self.rates)
        positive("rates", rates)
        set_fields(self, rates=rates)

    @property
    def order(self) -> Float[Array | np.ndarray, "k"]:
        return (1 / self.rates).reshape(self.n_components, -1)[:, 0]

    @staticmethod
    def check(data: np.ndarray) -> None:
        """Accept numbers from 0."""
        if np.nanmin(data) < 0:
            raise ValueError(
                f"data for Exponential components must not be negative, got {np.nanmin(data):g}."
            )

    def log_density(self, data: Array) -> Array:
        """Log density; none below zero."""
        return jnp.where(data >= 0, jnp.log(self.rates) - self.rates * data, -jnp.inf)

    def expectation(self) -> Float[Array, "k ..."]:
        return 1 / self.rates

    def sufficient(self, data: Array) -> tuple[Array, ...]:
        return (data,)

    def expected_sufficient(self) -> tuple[Array, ...]:
        return (1 / self.rates,)

    def mode(self, statistics: Sums, limits: Limits) -> "Exponential":
        """One over the weighted means, which are at least the floor."""
        pool = limits.sharing.pool
        counts = pool("rates", self.counts(statistics))
        means = ratio(pool("rates", statistics.sums[0]), counts, 1 / self.rates)
        rates = 1 / jnp.maximum(means, limits.floor)
        return rebuild(type(self), rates=jnp.where(limits.held.rates, self.rates, rates))

    def collapsed(self, floor: Float[Array, ""]) -> Bool[Array, "k"]:
        """A component has collapsed when a mean lies at the floor."""
        return (1 / self.rates <= 1.001 * floor).reshape(self.n_components, -1).any(-1)

    def cdf(self, data: Float[Array, "n ..."]) -> Float[Array, "n k"]:
        """Share of each component below each point, of one feature."""
        below = -jnp.expm1(-self.rates * jnp.maximum(data[:, None], 0))
        return below.reshape(len(data), -1)

    def sample(self, key: Array, assignments: Int[Array, "n"]) -> Float[Array, "n ..."]:
        rates = self.rates[assignments]
        return jax.random.exponential(key, rates.shape, rates.dtype) / rates

    def affine(self, shift: ArrayLike, scale: ArrayLike) -> "Exponential":
        return rebuild(type(self), rates=self.rates / scale)

    @classmethod
    def around(cls, centres: Float[Array, "k ..."], outline: Outline) -> "Exponential":
        return rebuild(cls, rates=1 / (jnp.abs(centres) + 0.1 * outline.spread))
