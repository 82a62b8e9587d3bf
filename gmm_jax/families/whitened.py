"""Multivariate normals prepared for comparison with many points: triangles are inverted once."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from gmm_jax.families.incomplete import SecondMoments


class Whitened(NamedTuple):
    """k multivariate normals, of which only density and statistics are asked.

    Components take turns, so that what one needs of a block of points stays in the cache. The
    differences from a mean times an inverse triangle are as exact as a solve, and faster.
    """

    means: Float[Array, "k d"]
    inverses: Float[Array, "k d d"]
    peaks: Float[Array, "k"]

    def log_prob(self, data: Float[Array, "n d"]) -> Float[Array, "n k"]:
        """Log density."""
        columns = data.T

        def distances(component: Any) -> Array:
            mean, inverse = component
            return (_product(inverse, columns - mean[:, None]) ** 2).sum(0)

        return (self.peaks[:, None] - 0.5 * jax.lax.map(distances, (self.means, self.inverses))).T

    def statistics(
        self, data: Float[Array, "n d"], responsibilities: Float[Array, "n k"]
    ) -> SecondMoments:
        """Sum responsibilities, deviations from these means, and their products."""
        columns = data.T

        def sums(component: Any) -> tuple[Array, Array]:
            mean, weight = component
            deviations = columns - mean[:, None]
            weighted = deviations * weight
            return weighted.sum(1), _product(weighted, deviations.T)

        return SecondMoments(
            responsibilities.sum(0), *jax.lax.map(sums, (self.means, responsibilities.T))
        )


class WhitenedTogether(NamedTuple):
    """k multivariate normals with one covariance matrix: points are whitened once for all.

    Statistics are those of `Whitened`, but what the covariance is made of is divided evenly among
    the components, since only its total is ever used. With m the mean that the responsibilities
    p of a point expect, the sum over components of p (x - mean)(x - mean)' is (x - m)(x - m)'
    and, for every pair of components, the product of their p times that of their difference.
    Differences keep the digits that sums of squares lose.
    """

    means: Float[Array, "k d"]
    inverse: Float[Array, "d d"]
    peak: Float[Array, ""]

    def log_prob(self, data: Float[Array, "n d"]) -> Float[Array, "n k"]:
        """Log density."""
        points = _product(self.inverse, data.T)
        centres = _product(self.means, self.inverse.T)

        def distances(centre: Array) -> Array:
            return ((points - centre[:, None]) ** 2).sum(0)

        return (self.peak - 0.5 * jax.lax.map(distances, centres)).T

    def statistics(
        self, data: Float[Array, "n d"], responsibilities: Float[Array, "n k"]
    ) -> SecondMoments:
        """Sum responsibilities, deviations from these means, and their products."""
        k, d = self.means.shape
        weight = responsibilities.sum(1)
        shares = responsibilities / jnp.where(weight > 0, weight, 1)[:, None]
        deviations = data - _product(shares, self.means)
        pairs = _product(responsibilities.T, shares)
        apart = self.means - self.means[:, None]
        moves = _product(responsibilities.T, deviations) + (pairs[..., None] * apart).sum(1)
        within = _product((weight[:, None] * deviations).T, deviations)
        flat = apart.reshape(-1, d)
        between = 0.5 * _product((pairs.reshape(-1, 1) * flat).T, flat)
        products = jnp.broadcast_to((within + between) / k, (k, d, d))
        return SecondMoments(responsibilities.sum(0), moves, products)


def _product(a: Array, b: Array) -> Array:
    # Full float32 also where a matrix unit would round its input to fewer digits.
    return jnp.matmul(a, b, precision="highest")
