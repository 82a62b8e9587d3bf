"""Tempered sequential Monte Carlo of anything that can be drawn, tempered and moved.

Particles are drawn at temperature 0. Then, again and again, the temperature rises as far as their
weights stay even, they are resampled, and a kernel moves them, until it is 1 [1]. The product of
the mean weights estimates the evidence without bias, but for what the choice of temperatures by
the particles themselves adds, which vanishes as they grow in number.

[1] Del Moral, Doucet and Jasra (2006), "Sequential Monte Carlo samplers".
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
from gmm_jax._progress import Report, silent
from gmm_jax.resampling import systematic

LOWEST_STEP = math.log(1e-13)
"""Log of the smallest step in temperature that is tried from 0."""
LEAST_GROWTH = 1.01
"""A temperature is at least so many times the one before."""
HALVINGS = 12
PILOT = 256
"""So many particles choose the temperature."""


class Target(NamedTuple):
    """A path of unnormalised densities over temperatures, with its kernel.

    All are pure; the same function objects are compiled once.
    """

    propose: Callable[[Array, Any, int], Any]
    """`propose(key, arguments, size)`: a pytree of `size` particles at temperature 0."""
    log_rise: Callable[[Any, Any, Any, Any], Float[Array, "size"]]
    """`log_rise(particles, now, later, arguments)`: log density at `later` less that at `now`."""
    move: Callable[[Array, Any, Any, Any], Any]
    """`move(key, particles, temperature, arguments)`: leaves the density there as it is."""


class State(NamedTuple):
    """p particles at a temperature, equally weighted."""

    particles: Any
    temperature: Float[Array, ""]
    log_evidence: Float[Array, ""]
    """Log of the normalising constant at this temperature over that at 0."""
    families: Int[Array, "p"]
    """Which of the first particles each comes from."""
    growth: Float[Array, "p"]
    """How many members each family gained by its weights, all steps together."""
    n_steps: Int[Array, ""]


class TemperedSample(NamedTuple):
    """Equally weighted draws, and what is known of how they came about."""

    draws: Any
    """A pytree with the draws on the first axis."""
    families: Int[Array, "s"]
    """Draws with a common ancestor at temperature 0 have the same number."""
    log_evidence: Float[Array, ""]
    """Log of the normalising constant at temperature 1 over that at 0."""
    log_evidence_error: Float[Array, ""]
    """Standard error of `log_evidence`, in nats."""
    n_temperatures: Int[Array, ""]


@functools.partial(jax.jit, static_argnames=("target", "n_particles"))
def init(key: Array, target: Target, arguments: Any, n_particles: int) -> State:
    """Draw particles at temperature 0."""
    particles = target.propose(key, arguments, n_particles)
    dtype = jax.tree.leaves(particles)[0].dtype
    zero, each = jnp.zeros((), dtype), jnp.arange(n_particles)
    return State(particles, zero, zero, each, jnp.zeros(n_particles, dtype), jnp.zeros((), int))


@functools.partial(jax.jit, static_argnames=("target", "chunk_size"))
def step(
    key: Array,
    state: State,
    target: Target,
    arguments: Any,
    evenness: Float[Array, ""],
    chunk_size: int,
) -> State:
    """Raise the temperature, resample, and move.

    Args:
        key: Random key.
        state: From `init` or the step before.
        target: The path, and how to move on it.
        arguments: A pytree for the functions of `target`.
        evenness: Effective sample size of the weights at the next temperature, as a share.
        chunk_size: How many particles are weighed and moved at once; divides their number.
    """
    resampling_key, move_key = jax.random.split(key)
    later = _next_temperature(state, target, arguments, evenness, chunk_size)
    log_weights = _weigh(state.particles, state.temperature, later, target, arguments, chunk_size)
    size = log_weights.shape[0]
    log_mean, _ = diagnostics.log_evidence(log_weights)
    growth = state.growth.at[state.families].add(jnp.exp(log_weights - log_mean) - 1)
    indices = systematic(resampling_key, log_weights, size)
    picked = jax.tree.map(lambda a: a[indices], state.particles)

    def move(chunk):
        key, particles = chunk
        return target.move(key, particles, later, arguments)

    keys = jax.random.split(move_key, size // chunk_size)
    moved = jax.lax.map(move, (keys, _split(picked, chunk_size)))
    return State(
        jax.tree.map(lambda a: a.reshape(size, *a.shape[2:]), moved),
        later,
        state.log_evidence + log_mean,
        state.families[indices],
        growth,
        state.n_steps + 1,
    )


def run(
    key: Array,
    target: Target,
    arguments: Any,
    *,
    n_particles: int,
    n_draws: int,
    chunk_size: int = 1024,
    evenness: float = 0.9,
    report: Report = silent,
) -> TemperedSample:
    """Go from temperature 0 to 1.

    Args:
        key: Random key.
        target: The path, and how to move on it.
        arguments: A pytree for the functions of `target`.
        n_particles: At least so many; rounded up to whole chunks.
        n_draws: How many to keep.
        chunk_size: How many are weighed and moved at once.
        evenness: Effective sample size of the weights at every temperature, as a share.
        report: Is told the temperature.
    """
    start_key, steps_key, draws_key = jax.random.split(key, 3)
    n_chunks = math.ceil(n_particles / chunk_size)
    chunk_size = math.ceil(n_particles / n_chunks)
    state = init(start_key, target, arguments, n_chunks * chunk_size)
    share = np.asarray(evenness, state.temperature.dtype)
    while state.temperature < 1:
        own = jax.random.fold_in(steps_key, state.n_steps)
        state = step(own, state, target, arguments, share, chunk_size)
        report(f"temperature {state.temperature:.2g}")
    return _conclude(draws_key, state, n_draws)


@functools.partial(jax.jit, static_argnames="n_draws")
def _conclude(key: Array, state: State, n_draws: int) -> TemperedSample:
    indices = systematic(key, jnp.zeros_like(state.growth), n_draws)
    return TemperedSample(
        jax.tree.map(lambda a: a[indices], state.particles),
        state.families[indices],
        state.log_evidence,
        log_evidence_error(state.growth),
        state.n_steps,
    )


def log_evidence_error(growth: Float[Array, "p"]) -> Float[Array, ""]:
    """Standard error of the log evidence from a single run.

    The first order of its error is the mean over particles, summed over steps, of the relative
    weight less 1. What stems from one particle at temperature 0 is independent of the rest, so the
    spread between families gives the variance, however little the particles move: after [1],
    without the noise of resampling, which systematic resampling hardly adds.

    [1] Chan and Lai (2013), "A general theory of particle filters in hidden Markov models and some
        applications", section 3.
    """
    size = growth.shape[0]
    return jnp.sqrt(jnp.sum(growth**2)) / size


def _next_temperature(
    state: State, target: Target, arguments: Any, evenness: Array, chunk_size: int
) -> Float[Array, ""]:
    """The highest temperature that leaves the weights of some particles even enough."""
    now, size = state.temperature, state.families.shape[0]
    n_pilot = min(size, math.ceil(PILOT / chunk_size) * chunk_size)
    pilot = (jnp.arange(n_pilot) * (size / n_pilot)).astype(int)
    particles = jax.tree.map(lambda a: a[pilot], state.particles)
    chunk_size = min(chunk_size, n_pilot)

    def even(log_step):
        log_weights = _weigh(particles, now, now + jnp.exp(log_step), target, arguments, chunk_size)
        return diagnostics.effective_sample_size(log_weights) >= evenness * n_pilot

    def halve(i, window):
        low, high = window
        middle = jnp.where(i == 0, high, (low + high) / 2)  # first the whole way
        good = even(middle)
        return jnp.where(good, middle, low), jnp.where(good, high, middle)

    window = jnp.asarray(LOWEST_STEP, now.dtype), jnp.log1p(-now)
    low, _ = jax.lax.fori_loop(0, HALVINGS, halve, window)
    later = jnp.maximum(now + jnp.exp(low), LEAST_GROWTH * now)
    return jnp.where(later > 1 - 1e-6, 1, later)


def _weigh(particles: Any, now: Any, later: Any, target: Target, arguments: Any, chunk_size: int):
    """Log weights of particles as the temperature rises, a chunk at a time."""

    def weigh(chunk):
        return target.log_rise(chunk, now, later, arguments)

    return jax.lax.map(weigh, _split(particles, chunk_size)).reshape(-1)


def _split(particles: Any, chunk_size: int) -> Any:
    return jax.tree.map(lambda a: a.reshape(-1, chunk_size, *a.shape[1:]), particles)
