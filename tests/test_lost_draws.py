"""Draws that are no numbers are never handed out, and the best of those that mislead are."""

import re

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


@pytest.mark.parametrize("last", ["importance sampling", "tempered SMC"])
def test_where_no_method_does_the_draws_worth_most_are_kept(
    monkeypatch, bentos, tutorial_prior, last
):
    """But for importance sampling's, whose worth nobody knows then."""
    # What is held is not for importance sampling.
    known = dict(fixed=dict(scales=[2.0, 2.0])) if last == "tempered SMC" else {}

    def spoil(name, worth):
        sampler = getattr(posterior, f"by_{name}")

        def bad(*arguments):
            sampled = sampler(*arguments)
            details = sampled.details | {"effective_sample_size": worth}
            return sampled._replace(details=details, problem=f"{name} is bad. Use another.")

        monkeypatch.setattr(posterior, f"by_{name}", bad)

    for name, worth in {"importance": 9000.0, "gibbs": 30.0, "smc": 7.0}.items():
        spoil(name, worth)
    with pytest.warns(gmm_jax.FitWarning, match="gibbs is bad"):
        result = gmm_jax.fit(bentos, 2, prior=tutorial_prior, n_draws=256, **known)
    assert result.method == "gibbs"  # pyright: ignore[reportAttributeAccessIssue]
    story = rf"(?i){last} did not do: \w+ is bad. Posterior by Gibbs sampling instead"
    assert re.search(story, result.reason)
