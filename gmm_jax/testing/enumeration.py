"""The exact posterior of a few points, by going through all assignments."""

from typing import Any, NamedTuple

import jax
import numpy as np
from jax.scipy.special import gammaln, logsumexp
from jaxtyping import Float, Int

from gmm_jax._data import as_points
from gmm_jax.fitting.arguments import whole
from gmm_jax.testing.marginals import log_marginals

MOST_ASSIGNMENTS = 2**20


class ExactPosterior(NamedTuple):
    """What the data say of the assignments, parameters integrated out, without sampling error."""

    log_evidence: float
    """Log probability density of the data, in nats."""
    assignments: Int[np.ndarray, "k^n n"]
    """Every way of giving the points to components, in the order of counting."""
    probabilities: Float[np.ndarray, "k^n"]
    """Posterior probability of each. Labels are as they are: relabelled, they are other rows."""
    responsibilities: Float[np.ndarray, "n k"]
    """Posterior probability of each component for each point."""
    co_clustering: Float[np.ndarray, "n n"]
    """Posterior probability that two points come from the same component."""
    occupied: Float[np.ndarray, "k+1"]
    """Posterior probability that 0, 1, ... k components hold any point."""


def exact(data: Any, prior: Any, n_components: int) -> ExactPosterior:
    """Compute the posterior of a few points exactly, to test samplers against.

    The evidence is the sum over all k^n assignments z of

        p(z) prod_j integral p(x_j | parameters) p(parameters) d parameters,

    with p(z) the Dirichlet-multinomial and x_j the points of component j. The integrals are closed
    forms for conjugate priors, and quadrature for `NormalGamma` (so for `DirichletNormalGamma`,
    too); see `gmm_jax.testing.marginals`. All arithmetic is in float64.

    Args:
        data: n points, (n,) or (n, d), such that k^n is at most a million: 20 points of two
            components, 12 of three, 10 of four.
        prior: A `MixturePrior`, of our components or of your own `ConditionalPrior` whose
            conditionals are densities in closed form.
        n_components: How many, k.

    Raises:
        TypeError: `prior` is not a prior of mixtures.
        ValueError: there are too many assignments, the evidence is infinite, or conditionals of the
            prior contradict it.

    Example:
        >>> from gmm_jax import GammaPoisson, MixturePrior
        >>> from gmm_jax.testing import exact
        >>> prior = MixturePrior(concentration=1, components=GammaPoisson(shape=2, rate=0.5))
        >>> posterior = exact([0, 1, 9], prior, n_components=2)
        >>> posterior.co_clustering.round(2)
        array([[1.  , 0.93, 0.04],
               [0.93, 1.  , 0.07],
               [0.04, 0.07, 1.  ]])
    """
    points = as_points(data).astype(np.float64)
    n, k = len(points), whole("n_components", n_components)
    if not hasattr(prior, "concentration") or not hasattr(prior, "components"):
        raise TypeError(
            f"prior must be a MixturePrior such as DirichletNormalGamma(...), got "
            f"{type(prior).__name__}."
        )
    if n > 20 or k**n > MOST_ASSIGNMENTS:
        most = min(20, int(np.log(MOST_ASSIGNMENTS) / np.log(k) + 1e-9) if k > 1 else 20)
        raise ValueError(
            f"{n} points have {k}^{n} assignments to {k} components, too many to go through: pass "
            f"at most {most} of the points, or fewer components."
        )
    prior.family.check(points)
    full = jax.tree.map(lambda a: np.asarray(a, np.float64), prior.spread(k, points.shape[1:]))

    assignments = np.stack(np.unravel_index(np.arange(k**n), (k,) * n), axis=1)
    held = assignments[:, :, None] == np.arange(k)
    codes = np.tensordot(held, 2 ** np.arange(n), axes=(1, 0))
    distinct, where = np.unique(codes, return_inverse=True)
    groups = (distinct[:, None] >> np.arange(n)) % 2 == 1
    of_groups = log_marginals(full.components, points, groups, k)
    of_points = of_groups[where.reshape(codes.shape), np.arange(k)].sum(1)
    counts = held.sum(1)
    log_joint = of_points + _log_dirichlet_multinomial(counts, full.concentration)
    with jax.enable_x64(True):
        log_evidence = float(logsumexp(log_joint))
    probabilities = np.exp(log_joint - log_evidence)
    by_component = [own.astype(np.float64) for own in np.moveaxis(held, 2, 0)]
    return ExactPosterior(
        log_evidence=log_evidence,
        assignments=assignments,
        probabilities=probabilities,
        responsibilities=np.stack([probabilities @ own for own in by_component], axis=1),
        co_clustering=np.sum([(own.T * probabilities) @ own for own in by_component], axis=0),
        occupied=np.bincount((counts > 0).sum(1), probabilities, minlength=k + 1),
    )


def _log_dirichlet_multinomial(
    counts: Int[np.ndarray, "a k"], concentration: Float[np.ndarray, "k"]
) -> Float[np.ndarray, "a"]:
    """Log probability of each assignment with these counts, weights integrated out."""
    with jax.enable_x64(True):
        table = gammaln(np.arange(counts[0].sum() + 1)[:, None] + concentration)
        ends = gammaln(concentration.sum() + np.array([0.0, counts[0].sum()]))
    table = np.asarray(table)
    each = table[counts, np.arange(len(concentration))] - table[0]
    return each.sum(1) + float(ends[0] - ends[1])
