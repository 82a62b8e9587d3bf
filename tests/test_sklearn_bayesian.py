"""`BayesianGaussianMixture` against scikit-learn's own, and against exact evidence."""

import warnings

import numpy as np
import pytest
from scipy import special, stats
from sklearn import mixture as theirs
from sklearn.exceptions import ConvergenceWarning

from gmm_jax.sklearn import BayesianGaussianMixture

TYPES = ["full", "tied", "diag", "spherical"]
WEIGHTS = ["dirichlet_process", "dirichlet_distribution"]
BOTH = [("full", WEIGHTS[0]), ("full", WEIGHTS[1]), ("tied", WEIGHTS[0])]
BOTH += [("diag", WEIGHTS[0]), ("spherical", WEIGHTS[1])]
ATTRIBUTES = [
    "weights_",
    "means_",
    "covariances_",
    "precisions_",
    "precisions_cholesky_",
    "weight_concentration_",
    "mean_precision_",
    "degrees_of_freedom_",
    "weight_concentration_prior_",
    "mean_precision_prior_",
    "mean_prior_",
    "degrees_of_freedom_prior_",
    "covariance_prior_",
]


@pytest.fixture(scope="module")
def clouds() -> np.ndarray:
    rng = np.random.default_rng(1)
    parts = [rng.normal(m, s, (n, 2)) for m, s, n in [((0, 0), 1, 50), ((4, 1), 0.6, 40)]]
    return np.concatenate(parts) + 10


def assert_same(ours, other, tol):
    for name in ATTRIBUTES:
        np.testing.assert_allclose(getattr(ours, name), getattr(other, name), tol, err_msg=name)


@pytest.mark.parametrize(("covariance_type", "kind"), BOTH)
def test_first_step_and_priors_are_scikit_learns(clouds, covariance_type, kind):
    asked = dict(
        n_components=3, covariance_type=covariance_type, max_iter=0, random_state=0,
        weight_concentration_prior_type=kind,
    )  # fmt: skip
    ours, other = BayesianGaussianMixture(**asked), theirs.BayesianGaussianMixture(**asked)
    assert_same(ours.fit(clouds), other.fit(clouds), 1e-9)


@pytest.mark.parametrize("kind", WEIGHTS)
def test_full_covariances_end_where_scikit_learns_do(clouds, kind):
    asked = dict(
        n_components=3, random_state=0, weight_concentration_prior_type=kind,
        weight_concentration_prior=0.5, mean_precision_prior=0.3, mean_prior=[9.0, 9.0],
        degrees_of_freedom_prior=4.0, covariance_prior=[[1.0, 0.2], [0.2, 2.0]],
    )  # fmt: skip
    other = theirs.BayesianGaussianMixture(**asked, tol=1e-10, max_iter=5000).fit(clouds)
    ours = BayesianGaussianMixture(**asked).fit(clouds)
    assert ours.converged_
    assert_same(ours, other, 1e-4)
    assert (ours.predict(clouds) == other.predict(clouds)).mean() > 0.98
    stopped = theirs.BayesianGaussianMixture(**asked).fit(clouds)
    assert abs(ours.n_iter_ - stopped.n_iter_) <= 2


def exact(X: np.ndarray, covariance_type: str, alpha: float | None) -> float:
    """Log evidence of one component under the default prior, in closed form."""
    (n, d), centre = X.shape, X.mean(0)
    off = X - centre  # the prior's mean is that of the points, so nothing pulls
    prior, df = np.cov(X.T), d
    mean = 0.5 * d * -np.log1p(n)
    if covariance_type in ("full", "tied"):
        after, gammas = prior + off.T @ off, special.multigammaln([(df + n) / 2, df / 2], d)
        logs = np.linalg.slogdet(prior)[1], np.linalg.slogdet(after)[1]
        evidence = gammas[0] - gammas[1] + df / 2 * logs[0] - (df + n) / 2 * logs[1]
        evidence += mean - n * d / 2 * np.log(np.pi)
    else:
        variances, squares = np.diag(prior), (off**2).sum(0)
        if covariance_type == "spherical":
            a, b, more, halves = d * df / 2, d * variances.mean() / 2, n * d / 2, squares.sum() / 2
        else:
            a, b, more, halves = df / 2, variances / 2, n / 2, squares / 2
        each = special.gammaln(a + more) - special.gammaln(a) + a * np.log(b)
        each = each - (a + more) * np.log(b + halves)
        evidence = np.sum(each) + mean - n * d / 2 * np.log(2 * np.pi)
    if alpha is not None:  # all points before the first stick's end
        evidence += special.betaln(1 + n, alpha) - special.betaln(1, alpha)
    return float(evidence)


@pytest.mark.parametrize("covariance_type", TYPES)
def test_one_component_has_the_exact_evidence(clouds, covariance_type):
    kind = WEIGHTS[TYPES.index(covariance_type) % 2]
    model = BayesianGaussianMixture(
        covariance_type=covariance_type, reg_covar=0, weight_concentration_prior_type=kind
    ).fit(clouds)
    alpha = 1.0 if kind == "dirichlet_process" else None
    assert model.lower_bound_ == pytest.approx(exact(clouds, covariance_type, alpha), abs=1e-6)


@pytest.mark.parametrize(("covariance_type", "kind"), BOTH[1:])
def test_no_step_lowers_the_bound(clouds, covariance_type, kind):
    model = BayesianGaussianMixture(
        n_components=3, covariance_type=covariance_type, reg_covar=0, tol=1e-9, max_iter=400,
        weight_concentration_prior_type=kind, init_params="random", random_state=0,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(clouds)
    assert np.diff(model.lower_bounds_).min() > -1e-8
    assert model.lower_bound_ >= model.lower_bounds_[-1]
    again = model.set_params(warm_start=True, max_iter=2, tol=1e-3).fit(clouds)
    assert again.converged_
    assert again.n_iter_ == 1


def test_new_points_meet_the_posterior_predictive(clouds):
    model = BayesianGaussianMixture(random_state=0).fit(clouds)
    d, df, count = 2, float(model.degrees_of_freedom_[0]), float(model.mean_precision_[0])
    scale = model.covariances_[0] * df * (count + 1) / (count * (df - d + 1))
    expected = stats.multivariate_t(model.means_[0], scale, df - d + 1).logpdf(clouds[:9])
    np.testing.assert_allclose(model.score_samples(clouds[:9]), expected, 1e-9)
    diagonal = BayesianGaussianMixture(covariance_type="diag").fit(clouds)
    df, count = float(diagonal.degrees_of_freedom_[0]), float(diagonal.mean_precision_[0])
    scales = np.sqrt(diagonal.covariances_[0] * (count + 1) / count)
    expected = stats.t(df, diagonal.means_[0], scales).logpdf(clouds[:9]).sum(1)
    np.testing.assert_allclose(diagonal.score_samples(clouds[:9]), expected, 1e-9)
    X, labels = model.sample(4000)
    assert X.shape == (4000, 2)
    assert not labels.any()
    assert np.all(np.abs(X.mean(0) - clouds.mean(0)) < 5 * clouds.std(0) / np.sqrt(4000) * 1.1)


@pytest.mark.parametrize(
    ("covariance_type", "kind"), [BOTH[2], pytest.param(*BOTH[4], marks=pytest.mark.slow)]
)
def test_draws_are_of_the_variational_posterior(clouds, covariance_type, kind):
    model = BayesianGaussianMixture(
        n_components=3, covariance_type=covariance_type, random_state=0,
        weight_concentration_prior_type=kind,
    ).fit(clouds)  # fmt: skip
    posterior = model.posterior_
    draws = posterior.draws
    error = 5 * np.asarray(draws.components.means).std(0) / np.sqrt(posterior.n_draws)
    off = np.asarray(draws.components.means).mean(0) - model.means_
    assert np.all(np.abs(off) < error + 1e-5)
    shares = np.asarray(draws.weights)
    assert np.all(np.abs(shares.mean(0) - model.weights_) < 0.01)
    assert "a lower bound" in posterior.summary()
    if kind == "dirichlet_distribution":  # these are compared with the posterior
        assert posterior.pareto_k < 0.7
        shares = posterior.responsibilities(clouds)
        np.testing.assert_allclose(shares, model.predict_proba(clouds), atol=0.03)


@pytest.mark.slow
def test_gibbs_chains_have_the_same_prior(clouds):
    asked = dict(
        n_components=2, weight_concentration_prior_type="dirichlet_distribution", random_state=0
    )
    chains = BayesianGaussianMixture(**asked, method="gibbs").fit(clouds)
    quick = BayesianGaussianMixture(**asked).fit(clouds)
    order, other = chains.means_[:, 0].argsort(), quick.means_[:, 0].argsort()
    np.testing.assert_allclose(chains.means_[order], quick.means_[other], atol=0.1)
    np.testing.assert_allclose(chains.weights_[order], quick.weights_[other], atol=0.02)
    assert chains.posterior_.method == "gibbs"
    assert (chains.predict(clouds) == chains.labels_).all()
    assert chains.sample(10)[0].shape == (10, 2)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"degrees_of_freedom_prior": 1.0}, "degrees_of_freedom_prior must be above d - 1 = 1"),
        ({"mean_precision_prior": 0.0}, "mean_precision_prior must be above zero"),
        ({"weight_concentration_prior": -1.0}, "weight_concentration_prior must be above zero"),
        ({"weight_concentration_prior_type": "none"}, "weight_concentration_prior_type must be"),
        ({"mean_prior": [1.0]}, r"mean_prior must be finite numbers of shape \(2,\)"),
        ({"covariance_prior": [[1.0, 2], [2, 1]]}, "covariance_prior must be symmetric"),
        ({"covariance_prior": -1.0, "covariance_type": "spherical"}, "must be above zero"),
        ({"method": "guess"}, "method must be one of 'variational'"),
        ({"method": "gibbs"}, "pass weight_concentration_prior_type='dirichlet_distribution'"),
        ({"method": "gibbs", "covariance_type": "tied"}, "covariance_type='tied' is for method="),
    ],
)
def test_parameters_that_make_no_sense(clouds, asked, message):
    with pytest.raises(ValueError, match=message):
        BayesianGaussianMixture(**asked).fit(clouds)
