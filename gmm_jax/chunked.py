"""EM on data that don't fit in memory: a pass over the chunks for each step."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from gmm_jax import em
from gmm_jax._chunks import Chunk, blocks
from gmm_jax._data import Frame
from gmm_jax.families.limits import Limits
from gmm_jax.mixture import Mixture
from gmm_jax.priors import MaximumLikelihood

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
        # While this block is summed the next is read.
        weight = weight.reshape(BLOCKS, BLOCK)
        current = (
            _sum(mixture, data, weight)
            if about is None
            else _sum_about(mixture, about, data, weight)
        )
        sums = sums if pending is None else _add(sums, pending)
        pending = current
    return _add(sums, pending)


def _add(sums: Any, new: Any) -> Any:
    new = jax.tree.map(lambda a: np.asarray(a, np.float64), new)
    return new if sums is None else jax.tree.map(np.add, sums, new)


@jax.jit
def _sum(mixture, data, weight):
    alone = jax.tree.map(lambda a: a[None], mixture)
    return jax.tree.map(lambda a: a[0], em.expectation(alone, em.Table(data, weight)))


@jax.jit
def _sum_about(mixture, about, data, weight):
    """Responsibilities by one mixture, statistics of other components."""

    def block(part):
        points, weight = part
        log_prob = mixture.log_prob(points)
        responsibilities = mixture.responsibilities(points) * weight[:, None]
        total = jnp.sum(jnp.where(weight > 0, weight * log_prob, 0))
        return total, about.statistics(points, responsibilities)

    return jax.tree.map(lambda a: a.sum(0), jax.lax.map(block, (data, weight)))


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
    floor: float,
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
        floor: Smallest scale.
        tol: In nats per unit of sample weight.
        max_steps: Most passes.
        report: Is told the number of each pass, and the objective.
    """
    dtype = start.weights.dtype
    numbers = tuple(jnp.asarray(number, dtype) for number in (size, floor, tol))
    path = em.begin(jax.tree.map(lambda a: jnp.asarray(a)[None], start))
    history, sums = [], None
    while len(history) < max_steps:
        sums = expectation(_only(path.mixtures), read, frame)
        given = jax.tree.map(lambda a: jnp.asarray(a, dtype)[None], sums)
        path, objective, done = _follow(jnp.asarray(len(history) % 3), path, given, *numbers)
        history.append(float(objective[0]))
        report(len(history), history[-1])
        if done[0]:
            break
    status = int(_conclude(path, numbers[0], numbers[1])[0])
    if sums is None or path.status[0] != em.CONVERGED:
        sums = expectation(_only(path.mixtures), read, frame)
    total, statistics = sums
    mixture = jax.device_get(_only(path.mixtures))
    return Found(mixture, status, np.array(history), float(total), statistics)


def _only(mixtures: Mixture) -> Mixture:
    return jax.tree.map(lambda a: a[0], mixtures)


def _limits(mixtures: Mixture, floor: Array) -> Limits:
    return Limits(jax.tree.map(lambda a: jnp.zeros(a.shape[1:], bool), mixtures), floor)


@jax.jit
def _follow(taken, path, sums, size, floor, tol):
    limits = _limits(path.mixtures, floor)
    return em.follow(taken, path, sums, size, MaximumLikelihood(), limits, tol)


@jax.jit
def _conclude(path, size, floor):
    return em.conclude(path, size, _limits(path.mixtures, floor))
