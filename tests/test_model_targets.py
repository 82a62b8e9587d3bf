"""Weighted draws: the evidence they estimate is the exact one, for anyone's model."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from genjax import flip, gen, normal
from scipy import integrate, special, stats

from gmm_jax import DirichletNormalGamma, Mixture, Normal, models
from gmm_jax.models import AddressError, component_index, importance_target

WEIGHTS, COMPONENTS = jnp.array([0.4, 0.6]), Normal([0.0, 3.0], [1.0, 2.0])
X = jnp.array([0.5, 4.0, 1.0])
PRIOR = DirichletNormalGamma(concentration=1, mean=0, mean_scale=2, shape=2, rate=1)


@gen
def weighing(offset):
    """mean ~ N(offset, 1), x | mean ~ N(mean, 1)."""
    mean = normal(offset, 1.0) @ "mean"
    heavy = flip(0.25) @ "heavy"
    return normal(mean + 2 * heavy, 1.0) @ "x"


def log_evidence_of_weighing(x, offset):
    return special.logsumexp(
        stats.norm(offset + np.array([0, 2]), np.sqrt(2)).logpdf(x), b=[0.75, 0.25]
    )


def draws(draw, n, number=0):
    return jax.jit(jax.vmap(draw))(jax.random.split(jax.random.key(number), n))


def assert_mean_weight(log_weights, exact):
    """The mean of the weights is the evidence, within five standard errors."""
    ratios = np.exp(np.asarray(log_weights, np.float64) - exact)
    assert abs(ratios.mean() - 1) < 5 * ratios.std() / np.sqrt(len(ratios))


def test_prior_draws_of_a_model_from_outside():
    choices, log_weights = draws(importance_target(weighing, (0.5,), {"x": 1.0}), 20_000)
    assert set(choices) == {"mean", "heavy"}
    expected = stats.norm(choices["mean"] + 2 * choices["heavy"], 1).logpdf(1.0)
    np.testing.assert_allclose(log_weights, expected, rtol=1e-5)
    assert_mean_weight(log_weights, log_evidence_of_weighing(1.0, 0.5))


def test_the_exact_posterior_as_proposal_has_one_weight():
    @gen
    def posterior(weights, components, x):
        shares = Mixture(weights, components).responsibilities(x)
        component_index.vmap(in_axes=(0,))(shares) @ "z"

    arguments = (WEIGHTS, COMPONENTS)
    draw = importance_target(models.points(3), arguments, {"x": X}, posterior, (*arguments, X))
    choices, log_weights = draws(draw, 50)
    assert choices["z"].shape == (50, 3)
    assert len(np.unique(choices["z"], axis=0)) > 2
    exact = Mixture(*arguments).log_prob(X).sum()
    np.testing.assert_allclose(log_weights, np.full(50, exact), rtol=1e-5)
    _, prior_weights = draws(importance_target(models.points(3), arguments, {"x": X}), 20_000)
    assert_mean_weight(prior_weights, exact)


def test_what_a_proposal_leaves_out_comes_from_the_prior():
    @gen
    def proposal(centre):
        normal(centre, 1.0) @ "mean"

    draw = importance_target(weighing, (0.0,), {"x": 1.0}, proposal, (0.4,))
    choices, log_weights = draws(draw, 20_000)
    np.testing.assert_allclose(choices["heavy"].mean(), 0.25, atol=5 * 0.433 / np.sqrt(20_000))
    np.testing.assert_allclose(choices["mean"].mean(), 0.4, atol=5 / np.sqrt(20_000))
    mean, heavy = (np.asarray(choices[name], np.float64) for name in ("mean", "heavy"))
    log_model = stats.norm(0, 1).logpdf(mean) + stats.norm(mean + 2 * heavy, 1).logpdf(1.0)
    expected = log_model - stats.norm(0.4, 1).logpdf(mean)
    np.testing.assert_allclose(log_weights, expected, rtol=1e-4, atol=1e-5)
    assert_mean_weight(log_weights, log_evidence_of_weighing(1.0, 0.0))


def log_evidence_of_one_component(x):
    """Mean and scale integrated on a grid."""
    means, scales = np.linspace(-12, 14, 261), np.linspace(0.01, 30, 3000)[:, None]
    points = stats.norm(means, scales).logpdf(x[:, None, None]).sum(0)
    joint = points + stats.norm(0, 2).logpdf(means) + stats.gamma(2).logpdf(scales)
    return np.log(integrate.trapezoid(integrate.trapezoid(np.exp(joint), means), scales[:, 0]))


@pytest.mark.parametrize(
    "maker", [models.bayesian_mixture, models.marginal_bayesian_mixture], ids=["full", "marginal"]
)
def test_evidence_of_the_bayesian_mixtures(maker):
    """All assignments of three points to two components, each with the weights integrated."""
    every = np.array(list(itertools.product([False, True], repeat=3)))
    evidence = {tuple(z): log_evidence_of_one_component(np.asarray(X, float)[z]) for z in every}
    weights = [special.betaln(1 + z.sum(), 1 + (~z).sum()) for z in every]
    terms = [
        w + evidence[tuple(z)] + evidence[tuple(~z)] for w, z in zip(weights, every, strict=True)
    ]
    choices, log_weights = draws(
        importance_target(maker(PRIOR, 2, 3), (), {"obs": {"x": X}}), 20_000
    )
    assert_mean_weight(log_weights, special.logsumexp(terms))
    assert ("obs" in choices) == (maker is models.bayesian_mixture)


def test_nested_constraints_leave_their_neighbours():
    model = models.bayesian_mixture(PRIOR, 2, 3)
    known = {"means": [0.0, 3.0], "scales": [1.0, 2.0], "weights": [0.4, 0.6]}
    draw = importance_target(model, (), {**known, "obs": {"x": X}})
    choices, log_weight = jax.jit(draw)(jax.random.key(0))
    assert choices.keys() == {"obs"}
    assert choices["obs"].keys() == {"z"}
    full = {**known, "obs": {"x": X, **choices["obs"]}}
    log_choice = np.log(np.asarray(WEIGHTS))[choices["obs"]["z"]].sum()
    np.testing.assert_allclose(log_weight, model.assess(full)[0] - log_choice, rtol=1e-5)


def test_new_data_need_no_new_compilation():
    traced = []

    @jax.jit
    def kernel(draw, key):
        traced.append(1)
        return draw(key)[1]

    weights = [
        kernel(importance_target(weighing, (jnp.array(offset),), {"x": x}), jax.random.key(0))
        for offset, x in ((0.0, 1.0), (0.5, 1.0), (0.0, -3.0))
    ]
    assert len(traced) == 1
    assert len(set(map(float, weights))) == 3


@gen
def mistyped():
    normal(0.0, 1.0) @ "maen"


@gen
def known_already():
    normal(0.0, 1.0) @ "x"


@gen
def three_means():
    normal.vmap(in_axes=(None, None), axis_size=3)(0.0, 1.0) @ "mean"


@gen
def three_rows():
    mean = normal.vmap(in_axes=(0, None))(jnp.zeros(3), 1.0) @ "mean"
    normal(mean.sum(), 1.0) @ "x"


@gen
def vector():
    mean = normal(0.0, 1.0) @ "mean"
    normal(jnp.full(3, mean), 1.0) @ "x"


@pytest.mark.parametrize(
    ("model", "constraints", "proposal", "error", "message"),
    [
        (weighing, {"y": 1.0}, None, AddressError, "no address 'y'; the nearest is"),
        (weighing, {"x": [1.0, 2.0]}, None, ValueError, r"'x' must have shape \(\), got \(2,\)"),
        (weighing, {"x": np.nan}, None, ValueError, "'x' has 1 NaN or infinite entries: leave"),
        (weighing, {"x": "a"}, None, TypeError, "the value at 'x' must be numbers, got 'a'"),
        (weighing, {"x": 1.0}, mistyped, AddressError, "proposal.* no address 'maen'.*'mean'"),
        (weighing, {"x": 1.0}, known_already, AddressError, "proposes what is constrained: 'x'"),
        (weighing, {"x": 1.0}, three_means, ValueError, r"proposal.*shape \(\), got \(3,\)"),
        (vector, {"x": np.zeros(3)}, None, ValueError, r"log density has shape \(3,\)"),
        (three_rows, {"x": 1.0}, None, ValueError, "axis_size=3"),
        (three_rows, {}, None, ValueError, "axis_size=3"),
        (lambda: None, {}, None, TypeError, "generative function|importance_target"),
        (component_index, {}, None, TypeError, "has no addresses"),
    ],
)
def test_errors_come_before_the_first_draw(model, constraints, proposal, error, message):
    args = {weighing: (0.0,), component_index: (WEIGHTS,)}.get(model, ())
    with pytest.raises(error, match=message):
        importance_target(model, args, constraints, proposal)
