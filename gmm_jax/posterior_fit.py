"""What sampling the posterior returns: draws, which answer what a point estimate answers."""

import functools
import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int

from gmm_jax._numerics import categorical, log_sum_exp, safe_log
from gmm_jax._warnings import warn
from gmm_jax.convergence import Quality
from gmm_jax.mixture import Mixture
from gmm_jax.results import Result
from gmm_jax.summaries import describe_draws

FEWEST_DRAWS = 25
"""A posterior mean that rests on fewer draws than this comes with a warning."""


@dataclass(frozen=True, eq=False)
class PosteriorFit(Result):
    """Draws from the posterior."""

    prior: Any
    log_evidence: float
    """Log probability density of the data, parameters integrated out, in nats; NaN for chains,
    which don't tell."""
    log_evidence_error: float
    """Its standard error, in nats."""
    effective_sample_size: float
    """How many independent draws the particles are worth: importance sampling counts by their
    weights; SMC by their families, for the density at the data point where that is least; chains
    by their autocorrelation, for the quantity in `convergence` where that is least."""
    pareto_k: float
    """Above 0.7 the weights cannot be trusted; NaN for SMC and chains, which have no such."""
    log_importance_weights: np.ndarray
    """Of every particle, up to a constant for the unit of the data; else all equal."""
    ordered: bool
    """Whether components were named by ascending mean, since the prior doesn't name them."""
    n_chains: int = 1
    """Of Markov chains the draws stand one chain after the other."""
    convergence: dict[str, Quality] | None = None
    """Of Markov chains: R-hat and effective sample sizes of quantities that don't depend on labels
    (and of parameters, where something names the components)."""

    @functools.cached_property
    def draws(self) -> Mixture:
        """Mixtures in the data's unit, with the draws on the first axis of every array."""
        return self._outside()

    @property
    def n_draws(self) -> int:
        """s, how many draws there are; they count equally."""
        return self.inside.weights.shape[0]

    def responsibilities_by_draw(self, data: Any = None) -> Float[Array, "s n k"]:
        """Responsibilities under each draw.

        For points that were fitted, their mean over draws is the posterior probability of each
        component; for new points it is not: see `responsibilities`.
        """
        points, _ = self._enter(data)
        return jax.vmap(lambda mixture: mixture.responsibilities(points))(self.inside)

    def occupied(self) -> np.ndarray:
        """Posterior probability that 0, 1, ... k components hold any of the data, (k + 1,).

        It doesn't depend on labels. Assignments are drawn once for each of up to 2000 draws.
        """
        points, _ = self._enter(None)
        k = self.inside.weights.shape[1]
        count = max(1, min(self.n_draws, 2000, 2**24 // (points.shape[0] * k)))
        picked = np.linspace(0, self.n_draws - 1, count).astype(int)
        draws = jax.tree.map(lambda a: jnp.asarray(a[picked]), self.inside)
        counts = _number_occupied(jax.random.key(0), draws, points, self.sample_weight > 0)
        return np.bincount(np.asarray(counts), minlength=k + 1) / count

    def sample(self, key: Array, n: int) -> tuple[Array, Array]:
        """Draw `n` points of the posterior predictive and the components that they came from."""
        which_key, component_key, point_key = jax.random.split(key, 3)
        which = jax.random.randint(which_key, (n,), 0, self.n_draws)
        mixtures = jax.tree.map(lambda a: a[which], self.draws)
        uniforms = jax.random.uniform(component_key, (n,), mixtures.weights.dtype)
        assignments = categorical(uniforms, safe_log(mixtures.weights))
        chosen = jax.tree.map(lambda a: a[jnp.arange(n), assignments], mixtures.components)
        return chosen.sample(point_key, jnp.arange(n)), assignments

    def summary(self) -> str:
        """A table of the components with intervals, and how far the draws can be trusted.

        Where the draws don't tell components apart it says so, and gives what doesn't depend on
        labels instead.
        """
        return describe_draws(self)

    def _log_joint(self, points: Array) -> Float[Array, "n k"]:
        log_joint, effective = _mean_log_joint(self.inside, points)
        rare = int((effective < FEWEST_DRAWS).sum())
        if rare:
            warn(
                f"{rare} of {len(points)} points lie so far from the data that fewer than "
                f"{FEWEST_DRAWS} of {self.n_draws} draws speak for them (as few as "
                f"{float(effective.min()):.0f}): probabilities there are rough. "
                f"Add such points to the data and fit again to be sure."
            )
        return log_joint


@jax.jit
def _mean_log_joint(draws: Mixture, points: Array) -> tuple[Float[Array, "n k"], Float[Array, "n"]]:
    """Log of the mean, over draws, of weight times density; a block of draws at a time.

    Also how many draws the mean of the density is worth at each point, (sum p)^2 / sum p^2.
    """
    n_draws, k = draws.weights.shape
    block = min(max(1, 2**22 // (points.shape[0] * k)), n_draws)
    nothing = jnp.full((points.shape[0], k), -jnp.inf, points.dtype)
    none = nothing[:, 0]

    def add(i, sums):
        total, squares = sums
        index = jnp.minimum(i * block + jnp.arange(block), n_draws - 1)
        log_joint = jax.vmap(lambda m: m.log_joint(points))(jax.tree.map(lambda a: a[index], draws))
        new = (i * block + jnp.arange(block) < n_draws)[:, None, None]
        log_joint = jnp.where(new, log_joint, -jnp.inf)
        log_squares = log_sum_exp(2 * log_sum_exp(log_joint, -1), 0)
        return (
            jnp.logaddexp(total, log_sum_exp(log_joint, 0)),
            jnp.logaddexp(squares, log_squares),
        )

    total, squares = jax.lax.fori_loop(0, -(-n_draws // block), add, (nothing, none))
    effective = jnp.exp(2 * log_sum_exp(total, -1) - squares)
    return total - math.log(n_draws), effective


@jax.jit
def _number_occupied(key: Array, draws: Mixture, points: Array, real: Array) -> Int[Array, "s"]:
    """How many components points are assigned to, in one draw of the assignments a mixture."""
    n_draws, k = draws.weights.shape
    uniforms = jax.random.uniform(key, (n_draws, points.shape[0]), points.dtype)

    def count(mixture, uniform):
        assignments = categorical(uniform, mixture.log_joint(points))
        held = (assignments[:, None] == jnp.arange(k)) & real[:, None]
        return held.any(0).sum()

    return jax.vmap(count)(draws, uniforms)
