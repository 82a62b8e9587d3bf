"""The posterior of a mixture by tempered SMC, with Gibbs moves at every temperature.

The path tempers assignments and parameters together: at temperature b the density is

    p(parameters) prod_i sum_k (w_k f_k(x_i))^(b s_i),

s_i how often point i counts, 1 or less. So Gibbs steps are exact at every temperature, with the
prior's own conditionals, given b times the statistics. At 0 it is k^n times the prior, at 1 the
posterior, where every s_i is 1; points that count several times are repeated beforehand. Where some
s_i is below 1, what is missing is made up for in step with the temperature; see `gibbs.sweep`.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from gmm_jax import diagnostics, gibbs, smc
from gmm_jax._numerics import log_sum_exp
from gmm_jax.mixture import Mixture
from gmm_jax.table import Table, log_joint

SWEEPS = 3
"""At each temperature."""
CHUNK = 4096
"""So many components of particles are moved at once: what a processor's cache holds."""
MOST_NAMED = 10
"""Beyond so many components their labels are not moved: that costs too much."""
WITNESSES = 64
"""At so many points the density of the draws says how many of them count."""


class Arguments(NamedTuple):
    """The posterior, as a path to it takes it."""

    table: Table
    """One block. Points count 1 or less; 0 for rows that only fill the array."""
    prior: Any
    floor: Float[Array, ""]
    known: Mixture
    """What is held, and the form of the others."""
    held: Mixture | None


def sample(
    key: Array,
    table: Table,
    prior: Any,
    floor: Float[Array, ""],
    known: Mixture,
    held: Mixture | None = None,
    *,
    n_particles: int,
    n_draws: int,
    exchangeable: bool,
) -> tuple[smc.TemperedSample, Float[Array, ""]]:
    """Draw from the posterior and estimate the evidence.

    Args:
        key: Random key.
        table: n points, centred and scaled, in one block; each counts 1 or less.
        prior: In the unit of the points.
        floor: Smallest scale.
        known: The form of the mixture, and the values of what is held.
        held: Booleans in the same form: true where parameters stay; None where none do.
        n_particles: How many go up the path.
        n_draws: How many to keep.
        exchangeable: Whether the prior leaves components unnamed, so that labels need no moves.

    Returns:
        The sample, and how many independent draws it is worth.
    """
    arguments = Arguments(table, prior, floor, known, held)
    sample_weight, n_components = table.sample_weight[0], known.n_components
    chunk_size = max(16, min(CHUNK, 2**20 // len(sample_weight)) // n_components)
    target = TARGETS[
        not exchangeable and n_components <= MOST_NAMED,
        bool(np.any(np.asarray(sample_weight) % 1)),
    ]
    drawn = smc.run(
        key, target, arguments, n_particles=n_particles, n_draws=n_draws, chunk_size=chunk_size
    )
    n = jnp.sum(sample_weight > 0)
    log_evidence = drawn.log_evidence + n * jnp.log(n_components)
    return drawn._replace(log_evidence=log_evidence), _effective(drawn, table)


def propose(key: Array, arguments: Arguments, size: int) -> Mixture:
    """Draw mixtures from the prior, given what is held."""
    prior, floor = arguments.prior, arguments.floor
    return gibbs.from_prior(key, prior, floor, arguments.known, arguments.held, size)


def log_rise(
    mixtures: Mixture, now: Any, later: Any, arguments: Arguments, *, partial: bool
) -> Float[Array, "size"]:
    """What the log density gains as the temperature rises; point by point, so that no digits go."""
    table = arguments.table
    points, weight = table.points[0], table.sample_weight[0][:, None]

    def one(mixture):
        each = gibbs.bounded_log_joint(mixture, points, table.incomplete)
        shares = jax.nn.log_softmax(now * weight * each, -1)
        rise = log_sum_exp(shares + (later - now) * weight * each, -1)
        missing = (later - now) * gibbs.lacking(mixture, table) if partial else 0
        return jnp.sum(rise) + missing

    return jax.vmap(one)(mixtures)


def move(
    key: Array,
    mixtures: Mixture,
    temperature: Any,
    arguments: Arguments,
    *,
    named: bool,
    partial: bool,
) -> Mixture:
    """Sweep several times at a temperature."""
    prior, table = arguments.prior, arguments.table
    labels_key, key = jax.random.split(key)
    if named:
        mixtures = gibbs.relabel(labels_key, mixtures, prior)

    def sweep(mixtures, key):
        state, _ = gibbs.sweep(
            key, mixtures, table, prior, arguments.floor, arguments.held, temperature, partial
        )
        return state.mixtures, None

    return jax.lax.scan(sweep, mixtures, jax.random.split(key, SWEEPS))[0]


TARGETS = {
    (named, partial): smc.Target(
        propose,
        functools.partial(log_rise, partial=partial),
        functools.partial(move, named=named, partial=partial),
    )
    for named in (False, True)
    for partial in (False, True)
}


@jax.jit
def _effective(drawn: smc.TemperedSample, table: Table) -> Float[Array, ""]:
    """How many independent draws say as much, of the density at the point where they say least."""
    every = max(1, table.points.shape[1] // WITNESSES)
    points, real = table.points[0, ::every], table.sample_weight[0, ::every] > 0
    logs = jax.vmap(lambda m: log_sum_exp(log_joint(m, points, table.incomplete), -1))(drawn.draws)
    effective = diagnostics.effective_among_families(logs, drawn.families)
    return jnp.min(jnp.where(real, effective, drawn.families.shape[0]))
