"""What families share whose features, where there are several, are independent."""

from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import ArrayLike, Bool, Float

from gmm_jax._pytree import columns_of, rebuild
from gmm_jax.families.kinds import blend
from gmm_jax.families.limits import Limits

CHANGES = {
    "real": (lambda x: x, lambda x: x),
    "positive": (jnp.log, jnp.exp),
    "unit": (lambda x: jnp.log(x) - jnp.log1p(-x), jax.nn.sigmoid),
    "simplex": (jnp.log, lambda x: jax.nn.softmax(x, -1)),
}
"""To numbers that may take any value, and back."""


class Sums(NamedTuple):
    """Weighted numbers of points, and weighted sums of what the family calls sufficient."""

    counts: Float[Array, "k"]
    sums: tuple[Float[Array, "k ..."], ...]


class Elementwise:
    """The common part of a family whose parameters have one entry per component and feature.

    A family that inherits it names what its parameters may be in `supports`, and writes
    `log_density`, `expectation`, `sufficient`, `expected_sufficient`, `mode`, `sample` and
    `around`.
    """

    centred: ClassVar[Any] = False
    scaled: ClassVar[Any] = False
    supports: ClassVar[dict[str, str]]

    @property
    def _parameters(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.supports}

    @property
    def _leading(self) -> Any:
        return next(iter(self._parameters.values()))

    @property
    def n_components(self) -> int:
        return self._leading.shape[0]

    @property
    def event_shape(self) -> tuple[int, ...]:
        return self._leading.shape[1:]

    @property
    def order(self) -> Float[Array | np.ndarray, "k"]:
        return self._leading.reshape(self.n_components, -1)[:, 0]

    @property
    def columns(self) -> dict[str, np.ndarray]:
        """Parameters by name, (k,), one column a feature where there are several; for tables."""
        return columns_of(**self._parameters)

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

    def unconstrained(self) -> Any:
        """The same structure with numbers that may take any value."""
        return self._changed(0)

    def constrained(self) -> Any:
        """Undo `unconstrained`."""
        return self._changed(1)

    def _changed(self, direction: int) -> Any:
        changed = {
            name: CHANGES[self.supports[name]][direction](value)
            for name, value in self._parameters.items()
        }
        return rebuild(type(self), **changed)

    def collapsed(self, floor: Float[Array, ""]) -> Bool[Array, "k"]:
        """Never: no estimate of this family is degenerate."""
        return jnp.zeros(self.n_components, bool)

    def affine(self, shift: ArrayLike, scale: ArrayLike) -> Any:
        """Unchanged: the data of this family are never shifted or rescaled."""
        return self

    # What a family writes.

    def log_density(self, data: Array) -> Array:
        """Log density of data (n, 1 or k, ...) under every component, (n, k, ...)."""
        raise NotImplementedError

    def expectation(self) -> Float[Array, "k ..."]:
        """Mean of each component."""
        raise NotImplementedError

    def sufficient(self, data: Array) -> tuple[Array, ...]:
        """Sufficient statistics of data (n, k, ...), each of that shape."""
        raise NotImplementedError

    def expected_sufficient(self) -> tuple[Array, ...]:
        """What is expected of them, (k, ...)."""
        raise NotImplementedError


def ratio(above: Array, below: Array, otherwise: Array) -> Array:
    """Divide, where there is something to divide by."""
    some = below > jnp.finfo(below.dtype).tiny
    return jnp.where(some, above / jnp.where(some, below, 1), otherwise)
