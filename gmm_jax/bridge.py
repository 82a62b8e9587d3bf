"""The evidence from draws of the posterior and of a proposal, both weighed: bridge sampling [1].

Importance sampling needs a proposal with heavier tails than the posterior; here each of the two
makes up for what the other lacks, and it is enough that they overlap.

[1] Meng and Wong (1996), "Simulating ratios of normalizing constants via a simple identity".
"""

import math
from typing import Any

import numpy as np
from jaxtyping import Float

from gmm_jax import convergence

FEWEST = 100
"""Where fewer draws, or fewer proposals, lie where both overlap, nothing is told."""


def log_evidence(
    of_draws: Float[np.ndarray, "c s"], of_proposals: Float[np.ndarray, "c s"]
) -> tuple[float, float]:
    """Estimate the log evidence, and its standard error.

    It is z + log r where mean_j f(w_j - z) = r mean_i f(z - w_i), with f the logistic function, j
    over proposals, i over draws, and r how many independent draws there are to a proposal: of all
    bridges the one with the least error.

    Args:
        of_draws: Log target less log proposal, of draws of c chains.
        of_proposals: The same of independent draws of the proposal. They may turn up among the
            draws, later: the error allows for that, as for the memory of the chains [2].

    Returns:
        Both NaN where the two hardly overlap, or chains are too short to tell their memory.

    [2] Fruehwirth-Schnatter (2004), "Estimating marginal likelihoods for mixture and Markov
        switching models using bridge sampling techniques".
    """
    from scipy.optimize import brentq  # quicker to import when first used
    from scipy.special import log_expit, logsumexp

    draws, proposals = (np.asarray(a, np.float64) for a in (of_draws, of_proposals))
    known = np.concatenate([draws, proposals], 1)
    if np.isnan(known).any() or not (np.isfinite(draws).any() and np.isfinite(proposals).any()):
        return math.nan, math.nan
    known = known[np.isfinite(known)]

    def sides(z: float) -> tuple[np.ndarray, np.ndarray]:
        return log_expit(proposals - z), log_expit(z - draws)

    def gap(z: float, log_ratio: float) -> Any:
        up, down = sides(z)
        return np.subtract(logsumexp(up), logsumexp(down)) - log_ratio

    def meet(log_ratio: float) -> tuple[float, np.ndarray, np.ndarray]:
        reach = 50 + abs(log_ratio)
        z: Any = brentq(gap, known.min() - reach, known.max() + reach, args=(log_ratio,))
        up, down = (np.exp(side - logsumexp(side)) for side in sides(z))
        return z, up, down

    _, _, down = meet(0.0)
    worth = convergence.worth(down)
    if not worth > 0:
        return math.nan, math.nan
    log_ratio = math.log(worth / proposals.size)
    z, up, down = meet(log_ratio)
    if min(1 / (up**2).sum(), 1 / (down**2).sum()) < FEWEST:
        return math.nan, math.nan
    off = (up - down) * draws.size
    return z + log_ratio, float(off.std() / math.sqrt(convergence.worth(off)))
