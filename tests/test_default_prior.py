"""Default priors: they follow the data's unit and origin, are proper, and let the data speak."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from scipy.special import multigammaln
from sklearn.datasets import load_wine

import gmm_jax
from gmm_jax import (
    Bernoulli,
    Categorical,
    Exponential,
    Gamma,
    Heterogeneous,
    MultivariateNormal,
    MultivariateStudentT,
    Normal,
    Poisson,
    Product,
    default_prior,
)

RNG = np.random.default_rng(0)
PAIRS = np.column_stack([RNG.normal(3, 1, 40), RNG.gamma(2, 1, 40)])
MIXED = np.column_stack([PAIRS, RNG.poisson(4, 40)])
CASES = {
    "Normal": (Normal, PAIRS[:, 0]),
    "Normal 2-D": (Normal, PAIRS),
    "MultivariateNormal": (MultivariateNormal, PAIRS),
    "Exponential": (Exponential, PAIRS[:, 1]),
    "Gamma": (Gamma, PAIRS[:, 1]),
    "Product": (Product.of((MultivariateNormal, (0, 1)), (Poisson, 2)), MIXED),
}


def hyperparameters(prior):
    return jax.tree.map(lambda a: np.asarray(a, np.float64), prior)


@pytest.mark.parametrize("name", CASES)
def test_the_prior_moves_with_the_data(name, x64):
    family, data = CASES[name]
    event = data.shape[1:]
    prior = default_prior(data, 3, family)
    shift = np.where(np.broadcast_to(family.centred, event), 1e6, 0.0)
    scale = np.where(np.broadcast_to(family.scaled, event), 1e-3, 1.0)
    moved = default_prior(shift + scale * data, 3, family)
    full, other = (hyperparameters(p.spread(3, event)) for p in (prior, moved))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), full.affine(shift, scale), other
    )


@pytest.mark.parametrize("name", CASES)
def test_weights_are_copies_and_what_is_missing_is_passed_over(name):
    family, data = CASES[name]
    weight = RNG.integers(0, 3, len(data)).astype(float)
    weighed = default_prior(data, 2, family, sample_weight=weight)
    copied = default_prior(np.repeat(data, weight.astype(int), 0), 2, family)
    holes = np.concatenate([data, np.full((2, *data.shape[1:]), np.nan)])
    for a, b in (
        (weighed, copied),
        (default_prior(holes, 2, family), default_prior(data, 2, family)),
    ):
        jax.tree.map(
            lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-6),
            hyperparameters(a),
            hyperparameters(b),
        )


def test_prior_draws_have_the_stated_widths(x64):
    """Of both kinds of normals: distributions of means and variances, by scipy."""
    data = PAIRS[:, :1]
    m, s = data.mean(), data.std()

    def drawn(family):
        prior = default_prior(data, 2, family)
        return jax.jit(lambda key: prior.sample(key, 2, (1,), (20_000,)))(jax.random.key(0))

    one, full = drawn(Normal).components, drawn(MultivariateNormal).components
    for means, scales, of_means, of_variances in (
        (one.means, one.scales, stats.norm(m, 2 * s), stats.invgamma(0.5, scale=(s / 20) ** 2 / 2)),
        (full.means, full.scale_trils[..., 0], stats.t(2, m, s),
         stats.invgamma(1, scale=(s / 20) ** 2)),
    ):  # fmt: skip
        assert stats.kstest(np.asarray(means)[:, 0, 0], of_means.cdf).pvalue > 1e-3
        assert stats.kstest(np.asarray(scales)[:, 0, 0] ** 2, of_variances.cdf).pvalue > 1e-3
    low, high = np.sqrt(stats.invgamma(0.5, scale=(1 / 20) ** 2 / 2).ppf([0.05, 0.95]))
    np.testing.assert_allclose([low, high], [0.05 / 2, 1.6 / 2], rtol=0.05)


def test_components_fill_volumes():
    """Ten components in two columns are as narrow as one in one column; counts have no width."""
    one = default_prior(PAIRS[:, :1], 1, MultivariateNormal).components
    two = default_prior(PAIRS, 10).components
    beside_counts = default_prior(MIXED, 10, CASES["Product"][0]).components.parts[0]
    for several in (two, beside_counts):
        np.testing.assert_allclose(several.scale_matrix[0, 0], one.scale_matrix[0, 0], rtol=1e-6)
        np.testing.assert_allclose(several.mean_count, one.mean_count, rtol=1e-6)


def log_evidence(points, prior):
    """Of one component: Murphy, 'Conjugate Bayesian analysis of the Gaussian', section 9."""
    (n, d), mean = points.shape, points.mean(0)
    count, df, scale = (
        np.asarray(a, np.float64).squeeze()
        for a in (prior.mean_count, prior.df, prior.scale_matrix)
    )
    off = mean - np.asarray(prior.mean, np.float64).squeeze()
    within = (points - mean).T @ (points - mean)
    after = scale + within + count * n / (count + n) * np.outer(off, off)
    (_, before), (_, after) = np.linalg.slogdet(scale), np.linalg.slogdet(after)
    return (
        (d * np.log(count / (count + n)) + df * before - (df + n) * after) / 2
        - n * d / 2 * np.log(np.pi)
        + multigammaln((df + n) / 2, d)
        - multigammaln(df / 2, d)
    )


def test_many_columns_do_not_forbid_components(x64):
    """Three cultivars of wine are more probable as three components than as two."""
    wine, cultivar = load_wine(return_X_y=True)
    prior = default_prior(wine, 3).components
    each = [log_evidence(wine[cultivar == c], prior) for c in range(3)]
    for c in range(3):
        together = log_evidence(wine[cultivar != c], prior)
        assert sum(each) - each[c] > together + 50


def test_narrow_components_far_apart_are_found(bentos):
    """20 bentos, within few grams of 350 and 500: the prior doesn't blur them."""
    prior = default_prior(bentos, 2)
    mode = gmm_jax.fit(bentos, 2, prior=prior, method="em").mixture
    light, heavy = bentos[bentos < 425], bentos[bentos > 425]
    np.testing.assert_allclose(mode.components.means, [light.mean(), heavy.mean()], atol=0.1)
    widths = np.asarray(mode.components.scales) / [light.std(), heavy.std()]
    assert np.all((widths > 0.9) & (widths < 1.5))


@pytest.mark.slow
def test_all_draws_are_sound():
    """Families without a unit, and counts that are all 0."""
    binary, letters = np.array([0.0, 1, 1, 0]), np.array([0.0, 2, 1, 1])
    for family, data in (
        (Bernoulli, binary),
        (Categorical, letters),
        (Poisson, np.zeros(4)),
        (Product.of(Bernoulli, Categorical), np.column_stack([binary, letters])),
    ):
        prior = default_prior(data, 2, family)

        @jax.jit
        def log_density(key, prior=prior, data=data):
            mixture = prior.sample(key, 2, data.shape[1:])
            return prior.log_prob(mixture) + mixture.log_prob(jnp.asarray(data)).sum()

        assert np.isfinite(log_density(jax.random.key(0)))


@pytest.mark.slow
@pytest.mark.parametrize("family", [Normal, Poisson])
def test_the_prior_expects_data_like_these(family):
    """Prior predictive medians, quartiles and ranges surround those of the data."""
    data = np.random.default_rng(1).poisson(np.repeat([3, 30], 50)).astype(float)
    prior = default_prior(data, 2, family)
    draws = jax.jit(lambda key: prior.sample_data(key, 100, 2, sample_shape=(2000,)))
    draws = np.asarray(draws(jax.random.key(0)))
    assert draws.shape == (2000, 100)
    for what in (np.median, np.std, np.ptp):
        expected = what(draws, axis=1)
        assert 0.1 < np.mean(expected < what(data)) < 0.9


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: default_prior([1, 2, 3], 2, MultivariateStudentT), "no prior of MultivariateStu"),
        (lambda: default_prior(PAIRS, 2, Heterogeneous.of(Normal, Normal)), "there is no prior of"),
        (lambda: default_prior([2.1, 2.1, 2.1], 2), "same number throughout"),
        (lambda: default_prior([1, 2], 1, sample_weight=[1]), "one entry for each of 2 rows"),
        (lambda: default_prior([1, 2], 0), "n_components must be at least 1"),
        (lambda: default_prior([1.5, 2], 2, Poisson), "whole|0, 1, 2"),
    ],
)
def test_bad_arguments(make, match):
    with pytest.raises(ValueError, match=match):
        make()
