"""Every prior: densities against scipy, conditionals against Bayes' rule, evidence by enumeration.

A new prior is listed in `PRIORS` with a family, data and hyperparameters of its own.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

import gmm_jax
from gmm_jax import (
    BetaBernoulli,
    DirichletCategorical,
    DirichletNormalGamma,
    GammaExponential,
    GammaInverseGamma,
    GammaPoisson,
    HierarchicalNormal,
    MixturePrior,
    MultivariateNormal,
    NormalInverseGamma,
    NormalInverseWishart,
    Poisson,
    ProductPrior,
    SemiconjugateNormal,
)
from gmm_jax._pytree import rebuild
from gmm_jax.distributions import (
    Dirichlet,
    IndependentBeta,
    IndependentInverseGamma,
    InverseWishart,
    MultivariateNormals,
)
from gmm_jax.families.limits import Limits
from gmm_jax.mixture import Mixture
from gmm_jax.models import bayesian_mixture

MATRIX = np.array([[2.0, 0.5], [0.5, 1.0]])
NUMBERS = np.array([1.1, -0.4, 0.3, 2.5, 2.2, -1.0])
PAIRS = np.column_stack([NUMBERS, [0.2, 1.4, -0.3, 2.0, 0.9, -1.2]])
PRIORS = {
    "NormalInverseGamma": lambda: (NormalInverseGamma(0.5, 0.4, 2.5, 1.5), NUMBERS),
    "NormalInverseGamma 2-D": lambda: (NormalInverseGamma(0.5, 0.4, 2.5, [[1.5, 0.7]]), PAIRS),
    "SemiconjugateNormal": lambda: (SemiconjugateNormal(0.5, 1.4, 2.5, 1.5), NUMBERS),
    "HierarchicalNormal": lambda: (HierarchicalNormal(0.5, 1.4, 2.5, 1.2, [[0.7, 0.9]]), PAIRS),
    "NormalInverseWishart": lambda: (NormalInverseWishart([0.5, 0.0], 0.4, 4.5, MATRIX), PAIRS),
    "BetaBernoulli": lambda: (BetaBernoulli(1.5, 2.5), np.array([0.0, 1, 1, 0, 1, 1])),
    "DirichletCategorical": lambda: (
        DirichletCategorical([1.5, 2.0, 2.5]),
        np.array([0.0, 2, 1, 1, 2, 2]),
    ),
    "GammaPoisson": lambda: (GammaPoisson(2.5, 0.4), np.array([0.0, 3, 1, 9, 11, 7])),
    "GammaExponential": lambda: (
        GammaExponential(2.5, 1.5),
        np.array([0.2, 3, 1.4, 0.7, 5.1, 0.3]),
    ),
    "GammaInverseGamma": lambda: (
        GammaInverseGamma(1.5, 0.5, 2.5, 1.5),
        np.array([0.2, 3, 1.4, 0.7, 5.1, 0.3]),
    ),
    "ProductPrior": lambda: (
        ProductPrior([NormalInverseGamma(0.5, 0.4, 2.5, 1.5), GammaPoisson(2.5, 0.4)]),
        np.column_stack([NUMBERS, [0.0, 3, 1, 9, 11, 7]]),
    ),
}

TABULATED = (GammaInverseGamma, SemiconjugateNormal, HierarchicalNormal)
"""Their conditionals are in cells, so that densities are that of the cell's middle."""


@pytest.fixture(params=PRIORS)
def case(request, x64):
    components, data = PRIORS[request.param]()
    return MixturePrior([1.5, 1.5], components), jnp.asarray(data)


def log_marginal(components, data):
    """Log of the integral of the likelihood of points of one component, by Bayes' rule."""
    one = jax.tree.map(jnp.asarray, components.spread(1, data.shape[1:]))
    drawn = one.sample(jax.random.key(3))
    statistics = drawn.statistics(data, jnp.ones((len(data), 1)))
    after = one.given(drawn, statistics, jnp.zeros(()))
    likelihood = drawn.log_prob(data).sum()
    return float((one.log_prob(drawn) + likelihood - after.log_prob(drawn))[0])


CLOSED = {
    "NormalInverseGamma": lambda x: stats.multivariate_t.logpdf(
        x, np.full(len(x), 0.5), 1.5 / 2.5 * (np.eye(len(x)) + 1 / 0.4), 5
    ),
    "BetaBernoulli": lambda x: special.betaln(1.5 + x.sum(), 2.5 + (1 - x).sum())
    - special.betaln(1.5, 2.5),
    "GammaPoisson": lambda x: (
        special.gammaln(2.5 + x.sum()) - special.gammaln(2.5) + 2.5 * np.log(0.4)
        - (2.5 + x.sum()) * np.log(0.4 + len(x)) - special.gammaln(x + 1).sum()
    ),
    "GammaExponential": lambda x: (
        special.gammaln(2.5 + len(x)) - special.gammaln(2.5) + 2.5 * np.log(1.5)
        - (2.5 + len(x)) * np.log(1.5 + x.sum())
    ),
    "DirichletCategorical": lambda x: special.gammaln(6) - special.gammaln(6 + len(x)) + sum(
        special.gammaln(a + (x == i).sum()) - special.gammaln(a)
        for i, a in enumerate([1.5, 2.0, 2.5])
    ),
    "NormalInverseWishart": lambda x: wishart_marginal(x, np.array([0.5, 0.0]), 0.4, 4.5, MATRIX),
}  # fmt: skip


def wishart_marginal(x, mean, count, df, matrix):
    """Murphy (2007), equation 266: points one after the other, each a multivariate Student-t."""
    total = 0.0
    for row in x:
        scale = matrix * (count + 1) / (count * (df - 1))
        total += stats.multivariate_t.logpdf(row, mean, scale, df - 1)
        off = row - mean
        matrix = matrix + count / (count + 1) * np.outer(off, off)
        mean, count, df = mean + off / (count + 1), count + 1, df + 1
    return total


@pytest.mark.parametrize("name", CLOSED)
def test_marginal_likelihoods_have_closed_forms(name, x64):
    components, data = PRIORS[name]()
    np.testing.assert_allclose(log_marginal(components, jnp.asarray(data)), CLOSED[name](data))


def in_place(conditional, components):
    """Log density of every component in its own place."""
    return jnp.diagonal(conditional.log_prob_matched(components))


def test_marginal_likelihoods_do_not_depend_on_the_parameters(case):
    prior, data = case
    if isinstance(prior.components, HierarchicalNormal):
        pytest.skip("its conditional is that at a rate: see test_hierarchical_prior")
    k, event = 2, data.shape[1:]
    full = jax.tree.map(jnp.asarray, prior.components.spread(k, event))
    responsibilities = jnp.asarray(np.random.default_rng(0).dirichlet([1, 1], len(data)))
    values = []
    for seed in range(3):
        drawn = full.sample(jax.random.key(seed))
        statistics = drawn.statistics(data, responsibilities)
        after = full.given(drawn, statistics, jnp.zeros(()))
        other = after.sample(jax.random.key(10 + seed))
        likelihood = (responsibilities * other.log_prob(data)).sum(0)
        values.append(full.log_prob(other) + likelihood - in_place(after, other))
    assert np.isfinite(values).all()
    wide = 0.2 if isinstance(full, TABULATED) else 0
    np.testing.assert_allclose(values, [values[0]] * 3, rtol=1e-9, atol=wide)


def test_modes_have_no_slope(case):
    prior, data = case
    full = jax.tree.map(jnp.asarray, prior.components.spread(2, data.shape[1:]))
    drawn = full.sample(jax.random.key(0))
    shares = jnp.asarray(np.random.default_rng(1).dirichlet([1, 1], len(data)))
    statistics = drawn.statistics(data, shares)
    limits = Limits(jax.tree.map(lambda a: jnp.zeros(a.shape, bool), drawn), jnp.zeros(()))
    mode = jax.jit(full.mode)(drawn, statistics, limits)
    if isinstance(full, TABULATED):  # one parameter after the other: go round

        @jax.jit
        def turn(_, mode):
            return full.mode(mode, mode.statistics(data, shares), limits)

        mode = jax.lax.fori_loop(0, 60, turn, mode)

    def objective(values):
        components = full.assemble(**values)
        return (full.log_prob(components) + (shares * components.log_prob(data)).sum(0)).sum()

    slopes = jax.grad(objective)(full.values(mode))
    for name, slope in slopes.items():
        if name.endswith("probs") and slope.ndim == 2:  # on the simplex all slopes are equal
            slope = slope - slope.mean(-1, keepdims=True)
        np.testing.assert_allclose(slope, 0, atol=1e-8, err_msg=name)
    held = Limits(jax.tree.map(lambda a: jnp.ones(a.shape, bool), drawn), jnp.zeros(()))
    kept = full.mode(drawn, statistics, held)
    jax.tree.map(np.testing.assert_array_equal, kept, drawn)


@pytest.mark.slow
def test_draws_follow_the_density(case):
    """The mean of p(b) / p(a) over draws of one density is 1, for b a nearby one."""
    prior, data = case
    full = jax.tree.map(jnp.asarray, prior.components.spread(2, data.shape[1:]))
    start = full.sample(jax.random.key(0))
    shares = jnp.full((len(data), 2), 0.3)
    near = full.given(start, start.statistics(data, shares), jnp.zeros(()))
    nearer = full.given(start, start.statistics(data, 1.2 * shares), jnp.zeros(()))
    many = jax.tree.map(lambda a: jnp.broadcast_to(a, (20_000, *a.shape)), near)
    drawn = many.sample(jax.random.key(1))
    ratios = jax.vmap(lambda c: jnp.exp(in_place(nearer, c) - in_place(near, c)))(drawn)
    error = ratios.std(0) / np.sqrt(len(ratios))
    assert np.all(np.abs(ratios.mean(0) - 1) < 5 * error)
    assert np.all(error < 0.05)


def test_matched_densities_and_sites(case):
    prior, data = case
    event = data.shape[1:]
    mixture = prior.sample(jax.random.key(2), 2, event)
    named = rebuild(MixturePrior, concentration=jnp.array([1.0, 3.0]), components=prior.components)
    for own in (prior, named):
        swapped = jax.tree.map(lambda a: a[::-1], mixture)
        matched = own.log_prob_matched(mixture)
        np.testing.assert_allclose(jnp.trace(matched), own.log_prob(mixture))
        np.testing.assert_allclose(matched[0, 1] + matched[1, 0], own.log_prob(swapped))
    assert prior.exchangeable
    assert not named.exchangeable
    rebuilt = prior.mixture(**prior.values(mixture))
    jax.tree.map(np.testing.assert_allclose, rebuilt, mixture)


def test_moving_the_data_moves_the_prior(case):
    prior, data = case
    event = data.shape[1:]
    family = prior.family
    shift = np.where(np.broadcast_to(family.centred, event), 3.0, 0.0)
    scale = np.where(np.broadcast_to(family.scaled, event), 2.5, 1.0)
    moved = prior.spread(2, event).affine(shift, scale)
    differences = []
    for seed in range(3):
        mixture = prior.sample(jax.random.key(seed), 2, event)
        there = rebuild(
            Mixture, weights=mixture.weights, components=mixture.components.affine(shift, scale)
        )
        differences.append(moved.log_prob(there) - prior.log_prob(mixture))
    np.testing.assert_allclose(differences, [differences[0]] * 3, rtol=1e-9, atol=1e-9)


def exact_evidence(prior, data):
    """Sum over all assignments of their probability times marginal likelihoods."""
    a, n = np.asarray(prior.concentration, float), len(data)
    terms = []
    for assignment in itertools.product(range(2), repeat=n):
        counts = np.bincount(assignment, minlength=2)
        term = special.gammaln(a.sum()) - special.gammaln(a.sum() + n)
        term += (special.gammaln(a + counts) - special.gammaln(a)).sum()
        for j in range(2):
            rows = np.flatnonzero(np.array(assignment) == j)
            if len(rows):
                term += log_marginal(prior.components, data[rows])
        terms.append(term)
    return special.logsumexp(terms)


@pytest.mark.slow
def test_sampling_finds_the_evidence(x64):
    components, data = PRIORS["NormalInverseWishart"]()
    data = jnp.asarray(data[:5])
    prior = MixturePrior([1.5, 1.5], components)
    result = gmm_jax.fit(np.asarray(data), 2, prior=prior, n_draws=8000)
    expected = exact_evidence(prior, data)
    assert result.log_evidence_error < 0.05
    np.testing.assert_allclose(result.log_evidence, expected, atol=5 * result.log_evidence_error)


@pytest.mark.slow
def test_em_climbs_to_the_posterior_mode(case):
    prior, data = case
    result = gmm_jax.fit(np.asarray(data), 2, prior=prior, method="em")
    mixture = result.mixture
    top = prior.log_prob(mixture) + mixture.log_prob(data).sum()
    values = prior.components.values(mixture.components)
    rng = np.random.default_rng(0)
    for _ in range(10):
        near = {}
        for name, value in values.items():
            factor = np.exp(0.02 * rng.normal(size=value.shape))
            changed = np.asarray(value) * factor
            if name == "covariances":
                changed = (changed + np.swapaxes(changed, 1, 2)) / 2
            if name.endswith("probs") and value.ndim == 2:
                changed /= changed.sum(-1, keepdims=True)
            near[name] = jnp.asarray(np.minimum(changed, 1) if name == "probs" else changed)
        weights = np.asarray(mixture.weights) * np.exp(0.02 * rng.normal(size=2))
        other = prior.mixture(weights=jnp.asarray(weights / weights.sum()), **near)
        assert prior.log_prob(other) + other.log_prob(data).sum() <= top + 1e-9


def test_generative_functions_state_every_prior(case):
    prior, data = case
    model = bayesian_mixture(prior, 2, len(data), data.shape[1:])
    mixture = prior.sample(jax.random.key(5), 2, data.shape[1:])
    z = jnp.array([0, 1, 1, 0, 1, 0])
    choices = {**prior.values(mixture), "obs": {"z": z, "x": data}}
    log_joint, _ = model.assess(choices)
    expected = prior.log_prob(mixture) + mixture.log_joint(data)[jnp.arange(len(data)), z].sum()
    np.testing.assert_allclose(log_joint, expected, rtol=1e-6)


def test_densities_match_scipy(x64):
    x = jnp.array([0.3, 1.7])
    a, b = jnp.array([1.5, 4.0]), jnp.array([2.0, 0.7])
    np.testing.assert_allclose(
        IndependentInverseGamma(a, b).log_prob_each(x), stats.invgamma.logpdf(x, a, scale=b)
    )
    share = jnp.array([0.3, 0.9])
    np.testing.assert_allclose(
        IndependentBeta(a, b).log_prob_each(share), stats.beta.logpdf(share, a, b)
    )
    rows, concentration = jnp.array([[0.2, 0.3, 0.5]]), jnp.array([[1.5, 0.7, 3.0]])
    np.testing.assert_allclose(
        Dirichlet(concentration).log_prob_each(rows),
        [stats.dirichlet.logpdf(rows[0], concentration[0])],
    )
    matrix = jnp.array([[1.3, -0.2], [-0.2, 0.6]])
    np.testing.assert_allclose(
        InverseWishart(jnp.array([4.5]), jnp.asarray(MATRIX)[None]).log_prob_each(matrix[None]),
        [stats.invwishart.logpdf(matrix, 4.5, MATRIX)],
    )
    normals = MultivariateNormals(x[None], jnp.linalg.cholesky(MATRIX)[None])
    np.testing.assert_allclose(
        normals.log_prob_each(share[None]), [stats.multivariate_normal.logpdf(share, x, MATRIX)]
    )
    wide = jnp.broadcast_to(jnp.asarray(MATRIX), (20_000, 1, 2, 2))
    drawn = InverseWishart(jnp.full((20_000, 1), 9.0), wide).sample(jax.random.key(0))[:, 0]
    error = drawn.std(0) / np.sqrt(len(drawn))
    assert np.all(np.abs(drawn.mean(0) - MATRIX / 6) < 5 * error)


def test_a_covariance_too_flat_for_rounding_has_a_density():
    """Its triangle has digits that it has lost; SciPy in double precision agrees."""
    means = np.array([[0.3, -0.2, 0.1], [1.0, 0.0, 2.0]])
    trils = np.array([np.eye(3), [[1, 0, 0], [3, 2, 0], [5, -4, 3e-4]]])
    prior = NormalInverseWishart(np.zeros(3), 0.5, 4.5, np.eye(3)).spread(2, (3,))
    spread = map(stats.Covariance.from_cholesky, trils / np.sqrt(0.5))
    truth = [
        stats.invwishart.logpdf(tril @ tril.T, 4.5, np.eye(3))
        + stats.multivariate_normal.logpdf(mean, np.zeros(3), covariance)
        for tril, mean, covariance in zip(trils, means, spread, strict=True)
    ]
    components = jax.tree.map(jnp.asarray, MultivariateNormal(means, trils))
    assert jnp.isnan(jnp.linalg.cholesky(components.covariances[1])).any()
    np.testing.assert_allclose(prior.log_prob(components), truth, rtol=1e-4)
    matched = prior.log_prob_matched(components)
    np.testing.assert_allclose(matched, np.broadcast_to(truth, (2, 2)), rtol=1e-4)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: BetaBernoulli(0, 1), "a must be above zero"),
        (lambda: DirichletCategorical(1), "one number for each category"),
        (lambda: NormalInverseWishart([0, 0], 1, 1, MATRIX), "df must be above d - 1"),
        (lambda: NormalInverseWishart([0, 0], 1, 4, -MATRIX), "positive definite"),
        (lambda: NormalInverseWishart([0, 0], 1, 4, [1, 2]), "must be \\(d, d\\)"),
        (lambda: MixturePrior(1, GammaPoisson([1, 2, 3], 1)).sites(2), "2 components"),
        (
            lambda: gmm_jax.fit([1, 2, 3, 9], 2, prior=MixturePrior(1, GammaPoisson(1, 1)),
                                family=gmm_jax.Normal),
            "is for",
        ),
        (
            lambda: gmm_jax.fit([0, 1, 3], 2, prior=MixturePrior(1, DirichletCategorical([1, 1]))),
            "categor",
        ),
    ],
)  # fmt: skip
def test_bad_arguments(make, match):
    with pytest.raises(ValueError, match=match):
        make()


def test_priors_by_component_keep_their_places(x64):
    prior = MixturePrior([5.0, 1.0], GammaPoisson([20.0, 2.0], [2.0, 1.0]))
    counts = np.random.default_rng(0).poisson(np.repeat([10, 2], [30, 10]))
    mode = gmm_jax.fit(counts, 2, prior=prior, method="em").mixture
    assert isinstance(mode.components, Poisson)
    assert mode.components.rates[0] > mode.components.rates[1]


@pytest.mark.slow
def test_a_prior_heals_collinear_columns():
    x = np.random.default_rng(0).normal(size=(30, 1))
    prior = MixturePrior(1, NormalInverseWishart([0, 0], 0.1, 4, np.eye(2)))
    result = gmm_jax.fit(np.hstack([x, x]), 1, prior=prior, method="em")
    assert isinstance(result.mixture.components, MultivariateNormal)
    expected = (np.eye(2) + 30 * np.cov(np.hstack([x, x]).T, ddof=0)) / (4 + 30 + 4)
    trils = np.asarray(result.mixture.components.scale_trils[0])
    np.testing.assert_allclose(trils @ trils.T, expected, atol=0.02)


def test_the_tutorials_prior_is_one_of_these():
    prior = DirichletNormalGamma(concentration=1, mean=400, mean_scale=50, shape=2, rate=1)
    assert isinstance(prior, MixturePrior)
    assert float(prior.components.rate) == 1
