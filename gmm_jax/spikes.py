"""Fits that only look good: components that shrank onto a few values."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from gmm_jax import em
from gmm_jax.results import PointFit

NARROW = 0.01
"""A component this much narrower than its neighbour must rest on more than a few values."""


@dataclass(frozen=True)
class Groups:
    """The data, which of the rows that count are equal, and whether components have names."""

    points: np.ndarray
    weight: np.ndarray
    count: int
    inverse: np.ndarray
    named: bool


def problem_of(result: PointFit, groups: Groups) -> str:
    """Say which component is a spike, and why; empty if none is."""
    if result.status in (em.COLLAPSED, em.NOT_FINITE):
        return em.MEANING[result.status]
    components: Any = result.inside.components
    if not np.all(components.centred):
        return ""  # without a scale that can shrink the likelihood is bounded
    k = result.inside.n_components
    n_parameters = (result.n_parameters - (k - 1)) / k
    used = result.sample_weight > 0
    everyone = groups.weight > 0
    shares = np.asarray(result.responsibilities(), np.float64)
    distinct = np.zeros((groups.count, k))
    np.maximum.at(distinct, groups.inverse[used[everyone]], shares[used])
    explained = distinct.sum(0)
    few = np.flatnonzero(explained < n_parameters + 0.5)
    if few.size:
        return (
            f"component {few[0]} explains {explained[few[0]]:.1f} distinct points with "
            f"{n_parameters:g} parameters"
        )
    return _needle(result, groups, shares * result.sample_weight[:, None], n_parameters)


def _needle(result: PointFit, groups: Groups, mass: np.ndarray, n_parameters: float) -> str:
    """Look for a component much narrower than its neighbour, with its mass on a few values."""
    k = mass.shape[1]
    if k == 1:
        return ""
    used = groups.weight > 0
    by_value = np.zeros((groups.count, k))
    np.add.at(by_value, groups.inverse, mass[used])
    total = mass.sum(0)
    values = total**2 / (by_value**2).sum(0)  # how many equally heavy values it is worth
    rows = ((result.data - result.frame.centre) / result.frame.unit).reshape(len(mass), -1)
    rows = np.nan_to_num(rows)  # at the centre, where missing
    means = (mass / total).T @ rows
    width = np.array([_width(rows - m, w) for m, w in zip(means, (mass / total).T, strict=True)])
    distance = ((means[:, None] - means) ** 2).sum(-1) + np.where(np.eye(k), np.inf, 0)
    neighbour = width[distance.argmin(1)]
    bad = np.flatnonzero((width < NARROW * neighbour) & (values < n_parameters + 1))
    if bad.size == 0:
        return ""
    return (
        f"component {bad[0]} is {width[bad[0]] / neighbour[bad[0]]:.1g} times as wide as its "
        f"neighbour and sits on about {values[bad[0]]:.1f} values"
    )


def _width(deviations: np.ndarray, share: np.ndarray) -> float:
    """Standard deviation, or with several features the d-th root of the ellipsoid's volume."""
    covariance = (share[:, None] * deviations).T @ deviations
    return float(np.exp(np.linalg.slogdet(covariance)[1] / (2 * len(covariance))))
