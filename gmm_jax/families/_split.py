"""Splitting the features of normal components into those that are known and the rest."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from gmm_jax._pytree import is_concrete


def features(dims: Any, d: int, some_left: bool = False) -> list[int]:
    """Check the numbers of some features; negative ones count from the end.

    Raises:
        TypeError: not whole numbers.
        ValueError: out of range, twice the same, none, or, if some must be left, all.
    """
    given = np.atleast_1d(np.asarray(dims))
    if given.dtype.kind not in "iu" or given.ndim != 1:
        raise TypeError(f"dims must be the number of a feature, or a list of them, got {dims!r}.")
    if np.any(given < -d) or np.any(given >= d):
        raise ValueError(f"dims must lie between 0 and {d - 1}, got {dims!r}.")
    chosen = [int(i) % d for i in given]
    if not chosen or len(set(chosen)) < len(chosen):
        raise ValueError(f"dims must name at least one feature, and none twice, got {dims!r}.")
    if some_left and len(chosen) == d:
        raise ValueError(f"dims names all {d} features: leave at least one free, or use log_prob.")
    return chosen


def as_row(values: Any, count: int, dtype: Any) -> Float[Array, "m"]:
    """Check the values that some features take.

    Raises:
        ValueError: not one number per feature, or NaN.
    """
    row = jnp.atleast_1d(jnp.asarray(values, dtype))
    if row.shape != (count,):
        raise ValueError(
            f"values must have one number for each of {count} dims, got shape {row.shape}: "
            "for many rows use jax.vmap."
        )
    if is_concrete(row) and bool(jnp.isnan(row).any()):
        raise ValueError("values must not be NaN: leave out the dims that are not known.")
    return row


def triangles(rows: Float[Array, "k m d"]) -> Float[Array, "k m m"]:
    """Lower triangles L with L L' = A A', by QR: no product is formed, so no digits are lost."""
    upper = jnp.linalg.qr(jnp.swapaxes(rows, 1, 2), mode="r")
    signs = jnp.where(jnp.diagonal(upper, axis1=1, axis2=2) < 0, -1, 1).astype(rows.dtype)
    return jnp.tril(jnp.swapaxes(signs[:, :, None] * upper, 1, 2))


def given(
    means: Float[Array, "k d"],
    trils: Float[Array, "k d d"],
    known: list[int],
    values: Float[Array, "m"],
) -> tuple[Float[Array, "k e"], Float[Array, "k e e"], Float[Array, "k"]]:
    """Means and triangles of the other features given the known ones, and log density of these."""
    m = len(known)
    rest = [j for j in range(means.shape[1]) if j not in known]
    order = np.array([*known, *rest])
    ordered = triangles(trils[:, order])
    deviations = (values - means[:, order[:m]])[..., None]
    whitened = jax.scipy.linalg.solve_triangular(ordered[:, :m, :m], deviations, lower=True)
    moved = jnp.matmul(ordered[:, m:, :m], whitened, precision="highest")[..., 0]
    diagonals = jnp.diagonal(ordered[:, :m, :m], axis1=1, axis2=2)
    log_prob = -0.5 * (whitened[..., 0] ** 2 + jnp.log(2 * jnp.pi)).sum(1)
    log_prob = log_prob - jnp.log(diagonals).sum(1)
    return means[:, order[m:]] + moved, ordered[:, m:, m:], log_prob
