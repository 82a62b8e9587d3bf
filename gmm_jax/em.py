"""Expectation-maximisation: weigh the points, sum their statistics, take the mode.

A batch of mixtures (restarts) is fitted at once; data come in blocks of rows, so that memory does
not grow with their number.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, Int

from gmm_jax._loop import iterate
from gmm_jax._numerics import log_sum_exp, safe_log
from gmm_jax._pytree import rebuild
from gmm_jax.mixture import Mixture

LARGE = 512
"""Rows from which on features pay."""
RUNNING, CONVERGED, COLLAPSED, NOT_FINITE = range(4)
MEANING = {
    RUNNING: "stopped at max_steps before it converged",
    CONVERGED: "converged",
    COLLAPSED: "a component collapsed onto equal points or lost all its points",
    NOT_FINITE: "the objective is not finite",
}


class State(NamedTuple):
    """What the next step of r runs needs. Objectives are per unit of sample weight, in nats."""

    mixtures: Mixture
    objective: Float[Array, "r"]


class Info(NamedTuple):
    """What a step saw: the mixtures that it started from, and how far it moved them."""

    mixtures: Mixture
    objective: Float[Array, "r"]
    moved: Float[Array, "r"]


def expectation(
    mixtures: Mixture, data: Float[Array, "b n ..."], sample_weight: Float[Array, "b n"]
) -> tuple[Float[Array, "r"], Any]:
    """Sum log density and statistics over all points, block by block, for r mixtures at once.

    Args:
        mixtures: Current parameters, with a leading axis of r runs.
        data: b blocks of n points.
        sample_weight: How often each counts; 0 for rows that only fill a block.

    Returns:
        Total log density of the data, and the component statistics, of each run.

    Where a family's log density is linear in features of the data, large data go through two
    matrix products, unless some run has a component too narrow for that: then, and for little
    data, each point is compared with each mean.
    """

    def over_blocks(over_block):
        def total():
            if data.shape[0] == 1:
                return over_block((data[0], sample_weight[0]))
            zero = jax.tree.map(
                lambda a: jnp.zeros(a.shape, a.dtype),
                jax.eval_shape(over_block, (data[0], sample_weight[0])),
            )

            def add(sums, block):
                return jax.tree.map(jnp.add, sums, over_block(block)), None

            return jax.lax.scan(add, zero, (data, sample_weight))[0]

        return total

    directly = over_blocks(lambda block: _compare(mixtures, block))
    if not hasattr(mixtures.components, "features") or data.shape[0] * data.shape[1] < LARGE:
        return directly()
    suffice = jax.vmap(lambda m: m.components.features_suffice())(mixtures)
    by_features = over_blocks(lambda block: _multiply(mixtures, block))
    return jax.lax.cond(jnp.all(suffice), by_features, directly)


def _compare(mixtures: Mixture, block: tuple[Array, Array]) -> tuple[Float[Array, "r"], Any]:
    """Log density and statistics of one block, from differences between points and means."""
    points, weight = block

    def one(mixture):
        log_joint = safe_log(mixture.weights) + mixture.components.log_prob(points)
        log_prob = log_sum_exp(log_joint, -1)
        possible = jnp.where(jnp.isfinite(log_prob), log_prob, 0)
        responsibilities = jnp.exp(log_joint - possible[:, None]) * weight[:, None]
        total = jnp.sum(jnp.where(weight > 0, weight * log_prob, 0))
        return total, mixture.components.statistics(points, responsibilities)

    return jax.vmap(one)(mixtures)


def _multiply(mixtures: Mixture, block: tuple[Array, Array]) -> tuple[Float[Array, "r"], Any]:
    """Log density and statistics of one block, from products with the features of the points."""
    points, weight = block
    features = jax.tree.map(lambda a: a[0], mixtures.components).features(points)
    coefficients, constants = jax.vmap(lambda m: m.components.natural())(mixtures)
    # Full float32 also where a matrix unit would round its input to fewer digits.
    log_joint = jnp.matmul(coefficients, features, precision="highest")
    log_joint = log_joint + (constants + safe_log(mixtures.weights))[..., None]
    largest = log_joint.max(1)
    terms = jnp.exp(log_joint - largest[:, None])
    summed = terms.sum(1)
    total = (weight * (largest + jnp.log(summed))).sum(-1)
    responsibilities = terms * (weight / summed)[:, None]
    sums = jnp.matmul(responsibilities, features.T, precision="highest")
    statistics = jax.vmap(lambda m, counts, sums: m.components.from_features(counts, sums))(
        mixtures, responsibilities.sum(-1), sums
    )
    return total, statistics


def init(mixtures: Mixture) -> State:
    """Start from mixtures with a leading axis of r runs."""
    return State(mixtures, jnp.full_like(mixtures.weights[:, 0], -jnp.inf))


def step(
    state: State,
    data: Float[Array, "b n ..."],
    sample_weight: Float[Array, "b n"],
    prior: Any,
    held: Mixture,
    floor: Float[Array, ""],
) -> tuple[State, Info]:
    """Take one EM step in each run.

    Args:
        state: From `init` or the step before.
        data: Blocks of points.
        sample_weight: How often each point counts.
        prior: Gives `log_prob(mixture)` and `mode(mixture, statistics, held, floor)`.
        held: The structure of the mixtures with booleans: true where a parameter stays.
        floor: Smallest scale.

    Returns:
        The mixtures after the step with the objective before it, and what the step saw.
    """
    sums = expectation(state.mixtures, data, sample_weight)
    return _maximise(state.mixtures, sums, sample_weight.sum(), prior, held, floor)


def _maximise(
    mixtures: Mixture,
    sums: tuple[Float[Array, "r"], Any],
    size: Float[Array, "..."],
    prior: Any,
    held: Mixture,
    floor: Float[Array, ""],
) -> tuple[State, Info]:
    """The second half of a step: the mode of what the sums over the data imply."""
    totals, statistics = sums
    objective = (totals + jax.vmap(prior.log_prob)(mixtures)) / size
    proposed = jax.vmap(prior.mode, (0, 0, 0, None))(mixtures, statistics, held, floor)
    moved = jax.vmap(_distance)(proposed, mixtures)
    return State(proposed, objective), Info(mixtures, objective, moved)


def _distance(a: Mixture, b: Mixture) -> Float[Array, ""]:
    """The largest change of any parameter."""
    changes = jax.tree.map(lambda x, y: jnp.max(jnp.abs(x - y)), a, b)
    return jnp.max(jnp.stack(jax.tree.leaves(changes)))


class Fit(NamedTuple):
    """A batch of r finished runs."""

    mixtures: Mixture
    objective: Float[Array, "r"]
    status: Int[Array, "r"]
    steps: Int[Array, "r"]
    history: Float[Array, "t r"]


def run(
    starts: Mixture,
    data: Float[Array, "b n ..."],
    sample_weight: Float[Array, "b n"],
    prior: Any,
    held: Mixture,
    floor: Float[Array, ""],
    tol: Float[Array, ""],
    max_steps: int,
) -> Fit:
    """Run accelerated EM from a batch of starts until all have converged.

    Two plain steps, then one from a point extrapolated along their path (SQUAREM [1]); where that
    point is worse than where it came from, it is forgotten, so that the objective never falls. A
    run has converged when the objective still to be gained, extrapolated as a geometric series
    from the last two plain steps, is below `tol`, or, where gains drown in rounding, when the
    distance still to go is.

    Args:
        starts: A mixture with a leading axis of r runs; so has `held`.
        tol: In nats per unit of sample weight.
        max_steps: Most steps, plain and extrapolated; static.

    The other arguments are those of `step`. A run whose component shrank to the floor on the
    scales, or lost all its points (a weight below half a point), ends as COLLAPSED.

    [1] Varadhan and Roland (2008), "Simple and globally convergent methods for accelerating the
        convergence of any EM algorithm", scheme S3.
    """
    size = sample_weight.sum()

    def advance(taken, path):
        sums = expectation(path.mixtures, data, sample_weight)
        return follow(taken, path, sums, size, prior, held, floor, tol)

    n_runs, dtype = len(starts.weights), starts.weights.dtype
    path, history, steps = iterate(advance, begin(starts), n_runs, max_steps, dtype)
    status = conclude(path, size, held, floor)
    return Fit(path.mixtures, path.objective, status, steps, history)


class Path(NamedTuple):
    """Where r runs stand, and the two plain steps that they extrapolate from."""

    mixtures: Mixture
    objective: Float[Array, "r"]
    status: Int[Array, "r"]
    first: Info
    second: Info
    fallback: Mixture


def begin(starts: Mixture) -> Path:
    """Where accelerated runs stand before their first step."""
    nothing = jnp.zeros_like(starts.weights[:, 0])
    info = Info(starts, nothing, nothing)
    return Path(starts, nothing, jnp.full(nothing.shape, RUNNING), info, info, starts)


def follow(
    taken: Int[Array, ""],
    path: Path,
    sums: tuple[Float[Array, "r"], Any],
    size: Float[Array, "..."],
    prior: Any,
    held: Mixture,
    floor: Float[Array, ""],
    tol: Float[Array, ""],
) -> tuple[Path, Float[Array, "r"], Bool[Array, "r"]]:
    """Take one step of `run`, from sums over the data wherever those come from.

    Args:
        taken: How many steps came before.
        path: From `begin` or the step before.
        sums: What `expectation` gives at `path.mixtures`.
        size: Sum of the sample weights; r of them when each run has data of its own.

    The other arguments are those of `run`. Returns the next path, the objective and which runs
    are done, as `iterate` wants.
    """
    eps = jnp.finfo(path.mixtures.weights.dtype).eps

    def first(path, info, after):
        return path._replace(first=info, mixtures=after), info.objective, path.status

    def second(path, info, after):
        before = jnp.maximum(path.first.moved, jnp.finfo(eps.dtype).tiny)
        rate = jnp.clip(info.moved / before, 0, 1 - 1e-4)
        gain = info.objective - path.first.objective
        drowned = gain <= 4 * eps * (1 + jnp.abs(info.objective))
        near = info.moved / (1 - rate) <= 3 * jnp.sqrt(eps)
        converged = jnp.where(drowned, near, gain * rate**2 / (1 - rate**2) <= tol)
        status = jnp.where(converged, CONVERGED, path.status)
        ahead = jax.vmap(_extrapolate)(path.first.mixtures, info.mixtures, after, held)
        mixtures = _where(converged, info.mixtures, ahead)
        path = path._replace(second=info, fallback=after, mixtures=mixtures, status=status)
        return path, info.objective, status

    def third(path, info, after):
        better = info.objective >= path.second.objective
        mixtures = _where(better, after, path.fallback)
        objective = jnp.where(better, info.objective, path.second.objective)
        return path._replace(mixtures=mixtures), objective, path.status

    state, info = _maximise(path.mixtures, sums, size, prior, held, floor)
    path, objective, status = jax.lax.switch(
        taken % 3, (first, second, third), path, info, state.mixtures
    )
    status = jnp.where(jnp.isfinite(objective), status, NOT_FINITE)
    path = path._replace(objective=objective, status=status)
    return path, objective, status != RUNNING


def conclude(
    path: Path, size: Float[Array, "..."], held: Mixture, floor: Float[Array, ""]
) -> Int[Array, "r"]:
    """Status of each run: as the loop left it, or COLLAPSED."""
    empty = (path.mixtures.weights * size[..., None] < 0.5) & ~held.weights
    collapsed = jax.vmap(lambda m: m.components.collapsed(floor))(path.mixtures) | empty
    bad = jnp.any(collapsed, -1) & (path.status != NOT_FINITE)
    return jnp.where(bad, COLLAPSED, path.status)


def _extrapolate(a: Mixture, b: Mixture, c: Mixture, held: Mixture) -> Mixture:
    """Follow the path from a over b to c ahead, in unconstrained parameters."""
    start, middle, end = ((safe_log(m.weights), m.components.unconstrained()) for m in (a, b, c))
    move = jax.tree.map(jnp.subtract, middle, start)
    bend = jax.tree.map(lambda e, m, s: e - 2 * m + s, end, middle, start)

    def squared(tree):
        parts = [jnp.where(jnp.isfinite(x), x, 0).ravel() for x in jax.tree.leaves(tree)]
        return jnp.sum(jnp.concatenate(parts) ** 2)

    length = jnp.sqrt(squared(move) / jnp.maximum(squared(bend), jnp.finfo(c.weights.dtype).tiny))
    length = jnp.clip(length, 1, 1e4)
    ahead = jax.tree.map(
        lambda s, m, b, e: jnp.where(
            jnp.isfinite(s + m + b), s + 2 * length * m + length**2 * b, e
        ),
        start, move, bend, end,
    )  # fmt: skip
    weights = jnp.exp(ahead[0] - ahead[0].max())
    free = jnp.where(held.weights, 0, weights)
    left = 1 - jnp.where(held.weights, c.weights, 0).sum()
    weights = jnp.where(held.weights, c.weights, free / jnp.maximum(free.sum(), 1e-30) * left)
    components = jax.tree.map(jnp.where, held.components, c.components, ahead[1].constrained())
    return rebuild(Mixture, weights=weights, components=components)


def _where(which: Bool[Array, "r"], a: Mixture, b: Mixture) -> Mixture:
    """Take each run from `a` or from `b`."""
    return jax.tree.map(lambda x, y: jnp.where(which.reshape(-1, *(1,) * (x.ndim - 1)), x, y), a, b)


def best(fit: Fit) -> Int[Array, ""]:
    """Index of the run to keep: the highest objective among sound runs, else among the others."""
    rank = jnp.where(fit.status == NOT_FINITE, 2, jnp.where(fit.status == COLLAPSED, 1, 0))
    candidates = jnp.where(rank == rank.min(), fit.objective, -jnp.inf)
    return jnp.argmax(candidates)
