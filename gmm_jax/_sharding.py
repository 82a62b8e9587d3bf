"""Data that lie on several devices or machines: what is done to rows where they are.

Every function here takes arrays whose rows are split over devices, keeps them so, and adds up over
devices only what is small.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh, NamedSharding, PartitionSpec


class Rows(NamedTuple):
    """How rows are split: over which axes of which mesh of devices."""

    mesh: Mesh
    axes: tuple[str, ...]

    @property
    def sharding(self) -> NamedSharding:
        """As JAX says it."""
        return NamedSharding(self.mesh, PartitionSpec(self.axes))

    @property
    def parts(self) -> int:
        """Into how many parts."""
        return int(np.prod([self.mesh.shape[axis] for axis in self.axes]))

    def each(self, function: Callable[..., Any], *, summed: bool = False) -> Callable[..., Any]:
        """Call `function` with the rows of each part; join what it returns, or sum it."""

        def on_part(*parts):
            found = function(*parts)
            return jax.lax.psum(found, self.axes) if summed else found

        split = PartitionSpec(self.axes)
        outside = PartitionSpec() if summed else split
        return jax.shard_map(
            on_part, mesh=self.mesh, in_specs=split, out_specs=outside, check_vma=False
        )


def is_sharded(data: Any) -> bool:
    """Whether no device has all of the data."""
    return isinstance(data, jax.Array) and not data.is_fully_replicated


def rows_of(data: Array) -> Rows:
    """How the rows of sharded data are split.

    Raises:
        ValueError: data that are not split by rows, and by rows only.
    """
    sharding: Any = data.sharding
    spec = tuple(sharding.spec) if isinstance(sharding, NamedSharding) else ()
    if not spec or spec[0] is None or any(axis is not None for axis in spec[1:]):
        raise ValueError(
            f"data on several devices must be split by rows, got {sharding}: put them there with "
            f"jax.device_put(data, NamedSharding(mesh, PartitionSpec('rows')))."
        )
    axes = spec[0] if isinstance(spec[0], tuple) else (spec[0],)
    # A mesh of its own: arrays may come with types that name their axes, ours don't.
    return Rows(Mesh(sharding.mesh.devices, sharding.mesh.axis_names), axes)


def plain(data: Array) -> Array:
    """The same array on the mesh of `rows_of`; nothing moves."""
    return jax.device_put(data, rows_of(data).sharding)


def here(data: Any, name: str) -> np.ndarray:
    """The data as one array on this machine.

    Raises:
        ValueError: data that are split over devices; `name` is what needs them.
    """
    if is_sharded(data):
        raise ValueError(
            f"{name} needs all data in one place, but these are split over devices: fit a sample "
            f"of them as one NumPy array, or pass new points."
        )
    return np.asarray(data)


class Steps(NamedTuple):
    """How points enter a frame in their own precision: the centre is taken off in two parts."""

    coarse: np.ndarray
    fine: np.ndarray
    unit: np.ndarray

    @classmethod
    def into(cls, centre: np.ndarray, unit: np.ndarray, dtype: Any) -> "Steps":
        """Those that lead into a frame given in float64."""
        coarse = np.asarray(centre, dtype)
        fine = np.asarray(centre - coarse.astype(np.float64), dtype)
        return cls(coarse, fine, np.asarray(unit, dtype))


@jax.jit
def enter(points: Array, steps: Steps) -> Array:
    """Centre and scale points."""
    return ((points - steps.coarse) - steps.fine) / steps.unit


@functools.partial(jax.jit, static_argnums=(0,))
def take(rows: Rows, index: Array, points: Array, weight: Array) -> tuple[Array, Array]:
    """Bring the rows with these numbers together."""

    def of_part(points, weight):
        here = index - jax.lax.axis_index(rows.axes) * len(points)
        mine = (here >= 0) & (here < len(points))
        here = jnp.clip(here, 0, len(points) - 1)
        shape = (-1, *(1,) * (points.ndim - 1))
        return jnp.where(mine.reshape(shape), points[here], 0), jnp.where(mine, weight[here], 0)

    return rows.each(of_part, summed=True)(points, weight)


def first_row(which: Array) -> Array:
    """Number of the first row that is true; n if none is."""
    return jnp.where(which, jnp.arange(len(which)), len(which)).min()


def sooner(rows: Rows, n: int, found: dict[int, int]) -> int:
    """The least of numbers that the devices have found, known by the first of their n rows.

    Every machine gives those of its own devices, and all get the answer.
    """
    length = n // rows.parts

    def of_part(index):
        return np.array([found[(index[0].start or 0) * length]], np.int32)

    numbers = jax.make_array_from_callback((rows.parts,), rows.sharding, of_part)
    return int(jax.device_get(jax.jit(jnp.min)(numbers)))


class Moments(NamedTuple):
    """What one look at all rows tells, about a first centre; of every column."""

    size: Array
    """Sum of the sample weights."""
    seen: Array
    """Sum of the weights of what is not missing."""
    shift: Array
    """Mean less the first centre."""
    spread: Array
    """Standard deviation."""
    low: Array
    high: Array
    missing: Array
    """How many entries are NaN."""
    infinite_row: Array
    """The first with an infinite entry; n if there is none."""
    wrong_weight_row: Array
    """The first whose weight is negative or not finite; n if there is none."""


@jax.jit
def moments(points: Array, weight: Array, first: Array) -> Moments:
    """Weighted moments and ranges of the columns; NaN and rows of weight 0 count for nothing."""
    share = weight.reshape(-1, *(1,) * (points.ndim - 1))
    present = (share > 0) & ~jnp.isnan(points)
    seen = jnp.where(present, share, 0).sum(0)
    total = jnp.where(seen > 0, seen, 1)
    shifted = jnp.where(present, points - first, 0)
    shift = (share * shifted).sum(0) / total
    largest = jnp.abs(shifted).max(0)
    largest = jnp.where(largest > 0, largest, 1)
    deviations = jnp.where(present, shifted - shift, 0) / largest
    some = seen > 0
    return Moments(
        weight.sum(),
        seen,
        shift,
        jnp.sqrt((share * deviations**2).sum(0) / total) * largest,
        jnp.where(some, jnp.where(present, points, jnp.inf).min(0), jnp.nan),
        jnp.where(some, jnp.where(present, points, -jnp.inf).max(0), jnp.nan),
        (jnp.isnan(points) & (share > 0)).sum(),
        first_row(jnp.isinf(points).reshape(len(points), -1).any(1)),
        first_row(~((weight >= 0) & (weight < jnp.inf))),
    )


@functools.partial(jax.jit, static_argnums=(0, 1))
def blocks(
    rows: Rows, block: int, points: Array, weight: Array, usable: np.ndarray, steps: Steps
) -> tuple[Array, Array]:
    """Centre and scale, then cut each part into blocks, the last filled up with rows of weight 0.

    They, and those that had no weight, are `usable`: what counts for nothing must be possible.
    """

    def of_part(points, weight):
        extra = -len(points) % block
        empty = (weight == 0).reshape(-1, *(1,) * (points.ndim - 1))
        points = jnp.where(empty, usable, enter(points, steps))
        fill = jnp.broadcast_to(usable, (extra, *points.shape[1:]))
        points = jnp.concatenate([points, fill])
        weight = jnp.concatenate([weight, jnp.zeros(extra, weight.dtype)])
        return points.reshape(-1, block, *points.shape[1:]), weight.reshape(-1, block)

    return rows.each(of_part)(points, weight)
