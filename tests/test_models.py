"""Mixtures as generative functions, against densities written out with scipy and enumeration."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from genjax import gen, seed
from mixture_formulas import (
    as_float32,
    hand_log_joint,
    hand_marginal,
    prior,
    random_choices,
    without_z,
)
from scipy import special, stats

from gmm_jax import Bernoulli, Mixture, Normal, models
from gmm_jax._pytree import pytree, rebuild
from gmm_jax.distributions import Dirichlet

PRIOR = prior()
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


@pytest.mark.parametrize("x64", [False, True])
@pytest.mark.parametrize(("k", "n", "event_shape"), SHAPES)
def test_log_joints_equal_the_formula(k, n, event_shape, x64):
    rtol = 1e-12 if x64 else 1e-6
    with jax.enable_x64(x64):
        model = models.bayesian_mixture(prior(), k, n, event_shape)
        marginal = models.marginal_bayesian_mixture(prior(), k, n, event_shape)
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


def test_jit_and_vmap_change_nothing():
    model = models.bayesian_mixture(PRIOR, 2, 4)
    several = [as_float32(random_choices(2, 4, (), number)) for number in range(3)]

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
        choices = random_choices(2, 4, (), 11)
        maker, hand, given = (
            (models.marginal_bayesian_mixture, hand_marginal, without_z(choices))
            if summed
            else (models.bayesian_mixture, hand_log_joint, choices)
        )
        model = maker(prior(), 2, 4)
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


def test_models_nest_in_other_generative_functions():
    @gen
    def two():
        first = models.bayesian_mixture(PRIOR, 2, 4)() @ "first"
        x = models.marginal_mixture(first.weights, first.components) @ "new"
        return x

    choices = random_choices(2, 4, (), 1)
    log_density, _ = two.assess({"first": as_float32(choices), "new": jnp.array(1.0)})
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
