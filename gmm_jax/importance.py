"""Importance resampling of anything that can be drawn and weighed.

Particles exist a chunk at a time: their weights are kept and they are forgotten; those that
resampling picks are drawn again from the key of their chunk. Memory holds one number per particle.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int

from gmm_jax import diagnostics
from gmm_jax._compile import jit_by_size
from gmm_jax.diagnostics import TRUSTED
from gmm_jax.resampling import systematic

MANY = 0.1
"""Where more of the particles count, Pareto k is no problem."""


class Target(NamedTuple):
    """What is sampled: `propose` draws particles and `log_weight` weighs them.

    Both are pure; the same function objects are compiled once.
    """

    propose: Callable[[Array, Any, int], Any]
    """`propose(key, arguments, size)`: a pytree of `size` particles."""
    log_weight: Callable[[Any, Any], Float[Array, "size"]]
    """`log_weight(particles, arguments)`: log target less log proposal."""


class ImportanceSample(NamedTuple):
    """Equally weighted draws, and what is known of the weighted particles behind them."""

    draws: Any
    """A pytree with the draws on the first axis."""
    indices: Int[Array, "s"]
    """Which particle each draw is."""
    log_importance_weights: Float[Array, "p"]
    log_evidence: Float[Array, ""]
    log_evidence_error: Float[Array, ""]
    """Standard error of `log_evidence`, in nats."""
    effective_sample_size: Float[Array, ""]
    pareto_k: Float[Array, ""]
    """Above 0.7 the weights cannot be trusted, unless many particles count: see `verdict`."""


@functools.partial(jit_by_size, size=lambda *_, size: size, static_argnames=("propose", "size"))
def draw(key: Array, propose: Callable, arguments: Any, size: int) -> Any:
    """Draw one chunk of particles."""
    return propose(key, arguments, size)


@functools.partial(jax.jit, static_argnames=("log_weight",))
def weigh(particles: Any, log_weight: Callable, arguments: Any) -> Float[Array, "size"]:
    """Weigh one chunk of particles."""
    return log_weight(particles, arguments)


def get_ready(
    prepare: Callable[..., Any],
    key: Array,
    target: Target,
    arguments: Any,
    *,
    n_particles: int,
    n_draws: int,
    chunk_size: int = 1024,
) -> Any:
    """Compile what `run` will call, by what `at_once` gave; returns the shapes of a chunk."""
    particles = prepare(draw, key, target.propose, arguments, size=chunk_size)
    weights = prepare(weigh, particles, target.log_weight, arguments)
    every = jax.ShapeDtypeStruct((n_particles,), weights.dtype)
    prepare(systematic, key, every, n_draws)
    prepare(_figures, every)
    return particles


def run(
    key: Array,
    target: Target,
    arguments: Any,
    *,
    n_particles: int,
    n_draws: int,
    chunk_size: int = 1024,
) -> ImportanceSample:
    """Draw particles, weigh them, and resample.

    Args:
        key: Random key.
        target: What to draw and how to weigh it.
        arguments: A pytree for both functions of `target`.
        n_particles: How many to weigh.
        n_draws: How many to keep, by systematic resampling.
        chunk_size: How many exist at once.
    """
    chunks_key, resampling_key = jax.random.split(key)

    def particles(chunk):
        own_key = jax.random.fold_in(chunks_key, chunk)
        return draw(own_key, target.propose, arguments, size=chunk_size)

    chunks = range(math.ceil(n_particles / chunk_size))
    weights = [weigh(particles(chunk), target.log_weight, arguments) for chunk in chunks]
    log_weights = jnp.concatenate(weights)[:n_particles]
    indices = systematic(resampling_key, log_weights, n_draws)

    picked = np.asarray(indices)  # ascending
    draws = []
    for chunk in np.unique(picked // chunk_size):
        within = picked[picked // chunk_size == chunk] % chunk_size
        draws.append(jax.tree.map(lambda a, i=within: np.asarray(a)[i], particles(chunk)))
    draws = jax.tree.map(lambda *a: jnp.asarray(np.concatenate(a)), *draws)
    return ImportanceSample(draws, indices, log_weights, *_figures(log_weights))


@jax.jit
def _figures(log_weights: Float[Array, "p"]) -> tuple[Array, ...]:
    return (
        *diagnostics.log_evidence(log_weights),
        diagnostics.effective_sample_size(log_weights),
        diagnostics.pareto_k(log_weights),
    )


def verdict(sample: Any) -> str | None:
    """Say what is wrong with the weights and what that means; None when all is well.

    Args:
        sample: An `ImportanceSample`, or a `PosteriorFit` made of one.
    """
    size = sample.log_importance_weights.shape[0]
    effective, pareto_k = float(sample.effective_sample_size), float(sample.pareto_k)
    if not (math.isfinite(effective) and effective >= max(100, 0.01 * size)):
        return (
            f"importance sampling has collapsed: of {size} particles only {effective:.1f} count, "
            f"so the draws are a few points repeated and the log evidence may be off by many nats."
        )
    # Where many count, the tail, however heavy, holds next to nothing. NaN is k of equal weights.
    if effective < MANY * size and pareto_k > TRUSTED:
        return (
            f"importance sampling comes not close enough to the posterior: Pareto k is "
            f"{pareto_k:.2f}, and should be below {TRUSTED}; the log evidence may be "
            f"off by more than its standard error."
        )
    return None
