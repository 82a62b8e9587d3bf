"""Student-t components: like normals, with tails that let outliers be."""

from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import betainc, digamma, gammaln
from jaxtyping import ArrayLike, Bool, Float, Int

from gmm_jax._checks import per_component, positive, shaped_like
from gmm_jax._pytree import pytree, rebuild, set_fields
from gmm_jax.families.limits import Limits, Outline
from gmm_jax.families.separable import Separable, Sums, ratio

LEAST, MOST = 0.5, 200.0
"""EM estimates degrees of freedom between these; above, the tails are a normal's, and L-BFGS may
find any number best."""


@pytree
class StudentT(Separable):
    """k Student-t distributions, with independent features where there are several.

    Args:
        means: k centres, or k rows of d (the means, where dfs are above 1).
        scales: As many, or one for all. In the data's unit; a standard deviation only in the
            limit of many degrees of freedom.
        dfs: Degrees of freedom, as many, or one for all.

    Raises:
        TypeError: not numbers.
        ValueError: a scale or df that is not positive, shapes that differ, NaN.

    Example:
        >>> import jax.numpy as jnp
        >>> from gmm_jax import StudentT
        >>> components = StudentT(means=[0.0], scales=[1.0], dfs=[3.0])
        >>> round(float(components.log_prob(jnp.array([1.0]))[0, 0]), 4)
        -1.5763
    """

    means: Float[Array, "k ..."]
    scales: Float[Array, "k ..."]
    dfs: Float[Array, "k ..."]

    centred: ClassVar[bool] = True
    scaled: ClassVar[bool] = True
    supports: ClassVar[dict[str, str]] = {
        "means": "real",
        "scales": "positive",
        "dfs": "positive",
    }

    def __post_init__(self) -> None:
        means = per_component("means", self.means)
        scales = shaped_like("scales", self.scales, "means", means)
        dfs = shaped_like("dfs", self.dfs, "means", means)
        positive("scales", scales)
        positive("dfs", dfs)
        set_fields(self, means=means, scales=scales, dfs=dfs)

    def log_density(self, data: Array) -> Array:
        """Log density; subtracts before it squares."""
        squared = ((data - self.means) / self.scales) ** 2
        tails = (self.dfs + 1) / 2 * jnp.log1p(squared / self.dfs)
        return log_peak(self.dfs, jnp.ones_like(self.dfs)) - jnp.log(self.scales) - tails

    def expectation(self) -> Float[Array, "k ..."]:
        return self.means

    def sufficient(self, data: Array) -> tuple[Array, ...]:
        """The precision u that a point speaks for, u times deviation and its square, log u - u."""
        deviations = data - self.means
        precisions = (self.dfs + 1) / (self.dfs + (deviations / self.scales) ** 2)
        weighted = precisions * deviations
        return precisions, weighted, weighted * deviations, jnp.log(precisions) - precisions

    def expected_sufficient(self) -> tuple[Array, ...]:
        half = (self.dfs + 1) / 2
        # That log u is on average this much below the log of its mean enters `mode` for all.
        expected = digamma(self.dfs / 2) - jnp.log(self.dfs / 2) - digamma(half) + jnp.log(half)
        ones = jnp.ones_like(self.dfs)
        return ones, jnp.zeros_like(ones), self.scales**2, expected - 1

    def mode(self, statistics: Sums, limits: Limits) -> "StudentT":
        """Means and scales weighted by u, then degrees of freedom [1].

        The mean of u in a component need not be 1: it is one more unknown, which free scales take
        up (parameter expansion [2]).

        [1] Peel and McLachlan (2000), "Robust mixture modelling using the t distribution".
        [2] Liu, Rubin and Wu (1998), "Parameter expansion to accelerate EM: the PX-EM algorithm".
        """
        precisions, deviations, squares, logs = statistics.sums
        held, pool, counts = limits.held, limits.sharing.pool, self.counts(statistics)
        shift, inverse = jnp.zeros_like(counts), jnp.ones_like(counts)
        if limits.sharing.shares("means"):
            shift = limits.sharing.average("means", self.means) - self.means
            inverse = self.scales**-2
        pulled = pool("means", inverse * (deviations - precisions * shift))
        below = pool("means", inverse * precisions)
        moved = shift + ratio(pulled, below, jnp.zeros_like(counts))
        moved = jnp.where(held.means, 0, moved)
        squares = squares - 2 * moved * deviations + precisions * moved**2
        spread = mean_precision(counts, precisions, self.dfs, held.scales, "scales", limits)
        below = spread * pool("scales", counts)
        variances = ratio(pool("scales", squares), below, self.scales**2)
        scales = jnp.maximum(jnp.sqrt(jnp.maximum(variances, 0)), limits.floor)
        half = (self.dfs + 1) / 2
        # The sums are of log u - u, where u is what is expected, and log u not yet.
        logs = logs + precisions + counts * (digamma(half) - jnp.log(half))
        return rebuild(
            type(self),
            means=self.means + moved,
            scales=jnp.where(held.scales, self.scales, scales),
            dfs=next_dfs(counts, precisions, logs, spread, self.dfs, limits),
        )

    def collapsed(self, floor: Float[Array, ""]) -> Bool[Array, "k"]:
        """A component has collapsed when any of its scales lies at the floor."""
        return (self.scales <= floor * 1.001).reshape(self.n_components, -1).any(-1)

    def cdf(self, data: Float[Array, "n ..."]) -> Float[Array, "n k"]:
        """Share of each component below each point, of one feature."""
        z = (data[:, None] - self.means) / self.scales
        tail = 0.5 * betainc(self.dfs / 2, 0.5, self.dfs / (self.dfs + z**2))
        return jnp.where(z < 0, tail, 1 - tail).reshape(len(data), -1)

    def sample(self, key: Array, assignments: Int[Array, "n"]) -> Float[Array, "n ..."]:
        draws = jax.random.t(key, self.dfs[assignments])
        return self.means[assignments] + self.scales[assignments] * draws

    def affine(self, shift: ArrayLike, scale: ArrayLike) -> "StudentT":
        means, scales = shift + scale * self.means, scale * self.scales
        return rebuild(type(self), means=means, scales=scales, dfs=self.dfs)

    def constrained(self) -> "StudentT":
        """Undo `unconstrained`; degrees of freedom stay where `mode` keeps them."""
        free = super().constrained()
        return rebuild(type(self), means=free.means, scales=free.scales, dfs=within_reach(free.dfs))

    @classmethod
    def around(cls, centres: Float[Array, "k ..."], outline: Outline) -> "StudentT":
        scales, dfs = jnp.full_like(centres, outline.spread), jnp.full_like(centres, 10)
        return rebuild(cls, means=centres, scales=scales, dfs=dfs)


def log_peak(dfs: Array, features: Array) -> Array:
    """Log density at the centre of t distributions of scale 1.

    Where there are many degrees of freedom, by the difference of two Stirling series: that of log
    gamma functions would lose its digits.
    """
    a, h = dfs / 2, features / 2
    many = a > 30
    exact = gammaln(a + h) - gammaln(a) - h * jnp.log(a)
    a = jnp.where(many, a, 30)
    series = (a + h - 0.5) * jnp.log1p(h / a) - h + _stirling(a + h) - _stirling(a)
    return jnp.where(many, series, exact) - h * jnp.log(2 * jnp.pi)


def _stirling(z: Array) -> Array:
    """What Stirling's formula lacks of log gamma."""
    return 1 / (12 * z) - 1 / (360 * z**3) + 1 / (1260 * z**5)


def mean_precision(
    counts: Array,
    precisions: Array,
    dfs: Array,
    held: Array | np.ndarray,
    name: str,
    limits: Limits,
) -> Array:
    """The mean of u that maximises the expected log density, 1 where the scale is held.

    `name` is that of the scales, which are to absorb it: those that share them share it.
    """
    pool, one = limits.sharing.pool, jnp.ones_like(counts)
    spread = ratio(pool(name, dfs * precisions), pool(name, dfs * counts), one)
    return jnp.where(pool(name, jnp.asarray(held, counts.dtype)) > 0, one, spread)


def next_dfs(
    counts: Array, precisions: Array, logs: Array, spread: Array, dfs: Array, limits: Limits
) -> Array:
    """Degrees of freedom that the sums of u and of its expected logs imply, at a mean of u."""
    pool, one = limits.sharing.pool, jnp.ones_like(counts)
    level = ratio(logs, counts, -one) - jnp.log(spread)
    level = 1 + level - ratio(precisions, counts, one) / spread
    total = pool("dfs", counts)
    level = ratio(pool("dfs", counts * level), total, level)
    keep = limits.held.dfs | (total <= jnp.finfo(total.dtype).tiny)
    return jnp.where(keep, dfs, _solve(level))


def within_reach(dfs: Array) -> Array:
    """Degrees of freedom no further out than those that `next_dfs` gives.

    The likelihood hardly changes beyond, and a climb would run on to where numbers end.
    """
    return jnp.clip(dfs, LEAST, MOST)


def _solve(level: Array) -> Array:
    """Solve log(v / 2) - digamma(v / 2) + level = 0 for v by bisection of its logarithm."""

    def narrow(_, window):
        low, high = window
        middle = (low + high) / 2
        half = jnp.exp(middle) / 2
        above = jnp.log(half) - digamma(half) + level > 0
        return jnp.where(above, middle, low), jnp.where(above, high, middle)

    ends = jnp.full_like(level, np.log(LEAST)), jnp.full_like(level, np.log(MOST))
    low, high = jax.lax.fori_loop(0, 40, narrow, ends)
    return jnp.exp((low + high) / 2)
