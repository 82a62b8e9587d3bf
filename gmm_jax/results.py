"""What a fit returns: what all results answer, and a point estimate."""

import functools
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int

from gmm_jax import _sharding, em
from gmm_jax._checks import reached
from gmm_jax._data import Frame, as_points, float_dtype
from gmm_jax._numerics import log_sum_exp, safe_log
from gmm_jax._pytree import rebuild
from gmm_jax.families.kinds import with_known
from gmm_jax.families.limits import Limits
from gmm_jax.mixture import Mixture
from gmm_jax.saving import Savable
from gmm_jax.summaries import describe_point, frame_of_point
from gmm_jax.table import log_joint


@dataclass(frozen=True, eq=False)
class Result(Savable, ABC):
    """What both kinds of result share."""

    data: np.ndarray | Array
    """The n points that were fitted, (n,) or (n, d)."""
    sample_weight: np.ndarray | Array
    frame: Frame
    method: str
    """"em", "importance" or "smc"."""
    reason: str
    """What was chosen, and why."""
    inside: Mixture
    """The mixture, or draws of it, in centred and scaled units."""
    fixed: dict[str, np.ndarray] | None = field(default=None, kw_only=True)
    """What was known, by name, in the data's unit; NaN where free."""

    def log_joint(self, data: Any = None) -> Float[Array, "... k"]:
        """Log of the share of each component times its density, at old or new points."""
        points, batch = self._enter(data)
        volume = jnp.asarray(self.frame.log_volume(points), points.dtype)
        return (self._log_joint(points) - volume[:, None]).reshape(*batch, -1)

    def log_prob(self, data: Any = None) -> Float[Array, "..."]:
        """Log density at each point, in nats; with draws, of the posterior predictive.

        Args:
            data: New points, one or many; the fitted data if left out.
        """
        return log_sum_exp(self.log_joint(data), -1)

    def responsibilities(self, data: Any = None) -> Float[Array, "... k"]:
        """Probability of each component given the point and the data that were fitted.

        With draws it is the posterior mean of weight times density, over its sum: the exact
        conditional probability, not the mean of the draws' responsibilities.

        Raises:
            ValueError: a new point has density 0 under every component.
        """
        return jax.nn.softmax(self._log_joint_of_possible(data), -1)

    def assign(self, data: Any = None) -> Int[Array, "..."]:
        """Index of the most probable component of each point."""
        return jnp.argmax(self._log_joint_of_possible(data), -1)

    def _log_joint_of_possible(self, data: Any) -> Float[Array, "... k"]:
        logs = self.log_joint(data)
        return logs if data is None else reached(logs)

    def assignment_entropy(self, data: Any = None) -> Float[Array, "..."]:
        """Entropy of the component given the point, in nats: 0 is certain."""
        shares = self.responsibilities(data)
        return jnp.abs(jnp.sum(shares * safe_log(jnp.where(shares > 0, shares, 1)), -1))

    def plot(self, kind: Any = None, ax: Any = None) -> Any:
        """Draw the data, the density and the components, or another picture by its name.

        Args:
            kind: Such as "responsibilities" or "check"; see `gmm_jax.plotting` for all.
            ax: Matplotlib axes to draw into; they may also stand in the place of `kind`.

        Returns:
            The axes, or an array of them for pictures of several.
        """
        from gmm_jax.plotting import plot

        _sharding.here(self.data, "plot")
        return plot(self, kind, ax)

    def __str__(self) -> str:
        return self.summary()

    @abstractmethod
    def summary(self) -> str:
        """A table for people."""

    @abstractmethod
    def _log_joint(self, points: Array) -> Float[Array, "n k"]:
        """Log of weight times density, for points in the frame."""

    def _enter(self, data: Any) -> tuple[Array, tuple[int, ...]]:
        """Check points and bring them into the frame; one number or row is one point."""
        event = self.frame.centre.shape
        if data is None:
            points, batch = self.data, self.data.shape[:1]
        elif _sharding.is_sharded(data):
            points, batch = _sharding.plain(data), data.shape[:1]
        else:
            single = np.ndim(data) == len(event)
            points = as_points(np.asarray(data)[None] if single else data, missing=True)
            if event == () and points.ndim == 2 and points.shape[1] == 1:
                points = points[:, 0]
            batch = () if single else points.shape[:1]
        if points.shape[1:] != event:
            raise ValueError(
                f"data has shape {points.shape} but the fit was to points with "
                f"{event[0] if event else 1} feature(s)."
            )
        return self.frame.enter(points, float_dtype(self.inside.weights)), batch

    def _outside(self) -> Mixture:
        """The mixture, or draws, in the data's unit, computed in float64; fixed values as given."""
        exact = jax.tree.map(lambda a: np.asarray(a, np.float64), self.inside.components)
        components = exact.affine(self.frame.centre, self.frame.unit)
        components = with_known(components, self.fixed)
        dtype = float_dtype(self.inside.weights)
        components = jax.tree.map(lambda a: jnp.asarray(a, dtype), components)
        weights = jnp.asarray(self.inside.weights, dtype)
        return rebuild(Mixture, weights=weights, components=components)


@dataclass(frozen=True, eq=False)
class PointFit(Result):
    """A point estimate by EM."""

    log_likelihood: float
    """Of all data, at the estimate, in nats."""
    n_parameters: int
    """How many were free."""
    status: int
    history: np.ndarray
    """Objective per unit of sample weight before each step of the run that was kept."""
    restarts: em.Fit | None
    """Every run: print them for a table of objective, steps and status; `mixtures` are in centred
    and scaled units. None where no search was needed."""
    limits: Limits | None = None
    """The structure of the mixture with booleans: true where a parameter was given."""
    prior: Any = None
    """In centred and scaled units; None for maximum likelihood."""

    @functools.cached_property
    def mixture(self) -> Mixture:
        """The estimate, in the data's unit."""
        return self._outside()

    @property
    def converged(self) -> bool:
        """Whether the run that was kept reached its optimum."""
        return self.status == em.CONVERGED

    @property
    def message(self) -> str:
        """What `status` means."""
        return em.MEANING[self.status]

    @property
    def n_steps(self) -> int:
        """EM steps of the run that was kept."""
        return len(self.history)

    @property
    def bic(self) -> float:
        """Bayesian information criterion, -2 log L + p log n: lower is better."""
        size = float(self.sample_weight.sum())
        return -2 * self.log_likelihood + self.n_parameters * math.log(size)

    @property
    def aic(self) -> float:
        """Akaike information criterion, -2 log L + 2 p: lower is better."""
        return -2 * self.log_likelihood + 2 * self.n_parameters

    def impute(self, data: Any = None) -> np.ndarray:
        """The data with what is expected, given the rest of its row, in place of missing values.

        Args:
            data: New points, one or many, NaN where missing; the fitted data if left out.
        """
        points = _sharding.here(self.data if data is None else data, "impute")
        if points.dtype.kind == "O":
            points = as_points(points, missing=True)
        self._enter(points)
        return np.where(np.isnan(points), self.mixture.impute(points), points)

    @property
    def icl(self) -> float:
        """Integrated completed likelihood, BIC plus twice the entropy of the assignments.

        Lower is better; overlapping components pay for it (Biernacki, Celeux and Govaert 2000).
        """
        if _sharding.is_sharded(self.data):
            entropy = jnp.where(self.sample_weight > 0, self.assignment_entropy(), 0)
            return self.bic + 2 * float(self.sample_weight @ entropy)
        entropy = np.asarray(self.assignment_entropy(), np.float64)
        used = self.sample_weight > 0
        return self.bic + 2 * float(self.sample_weight[used] @ entropy[used])

    def marginal(self, dims: Any) -> Mixture:
        """The mixture of some features; see `Mixture.marginal`."""
        return self.mixture.marginal(dims)

    def condition(self, dims: Any, values: Any) -> Mixture:
        """The mixture of the other features, given some; see `Mixture.condition`."""
        return self.mixture.condition(dims, values)

    def cdf(self, x: Any) -> Array:
        """Share below each point; see `Mixture.cdf`."""
        return self.mixture.cdf(x)

    def icdf(self, q: Any) -> np.ndarray:
        """Quantiles; see `Mixture.icdf`."""
        return self.mixture.icdf(q)

    def hdr(self, mass: float | int) -> list[tuple[float, float]]:
        """Highest-density region; see `Mixture.hdr`."""
        return self.mixture.hdr(mass)

    def standard_errors(
        self, method: str = "bootstrap", n_resamples: int = 200, key: Array | None = None
    ) -> Any:
        """Standard errors of the parameters, by "bootstrap" or "information".

        See `gmm_jax.standard_errors`.
        """
        from gmm_jax.standard_errors import standard_errors

        return standard_errors(self, method, n_resamples, key)

    def sample(self, key: Array, n: int) -> tuple[Array, Array]:
        """Draw `n` points and the components that they came from."""
        return self.mixture.sample(key, n)

    def summary(self) -> str:
        """A table of the components, the fit and how it was reached."""
        return describe_point(self)

    def to_frame(self) -> Any:
        """The components as a pandas data frame, one a row.

        Example:
            >>> import gmm_jax
            >>> frame = gmm_jax.fit([498, 352, 501, 349, 497, 503, 351, 500], 2).to_frame()
            >>> list(frame.columns), round(float(frame["means"][1]), 2)
            (['weights', 'means', 'scales'], 499.8)
        """
        return frame_of_point(self.mixture)

    def _log_joint(self, points: Array) -> Float[Array, "n k"]:
        if _sharding.is_sharded(points):
            incomplete = bool(jnp.isnan(points).any())
            own = _sharding.rows_of(points).each(lambda p: log_joint(self.inside, p, incomplete))
            return own(points)
        return self.inside.log_joint(points)
