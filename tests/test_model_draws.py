"""Draws and moves of the mixtures as generative functions, and the weights they come with."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from genjax import seed, sel
from genjax.inference import mh
from mixture_formulas import (
    as_float32,
    hand_log_joint,
    prior,
    random_choices,
)
from scipy import stats

from gmm_jax import Mixture, Normal, models

PRIOR = prior()
WEIGHTS = jnp.array([0.2, 0.5, 0.3])
NORMAL = Normal([-1.0, 0.0, 2.0], [0.5, 1.0, 2.0])


def test_generate_weighs_what_is_constrained():
    model = models.bayesian_mixture(PRIOR, 2, 4)
    known = random_choices(2, 4, (), 2)
    x = known["obs"]["x"]
    constraints = {**{name: known[name] for name in ("weights", "scales")}, "obs": {"x": x}}
    trace, weight = jax.jit(seed(model.generate))(jax.random.key(1), constraints)
    choices = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), trace.get_choices())
    choices["obs"]["z"] = np.asarray(trace["obs"]["z"])
    log_drawn = np.log(known["weights"])[trace["obs"]["z"]].sum()
    log_drawn += stats.norm(2, 3).logpdf(choices["means"]).sum()
    np.testing.assert_allclose(weight, hand_log_joint(**choices) - log_drawn, rtol=1e-5)
    np.testing.assert_allclose(-trace.get_score(), hand_log_joint(**choices), rtol=1e-5)
    everything, weight = model.generate(trace.get_choices())
    np.testing.assert_allclose(weight, hand_log_joint(**choices), rtol=1e-5)
    np.testing.assert_allclose(everything.get_score(), -weight)
    nothing = seed(models.points(4).generate)(jax.random.key(1), {}, WEIGHTS, NORMAL)[1]
    assert nothing == 0


CHANGES = [
    {"means": [0.0, 5.0]},
    {"weights": [0.9, 0.1], "scales": [1.0, 3.0]},
    {"obs": {"z": [1, 1, 0, 1]}},
    {"obs": {"z": [0, 0, 0, 0], "x": [0.0, 1.0, 2.0, 3.0]}, "means": [1.0, 1.0]},
    {},
]


@pytest.mark.parametrize("changes", CHANGES)
def test_update_weighs_the_change(changes):
    model = models.bayesian_mixture(PRIOR, 2, 4)
    old = random_choices(2, 4, (), 3)
    trace, _ = model.generate(old)
    new = {**old, **changes, "obs": {**old["obs"], **changes.get("obs", {})}}
    new = jax.tree.map(np.asarray, new, is_leaf=lambda leaf: isinstance(leaf, list))
    expected = hand_log_joint(**new) - hand_log_joint(**old)
    both = trace.update(changes), model.update(trace, changes)
    for updated, weight, _ in both:
        np.testing.assert_allclose(weight, expected, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(-updated.get_score(), hand_log_joint(**new), rtol=1e-5)
    updated, _, discarded = both[-1]
    jax.tree.map(np.testing.assert_allclose, updated.get_choices(), as_float32(new))
    _, back, _ = model.update(updated, discarded)
    np.testing.assert_allclose(back, -expected, rtol=1e-4, atol=1e-5)


def test_regenerate_draws_anew_and_weighs_the_rest():
    model = models.bayesian_mixture(PRIOR, 2, 4)
    old = random_choices(2, 4, (), 5)
    trace, _ = model.generate(old)
    regenerate = jax.jit(jax.vmap(seed(model.regenerate), (0, None, None)))
    keys = jax.random.split(jax.random.key(0), 2000)
    traces, weights, _ = regenerate(keys, trace, sel(("obs", "z")))
    choices = traces.get_choices()
    for name in ("weights", "means", "scales"):
        np.testing.assert_allclose(choices[name], np.broadcast_to(old[name], (2000, 2)), rtol=1e-6)

    def log_density(z):
        return stats.norm(old["means"][z], old["scales"][z]).logpdf(old["obs"]["x"])

    z = np.asarray(choices["obs"]["z"])
    expected = log_density(z).sum(1) - log_density(old["obs"]["z"]).sum()
    np.testing.assert_allclose(weights, expected, rtol=1e-4, atol=1e-4)
    share = old["weights"][1]
    error = 5 * np.sqrt(share * (1 - share) / z.size)
    np.testing.assert_allclose(z.mean(), share, atol=error)


def test_metropolis_hastings_finds_the_posterior_of_an_assignment():
    known = {"weights": [0.4, 0.6], "means": [0.0, 1.5], "scales": [1.0, 1.0]}
    model = models.bayesian_mixture(PRIOR, 2, 2)
    trace, _ = model.generate({**known, "obs": {"z": [0, 0], "x": [0.4, 1.4]}})

    def run(key):
        def step(trace, key):
            return (seed(mh)(key, trace, sel(("obs", "z"))),) * 2

        return jax.lax.scan(step, trace, jax.random.split(key, 100))[1]["obs"]["z"][-1]

    z = jax.jit(jax.vmap(run))(jax.random.split(jax.random.key(0), 2000))
    mixture = Mixture([0.4, 0.6], Normal([0.0, 1.5], [1.0, 1.0]))
    exact = mixture.responsibilities(jnp.array([0.4, 1.4]))[:, 1]
    np.testing.assert_allclose(z.mean(0), exact, atol=5 * 0.5 / np.sqrt(2000))


def test_weights_are_weights_and_samplers_follow_the_density():
    n = 20_000
    draws = jax.jit(seed(models.points(n).simulate))(jax.random.key(0), WEIGHTS, NORMAL)
    shares = np.bincount(draws["z"], minlength=3) / n
    np.testing.assert_allclose(shares, WEIGHTS, atol=5 * 0.5 / np.sqrt(n))

    def one_by_one(key):
        return seed(models.point.simulate)(key, WEIGHTS, NORMAL)["x"]

    marginal = models.marginal_mixture
    keys = jax.random.split(jax.random.key(1), n)

    def cdf(x):
        return stats.norm(NORMAL.means, NORMAL.scales).cdf(x[:, None]) @ np.asarray(WEIGHTS)

    for points in (
        draws["x"],
        jax.jit(jax.vmap(one_by_one))(keys),
        jax.jit(seed(models.marginal_points(n).sample))(jax.random.key(2), WEIGHTS, NORMAL),
        jax.jit(jax.vmap(lambda key: seed(marginal.sample)(key, WEIGHTS, NORMAL)))(keys),
    ):
        assert stats.kstest(np.asarray(points), cdf).pvalue > 1e-5


def test_draws_of_the_model_are_draws_of_the_prior():
    model = models.marginal_bayesian_mixture(PRIOR, 2, 3)
    keys = jax.random.split(jax.random.key(0), 5000)
    draws = jax.jit(jax.vmap(lambda key: seed(model.simulate)(key).get_choices()))(keys)
    assert stats.kstest(draws["weights"][:, 0], stats.beta(1.5, 1.5).cdf).pvalue > 1e-5
    for i in range(2):
        assert stats.kstest(draws["means"][:, i], stats.norm(2, 3).cdf).pvalue > 1e-5
        assert stats.kstest(draws["scales"][:, i], stats.gamma(2, scale=1 / 1.5).cdf).pvalue > 1e-5
    # Var(x) = Var(mean) + E[scale^2], E[scale^2] = 2 * 3 / 1.5^2
    variance = 9 + 6 / 1.5**2
    x = np.asarray(draws["obs"]["x"][:, 0])
    np.testing.assert_allclose(x.mean(), 2, atol=5 * np.sqrt(variance / 5000))
    np.testing.assert_allclose(x.var(), variance, atol=5 * np.std((x - 2) ** 2) / np.sqrt(5000))
