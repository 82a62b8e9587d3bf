"""Log evidence of the bentos for K = 1 ... 4: spread and bias over 20 keys, by both samplers.

The exact values are by enumeration and quadrature. Takes tens of minutes on two cores; name the
methods, or fewer keys, to run less: `evidence.py --keys 5 smc`.
"""

import argparse
import time

import jax
import numpy as np
from paired import header

import gmm_jax
from gmm_jax.datasets import BENTOS

EXACT = {1: -161.798552, 2: -68.520791, 3: -69.594284, 4: -70.724597}
PRIOR = gmm_jax.DirichletNormalGamma(concentration=1, mean=400, mean_scale=50, shape=2, rate=1)
PARTICLES = {"importance": 20_000, "smc": 4_000}


def row(method: str, k: int, n_keys: int) -> str:
    """Error over keys, the error that the runs report, and seconds of a run after the first."""
    errors, reported, effective, seconds = [], [], [], []
    for seed in range(n_keys):
        begin = time.perf_counter()
        result = gmm_jax.fit(
            BENTOS,
            k,
            prior=PRIOR,
            method=method,
            n_draws=PARTICLES[method],
            key=jax.random.key(seed),
        )
        seconds.append(time.perf_counter() - begin)
        errors.append(result.log_evidence - EXACT[k])
        reported.append(result.log_evidence_error)
        effective.append(result.effective_sample_size)
    return (
        f"{method:<12} {k}  {np.std(errors, ddof=1):8.4f}  {np.mean(errors):+8.4f}  "
        f"{np.mean(reported):8.4f}  {np.mean(effective):9.0f}  {np.median(seconds[1:]):7.1f}"
    )


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("methods", nargs="*", default=list(PARTICLES), help="importance, smc")
    parser.add_argument("--keys", type=int, default=20)
    options = parser.parse_args()
    header()
    print("method       K   sd over keys  bias  reported  effective  seconds")
    for method in options.methods:
        for k in EXACT:
            print(row(method, k, options.keys), flush=True)


if __name__ == "__main__":
    main()
