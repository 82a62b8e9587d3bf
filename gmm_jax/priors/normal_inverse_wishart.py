"""The conjugate prior of multivariate normal components."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import digamma
from jaxtyping import ArrayLike, Float

from gmm_jax import divergences
from gmm_jax._checks import as_floats
from gmm_jax._numerics import triangle, triangle_inverse
from gmm_jax._pytree import is_concrete, pytree, rebuild
from gmm_jax.distributions import InverseWishart, MultivariateNormals, log_diagonal
from gmm_jax.families import MultivariateNormal
from gmm_jax.families.incomplete import Incomplete
from gmm_jax.families.limits import Limits
from gmm_jax.families.multivariate_normal import SecondMoments
from gmm_jax.priors.components import ConjugatePrior


@pytree
class NormalInverseWishart(ConjugatePrior):
    """covariances ~ InverseWishart(df, scale_matrix), means ~ N(mean, covariance / mean_count).

    Conjugate: after n points the distribution is of the same kind [1].

    Args:
        mean: d numbers where component means are expected, or one such row per component.
        mean_count: How many points that expectation is worth; one number, or one per component.
        df: Degrees of freedom, above d - 1: how many points what is known of a covariance is
            worth; one number, or one per component.
        scale_matrix: (d, d), or one per component; scale_matrix / (df + d + 1) is the most
            probable covariance.

    Raises:
        ValueError: a mean_count or df that is not positive, a matrix that is not symmetric and
            positive definite.

    Example:
        >>> import numpy as np
        >>> from gmm_jax import MixturePrior, NormalInverseWishart
        >>> components = NormalInverseWishart([0, 0], mean_count=0.1, df=4, scale_matrix=np.eye(2))
        >>> sorted(MixturePrior(1, components).sites(3, (2,)))
        ['covariances', 'means', 'weights']

    [1] Murphy (2007), "Conjugate Bayesian analysis of the Gaussian distribution", section 9.
    """

    mean: Float[Array, "..."]
    mean_count: Float[Array, "..."]
    df: Float[Array, "..."]
    scale_matrix: Float[Array, "... d d"]

    kind: ClassVar[Any] = MultivariateNormal
    supports: ClassVar[dict[str, str]] = {
        "mean": "real",
        "mean_count": "positive",
        "df": "positive",
        "scale_matrix": "real",
    }
    ranks: ClassVar[dict[str, int]] = {"mean": 2, "scale_matrix": 3}
    entire: ClassVar[dict[str, int]] = {"scale_trils": 2}

    def __post_init__(self) -> None:
        matrix = as_floats("scale_matrix", self.scale_matrix)
        if matrix.ndim not in (2, 3) or matrix.shape[-1] != matrix.shape[-2]:
            raise ValueError(f"scale_matrix must be (d, d) or (k, d, d), got shape {matrix.shape}.")
        super().__post_init__()
        if is_concrete((matrix, self.df)):
            values = np.asarray(matrix, np.float64)
            even = np.allclose(values, np.swapaxes(values, -1, -2), rtol=1e-4)
            if not even or np.linalg.eigvalsh(values).min() <= 0:
                raise ValueError("scale_matrix must be symmetric and positive definite.")
            d = matrix.shape[-1]
            if np.min(np.asarray(self.df)) <= d - 1:
                raise ValueError(
                    f"df must be above d - 1 = {d - 1} for {d} features, got {self.df}."
                )

    @property
    def typical_scale(self) -> Float[Array, "... d"]:
        """Standard deviations where the covariance is most probable."""
        d = self.scale_matrix.shape[-1]
        diagonal = jnp.diagonal(jnp.asarray(self.scale_matrix), axis1=-2, axis2=-1)
        return jnp.sqrt(diagonal / (jnp.asarray(self.df)[..., None] + d + 1))

    def shapes(self, n_components: int, event_shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        k, d = n_components, *event_shape
        return {"mean": (k, d), "mean_count": (k,), "df": (k,), "scale_matrix": (k, d, d)}

    def sites(self) -> dict[str, Any]:
        def means(values: dict[str, Array]) -> MultivariateNormals:
            counts = jnp.asarray(self.mean_count)[..., None, None]
            return MultivariateNormals(self.mean, triangle(values["covariances"] / counts))

        return {"covariances": InverseWishart(self.df, self.scale_matrix), "means": means}

    def sample(self, key: Array) -> MultivariateNormal:
        covariances_key, means_key = jax.random.split(key)
        trils = InverseWishart(self.df, self.scale_matrix).sample_trils(covariances_key)
        spread = trils / jnp.sqrt(self.mean_count)[..., None, None]
        means = MultivariateNormals(self.mean, spread).sample(means_key)
        return rebuild(MultivariateNormal, means=means, scale_trils=trils)

    def assemble(self, **values: Array) -> MultivariateNormal:
        trils = triangle(values["covariances"])
        return rebuild(MultivariateNormal, means=values["means"], scale_trils=trils)

    def values(self, components: MultivariateNormal) -> dict[str, Array]:
        trils = jnp.tril(components.scale_trils)
        covariances = jnp.matmul(trils, jnp.swapaxes(trils, -1, -2), precision="highest")
        return {"means": components.means, "covariances": covariances}

    def log_prob(self, components: MultivariateNormal) -> Float[Array, "k"]:
        trils = jnp.tril(components.scale_trils)
        inverse = triangle_inverse(trils)
        off = jnp.einsum("kij,kj->ki", inverse, components.means - self.mean, precision="highest")
        ratio = jnp.matmul(inverse, triangle(self.scale_matrix), precision="highest")
        return self._log_density(log_diagonal(trils), off, ratio)

    def log_prob_matched(self, components: MultivariateNormal) -> Float[Array, "k k"]:
        trils = jnp.tril(components.scale_trils)
        inverse = triangle_inverse(trils)
        off = components.means - self.mean[:, None]
        off = jnp.einsum("kij,pkj->pki", inverse, off, precision="highest")
        scale_trils = triangle(self.scale_matrix)
        ratio = jnp.einsum("kij,pjl->kipl", inverse, scale_trils, precision="highest")
        places = jax.tree.map(lambda a: a[:, None], self)
        return places._log_density(log_diagonal(trils), off, jnp.moveaxis(ratio, 2, 0))

    def _log_density(self, log_scale: Array, off: Array, ratio: Array) -> Array:
        """From the triangles: a covariance may be too flat to have one in rounding.

        Args:
            log_scale: Sum of the logs of the triangle's diagonal.
            off: How far means are off, in whitened units.
            ratio: The triangle of `scale_matrix`, in the same.
        """
        d, count = off.shape[-1], self.mean_count
        means = (d * jnp.log(count / (2 * jnp.pi)) - count * (off**2).sum(-1)) / 2 - log_scale
        covariances = InverseWishart(self.df, self.scale_matrix)
        return means + covariances.log_density(log_scale, (ratio**2).sum((-1, -2)))

    def given(
        self, components: MultivariateNormal, statistics: SecondMoments, floor: Float[Array, ""]
    ) -> "NormalInverseWishart":
        counts, deviations, products = statistics
        average = deviations / jnp.maximum(counts, jnp.finfo(counts.dtype).tiny)[:, None]
        within = products - average[:, :, None] * deviations[:, None]
        total = self.mean_count + counts
        distance = components.means + average - self.mean
        pull = self.mean_count * counts / total
        outer = distance[:, :, None] * distance[:, None]
        return rebuild(
            type(self),
            mean=self.mean + (counts / total)[:, None] * distance,
            mean_count=total,
            df=self.df + counts,
            scale_matrix=self.scale_matrix + within + pull[:, None, None] * outer,
        )

    def draw(
        self,
        key: Array,
        components: MultivariateNormal,
        statistics: SecondMoments,
        floor: Float[Array, ""],
        held: MultivariateNormal,
    ) -> MultivariateNormal:
        """Covariances, given the means where some of these are held; then means.

        A mean of which some entries are held is drawn whole, and moved by what is expected of the
        others given how far these were off.
        """
        after = self.given(components, statistics, floor)
        covariances_key, means_key = jax.random.split(key)
        off = jnp.where(held.means.any(1), after.mean_count, 0)[:, None]
        off = jnp.sqrt(off) * (components.means - after.mean)
        covariances = InverseWishart(
            after.df + held.means.any(1), after.scale_matrix + off[:, :, None] * off[:, None]
        )
        trils = covariances.sample_trils(covariances_key)
        trils = jnp.where(held.scale_trils, components.scale_trils, trils)
        spread = trils / jnp.sqrt(after.mean_count)[:, None, None]
        means = MultivariateNormals(after.mean, spread).sample(means_key)
        target = jnp.where(held.means, components.means - means, jnp.nan)
        zero = jnp.zeros(means.shape[1], means.dtype)
        moved = jax.vmap(lambda tril, gap: Incomplete.expected((zero, tril), gap)[0])(trils, target)
        means = jnp.where(held.means, components.means, means + moved)
        return rebuild(MultivariateNormal, means=means, scale_trils=trils)

    def mode(
        self, components: MultivariateNormal, statistics: SecondMoments, limits: Limits
    ) -> MultivariateNormal:
        """The mean of the conditional, and scale_matrix / (df + d + 2) as the covariance."""
        after = self.given(components, statistics, limits.floor)
        means = jnp.where(limits.held.means, components.means, after.mean)
        off = means - after.mean
        outer = off[:, :, None] * off[:, None] * after.mean_count[:, None, None]
        d = means.shape[1]
        covariances = (after.scale_matrix + outer) / (after.df + d + 2)[:, None, None]
        trils = jnp.where(limits.held.scale_trils, components.scale_trils, triangle(covariances))
        return rebuild(MultivariateNormal, means=means, scale_trils=trils)

    def geometric_mean(self) -> tuple[MultivariateNormal, Float[Array, "k"]]:
        d = self.mean.shape[-1]
        halves = self.df[:, None] / 2
        trils = triangle(self.scale_matrix / self.df[:, None, None])
        each = digamma(halves - jnp.arange(d) / 2) - jnp.log(halves)
        log_masses = (each.sum(-1) - d / self.mean_count) / 2
        return rebuild(MultivariateNormal, means=self.mean, scale_trils=trils), log_masses

    def divergence(self, other: "NormalInverseWishart") -> Float[Array, "k"]:
        d = self.mean.shape[-1]
        tril, its_tril = triangle(self.scale_matrix), triangle(other.scale_matrix)
        inverse = triangle_inverse(tril)
        log_ratio = 2 * (log_diagonal(tril) - log_diagonal(its_tril))
        trace = (jnp.matmul(inverse, its_tril, precision="highest") ** 2).sum((-1, -2))
        off = jnp.einsum("kij,kj->ki", inverse, self.mean - other.mean, precision="highest")
        off = other.mean_count * self.df * (off**2).sum(-1)
        ratio = other.mean_count / self.mean_count
        covariances = divergences.inverse_wishart(self.df, other.df, log_ratio, trace, d)
        return covariances + (d * (ratio - 1 - jnp.log(ratio)) + off) / 2

    def affine(self, shift: ArrayLike, scale: ArrayLike) -> "NormalInverseWishart":
        scales = scale * np.ones(self.scale_matrix.shape[-1])
        matrix = self.scale_matrix * scales[:, None] * scales
        return self._with({"mean": shift + scale * self.mean, "scale_matrix": matrix})
