"""Posterior draws by importance resampling."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from gmm_jax import importance, mixture_posterior
from gmm_jax._data import bucket, float_dtype, padded
from gmm_jax._warnings import warn
from gmm_jax.fitting import setting
from gmm_jax.fitting.point import SCALE_FLOOR
from gmm_jax.posterior_fit import PosteriorFit

REMEDY = {
    "em": "Pass more particles (n_particles), a more informative prior, or fewer components.",
    "prior": "Use proposal='em', which goes where the data are.",
}


def fit_posterior(
    key: Array,
    points: np.ndarray,
    weight: np.ndarray,
    k: int,
    prior: Any,
    family: Any,
    proposal: str,
    n_particles: int,
    reason: str,
) -> PosteriorFit:
    """Draw from the posterior and estimate the evidence."""
    if k > mixture_posterior.MOST_COMPONENTS:
        raise ValueError(
            f"n_components is {k}, but posterior sampling sums over all labellings and takes at "
            f"most {mixture_posterior.MOST_COMPONENTS}. Use method='em' for the posterior mode."
        )
    event, dtype = points.shape[1:], float_dtype(points)
    frame = setting.choose_frame(points, weight, family, prior)
    centred = ((points - frame.centre) / frame.unit).astype(dtype)
    centred, padded_weight = padded(centred, weight, bucket(points.shape[0]))
    sample = mixture_posterior.sample(
        key,
        jnp.asarray(centred),
        jnp.asarray(padded_weight.astype(dtype)),
        setting.prior_inside(prior, frame, k, event, dtype),
        family,
        jnp.asarray(SCALE_FLOOR, dtype),
        n_components=k,
        n_particles=n_particles,
        n_draws=n_particles,
        proposal=proposal,
    )
    sample = jax.device_get(sample)
    problem = importance.verdict(sample)
    if problem:
        warn(f"{problem} {REMEDY[proposal]}")
    ordered = prior.exchangeable
    return PosteriorFit(
        data=points,
        sample_weight=weight,
        frame=frame,
        method="importance",
        reason=f"{reason}; {n_particles} particles"
        + (" from the prior." if proposal == "prior" else " around EM fits."),
        inside=_in_order(sample.draws) if ordered else sample.draws,
        prior=prior,
        log_evidence=float(sample.log_evidence) - float(weight @ frame.log_volume(points)),
        log_evidence_error=float(sample.log_evidence_error),
        effective_sample_size=float(sample.effective_sample_size),
        pareto_k=float(sample.pareto_k),
        log_importance_weights=sample.log_importance_weights,
        ordered=ordered,
    )


def _in_order(draws: Any) -> Any:
    """Sort the components of every draw by their first mean, or other leading parameter."""
    order = np.asarray(jax.vmap(lambda components: jnp.asarray(components.order))(draws.components))
    order = np.argsort(order, axis=1, kind="stable")
    return jax.tree.map(
        lambda a: np.take_along_axis(a, order.reshape(order.shape + (1,) * (a.ndim - 2)), 1), draws
    )
