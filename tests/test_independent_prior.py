"""Independent distributions of the parameters of any family, against scipy, grids and Bayes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro import distributions as dist
from scipy import stats

import gmm_jax
from gmm_jax import (
    Bernoulli,
    Heterogeneous,
    IndependentPrior,
    MixturePrior,
    MultivariateNormal,
    Normal,
    Poisson,
    StudentT,
    Uniform,
    Wrapped,
)
from gmm_jax.models import marginal_bayesian_mixture


def robust(**changes):
    own = dict(
        means=dist.Normal(3.0, 2.0), scales=dist.HalfNormal(1.5), dfs=dist.LogNormal(1.5, 0.5)
    )
    return IndependentPrior(StudentT, **own | changes)


def test_density_is_the_product_of_the_distributions(x64):
    prior = MixturePrior(1, robust()).spread(2)
    mixture = prior.sample(jax.random.key(0), 2)
    means, scales, dfs = (np.asarray(a) for a in vars(mixture.components).values())
    expected = stats.norm(3, 2).logpdf(means) + stats.halfnorm(scale=1.5).logpdf(scales)
    expected = expected + stats.lognorm(0.5, scale=np.exp(1.5)).logpdf(dfs)
    np.testing.assert_allclose(prior.components.log_prob(mixture.components), expected)
    rebuilt = prior.mixture(**prior.values(mixture))
    jax.tree.map(np.testing.assert_array_equal, rebuilt, mixture)
    matched = prior.components.log_prob_matched(mixture.components)
    np.testing.assert_allclose(matched, np.broadcast_to(expected, (2, 2)))


def test_moving_the_data_moves_the_prior(x64):
    prior = MixturePrior(1, robust(dfs=4)).spread(2, (3,))
    moved = prior.affine(1e6, 2.5)
    many = moved.sample(jax.random.key(1), 2, (3,), (20_000,)).components
    np.testing.assert_allclose(many.means.mean((0, 1)), 1e6 + 2.5 * 3, atol=0.2)
    np.testing.assert_allclose(many.means.std((0, 1)), 2.5 * 2, rtol=0.02)
    np.testing.assert_allclose(many.scales.mean((0, 1)), 2.5 * 1.5 * np.sqrt(2 / np.pi), rtol=0.02)
    np.testing.assert_array_equal(many.dfs, 4)
    there = prior.sample(jax.random.key(2), 2, (3,)).components
    volume = moved.components.log_prob(there.affine(1e6, 2.5)) - prior.components.log_prob(there)
    np.testing.assert_allclose(volume, -6 * np.log(2.5), rtol=1e-9)


def test_components_with_distributions_of_their_own_have_names():
    assert MixturePrior(1, robust()).exchangeable
    named = MixturePrior(1, robust(means=dist.Normal(jnp.array([0.0, 9.0]), 1.0)))
    assert not named.exchangeable
    means = named.sample(jax.random.key(0), 2, (), (500,)).components.means
    np.testing.assert_allclose(means.mean(0), [0, 9], atol=0.3)


def test_what_is_no_such_prior_is_refused():
    with pytest.raises(TypeError, match="for each of means, scales, dfs, got means"):
        IndependentPrior(StudentT, means=dist.Normal(0.0, 1.0))
    with pytest.raises(TypeError, match="and MultivariateNormal is none: take NormalInverseWish"):
        IndependentPrior(MultivariateNormal, means=dist.Normal(0.0, 1.0))
    with pytest.raises(ValueError, match="means must be a distribution of real, positive or unit"):
        robust(means=dist.Dirichlet(jnp.ones(3)))
    with pytest.raises(ValueError, match="scales must be one of NumPyro's own"):
        robust(scales=dist.TruncatedNormal(0.0, 1.0, low=0.0))
    with pytest.raises(ValueError, match="IndependentPrior does not have: use method='nuts'"):
        gmm_jax.fit([1.0, 2, 3, 4], 2, prior=MixturePrior(1, robust()), method="em")
    with pytest.raises(ValueError, match="use method='nuts'"):
        gmm_jax.fit([1.0, 2, 3, 4], 2, prior=MixturePrior(1, robust()), method="smc")


def test_equal_values_that_leave_no_posterior_are_recognised():
    weights = np.ones(6)
    data = np.array([1.0, 1, 1, 4, 5, 6])
    flat = MixturePrior(1, robust())
    assert "vanishes fast at 0" in flat.improper(data, weights, 2)
    assert flat.improper(np.arange(6.0), weights, 2) is None
    for scales in (dist.LogNormal(0.0, 1.0), dist.InverseGamma(2.0, 1.0)):
        assert MixturePrior(1, robust(scales=scales)).improper(data, weights, 2) is None
    laplace = IndependentPrior(
        Wrapped.of(dist.Laplace), loc=dist.Normal(0.0, 1.0), scale=dist.HalfNormal(1.0)
    )
    assert MixturePrior(1, laplace).improper(data, weights, 2) is not None
    steep = MixturePrior(1, robust(scales=dist.Gamma(2.5, 1.0)))
    assert steep.improper(data, weights, 2) is None
    assert steep.improper(np.repeat(data, 2), np.ones(12), 2) is not None


def exact_mean(data, prior_mean, prior_scale, scale, df):
    """Posterior mean and standard deviation of the centre of one Student-t, on a grid."""
    grid = np.linspace(-20, 20, 20_001)
    logs = stats.norm(prior_mean, prior_scale).logpdf(grid)
    logs = logs + stats.t(df, grid[:, None], scale).logpdf(data).sum(1)
    share = np.exp(logs - logs.max())
    share /= share.sum()
    mean = share @ grid
    return mean, np.sqrt(share @ (grid - mean) ** 2)


@pytest.mark.slow
def test_posterior_of_one_component_is_that_on_a_grid():
    data = np.array([2.0, 2.5, 3.1, 1.8, 2.2, 30.0])
    prior = MixturePrior(1, robust(scales=0.5, dfs=3))
    fitted = gmm_jax.fit(data, 1, prior=prior, n_draws=4000)
    assert fitted.method == "nuts"
    mean, deviation = exact_mean(data, 3, 2, 0.5, 3)
    draws = np.asarray(fitted.draws.components.means)[:, 0]
    assert abs(draws.mean() - mean) < 5 * deviation / np.sqrt(fitted.effective_sample_size)
    assert abs(draws.std() / deviation - 1) < 0.15
    np.testing.assert_allclose(fitted.draws.components.scales, 0.5, rtol=1e-5)


@pytest.mark.slow
def test_noise_around_known_signal_and_evidence():
    """A uniform background that is known, and one clump: share by a grid, evidence by SMC."""
    rng = np.random.default_rng(0)
    data = np.r_[rng.normal(4, 0.5, 30), rng.uniform(0, 10, 10)]
    family = Heterogeneous.of(Normal, Uniform)
    names = {
        "parts[0].means": 4.0,
        "parts[0].scales": 0.5,
        "parts[1].lows": 0.0,
        "parts[1].highs": 10.0,
    }
    prior = MixturePrior(1, IndependentPrior(family, **names))
    fitted = gmm_jax.fit(data, 2, prior=prior)
    grid = (np.arange(4000) + 0.5) / 4000
    inside = stats.norm(4, 0.5).pdf(data)
    likelihood = np.prod(grid[:, None] * inside + (1 - grid[:, None]) / 10, 1)
    share = likelihood / likelihood.sum()
    mean = share @ grid
    deviation = np.sqrt(share @ (grid - mean) ** 2)
    drawn = np.asarray(fitted.draws.weights)[:, 0]
    assert abs(drawn.mean() - mean) < 5 * deviation / np.sqrt(fitted.effective_sample_size)
    model = marginal_bayesian_mixture(prior, 2, len(data))
    found = gmm_jax.sample(model, {"obs": {"x": jnp.asarray(data)}}, method="smc")
    assert abs(found.log_evidence - np.log(likelihood.mean())) < 5 * found.log_evidence_error


@pytest.mark.slow
def test_other_families_recover_the_truth_and_results_are_kept(tmp_path):
    rng = np.random.default_rng(1)
    data = np.r_[rng.laplace(0, 1, 60), rng.laplace(9, 1, 40)]
    laplace = IndependentPrior(
        Wrapped.of(dist.Laplace), loc=dist.Normal(4.0, 8.0), scale=dist.LogNormal(0.0, 1.0)
    )
    fitted = gmm_jax.fit(data, 2, prior=MixturePrior(1, laplace))
    loc = np.asarray(fitted.draws.components.parameters["loc"])
    np.testing.assert_allclose(np.median(loc, 0), [0, 9], atol=0.6)
    counts = IndependentPrior(Poisson, rates=dist.LogNormal(1.0, 1.0))
    seen = np.r_[rng.poisson(2, 40), rng.poisson(12, 40)].astype(float)
    rates = gmm_jax.fit(seen, 2, prior=MixturePrior(1, counts))
    np.testing.assert_allclose(np.median(rates.draws.components.rates, 0), [2, 12], rtol=0.25)
    rates.save(tmp_path / "rates.npz")
    again = gmm_jax.load(tmp_path / "rates.npz")
    np.testing.assert_array_equal(again.draws.components.rates, rates.draws.components.rates)
    kept = again.prior.components.sites()["rates"]
    assert kept.name == "LogNormal"


@pytest.mark.slow
def test_default_prior_of_student_t_is_robust():
    rng = np.random.default_rng(2)
    data = 1e6 + np.r_[rng.standard_t(4, 100), 12 + rng.standard_t(4, 100), [60.0, -40.0]]
    fitted = gmm_jax.fit(data, 2, prior="default", family=StudentT)
    assert max(q.r_hat for q in fitted.convergence.values()) < 1.02
    means = np.asarray(fitted.draws.components.means, np.float64) - 1e6
    np.testing.assert_allclose(np.median(means, 0), [0, 12], atol=0.5)
    assert np.median(fitted.draws.components.dfs) < 20


def test_a_distribution_over_what_a_parameter_may_not_be_is_refused():
    with pytest.raises(ValueError, match="scales of this family must be positive, and Normal"):
        IndependentPrior(Normal, means=dist.Normal(4, 5), scales=dist.Normal(0, 1))
    with pytest.raises(ValueError, match="probs of this family must be unit, and LogNormal"):
        IndependentPrior(Bernoulli, probs=dist.LogNormal(0, 1))
    IndependentPrior(Normal, means=dist.LogNormal(0, 1), scales=dist.Beta(1, 1))
