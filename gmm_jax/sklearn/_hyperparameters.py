"""What `BayesianGaussianMixture` is told of its prior, and what the posterior says, in its words.

The posterior's numbers are those of scikit-learn's formulas given the same responsibilities. One
covariance for all counts `degrees_of_freedom` of every component, and one variance for all features
those of every feature: so `covariances_` are the same weighted averages.
"""

from typing import Any, NamedTuple

import numpy as np

from gmm_jax._pytree import rebuild
from gmm_jax.fitting.options import number, one_of
from gmm_jax.priors.mixtures import MixturePrior
from gmm_jax.priors.normal_inverse_gamma import NormalInverseGamma
from gmm_jax.priors.normal_inverse_wishart import NormalInverseWishart
from gmm_jax.sklearn import _covariances
from gmm_jax.sklearn._conjugate import Knowledge, OneCovariance, OneVariance, Shares, Sticks
from gmm_jax.sklearn._starts import positive_definite, shaped

WEIGHTS = ("dirichlet_process", "dirichlet_distribution")


class Hyperparameters(NamedTuple):
    """The prior, as scikit-learn writes it down; float64, in the data's unit."""

    concentration: float
    mean_precision: float
    mean: np.ndarray
    df: float
    covariance: np.ndarray
    """In the shape of the covariance type."""

    @classmethod
    def of(cls, estimator: Any, X: np.ndarray, weight: np.ndarray) -> "Hyperparameters":
        """What the estimator was told, and for the rest what the points suggest.

        Args:
            estimator: Has the parameters.
            X: Complete points.
            weight: How often each counts.

        Raises:
            ValueError: a parameter of another shape, or one that is not positive.
        """
        d, covariance_type = X.shape[1], estimator.covariance_type
        one_of(
            "weight_concentration_prior_type", estimator.weight_concentration_prior_type, WEIGHTS
        )
        mean = shaped("mean_prior", estimator.mean_prior, (d,))
        df = _positive("degrees_of_freedom_prior", estimator.degrees_of_freedom_prior, float(d))
        if df <= d - 1:
            raise ValueError(
                f"degrees_of_freedom_prior must be above d - 1 = {d - 1} for {d} features, "
                f"got {df}."
            )
        shape = {"spherical": (), "diag": (d,)}.get(covariance_type, (d, d))
        covariance = shaped("covariance_prior", estimator.covariance_prior, shape)
        if covariance is not None:
            positive_definite("covariance_prior", covariance)
        share = weight / weight.sum()
        centre = (share @ X).astype(np.float64)
        return cls(
            _positive(
                "weight_concentration_prior",
                estimator.weight_concentration_prior,
                1 / estimator.n_components,
            ),
            _positive("mean_precision_prior", estimator.mean_precision_prior, 1.0),
            centre if mean is None else mean,
            df,
            _spread(X - centre, weight, covariance_type) if covariance is None else covariance,
        )

    def knowledge(self, estimator: Any, k: int) -> Knowledge:
        """The prior of k components, written out for each."""
        d = len(self.mean)
        mean, ones = np.broadcast_to(self.mean, (k, d)), np.ones((k, d))
        if _covariances.has_matrices(estimator.covariance_type):
            tied = estimator.covariance_type == "tied"
            matrix = _proper(self.covariance, estimator.reg_covar)
            components = rebuild(
                OneCovariance if tied else NormalInverseWishart,
                mean=mean,
                mean_count=self.mean_precision * np.ones(k),
                df=self.df * np.ones(k) * (k if tied else 1),
                scale_matrix=np.broadcast_to(matrix, (k, d, d)) * (k if tied else 1),
            )
        else:
            spherical = estimator.covariance_type == "spherical"
            variance = np.maximum(self.covariance, np.finfo(float).tiny ** 0.5)
            components = rebuild(
                OneVariance if spherical else NormalInverseGamma,
                mean=mean,
                mean_count=self.mean_precision * ones,
                shape=self.df / 2 * ones * (d if spherical else 1),
                rate=variance / 2 * ones * (d if spherical else 1),
            )
        concentration = self.concentration * np.ones(k)
        if estimator.weight_concentration_prior_type == "dirichlet_process":
            weights = rebuild(Sticks, a=np.ones(k), b=concentration)
        else:
            weights = rebuild(Shares, concentration=concentration)
        return rebuild(Knowledge, weights=weights, components=components)

    def prior(self, covariance_type: str) -> MixturePrior:
        """The prior as `gmm_jax.fit` takes it; for "full", "diag" and what is the same."""
        d = len(self.mean)
        if covariance_type == "full" and d > 1:
            components = NormalInverseWishart(
                self.mean[None], self.mean_precision, self.df, self.covariance
            )
        else:
            rate = self.covariance.reshape(1, d) / 2
            components = NormalInverseGamma(self.mean[None], self.mean_precision, self.df / 2, rate)
        return MixturePrior(self.concentration, components)


def attributes_of(known: Knowledge, covariance_type: str) -> dict[str, Any]:
    """scikit-learn's fitted attributes, from what is known in the data's unit, in float64."""
    components, weights = known.components, known.weights
    k, d = components.mean.shape
    if _covariances.has_matrices(covariance_type):
        count, df = components.mean_count, components.df
        covariances = components.scale_matrix / df[:, None, None]
        if covariance_type == "tied":
            covariances, df = covariances[0], float(df[0] / k)
    else:
        count, df = components.mean_count[:, 0], 2 * components.shape[:, 0]
        covariances = components.rate / components.shape
        if covariance_type == "spherical":
            covariances, df = covariances[:, 0], df / d
    sticks = isinstance(weights, Sticks)
    return {
        "weight_concentration_": (weights.a, weights.b) if sticks else weights.concentration,
        "weights_": np.asarray(weights.mean(), np.float64),
        "mean_precision_": count,
        "means_": components.mean,
        "degrees_of_freedom_": df,
        **_covariances.fitted_arrays(
            _covariances.roots_of(covariances, covariance_type, k, d), covariance_type
        ),
    }


def _positive(name: str, value: Any, otherwise: float) -> float:
    """A number above zero.

    Raises:
        TypeError: it is no number.
        ValueError: it is not above zero.
    """
    found = otherwise if value is None else number(name, value)
    if not 0 < found < np.inf:
        raise ValueError(f"{name} must be above zero and finite, got {value!r}.")
    return found


def _spread(deviations: np.ndarray, weight: np.ndarray, covariance_type: str) -> np.ndarray:
    """The covariance of the points, in the shape that the type has for a single component."""
    total = max(float(weight.sum()) - 1, np.finfo(float).eps)
    if _covariances.has_matrices(covariance_type):
        return (weight * deviations.T) @ deviations / total
    variances = weight @ deviations**2 / total
    return np.asarray(variances.mean()) if covariance_type == "spherical" else variances


def _proper(matrix: np.ndarray, reg_covar: float | int) -> np.ndarray:
    """The matrix, or where the points leave it without a direction, one that is a little wider."""
    if np.linalg.eigvalsh(matrix).min() > 1e-12 * np.trace(matrix):
        return matrix
    return matrix + max(reg_covar, 1e-10 * np.trace(matrix), 1e-100) * np.eye(len(matrix))


def expected(drawn: Any, covariance_type: str) -> dict[str, Any]:
    """scikit-learn's attributes that draws from the posterior give: means over the draws."""
    draws = drawn.draws
    weights = np.asarray(draws.weights, np.float64).mean(0)
    means = np.asarray(draws.components.means, np.float64).mean(0)
    k, d = means.shape
    if hasattr(draws.components, "scale_trils"):
        trils = np.tril(np.asarray(draws.components.scale_trils, np.float64))
        covariances = np.einsum("skij,sklj->kil", trils, trils) / len(trils)
    else:
        variances = (np.asarray(draws.components.scales, np.float64) ** 2).mean(0)
        covariances = variances.reshape(_covariances.shape_of(covariance_type, k, d))
    roots = _covariances.roots_of(covariances, covariance_type, k, d)
    arrays = _covariances.fitted_arrays(roots, covariance_type)
    return {"weights_": weights / weights.sum(), "means_": means, **arrays}
