"""Pictures by name show numbers that other means confirm, or refuse."""

import dataclasses

import jax
import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
import pytest
from scipy import special, stats

import gmm_jax
from gmm_jax import (
    Categorical,
    Mixture,
    Normal,
    Poisson,
    Product,
    importance,
    plotting,
    relabelling,
)
from gmm_jax._data import Frame
from gmm_jax._pytree import rebuild
from gmm_jax.datasets import BENTOS
from gmm_jax.evidence import Evidence
from gmm_jax.plotting.paper import COLOURS
from gmm_jax.posterior_fit import PosteriorFit
from gmm_jax.predictive_checks import PredictiveCheck
from gmm_jax.selection import Selection

mpl.use("Agg")
from matplotlib import pyplot
from matplotlib.colors import to_rgb

DATA = np.array(BENTOS, float)
PRIOR = gmm_jax.DirichletNormalGamma(concentration=1, mean=400, mean_scale=50, shape=2, rate=1)


@pytest.fixture(autouse=True)
def close_figures():
    yield
    pyplot.close("all")


@pytest.fixture(scope="module")
def overlapping():
    """Known normals, one inside the other, so that there are two boundaries; shares are fitted."""
    rng = np.random.default_rng(0)
    data = np.concatenate([rng.normal(0, 1, 60), rng.normal(1, 3, 40)])
    return gmm_jax.fit(data, family=Normal, fixed={"means": [0.0, 1.0], "scales": [1.0, 3.0]})


@pytest.fixture(scope="module")
def flat():
    """One normal in three dimensions, whose estimate is the mean and covariance of the data."""
    mix = np.array([[2.0, 0, 0], [1.0, 0.5, 0], [-1.0, 0.3, 1.5]])
    return gmm_jax.fit(np.random.default_rng(1).normal(size=(150, 3)) @ mix.T, 1)


@pytest.fixture(scope="module")
def searched():
    return gmm_jax.fit(DATA, 2)


@pytest.fixture(scope="module")
def drawn():
    """Draws by hand, about as the posterior of the bentos has them."""
    rng, frame = np.random.default_rng(7), Frame.of(DATA, np.ones(20))
    means = (rng.normal([350, 500], 0.6, (500, 2)) - frame.centre) / frame.unit
    scales = rng.gamma(30, 2 / 30, (500, 2)) / frame.unit
    weights = rng.dirichlet([9, 13], 500)
    weights, means, scales = (jnp.asarray(a, jnp.float32) for a in (weights, means, scales))
    components = rebuild(Normal, means=means, scales=scales)
    return PosteriorFit(
        data=DATA, sample_weight=np.ones(20), frame=frame, method="importance", reason="by hand",
        inside=rebuild(Mixture, weights=weights, components=components),
        prior=PRIOR, log_evidence=-70.0, log_evidence_error=0.1, effective_sample_size=400.0,
        pareto_k=0.2, log_importance_weights=rng.normal(size=2000), ordered=True,
    )  # fmt: skip


@pytest.fixture(scope="module")
def chained(drawn):
    """The same draws, as if two chains had made them."""
    from gmm_jax import convergence

    found = {"log likelihood": convergence.Quality(1.001, 300.0, 250.0)}
    weights = np.zeros(drawn.n_draws)
    return dataclasses.replace(
        drawn, n_chains=2, convergence=found, method="gibbs", log_importance_weights=weights
    )


@pytest.fixture(scope="module")
def mixed():
    """Numbers, counts and categories, some missing; the components are known."""
    rng = np.random.default_rng(2)
    z = rng.random(200) < 0.4
    table = np.column_stack(
        [rng.normal(np.where(z, 3, 0)), rng.poisson(np.where(z, 8, 2)), rng.integers(0, 3, 200)]
    )
    table[:7, 2] = np.nan
    fixed = {
        "parts[0].means": [0.0, 3.0],
        "parts[0].scales": [1.0, 1.0],
        "parts[1].rates": [2.0, 8.0],
        "parts[2].probs": np.full((2, 3), 1 / 3),
    }
    return gmm_jax.fit(table, 2, family=Product.of(Normal, Poisson, Categorical), fixed=fixed)


def joint(result, points):
    """Weights times densities of normals, by SciPy."""
    components, weights = result.mixture.components, np.asarray(result.mixture.weights)
    means, scales = np.asarray(components.means), np.asarray(components.scales)
    return weights * stats.norm.pdf(np.asarray(points)[:, None], means.ravel(), scales.ravel())


def labelled(artists, word):
    return [artist for artist in artists if word in str(artist.get_label())]


def note_of(ax):
    return " ".join(text.get_text() for text in ax.texts).replace("\n", " ")


def test_responsibilities_are_stacked_by_component(overlapping):
    ax = overlapping.plot("responsibilities")
    shares = joint(overlapping, overlapping.data)
    shares /= shares.sum(1, keepdims=True)
    best = shares.argmax(1)
    order = np.lexsort((-shares.max(1), best))
    bottoms = []
    for i, patch in enumerate(labelled(ax.patches, "component")):
        top, _, bottom = patch.get_data()
        np.testing.assert_allclose(top - bottom, shares[order, i], atol=1e-5)
        bottoms.append(bottom)
    lowest = np.array(bottoms)[best[order], np.arange(len(order))]
    np.testing.assert_allclose(lowest, 0, atol=1e-6)  # its own component is at the bottom
    unsure = (shares.max(1) < 0.9).mean()
    assert f"{unsure:.1%} of the points" in note_of(ax)


def test_regions_of_one_feature_end_at_both_roots(overlapping):
    """w N(0, 1) = v N(1, 3) is a quadratic."""
    w, v = np.asarray(overlapping.mixture.weights, float)
    roots = np.roots([1 / 18 - 1 / 2, -1 / 9, np.log(3 * w / v) + 1 / 18])
    ax = overlapping.plot("regions")
    found = [line.get_xdata()[0] for line in labelled(ax.get_lines(), "boundary")]
    np.testing.assert_allclose(np.sort(found), np.sort(roots), atol=1e-4)
    (curve,) = labelled(ax.get_lines(), "component 0")
    x, y = curve.get_data()
    shares = joint(overlapping, x)
    np.testing.assert_allclose(y, shares[:, 0] / shares.sum(1), atol=1e-4)
    within = (x > min(roots)) & (x < max(roots))
    assert np.all((y > 0.5)[np.abs(y - 0.5) > 1e-3] == within[np.abs(y - 0.5) > 1e-3])


def test_regions_of_two_features_have_the_colour_of_the_most_probable():
    rng = np.random.default_rng(3)
    data = np.concatenate([rng.normal(0, 1, (50, 2)), rng.normal((4, 0), (0.5, 2), (50, 2))])
    fixed = {"means": [[0.0, 0.0], [4.0, 0.0]], "scales": [[1.0, 1.0], [0.5, 2.0]]}
    result = gmm_jax.fit(data, family=Normal, fixed=fixed)
    ax = result.plot("regions")
    (image,) = ax.images
    pixels, (left, right, bottom, top) = np.asarray(image.get_array()), image.get_extent()
    rows, columns = pixels.shape[:2]
    x = left + (np.arange(columns) + 0.5) / columns * (right - left)
    y = bottom + (np.arange(rows) + 0.5) / rows * (top - bottom)
    grid = np.stack(np.meshgrid(x, y), -1)[..., None, :]
    logs = stats.norm.logpdf(grid, fixed["means"], fixed["scales"]).sum(-1)
    logs += np.log(np.asarray(result.mixture.weights))
    sure = np.abs(np.diff(logs, axis=-1)[..., 0]) > 0.01
    palette = np.array([to_rgb(plotting.paper.colour(i)) for i in range(2)])
    np.testing.assert_allclose(pixels[sure][:, :3], palette[logs.argmax(-1)[sure]], atol=1e-6)
    assert left < data[:, 0].min()
    assert top > data[:, 1].max()


def test_pairs_show_the_covariance_of_the_data(flat):
    covariance = np.cov(flat.data.T, bias=True)
    axes = flat.plot("pairs")
    assert axes.shape == (3, 3)
    for row, column in ((1, 0), (2, 0), (2, 1)):
        (ellipse,) = labelled(axes[row, column].patches, "component 0, 2 sd")
        pair = [column, row]
        variances = np.linalg.eigvalsh(covariance[np.ix_(pair, pair)])
        np.testing.assert_allclose(
            sorted([ellipse.width, ellipse.height]), 4 * np.sqrt(variances), rtol=1e-4
        )
        np.testing.assert_allclose(ellipse.center, flat.data.mean(0)[pair], atol=1e-4)
        assert not axes[column, row].axison
    for j in range(3):
        (curve,) = labelled(axes[j, j].get_lines(), "density")
        normal = stats.norm(flat.data[:, j].mean(), np.sqrt(covariance[j, j]))
        np.testing.assert_allclose(curve.get_ydata(), normal.pdf(curve.get_xdata()), atol=1e-4)
    (other,) = labelled(plotting.ellipses(flat, dims=(2, 0)).patches, "component 0, 1 sd")
    variances = np.linalg.eigvalsh(covariance[np.ix_([2, 0], [2, 0])])
    sides = np.sort([other.width, other.height])
    np.testing.assert_allclose(sides, 2 * np.sqrt(variances), rtol=1e-4)


def test_features_of_a_mixed_table(mixed):
    """Shares of categories are counted; densities of numbers and counts come from SciPy."""
    numbers, counts, categories = mixed.plot("features")
    weights = np.asarray(mixed.mixture.weights)
    (curve,) = labelled(numbers.get_lines(), "component 1")
    expected = weights[1] * stats.norm.pdf(curve.get_xdata(), 3)
    np.testing.assert_allclose(curve.get_ydata(), expected, atol=1e-4)
    (curve,) = labelled(counts.get_lines(), "density")
    x = curve.get_xdata()
    np.testing.assert_array_equal(x, np.round(x))
    np.testing.assert_allclose(
        curve.get_ydata(), stats.poisson.pmf(x[:, None], [2, 8]) @ weights, atol=1e-4
    )
    heights = np.array([bar.get_height() for bar in categories.patches]).reshape(2, 3).sum(0)
    column = mixed.data[:, 2]
    seen = column[~np.isnan(column)].astype(int)
    np.testing.assert_allclose(heights, np.bincount(seen) / len(seen), atol=1e-6)


def test_counts_are_drawn_at_whole_numbers():
    data = np.random.default_rng(4).poisson(3, 80)
    ax = gmm_jax.fit(data, family=Poisson, fixed={"rates": [3.0, 9.0]}).plot()
    (curve,) = labelled(ax.get_lines(), "component 0")
    x, y = curve.get_data()
    np.testing.assert_array_equal(x, np.arange(x[0], x[-1] + 1))
    ratio = y / stats.poisson.pmf(x, 3)
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-4)
    bars = {bar.get_x() + bar.get_width() / 2: bar.get_height() for bar in ax.patches}
    assert bars[3.0] == pytest.approx((data == 3).mean())


def test_restarts_end_below_the_best(searched):
    runs = searched.restarts
    ax = searched.plot("restarts")
    gaps = np.max(runs.objective) - np.asarray(runs.objective, float)
    for i, gap in enumerate(gaps):
        (line,) = [a for a in ax.get_lines() if a.get_label() == f"run {i}"]
        assert line.get_ydata()[-1] == pytest.approx(max(gap, 1e-6), rel=1e-3, abs=1e-7)
        assert len(line.get_ydata()) == runs.steps[i] + 1
    assert f"{(gaps < 1e-4).sum()} of {len(gaps)} starts" in note_of(ax)


@pytest.fixture(scope="module")
def chosen(searched):
    """A table with a rejected fit; its best is one that was fitted."""
    rows = []
    for k, parameters, bic in ((1, 2, 250.0), (2, 5, 120.0), (3, 8, np.nan)):
        status = "converged" if np.isfinite(bic) else "rejected: component 2 is a spike"
        own = (searched.log_likelihood, searched.n_parameters) if k == 2 else (-1.0 * k, parameters)
        named = zip(("log_likelihood", "n_parameters"), own, strict=True)
        row = {"family": "Normal", "n_components": k, "bic": bic, "status": status}
        rows.append(row | dict(named))
    return Selection(rows, searched, "bic")


def test_selection_marks_the_rejected_and_the_chosen(chosen):
    ax = chosen.plot()
    (line,) = [a for a in ax.get_lines() if a.get_label() == "Normal"]
    np.testing.assert_allclose(line.get_xydata(), [[1, 130], [2, 0]])
    (cross,) = labelled(ax.get_lines(), "rejected")
    np.testing.assert_allclose(cross.get_xdata(), [3])
    (ring,) = labelled(ax.get_lines(), "chosen")
    np.testing.assert_allclose(ring.get_xydata(), [[2, 0]])
    assert "component 2 is a spike" in note_of(ax)


@pytest.fixture(scope="module")
def compared(drawn):
    fits = {
        k: dataclasses.replace(drawn, log_evidence=log, log_evidence_error=error)
        for k, log, error in ((1, -75.0, 0.1), (2, -70.0, 0.2), (3, -71.0, 0.3))
    }
    return Evidence(fits, {1: 0.5, 2: 0.25, 3: 0.25})


def test_evidence_and_the_probability_of_each_number(compared):
    left, right = compared.plot()
    heights = [bar.get_height() for bar in right.patches]
    expected = special.softmax(np.array([-75.0, -70, -71]) + np.log([0.5, 0.25, 0.25]))
    np.testing.assert_allclose(heights, [0.5, 0.25, 0.25, *expected], rtol=1e-6)
    bars = left.containers[0].lines[2][0].get_segments()
    np.testing.assert_allclose([np.ptp(bar[:, 1]) for bar in bars],
                               [0.4, 0.8, 1.2])  # fmt: skip


def test_similarity_by_brute_force(drawn):
    ax = drawn.plot("similarity")
    shown = np.asarray(ax.images[0].get_array())
    draws = drawn.draws
    parts = np.asarray(draws.weights)[:, None] * stats.norm.pdf(
        np.sort(DATA)[:, None], np.asarray(draws.components.means)[:, None],
        np.asarray(draws.components.scales)[:, None],
    )  # fmt: skip
    shares = parts / parts.sum(-1, keepdims=True)
    expected = np.einsum("snk,smk->nm", shares, shares) / len(shares)
    np.fill_diagonal(expected, 1)
    np.testing.assert_allclose(shown, expected, atol=1e-3)
    light = (DATA < 425).sum()
    frames = [line.get_xdata() for line in labelled(ax.get_lines(), "cluster")]
    np.testing.assert_allclose(frames[0], np.array([0, light, light, 0, 0]) - 0.5)
    sizes = [tick.get_text() for tick in ax.get_yticklabels()]
    assert sizes == [f"{light} points", f"{len(DATA) - light} points"]
    ax.figure.draw_without_rendering()
    assert ax.get_position().x0 < 0.2


def test_traces_and_ranks_of_chains(chained):
    axes = chained.plot("traces")
    draws = chained.draws
    parts = np.asarray(draws.weights)[:, None] * stats.norm.pdf(
        DATA[:, None], np.asarray(draws.components.means)[:, None],
        np.asarray(draws.components.scales)[:, None],
    )  # fmt: skip
    expected = np.log(parts.sum(-1)).sum(-1).reshape(2, -1)
    for i, line in enumerate(axes[0].get_lines()):
        np.testing.assert_allclose(line.get_ydata(), expected[i], atol=2e-2)
    assert axes[-1].get_ylabel() == "mean\nof 1"
    np.testing.assert_allclose(
        axes[-1].get_lines()[1].get_ydata(), np.asarray(draws.components.means)[250:, 1], rtol=1e-5
    )
    panels = chained.plot("ranks")
    largest = np.asarray(chained.draws.weights).max(1)
    place = stats.rankdata(largest).reshape(2, -1) - 0.5
    edges = np.linspace(0, 500, 21)
    for i, patch in enumerate(labelled(panels[1].patches, "chain")):
        heights = np.histogram(place[i], edges)[0] / 12.5
        np.testing.assert_allclose(patch.get_data().values, heights, atol=0.5)


def test_importance_weights_are_sorted_shares(drawn):
    ax = drawn.plot("importance_weights")
    (line,) = [a for a in ax.get_lines() if a.get_label() == "weights"]
    rank, share = line.get_data()
    expected = np.sort(special.softmax(np.asarray(drawn.log_importance_weights, float)))[::-1]
    np.testing.assert_allclose(share, expected[np.asarray(rank) - 1], rtol=1e-6)
    text = " ".join(entry.get_text() for entry in ax.get_legend().get_texts())
    assert f"Pareto k {drawn.pareto_k:.2f}" in text


@pytest.mark.parametrize(("effective", "colour"), [(250.0, COLOURS[0]), (150.0, COLOURS[1])])
def test_importance_weights_warn_where_the_verdict_does(drawn, effective, colour):
    """A large Pareto k is no problem where more than a tenth of 2000 particles count."""
    heavy = dataclasses.replace(drawn, pareto_k=0.83, effective_sample_size=effective)
    ax = heavy.plot("importance_weights")
    (tail,) = [line for line in ax.get_lines() if "Pareto" in str(line.get_label())]
    assert tail.get_color() == colour
    problem = importance.verdict(heavy)
    assert (problem is None) == (effective > 200)
    note = " ".join(ax.texts[0].get_text().split())
    assert (problem or "Pareto k is above 0.7, but so many particles count")[1:] in note


def test_prior_beside_posterior(drawn):
    """Posterior: a histogram of the draws. Prior: that of the scales is a gamma."""
    axes = drawn.plot("prior_posterior")
    assert [ax.get_xlabel() for ax in axes] == ["weights", "means", "scales"]
    heading = axes[0].figure.get_suptitle()
    assert heading == "20 points, 2 components: prior and posterior"
    scales = np.asarray(drawn.draws.components.scales, float)
    heights, edges, _ = labelled(axes[2].patches, "posterior")[0].get_data()
    expected = np.histogram(scales[:, 0], edges)[0]
    np.testing.assert_allclose(heights, expected / expected.max(), atol=0.15)
    heights, edges, _ = labelled(axes[2].patches, "prior")[0].get_data()
    middle = (edges[1:] + edges[:-1]) / 2
    inside = stats.gamma(2).expect(lambda x: x, lb=edges[0], ub=edges[-1], conditional=True)
    assert heights @ middle / heights.sum() == pytest.approx(inside, abs=0.1)


def test_check_places_the_data_among_replicates():
    rng = np.random.default_rng(5)
    replicated = {"mean": rng.normal(3, 2, 200), "largest": rng.normal(0, 1, 200)}
    compared = PredictiveCheck({"mean": 4.0, "largest": 50.0}, replicated)
    ax = plotting.check(compared)
    (dot,) = labelled(ax.get_lines(), "mean")
    expected = (4.0 - np.median(replicated["mean"])) / replicated["mean"].std()
    np.testing.assert_allclose(dot.get_xdata(), [expected])
    above = (replicated["mean"] > 4.0).mean()
    assert {f"{above:.3f}", "0.000"} <= {text.get_text() for text in ax.texts}
    (far,) = labelled(ax.get_lines(), "largest")
    assert far.get_marker() == ">"
    assert "1 of 2 statistics" in ax.get_title(loc="left")


def test_draws_are_checked(drawn):
    ax = drawn.plot("check")
    assert [label.get_text() for label in ax.get_yticklabels()][:2] == [
        "mean",
        "standard deviation",
    ]


REFUSED = {  # fit, picture: what the error says
    ("searched", "traces"): "of Markov chains, got PointFit.*restarts",
    ("searched", "similarity"): "got PointFit.*plot..responsibilities",
    ("searched", "importance_weights"): "method='importance'",
    ("searched", "prior_posterior"): "fit with a prior",
    ("searched", "check"): "fit with a prior",
    ("searched", "ellipses"): "two or more features.*density",
    ("searched", "pairs"): "two or more features.*density",
    ("searched", "selection"): "call select first",
    ("searched", "evidence"): "with a prior",
    ("searched", "histogram"): "kind must be one of 'density', 'ellipses'",
    ("drawn", "restarts"): "got PosteriorFit.*traces",
    ("drawn", "traces"): "made by 'importance'.*prior_posterior",
    ("chained", "importance_weights"): "all count the same.*traces",
    ("flat", "density"): "picture of one feature.*pairs",
    ("flat", "regions"): "one or two features.*responsibilities",
    ("mixed", "ellipses"): "",
    ("mixed", "pairs"): "",
    ("overlapping", "restarts"): "made none",
    ("chosen", "density"): "best.plot..density",
    ("compared", "selection"): "evidence",
}


@pytest.mark.parametrize(("name", "kind"), REFUSED)
def test_what_a_picture_cannot_show_is_refused(name, kind, request):
    result = request.getfixturevalue(name)
    if REFUSED[name, kind]:
        with pytest.raises((TypeError, ValueError), match=REFUSED[name, kind]):
            result.plot(kind)
        assert not pyplot.get_fignums()
    else:
        result.plot(kind)


def test_labels_that_mean_nothing_are_not_drawn(drawn):
    """Two components that are one."""
    inside = jax.tree.map(lambda a: a.mean(1, keepdims=True) + 0 * a, drawn.inside)
    merged = dataclasses.replace(drawn, inside=inside)
    for kind in ("responsibilities", "regions"):
        with pytest.raises(ValueError, match=r"doesn't hold the same.*similarity"):
            merged.plot(kind)
    panel = merged.plot("prior_posterior")[0]
    assert len(labelled(panel.patches, "posterior")) == 1


def test_labels_that_were_shuffled_are_found_again(drawn):
    order = np.tile([[0, 1], [1, 0]], (drawn.n_draws // 2, 1))
    shuffled = dataclasses.replace(drawn, inside=relabelling.permuted(drawn.inside, order))
    assert shuffled.doubt
    axes = [fit.plot("responsibilities") for fit in (drawn, shuffled)]
    tops = [[p.get_data().values for p in labelled(ax.patches, "component")] for ax in axes]
    np.testing.assert_allclose(*tops, atol=1e-5)
    assert "relabelled" in note_of(axes[1])


SINGLE = ("density", "responsibilities", "regions", "importance_weights", "similarity")


@pytest.mark.slow
def test_axes_passed_in_are_used_and_no_others_made(drawn, flat, chained, compared):
    for kind in SINGLE:
        figure, ax = pyplot.subplots()
        assert drawn.plot(kind, ax) is ax
        figure.canvas.draw()
    n_before = len(pyplot.get_fignums())
    figure, axes = pyplot.subplots(3, 3)
    assert flat.plot("pairs", axes)[2, 1] is axes[2, 1]
    _, pair = pyplot.subplots(1, 2)
    assert list(compared.plot(ax=pair)) == list(pair)
    assert list(compared.plot(pair)) == list(pair)
    assert len(pyplot.get_fignums()) == n_before + 2
    with pytest.raises(ValueError, match=r"3 x 3 axes.*got 2"):
        flat.plot("pairs", pair)
    with pytest.raises(ValueError, match="one pair of axes"):
        flat.plot("ellipses", pair)


def test_offsets_keep_their_digits():
    """Far from zero float32 would round means and boundaries by several units."""
    near = np.random.default_rng(6).normal(np.repeat([0.0, 6.0], 100))
    known = [{"means": [shift, shift + 6], "scales": [1.0, 1.5]} for shift in (0.0, 1e8)]
    fits = [gmm_jax.fit(near + k["means"][0], family=Normal, fixed=k) for k in known]
    here, far = ([line.get_xdata() for line in labelled(f.plot("regions").get_lines(), "boundary")]
                 for f in fits)  # fmt: skip
    np.testing.assert_allclose(np.ravel(far) - 1e8, np.ravel(here), atol=0.05)


@pytest.mark.parametrize("k", [2, 12])
def test_colours_differ(k):
    colours = [plotting.paper.colour(i) for i in range(k)]
    assert len(set(colours)) == k


@pytest.mark.slow
@pytest.mark.parametrize("name", ["overlapping", "flat", "mixed", "drawn", "chained", "searched"])
def test_every_picture_is_drawn_or_names_another(name, request):
    result = request.getfixturevalue(name)
    for kind in plotting.PICTURES:
        refusal = None
        try:
            np.ravel(result.plot(kind))[0].figure.canvas.draw()
        except (TypeError, ValueError) as error:
            refusal = str(error)
        assert refusal is None or any(w in refusal for w in ("plot(", "fit with", "select"))
        pyplot.close("all")
