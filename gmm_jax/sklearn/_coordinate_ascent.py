"""Variational inference as scikit-learn counts it: the steps of `variational`, for more priors.

A step weighs the points by the geometric mean of the densities that are thought possible, sums
their statistics and takes what these imply; no step lowers the bound on the log evidence [1].

[1] Bishop (2006), "Pattern recognition and machine learning", section 10.2.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, Int

from gmm_jax._loop import iterate
from gmm_jax._pytree import choose
from gmm_jax.sklearn._climb import widened
from gmm_jax.sklearn._conjugate import Knowledge
from gmm_jax.table import Table, expectation


class Ascended(NamedTuple):
    """A batch of r finished runs. Bounds are on the log evidence of all data, in nats."""

    knowledge: Knowledge
    bound: Float[Array, "r"]
    """At the end."""
    converged: Bool[Array, "r"]
    steps: Int[Array, "r"]
    history: Float[Array, "t r"]
    """Bounds before each step."""


class _Now(NamedTuple):
    """Where runs stand, the bound before the last step, and whether that was the last."""

    knowledge: Knowledge
    bound: Float[Array, "r"]
    converged: Bool[Array, "r"]
    last: Bool[Array, "r"]


@functools.partial(jax.jit, static_argnames="room")
def ascend(
    starts: Knowledge,
    table: Table,
    prior: Knowledge,
    extra: Float[Array, "d"],
    before: Float[Array, "r"],
    tol: Float[Array, ""],
    most: Int[Array, ""],
    *,
    room: int,
) -> Ascended:
    """Take steps from a batch of starts.

    Args:
        starts: What is known at first, with a leading axis of r runs.
        table: The data.
        prior: What is known without them.
        extra: What is added to the variances of points.
        before: Bound that the first is compared with.
        tol: A step that changes the bound by less is the last.
        most: Most steps.
        room: More than `most`; static.
    """

    def advance(taken, now):
        means, log_factors = jax.vmap(Knowledge.geometric_mean)(now.knowledge)
        total, statistics = expectation(means, table)
        apart = jax.vmap(lambda known: known.divergence(prior))(now.knowledge)
        bound = total + log_factors * table.sample_weight.sum() - apart
        statistics = jax.vmap(lambda sums: widened(sums, extra))(statistics)
        known = jax.vmap(prior.given)(means, statistics)
        noise = 4 * jnp.finfo(bound.dtype).eps * jnp.abs(bound)
        converged = jnp.abs(bound - now.bound) < jnp.maximum(tol, noise)
        last = converged | (taken + 1 >= most) | ~jnp.isfinite(bound)
        # After the last step there is only to see what it came to.
        after = choose(now.last, now._replace(bound=bound), _Now(known, bound, converged, last))
        return after, bound, now.last

    over = jnp.full(before.shape, most == 0)
    now = _Now(starts, before, jnp.zeros_like(over), over)
    now, history, seen = iterate(advance, now, len(before), room, before.dtype)
    return Ascended(now.knowledge, now.bound, now.converged, seen - 1, history)


@jax.jit
def draw(known: Any, keys: Array) -> Any:
    """Mixtures drawn from what is known, one a key."""
    return jax.vmap(known.sample)(keys)


@jax.jit
def compare(draws: Any, known: Knowledge, prior: Knowledge, table: Table) -> Float[Array, "s"]:
    """Log importance weights of draws of what is known, for the posterior of a Dirichlet prior."""
    log_likelihood, _ = expectation(draws, table)
    return log_likelihood + jax.vmap(prior.log_prob)(draws) - jax.vmap(known.log_prob)(draws)
