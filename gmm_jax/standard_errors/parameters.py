"""The parameters of a fit one by one: their names, which were held, and their standard errors."""

import math
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from gmm_jax.families import kinds
from gmm_jax.families.limits import Limits
from gmm_jax.mixture import Mixture
from gmm_jax.results import PointFit


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


def limits_of(fit: PointFit) -> Limits:
    """What was held and shared."""
    if fit.limits is not None:
        return fit.limits
    held = jax.tree.map(lambda a: np.zeros(np.shape(a), bool), fit.inside)
    return Limits(held, np.zeros((), np.float32))


def assemble(
    fit: PointFit, covariance: np.ndarray, method: str, resamples: Mixture | None
) -> StandardErrors:
    """Standard errors from the covariance of all parameters, side by side."""
    held = flatten(limits_of(fit).held, batch=0).astype(bool)
    covariance = np.where(held | held[:, None], 0, covariance)
    errors = np.sqrt(np.diag(covariance))
    leaves, structure = jax.tree.flatten(fit.inside)
    ends = np.cumsum([np.size(leaf) for leaf in leaves])[:-1]
    parts = [p.reshape(np.shape(a)) for p, a in zip(np.split(errors, ends), leaves, strict=True)]
    shaped = jax.tree.unflatten(structure, parts)
    return StandardErrors(
        shaped.weights, shaped.components, names_of(fit), covariance, method, resamples
    )


def flatten(mixture: Mixture, batch: int) -> np.ndarray:
    """All parameters side by side, after `batch` leading axes."""
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(mixture)]
    sizes = [math.prod(leaf.shape[batch:]) for leaf in leaves]
    return np.concatenate(
        [a.reshape(*a.shape[:batch], s) for a, s in zip(leaves, sizes, strict=True)], -1
    )


def names_of(fit: PointFit) -> list[str]:
    """The name of every parameter, such as means[1, 0] or parts[0].means[1]."""
    leaves = {"weights": fit.inside.weights, **kinds.named(fit.inside.components)}
    return [
        f"{name}[{', '.join(map(str, i))}]"
        for name, leaf in leaves.items()
        for i in np.ndindex(np.shape(leaf))
    ]
