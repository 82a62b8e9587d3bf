"""Plain data that JAX can walk through: frozen dataclasses registered as pytrees."""

from dataclasses import dataclass, field, fields
from typing import Any, cast, dataclass_transform

import jax
import jax.core
import jax.numpy as jnp
import numpy as np


def static(**options: Any) -> Any:
    """Declare a field that is part of the type, not of the data (a part of jit's cache key)."""
    return field(metadata={"static": True}, **options)


@dataclass_transform(frozen_default=True, eq_default=False, field_specifiers=(static, field))
def pytree[T](cls: type[T]) -> type[T]:
    """Make `cls` a frozen dataclass and a pytree.

    `__post_init__` runs only when a person builds an object; JAX rebuilds it without checks, with
    tracers, axes or anything else in its fields.
    """
    cls = dataclass(frozen=True, eq=False)(cls)
    # Fields say what is stored; people may pass lists and numbers, which `__post_init__` converts.
    cls.__init__.__annotations__ = {}
    described = fields(cast(Any, cls))
    data = [f.name for f in described if not f.metadata.get("static")]
    meta = [f.name for f in described if f.metadata.get("static")]

    def flatten_with_keys(self: T):
        children = [(jax.tree_util.GetAttrKey(name), getattr(self, name)) for name in data]
        return children, tuple(getattr(self, name) for name in meta)

    def flatten(self: T):
        return [getattr(self, name) for name in data], tuple(getattr(self, name) for name in meta)

    def unflatten(aux, children) -> T:
        self = object.__new__(cls)
        for name, value in zip((*data, *meta), (*children, *aux), strict=True):
            object.__setattr__(self, name, value)
        return self

    jax.tree_util.register_pytree_with_keys(cls, flatten_with_keys, unflatten, flatten)
    return cls


def rebuild[T](make: type[T], **values: Any) -> T:
    """Build a pytree dataclass without its checks, as JAX does."""
    self = object.__new__(make)
    for name, value in values.items():
        object.__setattr__(self, name, value)
    return self


def set_fields(self: Any, **values: Any) -> None:
    """Store checked values from within `__post_init__` of a frozen dataclass."""
    for name, value in values.items():
        object.__setattr__(self, name, value)


def choose(which: Any, yes: Any, no: Any) -> Any:
    """Take each member of a batch, along the first axis of every leaf, from `yes` or from `no`."""
    return jax.tree.map(
        lambda a, b: jnp.where(which.reshape(-1, *(1,) * (a.ndim - 1)), a, b), yes, no
    )


def is_concrete(tree: Any) -> bool:
    """Tell whether the numbers of `tree` are known now, so that they can be checked."""
    return not any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(tree))


def columns_of(**parameters: Any) -> dict[str, np.ndarray]:
    """Split parameters (k,) or (k, d) into named columns of k numbers."""
    columns = {}
    for name, value in parameters.items():
        array = np.asarray(value, np.float64)
        if array.ndim == 1:
            columns[name] = array
        else:
            columns |= {f"{name}[{j}]": column for j, column in enumerate(array.T)}
    return columns
