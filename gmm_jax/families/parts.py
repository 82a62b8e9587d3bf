"""Components put together from families: over the columns of a table, or within one mixture."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import ArrayLike, Bool, Float, Int

from gmm_jax._pytree import pytree, rebuild, set_fields, static
from gmm_jax.families.kinds import embedded, seen
from gmm_jax.families.limits import Limits, Outline

type Columns = int | tuple[int, ...]


class PartStatistics(NamedTuple):
    """Weighted numbers of points, and the statistics of every part."""

    counts: Float[Array, "k"]
    parts: tuple[Any, ...]


class Parts:
    """What both ways of putting families together do part by part."""

    parts: tuple[Any, ...]

    centred: ClassVar[Any] = False
    scaled: ClassVar[Any] = False

    def _each(self, method: str, *arguments: Any) -> Any:
        changed = tuple(getattr(part, method)(*arguments) for part in self.parts)
        return rebuild(type(self), **(vars(self) | {"parts": changed}))

    def mode(self, statistics: PartStatistics, limits: Limits) -> Any:
        """The mode of every part."""
        modes = tuple(
            part.mode(own, limits.part(i))
            for i, (part, own) in enumerate(zip(self.parts, statistics.parts, strict=True))
        )
        return rebuild(type(self), **(vars(self) | {"parts": modes}))

    def unconstrained(self) -> Any:
        return self._each("unconstrained")

    def constrained(self) -> Any:
        return self._each("constrained")

    def incomplete(self) -> Any:
        """The same for points with missing entries (NaN)."""
        views = (getattr(part, "incomplete", lambda part=part: part)() for part in self.parts)
        return rebuild(type(self), **(vars(self) | {"parts": tuple(views)}))


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

    def collapsed(self, floor: Float[Array, ""]) -> Bool[Array, "k"]:
        """A component has collapsed when one of its parts has."""
        return jnp.stack([part.collapsed(floor) for part in self.parts]).any(0)

    def sample(self, key: Array, assignments: Int[Array, "n"]) -> Float[Array, "n d"]:
        keys = jax.random.split(key, len(self.parts))
        drawn = [p.sample(k, assignments) for k, p in zip(keys, self.parts, strict=True)]
        return self._joined(drawn)

    def impute(
        self, data: Float[Array, "n d"], responsibilities: Float[Array, "n k"]
    ) -> Float[Array, "n d"]:
        """The data with what every part expects in place of the missing."""
        own = zip(self.parts, self._split(data), strict=True)
        return self._joined([part.impute(x, responsibilities) for part, x in own])

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


@pytree
class Heterogeneous(Parts):
    """Components of different families in one mixture, such as normals and a uniform background.

    Args:
        parts: Families, each with one or more components; the mixture has all of them, in order.

    Raises:
        ValueError: parts for points of different shapes.

    `Heterogeneous.of` says what to fit.

    Example:
        >>> from gmm_jax import Heterogeneous, Normal, Uniform
        >>> Heterogeneous([Normal([1.0], [1.0]), Uniform([0.0], [9.0])]).n_components
        2
    """

    parts: tuple[Any, ...]

    def __post_init__(self) -> None:
        parts = tuple(self.parts)
        events = {part.event_shape for part in parts}
        if len(events) != 1:
            raise ValueError(f"parts must be for the same kind of points, got shapes {events}.")
        set_fields(self, parts=parts)

    @staticmethod
    def of(*families: Any) -> "HeterogeneousOf":
        """The kind of mixture with one component for each family; repeat those that repeat.

        Example:
            >>> from gmm_jax import Heterogeneous, Normal, Uniform
            >>> Heterogeneous.of(Normal, Normal, Uniform).n_components
            3
        """
        grouped: list[tuple[Any, int]] = []
        for family in families:
            if grouped and grouped[-1][0] == family:
                grouped[-1] = (family, grouped[-1][1] + 1)
            else:
                grouped.append((family, 1))
        return HeterogeneousOf(tuple(f for f, _ in grouped), tuple(n for _, n in grouped))

    @property
    def n_components(self) -> int:
        return sum(part.n_components for part in self.parts)

    @property
    def event_shape(self) -> tuple[int, ...]:
        return self.parts[0].event_shape

    @property
    def order(self) -> None:
        """Components of different families have their places."""

    @property
    def columns(self) -> dict[str, np.ndarray]:
        """Parameters by name, NaN for components that have no such parameter; for tables."""
        columns: dict[str, np.ndarray] = {}
        first = 0
        for part in self.parts:
            for name, values in part.columns.items():
                column = columns.setdefault(name, np.full(self.n_components, np.nan))
                column[first : first + part.n_components] = values
            first += part.n_components
        return columns

    def log_prob(self, data: Float[Array, "n ..."]) -> Float[Array, "n k"]:
        """The parts' log densities side by side."""
        return jnp.concatenate([part.log_prob(data) for part in self.parts], 1)

    def statistics(
        self, data: Float[Array, "n ..."], responsibilities: Float[Array, "n k"]
    ) -> PartStatistics:
        """The statistics of every part, from its own responsibilities."""
        shares = self._shares(responsibilities)
        parts = tuple(p.statistics(data, r) for p, r in zip(self.parts, shares, strict=True))
        return PartStatistics(responsibilities.sum(0), parts)

    def collapsed(self, floor: Float[Array, ""]) -> Bool[Array, "k"]:
        """Those that the parts say have collapsed."""
        return jnp.concatenate([part.collapsed(floor) for part in self.parts])

    def sample(self, key: Array, assignments: Int[Array, "n"]) -> Float[Array, "n ..."]:
        points: Any = jnp.zeros(())
        first = 0
        for part_key, part in zip(jax.random.split(key, len(self.parts)), self.parts, strict=True):
            own = assignments - first
            drawn = part.sample(part_key, jnp.clip(own, 0, part.n_components - 1))
            mine = (own >= 0) & (own < part.n_components)
            points = jnp.where(mine.reshape(-1, *(1,) * (drawn.ndim - 1)), drawn, points)
            first += part.n_components
        return points

    def impute(
        self, data: Float[Array, "n ..."], responsibilities: Float[Array, "n k"]
    ) -> Float[Array, "n ..."]:
        """The data with what all parts expect in place of the missing."""
        total: Any = jnp.zeros((), data.dtype)
        for part, shares in zip(self.parts, self._shares(responsibilities), strict=True):
            mass = shares.sum(1, keepdims=True)
            filled = part.impute(data, shares / jnp.where(mass > 0, mass, 1))
            total = total + mass.reshape(-1, *(1,) * (data.ndim - 1)) * filled
        return total

    def affine(self, shift: ArrayLike, scale: ArrayLike) -> "Heterogeneous":
        return self._each("affine", shift, scale)

    def _shares(self, responsibilities: Array) -> list[Array]:
        ends = np.cumsum([part.n_components for part in self.parts])[:-1]
        return jnp.split(responsibilities, ends, axis=1)


class KindOf:
    """What both kinds do family by family."""

    families: tuple[Any, ...]

    @property
    def __name__(self) -> str:
        names = ", ".join(family.__name__ for family in self.families)
        return f"{'Product' if isinstance(self, ProductOf) else 'Heterogeneous'} of {names}"

    def count_free(self, limits: Limits) -> int:
        """How many numbers are free."""
        return sum(f.count_free(limits.part(i)) for i, f in enumerate(self.families))


@dataclass(frozen=True)
class ProductOf(KindOf):
    """The kind of `Product` with these families for these columns."""

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


@dataclass(frozen=True)
class HeterogeneousOf(KindOf):
    """The kind of `Heterogeneous` with so many components of each family."""

    families: tuple[Any, ...]
    sizes: tuple[int, ...]

    @property
    def n_components(self) -> int:
        """k, all told."""
        return sum(self.sizes)

    @property
    def centred(self) -> bool:
        return all(np.all(family.centred) for family in self.families)

    @property
    def scaled(self) -> bool:
        return all(np.all(family.scaled) for family in self.families)

    def check(self, data: np.ndarray) -> None:
        """Accept what the first family accepts; others may be for a few points alone."""
        self.families[0].check(data)

    def seeing(self, data: np.ndarray) -> "HeterogeneousOf":
        """The kind that knows of the data what its families need."""
        return HeterogeneousOf(tuple(seen(f, data) for f in self.families), self.sizes)

    def around(self, centres: Float[Array, "k ..."], outline: Outline) -> Heterogeneous:
        own = jnp.split(centres, np.cumsum(self.sizes)[:-1])
        parts = tuple(f.around(c, outline) for f, c in zip(self.families, own, strict=True))
        return rebuild(Heterogeneous, parts=parts)


def _take(data: Any, columns: Columns) -> Any:
    return data[:, columns] if isinstance(columns, int) else data[:, np.array(columns)]


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
