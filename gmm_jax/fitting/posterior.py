"""Posterior draws, by importance resampling or tempered SMC."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from gmm_jax import importance, mixture_posterior, mixture_tempering
from gmm_jax._data import Frame, bucket, float_dtype, padded
from gmm_jax._warnings import warn
from gmm_jax.fitting import setting
from gmm_jax.fitting.point import SCALE_FLOOR
from gmm_jax.posterior_fit import PosteriorFit

REMEDY = {
    "em": "Pass more particles (n_particles), a more informative prior, or fewer components.",
    "prior": "Use proposal='em', which goes where the data are.",
}
PARTICLES = {"importance": 20_000, "smc": 4_000}
MOST_ROWS = 10**7
"""Tempered SMC holds as many copies of a row as it counts; of all together, so many at most."""


def fit_posterior(
    key: Array,
    points: np.ndarray,
    weight: np.ndarray,
    k: int,
    prior: Any,
    family: Any,
    method: str,
    proposal: str,
    n_particles: int | None,
    reason: str,
) -> PosteriorFit:
    """Draw from the posterior and estimate the evidence."""
    n_particles = PARTICLES[method] if n_particles is None else n_particles
    frame = setting.choose_frame(points, weight, family, prior)
    inside = setting.prior_inside(prior, frame, k, points.shape[1:], float_dtype(points))
    if method == "smc":
        drawn = _tempered(key, points, weight, k, inside, prior.exchangeable, n_particles, frame)
    else:
        drawn = _by_importance(key, points, weight, k, inside, family, proposal, n_particles, frame)
    draws, story = drawn.pop("draws"), drawn.pop("story")
    ordered = prior.exchangeable
    log_evidence = float(drawn.pop("log_evidence")) - float(weight @ frame.log_volume(points))
    return PosteriorFit(
        data=points,
        sample_weight=weight,
        frame=frame,
        method=method,
        reason=f"{reason}; {n_particles} particles {story}.",
        inside=setting.each_in_order(draws) if ordered else draws,
        prior=prior,
        log_evidence=log_evidence,
        ordered=ordered,
        **drawn,
    )


def _by_importance(
    key: Array,
    points: np.ndarray,
    weight: np.ndarray,
    k: int,
    inside: Any,
    family: Any,
    proposal: str,
    n_particles: int,
    frame: Frame,
) -> dict[str, Any]:
    """Weighed particles around EM fits, or from the prior."""
    if k > mixture_posterior.MOST_COMPONENTS:
        raise ValueError(
            f"n_components is {k}, but importance sampling sums over all labellings and takes at "
            f"most {mixture_posterior.MOST_COMPONENTS}. Use method='smc', or method='em' for the "
            f"posterior mode."
        )
    centred, padded_weight = _enter(points, weight, frame)
    sample = mixture_posterior.sample(
        key,
        centred,
        padded_weight,
        inside,
        family,
        jnp.asarray(SCALE_FLOOR, centred.dtype),
        n_components=k,
        n_particles=n_particles,
        n_draws=n_particles,
        proposal=proposal,
    )
    sample = jax.device_get(sample)
    problem = importance.verdict(sample)
    if problem:
        warn(f"{problem} {REMEDY[proposal]}")
    return dict(
        draws=sample.draws,
        story="from the prior" if proposal == "prior" else "around EM fits",
        log_evidence=sample.log_evidence,
        log_evidence_error=float(sample.log_evidence_error),
        effective_sample_size=float(sample.effective_sample_size),
        pareto_k=float(sample.pareto_k),
        log_importance_weights=sample.log_importance_weights,
    )


def _tempered(
    key: Array,
    points: np.ndarray,
    weight: np.ndarray,
    k: int,
    inside: Any,
    exchangeable: bool,
    n_particles: int,
    frame: Frame,
) -> dict[str, Any]:
    """Particles that went from the prior to the posterior; rows that count more are repeated."""
    copies = np.maximum(np.ceil(weight), 1)
    if copies.sum() > max(MOST_ROWS, len(points)):
        raise ValueError(
            f"sample_weight makes {copies.sum():.3g} copies of rows, and method='smc' takes at "
            f"most {MOST_ROWS:.0e}: use method='importance'."
        )
    copies = copies.astype(int)
    rows, share = np.repeat(points, copies, 0), np.repeat(weight / copies, copies)
    centred, padded_share = _enter(rows, share, frame)
    sample, effective = mixture_tempering.sample(
        key,
        centred,
        padded_share,
        inside,
        jnp.asarray(SCALE_FLOOR, centred.dtype),
        n_components=k,
        n_particles=n_particles,
        n_draws=n_particles,
        exchangeable=exchangeable,
    )
    sample, effective = jax.device_get((sample, effective))
    if not effective >= max(25, 0.01 * n_particles):
        warn(
            f"the particles of tempered SMC stem from so few at the start that {n_particles} are "
            f"worth {effective:.0f} independent draws, and the log evidence may be off by more "
            f"than its standard error. {REMEDY['em']}"
        )
    return dict(
        draws=sample.draws,
        story=f"from the prior in {int(sample.n_temperatures)} temperatures",
        log_evidence=sample.log_evidence,
        log_evidence_error=float(sample.log_evidence_error),
        effective_sample_size=float(effective),
        pareto_k=math.nan,
        log_importance_weights=np.zeros(n_particles, centred.dtype),
    )


def _enter(points: np.ndarray, weight: np.ndarray, frame: Frame) -> tuple[Array, Array]:
    """Rows in the frame, filled up to a size that others share, and how often each counts."""
    dtype = float_dtype(points)
    centred = ((points - frame.centre) / frame.unit).astype(dtype)
    centred, weight = padded(centred, weight, bucket(points.shape[0]))
    return jnp.asarray(centred), jnp.asarray(weight.astype(dtype))
