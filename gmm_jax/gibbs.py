"""Gibbs sampling: draw assignments, sum their statistics, draw parameters."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float

from gmm_jax._numerics import log_sum_exp
from gmm_jax._pytree import choose, rebuild
from gmm_jax.labellings import permute, sample_permutation
from gmm_jax.mixture import Mixture
from gmm_jax.table import LOWEST, Table, expectation, log_joint


class State(NamedTuple):
    """c mixtures, one a chain: assignments are drawn anew in every step."""

    mixtures: Mixture


class Info(NamedTuple):
    """What the points that were assigned amount to."""

    log_likelihood: Float[Array, "c"]
    """Of the mixtures before the step, assignments summed out."""
    statistics: Any
    references: Mixture
    """What the statistics are taken about: where the chains stood, or nearer to the points."""


def init(mixtures: Mixture) -> State:
    """Start c chains from mixtures with a leading axis."""
    return State(mixtures)


def from_prior(
    key: Array, prior: Any, floor: Float[Array, ""], known: Mixture, held: Mixture | None, size: int
) -> Mixture:
    """Draw mixtures of the form of `known` from the prior, given those of its values held."""
    event = known.components.event_shape
    free = prior.sample(key, known.n_components, event, (size,))
    if held is None:
        return free
    point = jnp.ones((1, *event), known.weights.dtype)

    def given_the_held(key, free):
        about = jax.tree.map(jnp.where, held, known, free)
        nothing = about.components.statistics(point, jnp.zeros_like(known.weights)[None])
        return prior.draw(key, about, nothing, floor, held)

    keys = jax.random.split(jax.random.fold_in(key, size), size)
    return jax.vmap(given_the_held)(keys, free)


def step(
    key: Array,
    state: State,
    table: Table,
    prior: Any,
    floor: Float[Array, ""],
    held: Mixture | None = None,
    named: bool = True,
    partial: bool = False,
    temperature: Any = 1.0,
) -> tuple[State, Info]:
    """Draw labels, assignments, missing values and parameters, given all others, in every chain.

    Args:
        key: Random key, for all chains.
        state: From `init` or the step before.
        table: The data; each point counts 1 or less.
        prior: Gives `refresh`, `given`, `draw` and `log_prob_matched`.
        floor: Smallest scale.
        held: Booleans in the structure of one mixture: where true, parameters stay; None for none.
        named: Whether the prior tells components apart, so that their labels must move.
        partial: Whether some points count neither 0 nor 1.
        temperature: See `sweep`.
    """
    mixtures = state.mixtures
    if named:
        labels_key, key = jax.random.split(key)
        mixtures = relabel(labels_key, mixtures, prior)
    return sweep(key, mixtures, table, prior, floor, held, temperature, partial)


def relabel(key: Array, mixtures: Mixture, prior: Any) -> Mixture:
    """Draw the labels of components given everything else: the prior alone knows them."""
    in_place = jax.vmap(prior.log_prob_matched)(mixtures)
    return jax.vmap(permute)(mixtures, sample_permutation(key, in_place))


def sweep(
    key: Array,
    mixtures: Mixture,
    table: Table,
    prior: Any,
    floor: Float[Array, ""],
    held: Mixture | None = None,
    temperature: Any = 1.0,
    partial: bool = False,
) -> tuple[State, Info]:
    """Draw assignments, missing values and parameters of c mixtures.

    At temperature b, one number or one for each point (b, n), this leaves
    p(parameters) prod_i sum_k (w_k f_k(x_i))^(b s_i) as it is, s_i how often point i counts. With
    `partial` a Metropolis test makes it that times the factor
    prod_i [(sum_k w_k f_k)^s_i / sum_k (w_k f_k)^s_i]^b, and so at temperature 1 the posterior;
    draws of assignments, then of parameters, are reversible, so that only the factor is tested.
    So are points of which something is missing and that count neither 0 nor 1, whole: what is
    missing would have to be drawn from a power of its density, whose integral is not 1.
    """
    # Keys that nothing needs would be compiled all the same.
    sweep_key, test_key = jax.random.split(key) if partial else (key, key)
    power = temperature * table.sample_weight
    apart = _apart(table, power) if partial and table.incomplete else None
    counted = power if apart is None else jnp.where(apart, 0, power)
    tempered = rebuild(Table, **(vars(table) | {"sample_weight": counted}))
    each_power = power if partial else temperature
    state, info = _sweep(sweep_key, mixtures, tempered, each_power, prior, floor, held)
    if not partial:
        return state, info

    def untold(mixture):
        told = lacking(mixture, table, temperature)
        if apart is None:
            return told
        joint = jax.vmap(lambda points: bounded_log_joint(mixture, points, table.incomplete))
        whole = log_sum_exp(power[..., None] * joint(table.points), -1)
        return told + jnp.sum(jnp.where(apart, whole, 0))

    odds = jax.vmap(untold)(state.mixtures) - jax.vmap(untold)(mixtures)
    accepted = jnp.log(jax.random.uniform(test_key, odds.shape, odds.dtype)) < odds
    return State(choose(accepted, state.mixtures, mixtures)), info


def _apart(table: Table, power: Float[Array, "b n"]) -> Bool[Array, "b n"]:
    """Points of which something is missing and that count neither 0 nor 1."""
    points = table.points.reshape(*table.points.shape[:2], -1)
    return jnp.isnan(points).any(-1) & (power > 0) & (power < 1)


def lacking(mixture: Mixture, table: Table, temperature: Any) -> Float[Array, ""]:
    """Log of the factor that `sweep` tests."""
    weight = table.sample_weight
    joint = jax.vmap(lambda points: bounded_log_joint(mixture, points, table.incomplete))
    each = joint(table.points)
    whole = weight * log_sum_exp(each, -1)
    parts = log_sum_exp(weight[..., None] * each, -1)
    return jnp.sum(jnp.where(weight > 0, temperature * (whole - parts), 0))


def bounded_log_joint(
    mixture: Mixture, points: Float[Array, "n ..."], incomplete: bool
) -> Float[Array, "n k"]:
    """Log of weight times density, nowhere so low that 0 times it is no number."""
    return jnp.maximum(log_joint(mixture, points, incomplete), LOWEST)


def _sweep(
    key: Array,
    mixtures: Mixture,
    table: Table,
    power: Any,
    prior: Any,
    floor: Float[Array, ""],
    held: Mixture | None,
) -> tuple[State, Info]:
    points_key, parameters_key, prior_key = jax.random.split(key, 3)
    near = _near(mixtures, table, held)
    log_likelihood, statistics = expectation(mixtures, table, points_key, power, near.components)
    info = Info(log_likelihood, statistics, near)
    priors = jax.vmap(prior.refresh)(_each(prior_key, mixtures), mixtures)
    if held is None:
        given = jax.vmap(lambda prior, *at: prior.given(*at, floor))
        return State(given(priors, near, statistics).redraw(parameters_key, near)), info
    draw = jax.vmap(lambda prior, key, *at: prior.draw(key, *at, floor, held))
    return State(draw(priors, _each(parameters_key, near), near, statistics)), info


def log_mass(
    key: Array, mixtures: Mixture, table: Table, prior: Any, floor: Float[Array, ""]
) -> Float[Array, "c"]:
    """Estimate the log of what data and parameters near c mixtures hold, volume included.

    Likelihood times prior over the density given assignments, where parameters are drawn from that
    [1]: the mass of a mode, but for its part that lies in other assignments. It tells how modes
    share the posterior, whatever the number of components that have points.

    [1] Chib (1995), "Marginal likelihood from the Gibbs output".
    """
    given_key, parameters_key = jax.random.split(key)
    given = conditionals(given_key, mixtures, table, prior, floor)
    drawn = given.sample(parameters_key)

    def density(given, mixture):
        return prior.log_prob(mixture) - jnp.trace(given.log_prob_matched(mixture))

    log_likelihood, _ = expectation(drawn, table)
    return log_likelihood + jax.vmap(density)(given, drawn)


def conditionals(
    key: Array, mixtures: Mixture, table: Table, prior: Any, floor: Float[Array, ""]
) -> Any:
    """Assign points as c mixtures would; the distributions of parameters given that, batched."""
    points_key, prior_key = jax.random.split(key)
    near = _near(mixtures, table, None)
    _, statistics = expectation(mixtures, table, points_key, about=near.components)
    priors = jax.vmap(prior.refresh)(_each(prior_key, mixtures), mixtures)
    return jax.vmap(lambda prior, *at: prior.given(*at, floor))(priors, near, statistics)


def _near(mixtures: Mixture, table: Table, held: Mixture | None) -> Mixture:
    """The same, but means that are free lie among the points.

    A component that the prior has thrown far away may be given points that lie close together, and
    sums of their squares about its mean have no digits for how close.
    """
    components: Any = mixtures.components
    if not hasattr(components, "within"):
        return mixtures
    components = components.within(*(f(table.points, (0, 1)) for f in (jnp.nanmin, jnp.nanmax)))
    near = rebuild(Mixture, weights=mixtures.weights, components=components)
    if held is None:
        return near
    return jax.vmap(lambda now, near: jax.tree.map(jnp.where, held, now, near))(mixtures, near)


def _each(key: Array, mixtures: Mixture) -> Array:
    """A key for every chain."""
    return jax.random.split(key, len(mixtures.weights))
