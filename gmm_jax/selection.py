"""How many components: fit each number, reject what merely fits ties, compare the rest."""

import functools
import math
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import Array

from gmm_jax import em
from gmm_jax._data import as_points
from gmm_jax._warnings import FitWarning
from gmm_jax.evidence import Evidence, compare
from gmm_jax.fitting import arguments, fit, setting
from gmm_jax.results import PointFit
from gmm_jax.saving import Savable
from gmm_jax.spikes import Groups, problem_of

CRITERIA = ("bic", "icl", "aic", "held_out", "evidence")
DEALS = 1024
"""Ways of dealing units of weight to folds before they begin again."""


class HeldOut(NamedTuple):
    """Cross-validation of one candidate."""

    log_prob: np.ndarray
    """Log density of each point under the fit to the other folds, (folds, n)."""
    weight: np.ndarray
    """How much of each point's weight each fold held out, (folds, n)."""

    @property
    def mean(self) -> float:
        """Mean log density per unit of weight."""
        return float(np.average(self.log_prob, weights=self.weight))


@dataclass(frozen=True, eq=False)
class Candidate:
    """One number of components: its best fit, and why it may not be chosen."""

    fit: PointFit
    problem: str
    """Empty for a sound fit."""
    held_out: HeldOut | None
    """Where that was asked for."""
    covariance_type: str | None

    @property
    def row(self) -> dict[str, Any]:
        """What the table shows, by column; criteria are NaN where the fit was rejected."""
        fit, sound = self.fit, not self.problem
        row = {
            "family": self.covariance_type or type(fit.inside.components).__name__,
            "n_components": fit.inside.n_components,
            "n_parameters": fit.n_parameters,
            "log_likelihood": fit.log_likelihood,
        }
        for name in ("bic", "icl", "aic"):
            row[name] = getattr(fit, name) if sound else math.nan
        if self.held_out is not None:
            row["held_out"] = self.held_out.mean if sound else math.nan
        return row | {"status": f"rejected: {self.problem}" if self.problem else fit.message}


@dataclass(frozen=True, eq=False)
class Selection(Savable):
    """What `select` found: print it for a table."""

    table: list[dict[str, Any]]
    """A row for each number of components and family."""
    best: PointFit
    """The fit that was chosen."""
    criterion: str

    def to_frame(self) -> Any:
        """The table as a pandas data frame."""
        import pandas

        return pandas.DataFrame(self.table)

    def plot(self, kind: Any = None, ax: Any = None) -> Any:
        """Draw the criterion against the number of components; returns the matplotlib axes."""
        from gmm_jax.plotting import plot

        return plot(self, kind, ax)

    def __str__(self) -> str:
        names = [name for name in self.table[0] if name != "status"]
        lines = [
            "".join(f"{name:>20}" if i == 0 else f"{name:>15}" for i, name in enumerate(names))
        ]
        for row in self.table:
            cells = [f"{row[name]:>15.4f}" if isinstance(row[name], float) else f"{row[name]:>15}"
                     for name in names[1:]]  # fmt: skip
            lines.append(f"{row['family']:>20}{''.join(cells)}  {row['status']}")
        k = self.best.inside.n_components
        chosen = (self.best.log_likelihood, self.best.n_parameters)
        family = next(
            row["family"]
            for row in self.table
            if (row["log_likelihood"], row["n_parameters"]) == chosen
        )
        at = "" if self.best.prior is None else " of posterior modes"
        chosen_by = f"chosen by {self.criterion}{at}: {k} components of {family}"
        return "\n".join([*lines, "", chosen_by])


def select(
    data: Any,
    n_components: int | Iterable[int] = range(1, 7),
    *,
    family: Any = None,
    covariance_type: str | Sequence[str] | None = None,
    criterion: str = "bic",
    n_folds: int = 10,
    key: Array | None = None,
    **options: Any,
) -> Selection | Evidence:
    """Choose the number of components, and the family, by fitting each and comparing.

    A fit whose likelihood comes from a spike on a few (near) equal values is rejected: a component
    that collapsed, that explains no more distinct points than it has parameters, or that is far
    narrower than its neighbour and rests on a few values. The best sound run of each number of
    components stands in the table.

    Args:
        data: n points, or n rows of features, as for `fit`.
        n_components: The numbers to try.
        family: One family or a list of them; by default what `fit` takes.
        covariance_type: One covariance structure of normal components or a list of them, in place
            of a family.
        criterion: "bic"; "icl" (BIC plus twice the entropy of the assignments: only separate
            clusters count); "aic"; "held_out" (mean log density per point by cross-validation:
            the fewest parameters within one standard error of the highest); or, with a prior,
            "evidence" (the posterior probability of each number; `prior_probabilities` may give
            those beforehand, {1: 0.5, 2: 0.5}).
        n_folds: Into how many parts "held_out" divides the rows.
        key: Random key of the starts and folds; fixed if left out.
        options: Passed on to `fit`: sample_weight, n_restarts, start, max_steps, tol, fixed...

    Returns:
        The table and the best fit; for "evidence" also `probabilities`, and all `fits`.

    Raises:
        ValueError: no number of components gives a sound fit, or an unknown criterion.

    Example:
        >>> import gmm_jax
        >>> from gmm_jax.datasets import BENTOS
        >>> gmm_jax.select(BENTOS, range(1, 4)).best.mixture.n_components
        2
    """
    arguments.one_of("criterion", criterion, CRITERIA)
    n_folds = arguments.whole("n_folds", n_folds, 2)
    points = as_points(data, missing=True)
    weight = arguments.as_weights(options.pop("sample_weight", None), points.shape[0])
    numbers = list(n_components) if isinstance(n_components, Iterable) else [n_components]
    families = [{"family": f} for f in (family if isinstance(family, list | tuple) else [family])]
    if covariance_type is not None:
        types = [covariance_type] if isinstance(covariance_type, str) else covariance_type
        families = [{"covariance_type": each, "family": family} for each in types]
    if not numbers or not families:
        raise ValueError("n_components and family must name at least one candidate.")
    if criterion == "evidence":
        if len(families) > 1:
            raise ValueError("criterion='evidence' compares numbers of components of one family.")
        return compare(points, numbers, key=key, sample_weight=weight, **families[0], **options)
    values, inverse = np.unique(points[weight > 0], axis=0, return_inverse=True)
    named = bool(options.get("fixed")) or not getattr(options.get("prior"), "exchangeable", True)
    groups = Groups(points, weight, len(values), inverse.ravel(), named)
    folds = _folds(weight, n_folds, key) if criterion == "held_out" else None
    enough = [k for k in numbers if arguments.whole("n_components", k) <= len(values)]
    candidates = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FitWarning)  # the table says it
        for chosen in families:
            run = functools.partial(fit, **chosen, key=key, method="em", **options)
            label = chosen.get("covariance_type")
            candidates += [_candidate(run, groups, folds, k, label) for k in enough]
    return _choose(candidates, criterion)


def _folds(weight: np.ndarray, n_folds: int, key: Array | None) -> np.ndarray:
    """How much of each row's weight each fold holds out, (folds, n).

    Units of weight are dealt to the folds, each once in n_folds units and in random order, so that
    weight 3 is held out as three copies would be. Where weights are less than 1 on average, that
    average is the unit.
    """
    seed = 1 if key is None else [1, *np.asarray(jax.random.key_data(key)).ravel()]
    turns = np.tile(np.arange(n_folds), (DEALS, 1))
    turns = np.random.default_rng(seed).permuted(turns, axis=1)
    unit = min(1.0, weight.sum() / np.count_nonzero(weight))
    deal, rest = np.divmod(np.cumsum([0, *weight]) / unit, n_folds)
    received = deal + np.clip(rest - turns[deal.astype(int) % DEALS].T, 0, 1)
    held = unit * np.diff(received)
    held = np.where(held > 1e-9 * unit, held, 0)
    return held[held.any(1)]


def _candidate(
    run: Any, groups: Groups, folds: np.ndarray | None, k: int, label: str | None
) -> Candidate:
    """Fit k components to all data, and to the data less each fold.

    Folds differ in their sample weights alone, so that all fits share one compilation.
    """
    result, problem = _sound(run(groups.points, k, sample_weight=groups.weight), groups)
    if folds is None:
        return Candidate(result, problem, None, label)
    log_prob = np.zeros(folds.shape)
    for i, held in enumerate(folds):
        if problem:
            break
        left = groups.weight - held
        left = np.where(left > 1e-9 * groups.weight, left, 0)
        rest, problem = _sound(run(groups.points, k, sample_weight=left), groups)
        log_prob[i] = np.where(held > 0, np.asarray(rest.log_prob()), 0)
        problem = problem and f"without fold {i}, {problem}"
    return Candidate(result, problem, HeldOut(log_prob, folds), label)


def _sound(result: PointFit, groups: Groups) -> tuple[PointFit, str]:
    """The best run that is no spike, or the fit as it is and what is wrong with it."""
    problem = problem_of(result, groups)
    if not problem or result.restarts is None:
        return result, problem
    runs = result.restarts
    for i in np.argsort(-np.asarray(runs.objective), kind="stable"):
        if runs.status[i] in (em.COLLAPSED, em.NOT_FINITE):
            continue
        named = groups.named or _shares(result)
        other = _another(result, int(i), named)
        if not problem_of(other, groups):
            return other, ""
    return result, problem


def _shares(result: PointFit) -> bool:
    """Whether what is shared tells components apart."""
    return result.limits is not None and setting.are_named({}, result.limits.sharing)


def _another(result: PointFit, i: int, named: bool) -> PointFit:
    """The result that another run would have been."""
    runs = result.restarts
    assert runs is not None
    mixture = jax.tree.map(lambda a: np.asarray(a)[i], runs.mixtures)
    other = replace(
        result,
        inside=mixture if named else setting.in_order(mixture),
        status=int(runs.status[i]),
        history=runs.history[: runs.steps[i], i],
    )
    log_prob = np.asarray(other.log_prob(), np.float64)
    used = result.sample_weight > 0
    return replace(other, log_likelihood=float(result.sample_weight[used] @ log_prob[used]))


def _choose(candidates: list[Candidate], criterion: str) -> Selection:
    """Rank the sound candidates.

    Raises:
        ValueError: there is none.
    """
    table = [candidate.row for candidate in candidates]
    sound = [candidate for candidate in candidates if not candidate.problem]
    if not sound:
        reasons = [f"{row['n_components']}: {row['status']}" for row in table]
        raise ValueError(
            "n_components: none of the numbers tried gives a sound fit "
            f"({'; '.join(reasons) or 'all exceed the number of distinct points'}). Try fewer "
            "components, a family with fewer parameters, more n_restarts, or fit with a prior."
        )
    if criterion != "held_out":
        best = min(sound, key=lambda c: getattr(c.fit, criterion)).fit
        return Selection(table, best, criterion)
    top = max(sound, key=lambda c: c.row["held_out"])
    near = [c for c in sound if _close(top, c)]
    return Selection(table, min(near, key=lambda c: c.fit.n_parameters).fit, criterion)


def _close(best: Candidate, other: Candidate) -> bool:
    """Whether the mean difference is within its standard error, points being paired."""
    assert best.held_out is not None
    assert other.held_out is not None
    weight = best.held_out.weight
    difference = best.held_out.log_prob - other.held_out.log_prob
    mean = np.average(difference, weights=weight)
    variance = np.average((difference - mean) ** 2, weights=weight)
    return bool(mean <= math.sqrt(variance / weight.sum()))
