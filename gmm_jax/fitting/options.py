"""Checks on words, numbers and keys that people pass, each with a message that says what to do."""

from collections.abc import Collection, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array


def one_of(name: str, value: Any, choices: Collection[str]) -> str:
    """Check a word."""
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}.")
    return value


def whole(name: str, value: Any, least: int = 1, most: int = 10**9) -> int:
    """Check a whole number."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{name} must be a whole number, got {value!r}.")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, got {value}.")
    if value > most:
        raise ValueError(f"{name} must be at most {most}, got {value}.")
    return int(value)


def not_negative(name: str, value: Any) -> float:
    """Check a number."""
    try:
        number = float(value)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} must be a number, got {value!r}.") from error
    if not number >= 0:
        raise ValueError(f"{name} must not be negative, got {value!r}.")
    return number


def by_name(name: str, value: Any, example: str) -> Mapping[Any, Any]:
    """Check what is given by name of a parameter."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise TypeError(f"{name} must be a dict, as in {name}={example}, got {value!r}.")
    return value


def as_key(key: Any) -> Array | None:
    """Check a random key, of the kind with a type or of the older one."""
    if key is None:
        return None
    if isinstance(key, Array):
        typed = jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
        if key.shape == (() if typed else (2,)) and (typed or key.dtype == np.uint32):
            return key
    raise TypeError(f"key must be a random key such as jax.random.key(0), got {key!r}.")
