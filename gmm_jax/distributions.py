"""Distributions of whole parameters: one event, one scalar log density, checked support.

They are what priors are made of, and plain pytrees: `sample(key)` and `log_prob(value)` are pure.
Parameters with further leading axes are a batch of distributions, and one key samples them all
(one call of the random generator compiles several times faster than one per member). A value
outside the support has log density minus infinity.
"""

from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.special import gammaln
from jaxtyping import Float

from gmm_jax._numerics import log_gamma
from gmm_jax._pytree import pytree


@runtime_checkable
class Distribution(Protocol):
    """A distribution of one array."""

    def sample(self, key: Array) -> Array:
        """Draw one value."""
        ...

    def log_prob(self, value: Array) -> Float[Array, ""]:
        """Log density of the whole value."""
        ...


@pytree
class Dirichlet:
    """Dirichlet over k weights."""

    concentration: Float[Array, "... k"]

    def sample(self, key: Array) -> Float[Array, "... k"]:
        # In log space, since small concentrations give gamma draws that round to zero.
        return jax.nn.softmax(log_gamma(key, self.concentration), -1)

    def log_prob(self, value: Float[Array, "k"]) -> Float[Array, ""]:
        _same_shape(value, self.concentration)
        a = self.concentration
        on_simplex = jnp.all(value >= 0) & (jnp.abs(value.sum() - 1) < 1e-3)
        safe = jnp.where(value > 0, value, 1)
        # (a - 1) log w with 0 log 0 = 0, and the right infinity at the edge otherwise.
        edge = jnp.where(a > 1, -jnp.inf, jnp.where(a < 1, jnp.inf, 0))
        terms = jnp.where(value > 0, (a - 1) * jnp.log(safe), edge)
        density = terms.sum() + gammaln(a.sum()) - gammaln(a).sum()
        return jnp.where(on_simplex, density, -jnp.inf)


@pytree
class IndependentNormal:
    """Independent normals, one for each entry."""

    mean: Float[Array, "... k d"]
    scale: Float[Array, "... k d"]

    def sample(self, key: Array) -> Float[Array, "k ..."]:
        return self.mean + self.scale * jax.random.normal(key, self.mean.shape, self.mean.dtype)

    def log_prob(self, value: Float[Array, "k ..."]) -> Float[Array, ""]:
        return self.log_prob_each(value).sum()

    def log_prob_each(self, value: Float[Array, "k ..."]) -> Float[Array, "k ..."]:
        """Log density of every entry."""
        _same_shape(value, self.mean)
        standardised = (value - self.mean) / self.scale
        return -0.5 * standardised**2 - jnp.log(self.scale) - 0.5 * jnp.log(2 * jnp.pi)


@pytree
class IndependentGamma:
    """Independent gammas (shape and rate), one for each entry."""

    shape: Float[Array, "k ..."]
    rate: Float[Array, "k ..."]

    def sample(self, key: Array) -> Float[Array, "k ..."]:
        return jnp.exp(log_gamma(key, self.shape)) / self.rate

    def log_prob(self, value: Float[Array, "k ..."]) -> Float[Array, ""]:
        return self.log_prob_each(value).sum()

    def log_prob_each(self, value: Float[Array, "k ..."]) -> Float[Array, "k ..."]:
        """Log density of every entry; minus infinity at and below zero."""
        _same_shape(value, self.shape)
        safe = jnp.where(value > 0, value, 1)
        density = (
            self.shape * jnp.log(self.rate)
            + (self.shape - 1) * jnp.log(safe)
            - self.rate * safe
            - gammaln(self.shape)
        )
        return jnp.where(value > 0, density, -jnp.inf)


def _same_shape(value: Array, parameter: Array) -> None:
    if jnp.shape(value) != parameter.shape:
        raise ValueError(
            f"a value of shape {parameter.shape} was expected, got {jnp.shape(value)}."
        )
