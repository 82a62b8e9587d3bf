"""Equal values under a gamma on the standard deviation: when there is no posterior, and why."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

import gmm_jax
from gmm_jax import (
    DirichletNormalGamma,
    GammaPoisson,
    HierarchicalNormal,
    MixturePrior,
    NormalGamma,
    NormalInverseGamma,
    ProductPrior,
    default_prior,
)
from gmm_jax.distributions import IndependentGammaAbove
from gmm_jax.families.limits import Limits

TUTORIALS = dict(concentration=1, mean=0, mean_scale=2)


def evidence_above(lowest, values, weight, shape):
    """The density of equal or different values of one component, scales above `lowest`."""
    total, u = weight.sum(), np.linspace(np.log(lowest), 4, 40_001)
    average = weight @ values / total
    squares = weight @ (values - average) ** 2
    variance = np.exp(2 * u)
    log_density = (
        stats.gamma.logpdf(np.exp(u), shape) + u
        - total / 2 * np.log(2 * np.pi * variance) - squares / (2 * variance)
        + np.log(2 * np.pi * variance / total) / 2
        + stats.norm.logpdf(average, 0, np.sqrt(4 + variance / total))
    )  # fmt: skip
    return integrate.trapezoid(np.exp(log_density), u)


@pytest.mark.parametrize("shape", [0.5, 1.0, 2.0, 3.5])
@pytest.mark.parametrize("copies", [1.0, 1.4, 2.0, 2.9, 3.0, 4.4, 5.0])
def test_the_rule_is_that_of_quadrature(shape, copies):
    """Down to ever smaller scales the evidence converges, or goes on growing."""
    values, weight = np.full(2, 1.5), np.array([1.0, copies])
    lower = [evidence_above(10.0**-e, values, weight, shape) for e in (3, 6, 9)]
    grows = (lower[2] - lower[1]) > 0.5 * (lower[1] - lower[0])
    prior = DirichletNormalGamma(**TUTORIALS, shape=shape, rate=1)
    problem = prior.improper(values, weight, 1)
    assert (problem is not None) == grows
    # Another value takes the only component's spike away, but not that of one among two.
    more, counts = np.append(values, 4.0), np.append(weight, 1.0)
    assert np.isfinite(evidence_above(1e-9, more, counts, shape))
    assert prior.improper(more, counts, 1) is None
    assert (prior.improper(more, counts, 2) is not None) == grows


def test_what_is_equal_and_who_says_so(bentos):
    prior = DirichletNormalGamma(1, 400, 50, shape=2, rate=1)
    weight = np.ones(len(bentos))
    assert prior.improper(bentos, weight, 2) is None
    problem = prior.improper(np.append(bentos, 498), np.append(weight, 1), 2)
    assert "data holds the value 498 3 times" in str(problem)
    assert "least_scale" in str(problem)
    assert "such as 1" in str(problem)
    # What the data were rounded to, in either precision; the smallest gap where that does not show.
    odd = [0.2, 0.2, 0.2, 1 / 3, np.pi]
    for own, width in (
        ([5, 5, 5, 7.1, 9.3], "0.1"), ([-1.5, -1.5, -1.5, 0, 2], "0.5"), (odd, "0.133"),
        ([0.1 + 0.2, 0.3, 0.3, 0.3, 7e4 + 0.3], "0.1"), ([20, 20, 20, 27, 34], "1"),
    ):  # fmt: skip
        for precision in (np.float32, np.float64):
            problem = str(prior.improper(np.array(own, precision), np.ones(5), 2))
            assert f"such as {width}, to the prior" in problem
    # The smallest shape of any component decides, column by column; NaN equals nothing.
    table = np.array([[1.0, np.nan], [1.0, np.nan], [1.0, np.nan], [2.0, 5.0], [3.0, 6.0]])
    for shape, found in (([3.0, 2.0], True), ([3.0, 2.5], False), ([[2.5, 0.1]], False)):
        own = MixturePrior(1, NormalGamma(0, 1, shape, 1))
        assert (own.improper(table, np.ones(5), 2) is not None) == found
    parts = MixturePrior(1, ProductPrior([GammaPoisson(1, 1), NormalGamma(0, 1, 2, 1)]))
    assert "in column 1" in str(parts.improper(table[:, ::-1], np.ones(5), 2))
    for safe in (
        MixturePrior(1, NormalInverseGamma(0, 1, 0.1, 1)),
        DirichletNormalGamma(**TUTORIALS, shape=2, rate=1, least_scale=0.5),
        default_prior(table[:, 0], 2),
    ):
        assert safe.improper(np.zeros(20), np.ones(20), 2) is None


@pytest.mark.slow
def test_scales_above_the_least_have_the_gammas_density(x64):
    shape, rate, least = jnp.array([2.0, 0.6]), jnp.array([1.0, 3.0]), jnp.array([0.5, 0.9])
    many = [jnp.broadcast_to(a, (20_000, 2)) for a in (shape, rate, least)]
    drawn = np.asarray(jax.jit(IndependentGammaAbove(*many).sample)(jax.random.key(0)))
    for j in range(2):
        gamma = stats.gamma(shape[j], scale=1 / rate[j])
        beyond = gamma.sf(least[j])
        assert drawn[:, j].min() >= least[j]
        assert stats.kstest(drawn[:, j], lambda x, g=gamma, b=beyond: 1 - g.sf(x) / b).pvalue > 1e-3
        x = np.linspace(0.2, 3, 15)
        own = IndependentGammaAbove(*(jnp.full(15, a[j]) for a in (shape, rate, least)))
        expected = np.where(x >= least[j], gamma.logpdf(x) - np.log(beyond), -np.inf)
        np.testing.assert_allclose(own.log_prob_each(jnp.asarray(x)), expected)


def test_the_least_scale_holds_in_modes_draws_and_units(x64):
    prior = MixturePrior(1, NormalGamma(0.0, 2.0, 2.0, 1.0, least_scale=0.3)).spread(2)
    components = gmm_jax.Normal([1.5, 1.5], [0.4, 0.4])
    equal = jnp.full(8, 1.5)
    statistics = components.statistics(equal, jnp.full((8, 2), 0.5))
    free = jax.tree.map(lambda a: jnp.zeros(a.shape, bool), components)
    mode = prior.components.mode(components, statistics, Limits(free, jnp.asarray(1e-6)))
    np.testing.assert_allclose(mode.scales, 0.3)
    after = prior.components.given(components, statistics, jnp.asarray(1e-6))
    drawn = jax.jit(jax.vmap(after.sample))(jax.random.split(jax.random.key(1), 4000)).scales
    assert drawn.min() >= 0.3 * (1 - 1e-9)
    # By quadrature: equal values leave scale^(2 - 4) exp(-scale), nearly, above the least.
    s = np.exp(np.linspace(np.log(0.3), 3, 20_001))
    density = stats.gamma.pdf(s, 2) * s**-3 * stats.norm.pdf(1.5, 0, np.sqrt(4 + s**2 / 4))
    mean = integrate.trapezoid(s * density, s) / integrate.trapezoid(density, s)
    error = float(drawn.std() / np.sqrt(drawn.size))
    np.testing.assert_allclose(drawn.mean(), mean, atol=5 * error)
    np.testing.assert_allclose(prior.affine(1, 10).components.least_scale, [3.0, 3.0])
    assert prior.exchangeable
    assert not NormalGamma(0, 1, 2, 1, least_scale=[0.1, 0.2]).exchangeable


@pytest.mark.slow
def test_a_least_scale_gives_equal_values_an_evidence():
    """The evidence of one component of equal values, by quadrature."""
    prior = DirichletNormalGamma(**TUTORIALS, shape=2, rate=1, least_scale=0.3)
    values = np.array([1.5, 1.5, 1.5, 1.5, 1.0])
    fit = gmm_jax.fit(values, 1, prior=prior, n_draws=4000)
    beyond = stats.gamma.sf(0.3, 2)
    expected = np.log(evidence_above(0.3, values, np.ones(5), 2.0) / beyond)
    np.testing.assert_allclose(fit.log_evidence, expected, atol=5 * fit.log_evidence_error)


def test_bad_arguments():
    with pytest.raises(ValueError, match="least_scale must be above zero"):
        NormalGamma(0, 1, 2, 1, least_scale=0)
    prior = DirichletNormalGamma(**TUTORIALS, shape=2, rate=1, least_scale=0.1)
    with pytest.raises(ValueError, match="exact takes no least_scale"):
        gmm_jax.testing.exact([1.0, 2.0], prior, 2)


@pytest.mark.parametrize("shape", [0.5, 1.0, 2.5])
@pytest.mark.parametrize("copies", [0.2, 1.0, 2.0, 3.0])
def test_a_mean_that_is_held_takes_one_value_less(shape, copies):
    """Nothing is lost to where the mean lies: s^(shape - 1 - copies), by quadrature."""

    def above(lowest):
        u = np.linspace(np.log(lowest), 4, 40_001)
        log_density = stats.gamma.logpdf(np.exp(u), shape) + u
        log_density += copies * stats.norm.logpdf(0, 0, np.exp(u))
        return integrate.trapezoid(np.exp(log_density), u)

    lower = [above(10.0**-e) for e in (3, 6, 9)]
    grows = (lower[2] - lower[1]) > 0.5 * (lower[1] - lower[0])
    values, weight = np.array([1.5, 4.0, 7.0]), np.array([copies, 1.0, 1.0])
    prior = DirichletNormalGamma(**TUTORIALS, shape=shape, rate=1)
    at_value = {"means": np.array([np.nan, 1.5])}
    free = prior.improper(values, weight, 2) is not None
    assert (prior.improper(values, weight, 2, at_value) is not None) == (grows or free)
    # Not where it is held beside the data, or the scale is held, too; or where others must fit.
    both_beside = {"means": np.array([2.0, 3.0])}
    assert prior.improper(values, weight, 2, both_beside) is None
    scales = {"scales": np.array([1.0, 1.0])}
    assert prior.improper(values, weight, 2, at_value | scales) is None
    assert prior.improper(values, weight, 1, {"means": np.array([1.5])}) is None


def test_means_held_at_values_let_a_common_rate_vanish_sooner():
    values = np.array([1.0, 1, 1, 2, 3, 4])
    prior = MixturePrior(1, HierarchicalNormal(0, 1, 0.5, 0.6, 1))
    held = {"means": np.array([1.0, np.nan])}
    assert prior.improper(values, np.ones(6), 2) is None
    assert prior.improper(values, np.ones(6), 2, held) is not None
    assert prior.improper(values, np.ones(6), 2, held | {"scales": np.ones(2)}) is None


def test_a_mean_held_at_a_value_is_refused_by_fit():
    prior = DirichletNormalGamma(1, 1, 2, shape=2.5, rate=1)
    data = np.array([0.0, 0, 0, 1.2, -0.7, 3.1, 2.5, 4])
    options = dict(prior=prior, method="gibbs", n_draws=100)
    assert gmm_jax.fit(data, 2, fixed={"means": [5.0, np.nan]}, **options).method == "gibbs"
    with pytest.raises(ValueError, match="whose mean is held there"):
        gmm_jax.fit(data, 2, fixed={"means": [0.0, np.nan]}, **options)
