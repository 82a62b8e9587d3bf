"""What the two estimators that climb share: scikit-learn's parameters, and answers from attributes.

Fitted attributes are all that answers for new points need, as in scikit-learn: who sets them by
hand has a fitted estimator.
"""

import warnings
from abc import abstractmethod
from typing import Any

import jax
import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from gmm_jax._warnings import HERE
from gmm_jax.fitting import arguments
from gmm_jax.mixture import Mixture
from gmm_jax.sklearn import _covariances, _evaluation, _starts
from gmm_jax.sklearn._climb import Climbed
from gmm_jax.sklearn._estimator import Estimator, number_of_samples
from gmm_jax.sklearn.conversion import from_sklearn

OTHER = (
    "warm_start=True goes on from the last fit, but that was one of other components, features or "
    "priors: set warm_start=False to start anew."
)


class Ascent(Estimator):
    """Estimators with normal components, fitted by steps that each climb."""

    covariance_type: str
    tol: float
    reg_covar: float
    max_iter: int
    n_init: int
    init_params: str
    warm_start: bool
    verbose: int
    verbose_interval: int
    weights_: np.ndarray
    means_: np.ndarray
    covariances_: np.ndarray
    precisions_cholesky_: np.ndarray
    lower_bound_: float
    lower_bounds_: list[float]
    converged_: bool
    n_iter_: int

    def sample(self, n_samples: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """Draw points of the fitted mixture and the components that they came from.

        Points of the first component come first.
        """
        check_is_fitted(self)
        n_samples = number_of_samples(n_samples)
        rng = check_random_state(self.random_state)
        weights, components = self._predictive()
        weights = np.asarray(weights, np.float64)
        counts = rng.multinomial(n_samples, weights / weights.sum())
        roots = getattr(components, "scale_trils", None)
        roots = [np.diag(s) for s in components.scales] if roots is None else roots
        parts = []
        for j, count in enumerate(counts):
            noise = rng.standard_normal((count, len(roots[j])))
            if hasattr(components, "dfs"):
                dfs = np.broadcast_to(components.dfs[j], (1, *np.shape(components.dfs[j])))
                shape = (count, dfs.shape[-1] if dfs.ndim == 2 else 1)
                noise = noise / np.sqrt(rng.chisquare(dfs, shape) / dfs)
            parts.append(components.means[j] + noise @ roots[j].T)
        return np.concatenate(parts), np.repeat(np.arange(len(counts)), counts)

    def impute(self, X: Any) -> np.ndarray:
        """The data with what is expected, given the rest of its row, in place of missing values."""
        return _evaluation.impute(*self._predictive(), self._points(X))

    def _validated(self, X: Any, **options: Any) -> np.ndarray:
        points = super()._validated(X, **options)
        _evaluation.check_squares(points)
        return points

    def _log_joint(self, X: np.ndarray) -> np.ndarray:
        return _evaluation.log_joint(*self._predictive(), X)

    @abstractmethod
    def _predictive(self) -> tuple[np.ndarray, Any]:
        """Weights and components, in float64, that new points are compared with."""

    def _mixture(self) -> Mixture:
        return from_sklearn(self)

    def _roots(self) -> np.ndarray:
        """Of the fitted covariances, see `_covariances`."""
        return _covariances.roots_of_precisions(
            self.precisions_cholesky_, self.covariance_type, *np.shape(self.means_)
        )

    def _n_parameters(self) -> int:
        return _covariances.number_free(self.covariance_type, *np.shape(self.means_))

    def _check_common(self) -> None:
        arguments.one_of("covariance_type", self.covariance_type, _covariances.TYPES)
        arguments.one_of("init_params", self.init_params, _starts.WAYS)
        arguments.not_negative("tol", self.tol)
        if arguments.not_negative("reg_covar", self.reg_covar) == np.inf:
            raise ValueError("reg_covar must be finite, got inf: it is added to every variance.")
        arguments.whole("max_iter", self.max_iter, 0)
        arguments.whole("n_init", self.n_init, most=arguments.MOST_RESTARTS)
        verbose = self.verbose
        arguments.whole("verbose", int(verbose) if isinstance(verbose, bool) else verbose, 0)
        arguments.whole("verbose_interval", self.verbose_interval)

    def _continues(self, d: int) -> bool:
        """Whether the next fit, of d features, starts where the last one ended.

        Raises:
            ValueError: it was a fit of something else.
        """
        if not self.warm_start or not hasattr(self, "converged_"):
            return False
        k, kind = self.n_components, self.covariance_type
        now = (k, d), _covariances.shape_of(kind, k, d)
        if now != (np.shape(self.means_), np.shape(self.precisions_cholesky_)):
            raise ValueError(OTHER)
        return True

    def _divisions(self, X: np.ndarray, weight: np.ndarray) -> list[_starts.Moments]:
        """What `n_init` divisions of the points say of the components."""
        rng, used = check_random_state(self.random_state), weight > 0
        whole, weight = _starts.complete(X, weight)[used], weight[used]
        found = []
        for _ in range(self.n_init):
            shares = _starts.divide(self.init_params, whole, weight, self.n_components, rng)
            shares = shares * weight[:, None]
            found.append(_starts.moments(whole, shares, self.covariance_type))
        return found

    def _report(self, runs: Climbed, best: int, bound: float, shift: float) -> None:
        """Set what scikit-learn says of the climb, print what `verbose` asks for, and warn.

        Args:
            runs: All of them, in the frame.
            best: The one that was kept.
            bound: Where it ended, in the frame.
            shift: How much higher bounds are in the frame.
        """
        self.converged_, self.n_iter_ = bool(runs.converged[best]), int(runs.steps[best])
        self.lower_bound_ = bound - shift
        self.lower_bounds_ = (runs.heights(best) - shift).tolist()
        if self.verbose:
            self._tell(runs, shift)
        if not self.converged_ and self.max_iter > 0:
            warnings.warn(
                f"The best start did not converge in max_iter={self.max_iter} steps: raise "
                f"max_iter or tol, or try other init_params.",
                ConvergenceWarning,
                skip_file_prefixes=(HERE,),
            )

    def _tell(self, runs: Climbed, shift: float) -> None:
        """Print a line or more for every run."""
        for run, (done, count) in enumerate(zip(runs.converged, runs.steps, strict=True)):
            for step in range(self.verbose_interval, count + 1, self.verbose_interval):
                height = runs.history[step - 1, run] - shift
                more = f": lower bound {height:.5f}" if self.verbose > 1 else ""
                print(f"Start {run}, step {step}{more}")
            print(f"Start {run} {'converged' if done else 'did not converge'} in {count} steps.")

    def _set(self, attributes: dict[str, Any], dtype: Any) -> None:
        """Set fitted attributes, in the precision of the data.

        Raises:
            ValueError: they are numbers that this precision does not hold.
        """
        with np.errstate(over="ignore"):
            cast = jax.tree.map(lambda a: np.asarray(a).astype(dtype), attributes)
        wrong = [name for name, value in cast.items() if not np.all(np.isfinite(value))]
        if wrong:
            raise ValueError(
                f"{', '.join(wrong)} would not be finite in {np.dtype(dtype)}: scale X, so that "
                f"its variances are near 1, or pass a larger reg_covar."
            )
        for name, value in cast.items():
            setattr(self, name, value)
