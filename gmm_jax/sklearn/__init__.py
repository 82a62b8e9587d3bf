"""Estimators with scikit-learn's parameters, attributes and methods.

`GaussianMixture` and `BayesianGaussianMixture` take the place of scikit-learn's classes: change the
import. `MixtureModel` is a mixture of any other family. `to_sklearn` and `from_sklearn` turn fits
into scikit-learn's own objects, and back.
"""

from gmm_jax.sklearn.bayesian import BayesianGaussianMixture
from gmm_jax.sklearn.conversion import from_sklearn, to_sklearn
from gmm_jax.sklearn.gaussian import GaussianMixture
from gmm_jax.sklearn.mixture_model import MixtureModel

__all__ = [
    "BayesianGaussianMixture",
    "GaussianMixture",
    "MixtureModel",
    "from_sklearn",
    "to_sklearn",
]
