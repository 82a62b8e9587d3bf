"""Densities of one number that have no name, tabulated where they matter."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from gmm_jax._pytree import pytree

CELLS = 48
COARSE = 16
"""Cells of the grid on which the window is narrowed to where the density is."""
NARROWER = 0.6
"""A window that narrows by less is narrow enough."""
MOST_ZOOMS = 12
DEPTH = 18.0
"""Where the log density lies more than this below its peak, there is no cell."""
LEVEL = 1e-6
"""A log density that changes less over a cell counts as level."""


@pytree
class Table:
    """Independent numbers, each with a density whose log is linear in every cell.

    Cells have the mass that curvature gives them, so that what is as smooth as a normal comes out
    right, but for a part in a thousand of its spread, with cells as wide as half of that. `redraw`
    leaves the density itself as it is, by a Metropolis test that hardly ever fails.
    """

    low: Float[Array, "k ..."]
    width: Float[Array, "k ..."]
    log_density: Float[Array, "k ... cells"]
    """At the lower end of each cell; of all mass 1."""
    rise: Float[Array, "k ... cells"]
    """Of the log density over the cell."""
    density: Any
    """What is tabulated: its log, up to a constant; plain data with a call."""

    @classmethod
    def of(
        cls,
        density: Callable[[Array], Array],
        lowest: Float[Array, "k ..."],
        highest: Float[Array, "k ..."],
    ) -> "Table":
        """Tabulate densities with one peak between ends.

        Args:
            density: Takes numbers with one more axis, the last, and returns as many logs.
            lowest: Where each density starts.
            highest: Where it ends, or doesn't matter any more.
        """

        def tabulate(low, high, cells):
            width = (high - low) / cells
            ends = low[..., None] + jnp.arange(cells + 1, dtype=low.dtype) * width[..., None]
            return width, density(ends)

        def zoom(state):
            n_zooms, low, high, _ = state
            width, values = tabulate(low, high, COARSE)
            inside = values > values.max(-1, keepdims=True) - DEPTH
            first = jnp.argmax(inside, -1)
            last = COARSE - jnp.argmax(inside[..., ::-1], -1)
            # The ends before and after: there the density is too low, and between may be the peak.
            first, last = jnp.maximum(first - 1, 0), jnp.minimum(last + 1, COARSE)
            narrower = jnp.any(last - first < NARROWER * COARSE)
            return n_zooms + 1, low + first * width, low + last * width, narrower

        def wide(state):
            n_zooms, _, _, narrower = state
            return narrower & (n_zooms < MOST_ZOOMS)

        _, low, high, _ = jax.lax.while_loop(wide, zoom, (0, lowest, highest, jnp.asarray(True)))
        width, values = tabulate(low, high, CELLS)
        values = jnp.maximum(values - values.max(-1, keepdims=True), -10 * DEPTH)
        rise = jnp.diff(values)
        # The mean of what a parabola of second difference 2 b has above its chord is -b / 6.
        bends = jnp.pad(jnp.diff(rise), [(0, 0)] * low.ndim + [(1, 1)], mode="edge")
        above = jnp.clip(-(bends[..., :-1] + bends[..., 1:]) / 24, -1, 1)
        starts = values[..., :-1] + above
        mass = _mass(starts, rise).sum(-1) * width
        return cls(low, width, starts - jnp.log(mass)[..., None], rise, density)

    def quantile(self, uniform: Float[Array, "k ..."]) -> Float[Array, "k ..."]:
        """Turn uniform numbers into such numbers."""
        dtype = self.low.dtype
        mass = _mass(self.log_density, self.rise)
        cumulative = jnp.cumsum(mass, -1)
        level = (uniform * cumulative[..., -1])[..., None]
        cell = jnp.minimum((cumulative <= level).sum(-1), CELLS - 1)
        rise, mass, cumulative = (_picked(a, cell) for a in (self.rise, mass, cumulative))
        share = jnp.clip(1 - (cumulative - level[..., 0]) / jnp.maximum(mass, 1e-30), 0, 1)
        # Of the way from the higher end, where the density falls by `steep` in logs.
        steep, falls = jnp.maximum(jnp.abs(rise), LEVEL), rise < 0
        along = -jnp.log1p(jnp.where(falls, share, 1 - share) * jnp.expm1(-steep)) / steep
        along = jnp.clip(jnp.where(falls, along, 1 - along), 0, 1 - jnp.finfo(dtype).eps)
        return self.low + (cell + along) * self.width

    def redraw(
        self, now: Float[Array, "k ..."], uniforms: Float[Array, "2 k ..."]
    ) -> Float[Array, "k ..."]:
        """Turn uniform numbers into such that follow those `now` in a chain.

        A Metropolis test makes the density itself stationary. What stands outside the table, or is
        NaN, comes in: hardly any of the density is there.
        """
        drawn = self.quantile(uniforms[0])
        both = jnp.stack([now, drawn], -1)
        lead = self.density(both) - self.log_prob(both)
        stays = jnp.log(uniforms[1]) >= lead[..., 1] - lead[..., 0]
        return jnp.where(stays & jnp.isfinite(lead[..., 0]), now, drawn)

    def log_prob(self, values: Float[Array, "k ... s"]) -> Float[Array, "k ... s"]:
        """Log density of s values of each number."""
        position = (values - self.low[..., None]) / self.width[..., None]
        cell = jnp.clip(jnp.floor(position).astype(int), 0, CELLS - 1)
        start, rise = (_picked(a[..., None, :], cell) for a in (self.log_density, self.rise))
        inside = (position >= 0) & (position <= CELLS)
        return jnp.where(inside, start + (position - cell) * rise, -jnp.inf)

    def log_prob_matched(self, values: Float[Array, "k ..."]) -> Float[Array, "k k ..."]:
        """Log density of every number (second axis) in the place of every other (first)."""
        others = jnp.broadcast_to(jnp.moveaxis(values, 0, -1), (*values.shape, len(values)))
        return jnp.moveaxis(self.log_prob(others), -1, 1)


def _mass(log_density: Float[Array, "*b cells"], rise: Float[Array, "*b cells"]) -> Array:
    """The mass of each cell, were its width 1."""
    steep = jnp.maximum(jnp.abs(rise), LEVEL)
    return -jnp.exp(log_density + jnp.maximum(rise, 0)) * jnp.expm1(-steep) / steep


def _picked(rows: Float[Array, "*b cells"], which: Array) -> Array:
    return jnp.take_along_axis(rows, which[..., None], -1, mode="promise_in_bounds")[..., 0]
