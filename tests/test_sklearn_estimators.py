"""scikit-learn's checks of estimators, whole; and `MixtureModel` against `gmm_jax.fit`."""

import pickle

import numpy as np
import pytest
from scipy import stats
from sklearn.base import clone
from sklearn.mixture import GaussianMixture as TheirMixture
from sklearn.utils.estimator_checks import estimator_checks_generator

import gmm_jax
from gmm_jax.sklearn import BayesianGaussianMixture, GaussianMixture, MixtureModel

CALLS = np.array([0, 1, 2, 0, 1, 9, 11, 8, 12, 1])[:, None]


@pytest.mark.slow
@pytest.mark.parametrize("estimator", [GaussianMixture, BayesianGaussianMixture, MixtureModel])
def test_scikit_learns_checks_pass(estimator):
    for instance, check in estimator_checks_generator(estimator()):
        try:
            check(instance)
        except pytest.skip.Exception:
            continue
        except Exception as error:
            if type(error).__name__ != "SkipTest":
                raise AssertionError(f"{check} fails: {error}") from error


def test_parameters_are_those_of_scikit_learns_classes():
    theirs, ours = TheirMixture().get_params(), GaussianMixture().get_params()
    assert theirs == {name: ours[name] for name in theirs}
    assert ours.keys() - theirs.keys() == {"polish"}


def test_a_mixture_of_another_family():
    model = MixtureModel(2, family=gmm_jax.Poisson, random_state=0).fit(CALLS)
    rates = np.asarray(model.mixture_.components.rates, np.float64)
    joint = model.weights_ * stats.poisson(rates).pmf(CALLS)
    shares = joint / joint.sum(1, keepdims=True)
    np.testing.assert_allclose(model.predict_proba(CALLS), shares, 1e-5, 1e-9)
    np.testing.assert_allclose(shares.mean(0), model.weights_, 1e-5)  # EM has nothing left to do
    np.testing.assert_allclose(shares.T @ CALLS[:, 0] / shares.sum(0), rates, 1e-5)
    log_likelihood = np.log(joint.sum(1)).sum()
    assert model.score(CALLS) == pytest.approx(log_likelihood / len(CALLS), rel=1e-6)
    assert model.bic(CALLS) == pytest.approx(-2 * log_likelihood + 3 * np.log(10), rel=1e-6)
    assert (model.labels_ == model.predict(CALLS)).all()
    X, labels = model.sample(50)
    assert X.shape == (50, 1)
    assert np.all(np.diff(labels) >= 0)
    copy = pickle.loads(pickle.dumps(model))
    assert np.array_equal(copy.predict_proba(CALLS), model.predict_proba(CALLS))
    assert clone(model).get_params()["family"] is gmm_jax.Poisson


def test_tables_with_holes():
    rng = np.random.default_rng(0)
    regular = rng.random(120) < 0.5
    X = np.stack([rng.normal(np.where(regular, 40, 15), 4), rng.poisson(2 + 6 * regular)], 1)
    X[::9, 0] = np.nan
    family = gmm_jax.Product.of(gmm_jax.Normal, gmm_jax.Poisson)
    model = MixtureModel(2, family=family, random_state=0).fit(X)
    assert (model.predict(X) == regular).mean() > 0.95
    filled = model.impute(X)
    means = np.asarray(model.mixture_.components.parts[0].means).ravel()
    np.testing.assert_allclose(filled[::9, 0], model.predict_proba(X)[::9] @ means, 1e-4)
    assert np.array_equal(filled[:, 1], X[:, 1])


@pytest.mark.slow
def test_a_prior_makes_it_a_posterior():
    prior = gmm_jax.MixturePrior(1, gmm_jax.GammaPoisson(shape=2, rate=0.5))
    model = MixtureModel(2, prior=prior, method="variational", random_state=0).fit(CALLS)
    assert isinstance(model.result_, gmm_jax.PosteriorFit)
    assert list(model.predict([[1], [10]])) == [0, 1]
    with pytest.raises(TypeError, match="need a point estimate"):
        model.bic(CALLS)
    mode = clone(model).set_params(method="em").fit(CALLS)
    assert model.weights_[0] == pytest.approx(mode.weights_[0], abs=0.1)
