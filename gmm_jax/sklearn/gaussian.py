"""`GaussianMixture`: scikit-learn's estimator, climbing on to the top."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gmm_jax import em
from gmm_jax.families import MultivariateNormal, Normal
from gmm_jax.fitting import setting
from gmm_jax.mixture import Mixture
from gmm_jax.results import PointFit
from gmm_jax.sklearn import _covariances, _starts
from gmm_jax.sklearn._ascent import Ascent
from gmm_jax.sklearn._climb import Climbed
from gmm_jax.sklearn._evaluation import precision_of
from gmm_jax.sklearn._likelihood import run, to_the_top, updated
from gmm_jax.sklearn._setting import Setting
from gmm_jax.sklearn._starts import Given


class GaussianMixture(Ascent):
    """A mixture of normals by EM, with the parameters and attributes of scikit-learn's class.

    From the same start it takes the same steps: `converged_`, `n_iter_`, `lower_bounds_` and the
    warning that it did not converge are scikit-learn's. Where scikit-learn stops, it goes on with
    accelerated steps to the top of the likelihood (`polish`), so that the answer is at least as
    good. Single precision stays single, double is double.

    Args:
        n_components: How many, k.
        covariance_type: "full", "tied" (one matrix for all), "diag" or "spherical" (one variance
            a component).
        tol: A step that raises the mean log likelihood by less is the last.
        reg_covar: What is added to every variance, so that none vanishes.
        max_iter: Most steps of each start; 0 gives back the start.
        n_init: How many starts; the best is kept.
        init_params: "kmeans", "k-means++", "random" or "random_from_data".
        weights_init: k weights to start from.
        means_init: k rows of means to start from.
        precisions_init: Inverse covariances to start from, in the shape of `precisions_`.
        random_state: Of the starts and of `sample`.
        warm_start: Whether the next `fit` starts where the last one ended.
        verbose: 1 reports the steps of each start, 2 their lower bounds, too.
        verbose_interval: Steps between two lines of the report.
        polish: Whether to go on to the top after a start has converged; False gives scikit-learn's
            own answer.

    Attributes:
        weights_, means_, covariances_, precisions_, precisions_cholesky_: In scikit-learn's shapes.
        converged_, n_iter_: Of the best start, before `polish`.
        lower_bounds_: Mean log likelihood before each of the `n_iter_` steps.
        lower_bound_: The last of these; after `polish` that at the answer.
        n_features_in_, feature_names_in_: Of the points that were fitted.
        labels_: Most probable component of each point that was fitted.
        result_: The fit as `gmm_jax.fit` returns it, with the points; `mixture_`: its mixture.

    Beside scikit-learn's methods there are `icl`, `uncertainty`, `impute`, `condition` and
    `partial_fit`; `fit` takes `sample_weight`; NaN is a value missing at random.

    Example:
        >>> from gmm_jax.sklearn import GaussianMixture
        >>> X = [[1.0, 2.0], [1.2, 4.0], [0.8, 0.0], [9.9, 2.0], [10.2, 4.5], [9.9, 1.0]]
        >>> model = GaussianMixture(2, covariance_type="diag", random_state=0).fit(X)
        >>> sorted(model.means_[:, 0].round(3).tolist())
        [1.0, 10.0]
    """

    def __init__(
        self,
        n_components: Any = 1,
        *,
        covariance_type: Any = "full",
        tol: Any = 1e-3,
        reg_covar: Any = 1e-6,
        max_iter: Any = 100,
        n_init: Any = 1,
        init_params: Any = "kmeans",
        weights_init: Any = None,
        means_init: Any = None,
        precisions_init: Any = None,
        random_state: Any = None,
        warm_start: Any = False,
        verbose: Any = 0,
        verbose_interval: Any = 10,
        polish: Any = True,
    ) -> None:
        self.n_components = n_components
        self.covariance_type = covariance_type
        self.tol = tol
        self.reg_covar = reg_covar
        self.max_iter = max_iter
        self.n_init = n_init
        self.init_params = init_params
        self.weights_init = weights_init
        self.means_init = means_init
        self.precisions_init = precisions_init
        self.random_state = random_state
        self.warm_start = warm_start
        self.verbose = verbose
        self.verbose_interval = verbose_interval
        self.polish = polish

    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> "GaussianMixture":
        """Learn from new points in one incremental step, without the old ones.

        The first call fits as `fit` does. Later ones weigh the new points by the present estimate
        and add their statistics to those of all points before; see `ChunkedFit.update`.

        Args:
            X: New points.
            y: Ignored.
            sample_weight: How often each counts.

        Returns:
            The estimator.
        """
        if not hasattr(self, "_exact"):
            return self.fit(X, sample_weight=sample_weight)
        points, weight = self._checked(X, sample_weight, reset=False)
        points = points.astype(self.means_.dtype)
        with precision_of(points):
            self._keep(updated(self._exact, points, weight, self.reg_covar), points.dtype)
        return self

    def _learn(self, X: np.ndarray, weight: np.ndarray) -> None:
        self._check_common()
        k, d = self.n_components, X.shape[1]
        given = Given.of(self, k, d)
        matrices = _covariances.has_matrices(self.covariance_type) and d > 1
        with precision_of(X):
            kind = MultivariateNormal if matrices else Normal
            data = Setting.of(X, weight, kind, self.covariance_type, k, self.reg_covar)
            starts, before = self._starts(data, given)
            runs = run(starts, data, self.reg_covar, before, self.tol, self.max_iter)
            self._end(data, runs, runs.best())

    def _end(self, data: Setting, runs: Climbed, best: int) -> None:
        """Go on from the best run to the top, and set all fitted attributes."""
        shift, heights = data.log_volume / data.size, runs.heights(best)
        bound = float(heights[-1]) if len(heights) else -np.inf
        end, objective = jax.tree.map(lambda a: a[best], runs.places), float(runs.height[best])
        converged, note = bool(runs.converged[best]), ""
        self._check_sound(end, objective, converged, data)
        noise = 4 * np.finfo(data.dtype).eps * (1 + abs(objective))
        if converged and self.polish and objective > bound + noise:
            end, objective, more = to_the_top(end, objective, data, self.reg_covar)
            if more:
                bound, note = objective, f", then {more} accelerated steps to the top"
        n_starts = len(runs.steps)
        fitted = PointFit(
            data=data.points,
            sample_weight=data.weight,
            frame=data.frame,
            method="em",
            reason=f"Maximum likelihood by EM, the best of {n_starts} start{'s'[: n_starts > 1]} "
            f"as scikit-learn has them{note}.",
            inside=end,
            log_likelihood=objective * data.size - data.log_volume,
            n_parameters=setting.count_free(data.limits, data.family),
            status=em.CONVERGED if converged else em.RUNNING,
            history=heights - shift,
            restarts=None,
            limits=data.limits,
        )
        self._keep(fitted, data.points.dtype)
        self._report(runs, best, bound, shift)

    def _keep(self, fitted: PointFit, dtype: Any) -> None:
        """Keep a fit, and set what speaks of its mixture, in the data's unit."""
        exact = jax.tree.map(lambda a: np.asarray(a, np.float64), fitted.inside.components)
        outside = exact.affine(fitted.frame.centre, fitted.frame.unit)
        roots = _covariances.roots_of_components(outside, self.covariance_type)
        arrays = _covariances.fitted_arrays(roots, self.covariance_type)
        weights = np.asarray(fitted.inside.weights)
        self._set(arrays | {"weights_": weights, "means_": outside.means}, dtype)
        self._exact = fitted

    def _starts(self, data: Setting, given: Given) -> tuple[Mixture, np.ndarray]:
        """Mixtures to start from, and the objective that the first is compared with; inside."""
        if self._continues(data.points.shape[1]):
            found = [(self.weights_, self.means_, self._roots())]
            before = self.lower_bound_ + data.log_volume / data.size
            return _starts.inside(found, data), np.array([before])
        if given.complete:
            found = [given.instead_of((None, None, None))]
        else:
            # Single points have no spread of their own.
            alone = self.init_params in ("k-means++", "random_from_data") and self.reg_covar == 0
            extra = 1e-6 * float(np.nanvar(data.points, 0).mean()) if alone else self.reg_covar
            found = [
                given.instead_of(_starts.parameters_of(moments, self.covariance_type, extra))
                for moments in self._divisions(data.points, data.weight)
            ]
        return _starts.inside(found, data), np.full(len(found), -np.inf)

    def _check_sound(self, end: Mixture, objective: float, settled: bool, data: Setting) -> None:
        """Raise ValueError where the likelihood has no proper maximum nearby."""
        if not np.isfinite(objective):
            raise ValueError(
                "the log likelihood is not finite: scale X, or pass a larger reg_covar."
            )
        components = jax.tree.map(jnp.asarray, end.components)
        collapsed = components.collapsed(jnp.asarray(data.limits.floor)).any()
        if self.reg_covar == 0 and settled and collapsed:
            raise ValueError(_starts.COLLAPSED)

    def _predictive(self) -> tuple[np.ndarray, Any]:
        means = np.asarray(self.means_, np.float64)
        return self.weights_, _covariances.components_of(means, self._roots())
