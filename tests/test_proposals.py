"""Importance sampling proposes from few of the places where chains have been."""

import numpy as np
import pytest
from scipy import stats

from gmm_jax import DirichletNormalGamma, fit, mixture_posterior
from gmm_jax.datasets import BENTOS
from gmm_jax.testing import exact


def test_proposals_are_not_copies_of_what_most_chains_found():
    """Nine in ten conditionals are one; the places that the others cover hold a third."""
    centres = np.r_[np.zeros(90), np.arange(5, 15)]
    places = np.r_[np.zeros(2000), np.repeat(np.arange(5, 15), 100)]
    places = places + 0.3 * np.random.default_rng(0).normal(size=3000)
    log_densities = stats.norm.logpdf(places[:, None], centres, 0.3).astype(np.float32)
    weights = np.full(3000, np.float32(1 / 3000))
    kept = mixture_posterior._picks(weights, log_densities, 12)
    assert len(set(kept.tolist())) == 12
    assert set(range(90, 100)) <= set(kept.tolist())
    shares = mixture_posterior._best_shares(weights, log_densities[:, kept])
    assert shares.sum() == pytest.approx(1, abs=1e-5)
    assert shares[kept >= 90].sum() == pytest.approx(1 / 3, abs=0.01)


def test_a_place_where_nothing_of_the_posterior_is_gets_no_share():
    log_densities = np.where(np.eye(3, dtype=bool), 0, -200).astype(np.float32)
    shares = mixture_posterior._best_shares(np.float32([0.25, 0.75, 0]), log_densities)
    np.testing.assert_allclose(shares, [0.25, 0.75, 0], atol=1e-12)
    nowhere = np.full((3, 3), -np.inf, np.float32)
    np.testing.assert_allclose(mixture_posterior._best_shares(np.ones(3), nowhere), 1 / 3)


def test_what_holds_next_to_nothing_is_drawn_as_often_as_it_should_be():
    """Next to never is a bento of 425 g a heavy one: exact, and by 20,000 draws."""
    data = [*BENTOS[::2], 425.0]
    prior = DirichletNormalGamma(concentration=1, mean=400, mean_scale=50, shape=2, rate=1)
    heavy = int(np.argmax(data))
    probability = exact(data, prior, n_components=2).co_clustering[-1, heavy]
    by_draw = np.asarray(fit(data, 2, prior=prior).responsibilities_by_draw(data))
    together = (by_draw[:, -1] * by_draw[:, heavy]).sum(-1)
    assert together.shape == (20_000,)
    assert together.sum() == pytest.approx(20_000 * probability, abs=5)  # 6.6 of them
