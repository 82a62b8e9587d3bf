"""EM fits for chains to set out from: with k components, and with fewer than k that have points."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int

from gmm_jax import em
from gmm_jax._pytree import choose, rebuild
from gmm_jax.families.limits import Limits
from gmm_jax.initial import components_around, uniforms_shape
from gmm_jax.mixture import Mixture
from gmm_jax.priors.mixtures import MaximumLikelihood
from gmm_jax.table import Table

FITS = 8
"""EM fits that starts are chosen from, at least."""


def occupancies(n_components: int, n_starts: int) -> Int[np.ndarray, "c"]:
    """How many components of EM fits shall have points: k, k - 1, k, k - 2, ... k, 1, and again."""
    each = np.arange(n_starts)
    fewer = each // 2 % max(1, n_components - 1) + 1
    return np.maximum(n_components - np.where(each % 2, fewer, 0), 1)


def fits(
    key: Array,
    table: Table,
    family: Any,
    floor: Float[Array, ""],
    n_components: int,
    occupied: Int[np.ndarray, "c"],
    known: Mixture | None = None,
    held: Mixture | None = None,
) -> Mixture:
    """Fit mixtures by EM, some of whose components may be empty.

    Args:
        key: Random key.
        table: The data.
        family: The class of the components.
        floor: Smallest scale.
        n_components: How many, k.
        occupied: How many of them have points, in each of c starts; all have where some parameters
            are held. Each start is the best of so many fits that there are `FITS` in all.
        known: Values of what is held.
        held: Booleans: true where parameters stay.
    """
    dtype = table.points.dtype
    n_tries = -(-FITS // len(occupied))
    occupied = np.repeat(
        occupied if held is None else np.full_like(occupied, n_components), n_tries
    )
    used = np.arange(n_components) < occupied[:, None]
    uniforms = jax.random.uniform(key, uniforms_shape(len(occupied), n_components), dtype)
    rows = table.points.reshape(-1, *table.points.shape[2:])
    components = components_around(family, "kmeans++", uniforms, rows, table.sample_weight.ravel())
    weights = jnp.asarray(used / occupied[:, None], dtype)
    starts = rebuild(Mixture, weights=weights, components=components)
    # A component of weight 0 takes part in no step.
    if known is None or held is None:
        held = jax.tree.map(lambda a: jnp.zeros(a.shape[1:], bool), starts)
    else:
        left = 1 - jnp.where(held.weights, known.weights, 0).sum()
        share = left / jnp.maximum((~held.weights).sum(), 1)
        starts = rebuild(Mixture, weights=jnp.full_like(weights, share), components=components)
        starts = jax.tree.map(jnp.where, held, known, starts)
    found = em.run(
        starts,
        table,
        MaximumLikelihood(),
        Limits(held, floor),
        jnp.asarray(1e-4, dtype),
        100,
    )
    mixtures = choose(found.status != em.NOT_FINITE, found.mixtures, starts)
    sound = (found.status == em.RUNNING) | (found.status == em.CONVERGED)
    heights = jnp.where(sound, found.objective, -jnp.inf).reshape(-1, n_tries)
    best = jnp.argmax(heights, 1) + n_tries * jnp.arange(len(heights))
    return jax.tree.map(lambda a: a[best], mixtures)
