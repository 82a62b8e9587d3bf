"""Mixture models in JAX: EM, posterior sampling, and generative functions that state the models.

`fit` fits; `Mixture` is a mixture with known parameters; `models` holds the GenJAX generative
functions and is imported when first used, since importing genjax takes seconds. `testing` checks
samplers, ours and yours.
"""

import importlib
from typing import TYPE_CHECKING, Any

from gmm_jax._warnings import FitWarning
from gmm_jax.families import (
    Bernoulli,
    Categorical,
    Exponential,
    Gamma,
    Heterogeneous,
    MultivariateNormal,
    MultivariateStudentT,
    Normal,
    PointMass,
    Poisson,
    Product,
    StudentT,
    Uniform,
    Wrapped,
)
from gmm_jax.fitting import fit
from gmm_jax.mixture import Mixture
from gmm_jax.results import PointFit
from gmm_jax.saving import load

if TYPE_CHECKING:
    from gmm_jax import models as models
    from gmm_jax import plotting as plotting
    from gmm_jax import sklearn as sklearn
    from gmm_jax import testing as testing
    from gmm_jax.chunked_fit import ChunkedFit
    from gmm_jax.fitting.many import fit_many
    from gmm_jax.fitting.streaming import fit_chunks
    from gmm_jax.many_fits import ManyFits
    from gmm_jax.model_posterior import ModelPosterior
    from gmm_jax.posterior_fit import PosteriorFit
    from gmm_jax.priors.conjugate_rates import GammaExponential, GammaPoisson
    from gmm_jax.priors.conjugate_shares import BetaBernoulli, DirichletCategorical
    from gmm_jax.priors.defaults import default_prior
    from gmm_jax.priors.gamma_inverse_gamma import GammaInverseGamma
    from gmm_jax.priors.hierarchical_normal import HierarchicalNormal
    from gmm_jax.priors.independent import IndependentPrior
    from gmm_jax.priors.mixtures import MixturePrior
    from gmm_jax.priors.normal_gamma import DirichletNormalGamma, NormalGamma
    from gmm_jax.priors.normal_inverse_gamma import NormalInverseGamma
    from gmm_jax.priors.normal_inverse_wishart import NormalInverseWishart
    from gmm_jax.priors.products import ProductPrior
    from gmm_jax.priors.semiconjugate_normal import SemiconjugateNormal
    from gmm_jax.sampling import importance_resample, sample
    from gmm_jax.selection import Selection, select

__version__ = "0.1.0"

__all__ = [
    "Bernoulli",
    "BetaBernoulli",
    "Categorical",
    "ChunkedFit",
    "DirichletCategorical",
    "DirichletNormalGamma",
    "Exponential",
    "FitWarning",
    "Gamma",
    "GammaExponential",
    "GammaInverseGamma",
    "GammaPoisson",
    "Heterogeneous",
    "HierarchicalNormal",
    "IndependentPrior",
    "ManyFits",
    "Mixture",
    "MixturePrior",
    "ModelPosterior",
    "MultivariateNormal",
    "MultivariateStudentT",
    "Normal",
    "NormalGamma",
    "NormalInverseGamma",
    "NormalInverseWishart",
    "PointFit",
    "PointMass",
    "Poisson",
    "PosteriorFit",
    "Product",
    "ProductPrior",
    "Selection",
    "SemiconjugateNormal",
    "StudentT",
    "Uniform",
    "Wrapped",
    "default_prior",
    "fit",
    "fit_chunks",
    "fit_many",
    "importance_resample",
    "load",
    "models",
    "plotting",
    "sample",
    "select",
    "testing",
]

LATER = {
    "BetaBernoulli": "gmm_jax.priors.conjugate_shares",
    "ChunkedFit": "gmm_jax.chunked_fit",
    "DirichletCategorical": "gmm_jax.priors.conjugate_shares",
    "DirichletNormalGamma": "gmm_jax.priors.normal_gamma",
    "GammaExponential": "gmm_jax.priors.conjugate_rates",
    "GammaInverseGamma": "gmm_jax.priors.gamma_inverse_gamma",
    "GammaPoisson": "gmm_jax.priors.conjugate_rates",
    "HierarchicalNormal": "gmm_jax.priors.hierarchical_normal",
    "IndependentPrior": "gmm_jax.priors.independent",
    "ManyFits": "gmm_jax.many_fits",
    "ModelPosterior": "gmm_jax.model_posterior",
    "MixturePrior": "gmm_jax.priors.mixtures",
    "NormalGamma": "gmm_jax.priors.normal_gamma",
    "NormalInverseGamma": "gmm_jax.priors.normal_inverse_gamma",
    "NormalInverseWishart": "gmm_jax.priors.normal_inverse_wishart",
    "PosteriorFit": "gmm_jax.posterior_fit",
    "ProductPrior": "gmm_jax.priors.products",
    "Selection": "gmm_jax.selection",
    "SemiconjugateNormal": "gmm_jax.priors.semiconjugate_normal",
    "default_prior": "gmm_jax.priors.defaults",
    "fit_chunks": "gmm_jax.fitting.streaming",
    "fit_many": "gmm_jax.fitting.many",
    "importance_resample": "gmm_jax.sampling",
    "sample": "gmm_jax.sampling",
    "select": "gmm_jax.selection",
}
"""What is imported when it is first used, so that `import gmm_jax` stays quick."""


def __getattr__(name: str) -> Any:
    if name in ("models", "plotting", "sklearn", "testing"):
        return importlib.import_module(f"gmm_jax.{name}")
    if name in LATER:
        return getattr(importlib.import_module(LATER[name]), name)
    raise AttributeError(f"module 'gmm_jax' has no attribute {name!r}")
