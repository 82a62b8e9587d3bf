"""Does the fitted model make data like these? Statistics of the data among those of replicates."""

from typing import Any

import numpy as np

from gmm_jax.plotting import paper
from gmm_jax.plotting.paper import COLOURS, GREY, INK, PALE
from gmm_jax.posterior_fit import PosteriorFit
from gmm_jax.predictive_checks import PredictiveCheck

MOST_ROWS = 15
NUMBERS, FEWEST, MOST = 2**25, 20, 500
"""Of all replicates together, and how many replicates."""
NEAR, FAR = 3.0, 6.0
"""In standard deviations of the replicates: always in sight, and where the furthest dots are."""
ODD = 0.025


def check(result: Any, ax: Any = None) -> Any:
    """Draw where the statistics of the data lie among those of data sets that the model predicts.

    Each row is a statistic, in standard deviations of the replicates from their median: bars hold
    50 % and 95 % of the replicates, the dot is the data. On the right the share of replicates above
    it: near 0 or 1 the model does not make data like these.

    Args:
        result: Draws, or what their `check` returned.
        ax: Axes.

    Raises:
        TypeError: a point estimate.
    """
    if isinstance(result, PosteriorFit):
        size = int(np.prod(np.shape(result.data)))
        compared = result.check(n_replicates=int(np.clip(NUMBERS // size, FEWEST, MOST)))
    elif isinstance(result, PredictiveCheck):
        compared = result
    else:
        raise paper.wrong_kind(
            "check", "posterior draws", result, "fit with a prior, such as 'default'"
        )
    names, n_all = _oddest(compared)
    with paper.canvas(ax) as ax:
        reach = NEAR
        for row, name in enumerate(names):
            reach = max(reach, abs(_draw_row(ax, compared, name, -row)))
        n_replicates = len(compared.replicated[names[0]])
        ax.axvline(0, color=GREY, linewidth=1, zorder=1)
        ax.set_yticks(-np.arange(len(names)), names, fontsize="small" if len(names) > 8 else None)
        ax.set_ylim(-len(names) + 0.4, 0.6)
        ax.set_xlim(-reach - 0.4, reach + 0.4)
        ax.tick_params(left=False)
        ax.spines["left"].set_visible(False)
        ax.set_xlabel(
            ax.get_xlabel() or "from the replicates' median, in their standard deviations"
        )
        notes = [
            f"Dots: the data. Bars: 50 % and 95 % of {n_replicates} replicates; figures: the share "
            f"above the data."
        ]
        if len(names) < n_all:
            notes.append(f"The oddest {len(names)} of {n_all} statistics.")
        odd = sum(not ODD <= p <= 1 - ODD for p in compared.pvalues.values())
        text = f"{odd} of {paper.count(n_all, 'statistic')} outside 95 % of the replicates"
        paper.heading(ax, text, notes)
    return ax


def _oddest(compared: PredictiveCheck) -> tuple[list[str], int]:
    """The statistics to show, in their own order: where there are too many, the oddest."""
    pvalues = compared.pvalues
    names = list(pvalues)
    chosen = sorted(names, key=lambda name: min(pvalues[name], 1 - pvalues[name]))[:MOST_ROWS]
    return [name for name in names if name in chosen], len(names)


def _draw_row(ax: Any, compared: PredictiveCheck, name: str, y: int) -> float:
    """Two bars, a dot, and a figure; returns where the dot is."""
    others, own = compared.replicated[name], compared.observed[name]
    middle, spread = np.median(others), np.std(others)
    spread = spread if spread > 0 else max(abs(own - middle), 1.0)
    for (low, high), width in (((0.025, 0.975), 5), ((0.25, 0.75), 11)):
        ends = (np.quantile(others, (low, high)) - middle) / spread
        ax.plot(
            ends, [y, y], color=PALE if width == 5 else GREY, linewidth=width, zorder=2,
            solid_capstyle="butt", label=f"{high - low:.0%}", alpha=1 if width == 5 else 0.6,
        )  # fmt: skip
    place = (own - middle) / spread
    p = compared.pvalues[name]
    odd = not ODD <= p <= 1 - ODD
    shown = float(np.clip(place, -FAR, FAR))
    marker = "o" if shown == place else ("<" if place < 0 else ">")
    ax.plot(
        shown, y, marker, color=COLOURS[1] if odd else COLOURS[0], markersize=11, zorder=3,
        markeredgecolor="white", label=name,
    )  # fmt: skip
    ax.annotate(
        f"{p:.3f}", (1.01, y), xycoords=("axes fraction", "data"), va="center",
        fontsize="small", color=COLOURS[1] if odd else INK, annotation_clip=False,
    )  # fmt: skip
    return shown
