"""Expectation-maximisation: weigh the points, sum their statistics, take the mode.

A batch of mixtures (restarts) is fitted at once; data come in blocks of rows, so that memory does
not grow with their number.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float, Int

from gmm_jax._loop import iterate
from gmm_jax._numerics import log_sum_exp, safe_log
from gmm_jax._pytree import pytree, rebuild, static
from gmm_jax.families.limits import Limits, Sharing
from gmm_jax.mixture import Mixture

LARGE = 512
"""Rows from which on features pay."""
RUNNING, CONVERGED, COLLAPSED, NOT_FINITE = range(4)
MEANING = {
    RUNNING: "stopped at max_steps before it converged",
    CONVERGED: "converged",
    COLLAPSED: "a component collapsed onto equal points or lost all its points",
    NOT_FINITE: "the objective is not finite",
}


class State(NamedTuple):
    """What the next step of r runs needs. Objectives are per unit of sample weight, in nats."""

    mixtures: Mixture
    objective: Float[Array, "r"]


class Info(NamedTuple):
    """What a step saw: the mixtures that it started from, and how far it moved them."""

    mixtures: Mixture
    objective: Float[Array, "r"]
    moved: Float[Array, "r"]


@pytree
class Table:
    """The data as every step reads them: b blocks of n points, and how often each counts.

    Rows that only fill a block have weight 0. `incomplete` says that NaN stands for entries that
    are missing at random; `constants` are the weighted sums of those features whose coefficients
    all components share.
    """

    points: Float[Array | np.ndarray, "b n ..."]
    sample_weight: Float[Array | np.ndarray, "b n"]
    constants: Float[Array, "c"] | None = None
    incomplete: bool = static(default=False)

    def summed(self, over_block: Callable[[Array, Array], Any]) -> Any:
        """Sum what `over_block` makes of the points and weights of each block."""
        if self.points.shape[0] == 1:
            return over_block(self.points[0], self.sample_weight[0])
        first = self.points[0], self.sample_weight[0]
        zero = jax.tree.map(
            lambda a: jnp.zeros(a.shape, a.dtype), jax.eval_shape(over_block, *first)
        )

        def add(sums, block):
            return jax.tree.map(jnp.add, sums, over_block(*block)), None

        return jax.lax.scan(add, zero, (self.points, self.sample_weight))[0]

    def with_constants(self, components: Any, sharing: Sharing) -> "Table":
        """Sum once what does not change from step to step."""
        if not hasattr(components, "features"):
            return self
        size = components.common_features(sharing)

        def over_block(points, weight):
            features = components.features(points)
            return jnp.matmul(features[len(features) - size :], weight, precision="highest")

        constants = self.summed(over_block)
        return rebuild(Table, **(vars(self) | {"constants": constants}))


def expectation(mixtures: Mixture, table: Table) -> tuple[Float[Array, "r"], Any]:
    """Sum log density and statistics over all points, block by block, for r mixtures at once.

    Args:
        mixtures: Current parameters, with a leading axis of r runs.
        table: The data.

    Returns:
        Total log density of the data, and the component statistics, of each run.

    Where a family's log density is linear in features of the data, large data go through two
    matrix products, unless some run has a component too narrow for that: then, and for little
    data, each point is compared with each mean.
    """

    def directly():
        return table.summed(lambda *block: _compare(mixtures, *block, table.incomplete))

    few = table.sample_weight.size < LARGE
    if few or table.incomplete or not hasattr(mixtures.components, "features"):
        return directly()
    suffice = jax.vmap(lambda m: m.components.features_suffice())(mixtures)
    return jax.lax.cond(jnp.all(suffice), lambda: _by_features(mixtures, table), directly)


def _compare(
    mixtures: Mixture, points: Array, weight: Array, incomplete: bool
) -> tuple[Float[Array, "r"], Any]:
    """Log density and statistics of one block, from differences between points and means."""

    def one(mixture):
        each = log_joint(mixture, points, incomplete)
        log_prob = log_sum_exp(each, -1)
        possible = jnp.where(jnp.isfinite(log_prob), log_prob, 0)
        responsibilities = jnp.exp(each - possible[:, None]) * weight[:, None]
        total = jnp.sum(jnp.where(weight > 0, weight * log_prob, 0))
        components = _seeing(mixture, incomplete)
        return total, components.statistics(points, responsibilities)

    return jax.vmap(one)(mixtures)


def log_joint(
    mixture: Mixture, points: Float[Array, "n ..."], incomplete: bool
) -> Float[Array, "n k"]:
    """Log of weight times density; `incomplete` says that NaN stands for missing entries."""
    return safe_log(mixture.weights) + _seeing(mixture, incomplete).log_prob(points)


def _seeing(mixture: Mixture, incomplete: bool) -> Any:
    """The components, able to see points with missing entries if there are such."""
    components: Any = mixture.components
    return (
        components.incomplete() if incomplete and hasattr(components, "incomplete") else components
    )


def _by_features(mixtures: Mixture, table: Table) -> tuple[Float[Array, "r"], Any]:
    """Log density and statistics from products with the features of the points.

    Features whose coefficients all components share don't tell them apart, and their sums are
    known beforehand.
    """
    one = jax.tree.map(lambda a: a[0], mixtures.components)
    coefficients, constants = jax.vmap(lambda m: m.components.natural())(mixtures)
    size = 0 if table.constants is None else table.constants.shape[0]
    own = coefficients.shape[-1] - size
    offsets = (constants + safe_log(mixtures.weights))[..., None]

    def over_block(points, weight):
        features = one.features(points, own)
        # Full float32 also where a matrix unit would round its input to fewer digits.
        each = offsets + jnp.matmul(coefficients[..., :own], features, precision="highest")
        largest = each.max(1)
        terms = jnp.exp(each - largest[:, None])
        summed = terms.sum(1)
        total = (weight * (largest + jnp.log(summed))).sum(-1)
        responsibilities = terms * (weight / summed)[:, None]
        sums = jnp.matmul(responsibilities, features.T, precision="highest")
        return total, responsibilities.sum(-1), sums

    total, counts, sums = table.summed(over_block)
    if size:
        total = total + jnp.matmul(coefficients[:, 0, own:], table.constants, precision="highest")
        # Only their total over components is ever used.
        even = jnp.broadcast_to(table.constants / counts.shape[1], (*counts.shape, size))
        sums = jnp.concatenate([sums, even], -1)
    statistics = jax.vmap(lambda m, counts, sums: m.components.from_features(counts, sums))(
        mixtures, counts, sums
    )
    return total, statistics


def init(mixtures: Mixture) -> State:
    """Start from mixtures with a leading axis of r runs."""
    return State(mixtures, jnp.full_like(mixtures.weights[:, 0], -jnp.inf))


def step(state: State, table: Table, prior: Any, limits: Limits) -> tuple[State, Info]:
    """Take one EM step in each run.

    Args:
        state: From `init` or the step before.
        table: The data.
        prior: Gives `log_prob(mixture)` and `mode(mixture, statistics, limits)`.
        limits: What is held, shared, and the smallest scale; the same for all runs.

    Returns:
        The mixtures after the step with the objective before it, and what the step saw.
    """
    totals, statistics = expectation(state.mixtures, table)
    objective = (totals + jax.vmap(prior.log_prob)(state.mixtures)) / table.sample_weight.sum()
    proposed = jax.vmap(prior.mode, (0, 0, None))(state.mixtures, statistics, limits)
    moved = jax.vmap(_distance)(proposed, state.mixtures)
    return State(proposed, objective), Info(state.mixtures, objective, moved)


def _distance(a: Mixture, b: Mixture) -> Float[Array, ""]:
    """The largest change of any parameter."""
    changes = jax.tree.map(lambda x, y: jnp.max(jnp.abs(x - y)), a, b)
    return jnp.max(jnp.stack(jax.tree.leaves(changes)))


class Fit(NamedTuple):
    """A batch of r finished runs."""

    mixtures: Mixture
    objective: Float[Array, "r"]
    status: Int[Array, "r"]
    steps: Int[Array, "r"]
    history: Float[Array, "t r"]


def run(
    starts: Mixture,
    table: Table,
    prior: Any,
    limits: Limits,
    tol: Float[Array, ""],
    max_steps: int,
) -> Fit:
    """Run accelerated EM from a batch of starts until all have converged.

    Two plain steps, then one from a point extrapolated along their path (SQUAREM [1]); where that
    point is worse than where it came from, it is forgotten, so that the objective never falls. A
    run has converged when the objective still to be gained, extrapolated as a geometric series
    from the last two plain steps, is below `tol`, or, where gains drown in rounding, when the
    distance still to go is.

    Args:
        starts: A mixture with a leading axis of r runs.
        tol: In nats per unit of sample weight.
        max_steps: Most steps, plain and extrapolated; static.

    The other arguments are those of `step`. A run whose component shrank to the floor on the
    scales, or lost all its points (a weight below half a point), ends as COLLAPSED.

    [1] Varadhan and Roland (2008), "Simple and globally convergent methods for accelerating the
        convergence of any EM algorithm", scheme S3.
    """
    eps = jnp.finfo(starts.weights.dtype).eps
    one = jax.tree.map(lambda a: a[0], starts.components)
    table = table.with_constants(one, limits.sharing)

    def first(path, info, after):
        return path._replace(first=info, mixtures=after), info.objective, path.status

    def second(path, info, after):
        rate = jnp.clip(info.moved / path.first.moved, 0, 1 - 1e-4)
        gain = info.objective - path.first.objective
        drowned = gain <= 4 * eps * (1 + jnp.abs(info.objective))
        near = info.moved / (1 - rate) <= 3 * jnp.sqrt(eps)
        converged = jnp.where(drowned, near, gain * rate**2 / (1 - rate**2) <= tol)
        status = jnp.where(converged, CONVERGED, path.status)
        ahead = jax.vmap(_extrapolate, (0, 0, 0, None))(
            path.first.mixtures, info.mixtures, after, limits.held
        )
        mixtures = _where(converged, info.mixtures, ahead)
        path = path._replace(second=info, fallback=after, mixtures=mixtures, status=status)
        return path, info.objective, status

    def third(path, info, after):
        better = info.objective >= path.second.objective
        mixtures = _where(better, after, path.fallback)
        objective = jnp.where(better, info.objective, path.second.objective)
        return path._replace(mixtures=mixtures), objective, path.status

    def advance(taken, path):
        state, info = step(State(path.mixtures, path.objective), table, prior, limits)
        path, objective, status = jax.lax.switch(
            taken % 3, (first, second, third), path, info, state.mixtures
        )
        failed = ~jnp.isfinite(objective)
        status = jnp.where(failed, NOT_FINITE, status)
        path = path._replace(objective=objective, status=status)
        return path, objective, status != RUNNING

    nothing = jnp.zeros_like(starts.weights[:, 0])
    info = Info(starts, nothing, nothing)
    start = _Path(starts, nothing, jnp.full(nothing.shape, RUNNING), info, info, starts)
    path, history, steps = iterate(advance, start, len(nothing), max_steps, nothing.dtype)
    empty = path.mixtures.weights * table.sample_weight.sum() < 0.5
    empty = empty & ~limits.held.weights
    collapsed = jax.vmap(lambda m: m.components.collapsed(limits.floor))(path.mixtures) | empty
    bad = jnp.any(collapsed, -1) & (path.status != NOT_FINITE)
    status = jnp.where(bad, COLLAPSED, path.status)
    return Fit(path.mixtures, path.objective, status, steps, history)


class _Path(NamedTuple):
    """Where r runs stand, and the two plain steps that they extrapolate from."""

    mixtures: Mixture
    objective: Float[Array, "r"]
    status: Int[Array, "r"]
    first: Info
    second: Info
    fallback: Mixture


def _extrapolate(a: Mixture, b: Mixture, c: Mixture, held: Mixture) -> Mixture:
    """Follow the path from a over b to c ahead, in unconstrained parameters."""
    start, middle, end = ((safe_log(m.weights), m.components.unconstrained()) for m in (a, b, c))
    move = jax.tree.map(jnp.subtract, middle, start)
    bend = jax.tree.map(lambda e, m, s: e - 2 * m + s, end, middle, start)

    def squared(tree):
        parts = [jnp.where(jnp.isfinite(x), x, 0).ravel() for x in jax.tree.leaves(tree)]
        return jnp.sum(jnp.concatenate(parts) ** 2)

    length = jnp.sqrt(squared(move) / jnp.maximum(squared(bend), jnp.finfo(c.weights.dtype).tiny))
    length = jnp.clip(length, 1, 1e4)
    ahead = jax.tree.map(
        lambda s, m, b, e: jnp.where(
            jnp.isfinite(s + m + b), s + 2 * length * m + length**2 * b, e
        ),
        start, move, bend, end,
    )  # fmt: skip
    weights = jnp.exp(ahead[0] - ahead[0].max())
    free = jnp.where(held.weights, 0, weights)
    left = 1 - jnp.where(held.weights, c.weights, 0).sum()
    weights = jnp.where(held.weights, c.weights, free / jnp.maximum(free.sum(), 1e-30) * left)
    components = jax.tree.map(jnp.where, held.components, c.components, ahead[1].constrained())
    return rebuild(Mixture, weights=weights, components=components)


def _where(which: Bool[Array, "r"], a: Mixture, b: Mixture) -> Mixture:
    """Take each run from `a` or from `b`."""
    return jax.tree.map(lambda x, y: jnp.where(which.reshape(-1, *(1,) * (x.ndim - 1)), x, y), a, b)


def best(fit: Fit) -> Int[Array, ""]:
    """Index of the run to keep: the highest objective among sound runs, else among the others."""
    rank = jnp.where(fit.status == NOT_FINITE, 2, jnp.where(fit.status == COLLAPSED, 1, 0))
    candidates = jnp.where(rank == rank.min(), fit.objective, -jnp.inf)
    return jnp.argmax(candidates)
