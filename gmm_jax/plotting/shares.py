"""Ones and zeros, and categories: shares of the data beside those of the model."""

from typing import Any

import numpy as np

from gmm_jax.plotting import paper
from gmm_jax.plotting.drawn import as_data, parameters, real_points
from gmm_jax.plotting.paper import INK, PALE
from gmm_jax.posterior_fit import PosteriorFit
from gmm_jax.results import PointFit

MOST_TICKS, MOST_FIGURES = 30, 6


def draw_shares(ax: Any, result: PointFit | PosteriorFit) -> None:
    """Draw a fit of Bernoulli or categorical components.

    Of one feature all outcomes; of several ones and zeros the ones in each.
    """
    points, sample_weight = real_points(result)
    seen = ~np.isnan(points)
    weight = sample_weight[:, None] * seen
    if points.shape[1] == 1:
        values = points[seen].astype(int)
        levels = np.arange(max(values.max(), 1) + 1)
        observed = np.bincount(values, weight[seen], minlength=len(levels)) / weight.sum()
        parts = np.exp(np.asarray(result.log_joint(as_data(result, levels * 1.0)), np.float64)).T
        ax.set_xlabel(ax.get_xlabel() or "outcome")
        ax.set_ylabel("share of points")
    else:
        observed = (weight * np.where(seen, points, 0)).sum(0) / weight.sum(0)
        drawn = parameters(result)
        parts = (drawn.weights[..., None] * drawn.centres).mean(0)
        ax.set_xlabel(ax.get_xlabel() or "feature")
        ax.set_ylabel("share of ones")
    notes = []
    if not seen.all():
        notes.append(f"{paper.count((~seen).sum(), 'missing value')} left out.")
    if not paper.separate(result):
        parts = parts.sum(0, keepdims=True)
    places = np.arange(len(observed))
    data = ax.bar(places - 0.2, observed, 0.38, color=PALE, label="data")
    entries = [(data, "data")]
    below = np.zeros(len(observed))
    for i, part in enumerate(parts):
        colour = paper.colour(i) if paper.separate(result) else INK
        bars = ax.bar(
            places + 0.2, part, 0.38, below, color=colour, edgecolor="white", linewidth=0.5,
            label=f"component {i}",
        )  # fmt: skip
        below = below + part
        entries.append((bars, _name(result, i) if paper.separate(result) else "model"))
    if len(parts) > paper.MOST_NAMED:
        entries = [entries[0], (entries[1][0], f"model, {len(parts)} components")]
    if len(places) <= MOST_TICKS:
        ax.set_xticks(places)
    for place, height in zip((*(places - 0.2), *(places + 0.2)), (*observed, *below), strict=True):
        if len(places) <= MOST_FIGURES:
            ax.annotate(
                f"{height:.1%}", (place, height), (0, 3), textcoords="offset points", ha="center",
                color=INK, fontsize="small",
            )  # fmt: skip
    paper.title(ax, result, notes)
    paper.legend(ax, *zip(*entries, strict=True), top=1.08 * max(observed.max(), below.max()))


def _name(result: PointFit | PosteriorFit, i: int | np.integer) -> str:
    weights = np.asarray(result.inside.weights, np.float64)
    name = f"model, component {i}: {weights.reshape(-1, weights.shape[-1]).mean(0)[i]:.0%}"
    components = result.inside.components
    if result.data[0].size > 1 or type(components).__name__ != "Bernoulli":
        return name
    return f"{name}, P(1) = {parameters(result).centres.mean(0)[i, 0]:.2f}"
