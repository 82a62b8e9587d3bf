"""Decision boundaries and modes of one-dimensional normal mixtures."""

import numpy as np
import pytest
from scipy import stats

from gmm_jax import Mixture, Normal


def normal_mixture(weights, means, scales) -> Mixture:
    return Mixture(weights, Normal(np.asarray(means, float), np.asarray(scales, float)))


def quadratic(weights, means, scales):
    """Coefficients of log w_0 N_0(x) - log w_1 N_1(x)."""
    w, m, s = (np.asarray(a, float) for a in (weights, means, scales))
    p = 1 / s**2
    return [
        (p[1] - p[0]) / 2,
        m[0] * p[0] - m[1] * p[1],
        (m[1] ** 2 * p[1] - m[0] ** 2 * p[0]) / 2 + np.log(w[0] / w[1]) - np.log(s[0] / s[1]),
    ]


def random_parameters(seed, k):
    rng = np.random.default_rng(seed)
    return rng.dirichlet(np.full(k, 3)), rng.normal(0, 3, k), rng.uniform(0.3, 2.5, k)


@pytest.mark.parametrize("seed", range(20))
def test_boundaries_of_two_components_are_the_roots(seed, x64):
    parameters = random_parameters(seed, 2)
    roots = np.roots(quadratic(*parameters))
    expected = np.sort(roots[np.isreal(roots)].real)
    got = normal_mixture(*parameters).decision_boundaries()
    np.testing.assert_allclose(got, expected, rtol=1e-9)


def test_two_roots_with_unequal_scales(x64):
    parameters = [0.4, 0.6], [0, 1], [1, 3]
    got = normal_mixture(*parameters).decision_boundaries()
    np.testing.assert_allclose(got, np.sort(np.roots(quadratic(*parameters))))
    assert len(got) == 2


def test_one_root_with_equal_scales(x64):
    """Equal scales s: x = (a + b) / 2 + s^2 log(w_a / w_b) / (b - a)."""
    got = normal_mixture([0.3, 0.7], [350, 500], [20, 20]).decision_boundaries()
    np.testing.assert_allclose(got, [425 + 400 * np.log(0.3 / 0.7) / 150])


def test_no_root_when_one_component_is_always_more_probable():
    assert normal_mixture([0.05, 0.95], [0, 0], [1, 1.5]).decision_boundaries().shape == (0,)
    assert normal_mixture([0.1, 0.9], [1, 1], [1, 1]).decision_boundaries().shape == (0,)
    assert normal_mixture([0, 1], [1, 9], [1, 1]).decision_boundaries().shape == (0,)
    assert normal_mixture([1], [1], [1]).decision_boundaries().shape == (0,)


@pytest.mark.parametrize("seed", range(10))
def test_boundaries_of_many_components_are_where_the_winner_changes(seed, x64):
    weights, means, scales = random_parameters(seed, 4)
    # Outside, the widest component wins; it does so within this range.
    grid = np.linspace(-60, 60, 480_001)
    log_joint = np.log(weights) + stats.norm.logpdf(grid[:, None], means, scales)
    winner = log_joint.argmax(1)
    changes = np.flatnonzero(winner[1:] != winner[:-1])
    expected = (grid[changes] + grid[changes + 1]) / 2
    got = normal_mixture(weights, means, scales).decision_boundaries()
    inside = got[np.abs(got) < 60]
    np.testing.assert_allclose(inside, expected, atol=3e-4)


@pytest.mark.parametrize("seed", range(12))
def test_modes_are_the_peaks_on_a_dense_grid(seed, x64):
    weights, means, scales = random_parameters(100 + seed, 2 + seed % 4)
    grid = np.linspace(means.min() - 0.1, means.max() + 0.1, 400_001)
    density = stats.norm.pdf(grid[:, None], means, scales) @ weights
    peaks = grid[1:-1][(density[1:-1] > density[:-2]) & (density[1:-1] >= density[2:])]
    got = normal_mixture(weights, means, scales).modes()
    np.testing.assert_allclose(got, peaks, atol=2 * (grid[1] - grid[0]))


@pytest.mark.parametrize(("distance", "count"), [(1.9, 1), (2.1, 2)])
def test_equal_halves_have_two_modes_beyond_two_standard_deviations(distance, count, x64):
    """The classical threshold for equal weights and scales: |a - b| > 2 s."""
    modes = normal_mixture([0.5, 0.5], [100, 100 + distance], [1, 1]).modes()
    assert len(modes) == count
    np.testing.assert_allclose(modes.mean(), 100 + distance / 2, rtol=1e-9)


def test_a_single_component_peaks_at_its_mean():
    np.testing.assert_allclose(normal_mixture([1], [3.5], [2]).modes(), [3.5])
    np.testing.assert_allclose(normal_mixture([0.5, 0.5], [3.5, 3.5], [2, 1]).modes(), [3.5])


def test_a_spike_far_narrower_than_the_rest_is_found(x64):
    modes = normal_mixture([0.99, 0.01], [0, 1], [1, 1e-5]).modes()
    assert len(modes) == 2
    np.testing.assert_allclose(modes[1], 1, atol=1e-4)


def test_precision_of_the_mixture_does_not_matter():
    far = normal_mixture([0.5, 0.5], [1e6, 1e6 + 64], [8, 8])
    np.testing.assert_allclose(far.decision_boundaries(), [1e6 + 32], rtol=1e-12)
