"""Importance resampling on a normal mean, where everything is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from gmm_jax import importance

DATA = np.array([0.3, 1.4, -0.2, 0.9])
N = 20_000


def propose(key, arguments, size):
    """A normal proposal, of given centre and spread."""
    return {"mean": arguments["centre"] + arguments["spread"] * jax.random.normal(key, (size,))}


def log_weight(particles, arguments):
    mean = particles["mean"]
    log_prior = jax.scipy.stats.norm.logpdf(mean)
    log_likelihood = jax.scipy.stats.norm.logpdf(arguments["data"], mean[:, None]).sum(1)
    return (
        log_prior
        + log_likelihood
        - jax.scipy.stats.norm.logpdf(mean, arguments["centre"], arguments["spread"])
    )


TARGET = importance.Target(propose, log_weight)
# mean ~ Normal(0, 1) and data ~ Normal(mean, 1) make the data jointly normal, and the mean normal.
EVIDENCE = stats.multivariate_normal.logpdf(DATA, np.zeros(4), np.eye(4) + 1)
POSTERIOR = stats.norm(DATA.sum() / 5, np.sqrt(1 / 5))


def arguments(centre, spread):
    return {"data": jnp.asarray(DATA), "centre": jnp.asarray(centre), "spread": jnp.asarray(spread)}


def run(key=0, centre=0.0, spread=1.0, **options):
    options = dict(n_particles=N, n_draws=4000) | options
    return importance.run(jax.random.key(key), TARGET, arguments(centre, spread), **options)


@pytest.mark.parametrize("key", range(3))
def test_evidence_within_its_standard_error(key):
    sample = run(key)
    assert 0 < sample.log_evidence_error < 0.02
    assert abs(sample.log_evidence - EVIDENCE) < 5 * sample.log_evidence_error


def test_a_perfect_proposal_has_equal_weights():
    sample = run(centre=POSTERIOR.mean(), spread=POSTERIOR.std())
    np.testing.assert_allclose(sample.log_importance_weights, EVIDENCE, rtol=1e-4)
    np.testing.assert_allclose(sample.effective_sample_size, N, rtol=1e-3)
    np.testing.assert_allclose(sample.log_evidence, EVIDENCE, rtol=1e-5)
    assert importance.verdict(sample) is None


def test_effective_sample_size_is_the_one_expected():
    """Drawing from the prior, it tends to n Z^2 / E[likelihood^2], normal integrals both."""
    likelihood_squared = np.exp(2 * stats.norm.logpdf(DATA).sum())
    # E[prod N(x_i | m, 1)^2] = prod N(x_i|0,1)^2 E[exp(2 m S - 4 m^2)], m ~ Normal(0, 1), n = 4.
    precision = 1 + 2 * len(DATA)
    second = likelihood_squared * np.exp((2 * DATA.sum()) ** 2 / (2 * precision))
    second /= np.sqrt(precision)
    expected = N * np.exp(2 * EVIDENCE) / second
    np.testing.assert_allclose(run().effective_sample_size, expected, rtol=0.05)


def test_draws_follow_the_posterior():
    sample = run(spread=2.0)
    draws = np.asarray(sample.draws["mean"], np.float64)
    effective = float(sample.effective_sample_size)
    assert draws.shape == (4000,)
    assert abs(draws.mean() - POSTERIOR.mean()) < 5 * POSTERIOR.std() / np.sqrt(effective)
    distance = stats.kstest(draws, POSTERIOR.cdf).statistic
    assert distance < 2.5 / np.sqrt(min(effective, 4000))


def test_draws_are_the_particles_that_were_picked():
    """Drawn again from the keys of their chunks, though forgotten in between."""
    sample = run(n_particles=1000, n_draws=1000, chunk_size=128)
    again = run(n_particles=1000, n_draws=5, chunk_size=128)
    np.testing.assert_array_equal(sample.log_importance_weights, again.log_importance_weights)
    weights = log_weight(sample.draws, arguments(0.0, 1.0))
    np.testing.assert_allclose(
        weights, sample.log_importance_weights[sample.indices], rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("n_particles", [100, 128, 1000])
def test_there_are_as_many_weights_as_particles(n_particles):
    sample = run(n_particles=n_particles, n_draws=10, chunk_size=128)
    assert sample.log_importance_weights.shape == (n_particles,)
    assert np.all(np.asarray(sample.indices) < n_particles)


def test_no_more_than_a_chunk_exists_at_once_and_it_compiles_once():
    sizes = []

    def counted_propose(key, arguments, size):
        sizes.append(size)
        return propose(key, arguments, size)

    def counted_weight(particles, arguments):
        sizes.append(particles["mean"].shape[0])
        return log_weight(particles, arguments)

    target = importance.Target(counted_propose, counted_weight)
    for n_particles in (1000, 5000):
        importance.run(
            jax.random.key(0),
            target,
            arguments(0.0, 1.0),
            n_particles=n_particles,
            n_draws=50,
            chunk_size=256,
        )
    assert sizes == [256, 256]  # both functions were traced once


@pytest.mark.parametrize("n_draws", [1, 7, 100, 5000])
def test_systematic_picks_each_its_expected_number_of_times(n_draws):
    weights = np.random.default_rng(0).dirichlet(np.ones(40))
    indices = importance.systematic(jax.random.key(n_draws), jnp.log(jnp.asarray(weights)), n_draws)
    assert np.all(np.diff(indices) >= 0)
    counts, expected = np.bincount(indices, minlength=40), weights * n_draws
    assert np.all(counts >= np.floor(expected - 1e-3))
    assert np.all(counts <= np.ceil(expected + 1e-3))


def test_systematic_is_unbiased():
    weights = np.array([0.05, 0.25, 0.4, 0.3])
    keys = jax.random.split(jax.random.key(0), 5000)
    picked = jax.vmap(lambda k: importance.systematic(k, jnp.log(jnp.asarray(weights)), 3))(keys)
    counts = np.stack([(np.asarray(picked) == j).sum(1) for j in range(4)], 1)
    error = counts.std(0) / np.sqrt(5000)
    np.testing.assert_array_less(np.abs(counts.mean(0) - 3 * weights), 5 * error + 1e-9)


def test_systematic_never_steps_past_the_last_particle_of_positive_weight():
    """Rounding in float32 makes the last positions exceed the sum of the weights."""
    log_weights = jnp.zeros(10_000).at[-3:].set(-jnp.inf)
    for seed in range(20):
        indices = importance.systematic(jax.random.key(seed), log_weights, 100_000)
        assert indices.max() <= 9996
    single = jnp.full(1000, -jnp.inf).at[123].set(0.0)
    assert np.all(importance.systematic(jax.random.key(0), single, 50) == 123)


def test_a_collapse_is_said_loudly():
    sample = run(centre=30.0, spread=0.1)
    message = importance.verdict(sample)
    assert message is not None
    assert message.startswith("importance sampling has collapsed: of 20000 particles only")
    assert "log evidence may be off" in message


def test_weights_that_rule_the_estimate_are_told():
    sample = run()
    assert importance.verdict(sample) is None
    heavy = sample._replace(pareto_k=np.float32(0.83))
    assert importance.verdict(heavy) is None
    message = importance.verdict(heavy._replace(effective_sample_size=np.float32(500)))
    assert message is not None
    assert "Pareto k is 0.83, and should be below 0.7" in message


def test_heavy_tailed_weights_have_a_large_pareto_k():
    assert run(centre=POSTERIOR.mean(), spread=0.1).pareto_k > 0.7
    assert run(spread=2.0).pareto_k < 0.5


def test_same_key_same_sample():
    first, again = run(5), run(5)
    np.testing.assert_array_equal(first.draws["mean"], again.draws["mean"])
    assert run(6).log_evidence != first.log_evidence
