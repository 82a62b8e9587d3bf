"""Standard errors: closed forms, one method against the other, and the spread of refits."""

import jax
import numpy as np
import pytest

from gmm_jax import Bernoulli, DirichletNormalGamma, FitWarning, MultivariateNormal, Normal, fit


def separated(seed, n=500):
    rng = np.random.default_rng(seed)
    z = rng.choice(2, n, p=[0.3, 0.7])
    return np.where(z == 0, rng.normal(100, 2, n), rng.normal(150, 5, n))


def overlapping(seed, n=500):
    rng = np.random.default_rng(seed)
    z = rng.choice(2, n, p=[0.4, 0.6])
    return np.where(z == 0, rng.normal(0, 1, n), rng.normal(3.5, 1, n))


def flat(errors):
    return np.concatenate(
        [np.ravel(a) for a in (errors.weights, *jax.tree.leaves(errors.components))]
    )


@pytest.mark.parametrize(("method", "tolerance"), [("information", 1e-5), ("bootstrap", 0.15)])
def test_one_normal(method, tolerance):
    """s / sqrt(n) and s / sqrt(2 n)."""
    x = separated(0)[:200] * 1e3
    errors = fit(x, 1).standard_errors(method, n_resamples=400)
    np.testing.assert_allclose(errors.components.means, x.std() / np.sqrt(200), rtol=tolerance)
    assert errors.weights == [0]
    x = np.random.default_rng(1).normal(7, 3, 200)
    errors = fit(x, 1).standard_errors(method, n_resamples=400)
    np.testing.assert_allclose(errors.components.means, x.std() / np.sqrt(200), rtol=tolerance)
    np.testing.assert_allclose(errors.components.scales, x.std() / np.sqrt(400), rtol=tolerance)


def test_separate_clusters_have_closed_forms(dtype):
    x = separated(1).astype(dtype)
    low, high = x[x < 122].astype(float), x[x > 122].astype(float)
    share = len(low) / len(x)
    errors = fit(x, 2).standard_errors("information")
    w = np.sqrt(share * (1 - share) / len(x))
    np.testing.assert_allclose(errors.weights, [w, w], rtol=2e-3)
    means = [low.std() / np.sqrt(len(low)), high.std() / np.sqrt(len(high))]
    np.testing.assert_allclose(errors.components.means, means, rtol=2e-3)
    np.testing.assert_allclose(errors.components.scales, np.array(means) / np.sqrt(2), rtol=5e-3)
    np.testing.assert_allclose(errors.covariance[0, 1], -(w**2), rtol=2e-3)
    assert errors.names[:3] == ["weights[0]", "weights[1]", "means[0]"]


@pytest.mark.parametrize("make", [separated, overlapping])
def test_methods_agree(make):
    result = fit(make(2), 2)
    bootstrap, information = (result.standard_errors(m) for m in ("bootstrap", "information"))
    np.testing.assert_allclose(flat(bootstrap), flat(information), rtol=0.3)
    assert bootstrap.resamples.weights.shape == (200, 2)


def test_they_are_the_spread_of_the_estimator():
    estimates = [fit(overlapping(seed), 2).mixture for seed in range(100, 200)]
    spread = [np.std(leaf, 0) for leaf in zip(*map(jax.tree.leaves, estimates), strict=True)]
    errors = [flat(fit(overlapping(s), 2).standard_errors("information")) for s in range(100, 105)]
    np.testing.assert_allclose(np.mean(errors, 0), np.concatenate(spread), rtol=0.3)


def test_several_features(x64):
    """Means of one multivariate normal: L L' / n; information and bootstrap agree on the rest."""
    x = np.random.default_rng(3).normal(size=(300, 2)) @ [[2, 1], [0, 1]] + [10, -4]
    result = fit(x, 1, family=MultivariateNormal)
    information = result.standard_errors("information")
    np.testing.assert_allclose(
        information.covariance[1:3, 1:3], np.cov(x.T, ddof=0) / 300, rtol=1e-6
    )
    assert information.components.scale_trils[0, 0, 1] == 0
    bootstrap = result.standard_errors()
    np.testing.assert_allclose(flat(bootstrap), flat(information), rtol=0.3, atol=1e-12)


def test_weight_three_is_three_copies(x64):
    x = overlapping(4, 100)
    weighted = fit(x, 2, sample_weight=np.full(100, 3))
    copied = fit(np.repeat(x, 3), 2)
    expected = flat(copied.standard_errors("information"))
    np.testing.assert_allclose(flat(weighted.standard_errors("information")), expected, rtol=1e-4)
    np.testing.assert_allclose(flat(weighted.standard_errors()), expected, rtol=0.3)


def test_held_parameters_have_none():
    x = separated(5)
    result = fit(x, 2, fixed={"means": [100.0, np.nan]})
    for method in ("information", "bootstrap"):
        errors = result.standard_errors(method)
        assert errors.components.means[0] == 0
        np.testing.assert_allclose(errors.components.means[1], 5 / np.sqrt(350), rtol=0.3)


def test_shares_of_known_components():
    """Var of (red - .3) / .5 is red (1 - red) / n / .25."""
    red = np.repeat([1, 0], [55, 45])
    errors = fit(red, family=Bernoulli, fixed={"probs": [0.8, 0.3]}).standard_errors("information")
    np.testing.assert_allclose(errors.weights, 2 * np.sqrt(0.55 * 0.45 / 100), rtol=1e-4)
    errors = fit(red, family=Bernoulli, fixed={"probs": [0.8, 0.3]}).standard_errors()
    np.testing.assert_allclose(errors.weights, 2 * np.sqrt(0.55 * 0.45 / 100), rtol=0.2)


def test_a_posterior_mode_is_resampled_with_its_prior():
    """A prior that fixes the means leaves them no spread."""
    prior = DirichletNormalGamma([1, 1], [100, 150], 1e-3, 2, 0.5)
    result = fit(separated(6), 2, prior=prior, method="em")
    errors = result.standard_errors(n_resamples=50)
    assert errors.components.means.max() < 1e-3
    with pytest.raises(ValueError, match="this fit has a prior: use method='bootstrap'"):
        result.standard_errors("information")


def test_errors_say_what_to_do():
    red = np.repeat([1, 0], [90, 10])
    result = fit(red, family=Bernoulli, fixed={"probs": [0.8, 0.3]})
    with pytest.raises(
        ValueError, match=r"weights\[1\] is on its boundary.*use method='bootstrap'"
    ):
        result.standard_errors("information")
    both = np.random.default_rng(0).integers(0, 2, 100)
    with pytest.raises(ValueError, match="is singular"):
        fit(both, 2, family=Bernoulli).standard_errors("information")
    with pytest.raises(ValueError, match="method must be one of"):
        result.standard_errors("jackknife")
    with pytest.warns(FitWarning):
        collapsed = fit([1.0, 1.0, 2.0, 2.0], 2, family=Normal)
    with pytest.raises(ValueError, match="needs a sound fit"):
        collapsed.standard_errors()
