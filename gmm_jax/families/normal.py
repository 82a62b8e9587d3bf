"""Normal components: one number a point, or d independent features."""

from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import ArrayLike, Bool, Float, Int

from gmm_jax._checks import per_component, positive, shaped_like
from gmm_jax._pytree import pytree, rebuild, set_fields
from gmm_jax.families.kinds import blend
from gmm_jax.families.limits import Limits, Outline, Sharing
from gmm_jax.families.parametric import Parametric


class Moments(NamedTuple):
    """Weighted sums of deviations from the means of the components that took them."""

    counts: Float[Array, "k"]
    deviations: Float[Array, "k ..."]
    squares: Float[Array, "k ..."]


@pytree
class Normal(Parametric):
    """k normal distributions, with independent features where there are several.

    Args:
        means: k means, or k rows of d means.
        scales: Standard deviations, as many as means, or one for all. In the data's unit.

    Raises:
        TypeError: not numbers.
        ValueError: a scale that is not positive, shapes that differ, NaN.

    Example:
        >>> from gmm_jax import Normal
        >>> Normal(means=[350.0, 500.0], scales=[2.0, 2.0]).n_components
        2
    """

    means: Float[Array, "k ..."]
    scales: Float[Array, "k ..."]

    centred: ClassVar[bool] = True
    scaled: ClassVar[bool] = True
    supports: ClassVar[dict[str, str]] = {"means": "real", "scales": "positive"}

    def __post_init__(self) -> None:
        means = per_component("means", self.means)
        scales = shaped_like("scales", self.scales, "means", means)
        positive("scales", scales)
        set_fields(self, means=means, scales=scales)

    @staticmethod
    def check(data: np.ndarray) -> None:
        """Accept any finite numbers."""

    def log_prob(self, data: Float[Array, "n ..."]) -> Float[Array, "n k"]:
        """Log density, summed over features that are not NaN; subtracts before it squares."""
        missing = jnp.isnan(data)[:, None]
        standardised = jnp.where(missing, 0, data[:, None] - self.means) / self.scales
        terms = -0.5 * standardised**2 - jnp.log(self.scales) - 0.5 * jnp.log(2 * jnp.pi)
        terms = jnp.where(missing, 0, terms)
        return terms.reshape(*terms.shape[:2], -1).sum(-1)

    def statistics(
        self, data: Float[Array, "n ..."], responsibilities: Float[Array, "n k"]
    ) -> Moments:
        """Sum responsibilities, deviations from these means, and their squares.

        A missing value (NaN) counts as what is expected of it under each component.
        """
        missing = jnp.isnan(data)[:, None]
        deviations = jnp.where(missing, 0, data[:, None] - self.means)
        squares = jnp.where(missing, self.scales**2, deviations**2)
        shares = responsibilities.reshape(responsibilities.shape + (1,) * (data.ndim - 1))
        sums = (shares * deviations).sum(0), (shares * squares).sum(0)
        return Moments(responsibilities.sum(0), *sums)

    def within(self, lowest: Float[Array, "..."], highest: Float[Array, "..."]) -> "Normal":
        """The same but for means beyond these ends, which are moved there."""
        means = jnp.clip(self.means, lowest, highest)
        return rebuild(type(self), means=means, scales=self.scales)

    def features(self, data: Float[Array, "n ..."], only: int | None = None) -> Float[Array, "f n"]:
        """x and x^2, of which the log density is a linear function; or the first of them."""
        rows = data.reshape(data.shape[0], -1).T
        return rows if only == rows.shape[0] else jnp.concatenate([rows, rows**2])

    def natural(self) -> tuple[Float[Array, "k f"], Float[Array, "k"]]:
        """Coefficients of the features, and what is added to them.

        The constant makes the density right at the mean to rounding, although the coefficients
        are rounded.
        """
        k = self.n_components
        means, scales = self.means.reshape(k, -1), self.scales.reshape(k, -1)
        precisions = scales**-2
        coefficients = jnp.concatenate([means * precisions, -0.5 * precisions], 1)
        at_mean = (coefficients * jnp.concatenate([means, means**2], 1)).sum(1)
        peak = -(jnp.log(scales) + 0.5 * jnp.log(2 * jnp.pi)).sum(1)
        return coefficients, peak - at_mean

    def from_features(self, counts: Float[Array, "k"], sums: Float[Array, "k f"]) -> Moments:
        """The statistics, about these means, that sums of weighted features amount to."""
        k = self.n_components
        means = self.means.reshape(k, -1)
        total, squares = jnp.split(sums, 2, axis=1)
        deviations = total - means * counts[:, None]
        squares = squares - 2 * means * total + means**2 * counts[:, None]
        return Moments(
            counts, deviations.reshape(self.means.shape), squares.reshape(self.means.shape)
        )

    def common_features(self, sharing: Sharing) -> int:
        """How many of the last features have one coefficient for all components."""
        return self.means[0].size if sharing.by_all("scales") else 0

    def features_pay(self, own: int) -> bool:
        """Whether products with `own` features cost less than comparing points with means."""
        return True

    def features_suffice(self) -> Bool[Array, ""]:
        """Whether the features keep enough digits: no mean is too many scales away from zero."""
        limit = jnp.finfo(self.means.dtype).eps ** -0.175
        return jnp.all(jnp.abs(self.means) <= limit * self.scales)

    def mode(self, statistics: Moments, limits: Limits) -> "Normal":
        """Weighted means, then weighted spreads about them, at least the floor."""
        counts, deviations, squares = statistics
        held, pool = limits.held, limits.sharing.pool
        counts = counts.reshape(counts.shape + (1,) * (self.means.ndim - 1))
        counts = jnp.broadcast_to(counts, self.means.shape)
        shift, precisions = jnp.zeros_like(self.means), jnp.ones_like(self.scales)
        if limits.sharing.shares("means"):
            # Means that are shared weigh components by their precision.
            shift = limits.sharing.average("means", self.means) - self.means
            precisions = self.scales**-2
        pulled = pool("means", precisions * (deviations - counts * shift))
        moved = shift + _ratio(pulled, pool("means", precisions * counts))
        moved = jnp.where(held.means, 0, moved)
        # Squares about the new means: those about the old ones, less what the move explains.
        squares = squares - 2 * moved * deviations + counts * moved**2
        total = pool("scales", counts)
        scales = jnp.sqrt(jnp.maximum(_ratio(pool("scales", squares), total), 0))
        keep = held.scales | (total <= jnp.finfo(total.dtype).tiny)
        scales = jnp.where(keep, self.scales, jnp.maximum(scales, limits.floor))
        return rebuild(type(self), means=self.means + moved, scales=scales)

    @staticmethod
    def count_free(limits: Limits) -> int:
        """How many numbers are free."""
        return limits.count("means") + limits.count("scales")

    def impute(
        self, data: Float[Array, "n ..."], responsibilities: Float[Array, "n k"]
    ) -> Float[Array, "n ..."]:
        """The data with the expected values in place of the missing."""
        return blend(self.fill(data), responsibilities)

    def fill(self, data: Float[Array, "n ..."]) -> Float[Array, "n k ..."]:
        """The data as each component expects them where they are missing."""
        return jnp.where(jnp.isnan(data)[:, None], self.means, data[:, None])

    def collapsed(self, floor: Float[Array, ""]) -> Bool[Array, "k"]:
        """A component has collapsed when any of its scales lies at the floor."""
        at_floor = self.scales <= floor * 1.001
        return at_floor.reshape(self.n_components, -1).any(-1)

    def sample(self, key: Array, assignments: Int[Array, "n"]) -> Float[Array, "n ..."]:
        means, scales = self.means[assignments], self.scales[assignments]
        return means + scales * jax.random.normal(key, means.shape, means.dtype)

    def affine(self, shift: ArrayLike, scale: ArrayLike) -> "Normal":
        return rebuild(type(self), means=shift + scale * self.means, scales=scale * self.scales)

    @classmethod
    def around(cls, centres: Float[Array, "k ..."], outline: Outline) -> "Normal":
        return rebuild(cls, means=centres, scales=jnp.full_like(centres, outline.spread))

    def cdf(self, data: Float[Array, "n ..."]) -> Float[Array, "n k"]:
        """Share of each component below each point, of one feature."""
        standardised = (data[:, None] - self.means) / self.scales
        return jax.scipy.special.ndtr(standardised).reshape(len(data), -1)


def _ratio(above: Array, below: Array) -> Array:
    """Divide, and give 0 where there is nothing to divide by."""
    some = below > jnp.finfo(below.dtype).tiny
    return jnp.where(some, above / jnp.where(some, below, 1), 0)
