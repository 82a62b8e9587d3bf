"""Gibbs chains that disagree go on as chains that jump, and so tell the evidence."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Int

from gmm_jax import bridge, finders, mixture_gibbs, mixture_jumps, mixture_posterior
from gmm_jax._progress import Report, in_rounds
from gmm_jax.fitting import agreement
from gmm_jax.fitting.task import Sampled, Task
from gmm_jax.mixture import Mixture

WARM_UP = 2
"""So many rounds before those that count."""
THINNING = 1, 4
"""Of so many steps one is kept; the second number where the first doesn't do."""
WITNESSES = 256
"""So many draws tell who found the posterior."""


def go_on(
    key: Array,
    task: Task,
    arguments: mixture_gibbs.Arguments,
    sampled: Sampled,
    mixtures: Mixture,
    origins: Int[np.ndarray, "c"],
    sizes: tuple[int, int],
    report: Report,
    **options: bool,
) -> Sampled:
    """Go on with chains that jump to where others have been, until they do.

    Args:
        key: Random key.
        task: The posterior.
        arguments: The same.
        sampled: What chains found that did not jump; it stays if an interrupt comes too early.
        mixtures: Where they ended.
        origins: Where they set out: chains with the same number found one place together.
        sizes: The number of steps in a round, and of rounds that count.
        report: Is told how far it is.
        options: For each step.
    """
    length, n_rounds = sizes
    around_key, key = jax.random.split(key)
    n_draws, rows = len(sampled.draws.weights) // len(origins), task.rows()
    around, picked = mixture_jumps.arguments_around(around_key, sampled.draws, arguments, rows)

    def one_round(thin: int, i: int, mixtures: Mixture) -> tuple[Mixture, Any]:
        own = jax.random.fold_in(jax.random.fold_in(key, thin), i)
        mixtures, *new = mixture_jumps.advance(own, mixtures, around, n_steps=length, **options)
        return mixtures, jax.tree.map(lambda a: a[:, ::thin], new)

    for thin in THINNING:
        advance = functools.partial(one_round, thin)
        try:
            run = in_rounds(advance, mixtures, WARM_UP, thin * n_rounds, report)
        except KeyboardInterrupt:
            return sampled._replace(interrupted=True)
        mixtures, rounds = run
        draws, log_likelihood, *weights = agreement.joined(rounds, n_draws)
        sampled = agreement.sampled(task, draws, log_likelihood, n_draws, "jumping Gibbs chains")
        log_evidence, error = bridge.log_evidence(*weights)
        told = dict(log_evidence=log_evidence, log_evidence_error=error)
        sampled = sampled._replace(details=sampled.details | told)
        if sampled.interrupted or not sampled.problem:
            break
    some = np.linspace(0, len(sampled.draws.weights) - 1, WITNESSES).astype(int)
    places = jax.tree.map(lambda a: jnp.asarray(a[some]), sampled.draws)
    chains = origins[picked // n_draws]
    log_densities = np.asarray(mixture_posterior.log_densities(places, around.proposal))
    problem = finders.count(log_densities, chains, len(origins)).problem()
    if sampled.problem or not problem:
        return sampled
    return sampled._replace(problem=f"{problem} Pass more chains (n_chains), or fewer components.")
