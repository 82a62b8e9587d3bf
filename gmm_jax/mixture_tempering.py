"""The posterior of a mixture by tempered SMC, with Gibbs moves at every temperature.

The path tempers assignments and parameters together: at temperature b the density is

    p(parameters) prod_i sum_k (w_k f_k(x_i))^(b s_i),

s_i how often point i counts, 1 or less. So Gibbs steps are exact at every temperature, with the
prior's own conditionals, given b times the statistics. At 0 it is k^n times the prior, at 1 the
posterior, where every s_i is 1; points that count several times are repeated beforehand.
Where some s_i is below 1, what is missing is made up for in step with the temperature, by the
factor [(sum_k w_k f_k)^s_i / sum_k (w_k f_k)^s_i]^b, and a Metropolis test follows the Gibbs step:
this is reversible, so that the ratio of the factors is all there is to test.
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
from gmm_jax._pytree import choose
from gmm_jax.mixture import Mixture

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

    data: Float[Array, "n ..."]
    sample_weight: Float[Array, "n"]
    """1 or less; 0 for rows that only fill the array."""
    prior: Any
    floor: Float[Array, ""]
    labels: Float[Array, "k"]
    """k numbers, whatever they are."""


def sample(
    key: Array,
    data: Float[Array, "n ..."],
    sample_weight: Float[Array, "n"],
    prior: Any,
    floor: Float[Array, ""],
    *,
    n_components: int,
    n_particles: int,
    n_draws: int,
    exchangeable: bool,
) -> tuple[smc.TemperedSample, Float[Array, ""]]:
    """Draw from the posterior and estimate the evidence.

    Args:
        key: Random key.
        data: n points, centred and scaled.
        sample_weight: How often each counts, at most 1; 0 for rows that only fill the array.
        prior: In the unit of `data`.
        floor: Smallest scale.
        n_components: k.
        n_particles: How many go up the path.
        n_draws: How many to keep.
        exchangeable: Whether the prior leaves components unnamed, so that labels need no moves.

    Returns:
        The sample, and how many independent draws it is worth.
    """
    arguments = Arguments(data, sample_weight, prior, floor, jnp.zeros(n_components, data.dtype))
    chunk_size = max(16, min(CHUNK, 2**20 // data.shape[0]) // n_components)
    target = TARGETS[
        not exchangeable and n_components <= MOST_NAMED,
        bool(np.any(np.asarray(sample_weight) % 1)),
    ]
    drawn = smc.run(
        key, target, arguments, n_particles=n_particles, n_draws=n_draws, chunk_size=chunk_size
    )
    n = jnp.sum(sample_weight > 0)
    log_evidence = drawn.log_evidence + n * jnp.log(jnp.asarray(n_components, data.dtype))
    return drawn._replace(log_evidence=log_evidence), _effective(drawn, data, sample_weight)


def propose(key: Array, arguments: Arguments, size: int) -> Mixture:
    """Draw mixtures from the prior."""
    k, event = arguments.labels.shape[0], arguments.data.shape[1:]
    return arguments.prior.sample(key, k, event, (size,))


def log_rise(
    mixtures: Mixture, now: Any, later: Any, arguments: Arguments, *, partial: bool
) -> Float[Array, "size"]:
    """What the log density gains as the temperature rises; point by point, so that no digits go."""
    weight = arguments.sample_weight[:, None]

    def one(mixture):
        log_joint = _log_joint(mixture, arguments)
        shares = jax.nn.log_softmax(now * weight * log_joint, -1)
        rise = log_sum_exp(shares + (later - now) * weight * log_joint, -1)
        missing = (later - now) * _missing(log_joint, arguments) if partial else 0
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
    data, prior, floor = arguments.data, arguments.prior, arguments.floor
    power = temperature * arguments.sample_weight
    labels_key, key = jax.random.split(key)
    if named:
        mixtures = gibbs.relabel(labels_key, mixtures, prior)

    def factor(mixtures):
        joint = jax.vmap(lambda mixture: _log_joint(mixture, arguments))(mixtures)
        return temperature * jax.vmap(_missing, (0, None))(joint, arguments)

    def sweep(mixtures, key):
        sweep_key, test_key = jax.random.split(key)
        swept = gibbs.sweep(sweep_key, mixtures, data, power, power, prior, floor)[0].mixtures
        if not partial:
            return swept, None
        odds = factor(swept) - factor(mixtures)
        accepted = jnp.log(jax.random.uniform(test_key, odds.shape, odds.dtype)) < odds
        return choose(accepted, swept, mixtures), None

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


def _log_joint(mixture: Mixture, arguments: Arguments) -> Float[Array, "n k"]:
    return jnp.maximum(mixture.log_joint(arguments.data), gibbs.LOWEST)


def _missing(log_joint: Float[Array, "n k"], arguments: Arguments) -> Float[Array, ""]:
    """Log of what the path lacks at its end, of the likelihood of points that count less than 1."""
    weight = arguments.sample_weight
    whole = weight * log_sum_exp(log_joint, -1)
    parts = log_sum_exp(weight[:, None] * log_joint, -1)
    return jnp.sum(jnp.where(weight > 0, whole - parts, 0))


@jax.jit
def _effective(
    drawn: smc.TemperedSample, data: Float[Array, "n ..."], sample_weight: Float[Array, "n"]
) -> Float[Array, ""]:
    """How many independent draws say as much, of the density at the point where they say least."""
    points = data[:: max(1, data.shape[0] // WITNESSES)]
    real = sample_weight[:: max(1, data.shape[0] // WITNESSES)] > 0
    logs = jax.vmap(lambda mixture: mixture.log_prob(points))(drawn.draws)
    effective = diagnostics.effective_among_families(logs, drawn.families)
    return jnp.min(jnp.where(real, effective, drawn.families.shape[0]))
