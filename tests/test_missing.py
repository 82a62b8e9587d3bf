"""Missing values: exact EM, against brute force over what was observed."""

import itertools

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from scipy import special, stats

import gmm_jax
from gmm_jax import MultivariateNormal, Normal, fit
from gmm_jax.families.incomplete import Incomplete


def holed(n=300, d=3, share=0.25, seed=0):
    rng = np.random.default_rng(seed)
    shape = np.array([[1.0, 0.0, 0.0], [0.8, 0.6, 0.0], [-0.5, 0.3, 0.7]])[:d, :d]
    data = np.concatenate(
        [rng.normal(size=(n // 2, d)) @ shape.T, 5 + rng.normal(size=(n - n // 2, d)) @ shape]
    )
    return np.where(rng.random(data.shape) < share, np.nan, data)


def observed_log_density(point, mean, covariance):
    seen = ~np.isnan(point)
    if not seen.any():
        return 0.0
    return stats.multivariate_normal.logpdf(point[seen], mean[seen], covariance[np.ix_(seen, seen)])


def test_density_is_that_of_what_was_observed(x64):
    data = holed(40)
    data[0] = np.nan
    rng = np.random.default_rng(1)
    roots = rng.normal(size=(2, 3, 3))
    covariances = roots @ roots.swapaxes(1, 2) + np.eye(3)
    means = rng.normal(size=(2, 3))
    components = MultivariateNormal.from_covariances(means, covariances)
    expected = [
        [observed_log_density(x, m, c) for m, c in zip(means, covariances, strict=True)]
        for x in data
    ]
    got = Incomplete(components.means, components.scale_trils).log_prob(jnp.asarray(data))
    np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-10)


def test_expectations_are_the_regressions_on_what_was_observed(x64):
    data = holed(30)
    covariance = np.array([[2.0, 0.8, 0.1], [0.8, 1.0, -0.3], [0.1, -0.3, 1.5]])
    mean = np.array([0.5, -1.0, 2.0])
    components = MultivariateNormal.from_covariances([mean], [covariance])
    counts, deviations, products = components.incomplete().statistics(
        jnp.asarray(data), jnp.ones((30, 1))
    )
    first, second = np.zeros(3), np.zeros((3, 3))
    for x in data:
        o, m = np.flatnonzero(~np.isnan(x)), np.flatnonzero(np.isnan(x))
        full, extra = x.copy(), np.zeros((3, 3))
        gain = covariance[np.ix_(m, o)] @ np.linalg.pinv(covariance[np.ix_(o, o)])
        full[m] = mean[m] + gain @ (x[o] - mean[o])
        extra[np.ix_(m, m)] = covariance[np.ix_(m, m)] - gain @ covariance[np.ix_(o, m)]
        first += full - mean
        second += np.outer(full - mean, full - mean) + extra
    np.testing.assert_allclose(counts, [30])
    np.testing.assert_allclose(deviations[0], first, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(products[0], second, rtol=1e-9, atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["full", "tied", "diag", "tied_diag", "spherical"])
def test_every_structure_climbs_to_an_optimum_of_the_observed_likelihood(kind, x64):
    data = holed(120)
    result = gmm_jax.fit(data, 2, covariance_type=kind, n_restarts=3)
    assert result.converged
    assert np.all(np.diff(result.history) > -1e-10)
    components = result.mixture.components
    covariances = (
        np.asarray(components.covariances)
        if isinstance(components, MultivariateNormal)
        else np.stack([np.diag(s**2) for s in np.asarray(components.scales)])
    )

    def log_likelihood(weights, means, covariances):
        terms = [
            [observed_log_density(x, m, c) for m, c in zip(means, covariances, strict=True)]
            for x in data
        ]
        return np.log(np.exp(terms) @ weights).sum()

    if isinstance(components, MultivariateNormal):
        assert not np.triu(components.scale_trils, 1).any()
    weights, means = np.asarray(result.mixture.weights), np.asarray(components.means)
    best = log_likelihood(weights, means, covariances)
    np.testing.assert_allclose(result.log_likelihood, best, rtol=1e-8)
    for j in range(3):
        for step in (-1e-3, 1e-3):
            moved = means.copy()
            moved[0, j] += step
            assert log_likelihood(weights, moved, covariances) < best


def test_no_values_missing_is_the_ordinary_fit(x64):
    data = holed(119, share=0.0)
    plain = gmm_jax.fit(data, 2, n_restarts=3)
    data = np.vstack([data, np.full((1, 3), np.nan)])
    extra = gmm_jax.fit(data, 2, n_restarts=3)
    np.testing.assert_allclose(extra.log_likelihood, plain.log_likelihood, rtol=1e-6)


def test_answers_for_new_points_with_holes(x64):
    result = gmm_jax.fit(holed(120), 2, n_restarts=3)
    point = np.array([4.8, np.nan, 5.2])
    weights = np.asarray(result.mixture.weights)
    terms = [
        observed_log_density(point, m, c)
        for m, c in zip(
            np.asarray(result.mixture.components.means),
            np.asarray(result.mixture.components.covariances),
            strict=True,
        )
    ]
    np.testing.assert_allclose(result.log_prob(point), np.log(weights @ np.exp(terms)), rtol=1e-9)
    np.testing.assert_allclose(
        result.mixture.log_prob(point), np.log(weights @ np.exp(terms)), rtol=1e-9
    )
    filled = np.asarray(result.impute(point))
    assert filled.shape == (3,)
    assert abs(filled[1] - 5) < 1.5


def test_missing_numbers_and_priors(x64):
    data = np.array([350.0, 352, np.nan, 349, 500, 498, np.nan, 503])
    prior = gmm_jax.DirichletNormalGamma(1, 400, 100, 2, 1)
    with_holes = gmm_jax.fit(data, 2, prior=prior, method="em")
    without = gmm_jax.fit(data[~np.isnan(data)], 2, prior=prior, method="em")
    np.testing.assert_allclose(
        with_holes.mixture.components.means, without.mixture.components.means, atol=1e-3
    )


def test_a_column_without_values_is_named():
    with pytest.raises(ValueError, match="column 1 of data has no values"):
        gmm_jax.fit(np.c_[np.arange(9.0), np.full(9, np.nan)], 1)


def test_independent_features_take_holes(x64):
    data = jnp.array([[0.3, jnp.nan], [jnp.nan, jnp.nan]])
    components = Normal([[0.0, 1.0]], [[1.0, 2.0]])
    np.testing.assert_allclose(
        components.log_prob(data)[:, 0], [stats.norm.logpdf(0.3), 0.0], rtol=1e-12
    )


def log_marginal(x, mean=0.5, mean_count=0.1, shape=3.0, rate=1.0):
    """Of numbers of one normal under a normal-inverse-gamma prior."""
    n = len(x)
    if not n:
        return 0.0
    total, grown = mean_count + n, shape + n / 2
    squares = ((x - x.mean()) ** 2).sum() + mean_count * n / total * (x.mean() - mean) ** 2
    return (
        special.gammaln(grown) - special.gammaln(shape)
        + shape * np.log(rate) - grown * np.log(rate + squares / 2)
        + 0.5 * np.log(mean_count / total) - n / 2 * np.log(2 * np.pi)
    )  # fmt: skip


@pytest.mark.parametrize(
    ("method", "n_draws"),
    [("importance", 20_000), pytest.param("smc", 4000, marks=pytest.mark.slow)],
)
def test_the_evidence_is_that_of_what_was_observed(method, n_draws):
    """Against the sum over all assignments, each column of each component by what it has."""
    nan = np.nan
    data = np.array([[0.1, 2.0], [nan, 1.4], [3.1, nan], [2.9, -1.0], [0.4, nan], [nan, -0.6]])
    terms = []
    for assigned in itertools.product(range(2), repeat=len(data)):
        term = special.gammaln(3) - special.gammaln(3 + len(data)) - 2 * special.gammaln(1.5)
        for k in range(2):
            own = data[np.array(assigned) == k]
            term += special.gammaln(1.5 + len(own))
            term += sum(log_marginal(column[~np.isnan(column)]) for column in own.T)
        terms.append(term)
    expected = special.logsumexp(terms)
    prior = gmm_jax.MixturePrior(1.5, gmm_jax.NormalInverseGamma(0.5, 0.1, 3.0, 1.0))
    fit = gmm_jax.fit(data, 2, prior=prior, method=method, n_draws=n_draws)
    assert fit.log_evidence_error < 0.05
    assert fit.log_evidence == pytest.approx(expected, abs=5 * fit.log_evidence_error)


def test_importance_sampling_comes_first_where_values_are_missing():
    data = holed(60, 2)
    data = data[~np.isnan(data).all(1)]
    fit = gmm_jax.fit(data, 2, prior="default")
    assert fit.method == "importance"
    assert fit.log_evidence_error < 0.1


def test_missing_in_the_words_of_pandas():
    rng = np.random.default_rng(3)
    data = rng.normal(size=(40, 2))
    data[4, 0] = np.nan
    frame = pd.DataFrame(data, columns=["a", "b"]).astype({"a": "Float64"})
    assert frame.loc[4, "a"] is pd.NA
    ours, theirs = fit(data, 1), fit(frame, 1)
    assert ours.log_likelihood == theirs.log_likelihood
    np.testing.assert_array_equal(ours.impute(), theirs.impute(frame))
