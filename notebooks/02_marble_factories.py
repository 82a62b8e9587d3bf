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
# # The marble factories
#
# A jar of marbles comes from two factories. Factory 1 makes a marble red with probability .8,
# factory 2 with probability .3; that much is known. What nobody wrote down is the *share* of the
# jar that each factory made. We draw forty marbles, 24 of them red. What is the share of factory 1,
# how sure can we be, and where did this red marble come from?
#
# This is a mixture turned around: the components are known, the weights are not. Every number in
# the text is checked by an `assert` beside it.

# %%
import math

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from genjax import gen, seed
from scipy import integrate, special, stats

import gmm_jax
from gmm_jax import Bernoulli, Mixture, models
from gmm_jax.distributions import Dirichlet

BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#555555"  # colour-blind safe

probs = np.array([0.8, 0.3])  # of red, by factory
n, n_red = 40, 24
marbles = np.array([1.0] * n_red + [0.0] * (n - n_red))  # 1 is red

# %% [markdown]
# ## 1. The likelihood curve
#
# If factory 1 made the share $w$, a marble is red with probability $q(w) = .8 w + .3 (1 - w)$, and
# the forty marbles have likelihood $q^{24} (1 - q)^{16}$. It is highest where $q$ is the share of
# red that we saw, $\bar x = .6$, that is at
#
# $$\hat w = \frac{\bar x - .3}{.8 - .3} = .6.$$


# %%
def log_likelihood(share, n_red=n_red, n=n):
    red = share * probs[0] + (1 - share) * probs[1]
    return special.xlogy(n_red, red) + special.xlogy(n - n_red, 1 - red)


grid = np.linspace(0, 1, 100_001)
curve = log_likelihood(grid)
best = grid[curve.argmax()]
assert math.isclose(marbles.mean(), 0.6)
assert math.isclose((0.6 - 0.3) / (0.8 - 0.3), 0.6)
assert abs(best - 0.6) < 1e-5

# The library's density of the jar is the same curve.
jar = Mixture([0.25, 0.75], Bernoulli(probs))
assert math.isclose(jar.log_prob(marbles).sum(), log_likelihood(0.25), rel_tol=1e-5)

# %% [markdown]
# `fit` gives the same when it is told what is known. It names the factories in the order given.

# %%
fitted = gmm_jax.fit(marbles, family=Bernoulli, fixed={"probs": probs})
assert np.allclose(fitted.mixture.weights, [0.6, 0.4], atol=1e-5)
assert math.isclose(fitted.log_likelihood, curve.max(), rel_tol=1e-6)
print(fitted)

# %% [markdown]
# ## 2. At the edge
#
# Ten marbles, nine red: the formula answers 1.2, which is no share. Even a jar from factory 1 alone
# gives only eight on average, and the likelihood climbs all the way to its edge, $w = 1$. So the
# answer is $\hat w$ clipped to between 0 and 1. All eleven possible draws of ten agree:

# %%
reds = np.arange(11)
formula = np.clip((reds / 10 - 0.3) / (0.8 - 0.3), 0, 1)
by_grid = [grid[log_likelihood(grid, r, 10).argmax()] for r in reds]
by_fit = [
    gmm_jax.fit(
        [1, 0], family=Bernoulli, fixed={"probs": probs}, sample_weight=[r, 10 - r]
    ).mixture.weights[0]
    for r in reds[1:-1]
]
assert math.isclose((0.9 - 0.3) / 0.5, 1.2)
assert formula[9] == 1
assert np.allclose(formula, by_grid, atol=1e-5)
assert np.allclose(formula[1:-1], by_fit, atol=1e-5)

all_red = gmm_jax.fit([1] * 10, family=Bernoulli, fixed={"probs": probs})
none_red = gmm_jax.fit([0] * 10, family=Bernoulli, fixed={"probs": probs})
assert [all_red.mixture.weights[0], none_red.mixture.weights[0]] == [1, 0]

figure, axes = plt.subplots(figsize=(7, 3.2), layout="constrained")
for r, colour, style in ((2, GREY, ":"), (6, BLUE, "-"), (9, ORANGE, "--")):
    likelihood = np.exp(log_likelihood(grid, r, 10))
    axes.plot(grid, likelihood / likelihood.max(), color=colour, ls=style, label=f"{r} of 10 red")
    axes.plot(formula[r], 1, "o", color=colour, clip_on=False)
axes.set(xlabel="share of factory 1", ylabel="likelihood / its maximum", ylim=(0, 1.08))
axes.set_title("The likelihood peaks inside, or at an edge")
_ = figure.legend(loc="outside right center")

# %% [markdown]
# ## 3. Three factories: a question without an answer
#
# Suppose a third factory makes red with probability .5. The data still say one thing only, the
# share of red; three shares that sum to one leave two unknowns. Here are two quite different jars
# with the same share of red, .6. No number of marbles will ever tell them apart. `fit` says so
# rather than pick one.

# %%
three = np.array([0.8, 0.3, 0.5])
first, second = np.array([0.6, 0.4, 0.0]), np.array([1 / 3, 0.0, 2 / 3])
assert math.isclose(first @ three, 0.6)
assert math.isclose(second @ three, 0.6)
jars = [Mixture(shares, Bernoulli(three)) for shares in (first, second)]
white_and_red = np.array([0.0, 1.0])
assert np.allclose(*(jar.log_prob(white_and_red) for jar in jars), atol=1e-6)

try:
    gmm_jax.fit(marbles, family=Bernoulli, fixed={"probs": three})
except ValueError as error:
    message = str(error)
print(message)
assert "not identifiable" in message

# %% [markdown]
# ## 4. How sure can we be?
#
# Forty marbles are not many. Say what we believed before: any share is as likely as any other, a
# Dirichlet distribution with both parameters 1. As a generative function, with the factory of
# each marble summed out:

# %%
factories = Bernoulli(jnp.array(probs))


@models.checked
@gen
def jar_of_marbles():
    shares = models.site(Dirichlet(jnp.ones(2))) @ "shares"
    return models.marginal_points(n)(shares, factories) @ "marbles"


trace = jax.jit(seed(jar_of_marbles.simulate))(jax.random.key(0))
print(f"a made-up jar: share {trace['shares'][0]:.2f}, {trace['marbles'].sum():.0f} of {n} red")
log_joint, _ = jar_of_marbles.assess({"shares": [0.25, 0.75], "marbles": marbles})
assert math.isclose(log_joint, log_likelihood(0.25), rel_tol=1e-5)  # the prior's density is 1

# %% [markdown]
# Importance sampling from this prior is enough: one unknown, and data that don't pin it down. About
# half of the particles count. The posterior mean of the share is .59, and a 95 % interval runs from
# .29 to .87. The answer is "somewhere around .6", and now we know how loosely.
#
# All of it is checked against a grid of shares, and the evidence also against the closed form
# $\int_{.3}^{.8} q^{24} (1 - q)^{16} \, dq / .5$, a difference of incomplete beta functions.

# %%
posterior = np.exp(curve - curve.max())
posterior /= integrate.trapezoid(posterior, grid)
exact_mean = integrate.trapezoid(grid * posterior, grid)
exact_sd = math.sqrt(integrate.trapezoid((grid - exact_mean) ** 2 * posterior, grid))
cumulative = integrate.cumulative_trapezoid(posterior, grid, initial=0)
interval = np.interp([0.025, 0.975], cumulative, grid)
red_shares = stats.beta(n_red + 1, n - n_red + 1)
exact_evidence = special.betaln(n_red + 1, n - n_red + 1) + math.log(
    (red_shares.cdf(0.8) - red_shares.cdf(0.3)) / 0.5
)
assert math.isclose(
    exact_evidence, math.log(integrate.trapezoid(np.exp(curve), grid)), rel_tol=1e-6
)

sample = gmm_jax.importance_resample(jar_of_marbles, {"marbles": marbles}, n_particles=20_000)
share = np.asarray(sample.draws["shares"][:, 0], float)
tolerance = 5 / math.sqrt(sample.effective_sample_size)
print(f"log evidence {sample.log_evidence:.4f}, exactly {exact_evidence:.4f}")
print(f"mean {share.mean():.4f}, exactly {exact_mean:.4f}")
print(f"95 % interval {np.quantile(share, [0.025, 0.975]).round(3)}, exactly {interval.round(3)}")
print(f"effective sample size {sample.effective_sample_size:.0f} of 20000")
assert abs(sample.log_evidence - exact_evidence) < 5 * sample.log_evidence_error
assert abs(share.mean() - exact_mean) < tolerance * exact_sd
assert np.allclose(np.quantile(share, [0.025, 0.975]), interval, atol=0.03)
assert round(exact_mean, 2) == 0.59
assert interval.round(2).tolist() == [0.29, 0.87]
# A particle's weight is proportional to the posterior density, so the exact fraction is:
exact_fraction = 1 / integrate.trapezoid(posterior**2, grid)
assert abs(sample.effective_sample_size / 20_000 - exact_fraction) < 0.03
assert 0.4 < exact_fraction < 0.6

figure, axes = plt.subplots(figsize=(7, 3.2), layout="constrained")
axes.hist(share, bins=50, range=(0, 1), density=True, color="#BBBBBB", label="20,000 draws")
axes.plot(grid, posterior, color=BLUE, label="exact posterior")
axes.axvline(best, color=GREY, ls=":", label="maximum likelihood, .6")
axes.axvspan(*interval, color=ORANGE, alpha=0.15, label="95 % interval")
axes.set(xlabel="share of factory 1", ylabel="density", title="What forty marbles tell")
_ = axes.legend(loc="upper left")

# %% [markdown]
# ## 5. Where did this marble come from?
#
# A red marble lies on the table. If the share were .6 for sure, Bayes' rule says factory 1 with
# probability $.6 \cdot .8 / .6 = .8$.
#
# The share is uncertain, and then we average over the posterior: not the ratio, but its two parts,
#
# $$P(\text{factory 1} \mid \text{red}, \text{data})
# = \frac{\mathrm{E}[.8\, w]}{\mathrm{E}[.8\, w + .3\, (1 - w)]},$$
#
# which needs the posterior mean of $w$ only; it gives .79. Averaging the ratio itself gives .78,
# the answer to no question about this marble: it forgets that jars with more of factory 1 show
# red marbles more often, so that seeing red is news about the jar too.

# %%
assert math.isclose(0.6 * 0.8 / 0.6, 0.8)
assert np.allclose(fitted.responsibilities(1.0), [0.8, 0.2], atol=1e-5)

parts = np.array([0.8 * exact_mean, 0.3 * (1 - exact_mean)])
exact_red = parts[0] / parts.sum()
ratios = 0.8 * grid / (0.8 * grid + 0.3 * (1 - grid))
ratio_mean = integrate.trapezoid(ratios * posterior, grid)
# By the definition of conditional probability: the posterior once this red marble is counted in.
counted = posterior * np.exp(log_likelihood(grid, 1, 1))
assert math.isclose(
    exact_red, integrate.trapezoid(ratios * counted, grid) / integrate.trapezoid(counted, grid)
)
assert round(exact_red, 2) == 0.79
assert round(ratio_mean, 2) == 0.78

joint = np.stack([0.8 * share, 0.3 * (1 - share)]).mean(1)
print(
    f"red marble from factory 1: exactly {exact_red:.4f}, from draws {joint[0] / joint.sum():.4f}"
)
assert abs(joint[0] / joint.sum() - exact_red) < tolerance * exact_sd
