"""Multivariate normal components, each with a covariance matrix of its own."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import ArrayLike, Bool, Float, Int

from gmm_jax._checks import as_floats, per_component
from gmm_jax._numerics import triangle, triangle_inverse
from gmm_jax._pytree import is_concrete, pytree, rebuild, set_fields
from gmm_jax.families import _split
from gmm_jax.families.incomplete import Incomplete, SecondMoments
from gmm_jax.families.kinds import blend
from gmm_jax.families.limits import Limits, Outline, Sharing
from gmm_jax.families.normal import Normal
from gmm_jax.families.whitened import Whitened, WhitenedTogether

FEW = 10
"""Most products of features that are written out one by one."""
WIDE = 12
"""Dimensions from which on products of features cost more than they save."""


@pytree
class MultivariateNormal:
    """k multivariate normal distributions.

    Args:
        means: k rows of d means.
        scale_trils: k lower triangular d by d matrices L with positive diagonals, the covariance
            being L times its transpose. `from_covariances` takes covariances instead.

    Raises:
        TypeError: not numbers.
        ValueError: shapes that don't fit, NaN, or a matrix that is not such a triangle.

    Example:
        >>> from gmm_jax import MultivariateNormal
        >>> MultivariateNormal.from_covariances([[0, 0]], [[[2, 1], [1, 2]]]).event_shape
        (2,)
    """

    means: Float[Array, "k d"]
    scale_trils: Float[Array, "k d d"]

    centred: ClassVar[bool] = True
    scaled: ClassVar[bool] = True

    def __post_init__(self) -> None:
        means, trils = (
            per_component("means", self.means),
            as_floats("scale_trils", self.scale_trils),
        )
        _check_shape("scale_trils", trils, means)
        if is_concrete(trils):
            matrices = np.asarray(trils)
            if np.any(np.triu(matrices, 1)) or np.any(matrices.diagonal(0, 1, 2) <= 0):
                raise ValueError(
                    "scale_trils must be lower triangular with a positive diagonal: "
                    "for covariances use MultivariateNormal.from_covariances."
                )
        set_fields(self, means=means, scale_trils=trils)

    @classmethod
    def from_covariances(
        cls, means: ArrayLike | Sequence[Any], covariances: ArrayLike | Sequence[Any]
    ) -> "MultivariateNormal":
        """Build components from k covariance matrices.

        Raises:
            ValueError: a matrix that is not symmetric and positive definite.
        """
        located, matrices = per_component("means", means), as_floats("covariances", covariances)
        _check_shape("covariances", matrices, located)
        trils = jnp.linalg.cholesky(matrices)
        if is_concrete(matrices):
            values = np.asarray(matrices)
            symmetric = np.allclose(values, np.swapaxes(values, 1, 2), rtol=1e-4)
            if not symmetric or not np.all(np.isfinite(np.asarray(trils))):
                raise ValueError("covariances must be symmetric and positive definite.")
        return cls(located, trils)

    @property
    def n_components(self) -> int:
        return self.means.shape[0]

    @property
    def event_shape(self) -> tuple[int, ...]:
        return self.means.shape[1:]

    @property
    def covariances(self) -> Float[Array, "k d d"]:
        """Covariance matrices."""
        return self.scale_trils @ jnp.swapaxes(self.scale_trils, -1, -2)

    @property
    def order(self) -> Float[Array | np.ndarray, "k"]:
        return self.means[:, 0]

    @property
    def columns(self) -> dict[str, np.ndarray]:
        """Means, standard deviations and correlations, for tables."""
        trils = np.asarray(self.scale_trils, np.float64)
        covariances = trils @ np.swapaxes(trils, -1, -2)
        scales = np.sqrt(covariances.diagonal(0, 1, 2))
        columns = {f"means[{j}]": np.asarray(m) for j, m in enumerate(np.asarray(self.means).T)}
        columns |= {f"scales[{j}]": s for j, s in enumerate(scales.T)}
        if scales.shape[1] == 2:
            columns["correlation"] = covariances[:, 0, 1] / scales.prod(1)
        return columns

    @staticmethod
    def count_free(limits: Limits) -> int:
        """How many numbers are free: of a triangle, those on and below the diagonal."""
        triangles = np.tril(~np.asarray(limits.held.scale_trils))
        return limits.count("means") + limits.sharing.distinct("scale_trils", triangles)

    @staticmethod
    def check(data: np.ndarray) -> None:
        """Accept rows of finite numbers."""
        if data.ndim != 2:
            raise ValueError(
                "data for MultivariateNormal components must be rows of features, (n, d): "
                "use Normal for single numbers."
            )

    def log_prob(self, data: Float[Array, "n d"]) -> Float[Array, "n k"]:
        """Log density, by a triangular solve with differences from the mean."""
        deviations = jnp.swapaxes(data[:, None] - self.means, 0, 1)

        def distances(tril, deviations):
            whitened = jax.scipy.linalg.solve_triangular(tril, deviations.T, lower=True)
            return (whitened**2).sum(0)

        squared = jax.vmap(distances)(self.scale_trils, deviations)
        return (self._peak()[:, None] - 0.5 * squared).T

    def statistics(
        self, data: Float[Array, "n d"], responsibilities: Float[Array, "n k"]
    ) -> SecondMoments:
        """Sum responsibilities, deviations from these means, and their products."""
        deviations = jnp.swapaxes(data[:, None] - self.means, 0, 1)
        weighted = responsibilities.T[:, :, None] * deviations
        products = jnp.matmul(jnp.swapaxes(weighted, 1, 2), deviations, precision="highest")
        return SecondMoments(responsibilities.sum(0), weighted.sum(1), products)

    def within(
        self, lowest: Float[Array, "..."], highest: Float[Array, "..."]
    ) -> "MultivariateNormal":
        """The same but for means beyond these ends, which are moved there."""
        means = jnp.clip(self.means, lowest, highest)
        return rebuild(type(self), means=means, scale_trils=self.scale_trils)

    def features(self, data: Float[Array, "n d"], only: int | None = None) -> Float[Array, "f n"]:
        """x and the products x_i x_j for i <= j, of which the log density is linear."""
        columns = data.T
        if only == columns.shape[0]:
            return columns
        first, second = np.triu_indices(columns.shape[0])
        if len(first) <= FEW:
            products = [columns[i] * columns[j] for i, j in zip(first, second, strict=True)]
            return jnp.stack([*columns, *products])
        return jnp.concatenate([columns, columns[first] * columns[second]])

    def natural(self) -> tuple[Float[Array, "k f"], Float[Array, "k"]]:
        """Coefficients of the features, and what is added to them to be right at the mean."""
        d, precisions = self.means.shape[1], self._precisions()
        linear = jnp.einsum("kij,kj->ki", precisions, self.means, precision="highest")
        first, second = np.triu_indices(d)
        factors = np.where(first == second, -0.5, -1.0).astype(self.means.dtype)
        coefficients = jnp.concatenate([linear, factors * precisions[:, first, second]], 1)
        at_mean = (coefficients * self.features(self.means).T).sum(1)
        return coefficients, self._peak() - at_mean

    def from_features(self, counts: Float[Array, "k"], sums: Float[Array, "k f"]) -> SecondMoments:
        """The statistics, about these means, that sums of weighted features amount to."""
        d = self.means.shape[1]
        place = np.zeros((d, d), int)
        first, second = np.triu_indices(d)
        place[first, second] = place[second, first] = np.arange(len(first))
        total, raw = sums[:, :d], sums[:, d:][:, place]
        cross = self.means[:, :, None] * total[:, None]
        outer = self.means[:, :, None] * self.means[:, None]
        products = raw - cross - jnp.swapaxes(cross, 1, 2) + outer * counts[:, None, None]
        return SecondMoments(counts, total - self.means * counts[:, None], products)

    def features_suffice(self) -> Bool[Array, ""]:
        """Whether the features keep enough digits: no mean is too many scales from zero."""
        limit = jnp.finfo(self.means.dtype).eps ** -0.175
        narrowest = jnp.diagonal(self.scale_trils, axis1=1, axis2=2).min(1)
        return jnp.all(jnp.linalg.norm(self.means, axis=1) <= limit * narrowest)

    def features_pay(self, own: int) -> bool:
        """Whether products with `own` features cost less than comparing points with means."""
        d = self.means.shape[1]
        return own == d or d < WIDE

    def common_features(self, sharing: Sharing) -> int:
        """How many of the last features have one coefficient for all components."""
        d = self.means.shape[1]
        return d * (d + 1) // 2 if sharing.by_all("scale_trils") else 0

    def mode(self, statistics: SecondMoments, limits: Limits) -> "MultivariateNormal":
        """Weighted means, then weighted covariances about them.

        A covariance that is singular, or narrower than the floor in some direction, gets the
        floor's square added to its diagonal.
        """
        counts, deviations, products = statistics
        moved = jnp.where(limits.held.means, 0, self._moved(statistics, limits.sharing))
        cross = moved[:, :, None] * deviations[:, None]
        outer = moved[:, :, None] * moved[:, None] * counts[:, None, None]
        products = products - cross - jnp.swapaxes(cross, 1, 2) + outer
        total = limits.sharing.pool("scale_trils", counts)
        occupied = total > jnp.finfo(total.dtype).tiny
        safe = jnp.where(occupied, total, 1)[:, None, None]
        covariances = limits.sharing.pool("scale_trils", products) / safe
        keep = limits.held.scale_trils | ~occupied[:, None, None]
        trils = jnp.where(keep, self.scale_trils, _factor(covariances, limits.floor))
        return rebuild(type(self), means=self.means + moved, scale_trils=trils)

    def _moved(self, statistics: SecondMoments, sharing: Sharing) -> Float[Array, "k d"]:
        """How far the means move; those that are shared weigh components by their precision."""
        counts, deviations, _ = statistics
        if not sharing.shares("means"):
            occupied = (counts > jnp.finfo(counts.dtype).tiny)[:, None]
            return jnp.where(occupied, deviations / jnp.where(occupied, counts[:, None], 1), 0)
        precisions = self._precisions()
        shift = sharing.average("means", self.means) - self.means
        deviations = deviations - counts[:, None] * shift
        pulls = jnp.einsum("kij,kj->ki", precisions, deviations, precision="highest")
        stiffness = sharing.pool("means", counts[:, None, None] * precisions)
        pulled = sharing.pool("means", pulls)[..., None]
        return shift + jnp.linalg.solve(stiffness, pulled)[..., 0]

    def impute(
        self, data: Float[Array, "n d"], responsibilities: Float[Array, "n k"]
    ) -> Float[Array, "n d"]:
        """The data with the expected values in place of the missing."""
        return blend(self.fill(data), responsibilities)

    def fill(self, data: Float[Array, "n d"]) -> Float[Array, "n k d"]:
        """The data as each component expects them where they are missing."""
        return self.incomplete().fill(data)

    def complete(
        self, key: Array, data: Float[Array, "n d"], assignments: Int[Array, "n"]
    ) -> Float[Array, "n d"]:
        """The data with draws, given the rest of the point, in place of the missing values.

        A whole point is drawn, and its missing entries moved by what is expected of them given how
        far the others lie from those observed.
        """
        drawn = self.sample(key, assignments)
        own = self.means[assignments], jnp.tril(self.scale_trils)[assignments]
        moved = jax.vmap(lambda *c: Incomplete.expected(c[:2], c[2])[0])(
            *own, own[0] + data - drawn
        )
        return jnp.where(jnp.isnan(data), drawn + moved, data)

    def incomplete(self) -> "Incomplete":
        """The same distributions for points with missing entries (NaN)."""
        # What stands above the diagonal has no meaning, and must get none.
        return Incomplete(self.means, jnp.tril(self.scale_trils))

    def unconstrained(self) -> "MultivariateNormal":
        """Means, and triangles with the logs of their diagonals."""
        return self._with_diagonal(jnp.log)

    def constrained(self) -> "MultivariateNormal":
        """Undo `unconstrained`."""
        return self._with_diagonal(jnp.exp)

    def _with_diagonal(self, change: Callable[[Array], Array]) -> "MultivariateNormal":
        identity = jnp.eye(self.means.shape[1], dtype=bool)
        trils = jnp.where(
            identity, change(jnp.where(identity, self.scale_trils, 1)), self.scale_trils
        )
        return rebuild(type(self), means=self.means, scale_trils=trils)

    def collapsed(self, floor: Float[Array, ""]) -> Bool[Array, "k"]:
        """A component has collapsed when it is no wider than the floor in some direction."""
        return jnp.diagonal(self.scale_trils, axis1=1, axis2=2).min(1) <= 1.5 * floor

    def sample(self, key: Array, assignments: Int[Array, "n"]) -> Float[Array, "n d"]:
        noise = jax.random.normal(key, (len(assignments), self.means.shape[1]), self.means.dtype)
        return self.means[assignments] + jnp.einsum(
            "nij,nj->ni", self.scale_trils[assignments], noise, precision="highest"
        )

    def affine(self, shift: ArrayLike, scale: ArrayLike) -> "MultivariateNormal":
        # Row i of a triangle is in the unit of feature i.
        trils = (scale * self.scale_trils.swapaxes(-1, -2)).swapaxes(-1, -2)
        return rebuild(type(self), means=shift + scale * self.means, scale_trils=trils)

    @classmethod
    def around(cls, centres: Float[Array, "k d"], outline: Outline) -> "MultivariateNormal":
        k, d = centres.shape
        identity = jnp.broadcast_to(jnp.eye(d, dtype=centres.dtype), (k, d, d))
        return rebuild(cls, means=centres, scale_trils=outline.spread * identity)

    def prepared(self, own: int) -> Whitened | WhitenedTogether:
        """The same distributions for comparison with many points.

        Args:
            own: As in `features_pay`.
        """
        inverses, peaks = triangle_inverse(self.scale_trils), self._peak()
        if own == self.means.shape[1]:
            return WhitenedTogether(self.means, inverses[0], peaks[0])
        return Whitened(self.means, inverses, peaks)

    def _precisions(self) -> Float[Array, "k d d"]:
        inverses = triangle_inverse(self.scale_trils)
        return jnp.matmul(jnp.swapaxes(inverses, 1, 2), inverses, precision="highest")

    def marginal(self, dims: Any) -> "MultivariateNormal | Normal":
        """The components of some features; of a single number, one-dimensional normals."""
        chosen = np.array(_split.features(dims, *self.event_shape))
        means, trils = self.means[:, chosen], _split.triangles(self.scale_trils[:, chosen])
        if np.ndim(dims) == 0:
            return rebuild(Normal, means=means[:, 0], scales=trils[:, 0, 0])
        return rebuild(type(self), means=means, scale_trils=trils)

    def condition(self, dims: Any, values: Any) -> tuple["MultivariateNormal", Float[Array, "k"]]:
        """The other features given `values` of some, and the log density of these values."""
        known = _split.features(dims, *self.event_shape, some_left=True)
        row = _split.as_row(values, len(known), self.means.dtype)
        means, trils, log_prob = _split.given(self.means, self.scale_trils, known, row)
        return rebuild(type(self), means=means, scale_trils=trils), log_prob

    def _peak(self) -> Float[Array, "k"]:
        diagonals = jnp.diagonal(self.scale_trils, axis1=1, axis2=2)
        d = self.means.shape[1]
        return -jnp.log(diagonals).sum(1) - 0.5 * d * jnp.log(2 * jnp.pi)


def _factor(covariances: Float[Array, "k d d"], floor: Array) -> Float[Array, "k d d"]:
    """Cholesky factors; those that are narrower than the floor are widened by it."""
    identity = jnp.eye(covariances.shape[1], dtype=covariances.dtype)
    trils = triangle(covariances)
    diagonals = jnp.diagonal(trils, axis1=1, axis2=2)
    sound = jnp.all(jnp.isfinite(trils), (1, 2)) & (diagonals.min(1) > floor)
    widened = triangle(covariances + floor**2 * identity)
    finite = jnp.all(jnp.isfinite(widened), (1, 2), keepdims=True)
    return jnp.where(sound[:, None, None], trils, jnp.where(finite, widened, floor * identity))


def _check_shape(name: str, matrices: Array, means: Array) -> None:
    expected = (*means.shape, means.shape[-1])
    if means.ndim != 2 or matrices.shape != expected:
        raise ValueError(
            f"{name} must be k matrices of d by d, {expected} for means of shape {means.shape}, "
            f"got {matrices.shape}."
        )
