"""The data of a fit by ascent, in a frame, as the steps read them."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from gmm_jax._data import Frame, bucket, float_dtype, padded
from gmm_jax.families.limits import Limits
from gmm_jax.fitting import arguments, setting
from gmm_jax.fitting.point import BLOCK, SCALE_FLOOR
from gmm_jax.table import Table


class Setting(NamedTuple):
    """Points and how often each counts, in the data's unit and in a frame."""

    points: np.ndarray
    weight: np.ndarray
    frame: Frame
    table: Table
    limits: Limits
    family: Any
    dtype: Any
    """The precision of the computation."""

    @classmethod
    def of(
        cls,
        points: np.ndarray,
        weight: np.ndarray,
        family: Any,
        covariance_type: str,
        k: int,
        reg_covar: float | int,
    ) -> "Setting":
        """Centre and scale the points, and fill them up to a size that others share.

        No unit is below what `reg_covar` leaves of a standard deviation, a power of two.
        """
        dtype, event = float_dtype(points), points.shape[1:]
        names = arguments.parameters(family, k, event)
        sharing = arguments.as_sharing(None, covariance_type, names)
        frame = setting.choose_frame(points, weight, family, None, sharing)
        if reg_covar:
            least = np.exp2(np.round(np.log2(reg_covar) / 2))
            frame = frame._replace(unit=np.maximum(frame.unit, least))
        rows = bucket(len(points))
        block = min(rows, BLOCK)
        inside = ((points - frame.centre) / frame.unit).astype(dtype)
        inside, counts = padded(inside, weight, -(-rows // block) * block)
        table = Table(
            inside.reshape(-1, block, *event),
            counts.astype(dtype).reshape(-1, block),
            incomplete=bool(np.isnan(points).any()),
        )
        _, held = setting.known_inside({}, family, frame, k, event, dtype)
        limits = Limits(held, np.asarray(SCALE_FLOOR, dtype), sharing)
        return cls(points, weight, frame, table, limits, family, dtype)

    @property
    def size(self) -> float:
        """Sum of the weights."""
        return float(self.weight.sum())

    @property
    def log_volume(self) -> float:
        """What the log density of all points in the frame exceeds that in the data's unit by."""
        return float(self.weight @ self.frame.log_volume(self.points))

    def extra(self, reg_covar: float | int) -> np.ndarray:
        """What to add to variances in the frame."""
        return np.asarray(reg_covar / self.frame.unit**2, self.dtype)

    def number(self, value: Any) -> Any:
        """A number, or several, in the precision of the computation."""
        return jnp.asarray(np.asarray(value, self.dtype))


def widened(statistics: Any, extra: Array | np.ndarray) -> Any:
    """Statistics of points of which each is a cloud with the variances `extra`."""
    if hasattr(statistics, "squares"):
        more = statistics.counts[..., None] * extra
        return statistics._replace(squares=statistics.squares + more)
    more = statistics.counts[..., None, None] * jnp.diag(extra)
    return statistics._replace(products=statistics.products + more)
