"""Compiling for little data, which takes longer than the run."""

import functools
from collections.abc import Callable
from typing import Any

import jax

LITTLE = 2**16
"""Numbers in an array of the inner loop up to which the compiler's last passes save no time."""


def effort(level: int) -> dict[str, Any] | None:
    """Options for `jax.jit` on a CPU: 0, no optimisation, takes a third of the time; 1, two."""
    return {"xla_backend_optimization_level": level} if jax.default_backend() == "cpu" else None


def jit_by_size(function: Callable, size: Callable[..., int], **options: Any) -> Callable:
    """Compile as `jax.jit` does, with less effort where there is little to do.

    Args:
        function: Pure, and not called from compiled code.
        size: Takes its arguments and says how many numbers its inner loop goes through.
        options: For `jax.jit`.
    """
    usual = jax.jit(function, **options)

    @functools.cache
    def brief() -> Callable:
        return jax.jit(function, compiler_options=effort(1), **options)

    @functools.wraps(function)
    def call(*args: Any, **named: Any) -> Any:
        chosen = brief() if size(*args, **named) <= LITTLE else usual
        return chosen(*args, **named)

    return call
