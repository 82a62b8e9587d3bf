"""`BayesianGaussianMixture`: scikit-learn's estimator, and the posterior behind it."""

import warnings
from typing import Any

import jax
import numpy as np

from gmm_jax._warnings import FitWarning, warn
from gmm_jax.families import MultivariateNormal, Normal
from gmm_jax.fitting import arguments, fit
from gmm_jax.posterior_fit import PosteriorFit
from gmm_jax.sklearn import _covariances, _starts
from gmm_jax.sklearn._approximation import (
    enter,
    further,
    leave,
    posterior_fit,
    predictive,
    run,
    started,
)
from gmm_jax.sklearn._ascent import OTHER, Ascent
from gmm_jax.sklearn._estimator import number_of_samples
from gmm_jax.sklearn._evaluation import in_blocks, precision_of, usual
from gmm_jax.sklearn._hyperparameters import Hyperparameters, attributes_of, expected
from gmm_jax.sklearn._setting import Setting

METHODS = ("variational", "auto", "importance", "gibbs", "smc", "nuts")


class BayesianGaussianMixture(Ascent):
    """The posterior of a mixture of normals, with the parameters of scikit-learn's class.

    With `method="variational"` it climbs as scikit-learn does, to the same posterior for "full"
    covariances, with `lower_bound_` a true bound on the log evidence; for the other covariance
    types expectations are those of the model, where scikit-learn takes those of "full". Other
    methods draw from the exact posterior under the same prior. Answers for new points are those of
    the posterior predictive: a mixture of Student-t distributions.

    Args:
        n_components: The most components that may be used.
        covariance_type: "full", "tied" (one matrix for all), "diag" or "spherical" (one variance
            a component). Methods other than "variational" take "full" and "diag".
        tol: A step that raises the lower bound by less, of all data, is the last.
        reg_covar: What is added to the variances of points.
        max_iter: Most steps of each start; 0 gives back the start.
        n_init: How many starts; the best is kept.
        init_params: "kmeans", "k-means++", "random" or "random_from_data".
        weight_concentration_prior_type: "dirichlet_process" or "dirichlet_distribution" (methods
            other than "variational" take only the latter).
        weight_concentration_prior: Of the weights; 1 / n_components if left out.
        mean_precision_prior: How many points the expectation of means is worth; 1 if left out.
        mean_prior: Where means are expected; the mean of the points if left out.
        degrees_of_freedom_prior: Of the covariances; as many as features if left out.
        covariance_prior: Scale of the covariances; the covariance of the points if left out.
        random_state: Of the starts, of draws and of `sample`.
        warm_start: Whether the next `fit` starts where the last one ended.
        verbose: 1 reports the steps of each start, 2 their lower bounds, too.
        verbose_interval: Steps between two lines of the report.
        polish: Whether to go on until nothing changes after a start has converged.
        method: "variational", or how `gmm_jax.fit` draws from the posterior: "auto",
            "importance", "gibbs", "smc" or "nuts".

    Attributes:
        weights_, means_, covariances_, precisions_, precisions_cholesky_: What the posterior
            expects, in scikit-learn's shapes.
        weight_concentration_, mean_precision_, degrees_of_freedom_: Of the variational posterior.
        weight_concentration_prior_, mean_precision_prior_, mean_prior_: The prior of weights and
            means.
        degrees_of_freedom_prior_, covariance_prior_: The prior of covariances.
        converged_, n_iter_, lower_bound_, lower_bounds_: Of the best start, as in
            `GaussianMixture`; of other methods, whether there was nothing to warn of, the number
            of draws, and the log evidence (NaN for chains).
        posterior_: Draws from the posterior, as `gmm_jax.fit` returns them; also `result_`.

    Example:
        >>> from gmm_jax.sklearn import BayesianGaussianMixture
        >>> X = [[0.1, 3], [0.3, 2], [0.2, 4], [7.1, 8], [7.3, 9], [7.2, 7]]
        >>> model = BayesianGaussianMixture(
        ...     n_components=3, covariance_prior=[[0.1, 0], [0, 1]], random_state=0
        ... ).fit(X)
        >>> len(set(model.predict(X)))  # of three components the points need two
        2
    """

    _known: Any
    """What is known of the mixture; None after draws."""

    def __init__(
        self,
        *,
        n_components: Any = 1,
        covariance_type: Any = "full",
        tol: Any = 1e-3,
        reg_covar: Any = 1e-6,
        max_iter: Any = 100,
        n_init: Any = 1,
        init_params: Any = "kmeans",
        weight_concentration_prior_type: Any = "dirichlet_process",
        weight_concentration_prior: Any = None,
        mean_precision_prior: Any = None,
        mean_prior: Any = None,
        degrees_of_freedom_prior: Any = None,
        covariance_prior: Any = None,
        random_state: Any = None,
        warm_start: Any = False,
        verbose: Any = 0,
        verbose_interval: Any = 10,
        polish: Any = True,
        method: Any = "variational",
    ) -> None:
        self.n_components = n_components
        self.covariance_type = covariance_type
        self.tol = tol
        self.reg_covar = reg_covar
        self.max_iter = max_iter
        self.n_init = n_init
        self.init_params = init_params
        self.weight_concentration_prior_type = weight_concentration_prior_type
        self.weight_concentration_prior = weight_concentration_prior
        self.mean_precision_prior = mean_precision_prior
        self.mean_prior = mean_prior
        self.degrees_of_freedom_prior = degrees_of_freedom_prior
        self.covariance_prior = covariance_prior
        self.random_state = random_state
        self.warm_start = warm_start
        self.verbose = verbose
        self.verbose_interval = verbose_interval
        self.polish = polish
        self.method = method

    @property
    def posterior_(self) -> PosteriorFit:
        """Draws from the posterior; of the variational one they are drawn when first asked for."""
        if not hasattr(self, "_data"):
            raise AttributeError(f"this {type(self).__name__} has no posterior_: call fit first.")
        if self._drawn is None:
            k, (X, weight) = len(self.weights_), self._data
            with precision_of(X):
                data = self._setting(X, weight, k)
                self._drawn = posterior_fit(self._known, self._prior, data, self.lower_bound_)
        return usual(self._drawn)

    @property
    def result_(self) -> PosteriorFit:
        """The same as `posterior_`."""
        return self.posterior_

    def sample(self, n_samples: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """Draw points of the posterior predictive, and the components that they came from.

        Points of the first component come first.
        """
        if not self._by_draws:
            return super().sample(n_samples)
        drawn: Any = self._drawn
        with precision_of(self._data[0]):
            points, labels = drawn.sample(self._key(), number_of_samples(n_samples))
        order = np.argsort(np.asarray(labels), kind="stable")
        return np.asarray(points, np.float64)[order], np.asarray(labels)[order]

    def _learn(self, X: np.ndarray, weight: np.ndarray) -> None:
        self._check_common()
        arguments.one_of("method", self.method, METHODS)
        told = Hyperparameters.of(self, _starts.complete(X, weight), weight)
        if self.method == "variational":
            self._learn_by_ascent(X, weight, told)
        else:
            self._learn_by_draws(X, weight, told)
        self.weight_concentration_prior_ = told.concentration
        self.mean_precision_prior_, self.mean_prior_ = told.mean_precision, told.mean
        self.degrees_of_freedom_prior_, self.covariance_prior_ = told.df, told.covariance

    def _learn_by_ascent(self, X: np.ndarray, weight: np.ndarray, told: Hyperparameters) -> None:
        k = self.n_components
        prior_outside = told.knowledge(self, k)
        with precision_of(X):
            data = self._setting(X, weight, k)
            prior = enter(prior_outside, data.frame, data.dtype)
            shift = data.log_volume
            if self._continues(X.shape[1]) and not self._by_draws:
                if type(self._known.weights) is not type(prior.weights):
                    raise ValueError(OTHER)
                starts = [enter(self._known, data.frame, data.dtype)]
                before = np.array([self.lower_bound_ + shift])
            else:
                divisions = self._divisions(X, weight)
                starts = [started(found, data, prior, self.reg_covar) for found in divisions]
                before = np.full(len(starts), -np.inf)
            asked = data, prior, self.reg_covar
            runs = run(starts, *asked, before, self.tol, self.max_iter)
            best = runs.best()
            known, bound = jax.tree.map(lambda a: a[best], runs.places), float(runs.height[best])
            if not np.isfinite(bound):
                raise ValueError(
                    "the lower bound is not finite: scale X, or pass a covariance_prior."
                )
            heights = runs.heights(best)
            last = float(heights[-1]) if len(heights) else -np.inf
            if runs.converged[best] and self.polish:
                known, last = further(known, bound, *asked)
            known = leave(known, data.frame)
            self._set(attributes_of(known, self.covariance_type), X.dtype)
        self._data, self._prior = (X, weight), prior_outside
        self._drawn, self._known = None, known
        self._report(runs, best, last, shift)

    def _setting(self, X: np.ndarray, weight: np.ndarray, k: int) -> Setting:
        kind = MultivariateNormal if _covariances.has_matrices(self.covariance_type) else Normal
        return Setting.of(X, weight, kind, self.covariance_type, k, self.reg_covar)

    def _learn_by_draws(self, X: np.ndarray, weight: np.ndarray, told: Hyperparameters) -> None:
        """Let `gmm_jax.fit` draw from the posterior under the same prior."""
        alike = ("full", "diag", "spherical") if X.shape[1] == 1 else ("full", "diag")
        if self.covariance_type not in alike:
            raise ValueError(
                f"covariance_type={self.covariance_type!r} is for method='variational': pass "
                f"that, or covariance_type='full' or 'diag'."
            )
        if self.weight_concentration_prior_type == "dirichlet_process":
            raise ValueError(
                f"method={self.method!r} draws weights from a Dirichlet: pass "
                f"weight_concentration_prior_type='dirichlet_distribution', or "
                f"method='variational'."
            )
        with precision_of(X), warnings.catch_warnings(record=True) as doubts:
            warnings.simplefilter("always", FitWarning)
            drawn: Any = fit(
                X, self.n_components, prior=told.prior(self.covariance_type), method=self.method,
                sample_weight=weight, key=self._key(), progress=False,
            )  # fmt: skip
        self._data, self._drawn, self._known = (X, weight), drawn, None
        self.converged_, self.n_iter_ = not doubts, drawn.n_draws
        self.lower_bound_, self.lower_bounds_ = drawn.log_evidence, []
        self._set(expected(drawn, self.covariance_type), X.dtype)
        for doubt in doubts:
            warn(str(doubt.message))

    @property
    def _by_draws(self) -> bool:
        """Whether there are draws of the posterior itself to answer from."""
        return getattr(self, "_data", None) is not None and self._known is None

    def _log_joint(self, X: np.ndarray) -> np.ndarray:
        drawn: Any = self._drawn
        if self._by_draws:
            return in_blocks(drawn.log_joint, X)
        return super()._log_joint(X)

    def _predictive(self) -> tuple[np.ndarray, Any]:
        return self.weights_, predictive(self)

    def _fitted_data(self) -> np.ndarray | None:
        return self._data[0] if hasattr(self, "_data") else None
