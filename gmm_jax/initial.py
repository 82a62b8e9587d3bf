"""Where EM starts: centres chosen among the points."""

import math

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float


def uniforms_shape(n_starts: int, n_components: int) -> tuple[int, int, int]:
    """Shape of the random numbers that a start consumes."""
    return n_starts, n_components, 2 + int(math.log(n_components))


def kmeans_plus_plus(
    uniforms: Float[Array, "r k c"],
    data: Float[Array, "n ..."],
    sample_weight: Float[Array, "n"],
) -> tuple[Float[Array, "r k ..."], Float[Array, "r"]]:
    """Choose points as centres, each far from those before it.

    Greedy k-means++: every centre is the best of a few candidates, drawn with probability
    proportional to the squared distance from the nearest centre so far [1].

    Args:
        uniforms: Random numbers between 0 and 1: for each of r sets of k centres, c candidates.
        data: n points, on comparable scales.
        sample_weight: How often each counts; rows of weight 0 are never chosen.

    Returns:
        r sets of k centres, and the root mean square of a coordinate's distance from its nearest
        centre in each.

    [1] Arthur and Vassilvitskii (2007), "k-means++: the advantages of careful seeding".
    """
    rows = data.reshape(data.shape[0], -1)
    n_starts, n_components, _ = uniforms.shape

    def start(uniforms):
        def add(i, state):
            centres, nearest = state
            candidates = rows[_pick(uniforms[i], sample_weight * nearest)]
            distances = jax.vmap(_squared_distance, (None, 0))(rows, candidates)
            distances = jnp.minimum(distances, nearest)
            best = jnp.argmin(distances @ sample_weight)
            return centres.at[i].set(candidates[best]), distances[best]

        first = rows[_pick(uniforms[0], sample_weight)[0]]
        centres = jnp.zeros((n_components, rows.shape[1]), rows.dtype).at[0].set(first)
        return jax.lax.fori_loop(1, n_components, add, (centres, _squared_distance(rows, first)))

    centres, nearest = jax.vmap(start)(uniforms)
    spread = jnp.sqrt(nearest @ sample_weight / sample_weight.sum() / rows.shape[1])
    return centres.reshape(n_starts, n_components, *data.shape[1:]), spread


def random_points(
    uniforms: Float[Array, "r k c"],
    data: Float[Array, "n ..."],
    sample_weight: Float[Array, "n"],
) -> tuple[Float[Array, "r k ..."], Float[Array, "r"]]:
    """Choose points at random as centres, and the spread of all data as theirs.

    Takes and returns what `kmeans_plus_plus` does.
    """
    centres = data[_pick(uniforms[:, :, 0], sample_weight)]
    rows = data.reshape(data.shape[0], -1)
    share = sample_weight / sample_weight.sum()
    spread = jnp.sqrt((share @ (rows - share @ rows) ** 2).sum() / rows.shape[1])
    return centres, jnp.broadcast_to(spread, uniforms.shape[:1])


def _pick(uniforms: Array, mass: Float[Array, "n"]) -> Array:
    """Turn uniform numbers into indices, in proportion to `mass`; evenly if there is none."""
    total = jnp.cumsum(jnp.where(mass.sum() > 0, mass, 1))
    # Counting compiles faster than a binary search and costs no more than the distances do.
    indices = (total <= uniforms[..., None] * total[-1]).sum(-1)
    return jnp.minimum(indices, mass.shape[0] - 1)


def _squared_distance(rows: Float[Array, "n d"], centre: Float[Array, "d"]) -> Float[Array, "n"]:
    return ((rows - centre) ** 2).sum(-1)


STARTS = {"kmeans++": kmeans_plus_plus, "random": random_points}
