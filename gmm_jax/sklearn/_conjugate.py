"""Conjugate priors of mixtures of normals, as scikit-learn's Bayesian mixture has them.

Weights are a Dirichlet's, or sticks broken off one after the other (a Dirichlet process). Each
component has a covariance, or all have one, or a component has one variance for all its features.
What is known after some points is of the same kind, with other numbers.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import digamma
from jaxtyping import Float

from gmm_jax import divergences
from gmm_jax._numerics import triangle, triangle_inverse
from gmm_jax._pytree import pytree, rebuild
from gmm_jax.distributions import (
    Dirichlet,
    IndependentBeta,
    IndependentInverseGamma,
    IndependentNormal,
    InverseWishart,
    MultivariateNormals,
    log_diagonal,
)
from gmm_jax.families import MultivariateNormal, Normal
from gmm_jax.mixture import Mixture
from gmm_jax.priors.normal_inverse_gamma import NormalInverseGamma
from gmm_jax.priors.normal_inverse_wishart import NormalInverseWishart


@pytree
class Shares:
    """Weights from a Dirichlet."""

    concentration: Float[Array, "k"]

    def given(self, counts: Float[Array, "k"]) -> "Shares":
        """After so many points of each component."""
        return rebuild(Shares, concentration=self.concentration + counts)

    def expected_logs(self) -> Float[Array, "k"]:
        """E[log weights]."""
        return digamma(self.concentration) - digamma(self.concentration.sum())

    def divergence(self, other: "Shares") -> Float[Array, ""]:
        """KL(this || other), in nats."""
        return divergences.dirichlet(self.concentration, other.concentration)

    def mean(self) -> Float[Array | np.ndarray, "k"]:
        """E[weights]."""
        return self.concentration / self.concentration.sum()

    def sample(self, key: Array) -> Float[Array, "k"]:
        """Draw weights."""
        return Dirichlet(self.concentration).sample(key)


@pytree
class Sticks:
    """Weights broken off a stick: of what is left, each component takes a beta(a, b) share.

    The process goes on after the last component here, but no points are given to what follows
    [1]; so weights may sum to less than one, and `mean` and `sample` divide by their sum.

    [1] Kurihara, Welling and Vlassis (2006), "Accelerated variational Dirichlet process mixtures".
    """

    a: Float[Array, "k"]
    b: Float[Array, "k"]

    def given(self, counts: Float[Array, "k"]) -> "Sticks":
        """After so many points of each component."""
        later = jnp.cumsum(counts[::-1])[::-1] - counts
        return rebuild(Sticks, a=self.a + counts, b=self.b + later)

    def expected_logs(self) -> Float[Array, "k"]:
        """E[log weights]."""
        whole = digamma(self.a + self.b)
        left = digamma(self.b) - whole
        return digamma(self.a) - whole + jnp.cumsum(left) - left

    def divergence(self, other: "Sticks") -> Float[Array, ""]:
        """KL(this || other), in nats."""
        own, others = (jnp.stack([s.a, s.b], -1) for s in (self, other))
        return divergences.dirichlet(own, others).sum()

    def mean(self) -> Float[Array | np.ndarray, "k"]:
        """E[weights], of those here."""
        return _broken(self.a / (self.a + self.b))

    def sample(self, key: Array) -> Float[Array, "k"]:
        """Draw weights, of those here."""
        return _broken(IndependentBeta(self.a, self.b).sample(key))


def _broken(taken: Any) -> Any:
    """Weights from the share that each takes of what is left."""
    left = jnp.cumprod(1 - taken)
    weights = taken * jnp.concatenate([jnp.ones_like(left[:1]), left[:-1]])
    return weights / weights.sum()


@pytree
class OneCovariance(NormalInverseWishart):
    """One covariance ~ InverseWishart(df, scale_matrix), means ~ N(mean, covariance / mean_count).

    Every component has a copy of `df` and `scale_matrix`.
    """

    def given(self, components: Any, statistics: Any, floor: Any) -> "OneCovariance":
        """What all components say of the covariance, together."""
        after = super().given(components, statistics, floor)
        more = (after.scale_matrix - self.scale_matrix).sum(0)
        df = self.df + statistics.counts.sum()
        return after._with({"df": df, "scale_matrix": self.scale_matrix + more})

    def divergence(self, other: Any) -> Float[Array, "k"]:
        """KL(this || other), in nats, what concerns the covariance divided evenly."""
        each = super().divergence(other)
        tril, its_tril = triangle(self.scale_matrix), triangle(other.scale_matrix)
        log_ratio = 2 * (log_diagonal(tril) - log_diagonal(its_tril))
        trace = (jnp.matmul(triangle_inverse(tril), its_tril, precision="highest") ** 2).sum((1, 2))
        d = self.mean.shape[-1]
        common = divergences.inverse_wishart(self.df, other.df, log_ratio, trace, d)
        return each - common * (1 - 1 / len(common))

    def log_prob(self, components: MultivariateNormal) -> Float[Array, "k"]:
        """Log density, what concerns the covariance divided evenly."""
        matrices = self.values(components)["covariances"][:1]
        common = InverseWishart(self.df[:1], self.scale_matrix[:1]).log_prob(matrices)
        spread = jnp.tril(components.scale_trils) / jnp.sqrt(self.mean_count)[:, None, None]
        each = MultivariateNormals(self.mean, spread).log_prob_each(components.means)
        return each + common / len(each)

    def sample(self, key: Array) -> MultivariateNormal:
        """Draw one covariance, and the means."""
        covariance_key, means_key = jax.random.split(key)
        drawn = InverseWishart(self.df[:1], self.scale_matrix[:1]).sample(covariance_key)
        trils = jnp.broadcast_to(triangle(drawn), self.scale_matrix.shape)
        spread = trils / jnp.sqrt(self.mean_count)[:, None, None]
        means = MultivariateNormals(self.mean, spread).sample(means_key)
        return rebuild(MultivariateNormal, means=means, scale_trils=trils)


@pytree
class OneVariance(NormalInverseGamma):
    """A variance for all features of a component, and means ~ N(mean, variance / mean_count).

    Every feature has a copy of `shape` and `rate`.
    """

    def given(self, components: Any, statistics: Any, floor: Any) -> "OneVariance":
        """What all features say of the variance, together."""
        after = super().given(components, statistics, floor)
        more = (after.rate - self.rate).sum(-1, keepdims=True)
        d = self.mean.shape[-1]
        shape = self.shape + d * (after.shape - self.shape)
        return after._with({"shape": shape, "rate": self.rate + more})

    def divergence(self, other: Any) -> Float[Array, "k"]:
        """KL(this || other), in nats, counting the variance once."""
        each = super().divergence(other)
        one = divergences.gamma(self.shape, self.rate, other.shape, other.rate)[:, 0]
        return each - (self.mean.shape[-1] - 1) * one

    def log_prob(self, components: Normal) -> Float[Array, "k"]:
        """Log density, counting the variance once."""
        one = IndependentInverseGamma(self.shape[:, :1], self.rate[:, :1])
        variances = one.log_prob_each(components.scales[:, :1] ** 2)[:, 0]
        spread = components.scales / jnp.sqrt(self.mean_count)
        means = IndependentNormal(self.mean, spread).log_prob_each(components.means)
        return variances + means.sum(-1)

    def sample(self, key: Array) -> Normal:
        """Draw a variance for each component, and the means."""
        variance_key, means_key = jax.random.split(key)
        one = IndependentInverseGamma(self.shape[:, :1], self.rate[:, :1]).sample(variance_key)
        scales = jnp.broadcast_to(jnp.sqrt(one), self.mean.shape)
        means = IndependentNormal(self.mean, scales / jnp.sqrt(self.mean_count)).sample(means_key)
        return rebuild(Normal, means=means, scales=scales)


@pytree
class Knowledge:
    """What is known of a mixture: weights and, independently, components."""

    weights: Any
    components: Any

    def given(self, mixture: Mixture, statistics: Any) -> "Knowledge":
        """After points with these `statistics`, taken at `mixture`."""
        floor = jnp.zeros((), mixture.weights.dtype)
        return rebuild(
            Knowledge,
            weights=self.weights.given(statistics.counts),
            components=self.components.given(mixture.components, statistics, floor),
        )

    def geometric_mean(self) -> tuple[Mixture, Float[Array, ""]]:
        """The mixture of exp E[log w_k + log p(x | k)], but for a factor, and the log of that."""
        components, log_masses = self.components.geometric_mean()
        logs = self.weights.expected_logs() + log_masses
        largest = logs.max()
        return rebuild(Mixture, weights=jnp.exp(logs - largest), components=components), largest

    def divergence(self, other: "Knowledge") -> Float[Array, ""]:
        """KL(this || other), in nats."""
        weights = self.weights.divergence(other.weights)
        return weights + self.components.divergence(other.components).sum()

    def log_prob(self, mixture: Mixture) -> Float[Array, ""]:
        """Log density of a mixture whose weights are a Dirichlet's."""
        weights = Dirichlet(self.weights.concentration).log_prob(mixture.weights)
        return weights + self.components.log_prob(mixture.components).sum()

    def sample(self, key: Array) -> Mixture:
        """Draw a mixture."""
        weights_key, components_key = jax.random.split(key)
        return rebuild(
            Mixture,
            weights=self.weights.sample(weights_key),
            components=self.components.sample(components_key),
        )
