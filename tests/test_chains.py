"""`fit(method="gibbs")`: exact answers, missing values, known parameters, weights, interrupts."""

import warnings

import arviz_stats
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import integrate, special, stats
from sklearn.datasets import load_iris

import gmm_jax
from gmm_jax import (
    BetaBernoulli,
    FitWarning,
    Mixture,
    MixturePrior,
    MultivariateNormal,
    Normal,
    NormalGamma,
    NormalInverseGamma,
    NormalInverseWishart,
    gibbs,
    mixture_gibbs,
    mixture_jumps,
    mixture_posterior,
)
from gmm_jax._pytree import rebuild
from gmm_jax.fitting import agreement, chains, jumping, posterior
from gmm_jax.fitting import task as tasks
from gmm_jax.fitting.task import Task
from gmm_jax.table import Table, expectation, log_joint
from gmm_jax.testing import check_invariance, exact
from gmm_jax.testing.quantities import every_parameter

FLOOR = jnp.asarray(1e-5)
POINTS = np.array([-0.9, -0.4, 1.1, 1.6, 0.2])
WISHART = NormalInverseWishart([0.3, -0.2], 0.5, 5.0, [[2.0, 0.6], [0.6, 1.0]])


@pytest.fixture(scope="module")
def of_bentos(bentos, tutorial_prior):
    return gmm_jax.fit(bentos, 2, prior=tutorial_prior, method="gibbs")


def test_the_bentos_have_their_exact_posterior(of_bentos):
    """Means and a standard deviation by enumeration and quadrature, within five errors."""
    draws = of_bentos.draws
    size = of_bentos.effective_sample_size
    exact = {
        "weights": [0.4091, 0.5909],
        "means": [350.2639, 499.9862],
        "scales": [2.2819, 1.9850],
    }
    for name, expected in exact.items():
        values = np.asarray(getattr(draws if name == "weights" else draws.components, name))
        np.testing.assert_array_less(
            np.abs(values.mean(0) - expected), 5 * values.std(0) / np.sqrt(size) + 5e-5
        )
    assert np.std(draws.components.means[:, 0]) == pytest.approx(0.83531, rel=5 / np.sqrt(size))


def test_chains_say_how_far_they_can_be_trusted(of_bentos):
    assert of_bentos.n_draws == 1000 * of_bentos.n_chains
    assert all(quality.r_hat < 1.01 for quality in of_bentos.convergence.values())
    assert 0.8 * of_bentos.n_draws < of_bentos.effective_sample_size
    assert "R-hat 1.00" in str(of_bentos)
    assert "16 Gibbs chains of 1000 draws" in of_bentos.reason
    assert np.isnan(of_bentos.log_evidence)


def test_arviz_reads_the_draws(of_bentos, bentos):
    """Shapes, and what its leave-one-out estimate makes of them against its definition."""
    tree = of_bentos.to_arviz()
    assert dict(tree.posterior.sizes) == {"chain": 16, "draw": 1000, "component": 2}
    means = np.asarray(of_bentos.draws.components.means)
    np.testing.assert_array_equal(tree.posterior["means"].values.reshape(-1, 2), means)
    logs = np.asarray(tree.log_likelihood["x"]).reshape(-1, 20)
    scales = of_bentos.draws.components.scales
    own = Mixture(of_bentos.draws.weights[7], Normal(means[7], scales[7]))
    np.testing.assert_allclose(logs[7], own.log_prob(bentos), rtol=1e-4, atol=1e-4)
    # p(x_i | others) is the harmonic mean over draws of p(x_i | draw).
    by_hand = -(special.logsumexp(-logs.astype(float), axis=0) - np.log(len(logs)))
    assert arviz_stats.loo(tree).elpd == pytest.approx(by_hand.sum(), abs=0.05)


def test_the_model_predicts_data_like_these(of_bentos, bentos):
    """Replicated means have the mean and spread that draws and sampling give; ties count half."""
    check = of_bentos.check({"mean": np.mean, "one": lambda points: 1.0}, n_replicates=2000)
    weights, components = of_bentos.draws.weights, of_bentos.draws.components
    centre = np.sum(weights * components.means, 1)
    within = np.sum(weights * (components.means**2 + components.scales**2), 1) - centre**2
    spread = np.sqrt(centre.var() + within.mean() / 20)
    got = check.replicated["mean"]
    assert check.observed["mean"] == np.mean(bentos)
    assert got.mean() == pytest.approx(centre.mean(), abs=5 * spread / np.sqrt(2000))
    assert got.std() == pytest.approx(spread, rel=0.1)
    assert check.pvalues["one"] == 0.5
    assert "standard deviation" in str(of_bentos.check(n_replicates=50))


@pytest.mark.slow
def test_replicates_want_whole_copies(bentos, tutorial_prior):
    fitted = gmm_jax.fit(
        [1.0, 2.0, 5.0], 1, prior="default", sample_weight=[0.5, 1, 1], n_draws=500
    )
    with pytest.raises(ValueError, match="fractional sample_weight"):
        fitted.check()


def test_points_that_count_in_part_and_are_seen_in_part():
    """Columns of one component are independent: each has the points where it is seen."""
    parts = [[0.1, np.nan], [0.4, np.nan], [np.nan, 3.1], [np.nan, 2.9], [np.nan, 3.3]]
    points = np.array([*parts, [1.0, 2.5], [2.0, 1.5]])
    weight = np.array([0.3, 0.3, 0.3, 0.3, 0.3, 1, 1])
    prior = MixturePrior(1, NormalInverseGamma(1.0, 0.5, 2, 1))
    result = gmm_jax.fit(points, 1, prior=prior, method="gibbs", sample_weight=weight)
    seen = ~np.isnan(points) * weight[:, None]
    count = seen.sum(0)
    average = np.nansum(seen * points, 0) / count
    spread = np.nansum(seen * (points - average) ** 2, 0)
    rate = 1 + (spread + 0.5 * count / (0.5 + count) * (average - 1) ** 2) / 2
    means, scales = (getattr(result.draws.components, n)[:, 0] for n in ("means", "scales"))
    for found, expected in [
        (means, (0.5 + count * average) / (0.5 + count)),
        (scales**-2.0, (2 + count / 2) / rate),
    ]:
        error = found.std(0) / np.sqrt(result.effective_sample_size)
        assert np.all(np.abs(found.mean(0) - expected) < 4 * error)
        assert np.all(error < 0.04)


def interrupt(monkeypatch, at):
    """The user presses control and C in that round of sweeps."""
    advance, calls = mixture_gibbs.advance, []

    def interrupted(*arguments, **options):
        calls.append(1)
        if len(calls) == at:
            raise KeyboardInterrupt
        return advance(*arguments, **options)

    interrupted.lower = advance.lower
    monkeypatch.setattr(mixture_gibbs, "advance", interrupted)


def test_an_interrupt_keeps_what_was_drawn(bentos, tutorial_prior, monkeypatch):
    interrupt(monkeypatch, at=9)
    with pytest.warns(FitWarning, match="interrupted after 300 of 1000 draws of each chain"):
        result = gmm_jax.fit(bentos, 2, prior=tutorial_prior, method="gibbs")
    assert result.n_draws == 300 * result.n_chains


@pytest.mark.slow
def test_shares_of_known_factories():
    """Probabilities held, shares free: a posterior in one dimension."""
    red = np.array([1, 1, 0, 1, 0, 1, 0, 0, 1, 1])
    prior = MixturePrior([2.0, 1.0], BetaBernoulli(1, 1))
    result = gmm_jax.fit(red, prior=prior, method="gibbs", fixed={"probs": [0.8, 0.3]})
    np.testing.assert_allclose(result.draws.components.probs, [[0.8, 0.3]] * result.n_draws)

    def density(w):
        p = 0.8 * w + 0.3 * (1 - w)
        return stats.beta(2, 1).pdf(w) * p ** red.sum() * (1 - p) ** (len(red) - red.sum())

    total = integrate.quad(density, 0, 1)[0]
    mean = integrate.quad(lambda w: w * density(w), 0, 1)[0] / total
    shares = np.asarray(result.draws.weights[:, 0])
    error = shares.std() / np.sqrt(result.effective_sample_size)
    assert shares.mean() == pytest.approx(mean, abs=5 * error)


@pytest.mark.slow
@pytest.mark.parametrize(
    "components",
    [NormalInverseGamma(0.5, 0.4, 2.5, 1.5), NormalGamma(0.5, 1.2, 2.0, 1.5)],
    ids=["conjugate", "tutorial"],
)
@pytest.mark.parametrize("name", ["means", "scales"])
def test_one_parameter_given_the_other(components, name, x64):
    """Draws with one parameter held have the density of prior times likelihood along the other."""
    prior = MixturePrior(1.0, components).spread(1)
    mixture = Mixture([1.0], Normal([1.3], [0.7]))
    held = jax.tree.map(lambda a: jnp.zeros(a.shape, bool), mixture)
    object.__setattr__(held.components, name, jnp.ones(1, bool))
    data = jnp.asarray(POINTS)
    statistics = mixture.components.statistics(data, jnp.ones((5, 1)))
    keys = jax.random.split(jax.random.key(0), 4000)
    draw = jax.vmap(lambda key: prior.draw(key, mixture, statistics, FLOOR, held))
    drawn = draw(keys).components
    np.testing.assert_array_equal(getattr(drawn, name), getattr(mixture.components, name)[0])
    other = "scales" if name == "means" else "means"
    grid = np.linspace(*((1e-3, 8) if other == "scales" else (-4, 5)), 20001)

    def log_density(value):
        moved = vars(mixture.components) | {other: value[None]}
        at = rebuild(Mixture, weights=mixture.weights, components=rebuild(Normal, **moved))
        # The prior's density is that of its own parameters: variances, for the conjugate one.
        change = np.log(2) + jnp.log(value) if isinstance(components, NormalInverseGamma) else 0
        change = change if other == "scales" else 0
        return prior.log_prob(at) + at.log_prob(data).sum() + change

    logs = np.asarray(jax.vmap(log_density)(jnp.asarray(grid)))
    cdf = integrate.cumulative_trapezoid(np.exp(logs - logs.max()), grid, initial=0)
    values = np.asarray(getattr(drawn, other))[:, 0]
    pvalue = stats.kstest(values, lambda x: np.interp(x, grid, cdf / cdf[-1])).pvalue
    assert pvalue > 1e-4


@pytest.mark.slow
def test_the_rest_of_a_mean_given_one_entry():
    """Against those of unconstrained draws whose first mean is near the value held."""
    prior = MixturePrior(1.0, WISHART).spread(1, (2,))
    data = jax.random.normal(jax.random.key(1), (6, 2))
    mixture = Mixture([1.0], MultivariateNormal([[0.8, 0.0]], jnp.eye(2)[None]))
    held = jax.tree.map(lambda a: jnp.zeros(a.shape, bool), mixture)
    object.__setattr__(held.components, "means", jnp.array([[True, False]]))

    def statistics(at):
        return at.components.statistics(data, jnp.ones((6, 1)))

    given = prior.given(mixture, statistics(mixture), FLOOR)
    free = jax.vmap(given.sample)(jax.random.split(jax.random.key(2), 1_000_000)).components
    near = np.abs(np.asarray(free.means[:, 0, 0]) - 0.8) < 0.01
    expected = np.c_[
        free.means[:, 0, 1], free.scale_trils[:, 0, 1, 0], free.scale_trils[:, 0, 1, 1]
    ]
    expected = expected[near]

    @jax.jit
    def chain(key):
        def step(at, key):
            at = prior.draw(key, at, statistics(at), FLOOR, held)
            return at, at.components

        return jax.lax.scan(step, mixture, jax.random.split(key, 20_000))[1]

    got = chain(jax.random.key(3))
    got = np.c_[got.means[:, 0, 1], got.scale_trils[:, 0, 1, 0], got.scale_trils[:, 0, 1, 1]]
    error = np.hypot(expected.std(0) / np.sqrt(near.sum()), got.std(0) / np.sqrt(5000))
    np.testing.assert_array_less(np.abs(got.mean(0) - expected.mean(0)), 5 * error)


@pytest.mark.parametrize("method", ["auto", "gibbs"])
def test_chains_agree_where_everything_is_held(bentos, method):
    known = dict(weights=[0.4, 0.6], means=[350, 500], scales=[5, 5])
    with warnings.catch_warnings():
        warnings.simplefilter("error", FitWarning)
        fit = gmm_jax.fit(bentos, 2, prior="default", method=method, fixed=known, n_draws=400)
    assert fit.method == "gibbs"
    assert fit.effective_sample_size == 400
    np.testing.assert_array_equal(fit.draws.components.means[7], [350, 500])


@pytest.mark.slow
@pytest.mark.parametrize("way", ["sweeps", "sweeps, means held", "jumps"])
def test_steps_with_missing_values_are_invariant(way):
    """Geweke's test, where a fixed pattern of entries is taken away before every step."""
    held = way == "sweeps, means held"
    prior = MixturePrior([2.0, 1.0], WISHART).spread(2, (2,))
    missing = jnp.array([[0, 1], [1, 0], [0, 0], [1, 1], [0, 0]], bool)
    known = Mixture(
        [0.5, 0.5], MultivariateNormal([[0.8, 0.0], [0, 0]], jnp.stack([jnp.eye(2)] * 2))
    )
    where = jax.tree.map(lambda a: jnp.zeros(a.shape, bool), known)
    object.__setattr__(where.components, "means", jnp.array([[True, True], [False, False]]))
    where = where if held else None

    class Given:
        def sample(self, key, n_components, event_shape):
            drawn = gibbs.from_prior(key, prior, FLOOR, known, where, 1)
            return jax.tree.map(lambda a: a[0], drawn)

    places = prior.sample(jax.random.key(7), 2, (2,), (6,))

    def jump(key, mixtures, table):
        conditionals = gibbs.conditionals(jax.random.key(8), places, table, prior, FLOOR)
        log_shares = jnp.full(6, -jnp.log(6.0))
        proposal = mixture_posterior.Arguments(table, prior, conditionals, log_shares)
        return mixture_jumps.jump(key, mixtures, proposal, named=True)[0]

    def kernel(key, mixture, data):
        state = gibbs.init(jax.tree.map(lambda a: a[None], mixture))
        table = Table(jnp.where(missing, jnp.nan, data)[None], jnp.ones((1, 5)), incomplete=True)
        if way == "jumps":
            after = jump(key, state.mixtures, table)
        else:
            after = gibbs.step(key, state, table, prior, FLOOR, where, named=not held)[0].mixtures
        return jax.tree.map(lambda a: a[0], after)

    def quantities(mixture, data):
        """Parameters, and the log likelihood of what the kernel saw."""
        seen = log_joint(mixture, jnp.where(missing, jnp.nan, data), True)
        values = every_parameter(mixture, data)
        return values | {"log likelihood": jax.nn.logsumexp(seen, -1).sum()}

    found = check_invariance(kernel, Given(), 2, 5, event_shape=(2,), quantities=quantities)
    assert found.passed, found


@pytest.mark.parametrize("scale", [1.0, 1e-3], ids=["by features", "directly"])
def test_draws_count_as_many_points_as_are_expected(scale):
    """The mean over draws of the statistics is what responsibilities give."""
    mixture = Mixture([0.3, 0.7], Normal([-0.5, 0.8], [scale, 1.0]))
    data = jnp.sort(jax.random.normal(jax.random.key(0), (1024,)))
    table = Table(data[None], jnp.where(jnp.arange(1024) < 900, 1.0, 0.0)[None])
    many = jax.tree.map(lambda a: jnp.broadcast_to(a, (500, *a.shape)), mixture)
    _, drawn = jax.jit(expectation)(many, table, jax.random.key(1))
    _, soft = jax.jit(expectation)(jax.tree.map(lambda a: a[None], mixture), table)
    for got, expected in zip(drawn, soft, strict=True):
        error = np.std(got, 0) / np.sqrt(500)
        np.testing.assert_array_less(np.abs(np.mean(got, 0) - expected[0]), 5 * error + 2e-3)


@pytest.mark.slow
@pytest.mark.parametrize("weight", [[3, 1, 2, 1, 4, 1, 1], [0.5, 1.5, 0.3, 1, 2.2, 0, 1]])
def test_weights_count(weight):
    """Against importance sampling, which takes the power of each density."""
    data = np.array([-1.2, -0.8, -1.0, 2.0, 2.6, 1.7, 0.4])
    prior = MixturePrior(1.5, NormalInverseGamma(0.5, 0.1, 3.0, 1.0))
    options = dict(prior=prior, sample_weight=weight)
    chains = gmm_jax.fit(data, 2, method="gibbs", **options)
    particles = gmm_jax.fit(data, 2, method="importance", **options)
    for measure in (lambda m: m.weights, lambda m: m.components.means):
        a, b = np.asarray(measure(chains.draws)), np.asarray(measure(particles.draws))
        sizes = chains.effective_sample_size, particles.effective_sample_size
        error = np.hypot(a.std(0) / np.sqrt(sizes[0]), b.std(0) / np.sqrt(sizes[1]))
        np.testing.assert_array_less(np.abs(a.mean(0) - b.mean(0)), 5 * error)


def three_clumps():
    """Of which two belong together, the first two or the last two."""
    rng = np.random.default_rng(4)
    clumps = [rng.normal(centre, 1, 60) for centre in (-40, 0, 40)]
    return clumps, MixturePrior(1.0, NormalInverseGamma(0.0, 0.001, 50.0, 50.0))


def test_chains_that_disagree_are_reported(monkeypatch):
    """Where jumps would take too long."""
    monkeypatch.setattr(tasks, "MOST_WEIGHED", 0)
    clumps, prior = three_clumps()
    with pytest.warns(FitWarning, match="do not agree: R-hat.*method='smc'"):
        gmm_jax.fit(np.concatenate(clumps), 2, prior=prior, method="gibbs", n_draws=400, n_chains=8)


@pytest.mark.parametrize("side", [-1, 1])
def test_chains_set_out_from_particles(side, monkeypatch):
    """The first of two, which stays with the explanation that they have."""
    monkeypatch.setattr(tasks, "MOST_WEIGHED", 0)  # no jumps
    clumps, prior = three_clumps()
    data = np.concatenate(clumps)
    task = Task.of(data, np.ones(len(data)), Normal, prior, 2, {})
    centres = np.array([clump.mean() for clump in clumps])
    first, middle, last = task.frame.enter(centres, np.float32)
    pair = ((first + middle) / 2, last) if side < 0 else (first, (middle + last) / 2)
    scales = jnp.broadcast_to(jnp.abs(middle - first) / 2, (10, 2))
    normals = rebuild(Normal, means=jnp.tile(jnp.array(pair), (10, 1)), scales=scales)
    particles = rebuild(Mixture, weights=jnp.full((10, 2), 0.5), components=normals)
    found = chains.by_gibbs(jax.random.key(0), task, 200, 2, False, False, particles)
    means, wide = found.draws.components.means[:100], found.draws.components.scales[:100].argmax(1)
    assert np.all(np.sign(np.take_along_axis(means, wide[:, None], 1)) == side)


def test_chains_jump_between_explanations():
    """Each has its share of the draws, which is known: no sweep goes from one to the other."""
    (first, middle, last), prior = three_clumps()

    def log_evidence(data):
        """Murphy (2007), "Conjugate Bayesian analysis of the Gaussian distribution"."""
        n, count, shape, rate = len(data), 0.001, 50.0, 50.0
        off = count * n / (count + n) * data.mean() ** 2
        after = rate + (data.var() * n + off) / 2
        gammas = special.gammaln(shape + n / 2) - special.gammaln(shape)
        powers = shape * np.log(rate) - (shape + n / 2) * np.log(after)
        return gammas + powers + np.log(count / (count + n)) / 2 - n / 2 * np.log(2 * np.pi)

    left = log_evidence(np.r_[first, middle]) + log_evidence(last)
    share = special.expit(left - log_evidence(first) - log_evidence(np.r_[middle, last]))
    assert 0.1 < share < 0.9
    result = gmm_jax.fit(np.r_[first, middle, last], 2, prior=prior, method="gibbs")
    assert "jumping Gibbs chains" in result.reason
    wide = np.argmax(result.draws.components.scales, 1)
    found = np.take_along_axis(np.asarray(result.draws.components.means), wide[:, None], 1) < 0
    assert_allclose(found.mean(), share, atol=0.03)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"n_chains": 1}, "n_chains must be at least 2"),
        ({"method": "importance", "fixed": {"means": [0, np.nan]}}, "not for importance sampling"),
        ({"fixed": {"nothing": 1}}, "no parameter called 'nothing'"),
    ],
)
def test_bad_arguments(options, match):
    prior = MixturePrior(1.0, NormalInverseGamma(0.0, 0.1, 2.0, 1.0))
    with pytest.raises(ValueError, match=match):
        gmm_jax.fit([0.0, 1.0, 2.0], 2, **{"prior": prior, "method": "gibbs"} | options)


def test_a_chain_that_is_lost_sets_out_from_another(bentos, tutorial_prior):
    """Which holds next to nothing of the posterior; what is less likely, but no wonder, stays."""
    task = Task.of(bentos, np.ones(20), Normal, tutorial_prior, 2, {})
    inside = jax.tree.map(jnp.asarray, task.prior)
    arguments = mixture_gibbs.Arguments(task.table(), inside, task.floor, None)
    light, heavy = task.frame.enter(np.array([350.0, 500]), np.float32)
    means = jnp.array([[light, heavy], [light, light], [light + 0.01, heavy], [np.nan, heavy]])
    scales = jnp.full((4, 2), heavy - light) * 0.015
    normals = rebuild(Normal, means=means, scales=scales)
    now = rebuild(Mixture, weights=jnp.full((4, 2), 0.5), components=normals)
    likelihoods = np.array([-54.0, -1000.0, -60.0, np.nan])
    kept, origins = chains._without_the_lost(
        jax.random.key(0), (now, np.arange(4)), likelihoods, arguments, task.n_free
    )
    assert_array_equal(origins, [0, 2, 2, 2])
    assert_array_equal(kept.components.means, means[origins])


def test_the_mass_of_one_component_is_its_evidence(x64):
    """Where there is but one assignment the estimate is exact."""
    prior = MixturePrior(1, NormalInverseGamma(0.2, 0.5, 2.0, 1.5))
    task = Task.of(POINTS, np.ones(5), Normal, prior, 1, {})
    inside = jax.tree.map(jnp.asarray, task.prior)
    starts = inside.sample(jax.random.key(0), 1, (), (3,))
    found = gibbs.log_mass(jax.random.key(1), starts, task.table(), inside, task.floor)
    found = np.asarray(found) - task.frame.log_volume(POINTS).sum()
    assert_allclose(found, exact(POINTS, prior, 1).log_evidence, rtol=1e-8)


@pytest.mark.slow
def test_chains_that_disagree_jump():
    """Three species or two and a few plants: sweeps alone rarely go from one to the other."""
    plants, _ = load_iris(return_X_y=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error", gmm_jax.FitWarning)
        result = gmm_jax.fit(plants, 3, prior="default", method="gibbs")
    assert "16 jumping Gibbs chains of 1000 draws" in result.reason
    assert result.effective_sample_size > 1000
    # -308.252 is the mean over three keys, which lie .010 apart.
    assert result.log_evidence == pytest.approx(-308.252, abs=5 * result.log_evidence_error)
    assert result.log_evidence_error < 0.03


def test_an_interrupt_before_the_first_jumps_keeps_what_was_drawn(monkeypatch, bentos):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(jumping.mixture_jumps, "advance", interrupted)
    options = dict(prior="default", method="gibbs", n_draws=100, n_chains=4)
    with pytest.warns(FitWarning, match="worth|agree"):
        result = gmm_jax.fit(bentos, 3, **options)
    assert "4 Gibbs chains of 25 draws" in result.reason
    assert result.n_draws == 100


def test_chains_that_were_interrupted_start_no_jumps(monkeypatch, bentos):
    """However few their draws are worth."""
    interrupt(monkeypatch, at=12)
    options = dict(prior="default", method="gibbs", n_draws=200, n_chains=4)
    with pytest.warns(FitWarning, match="interrupted after 25 of 50 draws"):
        result = gmm_jax.fit(bentos, 3, **options)
    assert "4 Gibbs chains of 25 draws" in result.reason


def test_auto_starts_no_other_method_after_an_interrupt(monkeypatch, bentos):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    collapsed = agreement.Sampled(None, "", {"effective_sample_size": 1.0}, "collapsed")
    monkeypatch.setattr(posterior, "by_importance", lambda *_: collapsed)
    monkeypatch.setattr(posterior, "by_smc", None)
    monkeypatch.setattr(jumping.mixture_jumps, "advance", interrupted)
    options = dict(prior="default", n_draws=100, n_chains=4)
    with pytest.warns(FitWarning, match="worth|agree"):
        result = gmm_jax.fit(bentos, 3, **options)
    assert result.method == "gibbs"


@pytest.mark.slow
def test_auto_goes_on_where_few_weights_rule():
    """Of 20,000 particles hundreds count, but their tail is heavy."""
    plants, _ = load_iris(return_X_y=True)
    result = gmm_jax.fit(plants, 4, prior="default", key=jax.random.key(1))
    assert result.method == "gibbs"  # pyright: ignore[reportAttributeAccessIssue]
    assert "Importance sampling did not do: " in result.reason
