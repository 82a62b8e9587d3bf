"""Priors over mixtures, shared by EM, samplers and generative functions."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import ArrayLike, Float

from gmm_jax._checks import as_floats, positive
from gmm_jax._pytree import pytree, rebuild, set_fields
from gmm_jax.distributions import Dirichlet, Distribution, IndependentGamma, IndependentNormal
from gmm_jax.families import Normal
from gmm_jax.mixture import Mixture


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

    def sites(
        self, n_components: int, event_shape: tuple[int, ...] = ()
    ) -> dict[str, Distribution]:
        """Name and distribution of each parameter, in the order in which they are drawn.

        Raises:
            ValueError: a parameter of this prior is for another number of components or features.
        """
        entries = (n_components, *event_shape)
        concentration = _spread("concentration", self.concentration, (n_components,))
        mean = _spread("mean", self.mean, entries)
        mean_scale = _spread("mean_scale", self.mean_scale, entries)
        shape = _spread("shape", self.shape, entries)
        rate = _spread("rate", self.rate, entries)
        return {
            "weights": Dirichlet(concentration),
            "means": IndependentNormal(mean, mean_scale),
            "scales": IndependentGamma(shape, rate),
        }

    @staticmethod
    def mixture(weights: Array, means: Array, scales: Array) -> Mixture:
        """Assemble a mixture from the values of the sites."""
        return Mixture(weights, Normal(means, scales))

    @staticmethod
    def values(mixture: Mixture) -> dict[str, Array]:
        """Take a mixture apart into the values of the sites."""
        components = mixture.components
        assert isinstance(components, Normal)
        return {"weights": mixture.weights, "means": components.means, "scales": components.scales}

    def sample(self, key: Array, n_components: int, event_shape: tuple[int, ...] = ()) -> Mixture:
        """Draw a mixture from the prior."""
        sites = self.sites(n_components, event_shape)
        keys = jax.random.split(key, len(sites))
        drawn = {name: site.sample(k) for k, (name, site) in zip(keys, sites.items(), strict=True)}
        return self.mixture(**drawn)

    def log_prob(self, mixture: Mixture) -> Float[Array, ""]:
        """Log density of the parameters of `mixture`."""
        sites = self.sites(mixture.n_components, mixture.components.event_shape)
        return sum(
            (sites[name].log_prob(value) for name, value in self.values(mixture).items()),
            start=jnp.zeros(()),
        )

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


def _spread(name: str, value: Array, entries: tuple[int, ...]) -> Array:
    """Give every component, and feature, its own copy of a parameter of the prior."""
    if value.ndim == 1 and len(entries) == 2 and value.shape[0] == entries[0] != entries[1]:
        value = value[:, None]
    if value.ndim and (value.ndim > len(entries) or value.shape[0] not in (1, entries[0])):
        raise ValueError(
            f"{name} of the prior has shape {value.shape} but the mixture has {entries[0]} "
            f"components: give one number for all, or one per component."
        )
    return jnp.broadcast_to(value, entries)
