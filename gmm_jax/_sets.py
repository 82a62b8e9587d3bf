"""Many data sets: checked, end to end in one array, and padded to equal lengths."""

from collections.abc import Callable, Container, Iterator
from typing import Any, NamedTuple

import numpy as np

from gmm_jax._data import Frame, as_points

BLOCK = 256
"""So many sets are centred and scaled at a time: what a processor's cache holds."""


class Sets(NamedTuple):
    """s data sets, one after the other."""

    points: np.ndarray
    """All points, (N,) or (N, d)."""
    sample_weight: np.ndarray
    """(N,), float64."""
    ends: np.ndarray
    """Set i ends before row ends[i]."""

    @property
    def n_sets(self) -> int:
        """s, how many sets there are."""
        return len(self.ends)

    @property
    def event(self) -> tuple[int, ...]:
        """Shape of one point."""
        return self.points.shape[1:]

    @property
    def begins(self) -> np.ndarray:
        """Where each set begins."""
        return np.concatenate([[0], self.ends[:-1]])

    def rows(self, i: int) -> slice:
        """The rows of set i."""
        return slice(int(self.begins[i]), int(self.ends[i]))

    @property
    def _usable(self) -> np.ndarray:
        """The first row of each set that counts, to fill up with."""
        rows = np.where(self.sample_weight > 0, np.arange(len(self.points)), len(self.points) - 1)
        return np.minimum.reduceat(rows, self.begins)

    def sizes(self) -> np.ndarray:
        """Sum of the sample weights of each set."""
        return np.add.reduceat(self.sample_weight, self.begins)

    def groups(
        self, round_up: Callable[[int], int]
    ) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Yield indices of sets of similar length, their points and weights filled up with 0."""
        begins = self.begins
        lengths = self.ends - begins
        distinct, which = np.unique(lengths, return_inverse=True)
        rows = np.array([round_up(int(length)) for length in distinct])[which]
        for n in np.unique(rows):
            members = np.flatnonzero(rows == n)
            real = np.arange(n) < lengths[members, None]
            index = np.where(
                real, begins[members, None] + np.arange(n), self._usable[members, None]
            )
            # Much faster than indexing, where points have several features.
            yield members, np.take(self.points, index, 0), self.sample_weight[index] * real

    def log_volumes(self, frame: Frame) -> np.ndarray:
        """`Frame.log_volume` summed over the points of each set."""
        logs = np.log(frame.unit)
        if not np.isnan(self.points).any():
            return self.sizes() * logs.reshape(self.n_sets, -1).sum(1)
        seen = ~np.isnan(self.points).reshape(len(self.points), -1)
        counts = np.add.reduceat(self.sample_weight[:, None] * seen, self.begins)
        return (counts * logs.reshape(self.n_sets, -1)).sum(1)

    def check_enough(self, k: int) -> None:
        """Raise ValueError, with the index of the set, where EM has no sensible answer."""
        counts = np.add.reduceat((self.sample_weight > 0).astype(int), self.begins)
        if counts.min() < k:
            i = int(np.argmax(counts < k))
            raise ValueError(
                f"n_components is {k} but data_sets[{i}] has {counts[i]} points: maximum "
                f"likelihood needs at least as many. Ask for fewer, or leave that set out."
            )

    def check(self, family: Any) -> None:
        """Raise ValueError, with the index of the set, where the family cannot explain a point."""
        used = self.sample_weight > 0
        try:
            family.check(self.points[used])
        except ValueError as error:
            for i in range(self.n_sets):
                rows = self.rows(i)
                try:
                    family.check(self.points[rows][used[rows]])
                except ValueError as exact:
                    raise ValueError(f"data_sets[{i}]: {exact}") from error
            raise


def as_sets(data_sets: Any, sample_weight: Any = None) -> Sets:
    """Check data sets, given as a list or as an array (s, n) or (s, n, d), and their weights.

    Raises:
        TypeError: not numbers.
        ValueError: no set, an empty set, different numbers of features, NaN, wrong weights.
    """
    points, lengths = _concatenated(data_sets, "data_sets")
    if sample_weight is None:
        weight = np.ones(len(points))
    else:
        weight, weight_lengths = _concatenated(sample_weight, "sample_weight")
        if weight.ndim != 1 or not np.array_equal(weight_lengths, lengths):
            raise ValueError(
                f"sample_weight must have one number for each point of each of {len(lengths)} "
                f"data sets: give them in the same shape."
            )
        weight = weight.astype(np.float64)
    sets = Sets(points, weight, np.cumsum(lengths))
    if weight.min() < 0 or sets.sizes().min() <= 0:
        at = int(np.searchsorted(sets.ends, np.argmin(weight), "right"))
        at = at if weight.min() < 0 else int(np.argmin(sets.sizes()))
        raise ValueError(f"sample_weight[{at}] must not be negative, and not all of it zero.")
    return sets


def _concatenated(value: Any, name: str) -> tuple[np.ndarray, np.ndarray]:
    """All rows end to end, and the length of each set."""
    if isinstance(value, np.ndarray) and value.dtype != object:
        if value.ndim not in (2, 3) or value.size == 0:
            raise ValueError(
                f"{name} must be an array (sets, points) or (sets, points, features), or a list "
                f"of data sets; got shape {value.shape}. For one data set use fit."
            )
        rows = value.reshape(-1, *value.shape[2:])
        lengths = np.full(value.shape[0], value.shape[1])
    else:
        try:
            parts = [np.asarray(part) for part in value]
        except (TypeError, ValueError) as error:
            raise TypeError(f"{name} must be a list of data sets: {error}") from error
        rows, lengths = _joined(parts, name)
    try:
        return as_points(rows, name, missing=True), lengths
    except ValueError:
        ends = np.cumsum(lengths)
        for i, end in enumerate(ends):
            as_points(rows[end - lengths[i] : end], f"{name}[{i}]", missing=True)
        raise


def _joined(parts: list[np.ndarray], name: str) -> tuple[np.ndarray, np.ndarray]:
    if not parts:
        raise ValueError(f"{name} is empty: at least one data set is needed.")
    event = parts[0].shape[1:]
    for i, part in enumerate(parts):
        if part.ndim not in (1, 2) or part.size == 0:
            raise ValueError(
                f"{name}[{i}] has shape {part.shape}: each data set must be n numbers or n rows "
                f"of features, and not empty."
            )
        if part.shape[1:] != event:
            raise ValueError(
                f"{name}[{i}] has points of shape {part.shape[1:]} but {name}[0] of {event}: all "
                f"sets must have the same features."
            )
    return np.concatenate(parts), np.array([len(part) for part in parts])


def framed(
    members: np.ndarray,
    points: np.ndarray,
    sample_weight: np.ndarray,
    family: Any,
    one_unit: bool = False,
    known: Container[str] = (),
) -> tuple[Frame, np.ndarray]:
    """Centre and scale each of s sets, as `Frame.of` does with one.

    Args:
        members: Indices of the sets.
        points: (s, n) or (s, n, d); NaN where a value is missing.
        sample_weight: (s, n).
        family: Says what may be centred and scaled.
        one_unit: Whether all features of a set share a unit.
        known: Names of parameters that are not estimated.

    Returns:
        The centres and units, (s,) or (s, d), and the data in them, (s, d, n).

    Raises:
        ValueError: a column of a set has no values, or all are equal though its scale is not
            among the `known` parameters; the message names the set's index in `members`.
    """
    parts = [
        _framed(members[rows], points[rows], sample_weight[rows], family, one_unit, known)
        for rows in (slice(i, i + BLOCK) for i in range(0, len(members), BLOCK))
    ]
    frames, inside = zip(*parts, strict=True)
    centres, units = zip(*frames, strict=True)
    return Frame(np.concatenate(centres), np.concatenate(units)), np.concatenate(inside)


def _framed(
    members: np.ndarray,
    points: np.ndarray,
    sample_weight: np.ndarray,
    family: Any,
    one_unit: bool,
    known: Container[str],
) -> tuple[Frame, np.ndarray]:
    s, n, *event = points.shape
    # Points on the last axis, where NumPy's reductions are fast.
    given = np.ascontiguousarray(np.swapaxes(points.reshape(s, n, -1), 1, 2), np.float64)
    centred, scaled = np.asarray(family.centred), np.asarray(family.scaled)
    missing = np.isnan(given)
    seen = (sample_weight > 0)[:, None]
    if missing.any():
        seen = seen & ~missing
        empty = ~seen.any(-1)
        if empty.any():
            where = _named(members, empty, event)
            raise ValueError(f"{where} has no values, only NaN: leave that set out.")
    if not np.any(centred | scaled):
        return Frame(np.zeros((s, *event)), np.ones((s, *event))), given
    share = np.where(seen, sample_weight[:, None], 0)
    share /= share.sum(-1, keepdims=True)
    middle = np.take_along_axis(given, np.argmax(seen, -1)[:, :, None], 2)
    flat = np.where(seen, given - middle, 0)
    move = _weighed(flat, share)
    flat -= move
    flat *= seen
    largest = np.maximum(flat.max(-1, keepdims=True), -flat.min(-1, keepdims=True))
    constant = (largest == 0) & centred.reshape(-1, 1)
    if constant.any() and "scales" not in known:
        value = middle[constant][0]
        raise ValueError(
            f"{_named(members, constant[..., 0], event)} is the same number throughout, "
            f"{value:g}: no scale can be estimated. Leave that set out."
        )
    largest = np.where(largest > 0, largest, 1)
    spread = np.sqrt(_weighed((flat / largest) ** 2, share)) * largest
    constant = spread <= 8 * np.finfo(points.dtype).eps * np.abs(middle + move)
    unit = np.exp2(np.round(np.log2(np.where(constant, 1, spread))))
    if one_unit:
        unit = np.broadcast_to(unit.max(1, keepdims=True), unit.shape)
    unit = np.where(scaled.reshape(-1, 1), unit, 1)
    centre = np.where(centred.reshape(-1, 1), middle + move, 0)
    # Differences from a point of the set lose no digits, however far from zero it lies.
    inside = np.where(centred.reshape(-1, 1), given - middle - move, given) / unit
    return Frame(centre.reshape(s, *event), unit.reshape(s, *event)), inside


def _weighed(values: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Weighted means along the last axis, which stays."""
    return np.einsum("sdn,sdn->sd", values, np.broadcast_to(share, values.shape))[:, :, None]


def _named(members: np.ndarray, where: np.ndarray, event: list[int]) -> str:
    """The first column, of those (s, d) that are true, in words."""
    i, j = np.argwhere(where)[0]
    name = f"data_sets[{members[i]}]"
    return f"column {j} of {name}" if event else name
