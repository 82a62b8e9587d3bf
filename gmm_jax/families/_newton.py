"""Newton steps for k components of p parameters, some of which components may share."""

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from gmm_jax.families.limits import Sharing

REACH = 0.5
"""Longest step of a component, relative to one plus the size of its parameters."""


def variables(sharing: Sharing, names: tuple[str, ...], k: int) -> np.ndarray:
    """The number of the variable that each parameter of each component is, (k, p)."""
    groups = dict(sharing.groups)
    columns = [[(i, group) for group in groups.get(n, range(k))] for i, n in enumerate(names)]
    order = sorted({code for column in columns for code in column})
    return np.array([[order.index(code) for code in column] for column in columns]).T


def step(
    gradient: Float[Array, "k ... p"],
    curvature: Float[Array, "k ... p p"],
    numbers: Float[Array, "k ... p"],
    sharing: Sharing,
    names: tuple[str, ...],
) -> Float[Array, "k ... p"]:
    """A step uphill of bounded length, from parameters where those that are shared agree."""
    if not any(sharing.shares(name) for name in names):
        moves = _uphill(gradient, curvature)
        return moves * _shortening(moves, numbers)
    own = variables(sharing, names, len(numbers))
    place = jnp.asarray(own[..., None] == np.arange(own.max() + 1), gradient.dtype)
    total = jnp.einsum("k...p,kpm->...m", gradient, place, precision="highest")
    bend = jnp.einsum("kpm,k...pq,kqn->...mn", place, curvature, place, precision="highest")
    moves = jnp.einsum("kpm,...m->k...p", place, _uphill(total, bend), precision="highest")
    # What all take part in is shortened for all.
    return moves * _shortening(moves, numbers).min(0)


def _uphill(gradient: Float[Array, "... m"], curvature: Float[Array, "... m m"]) -> Array:
    """A Newton step that climbs also where the curvature is not that of a hill."""
    values, vectors = jnp.linalg.eigh(-(curvature + jnp.swapaxes(curvature, -1, -2)) / 2)
    least = 1e-3 * jnp.abs(values).max(-1, keepdims=True) + jnp.finfo(gradient.dtype).tiny
    values = jnp.maximum(jnp.abs(values), least)
    along = jnp.einsum("...ji,...j->...i", vectors, gradient) / values
    return jnp.einsum("...ij,...j->...i", vectors, along)


def _shortening(moves: Array, numbers: Array) -> Array:
    """What moves are multiplied by so as not to be too long."""
    length = jnp.linalg.norm(moves, axis=-1, keepdims=True)
    longest = REACH * (1 + jnp.linalg.norm(numbers, axis=-1, keepdims=True))
    return jnp.minimum(1, longest / jnp.maximum(length, 1e-30))
