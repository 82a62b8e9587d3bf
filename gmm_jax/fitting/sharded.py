"""Data on several devices or machines, as `fit` needs them: a sample here, the rest stays there."""

import warnings
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from gmm_jax import _sharding, em
from gmm_jax._data import Frame, bucket
from gmm_jax._sharding import Moments, Rows

SAMPLE = 20_000
"""How many rows are brought together to choose starts from."""
CHECKED = 2**22
"""How many numbers a family checks at once."""


class Sharded(NamedTuple):
    """Data whose rows are split over devices, and what one look at them told."""

    rows: Rows
    points: Array
    sample_weight: Array
    moments: Moments
    first: np.ndarray
    """The first centre, which the moments are about."""
    sample: np.ndarray
    """Rows drawn at random, all if they are few; then the least and largest value of each column,
    with next to no weight."""
    weight: np.ndarray
    """Of the sample."""

    def check(self, family: Any) -> None:
        """Let the family check all rows, block by block, those of each device by its own machine.

        Raises:
            ValueError: a row that no such component could have produced; on every machine.
        """
        n, found, errors = len(self.points), {}, {}
        weights = {_begin(part): part.data for part in self.sample_weight.addressable_shards}
        for part in self.points.addressable_shards:
            begin = _begin(part)
            if begin not in found:  # else a copy
                row, error = _first_wrong(family, part.data, weights[begin])
                found[begin] = n if error is None else begin + row
                errors[found[begin]] = error
        first = _sharding.sooner(self.rows, n, found)
        if first < n:
            error = errors.get(first, f"{family.__name__} components could not have produced it.")
            raise ValueError(f"row {first}: {error}")

    def frame(self, family: Any) -> Frame:
        """Centre and unit, as `Frame.of` finds them."""
        centre = self.first.astype(np.float64) + self.moments.shift
        spread = self.moments.spread.astype(np.float64)
        constant = spread <= 8 * np.finfo(self.points.dtype).eps * np.abs(centre)
        unit = np.exp2(np.round(np.log2(np.where(constant, 1, spread))))
        return Frame(np.where(family.centred, centre, 0.0), np.where(family.scaled, unit, 1.0))

    def log_volume(self, frame: Frame) -> float:
        """What `Frame.log_volume` sums to over all rows."""
        return float(np.sum(self.moments.seen.astype(np.float64) * np.log(frame.unit)))

    def table(self, frame: Frame, block: int) -> em.Table:
        """The data in the frame, in blocks that lie where their rows lie."""
        dtype = self.points.dtype
        steps = _sharding.Steps.into(frame.centre, frame.unit, dtype)
        usable = self.sample[np.argmax(self.weight > 0)]
        usable = ((usable - frame.centre) / frame.unit).astype(dtype)
        block = min(bucket(len(self.points) // self.rows.parts), block)
        data, weight = _sharding.blocks(
            self.rows, block, self.points, self.sample_weight, usable, steps
        )
        incomplete = bool(self.moments.missing)
        return em.Table(data, weight, incomplete=incomplete, rows=self.rows)


def look(data: Any, sample_weight: Any, key: Array | None) -> Sharded | None:
    """Look at data that are split over devices once; None where they are not.

    Raises:
        TypeError: not real numbers in floating point.
        ValueError: not split by rows; infinite entries; weights that make no sense.
    """
    if not _sharding.is_sharded(data):
        return None
    if data.dtype not in (np.float32, np.float64):
        raise TypeError(
            f"data on several devices must be float32 or float64, got {data.dtype}: convert them "
            f"with data.astype('float32')."
        )
    if data.ndim not in (1, 2):
        raise ValueError(f"data must have n rows, or n rows and d features, got {data.shape}.")
    rows, points = _sharding.rows_of(data), _sharding.plain(data)
    weight = _weights(sample_weight, points, rows)
    seed = 0 if key is None else np.asarray(jax.random.key_data(key))
    n = len(points)
    index = np.random.default_rng(seed).choice(n, min(n, SAMPLE), replace=False)
    sample, sampled = jax.device_get(_sharding.take(rows, np.sort(index), points, weight))
    first = _first_centre(sample, sampled)
    seen = jax.device_get(_sharding.moments(points, weight, first))
    if seen.infinite_row < n:
        raise ValueError(f"data has infinite entries, the first in row {seen.infinite_row}.")
    if seen.wrong_weight_row < n or not 0 < seen.size < np.inf:
        first = f": see row {seen.wrong_weight_row}" if seen.wrong_weight_row < n else ""
        raise ValueError(
            f"sample_weight must be finite, not negative, and not all of it zero{first}."
        )
    sample = np.concatenate([sample, seen.low[None], seen.high[None]])
    tiny = np.full(2, np.finfo(np.float32).tiny)
    sampled = np.concatenate([sampled, tiny]).astype(np.float64)
    return Sharded(rows, points, weight, seen, first, sample, sampled)


def _begin(part: Any) -> int:
    """The first row of a part."""
    return part.index[0].start or 0


def _first_wrong(family: Any, points: Array, weight: Array) -> tuple[int, ValueError | None]:
    """The first row of one device that the family does not accept, and why."""
    length = min(len(points), max(1, CHECKED // max(1, points[0].size)))
    for begin in range(0, len(points), length):
        begin = min(begin, len(points) - length)
        # Slices are copied to the machine, and forgotten.
        block, counts = (
            np.asarray(jax.lax.dynamic_slice_in_dim(a, begin, length)) for a in (points, weight)
        )
        used = np.flatnonzero(counts > 0)
        error = _fault(family, block[used])
        if error is None:
            continue
        # A fault stays one with more rows, so that the first row is found by halving.
        sound, bad = 0, len(used)
        while bad - sound > 1:
            middle = (sound + bad) // 2
            again = _fault(family, block[used[:middle]])
            sound, bad = (sound, middle) if again else (middle, bad)
        return begin + int(used[bad - 1]), _fault(family, block[used[:bad]])
    return 0, None


def _fault(family: Any, points: np.ndarray) -> ValueError | None:
    """What the family says of points, if anything."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a column may lack values here
        try:
            if len(points):
                family.check(points)
        except ValueError as error:
            return error
    return None


def _weights(sample_weight: Any, points: Array, rows: Rows) -> Array:
    """One weight a row, split as the rows are."""
    n = points.shape[0]
    if sample_weight is None:
        ones = jax.jit(lambda: jnp.ones(n, points.dtype), out_shardings=rows.sharding)
        return ones()
    if np.shape(sample_weight) != (n,):
        raise ValueError(
            f"sample_weight must have one entry for each of {n} rows, got shape "
            f"{np.shape(sample_weight)}."
        )
    if not isinstance(sample_weight, jax.Array):
        sample_weight = np.asarray(sample_weight, points.dtype)
    return jax.device_put(sample_weight, rows.sharding).astype(points.dtype)


def _first_centre(sample: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """A value near the mean of each column, in the precision of the data; 0 where none is known."""
    known = ~np.isnan(sample) & (weight > 0).reshape(-1, *(1,) * (sample.ndim - 1))
    total = np.where(known, sample, 0).sum(0, dtype=np.float64)
    return (total / np.maximum(known.sum(0), 1)).astype(sample.dtype)
