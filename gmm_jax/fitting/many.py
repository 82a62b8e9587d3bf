"""`fit_many`: thousands of small data sets in one call."""

import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from gmm_jax import em, side_by_side
from gmm_jax._data import Frame, bucket, float_dtype
from gmm_jax._pytree import rebuild
from gmm_jax._sets import Sets, as_sets, framed
from gmm_jax._warnings import warn
from gmm_jax.families import kinds
from gmm_jax.families.limits import Limits
from gmm_jax.fitting import arguments
from gmm_jax.fitting.point import ADVICE, SCALE_FLOOR, TOL
from gmm_jax.initial import STARTS, components_around, uniforms_shape
from gmm_jax.many_fits import ManyFits
from gmm_jax.mixture import Mixture
from gmm_jax.priors import MaximumLikelihood

ROUND = 6, 24
"""Fewest and most steps before sets that are done make room; multiples of three, after which
accelerated steps begin again."""
LANES = 16, 256
"""Sets that step together when few are left, and before."""


def fit_many(
    data_sets: Any,
    n_components: int,
    *,
    family: Any = None,
    sample_weight: Any = None,
    n_restarts: int | None = None,
    start: str = "kmeans++",
    max_steps: int = 1000,
    tol: float | None = None,
    key: Array | None = None,
) -> ManyFits:
    """Fit a mixture by EM to each of many data sets.

    Sets step together, a few hundred at a time; those that are done make room for others.

    Args:
        data_sets: A list of s data sets of any lengths, each n numbers or n rows of d features;
            or one array (s, n) or (s, n, d) where they are of equal length.
        n_components: k, the same for every set.
        family: As in `fit`.
        sample_weight: How often each point counts, in the shape of the data sets.
        n_restarts: How many starts a set gets; by default 10, fewer for large sets.
        start: Where EM starts: "kmeans++" or "random".
        max_steps: Most EM steps per start.
        tol: As in `fit`.
        key: Random key; `jax.random.key(0)` if left out.

    Returns:
        `ManyFits`: stacked mixtures, log_likelihood, bic, status and n_steps of each set; index it
        to get the `PointFit` of one set.

    Raises:
        TypeError: data that are not numbers.
        ValueError: a set that is empty, too small for k components or of another shape than the
            rest; the message names its index.

    Warns:
        FitWarning: sets where a component collapsed whichever the start.

    Example:
        >>> import gmm_jax
        >>> many = gmm_jax.fit_many([[1.0, 2.0, 8.0, 9.5], [498, 352, 501, 349, 497]], 2)
        >>> [round(float(mean), 2) for mean in many[1].mixture.components.means]
        [350.5, 498.67]
    """
    sets = as_sets(data_sets, sample_weight)
    k = arguments.whole("n_components", n_components)
    chosen = arguments.choose_family(family, None, None, sets.points)
    sets.check(chosen, k)
    chosen = kinds.seen(chosen, sets.points)
    n_restarts = arguments.restarts(n_restarts, max(1, sets.points.size * k // sets.n_sets))
    arguments.one_of("start", start, STARTS)
    max_steps = arguments.whole("max_steps", max_steps)
    dtype = float_dtype(sets.points)
    tol = TOL[dtype.name] if tol is None else arguments.not_negative("tol", tol)
    seed = 0 if key is None else np.asarray(jax.random.key_data(key))
    uniforms = np.random.default_rng(seed).random(
        (n_restarts, sets.n_sets, *uniforms_shape(1, k)), dtype
    )
    result = _Found.empty(sets.n_sets, k, chosen, sets.event, dtype)
    for members, points, weight in sets.groups(bucket):
        frame, inside = framed(members, points, weight, chosen)
        result.set_frame(members, frame)
        for numbers in uniforms[:, members]:
            job = _Job(
                numbers, inside.astype(dtype), weight.astype(dtype), chosen, sets.event, start, tol
            )
            result.improve(members, *job.run(max_steps))
    _warn(result.status, n_restarts)
    return result.conclude(sets, chosen, k, f"the best of {n_restarts} starts for each")


class _Job:
    """One start for each set of equal padded length, run to its end."""

    def __init__(self, uniforms, data, weight, family, event, start, tol):
        self.uniforms, self.data, self.weight = uniforms, data, weight
        self.family, self.event, self.start = family, event, start
        self.tol = np.asarray(tol, data.dtype)
        self.floor = np.asarray(SCALE_FLOOR, data.dtype)

    def run(self, max_steps: int) -> tuple[Mixture, np.ndarray, np.ndarray, np.ndarray]:
        """Mixtures, objectives, status and steps."""
        n_sets, k = self.uniforms.shape[0], self.uniforms.shape[2]
        mixtures = _zeros(n_sets, k, self.family, self.event, self.data.dtype)
        objective = np.zeros(n_sets, self.data.dtype)
        status, steps = np.zeros(n_sets, int), np.zeros(n_sets, int)
        left, taken = np.arange(n_sets), 0
        while len(left) and taken < max_steps:
            most = min(max(ROUND[0], min(ROUND[1], taken)), max_steps - taken)
            going = []
            for members in _lanes(left, self.data.shape[2]):
                now = members[members >= 0]
                fit = self._advance(members, None if taken == 0 else mixtures, most)
                jax.tree.map(lambda a, b, i=now: a.__setitem__(i, b[: len(i)]), mixtures, fit[0])
                objective[now], status[now] = fit[1][: len(now)], fit[2][: len(now)]
                steps[now] += fit[3][: len(now)]
                # Before its end a run may look collapsed and recover.
                unsettled = (fit[2] == em.RUNNING) | (fit[2] == em.COLLAPSED)
                going.append(now[((fit[3] == most) & unsettled)[: len(now)]])
            left, taken = np.concatenate(going), taken + most
        return mixtures, objective, status, steps

    def _advance(self, members, mixtures, most) -> Any:
        """Up to `most` steps for some sets; -1 stands for none."""
        weight = self.weight[members] * (members >= 0)[:, None]
        data = self.data[members]
        if mixtures is None:
            mixtures = _begin(
                self.uniforms[members],
                data,
                weight,
                family=self.family,
                event=self.event,
                start=self.start,
            )
        else:
            mixtures = jax.tree.map(lambda a: a[members], mixtures)
        return jax.device_get(_advance(mixtures, data, weight, self.floor, self.tol, most))


def _lanes(left: np.ndarray, n: int) -> Iterator[np.ndarray]:
    """Divide sets into groups of one of two sizes, filled up with -1."""
    size = LANES[len(left) > 4 * LANES[0] and n <= 2048]
    for begin in range(0, len(left), size):
        part = left[begin : begin + size]
        yield np.pad(part, (0, size - len(part)), constant_values=-1)


@functools.partial(jax.jit, static_argnames=("family", "event", "start"))
def _begin(uniforms, data, weight, *, family, event, start):
    """A start for each set."""
    k = uniforms.shape[2]
    rows = jnp.swapaxes(data, 1, 2).reshape(*weight.shape, *event)

    def around(uniforms, points, weight):
        components = components_around(family, start, uniforms[None], points, weight)
        return jax.tree.map(lambda a: a[0], components)

    components = jax.vmap(around)(uniforms.reshape(len(rows), k, -1), rows, weight)
    weights = jnp.full((data.shape[0], k), 1 / k, data.dtype)
    return rebuild(Mixture, weights=weights, components=components)


@jax.jit
def _advance(mixtures, data, weight, floor, tol, most):
    held = jax.tree.map(lambda a: jnp.zeros(a.shape[1:], bool), mixtures)
    fit = side_by_side.run(
        mixtures,
        jnp.moveaxis(data, 0, 2),
        weight.T,
        MaximumLikelihood(),
        Limits(held, floor),
        tol,
        most,
        ROUND[1],
    )
    return fit.mixtures, fit.objective, fit.status, fit.steps


def _zeros(s: int, k: int, family: Any, event: tuple[int, ...], dtype: Any) -> Mixture:
    """s mixtures to be filled in."""
    shapes = kinds.blank(family, k, event)
    components = jax.tree.map(lambda a: np.zeros((s, *a.shape), dtype), shapes)
    return rebuild(Mixture, weights=np.zeros((s, k), dtype), components=components)


class _Found:
    """The best run of each set so far."""

    def __init__(self, mixtures, frame, objective, status, steps):
        self.mixtures, self.frame = mixtures, frame
        self.objective, self.status, self.steps = objective, status, steps

    @classmethod
    def empty(cls, s: int, k: int, family: Any, event: tuple[int, ...], dtype: Any) -> "_Found":
        mixtures = _zeros(s, k, family, event, dtype)
        frame = Frame(np.zeros((s, *event)), np.ones((s, *event)))
        unset = np.full(s, em.NOT_FINITE)
        return cls(mixtures, frame, np.full(s, -np.inf), unset, np.zeros(s, int))

    def set_frame(self, members: np.ndarray, frame: Frame) -> None:
        self.frame.centre[members], self.frame.unit[members] = frame

    def improve(self, members, mixtures, objective, status, steps) -> None:
        """Keep the runs that are better: as `em.best`, sound ones first."""
        rank = np.array([0, 0, 1, 2])
        old, new = rank[self.status[members]], rank[status]
        better = (new < old) | ((new == old) & (objective > self.objective[members]))
        where = members[better]
        jax.tree.map(lambda a, b: a.__setitem__(where, b[better]), self.mixtures, mixtures)
        self.objective[where] = objective[better]
        self.status[where], self.steps[where] = status[better], steps[better]

    def conclude(self, sets: Sets, family: Any, k: int, reason: str) -> ManyFits:
        size = sets.sizes()
        log_volume = np.log(self.frame.unit).reshape(len(size), -1).sum(1)
        inside = _in_order(self.mixtures)
        free = jax.tree.map(lambda a: np.zeros(a.shape[1:], bool), self.mixtures)
        limits = Limits(free, np.zeros(()))
        return ManyFits(
            sets=sets,
            frame=self.frame,
            reason=f"Maximum likelihood by EM, {reason}.",
            inside=inside,
            log_likelihood=size * (self.objective - log_volume),
            n_parameters=k - 1 + family.count_free(limits.components),
            status=self.status,
            n_steps=self.steps,
        )


def _in_order(mixtures: Mixture) -> Mixture:
    """Sort the components of each mixture, where they have an order."""
    if jax.tree.map(lambda a: a[0], mixtures).components.order is None:
        return mixtures
    order = np.asarray(jax.vmap(lambda c: jnp.asarray(c.order))(mixtures.components))
    order = np.argsort(order, axis=1, kind="stable")
    return jax.tree.map(
        lambda a: np.take_along_axis(a, order.reshape(order.shape + (1,) * (a.ndim - 2)), 1),
        mixtures,
    )


def _warn(status: np.ndarray, n_restarts: int) -> None:
    for kind, advice in ADVICE.items():
        where = np.flatnonzero(status == kind)
        if where.size:
            warn(
                f"{em.MEANING[kind]}, whichever of the {n_restarts} starts, in {where.size} of "
                f"{len(status)} data sets, the first of them data_sets[{where[0]}]. {advice}"
            )
