"""Posterior draws as traces of the generative function that states the model, and back."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from genjax import Trace, get_choices, seed
from jax import Array

from gmm_jax.mixture import Mixture
from gmm_jax.models.checked import AddressError
from gmm_jax.models.mixtures import bayesian_mixture
from gmm_jax.posterior_fit import PosteriorFit


def traces_of(posterior: PosteriorFit, key: Array, n_draws: int | None = None) -> Trace:
    """Turn posterior draws into traces of `bayesian_mixture`, observed at the data.

    The component of each point, z, is drawn given the parameters, so that the traces are draws
    from the posterior of all choices.

    Args:
        posterior: What `gmm_jax.fit` returned.
        key: Random key, for z.
        n_draws: How many of the draws, evenly spread; all if left out.

    Returns:
        Traces in the data's unit, draws on the first axis of every array.

    Raises:
        ValueError: missing values or sample weights, which the generative function does not know;
            more draws than there are.

    Example:
        >>> import gmm_jax, jax
        >>> from gmm_jax import models
        >>> prior = gmm_jax.DirichletNormalGamma(1, 400, 50, shape=2, rate=1)
        >>> data = [348, 352, 350, 498, 502, 500]
        >>> fitted = gmm_jax.fit(data, 2, prior=prior, n_draws=1000)
        >>> traces = models.traces_of(fitted, jax.random.key(0), n_draws=10)
        >>> traces.get_choices()["obs"]["z"].shape
        (10, 6)
        >>> models.draws_of(traces, prior).components.means.shape
        (10, 2)
    """
    data = np.asarray(posterior.data)
    if np.isnan(data).any() or np.any(np.asarray(posterior.sample_weight) != 1):
        raise ValueError(
            "posterior is of data with missing values or sample weights, and bayesian_mixture "
            "knows neither: fit complete rows, each repeated as often as it counts."
        )
    most = posterior.n_draws
    count = most if n_draws is None else n_draws
    if not 1 <= count <= most:
        raise ValueError(f"n_draws must be from 1 to {most}, as many as there are, got {count}.")
    picked = np.linspace(0, most - 1, count).astype(int)
    both = posterior.inside, posterior.draws
    inside, draws = jax.tree.map(lambda a: jnp.asarray(a[picked]), both)
    points = posterior.frame.enter(data, inside.weights.dtype)
    k = inside.weights.shape[1]
    model = bayesian_mixture(posterior.prior, k, len(data), data.shape[1:])

    def trace(key: Array, inside: Mixture, values: dict[str, Array]) -> Trace:
        z = jax.random.categorical(key, inside.log_joint(points))
        return seed(model.generate)(key, {**values, "obs": {"z": z, "x": data}})[0]

    values = posterior.prior.values(draws)
    return jax.jit(jax.vmap(trace))(jax.random.split(key, count), inside, values)


def draws_of(choices: Any, prior: Any) -> Mixture:
    """The mixtures whose parameters are in traces, or in choices, of `bayesian_mixture`.

    Args:
        choices: A trace or its choices, or many of them with draws on the first axes.
        prior: That of the generative function.

    Returns:
        Mixtures, with the same first axes.

    Raises:
        AddressError: there are no weights among the choices.
    """
    values = {name: own for name, own in get_choices(choices).items() if name != "obs"}
    if "weights" not in values:
        raise AddressError(
            f"choices must be those of bayesian_mixture, with 'weights', got {list(values)}."
        )
    values = jax.tree.map(jnp.asarray, values)

    def mixture(values: dict[str, Array]) -> Mixture:
        return prior.mixture(**values)

    for _ in range(values["weights"].ndim - 1):
        mixture = jax.vmap(mixture)
    return mixture(values)
