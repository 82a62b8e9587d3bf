"""The conjugate priors of Bernoulli and categorical components."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.special import digamma
from jaxtyping import Float

from gmm_jax import divergences
from gmm_jax._numerics import log_sum_exp
from gmm_jax._pytree import pytree, rebuild
from gmm_jax.distributions import Dirichlet, IndependentBeta
from gmm_jax.families import Bernoulli, Categorical
from gmm_jax.families.categorical import Levels
from gmm_jax.families.limits import Limits
from gmm_jax.families.separable import Sums, ratio
from gmm_jax.priors.components import ConjugatePrior, by_component


@pytree
class BetaBernoulli(ConjugatePrior):
    """probs ~ Beta(a, b), of `Bernoulli` components; conjugate.

    Args:
        a: Prior ones, more or less: 1 and 1 make every probability equally likely.
        b: Prior zeros.

    Each is one number for all components, or one per component (with several features, one row
    of features per component).

    Raises:
        ValueError: not positive.

    Example:
        >>> from gmm_jax import BetaBernoulli, MixturePrior
        >>> sorted(MixturePrior(1, BetaBernoulli(a=2, b=2)).sites(2))
        ['probs', 'weights']
    """

    a: Float[Array, "..."]
    b: Float[Array, "..."]

    kind: ClassVar[Any] = Bernoulli
    supports: ClassVar[dict[str, str]] = {"a": "positive", "b": "positive"}

    def sites(self) -> dict[str, Any]:
        return {"probs": IndependentBeta(self.a, self.b)}

    def given(
        self, components: Bernoulli, statistics: Sums, floor: Float[Array, ""]
    ) -> "BetaBernoulli":
        ones = statistics.sums[0]
        zeros = components.counts(statistics) - ones
        return self._with({"a": self.a + ones, "b": self.b + jnp.maximum(zeros, 0)})

    def mode(self, components: Bernoulli, statistics: Sums, limits: Limits) -> Bernoulli:
        """(a - 1) / (a + b - 2), of the conditional's a and b, or the end that is more probable."""
        after = self.given(components, statistics, limits.floor)
        ones, zeros = jnp.maximum(after.a - 1, 0), jnp.maximum(after.b - 1, 0)
        probs = ratio(ones, ones + zeros, components.probs)
        return rebuild(Bernoulli, probs=jnp.where(limits.held.probs, components.probs, probs))

    def geometric_mean(self) -> tuple[Bernoulli, Float[Array, "k"]]:
        ones, zeros = digamma(self.a), digamma(self.b)
        log_masses = jnp.logaddexp(ones, zeros) - digamma(self.a + self.b)
        return rebuild(Bernoulli, probs=jax.nn.sigmoid(ones - zeros)), by_component(log_masses)

    def divergence(self, other: "BetaBernoulli") -> Float[Array, "k"]:
        own, its = (jnp.stack([p.a, p.b], -1) for p in (self, other))
        return by_component(divergences.dirichlet(own, its))


@pytree
class DirichletCategorical(ConjugatePrior):
    """Rows of probs ~ Dirichlet(concentration), of `Categorical` components; conjugate.

    Args:
        concentration: One number for each of c categories, (c,) for all components, (k, c), or
            with several features (k, d, c): prior counts, more or less.

    Raises:
        ValueError: not positive, or a single number, which doesn't say how many categories.

    Example:
        >>> from gmm_jax import DirichletCategorical, MixturePrior
        >>> sorted(MixturePrior(1, DirichletCategorical([1, 1, 1])).sites(2))
        ['probs', 'weights']
    """

    concentration: Float[Array, "... c"]

    supports: ClassVar[dict[str, str]] = {"concentration": "positive"}
    ranks: ClassVar[dict[str, int]] = {"concentration": 2}
    entire: ClassVar[dict[str, int]] = {"probs": 1}

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.concentration.ndim:
            raise ValueError(
                "concentration must have one number for each category: write [1, 1, 1] for three."
            )

    @property
    def family(self) -> Levels:
        return Levels(self.concentration.shape[-1])

    def assemble(self, **values: Array) -> Categorical:
        return rebuild(Categorical, **values)

    def shapes(self, n_components: int, event_shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        return {"concentration": (n_components, *event_shape, self.concentration.shape[-1])}

    def sites(self) -> dict[str, Any]:
        return {"probs": Dirichlet(self.concentration)}

    def given(
        self, components: Categorical, statistics: Sums, floor: Float[Array, ""]
    ) -> "DirichletCategorical":
        return self._with({"concentration": self.concentration + statistics.sums[0]})

    def mode(self, components: Categorical, statistics: Sums, limits: Limits) -> Categorical:
        """Shares in proportion to the conditional's concentration less 1."""
        after = self.given(components, statistics, limits.floor)
        return components.mode(
            Sums(statistics.counts, (jnp.maximum(after.concentration - 1, 0),)), limits
        )

    def geometric_mean(self) -> tuple[Categorical, Float[Array, "k"]]:
        logs = digamma(self.concentration)
        log_masses = log_sum_exp(logs, -1) - digamma(self.concentration.sum(-1))
        return rebuild(Categorical, probs=jax.nn.softmax(logs, -1)), by_component(log_masses)

    def divergence(self, other: "DirichletCategorical") -> Float[Array, "k"]:
        return by_component(divergences.dirichlet(self.concentration, other.concentration))
