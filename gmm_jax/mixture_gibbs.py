"""The posterior of a mixture by Gibbs chains that set out from EM fits and from the prior."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from gmm_jax import gibbs
from gmm_jax._compile import jit_by_size
from gmm_jax.mixture import Mixture
from gmm_jax.table import Table


class Arguments(NamedTuple):
    """The posterior that chains draw from."""

    table: Table
    """Points count 1 or less; 0 for rows that only fill the array."""
    prior: Any
    """In the unit of the points."""
    floor: Float[Array, ""]
    held: Mixture | None
    """Booleans in the structure of one mixture: true where parameters stay; None where none do."""


def size(key: Array, mixtures: Mixture, arguments: Arguments, *_: Any, **__: Any) -> int:
    """How many numbers a sweep goes through."""
    return mixtures.weights.size * arguments.table.points.size


@functools.partial(jit_by_size, size=size, static_argnames=("named", "partial"))
def advance(
    key: Array,
    mixtures: Mixture,
    arguments: Arguments,
    temperatures: Float[Array, "s"],
    *,
    named: bool,
    partial: bool,
) -> tuple[Mixture, Mixture, Float[Array, "c s"]]:
    """Take steps in every chain.

    Args:
        key: Random key.
        mixtures: Where the c chains stand.
        arguments: The posterior.
        temperatures: Of s steps; see `gibbs.sweep`.
        named: Whether the prior tells components apart, so that their labels must move.
        partial: Whether some points count neither 0 nor 1.

    Returns:
        Where the chains stand now; where they stood before each step, (c, s) of each parameter;
        and the log likelihood there.
    """
    table, prior, floor, held = arguments

    def step(state, now):
        key, temperature = now
        after, info = gibbs.step(key, state, table, prior, floor, held, named, partial, temperature)
        return after, (state.mixtures, info.log_likelihood)

    keys = jax.random.split(key, len(temperatures))
    return in_chains(step, mixtures, (keys, temperatures))


def in_chains(step: Callable[..., Any], mixtures: Mixture, inputs: Any) -> tuple[Any, ...]:
    """Take s steps, for `jax.lax.scan`; each tells where the chains stood, and the log likelihood.

    Args:
        step: Takes the state and one of the inputs.
        mixtures: Where the c chains stand.
        inputs: Of s steps.

    Returns:
        What `advance` does.
    """
    state, told = jax.lax.scan(step, gibbs.init(mixtures), inputs)
    return state.mixtures, *jax.tree.map(lambda a: jnp.swapaxes(a, 0, 1), told)
