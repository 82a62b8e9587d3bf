"""Marginals, conditionals, quantiles and highest-density regions against scipy and integrals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, optimize, stats

import gmm_jax
from gmm_jax import (
    Bernoulli,
    Exponential,
    Gamma,
    Heterogeneous,
    Mixture,
    MultivariateNormal,
    Normal,
    PointMass,
    Poisson,
    Product,
    StudentT,
    Uniform,
    fit,
)


def random_mixture(seed, k=3, d=4):
    rng = np.random.default_rng(seed)
    roots = rng.normal(size=(k, d, d + 1))
    covariances = roots @ roots.transpose(0, 2, 1)
    return rng.dirichlet(np.full(k, 3)), rng.normal(0, 2, (k, d)), covariances


def mixture_of(weights, means, covariances):
    return Mixture(weights, MultivariateNormal.from_covariances(means, covariances))


def line(weights, means, scales):
    return Mixture(weights, Normal(np.array(means, float), np.array(scales, float)))


@pytest.mark.parametrize("dims", [[2], [0, 3], [3, 1, 0], [-1, 0], [0, 1, 2, 3]])
def test_marginals(dims, x64):
    weights, means, covariances = random_mixture(0)
    marginal = mixture_of(weights, means, covariances).marginal(dims)
    np.testing.assert_allclose(marginal.weights, weights)
    np.testing.assert_allclose(marginal.components.means, means[:, dims])
    expected = covariances[:, dims][:, :, dims]
    np.testing.assert_allclose(marginal.components.covariances, expected, rtol=1e-9, atol=1e-12)
    assert np.all(np.diagonal(marginal.components.scale_trils, axis1=1, axis2=2) > 0)


def test_one_feature_becomes_one_dimensional(x64):
    weights, means, covariances = random_mixture(1)
    marginal = mixture_of(weights, means, covariances).marginal(2)
    assert isinstance(marginal.components, Normal)
    scales = np.sqrt(covariances[:, 2, 2])
    expected = stats.norm.cdf(1.3, means[:, 2], scales) @ weights
    np.testing.assert_allclose(marginal.cdf(1.3), expected)


@pytest.mark.parametrize("dims", [[2], [0, 3], [3, 1, 0]])
def test_conditionals_are_joint_over_marginal(dims, x64):
    """p(rest | known) = p(all) / p(known), both by scipy."""
    weights, means, covariances = random_mixture(2)
    x = np.array([0.5, -1, 2, 0.3])
    rest = [j for j in range(4) if j not in dims]

    def density(some):
        return sum(
            w * stats.multivariate_normal(m[some], c[np.ix_(some, some)]).pdf(x[some])
            for w, m, c in zip(weights, means, covariances, strict=True)
        )

    conditional = mixture_of(weights, means, covariances).condition(dims, x[dims])
    expected = np.log(density([0, 1, 2, 3]) / density(dims))
    np.testing.assert_allclose(conditional.log_prob(x[rest]), expected, rtol=1e-9)


def test_independent_features(x64):
    rng = np.random.default_rng(3)
    weights, means, scales = [0.2, 0.8], rng.normal(size=(2, 3)), rng.uniform(0.5, 2, (2, 3))
    independent = Mixture(weights, Normal(means, scales))
    full = mixture_of(weights, means, [np.diag(s**2) for s in scales])
    x = np.array([0.1, 0.7])
    for dims, values in (([1], [0.4]), (1, 0.4), ([2, 0], [1.0, -1.0])):
        a, b = (m.condition(dims, values) for m in (independent, full))
        np.testing.assert_allclose(a.weights, b.weights)
        rest = x[: 3 - np.size(dims)]
        np.testing.assert_allclose(a.log_prob(rest), b.log_prob(rest))
    assert independent.marginal(0).components.event_shape == ()
    np.testing.assert_allclose(
        independent.marginal([2, 0]).log_prob(x), full.marginal([2, 0]).log_prob(x)
    )


def test_conditioning_vmaps_and_differentiates(x64):
    mixture = mixture_of(*random_mixture(4))
    values = np.random.default_rng(5).normal(size=(6, 2))

    def mean(row):
        conditional = mixture.condition([1, 2], row)
        return conditional.weights @ conditional.components.means

    together = jax.jit(jax.vmap(mean))(values)
    np.testing.assert_allclose(together, np.stack([mean(row) for row in values]), rtol=1e-9)
    step = jnp.array([1e-6, 0])
    slope = (mean(values[0] + step) - mean(values[0] - step)) / 2e-6
    np.testing.assert_allclose(jax.jacfwd(mean)(values[0])[:, 0], slope, rtol=1e-5)


def test_nearly_singular_covariances_keep_their_digits():
    """Variance given x_0 is 1 - rho^2; in float32, by forming the covariance, nothing is left."""
    rest = 1e-4
    trils = [[[1, 0], [1, rest]]]
    mixture = Mixture([1], MultivariateNormal(np.zeros((1, 2)), np.array(trils)))
    scale = mixture.condition([0], [0.5]).components.scale_trils[0, 0, 0]
    np.testing.assert_allclose(scale, rest, rtol=1e-5)
    back = mixture.condition([1], [0.5]).components
    np.testing.assert_allclose(back.scale_trils[0, 0, 0], rest / np.sqrt(1 + rest**2), rtol=1e-3)


def test_values_far_out_still_give_shares():
    mixture = mixture_of([0.5, 0.5], [[0, 0], [1, 1]], [np.eye(2)] * 2)
    np.testing.assert_allclose(mixture.condition(0, 300.0).weights, [0, 1], atol=1e-6)


def test_cdf_is_the_integral_of_the_density(x64):
    mixture = line([0.3, 0.7], [0, 4], [1, 0.5])
    for x in (-1.0, 2.0, 4.2):
        integral = integrate.quad(lambda t: float(jnp.exp(mixture.log_prob(t))), -12, x, points=[0])
        np.testing.assert_allclose(mixture.cdf(x), integral[0], rtol=1e-7)
    np.testing.assert_allclose(jax.grad(mixture.cdf)(2.0), jnp.exp(mixture.log_prob(2.0)))


@pytest.mark.parametrize("q", [1e-300, 1e-20, 1e-3, 0.5, 0.9, 1 - 1e-12])
def test_quantiles_of_one_normal(q):
    np.testing.assert_allclose(line([1], [7], [3]).icdf(q), stats.norm.ppf(q, 7, 3), rtol=1e-12)


@pytest.mark.parametrize(
    ("components", "reference"),
    [
        (gmm_jax.StudentT([1.0], [2.0], [3.0]), stats.t(3, 1, 2)),
        (gmm_jax.Exponential([0.5]), stats.expon(scale=2)),
        (gmm_jax.Gamma([3.0], [0.5]), stats.gamma(3, scale=2)),
        (gmm_jax.Poisson([3.7]), stats.poisson(3.7)),
        (gmm_jax.Bernoulli([0.25]), stats.bernoulli(0.25)),
        (gmm_jax.Uniform([-2.0], [5.0]), stats.uniform(-2, 7)),
        (gmm_jax.PointMass([0.0]), stats.randint(0, 1)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_shares_and_quantiles_of_other_families(components, reference, x64):
    """A family with a whole-number range has jumps, and its quantiles are whole."""
    mixture = Mixture([1], jax.tree.map(lambda a: jnp.asarray(a, float), components))
    points = np.linspace(-3, 12, 31)
    np.testing.assert_allclose(mixture.cdf(points), reference.cdf(points), atol=1e-6)
    q = [0.01, 0.3, 0.5, 0.77, 0.999]
    np.testing.assert_allclose(mixture.icdf(q), reference.ppf(q), rtol=1e-6, atol=1e-6)


def test_quantiles_of_different_families():
    parts = [gmm_jax.PointMass([0.0]), gmm_jax.Poisson([4.0])]
    spike = Mixture([0.3, 0.7], gmm_jax.Heterogeneous(parts))
    assert spike.icdf([0, 0.2, 0.31, 0.5, 1]).tolist() == [-np.inf, 0, 0, 3, np.inf]


@pytest.mark.parametrize("seed", range(5))
def test_quantiles_solve_the_cdf(seed, x64):
    rng = np.random.default_rng(seed)
    w, m, s = rng.dirichlet(np.ones(4)), rng.normal(0, 5, 4), np.exp(rng.normal(-1, 2, 4))
    q = np.concatenate([10.0 ** -np.arange(1, 200, 20), rng.uniform(size=20)])
    x = line(w, m, s).icdf(q)
    np.testing.assert_allclose(stats.norm.cdf(x[:, None], m, s) @ w, q, rtol=1e-6)
    inner = q[(q > 1e-3) & (q < 0.999)]
    roots = [
        optimize.brentq(lambda t, a=a: stats.norm.cdf(t, m, s) @ w - a, -1e4, 1e4) for a in inner
    ]
    np.testing.assert_allclose(line(w, m, s).icdf(inner), roots, atol=1e-8)


def test_the_upper_tail_is_as_right_as_the_lower(x64):
    mixture, mirrored = line([0.3, 0.7], [0, 4], [1, 2]), line([0.3, 0.7], [0, -4], [1, 2])
    q = np.array([2.0**-40, 2.0**-50])
    np.testing.assert_allclose(mixture.icdf(1 - q), -mirrored.icdf(q), rtol=1e-13)
    np.testing.assert_array_equal(mixture.icdf([0, 1]), [-np.inf, np.inf])


def test_a_narrow_component_far_from_zero():
    mixture = line([0.5, 0.5], [1e4, 1e4 + 64], [2.0**-20, 8])
    expected = 1e4 + 2.0**-20 * stats.norm.ppf([0.2, 0.8])
    np.testing.assert_allclose(mixture.icdf([0.1, 0.4]), expected, rtol=1e-15, atol=1e-11)
    half = 2.0**-20 * stats.norm.ppf(0.9)
    region = np.array(mixture.hdr(0.4)) - 1e4
    np.testing.assert_allclose(region, [[-half, half]], rtol=1e-5)
    # Half the mass takes slivers of both, at the height of the wide one.
    assert len(mixture.hdr(0.5)) == 2


@pytest.mark.parametrize("mass", [1e-6, 0.5, 0.95, 1 - 1e-10])
def test_the_region_of_one_normal_is_central(mass):
    half = 3 * stats.norm.isf((1 - mass) / 2)
    np.testing.assert_allclose(line([1], [7], [3]).hdr(mass), [(7 - half, 7 + half)], rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_regions_hold_their_mass_at_one_level(seed, x64):
    rng = np.random.default_rng(seed)
    w, m, s = rng.dirichlet(np.full(4, 2)), rng.normal(0, 6, 4), rng.uniform(0.2, 2, 4)
    for mass in (0.3, 0.8, 0.99):
        region = np.array(line(w, m, s).hdr(mass))
        held = (np.diff(stats.norm.cdf(region[..., None], m, s), axis=1) @ w).sum()
        np.testing.assert_allclose(held, mass, rtol=1e-9)
        levels = stats.norm.pdf(region[..., None], m, s) @ w
        np.testing.assert_allclose(levels, levels[0, 0], rtol=1e-6)
        # Every point of a dense grid is inside just where the density is higher.
        grid = np.linspace(-30, 30, 20_001)
        inside = ((grid[:, None] > region[:, 0]) & (grid[:, None] < region[:, 1])).any(1)
        density = stats.norm.pdf(grid[:, None], m, s) @ w
        assert np.mean(inside != (density > levels[0, 0])) < 2e-3
        assert density[inside].min() > 0.9 * density[~inside].max()


def test_the_bentos(bentos):
    result = fit(bentos, 2)
    region = result.hdr(0.9)
    assert len(region) == 2
    np.testing.assert_allclose(np.mean(region, 1), [350.25, 500], atol=1e-3)
    np.testing.assert_allclose(result.cdf(425.0), 0.4, atol=1e-6)
    np.testing.assert_allclose(result.icdf(0.2), 350.25, atol=1e-3)


def test_a_fit_of_two_features_predicts_one_from_the_other():
    rng = np.random.default_rng(0)
    x = rng.normal(size=200)
    y = 3 * x + rng.normal(0, 0.5, 200)
    conditional = fit(np.column_stack([x, y]), 1).condition(0, 2.0)
    slope, intercept = np.polyfit(x, y, 1)
    np.testing.assert_allclose(conditional.components.means, [[intercept + 2 * slope]], rtol=1e-4)
    spread = np.std(y - slope * x - intercept)
    np.testing.assert_allclose(conditional.hdr(0.5)[0][1] - conditional.icdf(0.5),
                               spread * stats.norm.ppf(0.75), rtol=1e-3)  # fmt: skip


@pytest.mark.slow
def test_regions_of_skewed_and_bounded_components(x64):
    mixture = Mixture([0.6, 0.4], Gamma([3.0, 40.0], [1.0, 2.0]))
    (a, b), (c, d) = mixture.hdr(0.8)
    ends = np.array([a, b, c, d])
    density = [0.6, 0.4] @ stats.gamma.pdf(ends, [[3], [40]], scale=[[1], [0.5]])
    np.testing.assert_allclose(density, density[0], rtol=1e-6)
    shares = [0.6, 0.4] @ stats.gamma.cdf(ends, [[3], [40]], scale=[[1], [0.5]])
    np.testing.assert_allclose(shares[1] - shares[0] + shares[3] - shares[2], 0.8, rtol=1e-9)
    ((low, high),) = Mixture([1.0], Exponential([2.0])).hdr(0.9)
    np.testing.assert_allclose([low, high], [0, np.log(10) / 2], atol=1e-9)
    heavy = Mixture([1.0], StudentT([5.0], [2.0], [3.0])).hdr(0.99)
    np.testing.assert_allclose(heavy, [5 + 2 * stats.t.ppf([0.005, 0.995], 3)], rtol=1e-7)
    noisy = Mixture([0.9, 0.1], Heterogeneous([Normal([0.0], [1.0]), Uniform([-20.0], [20.0])]))
    ((low, high),) = noisy.hdr(0.5)
    np.testing.assert_allclose(0.9 * (2 * stats.norm.cdf(high) - 1) + 0.1 * high / 20, 0.5)


@pytest.mark.slow
def test_regions_of_counts_are_runs_of_the_most_probable(x64):
    weights, rates = np.array([0.5, 0.5]), np.array([2.0, 30.0])
    counts = np.arange(200)
    mass = stats.poisson.pmf(counts[:, None], rates) @ weights
    runs = Mixture(weights, Poisson(rates)).hdr(0.7)
    inside = ((counts[:, None] >= np.min(runs, 1)) & (counts[:, None] <= np.max(runs, 1))).any(1)
    assert len(runs) == 2
    assert mass[inside].min() > mass[~inside].max()
    assert mass[inside].sum() >= 0.7 > mass[inside].sum() - mass[inside].min()
    spiked = Mixture([0.3, 0.7], Heterogeneous([PointMass([0.0]), Poisson([9.0])]))
    assert spiked.hdr(0.2) == [(0.0, 0.0)]


@pytest.mark.slow
def test_mixed_tables_split_into_what_is_known_and_the_rest(x64):
    normal = MultivariateNormal.from_covariances(
        [[0.0, 1.0], [3.0, -1.0]], [[[2.0, 0.8], [0.8, 1.0]], [[1.0, -0.3], [-0.3, 0.5]]]
    )
    scales = np.array([1.5, 0.5])
    mixture = Mixture(
        [0.4, 0.6],
        Product((Poisson([2.0, 7.0]), normal, Normal([1.0, 4.0], scales)), (1, (3, 0), 2)),
    )
    rng = np.random.default_rng(0)
    rows = np.column_stack([rng.normal(size=5), rng.poisson(4, 5), rng.normal(2, 2, (5, 2))])
    for dims in ([1], [0], [2, 0], [1, 3], [0, 1, 2], [3, 0, 2]):
        rest = [j for j in range(4) if j not in dims]
        known = mixture.marginal(dims).log_prob(rows[:, dims])
        given = [mixture.condition(dims, row[dims]).log_prob(row[rest]) for row in rows]
        np.testing.assert_allclose(known + np.array(given), mixture.log_prob(rows), rtol=1e-10)
        holes = rows.copy()
        holes[:, rest] = np.nan
        np.testing.assert_allclose(known, mixture.log_prob(holes), rtol=1e-10)
    np.testing.assert_allclose(mixture.marginal(1).cdf(3.0),
                               stats.poisson.cdf(3, [2, 7]) @ [0.4, 0.6], rtol=1e-10)  # fmt: skip
    np.testing.assert_allclose(mixture.marginal(0).icdf(0.5), 1, atol=2)
    rates = Mixture([0.4, 0.6], Poisson([[2.0, 5.0], [7.0, 1.0]]))
    np.testing.assert_allclose(
        rates.condition(0, 3.0).weights, rates.marginal(0).responsibilities(3.0), rtol=1e-10
    )


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda m: m.marginal([0, 4]), ValueError, "dims must lie between 0 and 3"),
        (lambda m: m.marginal([0, 0]), ValueError, "none twice"),
        (lambda m: m.marginal([]), TypeError, "dims must be the number of a feature"),
        (lambda m: m.marginal("x"), TypeError, "dims must be the number of a feature"),
        (lambda m: m.condition([0, 1, 2, 3], np.ones(4)), ValueError, "leave at least one free"),
        (lambda m: m.condition([0], np.ones((3, 1))), ValueError, "use jax.vmap"),
        (lambda m: m.cdf(0.0), TypeError, "cdf is not for MultivariateNormal"),
        (lambda m: m.icdf(0.5), TypeError, "take `marginal"),
        (lambda m: m.marginal(0).icdf(1.5), ValueError, "q must lie between 0 and 1"),
        (lambda m: m.marginal(0).hdr(1), ValueError, "mass must lie between 0 and 1"),
        (lambda m: m.marginal(0).marginal(0), TypeError, "marginal is not for Normal"),
        (lambda m: Mixture([1], Bernoulli([[0.5, 0.5]])).hdr(0.5), TypeError, "for one feature"),
        (
            lambda m: Mixture(
                [0.5, 0.5], Heterogeneous([PointMass([0.0]), Normal([0.0], [1.0])])
            ).hdr(0.5),
            TypeError,
            "not for a mixture of both",
        ),
        (lambda m: Mixture([1], Bernoulli([[0.5, 0.5]])).icdf(0.5), TypeError, "for one feature"),
    ],
)
def test_bad_arguments(call, error, match):
    with pytest.raises(error, match=match):
        call(mixture_of(*random_mixture(0)))
