"""Pictures of fits, at the size of a slide: `result.plot()`, or by name, `result.plot("pairs")`.

Without a name the picture is the first here that suits the fit. Every name is also a function of
this module, `plotting.pairs(result, ax=None)`, which returns the axes that it drew into.

| name | of | shows |
|---|---|---|
| density | one feature; ones and zeros | histogram, density with its band, components, boundaries |
| ellipses | several features | scatter of two, ellipses, how sure assignments are |
| pairs | several features | the same for every pair, and each by itself |
| features | tables of any columns | each column by itself: numbers, counts, categories |
| responsibilities | any fit | probability of each component, point by point, sorted |
| regions | one or two features | where each component is most probable, and all boundaries |
| restarts | EM | the objective of every run, step by step |
| selection | `select` | the criterion against the number of components, rejected fits marked |
| evidence | `select` with a prior | evidence with errors, probability of each number |
| similarity | draws | probability that two points belong together, by cluster |
| traces | chains | what each chain went through |
| ranks | chains | ranks of each chain's draws, flat where chains agree |
| importance_weights | importance sampling | the largest weights, and Pareto k |
| prior_posterior | draws | the prior of each parameter beside its posterior |
| check | draws | statistics of the data among those of replicates |

Curves of one feature have the axis broken where the data leave a wide gap. What a picture leaves
out it says below its heading; where it cannot be honest, an error names another. Draws whose labels
mean nothing are relabelled first; where that is no cure, only what needs no labels is shown.
`plot_prior` shows what a prior expects to see, beside the data.
"""

from collections.abc import Callable
from typing import Any

from gmm_jax.evidence import Evidence
from gmm_jax.families import Bernoulli, Heterogeneous
from gmm_jax.plotting.borders import regions
from gmm_jax.plotting.chains import ranks, traces
from gmm_jax.plotting.choice import evidence, selection
from gmm_jax.plotting.drawn import NUMBER, columns
from gmm_jax.plotting.learned import prior_posterior
from gmm_jax.plotting.line import density
from gmm_jax.plotting.membership import responsibilities
from gmm_jax.plotting.particles import importance_weights
from gmm_jax.plotting.plane import ELLIPTIC, ellipses
from gmm_jax.plotting.prior import plot_prior as plot_prior
from gmm_jax.plotting.replicates import check
from gmm_jax.plotting.runs import restarts
from gmm_jax.plotting.scatter_grid import pairs
from gmm_jax.plotting.small_multiples import features
from gmm_jax.plotting.together import similarity
from gmm_jax.selection import Selection

PICTURES: dict[str, Callable[..., Any]] = {
    picture.__name__: picture
    for picture in (
        density, ellipses, pairs, features, responsibilities, regions, restarts, selection,
        evidence, similarity, traces, ranks, importance_weights, prior_posterior, check,
    )
}  # fmt: skip


def plot(result: Any, kind: Any = None, ax: Any = None) -> Any:
    """Draw a fit, or what `select` found.

    Args:
        result: What `fit` or `select` returned.
        kind: Which picture, by a name of the table above; the one that suits if left out.
        ax: Matplotlib axes to draw into, an array of them for pictures of several; a new figure of
            the size of a slide if left out. They may also stand in the place of `kind`.

    Returns:
        The axes, or an array of them. The figure is `ax.figure`; name the quantity with
        `ax.set_xlabel("weight (g)")`.

    Raises:
        ImportError: matplotlib is not installed.
        TypeError: a picture of something else.
        ValueError: an unknown name, or a picture that does not suit this fit; the message says
            which does.

    Example:
        >>> import gmm_jax
        >>> result = gmm_jax.fit([498, 352, 501, 349, 497, 503, 351, 500], 2)
        >>> ax = result.plot()
        >>> ax.figure.savefig("bentos.png")  # doctest: +SKIP
        >>> ax = result.plot("responsibilities")
    """
    if ax is None and kind is not None and not isinstance(kind, str):
        kind, ax = None, kind
    kind = _suited(result) if kind is None else kind
    if kind not in PICTURES:
        raise ValueError(f"kind must be one of {', '.join(map(repr, PICTURES))}, got {kind!r}.")
    compared = isinstance(result, Selection | Evidence)
    if compared and kind not in ("selection", "evidence"):
        raise TypeError(
            f"{kind!r} is a picture of a fit, got {type(result).__name__}: use best.plot({kind!r})."
        )
    return PICTURES[kind](result, ax)


def _suited(result: Any) -> str:
    """The picture that shows most at a glance."""
    if isinstance(result, Evidence):
        return "evidence"
    if isinstance(result, Selection):
        return "selection"
    components = result.inside.components
    if result.data[0].size == 1 or isinstance(components, Bernoulli):
        return "density"
    elliptic = isinstance(components, ELLIPTIC) or (
        isinstance(components, Heterogeneous) and set(columns(result)) == {NUMBER}
    )
    return "ellipses" if elliptic else "features"
