"""Components from any distribution that can say its log density, fitted by Newton steps."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import ArrayLike, Bool, Float, Int

from gmm_jax._pytree import pytree, rebuild, static
from gmm_jax.families import _newton
from gmm_jax.families.kinds import blend
from gmm_jax.families.limits import Limits, Outline
from gmm_jax.families.parametric import Parametric

SAME = 1e-3
"""Shared parameters that are no further apart, relative to one plus their size, count as one."""


class Slopes(NamedTuple):
    """Weighted numbers of points, and the slope and curvature of their log density."""

    counts: Float[Array, "k"]
    gradient: Float[Array, "k ... p"]
    curvature: Float[Array, "k ... p p"]


@pytree
class Wrapped(Parametric):
    """k components of a distribution from elsewhere; `Wrapped.of` says what to fit.

    Args:
        parameters: An array by name, one entry per component (and feature).
        kind: Which distribution, from `Wrapped.of`.
    """

    parameters: dict[str, Array]
    kind: "WrappedOf" = static()

    @staticmethod
    def of(distribution: Any, **supports: str) -> "WrappedOf":
        """The kind of components with this distribution.

        Args:
            distribution: A NumPyro distribution class, whose parameters are known from it; or
                anything with `logpdf(x, *parameters)` such as a GenJAX distribution, or a function
                `log_density(x, *parameters)`; it must work on numbers under `jax.grad`.
            supports: Its parameters in order, each "real", "positive" or "unit". With the names
                `loc` and `scale` the data are centred and rescaled while fitting.

        Raises:
            TypeError: not a distribution, or one whose parameters are not said.
            ValueError: an unknown support.

        Example:
            >>> import jax.numpy as jnp
            >>> from gmm_jax import Wrapped
            >>> def laplace(x, loc, scale):
            ...     return -jnp.abs(x - loc) / scale - jnp.log(2 * scale)
            >>> Wrapped.of(laplace, loc="real", scale="positive").names
            ('loc', 'scale')
        """
        if not supports and hasattr(distribution, "arg_constraints"):
            supports = _supports_of(distribution)
        if not supports or not (callable(distribution) or hasattr(distribution, "logpdf")):
            raise TypeError(
                "distribution needs its parameters: write Wrapped.of(distribution, loc='real', "
                "scale='positive')."
            )
        unknown = set(supports.values()) - {"real", "positive", "unit"}
        if unknown:
            raise ValueError(f"supports must be 'real', 'positive' or 'unit', got {unknown}.")
        return WrappedOf(distribution, tuple(supports.items()))

    def log_prob(self, data: Float[Array, "n ..."]) -> Float[Array, "n k"]:
        """Log density, summed over features that are not NaN."""
        missing, points = _seen(data)
        terms = self.kind.log_density(points[:, None], self._stacked())
        terms = jnp.where(missing[:, None], 0, terms)
        return terms.reshape(*terms.shape[:2], -1).sum(-1)

    def statistics(
        self, data: Float[Array, "n ..."], responsibilities: Float[Array, "n k"]
    ) -> Slopes:
        """Sum responsibilities, and slopes and curvatures in unconstrained parameters."""
        missing, points = _seen(data)
        shares = responsibilities.reshape(responsibilities.shape + (1,) * (data.ndim - 1))
        shares = jnp.where(missing[:, None], 0, shares)

        def total(numbers):
            density = self.kind.log_density(points[:, None], self._constrained(numbers))
            return jnp.sum(jnp.where(shares > 0, shares * density, 0))

        numbers = self._numbers()
        slope = jax.grad(total)
        # Entries don't mix, so that each column of all Hessians is one derivative.
        directions = jnp.eye(numbers.shape[-1], dtype=numbers.dtype)

        def column(direction):
            along = jnp.broadcast_to(direction, numbers.shape)
            return jax.jvp(slope, (numbers,), (along,))[1]

        curvature = jnp.moveaxis(jax.vmap(column)(directions), 0, -1)
        return Slopes(responsibilities.sum(0), slope(numbers), curvature)

    def mode(self, statistics: Slopes, limits: Limits) -> "Wrapped":
        """One Newton step of bounded length, uphill whatever the curvature.

        It improves; the mode itself follows over the steps of EM. A parameter that components
        share is one variable of the step; values that differ, as in a start, become one first.
        """
        sharing, names = limits.sharing, self.kind.full_names
        held = jnp.stack(self._each(limits.held.parameters), -1)
        gradient = jnp.where(held, 0, statistics.gradient)
        both = held[..., :, None] | held[..., None, :]
        identity = jnp.eye(held.shape[-1], dtype=gradient.dtype)
        curvature = jnp.where(both, -identity, statistics.curvature)
        numbers = self._numbers()
        agreed = jnp.stack(
            [
                sharing.average(name, numbers[..., i]) if sharing.shares(name) else numbers[..., i]
                for i, name in enumerate(names)
            ],
            -1,
        )
        apart = jnp.any(jnp.abs(agreed - numbers) > SAME * (1 + jnp.abs(agreed)))
        move = _newton.step(gradient, curvature, agreed, sharing, names)
        moved = self._constrained(agreed + jnp.where(apart, 0, move))
        return self._unstacked(jnp.where(held, self._stacked(), moved))

    def impute(
        self, data: Float[Array, "n ..."], responsibilities: Float[Array, "n k"]
    ) -> Float[Array, "n ..."]:
        """The data with the expected values in place of the missing.

        Raises:
            TypeError: the distribution does not say its mean.
        """
        return blend(self.fill(data), responsibilities)

    def fill(self, data: Float[Array, "n ..."]) -> Float[Array, "n k ..."]:
        """The data as each component expects them where they are missing."""
        data = data[:, None]
        return jnp.where(jnp.isnan(data), self.kind.mean(self.parameters), data)

    def collapsed(self, floor: Float[Array, ""]) -> Bool[Array, "k"]:
        """A component has collapsed when its scale, if it has one, is below the floor."""
        if "scale" not in self.parameters:
            return jnp.zeros(self.n_components, bool)
        return (self.parameters["scale"] <= floor).reshape(self.n_components, -1).any(-1)

    def sample(self, key: Array, assignments: Int[Array, "n"]) -> Float[Array, "n ..."]:
        values = {name: self.parameters[name][assignments] for name in self.kind.names}
        return self.kind.sample(key, values)

    def affine(self, shift: ArrayLike, scale: ArrayLike) -> "Wrapped":
        if not self.kind.centred:
            return self
        moved = self.parameters | {
            "loc": shift + scale * self.parameters["loc"],
            "scale": scale * self.parameters["scale"],
        }
        return self._with(moved)

    def _described(self) -> dict[str, tuple[Any, str]]:
        return {name: (self.parameters[name], word) for name, word in self.kind.supports}

    def _with(self, values: dict[str, Any]) -> "Wrapped":
        return rebuild(Wrapped, parameters=values, kind=self.kind)

    def _each(self, values: dict[str, Any]) -> list[Any]:
        return [values[name] for name in self.kind.names]

    def _stacked(self) -> Array:
        """Parameters (k, ..., p)."""
        return jnp.stack(self._each(self.parameters), -1)

    def _numbers(self) -> Array:
        """The same as numbers that may take any value."""
        return jnp.stack(self._each(self.unconstrained().parameters), -1)

    def _unstacked(self, stacked: Array) -> "Wrapped":
        return self._with({name: stacked[..., i] for i, name in enumerate(self.kind.names)})

    def _constrained(self, numbers: Array) -> Array:
        return self._unstacked(numbers).constrained()._stacked()


@dataclass(frozen=True)
class WrappedOf:
    """The kind of components with a distribution from elsewhere."""

    distribution: Any
    supports: tuple[tuple[str, str], ...]

    @property
    def __name__(self) -> str:
        return f"Wrapped {getattr(self.distribution, '__name__', self.distribution)}"

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters, in order."""
        return tuple(name for name, _ in self.supports)

    @property
    def full_names(self) -> tuple[str, ...]:
        """What `fit` calls them."""
        return tuple(f"parameters['{name}']" for name in self.names)

    @property
    def centred(self) -> bool:
        return {"loc", "scale"} <= set(self.names)

    @property
    def scaled(self) -> bool:
        return self.centred

    def check(self, data: np.ndarray) -> None:
        """Accept any finite numbers: the density itself must say what is impossible."""

    def count_free(self, limits: Limits) -> int:
        """How many numbers are free."""
        held = limits.held.parameters
        pairs = zip(self.names, self.full_names, strict=True)
        return sum(limits.sharing.distinct(full, ~np.asarray(held[name])) for name, full in pairs)

    def around(self, centres: Float[Array, "k ..."], outline: Outline) -> Wrapped:
        """Locations at the centres, scales as wide as the outline says, the rest spread about 1."""
        ranks = jnp.argsort(jnp.argsort(centres, axis=0), axis=0) + 1
        apart = (ranks / (centres.shape[0] + 1)).astype(centres.dtype)
        starts = {"real": centres, "positive": 2 * apart, "unit": apart}
        given = {"loc": centres, "scale": jnp.full_like(centres, outline.spread)}
        values = {name: given.get(name, starts[support]) for name, support in self.supports}
        return rebuild(Wrapped, parameters=values, kind=self)

    def log_density(self, data: Array, stacked: Array) -> Array:
        """Log density of data (n, 1, ...) given parameters (k, ..., p), (n, k, ...)."""
        values = [stacked[..., i] for i in range(len(self.supports))]
        if hasattr(self.distribution, "arg_constraints"):
            return self.distribution(**dict(zip(self.names, values, strict=True))).log_prob(data)
        density: Callable[..., Array] = getattr(self.distribution, "logpdf", self.distribution)
        shape = jnp.broadcast_shapes(data.shape, values[0].shape)
        full = [jnp.broadcast_to(a, shape).ravel() for a in (data, *values)]
        return jax.vmap(density)(*full).reshape(shape)

    def mean(self, values: dict[str, Array]) -> Array:
        """Expected value for each entry of the parameters; NaN where there is none (Cauchy's).

        Raises:
            TypeError: the distribution does not say it.
        """
        unknown = TypeError(
            f"impute needs an expected value, which {self.__name__} does not give: wrap a "
            f"NumPyro distribution that has a mean, or drop the rows with missing values."
        )
        if not hasattr(self.distribution, "arg_constraints"):
            raise unknown
        try:
            return self.distribution(**values).mean
        except NotImplementedError:  # how NumPyro says that a distribution has no formula for it
            raise unknown from None

    def sample(self, key: Array, values: dict[str, Array]) -> Array:
        """Draw one point for each entry of the parameters.

        Raises:
            TypeError: the distribution cannot be sampled.
        """
        if hasattr(self.distribution, "arg_constraints"):
            return self.distribution(**values).sample(key)
        raise TypeError("sample needs a distribution that can be sampled, such as NumPyro's.")


def _supports_of(distribution: Any) -> dict[str, str]:
    """The parameters of a NumPyro distribution, from the constraints that it states."""
    words = {"real": "real", "positive": "positive", "unitinterval": "unit", "softplus": "positive"}
    found = {}
    for name, constraint in distribution.arg_constraints.items():
        kind = type(constraint).__name__.strip("_").lower()
        word = next((word for text, word in words.items() if kind.startswith(text)), None)
        if word is None and kind.startswith("greaterthan"):
            word = "positive"
        if word is None:
            raise TypeError(
                f"{distribution.__name__} has a parameter {name} that is {constraint}: wrap a "
                f"function of real, positive or unit parameters instead."
            )
        found[name] = word
    return found


def _seen(data: Array) -> tuple[Array, Array]:
    """What is missing, and the data with some possible value in its place."""
    missing = jnp.isnan(data)
    return missing, jnp.where(missing, jnp.nanmax(data, axis=0), data)
