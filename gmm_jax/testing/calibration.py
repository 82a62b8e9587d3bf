"""Are whole fits as sure as they should be?"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import gammaincc
from jaxtyping import Int

from gmm_jax.fitting.arguments import whole
from gmm_jax.testing.quantities import LEVEL, check_prior, evaluate, label_free, quick

MOST_BINS = 16


@dataclass(frozen=True, eq=False)
class Calibration:
    """Where the truth came among draws from each posterior: everywhere equally often, or not."""

    ranks: dict[str, Int[np.ndarray, "r"]]
    """For each quantity and data set, how many draws lie below the truth: 0 to `n_draws`."""
    n_draws: int

    @property
    def pvalues(self) -> dict[str, float]:
        """Of the chi-square test that the ranks of a quantity are uniform."""
        return {name: self._pvalue(name) for name in self.ranks}

    @property
    def passed(self) -> bool:
        """Whether nothing speaks against it; a calibrated method fails once in a thousand."""
        pvalues = self.pvalues.values()
        return min(pvalues) * len(pvalues) >= LEVEL

    def histogram(self, name: str) -> tuple[Int[np.ndarray, "b"], Int[np.ndarray, "b+1"]]:
        """Counts of a quantity's ranks, and the first rank of every bin."""
        bins = min(MOST_BINS, len(self.ranks[name]) // 5, self.n_draws + 1)
        edges = np.arange(bins + 1) * (self.n_draws + 1) // bins
        return np.histogram(self.ranks[name], edges)[0], edges

    def plot(self) -> Any:
        """Draw a histogram of the ranks of each quantity; returns an array of matplotlib axes."""
        from gmm_jax.plotting.rank_histograms import draw_ranks

        titled = {f"{name}\np = {p:.2g}": self.histogram(name) for name, p in self.pvalues.items()}
        return draw_ranks(titled)

    def __str__(self) -> str:
        verdict = "nothing found" if self.passed else "not calibrated"
        n_replications = len(next(iter(self.ranks.values())))
        size = 2 + max(map(len, self.ranks))
        lines = [
            f"{verdict}: ranks of the truth among {self.n_draws} draws, {n_replications} data sets",
            f"{'':{size}}{'mean rank':>11}{'p':>10}",
        ]
        for name, p in sorted(self.pvalues.items(), key=lambda pair: pair[1]):
            mean = (self.ranks[name].mean() + 0.5) / (self.n_draws + 1)
            lines.append(f"{name:<{size}}{mean:>11.2f}{p:>10.2g}{self._reading(name)}")
        return "\n".join(lines)

    def _pvalue(self, name: str) -> float:
        counts, edges = self.histogram(name)
        expected = counts.sum() * np.diff(edges) / (self.n_draws + 1)
        statistic = float(((counts - expected) ** 2 / expected).sum())
        return float(gammaincc((len(counts) - 1) / 2, statistic / 2))

    def _reading(self, name: str) -> str:
        """What is wrong with the draws, where ranks are clearly not uniform."""
        share = (self.ranks[name] + 0.5) / (self.n_draws + 1) - 0.5
        size = math.sqrt(len(share))
        shift = share.mean() * size * math.sqrt(12)
        spread = ((share**2).mean() - 1 / 12) * size * math.sqrt(180)
        words = []
        if abs(shift) > 4:
            words.append("draws are too low" if shift > 0 else "draws are too high")
        if abs(spread) > 4:
            words.append("draws are too narrow" if spread > 0 else "draws are too wide")
        return "  " + ", ".join(words) if words else ""


def calibrate(
    fit_function: Callable[[Array, np.ndarray], Any],
    prior: Any,
    n_components: int,
    n_points: int,
    n_replications: int = 200,
    key: Array | None = None,
    *,
    event_shape: tuple[int, ...] = (),
    quantities: Callable[[Any, Array], dict[str, Array]] = label_free,
    n_draws: int = 63,
) -> Calibration:
    """Check by simulation that a method's posteriors are as sure as they should be.

    Parameters are drawn from the prior and data from them, again and again, and each data set is
    fitted under that prior. If the draws come from the posterior, the rank of the truth among them
    is uniform [1]: a U-shaped histogram means that draws are too narrow, a hump that they are too
    wide. The log likelihood is one of the quantities, since without one that depends on the data a
    method that neglects them would pass [2].

    Args:
        fit_function: `fit_function(key, data)` returns a `PosteriorFit`, or a mixture with equally
            weighted draws on the first axis of every array.
        prior: A prior of mixtures, or any object whose `sample(key, n_components, event_shape)`
            draws a pytree whose `sample(key, n_points)` returns data first.
        n_components: How many, k.
        n_points: How many points each data set has.
        n_replications: How many data sets to fit.
        key: Random key; fixed if left out.
        event_shape: () for points of one feature, (d,) for rows.
        quantities: Function of a mixture and data that returns a dictionary of named scalars; by
            default the log likelihood, the largest weight, and the leading parameter of each
            component (its mean or rate), ascending.
        n_draws: How many draws to rank the truth among, evenly spaced among those returned. They
            should be independent: thin chains until they are.

    Raises:
        TypeError: `prior` can't be drawn from; a fit returns no mixtures of the prior's form;
            `quantities` returns something other than named scalars.
        ValueError: a fit has fewer draws than `n_draws`; a quantity is NaN.

    Example:
        The share of heads of a coin, whose posterior is known:

        >>> import jax
        >>> from gmm_jax import BetaBernoulli, Bernoulli, Mixture, MixturePrior
        >>> from gmm_jax.testing import calibrate
        >>> prior = MixturePrior(concentration=1, components=BetaBernoulli(1, 1))
        >>> def fit(key, data):
        ...     shares = jax.random.beta(key, 1 + data.sum(), 1 + (1 - data).sum(), (63, 1))
        ...     return jax.vmap(lambda share: Mixture([1.0], Bernoulli(share)))(shares)
        >>> calibrate(fit, prior, n_components=1, n_points=5).passed
        True

    [1] Talts, Betancourt, Simpson, Vehtari and Gelman (2018), "Validating Bayesian inference
        algorithms with simulation-based calibration".
    [2] Modrák et al. (2023), "Simulation-based calibration checking for Bayesian computation: the
        choice of test quantities shapes sensitivity".
    """
    check_prior(prior)
    k, n = whole("n_components", n_components), whole("n_points", n_points)
    n_replications = whole("n_replications", n_replications, 20)
    n_draws = whole("n_draws", n_draws, 3)
    key = jax.random.key(0) if key is None else key
    draw = quick(jax.vmap(lambda key: prior.sample(key, k, event_shape)))
    observe = quick(jax.vmap(lambda key, mixture: mixture.sample(key, n)[0]))
    measure = quick(jax.vmap(lambda mixture, data: evaluate(quantities, mixture, data), (0, None)))
    truth_key, data_key, fits_key, ties_key = jax.random.split(key, 4)
    truths = jax.device_get(draw(jax.random.split(truth_key, n_replications)))
    sets = np.asarray(observe(jax.random.split(data_key, n_replications), truths))
    ties = np.random.default_rng(np.asarray(jax.random.key_data(ties_key)))

    ranks = []
    for i, data in enumerate(sets):
        result = fit_function(jax.random.fold_in(fits_key, i), data)
        drawn = getattr(result, "draws", result)
        if jax.tree.structure(drawn) != jax.tree.structure(truths):
            raise TypeError(
                f"fit_function must return a PosteriorFit, or draws of {type(truths).__name__} as "
                f"the prior gives them, got {type(result).__name__}."
            )
        draws = _thin(drawn, n_draws)
        both = jax.tree.map(lambda a, b, i=i: np.concatenate([a[i : i + 1], b]), truths, draws)
        values = jax.device_get(measure(both, jnp.asarray(data)))
        ranks.append({name: _rank(name, value, ties) for name, value in values.items()})
    return Calibration(jax.tree.map(lambda *a: np.array(a), *ranks), n_draws)


def _thin(draws: Any, n_draws: int) -> Any:
    size = jax.tree.leaves(draws)[0].shape[0]
    if size < n_draws:
        raise ValueError(
            f"a fit has {size} draws but n_draws is {n_draws}: return more, or rank among fewer."
        )
    picked = np.linspace(0, size - 1, n_draws).astype(int)
    return jax.tree.map(lambda a: np.asarray(a)[picked], draws)


def _rank(name: str, values: np.ndarray, ties: np.random.Generator) -> int:
    """How many of the draws lie below the first value; ties go either way at random."""
    if np.isnan(values).any():
        raise ValueError(f"{name!r} is NaN: leave it out of quantities, or mend the fit.")
    truth, draws = values[0], values[1:]
    return int((draws < truth).sum() + ties.integers(0, (draws == truth).sum(), endpoint=True))
