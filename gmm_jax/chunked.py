"""EM on data that don't fit in memory: a pass over the chunks for each step."""

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gmm_jax import em
from gmm_jax._chunks import Chunk, blocks
from gmm_jax._data import Frame
from gmm_jax._numerics import log_sum_exp
from gmm_jax.families.limits import Limits
from gmm_jax.mixture import Mixture
from gmm_jax.priors.mixtures import MaximumLikelihood
from gmm_jax.table import log_joint

BLOCK, BLOCKS = 8192, 8
"""Rows that the E step handles at once, and such blocks in a call."""


def expectation(
    mixture: Mixture, read: Callable[[], Iterator[Chunk]], frame: Frame, about: Any = None
) -> tuple[np.ndarray, Any]:
    """Sum log density and statistics over all data, as `em.expectation` does, in one pass.

    Args:
        mixture: In the frame.
        read: Starts reading the chunks.
        frame: Centre and unit of the data.
        about: Components whose statistics are taken; those of the mixture if left out.

    Returns:
        The sums, added up in float64.
    """
    dtype, event = mixture.weights.dtype, mixture.components.event_shape
    sums, pending = None, None
    for points, weight in blocks(read, frame, BLOCK * BLOCKS, dtype):
        data = points.reshape(BLOCKS, BLOCK, *event)
        weight = weight.reshape(BLOCKS, BLOCK)
        # Blocks without missing values are spared what those cost.
        incomplete = bool(np.isnan(data).any())
        # While this block is summed the next is read.
        current = (
            _sum(mixture, data, weight, incomplete=incomplete)
            if about is None
            else _sum_about(mixture, about, data, weight, incomplete=incomplete)
        )
        sums = sums if pending is None else _add(sums, pending)
        pending = current
    return _add(sums, pending)


def _add(sums: Any, new: Any) -> Any:
    new = jax.tree.map(lambda a: np.asarray(a, np.float64), new)
    return new if sums is None else jax.tree.map(lambda a, b: np.asarray(a + b), sums, new)


@functools.partial(jax.jit, static_argnames="incomplete")
def _sum(mixture, data, weight, *, incomplete):
    alone = jax.tree.map(lambda a: a[None], mixture)
    table = em.Table(data, weight, incomplete=incomplete)
    return jax.tree.map(lambda a: a[0], em.expectation(alone, table))


@functools.partial(jax.jit, static_argnames="incomplete")
def _sum_about(mixture, about, data, weight, *, incomplete):
    """Responsibilities by one mixture, even where it has none; statistics of other components."""
    seeing = about.incomplete() if incomplete and hasattr(about, "incomplete") else about

    def over_block(points, weight):
        each = log_joint(mixture, points, incomplete)
        log_prob = log_sum_exp(each, -1)
        possible = jnp.isfinite(log_prob)[:, None]
        shares = jnp.exp(each - jnp.where(possible, log_prob[:, None], 0))
        responsibilities = jnp.where(possible, shares, 1 / each.shape[1]) * weight[:, None]
        total = jnp.sum(jnp.where(weight > 0, weight * log_prob, 0))
        return total, seeing.statistics(points, responsibilities)

    return em.Table(data, weight).summed(over_block)


class Found(NamedTuple):
    """A finished run and the sums over the data at its end."""

    mixture: Mixture
    status: int
    history: np.ndarray
    log_likelihood: float
    """In the frame."""
    statistics: Any


def run(
    start: Mixture,
    read: Callable[[], Iterator[Chunk]],
    frame: Frame,
    size: float,
    limits: Limits,
    tol: float,
    max_steps: int,
    report: Callable[[int, float], None],
) -> Found:
    """Run the accelerated EM of `em.run`, with one pass over the data a step.

    Args:
        start: A mixture in the frame.
        read: Starts reading the chunks.
        frame: Centre and unit of the data.
        size: Sum of the sample weights.
        limits: What is held, shared, and the smallest scale.
        tol: In nats per unit of sample weight.
        max_steps: Most passes.
        report: Is told the number of each pass, and the objective.
    """
    dtype = start.weights.dtype
    size_and_tol = jnp.asarray(size, dtype), jnp.asarray(tol, dtype)
    path = em.begin(_alone(start))
    history, sums = [], None
    while len(history) < max_steps:
        sums = expectation(_only(path.mixtures), read, frame)
        if not history and not np.isfinite(sums[0]):
            # A start from a few points may say of others that they cannot be.
            _, statistics = expectation(start, read, frame, start.components)
            path = em.begin(_alone(mode(start, statistics, limits)))
            sums = expectation(_only(path.mixtures), read, frame)
        given = jax.tree.map(lambda a: jnp.asarray(a, dtype)[None], sums)
        taken = jnp.asarray(len(history) % 3)
        path, objective, done = _follow(taken, path, given, limits, *size_and_tol)
        history.append(float(objective[0]))
        report(len(history), history[-1])
        if done[0]:
            break
    status = int(_conclude(path, size_and_tol[0], limits)[0])
    if sums is None or path.status[0] != em.CONVERGED:
        sums = expectation(_only(path.mixtures), read, frame)
    total, statistics = sums
    mixture = jax.device_get(_only(path.mixtures))
    return Found(mixture, status, np.array(history), float(total), statistics)


def mode(mixture: Mixture, statistics: Any, limits: Limits) -> Mixture:
    """The mixture of maximum likelihood given `statistics` of all data taken at `mixture`."""
    given = jax.tree.map(lambda a: jnp.asarray(a, mixture.weights.dtype), statistics)
    return _mode(jax.tree.map(jnp.asarray, mixture), given, limits)


@jax.jit
def _mode(mixture, statistics, limits):
    return MaximumLikelihood().mode(mixture, statistics, limits)


def _alone(mixture: Mixture) -> Mixture:
    return jax.tree.map(lambda a: jnp.asarray(a)[None], mixture)


def _only(mixtures: Mixture) -> Mixture:
    return jax.tree.map(lambda a: a[0], mixtures)


@jax.jit
def _follow(taken, path, sums, limits, size, tol):
    return em.follow(taken, path, sums, size, MaximumLikelihood(), limits, tol)


_conclude = jax.jit(em.conclude)
