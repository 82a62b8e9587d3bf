"""Distributions from elsewhere, fitted by Newton steps, against families of our own and scipy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import gmm_jax
from gmm_jax import Gamma, Mixture, Normal, Wrapped
from gmm_jax.families.limits import Limits, Sharing


def gumbel(x, loc, scale):
    z = (x - loc) / scale
    return -z - jnp.exp(-z) - jnp.log(scale)


GUMBEL = Wrapped.of(gumbel, loc="real", scale="positive")


def test_one_component_is_the_maximum_likelihood_of_scipy(x64):
    x = stats.gumbel_r.rvs(300, 20, size=400, random_state=0)
    result = gmm_jax.fit(x, 1, family=GUMBEL)
    loc, scale = stats.gumbel_r.fit(x)
    found = result.mixture.components.parameters
    np.testing.assert_allclose(found["loc"], loc, rtol=1e-4)
    np.testing.assert_allclose(found["scale"], scale, rtol=1e-3)
    assert result.n_parameters == 2


@pytest.mark.slow
def test_a_wrapped_normal_is_ours(x64):
    import numpyro.distributions as dist

    rng = np.random.default_rng(0)
    x = np.r_[rng.normal(350, 3, 60), rng.normal(500, 8, 90)]
    wrapped = gmm_jax.fit(x, 2, family=Wrapped.of(dist.Normal))
    ours = gmm_jax.fit(x, 2, family=Normal)
    np.testing.assert_allclose(wrapped.log_likelihood, ours.log_likelihood, atol=1e-5)
    found = wrapped.mixture.components.parameters
    np.testing.assert_allclose(found["loc"], ours.mixture.components.means, rtol=1e-5)
    drawn, _ = wrapped.sample(jax.random.key(0), 2000)
    np.testing.assert_allclose(np.mean(drawn), x.mean(), atol=10)


def test_a_distribution_of_genjax_serves_too(x64):
    import genjax

    rng = np.random.default_rng(1)
    x = np.r_[rng.laplace(0, 1, 200), rng.laplace(12, 2, 200)]
    kind = Wrapped.of(genjax.laplace, loc="real", scale="positive")
    result = gmm_jax.fit(x, 2, family=kind, n_restarts=4)
    np.testing.assert_allclose(result.mixture.components.parameters["loc"], [0, 12], atol=0.5)
    np.testing.assert_allclose(result.mixture.components.parameters["scale"], [1, 2], atol=0.4)


def test_fixed_parameters_stay(x64):
    x = stats.gumbel_r.rvs(5, 2, size=200, random_state=2)
    result = gmm_jax.fit(x, 1, family=GUMBEL, fixed={"parameters['scale']": [2.0]})
    assert result.mixture.components.parameters["scale"][0] == pytest.approx(2.0, rel=1e-12)
    assert result.n_parameters == 1


def test_mistakes_are_explained():
    with pytest.raises(TypeError, match="needs its parameters"):
        Wrapped.of(gumbel)
    with pytest.raises(ValueError, match="must be 'real', 'positive' or 'unit'"):
        Wrapped.of(gumbel, loc="real", scale="above zero")


def as_ours(wrapped, ours, names):
    """Both fits agree: their likelihoods, their parameters, and how many are free."""
    np.testing.assert_allclose(wrapped.log_likelihood, ours.log_likelihood, rtol=1e-9)
    np.testing.assert_allclose(wrapped.mixture.weights, ours.mixture.weights, rtol=1e-5)
    for theirs, mine in names.items():
        found = wrapped.mixture.components.parameters[theirs]
        np.testing.assert_allclose(
            found, getattr(ours.mixture.components, mine), rtol=1e-5, atol=1e-5
        )
    assert wrapped.n_parameters == ours.n_parameters


@pytest.mark.slow
def test_a_shared_scale_is_one_variable_of_the_step(x64):
    import numpyro.distributions as dist

    rng = np.random.default_rng(3)
    x = np.r_[rng.normal(0, 1, 60), rng.normal(6, 2, 60), rng.normal(15, 1, 60)]
    kind = Wrapped.of(dist.Normal)
    means, scales = jnp.array([0.0, 6.0, 15.0]), jnp.array([1.0, 2.0, 3.0])
    start = Mixture([0.3, 0.3, 0.4], Wrapped({"loc": means, "scale": scales}, kind))
    shared = {"parameters['scale']": [0, 1, 0]}
    wrapped = gmm_jax.fit(x, 3, family=kind, shared=shared, start=start)
    start = Mixture([0.3, 0.3, 0.4], Normal(means, scales))
    ours = gmm_jax.fit(x, 3, family=Normal, shared={"scales": [0, 1, 0]}, start=start)
    as_ours(wrapped, ours, {"loc": "means", "scale": "scales"})
    scales = np.asarray(wrapped.mixture.components.parameters["scale"])
    assert scales[0] == scales[2] != scales[1]


@pytest.mark.slow
def test_shared_rates_of_gammas_are_ours(x64):
    import numpyro.distributions as dist

    rng = np.random.default_rng(4)
    x = np.r_[rng.gamma(2, 1.5, 100), rng.gamma(30, 1.5, 100)]
    kind = Wrapped.of(dist.Gamma)
    shapes, rates = jnp.array([3.0, 20.0]), jnp.array([0.5, 1.0])
    start = Mixture([0.5, 0.5], Wrapped({"concentration": shapes, "rate": rates}, kind))
    wrapped = gmm_jax.fit(x, 2, family=kind, shared={"parameters['rate']": True}, start=start)
    start = Mixture([0.5, 0.5], Gamma(shapes, rates))
    ours = gmm_jax.fit(x, 2, family=Gamma, shared={"rates": True}, start=start)
    as_ours(wrapped, ours, {"concentration": "shapes", "rate": "rates"})


@pytest.mark.slow
def test_shared_locations_of_several_features_are_ours(x64):
    """Every feature has variables of its own."""
    import numpyro.distributions as dist

    rng = np.random.default_rng(5)
    x = np.r_[rng.normal([3, 5], [0.5, 4], (100, 2)), rng.normal([3, 5], [5, 0.7], (100, 2))]
    kind = Wrapped.of(dist.Normal)
    means, scales = jnp.array([[2.0, 4], [4, 6]]), jnp.array([[1.0, 3], [3, 1]])
    start = Mixture([0.5, 0.5], Wrapped({"loc": means, "scale": scales}, kind))
    wrapped = gmm_jax.fit(x, 2, family=kind, shared={"parameters['loc']": True}, start=start)
    start = Mixture([0.5, 0.5], Normal(means, scales))
    ours = gmm_jax.fit(x, 2, family=Normal, shared={"means": True}, start=start)
    as_ours(wrapped, ours, {"loc": "means", "scale": "scales"})


def test_one_step_with_everything_shared_is_newtons(x64):
    """Of all components together, as if they were one."""
    kind = Wrapped.of(gumbel, loc="real", scale="positive")
    x = jnp.asarray(stats.gumbel_r.rvs(2, 1.5, size=50, random_state=6))
    r = jnp.asarray(np.random.default_rng(7).dirichlet([1, 1, 1], 50))
    three = Wrapped({"loc": jnp.full(3, 1.8), "scale": jnp.full(3, 1.4)}, kind)
    one = jax.tree.map(lambda a: a[:1], three)
    names = ("parameters['loc']", "parameters['scale']")
    sharing = Sharing(tuple((name, (0, 0, 0)) for name in names))

    def mode(components, shares, sharing):
        free = jax.tree.map(lambda a: jnp.zeros(a.shape, bool), components)
        limits = Limits(free, jnp.asarray(1e-6), sharing)
        step = jax.jit(lambda c: c.mode(c.statistics(x, shares), limits).parameters)
        return step(components)

    together, alone = mode(three, r, sharing), mode(one, jnp.ones((50, 1)), Sharing())
    for name in ("loc", "scale"):
        np.testing.assert_allclose(together[name], np.repeat(alone[name], 3), rtol=1e-12)
        assert abs(alone[name][0] - one.parameters[name][0]) > 1e-3


@pytest.mark.slow
def test_missing_values_are_filled_with_the_mean(x64):
    import numpyro.distributions as dist

    rng = np.random.default_rng(8)
    x = np.r_[rng.gamma(9, 1, (60, 2)), rng.gamma(9, 5, (60, 2))]
    holed = np.where(rng.random(x.shape) < 0.2, np.nan, x)
    kind = Wrapped.of(dist.Gamma)
    wrapped = gmm_jax.fit(holed, 2, family=kind).mixture
    values = wrapped.components.parameters
    gammas = Gamma(values["concentration"], values["rate"])
    ours = gmm_jax.Mixture(wrapped.weights, gammas).impute(holed)
    np.testing.assert_allclose(wrapped.impute(holed), ours, rtol=1e-9)
    assert np.isfinite(ours).all()


def test_what_has_no_mean_says_what_to_do():
    mixture = Mixture([1.0], Wrapped({"loc": jnp.zeros(1), "scale": jnp.ones(1)}, GUMBEL))
    with pytest.raises(TypeError, match="a NumPyro distribution that has a mean"):
        mixture.impute([0.3, np.nan])
