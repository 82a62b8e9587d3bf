"""How many components: criteria, evidence, and the posterior over the number."""

from typing import Any

import numpy as np

from gmm_jax.evidence import Evidence
from gmm_jax.plotting import paper
from gmm_jax.plotting.paper import COLOURS, GREY, INK, PALE
from gmm_jax.selection import Selection

NAMES = {"bic": "BIC", "icl": "ICL", "aic": "AIC"}
MARKERS = "os^Dv<>P"
MATTERS = 10
"""Differences of a criterion up to about this size make one hesitate."""
WRITTEN = 8
"""Up to so many differences are written beside their points."""


def selection(chosen: Any, ax: Any = None) -> Any:
    """Draw the criterion against the number of components, a line for each family.

    Criteria are drawn as differences from the best: lower is better, and for "held_out" higher.
    Rejected fits, which have no criterion, are crosses at the top.

    Raises:
        TypeError: not what `select` returned.
    """
    if isinstance(chosen, Evidence):
        raise paper.wrong_kind(
            "selection", "criteria", chosen, "use plot('evidence'), or plot() without a name"
        )
    if not isinstance(chosen, Selection):
        raise paper.wrong_kind("selection", "what select returns", chosen, "call select first")
    held_out = chosen.criterion == "held_out"
    families = list(dict.fromkeys(row["family"] for row in chosen.table))
    values = np.array([row[chosen.criterion] for row in chosen.table], float)
    best = np.nanmax(values) if held_out else np.nanmin(values)
    sound = np.isfinite(values)
    with paper.canvas(ax) as ax:
        numbers = np.array([row["n_components"] for row in chosen.table])
        for i, family in enumerate(families):
            own = np.array([row["family"] == family for row in chosen.table])
            order = np.argsort(numbers[own & sound], kind="stable")
            x, y = numbers[own & sound][order], (values[own & sound] - best)[order]
            ax.plot(
                x, y, marker=MARKERS[i % len(MARKERS)], color=paper.colour(i), linewidth=2,
                markersize=9, label=family,
            )  # fmt: skip
            spread = 0.16 * (i - (len(families) - 1) / 2)
            bad = numbers[own & ~sound] + spread
            if bad.size:
                ax.plot(
                    bad, np.full(bad.size, 0.96), "X", color=paper.colour(i), markersize=11,
                    transform=ax.get_xaxis_transform(), markeredgecolor="white",
                    label=f"{family}, rejected" if len(families) > 1 else "rejected",
                )  # fmt: skip
            if len(families) == 1 and len(x) <= WRITTEN:
                for place, value in zip(x, y, strict=True):
                    ax.annotate(
                        f"{value:+.3g}" if value else "best", (place, value),
                        xytext=(0, 10 if value else -26), textcoords="offset points", ha="center",
                        fontsize="small", color=INK,
                    )  # fmt: skip
        _mark_best(ax, chosen, values - best)
        wide = not held_out and bool(np.nanmax(values) - best > 10 * MATTERS)
        if wide:
            ax.set_yscale("symlog", linthresh=MATTERS, linscale=1.5)
            ax.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        _finish(ax, chosen, numbers, families, wide)
    return ax


def _mark_best(ax: Any, chosen: Selection, differences: np.ndarray) -> None:
    """A ring around the fit that was chosen."""
    row = chosen.table.index(chosen_row(chosen))
    ax.plot(
        chosen.table[row]["n_components"], differences[row], "o", markersize=20, fillstyle="none",
        markeredgewidth=2, color=INK, label="chosen",
    )  # fmt: skip


def chosen_row(chosen: Selection) -> dict[str, Any]:
    """The row of the table with the fit that was chosen."""
    best = (chosen.best.log_likelihood, chosen.best.n_parameters)
    return next(row for row in chosen.table if (row["log_likelihood"], row["n_parameters"]) == best)


def _finish(
    ax: Any, chosen: Selection, numbers: np.ndarray, families: list[str], wide: bool
) -> None:
    """Scales, heading and names."""
    held_out = chosen.criterion == "held_out"
    ax.set_xticks(np.unique(numbers))
    ax.margins(x=0.06, y=0.14)
    ax.set_xlabel(ax.get_xlabel() or "number of components")
    name = NAMES.get(chosen.criterion, "")
    ax.set_ylabel("held-out nats per point" if held_out else f"{name} above the best")
    row = chosen_row(chosen)
    rejected = [row for row in chosen.table if not np.isfinite(row[chosen.criterion])]
    notes = ["Higher is better." if held_out else "Lower is better."]
    if wide:
        notes[0] = f"Lower is better; above {MATTERS} the scale is logarithmic."
    if held_out:
        notes[0] += " Chosen: the fewest parameters within one standard error of the highest."
    if rejected:
        first = rejected[0]
        notes.append(
            f"Crosses were rejected; {first['n_components']} {first['family']}: "
            f"{first['status'].removeprefix('rejected: ')}."
        )
    components = paper.count(row["n_components"], "component")
    label = name or "cross-validation"
    paper.heading(ax, f"{components} of {row['family']}, chosen by {label}", notes)
    handles, labels = ax.get_legend_handles_labels()
    shown = [
        i for i, text in enumerate(labels)
        if text == "chosen" or "rejected" in text or len(families) > 1
    ]  # fmt: skip
    ax.legend(
        [handles[i] for i in shown], [labels[i] for i in shown], loc="center left",
        bbox_to_anchor=(1.01, 0.5), fontsize="small", frameon=False, labelspacing=0.9,
    )  # fmt: skip


def evidence(compared: Any, ax: Any = None) -> np.ndarray:
    """Draw the evidence for each number of components, and how probable each number is.

    Left: log evidence, with two standard errors up and down; an arrow where it is a lower bound.
    Right: the posterior probability of each number, beside that before seeing the data.

    Args:
        compared: What `select(..., criterion="evidence")` returned.
        ax: Two axes.

    Raises:
        TypeError: not what `select` returned for that criterion.
    """
    if not isinstance(compared, Evidence):
        raise paper.wrong_kind(
            "evidence", "what select(..., criterion='evidence') returns", compared,
            "call it with a prior",
        )  # fmt: skip
    numbers = np.array(list(compared.fits))
    fits = list(compared.fits.values())
    logs = np.array([found.log_evidence for found in fits])
    errors = np.nan_to_num([found.log_evidence_error for found in fits])
    bounds = np.array([found.lower_bound for found in fits])
    with paper.canvas(ax, (1, 2)) as axes:
        left, right = axes[0]
        left.errorbar(
            numbers, logs, 2 * errors, fmt="o-", color=COLOURS[0], capsize=5, linewidth=2,
            markersize=9, label="log evidence",
        )  # fmt: skip
        if bounds.any():
            left.plot(
                numbers[bounds], logs[bounds], linestyle="", marker="$\\uparrow$", markersize=18,
                color=INK, label="lower bound",
            )  # fmt: skip
        left.margins(x=0.08, y=0.12)
        left.set_ylabel("log evidence (nats)")
        left.ticklabel_format(useOffset=False, axis="y")
        before = [compared.prior_probabilities[k] for k in numbers]
        after = [compared.probabilities[k] for k in numbers]
        right.bar(numbers - 0.2, before, 0.38, color=PALE, label="before the data")
        bars = right.bar(numbers + 0.2, after, 0.38, color=COLOURS[0], label="after")
        for bar, share in zip(bars, after, strict=True):
            if len(numbers) <= WRITTEN:
                right.annotate(
                    f"{share:.2g}" if share >= 0.001 else "<.001",
                    (bar.get_x() + bar.get_width() / 2, share), (0, 3),
                    textcoords="offset points", ha="center", fontsize="small", color=INK,
                )  # fmt: skip
        right.set_ylabel("probability")
        right.legend(loc="best", fontsize="small", frameon=False)
        for cell in axes[0]:
            cell.set_xticks(numbers)
            cell.set_xlabel("number of components")
        best = max(compared.probabilities.items(), key=lambda pair: pair[1])
        notes = [f"Bars: two standard errors, {2 * errors.max():.2g} nats at most."]
        if bounds.any():
            notes.append("Arrows: lower bounds only.")
        paper.heading(
            axes, f"{paper.count(best[0], 'component')} with probability {best[1]:.2g}", notes
        )
        left.grid(axis="y", color=GREY, alpha=0.2)
    return axes[0]
