"""Densities of one number that have no name, tabulated where they matter."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from gmm_jax._pytree import pytree

CELLS = 128
COARSE = 32
ZOOMS = 5
"""Times that the window is narrowed to where the density is, on a grid of `COARSE` cells."""
DEPTH = 25.0
"""Where the log density lies more than this below its peak, there is no cell."""


@pytree
class Table:
    """Independent numbers, each with a piecewise constant density."""

    low: Float[Array, "k ..."]
    width: Float[Array, "k ..."]
    log_mass: Float[Array, "k ... cells"]

    @classmethod
    def of(
        cls,
        log_density: Callable[[Array], Array],
        lowest: Float[Array, "k ..."],
        highest: Float[Array, "k ..."],
    ) -> "Table":
        """Tabulate densities with one peak between ends.

        Args:
            log_density: Takes numbers with one more axis, the last, and returns as many.
            lowest: Where each density starts.
            highest: Where it ends, or doesn't matter any more.
        """

        def tabulate(low, high, cells):
            width = (high - low) / cells
            middles = jnp.arange(cells, dtype=low.dtype) + 0.5
            return width, log_density(low[..., None] + middles * width[..., None])

        def zoom(_, window):
            low, high = window
            width, values = tabulate(low, high, COARSE)
            inside = values > values.max(-1, keepdims=True) - DEPTH
            first = jnp.argmax(inside, -1)
            last = COARSE - 1 - jnp.argmax(inside[..., ::-1], -1)
            ends = low + (first - 1) * width, low + (last + 2) * width
            return jnp.maximum(ends[0], lowest), jnp.minimum(ends[1], highest)

        low, high = jax.lax.fori_loop(0, ZOOMS, zoom, (lowest, highest))
        width, values = tabulate(low, high, CELLS)
        return cls(low, width, jax.nn.log_softmax(values, -1))

    def sample(self, key: Array) -> Float[Array, "k ..."]:
        """Draw the numbers, by the inverse of the cumulative distribution."""
        uniform = jax.random.uniform(key, self.low.shape, self.low.dtype)
        cumulative = jnp.cumsum(jnp.exp(self.log_mass), -1)
        level = (uniform * cumulative[..., -1])[..., None]
        below = cumulative <= level
        cell = jnp.minimum(below.sum(-1), CELLS - 1)
        reached = jnp.max(jnp.where(below, cumulative, 0), -1)
        mass = jnp.maximum(jnp.min(jnp.where(below, jnp.inf, cumulative), -1) - reached, 1e-30)
        most = 1 - jnp.finfo(self.low.dtype).eps
        return self.low + (cell + jnp.clip((level[..., 0] - reached) / mass, 0, most)) * self.width

    def log_prob_matched(self, value: Float[Array, "k ..."]) -> Float[Array, "k k ..."]:
        """Log density of every number (second axis) in the place of every other (first)."""
        low, width = self.low[:, None], self.width[:, None]
        position = (value - low) / width
        cell = jnp.clip(jnp.floor(position).astype(int), 0, CELLS - 1)
        table = self.log_mass.reshape(-1, CELLS)
        entry = jnp.arange(table.shape[0]).reshape(low.shape)
        inside = (position >= 0) & (position < CELLS)
        return jnp.where(inside, table[entry, cell], -jnp.inf) - jnp.log(width)
