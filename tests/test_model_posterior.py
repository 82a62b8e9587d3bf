"""`sample`: the posterior of a model of one's own, with a mixture inside, against quadrature."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from genjax import categorical, gamma, gen, normal, uniform
from scipy import stats

from gmm_jax import FitWarning, ModelPosterior, Normal, sample
from gmm_jax.distributions import IndependentBeta, IndependentNormal
from gmm_jax.models import AddressError, keyed_distribution, marginal_mixture, marginal_points, site
from gmm_jax.models.posterior import (
    from_prior,
    log_density,
    log_parts,
    posterior_target,
    strays,
)

DATA = np.array([-0.4, 0.3, 0.9, 2.6, 3.1, 3.9])
observe = marginal_points(6)


@gen
def place():
    centre = normal(0.0, 2.0) @ "centre"
    return centre


@gen
def shifted(gap):
    """Two components a known gap apart; where they stand and how wide they are is unknown."""
    centre = place() @ "place"
    scale = gamma(2.0, 2.0) @ "scale"
    share = uniform(0.2, 0.6) @ "share"
    weights = jnp.stack([share, 1 - share])
    means = jnp.stack([centre, centre + gap])
    observe(weights, Normal(means, jnp.stack([scale, scale]))) @ "x"


def by_quadrature(data, gap):
    """Moments of the three choices, and the log evidence, on a grid in float64."""
    centre = np.linspace(-4, 4, 161)[:, None, None]
    scale = np.linspace(0.02, 5, 250)[:, None]
    share = np.linspace(0.2, 0.6, 33)
    log = stats.norm.logpdf(centre, 0, 2) + stats.gamma.logpdf(scale, 2, scale=1 / 2)
    log = log - np.log(0.4) + 0 * share
    for x in data:
        low, high = (stats.norm.pdf(x, centre + j * gap, scale) for j in (0, 1))
        log = log + np.log(share * low + (1 - share) * high + 1e-300)
    ends = np.r_[0.5, np.ones(31), 0.5]  # the share's density doesn't vanish at its ends
    mass = np.exp(log) * ends
    evidence = mass.sum() * (8 / 160) * (4.98 / 249) * (0.4 / 32)
    mass = mass / mass.sum()
    moments = {}
    for name, value in dict(centre=centre, scale=scale, share=share).items():
        mean = (mass * value).sum()
        moments[name] = mean, *((mass * (value - mean) ** p).sum() for p in (2, 4))
    return moments, np.log(evidence)


def agree(posterior, moments, errors=5):
    draws = {"centre": posterior.draws["place"]["centre"], **posterior.draws}
    for name, (mean, second, fourth) in moments.items():
        own = np.asarray(draws[name], np.float64)
        assert abs(own.mean() - mean) < errors * np.sqrt(second / posterior.ess), name
        # Of squares fewer draws may count than of values: half as many is on the safe side.
        error = np.sqrt((fourth - second**2) / (posterior.ess / 2))
        assert abs(((own - mean) ** 2).mean() - second) < errors * error, name


@pytest.mark.slow
def test_nuts_agrees_with_quadrature_and_other_data_compile_nothing(compilations):
    posterior = sample(shifted, {"x": DATA}, args=(3.0,))
    assert posterior.method == "nuts"
    assert "all open choices vary continuously" in posterior.reason
    assert posterior.r_hat < 1.01
    assert posterior.draws["scale"].shape == (4000,)
    agree(posterior, by_quadrature(DATA, 3.0)[0])

    compiled = compilations["advance"]
    again = sample(shifted, {"x": DATA + 0.5}, args=(2.5,), key=jax.random.key(1))
    assert compilations["advance"] == compiled
    agree(again, by_quadrature(DATA + 0.5, 2.5)[0])

    lines = str(posterior).splitlines()
    assert lines[0] == posterior.reason
    row = next(line for line in lines if line.startswith("place/centre")).split()
    assert float(row[1]) == pytest.approx(posterior.draws["place"]["centre"].mean(), rel=1e-3)
    assert len(row) == 8


def test_arviz_reads_the_draws_of_a_model():
    draws = {"place": {"centre": np.arange(8.0)}, "means": np.arange(16.0).reshape(8, 2)}
    tree = ModelPosterior(draws, "nuts", "as asked.", n_chains=2).to_arviz()
    assert dict(tree.posterior.sizes) == {"chain": 2, "draw": 4, "means_dim_0": 2}
    np.testing.assert_array_equal(tree.posterior["place.centre"][1], np.arange(4.0, 8))
    np.testing.assert_array_equal(tree.posterior["means"][1, 0], [8, 9])


@pytest.mark.slow
def test_smc_agrees_with_quadrature():
    moments, log_evidence = by_quadrature(DATA, 3.0)
    runs = [
        sample(shifted, {"x": DATA}, args=(3.0,), method="smc", key=jax.random.key(i))
        for i in range(8)
    ]
    off = np.array([run.log_evidence - log_evidence for run in runs])
    error = np.mean([run.log_evidence_error for run in runs])
    assert abs(off.mean()) < 5 * error / np.sqrt(8)
    assert off.std(ddof=1) < 3 * error
    agree(runs[0], moments)
    assert "nan" not in runs[0].summary()
    weighed = sample(shifted, {"x": DATA}, args=(3.0,), method="importance")
    assert abs(weighed.log_evidence - log_evidence) < 5 * weighed.log_evidence_error
    agree(weighed, moments)


@pytest.mark.slow
def test_smc_of_shares_whose_density_is_infinite_at_the_edges():
    """Shares near 1 round to 1 in float32, where the density must not be infinite."""

    @gen
    def edgy():
        share = site(IndependentBeta(jnp.full(2, 0.3), jnp.full(2, 0.3))) @ "share"
        normal(share.sum(), 1.0) @ "x"

    posterior = sample(edgy, {"x": 1.8}, method="smc", n_particles=1000, n_draws=1000)
    edges = np.linspace(0, 1, 2001)
    middle, mass = (edges[1:] + edges[:-1]) / 2, np.diff(stats.beta.cdf(edges, 0.3, 0.3))
    joint = mass[:, None] * mass * stats.norm.pdf(1.8, middle[:, None] + middle)
    off = posterior.log_evidence - np.log(joint.sum())
    assert abs(off) < 5 * posterior.log_evidence_error
    mean = joint.sum(1) @ middle / joint.sum()
    error = np.sqrt(joint.sum(1) @ (middle - mean) ** 2 / joint.sum() / posterior.ess)
    np.testing.assert_allclose(posterior.draws["share"].mean(0), mean, rtol=0, atol=5 * error)


@pytest.mark.slow
def test_chains_that_disagree_are_told_and_an_order_helps():
    """Components a hundred apart under one prior: chains keep the names they start with."""
    near = marginal_points(8)

    @gen
    def two():
        means = site(IndependentNormal(jnp.zeros(2), jnp.full(2, 20.0))) @ "means"
        near(jnp.array([0.5, 0.5]), Normal(means, jnp.ones(2))) @ "x"

    data = np.array([-20.5, -19.8, -20.1, -19.0, 20.3, 19.4, 21.0, 20.0])
    few = dict(n_draws=8 * 300, n_warmup=300)
    with pytest.warns(FitWarning, match="the chains do not agree .*'ordered'"):
        sample(two, {"x": data}, method="nuts", key=jax.random.key(2), n_chains=8, **few)
    weighed = sample(two, {"x": data}, key=jax.random.key(2), n_chains=8, **few)
    assert weighed.method == "smc"
    assert "NUTS did not do" in weighed.reason
    named = sample(two, {"x": data}, supports={"means": "ordered"}, n_chains=8, **few)
    assert named.r_hat < 1.01
    # Half of the points each: the posterior mean of a conjugate normal.
    for mean, own in zip(named.draws["means"].T, (data[:4], data[4:]), strict=True):
        expected = own.sum() / (4 + 1 / 400)
        assert abs(mean.mean() - expected) < 5 * 0.5 / np.sqrt(named.ess)


@gen
def assigned():
    mean = normal.vmap(in_axes=(0, None), axis_size=2)(jnp.array([0.0, 4.0]), 1.0) @ "means"
    z = categorical(jnp.zeros(2)) @ "z"
    normal(mean[z], 1.0) @ "x"


@gen
def dependent():
    width = gamma(2.0, 1.0) @ "width"
    x = uniform(0.0, width) @ "place"
    normal(x, 1.0) @ "x"


heavy = keyed_distribution(jax.random.cauchy, lambda x: -jnp.log1p(x**2))


@gen
def untold():
    middle = heavy() @ "middle"
    normal(middle, 1.0) @ "x"


@gen
def told():
    middle = normal.vmap(in_axes=(0, None), axis_size=2)(jnp.array([0.0, 4.0]), 1.0) @ "middle"
    width = gamma(2.0, 1.0) @ "width"
    share = uniform(0.0, 3.0) @ "share"
    normal(middle.sum() + share, width) @ "x"


def test_auto_takes_importance_sampling_where_a_choice_is_discrete():
    posterior = sample(assigned, {"x": 4.0})
    assert posterior.method == "importance"
    assert "'z' is discrete" in posterior.reason
    # By hand: x ~ Normal(0, sqrt 2) or Normal(4, sqrt 2), equally likely.
    odds = stats.norm.pdf(4, [0, 4], np.sqrt(2))
    assert posterior.log_evidence == pytest.approx(np.log(odds.mean()), abs=0.05)
    assert posterior.draws["z"].mean() == pytest.approx(odds[1] / odds.sum(), abs=0.02)


@gen
def rows():
    mean = normal.vmap(in_axes=(0, None))(jnp.zeros(3), 1.0) @ "mean"
    normal(mean.sum(), 1.0) @ "x"


FROM_MODEL = "method='importance' draws from the model itself.*leave supports out"


@pytest.mark.parametrize(
    ("model", "settings", "error", "message"),
    [
        (assigned, dict(method="nuts"), ValueError, "'z' is discrete: sum assignments out"),
        (dependent, dict(method="nuts"), ValueError, "'place' may take depend on other choices"),
        (untold, dict(method="smc"), ValueError, "pass supports={'middle': ...}"),
        (untold, dict(supports={"middle": "reel"}), ValueError, "must be one of .*got 'reel'"),
        (untold, dict(supports={"muddle": "real"}), ValueError, "the open choices are 'middle'"),
        (untold, dict(method="importance", supports={"middle": "real"}), ValueError, FROM_MODEL),
        (assigned, dict(supports={"means": "real"}), ValueError, f"'z' is discrete.*{FROM_MODEL}"),
        (told, dict(method="smc", supports={"middle": (-1, 9)}), ValueError, r"'middle'\] \(\(-1"),
        (told, dict(method="smc", supports={"middle": "ordered"}), ValueError, "'ordered'.*nuts"),
        (rows, dict(method="nuts"), ValueError, "genjax can't tell the size of a `.vmap`"),
        (untold, dict(method="vi"), ValueError, "method must be one of"),
        (untold, dict(n_chains=0), ValueError, "n_chains must be above zero"),
    ],
)
def test_what_cannot_be_sampled_is_refused(model, settings, error, message):
    with pytest.raises(error, match=message):
        sample(model, {"x": 1.0}, **settings)


@pytest.mark.parametrize(
    ("settings", "advice"),
    [
        (dict(method="nuts"), "give them an order, .*use method='smc'.$"),
        (
            dict(supports={"middle": "ordered"}),
            r"draw more \(n_draws\)\. method='smc' can't .*\['middle'\] \('ordered'\)\.$",
        ),
    ],
)
def test_chains_too_short_are_told_what_can_be_done(settings, advice):
    @gen
    def pair():
        middle = site(IndependentNormal(jnp.zeros(2), jnp.ones(2))) @ "middle"
        normal(middle.sum(), 1.0) @ "x"

    with pytest.warns(FitWarning, match=advice):
        posterior = sample(pair, {"x": 1.0}, n_chains=2, n_draws=20, n_warmup=5, **settings)
    assert posterior.method == "nuts"


def test_which_supports_the_prior_keeps_to():
    for kept in ({"width": "positive"}, {"share": (0, 3)}, {"middle": (-9, 12)}, {}):
        assert strays(posterior_target(told, (), {"x": 1.0}, kept)) == []
    for word in ("positive", "ordered"):
        broken = {"middle": word, "width": "positive", "share": "unit"}
        assert strays(posterior_target(told, (), {"x": 1.0}, broken)) == ["middle", "share"]


def test_constraints_are_checked():
    with pytest.raises(AddressError, match="nearest is 'x'"):
        sample(untold, {"xx": 1.0})
    with pytest.raises(ValueError, match="fix every choice"):
        sample(untold, {"x": 1.0, "middle": 0.0}, supports={})


@pytest.mark.parametrize("method", ["auto", "nuts", "smc", "importance"])
def test_constraints_that_are_no_numbers_are_named(method):
    def refused(error, message, x, **known):
        with pytest.raises(error, match=message):
            sample(shifted, {"x": x, **known}, args=(3.0,), method=method)

    lost = [0.0, np.nan, 1.0, -np.inf, 2.0, 3.0]
    refused(ValueError, r"'x' has 2 NaN or infinite entries, the first at \[1\]", lost)
    refused(ValueError, "'place/centre' has 1 NaN", DATA, place={"centre": np.nan})
    refused(TypeError, r"'x' must be numbers, got \['a', 'a'", ["a"] * 6)
    refused(TypeError, "'x' must be numbers", [[0.0], [1.0, 2.0]])


@pytest.mark.slow
def test_the_parts_of_the_density_are_those_of_prior_and_likelihood(x64):
    """Also for sites under `.vmap`, whose densities SciPy knows."""

    @gen
    def pair(mean):
        scale = gamma(2.0, 1.0) @ "scale"
        marginal_mixture(jnp.ones(1), Normal(mean[None], scale[None])) @ "x"

    @gen
    def several():
        mean = normal(0.0, 1.0) @ "mean"
        pair.vmap(in_axes=(0,), axis_size=3)(mean + jnp.arange(3.0)) @ "pairs"

    x = np.array([0.2, 1.5, 1.8])
    target = posterior_target(several, (), {"pairs": {"x": x}}, {})
    position, weight = jax.jit(from_prior)(jax.random.key(0), target)
    prior, likelihood = jax.jit(log_parts)(position, target)
    mean, free = float(position[("mean",)]), np.asarray(position[("pairs", "scale")])
    scale = np.logaddexp(0, free)  # TFP's softplus
    expected = stats.norm.logpdf(x, mean + np.arange(3), scale).sum()
    assert float(likelihood) == pytest.approx(expected)
    assert float(weight) == pytest.approx(expected)
    own = stats.norm.logpdf(mean) + stats.gamma.logpdf(scale, 2).sum()
    stretch = -np.logaddexp(0, -free).sum()
    assert float(prior) == pytest.approx(own + stretch)
    assert float(jax.jit(log_density)(position, target)) == pytest.approx(own + stretch + expected)
