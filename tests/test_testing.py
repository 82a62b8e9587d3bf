"""Exact posteriors against sums by hand and quadrature; checks pass what is right, no more."""

import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
import pytest
from scipy import special, stats

import gmm_jax
from gmm_jax import (
    Bernoulli,
    BetaBernoulli,
    DirichletNormalGamma,
    GammaPoisson,
    Mixture,
    MixturePrior,
    Normal,
    NormalGamma,
    NormalInverseGamma,
    NormalInverseWishart,
    ProductPrior,
    gibbs,
    importance,
)
from gmm_jax._pytree import pytree, rebuild
from gmm_jax.mixture_posterior import FROM_PRIOR, Arguments
from gmm_jax.table import Table
from gmm_jax.testing import Calibration, calibrate, check_invariance, exact

mpl.use("Agg")
from matplotlib import pyplot

COUNTS = np.array([0.0, 1, 9, 2])
NUMBERS = np.array([-0.9, -0.4, 1.1, 1.6, 0.2])


def test_four_points_by_hand():
    """Gamma integrals of Poisson counts, and Polya's urn for the labels."""
    concentration, shapes, rates = [1.5, 0.5], [2.0, 4.0], [0.5, 0.25]
    joint, rows = [], list(itertools.product(range(2), repeat=4))
    for z in rows:
        p, seen = 1.0, [0, 0]
        for i, j in enumerate(z):
            p *= (concentration[j] + seen[j]) / (2 + i)
            seen[j] += 1
        for j in range(2):
            x = COUNTS[np.array(z) == j]
            a, b = shapes[j] + x.sum(), rates[j] + len(x)
            p *= rates[j] ** shapes[j] / b**a * special.gamma(a) / special.gamma(shapes[j])
            p /= special.factorial(x).prod()
        joint.append(p)
    posterior = exact(COUNTS, MixturePrior(concentration, GammaPoisson(shapes, rates)), 2)
    np.testing.assert_array_equal(posterior.assignments, rows)
    np.testing.assert_allclose(posterior.log_evidence, np.log(np.sum(joint)), rtol=1e-12)
    p = np.array(joint) / np.sum(joint)
    np.testing.assert_allclose(posterior.probabilities, p, rtol=1e-9)
    z = np.array(rows)
    first = (p[:, None] * (z == 0)).sum(0)
    np.testing.assert_allclose(posterior.responsibilities, np.stack([first, 1 - first], 1))
    for a, b in itertools.product(range(4), repeat=2):
        same = p[z[:, a] == z[:, b]].sum()
        np.testing.assert_allclose(posterior.co_clustering[a, b], same, rtol=1e-9)
    np.testing.assert_allclose(posterior.occupied, [0, p[0] + p[-1], p[1:-1].sum()], atol=1e-12)


def test_the_tutorials_prior_by_quadrature(enumerated):
    """Against predictions point after point on a fixed grid of scales."""
    arguments = [2.0, 1.0], [-0.5, 1.0], [1.0, 0.5], [2.0, 3.5], [3.0, 4.0]
    assignments, probabilities, log_evidence = enumerated(NUMBERS, *arguments)
    posterior = exact(NUMBERS, DirichletNormalGamma(*arguments), 2)
    np.testing.assert_array_equal(posterior.assignments, assignments)
    np.testing.assert_allclose(posterior.probabilities, probabilities, rtol=1e-7)
    np.testing.assert_allclose(posterior.log_evidence, log_evidence, rtol=1e-8)


@pytest.mark.parametrize(
    ("points", "hyperparameters"),
    [
        (np.array([0.3, 0.3]), (0.0, 1.0, 2.5, 1.0)),  # equal values: an exponential tail
        (np.array([-4.0, -4.01, -3.99]), (3.0, 0.1, 4.0, 2.0)),  # data that contradict the prior
        (np.array([0.1, 0.2, -0.3]), (0.0, 2.0, 900.0, 1000.0)),  # a scale that is all but known
        (np.array([0.5]), (0.0, 1.0, 0.3, 2.0)),  # a density without bound at scale 0
    ],
)
def test_awkward_integrals(points, hyperparameters, integrated):
    prior = DirichletNormalGamma(1.0, *hyperparameters)
    as_stored = [float(getattr(prior.components, name)) for name in NormalGamma.supports]
    got = exact(points, prior, 1).log_evidence
    # The grid of the fixture ends at exp(-9), where these integrands are below 1e-3 or far less.
    tolerance = 0.1 if hyperparameters[2] < 1 else 1e-5
    np.testing.assert_allclose(got, np.log(integrated(points, *as_stored)), atol=tolerance)


def test_all_bentos_and_one_component(bentos, tutorial_prior):
    """Known to six decimals from two independent computations."""
    posterior = exact(bentos, tutorial_prior, 1)
    np.testing.assert_allclose(posterior.log_evidence, -161.798552, atol=1e-6)


@pytest.mark.slow
def test_eight_bentos_are_fitted_so(bentos, tutorial_prior):
    posterior = exact(bentos[:8], tutorial_prior, 2)
    fitted = gmm_jax.fit(bentos[:8], 2, prior=tutorial_prior, n_draws=4000)
    assert fitted.log_evidence_error < 0.05
    error = 5 * fitted.log_evidence_error
    np.testing.assert_allclose(fitted.log_evidence, posterior.log_evidence, atol=error)
    heavy = bentos[:8] > 400
    np.testing.assert_allclose(posterior.co_clustering, heavy[:, None] == heavy, atol=1e-9)
    np.testing.assert_allclose(posterior.responsibilities, 0.5)


def test_columns_of_a_table_are_independent_of_each_other():
    """Where there is one component; each column's evidence is then its own."""
    numbers, counts = NUMBERS[:4], COUNTS
    parts = [NormalGamma(0.0, 1.0, 2.0, 1.5), GammaPoisson(2.0, 0.5)]
    both = exact(np.column_stack([numbers, counts]), MixturePrior(1.0, ProductPrior(parts)), 1)
    own = [exact(x, MixturePrior(1.0, p), 1) for x, p in zip((numbers, counts), parts, strict=True)]
    total = sum(posterior.log_evidence for posterior in own)
    np.testing.assert_allclose(both.log_evidence, total, rtol=1e-12)


@pytest.mark.slow
def test_one_feature_is_a_table_of_one_column():
    """An inverse Wishart over 1 x 1 matrices is an inverse gamma."""
    wishart = NormalInverseWishart([0.5], 0.5, 5.0, [[3.0]])
    gamma = NormalInverseGamma(0.5, 0.5, 2.5, 1.5)
    table = exact(NUMBERS[:4, None], MixturePrior(1.0, wishart), 2)
    column = exact(NUMBERS[:4], MixturePrior(1.0, gamma), 2)
    np.testing.assert_allclose(table.probabilities, column.probabilities, rtol=1e-8)
    np.testing.assert_allclose(table.log_evidence, column.log_evidence, rtol=1e-10)


@pytree
class Forgetful(GammaPoisson):
    """A prior that is left out of its conditional."""

    def given(self, components, statistics, floor):
        after = super().given(components, statistics, floor)
        return rebuild(GammaPoisson, shape=after.shape - self.shape + 1, rate=after.rate)


@pytest.mark.parametrize(
    ("data", "prior", "match"),
    [
        (np.arange(13.0), DirichletNormalGamma(1, 0, 1, 2, 1), "at most 12 of the points"),
        ([1.0, 1.0, 1.0, 2.0], DirichletNormalGamma(1, 0, 1, 2, 1), "evidence is infinite"),
        (COUNTS, MixturePrior(1, Forgetful(2.0, 0.5)), "depends on the parameters"),
        (COUNTS - 1, MixturePrior(1, GammaPoisson(2.0, 0.5)), "must be counts"),
    ],
)
def test_what_has_no_exact_answer(data, prior, match):
    with pytest.raises(ValueError, match=match):
        exact(data, prior, 3)


def test_a_prior_is_asked_for():
    with pytest.raises(TypeError, match="must be a MixturePrior"):
        exact(COUNTS, GammaPoisson(2.0, 0.5), 2)


def gibbs_kernel(prior):
    """Gibbs sampling of one chain."""

    def kernel(key, mixture, data):
        state = gibbs.init(jax.tree.map(lambda a: a[None], mixture))
        table, floor = Table(data[None], jnp.ones((1, len(data)))), jnp.asarray(1e-5)
        state, _ = gibbs.step(key, state, table, prior, floor)
        return jax.tree.map(lambda a: a[0], state.mixtures)

    return kernel


INVERSE_GAMMA = MixturePrior([1.5, 2.0], NormalInverseGamma(0.5, 0.4, 2.5, 1.5))
POISSON = MixturePrior(1.0, GammaPoisson([2.0, 4.0], 0.5))
TUTORIAL = DirichletNormalGamma(1.0, 0.0, 1.5, 2.0, 3.0)


@pytest.mark.slow
@pytest.mark.parametrize("prior", [INVERSE_GAMMA, POISSON, TUTORIAL], ids=["nig", "gp", "dng"])
def test_gibbs_sampling_is_invariant(prior):
    report = check_invariance(gibbs_kernel(prior), prior, 2, 4, n_chains=300)
    assert report.passed, report
    assert "weights[0]" in str(report)
    # Chains of 20 steps are worth less than as many independent draws, more than their starts.
    for name in ("weights[0]", "log likelihood"):
        assert 300 < report.effective_sample_size[name] < 8000


def neglects_the_data(key, mixture, data):
    return POISSON.sample(key, 2)


def takes_the_variance_for_the_scale(key, mixture, data):
    moved = gibbs_kernel(INVERSE_GAMMA)(key, mixture, data)
    wrong = rebuild(Normal, means=moved.components.means, scales=moved.components.scales**2)
    return rebuild(Mixture, weights=moved.weights, components=wrong)


@pytest.mark.parametrize(
    ("kernel", "prior", "worst"),
    [
        (neglects_the_data, POISSON, "log likelihood"),
        (takes_the_variance_for_the_scale, INVERSE_GAMMA, "scales[0]"),
    ],
)
def test_wrong_kernels_are_found_out(kernel, prior, worst):
    report = check_invariance(kernel, prior, 2, 4, n_chains=300, n_steps=10)
    assert not report.passed
    assert max(abs(report.location[worst]), abs(report.spread[worst])) > 6
    assert str(report).startswith("the kernel is not invariant")


class Place(NamedTuple):
    """Points about a mean with standard deviation 1: a model that is not one of ours."""

    mean: jax.Array

    def sample(self, key, n):
        return self.mean + jax.random.normal(key, (n,)), None


class Places:
    """Means, Normal(0.5, 1)."""

    def sample(self, key, n_components, event_shape):
        return Place(0.5 + jax.random.normal(key))


def place_kernel(centre, precision, power):
    """Draws given the data; the posterior is that of centre 0.5, precision 1 and power 1/2."""

    def kernel(key, place, data):
        total = precision + len(data)
        mean = (precision * centre + data.sum()) / total
        return Place(mean + jax.random.normal(key) / total**power)

    return kernel


@pytest.mark.parametrize(
    ("centre", "precision", "power", "right"),
    [
        (0.5, 1.0, 0.5, True),
        (0.5, 0.1, 0.5, False),  # forgets most of the prior
        (0.0, 1.0, 0.5, False),  # takes it to be elsewhere
        (0.5, 1.0, 1.0, False),  # takes the variance for the standard deviation
    ],
)
def test_kernels_and_models_of_your_own(centre, precision, power, right):
    def quantities(place, data):
        return {"mean": place.mean, "distance": jnp.abs(place.mean - data.mean())}

    kernel = place_kernel(centre, precision, power)
    report = check_invariance(kernel, Places(), 1, 3, quantities=quantities, n_steps=10)
    assert report.passed == right, report
    if right:  # the mean is an autoregression whose draws correlate by 3 / 4, lag after lag
        rho, t = 0.75, 10
        lags = np.arange(1, t)
        inflation = 1 + 2 * np.sum((1 - lags / t) * rho**lags)
        effective = report.effective_sample_size["mean"] / (1000 * t / inflation)
        assert effective == pytest.approx(1, abs=0.25)


def test_kernels_of_another_form():
    with pytest.raises(TypeError, match="of the form that it is given"):
        check_invariance(lambda key, place, data: place.mean, Places(), 1, 3,
                         quantities=lambda place, data: {"mean": place.mean})  # fmt: skip
    with pytest.raises(TypeError, match="dictionary"):
        check_invariance(place_kernel(0.5, 1.0, 0.5), Places(), 1, 3,
                         quantities=lambda place, data: place.mean)  # fmt: skip


@pytest.mark.parametrize("prior", ["p", None, DirichletNormalGamma])
def test_a_prior_to_draw_from_is_asked_for(prior):
    with pytest.raises(TypeError, match=r"prior must be .* got ('p'|None|DirichletNormalGamma)"):
        check_invariance(place_kernel(0.5, 1.0, 0.5), prior, 1, 3)
    with pytest.raises(TypeError, match=r"prior must be .* got ('p'|None|DirichletNormalGamma)"):
        calibrate(coin(1), prior, 1, 3)


@pytest.mark.parametrize("fitted", [None, np.zeros((100, 1))])
def test_fits_of_another_form(fitted):
    with pytest.raises(TypeError, match=r"fit_function must return .* draws of Mixture .* got"):
        calibrate(lambda key, data: fitted, COIN, 1, 3, n_replications=20)


def test_quantities_that_are_not_numbers():
    def of_draws(place, data):
        return {"root": jnp.sqrt(place.mean)}

    with pytest.raises(ValueError, match="'root' is NaN"):
        check_invariance(place_kernel(0.5, 1.0, 0.5), Places(), 1, 3, quantities=of_draws)

    def broken(key, place, data):
        return Place(jnp.where(place.mean > 2, jnp.nan, place.mean))

    report = check_invariance(broken, Places(), 1, 3, quantities=lambda p, x: {"mean": p.mean})
    assert not report.passed


COIN = MixturePrior(1.0, BetaBernoulli(1.0, 1.0))


def coin(sureness):
    """Draws from the posterior of a coin that counts every toss `sureness` times."""

    def fit(key, data):
        rng, ones = np.random.default_rng(np.asarray(jax.random.key_data(key))), data.sum()
        probs = rng.beta(1 + sureness * ones, 1 + sureness * (len(data) - ones), (100, 1))
        bernoulli = rebuild(Bernoulli, probs=probs.astype("float32"))
        return rebuild(Mixture, weights=np.ones((100, 1), "float32"), components=bernoulli)

    return fit


def test_calibration_tells_sure_from_too_sure():
    right = calibrate(coin(1), COIN, n_components=1, n_points=10, n_replications=120)
    assert right.passed, right
    wrong = calibrate(coin(4), COIN, n_components=1, n_points=10, n_replications=120)
    assert not wrong.passed
    assert "draws are too narrow" in str(wrong)


@pytest.mark.slow
def test_importance_resampling_is_calibrated():
    """The kernels alone; with the prior as proposal the weights are the likelihood."""

    @jax.jit
    def fit(key, data):
        arguments = Arguments(Table(data[None], jnp.ones((1, len(data)))), COIN, None, jnp.zeros(2))
        draw_key, pick_key = jax.random.split(key)
        particles = FROM_PRIOR.propose(draw_key, arguments, 2000)
        picked = importance.systematic(pick_key, FROM_PRIOR.log_weight(particles, arguments), 63)
        return jax.tree.map(lambda a: a[picked], particles)

    report = calibrate(fit, COIN, n_components=2, n_points=3, n_replications=120)
    assert report.passed, report
    assert {len(ranks) for ranks in report.ranks.values()} == {120}


@pytest.mark.slow
def test_fits_are_calibrated():
    def fit(key, data):
        return gmm_jax.fit(data, 2, prior=POISSON, n_draws=1000, key=key)

    report = calibrate(fit, POISSON, n_components=2, n_points=8, n_replications=60)
    assert report.passed, report


def test_ranks_are_tested_and_drawn():
    """The chi-square test is scipy's, with bins of 10 of 40 ranks."""
    ranks = np.random.default_rng(0).integers(0, 40, 50)
    report = Calibration({"even": ranks, "low": ranks // 2}, n_draws=39)
    counts, edges = report.histogram("even")
    np.testing.assert_array_equal(edges, np.arange(11) * 4)
    for name, own in (("even", ranks), ("low", ranks // 2)):
        observed = np.bincount(own // 4, minlength=10)
        np.testing.assert_allclose(
            report.pvalues[name], stats.chisquare(observed).pvalue, rtol=1e-4
        )
    assert not report.passed
    assert "draws are too high" in str(report)
    axes = report.plot()
    heights = [patch.get_data().values for patch in axes[0].patches]
    assert any(np.array_equal(height, counts) for height in heights)
    pyplot.close("all")


def test_too_few_draws_to_rank_among():
    with pytest.raises(ValueError, match="100 draws but n_draws is 200"):
        calibrate(coin(1), COIN, 1, 5, n_draws=200)
