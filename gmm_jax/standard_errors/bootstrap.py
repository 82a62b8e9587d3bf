"""Standard errors by fitting again to data drawn from the data."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from gmm_jax import em
from gmm_jax._data import bucket, padded
from gmm_jax._pytree import rebuild
from gmm_jax._warnings import warn
from gmm_jax.fitting import setting
from gmm_jax.fitting.point import BLOCK, TOL
from gmm_jax.mixture import Mixture
from gmm_jax.priors.mixtures import MaximumLikelihood
from gmm_jax.results import PointFit
from gmm_jax.standard_errors.parameters import StandardErrors, assemble, flatten, limits_of
from gmm_jax.table import log_joint

CHUNK = 50
"""Resamples that are fitted side by side; the slowest holds the others of its chunk."""
MAX_STEPS = 1000


def from_bootstrap(fit: PointFit, n_resamples: int, key: Array | None) -> StandardErrors:
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
            limits_of(fit),
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
    flat = flatten(outside, batch=1)
    return assemble(fit, np.cov(flat, rowvar=False, ddof=1), "bootstrap", outside)


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


def _named(fit: PointFit) -> bool:
    """Whether components have names of their own, and must not be matched."""
    limits = limits_of(fit)
    held = any(np.any(leaf) for leaf in jax.tree.leaves(limits.held))
    different = fit.inside.components.order is None  # families that are not each other's peers
    return held or different or setting.are_named({}, limits.sharing, fit.prior)


def _outside(fit: PointFit, mixtures: Mixture) -> Mixture:
    """Many mixtures in the data's unit, float64."""
    exact = jax.tree.map(lambda a: np.asarray(a, np.float64), mixtures)
    components = exact.components.affine(fit.frame.centre, fit.frame.unit)
    return rebuild(Mixture, weights=exact.weights, components=components)
