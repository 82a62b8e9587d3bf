"""Mixtures with known parameters, against scipy."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from gmm_jax import Bernoulli, Mixture, Normal, fit

WEIGHTS, MEANS, SCALES = (0.2, 0.5, 0.3), (-4.0, 0.5, 3.0), (0.5, 2.0, 0.1)


def mixture() -> Mixture:
    return Mixture(WEIGHTS, Normal(MEANS, SCALES))


def log_joint_by_scipy(x):
    return np.log(WEIGHTS) + stats.norm.logpdf(np.asarray(x)[..., None], MEANS, SCALES)


def test_log_prob_and_responsibilities_are_scipys(dtype):
    x = np.linspace(-8, 8, 101)
    tolerance = 3e-5 if dtype == np.float32 else 1e-12
    expected = log_joint_by_scipy(x)
    got = mixture().log_prob(x)
    assert got.dtype == dtype
    np.testing.assert_allclose(got, special.logsumexp(expected, -1), rtol=tolerance)
    np.testing.assert_allclose(
        mixture().responsibilities(x), special.softmax(expected, -1), atol=20 * tolerance
    )
    np.testing.assert_array_equal(mixture().assign(x), expected.argmax(-1))
    np.testing.assert_allclose(mixture().log_joint(x), expected, rtol=tolerance)


def test_entropy_of_an_assignment_is_scipys(x64):
    x = np.linspace(-8, 8, 101)
    expected = stats.entropy(special.softmax(log_joint_by_scipy(x), -1), axis=-1)
    np.testing.assert_allclose(mixture().assignment_entropy(x), expected, atol=1e-12)
    guess = Mixture([0.25] * 4, Normal([0.0] * 4, 1.0))
    np.testing.assert_allclose(guess.assignment_entropy(0.3), np.log(4))


def test_far_tails_stay_finite_and_certain(dtype):
    x = np.array([-1e6, -1e3, 1e3, 1e6])
    np.testing.assert_allclose(
        mixture().log_prob(x), special.logsumexp(log_joint_by_scipy(x), -1), rtol=1e-5
    )
    np.testing.assert_array_equal(mixture().responsibilities(x), [[0.0, 1, 0]] * 4)
    np.testing.assert_array_equal(mixture().assignment_entropy(x), 0)


def test_any_shape_of_points_goes_in():
    assert mixture().log_prob(1.0).shape == ()
    assert mixture().responsibilities(1.0).shape == (3,)
    assert mixture().log_prob(np.zeros((2, 5))).shape == (2, 5)
    assert mixture().responsibilities(np.zeros((2, 5))).shape == (2, 5, 3)
    rows = Mixture([0.5, 0.5], Normal(np.zeros((2, 3)), 1.0))
    assert rows.log_prob(np.zeros(3)).shape == ()
    assert rows.responsibilities(np.zeros((4, 6, 3))).shape == (4, 6, 2)


def test_an_integer_point_is_a_point():
    np.testing.assert_array_equal(mixture().log_prob([1, 2]), mixture().log_prob([1.0, 2.0]))


def test_a_component_of_weight_zero_never_happens():
    without = Mixture([0.4, 0.6, 0.0], Normal([0.0, 5.0, 1.0], 1.0))
    pair = Mixture([0.4, 0.6], Normal([0.0, 5.0], 1.0))
    x = np.linspace(-3, 8, 20)
    np.testing.assert_allclose(without.log_prob(x), pair.log_prob(x), rtol=1e-6)
    np.testing.assert_array_equal(without.responsibilities(x)[:, 2], 0)
    assert not np.any(without.sample(jax.random.key(0), 1000)[1] == 2)

    def total(weights):
        return Mixture(weights, without.components).log_prob(x).sum()

    assert np.isfinite(jax.grad(total)(without.weights)).all()


def test_an_impossible_point_has_no_gradient_of_nan():
    sure = Mixture([0.5, 0.5], Bernoulli([1.0, 1.0]))
    assert np.isneginf(sure.log_prob(0.0))
    gradient = jax.grad(lambda w: Mixture(w, sure.components).log_prob(jnp.array([1.0, 0.0])).sum())
    assert np.isfinite(gradient(sure.weights)).all()


def test_samples_follow_the_mixture():
    n = 30_000
    points, assignments = mixture().sample(jax.random.key(1), n)
    assert points.shape == assignments.shape == (n,)
    counts = np.bincount(assignments, minlength=3)
    expected = n * np.array(WEIGHTS)
    np.testing.assert_array_less(
        np.abs(counts - expected), 5 * np.sqrt(expected * (1 - np.array(WEIGHTS)))
    )
    for j in range(3):
        mine = np.asarray(points, np.float64)[np.asarray(assignments) == j]
        assert abs(mine.mean() - MEANS[j]) < 5 * SCALES[j] / np.sqrt(len(mine))

    def cdf(x):
        return stats.norm.cdf(np.asarray(x)[..., None], MEANS, SCALES) @ WEIGHTS

    assert stats.kstest(np.asarray(points, np.float64), cdf).pvalue > 1e-4


def test_same_key_same_sample_and_other_key_another():
    first, again = (mixture().sample(jax.random.key(5), 10)[0] for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert not np.any(first == mixture().sample(jax.random.key(6), 10)[0])


def test_jit_and_vmap_change_nothing(x64):
    x = np.linspace(-5, 5, 7)
    expected = mixture().log_prob(x)
    np.testing.assert_allclose(jax.jit(Mixture.log_prob)(mixture(), x), expected, rtol=1e-13)
    batch = jax.tree.map(lambda a: jnp.stack([a, a]), mixture())
    mapped = jax.vmap(Mixture.log_prob, (0, None))(batch, x)
    np.testing.assert_allclose(mapped, [expected] * 2, rtol=1e-13)
    each = jax.vmap(mixture().responsibilities)(x)
    np.testing.assert_allclose(each, mixture().responsibilities(x), rtol=1e-12)


def test_gradients_are_responsibilities_over_weights(x64):
    """d log p / d w_k = r_k / w_k, and d log p / d m_k = r_k (x - m_k) / s_k^2."""
    x = 1.7
    gradient = jax.grad(lambda m: m.log_prob(x))(mixture())
    r = special.softmax(log_joint_by_scipy(x))
    np.testing.assert_allclose(gradient.weights, r / np.array(WEIGHTS), rtol=1e-10)
    slopes = r * (x - np.array(MEANS)) / np.array(SCALES) ** 2
    np.testing.assert_allclose(gradient.components.means, slopes, rtol=1e-10)


def test_permuting_components_permutes_responsibilities():
    order = np.array([2, 0, 1])
    moved = jax.tree.map(lambda a: a[order], mixture())
    x = np.linspace(-6, 6, 30)
    np.testing.assert_allclose(moved.log_prob(x), mixture().log_prob(x), rtol=1e-6)
    np.testing.assert_allclose(
        moved.responsibilities(x), mixture().responsibilities(x)[:, order], atol=1e-7
    )


def test_independent_features_multiply():
    probs = np.array([[0.8, 0.3], [0.1, 0.6]])
    two = Mixture([0.3, 0.7], Bernoulli(probs))
    x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    expected = stats.bernoulli.pmf(x[:, None], probs).prod(-1) @ [0.3, 0.7]
    np.testing.assert_allclose(np.exp(two.log_prob(x)), expected, rtol=1e-5)
    np.testing.assert_allclose(np.exp(two.log_prob(x)).sum(), 1, rtol=1e-6)


def test_weights_off_by_rounding_are_made_to_sum_to_one(x64):
    rounded = Mixture([0.33333, 0.33333, 0.33333], Normal([0.0, 1, 2], 1.0))
    assert abs(float(rounded.weights.sum()) - 1) < 1e-15


def test_immutable():
    with pytest.raises(AttributeError):
        mixture().weights = jnp.ones(3)
    with pytest.raises(AttributeError):
        mixture().components.means = jnp.ones(3)


def bad(weights, components=None):
    return lambda: Mixture(weights, Normal([0.0, 1.0], 1.0) if components is None else components)


BAD = {
    "sum": (bad([0.5, 0.6]), ValueError, "weights must sum to 1, got a sum of 1.1"),
    "counts": (bad([3, 7]), ValueError, "Divide them by their sum if they are counts"),
    "negative": (bad([1.5, -0.5]), ValueError, "weights must not be negative"),
    "too many": (bad([0.2, 0.3, 0.5]), ValueError, "weights has 3 entries but components has 2"),
    "NaN": (bad([np.nan, 1.0]), ValueError, "weights must be finite"),
    "one number": (bad(1.0), ValueError, "weights needs one number per component"),
    "words": (bad(["a", "b"]), TypeError, "weights must be real numbers"),
    "no family": (bad([0.5, 0.5], [0.0, 1.0]), TypeError, "components must be a family"),
    "features": (
        lambda: Mixture([1.0], Normal([[0.0, 1.0]], 1.0)).log_prob([1.0, 2.0, 3.0]),
        ValueError,
        "its last axis must have length 2",
    ),
    "boundaries of Bernoulli": (
        lambda: Mixture([0.5, 0.5], Bernoulli([0.1, 0.2])).decision_boundaries(),
        TypeError,
        "one-dimensional Normal components",
    ),
    "modes of two features": (
        lambda: Mixture([0.5, 0.5], Normal(np.zeros((2, 2)), 1.0)).modes(),
        TypeError,
        "one-dimensional Normal components",
    ),
}


@pytest.mark.parametrize(("make", "error", "message"), BAD.values(), ids=BAD.keys())
def test_mistakes_are_explained(make, error, message):
    with pytest.raises(error, match=re.escape(message)):
        make()


def test_conditioning_on_nothing_known_is_an_error():
    mixture = Mixture([0.5, 0.5], Normal([[0, 0], [3, 3]], 1.0))
    with pytest.raises(ValueError, match="leave out the dims"):
        mixture.condition(0, np.nan)


def test_points_that_no_component_reaches_are_refused():
    """Not NaN, and not component 0: in float32 the square of 1e25 is infinite."""
    mixture = Mixture([0.5, 0.5], Normal([0.0, 9.0], [1.0, 1.0]))
    with pytest.raises(ValueError, match=r"data\[1\] has density 0 under every component"):
        mixture.responsibilities([1.0, 1e25])
    with pytest.raises(ValueError, match="the point has density 0"):
        mixture.assign(1e25)
    assert mixture.log_prob(1e25) == -jnp.inf
    fitted = fit([0.0, 0.5, 1.0, 8.0, 8.4, 9.0], 2)
    with pytest.raises(ValueError, match=r"data\[1\] has density 0"):
        fitted.responsibilities([3.0, 1e30])
