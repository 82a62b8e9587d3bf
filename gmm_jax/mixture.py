"""A mixture with known parameters: weights, components, and what they say about a point."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import ArrayLike, Float, Int

from gmm_jax._checks import as_count, as_floats, as_key, proportions, reached
from gmm_jax._data import float_dtype
from gmm_jax._numerics import log_sum_exp, safe_log
from gmm_jax._pytree import is_concrete, pytree, rebuild, set_fields
from gmm_jax.saving import Savable

if TYPE_CHECKING:
    from gmm_jax.families import Family


@pytree
class Mixture(Savable):
    """k components and the share of points that each produces.

    Args:
        weights: k shares that sum to one.
        components: k components of one family, such as `Normal` or `Bernoulli`.

    Raises:
        TypeError: `components` is not a family of components.
        ValueError: weights that are negative, don't sum to one, or are not k in number.

    Every method takes one point, or an array of points of any shape, and is pure: it works under
    `jit`, `vmap` and `grad`. NaN is a value that is missing (for the multivariate families
    outside of `jit` only).

    Example:
        >>> from gmm_jax import Mixture, Normal
        >>> bentos = Mixture([0.4, 0.6], Normal([350.0, 500.0], [2.0, 2.0]))
        >>> [round(float(share), 3) for share in bentos.responsibilities(425.0)]
        [0.4, 0.6]
    """

    weights: Float[Array, "k"]
    components: "Family"

    def __post_init__(self) -> None:
        if isinstance(self.components, type) or not hasattr(self.components, "log_prob"):
            raise TypeError(
                f"components must be a family such as Normal(means, scales) or Bernoulli(probs), "
                f"got {type(self.components).__name__}."
            )
        weights = proportions("weights", as_floats("weights", self.weights))
        if weights.shape[0] != self.components.n_components:
            raise ValueError(
                f"weights has {weights.shape[0]} entries but components has "
                f"{self.components.n_components}: give one weight per component."
            )
        set_fields(self, weights=weights)

    @property
    def n_components(self) -> int:
        """k, the number of components."""
        return self.components.n_components

    def log_joint(self, data: ArrayLike | Sequence[Any]) -> Float[Array, "... k"]:
        """Log of weight times density, for every point and component."""
        points, batch = self._points(data)
        return _log_joint(self._seeing(points), points).reshape(*batch, -1)

    def log_prob(self, data: ArrayLike | Sequence[Any]) -> Float[Array, "..."]:
        """Log density of the mixture at every point, log sum_k w_k p_k(x), in nats."""
        points, batch = self._points(data)
        return _log_prob(self._seeing(points), points).reshape(batch)

    def responsibilities(self, data: ArrayLike | Sequence[Any]) -> Float[Array, "... k"]:
        """Probability that each component produced each point; sums to one over components.

        Raises:
            ValueError: a point has density 0 under every component (outside of `jit`).
        """
        return jax.nn.softmax(reached(self.log_joint(data)), -1)

    def assign(self, data: ArrayLike | Sequence[Any]) -> Int[Array, "..."]:
        """Index of the component that most probably produced each point."""
        return jnp.argmax(reached(self.log_joint(data)), -1)

    def assignment_entropy(self, data: ArrayLike | Sequence[Any]) -> Float[Array, "..."]:
        """Entropy, in nats, of the component given the point: 0 is certain, log k is a guess."""
        shares = self.responsibilities(data)
        return jnp.abs(jnp.sum(shares * safe_log(jnp.where(shares > 0, shares, 1)), -1))

    def impute(self, data: ArrayLike | Sequence[Any]) -> Float[Array, "..."]:
        """The data with what is expected, given the rest of the point, in place of missing values.

        Categories become the most probable one.
        """
        points, batch = self._points(data)
        shares = _responsibilities(self._seeing(points), points)
        filled = _impute(self, points, shares)
        return jnp.where(jnp.isnan(points), filled, points).reshape(*batch, *points.shape[1:])

    def sample(self, key: Array, n: int) -> tuple[Float[Array, "n ..."], Int[Array, "n"]]:
        """Draw `n` points, in random order, and the components that they came from."""
        assignment_key, point_key = jax.random.split(as_key(key))
        n = as_count("n", n)
        assignments = jax.random.categorical(assignment_key, safe_log(self.weights), shape=(n,))
        return self.components.sample(point_key, assignments), assignments

    def decision_boundaries(self) -> np.ndarray:
        """All points where the most probable component changes; see `landscape`."""
        from gmm_jax.landscape import decision_boundaries

        return decision_boundaries(self)

    def modes(self) -> np.ndarray:
        """All local maxima of the density; see `landscape`."""
        from gmm_jax.landscape import modes

        return modes(self)

    def marginal(self, dims: Any) -> "Mixture":
        """The mixture of some features, `dims`; of a single number, a one-dimensional one."""
        able = self._able("marginal", several=True)
        return rebuild(Mixture, weights=self.weights, components=able.marginal(dims))

    def condition(self, dims: Any, values: Any) -> "Mixture":
        """The mixture of the other features where the features `dims` are known to be `values`.

        Each weight is multiplied by the component's density of the values. For many rows of values
        use `jax.vmap(lambda values: mixture.condition(dims, values))`.
        """
        able = self._able("condition", several=True)
        components, log_prob = able.condition(dims, values)
        weights = jax.nn.softmax(safe_log(self.weights) + log_prob)
        return rebuild(Mixture, weights=weights, components=components)

    def cdf(self, x: ArrayLike | Sequence[Any]) -> Float[Array, "..."]:
        """Share of the mixture below each point, of one-dimensional components."""
        able = self._able("cdf", several=False)
        points, batch = self._points(x)
        return (able.cdf(points) @ self.weights).reshape(batch)

    def icdf(self, q: Any) -> np.ndarray:
        """The points that shares `q` of the mixture lie below; see `quantiles`."""
        from gmm_jax.quantiles import icdf

        return icdf(self, q)

    def hdr(self, mass: float | int) -> list[tuple[float, float]]:
        """Intervals of the smallest region that holds the share `mass`; see `quantiles`."""
        from gmm_jax.quantiles import hdr

        return hdr(self, mass)

    def _able(self, method: str, several: bool) -> Any:
        """The components, if they have a method, and as many features as it needs.

        Raises:
            TypeError: they have not.
        """
        features = self.components.event_shape
        if not hasattr(self.components, method) or (several and not features):
            raise TypeError(
                f"{method} is not for {type(self.components).__name__} components of "
                f"{features[0] if features else 1} feature(s)."
            )
        if not several and features not in ((), (1,)):
            raise TypeError(f"{method} is for one feature: take `marginal(j)` first.")
        return self.components

    def _seeing(self, points: Array) -> "Mixture":
        """The mixture that can answer for points some of whose entries are missing."""
        components: Any = self.components
        if not hasattr(components, "incomplete") or not is_concrete(points):
            return self
        if not np.isnan(np.asarray(points)).any():
            return self
        return rebuild(Mixture, weights=self.weights, components=components.incomplete())

    def _points(self, data: ArrayLike | Sequence[Any]) -> tuple[Array, tuple[int, ...]]:
        """Split `data` into a flat run of points and the shape it had without features."""
        try:
            array = jnp.asarray(data, float_dtype(self.weights))
        except (TypeError, ValueError) as error:
            raise TypeError(f"data must be numbers, got {data!r}.") from error
        event = self.components.event_shape
        batch = array.shape[: array.ndim - len(event)]
        if array.shape[len(batch) :] != event:
            raise ValueError(
                f"data has shape {array.shape} but these components have {event[0]} features: "
                f"its last axis must have length {event[0]}."
            )
        return array.reshape(-1, *event), batch


@jax.jit
def _log_joint(mixture: Mixture, points: Array) -> Array:
    return safe_log(mixture.weights) + mixture.components.log_prob(points)


@jax.jit
def _log_prob(mixture: Mixture, points: Array) -> Array:
    return log_sum_exp(_log_joint(mixture, points), -1)


@jax.jit
def _responsibilities(mixture: Mixture, points: Array) -> Array:
    return jax.nn.softmax(_log_joint(mixture, points), -1)


@jax.jit
def _impute(mixture: Mixture, points: Array, responsibilities: Array) -> Array:
    return mixture.components.impute(points, responsibilities)
