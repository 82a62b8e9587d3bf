"""Posterior draws, by the method that was chosen."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax import Array

from gmm_jax._warnings import warn
from gmm_jax.fitting import setting
from gmm_jax.fitting.arguments import SAMPLERS
from gmm_jax.fitting.chains import by_gibbs, by_nuts
from gmm_jax.fitting.particles import by_importance, by_smc
from gmm_jax.fitting.task import Sampled, Task
from gmm_jax.fitting.variational import by_variational
from gmm_jax.posterior_fit import PosteriorFit

MOST_TEMPERED = 2**14
"""Number of points times components beyond which SMC takes minutes."""

NO_NUMBERS = (
    "some draws are no numbers. Call jax.config.update('jax_enable_x64', True) first, or use "
    "another method."
)

Attempt = tuple[str, Sampled, str | None]
"""A method, what it found, and what is wrong with that."""


def fit_posterior(
    key: Array,
    points: np.ndarray,
    weight: np.ndarray,
    k: int,
    prior: Any,
    family: Any,
    known: dict[str, np.ndarray],
    reason: str,
    *,
    method: str,
    proposal: str,
    n_draws: int | None,
    n_chains: int | None,
    progress: bool | None,
) -> PosteriorFit:
    """Draw from the posterior."""
    task = Task.of(points, weight, family, prior, k, known)
    evidence = method == "auto"
    attempts: list[Attempt] = []
    samplers: dict[str, Callable[[], Sampled]] = {
        "importance": lambda: by_importance(key, task, proposal, n_draws),
        "gibbs": lambda: by_gibbs(
            key, task, n_draws, n_chains, progress, evidence, _found_so_far(attempts)
        ),
        "nuts": lambda: by_nuts(key, task, n_draws, n_chains, progress),
        "smc": lambda: by_smc(key, task, n_draws, progress),
        "variational": lambda: by_variational(key, task, n_draws),
    }
    for name in _able(task) if method == "auto" else [method]:
        sampled = samplers[name]()
        attempts.append((name, sampled, _problem(sampled)))
        if sampled.interrupted or not attempts[-1][-1]:
            break
    method, sampled, problem = max(attempts, key=_worth)
    reason = f"Posterior by {SAMPLERS[method]}, {reason}"
    others = [(name, why) for name, _, why in attempts if name != method]
    if others:
        name, why = others[-1]
        first, _, _ = str(why).partition(". ")
        other = SAMPLERS[name]
        reason = f"{other[0].upper()}{other[1:]} did not do: {first}. Posterior by "
        reason += f"{SAMPLERS[method]} instead"
    if problem == NO_NUMBERS:
        raise ValueError(f"of {SAMPLERS[method]}, {problem}")
    if problem:
        warn(problem)
    details = sampled.details
    details["log_evidence"] -= float(weight @ task.frame.log_volume(points))
    draws = sampled.draws
    if task.exchangeable and method != "variational":  # which names components once, not each time
        draws = setting.each_in_order(draws)
    return PosteriorFit(
        data=points,
        sample_weight=weight,
        frame=task.frame,
        method=method,
        reason=f"{reason}; {sampled.story}.",
        inside=draws,
        prior=prior,
        ordered=task.exchangeable,
        fixed=known,
        **details,
    )


def _problem(sampled: Sampled) -> str | None:
    """What is wrong with the draws; that they are no numbers comes before what the sampler says."""
    lost = any(np.isnan(a).any() for a in jax.tree.leaves(sampled.draws))
    return NO_NUMBERS if lost else sampled.problem


def _found_so_far(attempts: list[Attempt]) -> Any:
    """Draws for others to set out from."""
    return next((sampled.draws for _, sampled, why in attempts if why != NO_NUMBERS), None)


def _worth(attempt: Attempt) -> tuple[Any, ...]:
    """Greater for what is to be preferred. How many particles count, weights that mislead hide."""
    method, sampled, problem = attempt
    effective = sampled.details["effective_sample_size"]
    return not problem, problem != NO_NUMBERS, method != "importance", effective


def _able(task: Task) -> list[str]:
    """The methods that suit the posterior, the cheapest first."""
    if not task.prior.components.conditional:
        return ["nuts"]
    if task.weighable:
        return ["importance", "gibbs"]
    small = task.points.size * task.n_components <= MOST_TEMPERED
    return ["gibbs", "smc"] if small else ["gibbs"]
