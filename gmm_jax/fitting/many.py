"""`fit_many`: thousands of small data sets in one call."""

import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from gmm_jax import em, side_by_side
from gmm_jax._checks import as_key
from gmm_jax._data import Frame, bucket, float_dtype
from gmm_jax._pieces import compiler_options
from gmm_jax._pytree import rebuild
from gmm_jax._sets import Sets, as_sets, framed
from gmm_jax._warnings import warn
from gmm_jax.families import kinds
from gmm_jax.families.limits import Limits
from gmm_jax.fitting import arguments, options, setting
from gmm_jax.fitting.point import ADVICE, SCALE_FLOOR, TOL, around_points
from gmm_jax.initial import STARTS, uniforms_shape
from gmm_jax.many_fits import ManyFits
from gmm_jax.mixture import Mixture
from gmm_jax.priors.mixtures import MaximumLikelihood

ROUND = 6, 96
"""Fewest and most steps before sets that are done make room; multiples of three, after which
accelerated steps begin again."""
LANES = 16, 256
"""Sets that step together when few are left, and before."""


def fit_many(
    data_sets: Any,
    n_components: int | None = None,
    *,
    family: Any = None,
    covariance_type: str | None = None,
    fixed: dict[str, Any] | None = None,
    shared: dict[str, Any] | None = None,
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
            or one array (s, n) or (s, n, d) where they are of equal length. NaN is a value
            missing at random.
        n_components: k, the same for every set. May be left out when `fixed` gives one value per
            component.
        family: As in `fit`.
        covariance_type: As in `fit`.
        fixed: As in `fit`; the same values for every set.
        shared: As in `fit`; what the components of one set have in common.
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
    key = None if key is None else as_key(key)
    sets = as_sets(data_sets, sample_weight)
    chosen = arguments.choose_family(family, covariance_type, None, sets.points)
    sets.check(chosen)
    chosen = kinds.seen(chosen, sets.points)
    n_components = arguments.as_number(n_components, chosen)
    known = arguments.as_fixed(fixed, chosen, n_components, sets.event)
    k = arguments.count_components(n_components, known)
    names = arguments.parameters(chosen, k, sets.event)
    sharing = arguments.as_sharing(shared, covariance_type, names)
    sets.check_enough(k)
    n_restarts = arguments.restarts(n_restarts, max(1, sets.points.size * k // sets.n_sets))
    arguments.one_of("start", start, STARTS)
    max_steps = arguments.whole("max_steps", max_steps)
    dtype = float_dtype(sets.points)
    ends = (end.reduceat(sets.points, sets.begins) for end in (np.fmin, np.fmax))
    arguments.check_range(*ends, dtype, sets=True)
    tol = TOL[dtype.name] if tol is None else options.not_negative("tol", tol)
    seed = 0 if key is None else np.asarray(jax.random.key_data(key))
    uniforms = np.random.default_rng(seed).random(
        (n_restarts, sets.n_sets, *uniforms_shape(1, k)), dtype
    )
    blank = _blank(k, chosen, sets.event)
    held = jax.tree.map(lambda a: np.zeros(a.shape, bool), blank)
    limits = Limits(held, np.asarray(SCALE_FLOOR, dtype), sharing)
    result = _Found.empty(sets, blank, dtype)
    for members, points, weight in sets.groups(bucket):
        frame, inside = framed(members, points, weight, chosen, bool(sharing.features), known)
        result.set_frame(members, frame)
        values = _zeros(len(members), blank, dtype)
        if known:
            values, limits = _known(known, chosen, frame, k, limits, dtype)
        job = _Job(inside.astype(dtype), weight.astype(dtype), values, limits, chosen, start, tol)
        for numbers in uniforms[:, members]:
            result.improve(members, *job.run(numbers, max_steps))
    _warn(result.status, n_restarts)
    named = setting.are_named(known, sharing)
    reason = f"Maximum likelihood by EM, the best of {n_restarts} starts for each."
    return result.conclude(sets, known, limits, setting.count_free(limits, chosen), named, reason)


class _Job:
    """Runs from one start for each set of equal padded length."""

    def __init__(self, data, weight, values, limits, family, start, tol):
        self.data, self.weight = data, weight
        self.values, self.limits = values, limits
        self.family, self.start = family, start
        self.tol = np.asarray(tol, data.dtype)
        self.incomplete = bool(np.isnan(data).any())

    def run(
        self, uniforms: np.ndarray, max_steps: int
    ) -> tuple[Mixture, np.ndarray, np.ndarray, np.ndarray]:
        """Mixtures, objectives, status and steps."""
        n_sets = len(uniforms)
        mixtures = jax.tree.map(np.zeros_like, self.values)
        objective = np.zeros(n_sets, self.data.dtype)
        status, steps = np.zeros(n_sets, int), np.zeros(n_sets, int)
        left, taken = np.arange(n_sets), 0
        while len(left) and taken < max_steps:
            most = min(max(ROUND[0], min(ROUND[1], taken)), max_steps - taken)
            going = []
            for members in _lanes(left, self.data.shape[2]):
                now = members[members >= 0]
                fit = self._advance(members, mixtures if taken else uniforms, most)
                jax.tree.map(lambda a, b, i=now: a.__setitem__(i, b[: len(i)]), mixtures, fit[0])
                objective[now], status[now] = fit[1][: len(now)], fit[2][: len(now)]
                steps[now] += fit[3][: len(now)]
                # Before its end a run may look collapsed and recover.
                unsettled = (fit[2] == em.RUNNING) | (fit[2] == em.COLLAPSED)
                going.append(now[((fit[3] == most) & unsettled)[: len(now)]])
            left, taken = np.concatenate(going), taken + most
        return mixtures, objective, status, steps

    def _advance(self, members: np.ndarray, begin: Any, most: int) -> Any:
        """Up to `most` steps for some sets, from mixtures or random numbers; -1 stands for none."""
        rows = members
        if members[-1] - members[0] == len(members) - 1:  # a view, where a copy would take time
            rows = slice(members[0], members[-1] + 1)
        data, weight = self.data[rows], self.weight[rows] * (members >= 0)[:, None]
        begin = jax.tree.map(lambda a: a[rows], begin)
        if not isinstance(begin, Mixture):
            values = jax.tree.map(lambda a: a[rows], self.values)
            begin = _begin(
                begin, data, weight, values, self.limits.held, family=self.family, start=self.start
            )
        advance = _advance()
        return jax.device_get(
            advance(begin, data, weight, self.limits, self.tol, most, incomplete=self.incomplete)
        )


def _lanes(left: np.ndarray, n: int) -> Iterator[np.ndarray]:
    """Divide sets into groups of one of two sizes, filled up with -1."""
    few, many = LANES
    while len(left):
        size = many if len(left) > many // 2 and n <= 2048 else few
        part, left = left[:size], left[size:]
        yield np.pad(part, (0, size - len(part)), constant_values=-1)


@functools.partial(jax.jit, static_argnames=("family", "start"))
def _begin(uniforms, data, weight, values, held, *, family, start):
    """A start for each set."""
    event = jax.tree.map(lambda a: a[0], values).components.event_shape
    rows = jnp.swapaxes(data, 1, 2).reshape(*weight.shape, *event)

    def one(uniforms, points, weight, values):
        table = em.Table(points[None], weight[None])
        around = around_points(uniforms, table, values, held, family, start)
        return jax.tree.map(lambda h, v, a: jnp.where(h, v, a[0]), held, values, around)

    return jax.vmap(one)(uniforms, rows, weight, values)


@functools.cache
def _advance() -> Any:
    """Up to `most` steps for some sets."""

    def advance(mixtures, data, weight, limits, tol, most, *, incomplete):
        data, weight = jnp.moveaxis(data, 0, 2), weight.T
        prior = MaximumLikelihood()
        fit = side_by_side.run(
            mixtures, data, weight, prior, limits, tol, most, ROUND[1], incomplete=incomplete
        )
        return fit.mixtures, fit.objective, fit.status, fit.steps

    return jax.jit(advance, static_argnames="incomplete", compiler_options=compiler_options())


def _blank(k: int, family: Any, event: tuple[int, ...]) -> Mixture:
    """Shapes of the arrays of a mixture."""
    weights = jax.ShapeDtypeStruct((k,), float)
    return rebuild(Mixture, weights=weights, components=kinds.blank(family, k, event))


def _zeros(s: int, blank: Mixture, dtype: Any) -> Mixture:
    """s mixtures to be filled in."""
    return jax.tree.map(lambda a: np.zeros((s, *a.shape), dtype), blank)


def _known(
    known: dict[str, np.ndarray], family: Any, frame: Frame, k: int, limits: Limits, dtype: Any
) -> tuple[Mixture, Limits]:
    """Known parameters in the frame of each set, and the limits that hold them."""
    event, first = frame.centre.shape[1:], Frame(frame.centre[0], frame.unit[0])
    mixture, held = setting.known_inside(known, family, first, k, event, np.float64)
    components = {name: values for name, values in known.items() if name != "weights"}
    with jax.enable_x64(True):
        given = jax.tree.map(jnp.asarray, kinds.filled(family, k, event, components))
        move = jax.vmap(lambda centre, unit: given.affine(-centre / unit, 1 / unit))
        inside = jax.tree.map(lambda a: np.nan_to_num(a).astype(dtype), move(*frame))
    weights = np.tile(mixture.weights.astype(dtype), (len(frame.centre), 1))
    values = rebuild(Mixture, weights=weights, components=inside)
    return values, rebuild(Limits, **(vars(limits) | {"held": held}))


class _Found:
    """The best run of each set so far."""

    def __init__(self, mixtures, frame, objective, status, steps):
        self.mixtures, self.frame = mixtures, frame
        self.objective, self.status, self.steps = objective, status, steps

    @classmethod
    def empty(cls, sets: Sets, blank: Mixture, dtype: Any) -> "_Found":
        s, event = sets.n_sets, sets.event
        frame = Frame(np.zeros((s, *event)), np.ones((s, *event)))
        unset = np.full(s, em.NOT_FINITE)
        return cls(_zeros(s, blank, dtype), frame, np.full(s, -np.inf), unset, np.zeros(s, int))

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

    def conclude(
        self,
        sets: Sets,
        known: dict[str, np.ndarray],
        limits: Limits,
        n_parameters: int,
        named: bool,
        reason: str,
    ) -> ManyFits:
        return ManyFits(
            sets=sets,
            frame=self.frame,
            reason=reason,
            inside=self.mixtures if named else setting.each_in_order(self.mixtures),
            log_likelihood=sets.sizes() * self.objective - sets.log_volumes(self.frame),
            n_parameters=n_parameters,
            limits=limits,
            status=self.status,
            n_steps=self.steps,
            fixed=known,
        )


def _warn(status: np.ndarray, n_restarts: int) -> None:
    for kind, advice in ADVICE.items():
        where = np.flatnonzero(status == kind)
        if where.size:
            warn(
                f"{em.MEANING[kind]}, whichever of the {n_restarts} starts, in {where.size} of "
                f"{len(status)} data sets, the first of them data_sets[{where[0]}]. {advice}"
            )
