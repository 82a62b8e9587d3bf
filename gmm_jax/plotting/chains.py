"""Whether Markov chains agree: traces, and ranks of their draws."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from gmm_jax import convergence, posterior_means
from gmm_jax.plotting import paper
from gmm_jax.plotting.drawn import as_named, first_means, some
from gmm_jax.plotting.paper import COLOURS, GREY, INK, PALE
from gmm_jax.posterior_fit import PosteriorFit

MOST_NUMBERS = 2**24
"""Draws times points whose densities are summed."""
MOST_STEPS = 1000
"""Of each chain, so many steps are drawn."""
BINS = 20
MOST_OF_ONE = 4
"""So many components have a panel of their own."""


class Quantity(NamedTuple):
    """What is followed along the chains."""

    name: str
    values: Float[np.ndarray, "c s"]


def traces(result: Any, ax: Any = None) -> np.ndarray:
    """Draw what the chains went through, a colour for each chain.

    The log likelihood and the extreme weights don't depend on labels; the components' means are
    shown where the draws tell components apart, or do after relabelling.

    Args:
        result: Draws of several chains.
        ax: One row of axes for each quantity, as many as `ax=None` makes.

    Raises:
        TypeError: a point estimate.
        ValueError: draws that were not made by chains.
    """
    result = as_named(result)
    found = quantities("traces", result)
    step = max(1, found[0].values.shape[1] // MOST_STEPS)
    with paper.canvas(ax, (len(found), 1), sharex=True) as axes:
        for cell, quantity in zip(axes[:, 0], found, strict=True):
            n_chains, n_steps = quantity.values.shape
            for i, chain in enumerate(quantity.values):
                cell.plot(
                    np.arange(0, n_steps, step), chain[::step], color=paper.colour(i),
                    linewidth=0.8, alpha=0.8 if n_chains <= 4 else 0.5, label=f"chain {i}",
                )  # fmt: skip
            cell.set_ylabel(quantity.name, rotation=0, ha="right", va="center")
            cell.set_xlim(0, n_steps)
            cell.locator_params(axis="y", nbins=4)
        axes[-1, 0].set_xlabel("draw")
        notes = [f"Every {step}. draw is shown."] if step > 1 else []
        _head(axes, result, found, notes)
    return axes[:, 0]


def ranks(result: Any, ax: Any = None) -> np.ndarray:
    """Draw how the ranks of each chain's draws among all draws are spread: flat where chains agree.

    The band holds 99 % of the bars of chains that agree, and whose draws depend on each other as
    much as these.

    Args:
        result: Draws of several chains.
        ax: One row of axes, one for each quantity, as many as `ax=None` makes.

    Raises:
        TypeError: a point estimate.
        ValueError: draws that were not made by chains.

    References:
        Vehtari, Gelman, Simpson, Carpenter and Buerkner (2021), "Rank-normalization, folding, and
        localization: an improved R-hat for assessing convergence of MCMC", section 4.3.
    """
    result = as_named(result)
    found = quantities("ranks", result)
    rows, wide = (1, len(found)) if len(found) <= 3 else (2, -(-len(found) // 2))
    if ax is not None:
        rows, wide = 1, len(found)
    with paper.canvas(ax, (rows, wide), sharey=True) as axes:
        cells = axes.ravel()
        for cell, quantity in zip(cells, found, strict=False):
            _draw_ranks(cell, quantity)
        for cell in cells[: len(found)]:
            cell.set_ylim(bottom=0)
        for cell in cells[len(found) :]:
            cell.remove()
        for row in axes[:, :1].ravel():
            row.set_ylabel("draws over those expected")
        _head(axes, result, found, ["Band: where 99 % of the bars of chains that agree lie."])
    return cells[: len(found)]


def _draw_ranks(ax: Any, quantity: Quantity) -> None:
    """A stepped line for each chain, relative to what is expected."""
    values = quantity.values
    n_chains, n_steps = values.shape
    everyone = np.random.default_rng(0).permutation(values.size)  # ties are broken at random
    order = np.lexsort((everyone, values.ravel()))
    place = np.empty(values.size, int)
    place[order] = np.arange(values.size)
    edges = np.linspace(0, values.size, BINS + 1)
    expected = n_steps / BINS
    worth = _worth(values)
    spread = 2.576 * np.sqrt(max(BINS - 1, 1) / max(worth, 1) * (1 - 1 / n_chains))
    ax.axhspan(max(0, 1 - spread), 1 + spread, color=PALE, linewidth=0, label="99 %")
    ax.axhline(1, color=GREY, linewidth=1)
    for i, own in enumerate(place.reshape(n_chains, n_steps)):
        heights = np.histogram(own, edges)[0] / expected
        ax.stairs(
            heights, edges, baseline=None, color=paper.colour(i), linewidth=1.5,
            label=f"chain {i}", alpha=1 if n_chains <= 6 else 0.6,
        )  # fmt: skip
    ax.set_xlim(0, values.size)
    ax.set_xticks([0, values.size], ["lowest", "highest"])
    for text, side in zip(ax.get_xticklabels(), ("left", "right"), strict=True):
        text.set_ha(side)
    ax.set_title(quantity.name.replace("\n", " "), loc="left", fontsize="medium", color=INK)


def _worth(values: Float[np.ndarray, "c s"]) -> float:
    """How many independent draws one chain by itself is worth.

    All together are worth fewer where they disagree, which is what the picture is to show.
    """
    alone = [convergence.table({"": chain[None]}) for chain in values]
    worths = [found[""].ess_bulk for found in alone if found]
    return float(np.clip(np.median(worths), 1, values.shape[1])) if worths else 1.0


def quantities(picture: str, result: Any) -> list[Quantity]:
    """What is followed: label-free numbers, and the components' means where labels mean something.

    Raises:
        TypeError: a point estimate.
        ValueError: draws that were not made by chains.
    """
    if not isinstance(result, PosteriorFit):
        raise paper.wrong_kind(
            picture, "Markov chains", result,
            "fit with a prior and method='gibbs' or 'nuts'; for EM use plot('restarts')",
        )  # fmt: skip
    if not result.convergence:
        raise ValueError(
            f"{picture!r} is a picture of Markov chains, and these draws were made by "
            f"{result.method!r}: use plot('importance_weights') or plot('prior_posterior'), or fit "
            f"with method='gibbs'."
        )

    def by_chain(values: Any) -> np.ndarray:
        return np.asarray(values, np.float64).reshape(result.n_chains, -1)

    weights = np.asarray(result.inside.weights, np.float64)
    found = [Quantity("log\nlikelihood", by_chain(_log_likelihood(result)))]
    k = weights.shape[1]
    if k > 1:
        found.append(Quantity("largest\nweight", by_chain(weights.max(1))))
    if k > 2:
        found.append(Quantity("smallest\nweight", by_chain(weights.min(1))))
    means = first_means(result)
    if means is not None and paper.separate(result):
        for j in range(min(k, MOST_OF_ONE)):
            found.append(Quantity(f"mean\nof {j}", by_chain(means[:, j])))
    return [each for each in found if np.ptp(each.values) > 0]


def _most_points(result: PosteriorFit) -> int:
    """Of so many points the likelihood is followed."""
    return max(100, MOST_NUMBERS // result.n_draws)


def _log_likelihood(result: PosteriorFit) -> np.ndarray:
    """Of each draw, for so many points that it doesn't take long."""
    weight = np.asarray(result.sample_weight)
    used = np.flatnonzero(weight > 0)
    used = used[some(len(used), _most_points(result))]
    data = np.asarray(result.data)[used]
    points, _ = result._enter(data)
    draws = jax.tree.map(jnp.asarray, result._seeing(points))
    logs = np.asarray(posterior_means.log_density(draws, points), np.float64)
    return (logs - result.frame.log_volume(data)) @ weight[used]


def _head(axes: np.ndarray, result: PosteriorFit, found: list[Quantity], notes: list[str]) -> None:
    """What the numbers say, and a legend of the chains."""
    from matplotlib.lines import Line2D

    assert result.convergence is not None
    worst = convergence.worst(result.convergence)
    n, most = int((np.asarray(result.sample_weight) > 0).sum()), _most_points(result)
    if most < n:
        notes = [*notes, f"The log likelihood is that of {most:,} of {n:,} points."]
    text = (
        f"{paper.count(result.n_chains, 'chain')} of {found[0].values.shape[1]:,} draws: R-hat "
        f"{worst.r_hat:.3f}, worth {worst.ess_bulk:,.0f} draws"
    )
    if not worst.r_hat <= convergence.AGREE:
        notes = [*notes, f"The chains do not agree: R-hat should be below {convergence.AGREE}."]
    notes = [*paper.caveats(result), *notes]
    if result.doubt:
        notes.append("The draws don't tell the components apart: only what needs no labels.")
    paper.heading(axes, text, notes)
    if result.n_chains <= len(COLOURS):
        axes.ravel()[0].figure.legend(
            handles=[
                Line2D([], [], color=paper.colour(i), linewidth=3, label=f"chain {i}")
                for i in range(result.n_chains)
            ],
            loc="outside right upper", frameon=False,
        )  # fmt: skip
