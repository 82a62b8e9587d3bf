"""Covariances in scikit-learn's four shapes, and as standard deviations or triangles of ours.

Ours are lower triangles L (k, d, d) with L L' the covariance where features depend on each other
(full, tied), else standard deviations (k, d). All of this is NumPy in float64 on a few numbers.
"""

from typing import Any

import numpy as np
from jaxtyping import Float

from gmm_jax._pytree import rebuild
from gmm_jax.families import MultivariateNormal, Normal

TYPES = ("full", "tied", "diag", "spherical")


def has_matrices(covariance_type: str) -> bool:
    """Whether there are matrices, not just variances."""
    return covariance_type in ("full", "tied")


def shape_of(covariance_type: str, k: int, d: int) -> tuple[int, ...]:
    """Shape of scikit-learn's array."""
    shapes = {"full": (k, d, d), "tied": (d, d), "diag": (k, d), "spherical": (k,)}
    return shapes[covariance_type]


def pooled(
    counts: Float[np.ndarray, "k"], each: Float[np.ndarray, "k ..."], covariance_type: str
) -> Float[np.ndarray, "..."]:
    """Covariances in scikit-learn's shape, from those (or the variances) of every component."""
    if covariance_type == "tied":
        return np.tensordot(counts / counts.sum(), each, 1)
    return each.mean(-1) if covariance_type == "spherical" else each


def roots_of(
    covariances: Float[np.ndarray, "..."], covariance_type: str, k: int, d: int
) -> Float[np.ndarray, "k ..."]:
    """Triangles or standard deviations of every component.

    Raises:
        numpy.linalg.LinAlgError: a matrix that is not positive definite.
    """
    exact = np.asarray(covariances, np.float64)
    own = np.linalg.cholesky(exact) if has_matrices(covariance_type) else np.sqrt(exact)
    return _of_every_component(own, covariance_type, k, d)


def roots_of_precisions(
    precisions_cholesky: Float[np.ndarray, "..."], covariance_type: str, k: int, d: int
) -> Float[np.ndarray, "k ..."]:
    """The same from U, upper triangles with U U' the precision, or one over the deviations."""
    exact = np.asarray(precisions_cholesky, np.float64)
    if has_matrices(covariance_type):
        own = np.tril(np.swapaxes(np.linalg.inv(exact), -1, -2))
    else:
        own = 1 / exact
    return _of_every_component(own, covariance_type, k, d)


def _of_every_component(own: np.ndarray, covariance_type: str, k: int, d: int) -> np.ndarray:
    if covariance_type == "spherical":
        own = own[:, None]
    return np.broadcast_to(own, (k, d, d) if has_matrices(covariance_type) else (k, d))


def components_of(means: Float[np.ndarray, "k d"], roots: Float[np.ndarray, "k ..."]) -> Any:
    """Normals: with independent features where there are standard deviations."""
    if roots.ndim == 3:
        return rebuild(MultivariateNormal, means=means, scale_trils=roots)
    return rebuild(Normal, means=means, scales=roots)


def roots_of_components(components: Any, covariance_type: str) -> Float[np.ndarray, "k ..."]:
    """Triangles where the type has matrices, else standard deviations."""
    if hasattr(components, "scale_trils"):
        return np.tril(np.asarray(components.scale_trils, np.float64))
    scales = np.asarray(components.scales, np.float64)
    return scales[..., None] if has_matrices(covariance_type) else scales


def fitted_arrays(
    roots: Float[np.ndarray, "k ..."], covariance_type: str
) -> dict[str, Float[np.ndarray, "..."]]:
    """scikit-learn's fitted attributes that speak of covariances."""
    if covariance_type == "tied":
        roots = roots[0]
    elif covariance_type == "spherical":
        roots = roots[:, 0]
    if not has_matrices(covariance_type):
        return {
            "covariances_": roots**2,
            "precisions_": roots**-2,
            "precisions_cholesky_": 1 / roots,
        }
    upper = np.swapaxes(np.linalg.inv(roots), -1, -2)
    return {
        "covariances_": roots @ np.swapaxes(roots, -1, -2),
        "precisions_": upper @ np.swapaxes(upper, -1, -2),
        "precisions_cholesky_": upper,
    }


def number_free(covariance_type: str, k: int, d: int) -> int:
    """How many numbers are free in a mixture of normals."""
    triangle = d * (d + 1) // 2
    covariances = {"full": k * triangle, "tied": triangle, "diag": k * d, "spherical": k}
    return covariances[covariance_type] + k * d + k - 1
