"""Many data sets in one call: the optimum of `fit` on each, and errors that name the set."""

import warnings

import jax
import numpy as np
import pytest
from scipy import stats

import gmm_jax
from gmm_jax import (
    Bernoulli,
    FitWarning,
    MultivariateNormal,
    Normal,
    Poisson,
    Product,
    em,
    fit,
    fit_many,
)


def ragged(d: int, family=None, s: int = 30) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Well separated clusters far from zero, of 33 to 48 points, and weights."""
    rng = np.random.default_rng(d)
    sets, weights = [], []
    for n in rng.integers(33, 49, s):
        which = rng.integers(2, size=n)
        if family is Bernoulli:
            shares = np.array([[0.95] * 5 + [0.05], [0.05] * 5 + [0.95]])
            sets.append((rng.random((n, 6)) < shares[which]).astype(float))
        else:
            offset = 10.0 ** rng.integers(0, 5)
            points = offset * (1 + 8 * which[:, None] + rng.normal(size=(n, d)))
            sets.append(points[:, 0] if d == 1 else points)
        weights.append(rng.integers(0, 4, n).astype(float))
    return sets, weights


@pytest.mark.slow
@pytest.mark.parametrize(("family", "d"), [(Normal, 1), (Normal, 2), (MultivariateNormal, 2)])
def test_each_set_has_the_optimum_of_fit(family, d, x64):
    sets, weights = ragged(d)
    many = fit_many(sets, 2, family=family, sample_weight=weights, n_restarts=3)
    assert len(many) == len(sets)
    assert many.converged.all()
    for i in range(0, len(sets), 3):
        alone = fit(sets[i], 2, family=family, sample_weight=weights[i], n_restarts=3)
        assert many.log_likelihood[i] == pytest.approx(alone.log_likelihood, abs=1e-6)
        assert many.bic[i] == pytest.approx(alone.bic)
        one = jax.tree.map(lambda a, i=i: a[i], many.mixtures)
        for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(alone.mixture), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4 * np.ptp(sets[i]))


MIXED = Product.of(Normal, Poisson)


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"covariance_type": "full"},
        {"covariance_type": "tied", "fixed": {"means": [[0.0, 0.0], [np.nan, np.nan]]}},
        {"covariance_type": "spherical"},
        {"family": Normal, "fixed": {"means": [[0.0, np.nan], [np.nan, np.nan]]}},
        {"family": MIXED, "shared": {"parts[0].scales": True}},
    ],
    ids=str,
)
def test_missing_values_structures_and_known_values_are_those_of_fit(options, x64):
    rng = np.random.default_rng(11)
    sets = []
    for n in (41, 48):
        which = rng.integers(2, size=(n, 1))
        points = 1000 * which + rng.normal(size=(n, 2)) * [30, 60]
        points[:, 1] = points[:, 1] if options.get("family") is not MIXED else rng.poisson(9, n)
        points[rng.random((n, 2)) < 0.15] = np.nan
        sets.append(points)
    many = fit_many(sets, 2, **options, n_restarts=3)
    for i, points in enumerate(sets):
        alone = fit(points, 2, **options, n_restarts=3)
        assert many.log_likelihood[i] == pytest.approx(alone.log_likelihood, abs=1e-6)
        assert many.n_parameters == alone.n_parameters
        one = jax.tree.map(lambda a, i=i: a[i], many.mixtures)
        for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(alone.mixture), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-2)
        shares = many[i].responsibilities(points)
        np.testing.assert_allclose(shares, alone.responsibilities(points), atol=1e-4)


@pytest.mark.slow
def test_bernoulli_sets_have_the_optimum_of_fit():
    sets, weights = ragged(6, Bernoulli)
    many = fit_many(sets, 2, family=Bernoulli, sample_weight=weights, n_restarts=4)
    for i in range(0, len(sets), 5):
        alone = fit(sets[i], 2, family=Bernoulli, sample_weight=weights[i], n_restarts=4)
        assert many.log_likelihood[i] == pytest.approx(alone.log_likelihood, abs=2e-3)


def test_the_likelihood_is_that_of_scipy():
    sets, weights = ragged(1)
    many = fit_many(sets, 2, sample_weight=weights, n_restarts=2)
    for i in (0, 7, 29):
        mixture = many[i].mixture
        parts = stats.norm.pdf(
            sets[i][:, None], mixture.components.means, mixture.components.scales
        )
        expected = weights[i] @ np.log(parts @ np.asarray(mixture.weights, float))
        assert many.log_likelihood[i] == pytest.approx(expected, rel=2e-4)


def test_an_array_is_a_list_of_its_rows():
    data = np.random.default_rng(0).normal([-4, 4], 1, (20, 30, 2)).reshape(20, 60)
    stacked, listed = fit_many(data, 2, n_restarts=2), fit_many(list(data), 2, n_restarts=2)
    np.testing.assert_array_equal(stacked.log_likelihood, listed.log_likelihood)


def test_one_set_is_a_point_fit():
    sets, _ = ragged(1)
    many = fit_many(sets, 2, n_restarts=2)
    one = many[-1]
    assert isinstance(one, gmm_jax.PointFit)
    assert one.log_likelihood == many.log_likelihood[29]
    assert float(one.log_prob().sum()) == pytest.approx(one.log_likelihood, rel=1e-5)
    assert one.n_steps == many.n_steps[29]
    np.testing.assert_array_equal(one.data, sets[29])
    with pytest.raises(IndexError):
        many[30]


def test_a_slow_set_ends_where_it_would_alone_and_others_do_not_wait():
    """Sets that are done make room: steps differ, and stopping early is what status says."""
    rng = np.random.default_rng(1)
    easy = rng.normal(rng.choice([-9.0, 9.0], (70, 100)), 1)
    slow = rng.normal(rng.choice([-0.7, 0.7], (1, 100)), 1)
    many = fit_many(np.concatenate([easy, slow]), 2, n_restarts=1)
    assert many.n_steps[:-1].max() < 15 < many.n_steps[-1]
    short = fit_many(np.concatenate([easy, slow]), 2, n_restarts=1, max_steps=14)
    assert short.status[-1] == em.RUNNING
    assert short.n_steps[-1] == 14
    assert (short.log_likelihood <= many.log_likelihood + 1e-3).all()


def test_summary_counts_how_sets_ended():
    good = [1.0, 1.1, 0.9, 1.05, 8.0, 8.2, 7.7, 8.1]
    with pytest.warns(FitWarning, match=r"in 1 of 2 data sets, the first of them data_sets\[1\]"):
        many = fit_many([good, [0.0, 1.0]], 2)
    assert "2 data sets, 2 Normal components each" in str(many)
    assert "1 converged" in str(many)
    assert "1 a component collapsed" in str(many)


GOOD = [1.0, 2.0, 8.0, 9.0]


@pytest.mark.parametrize(
    ("sets", "options", "error", "match"),
    [
        ([], {}, ValueError, "data_sets is empty"),
        ([GOOD, []], {}, ValueError, r"data_sets\[1\] has shape \(0,\)"),
        ([GOOD, [[1.0, 2.0]]], {}, ValueError, r"data_sets\[1\] has points of shape \(2,\)"),
        ([GOOD, [1.0]], {}, ValueError, r"data_sets\[1\] has 1 points"),
        ([GOOD, [np.nan] * 3], {}, ValueError, r"data_sets\[1\] has no values"),
        ([GOOD, [1.0, np.inf, 2.0]], {}, ValueError, r"data_sets\[1\] has 1 infinite"),
        ([GOOD], {"fixed": {"means": [1.0]}}, ValueError, "fixed"),
        ([GOOD, [3.0, 3.0, 3.0]], {}, ValueError, r"data_sets\[1\] is the same number"),
        ([GOOD, ["a", "b"]], {}, TypeError, "must be numbers|real numbers"),
        (np.zeros(5), {}, ValueError, "For one data set use fit"),
        ([GOOD, [0, 1, 2]], {"family": Bernoulli}, ValueError, r"data_sets\[0\]: data for Bern"),
        ([GOOD], {"sample_weight": [[1.0]]}, ValueError, "in the same shape"),
        ([GOOD, GOOD], {"sample_weight": [[1] * 4, [0] * 4]}, ValueError, r"sample_weight\[1\]"),
        ([GOOD], {"start": "nowhere"}, ValueError, "start must be one of"),
        ([GOOD], {"tol": -1.0}, ValueError, "tol must not be negative"),
    ],
)
def test_bad_input_is_named(sets, options, error, match):
    with pytest.raises(error, match=match):
        fit_many(sets, 2, **options)


def test_a_known_component_may_stand_empty():
    """Of three points, or none, and nobody warns: `fit` solves for shares of known components."""
    known = {"means": [420.0, 500.0], "scales": [25.0, 25.0]}
    sets = [[420.0, 425, 410], [430.0, 440, 470]]
    with warnings.catch_warnings():
        warnings.simplefilter("error", FitWarning)
        many = fit_many(sets, fixed=known)
    assert many.converged.all()
    shares = [fit(own, fixed=known).mixture.weights for own in sets]
    assert 0 < shares[1][1] < 1 / 6
    np.testing.assert_allclose(many.mixtures.weights, shares, atol=1e-3)
