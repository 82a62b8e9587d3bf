"""Tables that people read."""

import math
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from gmm_jax import convergence, em
from gmm_jax.mixture import Mixture

if TYPE_CHECKING:
    from gmm_jax.posterior_fit import PosteriorFit
    from gmm_jax.results import PointFit

SAME = 1e-4
"""Runs whose objectives differ by less, in nats per point, count as one optimum."""


def describe_point(fit: "PointFit") -> str:
    """Components, one a line, then the fit and how it was reached."""
    columns = _columns(fit.mixture)
    cells = {name: [f"{value:.6g}" for value in values] for name, values in columns.items()}
    lines = [
        fit.reason,
        "",
        *_table(cells),
        "",
        f"log likelihood {fit.log_likelihood:.4f}, {fit.n_parameters} free parameters, "
        f"BIC {fit.bic:.4f}, AIC {fit.aic:.4f}",
        f"{fit.message} ({fit.n_steps} steps)",
        *_spread_of_optima(fit),
    ]
    return "\n".join(lines)


def _spread_of_optima(fit: "PointFit") -> list[str]:
    """How many starts led to the same optimum, and how far below it the others ended."""
    if fit.restarts is None or len(fit.restarts.objective) < 2:
        return []
    objective = np.asarray(fit.restarts.objective, np.float64)
    sound = np.isin(fit.restarts.status, (em.RUNNING, em.CONVERGED))
    if not sound.any():
        return []
    below = objective[sound].max() - objective[sound]
    line = f"{(below < SAME).sum()} of {len(objective)} starts ended within {SAME} nats per point"
    if below.max() >= SAME:
        line += f", the lowest {below.max():.3g} below"
    if not sound.all():
        line += f"; {(~sound).sum()} collapsed"
    return [line]


def describe_draws(fit: "PosteriorFit") -> str:
    """Components with 95 % intervals, where they can be told apart; then the evidence."""
    lines = [fit.reason, ""]
    if not told_apart(fit):
        lines += _label_free(fit)
    else:
        lines += table_of_draws(fit.draws)
        lines[-1] += _naming(fit)
    return "\n".join([*lines, "", *_trust(fit)])


def _trust(fit: "PosteriorFit") -> list[str]:
    """The evidence, and how far the draws can be trusted."""
    count = f"{fit.effective_sample_size:.0f} effective of"
    error = f"(standard error {fit.log_evidence_error:.2g})"
    evidence = [f"log evidence {fit.log_evidence:.4f} {error}"]
    if fit.convergence:
        worst = convergence.worst(fit.convergence)
        return [
            *(evidence if math.isfinite(fit.log_evidence) else []),
            f"{count} {fit.n_draws} draws ({worst.ess_tail:.0f} in the tails), "
            f"R-hat {worst.r_hat:.3f} over {fit.n_chains} chains",
        ]
    if fit.lower_bound:
        return [
            f"log evidence at least {fit.log_evidence:.4f} (a lower bound)",
            f"{count} {fit.n_draws} draws, Pareto k {fit.pareto_k:.2f}",
        ]
    return [
        *evidence,
        f"{count} {len(fit.log_importance_weights)} particles"
        + ("" if math.isnan(fit.pareto_k) else f", Pareto k {fit.pareto_k:.2f}"),
    ]


def table_of_draws(draws: Mixture) -> list[str]:
    """Components, one a line, with 95 % intervals."""
    columns = _columns(draws, draws=True)
    cells = {name: [_interval(own) for own in values.T] for name, values in columns.items()}
    return [*_table(cells, width=30), "posterior mean [95 % interval]"]


def frame_of_point(mixture: Mixture) -> Any:
    """The same components as a pandas data frame, one a row."""
    return _frame(_columns(mixture))


def frame_of_draws(draws: Mixture, doubt: str, mass: float | int) -> Any:
    """The same with the ends of intervals.

    Raises:
        ValueError: there is a `doubt`, so that intervals would mislead; `mass` is no probability.
    """
    refuse(doubt)
    if not 0 < mass < 1:
        raise ValueError(f"mass must be between 0 and 1, got {mass}.")
    found = {}
    for name, values in _columns(draws, draws=True).items():
        low, high = np.quantile(values, ((1 - mass) / 2, (1 + mass) / 2), axis=0)
        found |= {name: values.mean(0), f"{name}_low": low, f"{name}_high": high}
    return _frame(found)


def refuse(doubt: str) -> None:
    """Raise ValueError where a table of components would mislead."""
    if doubt:
        raise ValueError(
            f"there is no honest table of components: {doubt}. Use what needs no labels, "
            f"`density_band`, `similarity`, `partition` and `occupied` of the fit, or fit "
            f"fewer components. The `draws` are there all the same."
        )


def _frame(columns: dict[str, np.ndarray]) -> Any:
    import pandas

    frame = pandas.DataFrame(columns)
    return frame.rename_axis("component")


def told_apart(fit: "PosteriorFit") -> bool:
    """Whether each component is the same one in nearly all draws, as its name is now.

    So it is where the prior names them; else see `relabelling.doubt`.
    """
    return not fit.doubt


def _label_free(fit: "PosteriorFit") -> list[str]:
    """What can be said without telling components apart."""
    probabilities = ", ".join(
        f"{count}: {share:.3f}" for count, share in enumerate(fit.occupied()) if share >= 0.0005
    )
    weights = np.asarray(fit.draws.weights)
    means = getattr(fit.draws.components, "means", None)
    middle = []
    if means is not None:
        centre = np.einsum("sk,sk...->...s", weights, means)
        middle = [
            f"mean of the mixture{list(feature) or ''} {_interval(centre[feature])}"
            for feature in np.ndindex(centre.shape[:-1])
        ]
    return [
        f"The draws don't tell these components apart ({fit.doubt}), so a table of components "
        f"would mislead. Without labels:",
        *middle,
        f"components that hold data, probability of each number: {probabilities}",
    ]


def _columns(mixture: Mixture, draws: bool = False) -> dict[str, np.ndarray]:
    """Parameters by name, (k,) or with draws (s, k); one column a feature."""
    weights = np.asarray(mixture.weights, np.float64)
    if not draws:
        return {"weights": weights, **mixture.components.columns}
    flat = jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), mixture.components)
    columns = {name: column.reshape(weights.shape) for name, column in flat.columns.items()}
    return {"weights": weights, **columns}


def _interval(draws: np.ndarray) -> str:
    low, high = np.quantile(draws, (0.025, 0.975))
    return f"{draws.mean():.5g} [{low:.5g}, {high:.5g}]"


def _table(columns: dict[str, list[str]], width: int = 14) -> list[str]:
    """Lines of right-aligned columns, each at least so wide, with two blanks or more between."""
    k = len(next(iter(columns.values())))
    lines = [f"{first:<10}" for first in ("component", *range(k))]
    for name, cells in columns.items():
        wide = max(width, 2 + max(map(len, (name, *cells))))
        lines = [f"{line}{cell:>{wide}}" for line, cell in zip(lines, (name, *cells), strict=True)]
    return lines


def _naming(fit: "PosteriorFit") -> str:
    return "; components are named by ascending mean" if fit.ordered else ""
