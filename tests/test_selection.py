"""`select`: the number of components is found on simulated data, and spikes are rejected."""

import jax
import numpy as np
import pytest

import gmm_jax
from gmm_jax import FitWarning, MultivariateNormal, Normal, select
from gmm_jax.selection import CRITERIA

OF_POINT_ESTIMATES = [criterion for criterion in CRITERIA if criterion != "evidence"]


def clusters(seed, d, n=180):
    """Three clusters, far apart, of unequal shares and widths; one n, so that one compilation."""
    rng = np.random.default_rng(seed)
    z = rng.choice(3, n, p=[0.5, 0.3, 0.2])
    scales = np.array([1.0, 0.7, 1.3])[z]
    if d == 1:
        return np.array([0.0, 12.0, 26.0])[z] + scales * rng.normal(size=n)
    return np.array([[0, 0], [12, 1], [3, 14]])[z] + scales[:, None] * rng.normal(size=(n, d))


def chosen(selection):
    return selection.best.mixture.n_components


@pytest.mark.parametrize("criterion", OF_POINT_ESTIMATES)
def test_the_bentos_are_two(bentos, criterion):
    selection = select(bentos, criterion=criterion)
    assert chosen(selection) == 2
    assert [row["n_components"] for row in selection.table] == [1, 2, 3, 4, 5, 6]
    assert selection.criterion == criterion
    if criterion != "held_out":
        assert least(selection.table, criterion) == 2


@pytest.mark.parametrize("seed", range(4))
def test_the_bentos_are_two_in_any_division(bentos, seed):
    key = jax.random.key(seed)
    assert chosen(select(bentos, range(1, 5), criterion="held_out", key=key)) == 2


@pytest.mark.slow
@pytest.mark.parametrize("criterion", OF_POINT_ESTIMATES)
def test_the_bentos_are_two_with_many_starts(bentos, criterion, x64):
    """More starts find more spikes; they are worth more likelihood than any penalty."""
    selection = select(bentos, range(2, 5), criterion=criterion, n_restarts=60)
    assert chosen(selection) == 2


SEEDS = [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2))]


@pytest.mark.slow
@pytest.mark.parametrize("d", [1, 2])
@pytest.mark.parametrize("seed", SEEDS)
def test_three_clusters_are_found(seed, d):
    """Folds are random: one division in several finds a fourth component in some data sets."""
    key = jax.random.key(seed)
    assert_three(select(clusters(seed, d), range(1, 5), criterion="held_out", key=key))


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_heavy_ties_make_no_components(seed):
    rounded = np.round(clusters(seed, 1) * 2) / 2
    assert len(np.unique(rounded)) < 40
    assert_three(select(rounded, range(1, 5), criterion="held_out"))


def assert_three(selection):
    """By cross-validation, and by the other criteria's columns of the same table."""
    assert chosen(selection) == 3
    for criterion in ("bic", "icl"):
        assert least(selection.table, criterion) == 3


def least(table, criterion):
    """Number of components of the row that is least; those that were rejected have NaN."""
    return table[int(np.nanargmin([row[criterion] for row in table]))]["n_components"]


@pytest.mark.slow
def test_weight_three_is_three_copies():
    x = clusters(5, 1)[:170]
    weight = np.where(np.arange(170) < 5, 3, 1)
    weighted = select(x, range(1, 5), sample_weight=weight)
    copied = select(np.repeat(x, weight), range(1, 5))
    assert chosen(weighted) == chosen(copied) == 3
    for a, b in zip(weighted.table[:3], copied.table[:3], strict=True):
        for name in ("bic", "icl", "aic", "log_likelihood"):
            np.testing.assert_allclose(a[name], b[name], rtol=1e-4)
    options = {"criterion": "held_out", "n_folds": 4}
    weighted = select(x, [2, 3], sample_weight=weight, **options)
    copied = select(np.repeat(x, weight), [2, 3], **options)
    assert chosen(weighted) == chosen(copied) == 3
    for a, b in zip(weighted.table, copied.table, strict=True):
        np.testing.assert_allclose(a["held_out"], b["held_out"], rtol=1e-4)


def test_a_spike_of_equal_values_is_rejected_with_its_reason():
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(0, 1, 150), np.full(30, 5.0)])
    selection = select(x, [1, 2])
    assert chosen(selection) == 1
    assert selection.table[1]["status"].startswith("rejected: ")
    assert np.isnan(selection.table[1]["bic"])
    assert "rejected" in str(selection)


def test_a_narrow_component_of_many_points_is_kept():
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(0, 1, 90), rng.normal(4, 1e-4, 90)])
    assert chosen(select(x, [1, 2])) == 2


def test_criteria_by_hand(bentos, x64):
    """ICL from the definition, on overlapping components; AIC and BIC of the same fit."""
    x = np.random.default_rng(3).normal([0, 2], 1, (50, 2)).ravel()
    weight = np.arange(100) % 3
    best = select(x, 2, sample_weight=weight).best
    w, (m, s) = np.asarray(best.mixture.weights), jax.tree.leaves(best.mixture.components)
    joint = w * np.exp(-(((x[:, None] - m) / s) ** 2) / 2) / s / np.sqrt(2 * np.pi)
    shares = joint / joint.sum(1, keepdims=True)
    entropy = -(shares * np.log(shares)).sum(1)
    log_likelihood = weight @ np.log(joint.sum(1))
    expected = -2 * log_likelihood + 5 * np.log(weight.sum()) + 2 * weight @ entropy
    np.testing.assert_allclose(best.icl, expected, rtol=1e-9)


def test_held_out_by_hand(x64):
    """One normal: each fold's log density at the mean and spread of the rest."""
    x = np.random.default_rng(1).normal(3, 2, 12)
    got = select(x, 1, criterion="held_out", n_folds=12).table[0]["held_out"]
    rest = [np.delete(x, i) for i in range(12)]
    z = [(x[i] - r.mean()) / r.std() for i, r in enumerate(rest)]
    expected = np.mean([-(a**2) / 2 - np.log(r.std() * np.sqrt(2 * np.pi))
                        for a, r in zip(z, rest, strict=True)])  # fmt: skip
    np.testing.assert_allclose(got, expected, rtol=1e-6)


@pytest.mark.slow
def test_families_compete():
    rng = np.random.default_rng(2)
    x = rng.normal(size=(180, 2)) @ np.array([[1, 0.95], [0, 0.3]])
    selection = select(x, [1, 2], family=[Normal, MultivariateNormal])
    assert isinstance(selection.best.mixture.components, MultivariateNormal)
    assert chosen(selection) == 1
    frame = selection.to_frame()
    assert list(frame.family) == ["Normal"] * 2 + ["MultivariateNormal"] * 2
    assert list(frame.n_parameters) == [4, 9, 5, 11]


@pytest.mark.filterwarnings(f"error::{FitWarning.__module__}.FitWarning")
def test_nothing_sound_says_what_to_do():
    with pytest.raises(ValueError, match="Try fewer components, a family with fewer parameters"):
        select([1.0, 1.0, 2.0, 2.0], [2])
    with pytest.raises(ValueError, match="exceed the number of distinct points"):
        select([1.0, 1.0, 2.0, 2.0], [3])


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"criterion": "loo"}, "criterion must be one of"),
        ({"n_components": []}, "must name at least one candidate"),
        ({"n_components": [0]}, "n_components must be at least 1"),
        ({"sample_weight": [1]}, "sample_weight must have one entry"),
        ({"n_folds": 1}, "n_folds must be at least 2"),
    ],
)
def test_bad_arguments(arguments, match):
    with pytest.raises(ValueError, match=match):
        gmm_jax.select([1.0, 2.0, 4.0], **arguments)


@pytest.mark.slow
def test_evidence_over_numbers_of_components(bentos, tutorial_prior):
    """Against enumeration and quadrature: log evidence, and the posterior over 1 to 4."""
    found = gmm_jax.select(bentos, range(1, 5), prior=tutorial_prior, criterion="evidence")
    exact = {1: -161.798552, 2: -68.520791, 3: -69.594284, 4: -70.724597}
    for k, fitted in found.fits.items():
        allowed = 5 * fitted.log_evidence_error + 0.01
        assert fitted.log_evidence == pytest.approx(exact[k], abs=allowed)
    expected = [2e-41, 0.688613, 0.235377, 0.076011]
    np.testing.assert_allclose(list(found.probabilities.values()), expected, atol=0.02)
    assert found.best.draws.weights.shape[1] == 2
    assert "most probable: 2 components (beforehand: all equally probable)" in str(found)


def test_of_posterior_modes_is_said(bentos, tutorial_prior):
    modes = select(bentos, [2], prior=tutorial_prior, criterion="bic")
    assert "chosen by bic of posterior modes: 2 components" in str(modes)
    assert "chosen by bic: 2 components" in str(select(bentos, [2], criterion="bic"))


@pytest.mark.slow
def test_evidence_of_data_with_missing_values():
    """Independent columns, each seen in other rows."""
    data = [[0.1], [0.3], [3.1], [2.9]]
    prior = gmm_jax.MixturePrior(1, gmm_jax.NormalInverseGamma(1.0, 0.5, 2, 1))
    options = dict(prior=prior, criterion="evidence")
    both = [[*row, np.nan] for row in data[:2]] + [[np.nan, *row] for row in data[2:]]
    found = gmm_jax.select(both, [1], **options, n_draws=2000).best
    halves = [gmm_jax.testing.exact(data[i : i + 2], prior, 1).log_evidence for i in (0, 2)]
    assert found.log_evidence == pytest.approx(sum(halves), abs=5 * found.log_evidence_error)


def test_evidence_wants_conditionals():
    options = dict(prior="default", family=gmm_jax.StudentT, criterion="evidence")
    with pytest.raises(ValueError, match="IndependentPrior does not have: compare without"):
        gmm_jax.select([1.0, 2.0, 5.0, 4.0], [1, 2], **options)


def test_evidence_wants_a_prior():
    with pytest.raises(ValueError, match="needs a prior"):
        gmm_jax.select([1.0, 2.0, 5.0], [1, 2], criterion="evidence")
