"""Fitted mixtures, from our hands into scikit-learn's and back."""

from typing import Any

import numpy as np
from sklearn.mixture import GaussianMixture as TheirMixture
from sklearn.utils.validation import check_is_fitted

from gmm_jax.families import MultivariateNormal, Normal
from gmm_jax.mixture import Mixture
from gmm_jax.results import PointFit
from gmm_jax.sklearn import _covariances


def to_sklearn(result: Any) -> TheirMixture:
    """Turn a fit, or a mixture, of normals into scikit-learn's own fitted `GaussianMixture`.

    Args:
        result: `PointFit` or `Mixture` with normal components; those of one number get one
            feature. Covariances that the fit shared stay so ("tied", "spherical").

    Raises:
        TypeError: other components, or draws from a posterior.

    Example:
        >>> import gmm_jax
        >>> from gmm_jax.sklearn import to_sklearn
        >>> fitted = gmm_jax.fit([348.0, 350, 352, 498, 500, 502], 2)
        >>> to_sklearn(fitted).predict([[351.0], [499.0]])
        array([0, 1])
    """
    mixture = result.mixture if isinstance(result, PointFit) else result
    if not isinstance(mixture, Mixture) or not isinstance(
        mixture.components, Normal | MultivariateNormal
    ):
        raise TypeError(
            f"to_sklearn needs a point estimate of a mixture of normals, got "
            f"{type(result).__name__}: scikit-learn has no other components. Of a posterior pass "
            f"fit(..., method='em'), the mode."
        )
    components = mixture.components
    means = np.asarray(components.means, np.float64).reshape(mixture.n_components, -1)
    covariance_type = _type_of(result, components)
    roots = _covariances.roots_of_components(components, "diag").reshape(len(means), -1)
    if isinstance(components, MultivariateNormal):
        roots = roots.reshape(*means.shape, -1)
    elif _covariances.has_matrices(covariance_type):  # of one feature
        roots = roots[..., None]
    model: Any = TheirMixture(mixture.n_components, covariance_type=covariance_type)
    model.weights_ = np.asarray(mixture.weights, np.float64)
    model.weights_ /= model.weights_.sum()
    model.means_, model.n_features_in_ = means, means.shape[1]
    for name, value in _covariances.fitted_arrays(roots, covariance_type).items():
        setattr(model, name, value)
    _tell_progress(model, result)
    return model


def _type_of(result: Any, components: Any) -> str:
    """What scikit-learn calls the structure of the covariances."""
    sharing = getattr(getattr(result, "limits", None), "sharing", None)
    one_feature = components.event_shape in ((), (1,))
    if isinstance(components, MultivariateNormal):
        return "tied" if sharing and sharing.by_all("scale_trils") else "full"
    if one_feature:
        return "tied" if sharing and sharing.by_all("scales") else "full"
    return "spherical" if sharing and "scales" in sharing.features else "diag"


def _tell_progress(model: Any, result: Any) -> None:
    """Set what scikit-learn says of the way to the estimate."""
    fitted = isinstance(result, PointFit)
    size = float(result.sample_weight.sum()) if fitted else np.nan
    model.converged_ = bool(result.converged) if fitted else True
    model.n_iter_ = result.n_steps if fitted else 0
    model.lower_bound_ = result.log_likelihood / size if fitted else np.nan
    model.lower_bounds_ = [float(bound) for bound in result.history] if fitted else []


def from_sklearn(model: Any) -> Mixture:
    """Take the mixture out of a fitted estimator of scikit-learn, or of this module.

    Args:
        model: A fitted `GaussianMixture` or `BayesianGaussianMixture`, of which it is what they
            estimate for weights, means and covariances.

    Returns:
        The mixture: of `MultivariateNormal` for covariance types "full" and "tied", else of
        `Normal`; with one feature of `Normal` for single numbers.

    Raises:
        TypeError: not such an estimator.

    Example:
        >>> from sklearn.mixture import GaussianMixture
        >>> from gmm_jax.sklearn import from_sklearn
        >>> model = GaussianMixture(2, random_state=0).fit([[1.0], [1.2], [7.0], [7.2]])
        >>> from_sklearn(model).components.means.shape
        (2,)
    """
    if not hasattr(model, "covariance_type"):
        raise TypeError(
            f"from_sklearn takes a fitted GaussianMixture or BayesianGaussianMixture, got "
            f"{type(model).__name__}."
        )
    check_is_fitted(model)
    means = np.asarray(model.means_, np.float64)
    k, d = means.shape
    roots = _covariances.roots_of(model.covariances_, model.covariance_type, k, d)
    weights = np.asarray(model.weights_, np.float64)
    weights = weights / weights.sum()
    if d == 1:
        return Mixture(weights, Normal(means[:, 0], roots.reshape(k)))
    kind = MultivariateNormal if roots.ndim == 3 else Normal
    return Mixture(weights, kind(means, roots))
