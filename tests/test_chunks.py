"""Data in chunks: the answer of the array, updates from kept statistics, one-shot generators."""

import jax
import numpy as np
import pytest

from gmm_jax import Bernoulli, MultivariateNormal, Normal, fit, fit_chunks
from gmm_jax._chunks import as_chunks, blocks, survey
from gmm_jax._data import Frame


def table(n=900) -> tuple[np.ndarray, np.ndarray]:
    """Two overlapping clusters far from zero, in random order, and weights."""
    rng = np.random.default_rng(0)
    which = rng.integers(2, size=n)
    points = 1e4 + 3 * which[:, None] + rng.normal(size=(n, 2)) * (1 + which[:, None] / 2)
    return points, rng.integers(0, 3, n).astype(float)


def cut(points, weight, *ends):
    return list(zip(np.split(points, ends), np.split(weight, ends), strict=True))


@pytest.mark.parametrize("family", [Normal, MultivariateNormal])
def test_chunks_have_the_answer_of_the_array(family, x64):
    points, weight = table()
    whole = fit(points, 2, family=family, sample_weight=weight)
    # A sample of 200 gives another start, near the same optimum.
    chunks = cut(points, weight, 10, 500, 501)
    for sample_size in (20_000, 200):
        cut_up = fit_chunks(chunks, 2, family=family, n_restarts=3, sample_size=sample_size)
        assert cut_up.converged
        assert cut_up.log_likelihood == pytest.approx(whole.log_likelihood, abs=1e-6)
        assert cut_up.bic == pytest.approx(whole.bic, abs=1e-5)
        for a, b in zip(
            jax.tree.leaves(cut_up.mixture), jax.tree.leaves(whole.mixture), strict=True
        ):
            np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-5)
    assert len(cut_up.data) == 200
    assert np.isin(cut_up.data[:, 0], points[weight > 0, 0]).all()


def test_bernoulli_chunks():
    rng = np.random.default_rng(0)
    shares = np.array([[0.9, 0.8, 0.9], [0.1, 0.2, 0.1]])
    points = (rng.random((400, 3)) < shares[rng.integers(2, size=400)]).astype(float)
    whole = fit(points, 2, family=Bernoulli)
    cut_up = fit_chunks(np.split(points, [7, 300]), 2, family=Bernoulli)
    assert cut_up.log_likelihood == pytest.approx(whole.log_likelihood, abs=0.01)


def test_every_pass_starts_again_and_is_reported(capsys):
    points, _ = table(300)
    reads = []

    def read():
        reads.append(0)
        yield from np.split(points, 3)

    result = fit_chunks(read, 2, n_restarts=2, max_steps=4, progress=True)
    assert result.n_steps <= 4
    assert len(reads) in (result.n_steps + 2, result.n_steps + 3)
    assert f"pass {result.n_steps}, log likelihood per point" in capsys.readouterr().err


def test_survey_agrees_with_the_array():
    points, weight = table()
    read = as_chunks(cut(points, weight, 3, 400))
    seen = survey(read, Normal, 50, np.random.default_rng(0))
    exact = Frame.of(points, weight)
    np.testing.assert_allclose(seen.frame.centre, exact.centre, rtol=1e-13)
    np.testing.assert_array_equal(seen.frame.unit, exact.unit)
    assert seen.size == weight.sum()


def test_the_sample_is_drawn_evenly():
    """Each of 40 rows is among 10 kept with probability 1/4, whichever its chunk."""
    rows = np.arange(40.0)
    read = as_chunks(np.split(rows, [5, 30]))
    counts = np.zeros(40)
    draws = 2000
    generator = np.random.default_rng(0)
    for _ in range(draws):
        sample = survey(read, Normal, 10, generator).sample
        assert len(np.unique(sample)) == 10
        counts[sample.astype(int)] += 1
    error = np.sqrt(0.25 * 0.75 / draws)
    assert np.abs(counts / draws - 0.25).max() < 5 * error


def test_blocks_are_equal_whatever_the_chunks():
    rows = np.arange(23.0)
    frame = Frame(np.array(1.0), np.array(2.0))
    for ends in ([], [1, 2], [8, 16], [20]):
        parts = list(blocks(as_chunks(np.split(rows, ends)), frame, 8, np.float64))
        assert [len(data) for data, _ in parts] == [8, 8, 8]
        data, weight = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        np.testing.assert_array_equal(data[:23], (rows - 1) / 2)
        np.testing.assert_array_equal(weight, np.arange(24) < 23)


def test_update_is_one_incremental_step(x64):
    """The old points keep their responsibilities; the closed form with all of them at hand."""
    points = table()[0]
    old, new = points[:700], points[700:]
    before = fit_chunks([old], 2, family=Normal, n_restarts=2)
    after = before.update(new)
    shares = np.asarray(before.responsibilities(points))
    weights = shares.mean(0)
    means = shares.T @ points / shares.sum(0)[:, None]
    spread = (shares[:, :, None] * (points[:, None] - means) ** 2).sum(0) / shares.sum(0)[:, None]
    np.testing.assert_allclose(after.mixture.weights, weights, rtol=1e-6)
    np.testing.assert_allclose(after.mixture.components.means, means, rtol=1e-9)
    np.testing.assert_allclose(after.mixture.components.scales, np.sqrt(spread), rtol=1e-5)
    assert after.size == 900
    expected = before.log_likelihood + float(before.log_prob(new).sum())
    assert after.log_likelihood == pytest.approx(expected, abs=1e-6)
    weighed = before.update(new, np.full(200, 2.0))
    twice = before.update(np.concatenate([new, new]))
    np.testing.assert_allclose(
        weighed.mixture.components.means, twice.mixture.components.means, rtol=1e-12
    )


@pytest.mark.parametrize(
    ("chunks", "error", "match"),
    [
        ((x for x in [[1.0, 2.0]]), TypeError, "can be read only once"),
        (7, TypeError, "must be iterable"),
        ([], ValueError, "chunks hold no data"),
        ([[1.0, 2.0], [[1.0, 2.0]]], ValueError, "chunk 1 has points of shape"),
        ([[1.0, 2.0], [np.nan]], ValueError, "chunk 1 has 1 NaN"),
        ([([1.0, 2.0], [1.0])], ValueError, "sample_weight of chunk 0"),
        ([([1.0, 2.0], [0.0, 0.0])], ValueError, "chunks hold no data"),
        ([[3.0, 3.0], [3.0]], ValueError, "same number"),
        ([[3.0]], ValueError, "n_components is 2 but there are 1 points|same number"),
    ],
)
def test_bad_chunks_are_named(chunks, error, match):
    with pytest.raises(error, match=match):
        fit_chunks(chunks, 2)
