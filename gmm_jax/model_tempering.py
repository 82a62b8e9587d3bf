"""Tempered SMC of a generative function: from its prior to its posterior given data.

At temperature b the density is that of the open choices times the likelihood to the power b.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from gmm_jax import ensemble, smc
from gmm_jax._progress import Report, silent
from gmm_jax.models import posterior

SWEEPS = 12
"""At each temperature."""

LOWEST = -1e30
"""In place of log 0, which times a temperature of 0 would be no number."""


def sample(
    key: Array,
    target: posterior.PosteriorTarget,
    *,
    n_particles: int,
    n_draws: int,
    report: Report = silent,
) -> smc.TemperedSample:
    """Draw positions from the posterior and estimate the evidence."""
    sizes = dict(n_particles=n_particles, n_draws=n_draws, chunk_size=n_particles)
    return smc.run(key, TARGET, target, **sizes, report=report)


def propose(key: Array, target: posterior.PosteriorTarget, size: int) -> Any:
    """Draw positions from the model's own prior."""
    return jax.vmap(lambda own: posterior.from_prior(own, target)[0])(jax.random.split(key, size))


def log_rise(positions: Any, now: Any, later: Any, target: Any) -> Float[Array, "size"]:
    """What the log density gains as the temperature rises."""
    _, likelihood = _parts(positions, target)
    return (later - now) * likelihood


def move(key: Array, positions: Any, temperature: Any, target: Any) -> Any:
    """Metropolis sweeps at a temperature."""

    def log_density(positions: Any) -> Float[Array, "p"]:
        prior, likelihood = _parts(positions, target)
        return prior + temperature * likelihood

    def sweep(state: ensemble.State, key: Array) -> tuple[ensemble.State, None]:
        return ensemble.sweep(key, state, log_density), None

    state = ensemble.State(positions, log_density(positions))
    return jax.lax.scan(sweep, state, jax.random.split(key, SWEEPS))[0].positions


TARGET = smc.Target(propose, log_rise, move)


def _parts(positions: Any, target: Any) -> tuple[Float[Array, "p"], Float[Array, "p"]]:
    """Log prior and log likelihood; where either is no number, or infinite, nothing can be."""
    prior, likelihood = jax.vmap(posterior.log_parts, (0, None))(positions, target)
    return _possible(prior), _possible(likelihood)


def _possible(log_density: Float[Array, "p"]) -> Float[Array, "p"]:
    return jnp.maximum(jnp.nan_to_num(log_density, nan=LOWEST, posinf=LOWEST), LOWEST)
