"""Distributions from elsewhere, fitted by Newton steps, against families of our own and scipy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import gmm_jax
from gmm_jax import Normal, Wrapped


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
