"""Standard errors: closed forms, one method against the other, and the spread of refits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gmm_jax import (
    Bernoulli,
    Categorical,
    DirichletNormalGamma,
    FitWarning,
    Heterogeneous,
    MultivariateNormal,
    Normal,
    Poisson,
    Product,
    StudentT,
    Uniform,
    fit,
)


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


def normal(x, mean, scale):
    """Log density where x is known."""
    known = jnp.where(jnp.isnan(x), mean, x)
    terms = -0.5 * ((known - mean) / scale) ** 2 - jnp.log(scale) - 0.5 * jnp.log(2 * jnp.pi)
    return jnp.where(jnp.isnan(x), 0, terms)


def bivariate(x, mean, tril):
    """Log density of what is known: the first column, then the second given it if it is known."""
    slope = jnp.where(jnp.isnan(x[:, 0]), 0, tril[1, 0] / tril[0, 0])
    scale = jnp.where(jnp.isnan(x[:, 0]), jnp.hypot(tril[1, 0], tril[1, 1]), tril[1, 1])
    given = mean[1] + slope * (jnp.nan_to_num(x[:, 0]) - mean[0])
    return normal(x[:, 0], mean[0], tril[0, 0]) + normal(x[:, 1], given, scale)


def tied(t):
    tril = jnp.array([[t[5], 0], [t[6], t[7]]])
    means = t[1:5].reshape(2, 2)
    parameters = jnp.array([t[0], 1 - t[0]]), means, jnp.stack([tril, tril])
    return parameters, lambda x: [bivariate(x, m, tril) for m in means]


def spherical(t):
    means, scales = t[1:5].reshape(2, 2), jnp.stack([t[5:7], t[5:7]], 1)
    parameters = jnp.array([t[0], 1 - t[0]]), means, scales
    rows = zip(means, scales, strict=True)
    return parameters, lambda x: [normal(x, m, s).sum(1) for m, s in rows]


def grouped(t):
    """The first mean is known, the first two scales are one."""
    means, scales = jnp.array([0.0, t[2], t[3]]), t[jnp.array([4, 4, 5])]
    parameters = jnp.array([t[0], t[1], 1 - t[0] - t[1]]), means, scales
    rows = zip(means, scales, strict=True)
    return parameters, lambda x: [normal(x[:, 0], m, s) for m, s in rows]


def mixed(t):
    parameters = jnp.array([t[0], 1 - t[0]]), t[1:3], t[jnp.array([3, 3])], t[4:6]
    rows = zip(t[1:3], t[4:6], strict=True)
    counts = [lambda x, r=r: jax.scipy.stats.poisson.logpmf(x, r) for r in t[4:6]]
    pairs = [(m, c) for (m, _), c in zip(rows, counts, strict=True)]
    return parameters, lambda x: [normal(x[:, 0], m, t[3]) + c(x[:, 1]) for m, c in pairs]


SHARED = {
    # what is fitted, which of its numbers the free parameters are, and the mixture they make
    "tied": ({"covariance_type": "tied"}, [0, 2, 3, 4, 5, 6, 8, 9], tied),
    "tied, holes": ({"covariance_type": "tied"}, [0, 2, 3, 4, 5, 6, 8, 9], tied),
    "spherical": ({"covariance_type": "spherical"}, [0, 2, 3, 4, 5, 6, 8], spherical),
    "groups": (
        {"shared": {"scales": [0, 0, 1]}, "fixed": {"means": [0.0, np.nan, np.nan]}},
        [0, 1, 4, 5, 6, 8],
        grouped,
    ),
    "mixed table": (
        {"family": Product.of(Normal, Poisson), "shared": {"parts[0].scales": True}},
        [0, 2, 3, 4, 6, 7],
        mixed,
    ),
}


def table_of(case):
    rng = np.random.default_rng(0)
    z = rng.choice(3 if case == "groups" else 2, 240)
    x = rng.normal(size=(240, 2)) * [1, 0.7] + np.stack([4.0 * z, 3.0 * z], 1)
    x[:, 1] += 0.5 * x[:, 0]
    if case == "mixed table":
        x[:, 1] = rng.poisson(3 + 6 * z)
    if case == "tied, holes":
        x[rng.random(x.shape) < 0.2] = np.nan
    return x[:, :1] if case == "groups" else x


@pytest.mark.slow
@pytest.mark.parametrize("case", SHARED)
def test_information_is_that_of_the_free_parameters(case, x64):
    """The Hessian in them alone, of a density written out here."""
    asked, free, mixture_of = SHARED[case]
    x = table_of(case)
    result = fit(x[:, 0] if case == "groups" else x, 3 if case == "groups" else 2, **asked)
    theta = jnp.asarray(flat(result.mixture)[free])
    assert len(theta) == result.n_parameters

    def log_likelihood(theta):
        (weights, *_), densities = mixture_of(theta)
        each = jnp.log(weights) + jnp.stack(densities(jnp.asarray(x)), 1)
        return jax.nn.logsumexp(each, 1).sum()

    def parameters(theta):
        return jnp.concatenate([a.ravel() for a in mixture_of(theta)[0]])

    assert float(log_likelihood(theta)) == pytest.approx(result.log_likelihood, rel=1e-9)
    inverse = np.linalg.inv(-jax.jit(jax.hessian(log_likelihood))(theta))
    jacobian = np.asarray(jax.jit(jax.jacfwd(parameters))(theta))
    errors = result.standard_errors("information")
    expected = jacobian @ inverse @ jacobian.T
    unit = np.sqrt(np.outer(np.diag(expected), np.diag(expected))).max()
    np.testing.assert_allclose(errors.covariance, expected, rtol=1e-3, atol=1e-4 * unit)
    if case == "groups":  # whose components must keep their places when they are resampled
        bootstrap = result.standard_errors(n_resamples=100)
        np.testing.assert_allclose(flat(bootstrap), flat(errors), rtol=0.3)


def test_a_category_has_a_closed_form():
    """sqrt(p (1 - p) / n), although the logs of the probabilities have one number too many."""
    answers = np.repeat([0, 1, 2], [20, 50, 30])
    errors = fit(answers, 1, family=Categorical).standard_errors("information")
    p = np.array([0.2, 0.5, 0.3])
    np.testing.assert_allclose(errors.components.probs[0], np.sqrt(p * (1 - p) / 100), rtol=1e-4)
    np.testing.assert_allclose(errors.covariance[1, 2], -0.2 * 0.5 / 100, rtol=1e-4)


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


@pytest.mark.slow
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


@pytest.mark.slow
def test_they_are_the_spread_of_the_estimator():
    estimates = [fit(overlapping(seed), 2).mixture for seed in range(100, 200)]
    spread = [np.std(leaf, 0) for leaf in zip(*map(jax.tree.leaves, estimates), strict=True)]
    errors = [flat(fit(overlapping(s), 2).standard_errors("information")) for s in range(100, 105)]
    np.testing.assert_allclose(np.mean(errors, 0), np.concatenate(spread), rtol=0.3)


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_shares_of_known_components():
    """Var of (red - .3) / .5 is red (1 - red) / n / .25."""
    red = np.repeat([1, 0], [55, 45])
    errors = fit(red, family=Bernoulli, fixed={"probs": [0.8, 0.3]}).standard_errors("information")
    np.testing.assert_allclose(errors.weights, 2 * np.sqrt(0.55 * 0.45 / 100), rtol=1e-4)
    errors = fit(red, family=Bernoulli, fixed={"probs": [0.8, 0.3]}).standard_errors()
    np.testing.assert_allclose(errors.weights, 2 * np.sqrt(0.55 * 0.45 / 100), rtol=0.2)


@pytest.mark.slow
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


@pytest.mark.slow
def test_bootstrap_of_a_t_whose_neighbour_has_no_heavy_tails():
    """That neighbour's degrees of freedom run to their end, and are no measure of convergence."""
    rng = np.random.default_rng(77)
    heavy, light = 2 * rng.standard_t(2, 200), rng.uniform(38, 42, 50)
    both = fit(np.r_[heavy, light], 2, family=StudentT, n_restarts=2)
    errors = both.standard_errors(n_resamples=50)
    alone = fit(heavy, 1, family=StudentT).standard_errors("information")
    for name in ("means", "scales", "dfs"):
        found, expected = getattr(errors.components, name)[0], getattr(alone.components, name)[0]
        assert 0.7 < found / expected < 1.5, name


@pytest.mark.slow
def test_columns_of_one_family_have_names_of_their_own():
    rng = np.random.default_rng(0)
    data = np.stack([rng.poisson(3, 40), rng.poisson(9, 40)], 1)
    errors = fit(data, 1, family=Product.of(Poisson, Poisson)).standard_errors("information")
    assert errors.names == ["weights[0]", "parts[0].rates[0]", "parts[1].rates[0]"]
    expected = np.sqrt(data.mean(0) / 40)
    np.testing.assert_allclose(np.sqrt(np.diag(errors.covariance))[1:], expected, rtol=1e-5)


@pytest.mark.slow
def test_bootstrap_of_a_normal_among_noise():
    """The two hardly overlap: what is known of a normal alone holds."""
    rng = np.random.default_rng(5)
    data = np.r_[rng.normal(0, 1, 150), rng.uniform(-200, 200, 50)]
    fitted = fit(data, family=Heterogeneous.of(Normal, Uniform), n_restarts=2)
    errors = fitted.standard_errors(n_resamples=100)
    normal = errors.components.parts[0]
    assert normal.means[0] == pytest.approx(1 / np.sqrt(150), rel=0.3)
    assert errors.weights[0] == pytest.approx(np.sqrt(0.75 * 0.25 / 200), rel=0.3)
