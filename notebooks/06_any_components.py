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
# # Any components
#
# Nothing in a mixture says "normal". A kind may produce counts, or categories, or whole rows of a
# table. The step is always the same: how probable is what I see under each kind? Multiply by the
# kind's share, and divide by the sum.
#
# 1. Counts: busy and quiet hours.
# 2. Categories: what guests order.
# 3. Tables with different columns, and with holes.
# 4. Noise: values that belong to no kind at all.
#
# Every number in the text is checked by an `assert` beside it.

# %%
import math

import jax
import matplotlib.pyplot as plt
import numpy as np
from scipy import stats

import gmm_jax
from gmm_jax import Categorical, Heterogeneous, Mixture, Normal, Poisson, Product, Uniform

BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#555555"  # colour-blind safe
random = np.random.default_rng(0)

# %% [markdown]
# ## 1. Busy and quiet hours
#
# How many guests come to Chibany's shop in an hour? If they come one by one, independently and at
# the same rate, the count has a *Poisson* distribution. It has one number, the rate $\lambda$,
# which is both its mean and its variance:
#
# $$P(x) = e^{-\lambda} \lambda^x / x!$$
#
# But hours differ. Say that 70 % are quiet, with 3 guests on average, and 30 % are busy, with 12.
# An hour with 7 guests: was it busy? The arithmetic is that of the coffee cups, with another
# formula: $.7 \times .0216 = .0151$ for quiet, $.3 \times .0437 = .0131$ for busy. Busy has 46 %.

# %%
hours = Mixture([0.7, 0.3], Poisson([3, 12]))
quiet_7, busy_7 = (math.exp(-rate) * rate**7 / math.factorial(7) for rate in (3, 12))
assert [round(quiet_7, 4), round(busy_7, 4)] == [0.0216, 0.0437]
busy = 0.3 * busy_7 / (0.7 * quiet_7 + 0.3 * busy_7)
assert round(busy, 2) == 0.46
assert math.isclose(hours.responsibilities(7.0)[1], busy, rel_tol=1e-4)

# %% [markdown]
# **A sign of a mixture.** One Poisson distribution has a variance equal to its mean. A mixture has
# more: the variance *within* the kinds, plus the variance *among* their means. Here the mean is 5.7
# and the variance $5.7 + .7 \times .3 \times (12 - 3)^2 = 22.7$, four times as much.

# %%
mean = 0.7 * 3 + 0.3 * 12
variance = mean + 0.7 * 0.3 * (12 - 3) ** 2
assert math.isclose(mean, 5.7)
assert round(variance, 1) == 22.7
guests, kinds = (np.asarray(a) for a in hours.sample(jax.random.key(0), 400))
print(f"400 hours: mean {guests.mean():.1f}, variance {guests.var():.1f}")
assert abs(guests.mean() - mean) < 5 * math.sqrt(variance / 400)
assert guests.var() > 3 * guests.mean()

# %% [markdown]
# **Find both rates.** Give `fit` the family. EM does as before: weigh the hours by their
# responsibilities, then take averages. The average count *is* the best rate. So the answer must be
# one that another round of "weigh and average" leaves as it is, and it is.

# %%
fitted = gmm_jax.fit(guests, 2, family=Poisson)
print(fitted)
shares, rates = (
    np.asarray(a, float) for a in (fitted.mixture.weights, fitted.mixture.components.rates)
)
joint = shares * stats.poisson.pmf(guests[:, None], rates)
weighed = joint / joint.sum(1, keepdims=True)
assert np.allclose(weighed.mean(0), shares, atol=1e-3)
assert np.allclose(guests @ weighed / weighed.sum(0), rates, rtol=1e-3)
assert math.isclose(fitted.log_likelihood, np.log(joint.sum(1)).sum(), rel_tol=1e-4)
assert np.allclose(rates, [3, 12], rtol=0.1)
right = (fitted.assign() == kinds).mean()
print(f"{right:.0%} of hours recognised")
assert right > 0.9

x = np.arange(26)
figure, axes = plt.subplots(figsize=(7, 3.2), layout="constrained")
axes.bar(
    x, np.bincount(guests.astype(int), minlength=26)[:26] / 400, color="#CCCCCC", label="hours"
)
axes.plot(x, shares[0] * stats.poisson.pmf(x, rates[0]), "o-", ms=4, color=BLUE, label="quiet")
axes.plot(x, shares[1] * stats.poisson.pmf(x, rates[1]), "s--", ms=4, color=ORANGE, label="busy")
one = stats.poisson.pmf(x, guests.mean())
axes.plot(x, one, ":", color=GREY, label="one rate for all hours")
axes.set(
    xlabel="guests in an hour", ylabel="share of hours", title="Two rates explain what one cannot"
)
_ = axes.legend()

# %% [markdown]
# ## 2. What guests order
#
# A guest orders a dish (rice, noodles, bread), a drink (tea, coffee, water) and a sweet (none,
# cake, fruit). These are *categories*: names without an order. Suppose there are lunch guests and
# snack guests, who choose differently.
#
# **One order is not enough.** Look at dishes alone. Any two kinds of guests whose choices average
# to the same three shares explain them equally well. As with three marble factories, no number of
# guests can tell. Here are two very different pairs that agree:

# %%
first = Mixture([0.5, 0.5], Categorical([[0.8, 0.1, 0.1], [0.2, 0.5, 0.3]]))
second = Mixture([0.5, 0.5], Categorical([[0.5, 0.2, 0.3], [0.5, 0.4, 0.1]]))
dishes = np.arange(3.0)
assert np.allclose(np.exp(first.log_prob(dishes)), [0.5, 0.3, 0.2])
assert np.allclose(np.exp(second.log_prob(dishes)), [0.5, 0.3, 0.2])

# %% [markdown]
# **Three orders are.** What gives the kinds away is which dishes, drinks and sweets go *together*.
# `Product.of` says: one family for each column, independent of each other once the kind is known.

# %%
lunch = np.array([[0.7, 0.2, 0.1], [0.7, 0.1, 0.2], [0.8, 0.1, 0.1]])  # by dish, drink, sweet
snack = np.array([[0.1, 0.1, 0.8], [0.1, 0.8, 0.1], [0.1, 0.6, 0.3]])
is_snack = random.random(1000) < 0.4
orders = np.stack(
    [
        np.where(is_snack, *(random.choice(3, 1000, p=p[j]) for p in (snack, lunch)))
        for j in range(3)
    ],
    axis=1,
).astype(float)

found = gmm_jax.fit(orders, 2, family=Product.of(Categorical, Categorical, Categorical))
tables = np.stack(
    [np.asarray(part.probs, float) for part in found.mixture.components.parts], axis=1
)
snack_is = int(tables[1, 0, 2] > tables[0, 0, 2])  # the kind that eats more bread
tables = tables[[1 - snack_is, snack_is]]
assert np.allclose(tables, [lunch, snack], atol=0.12)
assert abs(found.mixture.weights[snack_is] - 0.4) < 0.06

# %% [markdown]
# Again one round of "weigh and average" by hand leaves it as it is: the best probability of tea is
# the share of tea among the guests of that kind, each counted by its responsibility.

# %%
weights = np.asarray(found.mixture.weights, float)[[1 - snack_is, snack_is]]
columns = np.arange(3)
joint = weights * tables[:, columns, orders.astype(int)].prod(2).T
weighed = joint / joint.sum(1, keepdims=True)
again = (
    np.stack([weighed.T @ (orders == c) for c in range(3)], axis=2) / weighed.sum(0)[:, None, None]
)
assert np.allclose(again, tables, atol=5e-3)
assert np.allclose(weighed, found.responsibilities()[:, [1 - snack_is, snack_is]], atol=1e-3)
recognised = ((weighed[:, 1] > 0.5) == is_snack).mean()
print(f"{recognised:.0%} of guests recognised")
assert recognised > 0.85

figure, axes = plt.subplots(1, 3, figsize=(9, 3), sharey=True, layout="constrained")
menu = {
    "dish": ("rice", "noodles", "bread"),
    "drink": ("tea", "coffee", "water"),
    "sweet": ("none", "cake", "fruit"),
}
for j, (ax, (question, answers)) in enumerate(zip(axes, menu.items(), strict=True)):
    ax.bar(np.arange(3) - 0.2, tables[0, j], 0.38, color=BLUE, label="lunch")
    ax.bar(np.arange(3) + 0.2, tables[1, j], 0.38, color=ORANGE, hatch="//", label="snack")
    ax.set_xticks(range(3), answers)
    ax.set_title(question)
axes[0].set_ylabel("probability, fitted")
_ = axes[0].legend(loc="upper center")

# %% [markdown]
# ## 3. A table with holes
#
# Real tables have columns of different kinds, and entries that nobody wrote down. For each of 500
# guests we note the bill (a number), the visits this month (a count) and the favourite dish (a
# category). *Regulars* spend about 40, come 8 times, and never eat bread; *passers-by* spend about
# 15, come twice, and never eat rice. One entry in five is lost.

# %%
regular = random.random(500) < 0.6
bill = np.where(regular, random.normal(40, 5, 500), random.normal(15, 5, 500))
visits = np.where(regular, random.poisson(8, 500), random.poisson(2, 500))
dish = np.where(regular, random.integers(0, 2, 500), random.integers(1, 3, 500))
complete = np.stack([bill, visits, dish], axis=1)
holes = random.random(complete.shape) < 0.2
table = np.where(holes, np.nan, complete)

mixed = gmm_jax.fit(table, 2, family=Product.of(Normal, Poisson, Categorical))
print(mixed)

# %% [markdown]
# What do we do with a hole? We leave it out. What is left of the row still speaks, and says less.
# Of a guest we know 6 visits, and neither bill nor dish: only the second column has a say.

# %%
money, counts, food = mixed.mixture.components.parts
w = np.asarray(mixed.mixture.weights, float)
by_visits = w * stats.poisson.pmf(6, np.asarray(counts.rates, float))
by_visits /= by_visits.sum()
row = np.array([np.nan, 6.0, np.nan])
print("6 visits and nothing else: regular with", round(float(by_visits[1]), 3))
assert np.allclose(mixed.responsibilities(row), by_visits, atol=1e-4)
assert np.allclose(money.means, [15, 40], atol=2)
assert np.allclose(counts.rates, [2, 8], atol=0.6)

# %% [markdown]
# **Filling holes.** A missing bill is best guessed by what each kind would pay, weighed by how
# probable the kind is. The usual trick, the average of the column, lies between the kinds, where
# nobody is: its guesses are off by 12.5 (root mean square). The mixture's are off by 6.1, little
# more than the sd within a kind, which is 5.

# %%
filled = mixed.impute()
lost = holes[:, 0] & ~holes[:, 1:].all(1)  # the bill is lost, but not everything
error = np.sqrt(np.mean((filled[lost, 0] - bill[lost]) ** 2))
baseline = np.sqrt(np.mean((np.nanmean(table[:, 0]) - bill[lost]) ** 2))
print(f"missing bills are off by {baseline:.1f} with the average, {error:.1f} with the mixture")
by_hand = np.asarray(mixed.responsibilities(), float)[lost] @ np.asarray(money.means, float)
assert np.allclose(filled[lost, 0], by_hand, rtol=1e-3)
assert [round(baseline, 1), round(error, 1)] == [12.5, 6.1]

figure, axes = plt.subplots(figsize=(6.5, 3.4), layout="constrained")
axes.plot(bill[lost], filled[lost, 0], "o", ms=4, alpha=0.6, color=BLUE, label="mixture")
axes.axhline(np.nanmean(table[:, 0]), color=ORANGE, ls="--", label="average of the column")
axes.plot([0, 55], [0, 55], ":", color=GREY, label="perfect")
axes.set(xlabel="the bill that was lost", ylabel="our guess", title="Filling holes")
_ = axes.legend(fontsize=8)

# %% [markdown]
# ## 4. Noise
#
# Chibany's scale slips now and then, and shows anything between 300 and 560 g. We weigh 300 bentos,
# one in ten so. Two normals have to explain *every* value, and so the strays pull at their sds: 10
# and 15 g, where the boxes vary by 2 g. The remedy is a third kind, which is spread evenly over the
# whole range and stands for "no kind at all". With it the sds are right.

# %%
stray = random.random(300) < 0.1
is_light = random.random(300) < 0.4
clean = np.where(is_light, random.normal(350, 2, 300), random.normal(500, 2, 300))
boxes = np.where(stray, random.uniform(300, 560, 300), clean)

naive = gmm_jax.fit(boxes, 2)
robust = gmm_jax.fit(boxes, family=Heterogeneous.of(Normal, Normal, Uniform))
print(robust)
normals, background = robust.mixture.components.parts
order = np.argsort(np.asarray(normals.means))
naive_sds = np.asarray(naive.mixture.components.scales)
sds = np.asarray(normals.scales)[order]
print("sds without the background:", naive_sds.round(1), "  with it:", sds.round(1))
assert np.allclose(np.asarray(normals.means)[order], [350, 500], atol=0.6)
assert np.allclose(sds, 2, atol=0.5)
assert np.allclose(np.sort(naive_sds), [10, 15], atol=0.5)
assert abs(robust.mixture.weights[2] - stray.mean()) < 0.04

# %% [markdown]
# The background spans the data, from the least to the greatest value. Its height is its share over
# that range, and a box is noise where this exceeds what the normals offer. Strays that fall among
# the good boxes by chance cannot be known; nearly all others are.

# %%
shares = np.asarray(robust.mixture.weights, float)
heights = np.stack(
    [
        shares[0] * stats.norm.pdf(boxes, float(normals.means[0]), float(normals.scales[0])),
        shares[1] * stats.norm.pdf(boxes, float(normals.means[1]), float(normals.scales[1])),
        np.full(300, shares[2] / np.ptp(boxes)),
    ],
    axis=1,
)
noise = np.asarray(robust.responsibilities(), float)[:, 2]
assert np.allclose(noise, heights[:, 2] / heights.sum(1), atol=0.02)
called = noise > 0.5
missed, wrongly = (stray & ~called).sum(), (called & ~stray).sum()
print(f"{stray.sum()} strays: {missed} missed, and {wrongly} good boxes called noise")
assert missed + wrongly < 0.2 * stray.sum()

figure, axes = plt.subplots(figsize=(7, 3.2), layout="constrained")
x = np.linspace(boxes.min(), boxes.max(), 2000)
axes.hist(boxes, bins=np.arange(296, 564, 4), density=True, color="#CCCCCC", label="300 bentos")
axes.plot(x, np.exp(naive.log_prob(x)), "--", color=ORANGE, label="two normals")
axes.plot(x, np.exp(robust.log_prob(x)), color=BLUE, label="and a background")
axes.plot(
    boxes[called], np.full(called.sum(), 2e-4), "|", color="black", ms=9, label="called noise"
)
axes.set(yscale="log", ylim=(1e-4, 0.3), xlabel="weight (g)", ylabel="density (per g)")
_ = axes.legend(loc="upper center", fontsize=8)

# %% [markdown]
# Counts, categories, numbers, holes, noise: the kinds changed, and the step stayed the same. If
# your kind is missing here, `Wrapped.of` makes a family of any density that you can write down.
