"""How many components, by the evidence: what the data say of each number, parameters summed out."""

import math
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax import Array

from gmm_jax._warnings import FitWarning, warn
from gmm_jax.fitting import arguments, fit
from gmm_jax.mixture_posterior import MOST_COMPONENTS
from gmm_jax.posterior_fit import PosteriorFit
from gmm_jax.priors.defaults import default_prior
from gmm_jax.saving import Savable


@dataclass(frozen=True, eq=False)
class Evidence(Savable):
    """The evidence for each number of components: print it for a table."""

    fits: dict[int, PosteriorFit]
    """The posterior for each number of components."""
    prior_probabilities: dict[int, float]
    """Of each number, before seeing the data."""
    criterion: str = "evidence"

    @property
    def probabilities(self) -> dict[int, float]:
        """Posterior probability of each number of components."""
        logs = np.array([self.fits[k].log_evidence for k in self.fits])
        logs += np.log([self.prior_probabilities[k] for k in self.fits])
        shares = np.exp(logs - logs.max())
        return dict(zip(self.fits, map(float, shares / shares.sum()), strict=True))

    @property
    def best(self) -> PosteriorFit:
        """The posterior with the most probable number of components."""
        return self.fits[max(self.probabilities.items(), key=lambda pair: pair[1])[0]]

    @property
    def table(self) -> list[dict[str, Any]]:
        """A row for each number of components."""
        return [
            {
                "n_components": k,
                "log_evidence": found.log_evidence,
                "standard_error": found.log_evidence_error,
                "probability": self.probabilities[k],
                "mean_occupied": float(found.occupied() @ np.arange(k + 1)),
                "method": found.method,
            }
            for k, found in self.fits.items()
        ]

    def to_frame(self) -> Any:
        """The table as a pandas data frame."""
        import pandas

        return pandas.DataFrame(self.table)

    def plot(self, kind: Any = None, ax: Any = None) -> Any:
        """Draw the evidence and the probability of each number; returns an array of axes."""
        from gmm_jax.plotting import plot

        return plot(self, kind, ax)

    def __str__(self) -> str:
        head = ("components", "log evidence", "error", "probability", "occupied", "method")
        lines = ["".join(f"{name:>14}" for name in head)]
        for row in self.table:
            k, log_evidence, error, probability, occupied, method = row.values()
            lines.append(
                f"{k:>14}{log_evidence:>14.4f}{error:>14.4f}{probability:>14.4g}{occupied:>14.2f}"
                f"{method:>14}"
            )
        even = len({f"{p:.9f}" for p in self.prior_probabilities.values()}) == 1
        beforehand = "all equally probable" if even else str(self.prior_probabilities)
        k = max(self.probabilities, key=self.probabilities.__getitem__)
        return "\n".join([*lines, "", f"most probable: {k} components (beforehand: {beforehand})"])


def compare(
    data: Any,
    n_components: Iterable[int],
    prior_probabilities: dict[int, float] | None = None,
    key: Array | None = None,
    **options: Any,
) -> Evidence:
    """Estimate the evidence for each number of components.

    Args:
        data: As for `fit`.
        n_components: The numbers to compare.
        prior_probabilities: Of each number, before seeing the data; all equal if left out.
        key: Random key; `jax.random.key(0)` if left out.
        options: Passed on to `fit`: prior, sample_weight, method ("importance" or "smc"; by default
            what "auto" chooses, and where that doesn't tell the evidence one of these), n_draws...

    Raises:
        ValueError: no prior, or probabilities that don't fit.
    """
    numbers = sorted({arguments.whole("n_components", k) for k in n_components})
    given = dict.fromkeys(numbers, 1.0) if prior_probabilities is None else prior_probabilities
    if set(given) != set(numbers) or min(given.values()) <= 0:
        raise ValueError(
            f"prior_probabilities must have a positive number for each of {numbers}, got {given}."
        )
    _check(options.get("prior"), data, numbers[0], options)
    key = jax.random.key(0) if key is None else key
    fits = {k: _fitted(data, k, jax.random.fold_in(key, k), options) for k in numbers}
    total = sum(given.values())
    return Evidence(fits, {k: given[k] / total for k in numbers})


def _fitted(data: Any, k: int, key: Array, options: dict[str, Any]) -> PosteriorFit:
    """The posterior, by a method that tells the evidence."""
    if "method" in options:
        arguments.one_of("method", options["method"], ("importance", "smc"))
        return fit(data, k, key=key, **options)  # pyright: ignore[reportReturnType]
    unweighable = k > MOST_COMPONENTS or bool(options.get("fixed"))
    methods = ["auto", *([] if unweighable else ["importance"]), "smc"]
    while True:
        method = methods.pop(0)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", FitWarning)
            result: Any = fit(data, k, key=key, method=method, **options)
        problems = [str(w.message) for w in caught if issubclass(w.category, FitWarning)]
        told = math.isfinite(result.log_evidence) and (method == "auto" or not problems)
        if told or not methods:
            for problem in problems:
                warn(problem)
            return result


def _check(prior: Any, data: Any, k: int, options: dict[str, Any]) -> None:
    """Raise ValueError without a prior whose evidence can be told."""
    if prior is None:
        raise ValueError("criterion='evidence' compares posteriors and needs a prior: pass prior=.")
    if isinstance(prior, str):
        weight = options.get("sample_weight")
        prior = default_prior(data, k, options.get("family"), sample_weight=weight)
    if hasattr(prior, "components") and not prior.components.conditional:
        raise ValueError(
            f"criterion='evidence' needs the distribution of components given the points that are "
            f"theirs, which {type(prior.components).__name__} does not have: compare without a "
            f"prior, by criterion='held_out'."
        )
