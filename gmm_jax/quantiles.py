"""Quantiles and highest-density regions of one-dimensional mixtures.

These run in NumPy float64 on a handful of numbers, whatever the precision of the mixture.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from gmm_jax._pytree import rebuild
from gmm_jax.families import Normal
from gmm_jax.mixture import Mixture

HALVINGS, FARTHEST = 64, 200
GRID, MOST_COUNTS = 401, 1e7


def icdf(mixture: Mixture, q: Any) -> np.ndarray:
    """Find the points that a share q of the mixture lies below, in the data's unit.

    A quantile of the mixture lies between those of its components. Bisection of the log of the
    smaller tail finds it, so that for normals it is right as far out as q can say. Of counts it
    is the smallest that a share q does not exceed. Shares 0 and 1 lie at infinity.

    Args:
        mixture: A mixture of one-dimensional components that have a `cdf`.
        q: Shares between 0 and 1, of any shape.

    Raises:
        TypeError: the components have several features, or no `cdf`.
        ValueError: a share outside [0, 1].
    """
    from scipy.special import ndtri

    try:
        share = np.asarray(q, np.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(f"q must be numbers between 0 and 1, got {q!r}.") from error
    if not np.all((share >= 0) & (share <= 1)):
        raise ValueError(f"q must lie between 0 and 1, got {np.asarray(q).tolist()}.")
    mixture = _of_one_feature(mixture)
    if not isinstance(mixture.components, Normal):
        return _by_cdf(mixture, share)
    line = _Line(mixture)
    lower = share <= 0.5
    tail = np.where(lower, share, 1 - share)
    inside = np.where(tail > 0, tail, 0.5)[..., None]
    of_components = line.means + line.scales * ndtri(inside) * np.where(lower, 1, -1)[..., None]
    low, high = of_components.min(-1), of_components.max(-1)
    for _ in range(2 * HALVINGS):
        middle = low + (high - low) / 2
        below = np.where(
            lower, line.log_tail(middle, 1) < np.log(inside[..., 0]),
            line.log_tail(middle, -1) > np.log(inside[..., 0]),
        )  # fmt: skip
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    found = low + (high - low) / 2
    return np.where(tail > 0, found, np.where(lower, -np.inf, np.inf))


def _of_one_feature(mixture: Mixture) -> Mixture:
    features = mixture.components.event_shape
    if features not in ((), (1,)):
        raise TypeError(
            "icdf and hdr are for one feature: take `marginal(j)` of a mixture of several first."
        )
    return mixture.marginal(0) if features else mixture


def _by_cdf(mixture: Mixture, share: np.ndarray) -> np.ndarray:
    """Quantiles of components of which only the distribution function is known."""
    cdf = _Exact(mixture).cdf
    low, high = -np.ones_like(share), np.ones_like(share)
    for _ in range(FARTHEST):
        low = np.where(cdf(low) < share, low, 4 * low)
        high = np.where(cdf(high) < share, 4 * high, high)
    for _ in range(2 * HALVINGS):
        middle = low + (high - low) / 2
        less = cdf(middle) < share
        low, high = np.where(less, middle, low), np.where(less, high, middle)
    whole = np.round(high)
    jump = (cdf(whole) >= share) & (cdf(_below(whole)) < share)
    found = np.where(jump, whole, high)
    return np.where(share == 0, -np.inf, np.where(share == 1, np.inf, found))


def _below(points: np.ndarray) -> np.ndarray:
    """The next smaller numbers; next to zero not the very next, which compiled code takes for 0."""
    return points - np.spacing(np.maximum(np.abs(points), 1))


class _Exact:
    """Distribution function and log density in float64."""

    def __init__(self, mixture: Mixture) -> None:
        self._mixture = jax.tree.map(lambda a: np.asarray(a, np.float64), mixture)

    def cdf(self, points: Any) -> np.ndarray:
        return self._each(_cdf, points)

    def log_density(self, points: Any) -> np.ndarray:
        return self._each(_log_density, points)

    def _each(self, function: Any, points: Any) -> np.ndarray:
        """Evaluate a power of two of points, so that few sizes are compiled."""
        points = np.asarray(points, np.float64)
        size = max(16, 1 << max(points.size - 1, 0).bit_length())
        filled = np.resize(points, size) if points.size else np.zeros(size)
        with jax.enable_x64(True):
            values = np.asarray(function(self._mixture, filled))
        return values[: points.size].reshape(points.shape)


@jax.jit
def _cdf(mixture: Mixture, points: Array) -> Array:
    return mixture.cdf(points)


@jax.jit
def _log_density(mixture: Mixture, points: Array) -> Array:
    return mixture.log_prob(points)


def hdr(mixture: Mixture, mass: float | int) -> list[tuple[float, float]]:
    """Find the smallest region that holds a share `mass`: where the density is high enough.

    Args:
        mixture: A mixture of one-dimensional components that have a `cdf`.
        mass: Between 0 and 1, both excluded.

    Returns:
        Intervals in ascending order, in the data's unit: as many as stand apart. Of counts, the
        first and the last of each run of numbers; together they hold at least `mass`.

    Raises:
        TypeError: the components have several features, no `cdf`, or are of numbers and of
            counts.
        ValueError: a mass outside (0, 1).
    """
    if not 0 < mass < 1:
        raise ValueError(f"mass must lie between 0 and 1, both excluded, got {mass!r}.")
    mixture = _of_one_feature(mixture)
    exact = _Exact(mixture)
    points = _places(mixture, mass)
    whole = np.unique(np.round(points))
    steps = exact.cdf(whole) - exact.cdf(_below(whole))
    if steps.sum() < 1e-4:
        return _continuous(exact, points, mass)
    ends = icdf(mixture, [1e-6 * (1 - mass), 1 - 1e-6 * (1 - mass)])
    if ends[1] - ends[0] > MOST_COUNTS:
        raise ValueError(f"hdr of counts up to {ends[1]:.3g} would list too many numbers.")
    whole = np.arange(np.floor(ends[0]), np.ceil(ends[1]) + 1)
    steps = exact.cdf(whole) - exact.cdf(_below(whole))
    if abs(steps.sum() - 1) > 1e-3 * (1 - mass):
        raise TypeError("hdr is for numbers or for counts, not for a mixture of both.")
    order = np.argsort(-steps, kind="stable")
    chosen = np.sort(whole[order[: np.searchsorted(steps[order].cumsum(), mass) + 1]])
    runs = np.split(chosen, np.flatnonzero(np.diff(chosen) > 1) + 1)
    return [(float(run[0]), float(run[-1])) for run in runs]


def _places(mixture: Mixture, mass: float) -> np.ndarray:
    """Points at which every component is looked at: its quantiles, far into the tails."""
    odds = np.linspace(-1, 1, GRID) * (np.log(1e6) - np.log1p(-mass))
    shares = np.exp(-np.logaddexp(0, -odds))
    points = []
    for i in np.flatnonzero(np.asarray(mixture.weights) > 0):
        weights = np.zeros(mixture.n_components)
        weights[i] = 1
        alone = rebuild(Mixture, weights=jnp.asarray(weights), components=mixture.components)
        points.append(icdf(alone, shares))
    inside = np.unique(np.concatenate(points))
    beyond = max(inside[-1] - inside[0], 1)
    return np.concatenate([[inside[0] - beyond], inside, [inside[-1] + beyond]])


def _continuous(exact: _Exact, points: np.ndarray, mass: float) -> list[tuple[float, float]]:
    """Where the density exceeds the level above which lies `mass`, by bisection of the level."""
    heights = exact.log_density(points)

    def region(level: float) -> np.ndarray:
        above = heights >= level
        edges = np.flatnonzero(above[1:] != above[:-1])
        left, right, rising = points[edges], points[edges + 1], above[edges + 1]
        for _ in range(HALVINGS):
            middle = left + (right - left) / 2
            inner = (exact.log_density(middle) >= level) == rising
            left, right = np.where(inner, left, middle), np.where(inner, middle, right)
        return np.where(rising, right, left).reshape(-1, 2)

    finite = heights[1:-1][np.isfinite(heights[1:-1])]
    low, high = finite.min(), finite.max()
    for _ in range(HALVINGS):
        level = (low + high) / 2
        below, above = exact.cdf(region(level)).reshape(-1, 2).T
        if (above - below).sum() > mass:
            low = level
        else:
            high = level
    return [(float(a), float(b)) for a, b in region(low)]


class _Line:
    """Parameters of the normal components that have weight, and what follows from them."""

    def __init__(self, mixture: Mixture) -> None:
        components: Any = mixture.components
        arrays = (mixture.weights, components.means, components.scales)
        weights, means, scales = (np.asarray(a, np.float64) for a in arrays)
        used = weights > 0
        self.weights = weights[used] / weights[used].sum()
        self.means, self.scales = means[used], scales[used]

    def standardised(self, x: Any) -> Any:
        return (np.asarray(x)[..., None] - self.means) / self.scales

    def log_tail(self, x: Any, side: int) -> Any:
        """Log of the share below x (side 1) or above it (side -1)."""
        from scipy.special import log_ndtr

        return np.logaddexp.reduce(np.log(self.weights) + log_ndtr(side * self.standardised(x)), -1)
