"""The conditional of mean and scale, against quadrature of its definition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

from gmm_jax.distributions import IndependentGamma, IndependentNormal
from gmm_jax.priors.mean_and_scale import mean_and_scale

GRID = np.linspace(-14, 5, 40_001)
"""Of log scales, for the reference."""
CASES = {  # count, average, squares, mean, mean_scale, shape, rate
    "many points": (200.0, 0.4, 150.0, 0.0, 2.0, 2.0, 1.0),
    "eight points": (8.0, -1.3, 2.5, 0.0, 1.0, 2.0, 1.0),
    "one point": (1.0, 2.0, 0.0, 0.0, 1.0, 2.0, 1.0),
    "no points": (0.0, 0.0, 0.0, 0.7, 1.5, 3.0, 2.0),
    "half a point": (0.5, 1.0, 0.0, 0.0, 1.0, 2.0, 1.0),
    "against the prior": (12.0, 9.0, 20.0, 0.0, 0.5, 2.0, 3.0),
    "narrow": (50.0, 0.0, 5e-5, 0.0, 1.0, 2.0, 1.0),
    "shape below one": (5.0, 0.0, 3.0, 0.0, 1.0, 0.6, 0.5),
}


@pytest.fixture(params=CASES.values(), ids=CASES.keys())
def case(request):
    return request.param


def conditional(case):
    count, average, squares, mean, mean_scale, shape, rate = (jnp.full(1, a) for a in case)
    return mean_and_scale(
        count,
        average,
        squares,
        IndependentNormal(mean, mean_scale),
        IndependentGamma(shape, rate),
        jnp.asarray(1e-5),
    )


def exact_density(case):
    """Of the log scale, on GRID: prior times likelihood, the mean integrated out.

    The average of n points is Normal(mean, mean_scale^2 + scale^2 / n), independent of their
    squares about it, which have density proportional to scale^(1 - n) exp(-squares / 2 scale^2).
    """
    count, average, squares, mean, mean_scale, shape, rate = case
    scale = np.exp(GRID)
    log_density = stats.gamma.logpdf(scale, shape, scale=1 / rate) + GRID
    if count:
        log_density += stats.norm.logpdf(average, mean, np.sqrt(mean_scale**2 + scale**2 / count))
        log_density += -(count - 1) * GRID - squares / (2 * scale**2)
    density = np.exp(log_density - log_density.max())
    return density / integrate.trapezoid(density, GRID)


def exact_cdf(case):
    cumulative = integrate.cumulative_trapezoid(exact_density(case), GRID, initial=0)
    return lambda log_scale: np.interp(log_scale, GRID, cumulative)


def mean_moments(case):
    count, average, _, mean, mean_scale, _, _ = case
    trust = (np.exp(GRID) / mean_scale) ** 2
    return (count * average + trust * mean) / (count + trust), np.exp(GRID) / np.sqrt(count + trust)


def test_draws_of_scales_follow_the_exact_conditional(case):
    n = 20_000
    many = jax.vmap(conditional(case).sample)(jax.random.split(jax.random.key(0), n))
    log_scales = np.log(np.asarray(many[1], np.float64)[:, 0])
    assert stats.kstest(log_scales, exact_cdf(case)).pvalue > 1e-4


def test_draws_of_means_follow_the_exact_conditional(case):
    n = 20_000
    many = jax.vmap(conditional(case).sample)(jax.random.split(jax.random.key(1), n))
    centre, spread = mean_moments(case)
    points = np.linspace(*np.quantile(np.asarray(many[0], np.float64), [0, 1]), 400)
    density = exact_density(case)
    cdf = [integrate.trapezoid(density * stats.norm.cdf(x, centre, spread), GRID) for x in points]
    means = np.asarray(many[0], np.float64)[:, 0]
    assert stats.kstest(means, lambda x: np.interp(x, points, cdf)).pvalue > 1e-4


def test_the_density_is_that_of_the_draws(case):
    """Importance weights exact / density have mean one, over the draws."""
    n = 20_000
    table = conditional(case)
    means, scales = jax.vmap(table.sample)(jax.random.split(jax.random.key(2), n))
    density = jax.vmap(table.log_prob_matched)(means, scales)[:, 0, 0]
    log_scales = np.log(np.asarray(scales, np.float64))[:, 0]
    exact = np.log(np.interp(log_scales, GRID, exact_density(case))) - log_scales
    count, average, _, mean, mean_scale, _, _ = case
    trust = (np.exp(log_scales) / mean_scale) ** 2
    centre = (count * average + trust * mean) / (count + trust)
    spread = np.exp(log_scales) / np.sqrt(count + trust)
    exact += stats.norm.logpdf(np.asarray(means, np.float64)[:, 0], centre, spread)
    weights = np.exp(exact - np.asarray(density, np.float64))
    assert np.all(np.isfinite(weights))
    assert abs(weights.mean() - 1) < 5 * weights.std() / np.sqrt(n) + 1e-4
    assert weights.std() < 0.1  # the table is fine enough to be the conditional itself


def test_no_density_below_the_floor_or_far_above():
    table = conditional(CASES["eight points"])
    density = table.log_prob_matched(jnp.array([-1.3]), jnp.array([1e-6]))
    assert np.isneginf(density).all()
    assert np.isneginf(table.log_prob_matched(jnp.array([-1.3]), jnp.array([1e4]))).all()


def test_equal_points_have_a_proper_conditional():
    table = conditional((6.0, 1.0, 0.0, 0.0, 1.0, 2.0, 1.0))
    means, scales = jax.vmap(table.sample)(jax.random.split(jax.random.key(0), 1000))
    assert np.isfinite(means).all()
    assert np.all(np.asarray(scales) >= 1e-5 * 0.999)


def test_every_pair_is_matched_with_every_place():
    parts = [CASES["eight points"], CASES["many points"]]
    count, average, squares, mean, mean_scale, shape, rate = jnp.array(parts).T
    table = mean_and_scale(
        count,
        average,
        squares,
        IndependentNormal(mean, mean_scale),
        IndependentGamma(shape, rate),
        jnp.asarray(1e-5),
    )
    means, scales = jnp.array([0.2, -0.9]), jnp.array([0.8, 0.6])
    matched = table.log_prob_matched(means, scales)
    for place, part in enumerate(parts):
        for pair in range(2):
            alone = conditional(part).log_prob_matched(
                means[pair : pair + 1], scales[pair : pair + 1]
            )
            np.testing.assert_allclose(matched[place, pair], alone[0, 0], rtol=1e-4, atol=1e-4)
