"""Histograms of ranks, which are flat where a method is calibrated."""

import numpy as np
from jaxtyping import Int

from gmm_jax.plotting.paper import COLOURS, GREY, PALE, STYLE


def draw_ranks(
    histograms: dict[str, tuple[Int[np.ndarray, "b"], Int[np.ndarray, "b+1"]]],
) -> np.ndarray:
    """Draw counts and edges of each titled histogram, and a band that holds 99 % of bars.

    Returns:
        The axes, one for each histogram.

    Raises:
        ImportError: matplotlib is not installed.
    """
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError("plot needs matplotlib: pip install 'gmm-jax[plot]'.") from error
    columns = min(3, len(histograms))
    rows = -(-len(histograms) // columns)
    with pyplot.rc_context({**STYLE, "font.size": 11}):
        figure = pyplot.figure(layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False, sharex=True).ravel()
        for ax, (title, (counts, edges)) in zip(axes, histograms.items(), strict=False):
            shares = np.diff(edges) / edges[-1]
            expected = counts.sum() * shares
            band = 2.576 * np.sqrt(expected * (1 - shares))
            low, high = np.maximum(expected - band, 0), expected + band
            ax.stairs(high, edges, baseline=low, fill=True, color=PALE)
            ax.stairs(expected, edges, color=GREY, baseline=None)
            ax.stairs(counts, edges, color=COLOURS[0], linewidth=2)
            ax.set_title(title, loc="left", fontsize="medium")
            ax.set_ylim(bottom=0)
            ax.set_xlabel("draws below the truth")
        for ax in axes[len(histograms) :]:
            ax.remove()
    return axes[: len(histograms)]
