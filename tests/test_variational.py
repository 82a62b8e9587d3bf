"""Variational inference: exact evidence where it is exact, a bound elsewhere, scikit-learn's steps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, special, stats
from sklearn.mixture import BayesianGaussianMixture

import gmm_jax
from gmm_jax import (
    BetaBernoulli,
    DirichletCategorical,
    FitWarning,
    GammaExponential,
    GammaPoisson,
    Mixture,
    MixturePrior,
    MultivariateNormal,
    NormalInverseGamma,
    NormalInverseWishart,
    ProductPrior,
    divergences,
    variational,
)
from gmm_jax._pytree import rebuild
from gmm_jax.initial import components_around, uniforms_shape
from gmm_jax.table import Table
from gmm_jax.testing import exact

OF_BENTOS = MixturePrior(1, NormalInverseGamma(mean=400, mean_count=0.01, shape=2, rate=8))
EVERY_FAMILY = ProductPrior(
    [
        NormalInverseGamma(3, 0.1, 2, 1),
        NormalInverseWishart([3, 3], 0.1, 4, [[1, 0.3], [0.3, 2]]),
        GammaPoisson(2, 0.5),
        GammaExponential(2, 0.5),
        BetaBernoulli(2, 0.5),
        DirichletCategorical([1, 2, 0.5]),
    ],
    [0, (1, 2), 3, 4, 5, 6],
)
ROWS = np.array(
    [
        [1.0, 1.0, 2.0, 0, 0.1, 0, 0],
        [1.5, 1.4, 2.7, 1, 2.5, 0, 1],
        [3.5, 0.2, 1.1, 4, 0.5, 1, 1],
        [4.0, 5.1, 6.3, 2, 9.0, 1, 2],
        [6.5, 3.0, 5.5, 8, 8.0, 0, 2],
    ]
)


def climb(data, prior, k, n_runs=3):
    """Coordinate ascent in double precision."""
    points = jnp.asarray(data, float)
    table = Table(points[None], jnp.ones((1, len(points))))
    uniforms = jax.random.uniform(jax.random.key(0), uniforms_shape(n_runs, k))
    components = components_around(prior.family, "kmeans++", uniforms, points, jnp.ones(len(data)))
    starts = rebuild(Mixture, weights=jnp.full((n_runs, k), 1 / k), components=components)
    full = jax.tree.map(lambda a: jnp.asarray(a, float), prior.spread(k, points.shape[1:]))
    zero = jnp.zeros(())
    return jax.jit(lambda *at: variational.run(*at, zero, zero, 2000))(starts, table, full)


def test_one_component_of_every_family_has_its_exact_evidence(x64):
    prior = MixturePrior(1, EVERY_FAMILY)
    fit = climb(ROWS, prior, 1, n_runs=1)
    assert len(ROWS) * fit.bound[0] == pytest.approx(exact(ROWS, prior, 1).log_evidence, abs=1e-6)


def test_the_bound_rises_to_a_bound(x64):
    prior = MixturePrior(0.7, EVERY_FAMILY)
    fit = climb(ROWS, prior, 2)
    log_evidence = exact(ROWS, prior, 2).log_evidence
    bound = len(ROWS) * np.asarray(fit.bound)
    rises = np.diff(np.asarray(fit.history), axis=0)
    assert np.all((fit.steps > 3) & (fit.steps < 2000))
    assert np.nanmin(rises) > -1e-13 and np.nanmax(rises) > 0.01
    # One of two labellings.
    assert log_evidence - np.log(2) - 1 < bound.max() < log_evidence


def test_divergences_are_integrals(x64):
    for (a, b), (c, d) in [((3.0, 2.0), (1.5, 0.7)), ((0.4, 1.0), (30.0, 9.0))]:
        q, p = stats.gamma(a, scale=1 / b), stats.gamma(c, scale=1 / d)
        expected = q.expect(lambda x, q=q, p=p: q.logpdf(x) - p.logpdf(x), epsabs=1e-10)
        at = (jnp.asarray(x) for x in (a, b, c, d))
        assert divergences.gamma(*at) == pytest.approx(expected, rel=1e-5)
        q, p = stats.beta(a, b), stats.beta(c, d)
        density = lambda x, q=q, p=p: q.pdf(x) * (q.logpdf(x) - p.logpdf(x))  # noqa: E731
        expected = sum(integrate.quad(density, *ends)[0] for ends in ((0, 0.01), (0.01, 1)))
        found = divergences.dirichlet(jnp.array([a, b]), jnp.array([c, d]))
        assert found == pytest.approx(expected, rel=1e-5)


def test_divergences_keep_their_digits_in_single_precision():
    """Of a million points; scipy in double precision is the textbook's formula."""
    shape, rate, before = 1e6, 3e6, 2.0
    textbook = (
        (shape - before) * special.digamma(shape) - special.gammaln(shape)
        + special.gammaln(before) + before * np.log(rate / 1.0) + shape * (1.0 - rate) / rate
    )  # fmt: skip
    single = [jnp.asarray(x, jnp.float32) for x in (shape, rate, before, 1.0)]
    assert divergences.gamma(*single) == pytest.approx(textbook, rel=1e-5)


def test_scikit_learn_climbs_to_the_same_place(x64):
    rng = np.random.default_rng(0)
    data = np.r_[rng.normal(0, 1, (60, 2)), rng.normal([2.5, 1.0], [1.5, 0.5], (40, 2))]
    scale_matrix = np.array([[1.0, 0.2], [0.2, 0.8]])
    prior = MixturePrior(0.8, NormalInverseWishart([1, 0], 0.3, 4.5, scale_matrix))
    fit = climb(data, prior, 2)
    found = jax.tree.map(lambda a: np.asarray(a[variational.best(fit)]), fit.posteriors)
    theirs = BayesianGaussianMixture(
        2,
        weight_concentration_prior_type="dirichlet_distribution",
        weight_concentration_prior=0.8,
        mean_prior=[1, 0],
        mean_precision_prior=0.3,
        degrees_of_freedom_prior=4.5,
        covariance_prior=scale_matrix,
        reg_covar=0,
        tol=1e-13,
        max_iter=5000,
        random_state=0,
    ).fit(data)
    ours, order = np.argsort(found.components.mean[:, 0]), np.argsort(theirs.means_[:, 0])
    pairs = {
        "concentration": (found.weights.concentration, theirs.weight_concentration_),
        "mean": (found.components.mean, theirs.means_),
        "mean_count": (found.components.mean_count, theirs.mean_precision_),
        "df": (found.components.df, theirs.degrees_of_freedom_),
        "scale_matrix": (
            found.components.scale_matrix / found.components.df[:, None, None],
            theirs.covariances_,
        ),
    }
    for name, (own, its) in pairs.items():
        np.testing.assert_allclose(own[ours], its[order], rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.fixture(scope="module")
def of_bentos(bentos):
    return gmm_jax.fit(bentos, 2, prior=OF_BENTOS, method="variational")


def marginal(x):
    """Log evidence of one component of the bentos' prior: a multivariate t."""
    covariance = 8 / 2 * (np.eye(len(x)) + 1 / 0.01)
    return stats.multivariate_t(np.full(len(x), 400), covariance, 4).logpdf(x)


def test_bentos_lie_so_far_apart_that_it_is_exact(of_bentos, bentos):
    light, heavy = bentos[bentos < 400], bentos[bentos > 400]
    assignments = special.betaln(1 + len(light), 1 + len(heavy))
    expected = np.log(2) + assignments + marginal(light) + marginal(heavy)
    assert of_bentos.log_evidence == pytest.approx(expected, abs=2e-3)
    draws = of_bentos.draws
    share = stats.beta(1 + len(light), 1 + len(heavy))
    weights = np.asarray(draws.weights)[:, 0]
    assert stats.kstest(weights, share.cdf).pvalue > 1e-3
    count, half = 0.01 + len(heavy), 2 + len(heavy) / 2
    mean = (0.01 * 400 + heavy.sum()) / count
    pull = 0.01 * len(heavy) / count * (heavy.mean() - 400) ** 2
    rate = 8 + (len(heavy) * heavy.var() + pull) / 2
    at = stats.t(2 * half, mean, np.sqrt(rate / half / count))
    assert stats.kstest(np.asarray(draws.components.means)[:, 1], at.cdf).pvalue > 1e-3


def test_it_says_that_it_is_a_bound(of_bentos):
    assert of_bentos.lower_bound and np.isnan(of_bentos.log_evidence_error)
    assert of_bentos.pareto_k < 0.5 and of_bentos.effective_sample_size > 3990
    assert of_bentos.n_draws == 4000
    assert "log evidence at least -73.99" in str(of_bentos)
    assert "standard error" not in str(of_bentos)
    assert "Posterior by variational inference, as asked; the best of 10" in of_bentos.reason


def test_a_row_of_weight_three_is_three_rows(bentos):
    whole = gmm_jax.fit(np.r_[bentos, 352, 352], 2, prior=OF_BENTOS, method="variational")
    weight = np.where(np.arange(len(bentos)) == 1, 3, 1)
    weighed = gmm_jax.fit(bentos, 2, prior=OF_BENTOS, method="variational", sample_weight=weight)
    assert weighed.log_evidence == pytest.approx(whole.log_evidence, abs=1e-3)


def test_it_warns_where_it_comes_not_close():
    data = stats.t(3).ppf((np.arange(20) + 0.5) / 20)
    prior = MixturePrior(1, NormalInverseGamma(mean=0, mean_count=0.01, shape=2, rate=1))
    with pytest.warns(FitWarning, match="Pareto k is"):
        fit = gmm_jax.fit(data, 2, prior=prior, method="variational")
    assert fit.pareto_k > 0.7 and fit.effective_sample_size < 3000


def test_missing_values_make_it_a_bound():
    """Of one component, whose evidence is that of what was observed of each feature."""
    data = np.array([[398.0, 401], [399, np.nan], [402, 402], [401, 398], [np.nan, 399]])
    fit = gmm_jax.fit(data, 1, prior=OF_BENTOS, method="variational")
    expected = sum(marginal(column[~np.isnan(column)]) for column in data.T)
    assert expected - 0.5 < fit.log_evidence < expected + 1e-4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(prior=gmm_jax.DirichletNormalGamma(1, 400, 50, 2, 1)), "NormalGamma is none: pass"),
        (dict(prior=OF_BENTOS, fixed={"scales": [2, 2]}), "fixed is not for method='variational'"),
    ],
)
def test_what_it_does_not_do(bentos, options, message):
    with pytest.raises(ValueError, match=message):
        gmm_jax.fit(bentos, 2, method="variational", **options)


def test_geometric_means_are_averages_of_logs(x64):
    """Of normals with a full covariance, by draws."""
    full = NormalInverseWishart([1.0, 0], 3.0, 9.0, [[2, 0.5], [0.5, 1]]).spread(2, (2,))
    components, log_masses = full.geometric_mean()
    point = jnp.array([[0.5, -0.8]])
    draws = jax.vmap(full.sample)(jax.random.split(jax.random.key(0), 4000))
    logs = np.asarray(jax.vmap(MultivariateNormal.log_prob, (0, None))(draws, point))[:, 0]
    found = components.log_prob(point)[0] + log_masses
    np.testing.assert_array_less(np.abs(found - logs.mean(0)), 5 * logs.std(0) / np.sqrt(4000))
