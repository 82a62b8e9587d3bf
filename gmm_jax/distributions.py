"""Distributions of whole parameters: one event, one scalar log density, checked support.

They are what priors are made of, and plain pytrees: `sample(key)` and `log_prob(value)` are pure;
`support` says in a word of `transforms.TRANSFORMS` what their values may be.
Parameters with further leading axes are a batch of distributions, and one key samples them all
(one call of the random generator compiles several times faster than one per member). A value
outside the support has log density minus infinity.
"""

from collections.abc import Callable
from typing import Any, ClassVar, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.special import gammaincc, gammaln, xlog1py, xlogy
from jaxtyping import Float

from gmm_jax._numerics import log_gamma, triangle, triangle_inverse
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


class Independent:
    """Several distributions at once, independent of each other."""

    log_prob_each: Callable[[Any], Array]

    def log_prob(self, value: Array) -> Float[Array, ""]:
        """Log density of the whole value."""
        return self.log_prob_each(value).sum()


@pytree
class Dirichlet(Independent):
    """Dirichlets over the last axis."""

    concentration: Float[Array, "... k"]

    support: ClassVar[str] = "simplex"

    def sample(self, key: Array) -> Float[Array, "... k"]:
        # In log space, since small concentrations give gamma draws that round to zero.
        return jax.nn.softmax(log_gamma(key, self.concentration), -1)

    def log_prob_each(self, value: Float[Array, "... k"]) -> Float[Array, "..."]:
        """Log density of every row; minus infinity for rows that are no shares."""
        _same_shape(value, self.concentration)
        a = self.concentration
        on_simplex = jnp.all(value >= 0, -1) & (jnp.abs(value.sum(-1) - 1) < 1e-3)
        safe = jnp.where(value > 0, value, 1)
        # (a - 1) log w with 0 log 0 = 0, and the right infinity at the edge otherwise.
        edge = jnp.where(a > 1, -jnp.inf, jnp.where(a < 1, jnp.inf, 0))
        terms = jnp.where(value > 0, (a - 1) * jnp.log(safe), edge)
        density = terms.sum(-1) + gammaln(a.sum(-1)) - gammaln(a).sum(-1)
        return jnp.where(on_simplex, density, -jnp.inf)


@pytree
class IndependentNormal(Independent):
    """Independent normals, one for each entry."""

    mean: Float[Array, "... k d"]
    scale: Float[Array, "... k d"]

    support: ClassVar[str] = "real"

    def sample(self, key: Array) -> Float[Array, "k ..."]:
        return self.mean + self.scale * jax.random.normal(key, self.mean.shape, self.mean.dtype)

    def log_prob_each(self, value: Float[Array, "k ..."]) -> Float[Array, "k ..."]:
        """Log density of every entry."""
        _same_shape(value, self.mean)
        standardised = (value - self.mean) / self.scale
        return -0.5 * standardised**2 - jnp.log(self.scale) - 0.5 * jnp.log(2 * jnp.pi)


@pytree
class IndependentGamma(Independent):
    """Independent gammas (shape and rate), one for each entry."""

    shape: Float[Array, "k ..."]
    rate: Float[Array, "k ..."]

    support: ClassVar[str] = "positive"

    def sample(self, key: Array) -> Float[Array, "k ..."]:
        return jnp.exp(log_gamma(key, self.shape)) / self.rate

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


@pytree
class IndependentGammaAbove(Independent):
    """Independent gammas (shape and rate) of which the part above `least` is left."""

    shape: Float[Array, "k ..."]
    rate: Float[Array, "k ..."]
    least: Float[Array, "k ..."]

    support: ClassVar[str] = "positive"

    def sample(self, key: Array) -> Float[Array, "k ..."]:
        """Invert the share of the gamma that lies above, by bisection."""
        dtype = self.shape.dtype
        share = 1 - jax.random.uniform(key, self.shape.shape, dtype)  # above 0
        low = self.rate * self.least
        share = share * gammaincc(self.shape, low)
        high = low + self.shape + 12 * jnp.sqrt(self.shape) + 60

        def halve(_, ends):
            low, high = ends
            middle = (low + high) / 2
            above = gammaincc(self.shape, middle) > share
            return jnp.where(above, middle, low), jnp.where(above, high, middle)

        low, high = jax.lax.fori_loop(0, jnp.finfo(dtype).nmant + 8, halve, (low, high))
        return jnp.maximum((low + high) / 2 / self.rate, self.least)

    def log_prob_each(self, value: Float[Array, "k ..."]) -> Float[Array, "k ..."]:
        """Log density of every entry; minus infinity below the least."""
        whole = IndependentGamma(self.shape, self.rate).log_prob_each(value)
        share = jnp.log(gammaincc(self.shape, self.rate * self.least))
        return jnp.where(value >= self.least, whole - share, -jnp.inf)


@pytree
class IndependentInverseGamma(Independent):
    """Independent inverse gammas (shape and rate): one over a gamma, one for each entry."""

    shape: Float[Array, "k ..."]
    rate: Float[Array, "k ..."]

    support: ClassVar[str] = "positive"

    def sample(self, key: Array) -> Float[Array, "k ..."]:
        return self.rate * jnp.exp(-log_gamma(key, self.shape))

    def log_prob_each(self, value: Float[Array, "k ..."]) -> Float[Array, "k ..."]:
        """Log density of every entry; minus infinity at and below zero."""
        _same_shape(value, self.shape)
        safe = jnp.where(value > 0, value, 1)
        density = (
            self.shape * jnp.log(self.rate)
            - (self.shape + 1) * jnp.log(safe)
            - self.rate / safe
            - gammaln(self.shape)
        )
        return jnp.where(value > 0, density, -jnp.inf)


@pytree
class IndependentBeta(Independent):
    """Independent betas, one for each entry."""

    a: Float[Array, "k ..."]
    b: Float[Array, "k ..."]

    support: ClassVar[str] = "unit"

    def sample(self, key: Array) -> Float[Array, "k ..."]:
        logs = log_gamma(key, jnp.stack([self.a, self.b]))
        return jax.nn.sigmoid(logs[0] - logs[1])

    def log_prob_each(self, value: Float[Array, "k ..."]) -> Float[Array, "k ..."]:
        """Log density of every entry; minus infinity outside of 0 to 1."""
        _same_shape(value, self.a)
        inside = (value >= 0) & (value <= 1)
        safe = jnp.where(inside, value, 0.5)
        constant = gammaln(self.a + self.b) - gammaln(self.a) - gammaln(self.b)
        density = xlogy(self.a - 1, safe) + xlog1py(self.b - 1, -safe) + constant
        return jnp.where(inside, density, -jnp.inf)


@pytree
class MultivariateNormals(Independent):
    """Independent multivariate normals, given by lower triangles of their covariances."""

    mean: Float[Array, "... k d"]
    scale_tril: Float[Array, "... k d d"]

    support: ClassVar[str] = "real"

    def sample(self, key: Array) -> Float[Array, "... k d"]:
        normals = jax.random.normal(key, self.mean.shape, self.mean.dtype)
        return self.mean + (self.scale_tril @ normals[..., None])[..., 0]

    def log_prob_each(self, value: Float[Array, "k d"]) -> Float[Array, "k"]:
        """Log density of every row."""
        _same_shape(value, self.mean)
        off = triangle_inverse(self.scale_tril) @ (value - self.mean)[..., None]
        d = self.mean.shape[-1]
        squared = (off[..., 0] ** 2).sum(-1)
        return -0.5 * squared - log_diagonal(self.scale_tril) - 0.5 * d * jnp.log(2 * jnp.pi)


@pytree
class InverseWishart(Independent):
    """Independent inverse Wisharts over covariances, with mean scale_matrix / (df - d - 1)."""

    df: Float[Array, "... k"]
    scale_matrix: Float[Array, "... k d d"]

    support: ClassVar[str] = "covariance"

    def sample(self, key: Array) -> Float[Array, "... k d d"]:
        trils = self.sample_trils(key)
        return trils @ jnp.swapaxes(trils, -1, -2)

    def sample_trils(self, key: Array) -> Float[Array, "... k d d"]:
        """Lower triangles of the draws, which a draw itself may be too flat to have in rounding.

        By Bartlett's decomposition [1] in reverse order, B B' with an upper triangle B is a Wishart
        matrix. With C C' the scale matrix, C (B B')^-1 C' is a draw, and C (B')^-1 its triangle.

        [1] Smith and Hocking (1972), "Wishart variate generator", algorithm AS 53.
        """
        d = self.scale_matrix.shape[-1]
        squares_key, normals_key = jax.random.split(key)
        dtype = self.scale_matrix.dtype
        shapes = (self.df[..., None] - jnp.arange(d - 1, -1, -1, dtype=dtype)) / 2
        diagonal = jnp.sqrt(2) * jnp.exp(log_gamma(squares_key, shapes) / 2)
        normals = jnp.tril(jax.random.normal(normals_key, self.scale_matrix.shape, dtype), -1)
        transposed = normals + diagonal[..., None] * jnp.eye(d, dtype=dtype)
        return triangle(self.scale_matrix) @ triangle_inverse(transposed)

    def log_prob_each(self, value: Float[Array, "k d d"]) -> Float[Array, "k"]:
        """Log density of every matrix; minus infinity where it is not positive definite."""
        _same_shape(value, self.scale_matrix)
        tril = triangle(value)
        ratio = triangle_inverse(tril) @ triangle(self.scale_matrix)
        density = self.log_density(log_diagonal(tril), (ratio**2).sum((-1, -2)))
        return jnp.where(jnp.isnan(density), -jnp.inf, density)

    def log_density(self, log_scale: Array, spread: Array) -> Array:
        """Log density of matrices.

        Args:
            log_scale: Sum of the logs of the diagonal of each one's triangle.
            spread: The trace of `scale_matrix` times its inverse.
        """
        d = self.scale_matrix.shape[-1]
        half, i = self.df / 2, jnp.arange(d)
        log_gamma_d = gammaln(half[..., None] - i / 2).sum(-1) + d * (d - 1) / 4 * jnp.log(jnp.pi)
        return (
            self.df * log_diagonal(triangle(self.scale_matrix))
            - (self.df + d + 1) * log_scale
            - 0.5 * spread
            - half * d * jnp.log(2)
            - log_gamma_d
        )


def log_diagonal(triangles: Array) -> Array:
    """Sum of the logs of each triangle's diagonal."""
    return jnp.log(jnp.diagonal(triangles, axis1=-2, axis2=-1)).sum(-1)


def _same_shape(value: Array, parameter: Array) -> None:
    if jnp.shape(value) != parameter.shape:
        raise ValueError(
            f"a value of shape {parameter.shape} was expected, got {jnp.shape(value)}."
        )
