"""Time rivals side by side: warmed up, interleaved, medians and their ratio."""

import platform
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import jax
import numpy as np


def header(*packages: str) -> None:
    """Print what is compared on what."""
    print(f"{platform.processor() or platform.machine()}, {jax.devices()[0]}, Python", end=" ")
    print(platform.python_version(), end="")
    for package in ("jax", *packages):
        try:
            print(f", {package} {version(package)}", end="")
        except PackageNotFoundError:
            print(f", {package} not installed", end="")
    print()


def clocks() -> np.ndarray:
    """Wall and CPU seconds."""
    return np.array([time.perf_counter(), time.process_time()])


def paired(
    rivals: dict[str, Callable[[], Any]],
    rounds: int = 7,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Median seconds of each rival, all run in turn in every round.

    `clock` is time.process_time where CPU time is asked for.
    """
    return {name: float(np.median(t)) for name, t in each_round(rivals, rounds, clock).items()}


def each_round(
    rivals: dict[str, Callable[[], Any]], rounds: int, clock: Callable[[], Any] = clocks
) -> dict[str, np.ndarray]:
    """Seconds of each rival in each round, by one clock or several."""
    for run in rivals.values():
        jax.block_until_ready(run())
    seconds: dict[str, list[Any]] = {name: [] for name in rivals}
    for _ in range(rounds):
        for name, run in rivals.items():
            begin = clock()
            jax.block_until_ready(run())
            seconds[name].append(clock() - begin)
    return {name: np.array(times) for name, times in seconds.items()}
