"""Several features: scatters of two, with the components' ellipses."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from gmm_jax.families import MultivariateNormal, MultivariateStudentT, Normal, StudentT
from gmm_jax.plotting import paper
from gmm_jax.plotting.axis import Axis
from gmm_jax.plotting.drawn import (
    CATEGORY,
    MOST_POINTS,
    Parameters,
    as_data,
    as_named,
    axis_of,
    columns,
    marginal_density,
    parameters,
    real_points,
    some,
)
from gmm_jax.plotting.paper import GREY, INK
from gmm_jax.posterior_fit import PosteriorFit
from gmm_jax.results import PointFit

MOST_ELLIPSES = 30
ELLIPTIC = Normal, MultivariateNormal, StudentT, MultivariateStudentT
GRID = 100


def ellipses(result: PointFit | PosteriorFit, ax: Any = None, dims: Sequence[int] = (0, 1)) -> Any:
    """Draw a scatter of two features, with the components' ellipses.

    Colours say to which component a point most probably belongs, and fade where that is not sure.
    Ellipses lie at 1 and 2 standard deviations; with draws, pale ones show some of the draws.

    Raises:
        ValueError: one feature, or categories.
    """
    result, kinds = as_named(result), columns(result)
    if len(kinds) < 2 or CATEGORY in {kinds[j] for j in dims}:
        raise ValueError(
            "'ellipses' is a picture of two or more features that are no categories: use "
            "plot('density') or plot('features')."
        )
    with paper.canvas(ax) as ax:
        notes, entries = draw_plane(ax, result, dims)
        for j, axis in zip(dims, (ax.xaxis, ax.yaxis), strict=True):
            axis.set_label_text(axis.get_label_text() or f"feature {j}")
        if len(kinds) > 2:
            place = f"Features {dims[0]} and {dims[1]} of {len(kinds)}"
            notes.insert(0, f"{place}; colours follow all of them; plot('pairs') shows others.")
        if not isinstance(result.inside.components, ELLIPTIC) and entries:
            notes.append("Ellipses are those of the points that each component holds.")
        paper.title(ax, result, notes)
        if entries:
            paper.legend(ax, *zip(*entries, strict=True))
    return ax


def draw_plane(
    ax: Any, result: PointFit | PosteriorFit, dims: Sequence[int]
) -> tuple[list[str], list[tuple[Any, str]]]:
    """Draw two features; returns what is to be said of it, and the entries of a legend."""
    drawn, notes = parameters(result, dims), []
    rows, _ = real_points(result)
    points = rows[:, list(dims)]
    seen = ~np.isnan(points).any(1)
    if not seen.all():
        notes.append(f"{paper.count((~seen).sum(), 'point')} with a missing value left out.")
    rows, points = rows[seen], points[seen]
    limits = [axis_of(result, drawn, i, j, points[:, i]) for i, j in enumerate(dims)]
    index = some(len(points))
    if len(index) < len(points):
        notes.append(f"{MOST_POINTS:,} of {len(points):,} points shown, picked at random.")
    shown, colours = points[index], point_colours(result, rows[index])
    ax.scatter(*shown.T, c=colours, s=_size(len(shown)), linewidths=0, label="points")
    entries = []
    if paper.separate(result):
        entries = _draw_ellipses(ax, drawn)
    else:
        _draw_contours(ax, result, dims, limits)
    for limit, set_limit in zip(limits, (ax.set_xlim, ax.set_ylim), strict=True):
        set_limit(limit.low, limit.high)
    beyond = [(points[:, j] < a.low) | (points[:, j] > a.high) for j, a in enumerate(limits)]
    outside = int(np.any(beyond, axis=0).sum())
    if outside:
        notes.append(f"{paper.count(outside, 'point')} beyond the edges.")
    return notes, entries


def point_colours(result: PointFit | PosteriorFit, rows: np.ndarray) -> np.ndarray:
    """Red, green, blue and opacity of each point: its component, and how sure that is."""
    from matplotlib.colors import to_rgb

    most = 0.85 if len(rows) <= 1000 else 0.5
    if not paper.separate(result):
        return np.tile([*to_rgb(GREY), 0.7 * most], (len(rows), 1))
    shares = np.asarray(result.responsibilities(as_data(result, rows)), np.float64)
    k = shares.shape[1]
    certainty = (shares.max(1) - 1 / k) / (1 - 1 / k) if k > 1 else np.ones(len(rows))
    palette = np.array([to_rgb(paper.colour(i)) for i in range(k)])
    return np.column_stack([palette[shares.argmax(1)], most * (0.15 + 0.85 * certainty)])


def _size(n: int) -> float:
    return float(np.clip(4000 / max(n, 1), 8, 50))


def _draw_ellipses(ax: Any, drawn: Parameters) -> list[tuple[Any, str]]:
    """Ellipses at 1 and 2 standard deviations; with draws, pale ones for some of them."""
    from matplotlib.patches import Ellipse

    picked = np.linspace(0, len(drawn.weights) - 1, MOST_ELLIPSES).astype(int)
    weights, centres, scales, correlations = (a.mean(0) for a in drawn)
    entries = []
    for i, weight in enumerate(weights):
        for s in picked if len(drawn.weights) > 1 else []:
            pale = Ellipse(
                drawn.centres[s, i, :2],
                **_shape(2, drawn.scales[s, i], drawn.correlations[s, i]),
                fill=False, edgecolor=paper.colour(i), alpha=0.15, label="draw",
            )  # fmt: skip
            ax.add_patch(pale)
        for reach, width in ((2, 1.5), (1, 2.5)):
            ellipse = Ellipse(
                centres[i, :2], **_shape(reach, scales[i], correlations[i]), fill=False,
                linewidth=width, edgecolor=paper.colour(i), label=f"component {i}, {reach} sd",
            )  # fmt: skip
            ax.add_patch(ellipse)
        entries.append((ellipse, f"{i}: {weight:.0%}"))
    if len(entries) > paper.MOST_NAMED:
        return [(entries[0][0], f"{len(entries)} components")]
    return entries


def _shape(reach: float | int, scales: np.ndarray, correlation: float) -> dict[str, float]:
    """Width, height and angle of the ellipse at `reach` standard deviations."""
    covariance = np.outer(scales[:2], scales[:2]) * [[1, correlation], [correlation, 1]]
    variances, directions = np.linalg.eigh(covariance)
    width, height = 2 * reach * np.sqrt(np.maximum(variances, 0))
    angle = np.degrees(np.arctan2(directions[1, 0], directions[0, 0]))
    return {"width": width, "height": height, "angle": angle}


def _draw_contours(
    ax: Any, result: PointFit | PosteriorFit, dims: Sequence[int], limits: list[Axis]
) -> None:
    """Contours of the predictive density of two features, which needs no labels."""
    x, y = np.meshgrid(*(np.linspace(limit.low, limit.high, GRID) for limit in limits))
    parts = marginal_density(result, dims, np.stack([x.ravel(), y.ravel()], 1))
    if parts is None:
        return
    density = parts.sum(1).reshape(x.shape)
    ax.contour(x, y, density, levels=density.max() * np.array([0.02, 0.1, 0.3, 0.6, 0.9]),
               colors=INK, linewidths=1.5)  # fmt: skip
