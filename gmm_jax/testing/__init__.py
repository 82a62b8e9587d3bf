"""Proofs of correctness for samplers: of this package, and of your own.

`exact` is the posterior of a few points without sampling error; `check_invariance` tells whether a
kernel leaves the joint distribution of parameters and data as it is; `calibrate` tells whether
whole fits are as sure as they should be.
"""

from gmm_jax.testing.calibration import Calibration, calibrate
from gmm_jax.testing.enumeration import ExactPosterior, exact
from gmm_jax.testing.invariance import Invariance, check_invariance

__all__ = [
    "Calibration",
    "ExactPosterior",
    "Invariance",
    "calibrate",
    "check_invariance",
    "exact",
]
