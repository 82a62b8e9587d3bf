"""Where ascents start: as people say, or from the points as scikit-learn divides them."""

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
    "that differ. Pass a positive reg_covar, ask for fewer components, or scale X."
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


class Given(NamedTuple):
    """Weights, means and roots of covariances to start from; None where not given."""

    weights: np.ndarray | None
    means: np.ndarray | None
    roots: np.ndarray | None

    @classmethod
    def of(cls, estimator: Any, k: int, d: int) -> "Given":
        """Check `weights_init`, `means_init` and `precisions_init`.

        Raises:
            ValueError: another shape, weights that are no shares, precisions that are none.
        """
        weights = shaped("weights_init", estimator.weights_init, (k,))
        if weights is not None and (weights.min() < 0 or abs(weights.sum() - 1) > 1e-6):
            raise ValueError(
                f"weights_init must be shares that sum to 1, got {weights.tolist()}: divide them "
                f"by their sum."
            )
        kind = estimator.covariance_type
        shape = _covariances.shape_of(kind, k, d)
        precisions = shaped("precisions_init", estimator.precisions_init, shape)
        roots = None if precisions is None else _roots(precisions, kind, k, d)
        return cls(weights, shaped("means_init", estimator.means_init, (k, d)), roots)

    @property
    def complete(self) -> bool:
        """Whether nothing is left to be chosen."""
        return all(part is not None for part in self)

    def instead_of(self, found: tuple[Any, ...]) -> tuple[Any, ...]:
        """What is given, and what was found where nothing is."""
        return tuple(b if a is None else a for a, b in zip(self, found, strict=True))


def shaped(name: str, value: Any, shape: tuple[int, ...]) -> np.ndarray | None:
    """Numbers of this shape, float64; None if none are given.

    Raises:
        TypeError: not numbers.
        ValueError: another shape, or NaN.
    """
    if value is None:
        return None
    try:
        array = np.asarray(value, np.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} must be numbers, got {value!r}.") from error
    if array.shape != shape or not np.all(np.isfinite(array)):
        raise ValueError(
            f"{name} must be finite numbers of shape {shape}, got an array of shape {array.shape}."
        )
    return array


def positive_definite(name: str, values: np.ndarray) -> None:
    """Check matrices (... d d), or numbers (one axis at most).

    Raises:
        ValueError: matrices that are not symmetric and positive definite, numbers not above zero.
    """
    if values.ndim < 2:
        if values.min() <= 0:
            raise ValueError(f"{name} must be above zero, got {values.tolist()}.")
        return
    symmetric = np.allclose(values, np.swapaxes(values, -1, -2))
    if not symmetric or np.linalg.eigvalsh(values).min() <= 0:
        raise ValueError(f"{name} must be symmetric and positive definite.")


def _roots(precisions: np.ndarray, covariance_type: str, k: int, d: int) -> np.ndarray:
    matrices = _covariances.has_matrices(covariance_type)
    positive_definite("precisions_init", precisions if matrices else precisions.ravel())
    covariances = np.linalg.inv(precisions) if matrices else 1 / precisions
    return _covariances.roots_of(covariances, covariance_type, k, d)
