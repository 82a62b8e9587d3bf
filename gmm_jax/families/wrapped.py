"""Components from any distribution that can say its log density, fitted by Newton steps."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import ArrayLike, Bool, Float, Int

from gmm_jax._pytree import columns_of, pytree, rebuild, static
from gmm_jax.families.limits import Limits, Outline
from gmm_jax.families.parametric import CHANGES

REACH = 0.5
"""Longest step, relative to one plus the size of the parameters."""


class Slopes(NamedTuple):
    """Weighted numbers of points, and the slope and curvature of their log density."""

    counts: Float[Array, "k"]
    gradient: Float[Array, "k ... p"]
    curvature: Float[Array, "k ... p p"]


@pytree
class Wrapped:
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
                log_density(x, *parameters); it must work on numbers under `jax.grad`.
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

    @property
    def _leading(self) -> Any:
        return self.parameters[self.kind.names[0]]

    @property
    def n_components(self) -> int:
        return self._leading.shape[0]

    @property
    def event_shape(self) -> tuple[int, ...]:
        return self._leading.shape[1:]

    @property
    def order(self) -> Float[Array | np.ndarray, "k"]:
        return self._leading.reshape(self.n_components, -1)[:, 0]

    @property
    def columns(self) -> dict[str, np.ndarray]:
        """Parameters by name, for tables."""
        return columns_of(**{name: self.parameters[name] for name in self.kind.names})

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
            density = self.kind.log_density(points[:, None], self._changed(numbers, 1))
            return jnp.sum(jnp.where(shares > 0, shares * density, 0))

        numbers = self._changed(self._stacked(), 0)
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

        It improves; the mode itself follows over the steps of EM.
        """
        numbers = self._changed(self._stacked(), 0)
        gradient, curvature = statistics.gradient, statistics.curvature
        held = jnp.stack([limits.held.parameters[name] for name in self.kind.names], -1)
        pooled = [limits.sharing.shares(f"parameters['{name}']") for name in self.kind.names]
        if any(pooled):
            raise ValueError("shared parameters are not for wrapped distributions.")
        gradient = jnp.where(held, 0, gradient)
        both = held[..., :, None] | held[..., None, :]
        identity = jnp.eye(held.shape[-1], dtype=gradient.dtype)
        curvature = jnp.where(both, -identity, curvature)
        values, vectors = jnp.linalg.eigh(-(curvature + jnp.swapaxes(curvature, -1, -2)) / 2)
        least = 1e-3 * jnp.abs(values).max(-1, keepdims=True) + jnp.finfo(gradient.dtype).tiny
        values = jnp.maximum(jnp.abs(values), least)
        along = jnp.einsum("...ji,...j->...i", vectors, gradient) / values
        step = jnp.einsum("...ij,...j->...i", vectors, along)
        length = jnp.linalg.norm(step, axis=-1, keepdims=True)
        longest = REACH * (1 + jnp.linalg.norm(numbers, axis=-1, keepdims=True))
        step = step * jnp.minimum(1, longest / jnp.maximum(length, 1e-30))
        moved = self._changed(numbers + jnp.where(held, 0, step), 1)
        moved = jnp.where(held, self._stacked(), moved)
        return self._with(moved)

    def impute(
        self, data: Float[Array, "n ..."], responsibilities: Float[Array, "n k"]
    ) -> Float[Array, "n ..."]:
        """Not possible: the mean of the distribution is not known.

        Raises:
            TypeError: always.
        """
        raise TypeError("impute is not for wrapped distributions, whose means are not known.")

    def unconstrained(self) -> "Wrapped":
        return self._with(self._changed(self._stacked(), 0))

    def constrained(self) -> "Wrapped":
        return self._with(self._changed(self._stacked(), 1))

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
        return rebuild(Wrapped, parameters=moved, kind=self.kind)

    def _stacked(self) -> Array:
        return jnp.stack([self.parameters[name] for name in self.kind.names], -1)

    def _changed(self, stacked: Array, direction: int) -> Array:
        each = [
            CHANGES[support][direction](stacked[..., i])
            for i, (_, support) in enumerate(self.kind.supports)
        ]
        return jnp.stack(each, -1)

    def _with(self, stacked: Array) -> "Wrapped":
        values = {name: stacked[..., i] for i, name in enumerate(self.kind.names)}
        return rebuild(Wrapped, parameters=values, kind=self.kind)


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
    def centred(self) -> bool:
        return {"loc", "scale"} <= set(self.names)

    @property
    def scaled(self) -> bool:
        return self.centred

    def check(self, data: np.ndarray) -> None:
        """Accept any finite numbers: the density itself must say what is impossible."""

    def count_free(self, limits: Limits) -> int:
        """How many numbers are free."""
        return sum(int((~np.asarray(a)).sum()) for a in limits.held.parameters.values())

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
