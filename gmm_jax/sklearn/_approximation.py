"""A variational posterior in the frame of the data: its start, its climb, and its draws.

A step weighs the points by the geometric mean of the densities that are thought possible, sums
their statistics and takes what these imply; no step lowers the bound on the log evidence [1]. It is
the step of `variational`, for more priors.

[1] Bishop (2006), "Pattern recognition and machine learning", section 10.2.
"""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int

from gmm_jax import diagnostics
from gmm_jax._data import Frame
from gmm_jax._pytree import rebuild
from gmm_jax.families import MultivariateStudentT, StudentT
from gmm_jax.families.multivariate_normal import SecondMoments
from gmm_jax.families.normal import Moments
from gmm_jax.mixture import Mixture
from gmm_jax.posterior_fit import PosteriorFit
from gmm_jax.sklearn import _covariances, _starts
from gmm_jax.sklearn._climb import ROOM, Climbed, climb, room_for
from gmm_jax.sklearn._conjugate import Knowledge, Shares
from gmm_jax.sklearn._setting import Setting, widened
from gmm_jax.table import Table, expectation

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


@functools.partial(jax.jit, static_argnames="room")
def _climb(
    starts: Knowledge,
    table: Table,
    prior: Knowledge,
    extra: Float[Array, "d"],
    before: Float[Array, "r"],
    tol: Float[Array, ""],
    most: Int[Array, ""],
    *,
    room: int,
) -> Climbed:
    """Climb; heights are bounds on the log evidence of all data."""

    def step(taken, known, before):
        means, log_factors = jax.vmap(Knowledge.geometric_mean)(known)
        total, statistics = expectation(means, table)
        apart = jax.vmap(lambda each: each.divergence(prior))(known)
        bound = total + log_factors * table.sample_weight.sum() - apart
        statistics = jax.vmap(lambda sums: widened(sums, extra))(statistics)
        noise = 4 * jnp.finfo(bound.dtype).eps * jnp.abs(bound)
        small = jnp.abs(bound - before) < jnp.maximum(tol, noise)
        return jax.vmap(prior.given)(means, statistics), bound, small

    return climb(step, starts, before, most, room)


def run(
    starts: list[Knowledge],
    data: Setting,
    prior: Knowledge,
    reg_covar: float | int,
    before: np.ndarray,
    tol: float | int,
    most: int,
) -> Climbed:
    """Climb from several starts, and bring back the numbers.

    Args:
        starts: What is known at first, in the frame.
        data: The points.
        prior: What is known without them, in the frame.
        reg_covar: What is added to the variances of points.
        before: Bounds, in the frame, that the first are compared with.
        tol: A step that changes the bound by less is the last.
        most: Most steps.
    """
    most, room = room_for(most, len(starts))
    return jax.device_get(
        _climb(
            jax.tree.map(lambda *a: np.stack(a), *starts),
            data.table,
            prior,
            jnp.asarray(data.extra(reg_covar)),
            data.number(before),
            data.number(tol),
            jnp.asarray(most),
            room=room,
        )
    )


def further(
    known: Knowledge, bound: float, data: Setting, prior: Knowledge, reg_covar: float | int
) -> tuple[Knowledge, float]:
    """Go on until nothing changes, and return what is known then, and the bound."""
    tol = LEAST * data.size
    top = run([known], data, prior, reg_covar, np.array([-np.inf]), tol, ROOM - 2)
    if not float(top.height[0]) >= bound:
        return known, bound
    return jax.tree.map(lambda a: a[0], top.places), float(top.height[0])


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
    draws = _draw(inside, keys)
    share = pareto_k = math.nan
    if isinstance(known.weights, Shares):
        weighed = jax.tree.map(lambda a: a[:WEIGHED], draws)
        log_weights = _compare(weighed, inside, before, data.table)
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


@jax.jit
def _draw(known: Knowledge, keys: Array) -> Mixture:
    """Mixtures drawn from what is known, one a key."""
    return jax.vmap(known.sample)(keys)


@jax.jit
def _compare(draws: Any, known: Knowledge, prior: Knowledge, table: Table) -> Float[Array, "s"]:
    """Log importance weights of draws of what is known, for the posterior of a Dirichlet prior."""
    log_likelihood, _ = expectation(draws, table)
    return log_likelihood + jax.vmap(prior.log_prob)(draws) - jax.vmap(known.log_prob)(draws)
