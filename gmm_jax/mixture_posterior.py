"""The posterior of a mixture by importance sampling, with a proposal that EM and Gibbs inform.

The proposal is a mixture of full conditionals p(parameters | assignments, data), taken where Gibbs
chains stand, half of which set out from EM fits with k components and fewer, so that it covers
every number of occupied components, and half from the prior, along rising temperatures. Values that
are missing are drawn with the assignments there, and integrated out of the likelihood. The
proposal's density is summed exactly over all k! labellings, and so is the prior's [1]; hence the
evidence is that of all labellings, and none is missed or counted twice. A pilot run tells which of
the places where chains have stood are worth proposing from, and how often: most have been in the
same few.

[1] Lee and Robert (2016), "Importance sampling schemes for evidence approximation in mixture
    models".
[2] Li and Barron (1999), "Mixture density estimation".
"""

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int

from gmm_jax import em_starts, finders, gibbs, importance
from gmm_jax._compile import at_once, jit_by_size
from gmm_jax._numerics import log_sum_exp
from gmm_jax._pytree import choose
from gmm_jax.labellings import log_permanent
from gmm_jax.mixture import Mixture
from gmm_jax.table import Table, log_likelihood

MOST_COMPONENTS = 10
"""Beyond this the sum over labellings costs too much."""
RISING, SWEEPS, EVERY = 20, 40, 10
"""So many sweeps of chains from the prior, at temperatures from the lowest to 1, then so many of
all; of these the conditionals are taken after every few."""
LOWEST = 0.1
TEMPERATURES = (1.0, 0.5)
"""The conditionals are taken at all the data and, wider, at half of them."""
PILOT = 2048
SHARING = 100
"""Steps to the shares of the conditionals."""


class Arguments(NamedTuple):
    """The posterior, and the conditionals that propose for it."""

    table: Table
    prior: Any
    conditionals: Any
    log_shares: Float[Array, "c"]
    """Of the conditionals. Where the prior proposes there are none, and k numbers stand here."""


def sample(
    key: Array,
    table: Table,
    prior: Any,
    family: Any,
    floor: Float[Array, ""],
    *,
    n_components: int,
    n_particles: int,
    n_draws: int,
    proposal: str,
    named: bool = True,
) -> tuple[importance.ImportanceSample, finders.Finders | None]:
    """Draw from the posterior and estimate the evidence.

    Args:
        key: Random key.
        table: The data, centred and scaled.
        prior: In the unit of the points.
        family: The class of the components.
        floor: Smallest scale.
        n_components: How many, k.
        n_particles: How many to weigh.
        n_draws: How many to keep.
        proposal: "em" for the informed proposal, "prior" for draws from the prior.
        named: Whether the prior tells components apart, so that their labels must be drawn.

    Returns:
        The draws, and who found where they lie: None of draws from the prior.
    """
    # Where values are missing each point may have a covariance of its own.
    d = math.prod(table.points.shape[2:]) if table.incomplete else 1
    width = table.sample_weight.size * n_components * d**2
    chunk_size = max(16, min(512, 2**22 // width))
    arguments_key, run_key, labels_key = jax.random.split(key, 3)
    sizes = dict(n_particles=n_particles, n_draws=n_draws, chunk_size=chunk_size)
    if proposal == "prior":
        arguments = Arguments(table, prior, None, jnp.zeros(n_components))
        return importance.run(run_key, FROM_PRIOR, arguments, **sizes), None
    start_key, pilot_key = jax.random.split(arguments_key)
    start = start_key, table, prior, floor, family, n_components, named
    with at_once() as prepare:
        every = prepare(informed_conditionals, *start)
        batch = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), every)
        shares = jax.ShapeDtypeStruct(jax.tree.leaves(batch)[0].shape[:1], table.points.dtype)
        arguments = Arguments(table, prior, batch, shares)
        particles = importance.get_ready(prepare, run_key, INFORMED, arguments, **sizes)
        prepare(log_densities, particles, arguments)
    conditionals = informed_conditionals(*start)
    conditionals = jax.device_get(conditionals)  # where taking parts needs no compiling
    n_batches, size = jax.tree.leaves(conditionals)[0].shape[:2]
    log_shares = np.full(size, -np.log(size), table.points.dtype)
    batches = [
        Arguments(table, prior, *jax.device_put((part, log_shares)))
        for part in (jax.tree.map(lambda a, i=i: a[i], conditionals) for i in range(n_batches))
    ]
    arguments = _most_useful(pilot_key, batches, chunk_size)
    drawn = importance.run(run_key, INFORMED, arguments, **sizes)
    picked = np.linspace(0, n_draws - 1, chunk_size).astype(int)
    witnesses = jax.tree.map(lambda a: a[picked], drawn.draws)
    n_chains = size // len(TEMPERATURES)
    chains = np.arange(n_batches * size) % n_chains
    under_all = jax.device_get([log_densities(witnesses, batch) for batch in batches])
    found = finders.count(np.concatenate(under_all, 1), chains, n_chains)
    if named:
        drawn = drawn._replace(draws=_relabel(labels_key, drawn.draws, prior))
    return drawn, found


def propose_from_prior(key: Array, arguments: Arguments, size: int) -> Mixture:
    """Draw mixtures from the prior."""
    n_components = arguments.log_shares.shape[0]
    return arguments.prior.sample(key, n_components, arguments.table.points.shape[2:], (size,))


def likelihood(mixtures: Mixture, arguments: Arguments) -> Float[Array, "size"]:
    """Weight of draws from the prior: the likelihood, assignments summed out."""
    return jax.vmap(log_likelihood, (0, None))(mixtures, arguments.table)


def propose_informed(key: Array, arguments: Arguments, size: int) -> Mixture:
    """Draw mixtures from the conditionals, in any labelling."""
    which_key, mixture_key = jax.random.split(key)
    uniforms = jax.random.uniform(which_key, (size,), arguments.log_shares.dtype)
    cumulative = jnp.cumsum(jnp.exp(arguments.log_shares))
    which = jnp.searchsorted(cumulative, uniforms * cumulative[-1], side="right")
    which = jnp.minimum(which, cumulative.shape[0] - 1)
    return jax.tree.map(lambda a: a[which], arguments.conditionals).sample(mixture_key)


def over_all_labellings(mixtures: Mixture, arguments: Arguments) -> Float[Array, "size"]:
    """Log of likelihood times prior over proposal, both summed over all labellings."""
    log_proposal = log_sum_exp(arguments.log_shares + log_densities(mixtures, arguments), -1)
    log_prior = log_permanent(jax.vmap(arguments.prior.log_prob_matched)(mixtures))
    return log_prior + likelihood(mixtures, arguments) - log_proposal


FROM_PRIOR = importance.Target(propose_from_prior, likelihood)
INFORMED = importance.Target(propose_informed, over_all_labellings)

_relabel = jax.jit(gibbs.relabel)


def _size(
    key: Array, table: Table, prior: Any, floor: Array, family: Any, k: int, named: bool
) -> int:
    return _number_of_chains(k) * k * table.points.size


@functools.partial(jit_by_size, size=_size, static_argnames=("family", "n_components", "named"))
def informed_conditionals(
    key: Array,
    table: Table,
    prior: Any,
    floor: Float[Array, ""],
    family: Any,
    n_components: int,
    named: bool,
) -> Any:
    """Run Gibbs chains; return the conditionals at some of their steps, by step and by chain."""
    em_key, prior_key, chain_key = jax.random.split(key, 3)
    n_chains = _number_of_chains(n_components)
    n_informed, event = (n_chains + 1) // 2, table.points.shape[2:]
    occupied = em_starts.occupancies(n_components, n_informed)
    starts = em_starts.fits(em_key, table, family, floor, n_components, occupied)
    at_random = prior.sample(prior_key, n_components, event, (n_chains - n_informed,))
    starts = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), starts, at_random)
    temperatures = jnp.asarray(
        np.r_[np.geomspace(LOWEST, 1, RISING), np.ones(SWEEPS)], table.points.dtype
    )

    def sweep(i, carry):
        state, places = carry
        key = jax.random.fold_in(chain_key, i)
        after, info = gibbs.step(
            key, state, table, prior, floor, named=named, temperature=temperatures[i]
        )
        # EM fits, which low temperatures would lead astray, set out when all are at 1.
        waits = (i < RISING) & (jnp.arange(n_chains) < n_informed)
        place = jnp.maximum(i - RISING, 0) // EVERY
        seen = info.statistics, info.references
        places = jax.tree.map(
            lambda all, now: jax.lax.dynamic_update_index_in_dim(all, now, place, 0), places, seen
        )
        return choose(waits, state, after), places

    state = gibbs.init(starts)
    _, info = jax.eval_shape(lambda: gibbs.step(chain_key, state, table, prior, floor))
    places = jax.tree.map(
        lambda a: jnp.zeros((SWEEPS // EVERY, *a.shape), a.dtype),
        (info.statistics, info.references),
    )
    _, places = jax.lax.fori_loop(0, RISING + SWEEPS, sweep, (state, places))

    def given(temperature, statistics, reference):
        tempered = jax.tree.map(lambda a: temperature * a, statistics)
        return prior.given(reference, tempered, floor)

    each = jax.vmap(jax.vmap(given, (None, 0, 0)), (0, None, None))
    each = jax.vmap(each, (None, 0, 0))
    conditionals = each(jnp.array(TEMPERATURES, table.points.dtype), *places)
    return jax.tree.map(lambda a: a.reshape(len(a), -1, *a.shape[3:]), conditionals)


def _most_useful(key: Array, batches: list[Arguments], chunk_size: int) -> Arguments:
    """Of several batches keep those conditionals, as many as in one, that come closest together.

    To the posterior, in Kullback-Leibler divergence: the shares of those kept maximise
    sum_i W_i log sum_c share_c q_c(particle i) over the weighted particles of a pilot run. Three
    tenths of the weights go by the root of weights, so that no place that holds a thousandth is
    lost, and a tenth of the shares to all alike, so that none is lost to chance.
    """
    targets, under_each = [], []
    for i in range(len(batches) * -(-PILOT // (len(batches) * chunk_size))):
        own = i % len(batches)
        arguments = batches[own]
        chunk_key = jax.random.fold_in(key, i)
        mixtures = importance.draw(chunk_key, propose_informed, arguments, size=chunk_size)
        each = jax.device_get([log_densities(mixtures, batch) for batch in batches])
        log_weights = np.asarray(importance.weigh(mixtures, over_all_labellings, arguments))
        targets.append(log_weights + np.logaddexp.reduce(each[own], 1))
        under_each.append(np.concatenate(each, 1))
    target, under_all = np.concatenate(targets), np.concatenate(under_each)
    sound = np.isfinite(target) & np.isfinite(under_all.max(1))
    target, under_all = target[sound], under_all[sound]
    log_weights = target - np.logaddexp.reduce(under_all, 1)
    weights = 0.7 * _softmax(log_weights) + 0.3 * _softmax(log_weights / 2)
    kept = np.sort(_picks(weights, under_all, batches[0].log_shares.size))
    each = jax.device_get([batch.conditionals for batch in batches])
    conditionals = jax.tree.map(lambda *a: np.concatenate(a)[kept], *each)
    shares = 0.9 * _best_shares(weights, under_all[:, kept]) + 0.1 / len(kept)
    log_shares = jnp.asarray(np.log(shares), batches[0].log_shares.dtype)
    return batches[0]._replace(conditionals=jax.device_put(conditionals), log_shares=log_shares)


def _softmax(log_weights: Float[np.ndarray, "i"]) -> Float[np.ndarray, "i"]:
    return np.exp(log_weights - np.logaddexp.reduce(log_weights))


def _picks(
    weights: Float[np.ndarray, "i"], log_densities: Float[np.ndarray, "i c"], size: int
) -> Int[np.ndarray, "size"]:
    """Add the best conditional to even shares, and again; a copy of one there adds nothing [2]."""
    densities = np.exp(log_densities - log_densities.max(1, keepdims=True))
    mixture, times = densities.mean(1), np.zeros(densities.shape[1], int)

    def gain():
        return (weights / mixture) @ densities

    for _ in range(size):
        best = gain().argmax()
        times[best] += 1
        mixture += densities[:, best]
    return np.lexsort((gain(), times))[-size:]


def _best_shares(
    weights: Float[np.ndarray, "i"], log_densities: Float[np.ndarray, "i c"]
) -> Float[np.ndarray, "c"]:
    """Shares of highest likelihood, or nearly: EM cuts those that should be none ever smaller."""
    counts = (weights > 0) & np.isfinite(log_densities.max(1))
    weights, log_densities = weights[counts], log_densities[counts].astype(np.float64)
    densities = np.exp(log_densities - log_densities.max(1, keepdims=True))
    shares = np.full(densities.shape[1], 1 / densities.shape[1])
    for _ in range(SHARING if counts.any() else 0):
        shares = shares * ((weights / (densities @ shares)) @ densities)
    return shares / shares.sum()


@jax.jit
def log_densities(mixtures: Mixture, arguments: Arguments) -> Float[Array, "size c"]:
    """Log density of mixtures, over all labellings, under each conditional."""

    def matched(mixture, conditional):
        return conditional.log_prob_matched(mixture)

    every = jax.vmap(jax.vmap(matched, (None, 0)), (0, None))
    return log_permanent(every(mixtures, arguments.conditionals))


def _number_of_chains(n_components: int) -> int:
    """As many as keep the cost of the labellings in bounds, but every start at least once."""
    return max(n_components, min(64, 8192 // (n_components * 2**n_components)))
