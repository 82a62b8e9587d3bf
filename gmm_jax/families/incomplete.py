"""Multivariate normal components seen through points of which some entries are missing."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float


class SecondMoments(NamedTuple):
    """Weighted sums of deviations from the means of the components, and of their products."""

    counts: Float[Array, "k"]
    deviations: Float[Array, "k d"]
    products: Float[Array, "k d d"]


class Incomplete(NamedTuple):
    """k multivariate normals for points with NaN where a value is missing at random.

    For every point and component the covariance of the observed entries is factored, with ones in
    place of the missing: the density is that of what was observed, and the statistics are the
    expected ones given that [1].

    [1] Little and Rubin (2019), "Statistical analysis with missing data", section 11.2.
    """

    means: Float[Array, "k d"]
    scale_trils: Float[Array, "k d d"]

    def log_prob(self, data: Float[Array, "n d"]) -> Float[Array, "n k"]:
        """Log density of the observed entries."""

        def of_component(component):
            def of_point(point):
                tril, whitened, seen = self._observed(component, point)
                peak = jnp.log(jnp.diagonal(tril)).sum() + 0.5 * seen.sum() * jnp.log(2 * jnp.pi)
                return -0.5 * whitened @ whitened - peak

            return jax.vmap(of_point)(data)

        return jax.lax.map(of_component, (self.means, self.scale_trils)).T

    def statistics(
        self, data: Float[Array, "n d"], responsibilities: Float[Array, "n k"]
    ) -> SecondMoments:
        """Sum responsibilities, expected deviations from the means, and their products."""

        def of_component(arguments):
            component, shares = arguments
            deviations, remaining = jax.vmap(lambda p: self.expected(component, p))(data)
            weighted = shares[:, None] * deviations
            products = jnp.matmul(weighted.T, deviations, precision="highest")
            return weighted.sum(0), products + jnp.tensordot(shares, remaining, 1)

        components = (self.means, self.scale_trils), responsibilities.T
        return SecondMoments(responsibilities.sum(0), *jax.lax.map(of_component, components))

    def fill(self, data: Float[Array, "n d"]) -> Float[Array, "n k d"]:
        """The data as each component expects them where they are missing."""

        def of_component(component):
            deviations = jax.vmap(lambda p: self.expected(component, p)[0])(data)
            return jnp.where(jnp.isnan(data), component[0] + deviations, data)

        return jnp.swapaxes(jax.lax.map(of_component, (self.means, self.scale_trils)), 0, 1)

    @staticmethod
    def _observed(component, point):
        """Factor of the observed covariance, whitened deviations, and what was observed."""
        mean, tril = component
        seen = ~jnp.isnan(point)
        covariance = jnp.matmul(tril, tril.T, precision="highest")
        both = seen[:, None] & seen
        factor = jnp.linalg.cholesky(jnp.where(both, covariance, jnp.eye(len(mean))))
        deviation = jnp.where(seen, point - mean, 0)
        whitened = jax.scipy.linalg.solve_triangular(factor, deviation, lower=True)
        return factor, whitened, seen

    @classmethod
    def expected(
        cls, component: tuple[Array, Array], point: Float[Array, "d"]
    ) -> tuple[Float[Array, "d"], Float[Array, "d d"]]:
        """Expected deviation from the mean given the observed entries, and its covariance."""
        factor, whitened, seen = cls._observed(component, point)
        covariance = jnp.matmul(component[1], component[1].T, precision="highest")
        rows = jnp.where(seen[:, None], covariance, 0)
        explained = jax.scipy.linalg.solve_triangular(factor, rows, lower=True)
        deviation = jnp.matmul(explained.T, whitened, precision="highest")
        remaining = covariance - jnp.matmul(explained.T, explained, precision="highest")
        unseen = ~seen[:, None] & ~seen
        return jnp.where(seen, point - component[0], deviation), jnp.where(unseen, remaining, 0)
