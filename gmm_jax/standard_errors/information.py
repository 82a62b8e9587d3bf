"""Standard errors from the curvature of the log likelihood at the estimate."""

import functools

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np

from gmm_jax._data import bucket, padded
from gmm_jax._numerics import log_sum_exp
from gmm_jax._pytree import rebuild
from gmm_jax.fitting.point import BLOCK
from gmm_jax.mixture import Mixture
from gmm_jax.quasi_newton import bound, unbound
from gmm_jax.results import PointFit
from gmm_jax.standard_errors.parameters import (
    StandardErrors,
    assemble,
    flatten,
    limits_of,
    names_of,
)
from gmm_jax.table import log_joint


def from_information(fit: PointFit) -> StandardErrors:
    """Invert the curvature of the log likelihood, in double precision whatever JAX is set to."""
    if fit.prior is not None:
        raise ValueError(
            "standard_errors(method='information') is for maximum likelihood, but this fit has a "
            "prior: use method='bootstrap', or sample the posterior."
        )
    with jax.enable_x64(True):
        exact = jax.tree.map(lambda a: jnp.asarray(np.asarray(a, np.float64)), fit.inside)
        _check_inside(fit, np.asarray(jax.flatten_util.ravel_pytree(unbound(exact))[0]))
        points = (fit.data - fit.frame.centre) / fit.frame.unit
        rows = bucket(len(points))
        block = min(rows, BLOCK // 8)
        points, weight = padded(points, fit.sample_weight, -(-rows // block) * block)
        curvature, jacobian = _curvature(
            exact,
            limits_of(fit),
            points.reshape(-1, block, *points.shape[1:]),
            weight.reshape(-1, block),
            fit.frame.centre,
            fit.frame.unit,
            incomplete=bool(np.isnan(fit.data).any()),
        )
        inverse = _invert(np.asarray(curvature), fit.n_parameters)
        covariance = np.asarray(jacobian) @ inverse @ np.asarray(jacobian).T
    return assemble(fit, covariance, "information", None)


@functools.partial(jax.jit, static_argnames="incomplete")
def _curvature(mixture, limits, data, sample_weight, centre, unit, *, incomplete):
    """Minus the Hessian of the log likelihood, and how the data's parameters follow from these.

    Both in numbers that may take any value. Parameters that are shared follow the mean of theirs,
    and those that are held follow none.
    """
    flat = jax.flatten_util.ravel_pytree(unbound(mixture))[0]

    def loss(flat, points, weight):
        each = log_joint(bound(flat, mixture, limits), points, incomplete)
        return -jnp.sum(jnp.where(weight > 0, weight * log_sum_exp(each, -1), 0))

    def add(total, block):
        return total + jax.hessian(loss)(flat, *block), None

    start = jnp.zeros((len(flat), len(flat)), flat.dtype)
    curvature = jax.lax.scan(add, start, (data, sample_weight))[0]

    def outside(flat):
        now = bound(flat, mixture, limits)
        components = now.components.affine(centre, unit)
        moved = rebuild(Mixture, weights=now.weights, components=components)
        return jax.flatten_util.ravel_pytree(moved)[0]

    return curvature, jax.jacfwd(outside)(flat)


def _check_inside(fit: PointFit, start: np.ndarray) -> None:
    """Raise where a free parameter is on its boundary."""
    k, held = fit.inside.n_components, limits_of(fit).held
    empty = np.zeros(len(start), bool)
    empty[:k] = (np.asarray(fit.inside.weights) < 1e-12) & ~np.asarray(held.weights)
    edge = np.flatnonzero(empty | (~flatten(held, batch=0) & ~np.isfinite(start)))
    if edge.size:
        raise ValueError(
            f"standard_errors(method='information'): {names_of(fit)[edge[0]]} is on its boundary, "
            "where curvature says nothing: use method='bootstrap', or hold it fixed."
        )


def _invert(information: np.ndarray, n_parameters: int) -> np.ndarray:
    """Invert after giving every number a unit diagonal.

    There may be more numbers than parameters: adding to all logs of weights changes nothing, nor
    does what makes shared parameters differ. What depends on the parameters alone has the same
    covariance whichever generalised inverse is taken.

    Raises:
        ValueError: as many numbers as there are parameters are not determined.
    """
    moving = (information != 0).any(1)
    scale = np.sqrt(np.abs(np.diag(information)))
    scale = np.where(scale > 0, scale, 1)
    scaled = (information / np.outer(scale, scale))[np.ix_(moving, moving)]
    values, vectors = np.linalg.eigh(scaled)
    first = max(0, len(values) - n_parameters)
    values, vectors = values[first:], vectors[:, first:]
    if len(values) < n_parameters or np.any(values <= 1e-10 * values.max(initial=0)):
        raise ValueError(
            "standard_errors(method='information'): the information is singular, so the data don't "
            "determine every parameter here: use method='bootstrap', or fit fewer components."
        )
    inverse = np.zeros_like(information)
    inverse[np.ix_(moving, moving)] = (vectors / values) @ vectors.T
    return inverse / np.outer(scale, scale)
