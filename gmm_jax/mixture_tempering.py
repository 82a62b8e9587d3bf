"""The posterior of a mixture by sequential Monte Carlo, with Gibbs moves on the way.

Points come in one after the other, a few at a time and each by degrees: at time t the density is

    p(parameters) prod_i sum_k (w_k f_k(x_i))^(a_i s_i),

s_i how often point i counts, 1 or less, and a_i how far it has come in. So Gibbs steps are exact at
every time, with the prior's own conditionals, given a_i times the statistics. At 0 it is k^n times
the prior, at 1 the posterior, where every s_i is 1; points that count several times are repeated
beforehand. Where some s_i is below 1, what is missing is made up for in step; see `gibbs.sweep`.

Were all points to come in together, powers below 1 would reward assignments for being undecided, of
all n points, until order sets in at once, where few particles find it. And since the first points
are spread like all, explanations that compete do so on the way as in the end.
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
from gmm_jax._progress import Report, silent
from gmm_jax.mixture import Mixture
from gmm_jax.table import Table, log_joint

FRONT = 8
"""So many points are coming in at a time."""
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
    rank: Float[Array, "1 n"]
    """The order in which points come in."""


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
    report: Report = silent,
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
        report: Is told the temperature.

    Returns:
        The sample, and how many independent draws it is worth.
    """
    sample_weight, n_components = table.sample_weight[0], known.n_components
    arguments = Arguments(table, prior, floor, known, held, _ranks(table))
    chunk_size = max(16, min(CHUNK, 2**20 // len(sample_weight)) // n_components)
    partial = table.incomplete or bool(np.any(np.asarray(sample_weight) % 1))
    target = TARGETS[not exchangeable and n_components <= MOST_NAMED, partial]
    sizes = dict(n_particles=n_particles, n_draws=n_draws, chunk_size=chunk_size)
    drawn = smc.run(key, target, arguments, **sizes, report=report)
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
    now, later = _powers(now, arguments), _powers(later, arguments)
    begun, gain = (a[0][:, None] * weight for a in (now, later - now))

    def one(mixture):
        each = gibbs.bounded_log_joint(mixture, points, table.incomplete)
        shares = jax.nn.log_softmax(begun * each, -1)
        rise = log_sum_exp(shares + gain * each, -1)
        missing = gibbs.lacking(mixture, table, later - now) if partial else 0
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
    prior, table, powers = arguments.prior, arguments.table, _powers(temperature, arguments)
    labels_key, key = jax.random.split(key)
    if named:
        mixtures = gibbs.relabel(labels_key, mixtures, prior)

    def sweep(mixtures, key):
        state, _ = gibbs.sweep(
            key, mixtures, table, prior, arguments.floor, arguments.held, powers, partial
        )
        return state.mixtures, None

    return jax.lax.scan(sweep, mixtures, jax.random.split(key, SWEEPS))[0]


def _ranks(table: Table) -> Float[Array, "1 n"]:
    """An order in which the first points are spread like all, whatever their number.

    Of points sorted by their first feature, number i comes in by the fraction of i times the golden
    ratio, which fills the interval evenly. Points that don't count come last.
    """
    real, points = table.sample_weight > 0, table.points
    first = points.reshape(*points.shape[:2], -1)[..., 0]
    place = jnp.argsort(jnp.argsort(first)).astype(points.dtype)
    fraction = (place * ((5**0.5 - 1) / 2)) % 1
    return jnp.argsort(jnp.argsort(jnp.where(real, fraction, 2))).astype(points.dtype)


def _powers(time: Float[Array, ""], arguments: Arguments) -> Float[Array, "1 n"]:
    """How far each point has come in."""
    n = jnp.sum(arguments.table.sample_weight > 0)
    return jnp.clip((time * (n + FRONT) - arguments.rank) / FRONT, 0, 1)


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
