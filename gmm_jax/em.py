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
from gmm_jax.mixture import Mixture

LARGE = 4096
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
    gain: Float[Array, "r"]
    status: Int[Array, "r"]


class Info(NamedTuple):
    """What a person reads about a step."""

    objective: Float[Array, "r"]
    converged: Bool[Array, "r"]


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
    nothing = jnp.zeros_like(mixtures.weights[:, 0])
    return State(mixtures, nothing - jnp.inf, nothing + jnp.inf, jnp.full(nothing.shape, RUNNING))


def step(
    state: State,
    data: Float[Array, "b n ..."],
    sample_weight: Float[Array, "b n"],
    prior: Any,
    held: Mixture,
    floor: Float[Array, ""],
    tol: Float[Array, ""],
) -> tuple[State, Info]:
    """Take one EM step in each run, or stay where it has converged.

    A run has converged when the objective still to be gained, extrapolated from the last two
    gains as a geometric series [1], is below `tol`; or, where gains drown in rounding, when the
    parameters have stopped moving.

    Args:
        state: From `init` or the step before.
        data: Blocks of points.
        sample_weight: How often each point counts.
        prior: Gives `log_prob(mixture)` and `mode(mixture, statistics, held, floor)`.
        held: The structure of the mixtures with booleans: true where a parameter stays.
        floor: Smallest scale.
        tol: In nats per unit of sample weight.

    [1] McLachlan and Peel (2000), "Finite Mixture Models", section 2.11.
    """
    totals, statistics = expectation(state.mixtures, data, sample_weight)
    objective = (totals + jax.vmap(prior.log_prob)(state.mixtures)) / sample_weight.sum()
    proposed = jax.vmap(prior.mode, (0, 0, 0, None))(state.mixtures, statistics, held, floor)

    gain = objective - state.objective
    rate = jnp.clip(gain / state.gain, 0, 1 - 1e-6)
    eps = jnp.finfo(objective.dtype).eps
    drowned = gain <= 4 * eps * (1 + jnp.abs(objective))
    still = jax.vmap(_distance)(proposed, state.mixtures) <= jnp.sqrt(eps) / 32
    known = jnp.isfinite(state.gain)
    converged = jnp.where(drowned, still, known & (gain * rate / (1 - rate) <= tol))
    failed = ~jnp.isfinite(objective)
    status = jnp.where(failed, NOT_FINITE, jnp.where(converged, CONVERGED, RUNNING))
    stay = converged | failed
    mixtures = jax.tree.map(
        lambda new, old: jnp.where(stay.reshape(-1, *(1,) * (new.ndim - 1)), old, new),
        proposed,
        state.mixtures,
    )
    return State(mixtures, objective, gain, status), Info(objective, converged)


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
    """Run EM from a batch of starts until all have converged or taken `max_steps`.

    Args:
        starts: A mixture with a leading axis of r runs; so has `held`.
        max_steps: Static.

    The other arguments are those of `step`. A run whose component shrank to the floor on the
    scales, or lost all its points (a weight below half a point), ends as COLLAPSED.
    """

    def advance(_, states):
        states, info = step(states, data, sample_weight, prior, held, floor, tol)
        return states, info.objective, states.status != RUNNING

    n_runs = starts.weights.shape[0]
    states, history, steps = iterate(advance, init(starts), n_runs, max_steps, starts.weights.dtype)
    empty = (states.mixtures.weights * sample_weight.sum() < 0.5) & ~held.weights
    collapsed = jax.vmap(lambda m: m.components.collapsed(floor))(states.mixtures) | empty
    bad = jnp.any(collapsed, -1) & (states.status != NOT_FINITE)
    status = jnp.where(bad, COLLAPSED, states.status)
    return Fit(states.mixtures, states.objective, status, steps, history)


def best(fit: Fit) -> Int[Array, ""]:
    """Index of the run to keep: the highest objective among sound runs, else among the others."""
    rank = jnp.where(fit.status == NOT_FINITE, 2, jnp.where(fit.status == COLLAPSED, 1, 0))
    candidates = jnp.where(rank == rank.min(), fit.objective, -jnp.inf)
    return jnp.argmax(candidates)
