"""Many small data sets: fit_many against a loop over scikit-learn.

    python benchmarks/many.py [threads]

1,000 and 10,000 sets of 200 points, three components, one start each. scikit-learn stops at its
default tolerance; ours at that number, at a tenth of it, and at its own default, which is far
stricter. scikit-learn is timed on 100 of the sets. CPU time of the whole process; scikit-learn may
use `threads` threads (1 unless told: more cost it CPU time on data as small as these).
"""

import sys
import time
import warnings

import numpy as np
from paired import header, paired
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from threadpoolctl import threadpool_limits

import gmm_jax

POINTS, COMPONENTS, TIMED = 200, 3, 100


def draw(n_sets: int, d: int) -> np.ndarray:
    """Sets of three clusters whose centres are spread four times as wide as they are."""
    rng = np.random.default_rng(d)
    centres = 4 * rng.normal(size=(n_sets, COMPONENTS, d))
    which = rng.integers(COMPONENTS, size=(n_sets, POINTS, 1))
    return np.take_along_axis(centres, which, 1) + rng.normal(size=(n_sets, POINTS, d))


def theirs(data: np.ndarray, covariance_type: str) -> np.ndarray:
    """Log-likelihood per point of scikit-learn's fit to each set."""
    return np.array(
        [
            GaussianMixture(COMPONENTS, covariance_type=covariance_type, random_state=0)
            .fit(points)
            .score(points)
            for points in data
        ]
    )


def compare(n_sets: int, d: int, rounds: int, tolerances: tuple[float | None, ...]) -> None:
    """Print one line for each tolerance."""
    data = draw(n_sets, d)
    family = gmm_jax.Normal if d == 1 else gmm_jax.MultivariateNormal
    kind = "diag" if d == 1 else "full"
    given = data[:, :, 0] if d == 1 else data

    def ours(tol):
        return gmm_jax.fit_many(given, COMPONENTS, family=family, n_restarts=1, tol=tol)

    rivals = {
        "theirs": lambda: theirs(data[:TIMED], kind),
        **{f"tol {tol}": lambda tol=tol: ours(tol) for tol in tolerances},
    }
    seconds = paired(rivals, rounds, time.process_time)
    theirs_each = seconds.pop("theirs") / TIMED
    reference = theirs(data[:TIMED], kind)
    for (name, total), tol in zip(seconds.items(), tolerances, strict=True):
        found = ours(tol).log_likelihood[:TIMED] / POINTS
        gain = found - reference
        print(
            f"sets={n_sets:<6} d={d} {kind:<5} {name:<12} gmm_jax {total / n_sets * 1e6:7.1f} us"
            f"   scikit-learn {theirs_each * 1e6:7.0f} us   ratio "
            f"{theirs_each / (total / n_sets):5.1f}   log likelihood per point: "
            f"mean gain {gain.mean():+.5f}, not lower by 1e-4 in {(gain > -1e-4).mean():.0%}",
            flush=True,
        )


def main() -> None:
    """All shapes."""
    warnings.simplefilter("ignore", ConvergenceWarning)
    warnings.simplefilter("ignore", gmm_jax.FitWarning)
    header("scikit-learn")
    threads = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    with threadpool_limits(threads):
        for n_sets, rounds in ((1000, 5), (10_000, 3)):
            for d in (1, 2):
                # At our default a few slow sets take most of the time.
                compare(n_sets, d, rounds, (1e-3, 1e-4, None) if n_sets == 1000 else (1e-3, 1e-4))


if __name__ == "__main__":
    main()
