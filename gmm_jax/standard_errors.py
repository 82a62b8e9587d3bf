"""How far a point estimate may be from the truth: by resampling the data, or by curvature."""

import functools
import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
from jax import Array

from gmm_jax import em
from gmm_jax._data import bucket, padded
from gmm_jax._numerics import log_sum_exp, safe_log
from gmm_jax._pytree import rebuild
from gmm_jax._sharding import here
from gmm_jax._warnings import warn
from gmm_jax.families.limits import ALONE
from gmm_jax.fitting.arguments import one_of, whole
from gmm_jax.fitting.point import BLOCK, TOL
from gmm_jax.mixture import Mixture
from gmm_jax.priors import MaximumLikelihood
from gmm_jax.results import PointFit
from gmm_jax.table import log_joint

CHUNK = 50
"""Resamples that are fitted side by side; the slowest holds the others of its chunk."""
MAX_STEPS = 1000


@dataclass(frozen=True, eq=False)
class StandardErrors:
    """Standard errors in the place of the parameters, in the data's unit; 0 where held fixed."""

    weights: np.ndarray
    components: Any
    """The family, with the standard error of each of its parameters in that parameter's place."""
    names: list[str]
    """Every parameter, in the order of `covariance`."""
    covariance: np.ndarray
    """Of all parameters of the estimate, (p, p)."""
    method: str
    resamples: Mixture | None
    """The bootstrap's estimates, relabelled to match; None for method="information"."""

    def __str__(self) -> str:
        errors = np.sqrt(np.diag(self.covariance))
        rows = [f"{n:<20}{e:>12.5g}" for n, e in zip(self.names, errors, strict=True)]
        return "\n".join([f"standard errors, by {self.method}", *rows])


def standard_errors(
    fit: PointFit, method: str = "bootstrap", n_resamples: int = 200, key: Array | None = None
) -> StandardErrors:
    """Estimate the standard errors of a fit's parameters.

    Args:
        fit: A point estimate.
        method: "bootstrap" draws as many points as the data have, from the data and with
            replacement, and fits again; a point of weight 3 counts as 3. "information" inverts the
            curvature of the log likelihood at the estimate: quick, and right for large data.
        n_resamples: How often the bootstrap draws.
        key: Random key of the bootstrap; fixed if left out.

    Returns:
        Standard errors by parameter, and the covariance of all parameters.

    Raises:
        ValueError: the curvature is singular, or a parameter is on its boundary; most resamples
            have no sound fit.

    Warns:
        FitWarning: some resamples have no sound fit and were left out.

    Example:
        >>> import gmm_jax
        >>> errors = gmm_jax.fit([1.0, 2.0, 4.0, 5.0], 1).standard_errors("information")
        >>> round(float(errors.components.means[0]), 3)  # s / sqrt(n)
        0.791
    """
    one_of("method", method, ("bootstrap", "information"))
    here(fit.data, "standard_errors")
    if fit.status in (em.COLLAPSED, em.NOT_FINITE):
        raise ValueError(
            f"standard_errors needs a sound fit, but in this one {em.MEANING[fit.status]}: "
            "fit fewer components, or pass a prior."
        )
    if method == "information":
        return _from_information(fit)
    n_resamples = whole("n_resamples", n_resamples, 2)
    return _from_bootstrap(fit, n_resamples, key)


def _from_bootstrap(fit: PointFit, n_resamples: int, key: Array | None) -> StandardErrors:
    """Fit resampled data from the estimate on, a chunk of resamples at a time."""
    mixture = jax.tree.map(jnp.asarray, fit.inside)
    dtype = mixture.weights.dtype
    rows = bucket(len(fit.data))
    block = min(rows, BLOCK)
    centred = np.asarray(fit.frame.enter(fit.data, dtype))
    data, weight = padded(centred, fit.sample_weight, -(-rows // block) * block)
    chunk = max(1, min(CHUNK, n_resamples, 2**24 // (len(data) * fit.inside.n_components)))
    generator = np.random.default_rng(0 if key is None else np.asarray(jax.random.key_data(key)))
    size, share = max(1, round(weight.sum())), weight / weight.sum()
    found = []
    for _ in range(-(-n_resamples // chunk)):
        counts = generator.multinomial(size, share, chunk).astype(dtype)
        refitted = _refit(
            mixture,
            data.reshape(-1, block, *data.shape[1:]),
            counts.reshape(chunk, -1, block),
            MaximumLikelihood() if fit.prior is None else fit.prior,
            fit.limits,
            np.asarray(TOL[dtype.name], dtype),
            incomplete=bool(np.isnan(fit.data).any()),
        )
        found.append(jax.device_get(refitted))
    stacked = jax.tree.map(lambda *a: np.concatenate(a)[:n_resamples], *found)
    mixtures, status, agreement = stacked
    sound = _which_sound(status)
    mixtures, agreement = jax.tree.map(lambda a: a[sound], (mixtures, agreement))
    if not _named(fit):
        mixtures = _relabelled(mixtures, agreement)
    outside = _outside(fit, mixtures)
    flat = _flatten(outside, batch=1)
    return _assemble(fit, np.cov(flat, rowvar=False, ddof=1), "bootstrap", outside)


@functools.partial(jax.jit, static_argnames="incomplete")
def _refit(mixture, data, counts, prior, limits, tol, *, incomplete):
    """EM on each set of counts; also how far old and new components share points."""
    starts = jax.tree.map(lambda a: jnp.asarray(a)[None], mixture)
    points = data.reshape(-1, *data.shape[2:])

    def responsibilities(mixture):
        return jax.nn.softmax(log_joint(mixture, points, incomplete), -1)

    shares = responsibilities(mixture)

    def one(count):
        table = em.Table(data, count, incomplete=incomplete)
        fit = em.run(starts, table, prior, limits, tol, MAX_STEPS)
        found = jax.tree.map(lambda a: a[0], fit.mixtures)
        weighted = shares * count.reshape(-1, 1)
        agreement = jnp.matmul(weighted.T, responsibilities(found), precision="highest")
        return found, fit.status[0], agreement

    return jax.vmap(one)(counts)


def _which_sound(status: np.ndarray) -> np.ndarray:
    """Which resamples have a sound fit.

    Raises:
        ValueError: fewer than half have.
    """
    sound = (status != em.COLLAPSED) & (status != em.NOT_FINITE)
    if sound.mean() < 0.5 or sound.sum() < 2:
        raise ValueError(
            f"standard_errors: only {sound.sum()} of {len(sound)} resamples have a sound fit, "
            "since components rest on too few points: fit fewer components, or pass a prior."
        )
    if not sound.all():
        warn(
            f"{(~sound).sum()} of {len(sound)} resamples have no sound fit and were left out: "
            "a component rests on few points, and its standard errors are too small."
        )
    return sound


def _relabelled(mixtures: Mixture, agreement: np.ndarray) -> Mixture:
    """Give each component the name of the one of the estimate that it shares most points with."""
    from scipy.optimize import linear_sum_assignment

    order = np.stack([linear_sum_assignment(matrix, maximize=True)[1] for matrix in agreement])
    which = np.arange(len(order))[:, None]
    return jax.tree.map(lambda a: a[which, order], mixtures)


def _from_information(fit: PointFit) -> StandardErrors:
    """Invert the curvature of the log likelihood, in double precision whatever JAX is set to."""
    if fit.prior is not None:
        raise ValueError(
            "standard_errors(method='information') is for maximum likelihood, but this fit has a "
            "prior: use method='bootstrap', or sample the posterior."
        )
    if fit.limits is not None and fit.limits.sharing != ALONE:
        raise ValueError(
            "standard_errors(method='information') is for parameters of their own, but some are "
            "shared here: use method='bootstrap'."
        )
    incomplete = bool(np.isnan(fit.data).any())
    with jax.enable_x64(True):
        exact = jax.tree.map(lambda a: jnp.asarray(np.asarray(a, np.float64)), fit.inside)
        free = ~_flatten(_held(fit), batch=0).astype(bool)
        free[_last_free(fit)] = False  # the weights sum to one
        start = np.concatenate([np.asarray(a).ravel() for a in jax.tree.leaves(_unbound(exact))])
        _check_inside(fit, start, free)
        points = (fit.data - fit.frame.centre) / fit.frame.unit
        rows = bucket(len(points))
        block = min(rows, BLOCK // 8)
        points, weight = padded(points, fit.sample_weight, -(-rows // block) * block)
        data = points.reshape(-1, block, *points.shape[1:])
        curvature, jacobian = _curvature(
            exact,
            _held(fit),
            data,
            weight.reshape(-1, block),
            fit.frame.centre,
            fit.frame.unit,
            incomplete=incomplete,
        )
        curvature, jacobian = np.asarray(curvature), np.asarray(jacobian)
    # Entries above the diagonal of a triangle have no effect: they are no parameters.
    free &= (curvature != 0).any(1)
    inverse = _invert(curvature[np.ix_(free, free)], fit.n_parameters)
    return _assemble(fit, jacobian[:, free] @ inverse @ jacobian[:, free].T, "information", None)


def _unbound(mixture: Mixture) -> Mixture:
    """The mixture's parameters as numbers that may take any value, weights as logs."""
    components = mixture.components.unconstrained()
    return rebuild(Mixture, weights=safe_log(mixture.weights), components=components)


@functools.partial(jax.jit, static_argnames="incomplete")
def _curvature(mixture, held, data, sample_weight, centre, unit, *, incomplete):
    """Minus the Hessian of the log likelihood, and how the data's parameters follow from these."""
    flat, unflatten = jax.flatten_util.ravel_pytree(_unbound(mixture))
    left = 1 - jnp.where(held.weights, mixture.weights, 0).sum()

    def bound(flat):
        free = unflatten(flat)
        relative = jnp.where(held.weights, -jnp.inf, free.weights)
        weights = jnp.where(held.weights, mixture.weights, left * jax.nn.softmax(relative))
        moved = free.components.constrained()
        components = jax.tree.map(jnp.where, held.components, mixture.components, moved)
        return rebuild(Mixture, weights=weights, components=components)

    def loss(flat, points, weight):
        now = bound(flat)
        each = log_joint(now, points, incomplete)
        return -jnp.sum(jnp.where(weight > 0, weight * log_sum_exp(each, -1), 0))

    def add(total, block):
        return total + jax.hessian(loss)(flat, *block), None

    start = jnp.zeros((len(flat), len(flat)), flat.dtype)
    curvature = jax.lax.scan(add, start, (data, sample_weight))[0]

    def outside(flat):
        now = bound(flat)
        moved = rebuild(
            Mixture, weights=now.weights, components=now.components.affine(centre, unit)
        )
        return jax.flatten_util.ravel_pytree(moved)[0]

    return curvature, jax.jacfwd(outside)(flat)


def _check_inside(fit: PointFit, start: np.ndarray, free: np.ndarray) -> None:
    """Raise where a free parameter is on its boundary."""
    k = fit.inside.n_components
    empty = np.zeros(len(start), bool)
    empty[:k] = (np.asarray(fit.inside.weights) < 1e-12) & ~np.asarray(_held(fit).weights)
    edge = np.flatnonzero(empty | (free & ~np.isfinite(start)))
    if edge.size:
        raise ValueError(
            f"standard_errors(method='information'): {_names(fit)[edge[0]]} is on its boundary, "
            "where curvature says nothing: use method='bootstrap', or hold it fixed."
        )


def _invert(information: np.ndarray, n_parameters: int) -> np.ndarray:
    """Invert after giving every parameter a unit diagonal.

    Raises:
        ValueError: the matrix is not positive definite.
    """
    scale = np.sqrt(np.abs(np.diag(information)))
    values, vectors = np.linalg.eigh(information / np.outer(scale, scale))
    if len(scale) < n_parameters or (len(values) and values[0] <= 1e-10 * values[-1]):
        raise ValueError(
            "standard_errors(method='information'): the information is singular, so the data don't "
            "determine every parameter here: use method='bootstrap', or fit fewer components."
        )
    return (vectors / values) @ vectors.T / np.outer(scale, scale)


def _assemble(
    fit: PointFit, covariance: np.ndarray, method: str, resamples: Mixture | None
) -> StandardErrors:
    held = _flatten(_held(fit), batch=0).astype(bool)
    covariance = np.where(held | held[:, None], 0, covariance)
    errors = np.sqrt(np.diag(covariance))
    leaves, structure = jax.tree.flatten(fit.inside)
    ends = np.cumsum([np.size(leaf) for leaf in leaves])[:-1]
    parts = [p.reshape(np.shape(a)) for p, a in zip(np.split(errors, ends), leaves, strict=True)]
    shaped = jax.tree.unflatten(structure, parts)
    return StandardErrors(
        shaped.weights, shaped.components, _names(fit), covariance, method, resamples
    )


def _held(fit: PointFit) -> Mixture:
    """Which parameters were held: the structure of the mixture with booleans."""
    if fit.limits is not None:
        return fit.limits.held
    return jax.tree.map(lambda a: np.zeros(np.shape(a), bool), fit.inside)


def _named(fit: PointFit) -> bool:
    """Whether components have names of their own, and must not be matched."""
    held = any(np.any(leaf) for leaf in jax.tree.leaves(_held(fit)))
    return held or not getattr(fit.prior, "exchangeable", True)


def _last_free(fit: PointFit) -> np.ndarray:
    """Position of the last weight that was estimated, if any."""
    return np.flatnonzero(~np.asarray(_held(fit).weights))[-1:]


def _flatten(mixture: Mixture, batch: int) -> np.ndarray:
    """All parameters side by side, after `batch` leading axes."""
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(mixture)]
    sizes = [math.prod(leaf.shape[batch:]) for leaf in leaves]
    return np.concatenate(
        [a.reshape(*a.shape[:batch], s) for a, s in zip(leaves, sizes, strict=True)], -1
    )


def _outside(fit: PointFit, mixtures: Mixture) -> Mixture:
    """Many mixtures in the data's unit, float64."""
    exact = jax.tree.map(lambda a: np.asarray(a, np.float64), mixtures)
    components = exact.components.affine(fit.frame.centre, fit.frame.unit)
    return rebuild(Mixture, weights=exact.weights, components=components)


def _names(fit: PointFit) -> list[str]:
    """The name of every parameter, such as means[1, 0]."""
    names = []
    for path, leaf in jax.tree_util.tree_leaves_with_path(fit.inside):
        last = str(getattr(path[-1], "name", path[-1]))
        names += [f"{last}[{', '.join(map(str, i))}]" for i in np.ndindex(np.shape(leaf))]
    return names
