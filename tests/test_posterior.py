"""`fit` with a prior: exact evidences and posterior means, and tiny data by enumeration."""

import jax
import numpy as np
import pytest

from gmm_jax import DirichletNormalGamma, FitWarning, MixturePrior, ProductPrior, fit

EVIDENCE = {1: -161.798552, 2: -68.520791, 3: -69.594284, 4: -70.724597}
"""Exact log evidences of the bentos under the tutorial's model."""
LOWER_MEAN, UPPER_MEAN = 350.2639, 499.9862
LOWER_MEAN_SD = 0.83531
LOWER_SCALE, UPPER_SCALE = 2.2819, 1.9850
LOWER_WEIGHT, UPPER_WEIGHT = 0.4091, 0.5909
RAW_MEAN, RAW_SD = 425.125, 74.865


@pytest.fixture(scope="module")
def ten(bentos, tutorial_prior):
    """Two components, ten keys, all settings at their defaults."""
    return [fit(bentos, 2, prior=tutorial_prior, key=jax.random.key(seed)) for seed in range(10)]


@pytest.mark.slow
def test_evidence_of_two_components_for_ten_keys(ten):
    for result in ten:
        assert abs(result.log_evidence - EVIDENCE[2]) < 0.03
        assert abs(result.log_evidence - EVIDENCE[2]) < 5 * result.log_evidence_error + 1e-3


def test_at_least_half_of_the_particles_count_for_ten_keys(ten):
    for result in ten:
        assert len(result.log_importance_weights) == 20_000
        assert result.effective_sample_size >= 10_000
        assert result.pareto_k < 0.7


def test_posterior_means_within_five_standard_errors_for_ten_keys(ten):
    for result in ten:
        weights, means, scales = (np.asarray(a, np.float64) for a in jax.tree.leaves(result.draws))
        exact = [
            (weights, (LOWER_WEIGHT, UPPER_WEIGHT)),
            (means, (LOWER_MEAN, UPPER_MEAN)),
            (scales, (LOWER_SCALE, UPPER_SCALE)),
        ]
        for draws, expected in exact:
            error = draws.std(0) / np.sqrt(result.effective_sample_size)
            rounded = 0.5 * 10.0**-4  # of the exact figures
            np.testing.assert_array_less(np.abs(draws.mean(0) - expected), 5 * error + rounded)


def test_spread_of_the_lower_mean(ten):
    pooled = np.concatenate([np.asarray(r.draws.components.means[:, 0], float) for r in ten])
    fourth = np.mean((pooled - pooled.mean()) ** 4)
    variance = pooled.var()
    error = np.sqrt((fourth - variance**2) / 100_000) / (2 * np.sqrt(variance))
    assert abs(pooled.std() - LOWER_MEAN_SD) < 5 * error


def test_raw_means_under_any_label(ten):
    """Either label is as probable: the mean and spread of both components' draws together."""
    means = np.asarray(ten[0].draws.components.means, np.float64)
    error = means.std() / np.sqrt(ten[0].effective_sample_size)
    assert abs(means.mean() - RAW_MEAN) < 5 * error
    np.testing.assert_allclose(means.std(), RAW_SD, atol=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("k", [1, 3])
def test_evidence_of_one_and_three_components(k, bentos, tutorial_prior):
    for seed in range(3):
        result = fit(bentos, k, prior=tutorial_prior, key=jax.random.key(seed))
        assert abs(result.log_evidence - EVIDENCE[k]) < 0.05


@pytest.mark.slow
def test_evidence_of_four_components(bentos, tutorial_prior):
    result = fit(bentos, 4, prior=tutorial_prior)
    assert abs(result.log_evidence - EVIDENCE[4]) < 5 * result.log_evidence_error + 1e-3
    assert result.log_evidence_error < 0.05


def test_known_numbers_of_occupied_components(ten):
    """Were one component empty, the other would span 150 g: a factor of exp(93) less probable."""
    np.testing.assert_array_equal(ten[0].occupied(), [0, 0, 1])


def test_the_prior_as_proposal_says_that_it_collapsed(bentos, tutorial_prior):
    with pytest.warns(FitWarning, match="collapsed.*Use proposal='em'"):
        result = fit(bentos, 2, prior=tutorial_prior, proposal="prior", n_draws=2000)
    assert result.effective_sample_size < 20


# Tiny data, by going through all assignments.

FEW = np.array([-1.0, -0.6, 1.3, 1.9])
NAMED = DirichletNormalGamma([2.0, 1.0], [-1.0, 1.0], [0.8, 1.0], [2.0, 3.0], [2.0, 4.0])


def written_out(prior, k=2):
    fields = {"concentration": prior.concentration, **vars(prior.components)}
    return [
        np.broadcast_to(np.asarray(value, float), k)
        for value in fields.values()
        if value is not None
    ]


@pytest.fixture(scope="module")
def named(enumerated):
    return fit(FEW, 2, prior=NAMED), enumerated(FEW, *written_out(NAMED))


@pytest.mark.slow
def test_evidence_with_a_prior_per_component(named):
    result, (_, _, log_evidence) = named
    assert abs(result.log_evidence - log_evidence) < 5 * result.log_evidence_error + 1e-3
    assert result.log_evidence_error < 0.02


@pytest.mark.slow
def test_weights_with_a_prior_per_component(named):
    """Given assignments they are Dirichlet; components keep the names that the prior gave."""
    result, (assignments, probabilities, _) = named
    counts = np.stack([(assignments == j).sum(1) for j in range(2)], 1)
    exact = probabilities @ ((counts + np.array([2, 1])) / (counts.sum(1) + 3)[:, None])
    draws = np.asarray(result.draws.weights, np.float64)
    error = draws.std(0) / np.sqrt(result.effective_sample_size)
    np.testing.assert_array_less(np.abs(draws.mean(0) - exact), 5 * error)


def test_scales_with_a_prior_per_component(named, integrated):
    result, (assignments, probabilities, _) = named
    _, mean, mean_scale, shape, rate = written_out(NAMED)
    exact = np.zeros(2)
    for j in range(2):
        for z, probability in zip(assignments, probabilities, strict=True):
            arguments = FEW[z == j], mean[j], mean_scale[j], shape[j], rate[j]
            expected = integrated(*arguments, lambda scale: scale) / integrated(*arguments)
            exact[j] += probability * expected
    draws = np.asarray(result.draws.components.scales, np.float64)
    error = draws.std(0) / np.sqrt(result.effective_sample_size)
    np.testing.assert_array_less(np.abs(draws.mean(0) - exact), 5 * error + 1e-4)


def test_responsibilities_are_exact_conditional_probabilities(named, integrated):
    """For a new point x, P(component j | x, data) is proportional to a predictive density.

    It is sum_z P(z | data) E[w_j | z] p(x | points of j), all by quadrature.
    """
    result, (assignments, probabilities, _) = named
    new = np.array([-2.0, 0.2, 3.0])
    exact = np.zeros((3, 2))
    concentration, mean, mean_scale, shape, rate = written_out(NAMED)
    for z, probability in zip(assignments, probabilities, strict=True):
        for j in range(2):
            weight = (np.sum(z == j) + concentration[j]) / (len(z) + concentration.sum())
            group = FEW[z == j], mean[j], mean_scale[j], shape[j], rate[j]
            before = integrated(*group)
            after = [integrated(np.append(group[0], x), *group[1:]) for x in new]
            exact[:, j] += probability * weight * np.array(after) / before
    np.testing.assert_allclose(np.exp(result.log_prob(new)), exact.sum(1), rtol=0.05)
    shares = exact / exact.sum(1, keepdims=True)
    np.testing.assert_allclose(result.responsibilities(new), shares, atol=0.02)


@pytest.mark.slow
def test_fewer_points_than_components_is_a_fair_question(enumerated):
    prior = DirichletNormalGamma(concentration=1, mean=0, mean_scale=1.5, shape=2, rate=3)
    result = fit([-0.4, 1.2], 3, prior=prior)
    _, _, exact = enumerated(np.array([-0.4, 1.2]), *written_out(prior, 3))
    assert abs(result.log_evidence - exact) < 5 * result.log_evidence_error + 1e-3


def test_a_single_point(integrated):
    """Its evidence is the prior predictive density, whatever the number of components."""
    prior = DirichletNormalGamma(concentration=1, mean=400, mean_scale=50, shape=2, rate=1)
    result = fit([410.0], 2, prior=prior)
    exact = np.log(integrated([410.0], 400, 50, 2, 1))
    assert abs(result.log_evidence - exact) < 5 * result.log_evidence_error + 1e-3


def test_weight_two_is_two_copies(enumerated):
    prior = DirichletNormalGamma(concentration=1, mean=0, mean_scale=1.5, shape=2, rate=3)
    weighted = fit([-0.4, 1.2], 2, prior=prior, sample_weight=[2, 1])
    copied = fit([-0.4, -0.4, 1.2], 2, prior=prior)
    error = np.hypot(weighted.log_evidence_error, copied.log_evidence_error)
    assert abs(weighted.log_evidence - copied.log_evidence) < 5 * error + 1e-3


def test_the_unit_of_the_data_moves_the_evidence_by_its_logarithm(bentos):
    kilograms = DirichletNormalGamma(1, 0.4, 0.05, 2, 1000)
    result = fit(bentos / 1000, 2, prior=kilograms)
    assert abs(result.log_evidence - (EVIDENCE[2] + 20 * np.log(1000))) < 0.03
    np.testing.assert_allclose(result.draws.components.means.mean(0), [0.3503, 0.49999], atol=1e-4)


@pytest.mark.slow
def test_features_are_independent_given_the_component(bentos, tutorial_prior):
    """With one component the evidence of two features is the product of theirs."""
    result = fit(np.stack([bentos, bentos[::-1]], 1), 1, prior=tutorial_prior)
    # Exact for one feature, and the other is a permutation of it.
    assert abs(result.log_evidence - 2 * EVIDENCE[1]) < 5 * result.log_evidence_error + 2e-3


def test_the_same_call_is_the_same_answer(bentos, tutorial_prior, ten):
    again = fit(bentos, 2, prior=tutorial_prior)
    np.testing.assert_array_equal(again.draws.weights, ten[0].draws.weights)
    assert again.log_evidence == ten[0].log_evidence


@pytest.mark.slow
def test_float64(bentos, tutorial_prior, x64):
    result = fit(bentos, 2, prior=tutorial_prior)
    assert result.draws.weights.dtype == np.float64
    assert abs(result.log_evidence - EVIDENCE[2]) < 5 * result.log_evidence_error + 1e-5


def test_one_row_in_unlike_units_has_the_evidence_of_its_columns():
    """The unit of a column without spread is what the prior expects in that column."""
    small = DirichletNormalGamma(1, 1e-6, 1e-6, shape=2, rate=2e6)
    large = DirichletNormalGamma(1, 2e6, 1e6, shape=2, rate=2e-6)
    both = DirichletNormalGamma(1, [[1e-6, 2e6]], [[1e-6, 1e6]], 2, [[2e6, 2e-6]])
    parts = ProductPrior([small.components, large.components])
    columns = sum(fit([x], 1, prior=p).log_evidence for x, p in ((2e-6, small), (3e6, large)))
    for prior in (both, MixturePrior(1, parts)):
        result = fit([[2e-6, 3e6]], 1, prior=prior, method="importance")
        assert result.log_evidence == pytest.approx(columns, abs=0.03)
