"""Answers for many points: in the precision of the data, in blocks of sizes that repeat."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from gmm_jax._data import bucket
from gmm_jax._pytree import rebuild
from gmm_jax.mixture import Mixture

ROOM = 1e4
"""Numbers stay so many times within those whose squares their precision holds."""
BLOCK = 16_384
"""Points that are compared with the components at once."""


def in_blocks(evaluate: Callable[[np.ndarray], Any], X: np.ndarray) -> np.ndarray:
    """Evaluate points block by block, each filled up to a size that others share.

    Double precision is switched on for points in double precision, and only meanwhile.
    """
    parts = []
    with precision_of(X):
        for i in range(0, len(X), BLOCK):
            block = X[i : i + BLOCK]
            extra = np.repeat(block[-1:], bucket(len(block)) - len(block), 0)
            parts.append(np.asarray(evaluate(np.concatenate([block, extra])))[: len(block)])
    return np.concatenate(parts)


def precision_of(X: np.ndarray) -> Any:
    """A context in which JAX computes in the precision of the data."""
    return jax.enable_x64(bool(X.dtype == np.float64))


def log_joint(weights: np.ndarray, components: Any, X: np.ndarray) -> Float[np.ndarray, "n k"]:
    """Log of weight times density of points under components with means; NaN is missing.

    Means and points are compared about the middle of the means, so that single precision keeps its
    digits far from zero.
    """
    mixture, centre = _about_middle(weights, components, X.dtype)
    return in_blocks(lambda block: mixture.log_joint((block - centre).astype(X.dtype)), X)


def impute(weights: np.ndarray, components: Any, X: np.ndarray) -> np.ndarray:
    """What is expected of points, given the rest of each, where they are missing (NaN)."""
    mixture, centre = _about_middle(weights, components, X.dtype)
    filled = in_blocks(lambda block: mixture.impute((block - centre).astype(X.dtype)), X)
    return np.where(np.isnan(X), filled + centre, X).astype(X.dtype)


def _about_middle(weights: np.ndarray, components: Any, dtype: Any) -> tuple[Mixture, np.ndarray]:
    exact = jax.tree.map(lambda a: np.asarray(a, np.float64), components)
    centre = exact.means.mean(0)
    moved = rebuild(Mixture, weights=weights, components=exact.affine(-centre, 1.0))
    return jax.tree.map(lambda a: np.asarray(a, dtype), moved), centre


def log_sum_exp(logs: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n"]:
    """log sum exp over components; minus infinity where every term is."""
    largest = logs.max(1)
    largest = np.where(np.isneginf(largest), 0, largest)
    with np.errstate(divide="ignore"):
        return largest + np.log(np.exp(logs - largest[:, None]).sum(1))


def shares_of(logs: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n k"]:
    """Shares proportional to exp of the logs; each row sums to one."""
    relative = np.exp(logs - logs.max(1, keepdims=True))
    return relative / relative.sum(1, keepdims=True)


def usual(result: Any) -> Any:
    """A result in the precision that JAX is set to, whatever it was computed in."""
    inside = jax.tree.map(
        lambda a: np.asarray(a).astype(jax.dtypes.canonicalize_dtype(a.dtype), copy=False),
        result.inside,
    )
    return dataclasses.replace(result, inside=inside)


def check_squares(X: np.ndarray) -> None:
    """Raise ValueError where squares of the numbers, which covariances are, would overflow."""
    limits = np.finfo(X.dtype)
    largest = float(np.nanmax(np.abs(X), initial=0))
    if largest > limits.max**0.5 / ROOM:
        more = "" if limits.bits == 64 else ", or pass float64"
        raise ValueError(
            f"X has {largest:g}, and {X.dtype} does not hold well what squares of such numbers "
            f"come to: divide X by a number near {largest:.0e}{more}."
        )
