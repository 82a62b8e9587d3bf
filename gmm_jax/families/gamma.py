"""Gamma components: positive numbers, or d independent ones."""

from typing import ClassVar

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import digamma, gammainc, polygamma
from jaxtyping import ArrayLike, Bool, Float, Int

from gmm_jax._checks import per_component, positive, shaped_like
from gmm_jax._numerics import log_gamma, log_gamma_peak
from gmm_jax._pytree import pytree, rebuild, set_fields
from gmm_jax.families.limits import Limits, Outline
from gmm_jax.families.separable import Separable, Sums, ratio

FAR = 1e3
"""Times its mean a number may be at most for `sufficient` to keep its digits."""


@pytree
class Gamma(Separable):
    """k gamma distributions, with independent features where there are several.

    Args:
        shapes: k shapes, or k rows of d.
        rates: As many, or one for all; the mean is shape / rate.

    Raises:
        TypeError: not numbers.
        ValueError: a shape or rate that is not positive, shapes that differ, NaN.

    Example:
        >>> import jax.numpy as jnp
        >>> from gmm_jax import Gamma
        >>> round(float(Gamma(shapes=[2.0], rates=[1.0]).log_prob(jnp.array([1.5]))[0, 0]), 4)
        -1.0945
    """

    shapes: Float[Array, "k ..."]
    rates: Float[Array, "k ..."]

    scaled: ClassVar[bool] = True
    supports: ClassVar[dict[str, str]] = {"shapes": "positive", "rates": "positive"}

    def __post_init__(self) -> None:
        shapes = per_component("shapes", self.shapes)
        rates = shaped_like("rates", self.rates, "shapes", shapes)
        positive("shapes", shapes)
        positive("rates", rates)
        set_fields(self, shapes=shapes, rates=rates)

    @property
    def order(self) -> Float[Array | np.ndarray, "k"]:
        return (self.shapes / self.rates).reshape(self.n_components, -1)[:, 0]

    @staticmethod
    def check(data: np.ndarray) -> None:
        """Accept numbers above 0."""
        if np.nanmin(data) <= 0:
            raise ValueError(
                f"data for Gamma components must be above zero, got {np.nanmin(data):g}."
            )

    def log_density(self, data: Array) -> Array:
        """Log density; none at zero and below.

        With y the point over the component's mean: shapes (log y - y + 1) - log x, and a constant
        for each component. The textbook's terms grow with the shapes and cancel.
        """
        safe = jnp.where(data > 0, data, 1)
        relative = jnp.maximum(safe / self.expectation(), jnp.finfo(safe.dtype).tiny)
        terms = -self.shapes * _excess(relative) - jnp.log(safe)
        return jnp.where(data > 0, terms + log_gamma_peak(self.shapes), -jnp.inf)

    def expectation(self) -> Float[Array, "k ..."]:
        return self.shapes / self.rates

    def within(self, lowest: Float[Array, "..."], highest: Float[Array, "..."]) -> "Gamma":
        """The same but for means beyond these ends, or far below the higher, which are moved there.

        Of numbers that are many times the mean, `sufficient` loses the logarithm's digits.
        """
        least = jnp.finfo(highest.dtype).tiny ** 0.5
        lowest = jnp.maximum(jnp.maximum(lowest, highest / FAR), least)
        means = jnp.maximum(jnp.minimum(self.expectation(), highest), lowest)
        return rebuild(Gamma, shapes=self.shapes, rates=self.shapes / means)

    def sufficient(self, data: Array) -> tuple[Array, ...]:
        """With y the point over the component's mean: y - 1, and y - 1 - log y."""
        relative = jnp.maximum(data / self.expectation(), jnp.finfo(data.dtype).tiny)
        return relative - 1, _excess(relative)

    def expected_sufficient(self) -> tuple[Array, ...]:
        excess = jnp.log(self.shapes) - digamma(self.shapes)
        return jnp.zeros_like(excess), excess

    def mode(self, statistics: Sums, limits: Limits) -> "Gamma":
        """Shapes by Newton's method from the ratio of means, then rates.

        Where rates are free, the shape solves log(shape) - digamma(shape) = log of the mean less
        the mean log; else the digamma equation at the rate as it is.
        """
        above, excess = statistics.sums
        counts, pool = self.counts(statistics), limits.sharing.pool
        # log of the mean less the mean log, both of data over the current mean
        moved = ratio(above, counts, jnp.zeros_like(above))
        gap = ratio(excess, counts, jnp.zeros_like(above)) - (moved - jnp.log1p(moved))
        at_rate = jnp.log(self.shapes) - gap + jnp.log1p(moved)
        total = pool("shapes", counts)
        gap = ratio(pool("shapes", counts * gap), total, jnp.ones_like(gap))
        free = _shape_of_gap(jnp.maximum(gap, limits.floor**2 / 2))
        level = ratio(pool("shapes", counts * at_rate), total, at_rate)
        bound = limits.held.rates | limits.sharing.shares("rates")
        shapes = jnp.where(bound, _inverse_digamma(level, self.shapes), free)
        keep = limits.held.shapes | (total <= jnp.finfo(total.dtype).tiny)
        shapes = jnp.where(keep, self.shapes, shapes)
        sums = pool("rates", counts * (1 + moved) * self.expectation())
        rates = ratio(pool("rates", counts * shapes), sums, self.rates)
        rates = jnp.where(limits.held.rates, self.rates, rates)
        return rebuild(type(self), shapes=shapes, rates=rates)

    def collapsed(self, floor: Float[Array, ""]) -> Bool[Array, "k"]:
        """A component has collapsed when its relative spread, 1 / sqrt(shape), is the floor."""
        narrow = self.shapes * (2 * floor) ** 2 >= 1
        return narrow.reshape(self.n_components, -1).any(-1)

    def cdf(self, data: Float[Array, "n ..."]) -> Float[Array, "n k"]:
        """Share of each component below each point, of one feature."""
        below = gammainc(self.shapes, self.rates * jnp.maximum(data[:, None], 0))
        return below.reshape(len(data), -1)

    def sample(self, key: Array, assignments: Int[Array, "n"]) -> Float[Array, "n ..."]:
        # A small shape gives draws that would round to 0, where there is no density.
        shapes, log_rates = self.shapes[assignments], jnp.log(self.rates[assignments])
        draws = jnp.exp(log_gamma(key, shapes) - log_rates)
        return jnp.maximum(draws, jnp.finfo(draws.dtype).tiny)

    def affine(self, shift: ArrayLike, scale: ArrayLike) -> "Gamma":
        return rebuild(type(self), shapes=self.shapes, rates=self.rates / scale)

    @classmethod
    def around(cls, centres: Float[Array, "k ..."], outline: Outline) -> "Gamma":
        """The shape that gives the outline's spread, between 1 and 1000."""
        means = jnp.abs(centres) + 1e-3 * outline.spread
        shapes = jnp.clip((means / outline.spread) ** 2, 1, 1000)
        return rebuild(cls, shapes=shapes, rates=shapes / means)


def _excess(relative: Array) -> Array:
    """y - 1 - log y, at least 0."""
    return relative - 1 - jnp.log(relative)


def _shape_of_gap(gap: Array) -> Array:
    """Solve log a - digamma(a) = gap by a generalised Newton's method.

    Minka (2002), "Estimating a gamma distribution".
    """
    shape = (3 - gap + jnp.sqrt((gap - 3) ** 2 + 24 * gap)) / (12 * gap)
    for _ in range(5):
        # Where the shape is large the series is what the difference of logs would round away.
        series = 1 / (2 * shape) + 1 / (12 * shape**2)
        exact = jnp.log(shape) - digamma(shape)
        value = jnp.where(shape > 50, series, exact)
        slope = jnp.where(
            shape > 50,
            -1 / (2 * shape**2) - 1 / (6 * shape**3),
            1 / shape - polygamma(1, shape),
        )
        shape = 1 / (1 / shape + (gap - value) / (-slope * shape**2))
    return shape


def _inverse_digamma(level: Array, start: Array) -> Array:
    """Solve digamma(a) = level by Newton's method in log a."""
    log_shape = jnp.where(level > -2.2, jnp.log(jnp.exp(level) + 0.5), -jnp.log(-level + 0.5772))
    for _ in range(8):
        shape = jnp.exp(log_shape)
        step = (level - digamma(shape)) / (shape * polygamma(1, shape))
        log_shape = log_shape + jnp.clip(step, -2, 2)
    return jnp.exp(log_shape)
