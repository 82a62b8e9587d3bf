"""Mixtures as generative functions, against densities written out with scipy and enumeration."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from genjax import gen, seed, sel
from genjax.inference import mh
from scipy import special, stats

from gmm_jax import Bernoulli, DirichletNormalGamma, Mixture, Normal, models
from gmm_jax._pytree import pytree, rebuild
from gmm_jax.distributions import Dirichlet

PRIOR = DirichletNormalGamma(concentration=1.5, mean=2.0, mean_scale=3.0, shape=2.0, rate=1.5)
SHAPES = [(1, 3, ()), (2, 4, ()), (3, 3, (2,))]
WEIGHTS = jnp.array([0.2, 0.5, 0.3])
NORMAL = Normal([-1.0, 0.0, 2.0], [0.5, 1.0, 2.0])
BERNOULLI = Bernoulli([[0.9, 0.2], [0.5, 0.5], [0.1, 0.4]])


@pytree
class Uniform:
    """Numbers between 0 and 1: a distribution that the library does not have."""

    like: jax.Array

    def sample(self, key):
        return jax.random.uniform(key, self.like.shape)

    def log_prob(self, value):
        return jnp.where(jnp.all((value >= 0) & (value <= 1)), 0.0, -jnp.inf)


class UniformBernoulli:
    """A prior that the library does not have."""

    def sites(self, n_components, event_shape):
        like = jnp.zeros((n_components, *event_shape))
        return {"weights": Dirichlet(jnp.ones(n_components)), "probs": Uniform(like)}

    def mixture(self, weights, probs):
        return Mixture(weights, Bernoulli(probs))


def random_choices(k, n, event_shape, number):
    random = np.random.default_rng(number)
    return {
        "weights": random.dirichlet(np.full(k, 3.0)),
        "means": random.normal(2, 3, (k, *event_shape)),
        "scales": random.gamma(2, 1, (k, *event_shape)) + 0.3,
        "obs": {"z": random.integers(k, size=n), "x": random.normal(2, 4, (n, *event_shape))},
    }


def hand_prior(weights, means, scales):
    k = len(weights)
    constant = special.gammaln(1.5 * k) - k * special.gammaln(1.5)
    return (
        constant
        + 0.5 * np.log(weights).sum()
        + stats.norm(2, 3).logpdf(means).sum()
        + stats.gamma(2, scale=1 / 1.5).logpdf(scales).sum()
    )


def hand_log_joint(weights, means, scales, obs):
    z, x = obs["z"], obs["x"]
    points = np.log(weights[z]).sum() + stats.norm(means[z], scales[z]).logpdf(x).sum()
    return hand_prior(weights, means, scales) + points


def hand_marginal(weights, means, scales, obs):
    each = stats.norm(means, scales).logpdf(obs["x"][:, None])
    each = each.reshape(*each.shape[:2], -1).sum(-1) + np.log(weights)
    return hand_prior(weights, means, scales) + special.logsumexp(each, axis=1).sum()


def without_z(choices):
    return {**choices, "obs": {"x": choices["obs"]["x"]}}


@pytest.mark.parametrize("x64", [False, True])
@pytest.mark.parametrize(("k", "n", "event_shape"), SHAPES)
def test_log_joints_equal_the_formula(k, n, event_shape, x64):
    rtol = 1e-12 if x64 else 2e-6
    with jax.enable_x64(x64):
        prior = DirichletNormalGamma(1.5, 2.0, 3.0, 2.0, 1.5)
        model = models.bayesian_mixture(prior, k, n, event_shape)
        marginal = models.marginal_bayesian_mixture(prior, k, n, event_shape)
        assess, assess_marginal = jax.jit(model.assess), jax.jit(marginal.assess)
        for number in range(5):
            choices = random_choices(k, n, event_shape, number)
            log_joint, mixture = assess(choices)
            log_marginal, _ = assess_marginal(without_z(choices))
            np.testing.assert_allclose(log_joint, hand_log_joint(**choices), rtol=rtol)
            np.testing.assert_allclose(log_marginal, hand_marginal(**choices), rtol=rtol)
            np.testing.assert_allclose(mixture.components.means, choices["means"], rtol=1e-6)
        assert log_joint.dtype == (jnp.float64 if x64 else jnp.float32)


@pytest.mark.parametrize("components", [NORMAL, BERNOULLI], ids=["normal", "bernoulli"])
def test_summing_every_assignment_out_gives_the_marginal(components):
    n = 5
    x = components.sample(jax.random.key(0), jnp.array([0, 1, 2, 2, 1]))
    every = jnp.array(list(itertools.product(range(3), repeat=n)))

    def log_joint(z):
        return models.points(n).assess({"z": z, "x": x}, WEIGHTS, components)[0]

    enumerated = special.logsumexp(np.asarray(jax.jit(jax.vmap(log_joint))(every), float))
    at_once = models.marginal_points(n).assess(x, WEIGHTS, components)[0]
    one_by_one = [models.marginal_mixture.assess(row, WEIGHTS, components)[0] for row in x]
    np.testing.assert_allclose(at_once, enumerated, rtol=1e-6)
    np.testing.assert_allclose(sum(one_by_one), enumerated, rtol=1e-6)


def test_any_prior_makes_a_model():
    x = jnp.array([[0, 1], [1, 1], [0, 0], [1, 0], [1, 1], [0, 1]])
    parameters = {"weights": jnp.array([0.3, 0.7]), "probs": jnp.array([[0.2, 0.6], [0.9, 0.5]])}
    model = models.bayesian_mixture(UniformBernoulli(), 2, 6, (2,))
    marginal = models.marginal_bayesian_mixture(UniformBernoulli(), 2, 6, (2,))

    def log_joint(z):
        return model.assess({**parameters, "obs": {"z": z, "x": x}})[0]

    every = jnp.array(list(itertools.product(range(2), repeat=6)))
    enumerated = special.logsumexp(np.asarray(jax.jit(jax.vmap(log_joint))(every), float))
    np.testing.assert_allclose(
        marginal.assess({**parameters, "obs": {"x": x}})[0], enumerated, rtol=1e-6
    )
    drawn = jax.eval_shape(seed(model.simulate), jax.random.key(0)).get_choices()
    assert drawn["obs"]["x"].shape == (6, 2)
    assert drawn["probs"].shape == (2, 2)


def test_points_are_independent_copies_of_point():
    @gen
    def copies(weights, components):
        return models.point.vmap(in_axes=(None, None), axis_size=4)(weights, components) @ "obs"

    obs = {"z": jnp.array([0, 2, 1, 1]), "x": jnp.array([-1.0, 3.0, 0.5, 7.0])}
    trace, weight = copies.generate({"obs": obs}, WEIGHTS, NORMAL)
    expected = models.points(4).assess(obs, WEIGHTS, NORMAL)[0]
    np.testing.assert_allclose(weight, expected, rtol=1e-6)
    np.testing.assert_allclose(-trace.get_score(), expected, rtol=1e-6)
    moved = {"z": jnp.array([0, 2, 1, 0]), "x": jnp.array([-1.0, 2.0, 0.5, 7.0])}
    _, ratio, _ = copies.update(trace, {"obs": moved}, WEIGHTS, NORMAL)
    difference = models.points(4).assess(moved, WEIGHTS, NORMAL)[0] - expected
    np.testing.assert_allclose(ratio, difference, rtol=1e-5)


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
    for updated, weight, discarded in (trace.update(changes), model.update(trace, changes)):  # noqa: B007
        np.testing.assert_allclose(weight, expected, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(-updated.get_score(), hand_log_joint(**new), rtol=1e-5)
    jax.tree.map(np.testing.assert_allclose, updated.get_choices(), _as_floats(new))
    _, back, _ = model.update(updated, discarded)
    np.testing.assert_allclose(back, -expected, rtol=1e-4, atol=1e-5)


def _as_floats(choices):
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), choices)


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


def test_jit_and_vmap_change_nothing():
    model = models.bayesian_mixture(PRIOR, 2, 4)
    several = [_as_floats(random_choices(2, 4, (), number)) for number in range(3)]

    def assess(choices):
        return model.assess(choices)[0]

    jitted = jax.jit(assess)
    loop = [jitted(choices) for choices in several]
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *several)
    np.testing.assert_allclose(jax.jit(jax.vmap(assess))(stacked), loop, rtol=1e-6)
    np.testing.assert_allclose(assess(several[0]), loop[0], rtol=1e-6)
    keys, x = jax.random.split(jax.random.key(7), 3), several[0]["obs"]["x"]

    def generate(key):
        return seed(models.points(4).generate)(key, {"x": x}, WEIGHTS, NORMAL)[1]

    loop = [jax.jit(generate)(key) for key in keys]
    np.testing.assert_allclose(jax.jit(jax.vmap(generate))(keys), loop, rtol=1e-5)


@pytest.mark.parametrize("name", ["means", "scales"])
@pytest.mark.parametrize("summed", [False, True], ids=["full", "marginal"])
def test_gradients_of_assess_are_those_of_the_formula(summed, name):
    with jax.enable_x64(True):
        prior = DirichletNormalGamma(1.5, 2.0, 3.0, 2.0, 1.5)
        choices = random_choices(2, 4, (), 11)
        maker, hand, given = (
            (models.marginal_bayesian_mixture, hand_marginal, without_z(choices))
            if summed
            else (models.bayesian_mixture, hand_log_joint, choices)
        )
        model = maker(prior, 2, 4)
        slopes = jax.jit(jax.grad(lambda value: model.assess({**given, name: value})[0]))(
            choices[name]
        )
    for i, step in enumerate(1e-5 * np.eye(2)):
        up, down = (hand(**{**choices, name: choices[name] + s}) for s in (step, -step))
        np.testing.assert_allclose(slopes[i], (up - down) / 2e-5, rtol=1e-6)


IMPOSSIBLE = {
    "index too large": {"obs": {"z": [0, 1, 2, 0]}},
    "index below zero": {"obs": {"z": [0, -1, 1, 0]}},
    "index between": {"obs": {"z": [0.0, 0.5, 1.0, 0.0]}},
    "negative scale": {"scales": [-1.0, 1.0]},
    "scale zero": {"scales": [1.0, 0.0]},
    "weights above one": {"weights": [0.8, 0.8]},
    "negative weight": {"weights": [1.2, -0.2]},
    "infinite point": {"obs": {"x": [0.0, 1.0, np.inf, 2.0]}},
    "undefined point": {"obs": {"x": [0.0, 1.0, np.nan, 2.0]}},
    "undefined mean": {"means": [0.0, np.nan]},
}


@pytest.mark.parametrize("case", IMPOSSIBLE)
def test_impossible_values_have_density_zero(case):
    possible = random_choices(2, 4, (), 0)
    changes = IMPOSSIBLE[case]
    choices = {**possible, **changes, "obs": {**possible["obs"], **changes.get("obs", {})}}
    full = (models.bayesian_mixture(PRIOR, 2, 4), choices)
    marginal = (models.marginal_bayesian_mixture(PRIOR, 2, 4), without_z(choices))
    for model, values in (full,) if "index" in case else (full, marginal):
        assert model.assess(values)[0] == -np.inf
        assert jax.jit(lambda values, model=model: model.assess(values)[0])(values) == -np.inf


def test_impossible_arguments_have_density_zero():
    components = rebuild(Normal, means=jnp.array([0.0, 1.0]), scales=jnp.array([1.0, -1.0]))
    good, bad = jnp.array([0.5, 0.5]), jnp.array([0.7, 0.7])
    normal = Normal([0.0, 1.0], [1.0, 1.0])
    for weights, family in ((good, components), (bad, normal)):
        choices = {"z": 1, "x": 0.3}
        assert models.point.assess(choices, weights, family)[0] == -np.inf
        assert models.marginal_mixture.assess(0.3, weights, family)[0] == -np.inf
    assert models.component.assess(0.3, normal, 2)[0] == -np.inf
    assert models.component_index.assess(0, jnp.array([0.0, 1.0]))[0] == -np.inf
    assert models.marginal_mixture.assess(0.5, good, Bernoulli([0.3, 0.6]))[0] == -np.inf


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


def test_models_nest_in_other_generative_functions():
    @gen
    def two():
        first = models.bayesian_mixture(PRIOR, 2, 4)() @ "first"
        x = models.marginal_mixture(first.weights, first.components) @ "new"
        return x

    choices = random_choices(2, 4, (), 1)
    log_density, _ = two.assess({"first": _as_floats(choices), "new": jnp.array(1.0)})
    density = choices["weights"] @ stats.norm(choices["means"], choices["scales"]).pdf(1.0)
    np.testing.assert_allclose(log_density, hand_log_joint(**choices) + np.log(density), rtol=1e-5)
    with pytest.raises(models.AddressError, match="nearest is 'obs/x'"):
        two.generate({"first": {"obs": {"y": jnp.zeros(4)}}})


@pytest.mark.parametrize(
    ("n", "error"), [(0, ValueError), (-1, ValueError), (2.5, TypeError), ("3", TypeError)]
)
def test_a_number_of_points_that_makes_no_sense(n, error):
    for make in (models.points, models.marginal_points):
        with pytest.raises(error):
            make(n)
    with pytest.raises(error):
        models.bayesian_mixture(PRIOR, 2, n)
    with pytest.raises(ValueError, match="n, the number of points, must be above zero, got -3"):
        models.points(-3)


def test_shapes_that_do_not_fit():
    with pytest.raises(ValueError, match="3 components"):
        models.marginal_mixture.assess(0.0, WEIGHTS[:2], NORMAL)
    with pytest.raises(ValueError, match=r"x must have shape \(2,\), got \(\)"):
        models.marginal_mixture.assess(1.0, WEIGHTS, BERNOULLI)
    with pytest.raises(ValueError, match=r"x must have shape \(\), got \(3,\)"):
        models.component.assess(jnp.zeros(3), NORMAL, 1)
