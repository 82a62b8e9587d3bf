"""What every estimator answers once it is fitted, in scikit-learn's words."""

import math
from abc import abstractmethod
from typing import Any

import jax
import numpy as np
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from gmm_jax._data import as_points
from gmm_jax.fitting import arguments
from gmm_jax.mixture import Mixture
from gmm_jax.sklearn._evaluation import log_sum_exp, shares_of, usual


class Estimator(DensityMixin, BaseEstimator):
    """A fitted mixture; estimators say how it is fitted, and how points compare with it."""

    n_components: int
    random_state: Any
    _exact: Any

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Any:
        """Fit the mixture.

        Args:
            X: (n, d): array, data frame or list of rows. NaN is a value missing at random.
            y: Ignored.
            sample_weight: How often each row counts; weight 3 is three copies.

        Returns:
            The estimator.
        """
        points, weight = self._checked(X, sample_weight)
        self._learn(points, weight)
        return self

    def fit_predict(self, X: Any, y: Any = None, sample_weight: Any = None) -> np.ndarray:
        """Fit the mixture and return the most probable component of each point."""
        return self.fit(X, sample_weight=sample_weight).predict(X)

    def predict(self, X: Any) -> np.ndarray:
        """Index of the most probable component of each point."""
        return self._possible(X).argmax(1)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probability that each component (column) produced each point (row)."""
        return shares_of(self._possible(X))

    def score_samples(self, X: Any) -> np.ndarray:
        """Log density at each point, in nats; minus infinity where no component reaches."""
        return log_sum_exp(self._log_joint(self._points(X)))

    def score(self, X: Any, y: Any = None) -> Any:
        """Mean log density of the points, in nats: higher is better."""
        return float(self.score_samples(X).mean())

    def uncertainty(self, X: Any) -> np.ndarray:
        """Probability that `predict` is wrong about each point: 0 is certain."""
        return 1 - self.predict_proba(X).max(1)

    def bic(self, X: Any) -> float:
        """Bayesian information criterion, -2 log L + p log n: lower is better."""
        logs = self.score_samples(X)
        return float(-2 * logs.sum(dtype=np.float64) + self._n_parameters() * math.log(len(logs)))

    def aic(self, X: Any) -> float:
        """Akaike information criterion, -2 log L + 2 p: lower is better."""
        return float(-2 * self.score_samples(X).sum(dtype=np.float64) + 2 * self._n_parameters())

    def icl(self, X: Any) -> float:
        """Integrated completed likelihood, BIC plus twice the entropy of the labels.

        Lower is better; overlapping components pay for it (Biernacki, Celeux and Govaert 2000).
        """
        shares = self.predict_proba(X).astype(np.float64)
        entropy = -(shares * np.log(np.where(shares > 0, shares, 1))).sum()
        return self.bic(X) + 2 * float(entropy)

    @property
    def result_(self) -> Any:
        """The fit, as `gmm_jax.fit` returns it."""
        if not hasattr(self, "_exact"):
            raise AttributeError(f"this {type(self).__name__} has no result_: call fit first.")
        return usual(self._exact)

    @property
    def labels_(self) -> np.ndarray:
        """Most probable component of each point that was given to `fit`."""
        data = self._fitted_data()
        if data is None:
            raise AttributeError(f"this {type(self).__name__} has no labels_: call fit first.")
        return self._log_joint(data.reshape(len(data), -1)).argmax(1)

    @property
    def mixture_(self) -> Mixture:
        """The fitted mixture, as `gmm_jax` has it."""
        if not hasattr(self, "weights_"):
            raise AttributeError(f"this {type(self).__name__} has no mixture_: call fit first.")
        return self._mixture()

    def condition(self, dims: Any, values: Any) -> Mixture:
        """The mixture of the other features where the features `dims` are known to be `values`.

        Args:
            dims: A feature's number or, after a fit to a data frame, its name; or a list of them.
            values: One number for each.
        """
        check_is_fitted(self)
        names = list(getattr(self, "feature_names_in_", []))
        unknown = [d for d in np.atleast_1d(dims) if isinstance(d, str) and d not in names]
        if unknown:
            raise ValueError(f"dims has {unknown[0]!r}, but the features are {names}.")
        numbers = [names.index(d) if isinstance(d, str) else int(d) for d in np.atleast_1d(dims)]
        return self.mixture_.condition(numbers if np.ndim(dims) else numbers[0], values)

    @abstractmethod
    def _learn(self, X: np.ndarray, weight: np.ndarray) -> None:
        """Fit checked points, and set the fitted attributes."""

    @abstractmethod
    def _log_joint(self, X: np.ndarray) -> np.ndarray:
        """Log of weight times density of checked points, (n, k)."""

    @abstractmethod
    def _mixture(self) -> Mixture:
        """The fitted mixture."""

    @abstractmethod
    def _n_parameters(self) -> int:
        """How many numbers were free."""

    def _checked(
        self, X: Any, sample_weight: Any, reset: bool = True
    ) -> tuple[np.ndarray, np.ndarray]:
        """Points to learn from, and how often each counts."""
        points = self._validated(X, reset=reset, ensure_min_samples=2 if reset else 1)
        weight = arguments.as_weights(
            None if sample_weight is None else np.asarray(sample_weight), len(points)
        )
        arguments.check_missing(points, weight)
        k = arguments.whole("n_components", self.n_components)
        n = int((weight > 0).sum())
        if reset and n < k:
            raise ValueError(
                f"n_components={k} but there are n_samples={n} points: ask for fewer components."
            )
        return points, weight

    def _points(self, X: Any) -> np.ndarray:
        """New points to compare with the fitted mixture."""
        check_is_fitted(self)
        return self._validated(X, reset=False)

    def _validated(self, X: Any, **options: Any) -> np.ndarray:
        """Points as an array (n, d), as scikit-learn checks them.

        Where it refuses them, our own words follow, which name what is wrong and what to do.
        """
        dtypes = [X.dtype] if hasattr(X, "dtype") else getattr(X, "dtypes", [])
        times = any(getattr(dtype, "kind", None) in ("m", "M") for dtype in dtypes)
        if times or np.ma.is_masked(X):  # scikit-learn takes them for numbers
            as_points(X, "X", missing=True)
        options |= dict(dtype=[np.float64, np.float32], ensure_all_finite="allow-nan")
        try:
            return np.asarray(validate_data(self, X, **options))
        except (TypeError, ValueError, OverflowError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            try:
                as_points(X, "X", missing=True)
            except (TypeError, ValueError) as own:
                raise kind(f"{error}\n{own}") from error
            raise

    def _possible(self, X: Any) -> np.ndarray:
        """Log of weight times density of new points, (n, k), each of which is possible.

        Raises:
            ValueError: there is one that no component can have produced.
        """
        logs = self._log_joint(self._points(X))
        lost = np.flatnonzero(~(logs > -np.inf).any(1))
        if lost.size:
            raise ValueError(
                f"X has {lost.size} row(s) where the density of every component is 0 in "
                f"{logs.dtype}, the first is row {lost[0]}: drop them; score_samples is -inf there."
            )
        return logs

    def _fitted_data(self) -> np.ndarray | None:
        """The points that were fitted; None before that."""
        return np.asarray(self._exact.data) if hasattr(self, "_exact") else None

    def _key(self) -> jax.Array:
        """A key that follows `random_state`."""
        return jax.random.key(check_random_state(self.random_state).randint(2**31 - 1))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags


def number_of_samples(n_samples: Any) -> int:
    """How many points to draw.

    Raises:
        TypeError: no whole number.
        ValueError: less than 1.
    """
    if arguments.whole("n_samples", n_samples, -(10**9)) < 1:
        raise ValueError(f"Invalid value for 'n_samples': {n_samples}, at least 1 is needed.")
    return int(n_samples)
