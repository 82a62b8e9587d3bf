"""Where a one-dimensional normal mixture changes its mind, and where its density peaks.

These run in NumPy float64 on a handful of numbers, whatever the precision of the mixture.
"""

import itertools

import numpy as np
from jaxtyping import ArrayLike

from gmm_jax.families import Normal
from gmm_jax.mixture import Mixture


def decision_boundaries(mixture: Mixture) -> np.ndarray:
    """Find every point where the most probable component changes.

    Two components tie where w_i N(x | m_i, s_i) = w_j N(x | m_j, s_j), a quadratic in x with two
    roots, one or none; a root is a boundary where no third component is more probable.

    Args:
        mixture: A mixture of one-dimensional normals.

    Returns:
        The boundaries in ascending order, in the data's unit; empty when one component is the
        most probable everywhere.

    Raises:
        TypeError: the components are not one-dimensional normals.
    """
    weights, means, scales = _parameters(mixture)
    roots = []
    for i, j in itertools.combinations(np.flatnonzero(weights > 0), 2):
        origin, unit = (means[i] + means[j]) / 2, max(scales[i], scales[j])
        (a, b), (p, q) = (means[[i, j]] - origin) / unit, (unit / scales[[i, j]]) ** 2
        constant = np.log(weights[i] / weights[j]) - np.log(scales[i] / scales[j])
        polynomial = [(q - p) / 2, a * p - b * q, (b * b * q - a * a * p) / 2 + constant]
        for root in _real_roots(polynomial):
            tied = root * unit + origin
            log_joint = _log_joint(tied, weights, means, scales)
            tolerance = 1e-9 * (1 + abs(log_joint[i]))
            if log_joint.max() <= max(log_joint[i], log_joint[j]) + tolerance:
                roots.append(tied)
    return np.array(sorted(roots))


def modes(mixture: Mixture) -> np.ndarray:
    """Find every local maximum of the density.

    They lie between the smallest and the largest mean, and there are at most k of them [1]; each
    sign change of the derivative from plus to minus on a fine grid is refined by bisection.

    Args:
        mixture: A mixture of one-dimensional normals.

    Returns:
        The modes in ascending order, in the data's unit: at least one.

    Raises:
        TypeError: the components are not one-dimensional normals.

    [1] Carreira-Perpinan and Williams (2003), "On the number of modes of a Gaussian mixture".
    """
    weights, means, scales = _parameters(mixture)
    means, scales, weights = (array[weights > 0] for array in (means, scales, weights))
    offsets = np.linspace(-8, 8, 3201)
    grid = np.unique((means[:, None] + scales[:, None] * offsets).ravel())
    grid = np.unique(np.concatenate([means, grid[(grid > means.min()) & (grid < means.max())]]))
    slopes = _slope(grid, weights, means, scales)
    # At the outermost means the density can only fall towards the outside.
    rising, falling = np.append(True, slopes > 0), np.append(slopes <= 0, True)
    edges = np.concatenate([[grid[0]], grid, [grid[-1]]])
    return np.array(
        [
            _bisect(edges[i], edges[i + 1], weights, means, scales)
            for i in np.flatnonzero(rising & falling)
        ]
    )


def _parameters(mixture: Mixture) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    components = mixture.components
    if not isinstance(components, Normal) or components.event_shape not in ((), (1,)):
        raise TypeError(
            "decision_boundaries and modes are for one-dimensional Normal components; "
            "for other mixtures compare `responsibilities` on a grid of points."
        )
    arrays = (mixture.weights, components.means, components.scales)
    weights, means, scales = (np.asarray(array, np.float64).ravel() for array in arrays)
    return weights, means, scales


def _real_roots(polynomial: list[float]) -> np.ndarray:
    """Real roots of a quadratic whose leading coefficient may be zero up to rounding."""
    coefficients = np.array(polynomial)
    largest = np.abs(coefficients).max()
    if largest == 0:
        return np.array([])
    negligible = np.abs(coefficients[:2]) <= 1e-12 * largest
    if negligible.all():
        return np.array([])
    roots = np.roots(coefficients[1:] if negligible[0] else coefficients)
    return np.unique(roots[np.isreal(roots)].real)


def _log_joint(x: ArrayLike, weights, means, scales) -> np.ndarray:
    x = np.asarray(x)[..., None]
    return (
        np.log(weights + (weights == 0) * 1e-300) - np.log(scales) - ((x - means) / scales) ** 2 / 2
    )


def _slope(x: ArrayLike, weights, means, scales) -> np.ndarray | np.float64:
    """Derivative of the log density at x, which has the sign of the density's own."""
    log_joint = _log_joint(x, weights, means, scales)
    shares = np.exp(log_joint - log_joint.max(-1, keepdims=True))
    return (shares * (means - np.asarray(x)[..., None]) / scales**2).sum(-1) / shares.sum(-1)


def _bisect(low: float, high: float, weights, means, scales) -> float:
    for _ in range(200):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        if _slope(middle, weights, means, scales) > 0:
            low = middle
        else:
            high = middle
    return float((low + high) / 2)
