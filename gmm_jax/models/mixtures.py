"""Mixtures as generative functions: one point, n points, and with a prior on the parameters."""

from typing import Any, Protocol, runtime_checkable

import jax
from genjax import GFI, Fn, gen
from jaxtyping import Array, ArrayLike, Float

from gmm_jax.families import Family
from gmm_jax.mixture import Mixture
from gmm_jax.models.checked import Checked, checked
from gmm_jax.models.sites import (
    _count,
    _index_of,
    component,
    marginal_points,
    site,
)
from gmm_jax.priors.components import resolved


@runtime_checkable
class Prior(Protocol):
    """What a prior must offer: its parameters as named sites, and the mixture they make."""

    def sites(self, n_components: int, event_shape: tuple[int, ...]) -> dict[str, Any]:
        """Name and `Distribution` of each parameter, or a function of those before it."""
        ...

    def mixture(self, **values: Array) -> Mixture:
        """The mixture that those parameters make."""
        ...


def _points_of(shape: tuple[int, ...]) -> Fn:
    index = _index_of(shape)

    @gen
    def points(weights: ArrayLike, components: Family) -> Float[Array, "..."]:
        z = index(weights) @ "z"
        return component(components, z) @ "x"

    return points


point = checked(_points_of(()))
"""One point of a mixture, `point(weights, components)`: its choices are `z`, the index of the
component that produces the point, and `x`."""


def points(n: int) -> Checked:
    """Make the generative function of `n` points of a mixture, called with (weights, components).

    Its choices are `z`, n indices, and `x`, n points; it returns the points.

    Raises:
        ValueError: `n` is below one.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from genjax import seed
        >>> from gmm_jax import Normal
        >>> from gmm_jax.models import points
        >>> weights, components = jnp.array([0.4, 0.6]), Normal([350.0, 500.0], [2.0, 2.0])
        >>> trace = seed(points(3).simulate)(jax.random.key(0), weights, components)
        >>> {address: value.shape for address, value in sorted(trace.get_choices().items())}
        {'x': (3,), 'z': (3,)}
        >>> choices = {"z": [0, 1, 1], "x": [349, 500, 503]}
        >>> log_density, _ = points(3).assess(choices, weights, components)
        >>> round(float(log_density), 4)
        -8.0242
    """
    return checked(_points_of((_count(n),)))


def bayesian_mixture(
    prior: Prior, n_components: int, n: int, event_shape: tuple[int, ...] = ()
) -> Checked:
    """Make the generative function of `n` points of a mixture with unknown parameters.

    Its choices are the parameters, one site each (`weights`, `means`, `scales` for
    `DirichletNormalGamma`), and `obs` with `z` and `x`; it takes no arguments and returns the
    mixture.

    Args:
        prior: Where the parameters come from.
        n_components: How many, k.
        n: The number of points.
        event_shape: () for numbers, (d,) for points of d features.

    Raises:
        ValueError: `n` is below one, or the prior is for another k or d.

    Example:
        >>> from gmm_jax import DirichletNormalGamma
        >>> from gmm_jax.models import bayesian_mixture
        >>> prior = DirichletNormalGamma(concentration=1, mean=400, mean_scale=50, shape=2, rate=1)
        >>> model = bayesian_mixture(prior, n_components=2, n=3)
        >>> choices = {"weights": [0.4, 0.6], "means": [350, 500], "scales": [2.0, 2.0]}
        >>> points = {"z": [0, 1, 1], "x": [349, 500, 503]}
        >>> log_joint, mixture = model.assess({**choices, "obs": points})
        >>> round(float(log_joint), 3), float(mixture.components.means[0])
        (-22.8, 350.0)
    """
    return _bayesian(prior, n_components, event_shape, _points_of((_count(n),)))


def marginal_bayesian_mixture(
    prior: Prior, n_components: int, n: int, event_shape: tuple[int, ...] = ()
) -> Checked:
    """Make the same model with the components that produced the points summed out.

    Its choices are the parameters and `obs` with `x`: constraints on the data are spelt as for
    `bayesian_mixture`. Arguments and errors are the same too.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from gmm_jax import DirichletNormalGamma
        >>> from gmm_jax.models import marginal_bayesian_mixture
        >>> prior = DirichletNormalGamma(concentration=1, mean=400, mean_scale=50, shape=2, rate=1)
        >>> model = marginal_bayesian_mixture(prior, n_components=2, n=3)
        >>> def log_joint(means):
        ...     choices = {"weights": jnp.array([0.4, 0.6]), "means": means,
        ...                "scales": jnp.array([2.0, 2.0]), "obs": {"x": [349.0, 500.0, 503.0]}}
        ...     return model.assess(choices)[0]
        >>> slopes = jax.jit(jax.grad(log_joint))(jnp.array([350.0, 500.0]))
        >>> [round(float(slope), 3) for slope in slopes]
        [-0.23, 0.71]
    """
    observed = marginal_points(n)

    @gen
    def observe(weights: ArrayLike, components: Family) -> Float[Array, "n ..."]:
        return observed(weights, components) @ "x"

    return _bayesian(prior, n_components, event_shape, observe)


def _bayesian(
    prior: Prior, n_components: int, event_shape: tuple[int, ...], observe: GFI
) -> Checked:
    sites = prior.sites(n_components, event_shape)
    spread = getattr(prior, "spread", None)
    full = prior if spread is None else spread(n_components, event_shape)

    @gen
    def model() -> Mixture:
        values: dict[str, Any] = {}
        for name, own in sites.items():
            values[name] = site(resolved(own, values)) @ name
        # Within jit the mixture is built without a look at the numbers: impossible ones have
        # density zero rather than raise an error.
        mixture = jax.jit(full.mixture)(**values)
        _ = observe(mixture.weights, mixture.components) @ "obs"
        return mixture

    return checked(model)
