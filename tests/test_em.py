"""The EM kernel: iterates against scikit-learn, monotone, exact modes, held parameters."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from gmm_jax import Bernoulli, DirichletNormalGamma, Mixture, Normal, em
from gmm_jax.families.limits import Limits
from gmm_jax.priors.mixtures import MaximumLikelihood

WEIGHTS, MEANS, SCALES = [0.5, 0.3, 0.2], [-1.0, 0.3, 1.0], [1.0, 0.5, 2.0]
FLOOR = 1e-6


def points(n=60) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.normal(rng.choice([-2.0, 0.0, 2.5], n), rng.choice([0.5, 1.0], n))


def start() -> Mixture:
    return Mixture(WEIGHTS, Normal(MEANS, SCALES))


def free(mixture: Mixture) -> Mixture:
    return jax.tree.map(lambda a: jnp.zeros(a.shape, bool), mixture)


@jax.jit
def one_step(state, data, sample_weight, prior, held):
    limits = Limits(held, jnp.asarray(FLOOR, data.dtype))
    return em.step(state, em.Table(data, sample_weight), prior, limits)[0]


def iterate(mixture, x, steps, prior=None, sample_weight=None, held=None):
    """States before each step, and after the last; all rows in one block."""
    prior = MaximumLikelihood() if prior is None else prior
    held = free(mixture) if held is None else held
    weight = jnp.ones(len(x)) if sample_weight is None else jnp.asarray(sample_weight, float)
    states = [em.init(jax.tree.map(lambda a: a[None], mixture))]
    for _ in range(steps):
        states.append(one_step(states[-1], jnp.asarray(x)[None], weight[None], prior, held))
    return jax.tree.map(lambda a: a[0], states)


def assert_same(a: Mixture, b: Mixture, **tolerance):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, **tolerance), a, b)


@pytest.mark.parametrize("steps", [1, 2, 5, 20])
@pytest.mark.parametrize("features", [1, 2])
def test_iterates_are_scikit_learns(steps, features, x64):
    x = points()[:, None] if features == 1 else np.stack([points(), points()[::-1] ** 2 / 4], -1)
    means = np.array(MEANS)[:, None] + np.arange(features)
    scales = np.array(SCALES)[:, None] + np.zeros(features)
    reference = GaussianMixture(
        3,
        covariance_type="diag",
        reg_covar=0,
        tol=0,
        max_iter=steps,
        weights_init=WEIGHTS,
        means_init=means,
        precisions_init=1 / scales**2,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        reference.fit(x)
    mixture = iterate(Mixture(WEIGHTS, Normal(means, scales)), x, steps)[-1].mixtures
    np.testing.assert_allclose(mixture.weights, reference.weights_, rtol=1e-8)
    np.testing.assert_allclose(mixture.components.means, reference.means_, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(
        mixture.components.scales, np.sqrt(reference.covariances_), rtol=1e-8
    )


def prior():
    return DirichletNormalGamma(concentration=2, mean=0.5, mean_scale=1.5, shape=3, rate=2)


@pytest.mark.parametrize("with_prior", [False, True], ids=["likelihood", "posterior"])
def test_the_objective_never_falls(with_prior, x64):
    states = iterate(start(), points(), 100, prior() if with_prior else None)
    objective = np.array([state.objective for state in states[1:]])
    assert np.all(np.diff(objective) >= -1e-13)
    assert objective[-1] > objective[0] + 0.01


@pytest.mark.parametrize("with_prior", [False, True], ids=["likelihood", "posterior"])
def test_the_objective_never_falls_in_float32(with_prior):
    states = iterate(start(), points(), 100, prior() if with_prior else None)
    objective = np.array([state.objective for state in states[1:]])
    assert np.all(np.diff(objective) >= -8 * np.finfo(np.float32).eps * np.abs(objective[1:]))


def test_the_objective_is_the_log_posterior_per_point(x64):
    x = points()
    before, after = iterate(start(), x, 1, prior())
    del before
    expected = (start().log_prob(x).sum() + prior().log_prob(start())) / len(x)
    np.testing.assert_allclose(after.objective, expected, rtol=1e-12)


def log_posterior(mixture, x):
    return jnp.sum(Mixture.log_prob(mixture, x)) + prior().log_prob(mixture)


@pytest.mark.slow
def test_the_posterior_mode_is_stationary(x64):
    """Gradients vanish; those of the weights are equal, as a Lagrange multiplier has it."""
    x = jnp.asarray(points())
    mixture = iterate(start(), x, 4000, prior())[-1].mixtures
    gradient = jax.grad(log_posterior)(mixture, x)
    np.testing.assert_allclose(gradient.components.means, 0, atol=1e-5)
    np.testing.assert_allclose(gradient.components.scales, 0, atol=1e-5)
    np.testing.assert_allclose(gradient.weights, gradient.weights[0], rtol=1e-6)


def test_each_part_of_a_posterior_step_maximises(x64):
    """Weights; means at the old scales; scales at the new means."""
    x = jnp.asarray(points())
    r = start().responsibilities(x)
    new = iterate(start(), x, 1, prior())[-1].mixtures

    @jax.jit
    def expected(weights, means, scales):
        mixture = Mixture(weights, Normal(means, scales))
        return jnp.sum(r * mixture.log_joint(x)) + prior().log_prob(mixture)

    old_scales, components = jnp.array(SCALES), new.components
    best = expected(new.weights, components.means, old_scales)
    best_scales = expected(new.weights, components.means, components.scales)
    for h in (0.3, 1e-2, 1e-4):
        for j in range(3):
            push = jnp.zeros(3).at[j].set(h)
            for sign in (1, -1):
                means = components.means + sign * push
                assert expected(new.weights, means, old_scales) <= best + 1e-10
                scales = components.scales * jnp.exp(sign * push)
                assert expected(new.weights, components.means, scales) <= best_scales + 1e-10
                weights = new.weights * jnp.exp(sign * push)
                weights = weights / weights.sum()
                assert expected(weights, components.means, old_scales) <= best + 1e-10


def test_a_component_without_points_goes_to_the_mode_of_its_prior(x64):
    """Mean to the prior's, scale to (shape - 1) / rate, weight by concentration - 1."""
    far = Mixture([0.5, 0.5], Normal([0.0, 1e4], [1.0, 1.0]))
    x = points()
    new = iterate(far, x, 1, prior())[-1].mixtures
    np.testing.assert_allclose(new.components.means[1], 0.5, rtol=1e-6)
    np.testing.assert_allclose(new.components.scales[1], 2 / 2, rtol=1e-6)
    np.testing.assert_allclose(new.weights[1], 1 / (len(x) + 2), rtol=1e-9)


def test_an_empty_component_stays_where_it_is_without_a_prior(x64):
    far = Mixture([0.5, 0.5], Normal([0.0, 1e4], [1.0, 1.0]))
    new = iterate(far, points(), 5)[-1].mixtures
    np.testing.assert_array_equal(new.components.means[1], 1e4)
    np.testing.assert_array_equal(new.components.scales[1], 1)
    np.testing.assert_allclose(new.weights, [1, 0], atol=1e-15)


def test_held_parameters_do_not_move_and_the_rest_is_optimal(x64):
    x = jnp.asarray(points())
    held = free(start())
    held = jax.tree.unflatten(
        jax.tree.structure(held),
        [
            jnp.array([True, False, False]),
            jnp.array([False, True, False]),
            jnp.array([False, False, True]),
        ],
    )
    new = iterate(start(), x, 3000, held=held)[-1].mixtures
    assert float(new.weights[0]) == WEIGHTS[0]
    assert float(new.components.means[1]) == MEANS[1]
    assert float(new.components.scales[2]) == SCALES[2]
    np.testing.assert_allclose(new.weights.sum(), 1, rtol=1e-12)
    gradient = jax.grad(lambda m: m.log_prob(x).sum())(new)
    np.testing.assert_allclose(gradient.components.means[np.array([0, 2])], 0, atol=1e-5)
    np.testing.assert_allclose(gradient.components.scales[:2], 0, atol=1e-5)
    np.testing.assert_allclose(gradient.weights[1], gradient.weights[2], rtol=1e-5)


def test_blocks_of_rows_change_nothing(x64):
    x, weight = jnp.asarray(points()), jnp.asarray(np.arange(60.0) % 3)
    starts = jax.tree.map(lambda a: a[None], start())
    whole = em.expectation(starts, em.Table(x[None], weight[None]))
    blocks = em.expectation(starts, em.Table(x.reshape(4, 15), weight.reshape(4, 15)))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), whole, blocks)


def test_rows_of_weight_zero_do_not_count_even_where_impossible(x64):
    mixture = Mixture([0.5, 0.5], Bernoulli([1.0, 0.7]))
    held = free(mixture)
    x = np.array([1.0, 0.0, 1.0, 1.0])
    with_padding = iterate(mixture, np.append(x, 5.0), 3, None, [1, 1, 1, 1, 0], held)[-1]
    without = iterate(mixture, x, 3, None, np.ones(4), held)[-1]
    assert_same(with_padding.mixtures, without.mixtures, rtol=1e-12)
    np.testing.assert_allclose(with_padding.objective, without.objective)


def test_a_row_of_weight_three_is_three_rows(x64):
    x, weight = points(), np.arange(60) % 4
    weighted = iterate(start(), x, 10, prior(), weight)[-1]
    copied = iterate(start(), np.repeat(x, weight), 10, prior())[-1]
    assert_same(weighted.mixtures, copied.mixtures, rtol=1e-9)
    np.testing.assert_allclose(weighted.objective, copied.objective, rtol=1e-12)


def test_permuted_starts_give_permuted_fits(x64):
    order = jnp.array([2, 0, 1])
    permuted = jax.tree.map(lambda a: a[order], start())
    expected = jax.tree.map(lambda a: a[order], iterate(start(), points(), 20)[-1].mixtures)
    assert_same(iterate(permuted, points(), 20)[-1].mixtures, expected, rtol=1e-9)


def run(starts, x, max_steps, tol=1e-12, prior=None):
    dtype = jnp.asarray(x).dtype
    return em.run(
        starts,
        em.Table(jnp.asarray(x)[None], jnp.ones((1, len(x)), dtype)),
        MaximumLikelihood() if prior is None else prior,
        Limits(jax.tree.map(lambda a: a[0], free(starts)), jnp.asarray(FLOOR, dtype)),
        jnp.asarray(tol, dtype),
        max_steps,
    )


def two_starts():
    other = Mixture([0.4, 0.3, 0.3], Normal([-2.0, 0.0, 3.0], [0.5, 0.5, 0.5]))
    return jax.tree.map(lambda a, b: jnp.stack([a, b]), start(), other)


def test_a_batch_of_runs_is_each_run(x64):
    fit = run(two_starts(), points(), 30, tol=0.0)
    for i in range(2):
        alone = run(jax.tree.map(lambda a, i=i: a[i : i + 1], two_starts()), points(), 30, tol=0.0)
        for got, expected in ((fit.mixtures, alone.mixtures), (fit.history.T, alone.history.T)):
            jax.tree.map(
                lambda a, b, i=i: np.testing.assert_allclose(a[i], b[0], rtol=1e-9), got, expected
            )


def test_a_run_starts_with_plain_steps(x64):
    fit = run(two_starts(), points(), 2)
    np.testing.assert_array_equal(fit.steps, [2, 2])
    np.testing.assert_array_equal(fit.status, [em.RUNNING] * 2)
    states = iterate(start(), points(), 2)
    np.testing.assert_allclose(fit.history[:, 0], [s.objective for s in states[1:]], rtol=1e-12)


@pytest.mark.parametrize("with_prior", [False, True], ids=["likelihood", "posterior"])
def test_the_objective_of_a_run_never_falls(with_prior, dtype):
    x = points().astype(dtype)
    fit = run(two_starts(), x, 300, 0.0, prior() if with_prior else None)
    slack = 8 * np.finfo(dtype).eps * np.abs(np.nanmax(fit.history))
    for i in range(2):
        history = np.asarray(fit.history[: fit.steps[i], i])
        assert np.all(np.isfinite(history))
        assert np.all(np.diff(history) >= -slack)
        assert fit.objective[i] >= history[-1] - slack


@pytest.mark.parametrize("with_prior", [False, True], ids=["likelihood", "posterior"])
def test_a_run_reaches_the_optimum_of_plain_steps(with_prior, x64):
    chosen = prior() if with_prior else None
    fit = run(two_starts(), points(), 20_000, 1e-13, chosen)
    plain = iterate(start(), points(), 3000, chosen)[-1]
    assert fit.status[0] == em.CONVERGED
    assert fit.objective[0] >= plain.objective - 1e-10
    if fit.objective[0] < plain.objective + 1e-9:  # the same optimum
        assert_same(jax.tree.map(lambda a: a[0], fit.mixtures), plain.mixtures, rtol=1e-3)


def test_a_run_that_says_converged_has_no_more_to_gain(x64):
    """Overlapping components, where steps are tiny long before the optimum."""
    starts = jax.tree.map(lambda a: a[None], start())
    fit = run(starts, points(), 20_000, tol=1e-9)
    assert fit.status[0] == em.CONVERGED
    assert fit.steps[0] < 20_000
    longer = run(starts, points(), 20_000, tol=1e-14)
    assert longer.objective[0] - fit.objective[0] < 5e-9


def test_impossible_data_is_said_to_be_not_finite():
    starts = Mixture([0.5, 0.5], Bernoulli([1.0, 1.0]))
    starts = jax.tree.map(lambda a: a[None], starts)
    assert run(starts, np.array([1.0, 0.0], np.float32), 50).status[0] == em.NOT_FINITE


def fit_with(objective, status):
    r = len(objective)
    return em.Fit(
        Mixture([1.0], Normal([0.0], 1.0)),
        jnp.array(objective),
        jnp.array(status),
        jnp.zeros(r, int),
        jnp.zeros((1, r)),
    )


@pytest.mark.parametrize(
    ("objective", "status", "expected"),
    [
        ([1.0, 3.0, 2.0], [em.CONVERGED] * 3, 1),
        ([1.0, 9.0, 2.0], [em.CONVERGED, em.COLLAPSED, em.RUNNING], 2),
        ([1.0, 9.0, 2.0], [em.NOT_FINITE, em.NOT_FINITE, em.COLLAPSED], 2),
        ([np.nan, 1.0, 2.0], [em.NOT_FINITE, em.COLLAPSED, em.COLLAPSED], 2),
    ],
)
def test_the_best_run_is_sound_before_it_is_high(objective, status, expected):
    assert em.best(fit_with(objective, status)) == expected
