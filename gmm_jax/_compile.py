"""Compiling for little data, which takes longer than the run."""

import functools
from collections.abc import Callable
from typing import Any

import jax

from gmm_jax._pieces import LITTLE, compiler_options, in_pieces


def effort(level: int) -> dict[str, Any]:
    """Options for `jax.jit` on a CPU: 0, no optimisation, takes a third of the time; 1, two."""
    return {"xla_backend_optimization_level": level} if jax.default_backend() == "cpu" else {}


def jit_by_size(
    function: Callable, size: Callable[..., int], static_argnames: tuple[str, ...] = ()
) -> Callable:
    """Compile as `jax.jit` does, with less effort where there is little to do.

    Args:
        function: Pure, and not called from compiled code.
        size: Takes its arguments and says how many numbers its inner loop goes through.
        static_argnames: Its arguments that are not arrays.
    """
    usual = jax.jit(function, static_argnames=static_argnames)

    @functools.cache
    def brief() -> Callable:
        options = effort(1) | compiler_options()
        pieces = in_pieces(function, static_argnames)
        return jax.jit(pieces, static_argnames=static_argnames, compiler_options=options)

    @functools.wraps(function)
    def call(*args: Any, **named: Any) -> Any:
        chosen = brief() if size(*args, **named) <= LITTLE else usual
        return chosen(*args, **named)

    return call
