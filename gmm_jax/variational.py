"""Variational inference by coordinate ascent: the best posterior in which what depends doesn't.

Assignments (and missing values) are taken to be independent of the parameters. For conjugate priors
the best such distribution q of the parameters is of the prior's kind, and a step is EM's: weigh the
points by the geometric mean of the densities that q thinks possible, sum their statistics, and take
`given` of these [1]. No step lowers the bound

    log evidence >= sum_i log sum_k exp E_q[log w_k + log p(x_i | component k)] - KL(q || prior).

[1] Bishop (2006), "Pattern recognition and machine learning", section 10.2; of any conjugate
    exponential family, Blei, Kucukelbir and McAuliffe (2017), section 4.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.special import digamma
from jaxtyping import Float, Int

from gmm_jax import divergences
from gmm_jax._loop import iterate
from gmm_jax._pytree import choose, rebuild
from gmm_jax.mixture import Mixture
from gmm_jax.table import Table, expectation


class State(NamedTuple):
    """What the next step of r runs needs."""

    posteriors: Any
    """Each a `MixtureConditional`: distributions of weights and, independently, components."""


class Info(NamedTuple):
    """What a step saw: the posteriors that it started from, and their bounds."""

    posteriors: Any
    bound: Float[Array, "r"]
    """On the log evidence, in nats per unit of sample weight."""


def init(mixtures: Mixture, table: Table, prior: Any, floor: Float[Array, ""]) -> State:
    """Start r runs from mixtures with a leading axis: what the points, divided by them, imply."""
    _, statistics = expectation(mixtures, table)
    return State(_given(prior, mixtures, statistics, floor))


def step(state: State, table: Table, prior: Any, floor: Float[Array, ""]) -> tuple[State, Info]:
    """Divide the points among components, then update the posterior, in each run.

    Args:
        state: From `init` or the step before.
        table: The data; weights multiply.
        prior: A `MixturePrior` whose prior of components is `conjugate`.
        floor: Smallest scale, which conjugate priors don't need.

    Returns:
        The posteriors after the step; those before it with their bounds.
    """
    means, log_masses = jax.vmap(geometric_mean)(state.posteriors)
    total, statistics = expectation(means, table)
    apart = jax.vmap(lambda posterior: divergence(posterior, prior))(state.posteriors)
    size = table.sample_weight.sum()
    bound = log_masses + (total - apart) / size
    after = _given(prior, means, statistics, floor)
    return State(after), Info(state.posteriors, bound)


def _given(prior: Any, mixtures: Mixture, statistics: Any, floor: Float[Array, ""]) -> Any:
    return jax.vmap(lambda *at: prior.given(*at, floor))(mixtures, statistics)


def geometric_mean(posterior: Any) -> tuple[Mixture, Float[Array, ""]]:
    """The geometric mean of weights times densities, exp E[log w_k + log p(x | component k)].

    Returns:
        A mixture whose weights, the largest 1, times densities these are, but for a factor; and
        the log of that.
    """
    components, log_masses = posterior.components.geometric_mean()
    concentration = posterior.weights.concentration
    logs = digamma(concentration) - digamma(concentration.sum()) + log_masses
    largest = logs.max()
    weights = jnp.exp(logs - largest)
    return rebuild(Mixture, weights=weights, components=components), largest


def divergence(posterior: Any, prior: Any) -> Float[Array, ""]:
    """KL(posterior || prior) of weights and components, in nats."""
    mean, _ = posterior.components.geometric_mean()
    full = prior.spread(mean.n_components, mean.event_shape)
    of_weights = divergences.dirichlet(posterior.weights.concentration, full.concentration)
    return of_weights + posterior.components.divergence(full.components).sum()


class Fit(NamedTuple):
    """A batch of r finished runs."""

    posteriors: Any
    bound: Float[Array, "r"]
    """On the log evidence, in nats per unit of sample weight."""
    steps: Int[Array, "r"]
    history: Float[Array, "t r"]
    """Bounds before each step, NaN where a run had ended."""


class _Path(NamedTuple):
    """Where r runs stand."""

    posteriors: Any
    bound: Float[Array, "r"]


def run(
    starts: Mixture,
    table: Table,
    prior: Any,
    floor: Float[Array, ""],
    tol: Float[Array, ""],
    max_steps: int,
) -> Fit:
    """Take steps from a batch of starts until no bound rises any more.

    Args:
        starts: A mixture with a leading axis of r runs.
        tol: A run has ended when a step raises the bound by less than this, or than rounding
            does, in nats per unit of sample weight.
        max_steps: Most steps; static.

    The other arguments are those of `step`. A bound that is not finite ends a run, too.
    """
    posteriors = init(starts, table, prior, floor).posteriors
    n_runs, dtype = starts.weights.shape[0], starts.weights.dtype

    def advance(taken, path):
        state, info = step(State(path.posteriors), table, prior, floor)
        noise = 2 * jnp.finfo(dtype).eps * (1 + jnp.abs(info.bound))
        ended = ~(info.bound - path.bound > jnp.maximum(tol, noise))
        return (
            _Path(choose(ended, info.posteriors, state.posteriors), info.bound),
            info.bound,
            ended,
        )

    path = _Path(posteriors, jnp.full(n_runs, -jnp.inf, dtype))
    path, history, steps = iterate(advance, path, n_runs, max_steps, dtype)
    return Fit(path.posteriors, path.bound, steps, history)


def best(fit: Fit) -> Int[Array, ""]:
    """Index of the run with the highest bound."""
    return jnp.argmax(jnp.where(jnp.isfinite(fit.bound), fit.bound, -jnp.inf))
