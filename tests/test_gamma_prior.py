"""The conditional of a gamma's shape and mean, against quadrature of its definition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, special, stats

from gmm_jax import Gamma, GammaInverseGamma, MixturePrior, default_prior, fit

PRIOR = (1.5, 0.05, 2.0, 3.0)
CASES = {
    "none": np.array([]),
    "one": np.array([0.3]),
    "few": np.array([2.1, 3.5, 1.7, 2.4, 2.2]),
    "equal": np.full(6, 4.0),
    "many": np.random.default_rng(0).gamma(10, 0.6, 100),
    "skewed": np.random.default_rng(1).gamma(0.4, 50, 60),
}


def exact(data):
    """Log shapes, and their density, by quadrature over log shape and log mean."""
    a, b, c, d = PRIOR
    u, v = np.linspace(-9, 8, 1201), np.linspace(-3, 7, 1201)
    shape, mean = np.exp(u)[:, None], np.exp(v)
    log_density = (
        stats.gamma.logpdf(shape, a, scale=1 / b) + u[:, None]
        + stats.invgamma.logpdf(mean, c, scale=d) + v
    )  # fmt: skip
    log_density = log_density - len(data) * (special.gammaln(shape) - shape * np.log(shape / mean))
    log_density += (shape - 1) * np.log(data).sum() - shape * data.sum() / mean
    top = log_density.max()
    table = np.exp(log_density - top)
    marginal = integrate.trapezoid(table, v, axis=1)
    total = integrate.trapezoid(marginal, u)
    means = integrate.trapezoid(table, u, axis=0) / total
    return (u, marginal / total), (v, means), np.log(total) + top


@pytest.mark.parametrize("name", CASES)
def test_draws_follow_the_exact_conditional(name, x64):
    data = CASES[name]
    prior = GammaInverseGamma(*PRIOR).spread(1)
    prior = jax.tree.map(jnp.asarray, prior)
    start = Gamma([3.0], [1.0])
    many = np.append(data, np.ones(100 - len(data)))  # one shape, one compilation
    share = (np.arange(100) < len(data)).astype(float)[:, None]
    after = AFTER(prior, start, jnp.asarray(many), jnp.asarray(share))
    drawn = DRAW(after, jax.random.split(jax.random.key(0), 10_000))
    shapes, means, _ = exact(data)
    own = np.log(np.asarray(drawn.shapes))[:, 0], np.log(np.asarray(drawn.expectation()))[:, 0]
    for (grid, density), values in zip((shapes, means), own, strict=True):
        cdf = integrate.cumulative_trapezoid(density, grid, initial=0)
        assert stats.kstest(values, lambda x, g=grid, c=cdf: np.interp(x, g, c)).pvalue > 1e-3


AFTER = jax.jit(
    lambda prior, start, data, share: prior.given(
        start, start.statistics(data, share), jnp.zeros(())
    )
)
DRAW = jax.jit(lambda after, keys: jax.vmap(after.sample)(keys))


def test_statistics_taken_elsewhere_say_the_same(x64):
    """In float32, too, and far from the data: the large terms cancel before they are summed."""
    data = jnp.asarray(CASES["many"])
    prior = jax.tree.map(jnp.asarray, GammaInverseGamma(*PRIOR).spread(1))
    ends = []
    for start, dtype in ((Gamma([10.0], [1.5]), "float64"), (Gamma([2.0], [0.1]), "float32")):
        own, there, x = jax.tree.map(lambda a, d=dtype: a.astype(d), (prior, start, data))
        table = AFTER(own, there, x, jnp.ones((len(x), 1), dtype)).log_shapes
        log_mass = np.asarray(table.log_density + table.rise / 2, float)[0]
        mass = special.softmax(log_mass)
        middles = float(table.low[0]) + (np.arange(len(mass)) + 0.5) * float(table.width[0])
        ends.append([mass @ middles, np.sqrt(mass @ middles**2 - (mass @ middles) ** 2)])
    np.testing.assert_allclose(ends[0], ends[1], rtol=0.02)


@pytest.mark.slow
def test_the_evidence_of_one_component_is_that_of_quadrature():
    data = CASES["few"]
    result = fit(data, 1, prior=MixturePrior(1, GammaInverseGamma(*PRIOR)), n_draws=1000)
    expected = exact(data)[2]
    np.testing.assert_allclose(result.log_evidence, expected, atol=5 * result.log_evidence_error)
    assert result.log_evidence_error < 0.02


def test_equal_points_have_a_posterior():
    """The gamma of the shapes ends it exponentially, whatever the points."""
    prior = MixturePrior(1, GammaInverseGamma(*PRIOR))
    assert prior.improper(np.full(50, 2.0), np.ones(50), 2) is None


@pytest.mark.parametrize(
    "data",
    [
        [3.0955558e-21, 6.6082314e-02, 4.3504246e-02, 4.2684916e-02, 2.715786e-36, 4.4843033e-02],
        np.full(6, np.finfo(np.float32).tiny),
    ],
)
def test_points_that_lie_many_powers_of_ten_apart_leave_draws_numbers(data):
    """Gamma components of small shapes have such points; every draw is above zero."""
    prior = default_prior(np.array([0.2, 0.5, 1.1, 2.3, 6.0]), 2, Gamma)
    data = np.asarray(data, np.float32)
    draws = fit(data, 2, prior=prior, method="gibbs", n_draws=4000).draws
    assert all(np.all(np.isfinite(a) & (a >= 0)) for a in jax.tree.leaves(draws))


@pytest.mark.parametrize("method", ["gibbs", "smc", "nuts"])
def test_means_given_shapes_that_are_held(method):
    """One component: its mean is inverse gamma, and the evidence is in closed form."""
    data, a = np.array([1.0, 1.3, 2.0, 4.0, 5.0, 5.5, 0.8]), 3.0
    prior = MixturePrior(1, GammaInverseGamma(2, 0.5, mean_shape=2, mean_rate=5))
    options = dict(prior=prior, method=method, fixed={"shapes": [a]}, n_draws=2000)
    result = fit(data, 1, **options)
    components = result.draws.components
    np.testing.assert_allclose(components.shapes, a, rtol=1e-6)
    c, d = 2 + a * len(data), 5 + a * data.sum()
    posterior = stats.invgamma(c, scale=d)
    means = np.ravel(components.expectation())
    assert means.mean() == pytest.approx(posterior.mean(), abs=0.15 * posterior.std())
    assert means.std() == pytest.approx(posterior.std(), rel=0.15)
    if method == "smc":
        exact = 2 * np.log(5) - special.gammaln(2) + special.gammaln(c) - c * np.log(d)
        exact += len(data) * (a * np.log(a) - special.gammaln(a)) + (a - 1) * np.log(data).sum()
        assert result.log_evidence == pytest.approx(exact, abs=5 * result.log_evidence_error)
