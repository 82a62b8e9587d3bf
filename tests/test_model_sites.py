"""Sites under vmap of every kind, among them each case in which genjax's own rule goes wrong."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from genjax import Cond, Scan, const, gen, modular_vmap, seed
from genjax.pjax import LoweringSamplePrimitiveToMLIRException

from gmm_jax import Mixture, Normal, models
from gmm_jax._pytree import rebuild
from gmm_jax.distributions import IndependentNormal
from gmm_jax.models import keyed_distribution, site

KEY = jax.random.key(0)

spread = keyed_distribution(
    lambda key, mean, scales: mean + scales * jax.random.normal(key, jnp.shape(scales)),
    lambda value, mean, scales: jax.scipy.stats.norm.logpdf(value, mean, scales).sum(),
    name="spread",
)


def repeated(draw, n=3000):
    return np.asarray(jax.jit(jax.vmap(seed(draw)))(jax.random.split(KEY, n)))


def assert_independent_normals(draws, means, scales):
    """Mean, spread and correlation of all entries, within five standard errors."""
    n, flat = len(draws), ((draws - means) / scales).reshape(len(draws), -1)
    np.testing.assert_allclose(flat.mean(0), 0, atol=5 / np.sqrt(n))
    np.testing.assert_allclose(flat.var(0), 1, atol=5 * np.sqrt(2 / n))
    correlations = np.corrcoef(flat.T)[np.triu_indices(flat.shape[1], 1)]
    assert np.abs(correlations).max() < 5 / np.sqrt(n)


MEANS, SCALES = jnp.array([0.0, 100.0, 200.0]), jnp.array([1.0, 2.0, 3.0])


def test_a_mean_for_each_row_beside_shared_scales():
    draws = repeated(lambda: spread.vmap(in_axes=(0, None)).simulate(MEANS, SCALES).get_choices())
    assert_independent_normals(draws, MEANS[:, None], SCALES)


def test_rows_of_means_beside_a_scale_for_each_row():
    means = jnp.arange(9.0).reshape(3, 3)
    both = IndependentNormal(means, SCALES)
    draws = repeated(lambda: site.vmap(in_axes=(0,)).simulate(both).get_choices())
    assert_independent_normals(draws, means, SCALES[:, None])
    value = jnp.asarray(draws[0])
    rows = [
        IndependentNormal(mean, jnp.full(3, scale)).log_prob(v)
        for mean, scale, v in zip(means, SCALES, value, strict=True)
    ]
    np.testing.assert_allclose(site.vmap(in_axes=(0,)).assess(value, both)[0], sum(rows), rtol=1e-5)


def test_arguments_batched_on_their_second_axis_or_not_at_all():
    axes = rebuild(IndependentNormal, mean=1, scale=None)
    means = jnp.arange(6.0).reshape(3, 2)
    draws = repeated(
        lambda: site.vmap(in_axes=(axes,)).simulate(IndependentNormal(means, SCALES)).get_choices()
    )
    assert_independent_normals(draws, means.T, SCALES)


def test_nested_rows_keep_to_their_particle():
    """As many particles as rows: each row must see the argument of its own particle."""
    arguments = 10.0 * jnp.arange(4)

    @gen
    def rows(mean):
        return spread.vmap(in_axes=None, axis_size=4)(mean, jnp.ones(2)) @ "x"

    draws = repeated(lambda: modular_vmap(lambda u: rows.simulate(u)["x"])(arguments))
    assert draws.shape == (3000, 4, 4, 2)
    assert_independent_normals(draws, arguments[:, None, None], 1)


def test_three_levels_of_rows():
    means = jnp.arange(24.0).reshape(2, 3, 4)

    def inner(m):
        return spread.sample(m, jnp.ones(()))

    draws = repeated(lambda: modular_vmap(modular_vmap(modular_vmap(inner), in_axes=1))(means))
    assert_independent_normals(draws, np.swapaxes(means, 1, 2), 1)


def test_rows_without_arguments():
    constant = keyed_distribution(jax.random.normal, jax.scipy.stats.norm.logpdf)
    nested = constant.vmap(in_axes=None, axis_size=2).vmap(in_axes=None, axis_size=3)
    assert_independent_normals(
        repeated(lambda: nested.simulate().get_choices()), np.zeros((3, 2)), 1
    )


def test_a_sampler_that_picks_by_index_uses_its_own_row():
    means = np.array([[1.0, 100.0], [2.0, 200.0], [3.0, 300.0]])

    @gen
    def row(weights, means):
        return models.point(weights, Normal(means, jnp.ones(2))) @ "point"

    several = row.vmap(in_axes=(None, 0))

    def simulate(key):
        return seed(several.simulate)(key, jnp.array([0.5, 0.5]), means).get_choices()

    points = jax.jit(jax.vmap(simulate))(jax.random.split(KEY, 3000))["point"]
    noise = points["x"] - means[np.arange(3), points["z"]]
    assert_independent_normals(np.asarray(noise), 0, 1)


def test_mixture_regression():
    """The marginalised mixture under vmap, its means a line for each component."""
    weights, slopes = jnp.array([0.3, 0.7]), jnp.array([-1.0, 2.0])
    times = jnp.array([1.0, 2.0, 5.0])

    @gen
    def row(time, slopes):
        return models.marginal_mixture(weights, Normal(slopes * time, jnp.ones(2))) @ "y"

    @gen
    def regression(slopes):
        return row.vmap(in_axes=(0, None))(times, slopes) @ "obs"

    draws = repeated(lambda: regression.simulate(slopes)["obs"]["y"])
    mixtures = [Mixture(weights, Normal(slopes * time, jnp.ones(2))) for time in times]
    means = np.array([weights @ (slopes * time) for time in times])
    variances = 1 + np.array([weights @ (slopes * time) ** 2 for time in times]) - means**2
    np.testing.assert_array_less(np.abs(draws.mean(0) - means), 5 * np.sqrt(variances / 3000))
    np.testing.assert_allclose(draws.var(0), variances, rtol=0.1)
    y = jnp.array([0.5, -2.0, 9.0])

    def log_density(slopes):
        return regression.assess({"obs": {"y": y}}, slopes)[0]

    expected = sum(mixture.log_prob(value) for mixture, value in zip(mixtures, y, strict=True))
    np.testing.assert_allclose(log_density(slopes), expected, rtol=1e-6)
    shares = np.array([m.responsibilities(value) for m, value in zip(mixtures, y, strict=True)])
    exact = (shares * (y[:, None] - slopes * times[:, None]) * times[:, None]).sum(0)
    np.testing.assert_allclose(jax.grad(log_density)(slopes), exact, rtol=1e-5)


def test_draws_in_scan_and_cond_of_genjax():
    @gen
    def walk(position, step):
        position = spread(position + step, jnp.ones(())) @ "position"
        return position, position

    positions = repeated(
        lambda: modular_vmap(
            lambda start: Scan(walk, length=const(3)).simulate(start, jnp.ones(3)).get_choices()
        )(jnp.array([0.0, 50.0]))["position"]
    )
    starts = np.broadcast_to(np.array([0.0, 50.0])[:, None], (3000, 2, 1))
    assert_independent_normals(np.diff(positions, axis=2, prepend=starts), 1, 1)
    near, far = (gen(lambda mean=mean: spread(mean, 1.0) @ "x") for mean in (0.0, 100.0))
    choose = Cond(near, far)
    draws = repeated(
        lambda: modular_vmap(lambda check: choose.simulate(check).get_choices()["x"])(
            jnp.array([True, False])
        )
    )
    assert_independent_normals(draws, np.array([0.0, 100.0]), 1)


def test_pytrees_static_arguments_and_what_the_sampler_refers_to():
    @gen
    def model(offset):
        pair = keyed_distribution(
            lambda key, n, scale=1.0: {
                "many": offset + scale * jax.random.normal(key, (n,)),
                "first": (jnp.zeros(n, int), offset),
            },
            lambda value, n, scale=1.0: -0.5 * ((value["many"] - offset) ** 2).sum(),
        )
        return pair(2, scale=0.5) @ "pair"

    def simulate():
        return modular_vmap(lambda u: model.simulate(u).get_retval())(jnp.array([0.0, 9.0]))

    value = seed(simulate)(KEY)
    assert value["first"][0].shape == (2, 2)
    np.testing.assert_array_equal(value["first"][1], [0.0, 9.0])
    draws = repeated(lambda: simulate()["many"])
    assert_independent_normals(draws, np.array([[0.0], [9.0]]), 0.5)


def test_equal_keys_give_equal_draws_and_gradients_flow_through_them():
    def draw(key, mean):
        return seed(spread.sample)(key, mean, jnp.ones(2))

    np.testing.assert_allclose(draw(KEY, 1.0), jax.jit(draw)(KEY, 1.0), rtol=1e-6)
    assert not np.any(draw(KEY, 1.0) == draw(jax.random.key(1), 1.0))
    slopes = jax.jacobian(lambda scales: seed(spread.sample)(KEY, 0.0, scales))(jnp.ones(2))
    np.testing.assert_allclose(slopes, np.diag(draw(KEY, 0.0)), rtol=1e-6)


def test_draws_without_a_key_are_errors_under_transformations():
    def draw(mean):
        return spread.sample(mean, jnp.ones(2))

    assert not np.any(draw(0.0) == draw(0.0))
    with pytest.raises(LoweringSamplePrimitiveToMLIRException, match="spread draws without a key"):
        jax.jit(draw)(0.0)
    for transformed in (jax.vmap(draw), jax.jacobian(draw)):
        # As JAX raises for a primitive that has no rule for a transformation.
        with pytest.raises(NotImplementedError, match="spread draws without a key"):
            transformed(jnp.zeros(2))


def test_a_log_density_must_be_one_number_and_is_never_nan():
    vector = keyed_distribution(lambda key: jnp.zeros(3), lambda value: value, name="vector")
    with pytest.raises(ValueError, match=r"log density of vector has shape \(3,\)"):
        vector.assess(jnp.zeros(3))
    undefined = keyed_distribution(lambda key, u: u, lambda value, u: jnp.log(value))
    assert undefined.assess(-1.0, 0.0)[0] == -np.inf
    assert jax.jit(lambda value: undefined.assess(value, 0.0)[0])(-1.0) == -np.inf
    np.testing.assert_allclose(jax.grad(lambda v: undefined.assess(v, 0.0)[0])(2.0), 0.5)
    assert site.assess(jnp.ones(2), IndependentNormal(jnp.zeros(2), -jnp.ones(2)))[0] == -np.inf
