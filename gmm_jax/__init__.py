"""Mixture models in JAX: EM, posterior sampling, and generative functions that state the models.

`fit` fits; `Mixture` is a mixture with known parameters; `models` holds the GenJAX generative
functions and is imported when first used, since importing genjax takes seconds.
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
from gmm_jax.posterior_fit import PosteriorFit
from gmm_jax.priors import DirichletNormalGamma
from gmm_jax.results import PointFit

if TYPE_CHECKING:
    from gmm_jax import models as models
    from gmm_jax.chunked_fit import ChunkedFit
    from gmm_jax.fitting.many import fit_many
    from gmm_jax.fitting.streaming import fit_chunks
    from gmm_jax.many_fits import ManyFits
    from gmm_jax.sampling import importance_resample
    from gmm_jax.selection import Selection, select

__version__ = "0.1.0"

__all__ = [
    "Bernoulli",
    "Categorical",
    "ChunkedFit",
    "DirichletNormalGamma",
    "Exponential",
    "FitWarning",
    "Gamma",
    "Heterogeneous",
    "ManyFits",
    "Mixture",
    "MultivariateNormal",
    "MultivariateStudentT",
    "Normal",
    "PointFit",
    "PointMass",
    "Poisson",
    "PosteriorFit",
    "Product",
    "Selection",
    "StudentT",
    "Uniform",
    "Wrapped",
    "fit",
    "fit_chunks",
    "fit_many",
    "importance_resample",
    "models",
    "select",
]

LATER = {
    "ChunkedFit": "gmm_jax.chunked_fit",
    "ManyFits": "gmm_jax.many_fits",
    "Selection": "gmm_jax.selection",
    "fit_chunks": "gmm_jax.fitting.streaming",
    "fit_many": "gmm_jax.fitting.many",
    "select": "gmm_jax.selection",
    "importance_resample": "gmm_jax.sampling",
}
"""What is imported when it is first used, so that `import gmm_jax` stays quick."""


def __getattr__(name: str) -> Any:
    if name == "models":
        return importlib.import_module("gmm_jax.models")
    if name in LATER:
        return getattr(importlib.import_module(LATER[name]), name)
    raise AttributeError(f"module 'gmm_jax' has no attribute {name!r}")
