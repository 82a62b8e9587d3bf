"""Metropolis moves whose steps are differences between particles, after ter Braak.

They have the scale and the direction of the target wherever it is, and reach from mode to mode;
nothing is tuned, and no gradient is needed.

[1] ter Braak (2006), "A Markov chain Monte Carlo version of the genetic algorithm differential
    evolution".
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from gmm_jax._pytree import choose

WHOLE = 0.1
"""So often a step is the whole difference, which leads from one mode to another."""


class State(NamedTuple):
    """p particles and their log densities."""

    positions: Any
    log_density: Float[Array, "p"]


def sweep(key: Array, state: State, log_density: Callable[[Any], Float[Array, "p"]]) -> State:
    """Move one half of the particles by differences within the other, then that one.

    With the other half as it is, a step and its reverse are equally likely: the density stays.

    Args:
        key: Random key.
        state: Positions that may take any value, p on the first axis, and their densities.
        log_density: Of a batch of positions, up to a constant.
    """
    size = state.log_density.shape[0]
    order_key, first_key, second_key = jax.random.split(key, 3)
    order = jax.random.permutation(order_key, size)
    first, second = (
        jax.tree.map(lambda a, half=half: a[half], state) for half in jnp.split(order, [size // 2])
    )
    first = _move(first_key, first, second.positions, log_density)
    second = _move(second_key, second, first.positions, log_density)
    back = jnp.argsort(order)
    return jax.tree.map(lambda a, b: jnp.concatenate([a, b])[back], first, second)


def _move(key: Array, state: State, still: Any, log_density: Callable) -> State:
    """Metropolis steps of 2.38 / sqrt(2 d) times a difference, more or less [1]."""
    pair_key, length_key, whole_key, test_key = jax.random.split(key, 4)
    size, dtype = state.log_density.shape[0], state.log_density.dtype
    n_others = jax.tree.leaves(still)[0].shape[0]
    n_numbers = sum(a[0].size for a in jax.tree.leaves(still))
    lowest = jnp.array([[0], [1]])
    one, apart = jax.random.randint(pair_key, (2, size), lowest, n_others)
    other = (one + apart) % n_others
    usual = 2.38 / np.sqrt(2 * n_numbers) * jnp.exp(jax.random.normal(length_key, (size,), dtype))
    length = jnp.where(jax.random.uniform(whole_key, (size,), dtype) < WHOLE, 1, usual)

    def step(own: Array, pool: Array) -> Array:
        return own + length.reshape(-1, *(1,) * (own.ndim - 1)) * (pool[one] - pool[other])

    positions = jax.tree.map(step, state.positions, still)
    proposed = State(positions, log_density(positions))
    odds = proposed.log_density - state.log_density
    accepted = jnp.log(jax.random.uniform(test_key, (size,), dtype)) < odds
    return choose(accepted, proposed, state)
