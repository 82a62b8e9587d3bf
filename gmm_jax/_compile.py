"""Compiling for little data, which takes longer than the run."""

import contextlib
import functools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
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


class jit_by_size:
    """Compile as `jax.jit` does, but sooner on a CPU, and soonest where there is little to do.

    Args:
        function: Pure, and not called from compiled code.
        size: Takes its arguments and says how many numbers its inner loop goes through.
        static_argnames: Its arguments that are not arrays.
    """

    def __init__(
        self, function: Callable, size: Callable[..., int], static_argnames: tuple[str, ...] = ()
    ) -> None:
        self.function, self.size, self.static_argnames = function, size, static_argnames
        self.compiled: dict[bool, Any] = {}
        functools.update_wrapper(self, function)

    def __call__(self, *args: Any, **named: Any) -> Any:
        return self._chosen(*args, **named)(*args, **named)

    def lower(self, *args: Any, **named: Any) -> Any:
        """Trace for such arguments or others of their shapes, as what `jax.jit` returns does."""
        return self._chosen(*args, **named).lower(*args, **named)

    def _chosen(self, *args: Any, **named: Any) -> Any:
        little = self.size(*args, **named) <= LITTLE
        if little not in self.compiled:
            static, options = self.static_argnames, effort(1)
            options |= compiler_options() if little else {}
            function = in_pieces(self.function, static) if little else self.function
            jitted = jax.jit(function, static_argnames=static, compiler_options=options)
            self.compiled[little] = jitted
        return self.compiled[little]


@contextlib.contextmanager
def at_once() -> Iterator[Callable[..., Any]]:
    """Compile several programs at the same time, before they are first called.

    Yields a function that takes what `jax.jit` or `jit_by_size` returned, and arguments or their
    shapes; it returns the shapes of the results. When the context ends all are compiled.
    """
    with ThreadPoolExecutor() as threads:

        def prepare(function: Any, *args: Any, **named: Any) -> Any:
            lowered = function.lower(*args, **named)
            compiling.append(threads.submit(lowered.compile))
            return lowered.out_info

        compiling = []
        yield prepare
        for program in compiling:
            program.result()
