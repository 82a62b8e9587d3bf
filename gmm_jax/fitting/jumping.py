"""Gibbs chains that disagree go on as chains that jump, and so tell the evidence."""

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
    found: tuple[Mixture, Int[np.ndarray, "o"]],
    sizes: tuple[int, int],
    report: Report,
    **options: bool,
) -> Sampled:
    """Go on with chains that jump to where others have been, until they do.

    Most of these places may be of no weight. So after a round or two of jumps half of them make
    room for where the jumping chains have been; and again, before chains go on for longer.

    Args:
        key: Random key.
        task: The posterior.
        arguments: The same.
        sampled: What chains found that did not jump; it stays if an interrupt comes too early.
        mixtures: Where they ended.
        found: Draws (o, ...) of chains, these and others, and where each of the o set out: those
            with the same number found one place together.
        sizes: The number of steps in a round, and of rounds that count.
        report: Is told how far it is.
        options: For each step.
    """
    length, n_rounds = sizes
    n_draws, rows = len(sampled.draws.weights) // len(mixtures.weights), task.rows()
    n_places = mixture_jumps.n_places(task.n_components)
    places, picked = _some(found[0], n_places)
    chains = found[1][picked // found[0].weights.shape[1]]

    def jump(stage: int, mixtures: Mixture, places: Mixture, n_rounds: int, thin: int) -> Any:
        around_key, own = jax.random.split(jax.random.fold_in(key, stage))
        around = mixture_jumps.arguments_around(around_key, places, arguments, rows)

        def one_round(i: int, mixtures: Mixture) -> tuple[Mixture, Any]:
            round_key = jax.random.fold_in(own, i)
            mixtures, *new = mixture_jumps.advance(
                round_key, mixtures, around, n_steps=length, **options
            )
            return mixtures, jax.tree.map(lambda a: a[:, ::thin], new)

        return around, *in_rounds(one_round, mixtures, 1, n_rounds, report)

    proposal = None
    try:
        _, mixtures, rounds = jump(0, mixtures, places, 1, 1)
        places, chains = jax.tree.map(lambda a: a[::2], (places, chains))
        for stage, thin in enumerate(THINNING, 1):
            latest, _ = _some(agreement.joined(rounds, n_draws)[0], n_places - len(chains))
            both = jax.tree.map(lambda *a: jnp.concatenate(a), places, latest)
            around, mixtures, rounds = jump(stage, mixtures, both, thin * n_rounds, thin)
            proposal = around.proposal
            draws, log_likelihood, *weights = agreement.joined(rounds, n_draws)
            sampled = agreement.sampled(
                task, draws, log_likelihood, n_draws, "jumping Gibbs chains"
            )
            log_evidence, error = bridge.log_evidence(*weights)
            told = dict(log_evidence=log_evidence, log_evidence_error=error)
            sampled = sampled._replace(details=sampled.details | told)
            if sampled.interrupted or not sampled.problem:
                break
    except KeyboardInterrupt:
        return sampled._replace(interrupted=True)
    witnesses = jax.tree.map(jnp.asarray, _some(sampled.draws, WITNESSES)[0])
    log_densities = np.asarray(mixture_posterior.log_densities(witnesses, proposal))
    shared = log_densities[:, : len(chains)]
    problem = finders.count(shared, chains, len(found[1])).problem()
    if sampled.problem or not problem:
        return sampled
    return sampled._replace(problem=f"{problem} Pass more chains (n_chains), or fewer components.")


def _some(draws: Mixture, n: int) -> tuple[Mixture, Int[np.ndarray, "n"]]:
    """Of chains of draws, one after the other, n evenly spread; and which these are."""
    k = draws.weights.shape[-1]
    total = draws.weights.size // k
    picked = np.linspace(0, total - 1, n).astype(int)
    lead = draws.weights.ndim - 1
    flat = jax.tree.map(lambda a: np.asarray(a).reshape(total, *a.shape[lead:])[picked], draws)
    return flat, picked
