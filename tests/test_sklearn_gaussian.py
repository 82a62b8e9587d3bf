"""`gmm_jax.sklearn.GaussianMixture` against scikit-learn's own, and against closed forms."""

import pickle
import warnings

import numpy as np
import pytest
from scipy import stats
from sklearn import mixture as theirs
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import gmm_jax
from gmm_jax.sklearn import GaussianMixture, from_sklearn, to_sklearn

TYPES = ["full", "tied", "diag", "spherical"]
ARRAYS = [
    "weights_",
    "means_",
    "covariances_",
    "precisions_",
    "precisions_cholesky_",
    "lower_bounds_",
]


@pytest.fixture(scope="module")
def clouds() -> np.ndarray:
    """Three clouds that overlap, with a correlation, far from zero."""
    rng = np.random.default_rng(0)
    parts = [
        rng.normal(0, 1, (60, 2)),
        rng.normal((3, 2), (0.7, 1.2), (50, 2)),
        rng.multivariate_normal((0, 4), [[1, 0.6], [0.6, 1]], 50),
    ]
    return np.concatenate(parts) + 100


@pytest.fixture(scope="module")
def full(clouds) -> GaussianMixture:
    return GaussianMixture(3, random_state=0).fit(clouds)


def assert_same(ours, other, tol=1e-7):
    for name in ARRAYS:
        np.testing.assert_allclose(getattr(ours, name), getattr(other, name), tol, err_msg=name)


@pytest.mark.parametrize("covariance_type", TYPES)
def test_it_is_scikit_learns_answer_and_then_the_top(clouds, covariance_type):
    asked = dict(n_components=3, covariance_type=covariance_type, random_state=0, reg_covar=1e-3)
    other = theirs.GaussianMixture(**asked).fit(clouds)
    same = GaussianMixture(**asked, polish=False).fit(clouds)
    assert_same(same, other)
    assert (same.n_iter_, same.converged_) == (other.n_iter_, other.converged_)
    assert same.lower_bound_ == pytest.approx(other.lower_bound_, abs=1e-9)
    assert (same.predict(clouds) == other.predict(clouds)).all()
    for name in ("score_samples", "predict_proba"):
        ours, others = getattr(same, name)(clouds), getattr(other, name)(clouds)
        np.testing.assert_allclose(ours, others, 1e-7, 1e-12)
    assert same._n_parameters() == other._n_parameters()
    for name in ("score", "bic", "aic"):
        assert getattr(same, name)(clouds) == pytest.approx(getattr(other, name)(clouds))
    asked = asked | {"reg_covar": 1e-6}
    top = GaussianMixture(**asked).fit(clouds)
    exact = theirs.GaussianMixture(**asked, tol=1e-11, max_iter=20_000).fit(clouds)
    assert top.score(clouds) >= exact.score(clouds) - 1e-6
    assert top.lower_bound_ == pytest.approx(top.score(clouds), abs=1e-9)


def test_result_is_the_fit(clouds, full):
    assert full.result_.log_likelihood == pytest.approx(full.score(clouds) * len(clouds), rel=1e-9)
    assert full.result_.bic == pytest.approx(full.bic(clouds), rel=1e-9)
    assert full.icl(clouds) == pytest.approx(full.result_.icl, rel=1e-5)
    assert (full.labels_ == full.predict(clouds)).all()
    np.testing.assert_allclose(full.mixture_.components.means, full.means_, 1e-6)
    np.testing.assert_allclose(full.uncertainty(clouds), 1 - full.predict_proba(clouds).max(1))


def test_steps_are_counted_and_continued_as_in_scikit_learn(clouds):
    asked = dict(n_components=3, random_state=0, init_params="random", reg_covar=0, tol=1e-6)
    with pytest.warns(ConvergenceWarning, match="max_iter=4"):
        together = GaussianMixture(**asked, max_iter=4).fit(clouds)
    one = GaussianMixture(**asked, max_iter=1, warm_start=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        other = theirs.GaussianMixture(**asked, max_iter=4).fit(clouds)
        for _ in range(4):
            one.fit(clouds)
        bounds = [one.lower_bound_]
        np.testing.assert_allclose(one.means_, together.means_, 1e-9)
        assert_same(together, other)
        while not one.converged_ and len(bounds) < 300:
            bounds.append(one.fit(clouds).lower_bound_)
    assert one.converged_
    assert np.diff(bounds).min() >= 0


def test_starts_that_are_given(clouds):
    means = np.array([[100.0, 100], [103, 102], [100, 104]])
    precisions = np.stack([np.eye(2), 2 * np.eye(2), [[2, 1], [1, 2]]])
    asked = dict(
        n_components=3, weights_init=[0.5, 0.3, 0.2], means_init=means, precisions_init=precisions
    )
    start = GaussianMixture(**asked, max_iter=0).fit(clouds)
    np.testing.assert_allclose(start.means_, means, 1e-12)
    np.testing.assert_allclose(start.precisions_, precisions, 1e-9, 1e-12)
    assert (start.n_iter_, start.converged_, start.lower_bounds_) == (0, False, [])
    same = GaussianMixture(**asked, polish=False).fit(clouds)
    assert_same(same, theirs.GaussianMixture(**asked).fit(clouds))


@pytest.mark.parametrize("way", ["k-means++", "random", "random_from_data"])
def test_more_starts_are_no_worse(clouds, way):
    def score(n_init):
        model = GaussianMixture(3, init_params=way, n_init=n_init, random_state=1)
        return model.fit(clouds).score(clouds)

    assert score(6) >= score(1) - 1e-9


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"n_components": 0}, "n_components must be at least 1"),
        ({"n_components": 161}, "n_components=161 .* n_samples=160"),
        ({"covariance_type": "round"}, "covariance_type must be one of 'full'"),
        ({"init_params": "best"}, "init_params must be one of 'kmeans'"),
        ({"tol": -1}, "tol must not be negative"),
        ({"reg_covar": -1}, "reg_covar must not be negative"),
        ({"max_iter": -1}, "max_iter must be at least 0"),
        ({"n_init": 0}, "n_init must be at least 1"),
        ({"verbose_interval": 0}, "verbose_interval must be at least 1"),
        ({"weights_init": [0.5, 0.6]}, "weights_init must be shares that sum to 1"),
        ({"weights_init": [1.0]}, r"weights_init must be finite numbers of shape \(2,\)"),
        ({"means_init": [[1.0, 2]]}, r"means_init must be finite numbers of shape \(2, 2\)"),
        ({"precisions_init": np.zeros((2, 2, 2))}, "precisions_init must be symmetric"),
        (
            {"precisions_init": [-1, 1], "covariance_type": "spherical"},
            "precisions_init must be above zero",
        ),
    ],
)
def test_parameters_that_make_no_sense(clouds, asked, message):
    with pytest.raises(ValueError, match=message):
        GaussianMixture(**({"n_components": 2} | asked)).fit(clouds)


def test_unfitted_and_wrong_calls(clouds, full):
    fresh = GaussianMixture()
    with pytest.raises(NotFittedError, match="This GaussianMixture instance is not fitted yet"):
        fresh.predict(clouds)
    assert not any(hasattr(fresh, name) for name in ("labels_", "result_", "mixture_"))
    with pytest.raises(ValueError, match="Invalid value for 'n_samples'"):
        full.sample(0)
    with pytest.raises(ValueError, match="X has masked entries"):
        full.fit(np.ma.masked_greater(clouds, 101))
    with pytest.raises(ValueError, match="infinity"):
        full.predict([[np.inf, 1.0]])


def test_equal_points_need_regularisation():
    X = np.repeat([[0.0, 0], [1, 1]], 5, axis=0)
    model = GaussianMixture(2, reg_covar=0, random_state=0)
    with pytest.raises(ValueError, match="Pass a positive reg_covar"):
        model.fit(X)
    model.set_params(reg_covar=1e-6).fit(X)
    tiny = clone(model).fit((X * 1e-30).astype(np.float32))  # all that is left is reg_covar
    np.testing.assert_allclose(np.einsum("kii->ki", tiny.covariances_), 1e-6, 1e-3)
    np.testing.assert_allclose(np.sort(model.means_[:, 0]), [0, 1], atol=1e-9)
    np.testing.assert_allclose(
        model.covariances_, np.broadcast_to(1e-6 * np.eye(2), (2, 2, 2)), atol=1e-9
    )


def test_weights_are_copies_and_zero_is_none(clouds):
    counts = np.arange(len(clouds)) % 3
    means = clouds[:3]
    model = GaussianMixture(3, means_init=means, random_state=0)
    weighted = model.fit(clouds, sample_weight=counts)
    copied = clone(model).fit(np.repeat(clouds, counts, axis=0))
    order, other = weighted.means_[:, 0].argsort(), copied.means_[:, 0].argsort()
    np.testing.assert_allclose(weighted.means_[order], copied.means_[other], 1e-5)
    with pytest.raises(ValueError, match="not all of it zero"):
        model.fit(clouds, sample_weight=np.zeros(len(clouds)))


def test_missing_values_are_missing_at_random(clouds, full):
    X = clouds.copy()
    X[::7, 0] = np.nan
    density = sum(
        w * stats.norm(m[1], c[1, 1] ** 0.5).pdf(X[::7, 1])
        for w, m, c in zip(full.weights_, full.means_, full.covariances_, strict=True)
    )
    np.testing.assert_allclose(full.score_samples(X)[::7], np.log(density), 1e-9)
    one = GaussianMixture(1).fit(X)
    seen = X[~np.isnan(X[:, 0])]
    slope = np.cov(seen.T)[0, 1] / np.cov(seen.T)[1, 1]  # maximum likelihood by regression
    expected = seen[:, 0].mean() + slope * (X[:, 1].mean() - seen[:, 1].mean())
    assert one.means_[0, 0] == pytest.approx(expected, abs=1e-5)
    filled = one.impute(X)
    guess = seen[:, 0].mean() + slope * (X[::7, 1] - seen[:, 1].mean())
    np.testing.assert_allclose(filled[::7, 0], guess, atol=1e-4)
    assert np.array_equal(filled[:, 1], X[:, 1])


def test_single_precision_stays_single(clouds, full):
    single = GaussianMixture(3, random_state=0).fit(clouds.astype(np.float32))
    for name in ARRAYS[:-1]:
        assert getattr(single, name).dtype == np.float32
    assert single.score_samples(clouds.astype(np.float32)).dtype == np.float32
    np.testing.assert_allclose(single.means_, full.means_, 1e-3)
    assert single.score(clouds) == pytest.approx(full.score(clouds), abs=1e-3)


def test_one_component_has_a_closed_form(clouds):
    model = GaussianMixture(1, reg_covar=0).fit(clouds)
    np.testing.assert_allclose(model.means_[0], clouds.mean(0), 1e-12)
    np.testing.assert_allclose(model.covariances_[0], np.cov(clouds.T, bias=True), 1e-9)


def test_one_feature(clouds):
    asked = dict(n_components=2, covariance_type="tied", random_state=0)
    ours = GaussianMixture(**asked, polish=False).fit(clouds[:, :1])
    assert_same(ours, theirs.GaussianMixture(**asked).fit(clouds[:, :1]))
    assert len(ours.mixture_.decision_boundaries()) == 1


def test_samples_come_from_the_mixture(full):
    X, labels = full.sample(20_000)
    assert X.shape == (20_000, 2)
    for j in range(3):
        own = X[labels == j]
        error = np.sqrt(np.diag(full.covariances_[j]) / len(own))
        assert np.all(np.abs(own.mean(0) - full.means_[j]) < 5 * error)
        np.testing.assert_allclose(np.cov(own.T), full.covariances_[j], atol=0.15)
    assert full.sample(1)[0].shape == (1, 2)


def test_learning_on_adds_statistics(clouds):
    first, second = clouds[::2], clouds[1::2]
    several = GaussianMixture(2, random_state=0).partial_fit(first)
    old, shares = several.predict_proba(first), several.predict_proba(second)
    counts = old.sum(0) + shares.sum(0)
    several.partial_fit(second)
    np.testing.assert_allclose(several.weights_, counts / counts.sum(), 1e-9)
    means = (old.T @ first + shares.T @ second) / counts[:, None]
    np.testing.assert_allclose(several.means_, means, 1e-9)
    overall = np.einsum("k,kij->ij", several.weights_, several.covariances_)
    off = several.means_ - clouds.mean(0)
    overall += np.einsum("k,ki,kj->ij", several.weights_, off, off)
    np.testing.assert_allclose(overall, np.cov(clouds.T, bias=True), rtol=1e-5)


def test_attributes_set_by_hand_are_a_fit(full):
    by_hand = GaussianMixture(3)
    for name in ("weights_", "means_", "covariances_", "precisions_cholesky_"):
        setattr(by_hand, name, getattr(full, name))
    x = [[100.0, 101.0], [102, 103]]
    np.testing.assert_allclose(by_hand.predict_proba(x), full.predict_proba(x), 1e-12)


@pytest.mark.slow
def test_it_is_one_of_scikit_learns_estimators(clouds, full, capsys):
    pandas = pytest.importorskip("pandas")
    copy = pickle.loads(pickle.dumps(full))
    assert np.array_equal(copy.predict_proba(clouds), full.predict_proba(clouds))
    frame = pandas.DataFrame(clouds, columns=["height", "weight"])
    named = clone(full).set_params(verbose=2, verbose_interval=2).fit(frame)
    assert list(named.feature_names_in_) == ["height", "weight"]
    assert "Start 0, step 2: lower bound" in capsys.readouterr().out
    given = named.condition("height", 101.0)
    np.testing.assert_allclose(given.weights, full.condition(0, 101.0).weights, 1e-5)
    pipeline = make_pipeline(StandardScaler(), GaussianMixture(3, random_state=0)).fit(clouds)
    assert pipeline.score(clouds) > -3
    search = GridSearchCV(GaussianMixture(random_state=0), {"n_components": [1, 3]}, cv=3)
    assert (
        search.fit(np.random.default_rng(0).permutation(clouds)).best_params_["n_components"] == 3
    )


@pytest.mark.parametrize("covariance_type", TYPES)
def test_fits_turn_into_scikit_learns_and_back(clouds, covariance_type):
    fitted = GaussianMixture(3, covariance_type=covariance_type, random_state=0).fit(clouds).result_
    model = to_sklearn(fitted)
    assert isinstance(model, theirs.GaussianMixture)
    assert model.covariance_type == covariance_type
    np.testing.assert_allclose(model.score_samples(clouds), fitted.log_prob(), rtol=2e-4, atol=2e-4)
    assert model.bic(clouds) == pytest.approx(fitted.bic, rel=1e-4)
    back = from_sklearn(model)
    np.testing.assert_allclose(back.components.means, fitted.mixture.components.means, 1e-6)
    np.testing.assert_allclose(back.log_prob(clouds[:5]), fitted.log_prob(clouds[:5]), atol=2e-3)


def test_what_scikit_learn_does_not_have_is_refused():
    mixture = gmm_jax.Mixture([0.5, 0.5], gmm_jax.Poisson([1.0, 2.0]))
    with pytest.raises(TypeError, match="to_sklearn needs a point estimate"):
        to_sklearn(mixture)
    with pytest.raises(TypeError, match="from_sklearn takes a fitted GaussianMixture"):
        from_sklearn(StandardScaler())
    normals = gmm_jax.Mixture([0.4, 0.6], gmm_jax.Normal([1.0, 5.0], [1.0, 2.0]))
    assert to_sklearn(normals).covariances_.shape == (2, 1, 1)
    np.testing.assert_allclose(from_sklearn(to_sklearn(normals)).components.scales, [1, 2])
