"""A rate that variances have in common: its density, Gibbs draws and propriety, by quadrature."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, special, stats

import gmm_jax
from gmm_jax import GammaPoisson, HierarchicalNormal, MixturePrior, Normal, ProductPrior, gibbs
from gmm_jax.mixture import Mixture
from gmm_jax.table import Table

MEAN, MEAN_SCALE, SHAPE, G, H = 0.5, 2.0, 1.5, 1.2, 0.7


def log_prior(*variances):
    """Log density of variances, by quadrature over the log rate."""
    t = np.linspace(-30, 12, 4001)
    rate = np.exp(t)
    total = stats.gamma.logpdf(rate, G, scale=1 / H) + t
    for v in variances:
        total = total + stats.invgamma.logpdf(v, SHAPE, scale=rate)
    return special.logsumexp(total) + np.log(t[1] - t[0])


def test_the_density_is_that_with_the_rate_integrated_out(x64):
    prior = MixturePrior(1, HierarchicalNormal(MEAN, MEAN_SCALE, [SHAPE, SHAPE], G, H))
    mixture = Mixture([0.3, 0.7], Normal([0.1, 2.0], [0.5, 3.0]))
    means = stats.norm.logpdf([0.1, 2.0], MEAN, MEAN_SCALE).sum()
    expected = log_prior(0.25, 9.0) + means
    np.testing.assert_allclose(prior.log_prob(mixture), expected, rtol=1e-8)
    parts = MixturePrior(1, ProductPrior([prior.components, GammaPoisson(1, 1)])).spread(2, (2,))
    drawn = parts.components.sample(jax.random.key(0))
    both = prior.spread(2).components.log_prob(drawn.parts[0]).sum()
    both += stats.gamma.logpdf(np.asarray(drawn.parts[1].rates), 1).sum()
    np.testing.assert_allclose(parts.components.log_prob(drawn).sum(), both, rtol=1e-8)
    np.testing.assert_allclose(jnp.trace(parts.components.log_prob_matched(drawn)), both, rtol=1e-8)


@pytest.mark.slow
def test_gibbs_steps_reach_the_exact_posterior(x64):
    """Of one component's variance, the mean and the rate integrated out."""
    data = np.array([0.2, 0.9, 0.5, 1.6])
    n, average, squares = 4, data.mean(), ((data - data.mean()) ** 2).sum()
    u = np.linspace(-9, 9, 1501)
    v = np.exp(u)
    log_density = np.array([log_prior(x) for x in v]) + u - (n - 1) / 2 * u - squares / (2 * v)
    log_density += stats.norm.logpdf(average, MEAN, np.sqrt(MEAN_SCALE**2 + v / n))
    density = np.exp(log_density - log_density.max())
    cdf = integrate.cumulative_trapezoid(density, u, initial=0)
    cdf /= cdf[-1]
    prior = MixturePrior(1.0, HierarchicalNormal(MEAN, MEAN_SCALE, SHAPE, G, H))
    prior = jax.tree.map(jnp.asarray, prior)

    @jax.jit
    def run(key):
        mixtures = prior.sample(key, 1, (), (4000,))
        table, floor = Table(jnp.asarray(data)[None], jnp.ones((1, n))), jnp.asarray(1e-6)

        def step(i, state):
            return gibbs.step(jax.random.fold_in(key, i), state, table, prior, floor)[0]

        return jax.lax.fori_loop(0, 30, step, gibbs.init(mixtures)).mixtures.components.scales

    drawn = 2 * np.log(np.asarray(run(jax.random.key(0)))[:, 0])
    assert stats.kstest(drawn, lambda x: np.interp(x, u, cdf)).pvalue > 1e-3


def evidence_above(lowest, counts, g, a):
    """Of k components that hold these numbers of equal values each, scales above `lowest`."""
    u = np.linspace(np.log(lowest), 6, 1601)
    grids = np.meshgrid(*[u] * len(counts), indexing="ij")
    total = sum(np.exp(-2 * x) for x in grids)
    log_density = -(g + len(counts) * a) * np.log(1 + total)
    for x, m in zip(grids, counts, strict=True):
        log_density = log_density - 2 * a * x
        if m:
            log_density = log_density - m * x - np.log(1 + m * np.exp(-2 * x)) / 2
    table = np.exp(log_density)
    for _ in counts:
        table = integrate.trapezoid(table, u, axis=0)
    return table


@pytest.mark.parametrize(("g", "a"), [(0.2, 2.0), (0.8, 0.5), (3.0, 1.0)])
def test_the_rule_of_equal_values_is_that_of_quadrature(g, a):
    for counts in ((2,), (3,), (8,), (2, 0), (2, 2), (3, 1), (4, 4)):
        k, values = len(counts), np.repeat([1.0, 2.0][: len(counts)], counts)
        grown = [evidence_above(10.0**-e, counts, g, a) for e in (2, 4, 6)]
        grows = grown[2] - grown[1] > 0.5 * (grown[1] - grown[0])
        prior = MixturePrior(1, HierarchicalNormal(0, 1, a, g, 1))
        problem = prior.improper(values, np.ones(len(values)), k)
        assert (problem is not None) == grows, (counts, grown)


def test_one_wide_component_leaves_the_others_to_shrink():
    """With more values than components: both spikes of three, and only with a weak shape."""
    values = np.array([1.0, 1, 1, 1, 1, 1, 2, 3, 4, 5])
    for a, g in itertools.product((0.5, 2.0, 3.0), (0.2, 1.0)):
        prior = MixturePrior(1, HierarchicalNormal(0, 1, a, g, 1))
        assert (prior.improper(values, np.ones(10), 2) is not None) == (2 * (g + a) <= 5)
    assert "rate_shape above 2.5" in str(
        MixturePrior(1, HierarchicalNormal(0, 1, 1, 0.2, 1)).improper(values, np.ones(10), 2)
    )


@pytest.mark.slow
def test_refresh_keeps_what_has_no_unknown_hyperparameter():
    parts = ProductPrior([HierarchicalNormal(0, 1, 1, 1, 1), GammaPoisson(2, 1)])
    prior = MixturePrior(1, parts)
    mixture = prior.sample(jax.random.key(0), 2, (2,))
    fresh = prior.refresh(jax.random.key(1), mixture).components.parts
    assert np.ptp(fresh[0].rate) == 0
    np.testing.assert_array_equal(fresh[1].shape, [2, 2])


def test_a_part_with_unknown_hyperparameters_is_refused_where_it_alone_would_be():
    parts = MixturePrior(1, ProductPrior([HierarchicalNormal(0, 1, 1, 1, 1), GammaPoisson(2, 1)]))
    data = np.array([[0.1, 2], [0.4, 3], [3.0, 0]])
    with pytest.raises(ValueError, match="is for method='gibbs' only"):
        gmm_jax.fit(data, 2, prior=parts, method="smc", fixed={"weights": [0.5, 0.5]})
