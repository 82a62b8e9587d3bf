"""`MixtureModel`: a mixture of any family, by any method, as an estimator of scikit-learn."""

from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from gmm_jax.fitting import arguments, fit
from gmm_jax.mixture import Mixture
from gmm_jax.results import PointFit
from gmm_jax.sklearn._estimator import Estimator, number_of_samples
from gmm_jax.sklearn._evaluation import in_blocks, precision_of

STARTS = {"k-means++": "kmeans++", "random": "random"}
AGREE = 1.01
"""R-hat below which chains agree."""


class MixtureModel(Estimator):
    """A mixture of any components that `gmm_jax.fit` knows.

    Without a prior it is a point estimate by EM; with one, draws from the posterior, and answers
    for new points are those of the posterior predictive. With one feature, components are those of
    single numbers.

    Args:
        n_components: How many, k.
        family: Such as `gmm_jax.Poisson` or `Product.of(Normal, Categorical)`, see `gmm_jax.fit`;
            normals if left out.
        covariance_type: As in `gmm_jax.fit`, in place of `family`.
        prior: A prior, or "default".
        method: As in `gmm_jax.fit`: "auto", "em", "gibbs" ...
        fixed: Known parameters by name.
        shared: Parameters that components have in common, by name.
        init_params: "k-means++" or "random".
        n_init: How many starts; as in `gmm_jax.fit` if left out.
        max_iter: Most EM steps of each start.
        tol: EM stops when less than this is still to be gained, in nats per point; as in
            `gmm_jax.fit` if left out.
        random_state: Of starts, draws and `sample`.

    Attributes:
        weights_: Shares of the components; the mean of draws.
        mixture_: The estimate (of a point estimate).
        converged_, n_iter_: Of EM; of draws, whether all chains agree, and how many there are.
        lower_bound_: Mean log likelihood of the points; of draws the log evidence.
        n_features_in_, feature_names_in_: Of the points that were fitted.
        labels_: Most probable component of each point that was fitted.
        result_: What `gmm_jax.fit` returned.

    Example:
        >>> import gmm_jax
        >>> from gmm_jax.sklearn import MixtureModel
        >>> calls = [[0], [1], [2], [0], [1], [9], [11], [8], [12], [1]]
        >>> model = MixtureModel(2, family=gmm_jax.Poisson, random_state=0).fit(calls)
        >>> model.predict([[1], [10]])
        array([0, 1])
    """

    def __init__(
        self,
        n_components: Any = 1,
        *,
        family: Any = None,
        covariance_type: Any = None,
        prior: Any = None,
        method: Any = "auto",
        fixed: Any = None,
        shared: Any = None,
        init_params: Any = "k-means++",
        n_init: Any = None,
        max_iter: Any = 1000,
        tol: Any = None,
        random_state: Any = None,
    ) -> None:
        self.n_components = n_components
        self.family = family
        self.covariance_type = covariance_type
        self.prior = prior
        self.method = method
        self.fixed = fixed
        self.shared = shared
        self.init_params = init_params
        self.n_init = n_init
        self.max_iter = max_iter
        self.tol = tol
        self.random_state = random_state

    def sample(self, n_samples: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """Draw points and the components that they came from; those of the first come first."""
        check_is_fitted(self)
        n_samples, fitted = number_of_samples(n_samples), self._exact
        with precision_of(np.asarray(fitted.data)):
            drawn, labels = fitted.sample(self._key(), n_samples)
        order = np.argsort(np.asarray(labels), kind="stable")
        points = np.asarray(drawn, np.float64).reshape(n_samples, -1)
        return points[order], np.asarray(labels)[order]

    def impute(self, X: Any) -> np.ndarray:
        """The data with what is expected, given the rest of its row, in place of missing values."""
        points = self._points(X)
        fitted = self._exact
        if not isinstance(fitted, PointFit):
            raise TypeError("impute needs a point estimate: pass method='em'.")
        filled = in_blocks(lambda block: fitted.impute(self._as_fitted(block)), points)
        return filled.reshape(points.shape).astype(points.dtype)

    def _learn(self, X: np.ndarray, weight: np.ndarray) -> None:
        arguments.one_of("init_params", self.init_params, STARTS)
        arguments.whole("max_iter", self.max_iter)
        if self.n_init is not None:
            arguments.whole("n_init", self.n_init, most=arguments.MOST_RESTARTS)
        if self.tol is not None:
            arguments.not_negative("tol", self.tol)
        with precision_of(X):
            self._exact = fit(
                self._as_fitted(X),
                self.n_components,
                prior=self.prior,
                method=self.method,
                family=self.family,
                covariance_type=self.covariance_type,
                fixed=self.fixed,
                shared=self.shared,
                sample_weight=weight,
                start=STARTS[self.init_params],
                n_restarts=self.n_init,
                max_steps=self.max_iter,
                tol=self.tol,
                progress=False,
                key=self._key(),
            )
        weights = np.asarray(self._exact.inside.weights, np.float64)
        self.weights_ = (weights if weights.ndim == 1 else weights.mean(0)).astype(X.dtype)
        if isinstance(self._exact, PointFit):
            self.converged_, self.n_iter_ = self._exact.converged, self._exact.n_steps
            self.lower_bound_ = self._exact.log_likelihood / float(weight.sum())
        else:
            chains = self._exact.convergence or {}
            self.converged_ = all(quality.r_hat < AGREE for quality in chains.values())
            self.n_iter_ = self._exact.n_draws
            self.lower_bound_ = self._exact.log_evidence

    def _as_fitted(self, X: np.ndarray) -> np.ndarray:
        """A single feature as single numbers."""
        return X[:, 0] if X.shape[1] == 1 else X

    def _log_joint(self, X: np.ndarray) -> np.ndarray:
        return in_blocks(lambda block: self._exact.log_joint(self._as_fitted(block)), X)

    def _mixture(self) -> Mixture:
        if not isinstance(self._exact, PointFit):
            raise AttributeError("mixture_ is of a point estimate: see result_.draws.")
        return self.result_.mixture

    def _n_parameters(self) -> int:
        if not isinstance(self._exact, PointFit):
            raise TypeError("bic, aic and icl need a point estimate: pass method='em'.")
        return self._exact.n_parameters
