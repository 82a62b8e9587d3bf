"""Multivariate Student-t components seen through points of which some entries are missing."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.special import digamma
from jaxtyping import Float

from gmm_jax.families.student_t import log_peak


class WeighedMoments(NamedTuple):
    """Sums over points, each of which speaks for a precision of its own."""

    counts: Float[Array, "k"]
    precisions: Float[Array, "k"]
    """Of the expected precisions."""
    deviations: Float[Array, "k d"]
    """Of precision times deviation from the mean of the component."""
    products: Float[Array, "k d d"]
    """Of precision times the products of the deviations."""
    logs: Float[Array, "k"]
    """Of the expected logs of the precisions."""


def log_gap(half: Array) -> Array:
    """How far the expected log of a gamma variable of this shape is from the log of its mean."""
    return digamma(half) - jnp.log(half)


class IncompleteT(NamedTuple):
    """k multivariate Student-t distributions for points with NaN where a value is missing.

    What was observed of a point has a t distribution too, and says what its precision may be; given
    that, the rest is normal [1].

    [1] Liu and Rubin (1995), "ML estimation of the t distribution using EM and its extensions, ECM
        and ECME".
    """

    means: Float[Array, "k d"]
    scale_trils: Float[Array, "k d d"]
    dfs: Float[Array, "k"]

    @property
    def event_shape(self) -> tuple[int, ...]:
        return self.means.shape[1:]

    def log_prob(self, data: Float[Array, "n d"]) -> Float[Array, "n k"]:
        """Log density of the observed entries."""

        def of_component(component: Any) -> Array:
            def of_point(point):
                factor, whitened, seen = _observed(component, point)
                df = component[2]
                d = seen.sum(dtype=df.dtype)
                peak = log_peak(df, d) - jnp.log(jnp.diagonal(factor)).sum()
                return peak - (df + d) / 2 * jnp.log1p(whitened @ whitened / df)

            return jax.vmap(of_point)(data)

        return jax.lax.map(of_component, tuple(self)).T

    def statistics(
        self, data: Float[Array, "n d"], responsibilities: Float[Array, "n k"]
    ) -> WeighedMoments:
        """Sum responsibilities, and what is expected of precisions, deviations and products."""

        def of_component(arguments: Any) -> tuple[Array, ...]:
            component, shares = arguments
            expected = jax.vmap(lambda point: _expected(component, point))(data)
            precisions, logs, deviations, remaining = expected
            weighted = (shares * precisions)[:, None] * deviations
            products = jnp.matmul(weighted.T, deviations, precision="highest")
            products = products + jnp.tensordot(shares, remaining, 1)
            return shares @ precisions, weighted.sum(0), products, shares @ logs

        components = tuple(self), responsibilities.T
        return WeighedMoments(responsibilities.sum(0), *jax.lax.map(of_component, components))


def _observed(component: Any, point: Array) -> tuple[Array, Array, Array]:
    """Factor of the observed scale matrix, whitened deviations, and what was observed."""
    mean, tril, _ = component
    seen = ~jnp.isnan(point)
    matrix = jnp.matmul(tril, tril.T, precision="highest")
    identity = jnp.eye(len(mean), dtype=mean.dtype)
    factor = jnp.linalg.cholesky(jnp.where(seen[:, None] & seen, matrix, identity))
    deviation = jnp.where(seen, point - mean, 0)
    return factor, jax.scipy.linalg.solve_triangular(factor, deviation, lower=True), seen


def _expected(component: Any, point: Array) -> tuple[Array, Array, Array, Array]:
    """Expected precision and its log, deviation, and precision times its remaining covariance."""
    mean, tril, df = component
    factor, whitened, seen = _observed(component, point)
    half = (df + seen.sum(dtype=df.dtype)) / 2
    precision = 2 * half / (df + whitened @ whitened)
    matrix = jnp.matmul(tril, tril.T, precision="highest")
    rows = jnp.where(seen[:, None], matrix, 0)
    explained = jax.scipy.linalg.solve_triangular(factor, rows, lower=True)
    regressed = jnp.matmul(explained.T, whitened, precision="highest")
    remaining = matrix - jnp.matmul(explained.T, explained, precision="highest")
    remaining = jnp.where(~seen[:, None] & ~seen, remaining, 0)
    deviation = jnp.where(seen, point - mean, regressed)
    return precision, jnp.log(precision) + log_gap(half), deviation, remaining
