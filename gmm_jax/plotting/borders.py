"""Where the most probable component changes: boundaries, and regions of one or two features."""

from typing import Any

import numpy as np
from jax.nn import softmax
from jaxtyping import Float

from gmm_jax._pytree import rebuild
from gmm_jax.families import Normal
from gmm_jax.landscape import decision_boundaries
from gmm_jax.mixture import Mixture
from gmm_jax.plotting import paper
from gmm_jax.plotting.drawn import (
    CATEGORY,
    COUNT,
    FEWER_DRAWS,
    as_data,
    as_named,
    axis_of,
    columns,
    parameters,
    real_points,
    some,
    thinned,
)
from gmm_jax.plotting.paper import GREY, INK
from gmm_jax.posterior_fit import PosteriorFit
from gmm_jax.results import PointFit

GRID, FINE = 200, 2001
"""Places along each of two axes, and along a single one."""
MOST_COUNTS = 100_000
SOME_DRAWS = 500
WRITTEN = 8
"""Up to so many boundaries have their values written beside them."""


def regions(result: PointFit | PosteriorFit, ax: Any = None) -> Any:
    """Draw where each component is the most probable one, and all boundaries.

    One feature: the probability of each component at every place, boundaries with their values,
    and with draws their 95 % intervals. Two: coloured regions, paler where less certain.

    Raises:
        ValueError: more features, categories, or draws that don't tell components apart.
    """
    result, kinds = as_named(result), columns(result)
    if len(kinds) > 2 or CATEGORY in kinds:
        raise ValueError(
            "'regions' is a picture of one or two features that are no categories: use "
            "plot('responsibilities') or plot('features')."
        )
    paper.check_separate("regions", result)
    with paper.canvas(ax) as ax:
        (_on_line if len(kinds) == 1 else _in_plane)(ax, result)
    return ax


def boundaries(
    result: PointFit | PosteriorFit, low: float, high: float
) -> Float[np.ndarray, "3 b"]:
    """Boundaries between low and high: 2.5 %, 50 % and 97.5 % quantiles.

    Of normals they are exact. Draws may differ in how many boundaries they have; those with the
    most common number speak, if they are most of the draws. For other families the boundaries are
    those of the responsibilities, without intervals.
    """
    if not isinstance(result.inside.components, Normal):
        return np.tile(_crossings(result, low, high), (3, 1))
    drawn, found = parameters(result), []
    picked = np.linspace(0, len(drawn.weights) - 1, min(len(drawn.weights), SOME_DRAWS)).astype(int)
    for weights, means, scales, _ in zip(*(a[picked] for a in drawn), strict=True):
        components = rebuild(Normal, means=means[:, 0], scales=scales[:, 0])
        ties = decision_boundaries(rebuild(Mixture, weights=weights, components=components))
        found.append(ties[(ties > low) & (ties < high)])
    counts = np.array([len(b) for b in found])
    common = np.bincount(counts).argmax()
    agreeing = [each for each in found if len(each) == common]
    if common == 0 or 2 * len(agreeing) <= len(found):
        return np.zeros((3, 0))
    return np.quantile(agreeing, (0.025, 0.5, 0.975), axis=0)


def _crossings(result: PointFit | PosteriorFit, low: float, high: float) -> np.ndarray:
    """Where the most probable component changes, by bisection; between whole numbers for counts."""
    whole = columns(result) == [COUNT]
    if whole and high - low <= MOST_COUNTS:
        x = np.arange(np.ceil(low), np.floor(high) + 1)
    else:
        x = np.linspace(low, high, FINE)

    few = thinned(result)

    def best(x: np.ndarray) -> np.ndarray:
        return np.asarray(few.assign(as_data(result, x)))

    here = best(x)
    change = np.flatnonzero(here[1:] != here[:-1])
    low_ends, high_ends = x[change], x[change + 1]
    for _ in range(0 if whole or not change.size else 40):
        middle = (low_ends + high_ends) / 2
        same = best(middle) == here[change]
        low_ends, high_ends = np.where(same, middle, low_ends), np.where(same, high_ends, middle)
    return (low_ends + high_ends) / 2


def _on_line(ax: Any, result: PointFit | PosteriorFit) -> None:
    """The probability of each component along one feature."""
    drawn = parameters(result)
    points = real_points(result)[0][:, 0]
    points = points[~np.isnan(points)]
    axis = axis_of(result, drawn, 0, 0, points)
    low, high = axis.low, axis.high
    found, bands = _found(result, low - (high - low), high + (high - low))
    margin = 0.05 * (high - low)
    low, high = min([low, *(found - margin)]), max([high, *(found + margin)])
    x = axis.grid(drawn.centres.mean(0), drawn.scales.mean(0))
    edges = np.nextafter(found, -np.inf), np.nextafter(found, np.inf)
    x = np.unique(np.concatenate([x, np.linspace(low, high, 501), *edges]))
    x = np.unique(np.round(x)) if columns(result) == [COUNT] else x
    shares = np.asarray(softmax(thinned(result).log_joint(as_data(result, x)), -1))
    lines = [
        ax.plot(x, share, color=paper.colour(i), linewidth=4, label=f"component {i}", zorder=3)[0]
        for i, share in enumerate(shares.T)
    ]
    ends = np.concatenate([[low], found, [high]])
    inner = (ends[1:] + ends[:-1]) / 2
    inner = np.round(inner) if columns(result) == [COUNT] else inner
    best = np.asarray(thinned(result).assign(as_data(result, inner)))
    for left, right, i in zip(ends[:-1], ends[1:], best, strict=True):
        ax.axvspan(left, right, color=paper.colour(i), alpha=0.12, linewidth=0, label="region")
    whole = columns(result) == [COUNT]
    _draw_boundaries(ax, found, bands, max(float(drawn.scales.mean(0).min()), 0.5 * whole))
    shown = points[some(len(points), 1000)]
    ax.plot(shown, np.full(len(shown), -0.05), "|", color=INK, alpha=0.5, label="points")
    ax.set_xlim(low, high)
    ax.set_yticks([0, 0.5, 1])
    ax.xaxis.get_major_locator().set_params(integer=whole)
    ax.set_xlabel(ax.get_xlabel() or "value")
    ax.set_ylabel("probability of the component")
    paper.title(ax, result, _notes(result, found, bands, (low, high)))
    _name(ax, lines, drawn.weights.mean(0))


def _draw_boundaries(ax: Any, found: np.ndarray, bands: np.ndarray, unit: float) -> None:
    """Dashed lines, with their values where there is room; and the room for these."""
    for lower, upper in bands.T:
        ax.axvspan(lower, upper, color=GREY, alpha=0.2, linewidth=0, label="interval")
    for middle in found:
        ax.axvline(middle, color=GREY, linestyle="dashed", linewidth=2, label="boundary")
        if len(found) <= WRITTEN:
            ax.annotate(
                paper.short(middle, unit), (middle, 1.05), (5, 0), textcoords="offset points",
                rotation=0 if len(found) <= 4 else 90, va="bottom", fontsize="small",
                color=INK,
            )  # fmt: skip
    written = 1 <= len(found) <= WRITTEN
    ax.set_ylim(-0.1, 1.05 + written * (0.15 if len(found) <= 4 else 0.35))


def _found(
    result: PointFit | PosteriorFit, low: float, high: float
) -> tuple[np.ndarray, np.ndarray]:
    """Boundaries between low and high; with draws, the intervals of those of the draws, (2, b)."""
    if isinstance(result, PointFit):
        return boundaries(result, low, high)[1], np.zeros((2, 0))
    bands = np.zeros((2, 0))
    if isinstance(result.inside.components, Normal):
        bands = boundaries(result, low, high)[[0, 2]]
    return _crossings(result, low, high), bands


def _notes(
    result: PointFit | PosteriorFit, found: np.ndarray, bands: np.ndarray, ends: tuple[float, float]
) -> list[str]:
    """Which boundaries are out of sight, and what the bands are."""
    notes = [f"{len(found)} boundaries in sight."] if len(found) > WRITTEN else []
    if isinstance(result, PointFit) and isinstance(result.inside.components, Normal):
        everywhere = boundaries(result, -np.inf, np.inf)[1]
        hidden = everywhere[(everywhere < ends[0]) | (everywhere > ends[1])]
        if hidden.size:
            places = ", ".join(f"{place:.5g}" for place in hidden[:4])
            more = ", …" if hidden.size > 4 else ""
            word = "boundary" if hidden.size == 1 else "boundaries"
            notes.append(f"{hidden.size} {word} out of sight, at {places}{more}.")
    if bands.size:
        notes.append("Grey: 95 % intervals of the boundaries of each draw.")
    elif isinstance(result, PosteriorFit) and isinstance(result.inside.components, Normal):
        notes.append("Of all draws together; single draws differ in how many boundaries they have.")
    return notes


def _in_plane(ax: Any, result: PointFit | PosteriorFit) -> None:
    """Regions of two features, with the points on them."""
    from matplotlib.colors import to_rgb
    from matplotlib.patches import Patch

    drawn, kinds = parameters(result), columns(result)
    points, _ = real_points(result)
    points = points[~np.isnan(points).any(1)]
    grids = []
    for j, kind in enumerate(kinds):
        axis = axis_of(result, drawn, j, j, points[:, j])
        margin = 0.1 * (axis.high - axis.low)
        grid = np.linspace(axis.low - margin, axis.high + margin, GRID)
        grids.append(np.arange(max(0, grid[0].round()), grid[-1].round() + 1)
                     if kind == COUNT and np.ptp(grid) <= GRID else grid)  # fmt: skip
    x, y = np.meshgrid(*grids)
    rows = np.stack([x.ravel(), y.ravel()], 1)
    few = thinned(result, FEWER_DRAWS)
    shares = np.asarray(softmax(few.log_joint(rows), -1), np.float64).reshape(*x.shape, -1)
    k = shares.shape[-1]
    palette = np.array([to_rgb(paper.colour(i)) for i in range(k)])
    certainty = (shares.max(-1) - 1 / k) / (1 - 1 / k) if k > 1 else np.ones(x.shape)
    image = np.concatenate([palette[shares.argmax(-1)], (0.08 + 0.32 * certainty)[..., None]], -1)
    half = [(grid[1] - grid[0]) / 2 if len(grid) > 1 else 0.5 for grid in grids]
    extent = [e for g, h in zip(grids, half, strict=True) for e in (g[0] - h, g[-1] + h)]
    ax.imshow(image, origin="lower", extent=extent, aspect="auto", label="regions")
    for i in range(k):
        others = np.delete(shares, i, -1)
        margin = shares[..., i] - others.max(-1, initial=0)
        if margin.min() < 0 < margin.max():
            ax.contour(x, y, margin, [0], colors=INK, linewidths=1.2)
    shown = points[some(len(points))]
    best = np.asarray(few.assign(shown))
    ax.scatter(
        *shown.T, c=palette[best], s=float(np.clip(8000 / len(shown), 10, 40)), linewidths=0.4,
        edgecolors="white", zorder=3, label="points",
    )  # fmt: skip
    ax.set_xlim(*extent[:2])
    ax.set_ylim(*extent[2:])
    ax.set_xlabel(ax.get_xlabel() or "feature 0")
    ax.set_ylabel(ax.get_ylabel() or "feature 1")
    notes = ["Paler where less certain."]
    if len(shown) < len(points):
        notes.append(f"{len(shown):,} of {len(points):,} points shown, picked at random.")
    paper.title(ax, result, notes)
    _name(ax, [Patch(color=colour) for colour in palette], drawn.weights.mean(0))


def _name(ax: Any, handles: list[Any], weights: np.ndarray) -> None:
    """A legend beside the picture, where it covers nothing."""
    names = [f"{i}: {weight:.0%}" for i, weight in enumerate(weights)]
    ax.legend(
        handles, names, title="component", loc="center left", bbox_to_anchor=(1.01, 0.5),
        fontsize="small", title_fontsize="small", frameon=False, ncols=1 + (len(names) > 14),
    )  # fmt: skip
