"""EM as scikit-learn counts it, and on from where it stops to the top.

Plain steps from several starts until one raises the mean log likelihood by less than `tol`, each
counted as an iteration; then, if asked for, the accelerated steps of `em`. Both are one program,
which is compiled once.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float, Int

from gmm_jax import em
from gmm_jax._loop import iterate
from gmm_jax._pytree import choose, pytree
from gmm_jax.families.limits import Limits
from gmm_jax.fitting.point import TOL
from gmm_jax.mixture import Mixture
from gmm_jax.priors.mixtures import MaximumLikelihood
from gmm_jax.sklearn._setting import Setting
from gmm_jax.table import Table, expectation

SHRUNK = 10
"""A component that gets so much narrower on the way to the top falls onto a few points."""


@pytree
class Regularised:
    """Maximum likelihood with something added to each variance, as `reg_covar` says."""

    extra: Float[Array | np.ndarray, "d"]

    def log_prob(self, mixture: Mixture) -> Float[Array, ""]:
        """Nothing: what is added has no density."""
        return jnp.zeros((), mixture.weights.dtype)

    def mode(self, mixture: Mixture, statistics: Any, limits: Limits) -> Mixture:
        """The mode of points that each are spread a little."""
        return MaximumLikelihood().mode(mixture, widened(statistics, self.extra), limits)


def widened(statistics: Any, extra: Array | np.ndarray) -> Any:
    """Statistics of points of which each is a cloud with the variances `extra`."""
    if hasattr(statistics, "squares"):
        more = statistics.counts[..., None] * extra
        return statistics._replace(squares=statistics.squares + more)
    more = statistics.counts[..., None, None] * jnp.diag(extra)
    return statistics._replace(products=statistics.products + more)


class Climbed(NamedTuple):
    """A batch of r finished runs. Objectives are per unit of sample weight, in nats."""

    mixtures: Mixture
    objective: Float[Array, "r"]
    """At the mixtures."""
    converged: Bool[Array, "r"]
    steps: Int[Array, "r"]
    history: Float[Array, "t r"]
    """Objectives before each step."""


class _Now(NamedTuple):
    """Where runs stand, the objective before the last step, and whether that was the last."""

    path: em.Path
    objective: Float[Array, "r"]
    converged: Bool[Array, "r"]
    last: Bool[Array, "r"]


@functools.partial(jax.jit, static_argnames="room")
def climb(
    starts: Mixture,
    table: Table,
    prior: Regularised,
    limits: Limits,
    before: Float[Array, "r"],
    tol: Float[Array, ""],
    most: Int[Array, ""],
    accelerated: Bool[Array, ""],
    *,
    room: int,
) -> Climbed:
    """Take steps from a batch of starts.

    Args:
        starts: A mixture with a leading axis of r runs.
        table: The data.
        prior: What is added to variances.
        limits: What is shared, and the smallest scale.
        before: Objective that the first is compared with.
        tol: Of plain steps the least change of the objective; of accelerated ones as in `em.run`.
        most: Most steps.
        accelerated: Whether to take the steps of `em.run`.
        room: More than `most`; static.
    """
    one = jax.tree.map(lambda a: a[0], starts.components)
    table = table.with_constants(one, limits.sharing)
    size = table.sample_weight.sum()

    def advance(taken, now):
        sums = expectation(now.path.mixtures, table)
        objective = sums[0] / size
        # The first of three accelerated steps is a plain one.
        place = jnp.where(accelerated, taken, 0)
        path, _, _ = em.follow(place, now.path, sums, size, prior, limits, tol)
        small = jnp.abs(objective - now.objective) < tol
        converged = jnp.where(accelerated, path.status == em.CONVERGED, small)
        last = converged | (taken + 1 >= most) | ~jnp.isfinite(objective)
        after = _Now(path, objective, converged, last)
        # After the last step there is only to see what it came to.
        after = choose(now.last, now._replace(objective=objective), after)
        return after, objective, now.last

    over = jnp.full(before.shape, most == 0)
    now = _Now(em.begin(starts), before, jnp.zeros_like(over), over)
    now, history, seen = iterate(advance, now, len(before), room, before.dtype)
    return Climbed(now.path.mixtures, now.objective, now.converged, seen - 1, history)


def run(
    starts: Mixture,
    data: Setting,
    reg_covar: float | int,
    before: np.ndarray,
    tol: float | int,
    most: int,
    accelerated: bool = False,
) -> Climbed:
    """Climb, and bring back the numbers."""
    return jax.device_get(
        climb(
            starts,
            data.table,
            Regularised(data.extra(reg_covar)),
            data.limits,
            data.number(before),
            data.number(tol),
            jnp.asarray(most),
            jnp.asarray(accelerated),
            room=data.room(most),
        )
    )


def to_the_top(
    end: Mixture, objective: float, data: Setting, reg_covar: float | int
) -> tuple[Mixture, float, int]:
    """Go on with accelerated steps, unless they would let a component fall onto a few points.

    Returns:
        The mixture, its objective and how many steps were taken: 0 where it stays as it was.
    """
    starts = jax.tree.map(lambda a: a[None], end)
    tol, most = TOL[data.dtype.name], data.room(0) - 2
    top = run(starts, data, reg_covar, np.array([-np.inf]), tol, most, accelerated=True)
    higher = float(top.objective[0])
    now = jax.tree.map(lambda a: a[0], top.mixtures)
    if not higher >= objective or np.any(_narrowest(now) * SHRUNK < _narrowest(end)):
        return end, objective, 0
    return now, higher, int(top.steps[0])


def _narrowest(mixture: Mixture) -> np.ndarray:
    """Standard deviation of every component in the direction where it is least."""
    components: Any = mixture.components
    if hasattr(components, "scales"):
        return np.asarray(components.scales).min(1)
    return np.linalg.svd(np.tril(np.asarray(components.scale_trils)), compute_uv=False).min(1)
