"""What the data changed: the prior of each parameter beside its posterior."""

import dataclasses
from typing import Any, NamedTuple

import jax
import numpy as np

from gmm_jax import relabelling
from gmm_jax.families.kinds import named
from gmm_jax.fitting import setting
from gmm_jax.mixture import Mixture
from gmm_jax.plotting import paper
from gmm_jax.plotting.drawn import as_named, exact, thinned
from gmm_jax.plotting.paper import INK, PALE
from gmm_jax.plotting.small_multiples import shape_of
from gmm_jax.posterior_fit import PosteriorFit

DRAWS = 4000
MOST_PANELS = 9
BINS = 50
SHOWN = (0.05, 0.95)
"""Of the prior at least the part between these quantiles is in sight."""


class Panel(NamedTuple):
    """One parameter, of every component."""

    name: str
    before: np.ndarray
    """(s, k), from the prior."""
    after: np.ndarray
    """(s, k), from the posterior."""


def prior_posterior(result: Any, ax: Any = None) -> np.ndarray:
    """Draw the prior of the parameters beside their posterior; each curve of its own height.

    Where the draws tell components apart there is a curve for each, else one for any of them. A
    posterior as wide as its prior says that the data told nothing.

    Args:
        result: Draws.
        ax: A row of axes, one for each parameter, as many as `ax=None` makes.

    Raises:
        TypeError: a point estimate.
    """
    if not isinstance(result, PosteriorFit):
        raise paper.wrong_kind(
            "prior_posterior", "posterior draws", result, "fit with a prior, such as 'default'"
        )
    result = as_named(result)
    panels, n_all = _panels(result)
    rows, wide = (1, len(panels)) if ax is not None or len(panels) <= 3 else shape_of(len(panels))
    together = result.ordered and not paper.separate(result)
    with paper.canvas(ax, (rows, wide)) as axes:
        cells = axes.ravel()
        for cell, panel in zip(cells, panels, strict=False):
            _draw(cell, panel, together)
        for cell in cells[len(panels) :]:
            cell.remove()
        notes = [*paper.caveats(result), "Every curve has its own height."]
        if len(panels) < n_all:
            notes.append(f"{len(panels)} of {n_all} parameters of each component.")
        if together:
            notes.append("The draws don't tell the components apart: curves are of any of them.")
        paper.heading(
            axes, paper.subject(result).replace("posterior", "prior and posterior"), notes
        )
        _name(cells[0], panels[0].after.shape[1], together)
    return cells[: len(panels)]


def _panels(result: PosteriorFit) -> tuple[list[Panel], int]:
    """Parameters as the prior names them, features in turn."""
    event, k = result.data.shape[1:], result.inside.weights.shape[1]
    dtype = result.inside.weights.dtype
    prior = setting.prior_inside(result.prior, result.frame, k, event, dtype)
    inside = prior.sample(jax.random.key(0), k, event, (DRAWS,))
    if result.ordered:
        inside = relabelling.permuted(inside, relabelling.by_order(inside))
    own = _values(exact(dataclasses.replace(result, inside=inside)))
    others = _values(exact(thinned(result, DRAWS)))
    queues = [[(name, index) for index in np.ndindex(a.shape[2:])] for name, a in own.items()]
    turns = [queue[i] for i in range(max(map(len, queues))) for queue in queues if i < len(queue)]
    panels = [
        Panel(
            name + (f"[{', '.join(map(str, index))}]" if index else ""),
            own[name][(..., *index)],
            others[name][(..., *index)],
        )
        for name, index in turns
    ]
    return [p for p in panels if np.ptp(p.after) > 0][:MOST_PANELS], len(panels)


def _values(mixtures: Mixture) -> dict[str, np.ndarray]:
    """Every parameter by name, (s, k, ...); standard deviations in place of triangles."""
    values: dict[str, Any] = {"weights": mixtures.weights}
    for name, leaf in named(mixtures.components).items():
        if name.endswith("scale_trils"):
            name, leaf = name.replace("scale_trils", "scales"), np.sqrt((leaf**2).sum(-1))
        values[name] = np.asarray(leaf, np.float64)
    return values


def _draw(ax: Any, panel: Panel, together: bool) -> None:
    """Histograms, each of its own height."""
    before, after = panel.before, panel.after
    pale = before[np.isfinite(before)]
    low = min(float(np.quantile(pale, SHOWN[0])), float(np.quantile(after, 0.001)))
    high = max(float(np.quantile(pale, SHOWN[1])), float(np.quantile(after, 0.999)))
    margin = 0.03 * (high - low)
    low, high = low if 0 <= low < margin else low - margin, high + margin
    groups = [before.ravel()] if together else list(before.T)
    for i, values in enumerate(groups):
        colour = paper.colour(i) if len(groups) > 1 else PALE
        _curve(ax, values, (low, high), colour, "prior", filled=True)
    groups = [after.ravel()] if together else list(after.T)
    for i, values in enumerate(groups):
        colour = INK if together else paper.colour(i)
        own = max(low, values.min()), min(high, values.max())
        _curve(ax, values, own, colour, "posterior", filled=False)
    ax.set_xlim(low, high)
    ax.set_ylim(0, 1.1)
    ax.set_yticks([])
    ax.locator_params(axis="x", nbins=5)
    ax.set_xlabel(panel.name)
    ax.spines["left"].set_visible(False)


def _curve(
    ax: Any, values: np.ndarray, ends: tuple[float, float], colour: str, label: str, filled: bool
) -> None:
    if not ends[0] < ends[1]:
        ax.axvline(ends[0], color=colour, linewidth=2, label=label)
        return
    heights, edges = np.histogram(values, BINS, ends)
    heights = heights / max(heights.max(), 1)
    ax.stairs(
        heights, edges, fill=filled, color=colour, alpha=0.25 if filled and colour != PALE else 1,
        linewidth=2, label=label,
    )  # fmt: skip


def _name(ax: Any, k: int, together: bool) -> None:
    """A legend above all."""
    from matplotlib.patches import Patch

    handles = [Patch(color=PALE, label="prior")]
    if together:
        handles.append(Patch(fill=False, edgecolor=INK, label="posterior"))
    else:
        handles += [
            Patch(fill=False, edgecolor=paper.colour(i), linewidth=2, label=f"posterior of {i}")
            for i in range(min(k, paper.MOST_NAMED))
        ]
    ax.figure.legend(handles=handles, loc="outside right upper", frameon=False)
