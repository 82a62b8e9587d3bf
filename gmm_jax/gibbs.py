"""Gibbs sampling: draw assignments, sum their statistics, draw parameters."""

from typing import Any, NamedTuple

import jax
from jax import Array
from jaxtyping import Float, Int

from gmm_jax._numerics import categorical
from gmm_jax._pytree import rebuild
from gmm_jax.labellings import sample_permutation
from gmm_jax.mixture import Mixture


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
        prior: Gives `given(mixture, statistics, floor)` and `log_prob_matched(mixture)`.
        floor: Smallest scale.
    """
    labels_key, assignments_key, parameters_key = jax.random.split(key, 3)
    in_place = jax.vmap(prior.log_prob_matched)(state.mixtures)
    mixtures = jax.vmap(permute)(state.mixtures, sample_permutation(labels_key, in_place))
    n_chains = in_place.shape[0]
    uniforms = jax.random.uniform(assignments_key, (n_chains, data.shape[0]), data.dtype)

    def condition(mixture, uniform):
        assignments = categorical(uniform, mixture.log_joint(data))
        one_hot = jax.nn.one_hot(assignments, mixture.n_components, dtype=data.dtype)
        statistics = mixture.components.statistics(data, one_hot * sample_weight[:, None])
        return assignments, statistics, prior.given(mixture, statistics, floor)

    assignments, statistics, conditionals = jax.vmap(condition)(mixtures, uniforms)
    drawn = conditionals.sample(parameters_key)
    return State(drawn), Info(assignments, statistics, mixtures)


def permute(mixture: Mixture, permutation: Int[Array, "k"]) -> Mixture:
    """Give component `permutation[i]` the label i."""
    weights, components = jax.tree.map(
        lambda a: a[permutation], (mixture.weights, mixture.components)
    )
    return rebuild(Mixture, weights=weights, components=components)
