"""Long runs tell how far they are, and keep what was drawn when they are interrupted."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

import jax

Report = Callable[[str], None]
"""Is told how far a run is, in words."""


def silent(text: str) -> None:
    """Tell nobody."""


@contextlib.contextmanager
def telling(name: str, wanted: bool | None) -> Iterator[Report]:
    """Tell on stderr, in one line that is written again; by default where that is a terminal."""
    if not (sys.stderr.isatty() if wanted is None else wanted):
        yield silent
        return
    try:
        yield lambda text: print(f"\r{name}: {text:<24}", end="", file=sys.stderr, flush=True)
    finally:
        print(file=sys.stderr)


def in_rounds(
    advance: Callable[[int, Any], tuple[Any, Any]],
    state: Any,
    n_warmup: int,
    n_rounds: int,
    report: Report,
) -> tuple[Any, list[Any]]:
    """Draw in rounds. An interrupt ends the run, with what the rounds before have drawn.

    Args:
        advance: Takes the number of the round and the state; returns the next state, and draws.
        state: The first.
        n_warmup: Rounds whose draws are thrown away; an interrupt there goes on to the caller.
        n_rounds: Rounds that count.
        report: Is told how many per cent are done.

    Returns:
        The last state, and the draws of each round that counts: fewer after an interrupt.
    """
    kept: list[Any] = []
    total = n_warmup + n_rounds
    try:
        for i in range(total):
            state, new = jax.block_until_ready(advance(i, state))
            if i >= n_warmup:
                kept.append(jax.device_get(new))
            report(f"{100 * (i + 1) // total} %")
    except KeyboardInterrupt:
        if not kept:
            raise
    return state, kept
