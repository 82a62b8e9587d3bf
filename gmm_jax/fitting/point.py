"""Point estimates by EM from several starts."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from gmm_jax import em
from gmm_jax._data import Frame, bucket, float_dtype, padded
from gmm_jax._pytree import rebuild
from gmm_jax._warnings import warn
from gmm_jax.families.kinds import together
from gmm_jax.families.limits import Limits, Sharing
from gmm_jax.fitting import setting
from gmm_jax.fitting.sharded import Sharded
from gmm_jax.initial import components_around, uniforms_shape
from gmm_jax.mixture import Mixture
from gmm_jax.priors import MaximumLikelihood
from gmm_jax.results import PointFit

SCALE_FLOOR = 1e-5
"""Smallest scale of a component, in standard deviations of the data."""
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
    start: str,
    n_restarts: int,
    max_steps: int,
    tol: float | None,
    whole: Sharded | None = None,
) -> PointFit:
    """Find the mode of the likelihood, or of the posterior.

    Where the data are split over devices, `points` are a sample of the `whole`, to start from.
    """
    event, dtype = points.shape[1:], float_dtype(points)
    known_frame = whole and whole.frame(family)
    frame = setting.choose_frame(points, weight, family, prior, sharing, known_frame)
    table = _table(points, weight, frame)
    values, held = setting.known_inside(known, family, frame, k, event, dtype)
    limits = Limits(held, np.asarray(SCALE_FLOOR, dtype), sharing)
    inside_prior = prior and setting.prior_inside(prior, frame, k, event, dtype)
    # NumPy's generator: compiling JAX's would take longer than everything else here.
    generator = np.random.default_rng(0 if key is None else np.asarray(jax.random.key_data(key)))
    found = _run(
        generator.random(uniforms_shape(n_restarts, k), dtype),
        table,
        None if whole is None else whole.table(frame, BLOCK),
        values,
        MaximumLikelihood() if prior is None else inside_prior,
        limits,
        np.asarray(TOL[dtype.name] if tol is None else tol, dtype),
        family=family,
        start=start,
        max_steps=max_steps,
    )
    restarts, best, mixture, log_prior = jax.device_get(found)
    size = float(weight.sum() if whole is None else whole.moments.size)
    volume = float(weight @ frame.log_volume(points)) if whole is None else whole.log_volume(frame)
    log_likelihood = float(restarts.objective[best]) * size - float(log_prior) - volume
    free_weights = sharing.distinct("weights", ~held.weights)
    status = int(restarts.status[best])
    if status in ADVICE:
        warn(f"{em.MEANING[status]}, whichever of the {n_restarts} starts. {ADVICE[status]}")
    apart = any(not sharing.by_all(name) for name, _ in sharing.groups)
    named = bool(known) or apart or not getattr(prior, "exchangeable", True)
    return PointFit(
        data=points if whole is None else whole.points,
        sample_weight=weight if whole is None else whole.sample_weight,
        frame=frame,
        method="em",
        reason=f"{reason}; the best of {n_restarts} starts.",
        inside=mixture if named else setting.in_order(mixture),
        log_likelihood=log_likelihood,
        n_parameters=max(free_weights - 1, 0) + family.count_free(limits.components),
        status=status,
        history=restarts.history[: restarts.steps[best], best] - volume / size,
        restarts=restarts,
        limits=limits,
        prior=inside_prior,
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
def _run(uniforms, table, whole, values, prior, limits, tol, *, family, start, max_steps):
    """Choose starts, run EM from all of them and pick the best, in one compilation.

    Starts come from `table`, and so does everything else where there is no `whole`.
    """
    n_restarts, k = uniforms.shape[:2]
    data, held = table.points, limits.held
    rows = data.reshape(-1, *data.shape[2:])
    components = components_around(family, start, uniforms, rows, table.sample_weight.reshape(-1))
    left = 1 - jnp.where(held.weights, values.weights, 0).sum()
    weights = jnp.full((n_restarts, k), left / jnp.maximum((~held.weights).sum(), 1), data.dtype)
    starts = rebuild(Mixture, weights=weights, components=components)
    starts = jax.vmap(lambda mixture: together(mixture, limits.sharing))(starts)
    starts = jax.tree.map(jnp.where, held, values, starts)
    fit = em.run(starts, table if whole is None else whole, prior, limits, tol, max_steps)
    best = em.best(fit)
    mixture = jax.tree.map(lambda a: a[best], fit.mixtures)
    return fit, best, mixture, prior.log_prob(mixture)
