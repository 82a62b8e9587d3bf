"""More than two features: every pair of them, and each by itself."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from gmm_jax.plotting import paper
from gmm_jax.plotting.axis import Axis
from gmm_jax.plotting.drawn import (
    CATEGORY,
    COUNT,
    as_named,
    axis_of,
    columns,
    marginal_density,
    parameters,
    real_points,
)
from gmm_jax.plotting.paper import INK, PALE
from gmm_jax.plotting.plane import draw_plane
from gmm_jax.posterior_fit import PosteriorFit
from gmm_jax.results import PointFit

MOST_FEATURES = 5


def pairs(
    result: PointFit | PosteriorFit, ax: Any = None, dims: Sequence[int] | None = None
) -> np.ndarray:
    """Draw a grid of scatters of every pair of features, with each feature's density between.

    Args:
        result: A fit of two or more features.
        ax: As many rows and columns of axes as there are features.
        dims: Which features; by default all, or of more than five those five in which the
            components' centres differ most, compared with their scales.

    Raises:
        ValueError: one feature, or categories.
    """
    result, kinds = as_named(result), columns(result)
    able = [j for j, kind in enumerate(kinds) if kind != CATEGORY]
    chosen = list(dims) if dims is not None else _telling(result, able)
    if len(chosen) < 2 or not set(chosen) <= set(able):
        raise ValueError(
            "'pairs' is a picture of two or more features that are no categories: use "
            "plot('density') or plot('features')."
        )
    size = len(chosen)
    notes: list[str] = []
    with paper.canvas(ax, (size, size), sharex="col") as axes:
        entries: list[Any] = []
        for row, column in np.ndindex(size, size):
            cell = axes[row, column]
            if row < column:
                cell.set_axis_off()
            elif row == column:
                draw_margin(cell, result, chosen[row])
            else:
                found, entries = draw_plane(cell, result, (chosen[column], chosen[row]))
                notes += [note for note in found if "beyond" not in note and note not in notes]
            cell.tick_params(labelbottom=row == size - 1, labelleft=row > column == 0)
            if column == 0:
                cell.set_ylabel(f"feature {chosen[row]}")
            if row == size - 1:
                cell.set_xlabel(f"feature {chosen[column]}")
        if entries:
            axes[0, -1].legend(*zip(*entries, strict=True), loc="upper right", frameon=False,
                               title="component", fontsize="medium")  # fmt: skip
        if len(chosen) < len(kinds):
            which = "that tell components apart most" if dims is None else "asked for"
            notes.insert(0, f"{size} of {len(kinds)} features, those {which}.")
        if not paper.separate(result):
            notes.append("The draws don't tell the components apart: curves are of their sum.")
        paper.heading(axes, paper.subject(result), [*paper.caveats(result), *notes])
    return axes


def _telling(result: PointFit | PosteriorFit, able: list[int]) -> list[int]:
    """The features in which the components' centres differ most, compared with their scales."""
    if len(able) <= MOST_FEATURES:
        return able
    weights, centres, scales, _ = (a.mean(0) for a in parameters(result))
    middle = weights @ centres
    ratio = (weights @ (centres - middle) ** 2) / (weights @ scales**2)
    return sorted(sorted(able, key=lambda j: -ratio[j])[:MOST_FEATURES])


def draw_margin(ax: Any, result: PointFit | PosteriorFit, j: int) -> int:
    """The histogram of one feature, and its density; returns how many points are out of sight."""
    drawn = parameters(result, [j])
    points, weight = real_points(result)
    seen = ~np.isnan(points[:, j])
    points, weight = points[seen, j], weight[seen]
    axis = axis_of(result, drawn, 0, j, points)
    axis = Axis(np.array([axis.low]), np.array([axis.high]), 0.0)
    whole = columns(result)[j] == COUNT
    edges = axis.bins(points, drawn.weights.mean(0), drawn.scales[..., 0].mean(0), whole)
    heights = np.histogram(points, edges, weights=weight)[0] / (weight.sum() * np.diff(edges))
    ax.stairs(heights, edges, fill=True, color=PALE, label="data")
    x = axis.grid(drawn.centres.mean(0), drawn.scales.mean(0), 201)
    x = np.unique(np.clip(np.round(x), np.ceil(axis.low), np.floor(axis.high))) if whole else x
    parts = marginal_density(result, [j], x[:, None])
    top = float(heights.max())
    if parts is not None:
        ax.plot(x, parts.sum(1), color=INK, linewidth=1, label="density", zorder=4)
        top = max(top, min(3 * top, float(parts.sum(1).max())))
    if parts is not None and paper.separate(result):
        for i, part in enumerate(parts.T):
            ax.plot(x, part, color=paper.colour(i), linewidth=2, label=f"component {i}", zorder=3)
    ax.set_xlim(axis.low, axis.high)
    ax.set_ylim(0, 1.05 * top)
    ax.set_yticks([])
    return int(((points < axis.low) | (points > axis.high)).sum())
