"""Whether there is a posterior at all: components that shrink onto equal values.

Let s be a component's standard deviation in one column, with a prior density that goes like
s^(a - 1) near 0, independent of the mean. Equal values that count m times give it, the mean
integrated out, the likelihood s^(-m) s, so that the posterior density goes like s^(a - m): its
integral, the evidence, is finite just if m < a + 1; and if m < a where the mean is held at that
value. So is that of a mixture, in which any points may be all that one component holds.
"""

import math
from fractions import Fraction
from typing import Any

import numpy as np
from jaxtyping import Float


def spike(
    points: Float[np.ndarray, "n ..."],
    weight: Float[np.ndarray, "n"],
    shape: Float[np.ndarray, "k ..."],
    known: dict[str, np.ndarray],
    remedy: str = "",
) -> str | None:
    """Say that equal values make the evidence infinite, and what helps; None if they don't.

    Args:
        points: n points; NaN is a missing value.
        weight: How often each counts.
        shape: The power a with which the mass of each standard deviation up to s vanishes at 0.
        known: Means and scales that are held, NaN where they aren't.
        remedy: What helps, where it is not what helps a gamma.
    """
    k, event = len(shape), points.shape[1:]
    columns = points.reshape(len(points), -1).T
    rows = zip(columns, _by_column(shape, k, event), *_held(known, k, event), strict=True)
    for j, (column, a, mean, scale) in enumerate(rows):
        values, counts = _counted(column, weight)
        if not counts.size or (k == 1 and len(values) > 1):
            continue
        held = ~np.isnan(mean)
        most = np.where(held, _at(mean, values, counts), counts.max())
        enough = np.where(held, a, a + 1)
        excess = np.where(np.isnan(scale) & (most > 0), most - enough, -np.inf)
        worst = excess.argmax()
        if excess[worst] < 0:
            continue
        of = f"column {j} of data" if event else "data"
        value = mean[worst] if held[worst] else values[counts.argmax()]
        who = "a component whose mean is held there" if held[worst] else "a component"
        width = f", such as {_width(values):.3g}" if len(values) > 1 else ""
        helps = remedy or (
            f"Pass least_scale, the width to which the data were rounded{width}, to the prior; or "
            f"a shape above {a[worst] + excess[worst]:g}; or NormalInverseGamma, which keeps away "
            f"from 0."
        )
        return (
            f"the evidence is infinite, and there is no posterior: {of} holds the value {value:g} "
            f"{most[worst]:g} times, and a prior of standard deviations with shape {a[worst]:g} "
            f"lets {who} shrink onto a value that is there {math.ceil(enough[worst])} times or "
            f"more. {helps}"
        )
    return None


def _by_column(value: Any, k: int, event: tuple[int, ...]) -> Float[np.ndarray, "d k"]:
    return np.broadcast_to(value, (k, *event)).reshape(k, -1).T


def _held(known: dict[str, np.ndarray], k: int, event: tuple[int, ...]) -> list[Any]:
    """Means and scales by column, NaN where they are free."""
    return [_by_column(known.get(name, np.nan), k, event) for name in ("means", "scales")]


def _counted(column: Float[np.ndarray, "n"], weight: Float[np.ndarray, "n"]) -> tuple[Any, Any]:
    """The values of a column, and how often each counts."""
    there = (weight > 0) & ~np.isnan(column)
    values, where = np.unique(column[there], return_inverse=True)
    return values, np.bincount(where.ravel(), weight[there])


def _at(means: Float[np.ndarray, "k"], values: Any, counts: Any) -> Float[np.ndarray, "k"]:
    """How often the values count that means are held at."""
    return (counts * (means.astype(values.dtype)[:, None] == values)).sum(1)


def common_spike(
    points: Float[np.ndarray, "n ..."],
    weight: Float[np.ndarray, "n"],
    shape: Float[np.ndarray, "k ..."],
    rate_shape: Float[np.ndarray, "1 ..."],
    known: dict[str, np.ndarray],
) -> str | None:
    """The same where k variances ~ InverseGamma(shape a, rate) share a rate ~ Gamma(g, h).

    Where c of the standard deviations go to 0 together as s, the prior goes like s^(2 e - 1) with
    e = g + (k - c) a, and their likelihood like s^(-sum_j (m_j - 1)) over the values they hold. All
    k can where there are no more than k values; else the last must be wide, to hold the others, as
    one is whose scale is held. One whose mean is held at a value gives s^(-m).
    """
    k, event = len(shape), points.shape[1:]
    means, scales = _held(known, k, event)
    columns = points.reshape(len(points), -1).T
    least = _by_column(shape, k, event).min(1)
    g = np.broadcast_to(rate_shape, (1, *event)).reshape(-1)
    for j, column in enumerate(columns):
        values, counts = _counted(column, weight)
        free = np.isnan(scales[j])
        held = means[j][free & ~np.isnan(means[j])]
        narrow = free.sum() if len(values) <= k or not free.all() else k - 1
        power = 2 * (g[j] + (k - narrow) * least[j])
        others = np.sort(counts[~np.isin(values, held.astype(values.dtype))] - 1)[::-1]
        others = others[: free.sum() - len(held)]
        gains = np.sort(np.append(others, _at(np.unique(held), values, counts)))[::-1]
        extra = np.maximum(gains[:narrow], 0).sum()
        if narrow and extra >= power:
            of = f"column {j} of data" if event else "data"
            return (
                f"the evidence is infinite, and there is no posterior: {of} holds values {extra:g} "
                f"times more than once, and a prior of variances whose rate may be near 0 lets "
                f"{k} components shrink onto values that repeat {power:g} times or more. Pass a "
                f"rate_shape above {extra / 2:g}, or NormalInverseGamma, which keeps away from 0."
            )
    return None


def _width(values: Float[np.ndarray, "m"]) -> float:
    """The largest number that all values are multiples of; the smallest gap where none shows."""
    digits = 7 if values.dtype == np.float32 else 15
    written = [Fraction(format(value, f".{digits}g")) for value in values.tolist()]
    scale = math.lcm(*(number.denominator for number in written))
    width = math.gcd(*(int(number * scale) for number in written)) / scale
    seen = width > 10.0 ** (1 - digits) * np.abs(values).max()
    return width if seen else float(np.diff(values).min())
