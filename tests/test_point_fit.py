"""`fit` by EM: exact answers, held parameters, units and offsets, policies, compilations."""

import warnings

import jax
import numpy as np
import pytest
from scipy import stats

import gmm_jax
from gmm_jax import (
    Bernoulli,
    DirichletNormalGamma,
    FitWarning,
    Normal,
    em,
    fit,
    fit_chunks,
    fit_many,
)
from gmm_jax.fitting import point

BENTOS_LOG_LIKELIHOOD = -54.2373


def parameters(result):
    mixture = result.mixture
    return [np.asarray(a, np.float64) for a in jax.tree.leaves(mixture)]


def two_clusters(n=60) -> np.ndarray:
    """Multiples of 1/1024, so that offsets up to 1e8 are added without rounding."""
    rng = np.random.default_rng(4)
    x = np.concatenate([rng.normal(-3, 1, n // 3), rng.normal(2, 0.5, n - n // 3)])
    return np.round(x * 1024) / 1024


def bentos_exactly(x):
    """Well separated clusters share no point: the optimum is each cluster's mean and spread."""
    low, high = x[x < 425], x[x > 425]
    return [
        np.array([len(low), len(high)]) / len(x),
        np.array([low.mean(), high.mean()]),
        np.array([low.std(), high.std()]),
    ]


def test_the_bentos(bentos, dtype):
    result = fit(bentos.astype(dtype), 2)
    tolerance = 1e-4 if dtype == np.float32 else 1e-8
    for got, expected in zip(parameters(result), bentos_exactly(bentos), strict=True):
        np.testing.assert_allclose(got, expected, atol=tolerance)
    # The same figures as written down for the mystery.
    weights, means, scales = parameters(result)
    np.testing.assert_allclose(weights, [0.4, 0.6], atol=1e-4)
    np.testing.assert_allclose(means, [350.25, 500], atol=1e-4)
    np.testing.assert_allclose(scales, [1.9843, 1.7795], atol=1e-4)
    np.testing.assert_allclose(result.log_likelihood, BENTOS_LOG_LIKELIHOOD, atol=1e-4)
    np.testing.assert_allclose(result.bic, 123.4532, atol=2e-4)
    np.testing.assert_allclose(result.aic, 2 * 54.2373 + 2 * 5, atol=2e-4)
    assert result.n_parameters == 5
    assert result.converged


def test_one_component_is_the_mean_and_the_spread(bentos):
    result = fit(bentos, 1)
    np.testing.assert_allclose(result.bic, 234.5783, atol=2e-4)
    np.testing.assert_allclose(result.mixture.components.means, [bentos.mean()], rtol=1e-6)
    np.testing.assert_allclose(result.mixture.components.scales, [bentos.std()], rtol=1e-6)


def test_three_components_reach_the_best_sound_optimum(bentos, x64):
    result = fit(bentos, 3, n_restarts=40)
    np.testing.assert_allclose(result.bic, 130.15, atol=0.01)


def test_every_start_is_reported(bentos):
    result = fit(bentos, 2)
    assert result.restarts.objective.shape == (10,)
    best = np.argmax(result.restarts.objective)
    assert result.n_steps == result.restarts.steps[best]
    assert result.restarts.objective[best] == pytest.approx(result.log_likelihood / 20, abs=1e-5)
    first = str(result.restarts).splitlines()[1]
    objective = f"{result.restarts.objective[best]:.6f}"
    assert first.split()[:3] == [str(best), objective, str(result.n_steps)]


def test_history_rises_to_the_log_likelihood(x64):
    x = two_clusters()
    result = fit(x, 3)
    assert result.n_steps == len(result.history)
    assert np.all(np.diff(result.history) >= -1e-13)
    np.testing.assert_allclose(result.history[-1] * len(x), result.log_likelihood, rtol=1e-9)
    weights, means, scales = parameters(result)
    log_prob = np.log(stats.norm.pdf(x[:, None], means, scales) @ weights)
    np.testing.assert_allclose(result.log_likelihood, log_prob.sum(), rtol=1e-9)


def test_stopping_early_is_said(bentos):
    result = fit(two_clusters(), 3, max_steps=2)
    assert not result.converged
    assert result.message == "stopped at max_steps before it converged"
    assert result.n_steps == 2


def test_sample_weight_is_copies(x64):
    x = two_clusters(32)
    weight = np.arange(32) % 4
    weighted, copied = fit(x, 2, sample_weight=weight), fit(np.repeat(x, weight), 2)
    for got, expected in zip(parameters(weighted), parameters(copied), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5)
    np.testing.assert_allclose(weighted.log_likelihood, copied.log_likelihood, rtol=1e-9)
    np.testing.assert_allclose(weighted.bic, copied.bic, rtol=1e-9)


@pytest.mark.parametrize("offset", [1e2, 1e4, 1e6, 1e8])
def test_offsets_change_nothing_but_the_means(offset, dtype):
    x = two_clusters()
    centred, far = fit(x, 2), fit(x + offset, 2)
    tolerance = 1e-5 if dtype == np.float32 else 1e-9
    np.testing.assert_allclose(far.mixture.weights, centred.mixture.weights, rtol=tolerance)
    scales = far.mixture.components.scales
    np.testing.assert_allclose(scales, centred.mixture.components.scales, rtol=tolerance)
    np.testing.assert_allclose(far.log_likelihood, centred.log_likelihood, rtol=tolerance)
    np.testing.assert_allclose(
        far.mixture.components.means,
        np.asarray(centred.mixture.components.means, np.float64) + offset,
        rtol=2 * np.finfo(dtype).eps,
        atol=tolerance * 10,
    )
    np.testing.assert_allclose(far.log_prob(), centred.log_prob(), rtol=10 * tolerance)
    np.testing.assert_allclose(far.responsibilities(), centred.responsibilities(), atol=tolerance)


@pytest.mark.parametrize("unit", [1e-30, 1e30])
def test_units_change_nothing_but_the_unit(unit, dtype):
    x = two_clusters()
    small, other = fit(x, 2), fit(x * unit, 2)
    tolerance = 1e-4 if dtype == np.float32 else 1e-8
    np.testing.assert_allclose(other.mixture.weights, small.mixture.weights, rtol=tolerance)
    for name in ("means", "scales"):
        expected = np.asarray(getattr(small.mixture.components, name), np.float64)
        got = np.asarray(getattr(other.mixture.components, name), np.float64) / unit
        np.testing.assert_allclose(got, expected, rtol=tolerance)
    expected = small.log_likelihood - len(x) * np.log(unit)
    np.testing.assert_allclose(other.log_likelihood, expected, rtol=tolerance)


def test_a_cluster_ten_thousand_times_narrower_than_the_other(dtype):
    rng = np.random.default_rng(0)
    wide, narrow = rng.normal(0, 1, 60), rng.normal(4, 1e-4, 60)
    result = fit(np.concatenate([wide, narrow]), 2)
    assert result.converged
    scales = np.asarray(result.mixture.components.scales, np.float64)
    np.testing.assert_allclose(scales, [wide.std(), narrow.std()], rtol=0.01)
    np.testing.assert_allclose(result.mixture.components.means[1], narrow.mean(), rtol=1e-6)


# Marble factories: components are known, shares are not.


def share_of_factory_one(red):
    """Maximum likelihood: (red - .3) / (.8 - .3), within 0 and 1."""
    return np.clip((red - 0.3) / 0.5, 0, 1)


def test_marble_factories_are_solved_exactly(dtype):
    n = 40
    tolerance = 2e-5 if dtype == np.float32 else 1e-8
    for red in range(n + 1):
        result = fit(
            np.array([0, 1], dtype),
            family=Bernoulli,
            fixed={"probs": [0.8, 0.3]},
            sample_weight=[n - red, red],
        )
        expected = share_of_factory_one(red / n)
        np.testing.assert_allclose(result.mixture.weights[0], expected, atol=tolerance)
        if red / n < 0.3 or red / n > 0.8:
            assert result.mixture.weights[0] == expected
        assert result.converged


def test_marbles_one_by_one(dtype):
    marbles = [1] * 11 + [0] * 9
    result = fit(marbles, 2, family=Bernoulli, fixed={"probs": [0.8, 0.3]})
    np.testing.assert_allclose(result.mixture.weights, [0.5, 0.5], atol=1e-6)
    expected = 11 * np.log(0.55) + 9 * np.log(0.45)
    np.testing.assert_allclose(result.log_likelihood, expected, rtol=1e-6)
    assert result.n_parameters == 1


@pytest.mark.parametrize("probs", [[0.8, 0.3, 0.5], [0.4, 0.4], [0.9, 0.5, 0.2, 0.1]])
def test_more_factories_than_outcomes_are_not_identifiable(probs):
    with pytest.raises(ValueError, match=r"shares of these \d components are not identifiable"):
        fit([1, 0, 1, 1], family=Bernoulli, fixed={"probs": probs})


def test_a_marble_no_factory_makes_is_named():
    with pytest.raises(ValueError, match=r"data has 0\.0, which no component can produce"):
        fit([1, 0, 1], 1, family=Bernoulli, fixed={"probs": [1.0]})


def test_shares_of_known_normals_beat_their_neighbours(x64):
    x = two_clusters()
    known = {"means": [-3.0, 0.0, 2.0], "scales": [1.0, 1.0, 0.5]}
    weights = np.asarray(fit(x, fixed=known).mixture.weights)
    densities = stats.norm.pdf(x[:, None], known["means"], known["scales"])
    slack = (densities / (densities @ weights)[:, None]).mean(0) - 1
    assert slack.max() < 1e-9


# Some parameters are known.


def test_known_entries_stay_and_others_are_estimated(bentos):
    result = fit(bentos, fixed={"means": [340.0, np.nan]})
    weights, means, scales = parameters(result)
    low, high = bentos[bentos < 425], bentos[bentos > 425]
    np.testing.assert_allclose(means, [340, 500], rtol=1e-6)
    np.testing.assert_allclose(scales[0], np.sqrt(np.mean((low - 340) ** 2)), rtol=1e-5)
    np.testing.assert_allclose(scales[1], high.std(), rtol=1e-5)
    np.testing.assert_allclose(weights, [0.4, 0.6], rtol=1e-5)
    assert result.n_parameters == 4


def test_named_components_keep_their_place(bentos):
    result = fit(bentos, fixed={"means": [500.0, 350.0]})
    np.testing.assert_allclose(result.mixture.components.means, [500, 350], rtol=1e-6)
    np.testing.assert_allclose(result.mixture.weights, [0.6, 0.4], rtol=1e-5)


def test_known_weights_and_scales(bentos):
    result = fit(bentos, 2, fixed={"weights": [0.5, 0.5], "scales": 2.0})
    np.testing.assert_allclose(result.mixture.weights, [0.5, 0.5])
    np.testing.assert_allclose(result.mixture.components.scales, [2, 2], rtol=1e-6)
    means = np.sort(np.asarray(result.mixture.components.means))
    np.testing.assert_allclose(means, [350.25, 500], rtol=1e-6)
    assert result.n_parameters == 2


def test_a_known_scale_makes_equal_points_a_fair_question():
    result = fit([5.0, 5.0, 5.0], 1, fixed={"scales": 1.0})
    np.testing.assert_allclose(result.mixture.components.means, [5])


@pytest.mark.filterwarnings("ignore:the chains do not agree")
def test_what_is_fixed_comes_back_as_it_was_given(tmp_path):
    """Not by way of centred and scaled units, nor from a file; rounded to the result's dtype."""
    data = two_clusters().astype(np.float32)
    known = {"means": [0, np.nan], "scales": [np.nan, 0.3]}
    point = fit(data, 2, fixed=known)
    many = fit_many([data, data[:40]], 2, fixed=known)
    drawn = fit(data, 2, fixed=known, prior="default", method="gibbs", n_chains=2, n_draws=100)
    drawn.save(tmp_path / "drawn.npz")
    again = gmm_jax.load(tmp_path / "drawn.npz")
    mixtures = [point.mixture, fit_chunks([data], 2, fixed=known).mixture, many[1].mixture]
    for mixture in [*mixtures, many.mixtures, drawn.draws, again.draws]:
        assert np.all(mixture.components.means[..., 0] == 0)
        assert np.all(mixture.components.scales[..., 1] == np.float32(0.3))


# What can go wrong, and what is then said.


def test_collapsed_components_warn_and_stand_at_the_floor():
    x = np.array([1.0, 1, 1, 1, 3, 3, 3, 3])
    with pytest.warns(FitWarning, match="collapsed.*Ask for fewer components, or pass a prior"):
        result = fit(x, 2)
    assert result.status == em.COLLAPSED
    assert not result.converged
    scales = np.asarray(result.mixture.components.scales)
    np.testing.assert_allclose(scales / x.std(), point.SCALE_FLOOR, rtol=0.5)


def test_a_sound_run_is_preferred_to_a_spike(bentos):
    """Two of the bentos weigh 352, two 498, and so on: spikes on them have a higher likelihood."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", FitWarning)
        result = fit(bentos, 3, n_restarts=40)
    assert result.converged
    assert np.min(result.mixture.components.scales) > 0.1


def test_a_gamma_prior_on_scales_does_not_keep_equal_points_apart():
    """The density s^(shape - 1) of small scales cannot stop the likelihood's s^(-n)."""
    prior = DirichletNormalGamma(concentration=2, mean=2, mean_scale=2, shape=2, rate=1)
    with pytest.warns(FitWarning, match="collapsed"):
        result = fit([1.0, 1, 1, 1, 3, 3, 3, 3], 2, prior=prior, method="em")
    assert result.status == em.COLLAPSED


def test_the_posterior_mode_of_the_bentos(bentos, x64):
    """Stationary for the log posterior, by automatic differentiation of its definition."""
    prior = DirichletNormalGamma(concentration=2, mean=400, mean_scale=50, shape=2, rate=1)
    result = fit(bentos, 2, prior=prior, method="em")

    def log_posterior(mixture):
        return mixture.log_prob(bentos).sum() + prior.log_prob(mixture)

    gradient = jax.grad(log_posterior)(result.mixture)
    np.testing.assert_allclose(gradient.components.means, 0, atol=1e-5)
    np.testing.assert_allclose(gradient.components.scales, 0, atol=1e-5)
    np.testing.assert_allclose(gradient.weights, gradient.weights[0], rtol=1e-6)
    assert "Posterior mode" in result.reason


def test_independent_features_are_fitted_together(x64):
    rng = np.random.default_rng(0)
    x = rng.normal([[0, 100]], [[1, 5]], (50, 2))
    y = rng.normal([[8, 50]], [[2, 9]], (70, 2))
    result = fit(np.concatenate([x, y]), 2, family=Normal)
    np.testing.assert_allclose(result.mixture.components.means, [x.mean(0), y.mean(0)], rtol=1e-3)
    np.testing.assert_allclose(result.mixture.components.scales, [x.std(0), y.std(0)], rtol=1e-2)
    assert result.n_parameters == 1 + 4 + 4


def test_other_starts_find_the_same(bentos):
    for start in ("random", "kmeans++"):
        result = fit(bentos, 2, start=start, key=jax.random.key(7))
        np.testing.assert_allclose(result.log_likelihood, BENTOS_LOG_LIKELIHOOD, atol=1e-3)


# Compilations.


def test_similar_sizes_share_one_compilation(compilations):
    x = two_clusters(60)
    fit(x[:50], 2)
    compiled = compilations["_run"]
    for n in (49, 51, 55, 56):
        fit(x[:n], 2)
    fit(x[:50] * 3, 2, sample_weight=np.arange(50.0), key=jax.random.key(3), tol=1e-3)
    fit(x[:50], 2, fixed={"means": [0.0, np.nan]})
    assert compilations["_run"] == compiled


def test_other_priors_share_one_compilation(compilations):
    x = two_clusters(50)
    prior = DirichletNormalGamma(concentration=2, mean=0, mean_scale=2, shape=2, rate=1)
    fit(x, 2, prior=prior, method="em")
    compiled = compilations["_run"]
    other = DirichletNormalGamma([3.0, 1.0], [0.0, 1.0], 2, shape=2.5, rate=[1, 2])
    fit(x, 2, prior=other, method="em")
    assert compilations["_run"] == compiled


def test_the_same_call_is_the_same_answer(bentos):
    first, again = fit(bentos, 2), fit(bentos, 2)
    jax.tree.map(np.testing.assert_array_equal, first.mixture, again.mixture)
    assert "with key 0, since none was given" in first.reason


def test_what_is_known_of_one_component_is_known_of_those_that_share_it():
    data = two_clusters()
    one = fit(data, 2, fixed={"scales": [0.7, np.nan]}, shared={"scales": True}, n_restarts=2)
    both = fit(data, 2, fixed={"scales": [0.7, 0.7]}, n_restarts=2)
    np.testing.assert_allclose(one.mixture.components.scales, [0.7, 0.7], rtol=1e-6)
    assert one.n_parameters == both.n_parameters == 3
    assert one.log_likelihood == pytest.approx(both.log_likelihood, abs=1e-3)


@pytest.mark.parametrize(
    ("fixed", "match"),
    [({"scales": [1, 2]}, "different numbers"), ({"weights": [0.2, np.nan]}, "sum to 1")],
    ids=["scales", "weights"],
)
def test_fixed_numbers_that_cannot_be_shared(fixed, match):
    with pytest.raises(ValueError, match=match):
        fit(two_clusters(), 2, fixed=fixed, shared=dict.fromkeys(fixed, True))


def test_the_summary_tells_the_spread_of_optima():
    result = fit(two_clusters(), 3, n_restarts=6)
    runs = result.restarts
    sound = np.isin(runs.status, (em.RUNNING, em.CONVERGED))
    below = runs.objective[sound].max() - runs.objective[sound]
    last = result.summary().splitlines()[-1]
    assert last.startswith(f"{(below < 1e-4).sum()} of 6 starts ended within 0.0001 nats per point")


@pytest.mark.parametrize("options", [{}, {"prior": "default", "method": "gibbs"}])
def test_fits_in_double_precision_answer_in_single_without_a_word(bentos, options):
    with jax.enable_x64(True):
        result = fit(bentos, 2, **options)
        exact = result.log_prob([350.0, 500.0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        single = result.log_prob([350.0, 500.0])
        assert result.summary()
        drawn, _ = result.sample(jax.random.key(0), 3)
    assert drawn.dtype == np.float32
    assert exact.dtype == np.float64
    np.testing.assert_allclose(single, exact, rtol=1e-4)
