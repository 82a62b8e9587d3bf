"""What a prior says before seeing data: data sets drawn from it, beside those at hand."""

from typing import Any, cast

import jax
import numpy as np
from jax import Array

from gmm_jax._data import as_points
from gmm_jax.families import Bernoulli, Categorical, Poisson
from gmm_jax.plotting.drawn import MOST_POINTS
from gmm_jax.plotting.paper import COLOURS, GREY, INK, STYLE
from gmm_jax.priors.mixtures import MixturePrior

DRAWS = 8
SIZE = 1000
"""Points of each draw, where one feature is drawn."""
BINS = 150
SHOWN = (0.05, 0.95)
"""Of all that is drawn from the prior, at least the part between these quantiles is in sight."""


def plot_prior(prior: Any, n_components: int, data: Any, key: Array | None = None) -> np.ndarray:
    """Draw data sets that the prior expects to see, below or beside the data at hand.

    A prior that is sensible has room for data such as these, and for others that are wider,
    narrower, or elsewhere.

    Args:
        prior: A `MixturePrior`, such as `default_prior(data, n_components)`.
        n_components: How many, k.
        data: n points: what is at hand.
        key: Random key; `jax.random.key(0)` if left out.

    Returns:
        Matplotlib axes: that of the data first, then those of the draws.

    Raises:
        ImportError: matplotlib is not installed.
        TypeError: `prior` is not a prior of mixtures.
        ValueError: zeros and ones, or categories, in several columns, which have no such picture.

    Example:
        >>> import gmm_jax
        >>> from gmm_jax.datasets import BENTOS
        >>> axes = gmm_jax.plotting.plot_prior(gmm_jax.default_prior(BENTOS, 2), 2, BENTOS)
        >>> len(axes)
        9
    """
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError("plot_prior needs matplotlib: pip install 'gmm-jax[plot]'.") from error
    if not isinstance(prior, MixturePrior):
        raise TypeError(
            f"prior must be a MixturePrior such as default_prior(data, {n_components}), "
            f"got {prior!r}."
        )
    points = as_points(data, missing=True).astype(np.float64)
    event = points.shape[1:]
    on_line = points[0].size == 1
    _check_numbers(prior.family, on_line)
    size = SIZE if on_line else min(len(points), MOST_POINTS)
    key = jax.random.key(0) if key is None else key
    drawn = prior.sample_data(key, size, n_components, event, (DRAWS,))
    draws = np.asarray(drawn, np.float64)
    with pyplot.rc_context({**STYLE, "font.size": 11}):
        figure = pyplot.figure(layout="constrained")
        rows, columns = (DRAWS + 1, 1) if on_line else (3, 3)
        axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=not on_line)
        axes = axes.ravel()
        if on_line:
            cast(Any, figure.get_layout_engine()).set(h_pad=0, hspace=0)
            _draw_lines(axes, points.reshape(-1), draws.reshape(DRAWS, -1), prior.family)
        else:
            _draw_planes(axes, points, draws)
        components = f"{n_components} component" + ("s" if n_components > 1 else "")
        figure.suptitle(
            f"The data, and {DRAWS} data sets that the prior of {components} expects",
            fontweight="bold",
            x=0.01,
            ha="left",
        )
    return axes


def _check_numbers(family: Any, on_line: bool) -> None:
    if not on_line and (family is Bernoulli or hasattr(family, "n_levels")):
        raise ValueError(
            "plot_prior draws numbers, not ones and zeros or categories in several columns: look "
            "at prior.sample_data(...) instead."
        )


def _draw_lines(axes: Any, points: np.ndarray, draws: np.ndarray, family: Any) -> None:
    """A histogram each, of its own height; all on the same axis."""
    points = points[~np.isnan(points)]
    low, high = _ends(points, draws.ravel())
    whole = family in (Poisson, Bernoulli, Categorical) or hasattr(family, "n_levels")
    width = (high - low) / BINS
    if whole:
        low, width = np.floor(low) - 0.5, np.ceil(width)
    edges = low + width * np.arange(np.ceil((high - low) / width) + 1)
    for i, (ax, values) in enumerate(zip(axes, (points, *draws), strict=True)):
        heights = np.histogram(values, edges)[0]
        ax.bar(
            edges[:-1], heights / max(heights.max(), 1), width, align="edge",
            color=COLOURS[0] if i else INK,
        )  # fmt: skip
        ax.set_yticks([])
        ax.spines["left"].set_visible(False)
        ax.tick_params(bottom=i == DRAWS)
        ax.set_ylim(0, 1.15)
        ax.set_ylabel("" if i else "data", rotation=0, ha="right", va="center", fontweight="bold")
        beyond = np.mean((values < edges[0]) | (values > edges[-1]))
        if beyond > 0.005:
            ax.annotate(
                f"{beyond:.0%} beyond", (1.01, 0.2), xycoords="axes fraction", ha="left",
                fontsize="small", color=GREY,
            )  # fmt: skip
    axes[-1].set_xlim(edges[0], edges[-1])
    axes[-1].set_xlabel("value")


def _draw_planes(axes: Any, points: np.ndarray, draws: np.ndarray) -> None:
    """A scatter each, of the first two features; all on the same axes."""
    shown = points[: draws.shape[1]]
    for i, (ax, values) in enumerate(zip(axes, (shown, *draws), strict=True)):
        ax.scatter(
            *values[:, :2].T, s=float(np.clip(600 / len(values), 2, 20)), linewidths=0,
            color=COLOURS[0] if i else INK, alpha=0.7,
        )  # fmt: skip
    axes[0].set_title("data", loc="left", fontsize="medium", fontweight="bold")
    for j, set_limits in enumerate((axes[0].set_xlim, axes[0].set_ylim)):
        column = points[:, j]
        set_limits(*_ends(column[~np.isnan(column)], draws[..., j].ravel()))
    axes[-2].set_xlabel("feature 0")
    axes[3].set_ylabel("feature 1")


def _ends(points: np.ndarray, drawn: np.ndarray) -> tuple[float, float]:
    """Where the picture begins and ends: the data and most of what the prior expects."""
    low, high = np.quantile(drawn[np.isfinite(drawn)], SHOWN)
    low, high = min(low, points.min()), max(high, points.max())
    margin = 0.03 * (high - low)
    start = low if low >= 0 and low < margin else low - margin
    return float(start), float(high + margin)
