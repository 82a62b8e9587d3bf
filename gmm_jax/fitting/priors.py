"""Checks on a prior: whether it is one, and whether it suits what is fitted."""

from typing import Any

import jax
import numpy as np

from gmm_jax.families import kinds
from gmm_jax.families.limits import ALONE, Sharing
from gmm_jax.fitting.options import one_of


def check_kind(prior: Any) -> None:
    """Raise unless the prior is one of mixtures."""
    if isinstance(prior, str):
        one_of("prior", prior, ("default",))
    elif prior is not None and (isinstance(prior, type) or not hasattr(prior, "sites")):
        raise TypeError(f"prior must be a prior such as DirichletNormalGamma(...), got {prior!r}.")
    elif prior is not None and not hasattr(prior, "components"):
        name = type(prior).__name__
        raise TypeError(
            f"prior must be a prior of mixtures, got {name}: if it is one of components, pass "
            f"MixturePrior(1, {name}(...))."
        )


def check_suits(prior: Any, family: Any, k: int, event: tuple[int, ...], sharing: Sharing) -> None:
    """Raise unless the prior speaks of k components of this family."""
    prior.spread(k, event)
    if _outline(kinds.blank(prior.family, k, event)) != _outline(kinds.blank(family, k, event)):
        raise ValueError(
            f"prior is {type(prior).__name__}, which is for {prior.family.__name__} components, "
            f"not {family.__name__}."
        )
    if sharing != ALONE:
        raise ValueError(
            "shared parameters (and tied or spherical covariances) cannot be combined with a prior."
        )


def _outline(components: Any) -> tuple[Any, list[tuple[int, ...]]]:
    """What components are made of."""
    leaves, structure = jax.tree.flatten(components)
    return structure, [leaf.shape for leaf in leaves]


def check_conditional(prior: Any, method: str) -> None:
    """Raise ValueError where a method needs more of a prior than its density."""
    if not prior.components.conditional:
        raise ValueError(
            f"method={method!r} needs the distribution of components given the points that are "
            f"theirs, which {type(prior.components).__name__} does not have: use method='nuts'."
        )


def check_sampled(
    points: np.ndarray, weight: np.ndarray, k: int, prior: Any, known: dict[str, Any], method: str
) -> None:
    """Raise ValueError for what a sampler of the posterior does not do."""
    if method not in ("auto", "nuts"):
        check_conditional(prior, method)
    if method == "importance" and known:
        raise ValueError("fixed is not for importance sampling: use method='gibbs' or 'smc'.")
    if method == "smc" and known and prior.components.hierarchical:
        raise ValueError(
            f"fixed with a {type(prior.components).__name__} prior is for method='gibbs' only."
        )
    prior.components.check_known(known)
    problem = prior.improper(points, weight, k, known)
    if problem:
        raise ValueError(problem)
