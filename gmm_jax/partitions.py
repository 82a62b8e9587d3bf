"""Partitions of points, which need no labels: how often two share a component, and the best one.

With counts n_l of a partition c, m_t of a drawn partition z and n_lt of both, and E the mean over
draws, both losses are

    sum_l f(n_l) + E sum_t f(m_t) - 2 E sum_lt f(n_lt),

where f(x) = x^2 gives twice the number of pairs on which c and z disagree (Binder's loss), and
f(x) = x log x gives n times the variation of information [1].

[1] Wade and Ghahramani (2018), "Bayesian cluster analysis: point estimation and credible balls",
    equations 6 and 8.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int

from gmm_jax._numerics import categorical
from gmm_jax.mixture import Mixture

LOSSES = ("vi", "binder")
MOST_POINTS = 2000
"""Of a matrix of all pairs."""
MOST_DRAWS = 1000
"""So many drawn partitions stand for the posterior."""
MOST_CANDIDATES = 100
MOST_SWEEPS = 100
STARTS = 3
"""So many of the candidates are improved, point by point."""
SPARE = 10
"""The best partition may have so many clusters more than there are components."""


def similarity(draws: Mixture, points: Array) -> Float[np.ndarray, "n n"]:
    """Posterior probability that two points come from the same component.

    The mean over draws of the product of responsibilities, which is exact given the draws.
    """
    n, k = points.shape[0], draws.weights.shape[1]
    block = max(1, 2**24 // (n * k))
    total = np.zeros((n, n))
    for first in range(0, draws.weights.shape[0], block):
        some = jax.tree.map(lambda a, first=first: jnp.asarray(a[first : first + block]), draws)
        total += np.asarray(_together(some, points))
    total /= draws.weights.shape[0]
    np.fill_diagonal(total, 1)
    return total


@jax.jit
def _together(draws: Mixture, points: Array) -> Float[Array, "n n"]:
    shares = jax.vmap(lambda mixture: mixture.responsibilities(points))(draws)
    flat = jnp.moveaxis(shares, 1, 0).reshape(points.shape[0], -1)
    return jnp.matmul(flat, flat.T, precision="highest")


def drawn(draws: Mixture, points: Array) -> Int[np.ndarray, "s n"]:
    """Assignments, one draw of them for each of at most `MOST_DRAWS` draws; with a fixed key."""
    s = draws.weights.shape[0]
    picked = np.linspace(0, s - 1, min(s, MOST_DRAWS)).astype(int)
    some = jax.tree.map(lambda a: jnp.asarray(a[picked]), draws)
    return np.asarray(_drawn(jax.random.key(0), some, points))


@jax.jit
def _drawn(key: Array, draws: Mixture, points: Array) -> Int[Array, "s n"]:
    def one(mixture_and_key):
        mixture, key = mixture_and_key
        uniforms = jax.random.uniform(key, points.shape[:1], points.dtype)
        return categorical(uniforms, mixture.log_joint(points))

    return jax.lax.map(one, (draws, jax.random.split(key, draws.weights.shape[0])), batch_size=64)


def best_partition(
    assignments: Int[np.ndarray, "s n"],
    loss: str,
    together: Float[np.ndarray, "n n"] | None = None,
) -> Int[np.ndarray, "n"]:
    """Search for the partition of least expected loss over drawn ones.

    The candidates are drawn partitions, one cluster of all points, and cuts of the average linkage
    of `together`, if given. The best few are improved by moving one point after another to the
    cluster, or to one of its own, that lowers the loss most, until no move does.

    Args:
        assignments: s partitions, equally probable.
        loss: "vi" for the variation of information or "binder" for Binder's loss.
        together: Probabilities that two points share a component.

    Returns:
        Clusters 0, 1, ... in the order in which the points first show them.
    """
    n, k = assignments.shape[1], int(assignments.max()) + 1
    slots = min(n, k + SPARE)
    step = -(-len(assignments) // MOST_CANDIDATES)
    candidates = [assignments[::step], np.zeros((1, n), int)]
    if together is not None and n > 2:
        candidates.append(_cuts(together, slots))
    distinct = np.unique([by_first_appearance(c) for c in np.concatenate(candidates)], axis=0)
    losses = np.array([expected_loss(c, assignments, loss) for c in distinct])
    best = [_improved(distinct[i], assignments, loss, slots) for i in np.argsort(losses)[:STARTS]]
    return min(best, key=lambda c: expected_loss(c, assignments, loss))


def expected_loss(
    partition: Int[np.ndarray, "n"], assignments: Int[np.ndarray, "s n"], loss: str
) -> float:
    """Mean over drawn partitions: disagreeing pairs for "binder", nats for "vi"."""
    n = len(partition)
    f = _table(loss, n)
    both = _counts(partition, assignments, int(partition.max()) + 1)
    total = f[np.bincount(partition)].sum()
    total += (f[both.sum(1)].sum() - 2 * f[both].sum()) / len(assignments)
    return float(total / (2 if loss == "binder" else n))


def by_first_appearance(partition: Int[np.ndarray, "n"]) -> Int[np.ndarray, "n"]:
    """Number clusters in the order in which the points first show them."""
    _, first, own = np.unique(partition, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[own]


def _improved(
    partition: Int[np.ndarray, "n"], assignments: Int[np.ndarray, "s n"], loss: str, slots: int
) -> Int[np.ndarray, "n"]:
    """Move single points until no move lowers the expected loss."""
    partition, s = partition.copy(), len(assignments)
    f = _table(loss, len(partition))
    rise = np.diff(f)  # what one point more costs
    both = _counts(partition, assignments, slots)
    sizes = np.bincount(partition, minlength=slots)
    draws = np.arange(s)
    for _ in range(MOST_SWEEPS):
        moved = False
        for i, own in enumerate(partition):
            drawn_with = assignments[:, i]
            both[draws, own, drawn_with] -= 1
            sizes[own] -= 1
            cost = rise[sizes] - 2 * rise[both[draws, :, drawn_with]].mean(0)
            new = int(cost.argmin())
            if cost[new] > cost[own] - 1e-9 * (1 + abs(cost[own])):
                new = own
            both[draws, new, drawn_with] += 1
            sizes[new] += 1
            partition[i] = new
            moved = moved or new != own
        if not moved:
            break
    return by_first_appearance(partition)


def _counts(
    partition: Int[np.ndarray, "n"], assignments: Int[np.ndarray, "s n"], slots: int
) -> Int[np.ndarray, "s l t"]:
    """How many points each cluster has in common with each of those drawn."""
    s, k = len(assignments), int(assignments.max()) + 1
    cells = (np.arange(s)[:, None] * slots + partition) * k + assignments
    return np.bincount(cells.ravel(), minlength=s * slots * k).reshape(s, slots, k)


def _table(loss: str, n: int) -> Float[np.ndarray, "c"]:
    """f(0), f(1), ... f(n + 1)."""
    x = np.arange(n + 2.0)
    return x**2 if loss == "binder" else x * np.log(np.maximum(x, 1))


def _cuts(together: Float[np.ndarray, "n n"], most: int) -> Int[np.ndarray, "c n"]:
    """Cut the average linkage of the points into 2, 3, ... clusters."""
    from scipy.cluster.hierarchy import average, cut_tree
    from scipy.spatial.distance import squareform

    apart = np.clip(1 - together, 0, None)
    np.fill_diagonal(apart, 0)
    tree = average(squareform(apart, checks=False))
    return cut_tree(tree, np.arange(2, most + 1)).T
