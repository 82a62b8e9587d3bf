"""Variational inference: the evidence or a bound, exact posteriors, scikit-learn's optimum."""

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
from gmm_jax.testing.quantities import quick

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


def climb(data, prior, k, n_runs=3, incomplete=False):
    """Coordinate ascent in double precision."""
    points = jnp.asarray(data, float)
    table = Table(points[None], jnp.ones((1, len(points))), incomplete=incomplete)
    uniforms = jax.random.uniform(jax.random.key(0), uniforms_shape(n_runs, k))
    components = components_around(prior.family, "kmeans++", uniforms, points, jnp.ones(len(data)))
    starts = rebuild(Mixture, weights=jnp.full((n_runs, k), 1 / k), components=components)
    full = jax.tree.map(lambda a: jnp.asarray(a, float), prior.spread(k, points.shape[1:]))
    zero = jnp.zeros(())
    return quick(lambda *at: variational.run(*at, zero, zero, 2000))(starts, table, full)


def closed_forms(rows):
    """Log evidence of one component of every family, from textbooks."""
    n = len(rows)
    normal, both, counts, waits, ones = rows[:, 0], rows[:, 1:3], *rows[:, 3:6].T
    yield stats.multivariate_t(np.full(n, 3), (np.eye(n) + 1 / 0.1) / 2, 4).logpdf(normal)
    before, total = np.array([[1, 0.3], [0.3, 2]]), 0.1 + n
    off = both.mean(0) - 3
    after = before + n * np.cov(both.T, bias=True) + 0.1 * n / total * np.outer(off, off)
    determinants = 2 * np.linalg.slogdet(before)[1] - (4 + n) / 2 * np.linalg.slogdet(after)[1]
    gammas = special.multigammaln((4 + n) / 2, 2) - special.multigammaln(2, 2)
    yield gammas + determinants + np.log(0.1 / total) - n * np.log(np.pi)
    start = 2 * np.log(0.5) - special.gammaln(2)
    shape = 2 + counts.sum()
    poisson = special.gammaln(shape) - shape * np.log(0.5 + n)
    yield start + poisson - special.gammaln(counts + 1).sum()
    yield start + special.gammaln(2 + n) - (2 + n) * np.log(0.5 + waits.sum())
    yield special.betaln(2 + ones.sum(), 0.5 + n - ones.sum()) - special.betaln(2, 0.5)
    levels, at = np.array([1, 2, 0.5]), np.bincount(rows[:, 6].astype(int), minlength=3)
    yield special.gammaln(levels + at).sum() - special.gammaln(levels.sum() + n)
    yield special.gammaln(levels.sum()) - special.gammaln(levels).sum()


@pytest.mark.slow
def test_one_component_of_every_family_has_its_exact_evidence(x64):
    fit = climb(ROWS, MixturePrior(1, EVERY_FAMILY), 1, n_runs=1)
    np.testing.assert_allclose(len(ROWS) * fit.bound, sum(closed_forms(ROWS)), atol=1e-9)


@pytest.mark.slow
def test_the_bound_rises_to_a_bound(x64):
    answers = np.array([[0.0, 1, 1], [0, 1, 0], [1, 0, 1], [1, 0, 0]])
    prior = MixturePrior(1, BetaBernoulli(2, 0.5))
    fit = climb(answers, prior, 2)
    log_evidence = exact(answers, prior, 2).log_evidence
    bound = len(answers) * np.asarray(fit.bound)
    assert np.all((fit.steps > 3) & (fit.steps < 2000))
    assert_rises(fit)
    # One of two labellings.
    assert log_evidence - np.log(2) - 2 < bound.max() < log_evidence


def assert_rises(fit):
    rises = np.diff(np.asarray(fit.history), axis=0)
    assert np.nanmin(rises) > -1e-13
    assert np.nanmax(rises) > 1e-3


def test_divergences_are_integrals(x64):
    for (a, b), (c, d) in [((3.0, 2.0), (1.5, 0.7)), ((0.4, 1.0), (30.0, 9.0))]:
        q, p = stats.gamma(a, scale=1 / b), stats.gamma(c, scale=1 / d)
        expected = q.expect(lambda x, q=q, p=p: q.logpdf(x) - p.logpdf(x), epsabs=1e-10)
        at = (jnp.asarray(x) for x in (a, b, c, d))
        assert divergences.gamma(*at) == pytest.approx(expected, rel=1e-5)
        # In the logit, where no density is infinite.
        grid = np.linspace(-60, 30, 20001)
        log_x, log_rest = special.log_expit(grid), special.log_expit(-grid)
        own = a * log_x + b * log_rest - special.betaln(a, b)
        its = c * log_x + d * log_rest - special.betaln(c, d)
        expected = integrate.trapezoid(np.exp(own) * (own - its), grid)
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


@pytest.mark.slow
def test_scikit_learn_climbs_to_the_same_place(x64):
    rng = np.random.default_rng(0)
    data = np.r_[rng.normal(0, 1, (60, 2)), rng.normal([2.5, 1.0], [1.5, 0.5], (40, 2))]
    scale_matrix = np.array([[1.0, 0.2], [0.2, 0.8]])
    prior = MixturePrior(0.8, NormalInverseWishart([1, 0], 0.3, 4.5, scale_matrix))
    fit = climb(data, prior, 2)
    found = jax.tree.map(lambda a: np.asarray(a[variational.best(fit)]), fit.posteriors)
    assert_rises(fit)
    theirs = BayesianGaussianMixture(
        n_components=2,
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


@pytest.mark.slow
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
    assert of_bentos.lower_bound
    assert np.isnan(of_bentos.log_evidence_error)
    assert of_bentos.pareto_k < 0.5
    assert of_bentos.effective_sample_size > 3990
    assert of_bentos.n_draws == 4000
    assert "log evidence at least -73.99" in str(of_bentos)
    assert "standard error" not in str(of_bentos)
    assert "the best of 10 coordinate ascents" in of_bentos.reason


def test_a_row_of_weight_three_is_three_rows(bentos):
    whole = gmm_jax.fit(np.r_[bentos, 352, 352], 2, prior=OF_BENTOS, method="variational")
    weight = np.where(np.arange(len(bentos)) == 1, 3, 1)
    weighed = gmm_jax.fit(bentos, 2, prior=OF_BENTOS, method="variational", sample_weight=weight)
    assert weighed.log_evidence == pytest.approx(whole.log_evidence, abs=1e-3)


def test_it_warns_where_it_comes_not_close():
    data = np.linspace(-3, 3, 20)
    prior = MixturePrior(1, NormalInverseGamma(mean=0, mean_count=0.1, shape=1, rate=0.5))
    with pytest.warns(FitWarning, match="Pareto k is"):
        fit = gmm_jax.fit(data, 2, prior=prior, method="variational")
    assert fit.pareto_k > 0.7
    assert fit.effective_sample_size < 2000


def test_missing_values_make_it_a_bound(x64):
    """Of one component, whose evidence is that of what was observed of each feature."""
    data = np.array([[398.0, 401], [399, np.nan], [402, 402], [401, 398], [np.nan, 399]])
    fit = climb(data, OF_BENTOS, 1, n_runs=1, incomplete=True)
    expected = sum(marginal(column[~np.isnan(column)]) for column in data.T)
    assert expected - 0.5 < len(data) * fit.bound[0] < expected
    assert_rises(fit)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(prior="default"), "SemiconjugateNormal is none: pass MixturePrior"),
        (dict(prior=OF_BENTOS, fixed={"scales": [2, 2]}), "fixed is not for method='variational'"),
    ],
)
def test_what_it_does_not_do(bentos, options, message):
    with pytest.raises(ValueError, match=message):
        gmm_jax.fit(bentos, 2, method="variational", **options)
