"""Compiling for little data, which takes longer than the run."""

import functools
from collections.abc import Callable
from typing import Any

import jax

from gmm_jax._pieces import compiler_options, in_pieces

LITTLE = 2**18
"""Numbers that the inner loop of a program goes through, up to which pieces are worth it."""


def effort(level: int) -> dict[str, Any]:
    """Options for `jax.jit` on a CPU: 0, no optimisation, takes a third of the time; 1, two.

    What the levels above 1 do was found to save samplers 5 % of the time at most.
    """
    return {"xla_backend_optimization_level": level} if jax.default_backend() == "cpu" else {}


def jit_by_size(
    function: Callable, size: Callable[..., int], static_argnames: tuple[str, ...] = ()
) -> Callable:
    """Compile as `jax.jit` does, but sooner on a CPU, and soonest where there is little to do.

    Args:
        function: Pure, and not called from compiled code.
        size: Takes its arguments and says how many numbers its inner loop goes through.
        static_argnames: Its arguments that are not arrays.
    """

    @functools.cache
    def compiled(little: bool) -> Callable:
        options = effort(1) | (compiler_options() if little else {})
        chosen = in_pieces(function, static_argnames) if little else function
        return jax.jit(chosen, static_argnames=static_argnames, compiler_options=options)

    @functools.wraps(function)
    def call(*args: Any, **named: Any) -> Any:
        return compiled(size(*args, **named) <= LITTLE)(*args, **named)

    return call
