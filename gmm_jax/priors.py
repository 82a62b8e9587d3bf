"""Priors over mixtures, shared by EM, samplers and generative functions."""

from typing import Any, ClassVar, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import gammaln
from jaxtyping import ArrayLike, Float

from gmm_jax._checks import as_floats, positive
from gmm_jax._pytree import pytree, rebuild, set_fields
from gmm_jax.distributions import Dirichlet, IndependentGamma, IndependentNormal
from gmm_jax.families import Normal
from gmm_jax.families.limits import Limits
from gmm_jax.families.normal import Moments
from gmm_jax.mean_and_scale import MeanAndScale, mean_and_scale
from gmm_jax.mixture import Mixture


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
class DirichletNormalGamma:
    """Dirichlet weights, normal means, gamma standard deviations.

    weights ~ Dirichlet(concentration), means ~ Normal(mean, mean_scale),
    scales ~ Gamma(shape, rate), all independent. The gamma is on the standard deviation, not on
    the variance or the precision, and `rate` is one over its scale parameter.

    Args:
        concentration: Of the Dirichlet. 1 makes every division into shares equally likely.
        mean: Where component means are expected, in the data's unit.
        mean_scale: Standard deviation of that expectation, in the data's unit.
        shape: Of the gamma; shape / rate is the expected standard deviation of a component.
        rate: Of the gamma, in one over the data's unit.

    Each is one number for all components, or one per component (with several features, one row
    of features per component): then components have names, and are never reordered.

    Raises:
        ValueError: a concentration, mean_scale, shape or rate that is not positive.

    Example:
        >>> from gmm_jax import DirichletNormalGamma
        >>> prior = DirichletNormalGamma(concentration=1, mean=400, mean_scale=50, shape=2, rate=1)
        >>> sorted(prior.sites(2))
        ['means', 'scales', 'weights']
    """

    concentration: Float[Array, "..."]
    mean: Float[Array, "..."]
    mean_scale: Float[Array, "..."]
    shape: Float[Array, "..."]
    rate: Float[Array, "..."]

    family: ClassVar[type[Normal]] = Normal

    def __post_init__(self) -> None:
        for name in ("concentration", "mean", "mean_scale", "shape", "rate"):
            value = as_floats(name, getattr(self, name))
            if name != "mean":
                positive(name, value)
            set_fields(self, **{name: value})

    @property
    def exchangeable(self) -> bool:
        """Whether relabelling the components leaves the prior as it is (known parameters only)."""
        arrays = (self.concentration, self.mean, self.mean_scale, self.shape, self.rate)
        return all(np.all(np.asarray(a) == np.asarray(a)[:1]) for a in arrays if a.ndim)

    def sites(self, n_components: int, event_shape: tuple[int, ...] = ()) -> dict[str, Any]:
        """Name and `Distribution` of each parameter, in the order in which they are drawn.

        Raises:
            ValueError: a parameter of this prior is for another number of components or features.
        """
        full = self.spread(n_components, event_shape)
        return {
            "weights": Dirichlet(full.concentration),
            "means": IndependentNormal(full.mean, full.mean_scale),
            "scales": IndependentGamma(full.shape, full.rate),
        }

    def spread(
        self, n_components: int, event_shape: tuple[int, ...] = ()
    ) -> "DirichletNormalGamma":
        """The same prior with every parameter written out for each component and feature.

        Raises:
            ValueError: a parameter is for another number of components or features.
        """
        entries = (n_components, *event_shape)
        return rebuild(
            type(self),
            concentration=_spread("concentration", self.concentration, entries[:1]),
            mean=_spread("mean", self.mean, entries),
            mean_scale=_spread("mean_scale", self.mean_scale, entries),
            shape=_spread("shape", self.shape, entries),
            rate=_spread("rate", self.rate, entries),
        )

    @staticmethod
    def mixture(weights: Array, means: Array, scales: Array) -> Mixture:
        """Assemble a mixture from the values of the sites."""
        return Mixture(weights, Normal(means, scales))

    @staticmethod
    def values(mixture: Mixture) -> dict[str, Array]:
        """Take a mixture apart into the values of the sites."""
        components = cast(Normal, mixture.components)
        return {"weights": mixture.weights, "means": components.means, "scales": components.scales}

    def sample(
        self,
        key: Array,
        n_components: int,
        event_shape: tuple[int, ...] = (),
        sample_shape: tuple[int, ...] = (),
    ) -> Mixture:
        """Draw a mixture from the prior, or an array of them of shape `sample_shape`."""
        sites = self.sites(n_components, event_shape)
        keys = jax.random.split(key, len(sites))
        many = jax.tree.map(lambda a: jnp.broadcast_to(a, (*sample_shape, *a.shape)), sites)
        drawn = {name: many[name].sample(k) for name, k in zip(sites, keys, strict=True)}
        components = rebuild(Normal, means=drawn["means"], scales=drawn["scales"])
        return rebuild(Mixture, weights=drawn["weights"], components=components)

    def log_prob_matched(self, mixture: Mixture) -> Float[Array, "k k"]:
        """Log density of every component (column) in the place of every other (row).

        Summed along a permutation it is `log_prob` of the relabelled mixture.
        """
        components = cast(Normal, mixture.components)
        sites = self.sites(mixture.n_components, components.event_shape)
        means, scales = sites["means"], sites["scales"]
        in_place = jax.vmap(
            lambda mean, scale: (
                means.log_prob_each(jnp.broadcast_to(mean, means.mean.shape))
                + scales.log_prob_each(jnp.broadcast_to(scale, means.mean.shape))
            ),
            out_axes=1,
        )(components.means, components.scales)
        k = mixture.n_components
        return _matched_weights(sites["weights"], mixture) + in_place.reshape(k, k, -1).sum(-1)

    def log_prob(self, mixture: Mixture) -> Float[Array, ""]:
        """Log density of the parameters of `mixture`."""
        sites = self.sites(mixture.n_components, mixture.components.event_shape)
        return sum(
            (sites[name].log_prob(value) for name, value in self.values(mixture).items()),
            start=jnp.zeros(()),
        )

    def mode(self, mixture: Mixture, statistics: Moments, limits: Limits) -> Mixture:
        """The mixture of maximum posterior density given `statistics` taken at `mixture`.

        Means first, at the current scales; then scales about the new means, where the density
        has one peak: the positive root of rate s^3 + (n - shape + 1) s^2 - S = 0.
        """
        components = cast(Normal, mixture.components)
        held = limits.held.components
        sites = self.sites(mixture.n_components, components.event_shape)
        excess = sites["weights"].concentration - 1
        weights = _weights_mode(mixture, jnp.maximum(statistics.counts + excess, 0), limits)

        counts = statistics.counts.reshape((-1,) + (1,) * len(components.event_shape))
        trust = (components.scales / sites["means"].scale) ** 2
        pulled = statistics.deviations + trust * (sites["means"].mean - components.means)
        moved = jnp.where(held.means, 0, pulled / (counts + trust))
        squares = statistics.squares - 2 * moved * statistics.deviations + counts * moved**2
        gamma = sites["scales"]
        scales = _scale_mode(jnp.maximum(squares, 0), counts - gamma.shape + 1, gamma.rate)
        scales = jnp.where(held.scales, components.scales, jnp.maximum(scales, limits.floor))
        moved_components = rebuild(Normal, means=components.means + moved, scales=scales)
        return rebuild(Mixture, weights=weights, components=moved_components)

    def given(
        self, mixture: Mixture, statistics: Moments, floor: Float[Array, ""]
    ) -> "MixtureConditional":
        """The distribution of the parameters given `statistics` taken at `mixture`.

        With the statistics of assigned points this is the full conditional that Gibbs sampling
        draws from.
        """
        components = cast(Normal, mixture.components)
        sites = self.sites(mixture.n_components, components.event_shape)
        counts, deviations, squares = statistics
        entries = counts.reshape((-1,) + (1,) * len(components.event_shape))
        moved = deviations / jnp.maximum(entries, jnp.finfo(counts.dtype).tiny)
        normals = mean_and_scale(
            count=jnp.broadcast_to(entries, components.means.shape),
            average=components.means + moved,
            squares=jnp.maximum(squares - moved * deviations, 0),
            mean_prior=sites["means"],
            scale_prior=sites["scales"],
            floor=floor,
        )
        return MixtureConditional(Dirichlet(sites["weights"].concentration + counts), normals)

    def affine(self, shift: ArrayLike, scale: ArrayLike) -> "DirichletNormalGamma":
        """The prior of a mixture of `shift + scale * x` when this is that of x."""
        return rebuild(
            type(self),
            concentration=self.concentration,
            mean=shift + scale * self.mean,
            mean_scale=scale * self.mean_scale,
            shape=self.shape,
            rate=self.rate / scale,
        )


@pytree
class MixtureConditional:
    """Weights, and each component's mean and scale, given statistics: all independent."""

    weights: Dirichlet
    normals: MeanAndScale

    def sample(self, key: Array) -> Mixture:
        """Draw a mixture."""
        weights_key, normals_key = jax.random.split(key)
        means, scales = self.normals.sample(normals_key)
        return rebuild(
            Mixture,
            weights=self.weights.sample(weights_key),
            components=rebuild(Normal, means=means, scales=scales),
        )

    def log_prob_matched(self, mixture: Mixture) -> Float[Array, "k k"]:
        """Log density of every component (column) in the place of every other (row).

        Summed along a permutation it is the log density of the relabelled mixture.
        """
        components = cast(Normal, mixture.components)
        log_density = self.normals.log_prob_matched(components.means, components.scales)
        return _matched_weights(self.weights, mixture) + log_density


def _matched_weights(dirichlet: Dirichlet, mixture: Mixture) -> Float[Array, "k k"]:
    """The Dirichlet's log density at the weights, split over the places of a permutation."""
    a = dirichlet.concentration
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


def _scale_mode(squares: Array, count: Array, rate: Array) -> Array:
    """The root s > 0 of rate s^3 + count s^2 - squares = 0, or the positive peak without data.

    Newton's method from above the root, where the cubic is convex, descends onto it.
    """
    by_count = jnp.sqrt(squares / jnp.maximum(count, jnp.finfo(squares.dtype).tiny))
    by_rate = jnp.cbrt(squares / rate) + jnp.maximum(-count, 0) / rate
    root = jnp.minimum(jnp.where(count > 0, by_count, jnp.inf), by_rate)
    for _ in range(12):
        value = (rate * root + count) * root**2 - squares
        slope = (3 * rate * root + 2 * count) * root
        root = root - jnp.where(slope > 0, value / jnp.where(slope > 0, slope, 1), 0)
    return root


def _spread(name: str, value: Array | np.ndarray, entries: tuple[int, ...]) -> Array | np.ndarray:
    """Give every component, and feature, its own copy of a parameter of the prior."""
    if value.ndim == 1 and len(entries) == 2 and value.shape[0] == entries[0]:
        value = value[:, None]
    if value.ndim and (value.ndim > len(entries) or value.shape[0] not in (1, entries[0])):
        raise ValueError(
            f"{name} of the prior has shape {value.shape} but the mixture has {entries[0]} "
            f"components: give one number for all, or one per component"
            + (", or one row of features for all, [[...]]." if len(entries) == 2 else ".")
        )
    numpy: Any = np if isinstance(value, np.ndarray) else jnp
    return numpy.broadcast_to(value, entries)
