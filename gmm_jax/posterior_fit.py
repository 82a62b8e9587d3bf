"""What sampling the posterior returns: draws, which answer what a point estimate answers."""

import functools
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int

from gmm_jax import convergence, partitions, posterior_means, predictive_checks, relabelling
from gmm_jax._checks import as_count, as_key
from gmm_jax._numerics import categorical, safe_log
from gmm_jax._pytree import rebuild
from gmm_jax._warnings import warn
from gmm_jax.convergence import Quality
from gmm_jax.mixture import Mixture
from gmm_jax.predictive_checks import PredictiveCheck
from gmm_jax.relabelled_draws import Relabelled
from gmm_jax.results import Result
from gmm_jax.summaries import describe_draws, frame_of_draws

FEWEST_DRAWS = 25
"""A posterior mean that rests on fewer draws than this comes with a warning."""


@dataclass(frozen=True, eq=False)
class PosteriorFit(Result):
    """Draws from the posterior."""

    prior: Any
    log_evidence: float
    """Log probability density of the data, parameters integrated out, in nats, or a lower bound on
    it; NaN for chains that did not jump, and for others too far from what they jumped to."""
    log_evidence_error: float
    """Its standard error, in nats; NaN for a bound."""
    effective_sample_size: float
    """How many independent draws the particles are worth: importance sampling counts by their
    weights, variational inference by those that its draws lack; SMC by families, for the density at
    the data point where that is least; chains by autocorrelation, for the quantity in
    `convergence` where that is least."""
    pareto_k: float
    """Above 0.7 the weights cannot be trusted, unless more than a tenth of the particles count;
    NaN for SMC and chains, which have no such."""
    log_importance_weights: np.ndarray
    """Of every particle, up to a constant for the unit of the data; else all equal."""
    ordered: bool
    """Whether components were named by ascending mean, since the prior doesn't name them."""
    lower_bound: bool = False
    """Whether `log_evidence` is a lower bound, as variational inference gives it."""
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
        return jax.vmap(lambda mixture: mixture.responsibilities(points))(self._seeing(points))

    def log_likelihood_by_draw(self) -> Float[np.ndarray, "s n"]:
        """Log density of each point under each draw, in the data's unit."""
        points, _ = self._enter(None)
        logs = np.asarray(posterior_means.log_density(self._seeing(points), points))
        return logs - np.asarray(self.frame.log_volume(self.data))

    def occupied(self) -> np.ndarray:
        """Posterior probability that 0, 1, ... k components hold any of the data, (k + 1,).

        It doesn't depend on labels. Assignments are drawn once for each of up to 2000 draws.
        """
        points, _ = self._enter(None)
        k = self.inside.weights.shape[1]
        count = max(1, min(self.n_draws, 2000, 2**24 // (points.shape[0] * k)))
        picked = np.linspace(0, self.n_draws - 1, count).astype(int)
        draws = jax.tree.map(lambda a: jnp.asarray(a[picked]), self._seeing(points))
        counts = posterior_means.number_occupied(
            jax.random.key(0), draws, points, self.sample_weight > 0
        )
        return np.bincount(np.asarray(counts), minlength=k + 1) / count

    def sample(self, key: Array, n: int) -> tuple[Array, Array]:
        """Draw `n` points of the posterior predictive and the components that they came from."""
        which_key, component_key, point_key = jax.random.split(as_key(key), 3)
        n = as_count("n", n)
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

    def relabel(self, method: str = "stephens") -> Relabelled:
        """Give components labels that mean the same in all draws, as far as that can be.

        Args:
            method: "stephens", "ecr" or "pivotal" compare what components hold; "order" sorts them
                by the first feature's mean. See `gmm_jax.relabelling.permutations`. Where the prior
                names components, they keep their names under all methods.

        Returns:
            The relabelled draws, the permutations, and whether labels can be trusted.

        Raises:
            ValueError: an unknown method, or "order" for components that have none.

        Example:
            >>> import gmm_jax
            >>> prior = gmm_jax.DirichletNormalGamma(1, 400, 50, shape=2, rate=1)
            >>> data = [348, 352, 350, 498, 502, 500]
            >>> fitted = gmm_jax.fit(data, 2, prior=prior, n_draws=1000)
            >>> fitted.relabel("stephens").told_apart
            True
        """
        if method not in relabelling.METHODS:
            raise ValueError(
                f"method must be one of {', '.join(map(repr, relabelling.METHODS))}, got "
                f"{method!r}."
            )
        s, k = self.n_draws, self.inside.weights.shape[1]
        permutation, doubt = np.tile(np.arange(k), (s, 1)), ""
        if self.ordered:
            points, _ = self._enter(None)
            seen = relabelling.view(self._seeing(points), points, self.sample_weight)
            log_prior = posterior_means.log_prior(self.prior, self.draws)
            permutation = relabelling.permutations(method, self.inside, seen, log_prior)
            doubt = relabelling.doubt(seen, permutation)
        draws = jax.tree.map(jnp.asarray, relabelling.permuted(self.draws, permutation))
        return Relabelled(draws, permutation, method, doubt)

    @functools.cached_property
    def doubt(self) -> str:
        """Why a table of the components, as `draws` has them, would mislead; empty if it is fine.

        The cure is `relabel`, if there is one, or what needs no labels: `density_band`,
        `similarity`, `partition`, `occupied`.
        """
        if not self.ordered:
            return ""
        picked = np.linspace(0, self.n_draws - 1, min(self.n_draws, 2000)).astype(int)
        points, _ = self._enter(None)
        draws = jax.tree.map(lambda a: jnp.asarray(a[picked]), self._seeing(points))
        seen = relabelling.view(draws, points, self.sample_weight)
        return relabelling.doubt(seen, np.tile(np.arange(draws.weights.shape[1]), (len(picked), 1)))

    def similarity(self, data: Any = None) -> Float[np.ndarray, "n n"]:
        """Posterior probability that two points come from the same component; needs no labels.

        Args:
            data: At most 2000 points; the fitted data if left out.

        Raises:
            ValueError: there are more points.
        """
        points, _ = self._enter(data)
        if len(points) > partitions.MOST_POINTS:
            raise ValueError(
                f"similarity holds a number for each pair of points and takes at most "
                f"{partitions.MOST_POINTS} points, got {len(points)}: pass some of them as `data`, "
                f"such as every tenth."
            )
        return partitions.similarity(self._seeing(points), points)

    def partition(self, loss: str = "vi", data: Any = None) -> Int[np.ndarray, "n"]:
        """The partition of points of least expected loss; needs no labels.

        Args:
            loss: "vi" for the variation of information, which joins components that overlap much,
                if need be all of them; or "binder" for the number of pairs that are wrongly
                together or apart, which likes small clusters of doubtful points.
            data: Points; the fitted data if left out. Every row counts once.

        Returns:
            Clusters 0, 1, ... in the order in which the points first show them.

        Raises:
            ValueError: an unknown loss.

        Example:
            >>> import gmm_jax
            >>> prior = gmm_jax.DirichletNormalGamma(1, 400, 50, shape=2, rate=1)
            >>> data = [348, 352, 350, 498, 502, 500]
            >>> fitted = gmm_jax.fit(data, 2, prior=prior, n_draws=1000)
            >>> fitted.partition()
            array([0, 0, 0, 1, 1, 1])
        """
        if loss not in partitions.LOSSES:
            raise ValueError(f"loss must be 'vi' or 'binder', got {loss!r}.")
        points, _ = self._enter(data)
        few = len(points) <= partitions.MOST_POINTS
        together = partitions.similarity(self._seeing(points), points) if few else None
        return partitions.best_partition(
            partitions.drawn(self._seeing(points), points), loss, together
        )

    def density_band(self, x: Any, mass: float | int = 0.9) -> tuple[np.ndarray, ...]:
        """Where the density of the mixture lies at new points; needs no labels.

        Args:
            x: Points.
            mass: Posterior probability, at each point by itself, that the density is in the band.

        Returns:
            The low end of the band, the median and the high end, at each point.

        Raises:
            ValueError: `mass` is not between 0 and 1.
        """
        if not 0 < mass < 1:
            raise ValueError(f"mass must be between 0 and 1, got {mass}.")
        points, batch = self._enter(x)
        draws, block = self._seeing(points), max(1, 2**24 // self.n_draws)
        parts = [
            np.quantile(
                np.asarray(posterior_means.log_density(draws, points[i : i + block])),
                [(1 - mass) / 2, 0.5, (1 + mass) / 2],
                axis=0,
            )
            for i in range(0, len(points), block)
        ]
        logs = np.concatenate(parts, axis=1) - self.frame.log_volume(points)
        return tuple(np.asarray(part).reshape(batch) for part in np.exp(logs))

    def check(
        self,
        statistics: Any = None,
        n_replicates: int = 500,
        key: Array | None = None,
    ) -> PredictiveCheck:
        """Compare the data with data sets that the posterior predicts.

        Args:
            statistics: Functions of a data set, (n,) or (n, d), by name, each returning a number;
                by default mean, standard deviation, skewness, least and largest value of each
                column.
            n_replicates: How many data sets.
            key: Random key; `jax.random.key(0)` if left out.

        Returns:
            Each statistic of the data and of the replicates, and the share of these above it:
            print it for a table.

        Raises:
            TypeError: statistics that are no functions by name, or that return no number.
            ValueError: fractional sample weights; a statistic that is NaN of the data.
        """
        asked = statistics, n_replicates, jax.random.key(0) if key is None else key
        return predictive_checks.compare(self.draws, self.data, self.sample_weight, *asked)

    def to_frame(self, mass: float | int = 0.95) -> Any:
        """The components as a pandas data frame, one a row: posterior means, and intervals.

        Args:
            mass: Posterior probability of the interval from, say, `means_low` to `means_high`.

        Raises:
            ValueError: the draws don't tell components apart, so that intervals would mislead; or
                `mass` is not between 0 and 1.

        Example:
            >>> import gmm_jax
            >>> prior = gmm_jax.DirichletNormalGamma(1, 400, 50, shape=2, rate=1)
            >>> data = [348, 352, 350, 498, 502, 500]
            >>> frame = gmm_jax.fit(data, 2, prior=prior, n_draws=1000).to_frame()
            >>> list(frame.columns[3:6]), len(frame)
            (['means', 'means_low', 'means_high'], 2)
        """
        return frame_of_draws(self.draws, self.doubt, mass)

    def to_arviz(self, log_likelihood: bool = True) -> Any:
        """The draws as ArviZ's tree of chains, draws and components.

        Args:
            log_likelihood: Whether to add the log density of each point under each draw, n numbers
                a draw, for `arviz.loo` and the like.

        Example:
            >>> import gmm_jax
            >>> prior = gmm_jax.DirichletNormalGamma(1, 400, 50, shape=2, rate=1)
            >>> data = [348, 352, 350, 498, 502, 500]
            >>> tree = gmm_jax.fit(data, 2, prior=prior, n_draws=1000).to_arviz()
            >>> sorted(tree.posterior.data_vars)
            ['means', 'scales', 'weights']
        """
        return convergence.tree(self, log_likelihood)

    def _log_joint_of_possible(self, data: Any) -> Float[Array, "... k"]:
        if self.doubt:
            warn(
                f"the draws don't tell these components apart ({self.doubt}), so what each of them "
                f"holds means little: `partition` and `similarity` need no labels."
            )
        return super()._log_joint_of_possible(data)

    def _seeing(self, points: Array) -> Mixture:
        """The draws as they see points some of whose entries may be missing."""
        components: Any = self.inside.components
        if not hasattr(components, "incomplete") or not np.isnan(np.asarray(points)).any():
            return self.inside
        return rebuild(Mixture, weights=self.inside.weights, components=components.incomplete())

    def _log_joint(self, points: Array) -> Float[Array, "n k"]:
        log_joint, effective = posterior_means.mean_log_joint(self._seeing(points), points)
        rare = int((effective < FEWEST_DRAWS).sum())
        if rare:
            warn(
                f"{rare} of {len(points)} points lie so far from the data that fewer than "
                f"{FEWEST_DRAWS} of {self.n_draws} draws speak for them (as few as "
                f"{float(effective.min()):.0f}): probabilities there are rough. "
                f"Add such points to the data and fit again to be sure."
            )
        return log_joint
