"""Components of different families in one mixture."""

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import ArrayLike, Bool, Float, Int

from gmm_jax._pytree import pytree, rebuild, set_fields
from gmm_jax.families.kinds import seen
from gmm_jax.families.limits import Outline
from gmm_jax.families.parts import KindOf, Parts, PartStatistics


@pytree
class Heterogeneous(Parts):
    """Components of different families in one mixture, such as normals and a uniform background.

    Args:
        parts: Families, each with one or more components; the mixture has all of them, in order.

    Raises:
        ValueError: parts for points of different shapes.

    `Heterogeneous.of` says what to fit.

    Example:
        >>> from gmm_jax import Heterogeneous, Normal, Uniform
        >>> Heterogeneous([Normal([1.0], [1.0]), Uniform([0.0], [9.0])]).n_components
        2
    """

    parts: tuple[Any, ...]

    def __post_init__(self) -> None:
        parts = tuple(self.parts)
        events = {part.event_shape for part in parts}
        if len(events) != 1:
            raise ValueError(f"parts must be for the same kind of points, got shapes {events}.")
        set_fields(self, parts=parts)

    @staticmethod
    def of(*families: Any) -> "HeterogeneousOf":
        """The kind of mixture with one component for each family; repeat those that repeat.

        Example:
            >>> from gmm_jax import Heterogeneous, Normal, Uniform
            >>> Heterogeneous.of(Normal, Normal, Uniform).n_components
            3
        """
        grouped: list[tuple[Any, int]] = []
        for family in families:
            if grouped and grouped[-1][0] == family:
                grouped[-1] = (family, grouped[-1][1] + 1)
            else:
                grouped.append((family, 1))
        return HeterogeneousOf(tuple(f for f, _ in grouped), tuple(n for _, n in grouped))

    @property
    def n_components(self) -> int:
        return sum(part.n_components for part in self.parts)

    @property
    def event_shape(self) -> tuple[int, ...]:
        return self.parts[0].event_shape

    @property
    def order(self) -> None:
        """Components of different families have their places."""

    @property
    def columns(self) -> dict[str, np.ndarray]:
        """Parameters by name, NaN for components that have no such parameter; for tables."""
        columns: dict[str, np.ndarray] = {}
        first = 0
        for part in self.parts:
            for name, values in part.columns.items():
                column = columns.setdefault(name, np.full(self.n_components, np.nan))
                column[first : first + part.n_components] = values
            first += part.n_components
        return columns

    def log_prob(self, data: Float[Array, "n ..."]) -> Float[Array, "n k"]:
        """The parts' log densities side by side."""
        return jnp.concatenate([part.log_prob(data) for part in self.parts], 1)

    def statistics(
        self, data: Float[Array, "n ..."], responsibilities: Float[Array, "n k"]
    ) -> PartStatistics:
        """The statistics of every part, from its own responsibilities."""
        shares = self._shares(responsibilities)
        parts = tuple(p.statistics(data, r) for p, r in zip(self.parts, shares, strict=True))
        return PartStatistics(responsibilities.sum(0), parts)

    def collapsed(self, floor: Float[Array, ""]) -> Bool[Array, "k"]:
        """Those that the parts say have collapsed."""
        return jnp.concatenate([part.collapsed(floor) for part in self.parts])

    def cdf(self, data: Float[Array, "n ..."]) -> Float[Array, "n k"]:
        """Share of each component below, or up to, each point, of one feature."""
        return jnp.concatenate([part.cdf(data) for part in self.parts], 1)

    def sample(self, key: Array, assignments: Int[Array, "n"]) -> Float[Array, "n ..."]:
        points: Any = jnp.zeros(())
        first = 0
        for part_key, part in zip(jax.random.split(key, len(self.parts)), self.parts, strict=True):
            own = assignments - first
            drawn = part.sample(part_key, jnp.clip(own, 0, part.n_components - 1))
            mine = (own >= 0) & (own < part.n_components)
            points = jnp.where(mine.reshape(-1, *(1,) * (drawn.ndim - 1)), drawn, points)
            first += part.n_components
        return points

    def impute(
        self, data: Float[Array, "n ..."], responsibilities: Float[Array, "n k"]
    ) -> Float[Array, "n ..."]:
        """The data with what all parts expect in place of the missing."""
        total: Any = jnp.zeros((), data.dtype)
        for part, shares in zip(self.parts, self._shares(responsibilities), strict=True):
            mass = shares.sum(1, keepdims=True)
            filled = part.impute(data, shares / jnp.where(mass > 0, mass, 1))
            total = total + mass.reshape(-1, *(1,) * (data.ndim - 1)) * filled
        return total

    def affine(self, shift: ArrayLike, scale: ArrayLike) -> "Heterogeneous":
        return self._each("affine", shift, scale)

    def _shares(self, responsibilities: Array) -> list[Array]:
        ends = np.cumsum([part.n_components for part in self.parts])[:-1]
        return jnp.split(responsibilities, ends, axis=1)


@dataclass(frozen=True)
class HeterogeneousOf(KindOf):
    """The kind of `Heterogeneous` with so many components of each family."""

    word: ClassVar[str] = "Heterogeneous"

    families: tuple[Any, ...]
    sizes: tuple[int, ...]

    @property
    def n_components(self) -> int:
        """k, all told."""
        return sum(self.sizes)

    @property
    def centred(self) -> bool:
        return all(np.all(family.centred) for family in self.families)

    @property
    def scaled(self) -> bool:
        return all(np.all(family.scaled) for family in self.families)

    def check(self, data: np.ndarray) -> None:
        """Accept what the first family accepts; others may be for a few points alone."""
        self.families[0].check(data)

    def seeing(self, data: np.ndarray) -> "HeterogeneousOf":
        """The kind that knows of the data what its families need."""
        return HeterogeneousOf(tuple(seen(f, data) for f in self.families), self.sizes)

    def around(self, centres: Float[Array, "k ..."], outline: Outline) -> Heterogeneous:
        own = jnp.split(centres, np.cumsum(self.sizes)[:-1])
        parts = tuple(f.around(c, outline) for f, c in zip(self.families, own, strict=True))
        return rebuild(Heterogeneous, parts=parts)
