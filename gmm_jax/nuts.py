"""The No-U-Turn sampler, NumPyro's, of any log density over numbers that may take any value.

All chains run in one compiled program, warm-up and draws together. It is kept for the function and
the shapes: further data of the same shape are not compiled again.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, Int


class Info(NamedTuple):
    """How c chains of s draws went."""

    diverging: Bool[Array, "c s"]
    """Where the integrator lost its way, which hints at a corner that draws don't reach."""
    n_leapfrogs: Int[Array, "c s"]
    """How many gradients each draw took."""
    accept_prob: Float[Array, "c s"]
    """Mean probability of acceptance along each trajectory."""
    step_size: Float[Array, "c"]


@functools.partial(
    jax.jit, static_argnames=("log_density", "n_warmup", "n_draws", "accept", "depth")
)
def run(
    key: Array,
    log_density: Callable[[Any, Any], Float[Array, ""]],
    arguments: Any,
    starts: Any,
    *,
    n_warmup: int,
    n_draws: int,
    accept: float = 0.8,
    depth: int = 10,
) -> tuple[Any, Info]:
    """Draw with the No-U-Turn sampler [1]; step size and scales are learnt in the warm-up.

    Args:
        key: Random key, for all chains.
        log_density: `log_density(position, arguments)`, up to a constant; the same function object
            is compiled once.
        arguments: A pytree for it: data and hyperparameters.
        starts: A pytree of positions, with the chains on the first axis of every array.
        n_warmup: Draws to learn from, which are thrown away.
        n_draws: Draws to keep, of every chain.
        accept: Mean acceptance probability to aim for; higher makes smaller steps.
        depth: A trajectory takes at most 2^depth steps.

    Returns:
        Positions (c, s, ...), and how the chains went.

    [1] Hoffman and Gelman (2014), "The No-U-Turn sampler".
    """
    from numpyro.infer.hmc import hmc

    def chain(key: Array, start: Any) -> tuple[Any, Info]:
        begin, advance = hmc(lambda position: -log_density(position, arguments), algo="NUTS")
        state = begin(start, n_warmup, target_accept_prob=accept, max_tree_depth=depth, rng_key=key)

        def record(state: Any) -> tuple[Any, ...]:
            return state.z, state.diverging, state.num_steps, state.accept_prob

        def step(i: Array, carry: tuple[Any, Any]) -> tuple[Any, Any]:
            state, kept = carry
            state = advance(state)
            row = jnp.maximum(i - n_warmup, 0)  # the warm-up overwrites the first row
            kept = jax.tree.map(lambda all, one: all.at[row].set(one), kept, record(state))
            return state, kept

        # One loop for warm-up and draws: the step is compiled once.
        shapes = jax.eval_shape(record, state)
        kept = jax.tree.map(lambda a: jnp.zeros((n_draws, *a.shape), a.dtype), shapes)
        state, (draws, *info) = jax.lax.fori_loop(0, n_warmup + n_draws, step, (state, kept))
        return draws, Info(*info, state.adapt_state.step_size)

    n_chains = jax.tree.leaves(starts)[0].shape[0]
    return jax.vmap(chain)(jax.random.split(key, n_chains), starts)
