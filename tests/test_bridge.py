"""The evidence by bridge sampling, of numbers whose evidence is known and of mixtures."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats
from test_priors import PRIORS, TABULATED

import gmm_jax
from gmm_jax import BetaBernoulli, MixturePrior, bridge
from gmm_jax.fitting import agreement, posterior
from gmm_jax.testing import exact

LOG_EVIDENCE = 7.5
IN_CLOSED_FORM = [name for name, make in PRIORS.items() if not isinstance(make()[0], TABULATED)]
"""Priors whose evidence can be enumerated."""


def weights(seed, proposal, shape=(8, 500), memory=0.9):
    """Of draws of normal chains with a memory, and of a normal proposal."""
    rng = np.random.default_rng(seed)
    chains = rng.normal(size=shape)
    for t in range(1, shape[1]):
        chains[:, t] = memory * chains[:, t - 1] + np.sqrt(1 - memory**2) * chains[:, t]
    proposed = proposal.rvs(shape, random_state=rng)

    def weigh(x):
        return stats.norm.logpdf(x) + LOG_EVIDENCE - proposal.logpdf(x)

    return weigh(chains), weigh(proposed)


def test_the_standard_error_is_how_far_estimates_are_off():
    """With a proposal too narrow for importance sampling, and chains with a long memory."""
    found = [bridge.log_evidence(*weights(seed, stats.norm(0.7, 0.5))) for seed in range(100)]
    estimates, errors = np.transpose(found)
    scores = (estimates - LOG_EVIDENCE) / errors
    assert abs(scores.mean()) < 0.4
    assert 0.8 < scores.std() < 1.35


def test_it_is_exact_where_the_proposal_is_the_posterior():
    found = bridge.log_evidence(*weights(0, stats.norm()))
    assert_allclose(found, (LOG_EVIDENCE, 0), atol=1e-12)


def test_proposals_may_be_impossible():
    draws, proposals = weights(0, stats.norm(0, 1.2))
    proposals[:, ::2] = -np.inf  # half of them: twice the density elsewhere
    found, error = bridge.log_evidence(draws, proposals)
    assert found == pytest.approx(LOG_EVIDENCE - np.log(2), abs=5 * error)


@pytest.mark.parametrize("centre", [8.0, 60.0])
def test_nothing_is_told_where_the_two_hardly_overlap(centre):
    assert np.isnan(bridge.log_evidence(*weights(0, stats.norm(centre, 0.5)))).all()


@pytest.mark.parametrize("side", [0, 1])
def test_nothing_is_told_where_some_weights_are_no_numbers(side):
    both = weights(0, stats.norm(0, 1.2))
    both[side][0, 0] = np.nan
    assert np.isnan(bridge.log_evidence(*both)).all()


def test_nothing_is_told_by_chains_of_two_draws():
    assert np.isnan(bridge.log_evidence(*weights(0, stats.norm(0, 1.2), shape=(50, 2)))).all()


def test_nothing_is_told_where_no_draw_could_be_proposed():
    draws, proposals = weights(0, stats.norm())
    assert np.isnan(bridge.log_evidence(np.full_like(draws, np.inf), proposals)).all()


@pytest.fixture
def collapsed(monkeypatch):
    """Importance sampling that does not do."""
    nothing = agreement.Sampled(None, "", {"effective_sample_size": 1.0}, "collapsed")
    monkeypatch.setattr(posterior, "by_importance", lambda *_: nothing)


def test_auto_tells_the_evidence_by_chains_that_jump(collapsed):
    data, prior = [0, 0, 1, 1, 1], MixturePrior([1.5, 0.7], BetaBernoulli([2, 1], [1, 3]))
    result = gmm_jax.fit(data, 2, prior=prior, sample_weight=[2, 1, 1, 1, 1])
    assert "jumping Gibbs chains" in result.reason
    assert f"log evidence {result.log_evidence:.4f} (standard error" in str(result)
    truth = exact([0, *data], prior, 2).log_evidence
    assert result.log_evidence == pytest.approx(truth, abs=5 * result.log_evidence_error + 1e-5)
    assert result.log_evidence_error < 0.01


@pytest.mark.slow
@pytest.mark.parametrize("name", IN_CLOSED_FORM)
def test_evidence_under_every_prior(collapsed, name):
    """Against enumeration, with components that the prior tells apart."""
    components, data = PRIORS[name]()
    prior = MixturePrior([1.5, 0.7], components)
    result = gmm_jax.fit(data, 2, prior=prior)
    truth = exact(data, prior, 2).log_evidence
    assert result.log_evidence == pytest.approx(truth, abs=5 * result.log_evidence_error + 1e-4)
    assert result.log_evidence_error < 0.02
