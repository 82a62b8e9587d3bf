"""Multivariate Student-t components: like multivariate normals, with tails that let outliers be."""

from collections.abc import Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import ArrayLike, Bool, Float, Int

from gmm_jax._checks import positive, shaped_like
from gmm_jax._numerics import log_gamma, triangle_inverse
from gmm_jax._pytree import pytree, rebuild, set_fields
from gmm_jax.families import _split
from gmm_jax.families.incomplete import SecondMoments
from gmm_jax.families.incomplete_t import IncompleteT, WeighedMoments, log_gap
from gmm_jax.families.kinds import blend
from gmm_jax.families.limits import Limits, Outline
from gmm_jax.families.multivariate_normal import MultivariateNormal
from gmm_jax.families.separable import ratio
from gmm_jax.families.student_t import (
    StudentT,
    log_peak,
    mean_precision,
    next_dfs,
    within_reach,
)


@pytree
class MultivariateStudentT:
    """k multivariate Student-t distributions.

    Each is a normal whose covariance is divided, point by point, by a precision that is gamma
    distributed with mean 1: points far out speak for a small one, and pull little.

    Args:
        means: k rows of d centres (the means, where dfs are above 1).
        scale_trils: k lower triangular d by d matrices L with positive diagonals; L times its
            transpose is the scale matrix, to which the covariance tends as dfs grow.
            `from_scale_matrices` takes scale matrices instead.
        dfs: k degrees of freedom, or one for all.

    Raises:
        TypeError: not numbers.
        ValueError: shapes that don't fit, NaN, a df that is not positive, or a matrix that is not
            such a triangle.

    One covariance structure for all components, as for normals, is `shared={"scale_trils": True}`
    in `fit`. A value that is missing (NaN) is missing at random, and EM is exact.

    Example:
        >>> import jax.numpy as jnp
        >>> from gmm_jax import MultivariateStudentT
        >>> components = MultivariateStudentT([[0.0, 0.0]], jnp.eye(2)[None], dfs=[3.0])
        >>> round(float(components.log_prob(jnp.array([[1.0, 1.0]]))[0, 0]), 4)
        -3.1149
    """

    means: Float[Array, "k d"]
    scale_trils: Float[Array, "k d d"]
    dfs: Float[Array, "k"]

    centred: ClassVar[bool] = True
    scaled: ClassVar[bool] = True

    def __post_init__(self) -> None:
        normals = MultivariateNormal(self.means, self.scale_trils)
        dfs = shaped_like("dfs", self.dfs, "components", normals.means[:, 0])
        positive("dfs", dfs)
        set_fields(self, means=normals.means, scale_trils=normals.scale_trils, dfs=dfs)

    @classmethod
    def from_scale_matrices(
        cls,
        means: ArrayLike | Sequence[Any],
        scale_matrices: ArrayLike | Sequence[Any],
        dfs: ArrayLike | Sequence[Any],
    ) -> "MultivariateStudentT":
        """Build components from k scale matrices.

        Raises:
            ValueError: a matrix that is not symmetric and positive definite.
        """
        normals = MultivariateNormal.from_covariances(means, scale_matrices)
        return cls(normals.means, normals.scale_trils, dfs)

    @property
    def normals(self) -> MultivariateNormal:
        """Normals with these means and triangles: what a point is given a precision of 1."""
        return rebuild(MultivariateNormal, means=self.means, scale_trils=self.scale_trils)

    def _like(self, normals: MultivariateNormal, dfs: Any = None) -> "MultivariateStudentT":
        dfs = self.dfs if dfs is None else dfs
        return rebuild(
            MultivariateStudentT, means=normals.means, scale_trils=normals.scale_trils, dfs=dfs
        )

    @property
    def n_components(self) -> int:
        return self.means.shape[0]

    @property
    def event_shape(self) -> tuple[int, ...]:
        return self.means.shape[1:]

    @property
    def scale_matrices(self) -> Float[Array, "k d d"]:
        """Covariances but for the factor dfs / (dfs - 2)."""
        return self.normals.covariances

    @property
    def order(self) -> Float[Array | np.ndarray, "k"]:
        return self.means[:, 0]

    @property
    def columns(self) -> dict[str, np.ndarray]:
        """Means, scales, correlations and degrees of freedom, for tables."""
        return {**self.normals.columns, "dfs": np.asarray(self.dfs, np.float64)}

    @staticmethod
    def count_free(limits: Limits) -> int:
        """How many numbers are free."""
        return MultivariateNormal.count_free(limits) + limits.count("dfs")

    @staticmethod
    def check(data: np.ndarray) -> None:
        """Accept rows of finite numbers."""
        if data.ndim != 2:
            raise ValueError(
                "data for MultivariateStudentT components must be rows of features, (n, d): "
                "use StudentT for single numbers."
            )

    def log_prob(self, data: Float[Array, "n d"]) -> Float[Array, "n k"]:
        """Log density, from differences from the centre."""
        d, columns = self.means.shape[1], data.T

        def distances(component: Any) -> Array:
            mean, inverse = component
            return (_product(inverse, columns - mean[:, None]) ** 2).sum(0)

        squared = jax.lax.map(distances, (self.means, triangle_inverse(self.scale_trils))).T
        diagonals = jnp.diagonal(self.scale_trils, axis1=1, axis2=2)
        peak = log_peak(self.dfs, jnp.full_like(self.dfs, d)) - jnp.log(diagonals).sum(1)
        return peak - (self.dfs + d) / 2 * jnp.log1p(squared / self.dfs)

    def statistics(
        self, data: Float[Array, "n d"], responsibilities: Float[Array, "n k"]
    ) -> WeighedMoments:
        """Sum responsibilities, precisions, and deviations from these means weighted by them."""
        d, columns = self.means.shape[1], data.T

        def sums(component: Any) -> tuple[Array, ...]:
            mean, inverse, df, shares = component
            deviations = columns - mean[:, None]
            squared = (_product(inverse, deviations) ** 2).sum(0)
            precisions = (df + d) / (df + squared)
            weighted = deviations * (shares * precisions)
            return (
                shares @ precisions,
                weighted.sum(1),
                _product(weighted, deviations.T),
                shares @ (jnp.log(precisions) + log_gap((df + d) / 2)),
            )

        components = self.means, triangle_inverse(self.scale_trils), self.dfs, responsibilities.T
        return WeighedMoments(responsibilities.sum(0), *jax.lax.map(sums, components))

    def mode(self, statistics: WeighedMoments, limits: Limits) -> "MultivariateStudentT":
        """Means and covariances weighted by precision, then degrees of freedom [1].

        The mean precision of a component need not be 1: it is one more unknown, which triangles
        take up (parameter expansion [2]); where some of a triangle is held it is 1.

        [1] Peel and McLachlan (2000), "Robust mixture modelling using the t distribution".
        [2] Liu, Rubin and Wu (1998), "Parameter expansion to accelerate EM: the PX-EM algorithm".
        """
        counts, precisions, deviations, products, logs = statistics
        pool = limits.sharing.pool
        normals = self.normals.mode(SecondMoments(precisions, deviations, products), limits)
        held = jnp.any(limits.held.scale_trils, (1, 2))
        spread = mean_precision(counts, precisions, self.dfs, held, "scale_trils", limits)
        # The normals have divided by the sum of precisions.
        total, below = pool("scale_trils", precisions), spread * pool("scale_trils", counts)
        stretch = jnp.sqrt(ratio(total, below, jnp.ones_like(counts)))[:, None, None]
        trils = jnp.where(limits.held.scale_trils, self.scale_trils, stretch * normals.scale_trils)
        dfs = next_dfs(counts, precisions, logs, spread, self.dfs, limits)
        return rebuild(type(self), means=normals.means, scale_trils=trils, dfs=dfs)

    def impute(
        self, data: Float[Array, "n d"], responsibilities: Float[Array, "n k"]
    ) -> Float[Array, "n d"]:
        """The data with the expected values in place of the missing."""
        return blend(self.fill(data), responsibilities)

    def fill(self, data: Float[Array, "n d"]) -> Float[Array, "n k d"]:
        """The data as each component expects them where they are missing: as normals do."""
        return self.normals.fill(data)

    def unconstrained(self) -> "MultivariateStudentT":
        """Means, triangles with the logs of their diagonals, and logs of degrees of freedom."""
        return self._like(self.normals.unconstrained(), jnp.log(self.dfs))

    def constrained(self) -> "MultivariateStudentT":
        """Undo `unconstrained`."""
        return self._like(self.normals.constrained(), within_reach(jnp.exp(self.dfs)))

    def collapsed(self, floor: Float[Array, ""]) -> Bool[Array, "k"]:
        """A component has collapsed when it is no wider than the floor in some direction."""
        return self.normals.collapsed(floor)

    def sample(self, key: Array, assignments: Int[Array, "n"]) -> Float[Array, "n d"]:
        noise_key, precision_key = jax.random.split(key)
        half = self.dfs[assignments] / 2
        precisions = jnp.exp(log_gamma(precision_key, half)) / half
        means = self.means[assignments]
        noise = self.normals.sample(noise_key, assignments) - means
        return means + noise / jnp.sqrt(precisions)[:, None]

    def affine(self, shift: ArrayLike, scale: ArrayLike) -> "MultivariateStudentT":
        return self._like(self.normals.affine(shift, scale))

    @classmethod
    def around(cls, centres: Float[Array, "k d"], outline: Outline) -> "MultivariateStudentT":
        normals = MultivariateNormal.around(centres, outline)
        dfs = jnp.full_like(centres[:, 0], 10)
        return rebuild(cls, means=centres, scale_trils=normals.scale_trils, dfs=dfs)

    def incomplete(self) -> IncompleteT:
        """The same distributions for points with missing entries (NaN)."""
        # What stands above the diagonal has no meaning, and must get none.
        return IncompleteT(self.means, jnp.tril(self.scale_trils), self.dfs)

    def marginal(self, dims: Any) -> "MultivariateStudentT | StudentT":
        """The components of some features; of a single number, one-dimensional ones."""
        normals = self.normals.marginal(dims)
        if isinstance(normals, MultivariateNormal):
            return self._like(normals)
        return rebuild(StudentT, means=normals.means, scales=normals.scales, dfs=self.dfs)

    def condition(self, dims: Any, values: Any) -> tuple["MultivariateStudentT", Float[Array, "k"]]:
        """The other features given `values` of some, and the log density of these values.

        What is known adds to the degrees of freedom, and widens the rest if it is unusual [1].

        [1] Ding (2016), "On the conditional distribution of the multivariate t distribution".
        """
        known = _split.features(dims, *self.event_shape, some_left=True)
        row = _split.as_row(values, len(known), self.means.dtype)
        part = self._like(self.normals.marginal(known))
        squared = jax.vmap(lambda inverse, x: ((inverse @ x) ** 2).sum())(
            triangle_inverse(part.scale_trils), row - part.means
        )
        normals, _ = self.normals.condition(known, row)
        dfs = self.dfs + len(known)
        widths = jnp.sqrt((self.dfs + squared) / dfs)[:, None, None]
        trils = widths * normals.scale_trils
        rest = rebuild(type(self), means=normals.means, scale_trils=trils, dfs=dfs)
        return rest, part.log_prob(row[None])[0]


def _product(a: Array, b: Array) -> Array:
    # Full float32 also where a matrix unit would round its input to fewer digits.
    return jnp.matmul(a, b, precision="highest")
