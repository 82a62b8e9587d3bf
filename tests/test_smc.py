"""Tempered SMC: exact evidences, modes that compete, and errors that are what they say."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats
from test_posterior import EVIDENCE, FEW, NAMED, written_out
from test_priors import CLOSED, PRIORS

import gmm_jax
from gmm_jax import (
    BetaBernoulli,
    FitWarning,
    MixturePrior,
    NormalInverseGamma,
    diagnostics,
    mixture_tempering,
    smc,
)

# The kernel, on a normal mean: x ~ Normal(m, 1) for each of these, m ~ Normal(0, 1).

POINTS = np.array([1.4, 2.0, 0.6])
LOG_EVIDENCE = stats.multivariate_normal.logpdf(POINTS, np.zeros(3), np.eye(3) + 1)


def propose(key, points, size):
    return jax.random.normal(key, (size,))


def log_rise(means, now, later, points):
    return (later - now) * jax.scipy.stats.norm.logpdf(points, means[:, None]).sum(1)


def redraw(key, means, temperature, points):
    total = 1 + temperature * len(points)
    normals = jax.random.normal(key, means.shape)
    return temperature * points.sum() / total + normals / jnp.sqrt(total)


def stay(key, means, temperature, points):
    return means


@pytest.fixture(scope="module", params=[redraw, stay], ids=["independent moves", "no moves"])
def runs(request):
    """100 runs of 200 particles, in chunks that don't divide their number."""
    target = smc.Target(propose, log_rise, request.param)

    points, sizes = jnp.asarray(POINTS), dict(n_particles=199, n_draws=150, chunk_size=100)
    keys = jax.random.split(jax.random.key(0), 100)
    each = [smc.run(key, target, points, **sizes) for key in keys]
    return jax.tree.map(lambda *a: np.stack(a), *each)


def test_the_mean_evidence_is_exact(runs):
    ratios = np.exp(np.asarray(runs.log_evidence, float) - LOG_EVIDENCE)
    assert abs(ratios.mean() - 1) < 5 * ratios.std() / np.sqrt(len(ratios))


def test_the_standard_error_is_the_spread_of_runs(runs):
    """However little particles move: squared errors average to the reported variance."""
    squares = (np.asarray(runs.log_evidence, float) - LOG_EVIDENCE) ** 2
    reported = np.asarray(runs.log_evidence_error, float) ** 2
    assert abs(squares.mean() - reported.mean()) < 5 * squares.std() / np.sqrt(len(squares))
    assert np.all(runs.n_temperatures >= 3)


def test_draws_follow_the_posterior(runs):
    draws = np.asarray(runs.draws, float)
    assert draws.shape == (100, 150)
    by_run = draws.mean(1)
    assert abs(by_run.mean() - POINTS.sum() / 4) < 5 * by_run.std() / np.sqrt(100)
    np.testing.assert_allclose(draws.std(), 0.5, rtol=0.05)


def test_effective_size_is_what_the_means_of_runs_show(runs):
    """Variance of a mean over runs, against the variance within them over the effective size."""
    draws = np.asarray(runs.draws, float)
    effective = jax.vmap(diagnostics.effective_among_families)(
        runs.draws[:, :, None], runs.families
    )[:, 0]
    claimed = np.mean(draws.var(1) / np.asarray(effective))
    assert claimed > 0.7 * draws.mean(1).var()


def test_effective_size_of_copies_and_of_singles():
    values = jnp.asarray(np.repeat(np.random.default_rng(0).normal(size=(40, 2)), 3, axis=0))
    families = jnp.arange(120)
    single = diagnostics.effective_among_families(values, families)
    np.testing.assert_allclose(single, 120)
    copies = diagnostics.effective_among_families(values, families // 3 * 2)
    np.testing.assert_allclose(copies, 40, rtol=1e-4)


@pytest.mark.parametrize("sizes", [[120], [60, 60], [100, 10, 10]])
def test_few_families_are_worth_no_more_draws(sizes):
    """However alike their means are: a single family's deviations sum to zero."""
    values = jnp.asarray(np.random.default_rng(0).normal(size=(120, 2)))
    families = jnp.repeat(jnp.arange(len(sizes)), jnp.array(sizes))
    effective = diagnostics.effective_among_families(values, families)
    assert np.all(effective <= 120**2 / np.sum(np.square(sizes)) + 1e-3)


# `fit` with method "smc".


def agree(result, exact):
    assert result.log_evidence_error < 0.3
    assert abs(result.log_evidence - exact) < 5 * result.log_evidence_error + 1e-3


def enumerated_evidence(name, data):
    """Sum over assignments to two components, concentration 1.5 each, with closed marginals."""
    terms = []
    for z in itertools.product((0, 1), repeat=len(data)):
        counts = np.bincount(z, minlength=2)
        term = special.betaln(*(1.5 + counts)) - special.betaln(1.5, 1.5)
        groups = (data[np.array(z) == j] for j in (0, 1))
        terms.append(term + sum(CLOSED[name](group) for group in groups if len(group)))
    return special.logsumexp(terms)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["NormalInverseWishart", "GammaPoisson"])
def test_evidence_by_enumeration(name):
    components, data = PRIORS[name]()
    prior = MixturePrior(1.5, components)
    result = gmm_jax.fit(data[:5], 2, prior=prior, method="smc", n_draws=1000)
    agree(result, enumerated_evidence(name, data[:5]))


@pytest.mark.slow
@pytest.mark.parametrize("k", [2, 3])
def test_evidence_of_the_bentos(k, bentos, tutorial_prior):
    result = gmm_jax.fit(bentos, k, prior=tutorial_prior, method="smc", n_draws=800)
    agree(result, EVIDENCE[k])
    assert result.method == "smc"
    assert result.reason.startswith("Posterior by tempered SMC, as asked; with key 0")
    assert math.isnan(result.pareto_k)
    assert "Pareto" not in result.summary()
    assert f"effective of {result.n_draws} particles" in result.summary()


@pytest.mark.slow
def test_a_prior_per_component(enumerated):
    """Evidence and mean weights by going through all assignments; a key repeated is the same."""
    assignments, probabilities, log_evidence = enumerated(FEW, *written_out(NAMED))
    first, again = (
        gmm_jax.fit(FEW, 2, prior=NAMED, method="smc", n_draws=1000, key=jax.random.key(3))
        for _ in range(2)
    )
    agree(first, log_evidence)
    assert first.log_evidence == again.log_evidence
    np.testing.assert_array_equal(first.draws.weights, again.draws.weights)
    counts = np.stack([(assignments == j).sum(1) for j in range(2)], 1)
    exact = probabilities @ ((counts + np.array([2, 1])) / (counts.sum(1) + 3)[:, None])
    draws = np.asarray(first.draws.weights, float)
    error = draws.std(0) / np.sqrt(first.effective_sample_size)
    np.testing.assert_array_less(np.abs(draws.mean(0) - exact), 5 * error)


COINS = MixturePrior(1, BetaBernoulli(1, 1))


def coins_evidence(ones, zeros):
    """Integral over share and both probabilities, all uniform, of q^ones (1 - q)^zeros."""
    nodes, weights = np.polynomial.legendre.leggauss(60)
    u = (nodes + 1) / 2
    share, first, second = np.meshgrid(u, u, u, indexing="ij")
    q = share * first + (1 - share) * second
    mass = np.einsum("i,j,k->ijk", weights, weights, weights) / 8
    return np.log((mass * q**ones * (1 - q) ** zeros).sum())


@pytest.mark.slow
def test_weights_are_copies_and_may_be_fractions():
    def result(data, weight=None):
        return gmm_jax.fit(data, 2, prior=COINS, method="smc", n_draws=1000, sample_weight=weight)

    weighted, copied = result([1, 0, 1], [3, 1, 0]), result([1, 1, 1, 0, 1], [1, 1, 1, 1, 0])
    assert weighted.log_evidence == copied.log_evidence
    agree(weighted, coins_evidence(3, 1))
    agree(result([1, 0, 1], [2.6, 0.3, 0.2]), coins_evidence(2.8, 0.3))


@pytest.mark.slow
def test_modes_that_compete():
    """Four clumps, three components: either the left two share one, or the right two.

    Data and prior are symmetric, so each explanation has half of the posterior.
    """
    clump = 0.5 * stats.norm.ppf((np.arange(8) + 0.5) / 8)
    data = np.concatenate([clump + centre for centre in (-6.5, -3.5, 3.5, 6.5)])
    prior = MixturePrior(1, NormalInverseGamma(mean=0, mean_count=0.02, shape=3, rate=1.5))
    evidences = []
    for seed in range(2):
        key = jax.random.key(seed)
        result = gmm_jax.fit(data, 3, prior=prior, method="smc", n_draws=1000, key=key)
        middle = np.asarray(result.draws.components.means)[:, 1]
        assert np.mean(np.abs(middle) > 1) > 0.98
        error = 0.5 / np.sqrt(result.effective_sample_size)
        assert abs(np.mean(middle > 0) - 0.5) < 5 * error < 0.25
        evidences.append((result.log_evidence, result.log_evidence_error))
    (first, a), (second, b) = evidences
    assert abs(first - second) < 5 * np.hypot(a, b)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"prior": None}, "method='smc' samples a posterior and needs a prior"),
        ({"n_draws": 20}, "n_draws must be at least 100, got 20"),
        ({"sample_weight": [1, 1e8, 1]}, "copies of rows.*use method='importance'"),
    ],
)
def test_bad_arguments(options, match):
    with pytest.raises(ValueError, match=match):
        gmm_jax.fit([0, 1, 1], 2, **{"prior": COINS, "method": "smc"} | options)


@pytest.mark.slow
def test_few_effective_draws_come_with_a_warning(monkeypatch):
    sample = mixture_tempering.sample
    monkeypatch.setattr(mixture_tempering, "sample", lambda *a, **k: (sample(*a, **k)[0], 3.0))
    with pytest.warns(
        FitWarning, match="are worth 3 independent draws.*Pass more particles \\(n_draws"
    ):
        gmm_jax.fit([0, 1, 1], 2, prior=COINS, method="smc", n_draws=1000)
