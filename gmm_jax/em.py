"""Expectation-maximisation: weigh the points, sum their statistics, take the mode.

A batch of mixtures (restarts) is fitted at once; data come in blocks of rows, so that memory does
not grow with their number.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float, Int

from gmm_jax._loop import iterate
from gmm_jax._numerics import safe_log
from gmm_jax._pytree import choose, rebuild
from gmm_jax.families.limits import Limits
from gmm_jax.mixture import Mixture
from gmm_jax.table import Table, expectation

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
    sums = expectation(state.mixtures, table)
    return _maximise(state.mixtures, sums, table.sample_weight.sum(), prior, limits)


def _maximise(
    mixtures: Mixture,
    sums: tuple[Float[Array, "r"], Any],
    size: Float[Array, "..."],
    prior: Any,
    limits: Limits,
) -> tuple[State, Info]:
    """The second half of a step: the mode of what the sums over the data imply."""
    totals, statistics = sums
    objective = (totals + jax.vmap(prior.log_prob)(mixtures)) / size
    proposed = jax.vmap(prior.mode, (0, 0, None))(mixtures, statistics, limits)
    moved = jax.vmap(_distance)(proposed, mixtures)
    return State(proposed, objective), Info(mixtures, objective, moved)


def _distance(a: Mixture, b: Mixture) -> Float[Array, ""]:
    """The largest change of any parameter."""
    changes = jax.tree.map(lambda x, y: jnp.max(jnp.abs(x - y)), a, b)
    return jnp.max(jnp.stack(jax.tree.leaves(changes)))


class Fit(NamedTuple):
    """A batch of r finished runs. Objectives are per unit of sample weight, in nats."""

    mixtures: Mixture
    objective: Float[Array, "r"]
    status: Int[Array, "r"]
    steps: Int[Array, "r"]
    history: Float[Array, "t r"]
    """Objectives before each step, NaN where a run had ended."""

    def __str__(self) -> str:
        """A line for each run, the best first."""
        lines = [f"{'run':>4}{'objective':>16}{'steps':>8}  status"]
        for i in np.argsort(-np.asarray(self.objective), kind="stable"):
            meaning = MEANING[int(self.status[i])]
            lines.append(f"{i:>4}{self.objective[i]:>16.6f}{self.steps[i]:>8}  {meaning}")
        return "\n".join(lines)


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
    from the last two plain steps, is below `tol`; where gains drown in rounding, what they would
    be is told by how far the parameters still move.

    Args:
        starts: A mixture with a leading axis of r runs.
        tol: In nats per unit of sample weight.
        max_steps: Most steps, plain and extrapolated; static.

    The other arguments are those of `step`. A run whose component shrank to the floor on the
    scales, or lost all its points (a weight below half a point), ends as COLLAPSED.

    [1] Varadhan and Roland (2008), "Simple and globally convergent methods for accelerating the
        convergence of any EM algorithm", scheme S3.
    """
    one = jax.tree.map(lambda a: a[0], starts.components)
    table = table.with_constants(one, limits.sharing)
    size = table.sample_weight.sum()

    def advance(taken, path):
        sums = expectation(path.mixtures, table)
        return follow(taken, path, sums, size, prior, limits, tol)

    n_runs, dtype = len(starts.weights), starts.weights.dtype
    path, history, steps = iterate(advance, begin(starts), n_runs, max_steps, dtype)
    status = conclude(path, size, limits)
    return Fit(path.mixtures, path.objective, status, steps, history)


class Path(NamedTuple):
    """Where r runs stand, and the two plain steps that they extrapolate from."""

    mixtures: Mixture
    objective: Float[Array, "r"]
    status: Int[Array, "r"]
    first: Info
    second: Info
    fallback: Mixture


def begin(starts: Mixture) -> Path:
    """Where accelerated runs stand before their first step."""
    nothing = jnp.zeros_like(starts.weights[:, 0])
    info = Info(starts, nothing, nothing)
    return Path(starts, nothing, jnp.full(nothing.shape, RUNNING), info, info, starts)


def follow(
    taken: Int[Array, ""],
    path: Path,
    sums: tuple[Float[Array, "r"], Any],
    size: Float[Array, "..."],
    prior: Any,
    limits: Limits,
    tol: Float[Array, ""],
) -> tuple[Path, Float[Array, "r"], Bool[Array, "r"]]:
    """Take one step of `run`, from sums over the data wherever those come from.

    Args:
        taken: How many steps came before.
        path: From `begin` or the step before.
        sums: What `expectation` gives at `path.mixtures`.
        size: Sum of the sample weights; r of them when each run has data of its own.

    The other arguments are those of `run`. Returns the next path, the objective and which runs
    are done, as `iterate` wants.
    """
    eps = jnp.finfo(path.mixtures.weights.dtype).eps

    def first(path, info, after):
        return path._replace(first=info, mixtures=after), info.objective, path.status

    def second(path, info, after):
        before = jnp.maximum(path.first.moved, jnp.finfo(eps.dtype).tiny)
        rate = jnp.clip(info.moved / before, 0, 1 - 1e-4)
        gain = info.objective - path.first.objective
        noise = 4 * eps * (1 + jnp.abs(info.objective))
        # A quadratic rises by its distance from the top times the step that is still taken.
        near = info.moved**2 / (1 - rate) <= jnp.maximum(tol, eps)
        converged = jnp.where(gain <= noise, near, gain * rate**2 / (1 - rate**2) <= tol)
        status = jnp.where(converged, CONVERGED, path.status)
        ahead = jax.vmap(_extrapolate, (0, 0, 0, None))(
            path.first.mixtures, info.mixtures, after, limits.held
        )
        mixtures = choose(converged, info.mixtures, ahead)
        path = path._replace(second=info, fallback=after, mixtures=mixtures, status=status)
        return path, info.objective, status

    def third(path, info, after):
        better = info.objective >= path.second.objective
        mixtures = choose(better, after, path.fallback)
        objective = jnp.where(better, info.objective, path.second.objective)
        return path._replace(mixtures=mixtures), objective, path.status

    state, info = _maximise(path.mixtures, sums, size, prior, limits)
    path, objective, status = jax.lax.switch(
        taken % 3, (first, second, third), path, info, state.mixtures
    )
    status = jnp.where(jnp.isfinite(objective), status, NOT_FINITE)
    path = path._replace(objective=objective, status=status)
    return path, objective, status != RUNNING


def conclude(path: Path, size: Float[Array, "..."], limits: Limits) -> Int[Array, "r"]:
    """Status of each run: as the loop left it, or COLLAPSED."""
    empty = emptied(path.mixtures.weights, size[..., None], limits.held)
    collapsed = jax.vmap(lambda m: m.components.collapsed(limits.floor))(path.mixtures) | empty
    bad = jnp.any(collapsed, -1) & (path.status != NOT_FINITE)
    return jnp.where(bad, COLLAPSED, path.status)


def emptied(
    weights: Float[Array, "... k"], size: Float[Array, "..."], held: Mixture
) -> Bool[Array, "... k"]:
    """Components that lost all their points: those wholly known need none."""
    known = jnp.stack([jnp.bool_(True), *map(jnp.all, jax.tree.leaves(held.components))]).all()
    return (weights * size < 0.5) & ~held.weights & ~known


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


def best(fit: Fit) -> Int[Array, ""]:
    """Index of the run to keep: the highest objective among sound runs, else among the others."""
    rank = jnp.where(fit.status == NOT_FINITE, 2, jnp.where(fit.status == COLLAPSED, 1, 0))
    candidates = jnp.where(rank == rank.min(), fit.objective, -jnp.inf)
    return jnp.argmax(candidates)
