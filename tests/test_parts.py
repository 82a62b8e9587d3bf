"""Categories, mixed tables and mixtures of different families, against scipy and by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize, stats

import gmm_jax
from gmm_jax import (
    Categorical,
    Heterogeneous,
    Mixture,
    MultivariateNormal,
    Normal,
    PointMass,
    Poisson,
    Product,
    StudentT,
    Uniform,
)

PROBS = [[[0.2, 0.5, 0.3], [0.6, 0.4, 0.0]], [[0.7, 0.1, 0.2], [0.1, 0.9, 0.0]]]


def table(n=400, seed=0):
    """Two kinds of rows: a number, a count and a category."""
    rng = np.random.default_rng(seed)
    z = rng.random(n) < 0.4
    number = np.where(z, rng.normal(0, 1, n), rng.normal(5, 2, n))
    count = np.where(z, rng.poisson(3, n), rng.poisson(12, n))
    kind = np.where(z, rng.choice(3, n, p=[0.7, 0.2, 0.1]), rng.choice(3, n, p=[0.1, 0.2, 0.7]))
    return np.stack([number, count, kind], 1), z


KIND = Product.of(Normal, Poisson, Categorical)


def test_categories_have_the_probabilities_given(x64):
    components = Categorical(PROBS)
    points = jnp.array([[0.0, 1.0], [2.0, 0.0]])
    probs = np.array(PROBS)
    expected = np.log([probs[:, 0, 0] * probs[:, 1, 1], probs[:, 0, 2] * probs[:, 1, 0]])
    np.testing.assert_allclose(components.log_prob(points), expected, rtol=1e-12)
    assert np.isneginf(components.log_prob(jnp.array([[0.0, 7.0]]))).all()
    drawn = np.asarray(components.sample(jax.random.key(0), jnp.zeros(40_000, int)))
    shares = np.stack([(drawn == c).mean(0) for c in range(3)], 1)
    np.testing.assert_allclose(shares, probs[0], atol=5 * 0.5 / np.sqrt(40_000))


def test_latent_classes_are_found_and_counted():
    rng = np.random.default_rng(1)
    z = rng.random(2000) < 0.3
    sharp, other = [0.8, 0.1, 0.1], [0.1, 0.1, 0.8]
    answers = np.stack(
        [np.where(z, rng.choice(3, 2000, p=sharp), rng.choice(3, 2000, p=other)) for _ in range(5)],
        1,
    )
    result = gmm_jax.fit(answers, 2, family=Categorical)
    assert result.n_parameters == 1 + 2 * 5 * 2
    assigned = np.asarray(result.assign())
    agreement = np.mean(assigned == (z if result.mixture.weights[1] < 0.5 else ~z))
    assert max(agreement, 1 - agreement) > 0.97
    assert result.converged


def test_a_product_is_the_sum_of_its_parts(x64):
    product = Product(
        [
            MultivariateNormal.from_covariances([[0, 1], [2, 3]], np.eye(2)[None].repeat(2, 0)),
            Poisson([2.0, 5.0]),
        ],
        ((0, 2), 1),
    )
    points = np.array([[0.5, 3.0, 1.5], [2.0, 0.0, -1.0]])
    expected = (
        stats.norm.logpdf(points[:, [0]], [0, 2])
        + stats.norm.logpdf(points[:, [2]], [1, 3])
        + stats.poisson.logpmf(points[:, [1]], [2, 5])
    )
    np.testing.assert_allclose(product.log_prob(jnp.asarray(points)), expected, rtol=1e-12)
    drawn = product.sample(jax.random.key(0), jnp.zeros(20_000, int))
    np.testing.assert_allclose(drawn.mean(0), [0, 2, 1], atol=5 * np.sqrt(2 / 20_000))


def test_mixed_tables_are_fitted(x64):
    data, z = table()
    result = gmm_jax.fit(data, 2, family=KIND)
    components = result.mixture.components
    shares = np.asarray(result.responsibilities())
    # At the optimum every parameter is the weighted mean that EM says it is.
    counts = shares.sum(0)
    np.testing.assert_allclose(result.mixture.weights, counts / 400, atol=1e-5)
    np.testing.assert_allclose(components.parts[0].means, shares.T @ data[:, 0] / counts, atol=1e-4)
    np.testing.assert_allclose(components.parts[1].rates, shares.T @ data[:, 1] / counts, atol=1e-3)
    hot = data[:, 2, None] == np.arange(3)
    np.testing.assert_allclose(
        components.parts[2].probs, shares.T @ hot / counts[:, None], atol=1e-4
    )
    assigned = np.asarray(result.assign())
    assert max(np.mean(assigned == z), np.mean(assigned != z)) > 0.97
    assert result.n_parameters == 1 + 4 + 2 + 4


@pytest.mark.slow
def test_holes_in_mixed_tables_are_filled_from_the_other_columns():
    data, _ = table(1500)
    holes = np.random.default_rng(2).random(data.shape) < 0.15
    holed = np.where(holes, np.nan, data)
    result = gmm_jax.fit(holed, 2, family=KIND)
    whole = gmm_jax.fit(data, 2, family=KIND)
    np.testing.assert_allclose(
        result.mixture.components.parts[0].means,
        whole.mixture.components.parts[0].means,
        atol=0.3,
    )
    filled = np.asarray(result.impute())
    np.testing.assert_allclose(filled[~holes], data[~holes], rtol=1e-5)
    only = holes[:, 0] & ~holes[:, 1]
    error = np.mean((filled[only, 0] - data[only, 0]) ** 2)
    guess = np.mean((np.nanmean(holed[:, 0]) - data[only, 0]) ** 2)
    assert error < 0.6 * guess


def test_noise_is_told_from_clusters(x64):
    rng = np.random.default_rng(3)
    data = np.r_[rng.normal(0, 1, 300), rng.normal(9, 0.5, 200), rng.uniform(-40, 40, 100)]
    result = gmm_jax.fit(data, family=Heterogeneous.of(Normal, Normal, Uniform))
    np.testing.assert_allclose(sorted(result.mixture.components.parts[0].means), [0, 9], atol=0.3)

    def loss(v):
        w = np.exp(np.r_[v[:2], 0])
        w /= w.sum()
        spread = data.max() - data.min()
        density = (
            w[0] * stats.norm.pdf(data, v[2], np.exp(v[4]))
            + w[1] * stats.norm.pdf(data, v[3], np.exp(v[5]))
            + w[2] / spread
        )
        return -np.log(density).sum()

    best = optimize.minimize(loss, [0, 0, 0, 9, 0, 0], options={"gtol": 1e-9}).fun
    np.testing.assert_allclose(result.log_likelihood, -best, atol=0.05)


def test_excess_zeros_are_a_spike(x64):
    rng = np.random.default_rng(4)
    data = np.r_[rng.poisson(4, 300), np.zeros(100)]
    result = gmm_jax.fit(data, family=Heterogeneous.of(Poisson, PointMass))

    def loss(v):
        share, rate = 1 / (1 + np.exp(-v[0])), np.exp(v[1])
        mass = share * stats.poisson.pmf(data, rate) + (1 - share) * (data == 0)
        return -np.log(mass).sum()

    best = optimize.minimize(loss, [0, 1], options={"gtol": 1e-9})
    np.testing.assert_allclose(result.log_likelihood, -best.fun, atol=1e-5)
    np.testing.assert_allclose(
        result.mixture.components.parts[0].rates, np.exp(best.x[1]), rtol=1e-4
    )
    assert result.n_parameters == 2


@pytest.mark.slow
def test_student_t_reaches_the_maximum_of_its_likelihood(x64):
    data = stats.t.rvs(3, 1, 2, size=400, random_state=5)
    result = gmm_jax.fit(data, 1, family=StudentT)
    dfs, mean, scale = stats.t.fit(data)
    np.testing.assert_allclose(
        result.log_likelihood, stats.t.logpdf(data, dfs, mean, scale).sum(), atol=1e-3
    )
    np.testing.assert_allclose(result.mixture.components.dfs, dfs, rtol=0.01)


@pytest.mark.slow
def test_parts_work_inside_generative_functions():
    from genjax import seed

    from gmm_jax.models import marginal_points, points

    data, _ = table(5)
    mixture = gmm_jax.fit(table()[0], 2, family=KIND).mixture
    log_density, _ = marginal_points(5).assess(
        jnp.asarray(data, jnp.float32), mixture.weights, mixture.components
    )
    np.testing.assert_allclose(log_density, mixture.log_prob(data).sum(), rtol=1e-5)
    trace = seed(points(4).simulate)(jax.random.key(0), mixture.weights, mixture.components)
    assert trace.get_choices()["x"].shape == (4, 3)


@pytest.mark.slow
def test_fixed_and_shared_parts_are_named():
    data, _ = table()
    result = gmm_jax.fit(data, 2, family=KIND, fixed={"parts[1].rates": [3.0, np.nan]})
    assert result.mixture.components.parts[1].rates[0] == 3
    result = gmm_jax.fit(data, 2, family=KIND, shared={"parts[0].scales": True})
    scales = result.mixture.components.parts[0].scales
    assert scales[0] == scales[1]
    assert result.n_parameters == 1 + 3 + 2 + 4


MISTAKES = {
    "columns": (lambda: gmm_jax.fit(np.ones((9, 2)), 1, family=KIND), "are for 3 columns"),
    "counts": (
        lambda: gmm_jax.fit([[0.0, -1.0, 0.0]] * 9, 1, family=KIND),
        "column 1 of data: data for Poisson components must be counts",
    ),
    "parts": (lambda: Product([Normal([0.0], [1.0]), Poisson([1.0, 2.0])]), "same number of comp"),
    "probs": (lambda: Categorical([[0.5, 0.2]]), "probs must be shares that sum to 1"),
    "ends": (lambda: Uniform([1.0], [0.0]), "highs must be above lows"),
    "number": (
        lambda: gmm_jax.fit([1.0, 2.0], 3, family=Heterogeneous.of(Normal, Uniform)),
        "n_components is 3 but family has 2",
    ),
    "name": (
        lambda: gmm_jax.fit([1.0, 2.0, 3.0], 1, shared={"rates": True}),
        "shared has no parameter called 'rates'",
    ),
    "groups": (
        lambda: gmm_jax.fit([1.0, 2.0, 3.0], 2, shared={"scales": [0]}),
        "must be True, or one group number for each of 2",
    ),
}


@pytest.mark.parametrize(("call", "message"), MISTAKES.values(), ids=MISTAKES.keys())
def test_mistakes_are_explained(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_mixtures_of_parts_answer_like_any_other():
    mixture = Mixture([0.3, 0.7], Heterogeneous([Poisson([2.0]), PointMass([0.0])]))
    expected = np.log(0.3 * stats.poisson.pmf(0, 2) + 0.7)
    np.testing.assert_allclose(mixture.log_prob(0.0), expected, rtol=1e-6)
    drawn, assignments = mixture.sample(jax.random.key(0), 1000)
    assert np.all(np.asarray(drawn)[np.asarray(assignments) == 1] == 0)
