"""Arithmetic that stays finite where the textbook formula does not."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import gammaln
from jaxtyping import Float


def safe_log(x: Array) -> Array:
    """Log of x >= 0 that is minus infinity at 0 and whose gradient there is 0, not NaN."""
    above = x > 0
    return jnp.where(above, jnp.log(jnp.where(above, x, 1)), -jnp.inf)


def log_sum_exp(x: Array, axis: int) -> Array:
    """log sum exp over one axis; minus infinity, with gradient 0, where every term is."""
    largest = jnp.max(x, axis=axis, keepdims=True)
    largest = jnp.where(jnp.isfinite(largest), largest, 0)
    total = jnp.sum(jnp.exp(x - largest), axis=axis)
    return safe_log(total) + jnp.squeeze(largest, axis)


def stirling(z: Array) -> Array:
    """What Stirling's formula lacks of log gamma(z): 1e-12 or better from z = 10."""
    return 1 / (12 * z) - 1 / (360 * z**3) + 1 / (1260 * z**5) - 1 / (1680 * z**7)


def log_gamma_peak(z: Array) -> Array:
    """z log z - z - log gamma(z) for z > 0, without the loss of digits where z is large."""
    large = z > 10
    few, many = jnp.where(large, 1, z), jnp.where(large, z, 10)
    exact = few * jnp.log(few) - few - gammaln(few)
    return jnp.where(large, jnp.log(many / (2 * jnp.pi)) / 2 - stirling(many), exact)


def categorical(uniform: Array, log_weights: Array) -> Array:
    """Turn uniform numbers (...) into indices drawn in proportion to exp log_weights (..., k)."""
    cumulative = jnp.cumsum(jnp.exp(log_weights - log_weights.max(-1, keepdims=True)), -1)
    return (cumulative[..., :-1] <= uniform[..., None] * cumulative[..., -1:]).sum(-1)


def uniform(key: Array, shape: tuple[int, ...], dtype: Any) -> Array:
    """Draw uniform numbers above 0 and below 1."""
    return jnp.maximum(jax.random.uniform(key, shape, dtype), jnp.finfo(dtype).eps / 4)


def normal(uniform: Array) -> Array:
    """Turn uniform numbers, above 0 and below 1, into standard normal ones."""
    return jnp.sqrt(2).astype(uniform.dtype) * jax.scipy.special.erfinv(2 * uniform - 1)


def log_gamma(key: Array, shape: Array) -> Array:
    """Draw logs of gamma variables of rate 1, one for each entry of `shape`.

    Marsaglia and Tsang's rejection method [1], which accepts more than 95 of 100 proposals, for all
    entries at once until each has one: several times faster than jax.random.loggamma, which goes
    from entry to entry. Shapes below 1 are raised by 1 and the draw multiplied by u^(1 / shape), in
    logs. NaN where the shape is none.

    [1] Marsaglia and Tsang (2000), "A simple method for generating gamma variables".
    """
    dtype = shape.dtype
    d = jnp.where(shape < 1, shape + 1, shape) - 1 / 3

    # What lacks a draw is NaN. A flag beside it might differ, since compilers may work out a test
    # twice, with different rounding.
    def propose(state):
        n_proposals, drawn = state
        own = jax.random.fold_in(key, n_proposals)
        uniforms = uniform(own, (3, *shape.shape), dtype)
        normals = normal(uniforms[0])
        root = 1 + normals / jnp.sqrt(9 * d)
        log_cubes = 3 * jnp.log(jnp.where(root > 0, root, 1))
        bound = 0.5 * normals**2 + d * (1 - root**3 + log_cubes)
        accepted = (root > 0) & (jnp.log(uniforms[1]) < bound)
        raised = jnp.log(d) + log_cubes
        new = raised + jnp.where(shape < 1, jnp.log(uniforms[2]) / shape, 0)
        return n_proposals + 1, jnp.where(jnp.isnan(drawn) & accepted, new, drawn)

    possible = (shape >= 0) & (shape < jnp.inf)
    start = 0, jnp.where(possible, jnp.nan, jnp.zeros_like(shape))
    _, drawn = jax.lax.while_loop(lambda state: jnp.any(jnp.isnan(state[1])), propose, start)
    return jnp.where(possible, drawn, jnp.nan)


UNROLLED = 4
"""Largest matrices whose products are written out entry by entry."""


def triangle(matrices: Float[Array, "*b d d"]) -> Float[Array, "*b d d"]:
    """Cholesky factors, many at once; NaN in those that are not positive definite."""
    d = matrices.shape[-1]
    if d > UNROLLED:
        return jnp.linalg.cholesky(matrices)
    zero = jnp.zeros_like(matrices[..., 0, 0])
    rows = []
    for i in range(d):
        row = []
        for j in range(i):
            inner = sum((a * b for a, b in zip(row, rows[j], strict=False)), zero)
            row.append((matrices[..., i, j] - inner) / rows[j][j])
        pivot = matrices[..., i, i] - sum((a * a for a in row), zero)
        root = jnp.sqrt(jnp.where(pivot > 0, pivot, jnp.nan))
        rows.append([*row, root])
    full = [jnp.stack(row + [zero] * (d - len(row)), -1) for row in rows]
    return jnp.stack(full, -2)


def triangle_inverse(triangles: Float[Array, "*b d d"]) -> Float[Array, "*b d d"]:
    """Inverses of lower triangles, many at once: a library call for each costs more.

    First of blocks on the diagonal, then of blocks twice as large:
    [[A, 0], [B, C]] has the inverse [[A^-1, 0], [-C^-1 B A^-1, C^-1]].
    """
    *batch, d, _ = triangles.shape
    size = 1 << (d - 1).bit_length()
    # Up to a power of two, ones on the diagonal change nothing.
    rest = np.diag((np.arange(size) >= d).astype(triangles.dtype))
    wide = jnp.pad(triangles, [(0, 0)] * len(batch) + [(0, size - d)] * 2) + rest
    inverses = 1 / jnp.diagonal(wide, axis1=-2, axis2=-1)[..., None, None]
    width = 1
    while width < size:
        blocks = wide.reshape(*batch, size // width, width, size // width, width)
        odd = np.arange(1, size // width, 2)
        # Two arrays of indices with an axis between them: theirs comes first.
        below = jnp.moveaxis(blocks[..., odd, :, odd - 1, :], 0, -3)
        first, second = inverses[..., 0::2, :, :], inverses[..., 1::2, :, :]
        corner = -_product(_product(second, below), first)
        top = jnp.concatenate([first, jnp.zeros_like(first)], -1)
        inverses = jnp.concatenate([top, jnp.concatenate([corner, second], -1)], -2)
        width *= 2
    return inverses[..., 0, :d, :d]


def _product(a: Array, b: Array) -> Array:
    if a.shape[-1] <= UNROLLED:
        return (a[..., :, :, None] * b[..., None, :, :]).sum(-2)
    return jnp.matmul(a, b, precision="highest")
