"""What people say of the start of `GaussianMixture`."""

from typing import Any, NamedTuple

import numpy as np

from gmm_jax.sklearn import _covariances


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
