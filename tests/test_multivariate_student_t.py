"""Multivariate Student-t components, against scipy, quadrature and their likelihood's slope."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

import gmm_jax
from gmm_jax import Mixture, MultivariateStudentT, StudentT, em
from gmm_jax.families.limits import Limits, Sharing
from gmm_jax.plotting import drawn as pictured
from gmm_jax.priors.mixtures import MaximumLikelihood

MEANS = np.array([[-1.0, 2.0, 0.5], [4.0, 0.0, 1.0]])
TRILS = np.array(
    [[[0.7, 0, 0], [0.5, 1.5, 0], [-0.3, 0.2, 0.9]], [[1.2, 0, 0], [-0.4, 0.6, 0], [0.1, 0.5, 1.1]]]
)
MATRICES = TRILS @ TRILS.swapaxes(1, 2)
DFS = np.array([2.5, 8.0])
COMPONENTS = {"means": MEANS, "scale_trils": TRILS, "dfs": DFS}


def drawn(n=400, d=3, seed=0):
    rng = np.random.default_rng(seed)
    both = zip(MEANS[:, :d], MATRICES[:, :d, :d], DFS, strict=True)
    return np.concatenate(
        [stats.multivariate_t.rvs(*one, n // 2, random_state=rng) for one in both]
    )


def holed(data, share=0.25):
    holes = np.random.default_rng(1).random(data.shape) < share
    holes[: len(data) // 2, 0] = False
    return np.where(holes, np.nan, data)


def observed_log_density(point, mean, matrix, df):
    seen = ~np.isnan(point)
    if not seen.any():
        return 0.0
    return stats.multivariate_t.logpdf(point[seen], mean[seen], matrix[np.ix_(seen, seen)], df)


def test_density_is_that_of_what_was_observed(x64):
    data = holed(drawn(40))
    data[0] = np.nan
    expected = [
        [observed_log_density(x, *one) for one in zip(MEANS, MATRICES, DFS, strict=True)]
        for x in data
    ]
    got = Mixture([0.5, 0.5], MultivariateStudentT(**COMPONENTS)).log_joint(data)
    np.testing.assert_allclose(got, np.array(expected) - np.log(2), rtol=1e-10, atol=1e-10)


def test_many_degrees_of_freedom_keep_their_digits(dtype):
    """In float32 the difference of two log gamma functions would be off by a nat."""
    dfs, point = np.array([59.0, 61.0, 1e3, 1e6, 1e9]), np.array([0.3, 1.0, -0.5])
    components = MultivariateStudentT(np.zeros((5, 3)), np.eye(3)[None].repeat(5, 0), dfs)
    got = components.log_prob(jnp.asarray(point, dtype)[None])[0]
    expected = [stats.multivariate_t.logpdf(point, df=df, shape=np.eye(3)) for df in dfs[:3]]
    expected += [stats.norm.logpdf(point).sum()] * 2
    np.testing.assert_allclose(got, expected, atol=1e-5)
    if dtype == np.float64:
        np.testing.assert_allclose(got[:3], expected[:3], rtol=1e-12)


def test_expectations_are_integrals_over_the_precision(x64):
    """Given the precision all is normal, and its own density is known up to a constant."""
    data = holed(drawn(12))[3:9]
    data[-1] = np.nan
    mean, matrix, df = MEANS[0], MATRICES[0], DFS[0]
    grid = np.exp(np.linspace(-18, 6, 6000))
    sums = [0.0, np.zeros(3), np.zeros((3, 3)), 0.0]
    for x in data:
        o, m = np.flatnonzero(~np.isnan(x)), np.flatnonzero(np.isnan(x))
        within = matrix[np.ix_(o, o)]
        gain = matrix[np.ix_(m, o)] @ np.linalg.pinv(within)
        deviation, extra = np.nan_to_num(x - mean), np.zeros((3, 3))
        deviation[m] = gain @ deviation[o]
        extra[np.ix_(m, m)] = matrix[np.ix_(m, m)] - gain @ matrix[np.ix_(o, m)]
        squared = deviation[o] @ np.linalg.pinv(within) @ deviation[o] if o.size else 0.0
        log_mass = stats.gamma.logpdf(grid, df / 2, scale=2 / df) + np.log(grid)
        mass = special.softmax(log_mass + len(o) / 2 * np.log(grid) - grid * squared / 2)
        precision = mass @ grid
        sums[0] += precision
        sums[1] += precision * deviation
        # Precision times (deviation's product plus remaining covariance over the precision).
        sums[2] += precision * np.outer(deviation, deviation) + extra
        sums[3] += mass @ np.log(grid)
    one = MultivariateStudentT([mean], TRILS[:1], [df])
    got = one.incomplete().statistics(jnp.asarray(data), jnp.ones((6, 1)))
    np.testing.assert_allclose(got.counts, [6])
    for mine, expected in zip(got[1:], sums, strict=True):
        np.testing.assert_allclose(mine[0], expected, rtol=1e-6, atol=1e-6)


def test_whole_points_have_the_same_statistics_either_way(x64):
    components = MultivariateStudentT(**COMPONENTS)
    data, r = jnp.asarray(drawn(20)), jnp.asarray(np.random.default_rng(2).random((20, 2)))
    whole, incomplete = (c.statistics(data, r) for c in (components, components.incomplete()))
    for a, b in zip(whole, incomplete, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10)


SHARING = {
    "apart": Sharing(),
    "tied": Sharing((("scale_trils", (0, 0)), ("scales", (0, 0)))),
    "one df": Sharing((("dfs", (0, 0)),)),
    "one centre": Sharing((("means", (0, 0)),)),
}


def limits_of(mixture, sharing, held=""):
    named = jax.tree_util.tree_map_with_path(
        lambda path, a: jnp.full(a.shape, bool(held) and held in jax.tree_util.keystr(path)),
        mixture,
    )
    return Limits(named, jnp.asarray(1e-9), sharing)


@pytest.mark.parametrize("held", ["", "scale"])
@pytest.mark.parametrize("sharing", SHARING.values(), ids=SHARING.keys())
def test_one_feature_is_the_one_dimensional_family(sharing, held, x64):
    x = jnp.asarray(drawn(60)[:, 0])
    r = jnp.asarray(np.random.default_rng(3).dirichlet([1, 1], 60))
    line = StudentT(MEANS[:, 0], TRILS[:, 0, 0], DFS)
    plane = MultivariateStudentT(MEANS[:, :1], TRILS[:, :1, :1], DFS)
    np.testing.assert_allclose(plane.log_prob(x[:, None]), line.log_prob(x), rtol=1e-12)
    modes = (
        components.mode(components.statistics(points, r), limits_of(components, sharing, held))
        for components, points in ((line, x), (plane, x[:, None]))
    )
    for a, b in zip(*(jax.tree.leaves(mode) for mode in modes), strict=True):
        np.testing.assert_allclose(a.ravel(), b.ravel(), rtol=1e-9)


def climb(mixture, data, sharing, held, steps, incomplete=False):
    """Plain EM: the objective before every step, and where it ended."""
    table = em.Table(jnp.asarray(data)[None], jnp.ones((1, len(data))), incomplete=incomplete)
    limits = limits_of(mixture, sharing, held)

    def one(state, _):
        state, info = em.step(state, table, MaximumLikelihood(), limits)
        return state, info.objective[0]

    start = em.init(jax.tree.map(lambda a: a[None], mixture))
    end, objectives = jax.jit(lambda s: jax.lax.scan(one, s, None, steps))(start)
    return np.asarray(objectives), jax.tree.map(lambda a: a[0], end.mixtures)


CLIMB = "sharing", "held", "missing", "steps"
CLIMBS = {
    "apart": (SHARING["apart"], "", False, 500),
    "tied": (SHARING["tied"], "", False, 1500),
    "tied, dfs held": (SHARING["tied"], "dfs", True, 300),
    "one df, scales held": (SHARING["one df"], "scale", False, 500),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sharing", "held", "missing", "steps"), CLIMBS.values(), ids=CLIMBS.keys()
)
def test_every_step_of_em_climbs_to_where_the_likelihood_is_flat(
    sharing, held, missing, steps, x64
):
    """Flat by its gradient, which knows nothing of EM."""
    data = drawn(200, 2)
    data = holed(data) if missing else data
    trils = jnp.asarray(TRILS[:, :2, :2])
    trils = trils.at[1].set(trils[0]) if "scale_trils" in dict(sharing.groups) else trils
    dfs = jnp.full(2, 5.0) if "dfs" in dict(sharing.groups) else jnp.array([3.0, 12.0])
    start = Mixture([0.4, 0.6], MultivariateStudentT(MEANS[:, :2] + 0.7, trils, dfs))
    objectives, end = climb(start, data, sharing, held, steps, missing)
    assert np.diff(objectives).min() > -1e-12
    assert objectives[-1] > objectives[0] + 0.01

    def loss(free):
        components = free.constrained()
        seen = components.incomplete() if missing else components
        terms = jnp.log(end.weights) + seen.log_prob(jnp.asarray(data))
        return jax.nn.logsumexp(terms, 1).mean()

    slope = vars(jax.grad(loss)(end.components.unconstrained()))
    for name, value in slope.items():
        if not (held and held in name):
            shared = value.sum(0) if name in dict(sharing.groups) else value
            flat = jnp.tril(shared) if name == "scale_trils" else shared
            np.testing.assert_allclose(flat, 0, atol=2e-6, err_msg=name)


@pytest.mark.slow
def test_fit_finds_the_components():
    result = gmm_jax.fit(drawn(1500, 2, seed=5), 2, family=MultivariateStudentT, n_restarts=2)
    assert result.converged
    assert result.n_parameters == 1 + 4 + 6 + 2
    components = result.mixture.components
    np.testing.assert_allclose(components.means, MEANS[:, :2], atol=0.2)
    np.testing.assert_allclose(components.scale_matrices, MATRICES[:, :2, :2], atol=0.35)
    np.testing.assert_allclose(np.log(components.dfs), np.log(DFS), atol=0.5)


@pytest.mark.slow
def test_outliers_pull_the_mean_and_not_a_t():
    data = drawn(400, 2)[200:]
    data[::20] = [300, -300]
    assert np.linalg.norm(data.mean(0) - MEANS[1, :2]) > 15
    robust = gmm_jax.fit(data, 1, family=MultivariateStudentT, n_restarts=1).mixture.components
    np.testing.assert_allclose(robust.means[0], MEANS[1, :2], atol=0.3)


@pytest.mark.slow
def test_fit_of_incomplete_rows_is_an_optimum_of_what_was_observed(x64):
    data = holed(drawn(160, 2))
    result = gmm_jax.fit(data, 2, family=MultivariateStudentT, n_restarts=2)
    components = result.mixture.components
    assert not np.triu(components.scale_trils, 1).any()
    weights, means, dfs = (
        np.asarray(a) for a in (result.mixture.weights, components.means, components.dfs)
    )
    matrices = np.asarray(components.scale_matrices)

    def log_likelihood(means, dfs):
        each = zip(means, matrices, dfs, strict=True)
        terms = [[observed_log_density(x, *one) for x in data] for one in each]
        return np.log(weights @ np.exp(terms)).sum()

    best = log_likelihood(means, dfs)
    np.testing.assert_allclose(result.log_likelihood, best, rtol=1e-9)
    for factor in (0.9, 1.1):
        assert log_likelihood(means, dfs * [factor, 1]) < best
        assert log_likelihood(means * factor, dfs) < best
    filled = result.impute()
    np.testing.assert_array_equal(filled[~np.isnan(data)], data[~np.isnan(data)])
    assert np.isfinite(filled).all()
    # Pictures show scales, and not degrees of freedom.
    roots = np.sqrt(matrices.diagonal(0, 1, 2))
    np.testing.assert_allclose(pictured.parameters(result).scales[0], roots, rtol=1e-9)
    line = Mixture(weights, StudentT(means, 2.0, 9.0))
    line_result = dataclasses.replace(result, inside=line)
    expected = np.broadcast_to(2 * result.frame.unit, (1, 2, 2))
    np.testing.assert_allclose(pictured.parameters(line_result).scales, expected)


def test_drawn_distances_have_an_f_distribution():
    """The squared distance over d, in scales, is F with d and df degrees of freedom."""
    n = 4000
    components = MultivariateStudentT(**COMPONENTS)
    points = np.asarray(components.sample(jax.random.key(1), jnp.ones(n, int)), float)
    whitened = np.linalg.solve(TRILS[1], (points - MEANS[1]).T)
    assert stats.kstest((whitened**2).sum(0) / 3, stats.f(3, DFS[1]).cdf).pvalue > 1e-3
    cosine = whitened[0] * whitened[1] / (whitened**2).sum(0)
    assert abs(cosine.mean()) < 5 * cosine.std() / np.sqrt(n)


def test_marginals_and_conditionals_are_ratios_of_densities(x64):
    mixture = Mixture([0.3, 0.7], MultivariateStudentT(**COMPONENTS))
    known, rest = np.array([0.4, -1.0]), np.array([[0.1], [3.0], [-7.0]])
    points = np.concatenate([rest, np.tile(known, (3, 1))], 1)[:, [1, 0, 2]]
    dims = [0, 2]
    both = zip(mixture.weights, MEANS, MATRICES, DFS, strict=True)
    part = np.log(
        sum(
            w * stats.multivariate_t.pdf(known, m[dims], c[np.ix_(dims, dims)], v)
            for w, m, c, v in both
        )
    )
    np.testing.assert_allclose(mixture.marginal(dims).log_prob(known), part, rtol=1e-9)
    given = mixture.condition(dims, known)
    np.testing.assert_allclose(given.log_prob(rest), mixture.log_prob(points) - part, rtol=1e-9)
    line = mixture.marginal(1)
    assert isinstance(line.components, StudentT)
    expected = sum(
        w * stats.t.pdf(0.3, v, m[1], np.sqrt(c[1, 1]))
        for w, m, c, v in zip(mixture.weights, MEANS, MATRICES, DFS, strict=True)
    )
    np.testing.assert_allclose(line.log_prob(0.3), np.log(expected), rtol=1e-9)


MISTAKES = {
    "dfs": (lambda: MultivariateStudentT(MEANS, TRILS, [1.0, -2.0]), "dfs must be above zero"),
    "number of dfs": (lambda: MultivariateStudentT(MEANS, TRILS, [1.0] * 3), "as many dfs as comp"),
    "triangle": (lambda: MultivariateStudentT(MEANS, MATRICES, 3.0), "must be lower triangular"),
    "numbers": (
        lambda: gmm_jax.fit([1.0, 2.0, 3.0], 1, family=MultivariateStudentT),
        "use StudentT for single numbers",
    ),
    "matrix": (
        lambda: MultivariateStudentT.from_scale_matrices(MEANS, -MATRICES, 3.0),
        "must be symmetric and positive definite",
    ),
}


@pytest.mark.parametrize(("call", "message"), MISTAKES.values(), ids=MISTAKES.keys())
def test_mistakes_are_explained(call, message):
    with pytest.raises(ValueError, match=message):
        call()
