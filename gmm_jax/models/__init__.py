"""Mixtures stated as GenJAX generative functions, and tools to state and use others safely.

Import this module by name, `from gmm_jax import models`: it is the only part that loads genjax.

A model is simulated, conditioned, assessed and updated with genjax's own methods:

>>> import jax, jax.numpy as jnp
>>> from genjax import sel, seed
>>> from gmm_jax import DirichletNormalGamma, models
>>> prior = DirichletNormalGamma(concentration=1, mean=400, mean_scale=50, shape=2, rate=1)
>>> model = models.bayesian_mixture(prior, n_components=2, n=4)
>>> key = jax.random.key(0)

`simulate` draws everything; `seed` gives it a key, and `jit` goes around that:

>>> trace = jax.jit(seed(model.simulate))(key)
>>> trace["weights"].shape, trace["obs"]["x"].shape
((2,), (4,))

`generate` fixes some choices and weighs the others; particles are a `jax.vmap` over keys:

>>> bentos = {"obs": {"x": [498, 352, 501, 349]}}
>>> particle = lambda key: seed(model.generate)(key, bentos)
>>> traces, log_weights = jax.jit(jax.vmap(particle))(jax.random.split(key, 100))
>>> log_weights.shape
(100,)

`assess` is the log density of a full set of choices, differentiable and jit-able:

>>> choices = {"weights": jnp.array([0.5, 0.5]), "means": jnp.array([350.0, 500.0]),
...            "scales": jnp.array([2.0, 2.0]), "obs": {"z": [1, 0, 1, 0], **bentos["obs"]}}
>>> log_joint = lambda means: model.assess({**choices, "means": means})[0]
>>> round(float(jax.jit(log_joint)(choices["means"])), 2)
-25.25
>>> [round(float(slope), 3) for slope in jax.grad(log_joint)(choices["means"])]
[0.27, -0.29]

`update` changes choices, `regenerate` draws the selected ones anew:

>>> trace, _ = model.generate(choices)
>>> moved, log_ratio, _ = model.update(trace, {"means": [351.0, 500.0]})
>>> [round(float(log_ratio), 3), round(float(log_joint(jnp.array([351.0, 500.0])) - log_joint(
...     choices["means"])), 3)]
[0.02, 0.02]
>>> redrawn, log_ratio, _ = jax.jit(seed(model.regenerate))(key, trace, sel(("obs", "z")))

An address that does not exist is an error:

>>> model.assess({**choices, "scale": [2.0, 2.0]})  # doctest: +ELLIPSIS
Traceback (most recent call last):
gmm_jax.models.checked.AddressError: there is no address 'scale'; the nearest is 'scales'. ...
"""

from gmm_jax.models.checked import AddressError, Checked, checked
from gmm_jax.models.draws import draws_of, traces_of
from gmm_jax.models.mixtures import (
    Prior,
    bayesian_mixture,
    marginal_bayesian_mixture,
    point,
    points,
)
from gmm_jax.models.sites import (
    component,
    component_index,
    keyed_distribution,
    marginal_mixture,
    marginal_points,
    site,
)
from gmm_jax.models.target import importance_target

__all__ = [
    "AddressError",
    "Checked",
    "Prior",
    "bayesian_mixture",
    "checked",
    "component",
    "component_index",
    "draws_of",
    "importance_target",
    "keyed_distribution",
    "marginal_bayesian_mixture",
    "marginal_mixture",
    "marginal_points",
    "point",
    "points",
    "site",
    "traces_of",
]
