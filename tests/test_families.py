"""What every component family must do. A new family is tested by adding it to FAMILIES."""

import re
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from gmm_jax import (
    Bernoulli,
    Exponential,
    Gamma,
    Mixture,
    MultivariateNormal,
    MultivariateStudentT,
    Normal,
    Poisson,
    StudentT,
    em,
)
from gmm_jax.families.limits import Limits, Outline
from gmm_jax.table import LARGE

OUTLINE = Outline(jnp.asarray(0.5), jnp.asarray(0.0), jnp.asarray(1.0))


class Case(NamedTuple):
    """A family, parameters for three components, and the same distributions in scipy."""

    family: Any
    parameters: dict[str, Any]
    reference: Any
    """From parameters (float64) to a frozen scipy distribution per component and feature."""
    collapses: bool = False
    """Whether equal points make a component shrink to the floor."""
    augmented: bool = False
    """Whether the mode is that of an augmented model, so that it improves without being best."""


def normals(means, scales):
    return stats.norm(means, scales)


class MultivariateNormals:
    """Scipy's multivariate normals, one a component, called like its other distributions."""

    def __init__(self, means, trils):
        self.means, self.covariances = means, trils @ np.swapaxes(trils, 1, 2)

    def logpdf(self, x):
        pairs = zip(self.means, self.covariances, strict=True)
        return np.stack([stats.multivariate_normal.logpdf(x[:, 0], m, c) for m, c in pairs], 1)

    def rvs(self, random_state, size):
        pairs = zip(self.means, self.covariances, strict=True)
        return np.stack([random_state.multivariate_normal(m, c, size[0]) for m, c in pairs], 1)

    def mean(self):
        return self.means

    def var(self):
        return self.covariances.diagonal(0, 1, 2)


class MultivariateTs:
    """Scipy's multivariate t distributions, one a component."""

    def __init__(self, means, trils, dfs):
        triples = zip(means, trils @ np.swapaxes(trils, 1, 2), dfs, strict=True)
        self.each = [stats.multivariate_t(m, c, v) for m, c, v in triples]
        self.dfs = dfs

    def logpdf(self, x):
        return np.stack([one.logpdf(x[:, 0]) for one in self.each], 1)

    def rvs(self, random_state, size):
        drawn = [one.rvs(size[0], random_state=random_state) for one in self.each]
        return np.stack(drawn, 1)

    def mean(self):
        return np.stack([one.loc for one in self.each])

    def var(self):
        shapes = np.stack([np.diag(one.shape) for one in self.each])
        return shapes * (self.dfs / (self.dfs - 2))[:, None]


FAMILIES = {
    "Normal": Case(Normal, dict(means=[-1.0, 0.5, 3.0], scales=[0.7, 1.2, 0.4]), normals, True),
    "Normal, features": Case(
        Normal,
        dict(
            means=[[-1.0, 2.0], [0.5, 0.0], [3.0, 1.0]],
            scales=[[0.7, 1.5], [1.2, 0.5], [0.4, 2.0]],
        ),
        normals,
        True,
    ),
    "Poisson": Case(Poisson, dict(rates=[1.5, 4.0, 11.0]), stats.poisson),
    "Poisson, features": Case(
        Poisson, dict(rates=[[1.5, 7.0], [4.0, 1.0], [11.0, 3.0]]), stats.poisson
    ),
    "Exponential": Case(Exponential, dict(rates=[2.0, 0.5, 0.1]), lambda r: stats.expon(0, 1 / r)),
    "Gamma": Case(
        Gamma,
        dict(shapes=[0.8, 3.0, 40.0], rates=[1.0, 0.5, 2.0]),
        lambda a, b: stats.gamma(a, 0, 1 / b),
        True,
    ),
    "Gamma, features": Case(
        Gamma,
        dict(shapes=[[0.8, 9.0], [3.0, 2.0], [40.0, 5.0]], rates=[[1.0, 3.0], [0.5, 1], [2, 0.1]]),
        lambda a, b: stats.gamma(a, 0, 1 / b),
        True,
    ),
    "StudentT": Case(
        StudentT,
        dict(means=[-1.0, 0.5, 3.0], scales=[0.7, 1.2, 0.4], dfs=[6.0, 9.0, 40.0]),
        lambda m, s, v: stats.t(v, m, s),
        True,
        True,
    ),
    "Bernoulli": Case(Bernoulli, dict(probs=[0.1, 0.55, 0.9]), stats.bernoulli),
    "Bernoulli, features": Case(
        Bernoulli, dict(probs=[[0.1, 0.8], [0.55, 0.5], [0.9, 0.3]]), stats.bernoulli
    ),
    "MultivariateNormal": Case(
        MultivariateNormal,
        dict(
            means=[[-1.0, 2.0], [0.5, 0.0], [3.0, 1.0]],
            scale_trils=[[[0.7, 0], [0.5, 1.5]], [[1.2, 0], [-0.4, 0.3]], [[0.4, 0], [0, 2.0]]],
        ),
        MultivariateNormals,
        True,
    ),
    "MultivariateStudentT": Case(
        MultivariateStudentT,
        dict(
            means=[[-1.0, 2.0], [0.5, 0.0], [3.0, 1.0]],
            scale_trils=[[[0.7, 0], [0.5, 1.5]], [[1.2, 0], [-0.4, 0.3]], [[0.4, 0], [0, 2.0]]],
            dfs=[6.0, 9.0, 40.0],
        ),
        MultivariateTs,
        True,
        True,
    ),
}


@pytest.fixture(params=FAMILIES.values(), ids=FAMILIES.keys())
def case(request) -> Case:
    return request.param


LINEAR = {name: case for name, case in FAMILIES.items() if hasattr(case.family, "features")}
"""Those whose log density is linear in features of the data."""


@pytest.fixture(params=LINEAR.values(), ids=LINEAR.keys())
def linear(request) -> Case:
    return request.param


def build(case: Case):
    return case.family(**{name: jnp.array(v) for name, v in case.parameters.items()})


def reference(case: Case):
    return case.reference(*(np.array(v) for v in case.parameters.values()))


def points_of(case: Case, n: int = 40) -> np.ndarray:
    """Points from all components in turn, drawn by scipy."""
    rng = np.random.default_rng(0)
    drawn = np.asarray(reference(case).rvs(random_state=rng, size=(n, *shape_of(case))), float)
    return drawn[np.arange(n), np.arange(n) % 3]


def shape_of(case: Case) -> tuple[int, ...]:
    return np.shape(next(iter(case.parameters.values())))


def shares(n: int = 40) -> np.ndarray:
    return np.random.default_rng(1).dirichlet(np.ones(3), n)


def assert_trees_close(a, b, **tolerance):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, **tolerance), a, b)
    assert jax.tree.structure(a) == jax.tree.structure(b)


def test_log_prob_is_scipys(case, dtype):
    points = points_of(case)
    frozen = reference(case)
    log_prob = frozen.logpdf if hasattr(frozen, "logpdf") else frozen.logpmf
    expected = log_prob(points[:, None]).reshape(40, 3, -1).sum(-1)
    got = build(case).log_prob(jnp.asarray(points, dtype))
    assert got.dtype == dtype
    tolerance = 2e-5 if dtype == np.float32 else 1e-12
    np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance)


def test_statistics_add_up_over_blocks(case, x64):
    components, points, r = build(case), jnp.asarray(points_of(case)), jnp.asarray(shares())
    parts = [components.statistics(points[i], r[i]) for i in (slice(13), slice(13, None))]
    whole = components.statistics(points, r)
    assert_trees_close(jax.tree.map(jnp.add, *parts), whole, rtol=1e-12, atol=1e-12)


def test_weight_three_is_three_copies(case, x64):
    components, points, r = build(case), jnp.asarray(points_of(case)), jnp.asarray(shares())
    weight = jnp.asarray(np.arange(40) % 4)
    weighted = components.statistics(points, r * weight[:, None])
    copied = components.statistics(
        jnp.repeat(points, weight, axis=0), jnp.repeat(r, weight, axis=0)
    )
    assert_trees_close(weighted, copied, rtol=1e-12, atol=1e-12)


def test_permuting_components_permutes_everything(case, x64):
    components, points, r = build(case), jnp.asarray(points_of(case)), jnp.asarray(shares())
    order = jnp.array([2, 0, 1])
    permuted = jax.tree.map(lambda a: a[order], components)
    np.testing.assert_array_equal(permuted.log_prob(points), components.log_prob(points)[:, order])
    statistics = components.statistics(points, r)
    assert_trees_close(
        permuted.statistics(points, r[:, order]),
        jax.tree.map(lambda a: a[order], statistics),
        rtol=1e-12,
    )
    free = jax.tree.map(lambda a: jnp.zeros(a.shape, bool), components)
    mode = components.mode(statistics, Limits(free, jnp.asarray(1e-6)))
    limits = Limits(free, jnp.asarray(1e-6))
    permuted_mode = permuted.mode(permuted.statistics(points, r[:, order]), limits)
    assert_trees_close(permuted_mode, jax.tree.map(lambda a: a[order], mode), rtol=1e-12)


def mode_and_objective(case, held=None):
    components, points, r = build(case), jnp.asarray(points_of(case)), jnp.asarray(shares())
    if held is None:
        held = jax.tree.map(lambda a: jnp.zeros(a.shape, bool), components)
    statistics = components.statistics(points, r)
    mode = components.mode(statistics, Limits(held, jnp.asarray(1e-6)))
    objective = jax.jit(lambda c: jnp.sum(r * c.log_prob(points)))
    return components, mode, objective


def assert_maximal(mode, objective, held):
    """No change of any free entry, small or large, raises the objective."""
    leaves, structure = jax.tree.flatten(mode)
    fixed = jax.tree.leaves(held)
    best = float(objective(mode))
    changes = 0
    for i, leaf in enumerate(leaves):
        for entry in np.ndindex(leaf.shape):
            if fixed[i][entry]:
                continue
            for factor in (0.5, 0.99, 0.9999, 1.0001, 1.01, 1.1):
                moved = leaf.at[entry].multiply(factor)
                value = objective(structure.unflatten([*leaves[:i], moved, *leaves[i + 1 :]]))
                assert float(value) <= best + 1e-10
                changes += 1
    assert changes


def test_mode_maximises_the_expected_log_likelihood(case, x64):
    components, mode, objective = mode_and_objective(case)
    held = jax.tree.map(lambda a: np.zeros(a.shape, bool), components)
    assert objective(mode) > objective(components)
    if not case.augmented:
        assert_maximal(mode, objective, held)


def test_mode_holds_what_is_held_and_maximises_over_the_rest(case, x64):
    components = build(case)
    mask = np.zeros(shape_of(case), bool)
    mask[1] = True
    leaves, structure = jax.tree.flatten(components)
    held = structure.unflatten([mask, *(np.zeros(leaf.shape, bool) for leaf in leaves[1:])])
    _, mode, objective = mode_and_objective(case, held)
    np.testing.assert_array_equal(jax.tree.leaves(mode)[0][1], leaves[0][1])
    if not case.augmented:
        assert_maximal(mode, objective, held)


def test_mode_leaves_a_component_without_points_where_it_is(case, x64):
    components, points = build(case), jnp.asarray(points_of(case))
    r = jnp.asarray(shares()).at[:, 1].set(0)
    free = jax.tree.map(lambda a: jnp.zeros(a.shape, bool), components)
    mode = components.mode(components.statistics(points, r), Limits(free, jnp.asarray(1e-6)))
    assert_trees_close(
        jax.tree.map(lambda a: a[1], mode), jax.tree.map(lambda a: a[1], components), rtol=0
    )
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(mode))


def test_samples_have_the_moments_of_their_component(case):
    n = 30_000
    components, frozen = build(case), reference(case)
    assignments = jnp.arange(n) % 3
    drawn = np.asarray(components.sample(jax.random.key(3), assignments), np.float64)
    assert drawn.shape == (n, *shape_of(case)[1:])
    for j in range(3):
        mine = drawn[np.asarray(assignments) == j]
        mean, variance = frozen.mean()[j], frozen.var()[j]
        error = np.sqrt(variance / len(mine))
        np.testing.assert_array_less(np.abs(mine.mean(0) - mean), 5 * error)
        fourth = np.mean((mine - mean) ** 4, 0)
        error = np.sqrt(np.maximum(fourth - variance**2, 1e-12) / len(mine))
        np.testing.assert_array_less(np.abs(np.mean((mine - mean) ** 2, 0) - variance), 5 * error)


def test_unconstrained_numbers_lead_back_whatever_they_are(case, x64):
    components = build(case)
    assert_trees_close(components.unconstrained().constrained(), components, rtol=1e-12)
    pushed = jax.tree.map(lambda a: a - 3.0, components.unconstrained())
    log_prob = pushed.constrained().log_prob(jnp.asarray(points_of(case)))
    assert np.isfinite(log_prob).all()


def test_affine_moves_the_components_with_the_data(case, x64):
    components, points = build(case), jnp.asarray(points_of(case))
    if not case.family.scaled:
        assert_trees_close(components.affine(3.0, 2.0), components, rtol=0)
        return
    features = int(np.prod(shape_of(case)[1:]))
    shift = 3.0 * case.family.centred
    moved = components.affine(shift, 2.0).log_prob(shift + 2.0 * points)
    expected = components.log_prob(points) - features * np.log(2)
    np.testing.assert_allclose(moved, expected, rtol=1e-12)


def test_around_starts_where_told(case):
    points = jnp.asarray(points_of(case)[:3])
    started = case.family.around(points, OUTLINE)
    assert started.n_components == 3
    assert started.event_shape == shape_of(case)[1:]
    own = started.log_prob(points)
    assert np.isfinite(own).all()
    np.testing.assert_array_equal(np.diagonal(own), own.max(1))


def test_order_has_one_number_per_component(case):
    first = np.asarray(reference(case).mean()).reshape(3, -1)[:, 0]
    np.testing.assert_allclose(build(case).order, first, rtol=1e-6)


def test_collapsed_is_said_of_components_at_the_floor_alone(case, x64):
    """Component 1 takes equal points alone; where there are scales they shrink to the floor."""
    floor = jnp.asarray(1e-3)
    components, points = build(case), jnp.asarray(points_of(case))
    assert not components.collapsed(floor).any()
    points = points.at[:10].set(points[1])
    taken = jnp.asarray(np.where(np.arange(40) < 10, 1, np.arange(40) % 2 * 2))
    free = jax.tree.map(lambda a: jnp.zeros(a.shape, bool), components)
    mode = components.mode(
        components.statistics(points, jax.nn.one_hot(taken, 3)), Limits(free, floor)
    )
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(mode))
    np.testing.assert_array_equal(mode.collapsed(floor), [False, case.collapses, False])


def test_features_give_the_same_densities_and_statistics(linear, x64):
    components, points, r = build(linear), jnp.asarray(points_of(linear)), jnp.asarray(shares())
    features = components.features(points)
    coefficients, constants = components.natural()
    log_prob = (coefficients @ features).T + constants
    np.testing.assert_allclose(log_prob, components.log_prob(points), rtol=1e-9, atol=1e-9)
    got = components.from_features(r.sum(0), r.T @ features.T)
    assert_trees_close(got, components.statistics(points, r), rtol=1e-9, atol=1e-9)


def test_features_are_used_only_where_they_keep_their_digits(linear):
    """Means far from zero, in scales, cost digits: the family must say so."""
    assert build(linear).features_suffice()
    assert not build(linear).affine(1e3, 1.0).features_suffice()


def test_large_data_take_the_same_step(case):
    """Float32, past the size from which on features are used."""
    n = LARGE
    points = jnp.asarray(np.resize(points_of(case), (n, *shape_of(case)[1:])), jnp.float32)
    mixture = jax.tree.map(lambda a: a[None], Mixture([0.2, 0.5, 0.3], build(case)))
    whole = em.expectation(mixture, em.Table(points[None], jnp.ones((1, n))))
    few = np.resize(np.arange(40), n)
    counts = jnp.asarray(np.bincount(few), jnp.float32)
    expected = em.expectation(mixture, em.Table(points[None, :40], counts[None]))
    assert_trees_close(whole, expected, rtol=2e-4, atol=0.05)


def test_works_under_jit_vmap_and_grad(case, x64):
    components, points = build(case), jnp.asarray(points_of(case))
    expected = components.log_prob(points)
    np.testing.assert_allclose(jax.jit(case.family.log_prob)(components, points), expected)
    batch = jax.tree.map(lambda a: jnp.stack([a, a]), components)
    np.testing.assert_allclose(
        jax.vmap(case.family.log_prob, (0, None))(batch, points)[1], expected
    )

    def total(components):
        return components.log_prob(points).sum()

    gradient, eps = jax.grad(total)(components), 1e-6
    leaves, structure = jax.tree.flatten(components)
    for i, leaf in enumerate(leaves):
        sides = [
            float(total(structure.unflatten([*leaves[:i], leaf.at[1].add(h), *leaves[i + 1 :]])))
            for h in (eps, -eps)
        ]
        slope = (sides[0] - sides[1]) / (2 * eps)
        np.testing.assert_allclose(jax.tree.leaves(gradient)[i][1].sum(), slope, rtol=1e-5)


def test_sums_over_its_support_to_one():
    probs = np.exp(build(FAMILIES["Bernoulli"]).log_prob(jnp.array([0.0, 1.0])))
    np.testing.assert_allclose(probs.sum(0), 1, rtol=1e-6)


def test_impossible_points_have_log_prob_minus_infinity():
    sure = Bernoulli([0.0, 1.0])
    np.testing.assert_array_equal(
        sure.log_prob(jnp.array([0.0, 1.0])), [[0, -np.inf], [-np.inf, 0]]
    )
    assert np.all(np.isneginf(sure.log_prob(jnp.array([0.5]))))
    gradient = jax.grad(lambda probs: Bernoulli(probs).log_prob(jnp.array([1.0]))[0, 1])
    assert np.isfinite(gradient(jnp.array([0.0, 1.0]))).all()


def test_data_is_checked():
    Normal.check(np.array([-1e9, 0.3]))
    Bernoulli.check(np.array([0.0, 1.0]))
    with pytest.raises(ValueError, match=re.escape("must be 0 or 1, got [2.0]")):
        Bernoulli.check(np.array([0.0, 2.0]))
    with pytest.raises(ValueError, match="must be rows of features"):
        MultivariateNormal.check(np.array([0.0, 2.0]))


def test_covariances_make_the_triangles_they_are_products_of(x64):
    covariances = np.array([[[2.0, 1.0], [1.0, 2.0]], [[1.0, 0.0], [0.0, 9.0]]])
    components = MultivariateNormal.from_covariances(np.zeros((2, 2)), covariances)
    np.testing.assert_allclose(components.covariances, covariances, rtol=1e-14)
    np.testing.assert_allclose(components.scale_trils, np.linalg.cholesky(covariances), rtol=1e-14)


BAD = {
    "negative scale": (lambda: Normal([0.0, 1.0], [1.0, -1.0]), "scales must be above zero"),
    "zero scale": (lambda: Normal([0.0, 1.0], 0.0), "scales must be above zero"),
    "other shapes": (lambda: Normal([0.0, 1.0], [1.0, 1.0, 1.0]), "scales has shape"),
    "NaN mean": (lambda: Normal([0.0, np.nan], 1.0), "means must be finite"),
    "scalar": (lambda: Normal(0.0, 1.0), "means needs one entry"),
    "empty": (lambda: Normal([], 1.0), "means needs one entry"),
    "three axes": (lambda: Normal(np.zeros((2, 2, 2)), 1.0), "means needs one entry"),
    "upper triangle": (
        lambda: MultivariateNormal([[0.0, 0.0]], [[[1.0, 2.0], [0.0, 1.0]]]),
        "scale_trils must be lower triangular",
    ),
    "negative diagonal": (
        lambda: MultivariateNormal([[0.0, 0.0]], [[[1.0, 0.0], [0.0, -1.0]]]),
        "with a positive diagonal",
    ),
    "wrong size": (
        lambda: MultivariateNormal([[0.0, 0.0]], np.eye(3)[None]),
        "scale_trils must be k matrices of d by d",
    ),
    "not definite": (
        lambda: MultivariateNormal.from_covariances([[0.0, 0]], [[[1.0, 2], [2, 1]]]),
        "covariances must be symmetric and positive definite",
    ),
    "not symmetric": (
        lambda: MultivariateNormal.from_covariances([[0.0, 0]], [[[1.0, 0.9], [0.1, 1]]]),
        "covariances must be symmetric and positive definite",
    ),
    "above one": (lambda: Bernoulli([0.2, 1.2]), "probs must lie between 0 and 1"),
    "below zero": (lambda: Bernoulli([-0.2]), "probs must lie between 0 and 1"),
}


@pytest.mark.parametrize(("make", "message"), BAD.values(), ids=BAD.keys())
def test_bad_parameters_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("means", [["a", "b"], [1 + 2j, 0], None, [[1.0], [1.0, 2.0]]])
def test_parameters_that_are_no_numbers_are_named(means):
    with pytest.raises(TypeError, match="means must be"):
        Normal(means, 1.0)


@pytest.mark.parametrize("size", [0.1, 3.0, 30.0, 1e3, 1e5])
def test_densities_keep_their_digits_where_counts_and_shapes_are_large(size):
    rng = np.random.default_rng(0)
    counts = np.append(rng.poisson(size, 50), 0).astype(np.float32)
    lengths = rng.gamma(size, 1, 50).astype(np.float32)
    rate = np.float64(np.float32(size))
    for family, data, expected in (
        (Poisson([size]), counts, stats.poisson(rate).logpmf(counts)),
        (Gamma([size], [1.0]), lengths, stats.gamma(rate).logpdf(lengths.astype(float))),
    ):
        found = family.log_prob(jnp.asarray(data))[:, 0]
        np.testing.assert_allclose(found, expected, rtol=2e-5, atol=3e-4)


def test_draws_of_gammas_with_small_shapes_stay_above_zero():
    """Most of them would round to 0, which is no amount."""
    points, _ = Mixture([1.0], Gamma([1e-3], [2.0])).sample(jax.random.key(0), 500)
    assert np.all(np.asarray(points) > 0)
    assert np.all(np.isfinite(Mixture([1.0], Gamma([1e-3], [2.0])).log_prob(points)))
