"""`fit` as people meet it: what goes in, what is refused and how, and what comes out."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import polars as pl
import pytest

import gmm_jax
from gmm_jax import Bernoulli, DirichletNormalGamma, MultivariateNormal, fit
from gmm_jax.fitting.arguments import whole


@pytest.fixture(scope="module")
def point(bentos):
    return fit(bentos, 2)


@pytest.fixture(scope="module")
def posterior(bentos, tutorial_prior):
    return fit(bentos, 2, prior=tutorial_prior)


@pytest.fixture(params=["point", "posterior"])
def result(request):
    return request.getfixturevalue(request.param)


INPUTS = {
    "list": lambda x: [int(a) for a in x],
    "tuple": tuple,
    "integers": lambda x: x.astype(np.int64),
    "small integers": lambda x: x.astype(np.int16),
    "float32": lambda x: x.astype(np.float32),
    "jax": jnp.asarray,
    "column": lambda x: x[:, None],
    "Series": pd.Series,
    "Series with another index": lambda x: pd.Series(x, index=range(100, 120)),
    "DataFrame": lambda x: pd.DataFrame({"grams": x}),
    "nullable Series": lambda x: pd.Series(x, dtype="Float64"),
    "polars Series": pl.Series,
    "polars DataFrame": lambda x: pl.DataFrame({"grams": x}),
    "not contiguous": lambda x: np.repeat(x, 2)[::2],
    "read only": lambda x: np.broadcast_to(x, (20,)),
}


@pytest.mark.parametrize("convert", INPUTS.values(), ids=INPUTS.keys())
def test_data_of_any_kind_is_the_same_data(convert, bentos, point):
    result = fit(convert(bentos), 2)
    means = np.asarray(result.mixture.components.means).ravel()
    np.testing.assert_allclose(means, point.mixture.components.means, rtol=1e-6)
    np.testing.assert_allclose(result.log_likelihood, point.log_likelihood, rtol=1e-5)


def test_data_stays_as_it_is(bentos):
    before = bentos.copy()
    fit(bentos, 2)
    np.testing.assert_array_equal(bentos, before)


PRIOR = DirichletNormalGamma(concentration=1, mean=0, mean_scale=1, shape=2, rate=1)
X = [1.0, 2.0, 4.0, 7.0]
BAD = {
    "empty": (([], 2), {}, ValueError, r"data is empty, shape \(0,\)"),
    "NaN": (([np.nan, np.nan], 1), {}, ValueError, "data has no values, only NaN"),
    "infinite": (([1.0, 2.0, np.inf], 1), {}, ValueError, "infinite entries.*row 2"),
    "words": ((["a", "b"], 1), {}, TypeError, "data must be real numbers.*Convert the column"),
    "mixed": (([1.0, "b"], 1), {}, TypeError, "data must be"),
    "objects": (
        (pd.Series([1.0, "b"]), 1),
        {},
        TypeError,
        "data must be numbers, but it holds 'b'",
    ),
    "complex": (([1j, 2j], 1), {}, TypeError, "data must be real numbers, got complex128"),
    "dates": ((pd.to_datetime(["2020-01-01"]), 1), {}, TypeError, "data must be real numbers"),
    "ragged": (([[1.0], [1.0, 2.0]], 1), {}, TypeError, "data cannot be read as an array"),
    "one number": ((3.0, 1), {}, ValueError, r"For one observation write \[x\]"),
    "three axes": ((np.zeros((2, 2, 2)), 1), {}, ValueError, "table of n rows and d features"),
    "masked": ((np.ma.masked_equal([1.0, 2], 2), 1), {}, ValueError, "data has masked entries"),
    "no components": ((X, 0), {}, ValueError, "n_components must be at least 1, got 0"),
    "negative": ((X, -2), {}, ValueError, "n_components must be at least 1"),
    "fraction": ((X, 2.0), {}, TypeError, "n_components"),
    "truth": ((X, True), {}, TypeError, "n_components must be a whole number"),
    "missing": ((X,), {}, TypeError, "n_components is missing"),
    "more than points": ((X, 5), {}, ValueError, "n_components is 5 but there are 4 points"),
    "weight zero counts not": (
        (X, 3),
        {"sample_weight": [1, 1, 0, 0]},
        ValueError,
        "n_components is 3 but there are 2 points",
    ),
    "equal points": (([5.0] * 4, 1), {}, ValueError, "all points are the same number, 5"),
    "equal column": (
        ([[1.0, 5], [2, 5], [4, 5]], 1),
        {},
        ValueError,
        "column 1 of data is the same number, 5",
    ),
    "method": ((X, 2), {"method": "magic"}, ValueError, "method must be one of 'auto', 'em'"),
    "no prior": ((X, 2), {"method": "importance"}, ValueError, "needs a prior"),
    "not a prior": ((X, 2), {"prior": 3}, TypeError, "prior must be a prior such as"),
    "prior of normals": (
        ([0, 1, 1], 2),
        {"prior": PRIOR, "family": Bernoulli},
        ValueError,
        "which is for Normal components, not Bernoulli",
    ),
    "prior of three": (
        (X, 2),
        {"prior": DirichletNormalGamma([1.0, 1, 1], 0, 1, 2, 1)},
        ValueError,
        "concentration of the prior has shape",
    ),
    "prior and fixed": (
        (X, 2),
        {"prior": PRIOR, "fixed": {"scales": 1.0}, "method": "importance"},
        ValueError,
        "fixed is not for importance sampling",
    ),
    "too many labellings": (
        (X, 11),
        {"prior": PRIOR, "method": "importance"},
        ValueError,
        "takes at most 10",
    ),
    "start": ((X, 2), {"start": "middle"}, ValueError, "start must be one of"),
    "proposal": ((X, 2), {"prior": PRIOR, "proposal": "q"}, ValueError, "proposal must be one of"),
    "particles": ((X, 2), {"prior": PRIOR, "n_draws": 3}, ValueError, "at least 100, got 3"),
    "restarts": ((X, 2), {"n_restarts": 0}, ValueError, "n_restarts must be at least 1"),
    "steps": ((X, 2), {"max_steps": 0}, ValueError, "max_steps must be at least 1"),
    "tol": ((X, 2), {"tol": -1.0}, ValueError, "tol must not be negative"),
    "weights short": ((X, 2), {"sample_weight": [1, 2]}, ValueError, "one entry for each of 4"),
    "weights negative": (
        (X, 2),
        {"sample_weight": [1, 1, 1, -1]},
        ValueError,
        "sample_weight must not be negative",
    ),
    "weights zero": ((X, 2), {"sample_weight": [0] * 4}, ValueError, "not all of it zero"),
    "weights NaN": (
        (X, 2),
        {"sample_weight": [1, 1, 1, np.nan]},
        ValueError,
        "sample_weight has 1 NaN",
    ),
    "unknown fixed": ((X, 2), {"fixed": {"mean": 1.0}}, ValueError, "no parameter called 'mean'"),
    "fixed words": ((X, 2), {"fixed": {"means": "a"}}, TypeError, "must be numbers, got 'a'"),
    "fixed too many": (
        (X, 2),
        {"fixed": {"means": [1.0, 2.0, 3.0]}},
        ValueError,
        r"fixed\['means'\] has shape \(3,\) but 2 components need",
    ),
    "fixed weights": (
        (X, 2),
        {"fixed": {"weights": [0.9, 0.9]}},
        ValueError,
        r"fixed\['weights'\] must be shares",
    ),
    "fixed scales": (
        (X, 2),
        {"fixed": {"scales": [-1, np.nan]}},
        ValueError,
        r"scales must be above zero, got fixed=\{'scales': \[-1, nan\]\}",
    ),
    "marbles of two": (([0, 1, 2], 2), {"family": Bernoulli}, ValueError, "must be 0 or 1"),
    "rows needed": ((X, 2), {"family": MultivariateNormal}, ValueError, "must be rows of features"),
}


@pytest.mark.parametrize(("given", "options", "error", "message"), BAD.values(), ids=BAD.keys())
def test_mistakes_are_explained(given, options, error, message):
    with pytest.raises(error, match=message):
        fit(*given, **options)


def test_whole_numbers():
    assert whole("n_components", np.int64(3)) == 3
    for wrong in (2.0, "2", True, None):
        with pytest.raises(TypeError, match=f"n_components must be a whole number, got {wrong!r}"):
            whole("n_components", wrong)


def test_prior_parameters_are_checked():
    for name in ("concentration", "mean_scale", "shape", "rate"):
        parameters = dict(concentration=1, mean=0, mean_scale=1, shape=2, rate=1) | {name: 0}
        with pytest.raises(ValueError, match=f"{name} must be above zero"):
            DirichletNormalGamma(**parameters)


def test_reasons_say_what_was_chosen(bentos, tutorial_prior, point, posterior):
    assert point.method == "em"
    assert point.reason.startswith("Point estimate by EM, since no prior was given")
    assert posterior.method == "importance"
    assert posterior.reason.startswith("Posterior by importance sampling, since a prior was given")
    asked = fit(bentos, 2, prior=tutorial_prior, method="em", key=jax.random.key(0))
    assert asked.method == "em"
    assert asked.reason.startswith("Posterior mode by EM, as asked")
    assert "key" not in asked.reason
    shares = fit([0, 1, 1], family=Bernoulli, fixed={"probs": [0.8, 0.3]})
    assert shares.reason.startswith("Shares alone by maximum likelihood")


# Both kinds of result answer the same questions.


def test_answers_about_the_fitted_data_are_the_default(result, bentos):
    for method in ("log_joint", "log_prob", "responsibilities", "assign", "assignment_entropy"):
        ask = getattr(result, method)
        np.testing.assert_allclose(ask(), ask(bentos), rtol=1e-5, atol=1e-6)


def test_shapes_of_answers(result):
    for batch, query in {(): 425.0, (1,): [425.0], (3,): [340, 425, 500]}.items():
        assert result.log_prob(query).shape == batch
        assert result.assign(query).shape == batch
        assert result.assignment_entropy(query).shape == batch
        assert result.responsibilities(query).shape == (*batch, 2)
        assert result.log_joint(query).shape == (*batch, 2)


def test_one_point_is_answered_as_among_others(result):
    for method in ("log_prob", "responsibilities", "assign"):
        ask = getattr(result, method)
        np.testing.assert_allclose(ask(425.0), ask([425.0, 340.0])[0], rtol=1e-3)


def test_answers_fit_together(result):
    x = np.linspace(330, 520, 50)
    joint = np.asarray(result.log_joint(x), np.float64)
    np.testing.assert_allclose(result.log_prob(x), np.logaddexp(*joint.T), rtol=1e-5)
    shares = np.exp(joint - np.logaddexp(*joint.T)[:, None])
    np.testing.assert_allclose(result.responsibilities(x), shares, atol=1e-5)
    np.testing.assert_array_equal(result.assign(x), joint.argmax(1))
    entropy = -np.sum(np.where(shares > 0, shares * np.log(np.maximum(shares, 1e-300)), 0), 1)
    np.testing.assert_allclose(result.assignment_entropy(x), entropy, atol=1e-4)


def test_the_density_integrates_to_one(result):
    x = np.linspace(200, 650, 4001)
    density = np.exp(np.asarray(result.log_prob(x), np.float64))
    np.testing.assert_allclose(np.trapezoid(density, x), 1, atol=2e-3)


def test_components_are_in_ascending_order(result):
    mixture = getattr(result, "mixture", None) or result.draws
    means = np.asarray(mixture.components.means)
    assert np.all(np.diff(means, axis=-1) > 0)


def test_samples(result):
    points, assignments = result.sample(jax.random.key(0), 4000)
    assert points.shape == assignments.shape == (4000,)
    np.testing.assert_array_equal(assignments, np.asarray(points) > 425)
    share = np.mean(np.asarray(assignments))
    # With draws the share varies too: between 0.41 and 0.59, about 0.6 or 0.59 on average.
    assert abs(share - 0.595) < 5 * np.sqrt(0.24 / 4000) + 0.005
    again, _ = result.sample(jax.random.key(0), 4000)
    np.testing.assert_array_equal(points, again)


def test_summaries_are_tables(result):
    text = result.summary()
    assert str(result) == text
    assert text.startswith(result.reason)
    for word in ("component", "weights", "means", "scales"):
        assert word in text
    assert max(len(line) for line in text.splitlines()) < 130


def test_a_point_says_how_well_it_fits(point):
    assert "BIC 123.453" in point.summary()
    assert "converged" in point.summary()


def test_a_posterior_says_how_far_it_can_be_trusted(posterior):
    text = posterior.summary()
    assert f"log evidence {posterior.log_evidence:.4f}" in text
    assert "effective of 20000 particles" in text
    assert "ascending mean" in text


def test_wrong_features_are_refused(result):
    with pytest.raises(ValueError, match="but the fit was to points with 1 feature"):
        result.log_prob(np.zeros((3, 2)))


def test_integer_and_list_queries(result):
    np.testing.assert_array_equal(result.log_prob(425), result.log_prob(425.0))
    np.testing.assert_array_equal(result.assign([350, 500]), [0, 1])
    np.testing.assert_array_equal(result.assign(pd.Series([350, 500])), [0, 1])


# Answers of draws.


def test_responsibilities_of_draws_are_a_ratio_of_means(posterior):
    """Mean over draws of weight times density, over its sum: not the mean of ratios."""
    x = np.array([330.0, 360.0, 400, 425, 450, 470, 520])
    weights, means, scales = (np.asarray(a, np.float64) for a in jax.tree.leaves(posterior.draws))
    density = np.exp(-0.5 * ((x[:, None, None] - means) / scales) ** 2) / scales
    exact = (weights * density).mean(1)
    log_prob = np.log(exact.sum(1) / np.sqrt(2 * np.pi))
    exact = exact / exact.sum(1, keepdims=True)
    got = np.asarray(posterior.responsibilities(x), np.float64)
    np.testing.assert_allclose(got, exact, rtol=5e-3, atol=1e-6)
    np.testing.assert_allclose(posterior.log_prob(x), log_prob, rtol=1e-4)
    terms = weights * density
    other = (terms / np.maximum(terms.sum(-1, keepdims=True), 1e-300)).mean(1)
    assert np.abs(other - exact).max() > 0.05  # the other quantity is another


def test_far_tails_of_draws_stay_finite(posterior):
    far = posterior.log_prob([0.0, 1e5])
    assert np.isfinite(far).all()
    np.testing.assert_allclose(
        np.asarray(posterior.responsibilities([0.0, 1e5])).sum(1), 1, rtol=1e-5
    )


def test_draws_have_a_leading_axis(posterior):
    assert posterior.n_draws == 20_000
    for leaf in jax.tree.leaves(posterior.draws):
        assert leaf.shape == (20_000, 2)
    np.testing.assert_allclose(posterior.draws.weights.sum(1), 1, rtol=1e-5)
    densities = jax.vmap(gmm_jax.Mixture.log_prob, (0, None))(posterior.draws, 500.0)
    assert densities.shape == (20_000,)


def test_unseparated_components_are_summarised_without_labels():
    prior = DirichletNormalGamma(concentration=1, mean=0, mean_scale=1, shape=2, rate=2)
    rng = np.random.default_rng(0)
    result = fit(rng.normal(0, 1, 20), 2, prior=prior)
    text = result.summary()
    assert "would mislead" in text
    assert "components that hold data" in text
    np.testing.assert_allclose(result.occupied().sum(), 1)


def test_named_components_keep_their_names_in_draws(bentos):
    prior = DirichletNormalGamma(1, [500, 350], 20, 2, 1)
    result = fit(bentos, 2, prior=prior)
    assert not result.ordered
    np.testing.assert_allclose(result.draws.components.means.mean(0), [500, 350], atol=1)
    assert "ascending" not in result.summary()


def test_multivariate_normals_find_correlations(x64):
    rng = np.random.default_rng(0)
    covariance = [[2.0, 1.2], [1.2, 1.0]]
    x = rng.multivariate_normal([0, 0], covariance, 150)
    y = rng.multivariate_normal([9, 9], np.eye(2), 50)
    result = fit(np.concatenate([x, y]), 2)
    assert isinstance(result.mixture.components, MultivariateNormal)
    components = result.mixture.components
    np.testing.assert_allclose(result.mixture.weights, [0.75, 0.25], atol=1e-6)
    np.testing.assert_allclose(components.means, [x.mean(0), y.mean(0)], atol=1e-4)
    exact = [np.cov(x.T, bias=True), np.cov(y.T, bias=True)]
    np.testing.assert_allclose(components.covariances, exact, atol=1e-4)
    assert result.n_parameters == 1 + 2 * (2 + 3)


def test_a_prior_of_one_number_a_component_is_so_for_as_many_features():
    prior = DirichletNormalGamma(concentration=1, mean=[0, 9], mean_scale=1, shape=2, rate=1)
    np.testing.assert_array_equal(prior.spread(2, (2,)).components.mean, [[0, 0], [9, 9]])
    np.testing.assert_array_equal(prior.spread(2, (3,)).components.mean, [[0, 0, 0], [9, 9, 9]])
    with pytest.raises(ValueError, match="one row of features for all"):
        prior.spread(3, (2,))
