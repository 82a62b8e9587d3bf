"""Pictures of fits: the data, the density and the components, at the size of a slide.

One feature: a histogram, the density, with draws its 95 % band, weighted components and the
boundaries between them; where the data leave a wide gap the axis is broken there. More features: a
scatter of the first two. Ones and zeros: shares of the data beside those of the model.
`plot_prior` shows what a prior expects to see, beside the data.
"""

import warnings
from typing import Any

from gmm_jax._warnings import FitWarning
from gmm_jax.families import Bernoulli
from gmm_jax.plotting.line import draw_line
from gmm_jax.plotting.paper import STYLE
from gmm_jax.plotting.plane import draw_plane
from gmm_jax.plotting.prior import plot_prior as plot_prior
from gmm_jax.plotting.shares import draw_shares
from gmm_jax.posterior_fit import PosteriorFit
from gmm_jax.results import PointFit


def plot(result: PointFit | PosteriorFit, ax: Any = None) -> Any:
    """Draw a fit.

    Args:
        result: What `fit` returned.
        ax: Matplotlib axes to draw into; a new figure of the size of a slide if left out.

    Returns:
        The axes. The figure is `ax.figure`; name the quantity with `ax.set_xlabel("weight (g)")`.

    Raises:
        ImportError: matplotlib is not installed.

    Example:
        >>> import gmm_jax
        >>> result = gmm_jax.fit([498, 352, 501, 349, 497, 503, 351, 500], 2)
        >>> ax = result.plot()
        >>> ax.figure.savefig("bentos.png")  # doctest: +SKIP
    """
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError("plot needs matplotlib: pip install 'gmm-jax[plot]'.") from error
    with warnings.catch_warnings(), pyplot.rc_context(STYLE if ax is None else {}):
        # Curves pass through places far from the data, where nobody reads numbers off.
        warnings.simplefilter("ignore", FitWarning)
        if ax is None:
            ax = pyplot.figure(layout="constrained").subplots()
        if isinstance(result.inside.components, Bernoulli):
            draw_shares(ax, result)
        elif result.data[0].size == 1:
            draw_line(ax, result)
        else:
            draw_plane(ax, result)
    return ax
