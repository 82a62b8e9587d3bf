"""The one loop: step until every member of a batch is done."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array


def iterate(
    step: Callable[[Array, Any], tuple[Any, Array, Array]],
    state: Any,
    n_members: int,
    max_steps: int,
    dtype: Any,
) -> tuple[Any, Array, Array]:
    """Call `step` until it says that all are done, or `max_steps` times.

    Args:
        step: Takes the number of steps taken and the state; returns the next state, a number to
            record for each member, and which members are done. Members that were done before
            keep their state.
        state: A pytree with the members on the first axis.
        n_members: Length of that axis.
        max_steps: The most steps to take.
        dtype: Of the recorded numbers.

    Returns:
        The final state, the history (max_steps, members; NaN where nothing was recorded), and how
        many steps each member took.
    """

    def unfinished(carry):
        taken, _, _, done, _ = carry
        return (taken < max_steps) & ~jnp.all(done)

    def advance(carry):
        taken, state, history, done, steps = carry
        proposed, record, now_done = step(taken, state)

        def keep(new, old):
            return jnp.where(done.reshape(done.shape + (1,) * (new.ndim - 1)), old, new)

        state = jax.tree.map(keep, proposed, state)
        record = jnp.where(done, jnp.nan, record)
        history = jax.lax.dynamic_update_index_in_dim(history, record, taken, 0)
        return taken + 1, state, history, done | now_done, steps + ~done

    history = jnp.full((max_steps, n_members), jnp.nan, dtype)
    done = jnp.zeros(n_members, bool)
    start = (jnp.zeros((), int), state, history, done, jnp.zeros(n_members, int))
    _, state, history, _, steps = jax.lax.while_loop(unfinished, advance, start)
    return state, history, steps
