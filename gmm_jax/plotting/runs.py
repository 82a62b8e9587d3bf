"""How EM got there: the objective of every run, step by step."""

from typing import Any

import numpy as np

from gmm_jax import em
from gmm_jax.plotting import paper
from gmm_jax.plotting.paper import COLOURS, GREY, INK
from gmm_jax.results import PointFit
from gmm_jax.summaries import SAME

LEAST = 1e-6
"""In nats per point: gaps below it are drawn there."""
MARKS = {
    em.CONVERGED: ("o", "converged"),
    em.RUNNING: (">", "stopped early"),
    em.COLLAPSED: ("X", "collapsed"),
    em.NOT_FINITE: ("X", "not finite"),
}


def restarts(result: Any, ax: Any = None) -> Any:
    """Draw how far every run of EM was below the best, step by step.

    Runs that end on one level found the same optimum; the one that was kept is drawn in colour.

    Raises:
        TypeError: not a point estimate.
        ValueError: a fit that took no search.
    """
    if not isinstance(result, PointFit):
        raise paper.wrong_kind(
            "restarts", "point estimates by EM", result, "for chains use plot('traces')"
        )
    if result.restarts is None:
        raise ValueError(
            "'restarts' is a picture of a search from several starts, and this fit made none or "
            "did not keep it: fit with fit(..., n_restarts=10), without all components fixed."
        )
    runs = result.restarts
    history, status, steps = (np.asarray(a) for a in (runs.history, runs.status, runs.steps))
    ends = np.asarray(runs.objective, np.float64)
    sound = np.isin(status, (em.CONVERGED, em.RUNNING))
    best = ends[sound].max() if sound.any() else np.nanmax(ends)
    kept = int(np.argmax(np.where(sound, ends, -np.inf)))
    with paper.canvas(ax) as ax:
        seen: dict[str, Any] = {}
        for i in [*(j for j in range(len(ends)) if j != kept), kept]:
            path = np.append(history[: steps[i], i].astype(np.float64), ends[i])
            gap = np.maximum(best - path, LEAST)
            x = np.arange(1, len(path) + 1)
            look = (COLOURS[0], 3, 4) if i == kept else (GREY, 1.2, 3)
            colour, width, order = look
            ax.plot(
                x, gap, color=colour, linewidth=width, zorder=order, label=f"run {i}",
                alpha=1 if i == kept else 0.7,
            )  # fmt: skip
            marker, word = MARKS[int(status[i])]
            last = np.flatnonzero(np.isfinite(gap))
            if last.size:
                colour = COLOURS[1] if marker == "X" else colour
                (seen[word],) = ax.plot(
                    x[last[-1]], gap[last[-1]], marker, color=colour, markersize=9,
                    markeredgecolor="white", zorder=order + 0.5, label="end", linestyle="",
                )  # fmt: skip
        _finish(ax, result, seen, best - ends[sound])
    return ax


def _finish(ax: Any, result: PointFit, seen: dict[str, Any], gaps: np.ndarray) -> None:
    """Scales, names, and how many runs found the best."""
    from matplotlib.lines import Line2D

    assert result.restarts is not None
    n_runs = len(result.restarts.status)
    ax.set_yscale("log")
    low, high = ax.get_ylim()
    ax.set_ylim(min(low, 0.5 * LEAST), max(high, 2e-3))
    ax.axhline(SAME, color=GREY, linewidth=1, linestyle="dashed")
    if result.restarts.steps.max() > 30:
        ax.set_xscale("log")
        ax.xaxis.set_minor_formatter(lambda value, _: "")
        ax.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    else:
        ax.xaxis.get_major_locator().set_params(integer=True)
    ax.set_xlabel(ax.get_xlabel() or "step")
    ax.set_ylabel("nats per point below the best")
    together = int((gaps < SAME).sum())
    notes = [f"{together} of {paper.count(n_runs, 'start')} ended within {SAME} nats per point."]
    if n_runs - len(gaps):
        notes.append(
            f"{n_runs - len(gaps)} ended on a degenerate fit, whose objective is not compared."
        )
    paper.heading(ax, paper.subject(result), [*paper.caveats(result), *notes])
    kept = Line2D([], [], color=COLOURS[0], linewidth=3)
    same = Line2D([], [], color=INK, linewidth=1, linestyle="dashed")
    ax.legend(
        [kept, same, *seen.values()], ["kept", "the same optimum below", *seen],
        loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize="small", frameon=False,
    )  # fmt: skip
