"""The door: whatever people hold their data in becomes a checked array, centred and scaled."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from gmm_jax import _sharding


def as_points(data: Any, name: str = "data", missing: bool = False) -> np.ndarray:
    """Turn lists, arrays, series or data frames into n points: (n,) or (n, d), float64 or float32.

    Raises:
        TypeError: not real numbers.
        ValueError: empty, more than two axes, infinite or masked entries; NaN unless `missing`.
    """
    if hasattr(data, "toarray"):
        raise TypeError(f"{name} is a sparse matrix: convert it with .toarray() first.")
    if np.ma.is_masked(data):
        raise ValueError(
            f"{name} has masked entries: drop those rows, or fill them in first, with "
            "NaN where they are missing."
        )
    if _sharding.is_sharded(data) and not data.is_fully_addressable:
        raise TypeError(f"{name} lies on several machines: only `fit` takes such data, for EM.")
    try:
        array = np.asarray(data)
    except (TypeError, ValueError, OverflowError) as error:
        raise TypeError(f"{name} cannot be read as an array of numbers: {error}") from error
    if array.dtype.kind == "O" and array.ndim == 0:
        raise TypeError(
            f"{name} must be numbers, got {type(data).__name__}: pass a list, an array, a column "
            f"or a table of them."
        )
    if array.dtype.kind == "O":
        try:
            array = np.where(_absent(array), np.nan, array).astype(np.float64)
        except (TypeError, ValueError, OverflowError) as error:
            raise TypeError(
                f"{name} must be numbers, but it holds {_first_odd(array)}: convert or drop it."
            ) from error
    if array.dtype.kind not in "biuf" and not jnp.issubdtype(array.dtype, jnp.floating):
        raise TypeError(
            f"{name} must be real numbers, got {array.dtype}. Convert the column to numbers first."
        )
    if array.ndim not in (1, 2):
        raise ValueError(
            f"{name} must be a column of n numbers or a table of n rows and d features, "
            f"got shape {array.shape}. For one observation write [x]."
        )
    if array.size == 0:
        raise ValueError(f"{name} is empty, shape {array.shape}: at least one point is needed.")
    if array.dtype not in (np.float32, np.float64):
        array = array.astype(np.float64)
    wrong = np.isinf(array) if missing else ~np.isfinite(array)
    if wrong.any():
        raise ValueError(
            f"{name} has {int(wrong.sum())} {'' if missing else 'NaN or '}infinite entries, the "
            f"first in row {int(np.argwhere(wrong)[0, 0])}: drop those rows or fill them in."
        )
    return array


def _absent(array: np.ndarray) -> np.ndarray:
    """Where some columns of pandas say that a value is missing."""
    flags = [type(value).__name__ == "NAType" for value in array.ravel()]
    return np.array(flags, bool).reshape(array.shape)


def _first_odd(array: np.ndarray) -> str:
    """Show the first entry that is not a number."""
    for value in array.ravel():
        try:
            float(value)
        except (TypeError, ValueError):
            return repr(value)
        except OverflowError:
            return "an integer beyond floating point"
    return "mixed types"


def float_dtype(array: np.ndarray | Array) -> Any:
    """The dtype of the answer: that of the data, as far as JAX has it switched on."""
    return jax.dtypes.canonicalize_dtype(array.dtype)


class Frame(NamedTuple):
    """A centre and a unit for each feature, kept in float64.

    Subtracting the centre before the cast to float32 is what keeps the digits of data far from
    zero; the unit is a power of two, so that scaling never rounds.
    """

    centre: np.ndarray
    unit: np.ndarray

    @classmethod
    def of(
        cls,
        points: np.ndarray,
        sample_weight: np.ndarray,
        centred: Any = True,
        scaled: Any = True,
    ) -> "Frame":
        """Centre on the mean; the unit is near the standard deviation (1 where there is none).

        Missing values (NaN) count for nothing. Columns that are not `centred` or not `scaled` keep
        0 as their centre, or 1 as their unit.
        """
        weight = sample_weight.reshape(-1, *(1,) * (points.ndim - 1))
        seen = (weight > 0) & ~np.isnan(points)
        first = np.argmax(seen, 0)
        middle = np.take_along_axis(points, first[None], 0)[0].astype(np.float64)
        shifted = np.where(seen, points - middle, 0)
        share = np.where(seen, weight, 0)
        share = share / share.sum(0)
        centre = middle + (share * shifted).sum(0)
        largest = np.max(np.abs(shifted), axis=0, initial=0)
        safe = np.where(largest > 0, largest, 1)
        deviations = np.where(seen, points - centre, 0) / safe
        spread = np.sqrt((share * deviations**2).sum(0)) * safe
        constant = spread <= 8 * np.finfo(points.dtype).eps * np.abs(centre)
        unit = np.exp2(np.round(np.log2(np.where(constant, 1, spread))))
        return cls(np.where(centred, centre, 0.0), np.where(scaled, unit, 1.0))

    def enter(self, points: np.ndarray | Array, dtype: Any) -> Array:
        """Centre and scale points, then cast."""
        if _sharding.is_sharded(points):
            steps = _sharding.Steps.into(self.centre, self.unit, points.dtype)
            return _sharding.enter(points, steps).astype(dtype)
        return jnp.asarray(((points - self.centre) / self.unit).astype(dtype))

    def log_volume(self, points: Any) -> np.ndarray | Array:
        """What the log density of each point in these units exceeds that in the data's units by.

        Missing values have no unit.
        """
        logs = np.log(self.unit)
        if _sharding.is_sharded(points):
            return jnp.where(jnp.isnan(points), 0, logs).reshape(len(points), -1).sum(1)
        seen = ~np.isnan(np.asarray(points))
        return np.where(seen, logs, 0).reshape(len(seen), -1).sum(1)


def padded(points: np.ndarray, sample_weight: np.ndarray, rows: int) -> tuple[Any, Any]:
    """Fill up to `rows` with rows of weight zero.

    They, and those that had no weight, repeat a row that has: what counts for nothing must still
    be possible.
    """
    extra = rows - points.shape[0]
    usable = points[np.argmax(sample_weight > 0)]
    points = np.concatenate([points, np.broadcast_to(usable, (extra, *points.shape[1:]))])
    sample_weight = np.pad(sample_weight, (0, extra))
    points[sample_weight == 0] = usable
    return points, sample_weight


def bucket(n: int) -> int:
    """The next size from a short list, so that similar sizes share one compilation."""
    step = max(16, 2 ** (max(n - 1, 1).bit_length() - 3))
    return -(-n // step) * step
