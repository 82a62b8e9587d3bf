"""Draws that are no numbers are never handed out."""

import jax
import numpy as np
import pytest

import gmm_jax
from gmm_jax.fitting import posterior


@pytest.fixture
def importance_loses(monkeypatch):
    """One draw of importance sampling is no number."""
    sampler = posterior.by_importance

    def losing(*arguments):
        sampled = sampler(*arguments)
        draws = jax.tree.map(np.array, sampled.draws)
        draws.weights[7, 1] = np.nan
        return sampled._replace(draws=draws)

    monkeypatch.setattr(posterior, "by_importance", losing)


def test_the_method_that_was_asked_for_says_so(importance_loses, bentos, tutorial_prior):
    """An error that names the remedies."""
    with pytest.raises(ValueError, match=r"of importance sampling, some draws .*jax_enable_x64"):
        gmm_jax.fit(bentos, 2, prior=tutorial_prior, method="importance", n_draws=2000)


def test_auto_goes_on_to_the_next_method(importance_loses, bentos, tutorial_prior):
    """The story tells why."""
    result = gmm_jax.fit(bentos, 2, prior=tutorial_prior)
    assert isinstance(result, gmm_jax.PosteriorFit)
    assert result.method == "gibbs"
    assert "Importance sampling did not do: some draws are no numbers. Posterior by Gibbs" in (
        result.reason
    )
    assert np.isfinite(result.draws.weights).all()
