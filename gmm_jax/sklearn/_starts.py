"""Where ascents start: scikit-learn's ways of dividing the points, with its random numbers."""

from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float
from sklearn.cluster import KMeans, kmeans_plusplus

from gmm_jax._pytree import rebuild
from gmm_jax.families import Normal
from gmm_jax.mixture import Mixture
from gmm_jax.sklearn import _covariances
from gmm_jax.sklearn._setting import Setting

WAYS = ("kmeans", "k-means++", "random", "random_from_data")
COLLAPSED = (
    "reg_covar=0 leaves a component with an ill-defined covariance: it holds too few points "
    "that differ. Pass a positive reg_covar, ask for fewer components, or scale the data."
)


class Moments(NamedTuple):
    """What a division of the points says of every component."""

    counts: Float[np.ndarray, "k"]
    means: Float[np.ndarray, "k d"]
    covariances: Float[np.ndarray, "k ..."]
    """Matrices, or only variances where features are independent."""


def complete(X: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The points with the mean of the column in place of what is missing; to start from only."""
    missing = np.isnan(X)
    if not missing.any():
        return X
    share = np.where(missing, 0, weight[:, None])
    mean = (share * np.nan_to_num(X)).sum(0) / share.sum(0)
    return np.where(missing, mean, X).astype(X.dtype)


def divide(
    way: str, X: np.ndarray, weight: np.ndarray, k: int, rng: np.random.RandomState
) -> Float[np.ndarray, "n k"]:
    """Responsibilities to start from; with equal weights those that scikit-learn starts from.

    Args:
        way: One of `WAYS`.
        X: Complete points.
        weight: How often each counts.
        k: How many components.
        rng: Source of random numbers.
    """
    n, even = len(X), np.all(weight == weight[0])
    own_weight = None if even else weight
    if way == "kmeans":
        labels = KMeans(k, n_init=1, random_state=rng).fit(X, sample_weight=own_weight).labels_
        return np.eye(k)[labels]
    if way == "random":
        shares = rng.uniform(size=(n, k))
        return shares / shares.sum(1, keepdims=True)
    if way == "k-means++":
        _, chosen = kmeans_plusplus(X, k, sample_weight=own_weight, random_state=rng)
    else:
        chance = None if even else weight / weight.sum()
        chosen = rng.choice(n, size=k, replace=False, p=chance)
    shares = np.zeros((n, k))
    shares[chosen, np.arange(k)] = 1
    return shares


def moments(X: np.ndarray, shares: Float[np.ndarray, "n k"], covariance_type: str) -> Moments:
    """Counts, means and covariances of the components that hold `shares` of the points."""
    counts = shares.sum(0) + 10 * np.finfo(np.float64).eps
    centre = X.mean(0, dtype=np.float64)
    rows = X - centre
    means = shares.T @ rows / counts[:, None]
    each = []
    for mean, share, count in zip(means, shares.T, counts, strict=True):
        off = rows - mean
        matrices = _covariances.has_matrices(covariance_type)
        each.append((share * off.T) @ off / count if matrices else share @ off**2 / count)
    return Moments(counts, means + centre, np.array(each))


def parameters_of(
    found: Moments, covariance_type: str, extra: float | int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights, means and roots of the covariances, see `_covariances`, that moments imply.

    Args:
        found: From `moments`.
        covariance_type: What the components share.
        extra: What is added to every variance.

    Raises:
        ValueError: a covariance that is not positive definite.
    """
    counts, means, each = found
    covariances = _covariances.pooled(counts, each, covariance_type)
    matrices = _covariances.has_matrices(covariance_type)
    covariances = covariances + (extra * np.eye(means.shape[1]) if matrices else extra)
    try:
        roots = _covariances.roots_of(covariances, covariance_type, *means.shape)
    except np.linalg.LinAlgError:
        raise ValueError(COLLAPSED) from None
    if not matrices and np.any(roots <= 0):
        raise ValueError(COLLAPSED)
    return counts / counts.sum(), means, roots


def inside(found: list[tuple[Any, ...]], data: Setting) -> Mixture:
    """A batch of mixtures in the frame, from the weights, means and roots of each."""
    unit, mixtures = data.frame.unit, []
    for weights, means, roots in found:
        moved = (np.asarray(means, np.float64) - data.frame.centre) / unit
        own = roots.reshape(moved.shape) if data.family is Normal else roots
        own = own / (unit if own.ndim == 2 else unit[:, None])
        components = _covariances.components_of(moved, own)
        mixtures.append(rebuild(Mixture, weights=np.asarray(weights), components=components))
    return jax.tree.map(lambda *a: np.stack(a).astype(data.dtype), *mixtures)
