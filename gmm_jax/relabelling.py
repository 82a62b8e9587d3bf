"""Which component of one draw is which of another: permutations that make draws comparable.

A draw is seen through the responsibilities it gives for some points, its `shares`. Every method but
"order" compares these, so none depends on units or on the kind of components. For a picture of each
label, (k, m), the reward of calling component c by label j is sum_i shares[c, i] picture[j, i], and
the best permutation of each draw is an assignment problem.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int, Shaped

from gmm_jax._numerics import categorical, log_sum_exp, safe_log
from gmm_jax.mixture import Mixture

METHODS = ("stephens", "ecr", "pivotal", "order")
MOST_NUMBERS = 2**26
"""So many shares are held at once; if there are more, some of the points stand for all."""
MOST_ROUNDS = 100
WRONG = 0.05
"""Such a share of draws under a wrong name is too much: a 95 % interval leaves as much out."""
LEAST_AGREEMENT = (1 - 2 * WRONG) ** 2
"""What two components, otherwise certain and of equal size, reach when they exchange names in the
share `WRONG` of the draws."""


class View(NamedTuple):
    """Draws as some of the points show them."""

    shares: Float[np.ndarray, "s k m"]
    """Responsibilities."""
    counts: Float[np.ndarray, "m"]
    """How many of all points each of these stands for."""
    log_likelihood: Float[np.ndarray, "s"]
    """Of the points together."""


def view(draws: Mixture, points: Array, sample_weight: np.ndarray | Array) -> View:
    """See draws through their responsibilities, for at most `MOST_NUMBERS` of them.

    Where there are too many points, every second, third ... of them by ascending first feature
    stands for its neighbours, too.
    """
    s, k = draws.weights.shape
    weight = np.asarray(sample_weight, np.float32)
    used = np.flatnonzero(weight > 0)
    first = np.asarray(points).reshape(len(points), -1)[used, 0]
    used = used[np.argsort(first, kind="stable")]
    m = min(len(used), max(1, MOST_NUMBERS // (s * k)))
    groups = np.array_split(used, m)
    chosen = np.array([group[len(group) // 2] for group in groups])
    counts = np.array([weight[group].sum() for group in groups])
    shares, log_likelihood = _shares(draws, jnp.asarray(points)[chosen], jnp.asarray(counts))
    return View(np.asarray(shares), counts, np.asarray(log_likelihood))


@jax.jit
def _shares(
    draws: Mixture, points: Array, counts: Array
) -> tuple[Float[Array, "s k m"], Float[Array, "s"]]:
    def one(mixture):
        log_joint = mixture.log_joint(points)
        return jax.nn.softmax(log_joint, -1).T, counts @ log_sum_exp(log_joint, -1)

    return jax.lax.map(one, draws, batch_size=64)


def permutations(
    method: str, draws: Mixture, seen: View, log_prior: Float[Array | np.ndarray, "s"]
) -> Int[np.ndarray, "s k"]:
    """Find which component of each draw gets each label.

    "order" sorts by the first feature's mean or other leading parameter. The others match
    responsibilities: "pivotal" with those of the draw of highest posterior density [1]; "ecr"
    assignments drawn from them with the most frequent ones [2]; "stephens" with their own average,
    in Kullback-Leibler divergence [3]. The last two start from "pivotal" and go on until nothing
    changes. Labels are then numbered by the average of the leading parameter, ascending.

    Args:
        method: One of these.
        draws: s mixtures.
        seen: The same, from `view`.
        log_prior: Log density of the prior at each draw.

    Returns:
        `permutation[i, j]` is the component of draw i that gets label j.

    Raises:
        ValueError: "order" for components that have none.

    References:
        [1] Marin, Mengersen and Robert (2005), "Bayesian modelling and inference on mixtures of
            distributions", section 3.1.
        [2] Papastamoulis and Iliopoulos (2010), "An artificial allocations based solution to the
            label switching problem in Bayesian analysis of mixtures of distributions".
        [3] Stephens (2000), "Dealing with label switching in mixture models", algorithm 2.
    """
    if method == "order":
        if leading(draws) is None:
            raise ValueError(
                f"method='order' needs components that can be put in order, and "
                f"{type(draws.components).__name__} cannot: use method='stephens'."
            )
        return by_order(draws)
    pivot = seen.shares[np.argmax(seen.log_likelihood + np.asarray(log_prior))]
    found = match(rewards(seen.shares, seen.counts * pivot))
    if method == "stephens":
        found = _repeat(seen.shares, seen.counts, found, log_picture)
    elif method == "ecr":
        found = _repeat(_drawn(seen.shares), seen.counts, found, _most_frequent)
    order = leading(draws)
    if order is None:
        return found
    return found[:, np.argsort(np.take_along_axis(order, found, 1).mean(0), kind="stable")]


def doubt(seen: View, permutation: Int[np.ndarray, "s k"]) -> str:
    """Say why a table of components with these labels would mislead; nothing if it would not.

    Labels that mean something hold the same points in every draw. So two draws of a label's
    responsibilities should agree, and it should hold data. A rule about parameters alone would not
    do: where components merge, "the larger one" has narrow intervals and means nothing.
    """
    k = permutation.shape[1]
    if k == 1:
        return ""
    same, empty = agreement(seen, permutation), emptiness(seen, permutation)
    if empty.max() > WRONG:
        return (
            f"component {empty.argmax()} holds no data in {empty.max():.0%} of the draws, where "
            f"its parameters are those of the prior"
        )
    if same.min() < LEAST_AGREEMENT:
        return (
            f"component {same.argmin()} doesn't hold the same points in different draws (agreement "
            f"{same.min():.2f}, at least {LEAST_AGREEMENT:.2f} is needed): components merge or "
            f"exchange their labels"
        )
    return ""


def agreement(seen: View, permutation: Int[np.ndarray, "s k"]) -> Float[np.ndarray, "k"]:
    """How far each label holds the same points in any two draws: 1 always, 0 not at all.

    It is sum_i m_i^2 / mean over draws of sum_i r_i^2, r the label's responsibilities less their
    mean over points and m the mean of r over draws: about the correlation between two draws of r.
    """
    counts = seen.counts / seen.counts.sum()
    centred = average(seen.shares, permutation)
    centred = centred - (centred @ counts)[:, None]
    within = seen.shares**2 @ counts - (seen.shares @ counts) ** 2
    within = np.take_along_axis(within, permutation, 1).mean(0)
    between = centred**2 @ counts
    return np.where(within > 0, between / np.where(within > 0, within, 1), 0)


def emptiness(seen: View, permutation: Int[np.ndarray, "s k"]) -> Float[np.ndarray, "k"]:
    """Posterior probability that a label holds no point at all."""
    others = 1 - seen.shares
    logs = np.log(np.maximum(others, np.finfo(others.dtype).tiny), out=others)
    return np.take_along_axis(np.exp(logs @ seen.counts), permutation, 1).mean(0)


def leading(draws: Mixture) -> np.ndarray | None:
    """The number (s, k) by which components are put in order; None where the family has none."""
    if jax.tree.map(lambda a: a[0], draws).components.order is None:
        return None
    return np.asarray(_orders(draws.components))


@jax.jit
def _orders(components: Any) -> Float[Array, "s k"]:
    return jax.vmap(lambda c: jnp.asarray(c.order))(components)


def by_order(draws: Mixture) -> Int[np.ndarray, "s k"]:
    """Sort the components of each draw by their leading parameter, if there is one."""
    order = leading(draws)
    if order is None:
        return np.broadcast_to(np.arange(draws.weights.shape[1]), draws.weights.shape)
    return np.argsort(order, axis=1, kind="stable")


def permuted(draws: Any, permutation: Int[np.ndarray, "s k"]) -> Any:
    """Give component `permutation[i, j]` of draw i the label j."""

    def one(a: Shaped[Any, "s k ..."]) -> Shaped[np.ndarray, "s k ..."]:
        index = permutation.reshape(permutation.shape + (1,) * (a.ndim - 2))
        return np.take_along_axis(np.asarray(a), index, 1)

    return jax.tree.map(one, draws)


def match(reward: Float[np.ndarray, "s k k"]) -> Int[np.ndarray, "s k"]:
    """Find the permutation p of each draw of highest sum_j reward[p(j), j]."""
    from scipy.optimize import linear_sum_assignment

    return np.array([linear_sum_assignment(one.T, maximize=True)[1] for one in reward])


def rewards(
    shares: Float[np.ndarray, "s k m"], picture: Float[np.ndarray, "k m"]
) -> Float[np.ndarray, "s k k"]:
    """Sum over points of each component's shares times each label's picture."""
    s, k, m = shares.shape
    return (shares.reshape(-1, m) @ picture.T.astype(shares.dtype)).reshape(s, k, k)


def average(
    shares: Float[np.ndarray, "s k m"], permutation: Int[np.ndarray, "s k"]
) -> Float[np.ndarray, "k m"]:
    """Mean over draws of the shares of each label."""
    s, k, m = shares.shape
    has_label = (permutation[:, None, :] == np.arange(k)[:, None]).astype(shares.dtype)
    return has_label.reshape(-1, k).T @ shares.reshape(-1, m) / s


def log_picture(mean: Float[np.ndarray, "k m"]) -> Float[np.ndarray, "k m"]:
    """Log of the average shares, which the divergence from the average takes."""
    return np.log(np.maximum(mean, np.finfo(mean.dtype).tiny))


def _most_frequent(mean: Float[np.ndarray, "k m"]) -> Float[np.ndarray, "k m"]:
    """1 for the label that most draws give to a point."""
    return (mean.argmax(0) == np.arange(len(mean))[:, None]).astype(mean.dtype)


def _repeat(shares, counts, found, picture):
    """Match draws with a picture of their average until the labels stay."""
    for _ in range(MOST_ROUNDS):
        before = found
        found = match(rewards(shares, counts * picture(average(shares, found))))
        if np.array_equal(found, before):
            break
    return found


def _drawn(shares: Float[np.ndarray, "s k m"]) -> Float[np.ndarray, "s k m"]:
    """1 for the component of an assignment drawn by its shares, with a fixed key."""
    s, k, m = shares.shape
    uniforms = jax.random.uniform(jax.random.key(0), (s, m), shares.dtype)
    assignments = categorical(uniforms, safe_log(jnp.moveaxis(jnp.asarray(shares), 1, 2)))
    return (np.asarray(assignments)[:, None] == np.arange(k)[:, None]).astype(shares.dtype)
