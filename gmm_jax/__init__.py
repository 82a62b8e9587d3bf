"""Mixture models in JAX: EM, posterior sampling, and generative functions that state the models."""

from gmm_jax.families import Bernoulli, Normal
from gmm_jax.mixture import Mixture
from gmm_jax.priors import DirichletNormalGamma

__all__ = ["Bernoulli", "DirichletNormalGamma", "Mixture", "Normal"]
