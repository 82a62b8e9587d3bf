"""Tables of any columns: each feature by itself, numbers, counts and categories alike."""

from typing import Any

import numpy as np

from gmm_jax.plotting import paper
from gmm_jax.plotting.drawn import (
    CATEGORY,
    MOST_WEIGHED,
    as_data,
    as_named,
    columns,
    real_points,
    some,
)
from gmm_jax.plotting.paper import PALE
from gmm_jax.plotting.scatter_grid import draw_margin
from gmm_jax.posterior_fit import PosteriorFit
from gmm_jax.results import PointFit

MOST_FEATURES, MOST_COLUMNS = 30, 6
MOST_LEVELS = 12


def shape_of(n: int) -> tuple[int, int]:
    """Rows and columns of n small pictures on a slide."""
    wide = min(MOST_COLUMNS, int(np.ceil(np.sqrt(1.6 * n))))
    return -(-n // wide), wide


def features(result: PointFit | PosteriorFit, ax: Any = None) -> np.ndarray:
    """Draw each feature by itself: the data, and the components where the family knows them.

    Numbers and counts: a histogram and the components' densities. Categories: how often each is
    seen, divided among the components that the points most probably belong to.

    Args:
        result: A fit of several features, of any family.
        ax: An array of axes, one for each of up to 30 features.
    """
    result, kinds = as_named(result), columns(result)
    shown = min(len(kinds), MOST_FEATURES)
    rows, wide = shape_of(shown)
    if ax is not None:
        rows, wide = 1, shown
    notes = [f"The first {shown} of {len(kinds)} features."] if shown < len(kinds) else []
    points, weight = real_points(result)
    if np.isnan(points).any():
        notes.append("Missing values are left out.")
    outside = 0
    with paper.canvas(ax, (rows, wide)) as axes:
        flat = axes.ravel()
        for j, cell in enumerate(flat[:shown]):
            if kinds[j] == CATEGORY:
                _draw_categories(cell, result, points, weight, j)
            else:
                outside = max(outside, draw_margin(cell, result, j))
            cell.set_xlabel(f"feature {j}")
            if kinds[j] != CATEGORY:
                cell.locator_params(axis="x", nbins=4)
        for cell in flat[shown:]:
            cell.remove()
        if outside:
            notes.append(f"In some up to {paper.count(outside, 'point')} beyond the edges.")
        _name(flat[0], result, kinds)
        if not paper.separate(result):
            notes.append("The draws don't tell the components apart, so only their sum is shown.")
        paper.heading(axes, paper.subject(result), [*paper.caveats(result), *notes])
    return flat[:shown]


def _draw_categories(
    ax: Any, result: PointFit | PosteriorFit, points: np.ndarray, weight: np.ndarray, j: int
) -> None:
    """Stacked bars, one for each category."""
    seen = np.flatnonzero(~np.isnan(points[:, j]))
    seen = seen[some(len(seen), MOST_WEIGHED)]
    levels = points[seen, j].astype(int)
    weight = weight[seen] / weight[seen].sum()
    shares = np.ones((len(seen), 1))
    if paper.separate(result):
        shares = np.asarray(result.responsibilities(as_data(result, points[seen])), np.float64)
    below = np.zeros(levels.max() + 1)
    for i, share in enumerate(shares.T):
        part = np.bincount(levels, weight * share, minlength=len(below))
        colour = paper.colour(i) if paper.separate(result) else PALE
        ax.bar(np.arange(len(below)), part, 0.8, below, color=colour, label=f"component {i}")
        below = below + part
    if len(below) <= MOST_LEVELS:
        ax.set_xticks(np.arange(len(below)))
    ax.set_ylim(0, 1.05 * below.max())
    ax.set_yticks([])


def _name(ax: Any, result: PointFit | PosteriorFit, kinds: list[str]) -> None:
    """One legend for all, above them."""
    from matplotlib.patches import Patch

    if not paper.separate(result):
        return
    weights = np.asarray(result.inside.weights, np.float64)
    weights = weights.reshape(-1, weights.shape[-1]).mean(0)
    handles = [Patch(color=paper.colour(i), label=f"{i}: {w:.0%}") for i, w in enumerate(weights)]
    ax.figure.legend(
        handles=handles, loc="outside right upper", frameon=False, title="component",
    )  # fmt: skip
