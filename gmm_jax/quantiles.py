"""Quantiles of one-dimensional mixtures, and highest-density regions of normal ones.

These run in NumPy float64 on a handful of numbers, whatever the precision of the mixture.
"""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gmm_jax._pytree import rebuild
from gmm_jax.families import MultivariateNormal, Normal
from gmm_jax.landscape import modes
from gmm_jax.mixture import Mixture

HALVINGS, FARTHEST = 64, 200


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

    share = np.asarray(q, np.float64)
    if not np.all((share >= 0) & (share <= 1)):
        raise ValueError(f"q must lie between 0 and 1, got {np.asarray(q).tolist()}.")
    if not isinstance(mixture.components, Normal | MultivariateNormal):
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


def _by_cdf(mixture: Mixture, share: np.ndarray) -> np.ndarray:
    """Quantiles of components of which only the distribution function is known."""
    with jax.enable_x64(True):
        exact = jax.tree.map(lambda a: jnp.asarray(a, np.float64), mixture)
        cdf = jax.jit(exact.cdf)

        def below(points: Any) -> np.ndarray:
            return np.asarray(cdf(points)) < share

        low, high = -np.ones_like(share), np.ones_like(share)
        for _ in range(FARTHEST):
            low, high = np.where(below(low), low, 4 * low), np.where(below(high), 4 * high, high)
        for _ in range(2 * HALVINGS):
            middle = low + (high - low) / 2
            less = below(middle)
            low, high = np.where(less, middle, low), np.where(less, high, middle)
        whole = np.round(high)
        jump = ~below(whole) & below(np.nextafter(whole, -np.inf))
        found = np.where(jump, whole, high)
    return np.where(share == 0, -np.inf, np.where(share == 1, np.inf, found))


def hdr(mixture: Mixture, mass: float | int) -> list[tuple[float, float]]:
    """Find the smallest region that holds a share `mass`: where the density is high enough.

    Args:
        mixture: A mixture of one-dimensional normals.
        mass: Between 0 and 1, both excluded.

    Returns:
        Intervals in ascending order, in the data's unit: as many as stand apart.

    Raises:
        TypeError: the components are not one-dimensional normals.
        ValueError: a mass outside (0, 1).
    """
    line = _Line(mixture)
    if not 0 < mass < 1:
        raise ValueError(f"mass must lie between 0 and 1, both excluded, got {mass!r}.")
    peaks = modes(line.mixture)
    valleys = np.array([line.valley(a, b) for a, b in itertools.pairwise(peaks)])
    # The region above the lowest density of the central interval holds at least that interval.
    ends = icdf(line.mixture, [(1 - mass) / 2, 1 - (1 - mass) / 2])
    between = valleys[(valleys > ends[0]) & (valleys < ends[1])]
    low = line.log_density(np.concatenate([ends, between])).min()
    high = line.log_density(peaks).max()
    for _ in range(HALVINGS):
        level = (low + high) / 2
        if line.outside(line.above(level, peaks, valleys)) < 1 - mass:
            low = level
        else:
            high = level
    return line.above(low, peaks, valleys)


class _Line:
    """Parameters of the components that have weight, and what follows from them."""

    def __init__(self, mixture: Mixture) -> None:
        components = mixture.components
        normal = isinstance(components, Normal | MultivariateNormal)
        if not normal or components.event_shape not in ((), (1,)):
            raise TypeError(
                "icdf and hdr of normal components, and hdr at all, are for one feature of normal "
                "components: take `marginal(j)` of a mixture of several features first."
            )
        scales = (
            components.scales if isinstance(components, Normal) else components.scale_trils[:, 0]
        )
        arrays = (mixture.weights, components.means, scales)
        weights, means, scales = (np.asarray(a, np.float64).ravel() for a in arrays)
        used = weights > 0
        self.weights = weights[used] / weights[used].sum()
        self.means, self.scales = means[used], scales[used]
        self.mixture = rebuild(
            Mixture,
            weights=self.weights,
            components=rebuild(Normal, means=self.means, scales=self.scales),
        )

    def standardised(self, x: Any) -> Any:
        return (np.asarray(x)[..., None] - self.means) / self.scales

    def log_density(self, x: Any) -> Any:
        peak = np.log(self.weights / self.scales) - 0.5 * np.log(2 * np.pi)
        return np.logaddexp.reduce(peak - self.standardised(x) ** 2 / 2, -1)

    def log_tail(self, x: Any, side: int) -> Any:
        """Log of the share below x (side 1) or above it (side -1)."""
        from scipy.special import log_ndtr

        return np.logaddexp.reduce(np.log(self.weights) + log_ndtr(side * self.standardised(x)), -1)

    def outside(self, region: list[tuple[float, float]]) -> float:
        """The share that lies in none of the intervals, from the smaller tail of each component."""
        from scipy.special import ndtr

        edges = [-np.inf, *np.ravel(region), np.inf]
        z = self.standardised(edges)
        low, high = z[::2], z[1::2]
        right = low > 0
        shares = ndtr(np.where(right, -low, high)) - ndtr(np.where(right, -high, low))
        return float((self.weights * shares).sum())

    def valley(self, low: float, high: float) -> float:
        """The minimum of the density between two neighbouring peaks."""
        for _ in range(2 * HALVINGS):
            middle = low + (high - low) / 2
            z = self.standardised(middle)
            terms = np.log(self.weights / self.scales) - z**2 / 2
            shares = np.exp(terms - terms.max())
            falling = (shares * z / self.scales).sum() > 0
            low, high = (middle, high) if falling else (low, middle)
        return low

    def above(
        self, level: float, peaks: np.ndarray, valleys: np.ndarray
    ) -> list[tuple[float, float]]:
        """Where the log density exceeds `level`: one interval between low valleys."""
        heights = -np.log(self.scales) - 0.5 * np.log(2 * np.pi)
        reach = self.scales * (1 + np.sqrt(2 * np.maximum(heights - level, 0)))
        ends = (self.means - reach).min(), (self.means + reach).max()
        stops = np.concatenate([ends[:1], valleys, ends[1:]])
        high = self.log_density(peaks) >= level
        deep = self.log_density(stops) < level
        deep[[0, -1]] = True
        starts = self._crossing(stops[:-1][high & deep[:-1]], peaks[high & deep[:-1]], level)
        finishes = self._crossing(stops[1:][high & deep[1:]], peaks[high & deep[1:]], level)
        return list(zip(starts.tolist(), finishes.tolist(), strict=True))

    def _crossing(self, low: np.ndarray, high: np.ndarray, level: float) -> np.ndarray:
        """Where the log density reaches `level` on the way from `low` to `high`."""
        for _ in range(HALVINGS):
            middle = low + (high - low) / 2
            below = self.log_density(middle) < level
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        return high
