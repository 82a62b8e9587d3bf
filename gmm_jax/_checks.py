"""Checks on parameters that people write down, with messages that say what to do."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from gmm_jax._pytree import is_concrete


def as_floats(name: str, value: Any) -> Array:
    """Turn numbers, lists or arrays into a floating-point array; tracers pass.

    Raises:
        TypeError: `value` is not numeric.
        ValueError: `value` has NaN or infinite entries.
    """
    if isinstance(value, Array):
        array = value
    else:
        try:
            array = np.asarray(value)
        except (TypeError, ValueError) as error:
            raise TypeError(f"{name} must be numbers, got {value!r}.") from error
    if array.dtype.kind in "OSUMmc":
        raise TypeError(f"{name} must be real numbers, got {value!r}.")
    floats = jnp.asarray(array, dtype=None if jnp.issubdtype(array.dtype, jnp.floating) else float)
    if is_concrete(floats) and not np.all(np.isfinite(np.asarray(floats))):
        raise ValueError(f"{name} must be finite, got {np.asarray(floats).tolist()}.")
    return floats


def per_component(name: str, value: Any) -> Array:
    """Turn `value` into an array with components on its first axis, and features on a second.

    Raises:
        ValueError: it is a single number, is empty or has more than two axes.
    """
    array = as_floats(name, value)
    if array.ndim not in (1, 2) or array.shape[0] == 0:
        raise ValueError(
            f"{name} needs one entry (or one row of features) per component, "
            f"got shape {array.shape}. For a single component write [{name[0]}]."
        )
    return array


def shaped_like(name: str, value: Any, like_name: str, like: Array) -> Array:
    """Turn `value` into an array of `like`'s shape; one number stands for all.

    Raises:
        ValueError: the shapes differ.
    """
    array = as_floats(name, value)
    if array.ndim and array.shape != like.shape:
        raise ValueError(
            f"{name} has shape {array.shape} but {like_name} has shape {like.shape}: "
            f"give as many {name} as {like_name}, or one number for all."
        )
    return jnp.broadcast_to(array, like.shape)


def positive(name: str, array: Array) -> None:
    """Raise ValueError unless every entry that is known now is above zero."""
    if is_concrete(array) and not np.all(np.asarray(array) > 0):
        raise ValueError(f"{name} must be above zero, got {np.asarray(array).tolist()}.")


def between_zero_and_one(name: str, array: Array) -> None:
    """Raise ValueError unless every entry that is known now is a probability."""
    if is_concrete(array) and not np.all((np.asarray(array) >= 0) & (np.asarray(array) <= 1)):
        raise ValueError(f"{name} must lie between 0 and 1, got {np.asarray(array).tolist()}.")


def proportions(name: str, array: Array) -> Array:
    """Check that `array` (k,) is a set of shares and make its sum exactly 1 up to rounding.

    Raises:
        ValueError: it has another shape, a negative entry, or does not sum to one.
    """
    if array.ndim != 1 or array.shape[0] == 0:
        raise ValueError(f"{name} needs one number per component, got shape {array.shape}.")
    if not is_concrete(array):
        return array
    values = np.asarray(array, np.float64)
    if np.any(values < 0):
        raise ValueError(f"{name} must not be negative, got {values.tolist()}.")
    if abs(values.sum() - 1) > 1e-4:
        raise ValueError(
            f"{name} must sum to 1, got a sum of {values.sum():.6g}. "
            f"Divide them by their sum if they are counts."
        )
    return jnp.asarray(values / values.sum(), array.dtype)


def as_key(key: Any) -> Array:
    """Check a random key, of the kind with a type or of the older one; tracers pass.

    Raises:
        TypeError: it is none, or several.
    """
    if isinstance(key, Array):
        typed = jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
        if key.shape == (() if typed else (2,)) and (typed or key.dtype == np.uint32):
            return key
    raise TypeError(f"key must be a random key such as jax.random.key(0), got {key!r}.")


def as_count(name: str, value: Any) -> int:
    """Check a number of things.

    Raises:
        TypeError: it is no whole number.
        ValueError: it is negative.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{name} must be a whole number, got {value!r}.")
    if value < 0:
        raise ValueError(f"{name} must not be negative, got {value}.")
    return int(value)


def reached(log_joint: Array) -> Array:
    """Raise ValueError where a new point has density 0 under every component; tracers pass."""
    if is_concrete(log_joint) and bool(jnp.isneginf(log_joint).all(-1).any()):
        lost = np.argwhere(np.isneginf(np.asarray(log_joint)).all(-1))
        where = f"data[{', '.join(map(str, lost[0]))}]" if log_joint.ndim > 1 else "the point"
        raise ValueError(
            f"{where} has density 0 under every component, in {log_joint.dtype}, so that none can "
            f"be said to have produced it: leave it out, or ask for log_prob, which is -inf there."
        )
    return log_joint
