"""Where to look: the stretches of an axis worth showing, bins, and an axis broken between them."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

REACH = 3.5
"""How far from its mean a component is shown, in its standard deviations."""


class Axis(NamedTuple):
    """One to many stretches of a line, with the empty gaps between them cut short."""

    lows: np.ndarray
    highs: np.ndarray
    gap: float
    """How wide a gap is drawn, in the data's unit."""

    @classmethod
    def around(
        cls,
        weights: Float[np.ndarray, "s k"],
        means: Float[np.ndarray, "s k"],
        scales: Float[np.ndarray, "s k"],
        data: Float[np.ndarray, "n"],
        least: float = -np.inf,
    ) -> "Axis":
        """Cover the components that matter, and the data near them.

        A stretch is where the weights of components, each reaching `REACH` standard deviations,
        add up to 1 % of the most crowded place or more (averaged over draws), less ends with a
        density below half a percent of its peak. The axis is broken where a gap is wider than
        both its neighbours together. Where the model misses most of the data, these are shown
        as well.

        Args:
            weights: Of the components.
            means: Where they are.
            scales: How wide.
            data: n points.
            least: Where the axis begins at the earliest.
        """
        lows, highs = _crowded(weights, means - REACH * scales, means + REACH * scales)
        reach = (highs - lows) / 2
        ends = [
            _dense(*stretch, weights, means, scales) for stretch in zip(lows, highs, strict=True)
        ]
        lows, highs = np.array(ends).T
        data = np.sort(data)
        covered = sum(np.mean((data >= low) & (data <= high)) for low, high in ends)
        if covered < 0.5:
            lows, highs = (
                np.append(lows, np.quantile(data, 0.05)),
                np.append(highs, np.quantile(data, 0.95)),
            )
            reach, order = np.append(reach, 0), np.argsort(lows)
            lows, highs, reach = lows[order], highs[order], reach[order]
        first = np.searchsorted(data, lows - reach)
        last = np.searchsorted(data, highs + reach, side="right") - 1
        near = first <= last
        size = len(data) - 1
        lows = np.where(near, np.minimum(lows, data[np.minimum(first, size)]), lows)
        highs = np.where(near, np.maximum(highs, data[np.maximum(last, 0)]), highs)
        margin = 0.02 * (highs - lows).max()
        lows, highs = lows - margin, np.maximum.accumulate(highs + margin)
        widths = highs - lows
        broken = lows[1:] - highs[:-1] > widths[1:] + widths[:-1]
        lows, highs = lows[np.append(True, broken)], highs[np.append(broken, True)]
        lows = np.maximum(lows, least)
        return cls(lows, highs, 0.5 * float(np.mean(highs - lows)))

    @property
    def low(self) -> float:
        return float(self.lows[0])

    @property
    def high(self) -> float:
        return float(self.highs[-1])

    @property
    def gaps(self) -> list[tuple[float, float]]:
        """Where the axis is cut short."""
        return list(zip(self.highs[:-1].tolist(), self.lows[1:].tolist(), strict=True))

    @property
    def _knots(self) -> tuple[np.ndarray, np.ndarray]:
        """Ends of the stretches in the data's unit and as drawn; far points keep slope one."""
        knots = np.stack([self.lows, self.highs], 1).ravel()
        steps = np.diff(knots)
        steps[1::2] = self.gap
        drawn = knots[0] + np.append(0, np.cumsum(steps))
        far = 100 * (drawn[-1] - drawn[0])
        return (
            np.concatenate([[knots[0] - far], knots, [knots[-1] + far]]),
            np.concatenate([[drawn[0] - far], drawn, [drawn[-1] + far]]),
        )

    def draw(self, x: np.ndarray) -> np.ndarray:
        """Where x is drawn."""
        return np.interp(x, *self._knots)

    def undraw(self, x: np.ndarray) -> np.ndarray:
        """What is drawn at x."""
        return np.interp(x, *self._knots[::-1])

    def grid(self, means: np.ndarray, scales: np.ndarray, size: int = 501) -> np.ndarray:
        """Places to evaluate a density at: evenly spaced as drawn, and finer in components."""
        even = self.undraw(np.linspace(*self.draw(np.array([self.low, self.high])), size))
        fine = (means.ravel() + np.linspace(-4, 4, 81)[:, None] * scales.ravel()).ravel()
        return np.sort(np.concatenate([even, np.clip(fine, self.low, self.high)]))

    def bins(
        self, data: np.ndarray, share: np.ndarray, scales: np.ndarray, whole: bool = False
    ) -> np.ndarray:
        """Edges of bins: one width in all stretches, one bin for each gap.

        The width is Scott's rule, 3.49 s n^(-1/3), for the component that needs the finest; a
        whole number of units where the data are rounded to a unit, and at most 120 bins.

        Args:
            data: n points.
            share: k shares of them.
            scales: k standard deviations.
            whole: Whether data can only be whole numbers.
        """
        shown = float((self.highs - self.lows).sum())
        counts = np.maximum(share * len(data), 1)
        width = (3.49 * scales * counts ** (-1 / 3))[share >= min(0.02, share.max())].min()
        width, unit = max(width, shown / 120), 1.0 if whole else rounding(data)
        if unit > 0.05 * width:
            width = max(1, round(width / unit)) * unit
        edges = [
            _around(data[(data >= low) & (data <= high)], width, unit)
            for low, high in zip(self.lows, self.highs, strict=True)
        ]
        return np.concatenate(edges)


def rounding(data: np.ndarray) -> float:
    """The unit to which data were rounded: differences are multiples of the smallest, else 0."""
    distinct = np.unique(data[:10_000])
    if len(distinct) < 4:
        return 0.0
    steps = np.diff(distinct)
    multiples = steps / steps.min()
    return (
        float(steps.min())
        if np.allclose(multiples, np.round(multiples), rtol=0, atol=0.01)
        else 0.0
    )


def _crowded(weights: np.ndarray, lows: np.ndarray, highs: np.ndarray) -> tuple[np.ndarray, ...]:
    """Stretches in which the weights of the intervals there add up to enough."""
    ends = np.concatenate([lows.ravel(), highs.ravel()])
    order = np.argsort(ends, kind="stable")
    depth = np.cumsum(np.concatenate([weights.ravel(), -weights.ravel()])[order])
    inside = depth >= 0.01 * depth.max()
    before = np.append(False, inside[:-1])
    ends = ends[order]
    return ends[inside & ~before], ends[before & ~inside]


def _dense(low: float, high: float, weights, means, scales) -> tuple[float, float]:
    """The stretch between `low` and `high` without ends where hardly any density is."""
    x = np.linspace(low, high, 401)
    density = densities(x, weights, means, scales).mean(0)
    shown = x[density >= 0.005 * density.max()]
    return shown[0], shown[-1]


def _around(data: np.ndarray, width: float, unit: float) -> np.ndarray:
    """Edges of bins with the data in their middle, half a unit away from any."""
    if not data.size:
        return np.array([])
    spread = np.ptp(data) + unit
    n_bins = np.floor(spread / width + (0 if unit else 1))
    n_bins += n_bins * width < spread * (1 - 1e-9)
    spare = (n_bins * width - spread) / 2
    if unit:
        spare = np.floor(spare / unit + 1e-9) * unit
    return data.min() - unit / 2 - spare + width * np.arange(n_bins + 1)


def densities(
    x: Float[np.ndarray, "m"],
    weights: Float[np.ndarray, "s k"],
    means: Float[np.ndarray, "s k"],
    scales: Float[np.ndarray, "s k"],
) -> Float[np.ndarray, "s m"]:
    """Density at x of each of s mixtures of normals, in float64."""
    total = np.zeros((len(weights), len(x)))
    for weight, mean, scale in zip(weights.T, means.T, scales.T, strict=True):
        standardised = (x - mean[:, None]) / scale[:, None]
        total += np.exp(-0.5 * standardised**2) * (weight / scale)[:, None]
    return total / np.sqrt(2 * np.pi)
