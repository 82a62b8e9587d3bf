"""Simulation-based calibration of whole fits: each sampler, each prior of the default set.

Parameters from the default prior of a few points, six points from them, a fit; again and again. The
rank of the truth among 63 draws must be uniform. Two hours of one core with a thousand replications
of everything; name samplers and priors to run less:

    python benchmarks/calibration.py --replications 200 --methods gibbs smc --priors normal counts
"""

import argparse
import time
import warnings
from typing import Any

import jax
import numpy as np
from paired import header

import gmm_jax
from gmm_jax import default_prior
from gmm_jax.testing import calibrate

DRAWS = {"gibbs": 4000, "importance": 4000, "smc": 500, "nuts": 1000}
NUMBERS = np.array([-1.9, -0.7, 0.1, 0.6, 1.8])
SEEN = {
    "normal": (NUMBERS, None),
    "several": (np.column_stack([NUMBERS, NUMBERS[[2, 0, 4, 1, 3]]]), None),
    "counts": (np.array([0.0, 2, 3, 5, 9]), gmm_jax.Poisson),
    "waits": (np.array([0.2, 0.5, 1.1, 2.3, 6.0]), gmm_jax.Exponential),
    "amounts": (np.array([0.2, 0.5, 1.1, 2.3, 6.0]), gmm_jax.Gamma),
    "yes or no": (np.array([0.0, 1, 1, 0, 1]), gmm_jax.Bernoulli),
    "categories": (np.array([0.0, 1, 2, 0, 1]), gmm_jax.Categorical),
    "heavy tails": (NUMBERS, gmm_jax.StudentT),
}
"""Points that default priors are derived from, and the family where it is not the usual one."""


def main() -> None:
    """Print a line for each, and the whole table where something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replications", type=int, default=1000)
    parser.add_argument("--methods", nargs="*", choices=DRAWS, default=list(DRAWS))
    parser.add_argument("--priors", nargs="*", choices=SEEN, default=list(SEEN))
    parser.add_argument("--quick", action="store_true", help="20 replications of normals by Gibbs")
    options = parser.parse_args()
    if options.quick:
        options.replications, options.methods, options.priors = 20, ["gibbs"], ["normal"]
    header()
    print("prior        sampler      smallest p of its quantities      fits that complain  seconds")
    for name in options.priors:
        points, family = SEEN[name]
        prior = default_prior(points, 2, family)
        conditional = prior.components.conditional
        for method in options.methods if conditional else ["nuts"]:
            complaints: list[Any] = []

            def fit(key: Any, data: Any, method=method, prior=prior, complaints=complaints) -> Any:
                with warnings.catch_warnings(record=True) as caught:
                    warnings.simplefilter("always", gmm_jax.FitWarning)
                    result = gmm_jax.fit(
                        data, 2, prior=prior, method=method, n_draws=DRAWS[method], key=key
                    )
                complaints.extend(caught[:1])
                return result

            begin = time.perf_counter()
            event = points.shape[1:]
            found = calibrate(fit, prior, 2, 6, options.replications, event_shape=event)
            worst, p = min(found.pvalues.items(), key=lambda pair: pair[1])
            seconds = time.perf_counter() - begin
            print(
                f"{name:<12} {method:<12} {p:.3f} of {len(found.pvalues)} ({worst:<27}) "
                f"{len(complaints):>6} {seconds:>16.0f}",
                flush=True,
            )
            if not found.passed:
                print(found)
            jax.clear_caches()


if __name__ == "__main__":
    main()
