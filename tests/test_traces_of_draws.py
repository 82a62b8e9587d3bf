"""Posterior draws as traces of the generative function, and back."""

import dataclasses

import jax
import numpy as np
import pytest
from genjax import seed
from scipy import stats

from gmm_jax import MixturePrior, NormalInverseGamma, models


@pytest.fixture(scope="module")
def posterior(draws_by_hand):
    """Wide components, so that points may be of either."""
    wide = jax.tree.map(np.copy, draws_by_hand.inside)
    wide.components.scales[:] *= 30
    return dataclasses.replace(draws_by_hand, inside=wide)


@pytest.fixture(scope="module")
def traces(posterior):
    return models.traces_of(posterior, jax.random.key(0))


def test_traces_hold_the_draws_and_score_as_the_formula_says(posterior, traces):
    choices = jax.tree.map(np.asarray, traces.get_choices())
    for name, values in posterior.prior.values(posterior.draws).items():
        np.testing.assert_array_equal(choices[name], values)
    np.testing.assert_array_equal(choices["obs"]["x"], np.tile(posterior.data, (300, 1)))
    weights, means, scales = (np.float64(choices[name]) for name in ("weights", "means", "scales"))
    z, rows = choices["obs"]["z"], np.arange(300)[:, None]
    exact = stats.norm.logpdf(means, 400, 50).sum(1)  # a flat Dirichlet of two has density 1
    exact += stats.gamma.logpdf(scales, 2).sum(1)
    exact += np.log(weights[rows, z]).sum(1)
    exact += stats.norm.logpdf(posterior.data, means[rows, z], scales[rows, z]).sum(1)
    scores = jax.vmap(lambda trace: trace.get_score())(traces)
    np.testing.assert_allclose(-np.asarray(scores), exact, rtol=1e-5)


def test_z_follows_its_distribution_given_the_parameters(posterior, traces):
    z = np.asarray(traces.get_choices()["obs"]["z"])
    weights, means, scales = (np.float64(a) for a in jax.tree.leaves(posterior.draws))
    joint = weights * stats.norm.pdf(posterior.data[:, None, None], means, scales)
    shares = (joint[..., 1] / joint.sum(-1)).T
    assert np.any((shares > 0.1) & (shares < 0.9))
    error = np.sqrt((shares * (1 - shares)).sum(0)) / 300
    assert np.all(np.abs((z - shares).mean(0)) <= 5 * error + 1e-6)
    assert np.abs((z - shares).sum()) <= 5 * np.sqrt((shares * (1 - shares)).sum())


def test_there_and_back(posterior, traces):
    back = models.draws_of(traces, posterior.prior)
    for ours, theirs in zip(*map(jax.tree.leaves, (back, posterior.draws)), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    one = jax.tree.map(lambda a: a[3], traces.get_choices())
    means = models.draws_of(one, posterior.prior).components.means
    np.testing.assert_array_equal(means, posterior.draws.components.means[3])


def test_priors_of_variances_and_draws_of_the_model_itself():
    prior = MixturePrior(1, NormalInverseGamma(0, 1, 2, 1))
    trace = seed(models.bayesian_mixture(prior, 2, 3).simulate)(jax.random.key(0))
    mixture = models.draws_of(trace, prior)
    np.testing.assert_allclose(mixture.components.scales**2, trace["variances"], rtol=1e-6)
    np.testing.assert_array_equal(mixture.weights, trace["weights"])


def test_what_the_model_does_not_know_is_refused(posterior):
    for own in (dict(sample_weight=np.full(20, 2.0)), dict(data=np.full(20, np.nan))):
        with pytest.raises(ValueError, match="missing values or sample weights"):
            models.traces_of(dataclasses.replace(posterior, **own), jax.random.key(0))
    with pytest.raises(ValueError, match="n_draws must be from 1 to 300"):
        models.traces_of(posterior, jax.random.key(0), n_draws=301)
    with pytest.raises(models.AddressError, match=r"with 'weights', got \['means'\]"):
        models.draws_of({"means": [1.0, 2.0]}, posterior.prior)
