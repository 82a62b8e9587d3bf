"""Point estimates by EM from several starts."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from gmm_jax import em, quasi_newton
from gmm_jax._data import Frame, bucket, float_dtype, padded
from gmm_jax._pytree import rebuild
from gmm_jax._warnings import warn
from gmm_jax.families.limits import Limits, Sharing
from gmm_jax.fitting import setting
from gmm_jax.fitting.sharded import Sharded
from gmm_jax.initial import components_around, uniforms_shape
from gmm_jax.mixture import Mixture
from gmm_jax.priors.mixtures import MaximumLikelihood
from gmm_jax.results import PointFit

SCALE_FLOOR = 1e-5
"""Smallest scale of a component, in standard deviations of the data."""
PATIENCE, SLOW = 60, 15
"""EM steps after which L-BFGS takes over, and those after which it has the last word."""
POLISHED = 3
"""How many of the best runs it follows."""
BLOCK = 8192
"""Rows that the E step handles at once."""
TOL = {"float32": 1e-7, "float64": 1e-12}
ADVICE = {
    em.COLLAPSED: "Ask for fewer components, or pass a prior.",
    em.NOT_FINITE: "Some point is impossible under the parameters that are fixed.",
}


def fit_point(
    key: Array | None,
    points: np.ndarray,
    weight: np.ndarray,
    k: int,
    prior: Any,
    family: Any,
    known: dict[str, np.ndarray],
    sharing: Sharing,
    reason: str,
    *,
    start: Any,
    n_restarts: int,
    max_steps: int,
    tol: float | None,
    whole: Sharded | None = None,
    frame: Frame | None = None,
) -> PointFit:
    """Find the mode of the likelihood, or of the posterior.

    Where the data are split over devices, `points` are a sample of the `whole`, to start from.
    `frame` is theirs unless it is given.
    """
    event, dtype = points.shape[1:], float_dtype(points)
    frame = frame if whole is None else whole.frame(family)
    spread = prior and prior.spread(k, event)
    frame = setting.choose_frame(points, weight, family, spread, sharing, frame)
    table = _table(points, weight, frame)
    values, held = setting.known_inside(known, family, frame, k, event, dtype)
    limits = Limits(held, np.asarray(SCALE_FLOOR, dtype), sharing)
    inside_prior = prior and setting.prior_inside(prior, frame, k, event, dtype)
    # NumPy's generator: compiling JAX's would take longer than everything else here.
    generator = np.random.default_rng(0 if key is None else np.asarray(jax.random.key_data(key)))
    if isinstance(start, str):
        begin = generator.random(uniforms_shape(n_restarts, k), dtype)
    else:
        rows = table.sample_weight.size
        begin, n_restarts = setting.begin_inside(start, frame, len(points), rows, dtype), 1
        start = "given"
    chosen_prior = MaximumLikelihood() if prior is None else inside_prior
    accuracy = np.asarray(TOL[dtype.name] if tol is None else tol, dtype)
    everything = None if whole is None else whole.table(frame, BLOCK)

    def run(begin, start, max_steps):
        return jax.device_get(
            _run(
                begin, table, everything, values, chosen_prior, limits, accuracy,
                family=family, start=start, max_steps=max_steps,
            )
        )  # fmt: skip

    restarts = run(begin, start, min(max_steps, PATIENCE))
    best, note = int(em.best(restarts)), ""
    if (tol is None and restarts.steps[best] > SLOW) or restarts.status[best] == em.RUNNING:
        seen = table if everything is None else everything
        restarts, note = _polish(restarts, seen, chosen_prior, limits, max_steps)
        best = int(em.best(restarts))
    if restarts.status[best] == em.RUNNING and max_steps > PATIENCE:
        restarts = run(jax.tree.map(lambda a: a[best], restarts.mixtures), "given", max_steps)
        best = 0
    mixture = jax.tree.map(lambda a: a[best], restarts.mixtures)
    on_device, exact = jax.tree.map(jnp.asarray, (chosen_prior, mixture))
    log_prior = on_device.log_prob(exact)
    size = float(weight.sum() if whole is None else whole.moments.size)
    volume = float(weight @ frame.log_volume(points)) if whole is None else whole.log_volume(frame)
    log_likelihood = float(restarts.objective[best]) * size - float(log_prior) - volume
    status = int(restarts.status[best])
    if status in ADVICE:
        warn(f"{em.MEANING[status]}, whichever of the {n_restarts} starts. {ADVICE[status]}")
    named = setting.are_named(known, sharing, prior)
    outside = restarts._replace(
        objective=restarts.objective - volume / size, history=restarts.history - volume / size
    )
    return PointFit(
        data=points if whole is None else whole.points,
        sample_weight=weight if whole is None else whole.sample_weight,
        frame=frame,
        method="em",
        reason=f"{reason}; the best of {n_restarts} start{'s'[: n_restarts > 1]}{note}.",
        inside=mixture if named else setting.in_order(mixture),
        log_likelihood=log_likelihood,
        n_parameters=setting.count_free(limits, family),
        status=status,
        history=outside.history[: outside.steps[best], best],
        restarts=outside,
        limits=limits,
        prior=inside_prior,
        fixed=known,
    )


def _table(points: np.ndarray, weight: np.ndarray, frame: Frame) -> em.Table:
    """The data in the frame, in blocks, filled up to a size that others share."""
    event, dtype = points.shape[1:], float_dtype(points)
    rows = bucket(points.shape[0])
    block = min(rows, BLOCK)
    centred = ((points - frame.centre) / frame.unit).astype(dtype)
    centred, weight = padded(centred, weight, -(-rows // block) * block)
    blocks = centred.reshape(-1, block, *event), weight.astype(dtype).reshape(-1, block)
    return em.Table(*blocks, incomplete=bool(np.isnan(points).any()))


@functools.partial(jax.jit, static_argnames=("family", "start", "max_steps"))
def _run(begin, table, whole, values, prior, limits, tol, *, family, start, max_steps):
    """Choose starts and run EM from all of them, in one compilation.

    Starts come from `table`, and so does everything else where there is no `whole`.
    """
    held = limits.held
    if start == "given" and isinstance(begin, Mixture):
        starts = jax.tree.map(lambda a: a[None], begin)
    elif start == "given":
        starts = jax.tree.map(lambda a: a[None], _from_shares(begin, table, limits, family))
    else:
        starts = around_points(begin, table, values, held, family, start)
    starts = jax.tree.map(jnp.where, held, values, starts)
    return em.run(starts, table if whole is None else whole, prior, limits, tol, max_steps)


def around_points(uniforms, table, values, held, family, start):
    """Components around points of the data, with even weights."""
    n_restarts, k = uniforms.shape[:2]
    rows = table.points.reshape(-1, *table.points.shape[2:])
    components = components_around(family, start, uniforms, rows, table.sample_weight.ravel())
    left = 1 - jnp.where(held.weights, values.weights, 0).sum()
    share = left / jnp.maximum((~held.weights).sum(), 1)
    weights = jnp.full((n_restarts, k), share, rows.dtype)
    return rebuild(Mixture, weights=weights, components=components)


def _from_shares(responsibilities, table, limits, family):
    """The mixture that responsibilities imply: two M steps, since some statistics are relative."""
    k = responsibilities.shape[1]
    uniforms = jnp.linspace(0, 1, k + 2)[1:-1, None] * jnp.ones(uniforms_shape(1, k))
    rows = table.points.reshape(-1, *table.points.shape[2:])
    weight = table.sample_weight.ravel()
    components = components_around(family, "random", uniforms, rows, weight)
    mixture = rebuild(
        Mixture,
        weights=jnp.full(k, 1 / k, rows.dtype),
        components=jax.tree.map(lambda a: a[0], components),
    )
    free = rebuild(Limits, **(vars(limits) | {"held": jax.tree.map(jnp.zeros_like, limits.held)}))
    for _ in range(2):
        seen: Any = mixture.components
        if table.incomplete and hasattr(seen, "incomplete"):
            seen = seen.incomplete()
        statistics = seen.statistics(rows, responsibilities * weight[:, None])
        mixture = MaximumLikelihood().mode(mixture, statistics, free)
    return mixture


def _polish(
    fit: em.Fit, table: em.Table, prior: Any, limits: Limits, most: int
) -> tuple[em.Fit, str]:
    """Climb on from the best few runs; keep what is higher and sound."""
    sound = np.isin(fit.status, (em.RUNNING, em.CONVERGED))
    order = [i for i in np.argsort(-fit.objective, kind="stable") if sound[i]]
    mixtures = jax.tree.map(np.copy, fit.mixtures)
    objective, status, evaluations = fit.objective.astype(np.float64), fit.status.copy(), 0
    for i in order[:POLISHED]:
        start = jax.tree.map(lambda a, i=i: a[i], fit.mixtures)
        top = quasi_newton.climb(start, table, prior, limits, most)
        evaluations += top.evaluations
        size = table.sample_weight.sum()
        weights = jnp.asarray(top.mixture.weights)
        empty = np.asarray(em.emptied(weights, jnp.asarray(size), limits.held))
        components = jax.tree.map(jnp.asarray, top.mixture.components)
        spike = np.any(np.asarray(components.collapsed(jnp.asarray(limits.floor))) | empty)
        if spike or not top.objective >= objective[i] - 1e-6:
            continue
        jax.tree.map(lambda a, b, i=i: a.__setitem__(i, b), mixtures, top.mixture)
        objective[i] = top.objective
        status[i] = em.CONVERGED if top.converged else em.RUNNING
    note = f", finished by L-BFGS ({evaluations} evaluations)" if evaluations else ""
    return fit._replace(mixtures=mixtures, objective=objective, status=status), note
