"""How many of several chains found what holds the posterior: where few did, there may be more."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

FEWEST = 3
"""If fewer chains found what holds the posterior, others may be missing."""


class Finders(NamedTuple):
    """So many of the chains found what holds the posterior: where few did, there may be more."""

    effective: float
    of: int

    def problem(self) -> str | None:
        """Say so where too few did."""
        if not self.effective < min(FEWEST, self.of / 2):
            return None
        return (
            f"what holds the posterior was found by few of the chains that looked for it: "
            f"{self.effective:.1f} of {self.of}, in effect. There may be more that none has found, "
            f"and the log evidence too low."
        )


def count(
    log_densities: Float[np.ndarray, "s c"], chains: Int[np.ndarray, "c"], n_chains: int
) -> Finders:
    """Count the chains that found the places of draws of the posterior.

    A draw is shared among conditionals as these propose it. The count is that of equal shares that
    have the same sum of squares.

    Args:
        log_densities: Of s draws under conditionals of chains.
        chains: Where these were taken: each the number of a chain.
        n_chains: How many looked for such places.
    """
    shares = np.exp(log_densities - np.logaddexp.reduce(log_densities, 1)[:, None]).mean(0)
    return Finders(float(1 / (np.bincount(chains, shares) ** 2).sum()), n_chains)
