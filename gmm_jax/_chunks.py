"""Data that come in chunks: read again and again, surveyed once, and cut into equal blocks."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from gmm_jax._data import Frame, as_points

type Chunk = tuple[np.ndarray, np.ndarray]


def as_chunks(chunks: Any) -> Callable[[], Iterator[Chunk]]:
    """A function that starts reading from the first chunk, each time it is called.

    Args:
        chunks: A list or another object that can be iterated over many times, or a function that
            returns a fresh iterator; of arrays, or of pairs (points, sample_weight).

    Raises:
        TypeError: a generator or iterator, which can be read only once.
    """
    if callable(chunks):
        make = chunks
    elif not hasattr(chunks, "__iter__"):
        raise TypeError(f"chunks must be iterable, got {type(chunks).__name__}.")
    elif hasattr(chunks, "__next__"):
        raise TypeError(
            "chunks can be read only once, but EM reads the data many times: pass the function "
            "that makes the generator, such as fit_chunks(read, ...) for fit_chunks(read(), ...)."
        )
    else:
        make = chunks.__iter__

    def read() -> Iterator[Chunk]:
        event = None
        for number, chunk in enumerate(make()):
            points, weight = _as_chunk(chunk, f"chunk {number}")
            event = points.shape[1:] if event is None else event
            if points.shape[1:] != event:
                raise ValueError(
                    f"chunk {number} has points of shape {points.shape[1:]} but those before have "
                    f"{event}: all chunks must have the same features."
                )
            yield points, weight

    return read


def _as_chunk(chunk: Any, name: str) -> Chunk:
    pair = isinstance(chunk, tuple)
    if pair and len(chunk) != 2:
        raise ValueError(f"{name} must be points, or (points, sample_weight), got {len(chunk)}.")
    points = as_points(chunk[0] if pair else chunk, name)
    if not pair or chunk[1] is None:
        return points, np.ones(len(points))
    weight = as_points(chunk[1], f"sample_weight of {name}").astype(np.float64)
    if weight.shape != (len(points),) or weight.min() < 0:
        raise ValueError(
            f"sample_weight of {name} must be {len(points)} numbers that are not negative."
        )
    return points, weight


class Survey(NamedTuple):
    """What one look at all data tells."""

    frame: Frame
    size: float
    """Sum of the sample weights."""
    sample: np.ndarray
    """Rows drawn at random without replacement, all if there are few."""
    sample_weight: np.ndarray
    high: np.ndarray
    """The largest value of each column."""


def survey(
    read: Callable[[], Iterator[Chunk]],
    family: Any,
    sample_size: int,
    generator: np.random.Generator,
) -> Survey:
    """Read all data once: their centre, their unit, and a sample of the rows of positive weight.

    Means and squares of chunks are merged in float64 [1].

    [1] Chan, Golub and LeVeque (1983), "Algorithms for computing the sample variance", eq. 2.1.
    """
    size, centre, squares, kept = 0.0, np.zeros(()), np.zeros(()), None
    high: Any = -np.inf
    for points, weight in read():
        used = weight > 0
        if not used.any():
            continue
        points, weight = points[used], weight[used]
        family.check(points)
        high = np.maximum(high, points.max(0))
        here = weight.sum()
        middle = points[0].astype(np.float64)
        mean = middle + (weight / here) @ (points - middle)
        size += here
        move = mean - centre
        squares = squares + weight @ (points - mean) ** 2
        squares = squares + move**2 * here * (size - here) / size
        centre = centre + move * here / size
        kept = _keep(kept, (points, weight, generator.random(len(points))), sample_size)
    if kept is None:
        raise ValueError("chunks hold no data: at least one point of positive weight is needed.")
    spread = np.sqrt(squares / size)
    constant = spread <= 8 * np.finfo(np.float64).eps * np.abs(centre)
    if np.any(constant & family.centred):
        raise ValueError(
            f"column {int(np.argmax(constant))} of the data is the same number throughout: no "
            f"scale can be estimated. Drop it."
        )
    unit = np.exp2(np.round(np.log2(np.where(constant, 1, spread))))
    frame = Frame(np.where(family.centred, centre, 0.0), np.where(family.scaled, unit, 1.0))
    return Survey(frame, size, kept[0], kept[1], high)


def _keep(kept: Any, new: tuple[np.ndarray, ...], most: int) -> tuple[np.ndarray, ...]:
    """The rows of lowest lot among those kept before and the new ones."""
    if kept is not None:
        near = new[2] < kept[2].max() if len(kept[2]) >= most else np.full(len(new[2]), True)
        new = tuple(np.concatenate([a, b[near]]) for a, b in zip(kept, new, strict=True))
    if len(new[2]) <= most:
        return new
    lowest = np.sort(np.argpartition(new[2], most)[:most])
    return tuple(a[lowest] for a in new)


def blocks(
    read: Callable[[], Iterator[Chunk]], frame: Frame, rows: int, dtype: Any
) -> Iterator[Chunk]:
    """All data in the frame, `rows` at a time whatever the chunks; the last block is filled up."""
    filled, data, weights = 0, np.empty(0), np.empty(0)
    for points, weight in read():
        taken = 0
        while taken < len(points):
            if filled == 0:
                # Rows that only fill up must be possible: they repeat one.
                first = (points[taken] - frame.centre) / frame.unit
                data = np.full((rows, *points.shape[1:]), first, dtype)
                weights = np.zeros(rows, dtype)
            n = min(rows - filled, len(points) - taken)
            part = points[taken : taken + n]
            data[filled : filled + n] = (part - frame.centre) / frame.unit
            weights[filled : filled + n] = weight[taken : taken + n]
            filled, taken = (filled + n) % rows, taken + n
            if filled == 0:
                yield data, weights
    if filled:
        yield data, weights
