"""Checks on words and numbers that people pass, each with a message that says what to do."""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np


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


def number(name: str, value: Any) -> float:
    """Check a number; words that spell one are none."""
    try:
        if not isinstance(value, str):
            return float(value)
    except (TypeError, ValueError):
        pass
    raise TypeError(f"{name} must be a number, got {value!r}.")


def not_negative(name: str, value: Any) -> float:
    """Check a number that is zero or more."""
    if not number(name, value) >= 0:
        raise ValueError(f"{name} must not be negative, got {value!r}.")
    return float(value)


def by_name(name: str, value: Any, example: str) -> Mapping[Any, Any]:
    """Check what is given by name of a parameter."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise TypeError(f"{name} must be a dict, as in {name}={example}, got {value!r}.")
    return value
