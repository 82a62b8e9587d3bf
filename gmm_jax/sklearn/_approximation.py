"""A variational posterior in the frame of the data: its start, its climb, and its draws."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from gmm_jax import diagnostics
from gmm_jax._data import Frame
from gmm_jax._pytree import rebuild
from gmm_jax.families import MultivariateStudentT, StudentT
from gmm_jax.families.multivariate_normal import SecondMoments
from gmm_jax.families.normal import Moments
from gmm_jax.mixture import Mixture
from gmm_jax.posterior_fit import PosteriorFit
from gmm_jax.sklearn import _covariances, _starts
from gmm_jax.sklearn._climb import widened
from gmm_jax.sklearn._conjugate import Knowledge, Shares
from gmm_jax.sklearn._coordinate_ascent import Ascended, ascend, compare, draw
from gmm_jax.sklearn._setting import Setting

LEAST = 1e-12
"""Gain per point below which nothing changes."""
DRAWS, WEIGHED = 4000, 500
"""How many draws there are, and how many of them are compared with the posterior."""


def enter(known: Knowledge, frame: Frame, dtype: Any) -> Knowledge:
    """What is known, in the frame."""
    return _moved(known, -frame.centre / frame.unit, 1 / frame.unit, dtype)


def leave(known: Knowledge, frame: Frame) -> Knowledge:
    """What is known, in the data's unit; float64."""
    return _moved(known, frame.centre, frame.unit, np.float64)


def _moved(known: Knowledge, shift: np.ndarray, scale: np.ndarray, dtype: Any) -> Knowledge:
    exact = jax.tree.map(lambda a: np.asarray(a, np.float64), known)
    components = exact.components.affine(shift, scale)
    moved = rebuild(Knowledge, weights=exact.weights, components=components)
    return jax.tree.map(lambda a: np.asarray(a, dtype), moved)


def stacked(all_known: list[Knowledge]) -> Knowledge:
    """A batch of starts."""
    return jax.tree.map(lambda *a: np.stack(a), *all_known)


def started(
    found: _starts.Moments, data: Setting, prior: Knowledge, reg_covar: float | int
) -> Knowledge:
    """What is known, in the frame, after points with these moments."""
    counts, means, each = found
    unit = data.frame.unit
    means = (means - data.frame.centre) / unit
    units = unit * unit if each.ndim == 2 else np.outer(unit, unit)
    seconds = counts.reshape(-1, *(1,) * (each.ndim - 1)) * each / units
    kind = Moments if each.ndim == 2 else SecondMoments
    sums = kind(counts, np.zeros_like(means), seconds)
    roots = (
        np.ones_like(means) if each.ndim == 2 else np.broadcast_to(np.eye(len(unit)), each.shape)
    )
    components = _covariances.components_of(means, roots)
    mixture = rebuild(Mixture, weights=counts / counts.sum(), components=components)
    sums, mixture = jax.tree.map(data.number, (sums, mixture))
    return jax.device_get(prior.given(mixture, widened(sums, data.extra(reg_covar))))


def run(
    starts: Knowledge,
    data: Setting,
    prior: Knowledge,
    reg_covar: float | int,
    before: np.ndarray,
    tol: float | int,
    most: int,
) -> Ascended:
    """Climb, and bring back the numbers."""
    return jax.device_get(
        ascend(
            starts,
            data.table,
            prior,
            jnp.asarray(data.extra(reg_covar)),
            data.number(before),
            data.number(tol),
            jnp.asarray(most),
            room=data.room(most),
        )
    )


def further(
    known: Knowledge, bound: float, data: Setting, prior: Knowledge, reg_covar: float | int
) -> tuple[Knowledge, float]:
    """Go on until nothing changes, and return what is known then, and the bound."""
    start, tol, most = stacked([known]), LEAST * data.size, data.room(0) - 2
    top = run(start, data, prior, reg_covar, np.array([-np.inf]), tol, most)
    if not float(top.bound[0]) >= bound:
        return known, bound
    return jax.tree.map(lambda a: a[0], top.knowledge), float(top.bound[0])


def predictive(model: Any) -> Any:
    """Components of the posterior predictive, Student-t distributions, from fitted attributes."""
    means = np.asarray(model.means_, np.float64)
    count = np.asarray(model.mean_precision_, np.float64)
    df = np.broadcast_to(np.asarray(model.degrees_of_freedom_, np.float64), count.shape)
    roots, (k, d) = model._roots(), means.shape
    if model.covariance_type == "diag":
        scales = roots * np.sqrt((count + 1) / count)[:, None]
        dfs = np.broadcast_to(df[:, None], (k, d))
        return rebuild(StudentT, means=means, scales=scales, dfs=dfs)
    if model.covariance_type == "spherical":
        dfs, roots = d * df, roots[:, :, None] * np.eye(d)
        widen = np.sqrt((count + 1) / count)
    else:
        total = df * k if model.covariance_type == "tied" else df
        dfs = total - d + 1
        widen = np.sqrt(total * (count + 1) / (count * dfs))
    trils = roots * widen[:, None, None]
    return rebuild(MultivariateStudentT, means=means, scale_trils=trils, dfs=dfs)


def posterior_fit(known: Knowledge, prior: Knowledge, data: Setting, bound: float) -> PosteriorFit:
    """Draws of a variational posterior; of Dirichlet weights, compared with the posterior.

    Args:
        known: In the data's unit.
        prior: In the data's unit.
        data: The points.
        bound: On the log evidence.
    """
    inside, before = (enter(what, data.frame, data.dtype) for what in (known, prior))
    keys: Array = jax.random.split(jax.random.key(0), DRAWS)
    draws = draw(inside, keys)
    share = pareto_k = math.nan
    if isinstance(known.weights, Shares):
        weighed = jax.tree.map(lambda a: a[:WEIGHED], draws)
        log_weights = compare(weighed, inside, before, data.table)
        share = float(diagnostics.effective_sample_size(log_weights)) / WEIGHED
        pareto_k = float(diagnostics.pareto_k(log_weights))
    return PosteriorFit(
        data=data.points,
        sample_weight=data.weight,
        frame=data.frame,
        method="variational",
        reason="Posterior by variational inference, as scikit-learn does it.",
        inside=jax.device_get(draws),
        prior=None,
        log_evidence=bound,
        log_evidence_error=math.nan,
        effective_sample_size=share * DRAWS,
        pareto_k=pareto_k,
        log_importance_weights=np.zeros(DRAWS),
        ordered=False,
        lower_bound=True,
    )
