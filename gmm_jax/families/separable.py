"""What families share whose features are independent: all but the density and its mode."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import ArrayLike, Bool, Float, Int

from gmm_jax.families.kinds import blend
from gmm_jax.families.limits import Limits, Outline
from gmm_jax.families.parametric import Parametric


class Sums(NamedTuple):
    """Weighted numbers of points, and weighted sums of what the family calls sufficient."""

    counts: Float[Array, "k"]
    sums: tuple[Float[Array, "k ..."], ...]


class Separable(Parametric, ABC):
    """A family whose features, where there are several, are independent.

    A family that inherits it writes the abstract methods, and gets the others from them.
    """

    centred: ClassVar[Any] = False
    scaled: ClassVar[Any] = False

    @classmethod
    def count_free(cls, limits: Limits) -> int:
        """How many numbers are free."""
        return sum(limits.count(name) for name in cls.supports)

    @staticmethod
    def check(data: np.ndarray) -> None:
        """Accept any finite numbers."""

    def log_prob(self, data: Float[Array, "n ..."]) -> Float[Array, "n k"]:
        """Log density, or mass, summed over features that are not NaN."""
        missing = jnp.isnan(data)[:, None]
        terms = jnp.where(missing, 0, self.log_density(self.fill(data)))
        return terms.reshape(*terms.shape[:2], -1).sum(-1)

    def statistics(
        self, data: Float[Array, "n ..."], responsibilities: Float[Array, "n k"]
    ) -> Sums:
        """Sum responsibilities and sufficient statistics; the expected ones of missing values."""
        missing = jnp.isnan(data)[:, None]
        shares = responsibilities.reshape(responsibilities.shape + (1,) * (data.ndim - 1))
        pairs = zip(self.sufficient(self.fill(data)), self.expected_sufficient(), strict=True)
        sums = tuple((shares * jnp.where(missing, e, t)).sum(0) for t, e in pairs)
        return Sums(responsibilities.sum(0), sums)

    def counts(self, statistics: Sums) -> Float[Array, "k ..."]:
        """The weighted numbers of points, once for every entry of a parameter."""
        counts = statistics.counts.reshape((-1,) + (1,) * len(self.event_shape))
        return jnp.broadcast_to(counts, (self.n_components, *self.event_shape))

    def impute(
        self, data: Float[Array, "n ..."], responsibilities: Float[Array, "n k"]
    ) -> Float[Array, "n ..."]:
        """The data with the expected values in place of the missing."""
        return blend(self.fill(data), responsibilities)

    def fill(self, data: Float[Array, "n ..."]) -> Float[Array, "n k ..."]:
        """The data as each component expects them where they are missing."""
        data = data[:, None]
        return jnp.where(jnp.isnan(data), self.expectation(), data)

    def collapsed(self, floor: Float[Array, ""]) -> Bool[Array, "k"]:
        """Never: no estimate of this family is degenerate."""
        return jnp.zeros(self.n_components, bool)

    def affine(self, shift: ArrayLike, scale: ArrayLike) -> Any:
        """Unchanged: the data of this family are never shifted or rescaled."""
        return self

    # What a family writes.

    @abstractmethod
    def log_density(self, data: Array) -> Array:
        """Log density of data (n, 1 or k, ...) under every component, (n, k, ...)."""

    @abstractmethod
    def expectation(self) -> Float[Array, "k ..."]:
        """Mean of each component."""

    @abstractmethod
    def sufficient(self, data: Array) -> tuple[Array, ...]:
        """Sufficient statistics of data (n, k, ...), each of that shape."""

    @abstractmethod
    def expected_sufficient(self) -> tuple[Array, ...]:
        """What is expected of them, (k, ...)."""

    @abstractmethod
    def mode(self, statistics: Sums, limits: Limits) -> Any:
        """The components of maximum likelihood given `statistics`; see `Family`."""

    @abstractmethod
    def sample(self, key: Array, assignments: Int[Array, "n"]) -> Float[Array, "n ..."]:
        """Draw one point from each named component."""

    @classmethod
    @abstractmethod
    def around(cls, centres: Float[Array, "k ..."], outline: Outline) -> Any:
        """Components to start from; see `Kind`."""


def ratio(above: Array, below: Array, otherwise: Array) -> Array:
    """Divide, where there is something to divide by."""
    some = below > jnp.finfo(below.dtype).tiny
    return jnp.where(some, above / jnp.where(some, below, 1), otherwise)
