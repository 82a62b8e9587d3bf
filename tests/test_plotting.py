"""Pictures show the numbers of the result, on tidy and on ugly data."""

import jax
import matplotlib as mpl
import numpy as np
import pytest

import gmm_jax
from gmm_jax.datasets import BENTOS

mpl.use("Agg")
from matplotlib import pyplot

PRIOR = gmm_jax.DirichletNormalGamma(concentration=1, mean=400, mean_scale=50, shape=2, rate=1)


@pytest.fixture(autouse=True)
def close_figures():
    yield
    pyplot.close("all")


def lines(ax):
    return [line.get_xydata() for line in ax.get_lines() if len(line.get_xydata()) > 50]


def test_a_curve_is_the_density():
    data = np.random.default_rng(0).normal(size=300)
    result = gmm_jax.fit(data, 2)
    curves = lines(result.plot())
    matches = 0
    for curve in curves:
        x, y = curve[np.isfinite(curve).all(1)].T
        matches += np.allclose(y, np.exp(result.log_prob(x)), rtol=1e-3, atol=1e-5)
    assert matches >= 1


def test_draws_into_given_axes():
    _, ax = pyplot.subplots()
    assert gmm_jax.fit(BENTOS, 2).plot(ax) is ax


def test_bentos_legend_names_both_kinds():
    ax = gmm_jax.fit(BENTOS, 2).plot()
    text = " ".join(entry.get_text() for entry in ax.get_legend().get_texts())
    assert "mean 350." in text
    assert "500.0" in text


def test_posterior_has_a_band():
    ax = gmm_jax.fit(BENTOS, 2, prior=PRIOR).plot()
    text = " ".join(entry.get_text() for entry in ax.get_legend().get_texts())
    assert "95 %" in text
    assert ax.collections


UGLY = {
    "one component": (np.arange(10.0), {"n_components": 1}),
    "outlier": (np.append(np.random.default_rng(0).normal(size=200), 1e6), {"n_components": 2}),
    "many points": (np.random.default_rng(0).normal(size=200_000), {"n_components": 2}),
    "two features": (np.random.default_rng(0).normal(size=(200, 2)), {"n_components": 2}),
    "independent features": (
        np.random.default_rng(0).normal(size=(200, 2)),
        {"n_components": 2, "family": gmm_jax.Normal},
    ),
    "five features": (np.random.default_rng(0).normal(size=(200, 5)), {"n_components": 2}),
    "marbles": ([1, 0, 1, 1], {"family": gmm_jax.Bernoulli, "fixed": {"probs": [0.8, 0.3]}}),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", UGLY)
def test_ugly_data(name, tmp_path):
    data, options = UGLY[name]
    ax = gmm_jax.fit(data, **options).plot()
    ax.figure.savefig(tmp_path / "picture.png")
    assert (tmp_path / "picture.png").stat().st_size > 5000


@pytest.mark.slow
def test_components_that_draws_cannot_tell_apart(tmp_path):
    result = gmm_jax.fit(BENTOS, 3, prior=PRIOR, key=jax.random.key(1), n_draws=2000)
    result.plot().figure.savefig(tmp_path / "picture.png")
    assert (tmp_path / "picture.png").exists()


@pytest.mark.slow
def test_the_prior_is_drawn_beside_the_data(tmp_path):
    """Bars are the histogram of the data; what a picture can't show is refused."""
    data = np.array(BENTOS, float)
    axes = gmm_jax.plotting.plot_prior(gmm_jax.default_prior(data, 2), 2, data)
    assert len(axes) == 9
    bars = axes[0].patches
    low = np.array([bar.get_x() for bar in bars])
    heights = np.array([bar.get_height() for bar in bars])
    counts = np.histogram(data, np.append(low, low[-1] + bars[0].get_width()))[0]
    np.testing.assert_allclose(heights, counts / counts.max())
    table = np.column_stack([data, np.random.default_rng(0).gamma(2, 1, len(data))])
    axes = gmm_jax.plotting.plot_prior(gmm_jax.default_prior(table, 2), 2, table)
    np.testing.assert_allclose(axes[0].collections[0].get_offsets(), table)
    axes[0].figure.savefig(tmp_path / "prior.png")
    ones = (table > 400).astype(float)
    prior = gmm_jax.default_prior(ones, 2, gmm_jax.Bernoulli)
    with pytest.raises(ValueError, match="plot_prior draws numbers"):
        gmm_jax.plotting.plot_prior(prior, 2, ones)


def test_a_picture_of_no_prior_is_refused():
    with pytest.raises(TypeError, match=r"must be a MixturePrior .* got 'default'"):
        gmm_jax.plotting.plot_prior("default", 3, BENTOS)
