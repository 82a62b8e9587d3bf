"""Weights of known components: a concave problem, solved to rounding."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gmm_jax import em, proportions
from gmm_jax._data import float_dtype
from gmm_jax.families.limits import Limits
from gmm_jax.fitting import setting
from gmm_jax.results import PointFit


def fit_shares(
    points: np.ndarray, weight: np.ndarray, known: dict[str, np.ndarray], family: Any
) -> PointFit:
    """Estimate the shares of components that are known.

    Raises:
        ValueError: several sets of shares explain any data equally well, or a point is impossible.
    """
    event, dtype = points.shape[1:], float_dtype(points)
    k = next(iter(known.values())).shape[0]
    frame = setting.choose_frame(points, weight, family, None)
    known_mixture, held = setting.known_inside(known, family, frame, k, event, dtype)
    values = jax.tree.map(jnp.asarray, known_mixture)
    distinct, inverse = np.unique(points[weight > 0], axis=0, return_inverse=True)
    counts = np.bincount(inverse.ravel(), weight[weight > 0])
    log_densities = values.components.log_prob(frame.enter(distinct, dtype))
    _check_possible(distinct, np.asarray(log_densities))
    _check_identifiable(np.asarray(log_densities, np.float64), k)

    weights = proportions.maximise(log_densities, jnp.asarray(counts, dtype))
    mixture = jax.device_get(type(values)(weights, values.components))
    log_prob = np.asarray(mixture.log_prob(frame.enter(distinct, dtype)), np.float64)
    log_likelihood = counts @ (log_prob - frame.log_volume(distinct))
    return PointFit(
        data=points,
        sample_weight=weight,
        frame=frame,
        method="em",
        reason="Shares alone by maximum likelihood, since the components were given; the problem "
        "is concave and was solved to rounding.",
        inside=mixture,
        log_likelihood=float(log_likelihood),
        n_parameters=k - 1,
        status=em.CONVERGED,
        history=np.array([log_likelihood / counts.sum()]),
        restarts=None,
        limits=Limits(held, np.zeros((), dtype)),
        fixed=known,
    )


def _check_possible(points: np.ndarray, log_densities: np.ndarray) -> None:
    impossible = ~np.isfinite(log_densities).any(1)
    if impossible.any():
        raise ValueError(f"data has {points[impossible][0]}, which no component can produce.")


def _check_identifiable(log_densities: np.ndarray, k: int) -> None:
    """Shares are identifiable when no component's density is a blend of the others'."""
    densities = np.exp(log_densities - log_densities.max(1, keepdims=True))
    rank = np.linalg.matrix_rank(np.vstack([densities, np.ones(k)]), tol=1e-5)
    if rank < k:
        raise ValueError(
            f"the shares of these {k} components are not identifiable: the data can tell at most "
            f"{rank} of them apart, so many sets of shares fit equally well. Give components that "
            f"differ on the data (with as many kinds of outcome as components), or fewer of them."
        )
