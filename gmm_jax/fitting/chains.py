"""Draws by Markov chains: Gibbs sampling and NUTS."""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int

from gmm_jax import convergence, em_starts, gibbs, mixture_gibbs
from gmm_jax._compile import at_once, jit_by_size
from gmm_jax._progress import Report, in_rounds, telling
from gmm_jax.fitting import agreement, jumping
from gmm_jax.fitting.task import Sampled, Task
from gmm_jax.mixture import Mixture
from gmm_jax.mixture_posterior import LOWEST, MOST_COMPONENTS
from gmm_jax.table import Table, log_likelihood

STEPS = 1000
"""Of each chain, unless the number of draws is given."""
MOST_CHAINS, FEWEST_CHAINS = 16, 4
ROUNDS, SHORTEST = 10, 25
"""So many rounds of draws, of so many steps at least."""
WARM_UP, LEAST_WARM_UP = 5, 250
"""So many rounds before them, and so many steps at least."""
ANNEALED = 2
"""Chains from the prior spend so many rounds at temperatures below 1, from the lowest."""
SEARCHES = 4
"""Where chains disagree, so many times as many have looked for what there is before they jump."""
MARGIN = 10.0
"""Lost is who stands lower by so many nats, and one for every four parameters that are free."""
DIVERGENT = 0.002
"""A larger share of draws that diverged is told."""


def by_gibbs(
    key: Array,
    task: Task,
    n_draws: int | None,
    n_chains: int | None,
    progress: bool | None,
    evidence: bool,
    particles: Mixture | None = None,
) -> Sampled:
    """Run Gibbs chains, half of them from EM fits and half from the prior.

    Where they disagree, or are worth little, more chains look for what there is, and they jump to
    where any has been; and where the `evidence` is wanted, which jumps tell. If there are
    `particles` that came not close enough to the posterior, a quarter of the EM fits make room for
    some of them.
    """
    convergence.get_ready()
    table, k = task.table(), task.n_components
    if n_chains is None:
        n_chains = min(MOST_CHAINS, max(FEWEST_CHAINS, 2**17 // (table.points.size * k)))
    n_steps = STEPS if n_draws is None else math.ceil(n_draws / n_chains)
    length = max(SHORTEST, math.ceil(n_steps / ROUNDS))
    sizes = length, math.ceil(n_steps / length)
    named = not task.exchangeable and task.held is None
    arguments = mixture_gibbs.Arguments(
        table, jax.tree.map(jnp.asarray, task.prior), task.floor, task.held
    )
    start_key, run_key, more_key, jumps_key = jax.random.split(key, 4)
    options = dict(named=named and k <= MOST_COMPONENTS, partial=task.partial)
    start = dict(arguments=arguments, known=task.known, family=task.family, n_chains=n_chains)
    with at_once() as prepare:
        shapes = prepare(_starts, start_key, **start)
        steps = jax.ShapeDtypeStruct((length,), task.floor.dtype)
        prepare(mixture_gibbs.advance, run_key, shapes, arguments, steps, **options)
    mixtures = _starts(start_key, **start)
    origins = np.arange(n_chains)
    if particles is not None:
        n_informed = _n_informed(n_chains)
        taken = np.arange(n_informed - max(1, n_informed // 4), n_informed)
        picked = np.linspace(0, len(particles.weights) - 1, taken.size).astype(int)
        mixtures = jax.tree.map(lambda a, b: a.at[taken].set(b[picked]), mixtures, particles)
        origins[taken] = taken[0]  # found together
    with telling("Gibbs sampling", progress) as report:
        advance = functools.partial(mixture_gibbs.advance, **options)

        def run(key: Array, state: tuple[Mixture, np.ndarray], n_rounds: int) -> Any:
            return _rounds(key, advance, state, arguments, task.n_free, (length, n_rounds), report)

        rounds, origins = run(run_key, (mixtures, origins), sizes[1])
        draws, log_likelihood = agreement.joined(rounds, n_steps)
        sampled = agreement.sampled(task, draws, log_likelihood, n_steps, "Gibbs chains")
        if sampled.interrupted or not task.weighable or not (sampled.problem or evidence):
            return sampled
        some = np.linspace(0, n_steps - 1, length).astype(int)
        found = [(jax.tree.map(lambda a: a[:, some], draws), origins)]
        try:
            for i in range(1, SEARCHES if sampled.problem else 1):
                own_key, own_run_key = jax.random.split(jax.random.fold_in(more_key, i))
                others = _starts(own_key, **start), i * n_chains + np.arange(n_chains)
                rounds, origins = run(own_run_key, others, 1)
                found.append((agreement.joined(rounds, length)[0], origins))
        except KeyboardInterrupt:
            return sampled._replace(interrupted=True)
        found = jax.tree.map(lambda *a: np.concatenate(a), *found)
        latest = jax.tree.map(lambda a: a[:, -1], draws)
        return jumping.go_on(
            jumps_key, task, arguments, sampled, latest, found, sizes, report, **options
        )


def by_nuts(
    key: Array, task: Task, n_draws: int | None, n_chains: int | None, progress: bool | None
) -> Sampled:
    """Run chains of the No-U-Turn sampler around EM fits; as many steps warm up as count."""
    from gmm_jax import mixture_nuts  # quicker to import when first used

    convergence.get_ready()
    table, n_chains = task.rows(), n_chains or FEWEST_CHAINS
    n_steps = STEPS if n_draws is None else math.ceil(n_draws / n_chains)
    prior, known = jax.tree.map(jnp.asarray, (task.prior, task.known))
    with telling("NUTS", progress) as report:
        draws, info = mixture_nuts.sample(
            key,
            table,
            prior,
            task.family,
            task.floor,
            known,
            task.held,
            n_chains=n_chains,
            n_warmup=n_steps,
            n_draws=n_steps,
            report=report,
        )
    log_likelihood = np.asarray(_log_likelihood(draws, table))
    sampled = agreement.sampled(task, jax.device_get(draws), log_likelihood, n_steps, "chains")
    n_divergent = int(info.diverging.sum())
    if n_divergent > DIVERGENT * info.diverging.size and not sampled.problem:
        other = "method='gibbs', or " if task.prior.components.conditional else ""
        problem = (
            f"{n_divergent} of {info.diverging.size} draws of NUTS diverged, so that a corner of "
            f"the posterior may be missing. Use {other}a more informative prior."
        )
        return sampled._replace(problem=problem)
    return sampled


@jax.jit
def _log_likelihood(draws: Mixture, table: Table) -> Float[Array, "c s"]:
    one = functools.partial(log_likelihood, table=table)
    return jax.lax.map(lambda chain: jax.lax.map(one, chain, batch_size=32), draws)


def _rounds(
    key: Array,
    advance: Callable[..., Any],
    state: tuple[Mixture, Int[np.ndarray, "c"]],
    arguments: mixture_gibbs.Arguments,
    n_free: int,
    sizes: tuple[int, int],
    report: Report,
) -> tuple[list[Any], Int[np.ndarray, "c"]]:
    """Draws of each round after the warm-up, and at which start each chain set out.

    In the first rounds the temperature rises, so that chains find the way from the prior; those
    that set out from EM fits, which it would lead astray, do so after that.

    Args:
        key: Random key.
        advance: Takes the steps of a round.
        state: Where the chains stand, and the number of each one's start.
        arguments: The posterior.
        n_free: How many numbers of a mixture are free.
        sizes: The number of steps in a round, and of rounds that count.
        report: Is told how far it is.
    """
    length, n_rounds = sizes
    n_warmup = max(WARM_UP, math.ceil(LEAST_WARM_UP / length))
    rise = np.geomspace(LOWEST, 1, ANNEALED * length)
    temperatures = np.r_[rise, np.ones((n_warmup + n_rounds - ANNEALED) * length)]
    temperatures = temperatures.astype(arguments.floor.dtype)
    starts, n_informed = state[0], _n_informed(len(state[1]))

    def one_round(i: int, state: tuple[Mixture, np.ndarray]) -> tuple[Any, Any]:
        mixtures, origins = state
        own = jax.random.fold_in(key, i)
        now = jnp.asarray(temperatures[i * length : (i + 1) * length])
        mixtures, *new = advance(own, mixtures, arguments, now)
        if i == ANNEALED - 1:
            mixtures = jax.tree.map(
                lambda start, now: np.concatenate([start[:n_informed], now[n_informed:]]),
                *jax.device_get((starts, mixtures)),
            )
        state = mixtures, origins
        if ANNEALED <= i < n_warmup:
            latest = np.asarray(new[1])[:, -1]
            other = jax.random.fold_in(key, n_warmup + n_rounds + i)
            state = _without_the_lost(other, state, latest, arguments, n_free)
        return state, new

    (_, origins), rounds = in_rounds(one_round, state, n_warmup, n_rounds, report)
    return rounds, origins


def _without_the_lost(
    key: Array,
    state: tuple[Mixture, Int[np.ndarray, "c"]],
    log_likelihood: Float[np.ndarray, "c"],
    arguments: mixture_gibbs.Arguments,
    n_free: int,
) -> tuple[Mixture, Int[np.ndarray, "c"]]:
    """Let chains that no posterior would ever see where they stand go on from other chains.

    From a bad start a chain may climb to a place that is not left again in any number of steps, and
    whose share of the posterior is next to nothing. Modes that compete stay.
    """
    slack = MARGIN + n_free / 4
    if arguments.held is not None or np.ptp(log_likelihood) <= slack:
        return state
    log_mass = np.asarray(_log_mass(key, state[0], arguments))
    log_mass = np.where(np.isnan(log_mass), -np.inf, log_mass)
    sound = log_mass >= log_mass.max() - slack
    others = np.resize(np.flatnonzero(sound), sound.size)
    return jax.tree.map(lambda a: a[np.where(sound, np.arange(sound.size), others)], state)


@functools.partial(jit_by_size, size=mixture_gibbs.size)
def _log_mass(
    key: Array, mixtures: Mixture, arguments: mixture_gibbs.Arguments
) -> Float[Array, "c"]:
    table, prior, floor, _ = arguments
    return gibbs.log_mass(key, mixtures, table, prior, floor)


def _n_informed(n_chains: int) -> int:
    """How many of the chains, the first of them, set out from EM fits."""
    return (n_chains + 1) // 2


def _size(
    key: Array, arguments: mixture_gibbs.Arguments, known: Mixture, *, n_chains: int, **_: Any
) -> int:
    return n_chains * known.n_components * arguments.table.points.size


@functools.partial(jit_by_size, size=_size, static_argnames=("family", "n_chains"))
def _starts(
    key: Array, arguments: mixture_gibbs.Arguments, known: Mixture, *, family: Any, n_chains: int
) -> Mixture:
    table, prior, floor, held = arguments
    em_key, prior_key = jax.random.split(key)
    n_informed, k = _n_informed(n_chains), known.n_components
    occupied = em_starts.occupancies(k, n_informed)
    informed = em_starts.fits(em_key, table, family, floor, k, occupied, known, held)
    at_random = gibbs.from_prior(prior_key, prior, floor, known, held, n_chains - n_informed)
    return jax.tree.map(lambda a, b: jnp.concatenate([a, b]), informed, at_random)
