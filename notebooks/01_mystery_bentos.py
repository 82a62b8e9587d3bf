# ---
# jupyter:
#   jupytext:
#     formats: py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # The mystery bentos
#
# Twenty closed lunch boxes arrive, and all we may do is weigh them. How many kinds are there, what
# does each weigh, and which kind is any one box? We go from a paradox to a mixture, from the
# mixture to EM, and from EM to everything the weights can tell us: the posterior.
#
# Every number in the text is checked by an `assert` beside it, against a formula, an exact
# computation or another way of finding it.

# %%
import math
import warnings

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from genjax import gen, seed
from jax.scipy.stats import norm
from scipy import stats
from scipy.special import gamma, logsumexp

import gmm_jax
from gmm_jax import DirichletNormalGamma, Mixture, Normal, models
from gmm_jax.distributions import Dirichlet, IndependentGamma, IndependentNormal

LIGHT_COLOUR, HEAVY_COLOUR, GREY = "#0072B2", "#D55E00", "#555555"  # colour-blind safe

weights_in_grams = """
498 352 501 349 497 503 351 500 348 502 499 350 498 353 501 347 499 502 352 500
"""
bentos = np.array(weights_in_grams.split(), dtype=float)

# %% [markdown]
# ## 1. The paradox of the mean
#
# The mean weight is 440.1 g. No box weighs anything like it: the nearest is almost 57 g away. A
# single normal distribution, fitted to the boxes, peaks exactly where there are none.

# %%
mean, spread = bentos.mean(), bentos.std()
assert math.isclose(mean, (12 * 500 + 8 * 350.25) / 20)
assert math.isclose(mean, 440.1)
assert math.isclose(np.abs(bentos - mean).min(), 497 - 440.1)

figure, axes = plt.subplots(figsize=(7, 3), layout="constrained")
grid = np.linspace(300, 560, 1000)
axes.hist(bentos, bins=np.arange(340, 512, 4), density=True, color="#BBBBBB", label="20 bentos")
axes.plot(grid, stats.norm.pdf(grid, mean, spread), color=GREY, label="one normal, fitted")
axes.axvline(mean, color=GREY, ls="--", label="mean, 440.1 g")
axes.set(xlabel="weight (g)", ylabel="density (per g)", title="The mean describes no bento")
_ = axes.legend(loc="upper left")

# %% [markdown]
# ## 2. A mixture we know
#
# Suppose the kitchen tells us its recipe: 40 % of boxes are light, about 350 g, and 60 % are heavy,
# about 500 g, each give or take 2 g. That is a *mixture*: nature first picks a kind, then a weight.
# Summing over the kind that we don't see gives the density of a weight,
#
# $$p(x) = \sum_k w_k\, \mathrm{Normal}(x \mid m_k, s_k).$$

# %%
recipe = Mixture([0.4, 0.6], Normal([350.0, 500.0], [2.0, 2.0]))

by_hand = 0.4 * stats.norm.pdf(499, 350, 2) + 0.6 * stats.norm.pdf(499, 500, 2)
assert math.isclose(float(recipe.log_prob(499.0)), math.log(by_hand), rel_tol=1e-5)

# %% [markdown]
# It has two peaks, at 350 and 500 g, and none near the mean: the paradox is gone. A mean sums up
# one hump, and there are two.
#
# Bayes' rule gives each box its *responsibilities*, the probability of each kind:
# $r_k = w_k p_k(x) / p(x)$. A box of 499 g is heavy, and no doubt about it. A box of 425 g lies
# midway between 350 and 500: the scale tells us nothing, and what remains is the recipe, 40 : 60.

# %%
assert np.allclose(recipe.modes(), [350, 500], atol=1e-6)
assert np.allclose(recipe.responsibilities(499.0), [0, 1], atol=1e-6)
assert np.allclose(recipe.responsibilities(425.0), [0.4, 0.6], atol=1e-3)

# %% [markdown]
# Light and heavy are equally likely at the *boundary*. Setting the two terms equal and taking logs
# leaves a straight line in $x$, because the kinds have the same scale. Its root lies 0.01 g below
# the midpoint, since heavy boxes are the more common.
#
# With unequal scales it is a quadratic and has two roots. If light boxes vary by 10 g, a box of
# 540 g is "light" again: only the wide component reaches that far.

# %%
[boundary] = recipe.decision_boundaries()
assert math.isclose(boundary, 425 + 2.0**2 / (500 - 350) * math.log(0.4 / 0.6))
assert round(425 - boundary, 2) == 0.01

uneven = Mixture([0.4, 0.6], Normal([350.0, 500.0], [10.0, 2.0]))
p, q = 1 / 10**2, 1 / 2**2  # log odds of light against heavy, as a polynomial in x
quadratic = [
    (q - p) / 2,
    350 * p - 500 * q,
    (500**2 * q - 350**2 * p) / 2 + math.log(0.4 / 10) - math.log(0.6 / 2),
]
assert np.allclose(uneven.decision_boundaries(), np.sort(np.roots(quadratic)))
assert uneven.assign(540.0) == 0
print("boundaries with unequal scales:", uneven.decision_boundaries().round(2), "g")

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
parts = np.exp(recipe.log_joint(grid))
left.fill_between(grid, parts[:, 0], color=LIGHT_COLOUR, alpha=0.7, label="light, 40 %")
left.fill_between(grid, parts[:, 1], color=HEAVY_COLOUR, alpha=0.7, hatch="//", label="heavy, 60 %")
left.set(xlabel="weight (g)", ylabel="density (per g)", title="The recipe")
left.legend(loc="upper center")
close = np.linspace(424.9, 425.1, 400)
shares = np.asarray(recipe.responsibilities(close))
right.plot(close, shares[:, 0], color=LIGHT_COLOUR, label="light")
right.plot(close, shares[:, 1], color=HEAVY_COLOUR, ls="--", label="heavy")
right.axvline(boundary, color=GREY, ls=":", label=f"boundary, {boundary:.2f} g")
right.plot([425, 425], [0.4, 0.6], "o", color="black", label="425 g: 40 to 60")
right.set_xticks([424.9, 424.95, 425, 425.05, 425.1])
right.set(xlabel="weight (g)", ylabel="probability of the kind", title="Near the midpoint")
_ = right.legend(loc="center right", fontsize=8)

# %% [markdown]
# ## 3. EM: finding the recipe
#
# Nobody tells us the recipe. If we knew each box's kind, then shares, means and standard deviations
# would be simple averages; if we knew those, Bayes' rule would give the kinds. *Expectation
# maximisation* takes turns:
#
# 1. **E**: compute every box's responsibilities under the present guess.
# 2. **M**: take averages of the boxes, weighted by the responsibilities, as the new guess.
# 3. Repeat until nothing changes. The likelihood never falls.
#
# Here it is, from a poor guess.


# %%
def em_step(weights, means, scales):
    joint = weights * stats.norm.pdf(bentos[:, None], means, scales)
    log_likelihood = np.log(joint.sum(1)).sum()
    responsibilities = joint / joint.sum(1, keepdims=True)
    counts = responsibilities.sum(0)
    means = bentos @ responsibilities / counts
    scales = np.sqrt((responsibilities * (bentos[:, None] - means) ** 2).sum(0) / counts)
    return log_likelihood, (counts / len(bentos), means, scales)


guess = (np.array([0.5, 0.5]), np.array([420.0, 440.0]), np.array([60.0, 60.0]))
history, guesses = [], [guess]
for _ in range(30):
    log_likelihood, guess = em_step(*guess)
    history.append(log_likelihood)
    guesses.append(guess)
assert np.all(np.diff(history) > -1e-9)

# %% [markdown]
# The kinds are 150 g apart, so in the end every box belongs to one kind, and the answer is simply
# the averages of either group: shares .4 and .6, means 350.250 and 500.000 g, standard deviations
# 1.984 and 1.780 g. `gmm_jax.fit` does the same from ten starts and keeps the best.

# %%
light, heavy = bentos[bentos < 425], bentos[bentos > 425]
answer = [[0.4, 0.6], [light.mean(), heavy.mean()], [light.std(), heavy.std()]]
assert np.allclose(answer, [[0.4, 0.6], [350.25, 500], [1.984, 1.780]], atol=5e-4)
assert np.allclose(guess, answer)

em = gmm_jax.fit(bentos, 2)
assert em.converged
components = em.mixture.components
assert np.allclose([em.mixture.weights, components.means, components.scales], answer, atol=1e-4)
by_hand = np.log([0.4] * 8 + [0.6] * 12).sum()
by_hand += stats.norm.logpdf(light, light.mean(), light.std()).sum()
by_hand += stats.norm.logpdf(heavy, heavy.mean(), heavy.std()).sum()
assert math.isclose(em.log_likelihood, by_hand, abs_tol=1e-3)
assert math.isclose(em.bic, -2 * by_hand + 5 * math.log(20), abs_tol=2e-3)
assert np.all(np.diff(em.history) > -1e-5)
print(em)

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
left.plot(history, color=GREY, marker="o", ms=3)
left.set(xlabel="step", ylabel="log likelihood (nats)", title="It never falls")
path = np.array([means for _, means, _ in guesses])
for kind, colour, style, name in (
    (0, LIGHT_COLOUR, "-", "light"),
    (1, HEAVY_COLOUR, "--", "heavy"),
):
    right.plot(path[:, kind], color=colour, ls=style, marker="o", ms=3, label=f"mean, {name}")
right.scatter(np.full(20, 31), bentos, marker="_", color="black", label="the bentos")
right.set(xlabel="step", ylabel="weight (g)", title="The means find their kinds")
_ = right.legend(loc="center right")

# %% [markdown]
# ## 4. The model, as a program
#
# EM gives one answer and no idea of how sure to be. For that we say what we believed before
# weighing anything, and let the data revise it. A *generative function* in GenJAX is that belief
# as a program which makes up bentos: every random choice has an address.

# %%
prior = DirichletNormalGamma(concentration=1, mean=400, mean_scale=50, shape=2, rate=1)


@models.checked
@gen
def kitchen():
    weights = models.site(Dirichlet(jnp.ones(2))) @ "weights"
    means = models.site(IndependentNormal(jnp.full(2, 400.0), jnp.full(2, 50.0))) @ "means"
    scales = models.site(IndependentGamma(jnp.full(2, 2.0), jnp.full(2, 1.0))) @ "scales"
    components = jax.jit(Normal)(means, scales)
    return models.points(20)(weights, components) @ "obs"  # obs/z, the kinds, and obs/x


# %% [markdown]
# `models.bayesian_mixture(prior, 2, 20)` is that program ready-made. `simulate` runs it;
# `assess` returns the log density of a complete set of choices. It is the sum of five terms that
# can be written down by hand, and both programs agree with the sum.

# %%
model = models.bayesian_mixture(prior, n_components=2, n=20)
trace = jax.jit(seed(model.simulate))(jax.random.key(1))
print(
    "a made-up kitchen: means", np.round(trace["means"], 1), "scales", np.round(trace["scales"], 1)
)
print("and its bentos:   ", np.round(np.sort(trace["obs"]["x"]), 1))

choices = {
    "weights": jnp.array([0.4, 0.6]),
    "means": jnp.array([350.0, 500.0]),
    "scales": jnp.array([2.0, 2.0]),
    "obs": {"z": (bentos > 425).astype(int), "x": bentos},
}
log_joint, _ = model.assess(choices)
by_hand = (
    stats.dirichlet.logpdf([0.4, 0.6], [1, 1])
    + stats.norm.logpdf([350, 500], 400, 50).sum()
    + stats.gamma.logpdf([2, 2], 2, scale=1 / 1).sum()
    + 8 * math.log(0.4)
    + 12 * math.log(0.6)
    + stats.norm.logpdf(light, 350, 2).sum()
    + stats.norm.logpdf(heavy, 500, 2).sum()
)
assert math.isclose(log_joint, by_hand, rel_tol=1e-5)
assert math.isclose(kitchen.assess(choices)[0], by_hand, rel_tol=1e-5)

# %% [markdown]
# ## 5. An exact answer to check against
#
# The *evidence* is the probability density of the data, everything unknown summed out. For these
# boxes we can compute it exactly. A component's mean integrates in closed form, its scale on a
# grid, and there are few enough ways to divide 8 light and 12 heavy boxes among components. (A
# component that mixes light and heavy needs a scale near 75 g, which the prior all but forbids;
# for $K \geq 2$ we leave such divisions out, and for $K = 1$ see below how little they weigh.)

# %%
log_scales = np.linspace(math.log(1e-5), math.log(400), 1000)
scale_grid = np.exp(log_scales)
log_scale_weight = (
    stats.gamma.logpdf(scale_grid, 2) + log_scales + math.log(np.ptp(log_scales) / 999)
)


def log_marginals(points, members):
    """Log density of sets of points, each from one component with mean and scale unknown."""
    n = members.sum(1, keepdims=True)
    centre = members @ points[:, None] / n
    squares = (members * (points - centre) ** 2).sum(1, keepdims=True)
    # n points are worth their average, and n - 1 deviations from it.
    log_density = (
        stats.norm.logpdf(centre, 400, np.sqrt(50**2 + scale_grid**2 / n))
        - squares / (2 * scale_grid**2)
        - (n - 1) * np.log(scale_grid * math.sqrt(2 * math.pi))
        - np.log(n) / 2
    )
    return logsumexp(log_density + log_scale_weight, axis=1)


def divide(points, k):
    """Sum, over all ways to divide points among 0, 1, ... k components, n! p(points) of each."""
    subsets = np.arange(2 ** len(points))
    members = subsets[:, None] >> np.arange(len(points)) & 1
    factorials = gamma(members.sum(1) + 1)
    terms = factorials * np.exp([0.0, *log_marginals(np.array(points), members[1:])])
    sums = [np.where(subsets == 0, 1.0, 0.0)]
    for _ in range(k):
        longer = np.zeros_like(terms)
        for s in subsets:
            others = subsets[subsets & s == 0]
            longer[s | others] += terms[s] * sums[-1][others]
        sums.append(longer)
    return [total[-1] for total in sums]


def log_evidence(light, heavy, k):
    """Log evidence of k > 1 components; j of them hold the light boxes, others the heavy ones."""
    ways_light, ways_heavy = divide(light, k), divide(heavy, k)
    total, n = 0.0, len(light) + len(heavy)
    for j in range(1, k):
        # Exactly j, none of them empty: inclusion and exclusion.
        exactly = sum((-1) ** (j - i) * math.comb(j, i) * ways_light[i] for i in range(j + 1))
        total += math.comb(k, j) * exactly * ways_heavy[k - j]
    return math.log(total) + math.lgamma(k) - math.lgamma(k + n)


[one_kind] = log_marginals(bentos, np.ones((1, 20)))
exact = np.array([one_kind, *(log_evidence(light, heavy, k) for k in (2, 3, 4))])
assert np.allclose(exact, [-161.798552, -68.520791, -69.594284, -70.724597], rtol=0, atol=1e-5)
print("exact log evidence, K = 1 to 4:", exact.round(4))

# %% [markdown]
# ## 6. The ladder: three ways to the posterior
#
# *Importance sampling* needs no more than a program and the data. Draw the unknowns from some
# proposal; weigh each draw by model density over proposal density; the mean weight estimates the
# evidence, and draws picked in proportion to their weights are draws from the posterior. How many
# draws the weighted ones are worth is the *effective sample size*, $(\sum w)^2 / \sum w^2$. We give
# every way 20,000 particles.


# %%
conditions = {"obs": {"x": bentos}}


def resample(model, **proposal):
    """Importance resampling, and what it warns of."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", gmm_jax.FitWarning)
        sample = gmm_jax.importance_resample(model, conditions, n_particles=20_000, **proposal)
    evidence, effective = float(sample.log_evidence), float(sample.effective_sample_size)
    print(
        f"log evidence {evidence:.3f} (exact {exact[1]:.3f}), effective sample size {effective:.1f}"
    )
    return evidence, effective, [str(w.message) for w in said if w.category is gmm_jax.FitWarning]


# %% [markdown]
# **First rung: guess everything from the prior.** Fails: one particle carries all the weight, and
# the log evidence is hundreds of nats too low. No wonder. Someone who knows the recipe, but guesses
# every box's kind, is right about all twenty once in 700,000 times; and here the recipe is guessed
# too.

# %%
estimate, effective, said = resample(model)
print(*said)
assert round(1 / (0.6**12 * 0.4**8), -3) == 701_000
assert effective < 2
assert estimate < exact[1] - 100
assert "collapsed" in said[0]

# %% [markdown]
# **Second rung: sum out what can be summed out.** Given the recipe, a box's kind is a sum of two
# terms, no reason to guess. The marginalised model has no site `z`; its density at the recipe of
# section 2 is the prior's times the mixture's. The error is no longer hundreds of nats, but the
# estimate still hangs on very few particles: the prior puts both means within 1 g of where they
# belong once in 24,000 draws, and the scales must fit as well.

# %%
marginal = models.marginal_bayesian_mixture(prior, n_components=2, n=20)
without_kinds = {**choices, "obs": {"x": bentos}}
by_hand = float(prior.log_prob(recipe) + recipe.log_prob(bentos).sum())
assert math.isclose(marginal.assess(without_kinds)[0], by_hand, rel_tol=1e-5)

estimate, effective, said = resample(marginal)
near = np.diff(stats.norm.cdf([[349.25, 351.25], [499, 501]], 400, 50)).prod()
assert round(1 / (2 * near), -3) == 24_000  # either component may be the light one
assert effective < 20
assert abs(estimate - exact[1]) < 100
assert "collapsed" in said[0]

# %% [markdown]
# **Third rung: look where EM has been.** Propose parameters around the EM answer, a bit wider than
# the data allow; the weights correct for any such choice, as long as it leaves out nothing.
#
# Ours leaves out half. It calls the light component 0 and the heavy one 1, always, and the model
# knows no such rule: with the names swapped the density is the same. So the estimate is low by a
# factor of two, the number of namings; in general it is $K!$. With that put right, most
# particles count and the evidence is exact to a hundredth.

# %%
log_normal = models.keyed_distribution(
    lambda key, centre, width: centre * jnp.exp(width * jax.random.normal(key, centre.shape)),
    lambda value, centre, width: (
        norm.logpdf(jnp.log(value), jnp.log(centre), width) - jnp.log(value)
    ).sum(),
)


@gen
def around_em(counts, means, scales):
    models.site(Dirichlet(1 + counts)) @ "weights"
    drawn = log_normal(1.1 * scales, 0.3) @ "scales"
    models.site(IndependentNormal(means, drawn / jnp.sqrt(counts))) @ "means"


em_answer = (20 * em.mixture.weights, components.means, components.scales)
one_naming, effective, said = resample(marginal, proposal=around_em, proposal_args=em_answer)
print(f"for both namings: {one_naming + math.log(2):.3f}")
assert not said
error = math.sqrt(1 / effective - 1 / 20_000)  # standard error of the log of a mean weight
assert effective > 10_000
assert error < 0.01
assert abs(one_naming + math.log(2) - exact[1]) < 5 * error
assert abs(one_naming - (exact[1] - math.log(2))) < 5 * error

# %% [markdown]
# This is what `fit` does when it is given a prior: kinds summed out, a proposal informed by EM runs
# (and some Gibbs sampling after them), and a sum over all namings, so that nothing is left to add.

# %%
posterior = gmm_jax.fit(bentos, 2, prior=prior)
print(posterior)
assert posterior.effective_sample_size > 10_000
assert abs(posterior.log_evidence - exact[1]) < 0.03

# %% [markdown]
# ## 7. What is the light bento's mean? On names and swaps
#
# "The mean of component 0" is a trap. The program draws both components in the same way, so
# swapping their names changes nothing, whatever the data say. In the posterior, component 0 is
# light in half of the draws and heavy in the other half, and its posterior mean is 425.1 g, with a
# standard deviation of 74.9 g: our paradox again, for no draw lies within 60 g of it.

# %%
swapped = {name: choices[name][::-1] for name in ("weights", "means", "scales")}
swapped["obs"] = {"z": 1 - choices["obs"]["z"], "x": bentos}
assert math.isclose(model.assess(swapped)[0], model.assess(choices)[0], rel_tol=1e-6)

# `fit` names components by ascending mean; the raw posterior has every draw under both names.
sorted_means = np.asarray(posterior.draws.components.means, float)
raw_means = np.concatenate([sorted_means, sorted_means[:, ::-1]])
assert np.allclose(raw_means.mean(0), 425.125, atol=0.05)
assert np.allclose(raw_means.std(0), 74.865, atol=0.05)
assert np.abs(raw_means - 425).min() > 60

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
left.scatter(*raw_means[::40].T, s=8, color=GREY, alpha=0.5, label="draws")
left.plot(425.125, 425.125, "x", ms=12, mew=3, color="black", label="their mean: no draw is near")
left.plot([325, 525], [325, 525], ":", color=GREY)
left.set(xlabel="mean of component 0 (g)", ylabel="mean of component 1 (g)", title="Raw names")
left.legend(loc="lower left", fontsize=8)
for kind, colour, name in ((0, LIGHT_COLOUR, "light"), (1, HEAVY_COLOUR, "heavy")):
    deviations = sorted_means[:, kind] - answer[1][kind]
    style = {"bins": np.linspace(-3, 3, 61), "density": True, "histtype": "step", "lw": 2}
    label = f"{name}: from {answer[1][kind]:.2f} g"
    right.hist(deviations, **style, color=colour, ls="-" if kind == 0 else "--", label=label)
right.set(xlabel="mean less EM's answer (g)", ylabel="density (per g)", title="Named by weight")
_ = right.legend(loc="upper left", fontsize=8)

# %% [markdown]
# Ask instead for what has a meaning under any naming. *The lighter component's* mean is 350.26 g,
# give or take 0.84; the heavier's 499.99 g. The light share is 9/22, since the prior counts
# like one more box of each kind. Whether two boxes are of the same kind needs no names at all.
#
# We check the means against a grid: given the boxes of a kind, its mean and scale are a
# two-dimensional problem.


# %%
def on_grid(points, n_scales=800):
    """Posterior mean of a kind's mean and scale, and the standard deviation of its mean."""
    means = np.mean(points) + np.linspace(-25, 25, 2001)[:, None]
    scales = np.linspace(0.3, 30, n_scales)
    log_density = stats.norm.logpdf(means, 400, 50) + stats.gamma.logpdf(scales, 2)
    log_density = log_density + sum(stats.norm.logpdf(x, means, scales) for x in points)
    density = np.exp(log_density - log_density.max())
    density /= density.sum()
    mean = (density * means).sum()
    return mean, (density * scales).sum(), math.sqrt((density * (means - mean) ** 2).sum())


light_mean, light_scale, light_error = on_grid(light)
heavy_mean, heavy_scale, heavy_error = on_grid(heavy)
assert np.allclose([light_mean, heavy_mean, light_error], [350.2639, 499.9862, 0.83531], atol=1e-3)
assert np.allclose([light_scale, heavy_scale], [2.2819, 1.9850], atol=1e-3)
tolerance = 5 / math.sqrt(posterior.effective_sample_size)  # in posterior standard deviations
draws = posterior.draws
assert abs(sorted_means[:, 0].mean() - light_mean) < tolerance * light_error
assert abs(sorted_means[:, 1].mean() - heavy_mean) < tolerance * heavy_error
assert math.isclose(sorted_means[:, 0].std(), light_error, rel_tol=0.05)
assert np.allclose(draws.components.scales.mean(0), [light_scale, heavy_scale], atol=0.03)
share_error = stats.beta(1 + 8, 1 + 12).std()
assert math.isclose(stats.beta(1 + 8, 1 + 12).mean(), 9 / 22)
assert abs(draws.weights[:, 0].mean() - 9 / 22) < tolerance * share_error

kinds = jax.vmap(lambda mixture: mixture.responsibilities(bentos[:3]))(draws)  # draws, boxes, kinds
same = jnp.einsum("sik,sjk->ij", kinds, kinds) / len(kinds)
assert np.allclose(same, [[1, 0, 1], [0, 1, 0], [1, 0, 1]], atol=1e-4)  # 498, 352 and 501 g

# %% [markdown]
# ## 8. How many kinds?
#
# The evidence answers that too: a model with more components can explain more, and pays for it by
# spreading its bets. Given equal odds for $K = 1, \dots, 4$, two kinds have probability .69, three
# .24, four .08, and one is out of the question.

# %%
fits = {k: posterior if k == 2 else gmm_jax.fit(bentos, k, prior=prior) for k in range(1, 5)}
estimates = np.array([result.log_evidence for result in fits.values()])
exact_shares = np.exp(exact - logsumexp(exact))
shares = np.exp(estimates - logsumexp(estimates))
print("K   exact log evidence   by fit      exact probability   by fit")
for k, row in enumerate(zip(exact, estimates, exact_shares, shares, strict=True), 1):
    print("{}   {:18.3f}   {:8.3f}   {:17.4f}   {:7.4f}".format(k, *row))
assert np.allclose(estimates, exact, atol=0.05)
assert np.allclose(exact_shares, [2e-41, 0.688613, 0.235377, 0.076011], rtol=0, atol=2e-6)
assert np.allclose(shares, exact_shares, atol=0.02)
assert exact_shares[0] < 1e-40

# %% [markdown]
# But three components need not be three *kinds*. Of the draws with $K = 3$, four fifths leave one
# component without any box: .80 of the probability is on two kinds that hold data. (Exactly: two
# components' worth of ways to divide the boxes, over all ways.)

# %%
ways_light, ways_heavy = divide(light, 2), divide(heavy, 2)
light_in_two, heavy_in_two = ways_light[2] - 2 * ways_light[1], ways_heavy[2] - 2 * ways_heavy[1]
two = 6 * ways_light[1] * ways_heavy[1]  # which component is light, which heavy, which empty
three = 3 * (light_in_two * ways_heavy[1] + ways_light[1] * heavy_in_two)
assert round(two / (two + three), 2) == 0.80
occupied = fits[3].occupied()
print(f"K = 3, two kinds hold data: exactly {two / (two + three):.4f}, by fit {occupied[2]:.4f}")
assert abs(occupied[2] - two / (two + three)) < 5 * math.sqrt(0.25 / 2000)

# %% [markdown]
# ## 9. The bento of 425 g
#
# A twenty-first box weighs 425 g. What is it? The recipe of section 2 tossed a coin: 40 to 60.
# EM's answer says light, and would bet more than $10^{70}$ to one, because the light kind varies a
# little more. The box is about forty standard deviations away from either kind, and EM treats those
# standard deviations as known.

# %%
log_odds = np.diff(em.log_joint(425.0))[0]
term = [math.log(w) + stats.norm.logpdf(425, m, s) for w, m, s in zip(*answer, strict=True)]
assert math.isclose(log_odds, term[1] - term[0], rel_tol=1e-3)
assert term[0] - term[1] > 70 * math.log(10)
assert 37 < 75 / answer[2][0] < 43 > 75 / answer[2][1] > 37

# %% [markdown]
# The posterior also says light, but with odds of about 1300 to one. We know it exactly: compare how
# much the evidence of either kind suffers from taking the box in.
#
# To get this from draws we must weigh *all 21* boxes. Draws fitted to twenty know next to nothing
# about scales as wide as this box would need: of 20,000 draws, ten alone make nearly all of the
# density at 425 g. With the box among the data the draws are where they matter.

# %%
as_light = log_evidence([*light, 425], heavy, 2)
as_heavy = log_evidence(light, [*heavy, 425], 2)
exact_heavy = 1 / (1 + math.exp(as_light - as_heavy))
assert 1290 < 1 / exact_heavy < 1320

at_new = np.sort(jax.vmap(lambda mixture: mixture.log_prob(425.0))(posterior.draws))
assert logsumexp(at_new[-10:]) - logsumexp(at_new) > math.log(0.9)

with_new = gmm_jax.fit([*bentos, 425], 2, prior=prior)
probability = jax.vmap(lambda mixture: mixture.responsibilities(425.0))(with_new.draws).mean(0)
print(f"heavy: exactly {exact_heavy:.5f}, from draws {probability[1]:.5f}")
error = math.sqrt(exact_heavy / with_new.effective_sample_size)
assert abs(probability[1] - exact_heavy) < 5 * error
assert abs(with_new.log_evidence - np.logaddexp(as_light, as_heavy)) < 0.03

# %% [markdown]
# And yet the best answer is neither. All this asked "light or heavy?" as if there were no third
# way. Offered three components, the evidence rises by more than 25 nats: the 425 g bento is a kind
# of its own.

# %%
exact_three = log_evidence([*light, 425], heavy, 3)  # 425 g alone, or with light boxes
three_kinds = gmm_jax.fit([*bentos, 425], 3, prior=prior)
print(
    f"evidence of three components over two: {three_kinds.log_evidence - with_new.log_evidence:.2f}"
)
assert abs(three_kinds.log_evidence - exact_three) < 0.05
assert exact_three - np.logaddexp(as_light, as_heavy) > 25
print(three_kinds)
