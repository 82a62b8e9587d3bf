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

RUNNING, CONVERGED, COLLAPSED, NOT_FINITE = range(4)
MEANING = {
    RUNNING: "stopped at max_steps before it converged",
    CONVERGED: "converged",
    COLLAPSED: "a component collapsed onto equal points or lost all its points",
    NOT_FINITE: "the objective is not finite",
}


class State(NamedTuple):
    """What the next step needs. The objective is per unit of sample weight, in nats."""

    mixture: Mixture
    objective: Float[Array, ""]
    gain: Float[Array, ""]
    status: Int[Array, ""]


class Info(NamedTuple):
    """What a person reads about one run."""

    objective: Float[Array, ""]
    converged: Bool[Array, ""]


def expectation(
    mixture: Mixture, data: Float[Array, "b n ..."], sample_weight: Float[Array, "b n"]
) -> tuple[Float[Array, ""], Any]:
    """Sum log density and statistics over all points, block by block.

    Args:
        mixture: Current parameters.
        data: b blocks of n points.
        sample_weight: How often each counts; 0 for rows that only fill a block.

    Returns:
        Total log density of the data, and the component statistics.
    """

    def over_block(block):
        points, weight = block
        log_joint = safe_log(mixture.weights) + mixture.components.log_prob(points)
        log_prob = log_sum_exp(log_joint, -1)
        possible = jnp.where(jnp.isfinite(log_prob), log_prob, 0)
        responsibilities = jnp.exp(log_joint - possible[:, None]) * weight[:, None]
        total = jnp.sum(jnp.where(weight > 0, weight * log_prob, 0))
        return total, mixture.components.statistics(points, responsibilities)

    if data.shape[0] == 1:
        return over_block((data[0], sample_weight[0]))
    zero = jax.tree.map(
        lambda a: jnp.zeros(a.shape, a.dtype),
        jax.eval_shape(over_block, (data[0], sample_weight[0])),
    )

    def add(sums, block):
        return jax.tree.map(jnp.add, sums, over_block(block)), None

    return jax.lax.scan(add, zero, (data, sample_weight))[0]


def init(mixture: Mixture) -> State:
    """Start from a mixture."""
    dtype = mixture.weights.dtype
    return State(
        mixture,
        jnp.full((), -jnp.inf, dtype),
        jnp.full((), jnp.inf, dtype),
        jnp.full((), RUNNING),
    )


def step(
    state: State,
    data: Float[Array, "b n ..."],
    sample_weight: Float[Array, "b n"],
    prior: Any,
    held: Mixture,
    floor: Float[Array, ""],
    tol: Float[Array, ""],
) -> tuple[State, Info]:
    """Take one EM step, or stay where the run has converged.

    The run has converged when the objective still to be gained, extrapolated from the last two
    gains as a geometric series [1], is below `tol`; or, where gains drown in rounding, when the
    parameters have stopped moving.

    Args:
        state: From `init` or the step before.
        data: Blocks of points.
        sample_weight: How often each point counts.
        prior: Gives `log_prob(mixture)` and `mode(mixture, statistics, held, floor)`.
        held: The structure of the mixture with booleans: true where a parameter stays.
        floor: Smallest scale.
        tol: In nats per unit of sample weight.

    [1] McLachlan and Peel (2000), "Finite Mixture Models", section 2.11.
    """
    total, statistics = expectation(state.mixture, data, sample_weight)
    objective = (total + prior.log_prob(state.mixture)) / sample_weight.sum()
    proposed = prior.mode(state.mixture, statistics, held, floor)

    gain = objective - state.objective
    rate = jnp.clip(gain / state.gain, 0, 1 - 1e-6)
    eps = jnp.finfo(objective.dtype).eps
    drowned = gain <= 4 * eps * (1 + jnp.abs(objective))
    still = _distance(proposed, state.mixture) <= jnp.sqrt(eps) / 32
    known = jnp.isfinite(state.gain)
    converged = jnp.where(drowned, still, known & (gain * rate / (1 - rate) <= tol))
    failed = ~jnp.isfinite(objective)
    status = jnp.where(failed, NOT_FINITE, jnp.where(converged, CONVERGED, RUNNING))
    mixture = jax.tree.map(
        lambda new, old: jnp.where(converged | failed, old, new), proposed, state.mixture
    )
    return State(mixture, objective, gain, status), Info(objective, converged)


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
        states, info = jax.vmap(
            lambda state, held: step(state, data, sample_weight, prior, held, floor, tol)
        )(states, held)
        return states, info.objective, states.status != RUNNING

    n_runs = starts.weights.shape[0]
    states, history, steps = iterate(
        advance, jax.vmap(init)(starts), n_runs, max_steps, starts.weights.dtype
    )
    empty = (states.mixture.weights * sample_weight.sum() < 0.5) & ~held.weights
    collapsed = jax.vmap(lambda m: m.components.collapsed(floor))(states.mixture) | empty
    bad = jnp.any(collapsed, -1) & (states.status != NOT_FINITE)
    status = jnp.where(bad, COLLAPSED, states.status)
    return Fit(states.mixture, states.objective, status, steps, history)


def best(fit: Fit) -> Int[Array, ""]:
    """Index of the run to keep: the highest objective among sound runs, else among the others."""
    rank = jnp.where(fit.status == NOT_FINITE, 2, jnp.where(fit.status == COLLAPSED, 1, 0))
    candidates = jnp.where(rank == rank.min(), fit.objective, -jnp.inf)
    return jnp.argmax(candidates)
