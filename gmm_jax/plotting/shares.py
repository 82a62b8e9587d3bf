"""Ones and zeros: shares of the data beside those of the model."""

from typing import Any

import numpy as np

from gmm_jax.plotting import paper
from gmm_jax.plotting.paper import INK, PALE
from gmm_jax.posterior_fit import PosteriorFit
from gmm_jax.results import PointFit


def draw_shares(ax: Any, result: PointFit | PosteriorFit) -> None:
    """Draw a fit of Bernoulli components: of one feature both outcomes, else the ones in each."""
    drawn = paper.parameters(result)
    points, sample_weight = paper.real_points(result)
    observed = np.average(points, axis=0, weights=sample_weight)
    parts = (drawn.weights[..., None] * drawn.centres).mean(0)
    if points.shape[1] == 1:
        observed = np.append(1 - observed, observed)
        parts = np.column_stack([drawn.weights.mean(0) - parts[:, 0], parts[:, 0]])
        ax.set_xlabel("outcome")
        ax.set_ylabel("share of points")
    else:
        ax.set_xlabel("feature")
        ax.set_ylabel("share of ones")
    places = np.arange(len(observed))
    data = ax.bar(places - 0.2, observed, 0.38, color=PALE, label="data")
    entries = [(data, "data")]
    below = np.zeros(len(observed))
    for i, part in enumerate(parts):
        bars = ax.bar(
            places + 0.2, part, 0.38, below, color=paper.colour(i), edgecolor="white",
            label=f"component {i}",
        )  # fmt: skip
        below = below + part
        entries.append((bars, _name(drawn, i)))
    if len(parts) > paper.MOST_NAMED:
        entries = [entries[0], (entries[1][0], f"model, {len(parts)} components")]
    if len(places) <= 30:
        ax.set_xticks(places)
    for place, height in zip((*(places - 0.2), *(places + 0.2)), (*observed, *below), strict=True):
        if len(places) <= 6:
            ax.annotate(
                f"{height:.1%}", (place, height), (0, 3), textcoords="offset points", ha="center",
                color=INK, fontsize="small",
            )  # fmt: skip
    paper.title(ax, result, [])
    paper.legend(ax, *zip(*entries, strict=True), top=1.08 * max(observed.max(), below.max()))


def _name(drawn: paper.Parameters, i: int | np.integer) -> str:
    name = f"model, component {i}: {drawn.weights.mean(0)[i]:.0%}"
    if drawn.centres.shape[2] > 1:
        return name
    return f"{name}, P(1) = {drawn.centres.mean(0)[i, 0]:.2f}"
