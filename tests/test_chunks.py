"""Data in chunks: the answer of the array, updates from kept statistics, one-shot generators."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gmm_jax import (
    Categorical,
    Heterogeneous,
    Mixture,
    MultivariateNormal,
    Normal,
    Poisson,
    Product,
    Uniform,
    _chunks,
    chunked,
    fit,
    fit_chunks,
)
from gmm_jax._chunks import as_chunks, blocks, survey
from gmm_jax._data import Frame


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """So that these data fill several blocks, and several calls."""
    monkeypatch.setattr(chunked, "BLOCK", 32)


def table(n=900) -> tuple[np.ndarray, np.ndarray]:
    """Two overlapping clusters far from zero, in random order, and weights."""
    rng = np.random.default_rng(0)
    which = rng.integers(2, size=n)
    points = 1e4 + 3 * which[:, None] + rng.normal(size=(n, 2)) * (1 + which[:, None] / 2)
    return points, rng.integers(0, 3, n).astype(float)


def holed() -> np.ndarray:
    """Two clusters, the second of more points; a measure and a count, a tenth of them missing.

    Many rows in a row are complete, and the last ones hold more of them than a chunk.
    """
    rng = np.random.default_rng(1)
    which = np.arange(900) % 3 > 0
    measure = 100 + 20 * which + rng.normal(size=900) * np.where(which, 3, 2)
    data = np.stack([measure, rng.poisson(np.where(which, 40, 9))], 1).astype(float)
    data[:600][rng.random((600, 2)) < 0.1] = np.nan
    data[20:26, 0] = np.nan
    return data


def cut(points, weight, *ends):
    return list(zip(np.split(points, ends), np.split(weight, ends), strict=True))


def same(a, b, rtol=1e-8, atol=1e-8):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, rtol=rtol, atol=atol)


MEANS = [[101.0, 11.0], [119.0, 38.0]]
NORMALS = Normal(MEANS, [[4.0, 4.0]] * 2)
MATRICES = MultivariateNormal(MEANS, [[[4.0, 0.0], [0.0, 4.0]]] * 2)
CASES = {
    "full": ({}, MATRICES),
    "tied": ({"covariance_type": "tied"}, MATRICES),
    "spherical": ({"covariance_type": "spherical"}, NORMALS),
    "fixed means": ({"fixed": {"means": [[100.0, np.nan], [np.nan, 40.0]]}}, MATRICES),
    "shared scales": ({"family": Normal, "shared": {"scales": [0, 0]}}, NORMALS),
    "mixed table": (
        {"family": Product.of(Normal, Poisson), "fixed": {"parts[0].scales": [2.0, np.nan]}},
        Product([Normal([101.0, 119.0], [4.0, 4.0]), Poisson([11.0, 38.0])]),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_chunks_have_the_path_of_the_array(case, x64):
    """Step by step, whatever is missing, shared or fixed; and so the optimum."""
    asked, components = CASES[case]
    asked = {"start": Mixture([0.5, 0.5], components), "tol": 1e-10} | asked
    points, weight = holed(), np.arange(900) % 4 / 2
    whole = fit(points, 2, sample_weight=weight, **asked)
    cut_up = fit_chunks(cut(points, weight, 20, 24, 500, 700), 2, sample_size=50, **asked)
    assert whole.converged
    assert cut_up.converged
    assert whole.n_steps == cut_up.n_steps < 60
    same(cut_up.mixture, whole.mixture)
    np.testing.assert_allclose(cut_up.history, whole.history, rtol=1e-9)
    assert cut_up.log_likelihood == pytest.approx(whole.log_likelihood, rel=1e-10)
    assert cut_up.n_parameters == whole.n_parameters
    assert cut_up.bic == pytest.approx(whole.bic, rel=1e-10)


FROM_A_SAMPLE = {"family": Normal, "n_restarts": 3, "sample_size": 200}  # compiled once for all


@pytest.mark.slow
def test_starts_come_from_a_sample(x64):
    """Of 200 rows: another start, near the same optimum."""
    points, weight = table()
    whole = fit(points, 2, sample_weight=weight, family=Normal, n_restarts=3)
    cut_up = fit_chunks(cut(points, weight, 10, 500, 501), 2, **FROM_A_SAMPLE)
    assert cut_up.converged
    assert cut_up.log_likelihood == pytest.approx(whole.log_likelihood, abs=1e-6)
    same(cut_up.mixture, whole.mixture, 1e-6, 1e-5)
    assert cut_up.data.shape == (200, 2)
    assert np.isin(cut_up.data[:, 0], points[weight > 0, 0]).all()
    # What the sample says of all data: the mean of 200 entropies, and of 200 curvatures.
    assert cut_up.icl - cut_up.bic == pytest.approx(whole.icl - whole.bic, rel=0.25)
    ours, theirs = (f.standard_errors("information").covariance for f in (cut_up, whole))
    np.testing.assert_allclose(np.sqrt(np.diag(ours)), np.sqrt(np.diag(theirs)), rtol=0.25)


@pytest.mark.slow
def test_starts_know_what_is_missing_and_fixed(x64):
    asked = {"fixed": {"means": [[100.0, np.nan], [np.nan] * 2]}, "n_restarts": 6}
    whole = fit(holed(), 2, **asked)
    cut_up = fit_chunks([holed()[:20], holed()[20:]], 2, sample_size=100, **asked)
    assert cut_up.mixture.components.means[0, 0] == 100
    same(cut_up.mixture, whole.mixture, 1e-5, 1e-5)


@pytest.mark.slow
def test_ends_of_the_data_need_not_be_in_the_sample():
    """A uniform background covers all data; a category may come up once."""
    rng = np.random.default_rng(0)
    points = np.concatenate([rng.normal(0, 1, 260), rng.uniform(-40, 80, 38), [-50.0, 90.0]])
    family = Heterogeneous.of(Normal, Uniform)
    result = fit_chunks([points], family=family, sample_size=60, n_restarts=2)
    assert np.isin([-50, 90], result.data).sum() < 2
    low, high = (float(a[0]) for a in jax.tree.leaves(result.mixture.components.parts[1]))
    assert -50.1 < low <= -50
    assert 90 <= high < 90.1
    assert np.isfinite(result.log_likelihood)
    answers = np.append(rng.integers(0, 2, 300), 4.0)
    seen = fit_chunks([answers], 1, family=Categorical, sample_size=20, n_restarts=1)
    np.testing.assert_allclose(seen.mixture.components.probs[0, 4], 1 / 301, rtol=1e-4)


def test_every_pass_starts_again_and_is_reported(capsys, x64):
    points, _ = table(300)
    reads = []

    def read():
        reads.append(0)
        yield from np.split(points, 3)

    result = fit_chunks(read, 2, max_steps=4, progress=True, **FROM_A_SAMPLE)
    assert result.n_steps <= 4
    assert len(reads) in (result.n_steps + 2, result.n_steps + 3)
    assert f"pass {result.n_steps}, log likelihood per point" in capsys.readouterr().err


@pytest.mark.parametrize("missing", [False, True])
def test_survey_agrees_with_the_array(missing):
    points, weight = table()
    if missing:
        points[np.random.default_rng(1).random(points.shape) < 0.3] = np.nan
        points[:3, 1] = np.nan
    read = as_chunks(cut(points, weight, 3, 400))
    seen = survey(read, Normal, 50, np.random.default_rng(0))
    exact = Frame.of(points, weight)
    np.testing.assert_allclose(seen.frame.centre, exact.centre, rtol=1e-13)
    np.testing.assert_array_equal(seen.frame.unit, exact.unit)
    assert seen.size == weight.sum()
    volume = weight @ exact.log_volume(points)
    np.testing.assert_allclose(seen.log_volume(exact), volume, rtol=1e-12)
    used = points[weight > 0]
    np.testing.assert_array_equal(seen.columns.low, np.nanmin(used, 0))
    np.testing.assert_array_equal(seen.columns.high, np.nanmax(used, 0))


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
    before = fit_chunks([old], 2, **FROM_A_SAMPLE)
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


def test_update_expects_what_is_missing_and_keeps_what_is_held(x64):
    """All points' shares under the old estimate, and their expected values given it."""
    points = holed()
    start = Mixture([0.5, 0.5], MATRICES)
    before = fit_chunks([points[:300]], 2, start=start, tol=1e-12)
    after = before.update(points[300:])
    shares = np.asarray(before.responsibilities(points))
    filled = np.asarray(before.mixture.components.fill(jnp.asarray(points)))
    np.testing.assert_allclose(after.mixture.weights, shares.mean(0), rtol=1e-6)
    means = (shares[:, :, None] * filled).sum(0) / shares.sum(0)[:, None]
    np.testing.assert_allclose(after.mixture.components.means, means, rtol=1e-7)
    assert after.sample_weight.sum() == pytest.approx(900)
    for asked, components in (CASES["fixed means"], CASES["tied"], CASES["spherical"]):
        start = Mixture([0.5, 0.5], components)
        after = fit_chunks([points[:300]], 2, start=start, **asked).update(points[300:])
        parts = after.mixture.components
        if "fixed" in asked:
            assert (parts.means[0, 0], parts.means[1, 1]) == (100, 40)
        elif asked["covariance_type"] == "tied":
            np.testing.assert_array_equal(parts.scale_trils[0], parts.scale_trils[1])
        else:
            np.testing.assert_array_equal(parts.scales[:, 0], parts.scales[:, 1])


@pytest.mark.parametrize(
    ("chunks", "error", "match"),
    [
        ((x for x in [[1.0, 2.0]]), TypeError, "can be read only once"),
        (7, TypeError, "must be iterable"),
        ([], ValueError, "chunks hold no data"),
        ([[1.0, 2.0], [[1.0, 2.0]]], ValueError, "chunk 1 has points of shape"),
        ([[1.0, 2.0], [np.inf]], ValueError, "chunk 1 has 1 infinite"),
        ([([1.0, 2.0], [1.0])], ValueError, "sample_weight of chunk 0"),
        ([([1.0, 2.0], [0.0, 0.0])], ValueError, "chunks hold no data"),
        ([[3.0, 3.0], [3.0]], ValueError, "same number"),
        ([[3.0]], ValueError, "n_components is 2 but there are 1 points|same number"),
    ],
)
def test_bad_chunks_are_named(chunks, error, match):
    with pytest.raises(error, match=match):
        fit_chunks(chunks, 2)


GOOD = [[1.0, 2.0, 5.0], [6.0, 8.5]]


@pytest.mark.parametrize(
    ("chunks", "asked", "error", "match"),
    [
        ([[1.0], [2.0, -3.0]], {"family": Poisson}, ValueError, "chunk 1: data for Poisson.*-3"),
        ([[[1.0, np.nan]], [[2.0, np.nan]]], {}, ValueError, "column 1 of data has no values"),
        (GOOD, {"fixed": {"mean": [1, 2]}}, ValueError, "no parameter called 'mean'"),
        (GOOD, {"fixed": {"means": [1, 2, 3]}}, ValueError, r"has shape \(3,\)"),
        (GOOD, {"fixed": {"scales": [1, -2]}}, ValueError, "scales must be above zero"),
        (GOOD, {"shared": {"scales": [0, 1, 2]}}, ValueError, "one group number for each of 2"),
        (GOOD, {"covariance_type": "round"}, ValueError, "covariance_type must be one of"),
        (GOOD, {"start": np.ones((5, 2)) / 2}, TypeError, "start must be .*or a Mixture"),
        (GOOD, {"start": "corners"}, ValueError, "start must be one of"),
        (GOOD, {"sample_size": 1}, ValueError, "sample_size must be at least 2"),
    ],
)
def test_what_cannot_be_asked_is_named(chunks, asked, error, match):
    with pytest.raises(error, match=match):
        fit_chunks(chunks, 2, **asked)


def test_fixed_parameters_may_tell_how_many():
    result = fit_chunks(GOOD, fixed={"means": [1.5, 6.0, np.nan], "scales": 1.0})
    assert result.mixture.n_components == 3
    np.testing.assert_array_equal(result.mixture.components.scales, 1)
    with pytest.raises(TypeError, match="n_components is missing"):
        fit_chunks(GOOD)


def test_an_array_that_is_not_in_chunks_is_read_slice_by_slice(tmp_path, monkeypatch):
    monkeypatch.setattr(_chunks, "SLICE", 100)
    points, _ = table()
    np.save(tmp_path / "points.npy", points)
    on_disk = np.load(tmp_path / "points.npy", mmap_mode="r")
    assert [len(chunk) for chunk, _ in as_chunks(on_disk)()] == [100] * 9
    start = Mixture([0.5, 0.5], Normal(points[:2], 1.0))
    cut = fit_chunks(np.array_split(points, 9), 2, start=start, family=Normal)
    whole = fit_chunks(on_disk, 2, start=start, family=Normal)
    assert whole.log_likelihood == pytest.approx(cut.log_likelihood, rel=1e-6)
    assert [len(chunk) for chunk, _ in as_chunks(points[:, 0])()] == [100] * 9
