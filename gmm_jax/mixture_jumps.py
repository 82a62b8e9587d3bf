"""Gibbs chains that jump, between sweeps, to where other chains have been.

Where explanations compete a Gibbs chain stays with one for thousands of sweeps, since points move
one at a time. A jump proposes another mixture from full conditionals p(parameters | assignments,
data), taken at draws of chains that disagree, and accepts it by Metropolis and Hastings' rule, both
densities summed over all labellings, as for importance sampling. The conditionals stay as they are;
so wherever they come from, jumps leave the posterior as it is [1]. Both densities of the mixtures
that were proposed, and of those that stood there, tell the evidence (see `bridge`).

[1] Tierney (1994), "Markov chains for exploring posterior distributions".
"""

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from gmm_jax import gibbs, mixture_gibbs
from gmm_jax import mixture_posterior as weighed
from gmm_jax._compile import jit_by_size
from gmm_jax._pytree import choose
from gmm_jax.mixture import Mixture
from gmm_jax.table import Table

SWEEPS = 5
"""Before each jump."""
MOST, MOST_SUMS = 256, 2**17
"""So many conditionals, but fewer where the sums over their labellings would cost more."""


class Arguments(NamedTuple):
    """The posterior, as chains take it and with what proposes for it."""

    chains: mixture_gibbs.Arguments
    proposal: weighed.Arguments


def n_places(n_components: int) -> int:
    """How many conditionals jumps are proposed from."""
    return max(n_components, min(MOST, MOST_SUMS // (n_components * 2**n_components)))


def arguments_around(
    key: Array, places: Mixture, chains: mixture_gibbs.Arguments, rows: Table
) -> Arguments:
    """Take conditionals.

    Args:
        key: Random key.
        places: m mixtures.
        chains: The posterior; nothing is held.
        rows: The same points, one row for each.
    """
    size = places.weights.shape[0]
    conditionals = _conditionals(key, jax.tree.map(jnp.asarray, places), chains)
    log_shares = jnp.full(size, -np.log(size), rows.points.dtype)
    return Arguments(chains, weighed.Arguments(rows, chains.prior, conditionals, log_shares))


@functools.partial(jit_by_size, size=mixture_gibbs.size)
def _conditionals(key: Array, mixtures: Mixture, arguments: mixture_gibbs.Arguments) -> Any:
    table, prior, floor, _ = arguments
    return gibbs.conditionals(key, mixtures, table, prior, floor)


def _size(key: Array, mixtures: Mixture, arguments: Arguments, **_: Any) -> int:
    table, log_shares = arguments.proposal.table, arguments.proposal.log_shares
    d = math.prod(table.points.shape[2:])
    pairs = mixtures.weights.size * mixtures.weights.shape[1] * log_shares.size
    return max(mixture_gibbs.size(key, mixtures, arguments.chains), pairs * d**2)


@functools.partial(jit_by_size, size=_size, static_argnames=("n_steps", "named", "partial"))
def advance(
    key: Array,
    mixtures: Mixture,
    arguments: Arguments,
    *,
    n_steps: int,
    named: bool,
    partial: bool,
) -> tuple[Mixture, Mixture, Float[Array, "c s"], Float[Array, "c s"], Float[Array, "c s"]]:
    """Take steps in every chain, each of several sweeps and a jump.

    Args:
        key: Random key.
        mixtures: Where the c chains stand.
        arguments: The posterior, and where jumps lead.
        n_steps: How many, s.
        named: Whether labels must move.
        partial: Whether some points count neither 0 nor 1.

    Returns:
        As `mixture_gibbs.advance`; then what `jump` tells of weights.
    """
    table, prior, floor, held = arguments.chains

    def sweep(state, key):
        state, info = gibbs.step(key, state, table, prior, floor, held, named, partial)
        return state, info.log_likelihood

    def step(state, key):
        sweeps_key, jump_key = jax.random.split(key)
        after, each = jax.lax.scan(sweep, state, jax.random.split(sweeps_key, SWEEPS))
        now, *weights = jump(jump_key, after.mixtures, arguments.proposal, named)
        return gibbs.init(now), (state.mixtures, each[0], *weights)

    return mixture_gibbs.in_chains(step, mixtures, jax.random.split(key, n_steps))


def jump(
    key: Array, mixtures: Mixture, proposal: weighed.Arguments, named: bool
) -> tuple[Mixture, Float[Array, "c"], Float[Array, "c"]]:
    """Propose a mixture to each of c chains, and accept it or not.

    Returns:
        Where the chains stand now; the log of posterior (but for the evidence) over proposal, both
        summed over all labellings, where they stood; and the same of what was proposed.
    """
    mixtures_key, test_key, labels_key = jax.random.split(key, 3)
    others = weighed.propose_informed(mixtures_key, proposal, mixtures.weights.shape[0])
    here = weighed.over_all_labellings(mixtures, proposal)
    there = weighed.over_all_labellings(others, proposal)
    accepted = jnp.log(jax.random.uniform(test_key, here.shape, here.dtype)) < there - here
    after = choose(accepted, others, mixtures)
    after = gibbs.relabel(labels_key, after, proposal.prior) if named else after
    return after, here, there
