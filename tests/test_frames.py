"""Results as pandas data frames, against the parameters themselves and NumPy's quantiles."""

import dataclasses
import re
import warnings
from types import SimpleNamespace

import jax
import numpy as np
import pytest

import gmm_jax
from gmm_jax import FitWarning, Mixture, fit, summaries
from gmm_jax._pytree import rebuild


def test_components_of_a_point_estimate():
    rng = np.random.default_rng(0)
    data = np.r_[rng.normal(0, 1, (60, 2)), rng.normal([9, 4], 1, (40, 2))]
    fitted = fit(data, 2, covariance_type="diag")
    frame = fitted.to_frame()
    assert frame.index.name == "component"
    components = fitted.mixture.components
    np.testing.assert_array_equal(frame["weights"], np.asarray(fitted.mixture.weights))
    for j in range(2):
        np.testing.assert_array_equal(frame[f"means[{j}]"], np.asarray(components.means)[:, j])
        np.testing.assert_array_equal(frame[f"scales[{j}]"], np.asarray(components.scales)[:, j])
    np.testing.assert_allclose(frame["means[1]"], [data[:60, 1].mean(), data[60:, 1].mean()], 1e-2)


def test_draws_have_intervals_where_they_are_honest(draws_by_hand):
    frame = draws_by_hand.to_frame(mass=0.8)
    means = np.asarray(draws_by_hand.draws.components.means, np.float64)
    np.testing.assert_allclose(frame["means"], means.mean(0), rtol=1e-6)
    low, high = np.quantile(means, [0.1, 0.9], axis=0)
    np.testing.assert_allclose(frame["means_low"], low, rtol=1e-6)
    np.testing.assert_allclose(frame["means_high"], high, rtol=1e-6)
    np.testing.assert_array_equal(draws_by_hand.relabel("order").to_frame(0.8), frame)
    with pytest.raises(ValueError, match="mass must be between 0 and 1, got 1"):
        draws_by_hand.to_frame(mass=1)


def test_printed_columns_stand_apart_however_wide(draws_by_hand):
    far = draws_by_hand.frame._replace(centre=np.array(-1e-9 / 3), unit=np.array(1e-9 / 3))
    for result in (draws_by_hand, dataclasses.replace(draws_by_hand, frame=far)):
        head, *rows = summaries.table_of_draws(result.draws)[:-1]
        cells = [re.split(r"  +", row) for row in rows]
        assert head.split() == ["component", "weights", "means", "scales"]
        assert all(len(row) == 4 for row in cells)
        assert len({len(row) for row in (head, *rows)}) == 1


def test_draws_that_mean_nothing_have_no_frame(draws_by_hand):
    alike = jax.tree.map(lambda a: np.stack([a[:, 1], a[:, 1]], 1), draws_by_hand.inside)
    alike.components.means.sort(1)
    doubtful = dataclasses.replace(draws_by_hand, inside=alike)
    named = draws_by_hand.relabel("order")
    assert str(named) == named.summary()
    assert str(doubtful.relabel("order")).endswith(f"don't tell components apart: {doubtful.doubt}")
    for result in (doubtful, doubtful.relabel("order")):
        with pytest.raises(ValueError, match=r"no honest table of components.*`density_band`"):
            result.to_frame()
    for answer in (doubtful.assign, doubtful.responsibilities):
        with pytest.warns(FitWarning, match="don't tell these components apart.*`partition`"):
            answer()
    with warnings.catch_warnings():
        warnings.simplefilter("error", FitWarning)
        draws_by_hand.assign()


@pytest.mark.parametrize(
    ("statistics", "error", "match"),
    [
        (np.mean, TypeError, r"statistics must be functions by name, such as.*<function mean"),
        ({"bad": "mean"}, TypeError, r"functions by name.*got \{'bad': 'mean'\}"),
        ({"ends": lambda x: (x[0], x[0])}, TypeError, r"\['ends'\] must return one number, got \["),
        ({"none": lambda x: None}, TypeError, r"\['none'\] must return one number, got None"),
        ({"gap": lambda x: np.nan}, ValueError, r"\['gap'\] of the data is nan.*np\.nanmean"),
    ],
)
def test_statistics_that_compare_nothing_are_named(draws_by_hand, statistics, error, match):
    with pytest.raises(error, match=match):
        draws_by_hand.check(statistics)


def test_many_fits_have_a_row_each(bentos):
    many = gmm_jax.fit_many([bentos, bentos[:14] + 2], 2)
    frame = many.to_frame()
    assert (len(frame), frame.index.name) == (2, "set")
    for i in range(2):
        own = many[i]
        assert frame["bic"][i] == pytest.approx(own.bic)
        assert frame["status"][i] == own.message
        means = [frame["means[0]"][i], frame["means[1]"][i]]
        np.testing.assert_allclose(means, own.mixture.components.means, rtol=1e-6)
    np.testing.assert_array_equal(frame["size"], [20, 14])


def test_without_labels_every_feature_has_its_mean(draws_by_hand):
    twice = jax.tree.map(lambda a: np.stack([a, a + 1], -1), draws_by_hand.draws.components)
    draws = rebuild(Mixture, weights=draws_by_hand.draws.weights, components=twice)
    unlabelled = SimpleNamespace(draws=draws, doubt="they are alike", occupied=lambda: [0.0, 1.0])
    lines = [line.split() for line in summaries._label_free(unlabelled) if "mean of" in line]
    centre = (draws_by_hand.draws.weights * draws_by_hand.draws.components.means).sum(-1)
    assert [line[3] for line in lines] == ["mixture[0]", "mixture[1]"]
    middle = float(centre.mean())
    assert [float(line[4]) for line in lines] == pytest.approx([middle, middle + 1], rel=1e-4)
