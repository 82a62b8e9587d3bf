"""The loop of both estimators: steps from several starts, counted as scikit-learn counts them.

A run has converged when a step began hardly higher than the one before; that step is still taken.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float, Int

from gmm_jax._loop import iterate
from gmm_jax._pytree import choose

ROOM = 1024
"""Steps that one compiled program has room for; more are counted in multiples of it."""
MOST = 2**23
"""Most steps of all runs together, which are kept in memory."""


class Climbed(NamedTuple):
    """A batch of r finished runs; with NumPy arrays after `jax.device_get`."""

    places: Any
    """Where they ended, with a leading axis of r runs."""
    height: Float[Array | np.ndarray, "r"]
    """There."""
    converged: Bool[Array | np.ndarray, "r"]
    steps: Int[Array | np.ndarray, "r"]
    history: Float[Array | np.ndarray, "t r"]
    """Heights before each step."""

    def best(self) -> int:
        """The run that was highest before its last step, as scikit-learn chooses; it is finite."""
        before = self.history[np.maximum(self.steps - 1, 0), np.arange(len(self.steps))]
        finite = np.isfinite(self.height) & np.isfinite(before)
        return int(np.argmax(np.where(finite, before, -np.inf)))

    def heights(self, run: int) -> Float[np.ndarray, "t"]:
        """Of one run before each of its steps, float64."""
        return np.asarray(self.history[: self.steps[run], run], np.float64)


class _Now(NamedTuple):
    """Where runs stand, how high they were before the last step, and whether that was the last."""

    places: Any
    height: Float[Array, "r"]
    converged: Bool[Array, "r"]
    last: Bool[Array, "r"]


def climb(
    step: Callable[[Array, Any, Array], tuple[Any, Array, Array]],
    starts: Any,
    before: Float[Array, "r"],
    most: Int[Array, ""],
    room: int,
) -> Climbed:
    """Take steps from a batch of starts; to be compiled.

    Args:
        step: Takes the number of steps taken, where the runs stand, and how high they were before
            the last step; returns where they stand next, how high they are now, and which have
            converged.
        starts: A pytree with a leading axis of r runs.
        before: Heights that the first are compared with.
        most: Most steps.
        room: More than `most`, see `room_for`.
    """

    def advance(taken, now):
        places, height, converged = step(taken, now.places, now.height)
        last = converged | (taken + 1 >= most) | ~jnp.isfinite(height)
        # After the last step there is only to see what it came to.
        after = now._replace(height=height)
        after = choose(now.last, after, _Now(places, height, converged, last))
        return after, height, now.last

    over = jnp.full(before.shape, most == 0)
    now = _Now(starts, before, jnp.zeros_like(over), over)
    now, history, seen = iterate(advance, now, len(before), room, before.dtype)
    return Climbed(now.places, now.height, now.converged, seen - 1, history)


def room_for(most: int, n_runs: int) -> tuple[int, int]:
    """How many steps can be taken, at most `most`, and how long a history a program needs."""
    most = min(most, max(ROOM, MOST // n_runs) - 2)
    return most, -(-(most + 2) // ROOM) * ROOM
