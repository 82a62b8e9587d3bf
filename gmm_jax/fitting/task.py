"""What every sampler of a posterior is given, and what it gives back."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from gmm_jax._data import Frame, bucket, float_dtype, padded
from gmm_jax.families.limits import Limits
from gmm_jax.fitting import setting
from gmm_jax.fitting.point import SCALE_FLOOR
from gmm_jax.mixture import Mixture
from gmm_jax.mixture_posterior import MOST_COMPONENTS
from gmm_jax.table import Table

MOST_ROWS = 10**7
"""Gibbs sweeps take as many copies of a row as it counts; of all together, so many at most."""
MOST_WEIGHED = 2**16
"""Number of points times components beyond which weighing thousands of mixtures takes minutes."""


class Sampled(NamedTuple):
    """What a sampler found."""

    draws: Mixture
    """In the frame, on the first axis; of chains one after the other."""
    story: str
    """How, in the middle of a sentence."""
    details: dict[str, Any]
    """Fields of `PosteriorFit`."""
    problem: str | None
    """Why the draws mean little, and what to do."""
    interrupted: bool = False
    """Whether the user stopped it."""


@dataclass(frozen=True, eq=False)
class Task:
    """A posterior to be sampled, in the frame of the data."""

    points: np.ndarray
    """In the data's unit."""
    weight: np.ndarray
    family: Any
    frame: Frame
    prior: Any
    known: Mixture
    """The form of the mixture, and the values of what is held."""
    held: Mixture | None
    """Booleans in the same form; None where nothing is held."""
    exchangeable: bool
    """Whether neither the prior nor what is held tells components apart."""

    @classmethod
    def of(
        cls,
        points: np.ndarray,
        weight: np.ndarray,
        family: Any,
        prior: Any,
        k: int,
        known: dict[str, np.ndarray],
    ) -> "Task":
        """Bring everything into a frame."""
        event, dtype = points.shape[1:], float_dtype(points)
        frame = setting.choose_frame(points, weight, family, prior.spread(k, event))
        values, held = setting.known_inside(known, family, frame, k, event, dtype)
        return cls(
            points=points,
            weight=weight,
            family=family,
            frame=frame,
            prior=setting.prior_inside(prior, frame, k, event, dtype),
            known=values,
            held=held if known else None,
            exchangeable=prior.exchangeable and not known,
        )

    @property
    def n_components(self) -> int:
        """k."""
        return self.known.n_components

    @property
    def n_free(self) -> int:
        """How many numbers of a mixture are free."""
        held = self.held or jax.tree.map(lambda a: np.zeros(a.shape, bool), self.known)
        return setting.count_free(Limits(held, self.floor), self.family)

    @property
    def weighable(self) -> bool:
        """Whether densities can be summed over all labellings, in seconds."""
        few = self.n_components <= MOST_COMPONENTS
        return few and self.points.size * self.n_components <= MOST_WEIGHED and self.held is None

    @property
    def floor(self) -> Float[Array, ""]:
        """The smallest scale."""
        return jnp.asarray(SCALE_FLOOR, float_dtype(self.points))

    @property
    def partial(self) -> bool:
        """Whether some points count no whole number of times."""
        return bool(np.any(self.weight % 1))

    def rows(self) -> Table:
        """Points, filled up to a size that others share, and how often each counts."""
        return self._enter(self.points, self.weight)

    def table(self) -> Table:
        """The same with as many copies of a row as it counts, so that each counts 1 or less."""
        copies = np.maximum(np.ceil(self.weight), 1)
        if copies.sum() > max(MOST_ROWS, len(self.points)):
            raise ValueError(
                f"sample_weight makes {copies.sum():.3g} copies of rows, and this method takes at "
                f"most {MOST_ROWS:.0e}: use method='importance'."
            )
        copies = copies.astype(int)
        rows, share = np.repeat(self.points, copies, 0), np.repeat(self.weight / copies, copies)
        return self._enter(rows, share)

    def _enter(self, points: np.ndarray, weight: np.ndarray) -> Table:
        dtype = float_dtype(points)
        centred = ((points - self.frame.centre) / self.frame.unit).astype(dtype)
        centred, weight = padded(centred, weight, bucket(points.shape[0]))
        blocks = jnp.asarray(centred)[None], jnp.asarray(weight.astype(dtype))[None]
        return Table(*blocks, incomplete=bool(np.isnan(points).any()))
