"""Point estimates by EM from several starts."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from gmm_jax import em
from gmm_jax._data import bucket, float_dtype, padded
from gmm_jax._pytree import rebuild
from gmm_jax._warnings import warn
from gmm_jax.families.kinds import together
from gmm_jax.families.limits import Limits, Sharing
from gmm_jax.fitting import setting
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
) -> PointFit:
    """Find the mode of the likelihood, or of the posterior."""
    event, dtype = points.shape[1:], float_dtype(points)
    frame = setting.choose_frame(points, weight, family, prior, sharing)
    rows = bucket(points.shape[0])
    block = min(rows, BLOCK)
    centred = ((points - frame.centre) / frame.unit).astype(dtype)
    centred, padded_weight = padded(centred, weight, -(-rows // block) * block)
    values, held = setting.known_inside(known, family, frame, k, event, dtype)
    limits = Limits(held, np.asarray(SCALE_FLOOR, dtype), sharing)
    inside_prior = prior and setting.prior_inside(prior, frame, k, event, dtype)
    # NumPy's generator: compiling JAX's would take longer than everything else here.
    generator = np.random.default_rng(0 if key is None else np.asarray(jax.random.key_data(key)))
    found = _run(
        generator.random(uniforms_shape(n_restarts, k), dtype),
        centred.reshape(-1, block, *event),
        padded_weight.astype(dtype).reshape(-1, block),
        values,
        MaximumLikelihood() if prior is None else inside_prior,
        limits,
        np.asarray(TOL[dtype.name] if tol is None else tol, dtype),
        family=family,
        start=start,
        max_steps=max_steps,
        incomplete=bool(np.isnan(points).any()),
    )
    restarts, best, mixture, log_prior = jax.device_get(found)
    size = weight.sum()
    volume = float(weight @ frame.log_volume(points))
    log_likelihood = float(restarts.objective[best]) * size - float(log_prior) - volume
    free_weights = sharing.distinct("weights", ~held.weights)
    status = int(restarts.status[best])
    if status in ADVICE:
        warn(f"{em.MEANING[status]}, whichever of the {n_restarts} starts. {ADVICE[status]}")
    apart = any(not sharing.by_all(name) for name, _ in sharing.groups)
    named = bool(known) or apart or not getattr(prior, "exchangeable", True)
    return PointFit(
        data=points,
        sample_weight=weight,
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


@functools.partial(jax.jit, static_argnames=("family", "start", "max_steps", "incomplete"))
def _run(
    uniforms, data, sample_weight, values, prior, limits, tol,
    *, family, start, max_steps, incomplete,
):  # fmt: skip
    """Choose starts, run EM from all of them and pick the best, in one compilation."""
    n_restarts, k = uniforms.shape[:2]
    rows, held = data.reshape(-1, *data.shape[2:]), limits.held
    components = components_around(family, start, uniforms, rows, sample_weight.reshape(-1))
    left = 1 - jnp.where(held.weights, values.weights, 0).sum()
    weights = jnp.full((n_restarts, k), left / jnp.maximum((~held.weights).sum(), 1), data.dtype)
    starts = rebuild(Mixture, weights=weights, components=components)
    starts = jax.vmap(lambda mixture: together(mixture, limits.sharing))(starts)
    starts = jax.tree.map(jnp.where, held, values, starts)
    table = em.Table(data, sample_weight, incomplete=incomplete)
    fit = em.run(starts, table, prior, limits, tol, max_steps)
    best = em.best(fit)
    mixture = jax.tree.map(lambda a: a[best], fit.mixtures)
    return fit, best, mixture, prior.log_prob(mixture)
