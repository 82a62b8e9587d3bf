"""The No-U-Turn sampler, NumPyro's, of any log density over numbers that may take any value.

All chains step together, a tenth of the draws at a time, by one compiled program for warm-up and
draws. It is kept for the function and the shapes: further data of the same shape are not compiled
again.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import Array
from jaxtyping import Bool, Float, Int

from gmm_jax._compile import jit_by_size
from gmm_jax._progress import Report, in_rounds, silent

ROUNDS = 10
"""The draws are taken in so many; between them progress is told, and an interrupt stops."""


class Info(NamedTuple):
    """How c chains of s draws went."""

    diverging: Bool[np.ndarray, "c s"]
    """Where the integrator lost its way, which hints at a corner that draws don't reach."""
    n_leapfrogs: Int[np.ndarray, "c s"]
    """How many gradients each draw took."""
    accept_prob: Float[np.ndarray, "c s"]
    """Mean probability of acceptance along each trajectory."""
    step_size: Float[Array, "c"]


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
    report: Report = silent,
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
        report: Is told how far it is.

    Returns:
        Positions (c, s, ...), and how the chains went; fewer after an interrupt.

    [1] Hoffman and Gelman (2014), "The No-U-turn sampler".
    """
    length = math.ceil(n_draws / ROUNDS)
    n_chains = jax.tree.leaves(starts)[0].shape[0]
    settings = log_density, n_warmup, accept, depth
    state = _begin(jax.random.split(key, n_chains), arguments, starts, settings)

    def one_round(i: int, state: Any) -> tuple[Any, Any]:
        return advance(state, arguments, settings, length)

    sizes = math.ceil(n_warmup / length), math.ceil(n_draws / length)
    state, rounds = in_rounds(one_round, state, *sizes, report)
    draws, *info = jax.tree.map(lambda *a: np.concatenate(a, 1)[:, :n_draws], *rounds)
    return draws, Info(*info, state.adapt_state.step_size)


def _kernel(arguments: Any, settings: tuple) -> tuple[Callable, Callable]:
    """NumPyro's: the state of one chain from a start, and its next."""
    from numpyro.infer.hmc import hmc

    log_density, n_warmup, accept, depth = settings
    begin, step = hmc(lambda position: -log_density(position, arguments), algo="NUTS")
    options = dict(target_accept_prob=accept, max_tree_depth=depth)
    return lambda key, start: begin(start, n_warmup, **options, rng_key=key), step


def _size(chains: Any, arguments: Any, *_: Any) -> int:
    """How many data all chains go through, about."""
    n_chains = jax.tree.leaves(chains)[0].shape[0]
    return n_chains * max((np.size(leaf) for leaf in jax.tree.leaves(arguments)), default=1)


@functools.partial(jit_by_size, size=_size, static_argnames=("settings",))
def _begin(keys: Array, arguments: Any, starts: Any, settings: tuple) -> Any:
    """States of all chains."""
    return jax.vmap(_kernel(arguments, settings)[0])(keys, starts)


@functools.partial(jit_by_size, size=_size, static_argnames=("settings", "length"))
def advance(state: Any, arguments: Any, settings: tuple, length: int) -> tuple[Any, Any]:
    """Take `length` steps of all chains; returns their states, and positions and info (c, s)."""
    begin, step = _kernel(arguments, settings)

    def record(state: Any, _: Any) -> tuple[Any, Any]:
        state = step(state)
        return state, (state.z, state.diverging, state.num_steps, state.accept_prob)

    def chain(state: Any) -> tuple[Any, Any]:
        jax.eval_shape(begin, state.rng_key, state.z)  # without which the step is not set up
        return jax.lax.scan(record, state, length=length)

    return jax.vmap(chain)(state)
