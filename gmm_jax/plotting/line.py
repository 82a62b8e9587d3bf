"""One feature: histogram, density with its band, components and boundaries."""

from typing import Any

import numpy as np

from gmm_jax._pytree import rebuild
from gmm_jax.families import Normal
from gmm_jax.landscape import decision_boundaries
from gmm_jax.mixture import Mixture
from gmm_jax.plotting import paper
from gmm_jax.plotting.axis import Axis, densities
from gmm_jax.plotting.paper import BAND, GREY, INK, PALE, Parameters
from gmm_jax.posterior_fit import PosteriorFit
from gmm_jax.results import PointFit

RUG = 100
"""Up to this many points are marked one by one."""


def draw_line(ax: Any, result: PointFit | PosteriorFit) -> None:
    """Draw a fit of one feature."""
    drawn = paper.parameters(result)
    points, sample_weight = paper.real_points(result)
    points = points[:, 0]
    axis = Axis.around(drawn.weights, drawn.centres[..., 0], drawn.scales[..., 0], points)
    edges = axis.bins(points, drawn.weights.mean(0), drawn.scales[..., 0].mean(0))
    heights = np.histogram(points, edges, weights=sample_weight)[0]
    heights = heights / (sample_weight.sum() * np.diff(edges))
    bars = ax.bar(
        edges[:-1], heights, np.diff(edges), align="edge", facecolor=PALE, edgecolor="white",
        linewidth=0.8, label="data",
    )  # fmt: skip

    x = axis.grid(drawn.centres.mean(0), drawn.scales.mean(0))
    components = component_densities(result, x)
    top, notes, entry = _draw_density(ax, result, drawn, x, components.sum(1), float(heights.max()))
    entries = [(bars, "data"), entry]
    if paper.separate(result):
        entries += _draw_boundaries(ax, drawn, axis, top)
        entries += _draw_components(ax, drawn, x, components)
    if len(points) <= RUG:
        _draw_rug(ax, result, points)
    _set_axis(ax, axis)
    paper.title(ax, result, notes + _beyond(points, axis))
    paper.legend(ax, *zip(*entries, strict=True), top=top)


def component_densities(result: PointFit | PosteriorFit, x: np.ndarray) -> np.ndarray:
    """Share times density of each component, (m, k); with draws, their mean."""
    points = x.reshape(-1, *result.data.shape[1:])
    return np.exp(np.asarray(result.log_joint(points), np.float64))


def boundaries(drawn: Parameters, low: float, high: float) -> np.ndarray:
    """Decision boundaries between low and high: 2.5 %, 50 % and 97.5 % quantiles, (3, b).

    Draws may differ in how many boundaries they have; those with the most common number speak,
    if they are most of the draws.
    """
    found = []
    some = np.linspace(0, len(drawn.weights) - 1, min(len(drawn.weights), 500)).astype(int)
    for weights, means, scales, _ in zip(*(a[some] for a in drawn), strict=True):
        components = rebuild(Normal, means=means[:, 0], scales=scales[:, 0])
        ties = decision_boundaries(rebuild(Mixture, weights=weights, components=components))
        found.append(ties[(ties > low) & (ties < high)])
    counts = np.array([len(b) for b in found])
    common = np.bincount(counts).argmax()
    agreeing = [each for each in found if len(each) == common]
    if common == 0 or 2 * len(agreeing) <= len(found):
        return np.zeros((3, 0))
    return np.quantile(agreeing, (0.025, 0.5, 0.975), axis=0)


def _draw_density(ax, result, drawn, x, density, bars: float) -> tuple[float, list[str], Any]:
    """The density, with draws its band; where the drawing ends, what was cut off, and the entry."""
    peak = float(density.max())
    top, notes = 1.03 * max(bars, peak), []
    if peak > 6 * bars:
        top, notes = 2 * bars, [f"The density peaks at {peak:.3g}, off the scale."]
    (curve,) = ax.plot(x, density, color=INK, linewidth=2, label="density", zorder=4)
    if isinstance(result, PointFit):
        return top, notes, (curve, "density")
    draws = densities(x, drawn.weights, drawn.centres[..., 0], drawn.scales[..., 0])
    low, high = np.quantile(draws, (0.025, 0.975), axis=0)
    if not notes and high.max() <= 3 * top:
        top = max(top, 1.03 * float(high.max()))
    elif not notes:
        top, notes = 3 * top, [f"The band reaches up to {high.max():.3g}, off the scale."]
    band = ax.fill_between(
        x, low, np.minimum(high, top), color=BAND, alpha=0.5, linewidth=0, label="95 % band"
    )
    return top, notes, ((band, curve), "density, 95 % band")


def _draw_components(
    ax: Any, drawn: Parameters, x: np.ndarray, components: np.ndarray
) -> list[tuple[Any, str]]:
    """Curves of the components, each filled, and their names."""
    entries = []
    weights = drawn.weights.mean(0)
    for i, values in enumerate(components.T):
        colour = paper.colour(i)
        (line,) = ax.plot(x, values, color=colour, linewidth=5, label=f"component {i}", zorder=3)
        if len(drawn.weights) == 1:
            ax.fill_between(x, values, color=colour, alpha=0.15, linewidth=0)
        mean, scale = (a.mean(0)[i, 0] for a in (drawn.centres, drawn.scales))
        label = (
            f"component {i}: {weights[i]:.0%}, mean {paper.short(mean, scale)}, "
            f"sd {paper.short(scale, scale)}"
        )
        entries.append((line, label))
    if len(entries) > paper.MOST_NAMED:
        return [(entries[0][0], f"{len(entries)} components")]
    return entries


def _draw_boundaries(ax: Any, drawn: Parameters, axis: Axis, top: float) -> list[tuple[Any, str]]:
    """Dashed lines where the most probable component changes; with draws, their intervals."""
    found = boundaries(drawn, axis.low, axis.high)
    line = None
    for low, middle, high in found.T:
        line = ax.vlines(middle, 0, top, GREY, "dashed", linewidth=2, label="boundary")
        if high > low:
            ax.fill_betweenx(
                [0, top], low, high, color=GREY, alpha=0.15, linewidth=0, label="boundary interval"
            )
    if line is None:
        return []
    unit = float(drawn.scales.mean())
    texts = [
        paper.short(middle, unit)
        + (f" [{paper.short(low, unit)}, {paper.short(high, unit)}]" if high > low else "")
        for low, middle, high in found.T
    ]
    if len(texts) > 2:
        return [(line, f"{len(texts)} boundaries")]
    return [(line, ("boundary " if len(texts) == 1 else "boundaries ") + ", ".join(texts))]


def _draw_rug(ax, result, points) -> None:
    """A tick for every point, coloured by its component."""
    assignments = np.zeros(len(points), int)
    if paper.separate(result):
        assignments = np.asarray(result.assign())[result.sample_weight > 0]
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


def _set_axis(ax: Any, axis: Axis) -> None:
    """Break the axis in its gaps, and put ticks in its stretches."""
    from matplotlib.ticker import MaxNLocator

    if axis.gaps:
        ax.set_xscale("function", functions=(axis.draw, axis.undraw))
        widths = axis.highs - axis.lows
        ticks, labels = [], []
        for low, high, width in zip(axis.lows, axis.highs, widths, strict=True):
            most = max(1, int(9 * width / (widths.sum() + axis.gap * len(axis.gaps))))
            values = MaxNLocator(most, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
            step = values[1] - values[0]
            values = values[(values >= low) & (values <= high)]
            decimals = int(np.clip(np.ceil(-np.log10(step) - 1e-9), 0, 12))
            ticks += values.tolist()
            labels += [f"{value:.{decimals}f}" for value in values]
        ax.set_xticks(ticks, labels)
        ax.set_xticks([], minor=True)
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
    ax.set_ylabel("density")
