"""Gibbs sampling: against all assignments of a few points, and against the prior it leaves be."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from gmm_jax import (
    DirichletNormalGamma,
    Mixture,
    MixturePrior,
    Normal,
    NormalInverseGamma,
    gibbs,
)
from gmm_jax.table import Table

POINTS = np.array([-0.9, -0.4, 1.1, 1.6, 0.2])
FLOOR = 1e-5
EXCHANGEABLE = DirichletNormalGamma(concentration=1, mean=0, mean_scale=1.5, shape=2, rate=3)
NAMED = DirichletNormalGamma([2.0, 1.0], [-0.5, 1.0], [1.0, 0.7], [2.0, 3.0], [3.0, 4.0])


def written_out(prior):
    fields = {"concentration": prior.concentration, **vars(prior.components)}
    return [
        np.broadcast_to(np.asarray(value, float), 2)
        for value in fields.values()
        if value is not None
    ]


@jax.jit
def chain(key, mixtures, data, prior):
    """120 sweeps of every chain, the first 20 dropped: mean probability of all assignments."""
    table = Table(data[None], jnp.ones((1, len(data))))

    def sweep(i, carry):
        state, counts = carry
        key_now = jax.random.fold_in(key, i)
        state, _ = gibbs.step(key_now, state, table, prior, jnp.asarray(FLOOR))
        shares = jax.vmap(lambda mixture: mixture.responsibilities(data))(state.mixtures)
        together = shares[:, 0]
        for i_point in range(1, len(data)):
            together = (together[:, :, None] * shares[:, i_point, None]).reshape(len(shares), -1)
        return state, counts + jnp.where(i >= 20, together, 0)

    counts = jnp.zeros((mixtures.weights.shape[0], 2 ** len(data)))
    return jax.lax.fori_loop(0, 120, sweep, (gibbs.init(mixtures), counts))[1] / 100


@pytest.mark.slow
@pytest.mark.parametrize("prior", [EXCHANGEABLE, NAMED], ids=["exchangeable", "named"])
def test_assignments_follow_their_exact_posterior(prior, enumerated):
    """Five points, two components: all 32 assignments, each within five standard errors."""
    assignments, exact, _ = enumerated(POINTS, *written_out(prior))
    np.testing.assert_array_equal(assignments @ 2 ** np.arange(4, -1, -1), np.arange(32))
    n_chains = 300
    mixtures = prior.sample(jax.random.key(0), 2, (), (n_chains,))
    data = jnp.asarray(POINTS, jnp.float32)
    by_chain = np.asarray(chain(jax.random.key(1), mixtures, data, prior), np.float64)
    error = by_chain.std(0, ddof=1) / np.sqrt(n_chains)
    np.testing.assert_array_less(np.abs(by_chain.mean(0) - exact), 5 * error + 1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("prior", [EXCHANGEABLE, NAMED], ids=["exchangeable", "named"])
def test_sweeps_leave_the_joint_distribution_be(prior):
    """Parameters from the prior and data from them stay so distributed, whatever is swept.

    Independent replicates make the comparison exact (after Geweke 2004, "Getting it right").
    """
    n_replicates, n = 2000, 6
    prior_key, data_key, sweep_key = jax.random.split(jax.random.key(2), 3)
    mixtures = prior.sample(prior_key, 2, (), (n_replicates,))

    @jax.jit
    def replicate(mixture, data_key, sweep_key):
        data, _ = mixture.sample(data_key, n)
        state = gibbs.init(jax.tree.map(lambda a: a[None], mixture))

        def sweep(i, state):
            key = jax.random.fold_in(sweep_key, i)
            table = Table(data[None], jnp.ones((1, n)))
            return gibbs.step(key, state, table, prior, jnp.asarray(FLOOR))[0]

        return jax.tree.map(lambda a: a[0], jax.lax.fori_loop(0, 4, sweep, state).mixtures)

    swept = jax.vmap(replicate)(
        mixtures,
        jax.random.split(data_key, n_replicates),
        jax.random.split(sweep_key, n_replicates),
    )
    concentration, mean, mean_scale, shape, rate = written_out(prior)
    for j in range(2):
        marginals = [
            (swept.weights, stats.beta(concentration[j], concentration.sum() - concentration[j])),
            (swept.components.means, stats.norm(mean[j], mean_scale[j])),
            (swept.components.scales, stats.gamma(shape[j], scale=1 / rate[j])),
        ]
        for drawn, marginal in marginals:
            pvalue = stats.kstest(np.asarray(drawn[:, j], np.float64), marginal.cdf).pvalue
            assert pvalue > 1e-4


@pytest.mark.slow
def test_statistics_are_those_of_whole_points(x64):
    """Each point is counted, as often as its weight says, by one component."""
    mixtures = NAMED.sample(jax.random.key(0), 2, (), (30,))
    data, weight = jnp.asarray(POINTS), jnp.array([1.0, 0.0, 2.0, 4.0, 8.0])
    table = Table(data[None], weight[None])
    state = gibbs.init(mixtures)
    _, info = jax.jit(gibbs.step)(jax.random.key(1), state, table, NAMED, jnp.asarray(FLOOR))
    counts = np.asarray(info.statistics.counts).round().astype(int)  # binary: who counts whom
    assert len(set(counts[:, 0])) > 3
    np.testing.assert_array_equal(counts.sum(1), 15)
    for c, j in np.ndindex(30, 2):
        w = np.array([counts[c, j] & 1, 0, counts[c, j] & 2, counts[c, j] & 4, counts[c, j] & 8])
        deviations = POINTS - float(info.references.components.means[c, j])
        expected = [w.sum(), (w * deviations).sum(), (w * deviations**2).sum()]
        got = [s[c, j] for s in info.statistics]
        np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-10)


def test_weights_given_assignments_are_dirichlet(x64):
    """Ratios of the conditional at two weights are those of the joint."""
    mixture = Mixture([0.3, 0.7], Normal([-0.5, 1.0], [0.5, 0.5]))
    r = jax.nn.one_hot(jnp.array([0, 0, 1, 1, 0]), 2)
    statistics = mixture.components.statistics(jnp.asarray(POINTS), r)
    conditional = NAMED.given(mixture, statistics, jnp.asarray(FLOOR)).weights
    first, second = np.array([0.2, 0.8]), np.array([0.55, 0.45])
    got = conditional.log_prob(jnp.asarray(first)) - conditional.log_prob(jnp.asarray(second))
    # Dirichlet(2, 1) prior; three points with component 0, two with component 1.
    exponents = np.array([2 - 1 + 3, 1 - 1 + 2])
    np.testing.assert_allclose(got, exponents @ np.log(first / second), rtol=1e-10)


def test_permute_gives_components_new_labels():
    mixture = Mixture([0.2, 0.3, 0.5], Normal([1.0, 2, 3], [4.0, 5, 6]))
    moved = gibbs.permute(mixture, jnp.array([2, 0, 1]))
    np.testing.assert_allclose(moved.weights, [0.5, 0.2, 0.3])
    np.testing.assert_array_equal(moved.components.means, [3, 1, 2])
    np.testing.assert_array_equal(moved.components.scales, [6, 4, 5])


def test_the_prior_matched_along_a_permutation_is_that_of_the_relabelled_mixture(x64):
    mixture = Mixture([0.3, 0.7], Normal([-0.5, 1.0], [0.5, 0.8]))
    matched = NAMED.log_prob_matched(mixture)
    swapped = gibbs.permute(mixture, jnp.array([1, 0]))
    np.testing.assert_allclose(matched[0, 0] + matched[1, 1], NAMED.log_prob(mixture), rtol=1e-12)
    np.testing.assert_allclose(matched[0, 1] + matched[1, 0], NAMED.log_prob(swapped), rtol=1e-12)
    both = special.logsumexp([NAMED.log_prob(mixture), NAMED.log_prob(swapped)])
    terms = [matched[0, 0] + matched[1, 1], matched[0, 1] + matched[1, 0]]
    np.testing.assert_allclose(special.logsumexp(terms), both, rtol=1e-12)


def test_points_given_to_a_component_far_away_keep_their_digits():
    """Their squares about its mean have none left that say how close together they lie."""
    points = 0.5 + 1e-3 * jnp.linspace(-1, 1, 32)
    table = Table(points[None], jnp.ones((1, 32)))
    prior = MixturePrior(1, NormalInverseGamma(0.5, 0.01, 1, 1e-6)).spread(1)
    far = Mixture([1.0], Normal([3e3], [3e3]))
    starts = jax.tree.map(lambda a: jnp.repeat(a[None], 200, 0), far)
    prior = jax.tree.map(jnp.asarray, prior)
    state, _ = gibbs.sweep(jax.random.key(0), starts, table, prior, jnp.asarray(1e-6))
    expected = np.std(np.asarray(points))
    assert np.median(state.mixtures.components.scales) == pytest.approx(expected, rel=0.3)
