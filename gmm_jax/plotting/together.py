"""Who belongs together, without labels."""

import itertools
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from gmm_jax.plotting import paper
from gmm_jax.plotting.drawn import as_data, real_points, some, thinned
from gmm_jax.plotting.paper import INK
from gmm_jax.posterior_fit import PosteriorFit

MOST = 500
"""More points are not told apart on a slide."""


def similarity(result: Any, ax: Any = None) -> Any:
    """Draw the probability that two points share a component, for all pairs of points.

    Points are ordered by the partition of least expected loss, whose clusters are framed; clusters,
    and points within them, by the first feature.

    Raises:
        TypeError: a point estimate, which has one partition only.
    """
    if not isinstance(result, PosteriorFit):
        raise paper.wrong_kind(
            "similarity", "posterior draws", result,
            "fit with a prior, or use plot('responsibilities')",
        )  # fmt: skip
    points, _ = real_points(result)
    index = some(len(points), MOST)
    shown = points[index]
    draws = thinned(result)
    together = draws.similarity(as_data(result, shown))
    partition = draws.partition(data=as_data(result, shown))
    order, clusters = _order(partition, shown[:, 0])
    with paper.canvas(ax) as ax:
        image = ax.imshow(
            together[np.ix_(order, order)], cmap="cividis", vmin=0, vmax=1, interpolation="nearest",
            aspect="auto", label="similarity",
        )  # fmt: skip
        ax.figure.colorbar(image, ax=ax, label="probability of the same component")
        edges = np.concatenate([[0], np.cumsum(np.bincount(clusters))]) - 0.5
        for low, high in itertools.pairwise(edges):
            ax.plot(
                [low, high, high, low, low], [low, low, high, high, low], color="white",
                linewidth=2, label="cluster", clip_on=False,
            )  # fmt: skip
        ax.spines[:].set_visible(False)
        ax.set_xlabel(ax.get_xlabel() or "points, by cluster")
        ax.set_ylabel("points, by cluster")
        sizes = np.bincount(clusters)
        ax.set_yticks(
            (edges[1:] + edges[:-1]) / 2, [paper.count(size, "point") for size in sizes], color=INK
        )
        ax.set_xticks([])
        ax.tick_params(left=False)
        notes = [f"{paper.count(len(sizes), 'cluster')} in the partition of least expected loss."]
        if len(index) < len(points):
            notes.append(f"{len(index):,} of {len(points):,} points, picked at random.")
        paper.heading(ax, paper.subject(result), notes)
    return ax


def _order(
    partition: Int[np.ndarray, "n"], first: Float[np.ndarray, "n"]
) -> tuple[Int[np.ndarray, "n"], Int[np.ndarray, "n"]]:
    """Points by cluster and first feature, and the cluster of each, numbered in that order."""
    first = np.where(np.isnan(first), np.nanmean(first), first)
    sizes = np.bincount(partition)
    means = np.bincount(partition, first) / sizes
    rank = np.argsort(np.argsort(means, kind="stable"))[partition]
    order = np.lexsort((first, rank))
    return order, rank[order]
