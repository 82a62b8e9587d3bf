"""Draws whose components carry labels that mean the same in all of them, as far as that can be."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int

from gmm_jax.mixture import Mixture
from gmm_jax.summaries import frame_of_draws, refuse, table_of_draws


@dataclass(frozen=True, eq=False)
class Relabelled:
    """What `PosteriorFit.relabel` returns."""

    draws: Mixture
    """Mixtures in the data's unit; component j is the one labelled j."""
    permutation: Int[np.ndarray, "s k"]
    """`permutation[i, j]` is the component of draw i of the fit that got label j."""
    method: str
    """"stephens", "ecr", "pivotal" or "order"."""
    doubt: str
    """Why a table of components would mislead; empty if it would not."""

    @property
    def told_apart(self) -> bool:
        """Whether each label is the same component in nearly all draws."""
        return not self.doubt

    def summary(self) -> str:
        """A table of the components with 95 % intervals.

        Raises:
            ValueError: the draws don't tell components apart, so that intervals would mislead.
        """
        refuse(self.doubt)
        return "\n".join([*table_of_draws(self.draws), f"labels by {self.method!r}"])

    def __str__(self) -> str:
        """The table, or why there is none."""
        if self.told_apart:
            return self.summary()
        return f"labels by {self.method!r} don't tell components apart: {self.doubt}"

    def to_frame(self, mass: float | int = 0.95) -> Any:
        """The same as a pandas data frame; see `PosteriorFit.to_frame`."""
        return frame_of_draws(self.draws, self.doubt, mass)
