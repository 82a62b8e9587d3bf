"""Changes of variables from numbers that may take any value to parameters, with their Jacobians.

Samplers that follow gradients move in a space without edges. A density there is the density of the
parameters plus the log of how much the change stretches volume.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from gmm_jax._numerics import triangle


class Transform(NamedTuple):
    """A change of variables, entry by entry or over the last axes of an array."""

    free: Callable[[Array], Array]
    """From parameters to numbers that may take any value."""
    value: Callable[[Array], Array]
    """Back."""
    log_jacobian: Callable[[Array], Array]
    """Of `value`, at the free numbers: one for each event."""
    event_axes: int = 0
    """How many of the last axes make one event."""


def affine_of(transform: Transform, low: Array, width: Array) -> Transform:
    """The transform for `low + width * value`."""
    return Transform(
        lambda value: transform.free((value - low) / width),
        lambda free: low + width * transform.value(free),
        lambda free: transform.log_jacobian(free) + jnp.log(jnp.abs(width)),
        transform.event_axes,
    )


def _inside(share: Array) -> Array:
    """Shares that round to 0 or 1, where a density may be infinite, moved inside."""
    limits = jnp.finfo(share.dtype)
    return jnp.clip(share, limits.tiny, 1 - limits.epsneg)


def _even_basis(k: int) -> Float[np.ndarray, "k f"]:
    """Orthonormal columns that sum to zero (Helmert's)."""
    basis = np.zeros((k, k - 1))
    for j in range(1, k):
        basis[:j, j - 1] = 1
        basis[j, j - 1] = -j
        basis[:, j - 1] /= np.sqrt(j * (j + 1))
    return basis


def _shares_free(shares: Float[Array, "... k"]) -> Float[Array, "... f"]:
    basis = jnp.asarray(_even_basis(shares.shape[-1]), shares.dtype)
    return jnp.matmul(jnp.log(shares), basis, precision="highest")


def _log_shares(free: Float[Array, "... f"]) -> Float[Array, "... k"]:
    basis = jnp.asarray(_even_basis(free.shape[-1] + 1), free.dtype)
    return jax.nn.log_softmax(jnp.matmul(free, basis.T, precision="highest"), -1)


def _shares(free: Float[Array, "... f"]) -> Float[Array, "... k"]:
    return jnp.exp(_log_shares(free))


def _shares_log_jacobian(free: Float[Array, "... f"]) -> Float[Array, "..."]:
    """Of all shares but the last: the determinant of diag(w) - ww' on the basis.

    It is sqrt(k) times the product of the shares [1].

    [1] Egozcue and others (2003), "Isometric logratio transformations for compositional data
        analysis".
    """
    return _log_shares(free).sum(-1) + 0.5 * np.log(free.shape[-1] + 1)


def _ordered_free(values: Float[Array, "... k"]) -> Float[Array, "... k"]:
    """The lowest, and logs of the steps from one to the next."""
    values = jnp.sort(values, -1)
    return jnp.concatenate([values[..., :1], jnp.log(jnp.diff(values, axis=-1))], -1)


def _ordered(free: Float[Array, "... k"]) -> Float[Array, "... k"]:
    return jnp.cumsum(free.at[..., 1:].set(jnp.exp(free[..., 1:])), -1)


def _covariance_free(covariances: Float[Array, "... d d"]) -> Float[Array, "... f"]:
    trils = triangle(covariances)
    below = np.tril_indices(trils.shape[-1], -1)
    diagonal = jnp.log(jnp.diagonal(trils, axis1=-2, axis2=-1))
    return jnp.concatenate([diagonal, trils[..., *below]], -1)


def _covariance(free: Float[Array, "... f"]) -> Float[Array, "... d d"]:
    trils = _triangles(free)
    return jnp.matmul(trils, jnp.swapaxes(trils, -1, -2), precision="highest")


def _triangles(free: Float[Array, "... f"]) -> Float[Array, "... d d"]:
    """Lower triangles with positive diagonals; the logs of these come first."""
    d = _rows(free)
    on, below = np.diag_indices(d), np.tril_indices(d, -1)
    zeros = jnp.zeros((*free.shape[:-1], d, d), free.dtype)
    return zeros.at[..., *on].set(jnp.exp(free[..., :d])).at[..., *below].set(free[..., d:])


def _covariance_log_jacobian(free: Float[Array, "... f"]) -> Float[Array, "..."]:
    """Of the lower triangle of LL': 2^d prod_i L_ii^(d + 2 - i), i from 1.

    That is 2^d prod_i L_ii^(d + 1 - i) for the product [1], and L_ii for the logs.

    [1] Muirhead (1982), "Aspects of multivariate statistical theory", theorem 2.1.9.
    """
    d = _rows(free)
    powers = jnp.arange(d + 1, 1, -1, dtype=free.dtype)
    return (powers * free[..., :d]).sum(-1) + d * np.log(2)


def _rows(free: Array) -> int:
    """d, of d (d + 1) / 2 numbers."""
    return (int(np.sqrt(8 * free.shape[-1] + 1)) - 1) // 2


TRANSFORMS = {
    "real": Transform(lambda x: x, lambda u: u, jnp.zeros_like),
    "positive": Transform(jnp.log, jnp.exp, lambda u: u),
    "unit": Transform(
        lambda x: jnp.log(x) - jnp.log1p(-x),
        lambda u: _inside(jax.nn.sigmoid(u)),
        lambda u: jax.nn.log_sigmoid(u) + jax.nn.log_sigmoid(-u),
    ),
    "ordered": Transform(_ordered_free, _ordered, lambda u: u[..., 1:].sum(-1), 1),
    "simplex": Transform(_shares_free, _shares, _shares_log_jacobian, 1),
    "covariance": Transform(_covariance_free, _covariance, _covariance_log_jacobian, 2),
}
"""By the word for what a parameter may be: any number, above zero, between zero and one, numbers
that ascend, shares that sum to one, a positive definite matrix."""
