"""What all pictures share: colours, axes to draw into, heading and legend."""

import textwrap
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from gmm_jax._warnings import FitWarning
from gmm_jax.plotting.drawn import Renamed
from gmm_jax.posterior_fit import PosteriorFit
from gmm_jax.results import PointFit
from gmm_jax.summaries import told_apart

# Okabe and Ito (2008), "Color universal design": told apart with any colour vision.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
INK, GREY, PALE, BAND = "#222222", "#666666", "#D4D4D4", "#F0E442"
SHADES = (("white", 0.0), ("black", 0.45), ("white", 0.55))
"""What the colours are mixed with, and how much of it, once all of them are taken."""
STYLE = {
    "figure.figsize": (10, 5.625),
    "font.size": 14,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
SIZES = ((3, 14), (12, 11), (36, 9))
"""Size of the text with up to so many axes."""
MOST_NAMED = 6


@contextmanager
def canvas(ax: Any, shape: tuple[int, int] | None = None, **options: Any) -> Iterator[Any]:
    """Axes to draw into: those given, or of a new figure of the size of a slide.

    Args:
        ax: What the caller passed: axes, an array of them, or None.
        shape: Rows and columns of several axes; one of its own if left out.
        options: Of `Figure.subplots`.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: an array of axes of another shape.
    """
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError("plot needs matplotlib: pip install 'gmm-jax[plot]'.") from error
    n_axes = 1 if shape is None else shape[0] * shape[1]
    style = STYLE | {"font.size": next((size for most, size in SIZES if n_axes <= most), 9)}
    with warnings.catch_warnings(), pyplot.rc_context(style if ax is None else {}):
        # Curves pass through places far from the data, where nobody reads numbers off.
        warnings.simplefilter("ignore", FitWarning)
        if ax is not None:
            yield _given(ax, shape)
            return
        figure = pyplot.figure(layout="constrained")
        try:
            yield figure.subplots(*(shape or (1, 1)), squeeze=shape is None, **options)
        except BaseException:
            pyplot.close(figure)
            raise


def _given(ax: Any, shape: tuple[int, int] | None) -> Any:
    """The caller's axes, in the shape that the picture needs."""
    axes = np.asarray(ax, object)
    if shape is None and axes.ndim == 0:
        return ax
    if shape is not None and axes.size == shape[0] * shape[1]:
        return axes.reshape(shape)
    wanted = "one pair of axes" if shape is None else f"{shape[0]} x {shape[1]} axes"
    raise ValueError(
        f"ax must be {wanted} for this picture, got {axes.size}: pass what "
        f"figure.subplots({', '.join(map(str, shape or ()))}) returns, or leave it out."
    )


def wrong_kind(picture: str, needs: str, got: Any, instead: str) -> TypeError:
    """The error for a picture of something else."""
    return TypeError(f"{picture!r} is a picture of {needs}, got {type(got).__name__}: {instead}.")


def separate(result: PointFit | PosteriorFit) -> bool:
    """Whether components can be drawn one by one."""
    return isinstance(result, PointFit) or told_apart(result)


def check_separate(picture: str, result: PointFit | PosteriorFit) -> None:
    """Refuse pictures of single components where draws don't tell them apart.

    Raises:
        ValueError: they don't.
    """
    if isinstance(result, PosteriorFit) and not separate(result):
        raise ValueError(
            f"{picture!r} shows components one by one, but the draws don't tell them apart "
            f"({result.doubt}): use plot('similarity'), which needs no labels, or fit fewer "
            f"components."
        )


def colour(component: int | np.integer) -> str:
    """Its colour: six that differ by hue, then the same darker, then lighter."""
    from matplotlib.colors import to_hex, to_rgb

    turn, place = divmod(int(component), len(COLOURS))
    other, share = SHADES[turn % len(SHADES)]
    mixed = (1 - share) * np.array(to_rgb(COLOURS[place])) + share * np.array(to_rgb(other))
    return to_hex(mixed)


def short(value: float, unit: float) -> str:
    """Write a number to about a tenth of `unit`."""
    value = value + 0.0 if abs(value) > 0.05 * unit else 0.0
    if not unit > 0 or not np.isfinite(unit):
        return f"{value:.4g}"
    decimals = max(0, int(1 - np.floor(np.log10(unit))))
    text = f"{value:,.{decimals}f}"
    if decimals <= 6 and len(text) <= 14:
        return text
    digits = int(np.log10(max(abs(value), unit) / unit)) + 2
    return f"{value:.{min(digits, 15)}g}"


def count(n: int | np.integer, noun: str) -> str:
    return f"{n:,} {noun}" + ("s" if n != 1 else "")


def subject(result: PointFit | PosteriorFit) -> str:
    """What was fitted, for the heading."""
    points = count(int((np.asarray(result.sample_weight) > 0).sum()), "point")
    components = count(result.inside.weights.shape[-1], "component")
    return f"{points}, {components}: {'EM' if isinstance(result, PointFit) else 'posterior'}"


def caveats(result: PointFit | PosteriorFit) -> list[str]:
    """What a person should know before reading any picture."""
    if isinstance(result, PointFit) and not result.converged:
        return [f"{result.message[0].upper()}{result.message[1:]}."]
    if isinstance(result, Renamed):
        return ["Components were relabelled by Stephens' method."]
    return []


def title(ax: Any, result: PointFit | PosteriorFit, notes: list[str]) -> None:
    """Say what was fitted, and below it what a person should know before reading the picture."""
    if not separate(result):
        notes = ["The draws don't tell the components apart, so only their sum is shown.", *notes]
    heading(ax, subject(result), [*caveats(result), *notes])


def heading(ax: Any, text: str, notes: Sequence[str] = ()) -> None:
    """A line in bold above the axes, and notes below it; of several axes, above and below all."""
    if isinstance(ax, np.ndarray):
        figure = ax.flat[0].figure
        figure.suptitle(text, x=0.01, ha="left", fontweight="bold", fontsize="large")
        if notes:
            size = 0.8 * ax.flat[0].title.get_fontsize()
            width = _characters(figure.bbox.width / figure.dpi * 72, size)
            figure.supxlabel(
                "\n".join(textwrap.fill(note, width) for note in notes),
                x=0.01, ha="left", fontsize=size, color=GREY,
            )  # fmt: skip
        return
    size = 0.8 * ax.title.get_fontsize()
    width = ax.get_position().width * ax.figure.bbox.width / ax.figure.dpi * 72
    lines = [line for note in notes for line in textwrap.wrap(note, _characters(width, size))]
    above = 6 + 1.35 * size * len(lines)
    ax.set_title(text, loc="left", fontweight="bold", pad=above)
    if lines:
        ax.annotate(
            "\n".join(lines), (0, 1), xytext=(0, 5), xycoords="axes fraction",
            textcoords="offset points", fontsize=size, color=GREY, annotation_clip=False,
        )  # fmt: skip


def _characters(width: float, size: float) -> int:
    """How many fit into a line of some width, both in points."""
    return max(30, int(width / (0.5 * size)))


def legend(
    ax: Any, handles: Sequence[Any], labels: Sequence[str], top: float | None = None
) -> None:
    """Put a legend above the drawing, in room made for it when `top` is where the drawing ends."""
    if top is None:
        ax.legend(handles, labels, loc="best", fontsize="small", framealpha=0.9)
        return
    columns = 2 if max(map(len, labels)) > 16 or len(labels) < 4 else 4
    box = ax.legend(
        handles, labels, loc="upper left", ncols=columns, fontsize="small", frameon=False,
        borderaxespad=0, columnspacing=2.5,
    )  # fmt: skip
    ax.set_ylim(0, top)
    ax.figure.figure.draw_without_rendering()
    share = box.get_window_extent().height / ax.get_window_extent().height
    ax.set_ylim(0, top / (1 - min(share + 0.04, 0.6)))
