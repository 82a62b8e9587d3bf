"""Where EM starts: centres chosen among the points, and components around them."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int

from gmm_jax.families.kinds import embedded
from gmm_jax.families.limits import Outline


def uniforms_shape(n_starts: int, n_components: int) -> tuple[int, int, int]:
    """Shape of the random numbers that a start consumes."""
    return n_starts, n_components, 2 + int(math.log(n_components))


def components_around(
    family: Any,
    start: str,
    uniforms: Float[Array, "r k c"],
    data: Float[Array, "n ..."],
    sample_weight: Float[Array, "n"],
) -> Any:
    """Make r sets of k components of a family around points of the data.

    Args:
        family: Gives `around(centres, outline)`, and `embed` where distances need it.
        start: A key of `STARTS`.
        uniforms: Random numbers between 0 and 1.
        data: n points; NaN is filled with the mean of its column.
        sample_weight: How often each counts; rows of weight 0 are never chosen.
    """
    # Reductions are fast along the last axis, and slow along one before a short one.
    columns = jnp.moveaxis(data, 0, -1)
    missing = jnp.isnan(columns)
    present = (sample_weight > 0) & ~missing
    share = jnp.where(present, sample_weight, 0)
    share = share / jnp.maximum(share.sum(-1, keepdims=True), jnp.finfo(data.dtype).tiny)
    mean = (share * jnp.where(missing, 0, columns)).sum(-1, keepdims=True)
    columns = jnp.where(missing, mean, columns)
    low = jnp.min(jnp.where(present, columns, jnp.inf), -1)
    high = jnp.max(jnp.where(present, columns, -jnp.inf), -1)
    filled = jnp.moveaxis(columns, -1, 0)
    rows = embedded(family, filled, jnp.moveaxis(share, -1, 0)).reshape(data.shape[0], -1)
    indices, spread = STARTS[start](uniforms, rows, sample_weight)

    def around(centres, spread):
        return family.around(centres, Outline(jnp.maximum(spread, 0.01), low, high))

    return jax.vmap(around)(filled[indices], spread)


def kmeans_plus_plus(
    uniforms: Float[Array, "r k c"],
    rows: Float[Array, "n m"],
    sample_weight: Float[Array, "n"],
) -> tuple[Int[Array, "r k"], Float[Array, "r"]]:
    """Choose points as centres, each far from those before it.

    Greedy k-means++: every centre is the best of a few candidates, drawn with probability
    proportional to the squared distance from the nearest centre so far [1].

    Args:
        uniforms: Random numbers between 0 and 1: for each of r sets of k centres, c candidates.
        rows: n points, on comparable scales.
        sample_weight: How often each counts; rows of weight 0 are never chosen.

    Returns:
        r sets of k indices of points, and the root mean square of a coordinate's distance from its
        nearest centre in each.

    [1] Arthur and Vassilvitskii (2007), "k-means++: the advantages of careful seeding".
    """
    n_components, columns = uniforms.shape[1], rows.T

    def start(uniforms):
        def add(i, state):
            chosen, nearest = state
            candidates = _pick(uniforms[i], sample_weight * nearest)
            distances = jax.vmap(_squared_distance, (None, 1))(columns, columns[:, candidates])
            distances = jnp.minimum(distances, nearest)
            best = jnp.argmin(distances @ sample_weight)
            now = jnp.arange(n_components) == i
            return jnp.where(now, candidates[best], chosen), distances[best]

        first = _pick(uniforms[0], sample_weight)[0]
        chosen = jnp.full(n_components, first)
        return jax.lax.fori_loop(
            1, n_components, add, (chosen, _squared_distance(columns, columns[:, first]))
        )

    indices, nearest = jax.vmap(start)(uniforms)
    return indices, jnp.sqrt(nearest @ sample_weight / sample_weight.sum() / rows.shape[1])


def random_points(
    uniforms: Float[Array, "r k c"],
    rows: Float[Array, "n m"],
    sample_weight: Float[Array, "n"],
) -> tuple[Int[Array, "r k"], Float[Array, "r"]]:
    """Choose points at random as centres, and the spread of all data as theirs.

    Takes and returns what `kmeans_plus_plus` does.
    """
    share = sample_weight / sample_weight.sum()
    spread = jnp.sqrt((share @ (rows - share @ rows) ** 2).sum() / rows.shape[1])
    indices = _pick(uniforms[:, :, 0], sample_weight)
    return indices, jnp.broadcast_to(spread, uniforms.shape[:1])


def _pick(uniforms: Array, mass: Float[Array, "n"]) -> Array:
    """Turn uniform numbers into indices, in proportion to `mass`; evenly if there is none."""
    total = jnp.cumsum(jnp.where(mass.sum() > 0, mass, 1))
    # Counting compiles faster than a binary search and costs no more than the distances do.
    indices = (total <= uniforms[..., None] * total[-1]).sum(-1)
    return jnp.minimum(indices, mass.shape[0] - 1)


def _squared_distance(columns: Float[Array, "d n"], centre: Float[Array, "d"]) -> Float[Array, "n"]:
    return ((columns - centre[:, None]) ** 2).sum(0)


STARTS = {"kmeans++": kmeans_plus_plus, "random": random_points}
