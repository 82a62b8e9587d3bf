"""Relabelling: every permutation by brute force, planted ones, and where labels are refused."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

import gmm_jax
from gmm_jax import relabelling
from gmm_jax._pytree import rebuild
from gmm_jax.relabelling import METHODS, View
from gmm_jax.summaries import told_apart

KEPT = METHODS[:3]
"""Methods that compare what components hold."""
LOWER, UPPER = (0.4091, 350.2639, 2.2819), (0.5909, 499.9862, 1.9850)
"""Exact posterior means of weight, mean and scale of the bentos' two components."""


@pytest.fixture(scope="module")
def fitted(bentos, tutorial_prior):
    return gmm_jax.fit(bentos, 2, prior=tutorial_prior, n_draws=2000)


@pytest.fixture(scope="module")
def shuffled(fitted):
    """The same posterior with labels at random, as an exchangeable prior has it."""
    columns = np.random.default_rng(1).permuted(np.tile([0, 1], (2000, 1)), axis=1)
    inside = jax.tree.map(jnp.asarray, relabelling.permuted(fitted.inside, columns))
    values = {name: getattr(fitted, name) for name in fitted.__dataclass_fields__}
    return type(fitted)(**{**values, "inside": inside}), columns


def every(k):
    return [list(p) for p in itertools.permutations(range(k))]


def test_the_best_permutation_by_brute_force():
    reward = np.random.default_rng(0).normal(size=(50, 4, 4))
    exact = [max(every(4), key=lambda p, r=r: r[p, np.arange(4)].sum()) for r in reward]
    np.testing.assert_array_equal(relabelling.match(reward), exact)


@pytest.mark.parametrize("method", KEPT)
def test_no_permutation_of_a_draw_is_better(method):
    """Written out from the papers: one draw after another, over all k! permutations."""
    shares = np.random.default_rng(0).dirichlet([0.7] * 3, (40, 6)).astype(np.float32)
    shares, counts = np.moveaxis(shares, 1, 2), np.array([1.0, 2, 1, 1, 3, 1])
    draws = rebuild(gmm_jax.Mixture, weights=jnp.full((40, 3), 1 / 3), components=NoOrder())
    seen = View(shares, counts, -np.arange(40.0))
    found = relabelling.permutations(method, draws, seen, np.zeros(40))
    kept = relabelling._drawn(shares) if method == "ecr" else shares
    labelled = np.stack([draw[p] for draw, p in zip(kept, found, strict=True)])
    average = labelled.mean(0)
    for draw, own in zip(kept, found, strict=True):

        def loss(p, draw=draw):
            own = draw[p]
            if method == "stephens":
                return counts @ special.rel_entr(own, average).sum(0)
            if method == "ecr":
                return counts @ (own.argmax(0) != average.argmax(0))
            return -(counts * own * labelled[0]).sum()

        assert loss(own) <= min(map(loss, every(3))) + 1e-6


@jax.tree_util.register_static
class NoOrder:
    """Components without a leading parameter."""

    order = None
    n_components = 3


@pytest.mark.parametrize("method", METHODS)
def test_planted_permutations_are_found(method, shuffled):
    result, columns = shuffled
    relabelled = result.relabel(method)
    np.testing.assert_array_equal(relabelled.permutation, np.argsort(columns, axis=1))
    assert relabelled.told_apart
    assert not told_apart(result)  # as the labels are: half of the draws are the other way round
    means = np.asarray(result.draws.components.means)
    np.testing.assert_allclose(
        relabelled.draws.components.means,
        np.take_along_axis(means, relabelled.permutation, 1),
    )


def test_relabelled_means_of_the_bentos_are_exact(shuffled):
    result, _ = shuffled
    draws = result.relabel().draws
    leaves = [np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(draws)]
    for label, exact in enumerate((LOWER, UPPER)):
        for values, expected in zip(leaves, exact, strict=True):
            error = values[:, label].std() / np.sqrt(result.effective_sample_size)
            assert abs(values[:, label].mean() - expected) < 5 * error + 0.5e-4
    summary = result.relabel().summary()
    assert "350.2" in summary
    assert "labels by 'stephens'" in summary


@pytest.fixture(scope="module")
def spare(bentos, tutorial_prior):
    return gmm_jax.fit(bentos, 3, prior=tutorial_prior, n_draws=2000)


@pytest.mark.slow
def test_clumps_are_clusters_whatever_components_do(spare, bentos):
    for loss in ("vi", "binder"):
        np.testing.assert_array_equal(spare.partition(loss), bentos < 425)
    np.testing.assert_array_equal(spare.partition(data=[350.0, 351.0, 500.0]), [0, 0, 1])


@pytest.mark.slow
def test_a_spare_component_is_refused(spare):
    for method in METHODS:
        relabelled = spare.relabel(method)
        with pytest.raises(ValueError, match=r"component 1 holds no data.*density_band"):
            relabelled.summary()
    assert not told_apart(spare)
    # By its definition: the chance that no point of a drawn assignment is the label's.
    shares = np.asarray(spare.responsibilities_by_draw())
    own = np.take_along_axis(shares, relabelled.permutation[:, None], 2)
    exact = np.prod(1 - own.astype(float), axis=1).mean(0)
    assert f"holds no data in {exact[1]:.0%}" in relabelled.doubt


@pytest.mark.slow
@pytest.mark.parametrize(("gap", "apart"), [(0.5, False), (5, True)])
def test_overlap_is_refused(gap, apart, tutorial_prior):
    """Two normals whose means are so many standard deviations apart, 16 points of each."""
    grams = np.random.default_rng(3).normal(size=32) + gap * (np.arange(32) % 2)
    result = gmm_jax.fit(400 + 2 * grams, 2, prior=tutorial_prior, n_draws=2000)
    assert [result.relabel(method).told_apart for method in METHODS] == [apart] * 4
    assert told_apart(result) == apart


def test_agreement_of_certain_labels_that_are_exchanged():
    """In the share e of draws, between two of equal size: (1 - 2 e)^2; the third's stays 1."""
    one = np.repeat(np.eye(3), [4, 4, 6], axis=1)
    other = one[[1, 0, 2]]
    shares = np.stack([other] * 3 + [one] * 17).astype(np.float32)
    seen = View(shares, np.ones(14), np.zeros(20))
    as_they_are = np.tile(np.arange(3), (20, 1))
    found = relabelling.agreement(seen, as_they_are)
    # Correlation of two indicators, by its definition, averaged over all pairs of draws.
    centred = shares - shares.mean(2, keepdims=True)
    pairs = np.einsum("ajm,bjm->j", centred, centred) / 400
    np.testing.assert_allclose(found, pairs / (centred**2).sum(2).mean(0), rtol=1e-5)
    np.testing.assert_allclose(found[2], 1, rtol=1e-5)
    equal, both = View(shares[:, :2, :8], np.ones(8), np.zeros(20)), as_they_are[:, :2]
    np.testing.assert_allclose(relabelling.agreement(equal, both), 0.7**2, rtol=1e-5)
    assert "component 0 doesn't hold the same points" in relabelling.doubt(equal, both)


def test_clusters_side_by_side_are_found_though_order_fails():
    """Two features; the first is the same for both clusters, so that its order is chance."""
    rng = np.random.default_rng(0)
    data = rng.normal(size=(40, 2)) + np.repeat([[0, 4], [0, -4]], 20, axis=0)
    columns = rng.permuted(np.tile([0, 1], (300, 1)), axis=1)
    means = np.array([[0, 4], [0, -4]])[columns] + 0.2 * rng.normal(size=(300, 2, 2))
    components = rebuild(gmm_jax.Normal, means=jnp.asarray(means), scales=jnp.ones((300, 2, 2)))
    draws = rebuild(gmm_jax.Mixture, weights=jnp.full((300, 2), 0.5), components=components)
    seen = relabelling.view(draws, jnp.asarray(data), np.ones(40))
    for method in KEPT:
        found = relabelling.permutations(method, draws, seen, np.zeros(300))
        same = np.take_along_axis(columns, found, 1)
        assert np.all(same == same[0])
        assert not relabelling.doubt(seen, found)
    by_order = relabelling.permutations("order", draws, seen, np.zeros(300))
    np.testing.assert_array_equal(by_order, np.argsort(means[..., 0], axis=1))
    assert "doesn't hold the same points" in relabelling.doubt(seen, by_order)


def test_order_is_refused_where_there_is_none():
    draws = rebuild(gmm_jax.Mixture, weights=jnp.full((5, 2), 0.5), components=NoOrder())
    seen = View(np.full((5, 2, 4), 0.5), np.ones(4), np.zeros(5))
    with pytest.raises(ValueError, match="NoOrder cannot: use method='stephens'"):
        relabelling.permutations("order", draws, seen, np.zeros(5))


@pytest.mark.slow
def test_components_that_the_prior_names_keep_their_names(bentos):
    prior = gmm_jax.DirichletNormalGamma(1, mean=[500, 350], mean_scale=20, shape=2, rate=1)
    result = gmm_jax.fit(bentos, 2, prior=prior, n_draws=500)
    relabelled = result.relabel("order")
    assert relabelled.told_apart
    np.testing.assert_array_equal(relabelled.permutation, np.tile([0, 1], (500, 1)))


def test_some_points_stand_for_all_where_there_are_too_many(monkeypatch, fitted, shuffled):
    points, weight = jnp.asarray(fitted._enter(None)[0]), np.array([0.0, 2] + [1] * 18)
    whole = relabelling.view(fitted.inside, points, weight)
    assert whole.shares.shape == (2000, 2, 19)
    assert whole.counts.sum() == 20
    exact = weight @ np.asarray(jax.vmap(lambda m: m.log_prob(points))(fitted.inside)).T
    np.testing.assert_allclose(whole.log_likelihood, exact, rtol=1e-4)
    monkeypatch.setattr(relabelling, "MOST_NUMBERS", 2000 * 2 * 6)
    few = relabelling.view(fitted.inside, points, weight)
    assert few.shares.shape == (2000, 2, 6)
    assert few.counts.sum() == 20
    found = shuffled[0].relabel().permutation
    np.testing.assert_array_equal(found, np.argsort(shuffled[1], axis=1))


def test_an_unknown_method_is_named(fitted):
    with pytest.raises(ValueError, match=r"method must be one of 'stephens'.*got 'kmeans'"):
        fitted.relabel("kmeans")
