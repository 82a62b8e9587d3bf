"""What Markov chains found, and whether they agree."""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from gmm_jax import convergence
from gmm_jax._warnings import warn
from gmm_jax.fitting.task import Sampled, Task
from gmm_jax.mixture import Mixture
from gmm_jax.table import log_joint

WITNESSES = 8
"""At so many points the density of the draws is followed."""
ENOUGH = 400
"""Effective draws below which quantiles, R-hat and the like are rough."""


def joined(rounds: list[Any], n_steps: int) -> Any:
    """What every round told, one after the other: (c, n_steps, ...) of each array."""
    return jax.tree.map(lambda *a: np.concatenate(a, 1)[:, :n_steps], *rounds)


def sampled(
    task: Task, draws: Mixture, log_likelihood: np.ndarray, asked: int, kind: str
) -> Sampled:
    """Chains one after the other, and whether they agree on what doesn't depend on labels."""
    n_chains, n_steps = log_likelihood.shape
    if n_steps < asked:
        warn(f"interrupted after {n_steps} of {asked} draws of each chain.")
    flat = jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), draws)
    densities = _densities(flat, *_witnesses(task))
    values = {
        "log likelihood": log_likelihood,
        "log density": np.asarray(densities).reshape(n_chains, -1, densities.shape[1]),
    }
    if not task.exchangeable:
        on_device = jax.tree.map(jnp.asarray, draws)
        values |= task.prior.values(on_device)
    found = convergence.table(values)
    nothing_moves = convergence.Quality(1.0, *[float(log_likelihood.size)] * 2)
    worst = convergence.worst(found) if task.n_free else nothing_moves
    problem = None
    if not worst.r_hat <= convergence.AGREE:
        other = "" if task.weighable else ", or method='smc', which weighs rival explanations"
        problem = (
            f"the chains do not agree: R-hat is {worst.r_hat:.3f}, and should be below "
            f"{convergence.AGREE}. Pass more draws (n_draws){other}."
        )
    elif worst.ess_bulk < min(ENOUGH, log_likelihood.size / 4):
        problem = f"the chains are worth {worst.ess_bulk:.0f} draws only: pass more (n_draws)."
    return Sampled(
        flat,
        f"{n_chains} {kind} of {n_steps} draws",
        dict(
            log_evidence=math.nan,
            log_evidence_error=math.nan,
            effective_sample_size=worst.ess_bulk,
            pareto_k=math.nan,
            log_importance_weights=np.zeros(log_likelihood.size),
            n_chains=n_chains,
            convergence=found,
        ),
        problem,
        interrupted=n_steps < asked,
    )


def _witnesses(task: Task) -> tuple[Array, bool]:
    """Points of the data spread over its first feature."""
    points = task.points[task.weight > 0]
    order = np.argsort(points.reshape(len(points), -1)[:, 0], kind="stable")
    chosen = points[order[np.linspace(0, len(points) - 1, WITNESSES).astype(int)]]
    return task.frame.enter(chosen, task.floor.dtype), bool(np.isnan(chosen).any())


@functools.partial(jax.jit, static_argnames="incomplete")
def _densities(draws: Mixture, points: Array, incomplete: bool) -> Array:
    return jax.vmap(lambda m: jax.nn.logsumexp(log_joint(m, points, incomplete), -1))(draws)
