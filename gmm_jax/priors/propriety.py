"""Whether there is a posterior at all: components that shrink onto equal values.

Let s be a component's standard deviation in one column, with a prior density that goes like
s^(a - 1) near 0, independent of the mean. Equal values that count m times give it, the mean
integrated out, the likelihood s^(-m) s, so that the posterior density goes like s^(a - m): its
integral, the evidence, is finite just if m < a + 1. So is that of a mixture, in which any points
may be all that one component holds.
"""

import math

import numpy as np
from jaxtyping import Float


def spike(
    points: Float[np.ndarray, "n ..."],
    weight: Float[np.ndarray, "n"],
    shape: Float[np.ndarray, "k ..."],
    remedy: str = "",
) -> str | None:
    """Say that equal values make the evidence infinite, and what helps; None if they don't.

    Args:
        points: n points; NaN is a missing value.
        weight: How often each counts.
        shape: The power a with which the mass of each standard deviation up to s vanishes at 0.
        remedy: What helps, where it is not what helps a gamma.
    """
    k = len(shape)
    columns = points.reshape(len(points), -1).T
    least = np.broadcast_to(shape, (k, *points.shape[1:])).reshape(k, -1).min(0)
    for j, (column, a) in enumerate(zip(columns, least, strict=True)):
        there = (weight > 0) & ~np.isnan(column)
        values, where = np.unique(column[there], return_inverse=True)
        counts = np.bincount(where.ravel(), weight[there])
        if not counts.size or (k == 1 and len(values) > 1) or counts.max() < a + 1:
            continue
        of = f"column {j} of data" if points.ndim == 2 else "data"
        width = f", such as {np.diff(values).min():.3g}" if len(values) > 1 else ""
        helps = remedy or (
            f"Pass least_scale, the width to which the data were rounded{width}, to the prior; or "
            f"a shape above {counts.max() - 1:g}; or NormalInverseGamma, which keeps away from 0."
        )
        return (
            f"the evidence is infinite, and there is no posterior: {of} holds the value "
            f"{values[counts.argmax()]:g} {counts.max():g} times, and a prior of standard "
            f"deviations with shape {a:g} lets a component shrink onto a value that is there "
            f"{math.ceil(a + 1)} times or more. {helps}"
        )
    return None


def common_spike(
    points: Float[np.ndarray, "n ..."],
    weight: Float[np.ndarray, "n"],
    shape: Float[np.ndarray, "k ..."],
    rate_shape: Float[np.ndarray, "1 ..."],
) -> str | None:
    """The same where k variances ~ InverseGamma(shape a, rate) share a rate ~ Gamma(g, h).

    Where c of the standard deviations go to 0 together as s, the prior goes like s^(2 e - 1) with
    e = g + (k - c) a, and their likelihood like s^(-sum_j (m_j - 1)) over the values they hold. All
    k can where there are no more than k values; else the last must be wide, to hold the others.
    """
    k = len(shape)
    columns = points.reshape(len(points), -1).T
    least = np.broadcast_to(shape, (k, *points.shape[1:])).reshape(k, -1).min(0)
    g = np.broadcast_to(rate_shape, (1, *points.shape[1:])).reshape(-1)
    for j, column in enumerate(columns):
        there = (weight > 0) & ~np.isnan(column)
        values, where = np.unique(column[there], return_inverse=True)
        counts = np.sort(np.bincount(where.ravel(), weight[there]))[::-1]
        narrow = k if len(values) <= k else k - 1
        power = 2 * (g[j] + (k - narrow) * least[j])
        extra = np.maximum(counts[:narrow] - 1, 0).sum()
        if narrow and extra >= power:
            of = f"column {j} of data" if points.ndim == 2 else "data"
            return (
                f"the evidence is infinite, and there is no posterior: {of} holds values {extra:g} "
                f"times more than once, and a prior of variances whose rate may be near 0 lets "
                f"{k} components shrink onto values that repeat {power:g} times or more. Pass a "
                f"rate_shape above {extra / 2:g}, or NormalInverseGamma, which keeps away from 0."
            )
    return None
