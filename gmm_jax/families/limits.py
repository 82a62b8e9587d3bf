"""What an M step may not do: move what is held, part what is shared, or shrink below a floor."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from gmm_jax._pytree import pytree, rebuild, static


@dataclass(frozen=True)
class Sharing:
    """Which parameters several components, or several features, have in common.

    Args:
        groups: Pairs of a parameter's name and one group number per component; components in the
            same group have one value.
        features: Names of parameters that have one value for all features.
    """

    groups: tuple[tuple[str, tuple[int, ...]], ...] = ()
    features: frozenset[str] = frozenset()

    def pool(self, name: str, sums: Array) -> Array:
        """Replace the sums (k, ...) of every component by the total of those it shares with."""
        groups = dict(self.groups).get(name)
        if groups is not None:
            same = np.equal.outer(groups, groups).astype(sums.dtype)
            sums = jnp.tensordot(same, sums, 1, precision="highest")
        if name in self.features and sums.ndim > 1:
            sums = jnp.broadcast_to(sums.sum(-1, keepdims=True), sums.shape)
        return sums

    def shares(self, name: str) -> bool:
        """Whether anything shares this parameter."""
        return name in self.features or name in dict(self.groups)

    def average(self, name: str, values: Array) -> Array:
        """Replace values by the mean of those that share."""
        return self.pool(name, values) / self.pool(name, jnp.ones_like(values))

    def by_all(self, name: str) -> bool:
        """Whether all components have the same value."""
        return len(set(dict(self.groups).get(name, (0, 1)))) == 1

    def distinct(self, name: str, free: np.ndarray) -> int:
        """How many distinct numbers there are where `free` (k, ...) is true."""
        groups = np.array(dict(self.groups).get(name, range(free.shape[0])))
        rows = np.array([free[groups == group].any(0) for group in np.unique(groups)])
        if name in self.features and rows.ndim > 1:
            rows = rows.any(-1)
        return int(rows.sum())

    def within(self, part: str) -> "Sharing":
        """What concerns one part of the components: names without its prefix."""
        groups = tuple((n.removeprefix(part), g) for n, g in self.groups if n.startswith(part))
        return Sharing(groups, frozenset(n.removeprefix(part) for n in self.features))


ALONE = Sharing()
"""Nothing is shared."""


class Outline(NamedTuple):
    """What starts know of the data beside the centres: how wide components are, and the range."""

    spread: Float[Array | np.ndarray, ""]
    low: Float[Array | np.ndarray, "..."]
    high: Float[Array | np.ndarray, "..."]


@pytree
class Limits:
    """The limits of an M step.

    `held` has the structure of what is estimated, with booleans: where true, a value stays.
    `floor` bounds scales from below.
    """

    held: Any
    floor: Float[Array | np.ndarray, ""]
    sharing: Sharing = static(default=ALONE)

    def count(self, name: str) -> int:
        """How many numbers are free in one parameter."""
        return self.sharing.distinct(name, ~np.asarray(getattr(self.held, name)))

    @property
    def components(self) -> "Limits":
        """Those of the components of a mixture."""
        return rebuild(Limits, held=self.held.components, floor=self.floor, sharing=self.sharing)

    def part(self, index: int) -> "Limits":
        """Those of one part of components that are made of parts."""
        sharing = self.sharing.within(f"parts[{index}].")
        return rebuild(Limits, held=self.held.parts[index], floor=self.floor, sharing=sharing)
