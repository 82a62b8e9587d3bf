"""The polish where EM is slow: at the optimum of many plain steps, with a fraction of the work."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize, stats

import gmm_jax
from gmm_jax import (
    DirichletNormalGamma,
    Mixture,
    MultivariateNormal,
    Normal,
    Poisson,
    StudentT,
    em,
    quasi_newton,
)
from gmm_jax.families.limits import ALONE, Limits, Sharing
from gmm_jax.priors.mixtures import MaximumLikelihood


def overlapping(n=600, apart=1.5, seed=0):
    rng = np.random.default_rng(seed)
    return np.where(rng.random(n) < 0.4, 0, apart) + rng.normal(size=n)


def limits_of(mixture, sharing=ALONE):
    held = jax.tree.map(lambda a: jnp.zeros(a.shape, bool), mixture)
    return Limits(held, jnp.asarray(1e-5, mixture.weights.dtype), sharing)


def table_of(x):
    return em.Table(jnp.asarray(x)[None], jnp.ones((1, len(x)), jnp.asarray(x).dtype))


START = Mixture([0.5, 0.5], Normal([-0.3, 1.6], [1.0, 1.0]))


@pytest.mark.slow
def test_the_top_is_that_of_thousands_of_em_steps(x64):
    x = overlapping()
    start = jax.tree.map(lambda a: a[None], START)
    plain = em.init(start)
    step = jax.jit(
        lambda state: em.step(state, table_of(x), MaximumLikelihood(), limits_of(START))[0]
    )
    for _ in range(6000):
        plain = step(plain)
    top = quasi_newton.climb(START, table_of(x), MaximumLikelihood(), limits_of(START), 500)
    assert top.converged
    assert top.evaluations < 6000 / 20
    assert top.objective * len(x) > float(plain.objective[0]) * len(x) - 1e-6


@pytest.mark.parametrize("prior", [False, True])
def test_the_gradient_is_that_of_the_objective(prior, x64):
    x = overlapping(700)
    given = DirichletNormalGamma(2, 0, 2, 3, 2).spread(2) if prior else MaximumLikelihood()
    top = quasi_newton.climb(START, table_of(x), given, limits_of(START), 500)

    def loss(v):
        w = 1 / (1 + np.exp(-v[0]))
        scales = np.exp(v[3:])
        density = w * stats.norm.pdf(x, v[1], scales[0])
        density += (1 - w) * stats.norm.pdf(x, v[2], scales[1])
        value = np.log(density).sum()
        if prior:
            value += stats.dirichlet.logpdf([w, 1 - w], [2, 2])
            value += stats.norm.logpdf(v[1:3], 0, 2).sum()
            value += stats.gamma.logpdf(scales, 3, scale=0.5).sum()
        return -value

    best = optimize.minimize(loss, [0, -0.3, 1.6, 0, 0], options={"gtol": 1e-8})
    np.testing.assert_allclose(top.objective * len(x), -best.fun, atol=1e-6)


def test_held_and_shared_parameters_stay_so(x64):
    x = overlapping()
    limits = limits_of(START, Sharing((("scales", (0, 0)),)))
    held = jax.tree.map(lambda a: a, limits.held)
    object.__setattr__(held.components, "means", jnp.array([True, False]))
    object.__setattr__(limits, "held", held)
    top = quasi_newton.climb(START, table_of(x), MaximumLikelihood(), limits, 500)
    assert top.mixture.components.means[0] == START.components.means[0]
    np.testing.assert_allclose(*top.mixture.components.scales, rtol=1e-12)
    assert abs(float(top.mixture.weights.sum()) - 1) < 1e-12


@pytest.mark.slow
def test_float32_reaches_the_optimum_of_float64():
    x = overlapping(2000)
    result = gmm_jax.fit(x.astype(np.float32), 2)
    with jax.enable_x64(True):
        exact = gmm_jax.fit(x, 2)
    assert result.converged
    np.testing.assert_allclose(result.log_likelihood, exact.log_likelihood, atol=2e-3)


def test_fits_of_slow_mixtures_say_who_finished(x64):
    result = gmm_jax.fit(overlapping(), 2)
    assert "finished by L-BFGS" in result.reason
    assert result.converged
    swift = gmm_jax.fit(np.r_[overlapping(50), 100 + overlapping(50)], 2)
    assert "L-BFGS" not in swift.reason


@pytest.mark.slow
@pytest.mark.parametrize("family", [Poisson, StudentT, MultivariateNormal])
def test_other_families_climb_too(family, x64):
    rng = np.random.default_rng(1)
    x = {
        Poisson: lambda: rng.poisson(np.where(rng.random(500) < 0.5, 3.0, 6.0)).astype(float),
        StudentT: lambda: rng.standard_t(4, 500) + 1.5 * (rng.random(500) < 0.5),
        MultivariateNormal: lambda: rng.normal(size=(500, 2)) + (rng.random((500, 1)) < 0.5) * 1.5,
    }[family]()
    result = gmm_jax.fit(x, 2, family=family, n_restarts=3)
    assert result.converged
    again = gmm_jax.fit(x, 2, family=family, start=result.mixture)
    assert again.log_likelihood < result.log_likelihood + 1e-5


def test_starts_can_be_given(x64):
    x = np.array([1.0, 1.2, 0.8, 5.0, 5.3, 4.9])
    start = Mixture([0.5, 0.5], Normal([5.0, 1.0], [1.0, 1.0]))
    from_mixture = gmm_jax.fit(x, 2, start=start)
    shares = np.eye(2)[[0, 0, 0, 1, 1, 1]]
    from_shares = gmm_jax.fit(x, 2, start=shares)
    for result in (from_mixture, from_shares):
        np.testing.assert_allclose(
            result.mixture.components.means, [x[:3].mean(), x[3:].mean()], atol=1e-6
        )
    with pytest.raises(ValueError, match="start must be a mixture of 2 components"):
        gmm_jax.fit(x, 2, start=Mixture([1.0], Normal([0.0], [1.0])))
    with pytest.raises(ValueError, match="responsibilities"):
        gmm_jax.fit(x, 2, start=shares[:4])
