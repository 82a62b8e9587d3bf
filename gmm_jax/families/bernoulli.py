"""Bernoulli components: yes or no, or d independent such features."""

from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import ArrayLike, Bool, Float, Int

from gmm_jax._checks import between_zero_and_one, per_component
from gmm_jax._numerics import safe_log
from gmm_jax._pytree import columns_of, pytree, rebuild, set_fields
from gmm_jax.families.kinds import blend
from gmm_jax.families.limits import Limits, Outline


class Successes(NamedTuple):
    """Weighted numbers of points, and of ones among them."""

    counts: Float[Array, "k"]
    ones: Float[Array, "k ..."]


@pytree
class Bernoulli:
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

    centred: ClassVar[bool] = False
    scaled: ClassVar[bool] = False

    def __post_init__(self) -> None:
        probs = per_component("probs", self.probs)
        between_zero_and_one("probs", probs)
        set_fields(self, probs=probs)

    @property
    def n_components(self) -> int:
        return self.probs.shape[0]

    @property
    def event_shape(self) -> tuple[int, ...]:
        return self.probs.shape[1:]

    @property
    def order(self) -> Float[Array | np.ndarray, "k"]:
        return self.probs.reshape(self.n_components, -1)[:, 0]

    @property
    def columns(self) -> dict[str, np.ndarray]:
        """Parameters by name, (k,), one column a feature where there are several; for tables."""
        return columns_of(probs=self.probs)

    @staticmethod
    def count_free(limits: Limits) -> int:
        """How many numbers are free."""
        return limits.count("probs")

    @staticmethod
    def check(data: np.ndarray) -> None:
        """Accept zeros and ones."""
        data = data[~np.isnan(data)]
        if not np.all((data == 0) | (data == 1)):
            wrong = np.unique(data[(data != 0) & (data != 1)])[:3].tolist()
            raise ValueError(f"data for Bernoulli components must be 0 or 1, got {wrong}.")

    def log_prob(self, data: Float[Array, "n ..."]) -> Float[Array, "n k"]:
        """Log mass, summed over features that are not NaN; impossible values have none."""
        data = data[:, None]
        terms = jnp.where(
            data == 1,
            safe_log(self.probs),
            jnp.where(data == 0, safe_log(1 - self.probs), jnp.where(jnp.isnan(data), 0, -jnp.inf)),
        )
        return terms.reshape(*terms.shape[:2], -1).sum(-1)

    def statistics(
        self, data: Float[Array, "n ..."], responsibilities: Float[Array, "n k"]
    ) -> Successes:
        """Sum responsibilities, and those of the ones; a missing value is as many as expected."""
        shares = responsibilities.reshape(responsibilities.shape + (1,) * (data.ndim - 1))
        return Successes(responsibilities.sum(0), (shares * self.fill(data)).sum(0))

    def mode(self, statistics: Successes, limits: Limits) -> "Bernoulli":
        """Weighted shares of ones."""
        counts = statistics.counts.reshape((-1,) + (1,) * (self.probs.ndim - 1))
        counts = limits.sharing.pool("probs", jnp.broadcast_to(counts, self.probs.shape))
        occupied = counts > jnp.finfo(counts.dtype).tiny
        ones = limits.sharing.pool("probs", statistics.ones)
        probs = jnp.clip(ones / jnp.where(occupied, counts, 1), 0, 1)
        return rebuild(
            type(self), probs=jnp.where(limits.held.probs | ~occupied, self.probs, probs)
        )

    def impute(
        self, data: Float[Array, "n ..."], responsibilities: Float[Array, "n k"]
    ) -> Float[Array, "n ..."]:
        """The data with the expected values in place of the missing."""
        return blend(self.fill(data), responsibilities)

    def fill(self, data: Float[Array, "n ..."]) -> Float[Array, "n k ..."]:
        """The data as each component expects them where they are missing."""
        return jnp.where(jnp.isnan(data)[:, None], self.probs, data[:, None])

    def unconstrained(self) -> "Bernoulli":
        """Log odds."""
        return rebuild(type(self), probs=jnp.log(self.probs) - jnp.log1p(-self.probs))

    def constrained(self) -> "Bernoulli":
        """Undo `unconstrained`."""
        return rebuild(type(self), probs=jax.nn.sigmoid(self.probs))

    def collapsed(self, floor: Float[Array, ""]) -> Bool[Array, "k"]:
        """Never: a probability of 0 or 1 is a sound estimate."""
        return jnp.zeros(self.n_components, bool)

    def sample(self, key: Array, assignments: Int[Array, "n"]) -> Float[Array, "n ..."]:
        probs = self.probs[assignments]
        return (jax.random.uniform(key, probs.shape, probs.dtype) < probs).astype(probs.dtype)

    def affine(self, shift: ArrayLike, scale: ArrayLike) -> "Bernoulli":
        return self

    @classmethod
    def around(cls, centres: Float[Array, "k ..."], outline: Outline) -> "Bernoulli":
        return rebuild(cls, probs=0.25 + 0.5 * centres)
