"""What all pictures share: colours, the parameters that are drawn, title and legend."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from gmm_jax.families import MultivariateNormal, MultivariateStudentT, StudentT
from gmm_jax.posterior_fit import PosteriorFit
from gmm_jax.results import PointFit
from gmm_jax.summaries import told_apart

# Okabe and Ito (2008), "Color universal design": told apart with any colour vision.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
INK, GREY, PALE, BAND = "#222222", "#666666", "#D4D4D4", "#F0E442"
STYLE = {
    "figure.figsize": (10, 5.625),
    "font.size": 14,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
MOST_DRAWS, MOST_NAMED = 2000, 6


class Parameters(NamedTuple):
    """Of a point estimate (s = 1), or of draws thinned to `MOST_DRAWS`; float64."""

    weights: np.ndarray
    """(s, k)."""
    centres: np.ndarray
    """(s, k, d): means, or probabilities of a one."""
    scales: np.ndarray
    """(s, k, d)."""
    correlations: np.ndarray
    """(s, k), of the first two features."""


def parameters(result: PointFit | PosteriorFit) -> Parameters:
    """What is drawn, in the data's unit."""
    if isinstance(result, PosteriorFit):
        n = result.n_draws
        picked = np.linspace(0, n - 1, min(n, MOST_DRAWS)).astype(int)
        mixture = jax.tree.map(lambda a: np.asarray(a)[picked], result.draws)
    else:
        mixture = jax.tree.map(lambda a: np.asarray(a)[None], result.mixture)
    weights = np.asarray(mixture.weights, np.float64)
    correlations = np.zeros(weights.shape)
    components = mixture.components
    if isinstance(components, MultivariateNormal | MultivariateStudentT):
        trils = np.asarray(components.scale_trils, np.float64)
        covariances = trils @ np.swapaxes(trils, -1, -2)
        scales = np.sqrt(np.diagonal(covariances, axis1=-2, axis2=-1))
        if scales.shape[-1] > 1:
            correlations = covariances[..., 0, 1] / scales[..., :2].prod(-1)
        return Parameters(weights, np.asarray(components.means, float), scales, correlations)
    leaves = [np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(components)]
    leaves = [leaf.reshape(*weights.shape, -1) for leaf in leaves]
    scales = leaves[1] if isinstance(components, StudentT) else leaves[-1]
    return Parameters(weights, leaves[0], scales, correlations)


def separate(result: PointFit | PosteriorFit) -> bool:
    """Whether components can be drawn one by one."""
    return isinstance(result, PointFit) or told_apart(result)


def real_points(result: PointFit | PosteriorFit) -> tuple[np.ndarray, np.ndarray]:
    """Points that count, (n, d), and how much."""
    counted = result.sample_weight > 0
    points = np.asarray(result.data)[counted].astype(np.float64)
    return points.reshape(len(points), -1), np.asarray(result.sample_weight)[counted]


def colour(component: int | np.integer) -> str:
    return COLOURS[component % len(COLOURS)]


def short(value: float, unit: float) -> str:
    """Write a number to about a tenth of `unit`."""
    decimals = int(np.clip(1 - np.floor(np.log10(unit)), 0, 12)) if unit > 0 else 3
    text = f"{value:,.{decimals}f}"
    return text if len(text) <= 11 else f"{value:.5g}"


def count(n: int | np.integer, noun: str) -> str:
    return f"{n:,} {noun}" + ("s" if n != 1 else "")


def title(ax: Any, result: PointFit | PosteriorFit, notes: list[str]) -> None:
    """Say what was fitted, and below it what a person should know before reading the picture."""
    if not separate(result):
        notes = ["The draws don't tell the components apart, so only their sum is shown.", *notes]
    if isinstance(result, PointFit) and not result.converged:
        notes = [f"{result.message[0].upper()}{result.message[1:]}.", *notes]
    points = count(int((result.sample_weight > 0).sum()), "point")
    components = count(result.inside.weights.shape[-1], "component")
    how = "EM" if isinstance(result, PointFit) else "posterior"
    size = 0.8 * ax.title.get_fontsize()
    above = 6 + 1.35 * size * len(notes)
    ax.set_title(f"{points}, {components}: {how}", loc="left", fontweight="bold", pad=above)
    if notes:
        ax.annotate(
            "\n".join(notes),
            (0, 1),
            xytext=(0, 5),
            xycoords="axes fraction",
            textcoords="offset points",
            fontsize=size,
            color=GREY,
        )


def legend(
    ax: Any, handles: Sequence[Any], labels: Sequence[str], top: float | None = None
) -> None:
    """Put a legend above the drawing, in room made for it when `top` is where the drawing ends."""
    if top is None:
        ax.legend(handles, labels, loc="best", fontsize="small", framealpha=0.9)
        return
    box = ax.legend(
        handles, labels, loc="upper left", ncols=2, fontsize="small", frameon=False,
        borderaxespad=0, columnspacing=2.5,
    )  # fmt: skip
    ax.set_ylim(0, top)
    ax.figure.draw_without_rendering()
    share = box.get_window_extent().height / ax.get_window_extent().height
    ax.set_ylim(0, top / (1 - min(share + 0.04, 0.6)))
