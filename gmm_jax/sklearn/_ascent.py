"""What the two estimators that climb share: scikit-learn's parameters, and answers from attributes.

Fitted attributes are all that answers for new points need, as in scikit-learn: who sets them by
hand has a fitted estimator.
"""

import dataclasses
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
from gmm_jax.sklearn._estimator import Estimator
from gmm_jax.sklearn.conversion import from_sklearn


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
    _exact: Any

    @property
    def result_(self) -> Any:
        """The fit, as `gmm_jax.fit` returns it."""
        if "_exact" not in vars(self):
            raise AttributeError(f"this {type(self).__name__} has no result_: call fit first.")
        return usual(self._exact)

    def sample(self, n_samples: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """Draw points of the fitted mixture and the components that they came from.

        Points of the first component come first.
        """
        check_is_fitted(self)
        if n_samples < 1:
            raise ValueError(f"Invalid value for 'n_samples': {n_samples}, at least 1 is needed.")
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

    def _log_joint(self, X: np.ndarray) -> np.ndarray:
        return _evaluation.log_joint(*self._predictive(), X)

    @abstractmethod
    def _predictive(self) -> tuple[np.ndarray, Any]:
        """Weights and components, in float64, that new points are compared with."""

    def _mixture(self) -> Mixture:
        return from_sklearn(self)

    def _fitted_data(self) -> np.ndarray | None:
        return self._exact.data if hasattr(self, "_exact") else None

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
        arguments.not_negative("reg_covar", self.reg_covar)
        arguments.whole("max_iter", self.max_iter, 0)
        arguments.whole("n_init", self.n_init)
        arguments.whole("verbose_interval", self.verbose_interval)

    @property
    def _continues(self) -> bool:
        """Whether the next fit starts where the last one ended."""
        return bool(self.warm_start) and hasattr(self, "converged_")

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

    def _tell(self, converged: np.ndarray, steps: np.ndarray, bounds: np.ndarray) -> None:
        """Report every run, as far as `verbose` asks for it."""
        if not self.verbose:
            return
        for run, (done, count) in enumerate(zip(converged, steps, strict=True)):
            for step in range(self.verbose_interval, count + 1, self.verbose_interval):
                more = f": lower bound {bounds[step - 1, run]:.5f}" if self.verbose > 1 else ""
                print(f"Start {run}, step {step}{more}")
            print(f"Start {run} {'converged' if done else 'did not converge'} in {count} steps.")

    def _warn_unless_converged(self, converged: bool) -> None:
        if not converged and self.max_iter > 0:
            warnings.warn(
                f"The best start did not converge in max_iter={self.max_iter} steps: raise "
                f"max_iter or tol, or try other init_params.",
                ConvergenceWarning,
                skip_file_prefixes=(HERE,),
            )


def best_run(end: np.ndarray, steps: np.ndarray, history: np.ndarray) -> int:
    """The run that was highest before its last step, as scikit-learn chooses; it must be finite.

    Args:
        end: Where each run ended.
        steps: How many steps it took.
        history: Where it stood before each step, (t, r).
    """
    before = history[np.maximum(steps - 1, 0), np.arange(len(steps))]
    return int(np.argmax(np.where(np.isfinite(end) & np.isfinite(before), before, -np.inf)))


def usual(result: Any) -> Any:
    """A result in the precision that JAX is set to, whatever it was computed in."""
    inside = jax.tree.map(
        lambda a: np.asarray(a).astype(jax.dtypes.canonicalize_dtype(a.dtype), copy=False),
        result.inside,
    )
    return dataclasses.replace(result, inside=inside)
