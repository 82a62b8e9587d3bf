"""EM on many small data sets at once, the sets on the minor axis.

With 200 points and 3 components a set is too small to fill vector registers along any axis of its
own. So here every array ends with the axis of sets, components and features are unrolled, and
each instruction works on as many sets as fit a register.
"""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int

from gmm_jax import em
from gmm_jax._loop import iterate
from gmm_jax._numerics import UNROLLED as LARGEST
from gmm_jax._numerics import safe_log
from gmm_jax._pieces import as_one
from gmm_jax._pytree import rebuild
from gmm_jax.families.limits import Limits
from gmm_jax.mixture import Mixture

UNROLLED = 96
"""Most terms, components times features, that are written out one by one."""
LANES, ROWS = 256, 4
"""Numbers that each instruction works on: that many sets, so many points of each."""


def expectation(
    mixtures: Mixture,
    data: Float[Array, "d n s"],
    sample_weight: Float[Array, "n s"],
    incomplete: bool = False,
) -> tuple[Float[Array, "s"], Any]:
    """Sum log density and statistics over the points of each of s sets, each with its mixture.

    As `em.expectation`, but every mixture has points of its own. A family that is linear in
    features of the data is evaluated from them, taken about the mean of each component where there
    is one, so that no digits are lost; another family, and `incomplete` data, go set by set under
    `vmap`.
    """
    if _can_unroll(mixtures, data, incomplete):
        return _unrolled(mixtures, data, sample_weight)
    rows = _rows(data, _first(mixtures.components).event_shape)

    def one_set(mixture, points, weight):
        alone = jax.tree.map(lambda a: a[None], mixture)
        return jax.tree.map(
            lambda a: a[0],
            em.expectation(alone, em.Table(points[None], weight[None], incomplete=incomplete)),
        )

    return jax.vmap(one_set)(mixtures, rows, sample_weight.T)


def _can_unroll(mixtures: Mixture, data: Float[Array, "d n s"], incomplete: bool) -> bool:
    if incomplete or not hasattr(mixtures.components, "features"):
        return False
    one = _first(mixtures.components)
    rows = _rows(data, one.event_shape)
    terms = jax.eval_shape(lambda x: one.features(x), rows[0]).shape[0]
    return terms * mixtures.weights.shape[1] <= UNROLLED


def _first(stacked: Any) -> Any:
    return jax.tree.map(lambda a: a[0], stacked)


def _rows(data: Float[Array, "d n s"], event: tuple[int, ...]) -> Float[Array, "s n ..."]:
    """The points of each set, as families take them."""
    return jnp.moveaxis(data, (2, 1), (0, 1)).reshape(*data.shape[:0:-1], *event)


def _unrolled(
    mixtures: Mixture, data: Float[Array, "d n s"], sample_weight: Float[Array, "n s"]
) -> tuple[Float[Array, "s"], Any]:
    """Log density and statistics from features, one component and one feature at a time.

    A few points of every set at a time: what they need stays in the cache, and so do the sums.
    Few sets are divided, to fill as many lanes as many would.
    """
    k, (d, n, s) = mixtures.weights.shape[1], data.shape
    parts = math.gcd(n, max(1, LANES // s))
    n //= parts

    def over_lanes(a: Float[Array, "... s"]) -> Float[Array, "... l"]:
        return jnp.tile(a, parts)

    origins, components = _about_means(mixtures.components)
    coefficients, constants = jax.vmap(lambda c: c.natural())(components)
    constants = (constants + safe_log(mixtures.weights)).T
    constants, coefficients = over_lanes(constants), over_lanes(jnp.moveaxis(coefficients, 0, -1))
    origins = None if origins is None else over_lanes(origins)
    one = _first(components)

    def features_of(points, j):
        moved = points if origins is None else points - origins[j][:, None]
        rows = moved.reshape(len(points), -1).T.reshape(-1, *one.event_shape)
        return [column.reshape(points.shape[1:]) for column in one.features(rows)]

    def over_block(points, weight):
        features = [features_of(points, j) for j in range(k)]
        log_joint = [
            sum((coefficients[j, i] * column for i, column in enumerate(features[j])), constants[j])
            for j in range(k)
        ]
        largest = functools.reduce(jnp.maximum, log_joint)
        terms = [jnp.exp(term - largest) for term in log_joint]
        summed = functools.reduce(jnp.add, terms)
        shares = weight / summed
        responsibilities = [term * shares for term in terms]
        sums = [
            [r, *(r * column for column in columns)]
            for r, columns in zip(responsibilities, features, strict=True)
        ]
        return jax.tree.map(_sum_rows, (weight * (largest + jnp.log(summed)), sums))

    def add(sums, block):
        return jax.tree.map(jnp.add, sums, over_block(*block)), None

    rows = math.gcd(n, ROWS)
    shape = n // rows, rows, parts * s
    blocks = jnp.moveaxis(data.reshape(d, *shape), 0, 1), sample_weight.reshape(shape)
    sums = jax.eval_shape(over_block, *_first(blocks))
    zero = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), sums)
    totals, sums = as_one(lambda *each: jax.lax.scan(add, zero, each)[0])(*blocks)
    totals, sums = jax.tree.map(lambda a: a.reshape(parts, s).sum(0), (totals, sums))
    stacked = jnp.stack([jnp.stack(each, -1) for each in sums], 1)
    statistics = jax.vmap(lambda c, a: c.from_features(a[:, 0], a[:, 1:]))(components, stacked)
    return totals, statistics


def _sum_rows(a: Float[Array, "n s"]) -> Float[Array, "s"]:
    while len(a) > 1:
        half = len(a) // 2
        a = jnp.concatenate([a[:half] + a[half : 2 * half], a[2 * half :]])
    return a[0]


def _about_means(components: Any) -> tuple[Any, Any]:
    """Where components lie, (k, d, s), and the same components moved to zero."""
    if not hasattr(components, "means"):
        return None, components
    means = components.means
    moved = rebuild(type(components), **(vars(components) | {"means": jnp.zeros_like(means)}))
    return jnp.moveaxis(means.reshape(*means.shape[:2], -1), 0, -1), moved


def run(
    starts: Mixture,
    data: Float[Array, "d n s"],
    sample_weight: Float[Array, "n s"],
    prior: Any,
    limits: Limits,
    tol: Float[Array, ""],
    most: Int[Array, ""],
    max_steps: int,
    incomplete: bool = False,
) -> em.Fit:
    """Run accelerated EM on s sets, as `em.run` does on one, for at most `most` steps.

    `max_steps`, static, bounds `most`. A run that is to be continued from its mixture should stop
    after a multiple of three steps, where the accelerated steps begin again.
    """
    size = sample_weight.sum(0)

    def advance(taken, path):
        sums = expectation(path.mixtures, data, sample_weight, incomplete)
        path, objective, done = em.follow(taken, path, sums, size, prior, limits, tol)
        return path, objective, done | (taken + 1 >= most)

    def loop(path):
        return iterate(advance, path, size.shape[0], max_steps, size.dtype)

    # The triangles of larger matrices are found by library calls.
    simple = _can_unroll(starts, data, incomplete) and len(data) <= LARGEST
    path, history, steps = (as_one(loop) if simple else loop)(em.begin(starts))
    status = em.conclude(path, size, limits)
    return em.Fit(path.mixtures, path.objective, status, steps, history)
