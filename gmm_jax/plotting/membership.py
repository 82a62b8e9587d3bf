"""Which component each point belongs to, and how surely."""

from typing import Any

import numpy as np

from gmm_jax.plotting import paper
from gmm_jax.plotting.drawn import as_data, as_named, real_points, some
from gmm_jax.plotting.paper import GREY
from gmm_jax.posterior_fit import PosteriorFit
from gmm_jax.results import PointFit

SURE = 0.9
MOST_BARS = 2000


def responsibilities(result: PointFit | PosteriorFit, ax: Any = None) -> Any:
    """Draw the probability of each component for every point, the points sorted.

    Each point is a column; it stands with its most probable component, the surest first.

    Raises:
        ValueError: draws that don't tell components apart.
    """
    result = as_named(result)
    paper.check_separate("responsibilities", result)
    points, _ = real_points(result)
    index = some(len(points), MOST_BARS)
    shares = np.asarray(result.responsibilities(as_data(result, points[index])), np.float64)
    best = shares.argmax(1)
    order = np.lexsort((-shares.max(1), best))
    shares, best = shares[order], best[order]
    unsure = float((shares.max(1) < SURE).mean())
    held = np.bincount(best, minlength=shares.shape[1])
    with paper.canvas(ax) as ax:
        tops = np.cumsum(shares, 1)
        edges = np.arange(len(shares) + 1)
        entries = []
        for i in range(shares.shape[1]):
            # Its own component stands at the bottom of each column.
            own = best == i
            bottom = np.where(own, 0, tops[:, i] - shares[:, i])
            later = i < best
            bottom = np.where(later, bottom + shares[np.arange(len(best)), best], bottom)
            patch = ax.stairs(
                bottom + shares[:, i], edges, baseline=bottom, fill=True, color=paper.colour(i),
                label=f"component {i}",
            )  # fmt: skip
            entries.append((patch, f"{i}: {paper.count(held[i], 'point')}"))
        for end in np.cumsum(held)[:-1]:
            ax.axvline(end, color="white", linewidth=1.5)
        ax.axhline(SURE, color=GREY, linewidth=1, linestyle="dashed")
        ax.set_xlim(0, len(shares))
        ax.set_ylim(0, 1)
        ax.set_yticks([0, 0.5, SURE, 1])
        ax.set_xlabel(ax.get_xlabel() or "points, by component, the surest first")
        ax.set_ylabel("probability of the component")
        notes = [f"{unsure:.1%} of the points have no component above {SURE:.0%}."]
        if len(index) < len(points):
            notes.append(f"{len(index):,} of {len(points):,} points shown, picked at random.")
        paper.title(ax, result, notes)
        ax.legend(
            *zip(*entries, strict=True), title="component", loc="center left",
            bbox_to_anchor=(1.01, 0.5), fontsize="small", title_fontsize="small", frameon=False,
        )  # fmt: skip
    return ax
