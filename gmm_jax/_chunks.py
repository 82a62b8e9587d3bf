"""Data that come in chunks: read again and again, surveyed once, and cut into equal blocks."""

import functools
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from gmm_jax._data import Frame, as_points

type Chunk = tuple[np.ndarray, np.ndarray]

SLICE = 65_536
"""Rows that are read at once of an array that is not in chunks."""


def _slices(points: Any) -> Iterator[Any]:
    """Some rows of one array after the other."""
    return (points[i : i + SLICE] for i in range(0, len(points), SLICE))


def as_chunks(chunks: Any) -> Callable[[], Iterator[Chunk]]:
    """A function that starts reading from the first chunk, each time it is called.

    Args:
        chunks: A list or another object that can be iterated over many times, or a function that
            returns a fresh iterator; of arrays, or of pairs (points, sample_weight). One array of
            n points is cut into chunks here.

    Raises:
        TypeError: a generator or iterator, which can be read only once.
    """
    if callable(chunks):
        make = chunks
    elif getattr(chunks, "ndim", 0) in (1, 2):  # the points themselves, perhaps on disk
        make = functools.partial(_slices, chunks)
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
    points = as_points(chunk[0] if pair else chunk, name, missing=True)
    if not pair or chunk[1] is None:
        return points, np.ones(len(points))
    weight = as_points(chunk[1], f"sample_weight of {name}").astype(np.float64)
    if weight.shape != (len(points),) or weight.min() < 0:
        raise ValueError(
            f"sample_weight of {name} must be {len(points)} numbers that are not negative."
        )
    return points, weight


class Columns(NamedTuple):
    """What rows tell of each column; missing values (NaN) count for nothing."""

    seen: np.ndarray
    """Sum of the weights of what is not missing."""
    centre: np.ndarray
    squares: np.ndarray
    """Weighted sum of squared deviations from the centre."""
    low: np.ndarray
    high: np.ndarray
    """The least and the largest value, NaN where there are none."""

    @classmethod
    def of(cls, points: np.ndarray, weight: np.ndarray) -> "Columns":
        """Those of some rows, all of positive weight; in float64."""
        present = ~np.isnan(points)
        share = np.where(present, weight.reshape(-1, *(1,) * (points.ndim - 1)), 0)
        seen = share.sum(0)
        first = np.take_along_axis(points, np.argmax(present, 0)[None], 0)[0]
        middle = np.nan_to_num(first).astype(np.float64)
        shifted = np.where(present, points - middle, 0)
        centre = middle + (share * shifted).sum(0) / np.where(seen > 0, seen, 1)
        squares = (share * np.where(present, points - centre, 0) ** 2).sum(0)
        low, high = np.fmin.reduce(points, 0), np.fmax.reduce(points, 0)
        return cls(seen, centre, squares, low, high)

    def joined(self, other: "Columns") -> "Columns":
        """Those of these rows and others [1].

        [1] Chan, Golub and LeVeque (1983), "Algorithms for computing the sample variance", 2.1.
        """
        seen, move = self.seen + other.seen, other.centre - self.centre
        part = other.seen / np.where(seen > 0, seen, 1)
        squares = self.squares + other.squares + move**2 * self.seen * part
        low, high = np.fmin(self.low, other.low), np.fmax(self.high, other.high)
        return Columns(seen, self.centre + move * part, squares, low, high)

    def frame(self, family: Any, eps: float) -> Frame:
        """Centre and unit, as `Frame.of` finds them."""
        spread = np.sqrt(self.squares / np.where(self.seen > 0, self.seen, 1))
        constant = spread <= 8 * eps * np.abs(self.centre)
        unit = np.exp2(np.round(np.log2(np.where(constant, 1, spread))))
        return Frame(np.where(family.centred, self.centre, 0.0), np.where(family.scaled, unit, 1.0))


class Survey(NamedTuple):
    """What one look at all data tells."""

    columns: Columns
    frame: Frame
    size: float
    """Sum of the sample weights."""
    sample: np.ndarray
    """Rows drawn at random without replacement, all if there are few."""
    sample_weight: np.ndarray

    def log_volume(self, frame: Frame) -> float:
        """What `Frame.log_volume` sums to over all rows."""
        return float(np.sum(self.columns.seen * np.log(frame.unit)))

    def outline(self, most: int) -> tuple[np.ndarray, np.ndarray]:
        """The sample and its weights; unless it is all data, also the ends of every column.

        They stand in two rows more, with next to no weight.
        """
        if len(self.sample) < most:
            return self.sample, self.sample_weight
        ends = np.stack([self.columns.low, self.columns.high]).astype(self.sample.dtype)
        tiny = np.full(2, np.finfo(np.float32).tiny, np.float64)
        return np.concatenate([self.sample, ends]), np.concatenate([self.sample_weight, tiny])


def survey(
    read: Callable[[], Iterator[Chunk]],
    family: Any,
    sample_size: int,
    generator: np.random.Generator,
) -> Survey:
    """Read all data once: their centre, their unit, and a sample of the rows of positive weight.

    Raises:
        ValueError: values that no component of the family could have produced, no values at all.
    """
    size, columns, kept = 0.0, None, None
    for number, (points, weight) in enumerate(read()):
        used = weight > 0
        if not used.any():
            continue
        points, weight = points[used], weight[used]
        _check(family, points, number)
        here = Columns.of(points, weight)
        columns = here if columns is None else columns.joined(here)
        size += float(weight.sum())
        kept = _keep(kept, (points, weight, generator.random(len(points))), sample_size)
    if kept is None or columns is None:
        raise ValueError("chunks hold no data: at least one point of positive weight is needed.")
    frame = columns.frame(family, float(np.finfo(kept[0].dtype).eps))
    return Survey(columns, frame, size, kept[0], kept[1])


def _check(family: Any, points: np.ndarray, number: int) -> None:
    """Let the family check the values of a chunk, and say of which."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a column may lack values here
        try:
            family.check(points)
        except ValueError as error:
            raise ValueError(f"chunk {number}: {error}") from None


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
