"""Categorical components: one of c answers, or d independent such features."""

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import ArrayLike, Bool, Float, Int

from gmm_jax._checks import as_floats
from gmm_jax._numerics import categorical, safe_log
from gmm_jax._pytree import is_concrete, pytree, rebuild, set_fields
from gmm_jax.families.kinds import whole_numbers
from gmm_jax.families.limits import Limits, Outline
from gmm_jax.families.parametric import Parametric
from gmm_jax.families.separable import Sums, ratio

MOST_LEVELS = 10**5
"""More categories than anybody means, and fewer than fill the memory."""


@pytree
class Categorical(Parametric):
    """k distributions over the categories 0, 1, ... c - 1; features are independent.

    Args:
        probs: k rows of c probabilities that sum to one, or (k, d, c) for d features. A feature
            with fewer categories has probability 0 for the others.

    Raises:
        TypeError: not numbers.
        ValueError: rows that are not probabilities, a wrong shape.

    Example:
        >>> from gmm_jax import Categorical
        >>> Categorical(probs=[[0.2, 0.3, 0.5], [0.8, 0.1, 0.1]]).n_components
        2
    """

    probs: Float[Array, "k ... c"]

    centred: ClassVar[bool] = False
    scaled: ClassVar[bool] = False
    supports: ClassVar[dict[str, str]] = {"probs": "simplex"}

    def __post_init__(self) -> None:
        probs = as_floats("probs", self.probs)
        if probs.ndim not in (2, 3):
            raise ValueError(
                f"probs needs a row of c probabilities for each of k components, (k, c) or "
                f"(k, d, c), got shape {probs.shape}."
            )
        values = np.asarray(probs, np.float64) if is_concrete(probs) else np.ones((1, 1))
        if np.any(values < 0) or np.any(np.abs(values.sum(-1) - 1) > 1e-4):
            raise ValueError(f"probs must be shares that sum to 1, got {values.tolist()}.")
        set_fields(self, probs=probs)

    @property
    def event_shape(self) -> tuple[int, ...]:
        return self.probs.shape[1:-1]

    @property
    def order(self) -> Float[Array | np.ndarray, "k"]:
        return -self.probs.reshape(self.n_components, -1)[:, 0]

    @property
    def columns(self) -> dict[str, np.ndarray]:
        """Probabilities by name, for tables."""
        indices = np.ndindex(*self.probs.shape[1:])
        return {
            f"probs[{', '.join(map(str, i))}]": np.asarray(self.probs, np.float64)[:, *i]
            for i in indices
        }

    @classmethod
    def count_free(cls, limits: Limits) -> int:
        """How many numbers are free: of those that sum to one, one is not."""
        held = np.asarray(limits.held.probs)
        rows = (~held).sum(-1)
        return limits.sharing.distinct("probs", ~held) - limits.sharing.distinct("probs", rows > 0)

    @staticmethod
    def check(data: np.ndarray) -> None:
        """Accept whole numbers from 0."""
        whole_numbers(data, "Categorical components must be categories numbered")
        if np.nanmax(data) >= MOST_LEVELS:
            raise ValueError(
                f"data for Categorical components have at most {MOST_LEVELS} categories, got one "
                f"numbered {np.nanmax(data):g}: number them without gaps, as np.unique does with "
                f"return_inverse=True."
            )

    @classmethod
    def seeing(cls, data: np.ndarray) -> "Levels":
        """The kind of components that know as many categories as the data have."""
        return Levels(int(np.nanmax(data)) + 1)

    def log_prob(self, data: Float[Array, "n ..."]) -> Float[Array, "n k"]:
        """Log mass, summed over features that are not NaN; none for an unknown category."""
        hot = self._one_hot(data)
        terms = jnp.where(hot, safe_log(self.probs), 0).sum(-1)
        known = hot.any(-1) | jnp.isnan(data)[:, None]
        return jnp.where(known, terms, -jnp.inf).reshape(*terms.shape[:2], -1).sum(-1)

    def statistics(
        self, data: Float[Array, "n ..."], responsibilities: Float[Array, "n k"]
    ) -> Sums:
        """Sum responsibilities of every category; missing values count as expected."""
        missing = jnp.isnan(data)[:, None, ..., None]
        shares = responsibilities.reshape(responsibilities.shape + (1,) * data.ndim)
        ones = jnp.where(missing, self.probs, self._one_hot(data))
        return Sums(responsibilities.sum(0), ((shares * ones).sum(0),))

    def mode(self, statistics: Sums, limits: Limits) -> "Categorical":
        """Weighted shares, of what held probabilities leave."""
        pool, held = limits.sharing.pool, limits.held.probs
        ones = pool("probs", statistics.sums[0])
        free = jnp.where(held, 0, ones)
        left = 1 - jnp.where(held, self.probs, 0).sum(-1, keepdims=True)
        probs = left * ratio(free, free.sum(-1, keepdims=True) + 0 * free, self.probs)
        some = free.sum(-1, keepdims=True) > 0
        return rebuild(type(self), probs=jnp.where(held | ~some, self.probs, probs))

    def impute(
        self, data: Float[Array, "n ..."], responsibilities: Float[Array, "n k"]
    ) -> Float[Array, "n ..."]:
        """The data with the most probable category in place of the missing."""
        probs = jnp.tensordot(responsibilities, self.probs, 1)
        return jnp.where(jnp.isnan(data), jnp.argmax(probs, -1).astype(data.dtype), data)

    def collapsed(self, floor: Float[Array, ""]) -> Bool[Array, "k"]:
        """Never: a probability of 0 or 1 is a sound estimate."""
        return jnp.zeros(self.n_components, bool)

    def affine(self, shift: ArrayLike, scale: ArrayLike) -> "Categorical":
        return self

    def sample(self, key: Array, assignments: Int[Array, "n"]) -> Float[Array, "n ..."]:
        probs = self.probs[assignments]
        uniforms = jax.random.uniform(key, probs.shape[:-1], probs.dtype)
        return categorical(uniforms, safe_log(probs)).astype(probs.dtype)

    def _one_hot(self, data: Array) -> Array:
        return data[:, None, ..., None] == jnp.arange(self.probs.shape[-1])


@dataclass(frozen=True)
class Levels:
    """The kind of categorical components that know `n_levels` categories."""

    n_levels: int

    centred: ClassVar[bool] = False
    scaled: ClassVar[bool] = False

    @property
    def __name__(self) -> str:
        return f"Categorical with {self.n_levels} categories"

    def check(self, data: np.ndarray) -> None:
        """Accept whole numbers from 0, below the number of categories."""
        Categorical.check(data)
        if np.nanmax(data) >= self.n_levels:
            raise ValueError(
                f"data has category {int(np.nanmax(data))} but only {self.n_levels} categories, "
                f"numbered from 0, are known."
            )

    def count_free(self, limits: Limits) -> int:
        """How many numbers are free."""
        return Categorical.count_free(limits)

    def around(self, centres: Float[Array, "k ..."], outline: Outline) -> Categorical:
        """Half the probability on the category of the centre, the rest spread evenly."""
        hot = jnp.round(centres)[..., None] == jnp.arange(self.n_levels)
        return rebuild(Categorical, probs=0.5 * hot + 0.5 * _even(hot))

    def embed(self, data: Float[Array, "n ..."], share: Float[Array, "n ..."]) -> Array:
        """One column for each category, so that distances count differing answers."""
        return (jnp.round(data)[..., None] == jnp.arange(self.n_levels)).astype(data.dtype)


def _even(hot: Array) -> Array:
    """Even shares, and what the centre's category lacks where a centre has none."""
    known = hot.any(-1, keepdims=True)
    return jnp.where(known, 1.0, 2.0) / hot.shape[-1]
