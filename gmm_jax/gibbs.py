"""Gibbs sampling: draw assignments, sum their statistics, draw parameters."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int

from gmm_jax._numerics import categorical
from gmm_jax.labellings import permute, sample_permutation
from gmm_jax.mixture import Mixture

LOWEST = -1e30
"""In place of log 0, which times a power of 0 would be no number."""


class State(NamedTuple):
    """c mixtures, one a chain: assignments are drawn anew in every step."""

    mixtures: Mixture


class Info(NamedTuple):
    """What the parameters were drawn from: assigned points, their statistics, and about what."""

    assignments: Int[Array, "c n"]
    statistics: Any
    references: Mixture


def init(mixtures: Mixture) -> State:
    """Start c chains from mixtures with a leading axis."""
    return State(mixtures)


def step(
    key: Array,
    state: State,
    data: Float[Array, "n ..."],
    sample_weight: Float[Array, "n"],
    prior: Any,
    floor: Float[Array, ""],
) -> tuple[State, Info]:
    """Draw labels, assignments and parameters, each given all others, in every chain.

    Args:
        key: Random key, for all chains.
        state: From `init` or the step before.
        data: n points.
        sample_weight: How often each counts.
        prior: Gives `refresh(key, mixture)`, `given(mixture, statistics, floor)` and
            `log_prob_matched(mixture)`.
        floor: Smallest scale.
    """
    labels_key, sweep_key = jax.random.split(key)
    mixtures = relabel(labels_key, state.mixtures, prior)
    power = jnp.ones_like(sample_weight)
    return sweep(sweep_key, mixtures, data, power, sample_weight, prior, floor)


def relabel(key: Array, mixtures: Mixture, prior: Any) -> Mixture:
    """Draw the labels of components given everything else: the prior alone knows them."""
    in_place = jax.vmap(prior.log_prob_matched)(mixtures)
    return jax.vmap(permute)(mixtures, sample_permutation(key, in_place))


def sweep(
    key: Array,
    mixtures: Mixture,
    data: Float[Array, "n ..."],
    power: Float[Array, "n"],
    sample_weight: Float[Array, "n"],
    prior: Any,
    floor: Float[Array, ""],
) -> tuple[State, Info]:
    """Draw assignments and parameters of c mixtures.

    Assignments have probabilities proportional to (weight times density)^power; where `power` is
    `sample_weight`, too, that is the exact conditional of a posterior whose points count so.
    """
    assignments_key, parameters_key, prior_key = jax.random.split(key, 3)
    n_chains = mixtures.weights.shape[0]
    uniforms = jax.random.uniform(assignments_key, (n_chains, data.shape[0]), data.dtype)

    def condition(mixture, uniform, key):
        log_joint = jnp.maximum(mixture.log_joint(data), LOWEST)
        assignments = categorical(uniform, power[:, None] * log_joint)
        one_hot = jax.nn.one_hot(assignments, mixture.n_components, dtype=data.dtype)
        statistics = mixture.components.statistics(data, one_hot * sample_weight[:, None])
        known = prior.refresh(key, mixture)
        return assignments, statistics, known.given(mixture, statistics, floor)

    keys = jax.random.split(prior_key, n_chains)
    assignments, statistics, conditionals = jax.vmap(condition)(mixtures, uniforms, keys)
    drawn = conditionals.sample(parameters_key)
    return State(drawn), Info(assignments, statistics, mixtures)
