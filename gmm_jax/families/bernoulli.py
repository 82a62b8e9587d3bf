"""Bernoulli components: yes or no, or d independent such features."""

from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int

from gmm_jax._checks import between_zero_and_one, per_component
from gmm_jax._numerics import safe_log
from gmm_jax._pytree import pytree, rebuild, set_fields
from gmm_jax.families.limits import Limits, Outline
from gmm_jax.families.separable import Separable, Sums, ratio


@pytree
class Bernoulli(Separable):
    """k Bernoulli distributions, with independent features where there are several.

    Args:
        probs: k probabilities of a 1, or k rows of d probabilities.

    Raises:
        TypeError: not numbers.
        ValueError: a probability outside [0, 1], NaN, a wrong shape.

    Example:
        >>> from gmm_jax import Bernoulli
        >>> Bernoulli(probs=[0.8, 0.3]).n_components
        2
    """

    probs: Float[Array, "k ..."]

    supports: ClassVar[dict[str, str]] = {"probs": "unit"}

    def __post_init__(self) -> None:
        probs = per_component("probs", self.probs)
        between_zero_and_one("probs", probs)
        set_fields(self, probs=probs)

    @staticmethod
    def check(data: np.ndarray) -> None:
        """Accept zeros and ones."""
        data = data[~np.isnan(data)]
        if not np.all((data == 0) | (data == 1)):
            wrong = np.unique(data[(data != 0) & (data != 1)])[:3].tolist()
            raise ValueError(f"data for Bernoulli components must be 0 or 1, got {wrong}.")

    def log_density(self, data: Array) -> Array:
        """Log mass; none for a number that is neither 0 nor 1."""
        zero = jnp.where(data == 0, safe_log(1 - self.probs), -jnp.inf)
        return jnp.where(data == 1, safe_log(self.probs), zero)

    def expectation(self) -> Float[Array, "k ..."]:
        return self.probs

    def sufficient(self, data: Array) -> tuple[Array, ...]:
        return (data,)

    def expected_sufficient(self) -> tuple[Array, ...]:
        return (self.probs,)

    def mode(self, statistics: Sums, limits: Limits) -> "Bernoulli":
        """Weighted shares of ones."""
        pool = limits.sharing.pool
        counts = pool("probs", self.counts(statistics))
        probs = jnp.clip(ratio(pool("probs", statistics.sums[0]), counts, self.probs), 0, 1)
        return rebuild(type(self), probs=jnp.where(limits.held.probs, self.probs, probs))

    def cdf(self, data: Float[Array, "n ..."]) -> Float[Array, "n k"]:
        """Share of each component up to each point, of one feature."""
        points = data[:, None]
        below = jnp.where(points < 0, 0, jnp.where(points < 1, 1 - self.probs, 1))
        return below.reshape(len(data), -1)

    def sample(self, key: Array, assignments: Int[Array, "n"]) -> Float[Array, "n ..."]:
        probs = self.probs[assignments]
        return (jax.random.uniform(key, probs.shape, probs.dtype) < probs).astype(probs.dtype)

    @classmethod
    def around(cls, centres: Float[Array, "k ..."], outline: Outline) -> "Bernoulli":
        return rebuild(cls, probs=0.25 + 0.5 * centres)
