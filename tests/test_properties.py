"""What must hold whatever the numbers: hypothesis looks for some for which it does not.

Values are drawn, never shapes, so that each program is compiled once.
"""

import functools
import itertools
import warnings

import hypothesis.extra.numpy as drawn
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import Phase, given, settings
from scipy import special, stats

import gmm_jax
from gmm_jax import Mixture, MixturePrior, MultivariateNormal, Normal, NormalInverseWishart, em
from gmm_jax._data import Frame
from gmm_jax._numerics import categorical, log_sum_exp
from gmm_jax._pytree import rebuild
from gmm_jax._table import read_columns
from gmm_jax.families.limits import Limits
from gmm_jax.sklearn import GaussianMixture
from gmm_jax.table import Table

K, D, N = 3, 2, 16
APART = np.random.default_rng(0).normal(0, 2, (N, D))
"""Keeps points from being equal, which would be another question."""
PRIOR = MixturePrior(2, NormalInverseWishart([1.0, -1], 0.5, 4, [[1, 0.3], [0.3, 2]]))
"""Keeps components from falling onto a point."""
ORDERS = list(itertools.permutations(range(K)))
thoroughly = settings(
    derandomize=True, database=None, deadline=None, max_examples=20, phases=[Phase.generate]
)


@pytest.fixture(scope="module", autouse=True)
def double():
    """Double precision for all of these."""
    with jax.enable_x64(True):
        yield


def numbers(shape, low, high):
    return drawn.arrays(np.float64, shape, elements=st.floats(low, high))


@st.composite
def mixtures(draw) -> Mixture:
    """Correlated normals of any shares, places and shapes."""
    weights, means = draw(numbers(K, 0.01, 1)), draw(numbers((K, D), -5, 5))
    widths, leans = np.exp(draw(numbers((K, D), -1, 1))), draw(numbers(K, -1, 1))
    trils = widths[:, :, None] * np.eye(D)
    trils[:, 1, 0] = leans
    return Mixture(weights / weights.sum(), MultivariateNormal(means, trils))


points = numbers((N, D), -3, 3).map(lambda x: x + APART)
shares = numbers((N, K), 0.01, 1).map(lambda x: x / x.sum(1, keepdims=True))
orders = st.sampled_from(ORDERS).map(np.array)
property_of = functools.partial(given, mixtures(), points)


@jax.jit
def step(mixture, data, weight, prior):
    """One step of EM: the mixture after it, and the objective before."""
    start = jax.tree.map(lambda a: a[None], mixture)
    held = jax.tree.map(lambda a: jnp.zeros(a.shape, bool), mixture)
    limits = Limits(held, jnp.asarray(1e-9))
    state, _ = em.step(em.init(start), Table(data, weight), prior, limits)
    return jax.tree.map(lambda a: a[0], (state.mixtures, state.objective))


def known():
    """The prior, written out in double precision."""
    return jax.tree.map(lambda a: jnp.asarray(a, float), PRIOR.spread(K, (D,)))


def take_step(mixture, data, weight=None, n_blocks=1, prior=None):
    weight = np.ones(len(data)) if weight is None else weight
    prior = known() if prior is None else prior
    return step(mixture, data.reshape(n_blocks, -1, D), weight.reshape(n_blocks, -1), prior)


def assert_same(a, b, tolerance=1e-8):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, tolerance, tolerance), a, b)


def moved(mixture, shift, scale):
    return rebuild(
        Mixture, weights=mixture.weights, components=mixture.components.affine(shift, scale)
    )


@property_of(orders)
@thoroughly
def test_densities_are_scipys_and_responsibilities_are_shares(mixture, data, order):
    trils = np.asarray(mixture.components.scale_trils)
    expected = np.stack(
        [
            np.log(w) + stats.multivariate_normal(m, L @ L.T).logpdf(data)
            for w, m, L in zip(mixture.weights, mixture.components.means, trils, strict=True)
        ],
        1,
    )
    np.testing.assert_allclose(mixture.log_joint(data), expected, 1e-9, 1e-9)
    found = mixture.responsibilities(data)
    np.testing.assert_allclose(found, special.softmax(expected, 1), atol=1e-9)
    np.testing.assert_allclose(found.sum(1), 1, rtol=1e-12)
    np.testing.assert_allclose(mixture.log_prob(data), special.logsumexp(expected, 1), 1e-9, 1e-9)
    permuted = jax.tree.map(lambda a: a[order], mixture)
    np.testing.assert_allclose(permuted.responsibilities(data), found[:, order], atol=1e-12)
    np.testing.assert_array_equal(mixture.responsibilities(data[::-1]), found[::-1])
    with jax.enable_x64(False):
        single = jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), mixture).log_prob(data)
    np.testing.assert_allclose(single, mixture.log_prob(data), 1e-4, 1e-3)


@property_of(numbers(D, -100, 100), numbers(D, 0.01, 100))
@thoroughly
def test_densities_and_steps_move_with_the_unit(mixture, data, shift, scale):
    elsewhere, there = moved(mixture, shift, scale), shift + scale * data
    expected = mixture.log_prob(data) - np.log(scale).sum()
    np.testing.assert_allclose(elsewhere.log_prob(there), expected, 1e-8, 1e-8)
    after, _ = take_step(mixture, data)
    now, _ = take_step(elsewhere, there, prior=known().affine(shift, scale))
    assert_same(now, moved(after, shift, scale), 1e-6)


@property_of()
@thoroughly
def test_a_joint_density_is_marginal_times_conditional(mixture, data):
    marginal = mixture.marginal(0)
    first, second = data.T
    each = jax.vmap(lambda x, y: mixture.condition(0, x).log_prob(y[None]))(first, second)
    np.testing.assert_allclose(
        mixture.log_prob(data), marginal.log_prob(first) + each.ravel(), 1e-8, 1e-8
    )
    holed = np.stack([first, np.full(N, np.nan)], 1)
    np.testing.assert_allclose(mixture.log_prob(holed), marginal.log_prob(first), 1e-8, 1e-8)


@given(mixtures(), numbers(5, 0.001, 0.999))
@thoroughly
def test_densities_integrate_to_one_and_quantiles_undo_shares(mixture, q):
    one, grid = mixture.marginal(1), np.linspace(-40, 40, 8001)
    density = np.exp(one.log_prob(grid))
    np.testing.assert_allclose(np.trapezoid(density, grid), 1, rtol=1e-9)
    up_to = int(np.searchsorted(grid, one.icdf(q[0])))
    below = np.trapezoid(density[: up_to + 1], grid[: up_to + 1])
    np.testing.assert_allclose(one.cdf(grid[up_to]), below, rtol=1e-4, atol=1e-8)
    np.testing.assert_allclose(one.cdf(one.icdf(q)), q, rtol=1e-9)


@property_of(drawn.arrays(np.int64, N, elements=st.integers(0, 3)), orders)
@thoroughly
def test_steps_climb_and_count_rows_as_often_as_they_stand(mixture, data, counts, order):
    counts[:K] = 1
    weight = counts.astype(float)
    after, objective = take_step(mixture, data, weight)
    path = [objective]
    for _ in range(3):
        further, objective = take_step(after, data, weight)
        path.append(objective)
        permuted, _ = take_step(jax.tree.map(lambda a: a[order], after), data, weight)
        assert_same(permuted, jax.tree.map(lambda a: a[order], further), 1e-7)
        after = further
    assert np.diff(path).min() > -1e-9
    copies, copy = np.tile(data, (3, 1)), np.repeat(np.arange(3), N)
    real = (copy < np.tile(counts, 3)).astype(float)
    once, _ = take_step(mixture, data, weight)
    assert_same(take_step(mixture, copies, real, n_blocks=3)[0], once, 1e-7)


@jax.jit
def learn(prior, components, data, shares):
    """What is known of components after points, whose statistics are taken about `components`."""
    return prior.given(components, components.statistics(data, shares), jnp.zeros(()))


@given(mixtures(), mixtures(), points, shares)
@thoroughly
def test_what_is_learnt_does_not_depend_on_the_order(mixture, other, data, shares):
    prior = known().components
    whole = learn(prior, mixture.components, data, shares)
    elsewhere = learn(prior, other.components, data, shares)
    assert_same(elsewhere, whole, 1e-7)
    halves = [(data[i::2], shares[i::2]) for i in range(2)]
    for parts in (halves, halves[::-1]):
        after = prior
        for part in parts:
            after = learn(after, mixture.components, *part)
        assert_same(after, whole, 1e-7)


@given(mixtures())
@settings(thoroughly, max_examples=10)
def test_files_keep_every_digit(tmp_path_factory, mixture):
    path = tmp_path_factory.mktemp("kept") / "mixture.npz"
    mixture.save(path)
    again = gmm_jax.load(path)
    assert jax.tree.structure(again) == jax.tree.structure(mixture)
    jax.tree.map(np.testing.assert_array_equal, again, mixture)


ANY = st.floats(allow_nan=False, allow_infinity=False)
LIKELY = st.floats(-1e6, 1e6) | st.integers(-3, 3).map(float)
any_data = drawn.arrays(np.float64, N, elements=LIKELY) | drawn.arrays(np.float64, N, elements=ANY)


@pytest.mark.slow
@given(any_data)
@settings(thoroughly, max_examples=100)
def test_fits_are_numbers_or_refused(data):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            result = gmm_jax.fit(data, 2)
        except ValueError:
            return
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(result.mixture))
    np.testing.assert_allclose(result.mixture.weights.sum(), 1, rtol=1e-9)
    np.testing.assert_allclose(result.responsibilities().sum(1), 1, rtol=1e-9)
    np.testing.assert_allclose(result.log_prob().sum(), result.log_likelihood, 1e-6, 1e-6)


@pytest.mark.slow
@given(any_data)
@settings(thoroughly, max_examples=100)
def test_estimators_fit_or_refuse(data):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            model = GaussianMixture(2, random_state=0).fit(data[:, None])
        except ValueError:
            return
    for name in ("weights_", "means_", "covariances_", "precisions_", "lower_bound_"):
        assert np.isfinite(getattr(model, name)).all()
    np.testing.assert_allclose(model.predict_proba(data[:, None]).sum(1), 1, rtol=1e-9)
    score = model.score(data[:, None])
    assert score == pytest.approx(model.lower_bound_, rel=1e-3, abs=1e-3)


@given(any_data)
@thoroughly
def test_frames_lead_back(data):
    data = data / 1e10
    frame = Frame.of(data, np.ones(N))
    largest = np.abs(data).max()
    back = frame.centre + frame.unit * ((data - frame.centre) / frame.unit)
    np.testing.assert_allclose(back, data, rtol=0, atol=4e-16 * largest)


@given(any_data, st.sampled_from(",;\t"), st.booleans(), st.sampled_from(["\n", "\r\n"]))
@thoroughly
def test_tables_are_read_as_they_were_written(tmp_path_factory, data, separator, named, end):
    table = data.reshape(-1, D)
    lines = ["height" + separator + "weight"] * named
    lines += [separator.join(map(repr, row)) for row in table.tolist()]
    path = tmp_path_factory.mktemp("tables") / "table.csv"
    path.write_text(end.join(lines), newline="")
    found, names = read_columns(str(path))
    np.testing.assert_array_equal(found, table)
    assert names == (["height", "weight"] if named else ["1", "2"])


@given(numbers(N, 0, 0.999999), numbers((N, K), -50, 50), st.booleans())
@thoroughly
def test_sums_and_draws_of_logs(uniform, logs, impossible):
    if impossible:
        logs[:, 1] = -np.inf
        logs[0] = -np.inf
    np.testing.assert_allclose(
        log_sum_exp(jnp.asarray(logs), 1), special.logsumexp(logs, 1), 1e-12, 1e-14
    )
    logs[0] = 0
    edges = np.cumsum(special.softmax(logs, 1), 1)
    found = np.asarray(categorical(jnp.asarray(uniform), jnp.asarray(logs)))
    exact = np.array(
        [np.searchsorted(e, u, side="right") for e, u in zip(edges, uniform, strict=True)]
    )
    near = np.abs(edges - uniform[:, None]).min(1) < 1e-12
    assert np.array_equal(found[~near], np.minimum(exact, K - 1)[~near])


@given(numbers(K, -5, 5), numbers(K, 0.1, 3), numbers(K, 0.01, 1))
@thoroughly
def test_all_points_of_equal_density_are_found(means, scales, weights):
    mixture = Mixture(weights / weights.sum(), Normal(means, scales))
    edges = np.asarray(mixture.decision_boundaries())
    logs = np.sort(np.asarray(mixture.log_joint(edges)), 1) if len(edges) else np.zeros((0, K))
    np.testing.assert_allclose(logs[:, -1], logs[:, -2], atol=1e-5)
    grid = np.linspace(-30, 30, 2001)
    winners = np.asarray(mixture.assign(grid))
    for i in np.flatnonzero(np.diff(winners)):
        assert np.any((edges >= grid[i] - 1e-9) & (edges <= grid[i + 1] + 1e-9))
