"""The prior of mixed tables: every part of the components has a prior of its own."""

import functools
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import ArrayLike, Float

from gmm_jax._pytree import pytree, rebuild, set_fields, static
from gmm_jax.families import Product
from gmm_jax.families.limits import Limits
from gmm_jax.families.parts import PartStatistics
from gmm_jax.families.product import Columns, ProductOf
from gmm_jax.priors.components import ConjugatePrior


@pytree
class ProductPrior(ConjugatePrior):
    """Independent priors for the parts of `Product` components.

    Args:
        parts: A prior of components for each part.
        columns: For each part its column, or the tuple of its columns; by default part i is for
            column i.

    Raises:
        ValueError: columns that don't fit.

    Example:
        >>> from gmm_jax import GammaPoisson, MixturePrior, NormalInverseGamma, ProductPrior
        >>> parts = ProductPrior([NormalInverseGamma(0, 0.1, 2, 1), GammaPoisson(2, 0.5)])
        >>> sorted(MixturePrior(1, parts).sites(2, (2,)))
        ['parts[0].means', 'parts[0].variances', 'parts[1].rates', 'weights']
    """

    parts: tuple[Any, ...]
    columns: tuple[Columns, ...] = static(default=())

    supports: ClassVar[dict[str, str]] = {}

    def __post_init__(self) -> None:
        columns = tuple(self.columns) or tuple(range(len(self.parts)))
        pairs = zip(self.parts, columns, strict=True)
        kind = Product.of(*((part.family, own) for part, own in pairs))
        set_fields(self, parts=tuple(self.parts), columns=kind.columns)

    @property
    def family(self) -> ProductOf:
        return Product.of(*zip((part.family for part in self.parts), self.columns, strict=True))

    @property
    def exchangeable(self) -> bool:
        return all(part.exchangeable for part in self.parts)

    @property
    def conditional(self) -> bool:
        return all(part.conditional for part in self.parts)

    @property
    def conjugate(self) -> bool:
        return all(part.conjugate for part in self.parts)

    @property
    def hierarchical(self) -> bool:
        return any(part.hierarchical for part in self.parts)

    @property
    def typical_scale(self) -> np.ndarray:
        """Of k components, (k, d), when this is spread; 1 where a part has none."""
        scales = [np.asarray(getattr(part, "typical_scale", np.ones(1))) for part in self.parts]
        whole = np.ones((max(map(len, scales)), sum(np.size(c) for c in self.columns)))
        for own, columns in zip(scales, self.columns, strict=True):
            whole[:, np.asarray(columns)] = own
        return whole

    def spread(self, n_components: int, event_shape: tuple[int, ...] = ()) -> "ProductPrior":
        pairs = zip(self.parts, self.columns, strict=True)
        shapes = [(part, () if isinstance(c, int) else (len(c),)) for part, c in pairs]
        return self._with({"parts": tuple(part.spread(n_components, s) for part, s in shapes)})

    def sites(self) -> dict[str, Any]:
        return {
            f"parts[{i}].{name}": _within(i, site)
            for i, part in enumerate(self.parts)
            for name, site in part.sites().items()
        }

    def assemble(self, **values: Array) -> Product:
        parts = tuple(part.assemble(**_own(i, values)) for i, part in enumerate(self.parts))
        return rebuild(Product, parts=parts, columns_of_parts=self.columns)

    def values(self, components: Product) -> dict[str, Array]:
        return {
            f"parts[{i}].{name}": value
            for i, (prior, part) in enumerate(zip(self.parts, components.parts, strict=True))
            for name, value in prior.values(part).items()
        }

    def given(
        self, components: Product, statistics: PartStatistics, floor: Float[Array, ""]
    ) -> "ProductPrior":
        rows = zip(self.parts, components.parts, statistics.parts, strict=True)
        return self._with({"parts": tuple(p.given(own, s, floor) for p, own, s in rows)})

    def check_known(self, known: dict[str, np.ndarray]) -> None:
        for i, part in enumerate(self.parts):
            part.check_known(_own(i, known))

    def draw(
        self,
        key: Array,
        components: Product,
        statistics: PartStatistics,
        floor: Float[Array, ""],
        held: Product,
    ) -> Product:
        keys = jax.random.split(key, len(self.parts))
        rows = zip(self.parts, keys, components.parts, statistics.parts, held.parts, strict=True)
        drawn = tuple(p.draw(k, own, s, floor, h) for p, k, own, s, h in rows)
        return rebuild(Product, parts=drawn, columns_of_parts=self.columns)

    def sample(self, key: Array) -> Product:
        keys = jax.random.split(key, len(self.parts))
        drawn = tuple(part.sample(own) for part, own in zip(self.parts, keys, strict=True))
        return rebuild(Product, parts=drawn, columns_of_parts=self.columns)

    def redraw(self, key: Array, components: Product) -> Product:
        keys = jax.random.split(key, len(self.parts))
        rows = zip(self.parts, keys, components.parts, strict=True)
        drawn = tuple(part.redraw(own, now) for part, own, now in rows)
        return rebuild(Product, parts=drawn, columns_of_parts=self.columns)

    def log_prob(self, components: Product) -> Float[Array, "k"]:
        pairs = zip(self.parts, components.parts, strict=True)
        return functools.reduce(jnp.add, (part.log_prob(own) for part, own in pairs))

    def log_prob_matched(self, components: Product) -> Float[Array, "k k"]:
        pairs = zip(self.parts, components.parts, strict=True)
        return functools.reduce(jnp.add, (part.log_prob_matched(own) for part, own in pairs))

    def geometric_mean(self) -> tuple[Product, Float[Array, "k"]]:
        parts, log_masses = zip(*(part.geometric_mean() for part in self.parts), strict=True)
        whole = rebuild(Product, parts=parts, columns_of_parts=self.columns)
        return whole, functools.reduce(jnp.add, log_masses)

    def divergence(self, other: "ProductPrior") -> Float[Array, "k"]:
        pairs = zip(self.parts, other.parts, strict=True)
        return functools.reduce(jnp.add, (part.divergence(its) for part, its in pairs))

    def mode(self, components: Product, statistics: PartStatistics, limits: Limits) -> Product:
        rows = zip(self.parts, components.parts, statistics.parts, strict=True)
        modes = tuple(p.mode(own, s, limits.part(i)) for i, (p, own, s) in enumerate(rows))
        return rebuild(Product, parts=modes, columns_of_parts=self.columns)

    def refresh(self, key: Array, components: Product) -> "ProductPrior":
        keys = jax.random.split(key, len(self.parts))
        rows = zip(self.parts, keys, components.parts, strict=True)
        return self._with({"parts": tuple(p.refresh(k, own) for p, k, own in rows)})

    def improper(
        self,
        points: Float[np.ndarray, "n ..."],
        weight: Float[np.ndarray, "n"],
        known: dict[str, np.ndarray],
    ) -> str | None:
        for i, (part, columns) in enumerate(zip(self.parts, self.columns, strict=True)):
            problem = part.improper(points[:, np.asarray(columns)], weight, _own(i, known))
            if problem:
                return f"in column {columns} of data, {problem}"
        return None

    def affine(self, shift: ArrayLike, scale: ArrayLike) -> "ProductPrior":
        d = sum(np.size(c) for c in self.columns)
        shifts, scales = np.broadcast_to(shift, (d,)), np.broadcast_to(scale, (d,))
        moved = tuple(
            part.affine(shifts[np.asarray(c)], scales[np.asarray(c)])
            for part, c in zip(self.parts, self.columns, strict=True)
        )
        return self._with({"parts": moved})


def _own(i: int, values: dict[str, Any]) -> dict[str, Any]:
    prefix = f"parts[{i}]."
    return {n.removeprefix(prefix): a for n, a in values.items() if n.startswith(prefix)}


def _within(i: int, site: Any) -> Any:
    return (lambda values: site(_own(i, values))) if callable(site) else site
