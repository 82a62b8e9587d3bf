"""What `fit` is asked to fit: a family, or families put together, and its parameters by name."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from gmm_jax.families.limits import Outline, Sharing


@functools.lru_cache(maxsize=256)
def blank(kind: Any, k: int, event: tuple[int, ...]) -> Any:
    """k components whose leaves are shapes."""

    def around(centres, spread, ends):
        return kind.around(centres, Outline(spread, ends, ends))

    one, ends = np.ones((), np.float32), np.zeros(event, np.float32)
    return jax.eval_shape(around, np.zeros((k, *event), np.float32), one, ends)


def named(components: Any) -> dict[str, Any]:
    """Every parameter by name, such as "means" or "parts[1].rates"."""
    leaves = jax.tree_util.tree_leaves_with_path(components)
    return {jax.tree_util.keystr(path).removeprefix("."): leaf for path, leaf in leaves}


def filled(kind: Any, k: int, event: tuple[int, ...], values: dict[str, np.ndarray]) -> Any:
    """k components with the named values, and NaN for the rest."""
    empty = blank(kind, k, event)
    leaves = [values.get(name, np.full(leaf.shape, np.nan)) for name, leaf in named(empty).items()]
    return jax.tree.unflatten(jax.tree.structure(empty), leaves)


def with_known(components: Any, known: dict[str, np.ndarray] | None) -> Any:
    """Components of one mixture, or of many, with the named values wherever these are numbers."""
    known = known or {}
    leaves = [
        np.where(np.isnan(known[name]), leaf, known[name]) if name in known else leaf
        for name, leaf in named(components).items()
    ]
    return jax.tree.unflatten(jax.tree.structure(components), leaves)


def harmless(kind: Any, k: int, event: tuple[int, ...]) -> Any:
    """k components with parameters that are allowed."""
    half, one = np.full((k, *event), 0.5), np.ones(())
    outline = Outline(one, np.zeros(event), np.ones(event))
    return jax.tree.map(np.asarray, kind.around(jnp.asarray(half), outline))


def check_values(components: Any) -> None:
    """Let families check their parameters."""
    for part in getattr(components, "parts", ()):
        check_values(part)
    if not hasattr(components, "parts"):
        type(components)(**vars(components))


def together(mixture: Any, sharing: Sharing) -> Any:
    """Replace what is shared by the mean of those that share it."""

    def average(path, leaf):
        name = jax.tree_util.keystr(path).removeprefix(".components").removeprefix(".")
        return sharing.average(name, leaf) if sharing.shares(name) else leaf

    return jax.tree_util.tree_map_with_path(average, mixture)


def whole_numbers(data: np.ndarray, rule: str) -> None:
    """Raise ValueError, citing the rule, unless all that is there is 0, 1, 2, ..."""
    there = data[~np.isnan(data)]
    wrong = (there < 0) | (there != np.floor(there))
    if wrong.any():
        raise ValueError(f"data for {rule} 0, 1, 2, ..., got {there[wrong][0]:g}.")


def seen(family: Any, data: np.ndarray) -> Any:
    """The kind of a family that knows of the data what it needs, such as how many categories."""
    return family.seeing(data) if hasattr(family, "seeing") else family


def embedded(family: Any, data: Array, share: Array) -> Array:
    """The data as distances between points need them: by default, columns of spread one.

    `share` (of the shape of the data) says how much every entry counts; columns of it sum to one.
    """
    if hasattr(family, "embed"):
        return family.embed(data, share)
    columns, share = jnp.moveaxis(data, 0, -1), jnp.moveaxis(share, 0, -1)
    deviations = columns - (share * columns).sum(-1, keepdims=True)
    scale = jnp.sqrt((share * deviations**2).sum(-1, keepdims=True))
    return jnp.moveaxis(deviations / jnp.where(scale > 0, scale, 1), -1, 0)


def blend(filled: Array, responsibilities: Array) -> Array:
    """The mean of what k components say, (n, k, ...), weighted by responsibilities (n, k)."""
    shares = responsibilities.reshape(*responsibilities.shape, *(1,) * (filled.ndim - 2))
    return (shares * filled).sum(1)
