"""The E step: what a mixture makes of all the data, summed block by block.

Points are divided among components softly, as EM does, or by a draw, as Gibbs sampling does.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from gmm_jax._numerics import categorical, log_sum_exp, safe_log
from gmm_jax._pytree import pytree, rebuild, static
from gmm_jax._sharding import Rows
from gmm_jax.families.limits import Sharing
from gmm_jax.mixture import Mixture

LARGE = 512
"""Rows from which on features pay."""
LOWEST = -1e30
"""In place of log 0, which times a power of 0 would be no number."""
CELLS = 2**17
"""Most numbers of one kind that a block should come to, so that they stay in the cache."""


@pytree
class Table:
    """The data as every step reads them: b blocks of n points, and how often each counts.

    Rows that only fill a block have weight 0. `incomplete` says that NaN stands for entries that
    are missing at random; `constants` are the weighted sums of those features whose coefficients
    all components share. `rows` says over which devices the blocks are split, if over several.
    """

    points: Float[Array | np.ndarray, "b n ..."]
    sample_weight: Float[Array | np.ndarray, "b n"]
    constants: Float[Array, "c"] | None = None
    incomplete: bool = static(default=False)
    rows: Rows | None = static(default=None)

    def summed(self, over_block: Callable[..., Any], *more: Any) -> Any:
        """Sum what `over_block` makes of the points and weights of each block.

        Arrays that have `more` for each block are given to it, too.
        """
        if self.rows is not None:
            # Every device sums its own blocks; what the devices found is added up once.
            own = self.rows.each(lambda *part: Table(*part).summed(over_block), summed=True)
            return own(self.points, self.sample_weight)
        blocks = self.points, self.sample_weight, *more
        first = jax.tree.map(lambda a: a[0], blocks)
        if self.points.shape[0] == 1:
            return over_block(*first)
        zero = jax.tree.map(
            lambda a: jnp.zeros(a.shape, a.dtype), jax.eval_shape(over_block, *first)
        )

        def add(sums, block):
            return jax.tree.map(jnp.add, sums, over_block(*block)), None

        return jax.lax.scan(add, zero, blocks)[0]

    def in_blocks(self, width: int, least: int = LARGE) -> "Table":
        """Halve blocks until `width` numbers a row fit the cache, or `least` rows are left."""
        rows = self.sample_weight.shape[1]
        while rows * width > CELLS and rows % 2 == 0 and rows > least:
            rows //= 2
        points = self.points.reshape(-1, rows, *self.points.shape[2:])
        weight = self.sample_weight.reshape(-1, rows)
        return rebuild(Table, **(vars(self) | {"points": points, "sample_weight": weight}))

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


class Chance(NamedTuple):
    """What decides the draws in a block."""

    uniforms: Float[Array, "... r n"]
    keys: Array | None
    """For each run, of values that are missing; None where none is."""


def expectation(
    mixtures: Mixture,
    table: Table,
    key: Array | None = None,
    power: Any = 1.0,
    about: Any = None,
) -> tuple[Float[Array, "r"], Any]:
    """Sum log density and statistics over all points, block by block, for r mixtures at once.

    Args:
        mixtures: Current parameters, with a leading axis of r runs.
        table: The data.
        key: With it the statistics are those of a draw: each point is assigned to one component,
            with probability proportional to (weight times density)^power, and what is missing of
            it is drawn from that.
        power: One number, or one for each point (b, n).
        about: Components that the statistics of a draw are taken about, if not the mixtures' own.

    Returns:
        Total log density of the data, and the component statistics, of each run.

    Where a family's log density is linear in features of the data, large data go through two
    matrix products, unless some run has a component too narrow for that: then, and for little
    data, each point is compared with each mean.
    """

    draw = None if key is None else (key, jnp.broadcast_to(power, table.sample_weight.shape))
    about = mixtures.components if about is None else about
    if table.incomplete or table.sample_weight.size < LARGE:
        return _directly(mixtures, lambda c: _seeing(c, table.incomplete), table, draw, about)
    one = jax.tree.map(lambda a: a[0], mixtures.components)
    own = _own_features(one, table) if hasattr(one, "features") else 0

    def directly():
        prepared = hasattr(one, "prepared")
        see = (lambda c: c.prepared(own)) if prepared else (lambda c: c)
        return _directly(mixtures, see, table, draw, about)

    if not own or not one.features_pay(own):
        return directly()
    suffice = jax.vmap(lambda m: m.components.features_suffice())(mixtures)
    return jax.lax.cond(
        jnp.all(suffice), lambda: _by_features(mixtures, table, draw, about), directly
    )


def _directly(
    mixtures: Mixture,
    see: Callable[[Any], Any],
    table: Table,
    draw: tuple[Array, Array] | None,
    about: Any,
) -> tuple[Float[Array, "r"], Any]:
    """Log density and statistics from comparing the points with what `see` makes of components."""
    seen = jax.vmap(see)(mixtures.components)
    log_weights = safe_log(mixtures.weights)
    few = table.sample_weight.size < LARGE
    # A component's differences from the points lie beside them. Products of larger blocks are
    # divided among threads, which takes longer than it saves.
    width = mixtures.weights.size + 2 * math.prod(table.points.shape[2:])
    twice = log_weights.dtype.itemsize // 4
    blocks = table.in_blocks(twice * width, LARGE // twice)
    # Values that are drawn make points complete: then the components themselves sum them.
    counting = seen if draw is None else about if table.incomplete else jax.vmap(see)(about)
    chance = _chance(*draw, log_weights.shape[0], blocks) if draw else ()

    def over_block(points, weight, chance=None, power=1.0):
        def one(run):
            log_weights, components, seen, counting, chance = run
            each = (log_weights + seen.log_prob(points)).T
            log_prob = log_sum_exp(each, 0)
            total = jnp.sum(jnp.where(weight > 0, weight * log_prob, 0))
            if chance is None:
                possible = jnp.where(jnp.isfinite(log_prob), log_prob, 0)
                return total, counting.statistics(points, (jnp.exp(each - possible) * weight).T)
            assignments = categorical(chance.uniforms, (power * jnp.maximum(each, LOWEST)).T)
            whole = points
            if table.incomplete:
                whole = components.complete(chance.keys, points, assignments)
            one_hot = assignments[:, None] == jnp.arange(each.shape[0])
            return total, counting.statistics(whole, one_hot * weight[:, None])

        # One run after the other where there is enough to do: products with a batch are slower.
        each_run = jax.vmap(one) if few else lambda runs: jax.lax.map(one, runs)
        return each_run((log_weights, mixtures.components, seen, counting, chance))

    return blocks.summed(over_block, *chance)


def _chance(key: Array, power: Array, n_runs: int, blocks: Table) -> tuple[Chance, Array]:
    """The chance of every block and run, and the power of every block."""
    n_blocks, n = blocks.sample_weight.shape
    keys = None
    if blocks.incomplete:
        missing_key, key = jax.random.split(key)
        keys = jax.random.split(missing_key, (n_blocks, n_runs))
    uniforms = jax.random.uniform(key, (n_blocks, n_runs, n), blocks.points.dtype)
    return Chance(uniforms, keys), power.reshape(n_blocks, n)


def log_joint(
    mixture: Mixture, points: Float[Array, "n ..."], incomplete: bool
) -> Float[Array, "n k"]:
    """Log of weight times density; `incomplete` says that NaN stands for missing entries."""
    components = _seeing(mixture.components, incomplete)
    return safe_log(mixture.weights) + components.log_prob(points)


def log_likelihood(mixture: Mixture, table: Table) -> Float[Array, ""]:
    """Sum the log density of all points, assignments and what is missing summed out."""

    def over_block(points, weight):
        each = log_sum_exp(log_joint(mixture, points, table.incomplete), -1)
        return jnp.sum(jnp.where(weight > 0, weight * each, 0))

    return table.summed(over_block)


def _seeing(components: Any, incomplete: bool) -> Any:
    """The components as they see points, some of which may have missing entries."""
    return (
        components.incomplete() if incomplete and hasattr(components, "incomplete") else components
    )


def _own_features(components: Any, table: Table) -> int:
    """How many features have a coefficient of their own in each component."""
    event = jax.ShapeDtypeStruct((1, *table.points.shape[2:]), table.points.dtype)
    all_of_them = jax.eval_shape(components.features, event).shape[0]
    return all_of_them - (0 if table.constants is None else table.constants.shape[0])


def _by_features(
    mixtures: Mixture, table: Table, draw: tuple[Array, Array] | None, about: Any
) -> tuple[Float[Array, "r"], Any]:
    """Log density and statistics from products with the features of the points.

    Features whose coefficients all components share don't tell them apart, and their sums are
    known beforehand.
    """
    one = jax.tree.map(lambda a: a[0], mixtures.components)
    coefficients, constants = jax.vmap(lambda m: m.components.natural())(mixtures)
    own = _own_features(one, table)
    size = coefficients.shape[-1] - own
    offsets = (constants + safe_log(mixtures.weights))[..., None]

    def over_block(points, weight, chance=None, power=1.0):
        features = one.features(points, own)
        # Full float32 also where a matrix unit would round its input to fewer digits.
        each = offsets + jnp.matmul(coefficients[..., :own], features, precision="highest")
        largest = each.max(1)
        terms = jnp.exp(each - largest[:, None])
        summed = terms.sum(1)
        total = (weight * (largest + jnp.log(summed))).sum(-1)
        responsibilities = terms * (weight / summed)[:, None]
        if chance is not None:
            powers = (power * (each - largest[:, None])).swapaxes(1, 2)
            assignments = categorical(chance.uniforms, powers)[:, None]
            one_hot = assignments == jnp.arange(each.shape[1])[:, None]
            responsibilities = one_hot * weight
        sums = jnp.matmul(responsibilities, features.T, precision="highest")
        return total, responsibilities.sum(-1), sums

    width = mixtures.weights.size + own
    blocks = table.in_blocks(width)
    chance = _chance(*draw, len(mixtures.weights), blocks) if draw else ()
    total, counts, sums = blocks.summed(over_block, *chance)
    if size:
        total = total + jnp.matmul(coefficients[:, 0, own:], table.constants, precision="highest")
        # Only their total over components is ever used.
        even = jnp.broadcast_to(table.constants / counts.shape[1], (*counts.shape, size))
        sums = jnp.concatenate([sums, even], -1)
    statistics = jax.vmap(lambda c, counts, sums: c.from_features(counts, sums))(
        about, counts, sums
    )
    return total, statistics
