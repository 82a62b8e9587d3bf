"""How far importance sampling can be trusted: its largest weights."""

from typing import Any

import numpy as np

from gmm_jax import importance
from gmm_jax.diagnostics import TRUSTED
from gmm_jax.plotting import paper
from gmm_jax.plotting.paper import COLOURS, GREY, INK
from gmm_jax.posterior_fit import PosteriorFit

MOST = 2000
"""So many of the weights are drawn, evenly on the axis of ranks."""


def importance_weights(result: Any, ax: Any = None) -> Any:
    """Draw the share of each particle in all weight, the largest first, both axes logarithmic.

    Where few particles hold most of the weight, the estimates rest on these few. The tail that
    Pareto k describes is in colour: the steeper, the larger k. It is orange where the weights
    cannot be trusted.

    Raises:
        TypeError: a point estimate.
        ValueError: draws that have no weights.
    """
    if not isinstance(result, PosteriorFit):
        raise paper.wrong_kind(
            "importance_weights", "weighted draws", result,
            "fit with a prior and method='importance'",
        )  # fmt: skip
    logs = np.sort(np.asarray(result.log_importance_weights, np.float64))[::-1]
    if np.ptp(logs) == 0:
        raise ValueError(
            f"'importance_weights' is a picture of draws that have weights, and those by "
            f"{result.method!r} all count the same: use plot("
            f"'{'traces' if result.convergence else 'prior_posterior'}')."
        )
    shares = np.exp(logs - logs[0])
    shares /= shares.sum()
    n = len(shares)
    tail = int(min(n / 5, 3 * np.sqrt(n)))
    rank = np.arange(1, n + 1)
    drawn = np.unique(np.geomspace(1, n, MOST).astype(int)) - 1
    drawn = drawn[shares[drawn] > 0]
    problem = importance.verdict(result)
    with paper.canvas(ax) as ax:
        colour = COLOURS[1] if problem else COLOURS[0]
        ax.plot(rank[drawn], shares[drawn], color=INK, linewidth=2, label="weights")
        own = drawn[drawn < tail]
        ax.plot(
            rank[own], shares[own], "o", color=colour, markersize=6,
            label=f"the {tail} largest: Pareto k {result.pareto_k:.2f}",
        )  # fmt: skip
        ax.axhline(1 / n, color=GREY, linewidth=1.5, linestyle="dashed", label="if all were equal")
        ax.set_xscale("log")
        ax.set_yscale("log")
        ax.set_xlim(0.8, 1.3 * n)
        ax.set_ylim(max(1e-2 / n, shares[drawn].min() / 2), 2 * max(shares[0], 2 / n))
        ax.set_xlabel(ax.get_xlabel() or "particles, the heaviest first")
        ax.set_ylabel("share of all weight")
        ax.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        ax.yaxis.set_major_formatter(lambda value, _: f"{value:.3g}")
        ax.legend(loc="lower left", fontsize="small", frameon=False)
        half = int(np.searchsorted(np.cumsum(shares), 0.5)) + 1
        text = f"Effective: {result.effective_sample_size:,.0f} of {paper.count(n, 'particle')}"
        notes = [
            f"The largest holds {shares[0]:.2%} of all weight; "
            f"{paper.count(half, 'particle')} hold{'s' * (half == 1)} half of it."
        ]
        if problem:
            notes.append(f"{problem[0].upper()}{problem[1:]} Pass more n_draws, or method='smc'.")
        elif result.pareto_k > TRUSTED:
            notes.append(
                f"Pareto k is above {TRUSTED}, but so many particles count that the tail holds "
                f"next to nothing."
            )
        paper.heading(ax, text, notes)
    return ax
