"""Every block of Python in the README runs, and says what the README says it says."""

import re

import numpy as np
import pages
import pytest
from scipy import stats

import gmm_jax

README = pages.ROOT / "README.md"
BLOCKS = pages.blocks(README)


def run(words: str) -> dict:
    """What the one block with these words defines."""
    (block,) = (block for block in BLOCKS if words in block)
    return pages.run(README, [block])


def test_ten_lines(capsys):
    names = run("# no prior: EM")
    point, posterior = names["point"], names["posterior"]
    np.testing.assert_allclose(point.mixture.weights, [0.4, 0.6], atol=1e-5)
    np.testing.assert_allclose(point.mixture.components.means, [350.25, 500.0], atol=1e-4)
    assert point.bic == pytest.approx(123.4532, abs=1e-3)
    assert posterior.log_evidence == pytest.approx(-68.520791, abs=0.03)
    assert len(BLOCKS[0].strip().splitlines()) <= 11
    assert "log evidence" in capsys.readouterr().out


@pytest.mark.slow
def test_a_prior_for_any_family():
    names = run("GammaPoisson")
    assert names["posterior"].log_evidence_error < 0.05
    np.testing.assert_allclose(names["mode"].mixture.components.rates, [1, 9.5], atol=0.6)


@pytest.mark.slow
def test_draws_without_labels():
    names = run('method="gibbs"')
    assert names["chains"].convergence["log likelihood"].r_hat < 1.01
    assert np.all(names["low"] < names["middle"])
    assert np.all(names["middle"] < names["high"])
    assert set(names["tree"].posterior.data_vars) == {"weights", "means", "scales"}


def test_a_density_of_your_own():
    names = run("Wrapped.of")
    fitted = gmm_jax.fit(names["waits"], 2, family=names["family"]).mixture
    np.testing.assert_allclose(fitted.components.parameters["loc"], [2, 9], atol=0.15)


def test_coffee_blends():
    names = run("decision_boundaries()}")
    components = names["fitted"].mixture.components
    np.testing.assert_allclose(components.means, [62, 80, 96], atol=1.5)
    np.testing.assert_allclose(components.scales, [3, 2.5, 4], atol=1)
    assert names["right"] > 0.98
    assert len(names["fitted"].mixture.decision_boundaries()) >= 2


def test_marble_factories():
    np.testing.assert_allclose(
        run("family=gmm_jax.Bernoulli")["shares"].mixture.weights, [0.6, 0.4], atol=1e-6
    )


@pytest.mark.slow
def test_a_model_of_your_own():
    names = run("gmm_jax.sample(shifted")
    # The shift has a normal posterior for each component that the point may be of.
    odds = np.array([0.3, 0.7]) * stats.norm.pdf(4.2, [0, 5], np.sqrt(101))
    means = (4.2 - np.array([0, 5])) * 100 / 101
    exact = odds @ means / odds.sum()
    draws, posterior = names["posterior"].draws["shift"], names["posterior"]
    assert draws.mean() == pytest.approx(exact, abs=5 * draws.std() / np.sqrt(posterior.ess))
    shift = float(names["trace"].get_choices()["shift"])
    densities = [np.exp(-((4.2 - shift - m) ** 2) / 2) / np.sqrt(2 * np.pi) for m in (0, 5)]
    expected = np.log(0.3 * densities[0] + 0.7 * densities[1])
    assert float(names["log_weight"]) == pytest.approx(expected, rel=1e-4)


@pytest.mark.slow
def test_how_many_components():
    selection = run("range(1, 7)")["selection"]
    assert selection.best.mixture.n_components == 2
    assert selection.best.bic == pytest.approx(123.4532, abs=1e-3)


def test_standard_errors():
    errors = run("standard_errors")["errors"]
    expected = [1.9843 / 8**0.5, 1.7795 / 12**0.5]
    np.testing.assert_allclose(errors.components.means, expected, rtol=1e-3)


def test_one_feature_given_another():
    """By Bayes' rule and linear regression within each component."""
    names = run("people.condition")
    slopes, gaps = np.array([30 / 40, 35 / 45]), 172 - np.array([165, 178])
    shares = stats.norm.pdf(gaps, 0, np.sqrt([40, 45]))
    shares = shares / shares.sum()
    means, scales = [62, 78] + slopes * gaps, np.sqrt([60 - 30**2 / 40, 80 - 35**2 / 45])
    quantiles = names["weight"].icdf([0.05, 0.5, 0.95])
    below = stats.norm.cdf(quantiles[:, None], means, scales) @ shares
    np.testing.assert_allclose(below, [0.05, 0.5, 0.95], atol=1e-5)
    assert len(names["bentos"].hdr(0.9)) == 2


@pytest.mark.slow
def test_mixed_tables_with_holes_and_noise():
    names = run("Product.of")
    assert not np.isnan(names["completed"]).any()
    means = np.sort(names["fitted"].mixture.components.parts[0].means)
    np.testing.assert_allclose(means, [15, 40], atol=2)
    trils = names["tied"].mixture.components.scale_trils
    np.testing.assert_array_equal(trils[0], trils[1])
    assert abs(names["cluster"].mixture.components.parts[0].means[0]) < 0.3
    assert names["cluster"].mixture.weights[1] == pytest.approx(60 / 360, abs=0.06)


@pytest.mark.slow
def test_many_sets_and_chunks():
    names = run("fit_many")
    assert len(names["many"]) == 100
    for name in ("streamed", "later"):
        np.testing.assert_allclose(names[name].mixture.components.means, [0, 6], atol=0.15)


@pytest.mark.slow
def test_data_on_several_devices():
    """With whatever devices there are; `test_sharding` has eight."""
    names = run("NamedSharding")
    assert names["fitted"].log_likelihood == pytest.approx(
        gmm_jax.fit(names["points"], 2).log_likelihood, abs=0.5
    )


def test_links_lead_somewhere():
    links = re.findall(r"\]\(([^)]+)\)", README.read_text())
    assert len(links) > 30
    assert [link for link in links if not (pages.ROOT / link).exists()] == []
