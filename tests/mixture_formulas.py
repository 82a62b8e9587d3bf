"""The Bayesian mixture of `prior`, written out with scipy: what its log densities must be."""

import jax
import numpy as np
from scipy import special, stats

from gmm_jax import DirichletNormalGamma


def prior():
    """The prior of these formulas, in the precision that is set when it is called."""
    return DirichletNormalGamma(concentration=1.5, mean=2.0, mean_scale=3.0, shape=2.0, rate=1.5)


def random_choices(k, n, event_shape, number):
    """Choices of the Bayesian mixture, in float64."""
    random = np.random.default_rng(number)
    return {
        "weights": random.dirichlet(np.full(k, 3.0)),
        "means": random.normal(2, 3, (k, *event_shape)),
        "scales": random.gamma(2, 1, (k, *event_shape)) + 0.3,
        "obs": {"z": random.integers(k, size=n), "x": random.normal(2, 4, (n, *event_shape))},
    }


def hand_prior(weights, means, scales):
    """Log density of the parameters under `prior`."""
    k = len(weights)
    constant = special.gammaln(1.5 * k) - k * special.gammaln(1.5)
    return (
        constant
        + 0.5 * np.log(weights).sum()
        + stats.norm(2, 3).logpdf(means).sum()
        + stats.gamma(2, scale=1 / 1.5).logpdf(scales).sum()
    )


def hand_log_joint(weights, means, scales, obs):
    """Log density of all choices."""
    z, x = obs["z"], obs["x"]
    points = np.log(weights[z]).sum() + stats.norm(means[z], scales[z]).logpdf(x).sum()
    return hand_prior(weights, means, scales) + points


def hand_marginal(weights, means, scales, obs):
    """The same with the assignments summed out."""
    each = stats.norm(means, scales).logpdf(obs["x"][:, None])
    each = each.reshape(*each.shape[:2], -1).sum(-1) + np.log(weights)
    return hand_prior(weights, means, scales) + special.logsumexp(each, axis=1).sum()


def without_z(choices):
    """The choices of the marginalised model."""
    return {**choices, "obs": {"x": choices["obs"]["x"]}}


def as_float32(choices):
    """The choices as a model in float32 returns them."""
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), choices)
