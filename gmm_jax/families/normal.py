"""Normal components: one number a point, or d independent features."""

from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import ArrayLike, Bool, Float, Int

from gmm_jax._checks import per_component, positive, shaped_like
from gmm_jax._pytree import columns_of, pytree, rebuild, set_fields
from gmm_jax.families import _split


class Moments(NamedTuple):
    """Weighted sums of deviations from the means of the components that took them."""

    counts: Float[Array, "k"]
    deviations: Float[Array, "k ..."]
    squares: Float[Array, "k ..."]


@pytree
class Normal:
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

    def __post_init__(self) -> None:
        means = per_component("means", self.means)
        scales = shaped_like("scales", self.scales, "means", means)
        positive("scales", scales)
        set_fields(self, means=means, scales=scales)

    @property
    def n_components(self) -> int:
        return self.means.shape[0]

    @property
    def event_shape(self) -> tuple[int, ...]:
        return self.means.shape[1:]

    @property
    def order(self) -> Float[Array | np.ndarray, "k"]:
        return self.means.reshape(self.n_components, -1)[:, 0]

    @property
    def columns(self) -> dict[str, np.ndarray]:
        """Parameters by name, (k,), one column a feature where there are several; for tables."""
        return columns_of(means=self.means, scales=self.scales)

    @staticmethod
    def shapes(k: int, event: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        """Shape of each parameter."""
        return {"means": (k, *event), "scales": (k, *event)}

    @staticmethod
    def count_free(held: "Normal") -> int:
        """How many numbers are free."""
        return int((~held.means).sum() + (~held.scales).sum())

    @staticmethod
    def check(data: np.ndarray) -> None:
        """Accept any finite numbers."""

    def log_prob(self, data: Float[Array, "n ..."]) -> Float[Array, "n k"]:
        """Log density, summed over features; subtracts before it squares."""
        standardised = (data[:, None] - self.means) / self.scales
        terms = -0.5 * standardised**2 - jnp.log(self.scales) - 0.5 * jnp.log(2 * jnp.pi)
        return terms.reshape(*terms.shape[:2], -1).sum(-1)

    def statistics(
        self, data: Float[Array, "n ..."], responsibilities: Float[Array, "n k"]
    ) -> Moments:
        """Sum responsibilities, deviations from these means, and their squares."""
        deviations = data[:, None] - self.means
        shares = responsibilities.reshape(responsibilities.shape + (1,) * (data.ndim - 1))
        weighted = shares * deviations
        return Moments(responsibilities.sum(0), weighted.sum(0), (weighted * deviations).sum(0))

    def features(self, data: Float[Array, "n ..."]) -> Float[Array, "f n"]:
        """x and x^2, of which the log density is a linear function."""
        rows = data.reshape(data.shape[0], -1).T
        return jnp.concatenate([rows, rows**2])

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

    def features_suffice(self) -> Bool[Array, ""]:
        """Whether the features keep enough digits: no mean is too many scales away from zero."""
        limit = jnp.finfo(self.means.dtype).eps ** -0.175
        return jnp.all(jnp.abs(self.means) <= limit * self.scales)

    def mode(self, statistics: Moments, held: "Normal", floor: Float[Array, ""]) -> "Normal":
        """Weighted means, then weighted spreads about them, at least `floor`."""
        means, scales = self.proposed(statistics, held)
        scales = jnp.where(held.scales, self.scales, jnp.maximum(scales, floor))
        return rebuild(type(self), means=means, scales=scales)

    def proposed(
        self, statistics: Moments, held: "Normal"
    ) -> tuple[Float[Array, "k ..."], Float[Array, "k ..."]]:
        counts, deviations, squares = statistics
        counts = counts.reshape(counts.shape + (1,) * (self.means.ndim - 1))
        occupied = counts > jnp.finfo(counts.dtype).tiny
        safe = jnp.where(occupied, counts, 1)
        moved = jnp.where(held.means | ~occupied, 0, deviations / safe)
        # Squares about the new means: those about the old ones, less what the move explains.
        variances = squares / safe - 2 * moved * deviations / safe + moved**2
        scales = jnp.sqrt(jnp.maximum(variances, 0))
        return self.means + moved, jnp.where(occupied, scales, self.scales)

    def unconstrained(self) -> "Normal":
        """Means, and logs of scales."""
        return rebuild(type(self), means=self.means, scales=jnp.log(self.scales))

    def constrained(self) -> "Normal":
        """Undo `unconstrained`."""
        return rebuild(type(self), means=self.means, scales=jnp.exp(self.scales))

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
    def around(cls, centres: Float[Array, "k ..."], spread: Float[Array, ""]) -> "Normal":
        return rebuild(cls, means=centres, scales=jnp.full_like(centres, spread))

    def cdf(self, data: Float[Array, "n ..."]) -> Float[Array, "n k"]:
        """Share of each component below each point, of one feature."""
        standardised = (data[:, None] - self.means) / self.scales
        return jax.scipy.special.ndtr(standardised).reshape(len(data), -1)

    def marginal(self, dims: Any) -> "Normal":
        """The components of some features; of a single number, one-dimensional ones."""
        chosen = _split.features(dims, *self.event_shape)
        index = chosen[0] if np.ndim(dims) == 0 else np.array(chosen)
        return rebuild(type(self), means=self.means[:, index], scales=self.scales[:, index])

    def condition(self, dims: Any, values: Any) -> tuple["Normal", Float[Array, "k"]]:
        """The components of the other features, and the log density of the known `values`."""
        known = _split.features(dims, *self.event_shape, some_left=True)
        row = _split.as_row(values, len(known), self.means.dtype)
        rest = [j for j in range(self.event_shape[0]) if j not in known]
        log_prob = self.marginal(known).log_prob(row[None])[0]
        return self.marginal(rest), log_prob
