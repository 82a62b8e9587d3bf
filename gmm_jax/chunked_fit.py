"""What a fit to chunks returns: a point estimate, a sample of the data, and their statistics."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from gmm_jax import chunked
from gmm_jax._chunks import as_chunks
from gmm_jax.mixture import Mixture
from gmm_jax.results import PointFit


@dataclass(frozen=True, eq=False, kw_only=True)
class ChunkedFit(PointFit):
    """A point estimate from data that are not kept.

    `data` is a random sample of them, and `sample_weight` says how many rows each row of it stands
    for: so criteria and standard errors are those of all data, as far as the sample tells.
    """

    size: float
    """Sum of all sample weights."""
    statistics: Any
    """Of all data, summed, about the components of `about`."""
    about: Mixture
    """The mixture, in the frame, that the statistics were taken at."""
    family: Any
    """The kind of the components."""

    def update(self, new_points: Any, sample_weight: Any = None) -> "ChunkedFit":
        """Learn from new points in one incremental EM step, without the old data.

        The new points are weighed by the present estimate; their statistics are added to those of
        all points before, which keep the weights they had; the mode of the sum is the new
        estimate [1]. So the order of updates matters a little, and the answer is near that of a
        fit to everything, not equal to it: where the new points change the picture, fit again.

        Args:
            new_points: n points, NaN where missing.
            sample_weight: How often each counts.

        Returns:
            The new result. Its log_likelihood is the old one plus that of the new points under
            the old estimate, which predicted them.

        [1] Neal and Hinton (1998), "A view of the EM algorithm that justifies incremental, sparse,
            and other variants", section 4; for a stream, Cappé and Moulines (2009), "On-line
            expectation-maximization algorithm for latent data models".
        """
        read = as_chunks([(new_points, sample_weight)])
        points, weight = next(read())
        if points.shape[1:] != self.frame.centre.shape:
            raise ValueError(
                f"new_points have shape {points.shape} but the fit was to points of shape "
                f"{self.frame.centre.shape}."
            )
        self.family.check(points[weight > 0])
        total, new = chunked.expectation(self.inside, read, self.frame, self.about.components)
        statistics = jax.tree.map(np.add, self.statistics, new)
        inside = chunked.mode(self.about, statistics, self.limits)
        log_likelihood = float(total - weight @ self.frame.log_volume(points))
        size = self.size + float(weight.sum())
        return dataclasses.replace(
            self,
            sample_weight=self.sample_weight * (size / self.size),
            inside=jax.device_get(inside),
            statistics=statistics,
            size=size,
            log_likelihood=self.log_likelihood + log_likelihood,
        )
