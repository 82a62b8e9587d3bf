"""Covariance structures: EM's iterates against scikit-learn's, and what is shared stays shared."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

import gmm_jax
from gmm_jax import MultivariateNormal, Normal, em
from gmm_jax._numerics import triangle_inverse
from gmm_jax._pytree import rebuild
from gmm_jax.families.limits import Limits, Sharing
from gmm_jax.mixture import Mixture
from gmm_jax.priors.mixtures import MaximumLikelihood

K, D = 3, 2
SHARING = {
    "full": (MultivariateNormal, Sharing()),
    "tied": (MultivariateNormal, Sharing((("scale_trils", (0,) * K),))),
    "diag": (Normal, Sharing()),
    "spherical": (Normal, Sharing(features=frozenset({"scales"}))),
}


def data(n):
    rng = np.random.default_rng(0)
    centres = np.array([[0.0, 0.0], [3.0, 1.0], [1.0, 4.0]])
    mixing = np.array([[1.0, 0.4], [0.0, 0.8]])
    return centres[rng.integers(0, K, n)] + rng.normal(size=(n, D)) @ mixing


def precisions(kind):
    return {
        "full": np.broadcast_to(np.eye(D), (K, D, D)).copy(),
        "tied": np.eye(D),
        "diag": np.ones((K, D)),
        "spherical": np.ones(K),
    }[kind]


def covariances(components, kind):
    if kind in ("full", "tied"):
        matrices = components.covariances
        return matrices if kind == "full" else matrices[0]
    return components.scales**2 if kind == "diag" else components.scales[:, 0] ** 2


@pytest.mark.parametrize("n", [200, 1024])
@pytest.mark.parametrize("kind", SHARING)
def test_iterates_are_scikit_learns(kind, n, x64):
    """From 512 rows on, products with features take the place of differences."""
    x, steps = data(n), 12
    means = np.array([[0.0, 0.5], [2.0, 1.0], [1.0, 3.0]])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        theirs = GaussianMixture(
            K, covariance_type=kind, tol=0, reg_covar=0, max_iter=steps,
            weights_init=np.full(K, 1 / K), means_init=means, precisions_init=precisions(kind),
        ).fit(x)  # fmt: skip
    family, sharing = SHARING[kind]
    components = (
        family(means, np.broadcast_to(np.eye(D), (K, D, D)))
        if family is MultivariateNormal
        else family(means, np.ones((K, D)))
    )
    mixture = rebuild(Mixture, weights=jnp.full(K, 1 / K), components=components)
    limits = Limits(
        jax.tree.map(lambda a: jnp.zeros(a.shape, bool), mixture), jnp.asarray(1e-9), sharing
    )
    table = em.Table(jnp.asarray(x)[None], jnp.ones((1, n))).with_constants(components, sharing)
    step = jax.jit(lambda state: em.step(state, table, MaximumLikelihood(), limits)[0])
    state = em.init(jax.tree.map(lambda a: a[None], mixture))
    for _ in range(steps):
        state = step(state)
    ours = jax.tree.map(lambda a: a[0], state.mixtures)
    np.testing.assert_allclose(ours.weights, theirs.weights_, rtol=1e-8)
    np.testing.assert_allclose(ours.components.means, theirs.means_, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(
        covariances(ours.components, kind), theirs.covariances_, rtol=1e-8, atol=1e-8
    )


@pytest.mark.parametrize("kind", SHARING)
def test_criteria_count_what_is_free(kind):
    x = data(300)
    result = gmm_jax.fit(x, K, covariance_type=kind, n_restarts=2)
    theirs = GaussianMixture(K, covariance_type=kind).fit(x)
    assert result.n_parameters == theirs._n_parameters()


def test_tied_diagonals_are_one_for_all(x64):
    x = data(400)
    result = gmm_jax.fit(x, K, covariance_type="tied_diag")
    scales = np.asarray(result.mixture.components.scales)
    np.testing.assert_allclose(scales, np.broadcast_to(scales[0], scales.shape), rtol=1e-12)
    shares = np.asarray(result.responsibilities())
    means = np.asarray(result.mixture.components.means)
    squares = ((x[:, None] - means) ** 2 * shares[:, :, None]).sum((0, 1)) / len(x)
    np.testing.assert_allclose(scales[0] ** 2, squares, rtol=1e-4)
    assert result.n_parameters == K - 1 + K * D + D


def test_shared_means_weigh_components_by_precision(x64):
    """A common centre with a narrow and a wide component."""
    rng = np.random.default_rng(1)
    x = np.r_[rng.normal(5, 0.5, 400), rng.normal(5, 5.0, 400)]
    result = gmm_jax.fit(x, 2, shared={"means": True})
    means, scales = (np.asarray(a) for a in vars(result.mixture.components).values())
    np.testing.assert_allclose(means[0], means[1], rtol=1e-12)
    shares = np.asarray(result.responsibilities()) / scales**2
    np.testing.assert_allclose(means[0], (shares * x[:, None]).sum() / shares.sum(), rtol=1e-4)
    np.testing.assert_allclose(np.sort(scales), [0.5, 5.0], rtol=0.15)


def test_groups_share_and_others_do_not(x64):
    rng = np.random.default_rng(2)
    x = np.r_[rng.normal(0, 1, 200), rng.normal(20, 1, 200), rng.normal(40, 4, 200)]
    start = Mixture([1 / 3] * 3, Normal([0.0, 20.0, 40.0], [1.0, 1.0, 1.0]))
    result = gmm_jax.fit(x, 3, shared={"scales": [0, 0, 1]}, start=start)
    scales = np.asarray(result.mixture.components.scales)
    assert scales[0] == scales[1]
    pooled = np.sqrt((x[:200].var() + x[200:400].var()) / 2)
    np.testing.assert_allclose(scales, [pooled, pooled, x[400:].std()], rtol=1e-3)
    assert result.n_parameters == 2 + 3 + 2


def test_common_covariance_sums_what_single_ones_sum(x64):
    """Whitening all points at once gives the density and pooled statistics of one by one."""
    rng = np.random.default_rng(5)
    means = 30 * rng.normal(size=(4, 3)) + rng.normal(size=3) * 100
    means[1] = means[0] + 0.5
    tril = np.tril(rng.normal(size=(3, 3)) * 0.3) + np.eye(3)
    family = gmm_jax.MultivariateNormal(means, np.tile(tril, (4, 1, 1)))
    points = jnp.asarray(means[rng.integers(4, size=90)] + rng.normal(size=(90, 3)))
    each, together = family.prepared(own=9), family.prepared(own=3)
    log_prob = each.log_prob(points)
    np.testing.assert_allclose(together.log_prob(points), log_prob, rtol=1e-9)
    shares = jax.nn.softmax(log_prob, 1) * jnp.asarray(rng.integers(3, size=90))[:, None]
    expected, found = each.statistics(points, shares), together.statistics(points, shares)
    for name in ("counts", "deviations"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), atol=1e-9)
    np.testing.assert_allclose(found.products.sum(0), expected.products.sum(0), rtol=1e-10)
    np.testing.assert_allclose(found.products[0], found.products[3])


@pytest.mark.parametrize("d", [1, 2, 3, 7, 16, 33])
def test_triangles_are_inverted(x64, d):
    triangles = np.tril(np.random.default_rng(d).normal(size=(2, 3, d, d))) + 4 * np.eye(d)
    np.testing.assert_allclose(
        triangle_inverse(jnp.asarray(triangles)), np.linalg.inv(triangles), atol=1e-13
    )
