"""Poisson components: counts, or d independent ones."""

from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import gammaincc
from jaxtyping import Float, Int

from gmm_jax._checks import per_component, positive
from gmm_jax._numerics import log_gamma_peak
from gmm_jax._pytree import pytree, rebuild, set_fields
from gmm_jax.families.kinds import whole_numbers
from gmm_jax.families.limits import Limits, Outline
from gmm_jax.families.separable import Separable, Sums, ratio


@pytree
class Poisson(Separable):
    """k Poisson distributions, with independent features where there are several.

    Args:
        rates: k expected counts, or k rows of d.

    Raises:
        TypeError: not numbers.
        ValueError: a rate that is not positive, NaN, a wrong shape.

    Example:
        >>> import jax.numpy as jnp
        >>> from gmm_jax import Poisson
        >>> round(float(Poisson(rates=[2.0]).log_prob(jnp.array([3.0]))[0, 0]), 4)
        -1.7123
    """

    rates: Float[Array, "k ..."]

    supports: ClassVar[dict[str, str]] = {"rates": "positive"}

    def __post_init__(self) -> None:
        rates = per_component("rates", self.rates)
        positive("rates", rates)
        set_fields(self, rates=rates)

    @staticmethod
    def check(data: np.ndarray) -> None:
        """Accept whole numbers from 0."""
        whole_numbers(data, "Poisson components must be counts")

    def log_density(self, data: Array) -> Array:
        """Log mass; none for a negative number.

        With y the count over the rate: - rates (y log y - y + 1), and what depends on the count
        alone. The textbook's terms grow with the counts and cancel.
        """
        safe = jnp.where(data > 0, data, 1)
        relative = safe / self.rates
        deviance = self.rates * (relative * jnp.log(relative) - (relative - 1))
        mass = log_gamma_peak(safe) - jnp.log(safe) - deviance
        return jnp.where(data > 0, mass, jnp.where(data == 0, -self.rates, -jnp.inf))

    def expectation(self) -> Float[Array, "k ..."]:
        return self.rates

    def sufficient(self, data: Array) -> tuple[Array, ...]:
        return (data,)

    def expected_sufficient(self) -> tuple[Array, ...]:
        return (self.rates,)

    def mode(self, statistics: Sums, limits: Limits) -> "Poisson":
        """Weighted means."""
        pool = limits.sharing.pool
        counts = pool("rates", self.counts(statistics))
        rates = ratio(pool("rates", statistics.sums[0]), counts, self.rates)
        # A rate of zero could never rise again; this one explains zeros as well.
        rates = jnp.maximum(rates, jnp.finfo(rates.dtype).eps ** 2)
        return rebuild(type(self), rates=jnp.where(limits.held.rates, self.rates, rates))

    def cdf(self, data: Float[Array, "n ..."]) -> Float[Array, "n k"]:
        """Share of each component up to each point, of one feature."""
        counts = jnp.floor(data[:, None])
        below = gammaincc(jnp.maximum(counts, 0) + 1, self.rates)
        return jnp.where(counts < 0, 0, below).reshape(len(data), -1)

    def sample(self, key: Array, assignments: Int[Array, "n"]) -> Float[Array, "n ..."]:
        rates = self.rates[assignments]
        return jax.random.poisson(key, rates).astype(rates.dtype)

    @classmethod
    def around(cls, centres: Float[Array, "k ..."], outline: Outline) -> "Poisson":
        # Close to zero, a start must leave room for the counts beside it.
        return rebuild(cls, rates=jnp.abs(centres) + 0.5)
