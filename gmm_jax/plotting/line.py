"""One feature: histogram, density with its band, components and boundaries."""

from typing import Any

import numpy as np

from gmm_jax.families import StudentT
from gmm_jax.plotting import paper
from gmm_jax.plotting.axis import Axis
from gmm_jax.plotting.borders import boundaries
from gmm_jax.plotting.drawn import (
    CATEGORY,
    COUNT,
    Parameters,
    as_data,
    as_named,
    axis_of,
    columns,
    parameters,
    real_points,
    thinned,
)
from gmm_jax.plotting.paper import BAND, GREY, INK, PALE
from gmm_jax.plotting.shares import draw_shares
from gmm_jax.posterior_fit import PosteriorFit
from gmm_jax.results import PointFit

RUG = 100
"""Up to this many points are marked one by one."""
FEW_COUNTS = 60
"""Up to so many whole numbers are marked one by one."""


def density(result: PointFit | PosteriorFit, ax: Any = None) -> Any:
    """Draw the histogram, the density and the components of one feature.

    With draws there is the 95 % band of the density, and of the boundaries. Ones and zeros, in any
    number of columns, and categories of one column are drawn as shares.

    Raises:
        ValueError: several features that are not ones and zeros.
    """
    result = as_named(result)
    kinds = set(columns(result))
    bernoulli = type(result.inside.components).__name__ == "Bernoulli"
    if result.data[0].size > 1 and not bernoulli:
        raise ValueError(
            "'density' is a picture of one feature: use plot('ellipses'), plot('pairs') or "
            "plot('features')."
        )
    with paper.canvas(ax) as ax:
        (draw_shares if kinds == {CATEGORY} else draw_line)(ax, result)
    return ax


def draw_line(ax: Any, result: PointFit | PosteriorFit) -> None:
    """Draw a fit of one feature, of numbers or counts."""
    drawn = parameters(result)
    points, sample_weight = real_points(result)
    here = ~np.isnan(points[:, 0])
    points, sample_weight, n_missing = points[here, 0], sample_weight[here], (~here).sum()
    whole = columns(result) == [COUNT]
    unit = max(float(drawn.scales.mean(0).min()), 0.5 if whole else 0.0)
    axis = axis_of(result, drawn, 0, 0, points)
    edges = axis.bins(points, drawn.weights.mean(0), drawn.scales[..., 0].mean(0), whole)
    heights = np.histogram(points, edges, weights=sample_weight)[0]
    heights = heights / (sample_weight.sum() * np.diff(edges))
    bars = ax.bar(
        edges[:-1], heights, np.diff(edges), align="edge", facecolor=PALE, edgecolor="white",
        linewidth=0.8, label="data",
    )  # fmt: skip

    x = axis.grid(drawn.centres.mean(0), drawn.scales.mean(0))
    x = np.unique(np.clip(np.round(x), np.ceil(axis.low), np.floor(axis.high))) if whole else x
    components = np.exp(np.asarray(thinned(result).log_joint(as_data(result, x)), np.float64))
    top, notes, entry = _draw_density(ax, result, x, components.sum(1), float(heights.max()))
    entries = [(bars, "data"), entry]
    if n_missing:
        notes.append(f"{paper.count(n_missing, 'missing value')} left out.")
    if paper.separate(result):
        found = boundaries(result, axis.low, axis.high)
        entries += _draw_boundaries(ax, found, unit, top)
        entries += _draw_components(ax, result, drawn, x, components)
    if len(points) <= RUG:
        _draw_rug(ax, result, points)
    _set_axis(ax, axis, whole)
    ax.set_ylabel("probability" if whole else "density")
    if not 1e-3 < top < 1e4:
        ax.yaxis.set_major_formatter(lambda value, _: f"{value:.4g}")
    paper.title(ax, result, notes + _beyond(points, axis))
    paper.legend(ax, *zip(*entries, strict=True), top=top)
    if whole and len(x) <= FEW_COUNTS:
        for line in ax.get_lines():
            if len(line.get_xdata()) == len(x):
                line.set(marker="o", linewidth=1.2, markersize=5)


def _draw_density(ax, result, x, values, bars: float) -> tuple[float, list[str], Any]:
    """The density, with draws its band; where the drawing ends, what was cut off, and the entry."""
    peak = float(values.max())
    top, notes = 1.03 * max(bars, peak), []
    if peak > 6 * bars:
        top, notes = 2 * bars, [f"The density peaks at {peak:.3g}, off the scale."]
    (curve,) = ax.plot(x, values, color=INK, linewidth=2, label="density", zorder=4)
    if isinstance(result, PointFit):
        return top, notes, (curve, "density")
    low, _, high = thinned(result).density_band(as_data(result, x), mass=0.95)
    if not notes and high.max() <= 3 * top:
        top = max(top, 1.03 * float(high.max()))
    elif not notes:
        top, notes = 3 * top, [f"The band reaches up to {high.max():.3g}, off the scale."]
    band = ax.fill_between(
        x, low, np.minimum(high, top), color=BAND, alpha=0.5, linewidth=0, label="95 % band"
    )
    return top, notes, ((band, curve), "density, 95 % band")


def _draw_components(
    ax: Any,
    result: PointFit | PosteriorFit,
    drawn: Parameters,
    x: np.ndarray,
    components: np.ndarray,
) -> list[tuple[Any, str]]:
    """Curves of the components, each filled, and their names."""
    entries = []
    weights = drawn.weights.mean(0)
    word = "scale" if isinstance(result.inside.components, StudentT) else "sd"
    for i, values in enumerate(components.T):
        colour = paper.colour(i)
        (line,) = ax.plot(x, values, color=colour, linewidth=5, label=f"component {i}", zorder=3)
        if isinstance(result, PointFit):
            ax.fill_between(x, values, color=colour, alpha=0.15, linewidth=0)
        mean, scale = (a.mean(0)[i, 0] for a in (drawn.centres, drawn.scales))
        unit = max(scale, 0.5) if columns(result) == [COUNT] else scale
        label = (
            f"component {i}: {weights[i]:.0%}, mean {paper.short(mean, unit)}, "
            f"{word} {paper.short(scale, unit)}"
        )
        entries.append((line, label))
    if len(entries) > paper.MOST_NAMED:
        return [(entries[0][0], f"{len(entries)} components")]
    return entries


def _draw_boundaries(ax: Any, found: np.ndarray, unit: float, top: float) -> list[tuple[Any, str]]:
    """Dashed lines where the most probable component changes; with draws, their intervals."""
    line = None
    for low, middle, high in found.T:
        line = ax.vlines(middle, 0, top, GREY, "dashed", linewidth=2, label="boundary")
        if high > low:
            ax.fill_betweenx(
                [0, top], low, high, color=GREY, alpha=0.15, linewidth=0, label="boundary interval"
            )
    if line is None:
        return []
    texts = [
        paper.short(middle, unit)
        + (f" [{paper.short(low, unit)}, {paper.short(high, unit)}]" if high > low else "")
        for low, middle, high in found.T
    ]
    if len(texts) > 2:
        return [(line, f"{len(texts)} boundaries")]
    return [(line, ("boundary " if len(texts) == 1 else "boundaries ") + ", ".join(texts))]


def _draw_rug(ax: Any, result: PointFit | PosteriorFit, points: np.ndarray) -> None:
    """A tick for every point, coloured by its component."""
    assignments = np.zeros(len(points), int)
    if paper.separate(result):
        assignments = np.asarray(result.assign(as_data(result, points)))
    for i in np.unique(assignments):
        here = points[assignments == i]
        ax.plot(
            here, np.zeros(len(here)), "|", markersize=16, markeredgewidth=2, label="points",
            color=paper.colour(i) if paper.separate(result) else INK, zorder=5,
        )  # fmt: skip


def _beyond(points: np.ndarray, axis: Axis) -> list[str]:
    """Say what isn't shown."""
    notes = []
    for outside, word, end in (
        (points[points < axis.low], "left", np.min),
        (points[points > axis.high], "right", np.max),
    ):
        if outside.size:
            notes.append(
                f"{paper.count(outside.size, 'point')} beyond the {word} edge, "
                f"as far as {end(outside):.5g}."
            )
    return notes


def _set_axis(ax: Any, axis: Axis, whole: bool) -> None:
    """Break the axis in its gaps, and put ticks in its stretches."""
    from matplotlib.ticker import MaxNLocator

    if axis.gaps:
        ax.set_xscale("function", functions=(axis.draw, axis.undraw))
        widths = axis.highs - axis.lows
        longest = max(len(f"{end:.0f}") for end in (*axis.lows, *axis.highs))
        room = 9 * min(1, 7 / longest)
        ticks, labels = [], []
        for low, high, width in zip(axis.lows, axis.highs, widths, strict=True):
            most = max(1, int(room * width / (widths.sum() + axis.gap * len(axis.gaps))))
            values = MaxNLocator(most, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
            step = values[1] - values[0]
            values = values[(values >= low) & (values <= high)]
            decimals = int(np.clip(np.ceil(-np.log10(step) - 1e-9), 0, 12))
            ticks += values.tolist()
            labels += [f"{value:.{decimals}f}" for value in values]
        ax.set_xticks(ticks, labels)
        ax.set_xticks([], minor=True)
    elif whole:
        ax.xaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 5, 10], integer=True))
    ax.set_xlim(axis.low, axis.high)
    for gap in axis.gaps:
        where = dict(clip_on=False, transform=ax.get_xaxis_transform())
        ax.plot(gap, [0, 0], color="white", linewidth=3, zorder=5.5, label="axis gap", **where)
        stroke = [(-0.5, -1), (0.5, 1)]
        ax.plot(
            gap, [0, 0], linestyle="", marker=stroke, markersize=14, color=INK, zorder=6,
            label="axis break", **where,
        )  # fmt: skip
    if not ax.get_xlabel():
        ax.set_xlabel("value")
