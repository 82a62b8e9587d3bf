"""Several features: a scatter of the first two, with the components' ellipses."""

from typing import Any

import numpy as np

from gmm_jax.plotting import paper
from gmm_jax.plotting.axis import Axis
from gmm_jax.plotting.paper import GREY, INK, Parameters
from gmm_jax.posterior_fit import PosteriorFit
from gmm_jax.results import PointFit

MOST_POINTS, MOST_ELLIPSES = 5000, 30


def draw_plane(ax: Any, result: PointFit | PosteriorFit) -> None:
    """Draw a fit of two or more features."""
    drawn = paper.parameters(result)
    points, _ = paper.real_points(result)
    d = points.shape[1]
    notes = [f"Features 0 and 1 of {d}; colours follow all {d}."] if d > 2 else []
    limits = [
        Axis.around(drawn.weights, drawn.centres[..., j], drawn.scales[..., j], points[:, j])
        for j in (0, 1)
    ]
    shown = points
    if len(points) > MOST_POINTS:
        shown = np.random.default_rng(0).choice(points, MOST_POINTS, replace=False)
        notes.append(f"{MOST_POINTS:,} of {len(points):,} points shown, picked at random.")
    ax.scatter(*shown[:, :2].T, c=point_colours(result, shown), s=_size(len(shown)), linewidths=0)
    if paper.separate(result):
        entries = _draw_ellipses(ax, drawn)
        paper.legend(ax, *zip(*entries, strict=True))
    else:
        _draw_contours(ax, drawn, limits)
    for limit, set_limit in zip(limits, (ax.set_xlim, ax.set_ylim), strict=True):
        set_limit(limit.low, limit.high)
    beyond = [(points[:, j] < a.low) | (points[:, j] > a.high) for j, a in enumerate(limits)]
    outside = int(np.any(beyond, axis=0).sum())
    if outside:
        notes.append(f"{paper.count(outside, 'point')} beyond the edges.")
    if not ax.get_xlabel():
        ax.set_xlabel("feature 0")
    if not ax.get_ylabel():
        ax.set_ylabel("feature 1")
    paper.title(ax, result, notes)


def point_colours(result: PointFit | PosteriorFit, points: np.ndarray) -> np.ndarray:
    """Red, green, blue and opacity of each point: its component, and how sure that is."""
    from matplotlib.colors import to_rgb

    most = 0.85 if len(points) <= 1000 else 0.5
    if not paper.separate(result):
        return np.tile([*to_rgb(GREY), 0.7 * most], (len(points), 1))
    shares = np.asarray(result.responsibilities(points), np.float64)
    k = shares.shape[1]
    certainty = (shares.max(1) - 1 / k) / (1 - 1 / k) if k > 1 else np.ones(len(points))
    palette = np.array([to_rgb(paper.colour(i)) for i in range(k)])
    return np.column_stack([palette[shares.argmax(1)], most * (0.15 + 0.85 * certainty)])


def _size(n: int) -> float:
    return float(np.clip(4000 / n, 8, 50))


def _draw_ellipses(ax: Any, drawn: Parameters) -> list[tuple[Any, str]]:
    """Ellipses at 1 and 2 standard deviations; with draws, pale ones for some of them."""
    from matplotlib.patches import Ellipse

    some = np.linspace(0, len(drawn.weights) - 1, MOST_ELLIPSES).astype(int)
    weights, centres, scales, correlations = (a.mean(0) for a in drawn)
    entries = []
    for i, weight in enumerate(weights):
        for s in some if len(drawn.weights) > 1 else []:
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


def _draw_contours(ax: Any, drawn: Parameters, limits: list[Axis]) -> None:
    """Contours of the predictive density of the first two features, which needs no labels."""
    grids, factors = [], []
    for j, limit in enumerate(limits):
        grid = np.linspace(limit.low, limit.high, 100)
        scales = drawn.scales[..., j, None]
        standardised = (grid - drawn.centres[..., j, None]) / scales
        grids.append(grid)
        factors.append(np.exp(-0.5 * standardised**2) / (scales * np.sqrt(2 * np.pi)))
    density = np.einsum("sk,skx,sky->yx", drawn.weights, *factors, optimize=True)
    density /= len(drawn.weights)
    ax.contour(*grids, density, levels=density.max() * np.array([0.02, 0.1, 0.3, 0.6, 0.9]),
               colors=INK, linewidths=1.5)  # fmt: skip
