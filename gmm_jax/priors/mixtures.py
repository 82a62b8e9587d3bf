"""Priors over whole mixtures: a Dirichlet over the weights, and a prior over the components."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import gammaln
from jaxtyping import ArrayLike, Float

from gmm_jax._checks import as_floats, positive
from gmm_jax._pytree import pytree, rebuild, set_fields
from gmm_jax.distributions import Dirichlet
from gmm_jax.families.limits import Limits
from gmm_jax.mixture import Mixture
from gmm_jax.priors.components import same_for_all, written_out


@pytree
class MaximumLikelihood:
    """No prior: the data alone speak."""

    def log_prob(self, mixture: Mixture) -> Float[Array, ""]:
        """Nothing."""
        return jnp.zeros((), mixture.weights.dtype)

    def mode(self, mixture: Mixture, statistics: Any, limits: Limits) -> Mixture:
        """The mixture of maximum likelihood given `statistics` taken at `mixture`."""
        weights = _weights_mode(mixture, statistics.counts, limits)
        components = mixture.components.mode(statistics, limits.components)
        return rebuild(Mixture, weights=weights, components=components)


@pytree
class MixturePrior:
    """Dirichlet weights and, independently, components from a prior of their own.

    Args:
        concentration: Of the Dirichlet; one number, or one per component. 1 makes every division
            into shares equally likely.
        components: A prior of components, such as `NormalInverseGamma` or `GammaPoisson`.

    Raises:
        ValueError: a concentration that is not positive.

    Example:
        >>> import jax
        >>> from gmm_jax import GammaPoisson, MixturePrior
        >>> prior = MixturePrior(concentration=1, components=GammaPoisson(shape=2, rate=0.5))
        >>> sorted(prior.sites(3))
        ['rates', 'weights']
        >>> prior.sample(jax.random.key(0), 3).n_components
        3
    """

    concentration: Float[Array, "..."]
    components: Any

    def __post_init__(self) -> None:
        if isinstance(self.components, type) or not hasattr(self.components, "sites"):
            raise TypeError(
                f"components must be a prior of components such as NormalInverseGamma(...), got "
                f"{self.components!r}."
            )
        concentration = as_floats("concentration", self.concentration)
        positive("concentration", concentration)
        set_fields(self, concentration=concentration)

    @property
    def family(self) -> Any:
        """What the components are, as `fit` takes it."""
        return self.components.family

    @property
    def exchangeable(self) -> bool:
        """Whether relabelling the components leaves the prior as it is (known parameters only)."""
        return same_for_all(self.concentration) and self.components.exchangeable

    def spread(self, n_components: int, event_shape: tuple[int, ...] = ()) -> "MixturePrior":
        """The same prior with every parameter written out for each component and feature.

        Raises:
            ValueError: a parameter is for another number of components or features.
        """
        return rebuild(
            type(self),
            concentration=written_out("concentration", self.concentration, (n_components,)),
            components=self.components.spread(n_components, event_shape),
        )

    def sites(self, n_components: int, event_shape: tuple[int, ...] = ()) -> dict[str, Any]:
        """Name and `Distribution` of each parameter, in the order in which they are drawn.

        In place of a distribution that depends on parameters before it stands a function that
        takes these by name in a dictionary and returns it.

        Raises:
            ValueError: a parameter of this prior is for another number of components or features.
        """
        full = self.spread(n_components, event_shape)
        return {"weights": Dirichlet(full.concentration), **full.components.sites()}

    def mixture(self, weights: Array, **values: Array) -> Mixture:
        """Assemble a mixture from the values of the sites."""
        return rebuild(Mixture, weights=weights, components=self.components.assemble(**values))

    def values(self, mixture: Mixture) -> dict[str, Array]:
        """Take a mixture apart into the values of the sites."""
        return {"weights": mixture.weights, **self.components.values(mixture.components)}

    def sample(
        self,
        key: Array,
        n_components: int,
        event_shape: tuple[int, ...] = (),
        sample_shape: tuple[int, ...] = (),
    ) -> Mixture:
        """Draw a mixture from the prior, or an array of them of shape `sample_shape`."""
        full = self.spread(n_components, event_shape)
        many = jax.tree.map(lambda a: jnp.broadcast_to(a, (*sample_shape, *a.shape)), full)
        weights_key, components_key = jax.random.split(key)
        weights = Dirichlet(many.concentration).sample(weights_key)
        components = many.components.sample(components_key)
        return rebuild(Mixture, weights=weights, components=components)

    def sample_data(
        self,
        key: Array,
        n: int,
        n_components: int,
        event_shape: tuple[int, ...] = (),
        sample_shape: tuple[int, ...] = (),
    ) -> Float[Array, "..."]:
        """Draw what the prior expects to see: each time a mixture, then `n` points of it.

        Example:
            >>> import jax
            >>> from gmm_jax import default_prior
            >>> prior = default_prior([498, 352, 501, 349, 497, 503], n_components=2)
            >>> prior.sample_data(jax.random.key(0), 20, n_components=2, sample_shape=(5,)).shape
            (5, 20)
        """
        mixtures_key, points_key = jax.random.split(key)
        mixtures = self.sample(mixtures_key, n_components, event_shape, sample_shape)
        keys = jax.random.split(points_key, sample_shape)

        def draw(mixture: Mixture, key: Array) -> Array:
            return mixture.sample(key, n)[0]

        for _ in sample_shape:
            draw = jax.vmap(draw)
        return draw(mixtures, keys)

    def log_prob(self, mixture: Mixture) -> Float[Array, ""]:
        """Log density of the parameters of `mixture`, as `values` has them."""
        full = self.spread(mixture.n_components, mixture.components.event_shape)
        weights = Dirichlet(full.concentration).log_prob(mixture.weights)
        return weights + full.components.log_prob(mixture.components).sum()

    def log_prob_matched(self, mixture: Mixture) -> Float[Array, "k k"]:
        """Log density of every component (column) in the place of every other (row).

        Summed along a permutation it is `log_prob` of the relabelled mixture.
        """
        full = self.spread(mixture.n_components, mixture.components.event_shape)
        weights = _matched_weights(full.concentration, mixture)
        return weights + full.components.log_prob_matched(mixture.components)

    def mode(self, mixture: Mixture, statistics: Any, limits: Limits) -> Mixture:
        """The mixture of maximum posterior density given `statistics` taken at `mixture`."""
        full = self.spread(mixture.n_components, mixture.components.event_shape)
        counts = jnp.maximum(statistics.counts + full.concentration - 1, 0)
        return rebuild(
            Mixture,
            weights=_weights_mode(mixture, counts, limits),
            components=full.components.mode(mixture.components, statistics, limits.components),
        )

    def given(
        self, mixture: Mixture, statistics: Any, floor: Float[Array, ""]
    ) -> "MixtureConditional":
        """The distribution of the parameters given `statistics` taken at `mixture`.

        With the statistics of assigned points this is the full conditional that Gibbs sampling
        draws from.
        """
        full = self.spread(mixture.n_components, mixture.components.event_shape)
        return MixtureConditional(
            Dirichlet(full.concentration + statistics.counts),
            full.components.given(mixture.components, statistics, floor),
        )

    def draw(
        self,
        key: Array,
        mixture: Mixture,
        statistics: Any,
        floor: Float[Array, ""],
        held: Mixture,
    ) -> Mixture:
        """Draw what is not `held` given what is, and `statistics` taken at `mixture`."""
        full = self.spread(mixture.n_components, mixture.components.event_shape)
        weights_key, components_key = jax.random.split(key)
        # The free weights divide among them what those that are held leave.
        shares = Dirichlet(full.concentration + statistics.counts).sample(weights_key)
        free = jnp.where(held.weights, 0, shares)
        left = 1 - jnp.where(held.weights, mixture.weights, 0).sum()
        free = free / jnp.maximum(free.sum(), jnp.finfo(free.dtype).tiny) * left
        components = full.components.draw(
            components_key, mixture.components, statistics, floor, held.components
        )
        return rebuild(
            Mixture,
            weights=jnp.where(held.weights, mixture.weights, free),
            components=components,
        )

    def refresh(self, key: Array, mixture: Mixture) -> "MixturePrior":
        """The prior at hyperparameters drawn given `mixture`: itself where all are known."""
        full = self.spread(mixture.n_components, mixture.components.event_shape)
        return rebuild(
            type(self),
            concentration=full.concentration,
            components=full.components.refresh(key, mixture.components),
        )

    def improper(
        self,
        points: Float[np.ndarray, "n ..."],
        weight: Float[np.ndarray, "n"],
        n_components: int,
        known: dict[str, np.ndarray] | None = None,
    ) -> str | None:
        """Why the posterior cannot be normalised: the evidence is infinite, and what helps.

        None if all is well.

        Args:
            points: n points; NaN is a missing value.
            weight: How often each counts.
            n_components: k; a single component holds all points, of several each may hold any.
            known: Parameters that are held, by name, NaN where they are not.

        Example:
            >>> import numpy as np
            >>> from gmm_jax import DirichletNormalGamma
            >>> prior = DirichletNormalGamma(1, mean=400, mean_scale=50, shape=2, rate=1)
            >>> print(prior.improper(np.array([350.0, 350, 350, 500]), np.ones(4), 2)[:24])
            the evidence is infinite
        """
        full = self.components.spread(n_components, points.shape[1:])
        return full.improper(points, weight, known or {})

    def affine(self, shift: ArrayLike, scale: ArrayLike) -> "MixturePrior":
        """The prior of a mixture of `shift + scale * x` when this is that of x."""
        return rebuild(
            type(self),
            concentration=self.concentration,
            components=self.components.affine(shift, scale),
        )


@pytree
class MixtureConditional:
    """Weights and components given statistics: independent."""

    weights: Dirichlet
    components: Any

    def sample(self, key: Array) -> Mixture:
        """Draw a mixture."""
        weights_key, components_key = jax.random.split(key)
        return rebuild(
            Mixture,
            weights=self.weights.sample(weights_key),
            components=self.components.sample(components_key),
        )

    def redraw(self, key: Array, mixture: Mixture) -> Mixture:
        """Draw where a chain stands at `mixture`, so that this distribution is stationary."""
        weights_key, components_key = jax.random.split(key)
        return rebuild(
            Mixture,
            weights=self.weights.sample(weights_key),
            components=self.components.redraw(components_key, mixture.components),
        )

    def log_prob_matched(self, mixture: Mixture) -> Float[Array, "k k"]:
        """Log density of every component (column) in the place of every other (row).

        Summed along a permutation it is the log density of the relabelled mixture.
        """
        weights = _matched_weights(self.weights.concentration, mixture)
        return weights + self.components.log_prob_matched(mixture.components)


def _matched_weights(a: Float[Array, "k"], mixture: Mixture) -> Float[Array, "k k"]:
    """The Dirichlet's log density at the weights, split over the places of a permutation."""
    constant = (gammaln(a.sum()) - gammaln(a).sum()) / a.shape[0]
    tiny = jnp.finfo(mixture.weights.dtype).tiny
    return (a[:, None] - 1) * jnp.log(jnp.maximum(mixture.weights, tiny)) + constant


def _weights_mode(mixture: Mixture, counts: Float[Array, "k"], limits: Limits) -> Array:
    """Shares proportional to `counts`, of what the held weights leave."""
    held = limits.held.weights
    counts = limits.sharing.average("weights", counts)
    free = jnp.where(held, 0, counts)
    left = 1 - jnp.where(held, mixture.weights, 0).sum()
    total = free.sum()
    shares = free / jnp.where(total > 0, total, 1) * left
    return jnp.where(held | (total <= 0), mixture.weights, shares)
