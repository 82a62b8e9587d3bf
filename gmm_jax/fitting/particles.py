"""Draws by weighed particles: importance resampling and tempered SMC."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from gmm_jax import importance, mixture_posterior, mixture_tempering
from gmm_jax._progress import telling
from gmm_jax.fitting.task import Sampled, Task

REMEDY = {
    "em": "Pass more particles (n_draws), a more informative prior, or fewer components.",
    "prior": "Use proposal='em', which goes where the data are.",
}


def by_importance(key: Array, task: Task, proposal: str, n_particles: int | None) -> Sampled:
    """Weigh particles around short chains, or from the prior."""
    n_particles = 20_000 if n_particles is None else n_particles
    k = task.n_components
    if k > mixture_posterior.MOST_COMPONENTS:
        raise ValueError(
            f"n_components is {k}, but importance sampling sums over all labellings and takes at "
            f"most {mixture_posterior.MOST_COMPONENTS}. Use method='smc', or method='em' for the "
            f"posterior mode."
        )
    sample, found = mixture_posterior.sample(
        key,
        task.rows(),
        task.prior,
        task.family,
        task.floor,
        n_components=k,
        n_particles=n_particles,
        n_draws=n_particles,
        proposal=proposal,
        named=not task.exchangeable,
    )
    sample = jax.device_get(sample)
    problem = importance.verdict(sample)
    remedy = REMEDY[proposal]
    if found and not problem:
        problem = found.problem()
        remedy = "Use method='gibbs', a more informative prior, or fewer components."
    return Sampled(
        sample.draws,
        f"{n_particles} particles "
        + ("from the prior" if proposal == "prior" else "around short chains"),
        dict(
            log_evidence=float(sample.log_evidence),
            log_evidence_error=float(sample.log_evidence_error),
            effective_sample_size=float(sample.effective_sample_size),
            pareto_k=float(sample.pareto_k),
            log_importance_weights=sample.log_importance_weights,
        ),
        f"{problem} {remedy}" if problem else None,
    )


def by_smc(key: Array, task: Task, n_particles: int | None, progress: bool | None) -> Sampled:
    """Take particles from the prior to the posterior."""
    n_particles = 4_000 if n_particles is None else n_particles
    with telling("Tempered SMC", progress) as report:
        sample, effective = mixture_tempering.sample(
            key,
            task.table(),
            task.prior,
            task.floor,
            jax.tree.map(jnp.asarray, task.known),
            task.held,
            n_particles=n_particles,
            n_draws=n_particles,
            exchangeable=task.exchangeable or task.held is not None,
            report=report,
        )
    sample, effective = jax.device_get((sample, effective))
    problem = None
    if not effective >= max(25, 0.01 * n_particles):
        problem = (
            f"the particles of tempered SMC stem from so few at the start that {n_particles} are "
            f"worth {effective:.0f} independent draws, and the log evidence may be off by more "
            f"than its standard error. {REMEDY['em']}"
        )
    return Sampled(
        sample.draws,
        f"{n_particles} particles from the prior in {int(sample.n_temperatures)} steps",
        dict(
            log_evidence=float(sample.log_evidence),
            log_evidence_error=float(sample.log_evidence_error),
            effective_sample_size=float(effective),
            pareto_k=math.nan,
            log_importance_weights=np.zeros(n_particles, task.floor.dtype),
        ),
        problem,
    )
