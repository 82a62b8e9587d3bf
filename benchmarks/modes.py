"""Data that two explanations with three components share: does `fit` find how much each holds?

Four clumps and three components: either the left two clumps share a component, or the right two.
What is known without any sampler: where data and prior are mirror images of themselves, both hold
as much; for twelve points all assignments are gone through. Every method runs with several keys,
and R-hat is that of runs taken for chains, of the log likelihood and of both shares.

    python benchmarks/modes.py --keys 4 auto smc gibbs
"""

import argparse
import time
import warnings
from typing import Any, NamedTuple

import jax
import numpy as np
from paired import header
from scipy import stats

import gmm_jax
from gmm_jax import GammaPoisson, MixturePrior, NormalInverseGamma, NormalInverseWishart
from gmm_jax.convergence import table, worst
from gmm_jax.testing import exact

METHODS = ["auto", "smc", "gibbs"]
LINE = MixturePrior(1, NormalInverseGamma(mean=0, mean_count=0.02, shape=3, rate=1.5))
PLANE = MixturePrior(1, NormalInverseWishart([0, 0], 0.02, df=6, scale_matrix=3 * np.eye(2)))
TIGHT = MixturePrior(1, NormalInverseGamma(mean=0, mean_count=0.02, shape=3, rate=0.5))
COUNTS = MixturePrior(1, GammaPoisson(shape=1, rate=0.05))


class Case(NamedTuple):
    """Four clumps of equally many points, one clump after the other."""

    data: np.ndarray
    prior: Any
    mirrored: bool
    """Whether both explanations hold as much by symmetry; else all assignments are gone through."""

    @property
    def pairs(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """A point of each of the left two clumps, and of the right two."""
        size = len(self.data) // 4
        return (0, size), (2 * size, 3 * size)

    def truth(self) -> np.ndarray | None:
        """Probabilities that the points of each pair share a component; None if only equal."""
        if self.mirrored:
            return None
        together = exact(self.data, self.prior, 3).co_clustering
        return np.array([together[pair] for pair in self.pairs])


def normal_clumps(centres: Any, size: int) -> np.ndarray:
    """Quantiles of a normal of standard deviation .5 around each centre."""
    clump = 0.5 * stats.norm.ppf((np.arange(size) + 0.5) / size)
    return np.concatenate([clump + centre for centre in centres])


def with_mirror_image(left: np.ndarray) -> np.ndarray:
    """The same points again at the right, in the same order."""
    return np.concatenate([left, -left])


def in_the_plane(size: int) -> np.ndarray:
    """Clumps above and below each other, at the left and at the right."""
    x = with_mirror_image(normal_clumps([-5, -5], size))
    angles = 2.4 * np.arange(size)
    rise = np.concatenate([0.5 * np.sin(angles) - 1.6, 0.5 * np.sin(angles) + 1.6])
    return np.column_stack([x, np.tile(rise, 2)])


def with_gaps(data: np.ndarray) -> np.ndarray:
    """The same gaps on both sides; with missing values `auto` starts from Gibbs sampling."""
    data, half = data.copy(), len(data) // 2
    for row, column in [(1, 1), (half // 2 + 3, 1), (4, 0), (half // 2 + 6, 0)]:
        data[[row, row + half], column] = np.nan
    return data


def threes(centres: Any, step: float) -> np.ndarray:
    """Three points about each centre."""
    return np.concatenate([centre + step * np.arange(-1, 2) for centre in centres])


CASES = {
    "line, 32 points": Case(with_mirror_image(normal_clumps((-6.5, -3.5), 8)), LINE, True),
    "line, 200 points": Case(with_mirror_image(normal_clumps((-6.5, -3.5), 50)), LINE, True),
    "plane, 40 points": Case(in_the_plane(10), PLANE, True),
    "plane, gaps": Case(with_gaps(in_the_plane(10)), PLANE, True),
    "uneven, 12 points": Case(threes((-6.5, -3.5, 3.5, 6.8), 0.4), TIGHT, False),
    "counts, 12 points": Case(threes((1, 7, 30, 52), 1), COUNTS, False),
}


class Runs(NamedTuple):
    """One method, several keys."""

    shares: np.ndarray
    """Of each run (r, 2): how probably the points of either pair share a component."""
    errors: np.ndarray
    """Standard errors of these, (r, 2), from the effective draws that the runs report."""
    between: tuple[np.ndarray, np.ndarray]
    """Difference of the shares, and its standard error, (r,)."""
    r_hat: float
    """Between runs."""
    seconds: list[float]
    """The first compiles."""
    reasons: list[str]


def repeat(case: Case, method: str, keys: range) -> Runs:
    """Fit with every key."""
    shares, errors, difference, seconds, reasons, chains = [], [], [], [], [], []
    for seed in keys:
        begin = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", gmm_jax.FitWarning)  # the reason says it, too
            fitted = gmm_jax.fit(
                case.data, 3, prior=case.prior, method=method, key=jax.random.key(seed)
            )
        seconds.append(time.perf_counter() - begin)
        reasons.append(fitted.reason)
        together = by_draw(fitted, case.pairs)
        gap, root = together[:, 0] - together[:, 1], np.sqrt(fitted.effective_sample_size)
        shares.append(together.mean(0))
        errors.append(together.std(0) / root)
        difference.append((gap.mean(), gap.std() / root))
        values = np.column_stack([log_likelihood(fitted), together])
        order = np.random.default_rng(0).permutation(len(values))
        chains.append(values[order[np.linspace(0, len(order) - 1, 2000).astype(int)]])
    found = worst(table({"runs": np.stack(chains)}))
    between = tuple(np.array(difference).T)
    return Runs(np.array(shares), np.array(errors), between, found.r_hat, seconds, reasons)


def by_draw(fitted: Any, pairs: Any) -> np.ndarray:
    """Of every draw: the probability that the points of each pair share a component."""
    points = fitted.data[np.ravel(pairs)]
    each = np.asarray(fitted.responsibilities_by_draw(points))
    return np.stack([(each[:, i] * each[:, i + 1]).sum(-1) for i in (0, 2)], axis=1)


def log_likelihood(fitted: Any) -> np.ndarray:
    """Of every draw, up to a constant, of the points without gaps."""
    complete = ~np.isnan(fitted.data.reshape(len(fitted.data), -1)).any(1)
    inside = fitted.frame.enter(fitted.data[complete], np.float32)
    return np.asarray(jax.jit(jax.vmap(lambda m: m.log_prob(inside).sum()))(fitted.inside))


def main() -> None:
    """Print what each method says next to what is so."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("methods", nargs="*", default=METHODS)
    parser.add_argument("--keys", type=int, default=4)
    parser.add_argument("--quick", action="store_true", help="two keys, two data sets")
    parser.add_argument("--reasons", action="store_true", help="how each fit chose")
    options = parser.parse_args()
    header()
    names = list(CASES)[::5] if options.quick else list(CASES)
    for name in names:
        truth = CASES[name].truth()
        known = (
            "left and right equal" if truth is None else "left {:.3f} right {:.3f}".format(*truth)
        )
        print(f"{name}: {known}")
        for method in options.methods:
            runs = repeat(CASES[name], method, range(2 if options.quick else options.keys))
            shares = "  ".join(f"{left:.3f} {right:.3f}" for left, right in runs.shares)
            seconds = f"{runs.seconds[0]:.1f} s, then {np.median(runs.seconds[1:]):.1f} s"
            print(
                f"  {method:<6} {shares}  (± {runs.errors.mean():.3f})  "
                f"R-hat {runs.r_hat:.3f}  {seconds}",
                flush=True,
            )
            if options.reasons:
                print(*(f"         {reason}" for reason in dict.fromkeys(runs.reasons)), sep="\n")


if __name__ == "__main__":
    main()
