"""EM as scikit-learn counts it, on from where it stops to the top, and on with new points.

The plain steps and the accelerated ones of `em` are one program, which is compiled once.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float, Int

from gmm_jax import chunked, em
from gmm_jax._chunks import as_chunks
from gmm_jax._pytree import pytree, rebuild
from gmm_jax.chunked_fit import ChunkedFit
from gmm_jax.families.limits import Limits
from gmm_jax.fitting.point import TOL
from gmm_jax.mixture import Mixture
from gmm_jax.priors.mixtures import MaximumLikelihood
from gmm_jax.results import PointFit
from gmm_jax.sklearn import _covariances
from gmm_jax.sklearn._climb import ROOM, Climbed, climb, room_for
from gmm_jax.sklearn._setting import Setting, widened
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


@functools.partial(jax.jit, static_argnames="room")
def _climb(
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
    """Climb with the steps of `em.run`, or with plain ones; heights are its objectives."""
    one = jax.tree.map(lambda a: a[0], starts.components)
    table = table.with_constants(one, limits.sharing)
    size = table.sample_weight.sum()

    def step(taken, path, before):
        sums = expectation(path.mixtures, table)
        objective = sums[0] / size
        # The first of three accelerated steps is a plain one.
        place = jnp.where(accelerated, taken, 0)
        path, _, _ = em.follow(place, path, sums, size, prior, limits, tol)
        small = jnp.abs(objective - before) < tol
        return path, objective, jnp.where(accelerated, path.status == em.CONVERGED, small)

    end = climb(step, em.begin(starts), before, most, room)
    return end._replace(places=end.places.mixtures)


def run(
    starts: Mixture,
    data: Setting,
    reg_covar: float | int,
    before: np.ndarray,
    tol: float | int,
    most: int,
    accelerated: bool = False,
) -> Climbed:
    """Climb from a batch of starts, and bring back the numbers.

    Args:
        starts: Mixtures in the frame.
        data: The points.
        reg_covar: What is added to variances.
        before: Mean log likelihoods in the frame that the first are compared with.
        tol: Of plain steps the least change of it; of accelerated ones as in `em.run`.
        most: Most steps.
        accelerated: Whether to take the steps of `em.run`.
    """
    most, room = room_for(most, len(before))
    return jax.device_get(
        _climb(
            starts,
            data.table,
            Regularised(data.extra(reg_covar)),
            data.limits,
            data.number(before),
            data.number(tol),
            jnp.asarray(most),
            jnp.asarray(accelerated),
            room=room,
        )
    )


def to_the_top(
    end: Mixture, objective: float, data: Setting, reg_covar: float | int
) -> tuple[Mixture, float, int]:
    """Go on with accelerated steps, unless they would let a component fall onto a few points.

    Returns:
        The mixture, its objective and how many steps were taken: 0 where it stays as it was.
    """
    starts, tol = jax.tree.map(lambda a: a[None], end), TOL[data.dtype.name]
    top = run(starts, data, reg_covar, np.array([-np.inf]), tol, ROOM - 2, accelerated=True)
    higher = float(top.height[0])
    now = jax.tree.map(lambda a: a[0], top.places)
    if not higher >= objective or np.any(_narrowest(now) * SHRUNK < _narrowest(end)):
        return end, objective, 0
    return now, higher, int(top.steps[0])


def _narrowest(mixture: Mixture) -> np.ndarray:
    """Standard deviation of every component in the direction where it is least."""
    components: Any = mixture.components
    if hasattr(components, "scales"):
        return np.asarray(components.scales).min(1)
    return np.linalg.svd(np.tril(np.asarray(components.scale_trils)), compute_uv=False).min(1)


def updated(
    fitted: PointFit, points: np.ndarray, weight: np.ndarray, reg_covar: float | int
) -> ChunkedFit:
    """Learn from new points, with `reg_covar` added to every variance."""
    before = fitted if isinstance(fitted, ChunkedFit) else _remembered(fitted)
    after = before.update(points, weight)
    extra = reg_covar / after.frame.unit**2
    return dataclasses.replace(after, inside=_wider(after.inside, extra))


def _remembered(fitted: PointFit) -> ChunkedFit:
    """The fit, with the statistics of its points."""
    read = as_chunks([(fitted.data, fitted.sample_weight)])
    inside: Any = fitted.inside
    _, statistics = chunked.expectation(inside, read, fitted.frame, inside.components)
    own = {field.name: getattr(fitted, field.name) for field in dataclasses.fields(PointFit)}
    size, family = float(fitted.sample_weight.sum()), type(inside.components)
    return ChunkedFit(**own, size=size, statistics=statistics, about=inside, family=family)


def _wider(mixture: Mixture, extra: np.ndarray) -> Mixture:
    """The mixture with something added to its variances."""
    components: Any = mixture.components
    if hasattr(components, "scales"):
        roots = np.sqrt(components.scales**2 + extra)
    else:
        trils = np.tril(components.scale_trils)
        roots = np.linalg.cholesky(trils @ np.swapaxes(trils, 1, 2) + np.diag(extra))
    wider = _covariances.components_of(components.means, roots.astype(components.means.dtype))
    return rebuild(Mixture, weights=mixture.weights, components=wider)
