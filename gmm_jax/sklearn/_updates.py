"""Fits that learn on: a point estimate with the statistics of its points."""

import dataclasses
from typing import Any

import numpy as np

from gmm_jax import chunked
from gmm_jax._chunks import as_chunks
from gmm_jax._pytree import rebuild
from gmm_jax.chunked_fit import ChunkedFit
from gmm_jax.mixture import Mixture
from gmm_jax.results import PointFit
from gmm_jax.sklearn import _covariances


def updated(
    fitted: PointFit, points: np.ndarray, weight: np.ndarray, reg_covar: float | int
) -> ChunkedFit:
    """Learn from new points, with `reg_covar` added to every variance."""
    before = fitted if isinstance(fitted, ChunkedFit) else _remembered(fitted)
    after = before.update(points, weight)
    extra = reg_covar / after.frame.unit**2
    return dataclasses.replace(after, inside=_wider(after.inside, extra))


def _remembered(fitted: PointFit) -> ChunkedFit:
    read = as_chunks([(fitted.data, fitted.sample_weight)])
    inside: Any = fitted.inside
    _, statistics = chunked.expectation(inside, read, fitted.frame, inside.components)
    own = {field.name: getattr(fitted, field.name) for field in dataclasses.fields(PointFit)}
    size, family = float(fitted.sample_weight.sum()), type(inside.components)
    return ChunkedFit(**own, size=size, statistics=statistics, about=inside, family=family)


def _wider(mixture: Mixture, extra: np.ndarray) -> Mixture:
    """The mixture with something added to its variances."""
    components: Any = mixture.components
    if hasattr(components, "scales"):
        roots = np.sqrt(components.scales**2 + extra)
    else:
        trils = np.tril(components.scale_trils)
        roots = np.linalg.cholesky(trils @ np.swapaxes(trils, 1, 2) + np.diag(extra))
    wider = _covariances.components_of(components.means, roots.astype(components.means.dtype))
    return rebuild(Mixture, weights=mixture.weights, components=wider)
