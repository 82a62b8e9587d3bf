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
# # How many types?
#
# Until now somebody told us the number of kinds. What if nobody does? This notebook asks the data,
# in several ways, and shows where each of them leads astray:
#
# 1. why the best fit is no answer, and what a *criterion* adds to it,
# 2. spikes, which look like a perfect fit and are worthless,
# 3. clumps that are not normal: kinds and components are two things,
# 4. the probability of each number of kinds,
# 5. and what happens if we simply add more and more components.
#
# Every number in the text is checked by an `assert` beside it.

# %%
import math

import matplotlib.pyplot as plt
import numpy as np
from scipy import stats
from scipy.special import logsumexp

import gmm_jax
from gmm_jax import DirichletNormalGamma
from gmm_jax.datasets import BENTOS

BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#555555"  # colour-blind safe

# %% [markdown]
# ## 1. The best fit is no answer
#
# A coffee shop sells three blends: mild, medium and strong, with 62, 80 and 96 mg of caffeine. We
# measure 300 cups, and forget that we know of three. Fit one component, two, three, four.

# %%
random = np.random.default_rng(1)
blend = random.choice(3, size=300, p=[0.5, 0.3, 0.2])
cups = random.normal(np.array([62, 80, 96])[blend], np.array([3, 2.5, 4])[blend])

coffee = gmm_jax.select(cups, range(1, 5), criterion="held_out", n_folds=5, n_restarts=4)
print(coffee)
table = {row["n_components"]: row for row in coffee.table}
numbers = np.array(sorted(table))

# %% [markdown]
# The *log likelihood* says how well a fit explains the cups: the log of their probability density,
# under the fit. It rises with every component that we add. It has to: four components can do all
# that three can. So it never says stop.

# %%
log_likelihood = np.array([table[k]["log_likelihood"] for k in numbers])
assert np.all(np.diff(log_likelihood) > -1e-3)

# %% [markdown]
# What we want is a fit that explains *the next* cups, too. Two ways to get there:
#
# **Hold out.** Hide a fifth of the cups, fit the others, and see how well the fit explains the
# hidden ones. Take turns. A component that only fits the luck of the draw does not help there.
#
# **Pay for parameters.** The *Bayesian information criterion* subtracts a price. With $p$ free
# numbers and $n$ points,
#
# $$\mathrm{BIC} = -2 \log L + p \log n,$$
#
# and lower is better. Three components have three means, three sds, and two free shares, since
# shares sum to one: $p = 8$. Both ways answer three.

# %%
by_hand = -2 * log_likelihood + (3 * numbers - 1) * math.log(300)
bic = np.array([table[k]["bic"] for k in numbers])
sound = ~np.isnan(bic)  # rejected fits have no BIC
assert np.allclose(bic[sound], by_hand[sound], atol=1e-2)
assert table[3]["n_parameters"] == 8
assert numbers[np.nanargmin(bic)] == 3
assert coffee.best.mixture.n_components == 3
assert np.allclose(coffee.best.mixture.components.means, [62, 80, 96], atol=2)
held_out = np.array([table[k]["held_out"] for k in numbers])
assert numbers[np.nanargmax(held_out)] == 3

# %%
figure, axes = plt.subplots(1, 3, figsize=(10, 3), layout="constrained")
for ax, values, title in (
    (axes[0], log_likelihood, "log likelihood: up and up"),
    (axes[1], held_out, "held out, per cup: highest at 3"),
    (axes[2], bic, "BIC: lowest at 3"),
):
    ax.plot(numbers, values, "o-", color=BLUE)
    ax.axvline(3, color=GREY, ls=":")
    ax.set(xlabel="components", title=title, xticks=numbers)
    ax.title.set_fontsize(11)
_ = axes[0].set_ylabel("nats")

# %% [markdown]
# ## 2. Spikes
#
# The likelihood has a trap. Two of Chibany's twenty bentos weigh exactly 500 g. Give those two a
# component of their own, with a mean of 500 g, and let its sd shrink: its density at 500 g grows
# without end. Once it is small, each time that the sd is halved the log likelihood grows by
# $2 \log 2$, a $\log 2$ for either box. This "best fit" has learnt nothing about bentos.

# %%
bentos = np.array(BENTOS, dtype=float)
assert (bentos == 500).sum() == 2
sds = 2.0 ** -np.arange(0, 30)


def with_spike(sd):
    """Log likelihood with light, heavy, and a tenth of all boxes in a spike at 500 g."""
    kinds = 0.4 * stats.norm.pdf(bentos, 350.25, 2) + 0.5 * stats.norm.pdf(bentos, 500, 2)
    return np.log(kinds + 0.1 * stats.norm.pdf(bentos, 500, sd)).sum()


spiked = np.array([with_spike(sd) for sd in sds])
assert np.allclose(np.diff(spiked)[-10:], 2 * math.log(2), atol=1e-3)

# %% [markdown]
# `select` knows such fits and rejects them, with the reason in the table. We try one, two and five
# components. Five are rejected, and of the others BIC chooses two.

# %%
kitchen = gmm_jax.select(bentos, [1, 2, 5], criterion="bic", n_restarts=4)
print(kitchen)
rejected = [row["n_components"] for row in kitchen.table if row["status"].startswith("rejected")]
print("rejected:", rejected)
assert kitchen.best.mixture.n_components == 2
assert rejected == [5]
light, heavy = bentos[bentos < 425], bentos[bentos > 425]
log_l = 8 * math.log(0.4) + stats.norm.logpdf(light, light.mean(), light.std()).sum()
log_l += 12 * math.log(0.6) + stats.norm.logpdf(heavy, heavy.mean(), heavy.std()).sum()
assert math.isclose(kitchen.best.bic, -2 * log_l + 5 * math.log(20), abs_tol=5e-3)

figure, ax = plt.subplots(figsize=(6.5, 3), layout="constrained")
ax.semilogx(sds, spiked, color=ORANGE, label="with a spike at 500 g")
ax.axhline(log_l, color=BLUE, ls="--", label="light and heavy, best fit")
ax.invert_xaxis()
ax.set(xlabel="sd of the spike (g)", ylabel="log likelihood (nats)", title="A fit without end")
_ = ax.legend()

# %% [markdown]
# ## 3. One clump, two components
#
# How long do customers wait? Often a few minutes, rarely many: the waits make *one* clump with a
# long tail to the right. One normal cannot lean. Two can, a narrow one and a wide one beside it,
# and so BIC asks for two components, and is right: it counts *normals*.
#
# If you want to count *clumps*, use the ICL. It adds to BIC a price for components that overlap, so
# that you cannot say which of them a point belongs to. The price is twice the entropy of the
# responsibilities, $-\sum_i \sum_k r_{ik} \log r_{ik}$. Now the answer is one.

# %%
waits = stats.lognorm.ppf((np.arange(300) + 0.5) / 300, s=0.5, scale=5)  # minutes
by_bic = gmm_jax.select(waits, range(1, 5), criterion="bic", n_restarts=4)
rows = {row["n_components"]: row for row in by_bic.table}
print(by_bic)
n_normals = by_bic.best.mixture.n_components
assert n_normals == 2
assert np.diff(by_bic.best.mixture.components.scales)[0] > 0  # the second one is wider
icl = np.array([rows[k]["icl"] for k in sorted(rows)])
assert np.nanargmin(icl) == 0  # one component
shares = np.asarray(by_bic.best.responsibilities(), float)
entropy = -np.sum(shares * np.log(np.maximum(shares, 1e-300)))
assert math.isclose(by_bic.best.icl, by_bic.best.bic + 2 * entropy, rel_tol=1e-3)

figure, ax = plt.subplots(figsize=(6, 3), layout="constrained")
x = np.linspace(0, 20, 400)
parts = np.exp(np.asarray(by_bic.best.log_joint(x)))
ax.hist(waits, bins=40, density=True, color="#CCCCCC", label="300 waits")
ax.plot(x, parts[:, 0], "--", color=BLUE, label="a narrow component")
ax.plot(x, parts[:, 1], ":", color=ORANGE, label="a wide component")
ax.plot(x, parts.sum(1), color="black", lw=1, label="their sum")
ax.set(
    xlabel="minutes", ylabel="density (per minute)", title="One clump that leans, two components"
)
_ = ax.legend()

# %% [markdown]
# Neither is wrong. "How many types?" is two questions, and you have to say which one you ask.
#
# ## 4. How probable is each number?
#
# All this picks one number. How sure is it? For that, say what you believe of bentos beforehand
# (the *prior*): means around 400 g, give or take 50 g, and sds of about 2 g. Then each number of
# components predicts some data more than others. The *evidence* of a number is the probability
# density that it gave to the twenty weights before it saw them. More components can predict more,
# and so predict each thing less. The price for parameters is built in.
#
# The first notebook computed the exact evidence of two components and of three, by adding up all
# ways to divide the boxes. (One component has a log evidence of -161.8, and is out.) If two and
# three were equally probable beforehand, then by Bayes' rule two now have 75 % and three have 25 %.

# %%
exact = {2: -68.520791, 3: -69.594284}  # from 01_mystery_bentos
exact_two = 1 / (1 + math.exp(exact[3] - exact[2]))
assert round(exact_two, 2) == 0.75
prior = DirichletNormalGamma(concentration=1, mean=400, mean_scale=50, shape=2, rate=1)
types = gmm_jax.select(bentos, [2, 3], prior=prior, criterion="evidence")
print(types)
widths = np.linspace(
    1, 120, 400
)  # one component: its mean summed out by formula, its sd on this grid
terms = [
    stats.multivariate_normal.logpdf(bentos, np.full(20, 400), sd**2 * np.eye(20) + 50**2)
    for sd in widths
]
one = logsumexp(terms + stats.gamma.logpdf(widths, 2)) + math.log(widths[1] - widths[0])
assert round(one, 1) == -161.8
for k, fit in types.fits.items():
    assert abs(fit.log_evidence - exact[k]) < 0.05
assert abs(types.probabilities[2] - exact_two) < 0.02

# %% [markdown]
# Why do three get as much as a quarter, when there are two clumps? Because *three components* does
# not mean three *kinds of box*. The third may just be empty. Ask how many components **hold any
# box**: of three, only two do with probability .80.
#
# This can be checked on one line. Of three components, two can be named light and heavy in six
# ways, of two in two ways. And with a flat prior on the shares, any one division of the 20 boxes
# into light and heavy has a probability in proportion to $1 / (2 \cdot 3 \cdots 21)$ if there are
# two components, and to $1 / (3 \cdot 4 \cdots 22)$ if there are three: $22 / 2 = 11$ times less.
# So
#
# $$P(2 \text{ hold boxes} \mid 3) = \frac{6}{2} \cdot \frac{1}{11} \cdot
#   \frac{\text{evidence of } 2}{\text{evidence of } 3}
#   = \frac{3}{11} \cdot e^{-68.521 + 69.594} = .80.$$

# %%
two_of_three = 3 / 11 * math.exp(exact[2] - exact[3])
assert round(two_of_three, 2) == 0.80
held = {k: types.fits[k].occupied() for k in (2, 3)}
assert abs(held[2][2] - 1) < 1e-3
assert abs(held[3][2] - two_of_three) < 5 * math.sqrt(0.8 * 0.2 / 2000)

holding = np.array([types.probabilities[2] * held[2][2] + types.probabilities[3] * held[3][2], 0])
holding[1] = types.probabilities[3] * held[3][3]
assert abs(holding[0] - (exact_two + (1 - exact_two) * two_of_three)) < 0.02
assert round(holding[0], 2) == 0.95

figure, ax = plt.subplots(figsize=(6, 3), layout="constrained")
places, model = np.array([2, 3]), [types.probabilities[2], types.probabilities[3]]
for shift, values, colour, hatch, label in (
    (-0.2, model, BLUE, "", "components in the model"),
    (0.2, holding, ORANGE, "//", "components that hold boxes"),
):
    bars = ax.bar(places + shift, values, 0.38, color=colour, hatch=hatch, label=label)
    ax.bar_label(bars, fmt="%.2f")
ax.set(
    xlabel="how many", ylabel="probability", xticks=places, ylim=(0, 1.08), title="Twenty bentos"
)
_ = ax.legend()

# %% [markdown]
# So two kinds of box, with probability .95, and what is left says "perhaps a third that looks like
# one of these".
#
# ## 5. More and more components
#
# Forget kinds. Suppose we just want a *density*, of any shape. A mixture of enough normals comes as
# close as we like. How fast? Take two shapes that no normal has:
#
# - a *skewed* one, the gamma distribution of shape 2: nothing below 0, a long tail to the right;
# - a *heavy-tailed* one, Student's t with 3 degrees of freedom: values far out, far more often than
#   any normal has them.
#
# We give `fit` a fine grid of points, each weighed by the density there, so that no luck is
# involved, and use 1, 2, 4 and 8 components. The error is the area between both curves, $\int |p -
# q|$. It is 2 for curves that have nothing in common. Half of it is the most by which any
# probability can be off.

# %%
shapes = {
    "skewed: gamma of shape 2": (stats.gamma(2), np.linspace(0.02, 20, 300)),
    "heavy tails: Student's t, df 3": (stats.t(3), np.linspace(-30, 30, 300)),
}
counts = np.array([1, 2, 4, 8])
errors, fits = {}, {}
for name, (density, grid) in shapes.items():
    height = density.pdf(grid)  # the weights below count as 10,000 points
    fits[name] = [
        gmm_jax.fit(grid, int(k), sample_weight=1e4 * height / height.sum(), n_restarts=4)
        for k in counts
    ]
    fine = np.linspace(grid[0] - 10, grid[-1] + 10, 100_001)
    errors[name] = np.array(
        [
            np.trapezoid(np.abs(np.exp(fit.log_prob(fine)) - density.pdf(fine)), fine)
            for fit in fits[name]
        ]
    )
    print(name, dict(zip(counts.tolist(), errors[name].round(4).tolist(), strict=True)))

# %% [markdown]
# With one component the error can be checked by hand: the fit is the normal with the same mean and
# sd. Both errors fall with every step: from .41 to .02 for the skewed shape, and from .34 all the
# way to .0002 for the heavy tails. Normals of several widths around one centre make such tails
# easily. The skewed shape ends abruptly at 0, and no normal does that.

# %%
fine = np.linspace(-20, 40, 400_001)
one_normal = stats.norm.pdf(fine, 2, math.sqrt(2))  # mean and sd of this gamma distribution
alone = np.trapezoid(np.abs(one_normal - stats.gamma.pdf(fine, 2)), fine)
assert math.isclose(errors["skewed: gamma of shape 2"][0], alone, rel_tol=0.01)
assert np.allclose(errors["skewed: gamma of shape 2"][[0, -1]], [0.41, 0.02], atol=0.005)
assert np.allclose(errors["heavy tails: Student's t, df 3"][[0, -1]], [0.34, 0.0002], atol=0.005)
assert errors["heavy tails: Student's t, df 3"][-1] < 0.0003
for error in errors.values():
    assert np.all(np.diff(error) < 0)
    assert error[-1] < error[0] / 10

figure, (left, middle, right) = plt.subplots(1, 3, figsize=(11, 3.4), layout="constrained")
for ax, name, limits in (
    (left, "skewed: gamma of shape 2", (-2, 8)),
    (middle, list(shapes)[1], (-6, 6)),
):
    x = np.linspace(*limits, 600)
    ax.fill_between(x, shapes[name][0].pdf(x), color="#DDDDDD", label="the density")
    for i, colour, style in ((0, GREY, ":"), (1, ORANGE, "--"), (2, BLUE, "-")):
        ax.plot(x, np.exp(fits[name][i].log_prob(x)), style, color=colour, label=f"{counts[i]}")
    ax.set(xlabel="x", title=name)
    ax.title.set_fontsize(10)
    ax.legend(fontsize=8, title="components", title_fontsize=8)
for (name, error), colour, style in zip(errors.items(), (BLUE, ORANGE), ("o-", "s--"), strict=True):
    right.loglog(counts, error, style, color=colour, label=name.split(":")[0])
right.set(xlabel="components", ylabel="area between the curves", title="The error falls")
right.set_xticks(counts, counts)
right.minorticks_off()
_ = right.legend(fontsize=8)

# %% [markdown]
# The components of such a fit are bricks. They are not kinds of anything, and their number tells
# how fine the picture is. Before you ask how many types there are, ask whether there are types.
