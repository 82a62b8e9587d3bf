"""Posterior predictive checks: does the fitted model make data like these?"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from gmm_jax._numerics import categorical, safe_log
from gmm_jax.mixture import Mixture


@dataclass(frozen=True, eq=False)
class PredictiveCheck:
    """Statistics of the data beside those of data sets that the posterior predicts [1].

    [1] Gelman, Meng and Stern (1996), "Posterior predictive assessment of model fitness via
        realized discrepancies".
    """

    observed: dict[str, float]
    replicated: dict[str, Float[np.ndarray, "r"]]

    @property
    def pvalues(self) -> dict[str, float]:
        """Share of the replicates whose statistic is above that of the data; ties count half.

        Near 0 or 1 the model does not make data like these.
        """
        return {name: self._above(name) for name in self.observed}

    def _above(self, name: str) -> float:
        own, others = self.observed[name], self.replicated[name]
        return float(np.mean(others > own) + np.mean(others == own) / 2)

    def __str__(self) -> str:
        width = max(map(len, self.observed)) + 2
        heads = "".join(f"{head:>13}" for head in ("data", "5 %", "median", "95 %", "above"))
        lines = [" " * width + heads]
        for name, own in self.observed.items():
            low, middle, high = np.quantile(self.replicated[name], (0.05, 0.5, 0.95))
            lines.append(
                f"{name:{width}}{own:>13.5g}{low:>13.5g}{middle:>13.5g}{high:>13.5g}"
                f"{self.pvalues[name]:>13.3f}"
            )
        return "\n".join(
            [
                *lines,
                "quantiles of data sets that the posterior predicts, and the share above the data",
            ]
        )


def compare(
    draws: Mixture,
    data: Any,
    sample_weight: Any,
    statistics: Any,
    n_replicates: int,
    key: Array,
) -> PredictiveCheck:
    """Draw as many points as there are, with the same gaps, again and again.

    Raises:
        TypeError: statistics that are no functions by name, or that return no number.
        ValueError: weights that are no whole numbers; a statistic that is NaN of the data.
    """
    _check_functions(statistics)
    counts = np.asarray(sample_weight)
    if np.any(counts % 1):
        raise ValueError("a data set with fractional sample_weight has no replicates to draw.")
    observed = np.repeat(np.asarray(data), counts.astype(int), 0)
    statistics = statistics or _usual(observed)
    own = {name: _number(name, statistic, observed) for name, statistic in statistics.items()}
    for name, value in own.items():
        if np.isnan(value):
            raise ValueError(
                f"statistics[{name!r}] of the data is nan, which compares with nothing: leave out "
                f"missing values in it, as np.nanmean does."
            )
    replicates = np.array(_replicates(key, draws, len(observed), n_replicates))
    replicates = np.where(np.isnan(observed), np.nan, replicates)
    found = {
        name: np.array([_number(name, statistic, each) for each in replicates])
        for name, statistic in statistics.items()
    }
    return PredictiveCheck(own, found)


def _check_functions(statistics: Any) -> None:
    named = statistics is None or (
        isinstance(statistics, dict)
        and all(isinstance(n, str) and callable(f) for n, f in statistics.items())
    )
    if not named:
        raise TypeError(
            f"statistics must be functions by name, such as {{'mean': np.mean}}, got "
            f"{statistics!r}."
        )


def _number(name: str, statistic: Callable[[Any], Any], points: np.ndarray) -> float:
    value = np.asarray(statistic(points))
    if value.size != 1 or value.dtype.kind not in "biuf":
        raise TypeError(f"statistics[{name!r}] must return one number, got {value.tolist()!r}.")
    return float(value.item())


def _replicates(key: Array, draws: Mixture, n: int, size: int) -> Array:
    which_key, points_key = jax.random.split(key)
    picked = jax.random.randint(which_key, (size,), 0, draws.weights.shape[0])
    chosen = jax.tree.map(lambda a: a[picked], draws)
    return _data_sets(jax.random.split(points_key, size), chosen, jnp.zeros(n))


@jax.jit
def _data_sets(keys: Array, draws: Mixture, points: Array) -> Array:
    def one(arguments):
        key, mixture = arguments
        assignment_key, point_key = jax.random.split(key)
        uniforms = jax.random.uniform(assignment_key, points.shape, mixture.weights.dtype)
        assignments = categorical(uniforms, safe_log(mixture.weights))
        return mixture.components.sample(point_key, assignments)

    return jax.lax.map(one, (keys, draws))


def _usual(data: np.ndarray) -> dict[str, Callable[[Any], Any]]:
    """Mean, standard deviation, skewness and range of each column."""
    usual = {
        "mean": np.nanmean,
        "standard deviation": np.nanstd,
        "skewness": _skewness,
        "least": np.nanmin,
        "largest": np.nanmax,
    }
    if data.ndim == 1:
        return usual
    return {
        f"{name}[{j}]": lambda points, of=of, j=j: of(points[:, j])
        for j in range(data.shape[1])
        for name, of in usual.items()
    }


def _skewness(column: np.ndarray) -> float:
    off = column - np.nanmean(column)
    spread = np.nanstd(column)
    return float(np.nanmean(off**3) / spread**3) if spread > 0 else 0.0
