"""The No-U-Turn sampler, and the posterior density of a mixture that it moves in."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from gmm_jax import (
    GammaPoisson,
    MixturePrior,
    Normal,
    NormalInverseGamma,
    NormalInverseWishart,
    Poisson,
    convergence,
    mixture_nuts,
    nuts,
)
from gmm_jax._data import Frame
from gmm_jax._progress import telling
from gmm_jax._pytree import rebuild
from gmm_jax.fitting.setting import prior_inside
from gmm_jax.mixture import Mixture
from gmm_jax.table import Table
from gmm_jax.testing import exact

FLOOR = jnp.asarray(1e-5)


def normal_log_density(position, arguments):
    """A bivariate normal, up to a constant."""
    off = position["x"] - arguments["mean"]
    return -0.5 * off @ arguments["precision"] @ off


def within_errors(draws, mean, name, errors=5):
    """Whether the mean of draws (c, s) lies within so many of its standard errors."""
    draws = np.asarray(draws, np.float64)
    ess = convergence.table({name: draws})[name].ess_bulk
    assert abs(draws.mean() - mean) < errors * draws.std() / np.sqrt(ess), name


def test_draws_have_the_moments_of_a_normal_and_further_data_compile_nothing(compilations):
    covariance = np.array([[4.0, 1.2], [1.2, 1.0]])
    arguments = {"mean": jnp.array([1.0, -2.0]), "precision": jnp.linalg.inv(covariance)}
    starts = {"x": jnp.array([[5.0, 5.0], [-5.0, 5.0], [0.0, 0.0], [5.0, -5.0]])}
    settings = dict(n_warmup=300, n_draws=1000)
    draws, info = nuts.run(jax.random.key(0), normal_log_density, arguments, starts, **settings)
    assert draws["x"].shape == (4, 1000, 2)
    assert info.diverging.shape == (4, 1000)
    assert info.step_size.shape == (4,)
    assert not np.any(info.diverging)
    assert np.all(info.n_leapfrogs >= 1)
    off = draws["x"] - arguments["mean"]
    for i in range(2):
        within_errors(draws["x"][..., i], arguments["mean"][i], "mean")
        for j in range(2):
            within_errors(off[..., i] * off[..., j], covariance[i, j], "covariance")

    compiled = compilations["advance"]
    shifted = arguments | {"mean": arguments["mean"] + 3}
    again, _ = nuts.run(jax.random.key(0), normal_log_density, shifted, starts, **settings)
    assert compilations["advance"] == compiled
    within_errors(again["x"][..., 0], 4.0, "shifted")


def test_an_interrupt_keeps_what_was_drawn(monkeypatch, capsys):
    advance, calls = nuts.advance, []

    def interrupted(*arguments):
        calls.append(1)
        if len(calls) == 14:
            raise KeyboardInterrupt
        return advance(*arguments)

    monkeypatch.setattr(nuts, "advance", interrupted)
    arguments = {"mean": jnp.zeros(2), "precision": jnp.eye(2)}
    starts = {"x": jnp.zeros((2, 2))}
    with telling("NUTS", True) as report:
        draws, info = nuts.run(
            jax.random.key(0),
            normal_log_density,
            arguments,
            starts,
            n_warmup=100,
            n_draws=100,
            report=report,
        )
    assert draws["x"].shape == (2, 30, 2)
    assert info.diverging.shape == (2, 30)
    assert "NUTS: 65 %" in capsys.readouterr().err


@pytest.mark.slow
def test_bentos_agree_with_the_exact_posterior(bentos, tutorial_prior):
    frame = Frame.of(bentos, np.ones(20), True, True)
    prior = prior_inside(tutorial_prior, frame, 2, (), np.float32)
    nothing = jnp.zeros(2)
    data = jnp.asarray((bentos - frame.centre) / frame.unit, jnp.float32)
    mixtures, info = mixture_nuts.sample(
        jax.random.key(0),
        Table(data[None], jnp.ones((1, 20))),
        prior,
        Normal,
        FLOOR,
        rebuild(
            Mixture, weights=nothing, components=rebuild(Normal, means=nothing, scales=nothing)
        ),
        n_chains=4,
        n_warmup=1000,
        n_draws=1000,
    )
    assert not np.any(info.diverging)
    order = np.argsort(mixtures.components.means, -1)
    low, high = (
        jax.tree.map(lambda a, i=i: np.take_along_axis(np.asarray(a), order, -1)[..., i], mixtures)
        for i in (0, 1)
    )
    means = [frame.centre + frame.unit * m.components.means for m in (low, high)]
    within_errors(means[0], 350.2639, "lower mean")
    within_errors(means[1], 499.9862, "upper mean")
    within_errors((means[0] - 350.2639) ** 2, 0.83531**2, "variance of the lower mean")
    within_errors(frame.unit * low.components.scales, 2.2819, "lower scale")
    within_errors(frame.unit * high.components.scales, 1.9850, "upper scale")
    within_errors(low.weights, 0.4091, "lower weight")


@pytest.mark.slow
def test_counts_agree_with_enumeration():
    counts = np.array([0, 1, 1, 3, 2, 7, 5, 9])
    prior = MixturePrior(2, GammaPoisson(2, 0.5))
    expected = exact(counts, prior, 2).co_clustering
    data = jnp.asarray(counts, jnp.float32)
    mixtures, _ = mixture_nuts.sample(
        jax.random.key(1),
        Table(data[None], jnp.ones((1, 8))),
        jax.tree.map(lambda a: np.asarray(a, np.float32), prior.spread(2)),
        Poisson,
        FLOOR,
        rebuild(Mixture, weights=jnp.zeros(2), components=rebuild(Poisson, rates=jnp.zeros(2))),
        n_chains=4,
        n_warmup=500,
        n_draws=1500,
    )
    shares = jax.vmap(jax.vmap(lambda m: m.responsibilities(data)))(mixtures)
    together = np.einsum("csik,csjk->csij", shares, shares)
    for i, j in [(0, 1), (0, 4), (3, 5), (4, 7), (2, 7)]:
        within_errors(together[..., i, j], expected[i, j], f"{i}, {j}")


def posterior(prior, data, weight, known=None, held=None):
    """The arguments of the density, with a mixture from the prior for the shapes."""
    like = prior.sample(jax.random.key(3), 2, data.shape[1:], (1,))
    known = jax.tree.map(lambda a: a[0], like) if known is None else known
    found = mixture_nuts._known(prior, known, held, like)
    table = Table(data[None], weight[None], incomplete=bool(np.isnan(data).any()))
    return mixture_nuts.Arguments(table, prior, FLOOR, found), like


@pytest.mark.slow
def test_the_density_is_that_of_parameters_times_the_jacobian_with_weights_and_missing(x64):
    """SciPy's normals for rows with fractional weights, of which one lacks an entry."""
    rng = np.random.default_rng(0)
    rows, weight = rng.normal(size=(4, 2)), np.array([1.0, 0.3, 2.5, 0.0])
    rows[1, 0] = np.nan
    inner = NormalInverseWishart([0, 0], mean_count=0.5, df=4, scale_matrix=np.eye(2))
    prior = MixturePrior([1.5, 2.0], inner).spread(2, (2,))
    arguments, like = posterior(prior, jnp.asarray(rows), jnp.asarray(weight))
    free = mixture_nuts._free(like, arguments)
    free = jax.tree.map(lambda a: a[0], free)
    found, slopes = jax.jit(jax.value_and_grad(mixture_nuts.log_density))(free, arguments)

    mixture = jax.tree.map(lambda a: np.asarray(a[0]), like)
    shares, means, trils = mixture.weights, mixture.components.means, mixture.components.scale_trils
    covariances = trils @ trils.transpose(0, 2, 1)
    total = stats.dirichlet.logpdf(shares, [1.5, 2.0])
    for j in range(2):
        total += stats.invwishart.logpdf(covariances[j], 4, np.eye(2))
        total += stats.multivariate_normal.logpdf(means[j], [0, 0], covariances[j] / 0.5)
    for row, count in zip(rows, weight, strict=True):
        seen = ~np.isnan(row)
        likelihood = sum(
            share
            * stats.multivariate_normal.pdf(row[seen], mean[seen], covariance[np.ix_(seen, seen)])
            for share, mean, covariance in zip(shares, means, covariances, strict=True)
        )
        total += count * np.log(likelihood)

    def entries(position):
        values, _ = mixture_nuts._constrain(position, arguments)
        lower = values["covariances"][:, *np.tril_indices(2)]
        return jnp.concatenate([values["weights"][:-1], lower.ravel(), values["means"].ravel()])

    flat, unflatten = jax.flatten_util.ravel_pytree(free)
    jacobian = jax.jit(jax.jacobian(lambda u: entries(unflatten(u))))(flat)
    assert float(found) == pytest.approx(total + np.linalg.slogdet(jacobian)[1], rel=1e-9)
    assert all(np.all(np.isfinite(a)) for a in jax.tree.leaves(slopes))


@pytest.mark.slow
def test_what_is_known_stays_and_does_not_move_the_density(x64):
    prior = MixturePrior(1, NormalInverseGamma(0, 0.1, 2, 1)).spread(2)
    data, nothing = jnp.array([-1.0, 0.2, 2.0]), np.zeros(2)
    known = rebuild(
        Mixture,
        weights=np.array([0.3, 0.7]),
        components=rebuild(Normal, means=np.array([1.5, 0.0]), scales=nothing),
    )
    held = rebuild(
        Mixture,
        weights=np.ones(2, bool),
        components=rebuild(Normal, means=np.array([True, False]), scales=np.zeros(2, bool)),
    )
    arguments, like = posterior(prior, data, jnp.ones(3), known, held)
    free = jax.tree.map(lambda a: a[0], mixture_nuts._free(like, arguments))
    values, _ = jax.jit(mixture_nuts._constrain)(free, arguments)
    np.testing.assert_allclose(values["weights"], [0.3, 0.7])
    np.testing.assert_allclose(values["means"], [1.5, like.components.means[0, 1]])
    np.testing.assert_allclose(values["variances"], like.components.scales[0] ** 2)
    # The slope along what is known is that of the standard normal that takes its place.
    slopes = jax.jit(jax.grad(mixture_nuts.log_density))(free, arguments)
    np.testing.assert_allclose(slopes["weights"], -free["weights"])
    np.testing.assert_allclose(slopes["means"][0], -free["means"][0])

    some = rebuild(Mixture, weights=np.array([True, False]), components=held.components)
    with pytest.raises(ValueError, match="all weights as fixed or none"):
        posterior(prior, data, jnp.ones(3), known, some)
