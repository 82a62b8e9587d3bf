"""Components of mixed tables: every column, or set of columns, has a family of its own."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import ArrayLike, Bool, Float, Int

from gmm_jax._pytree import pytree, rebuild, set_fields, static
from gmm_jax.families import _split
from gmm_jax.families.kinds import embedded, seen
from gmm_jax.families.limits import Outline
from gmm_jax.families.parts import KindOf, Parts, PartStatistics

type Columns = int | tuple[int, ...]


@pytree
class Product(Parts):
    """k components of mixed tables: each feature, or set of features, has a family of its own.

    Args:
        parts: Families of k components each; given the component they are independent.
        columns: For each part its column, or the tuple of its columns; by default part i is for
            column i.

    Raises:
        ValueError: parts of different numbers of components, or columns that don't fit.

    `Product.of` says what to fit.

    Example:
        >>> from gmm_jax import Normal, Poisson, Product
        >>> Product([Normal([1.0, 2.0], [1.0, 1.0]), Poisson([3.0, 4.0])]).event_shape
        (2,)
    """

    parts: tuple[Any, ...]
    columns_of_parts: tuple[Columns, ...] = static(default=())

    def __post_init__(self) -> None:
        parts = tuple(self.parts)
        columns = self.columns_of_parts or tuple(range(len(parts)))
        _check_components(parts)
        _check_columns(columns, len(parts))
        set_fields(self, parts=parts, columns_of_parts=tuple(columns))

    @staticmethod
    def of(*families: Any) -> "ProductOf":
        """The kind of components with one family a column, in the order of the columns.

        A pair (family, columns) is for several columns together, such as
        `(MultivariateNormal, (0, 1))`; then every family needs its columns.

        Example:
            >>> from gmm_jax import Normal, Poisson, Product
            >>> Product.of(Normal, Normal, Poisson).columns
            (0, 1, 2)
        """
        pairs = [f if isinstance(f, tuple) else (f, i) for i, f in enumerate(families)]
        columns = tuple(c if isinstance(c, int) else tuple(c) for _, c in pairs)
        _check_columns(columns, len(pairs))
        return ProductOf(tuple(family for family, _ in pairs), columns)

    @property
    def n_components(self) -> int:
        return self.parts[0].n_components

    @property
    def event_shape(self) -> tuple[int, ...]:
        return (sum(np.size(c) for c in self.columns_of_parts),)

    @property
    def order(self) -> Float[Array | np.ndarray, "k"]:
        return self.parts[0].order

    @property
    def columns(self) -> dict[str, np.ndarray]:
        """Parameters by part and name, for tables."""
        return {
            f"parts[{i}].{name}": values
            for i, part in enumerate(self.parts)
            for name, values in part.columns.items()
        }

    def _split(self, data: Array) -> list[Array]:
        return [_take(data, columns) for columns in self.columns_of_parts]

    def log_prob(self, data: Float[Array, "n d"]) -> Float[Array, "n k"]:
        """Sum of the parts' log densities."""
        own = self._split(data)
        return sum(
            (part.log_prob(x) for part, x in zip(self.parts, own, strict=True)),
            start=jnp.zeros((), data.dtype),
        )

    def statistics(
        self, data: Float[Array, "n d"], responsibilities: Float[Array, "n k"]
    ) -> PartStatistics:
        """The statistics of every part."""
        own = zip(self.parts, self._split(data), strict=True)
        parts = tuple(part.statistics(x, responsibilities) for part, x in own)
        return PartStatistics(responsibilities.sum(0), parts)

    def within(self, lowest: Float[Array, "d"], highest: Float[Array, "d"]) -> "Product":
        """The same but for means beyond these ends, which are moved there."""
        ends = zip(self.parts, self._split(lowest), self._split(highest), strict=True)
        parts = tuple(p.within(*own) if hasattr(p, "within") else p for p, *own in ends)
        return rebuild(type(self), **(vars(self) | {"parts": parts}))

    def collapsed(self, floor: Float[Array, ""]) -> Bool[Array, "k"]:
        """A component has collapsed when one of its parts has."""
        return jnp.stack([part.collapsed(floor) for part in self.parts]).any(0)

    def sample(self, key: Array, assignments: Int[Array, "n"]) -> Float[Array, "n d"]:
        keys = jax.random.split(key, len(self.parts))
        drawn = [p.sample(k, assignments) for k, p in zip(keys, self.parts, strict=True)]
        return self._joined(drawn)

    def complete(
        self, key: Array, data: Float[Array, "n d"], assignments: Int[Array, "n"]
    ) -> Float[Array, "n d"]:
        """The data with what every part draws in place of the missing values."""
        own = zip(
            jax.random.split(key, len(self.parts)), self.parts, self._split(data), strict=True
        )
        return self._joined([part.complete(k, x, assignments) for k, part, x in own])

    def impute(
        self, data: Float[Array, "n d"], responsibilities: Float[Array, "n k"]
    ) -> Float[Array, "n d"]:
        """The data with what every part expects in place of the missing."""
        own = zip(self.parts, self._split(data), strict=True)
        return self._joined([part.impute(x, responsibilities) for part, x in own])

    def marginal(self, dims: Any) -> Any:
        """The components of some features; of a single number, one-dimensional ones."""
        chosen = _split.features(dims, *self.event_shape)
        own = {
            i: [place for place in _numbers(columns) if place in chosen]
            for i, columns in enumerate(self.columns_of_parts)
        }
        parts = {i: self._part(i, places) for i, places in own.items() if places}
        if np.ndim(dims) == 0:
            (part,) = parts.values()
            return part.marginal(0) if part.event_shape else part
        columns = tuple(
            chosen.index(own[i][0])
            if not part.event_shape
            else tuple(chosen.index(place) for place in own[i])
            for i, part in parts.items()
        )
        return rebuild(type(self), parts=tuple(parts.values()), columns_of_parts=columns)

    def condition(self, dims: Any, values: Any) -> tuple["Product", Float[Array, "k"]]:
        """The components of the other features, and the log density of the known `values`."""
        known = _split.features(dims, *self.event_shape, some_left=True)
        row = _split.as_row(values, len(known), self.order.dtype)
        rest = [j for j in range(self.event_shape[0]) if j not in known]
        left, log_prob = [], jnp.zeros(self.n_components, row.dtype)
        columns: list[Columns] = []
        for i, (part, group) in enumerate(zip(self.parts, self.columns_of_parts, strict=True)):
            places = _numbers(group)
            seen = [place for place in places if place in known]
            given = row[np.array([known.index(place) for place in seen], int)]
            unseen = tuple(rest.index(place) for place in places if place in rest)
            if not unseen:
                point = given if part.event_shape else given[0]
                log_prob = log_prob + self._part(i, seen).log_prob(point[None])[0]
                continue
            if seen:
                part, density = part.condition([places.index(place) for place in seen], given)
                log_prob = log_prob + density
            left.append(part)
            columns.append(unseen if part.event_shape else unseen[0])
        product = rebuild(type(self), parts=tuple(left), columns_of_parts=tuple(columns))
        return product, log_prob

    def _part(self, i: int, places: Sequence[int]) -> Any:
        """A part's components of some of its columns."""
        part, columns = self.parts[i], _numbers(self.columns_of_parts[i])
        if len(places) == len(columns):
            return part
        return part.marginal([columns.index(place) for place in places])

    def affine(self, shift: ArrayLike, scale: ArrayLike) -> "Product":
        d = self.event_shape[0]
        numpy: Any = jnp if isinstance(shift, Array) or isinstance(scale, Array) else np
        shifts, scales, _ = numpy.broadcast_arrays(shift, scale, numpy.zeros(d))
        moved = tuple(
            part.affine(_take(shifts[None], c)[0], _take(scales[None], c)[0])
            for part, c in zip(self.parts, self.columns_of_parts, strict=True)
        )
        return rebuild(type(self), parts=moved, columns_of_parts=self.columns_of_parts)

    def _joined(self, drawn: Sequence[Array]) -> Array:
        """Put the columns of the parts where they belong."""
        pairs = zip(drawn, self.columns_of_parts, strict=True)
        wide = [x if isinstance(c, tuple) else x[..., None] for x, c in pairs]
        places = np.concatenate([np.atleast_1d(c) for c in self.columns_of_parts])
        return jnp.concatenate(wide, -1)[..., np.argsort(places)]


@dataclass(frozen=True)
class ProductOf(KindOf):
    """The kind of `Product` with these families for these columns."""

    word: ClassVar[str] = "Product"

    families: tuple[Any, ...]
    columns: tuple[Columns, ...]

    @property
    def centred(self) -> np.ndarray:
        return self._by_column("centred")

    @property
    def scaled(self) -> np.ndarray:
        return self._by_column("scaled")

    def _by_column(self, name: str) -> np.ndarray:
        answers = np.zeros(sum(np.size(c) for c in self.columns), bool)
        for family, columns in zip(self.families, self.columns, strict=True):
            answers[np.asarray(columns)] = getattr(family, name)
        return answers

    def check(self, data: np.ndarray) -> None:
        """Let every family check its columns."""
        d = sum(np.size(c) for c in self.columns)
        if data.ndim != 2 or data.shape[1] != d:
            raise ValueError(f"data has shape {data.shape} but the families are for {d} columns.")
        for family, columns in zip(self.families, self.columns, strict=True):
            try:
                family.check(data[:, columns])
            except ValueError as error:
                raise ValueError(f"column {columns} of data: {error}") from None

    def seeing(self, data: np.ndarray) -> "ProductOf":
        """The kind that knows of the data what its families need."""
        pairs = zip(self.families, self.columns, strict=True)
        return ProductOf(tuple(seen(f, data[:, c]) for f, c in pairs), self.columns)

    def around(self, centres: Float[Array, "k d"], outline: Outline) -> Product:
        parts = tuple(
            family.around(
                _take(centres, c),
                outline._replace(
                    low=_take(outline.low[None], c)[0], high=_take(outline.high[None], c)[0]
                ),
            )
            for family, c in zip(self.families, self.columns, strict=True)
        )
        return rebuild(Product, parts=parts, columns_of_parts=self.columns)

    def embed(self, data: Float[Array, "n d"], share: Float[Array, "n d"]) -> Array:
        """Every family's columns as distances need them."""
        own = zip(self.families, self.columns, strict=True)
        rows = [embedded(f, _take(data, c), _take(share, c)) for f, c in own]
        return jnp.concatenate([r.reshape(data.shape[0], -1) for r in rows], 1)


def _take(data: Any, columns: Columns) -> Any:
    return data[..., columns] if isinstance(columns, int) else data[..., np.array(columns)]


def _numbers(columns: Columns) -> list[int]:
    return [columns] if isinstance(columns, int) else list(columns)


def _check_components(parts: tuple[Any, ...]) -> None:
    sizes = {part.n_components for part in parts}
    if len(sizes) != 1:
        raise ValueError(f"parts must have the same number of components, got {sorted(sizes)}.")


def _check_columns(columns: tuple[Columns, ...], n_parts: int) -> None:
    flat = [int(c) for group in columns for c in np.atleast_1d(group)]
    if len(columns) != n_parts or sorted(flat) != list(range(len(flat))):
        raise ValueError(
            f"columns must give every column of the data to one part, got {columns} for "
            f"{n_parts} parts."
        )
