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
# # What a posterior buys
#
# EM returns the mixture under which the data are most probable. It is quick, and often all that one
# needs. A posterior takes a prior, some seconds, and some thought. What do we get for that?
#
# 1. doubt where there is reason to doubt: the bento of 425 g,
# 2. answers from few data and what we know already: three coffee blends, 17 cups,
# 3. the probability of each *number* of kinds,
# 4. and an honest word where the question has no answer: names of components,
# 5. together with the means to find out whether to trust all that.
#
# Chibany's twenty bentos are those of the first notebook. Every number in the text is checked by an
# `assert` beside it, against a formula, an exact computation or another way of finding it.

# %%
import math
import warnings

import jax
import matplotlib.pyplot as plt
import numpy as np
from scipy import stats
from scipy.special import gammaln, logsumexp

import gmm_jax
from gmm_jax import DirichletNormalGamma, convergence
from gmm_jax.datasets import BENTOS

BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#555555"  # colour-blind safe

bentos = np.array(BENTOS, dtype=float)
light, heavy = bentos[bentos < 425], bentos[bentos > 425]
prior = DirichletNormalGamma(concentration=1, mean=400, mean_scale=50, shape=2, rate=1)

em = gmm_jax.fit(bentos, 2)
posterior = gmm_jax.fit(bentos, 2, prior=prior)
print(posterior)

# %% [markdown]
# **Something exact to check against.** What a normal component says of some points when neither its
# mean nor its standard deviation is known: the mean integrates in closed form, the standard
# deviation on a grid. The same sums give what the points say of the mean.

# %%
log_scales = np.linspace(math.log(1e-3), math.log(400), 200)
scales = np.exp(log_scales)


def component(points, members, mean=400, mean_scale=50, shape=2, rate=1):
    """Of sets of points: log density, and posterior mean and variance of the component's mean."""
    deviations = np.asarray(points, float) - mean
    n, total, squares = (members @ deviations**power for power in (0, 1, 2))
    n, total, squares = n[:, None], total[:, None], squares[:, None]
    precision = 1 / mean_scale**2 + n / scales**2
    shift = total / scales**2 / precision
    log_density = (
        -n * np.log(scales * math.sqrt(2 * math.pi))
        - (squares / scales**2 - shift**2 * precision) / 2
        - np.log(mean_scale**2 * precision) / 2
        + stats.gamma.logpdf(scales, shape, scale=1 / rate)
        + log_scales
        + math.log(log_scales[1] - log_scales[0])
    )
    whole = logsumexp(log_density, axis=1)
    share = np.exp(log_density - whole[:, None])
    average = (share * shift).sum(1)
    variance = (share * (1 / precision + shift**2)).sum(1) - average**2
    return whole, mean + average, variance


def log_marginal(points, **prior):
    """Log density of points that all come from one component."""
    return component(points, np.ones((1, len(points))), **prior)[0][0]


# %% [markdown]
# Two kinds, and every box clearly of one: the evidence is the product of both kinds' densities and
# of the probability of this division, once for each of the two ways to name the kinds. One kind is
# simpler still. The first notebook went through the many ways to divide the boxes among more
# components, and found -69.594284 for three and -70.724597 for four.

# %%
apart = log_marginal(light) + log_marginal(heavy)
division = math.lgamma(9) + math.lgamma(13) - math.lgamma(22)
exact_evidence = np.array(
    [log_marginal(bentos), math.log(2) + apart + division, -69.594284, -70.724597]
)
assert np.allclose(exact_evidence[:2], [-161.798552, -68.520791], rtol=0, atol=1e-5)
assert abs(posterior.log_evidence - exact_evidence[1]) < 5 * posterior.log_evidence_error

# %% [markdown]
# ## 1. The box of 425 g
#
# A new box weighs 425 g, halfway between the clumps. Light or heavy? EM's answer says light, and
# would bet more than $10^{70}$ to one on it. It has measured how much the light kind varies, 2 g,
# from eight boxes, and then forgets that it measured: 425 g is 38 standard deviations away from
# light, 42 from heavy, and that settles it.

# %%
em_log_odds = float(np.diff(em.log_joint(425.0))[0])
by_hand = [
    math.log(len(kind) / 20) + stats.norm.logpdf(425, kind.mean(), kind.std())
    for kind in (light, heavy)
]
assert math.isclose(em_log_odds, by_hand[1] - by_hand[0], rel_tol=1e-3)
assert em_log_odds < -70 * math.log(10)
assert round(abs(425 - light.mean()) / light.std()) == 38
assert round(abs(425 - heavy.mean()) / heavy.std()) == 42

# %% [markdown]
# The posterior knows that eight boxes tell a spread only roughly. But its draws are draws *given
# twenty boxes*, and none of them expects anything at 425 g. Ask all the same, and the answer comes
# with a warning and a remedy.

# %%
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always", gmm_jax.FitWarning)
    posterior.responsibilities(425.0)
[message] = [str(each.message) for each in said if each.category is gmm_jax.FitWarning]
print(message)
assert "Add such points to the data and fit again" in message

# %% [markdown]
# So we do that. With the box among the data, it is light at about 1300 to one: still light, but at
# odds that a person can imagine. The exact answer: a new box of weight $x$ joins the light kind
# with probability proportional to
# $(8 + 1)\, p(\text{light boxes and } x) / p(\text{light boxes})$, the heavy kind likewise with
# $12 + 1$.


# %%
def log_joins(x):
    """Log of both kinds' terms for a new box; their sum is the predictive density."""
    terms = [
        math.log((len(kind) + 1) / 22) + log_marginal([*kind, x]) - log_marginal(kind)
        for kind in (light, heavy)
    ]
    return np.array(terms)


def heavy_probability(x):
    return 1 / (1 + np.exp(-np.diff(log_joins(x))[0]))


exact_heavy = heavy_probability(425)
with_new = gmm_jax.fit([*bentos, 425], 2, prior=prior)
new_heavy = float(with_new.responsibilities_by_draw(np.array([425.0])).mean(0)[0, 1])
print(f"heavy: exactly 1 in {1 / exact_heavy:.0f}, from draws 1 in {1 / new_heavy:.0f}")
assert 1290 < 1 / exact_heavy < 1320
assert abs(new_heavy - exact_heavy) < 5 * math.sqrt(exact_heavy / with_new.effective_sample_size)

# %% [markdown]
# `density_band` shows where the doubt comes from. At 350 g the ends of the 90 % band differ by a
# factor of 3.4. Ten grams further out they are orders of magnitude apart; and the *predictive*
# density, the average over the draws, leaves room there where EM leaves none. On the right the
# consequence: EM flips from 1 % heavy to 99 % within a quarter of a gram, the posterior takes 15 g.

# %%
near = np.linspace(338, 366, 141)
low, _, high = posterior.density_band(near, mass=0.9)
predictive = np.exp(posterior.log_prob(near))
exact_predictive = np.array([np.exp(logsumexp(log_joins(x))) for x in near])
draws = posterior.draws
parameters = (draws.weights, draws.components.means, draws.components.scales)
share, mean, scale = (np.asarray(a)[:, :, None] for a in parameters)
by_draw = (share * stats.norm.pdf(near, mean, scale)).sum(1)
error = by_draw.std(0) / math.sqrt(posterior.effective_sample_size)
assert np.all(np.abs(predictive - exact_predictive) < 5 * error)
assert near[60] == 350
at_350 = by_draw[:, 60]
assert np.allclose([low[60], high[60]], np.quantile(at_350, [0.05, 0.95]), rtol=1e-3)
assert abs(high[60] / low[60] - 3.4) < 0.1
assert near[110] == 360
assert high[110] / low[110] > 1e3

between = np.linspace(415, 445, 601)
by_em = np.asarray(em.responsibilities(between))[:, 1]
by_posterior = np.array([heavy_probability(x) for x in between])
flips = [np.diff(np.interp([0.01, 0.99], curve, between))[0] for curve in (by_em, by_posterior)]
assert flips[0] < 0.25
assert 14 < flips[1] < 16

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
left.fill_between(near, low, high, color=BLUE, alpha=0.25, lw=0, label="90 % band")
left.plot(near, predictive, color=BLUE, label="predictive")
left.plot(near, np.exp(em.log_prob(near)), color=ORANGE, ls="--", label="EM")
left.plot(light, np.full(8, 1.6e-8), "|", color="black", ms=10, label="light bentos")
left.set(yscale="log", ylim=(1e-8, 1), xlabel="weight (g)", ylabel="density (per g)")
left.set_title("Around the light bentos")
left.legend(loc="upper right", fontsize=8)
right.plot(between, by_posterior, color=BLUE, label="posterior")
right.plot(between, by_em, color=ORANGE, ls="--", label="EM")
right.axvline(425, color=GREY, ls=":", label="425 g")
right.set(
    xlabel="weight of a new box (g)", ylabel="probability of heavy", title="Between the clumps"
)
_ = right.legend(loc="upper left", fontsize=8)

# %% [markdown]
# ## 2. Three coffee blends, seventeen cups
#
# Chibany's coffee shop serves a mild, a medium and a strong blend: 62, 80 and 96 mg of caffeine in
# a cup, so the label says, give or take a few from week to week; half of what is sold is mild. This
# week we measured seventeen cups. What is in the blends *this week*?
#
# Such knowledge is a prior with a number for each component. A `mean_scale` of 4 mg lets blends be
# off their labels, and a concentration of 5, 3, 2 is worth ten cups of that memory.

# %%
cups = np.sort([60, 67, 81, 62, 58, 99, 64, 78, 61, 71, 63, 85, 66, 80, 62, 59, 64])  # mg
names, colours = ("mild", "medium", "strong"), (BLUE, ORANGE, GREEN)
labels, memory = np.array([62.0, 80.0, 96.0]), np.array([5, 3, 2])
shop = DirichletNormalGamma(memory, mean=labels, mean_scale=4, shape=4, rate=1)

# %% [markdown]
# **First a look at the prior.** What does it say before it sees the cups? `prior.sample_data` makes
# up weeks, and `plot_prior` draws eight of them below the data. They should look possible to
# somebody who knows coffee, and have room for what was measured. They do: one to three humps, more
# or less in the right places, sometimes narrow, sometimes wide. Of all cups made up, nine in ten
# have between 54 and 100 mg.

# %%
weeks = np.asarray(shop.sample_data(jax.random.key(1), 17, 3, sample_shape=(4000,)))
spread = np.sqrt(4**2 + scales**2)
scale_shares = stats.gamma.pdf(scales, 4) * scales * (log_scales[1] - log_scales[0])
below_54, below_100 = (
    memory / 10 @ stats.norm.cdf(x, labels[:, None], spread) @ scale_shares for x in (54, 100)
)
assert abs(below_100 - below_54 - 0.9) < 0.02
assert np.allclose([(weeks < 54).mean(), (weeks < 100).mean()], [below_54, below_100], atol=0.01)

axes = gmm_jax.plotting.plot_prior(shop, 3, cups)
_ = axes[-1].set_xlabel("caffeine in a cup (mg)")

# %% [markdown]
# **EM has no use for this memory.** Only one of the cups is strong, and a component of one cup has
# no width: most of the starts collapse there. The best sound answer has a second component of width
# 1.2 mg at 79.7 mg, and a third at 82.2 mg, of width 11.8 mg, to catch whatever is left. There is
# no strong blend in it, and no hint that anything is in doubt.

# %%
em_shop = gmm_jax.fit(cups, 3)
print(em_shop)
parts = em_shop.mixture.components
assert np.allclose(parts.means[1:], [79.7, 82.2], atol=0.1)
assert np.allclose(parts.scales[1:], [1.2, 11.8], atol=0.1)
assert (em_shop.restarts.status == gmm_jax.em.COLLAPSED).sum() > 5

# %% [markdown]
# **The posterior keeps the names**, since the prior tells the blends apart: component 0 is mild in
# every draw. And it says of each blend how well it is known.

# %%
blends = gmm_jax.fit(cups, 3, prior=shop)
print(blends)

# %% [markdown]
# To check it, we go through 295,000 ways to divide the cups: the eleven up to 67 mg are mild or
# medium, the four from 80 mg on are medium or strong, and those of 71 and 78 mg may be any blend.
# (The others hold .8 % of the posterior, and add .008 to the log evidence.)


# %%
def subsets(n):
    """Every subset of n points, as rows of zeros and ones; number 5 has points 0 and 2."""
    return np.arange(2**n)[:, None] >> np.arange(n) & 1


def of_blend(i, members):
    some = np.array_split(members, -(-len(members) // 2**12))
    own = {"mean": labels[i], "mean_scale": 4, "shape": 4, "rate": 1}
    return np.concatenate([component(cups, rows, **own) for rows in some], axis=1)


assert cups[10:14].tolist() == [67, 71, 78, 80]
every = subsets(17)
mild, medium, strong = every[: 2**13], every, every[:: 2**11]
first, last = np.nonzero((np.arange(2**13)[:, None] & np.arange(0, 2**17, 2**11)) == 0)
ways = [first, 2**17 - 1 - first - 2**11 * last, last]  # which subset each blend has
counts = np.stack([m.sum(1)[w] for m, w in zip((mild, medium, strong), ways, strict=True)], 1)
log_p, centre, variance = np.stack(
    [
        of_blend(i, m)[:, w]
        for i, (m, w) in enumerate(zip((mild, medium, strong), ways, strict=True))
    ],
    axis=2,
)
log_p = log_p.sum(1) + (gammaln(memory + counts) - gammaln(memory)).sum(1)
exact_log_evidence = logsumexp(log_p) + gammaln(10) - gammaln(27)
p = np.exp(log_p - logsumexp(log_p))
exact_mean = p @ centre
exact_sd = np.sqrt(p @ (variance + centre**2) - exact_mean**2)
exact_weight = (memory + p @ counts) / 27
exact_71 = np.array([p @ m[w, 11] for m, w in zip((mild, medium, strong), ways, strict=True)])
assert round(len(p), -3) == 295_000

blend_means = np.asarray(blends.draws.components.means, float)
tolerance = 5 / math.sqrt(blends.effective_sample_size)  # in posterior standard deviations
print("means, exactly:", exact_mean.round(2), "by draws:", blend_means.mean(0).round(2), "mg")
print(f"log evidence, exactly: {exact_log_evidence:.3f}, by draws: {blends.log_evidence:.3f}")
assert abs(blends.log_evidence - exact_log_evidence - 0.008) < 5 * blends.log_evidence_error
assert np.all(np.abs(blend_means.mean(0) - exact_mean) < tolerance * exact_sd)
assert np.allclose(blend_means.std(0), exact_sd, rtol=0.05)
assert np.allclose(blends.draws.weights.mean(0), exact_weight, atol=tolerance * 0.1)

# %% [markdown]
# **What is from the cups, and what from the label?** The mild blend's mean is known to 1.1 mg, the
# strong one's to 3.1, hardly better than the 4 mg before. That is as it should be: one cup of 99
# mg, good to about 4 mg, and a label that says 96, good to 4 mg, meet halfway, at 97.5 or so, with
# $4 / \sqrt 2 = 2.8$ mg of doubt.
#
# And the cup of 71 mg? Mild with probability .60, medium with .40. EM names no names, so it cannot
# even be asked.

# %%
assert np.allclose(exact_sd[[0, 2]], [1.12, 3.06], atol=0.01)
assert abs(exact_mean[2] - 97.5) < 0.3
assert round(4 / math.sqrt(2), 1) == 2.8
cup_71 = blends.responsibilities_by_draw(np.array([71.0])).mean(0)[0]
assert np.allclose(cup_71, exact_71, atol=tolerance / 2)
assert np.allclose(exact_71[:2], [0.6, 0.4], atol=0.01)

figure, axes = plt.subplots(figsize=(9, 3.6), layout="constrained")
for i, (name, colour) in enumerate(zip(names, colours, strict=True)):
    before = stats.norm.interval(0.95, labels[i], 4)
    after = np.quantile(blend_means[:, i], [0.025, 0.975])
    axes.plot(before, [i + 0.14] * 2, color="#BBBBBB", lw=6, label="" if i else "label: 95 %")
    axes.plot(after, [i - 0.14] * 2, color=colour, lw=6, label=f"{name}: 95 % after the cups")
    axes.plot([labels[i], exact_mean[i]], [i + 0.14, i - 0.14], "o", color="black", ms=4)
axes.plot(parts.means, [2.75] * 3, "X", color="black", ms=9, label="EM's three means")
axes.plot(cups, [-0.65] * 17, "|", color="black", ms=12, label="the cups")
axes.set_yticks([-0.65, 0, 1, 2, 2.75], ["cups", *names, "EM"])
axes.set(
    xlabel="mean caffeine (mg)", ylim=(-0.95, 3.1), title="What seventeen cups say of three blends"
)
_ = figure.legend(loc="outside right center", fontsize=9)

# %% [markdown]
# ## 3. How many kinds of bento?
#
# For EM, more components are always better, and something from outside must stop it. BIC takes off
# half a $\log n$ for each parameter, a rough stand-in for the evidence. With a prior we have the
# evidence itself: `criterion="evidence"` fits each number and turns evidence into the probability
# of that number, all equally probable beforehand.

# %%
types = gmm_jax.select(bentos, range(1, 5), criterion="evidence", prior=prior)
print(types)
shares = np.array(list(types.probabilities.values()))
exact_shares = np.exp(exact_evidence - logsumexp(exact_evidence))
assert np.allclose(exact_shares[1:], [0.688613, 0.235377, 0.076011], rtol=0, atol=2e-6)
assert math.isclose(exact_shares[0], 2.1e-41, rel_tol=0.05)
assert np.allclose(shares, exact_shares, atol=0.02)
assert shares[0] < 1e-40

by_bic = gmm_jax.select(bentos, range(1, 5), criterion="bic")
print(by_bic)
bic = np.array([row["bic"] for row in by_bic.table])
bic_shares = np.exp(-(bic - bic.min()) / 2)
bic_shares /= bic_shares.sum()
one = stats.norm.logpdf(bentos, bentos.mean(), bentos.std()).sum()
two = sum(
    len(kind) * math.log(len(kind) / 20) + stats.norm.logpdf(kind, kind.mean(), kind.std()).sum()
    for kind in (light, heavy)
)
by_hand = [-2 * one + 2 * math.log(20), -2 * two + 5 * math.log(20)]
assert np.allclose(bic[:2], by_hand, atol=0.01)

# %% [markdown]
# Both prefer two. But BIC, read as a probability, gives two kinds .97, the evidence .69. Who is
# right? Here the question itself is loose. A *component* may stand empty: no box came of it so far,
# and the twenty boxes cannot deny that a third kind exists. How many kinds are *among these boxes*
# is another question, and `occupied()` answers it: for two components with three on offer, with
# probability .80. Averaged over $K$, just two are among them with a probability above .92.

# %%
occupied = {k: fit.occupied() for k, fit in types.fits.items()}
seen = np.zeros(5)
for k, share in types.probabilities.items():
    seen[: k + 1] += share * occupied[k]
# Two hold boxes: choose which is light and which is heavy; each draws on Dirichlet(1, ..., 1).
log_two = [
    math.log(k * (k - 1))
    + apart
    + math.lgamma(9)
    + math.lgamma(13)
    + math.lgamma(k)
    - math.lgamma(k + 20)
    for k in (2, 3, 4)
]
exact_two = np.exp(np.array(log_two) - exact_evidence[1:])
exact_seen = exact_two @ exact_shares[1:]
print(f"two kinds hold boxes: exactly {exact_seen:.3f}, by draws {seen[2]:.3f}")
assert abs(bic_shares[1] - 0.965) < 0.005
assert round(exact_two[1], 2) == 0.80
assert 0.92 < exact_seen < 0.93
for k in (2, 3, 4):
    assert abs(occupied[k][2] - exact_two[k - 2]) < 5 * math.sqrt(0.25 / 2000)
assert abs(seen[2] - exact_seen) < 0.03

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.4), layout="constrained", sharey=True)
number = np.arange(1, 5)
bars = left.bar(number - 0.2, shares, 0.38, color=BLUE, label="evidence")
left.bar_label(bars, [f"{share:.2f}" for share in shares], fontsize=8)
bars = left.bar(number + 0.2, bic_shares, 0.38, color="#BBBBBB", label="exp(-BIC / 2)")
left.bar_label(bars, [f"{share:.2f}" for share in bic_shares], fontsize=8)
left.set(xlabel="components in the model", ylabel="probability", xticks=number, ylim=(0, 1.08))
left.set_title("How many components?")
left.legend(loc="upper right")
bars = right.bar(number, seen[1:], 0.5, color=GREEN)
right.bar_label(bars, [f"{share:.2f}" for share in seen[1:]], fontsize=8)
_ = right.set(
    xlabel="kinds among the twenty boxes", xticks=number, title="How many kinds hold boxes?"
)

# %% [markdown]
# ## 4. What is the mean of component 0?
#
# The bentos' prior treats components alike, so swapping their names changes nothing. Draws under
# all the names that they may have are light and heavy in equal parts, whichever component we look
# at: every mean is 425 g, give or take 75. No box weighs that, and no draw says so. Here we give
# every draw its names at random:

# %%
sorted_means = np.asarray(posterior.draws.components.means, float)
raw_means = np.random.default_rng(0).permuted(sorted_means, axis=1)
print("raw means:", raw_means.mean(0).round(1), "give or take", raw_means.std(0).round(1))
kinds = [component(kind, np.ones((1, len(kind)))) for kind in (light, heavy)]
(_, [light_mean], [light_variance]), (_, [heavy_mean], [heavy_variance]) = kinds
exact_raw = (light_mean + heavy_mean) / 2
exact_raw_sd = math.sqrt((light_variance + heavy_variance) / 2 + (heavy_mean - light_mean) ** 2 / 4)
assert np.allclose([exact_raw, exact_raw_sd], [425.125, 74.865], atol=1e-3)
assert np.allclose(raw_means.mean(0), exact_raw, atol=5 * 75 / math.sqrt(20_000))
assert np.allclose(raw_means.std(0), exact_raw_sd, atol=0.1)
assert np.abs(raw_means - 425).min() > 60

# %% [markdown]
# `fit` sorts components by their means, which here is all that it takes, and says so in its table.
# `relabel` has better ways, which compare what the components *hold*. For two components both
# agree:

# %%
relabelled = posterior.relabel()
print(relabelled.summary())
assert relabelled.told_apart
relabelled_means = np.asarray(relabelled.draws.components.means, float)
assert np.allclose(np.sort(relabelled_means.mean(0)), [light_mean, heavy_mean], atol=0.05)
assert np.allclose(np.sort(relabelled_means, 1), sorted_means)

# %% [markdown]
# With three components there is a third that is mostly empty. Whatever name it gets, its interval
# would describe the prior and not the boxes. No relabelling mends that, and `summary` refuses:

# %%
three = types.fits[3]
try:
    three.relabel().summary()
except ValueError as error:
    refusal = str(error)
print(refusal)
assert "no honest table of components" in refusal
assert "holds no data" in refusal

# %% [markdown]
# What it recommends instead needs no names. `similarity` is the probability that two boxes are of
# one kind, and `partition` the division of the boxes that is least wrong on average: still two
# groups, eight and twelve. We check the probabilities by going through all ways to divide the light
# boxes, or the heavy ones, between two of the three components.


# %%
def splits(points):
    """Log probability, up to a constant, of every way to give points to two components."""
    members = subsets(len(points))[1:-1]
    both = members, 1 - members
    log_p = sum(component(points, m)[0] + gammaln(m.sum(1) + 1) for m in both)
    together = np.einsum("sp,sq->spq", members, members) + np.einsum("sp,sq->spq", *both[1:] * 2)
    return log_p, together


together = three.similarity()
partition = three.partition()
order = np.argsort(bentos, kind="stable")
light_sorted, heavy_sorted = bentos[order[:8]], bentos[order[8:]]
whole = [log_marginal(kind) + math.lgamma(len(kind) + 1) for kind in (light_sorted, heavy_sorted)]
(light_log, light_pairs), (heavy_log, heavy_pairs) = splits(light_sorted), splits(heavy_sorted)
nobody = math.log(6) + sum(whole)  # the third is empty
light_split, heavy_split = math.log(3) + light_log + whole[1], math.log(3) + heavy_log + whole[0]
every_way = logsumexp([nobody, logsumexp(light_split), logsumexp(heavy_split)])
assert math.isclose(math.exp(nobody - every_way), exact_two[1], rel_tol=1e-4)
p_light, p_heavy = np.exp(light_split - every_way), np.exp(heavy_split - every_way)
exact_together = np.zeros((20, 20))
exact_together[:8, :8] = 1 - p_light.sum() + np.einsum("s,spq->pq", p_light, light_pairs)
exact_together[8:, 8:] = 1 - p_heavy.sum() + np.einsum("s,spq->pq", p_heavy, heavy_pairs)
assert np.allclose(together[np.ix_(order, order)], exact_together, atol=0.02)
assert np.array_equal(partition == partition[np.argmax(bentos)], bentos > 425)

figure, axes = plt.subplots(figsize=(5.6, 4.6), layout="constrained")
picture = axes.imshow(together[np.ix_(order, order)], vmin=0, vmax=1, cmap="Blues")
ticks = [0, 3, 7, 8, 12, 16, 19]
axes.set_xticks(ticks, [f"{bentos[order[i]]:.0f}" for i in ticks], rotation=90)
axes.set_yticks(ticks, [f"{bentos[order[i]]:.0f}" for i in ticks])
axes.set(xlabel="weight (g)", ylabel="weight (g)", title="Three components, and still two kinds")
_ = figure.colorbar(picture, label="probability of one kind")

# %% [markdown]
# ## 5. Why trust it?
#
# So far draws came with weights, and `fit` watched over these. Markov chains are another way, for
# more data than importance sampling can take, and with their own question: did the chains forget
# where they started? *R-hat* compares the spread among chains with the spread within; it should be
# below 1.01. *Effective draws* say how many independent ones the chains are worth. Both are in the
# last line, at their worst over all quantities; `convergence` has them all.

# %%
chains = gmm_jax.fit(cups, 3, prior=shop, method="gibbs", n_draws=8000)
print(chains)
assert max(quality.r_hat for quality in chains.convergence.values()) < 1.01
assert chains.effective_sample_size > 1000
strong_mean = np.asarray(chains.draws.components.means, float)[:, 2].reshape(chains.n_chains, -1)
error = exact_sd[2] / math.sqrt(chains.convergence["means[2]"].ess_bulk)
assert abs(strong_mean.mean() - exact_mean[2]) < 5 * error

# %% [markdown]
# R-hat is only as good as the quantity it looks at. Take the bentos' draws as four chains, perfect
# ones, and swap the names in two of them: the mean of component 0 now *disagrees* between chains,
# though nothing is wrong. R-hat goes by ranks and cuts each chain in two, and whatever the weights
# are, it must come out at 1.73. The density of the mixture, which knows no names, is as good as
# before. That is why `fit` looks at densities, and at parameters only if the prior names them.

# %%
swapped = sorted_means.reshape(4, -1, 2).copy()
swapped[2:] = swapped[2:, :, ::-1]
found = convergence.table(
    {"mean of component 0": swapped[..., 0], "density": at_350.reshape(4, -1)}
)
for name, quality in found.items():
    print(f"{name}: R-hat {quality.r_hat:.2f}")
within, among = 1 - 2 / math.pi, 2 / math.pi * 8 / 7  # half-chains hold half a normal each
assert round(math.sqrt(1 + among / within), 2) == 1.73
assert math.isclose(found["mean of component 0"].r_hat, 1.73, abs_tol=0.01)
assert found["density"].r_hat < 1.01

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.4), layout="constrained")
for chain, colour in zip(
    strong_mean[[0, 5, 10, 15], :150], (BLUE, ORANGE, GREEN, GREY), strict=True
):
    left.plot(chain, color=colour, lw=0.8)
left.axhspan(
    exact_mean[2] - 2 * exact_sd[2],
    exact_mean[2] + 2 * exact_sd[2],
    color="#DDDDDD",
    label="exactly: mean and 2 sd",
)
left.legend(loc="lower left", fontsize=8)
left.set(xlabel="draw", ylabel="mean of the strong blend (mg)", title="Chains that agree")
for chain, colour in zip(swapped[:, ::50, 0], (BLUE, ORANGE, GREEN, GREY), strict=True):
    right.plot(chain, color=colour, lw=0.8)
_ = right.set(
    xlabel="draw (every 50th)", ylabel="mean of component 0 (g)", title="Names that were swapped"
)

# %% [markdown]
# **A prior that leaves no posterior.** A twenty-first box weighs 498 g, like two others. Nothing
# could be more ordinary, and `fit` refuses:

# %%
boxes = [*bentos, 498]
try:
    gmm_jax.fit(boxes, 2, prior=prior)
except ValueError as error:
    refusal = str(error)
print(refusal)
assert "the evidence is infinite" in refusal
assert "498 3 times" in refusal
assert "least_scale" in refusal

# %% [markdown]
# Three equal values allow a component that holds just them, with a standard deviation $s$ as small
# as we like. Its density grows like $s^{-2}$ with the mean integrated out, and the prior, which
# goes like $s$, doesn't vanish fast enough: the integral of $s^{-1}$ has no end. From each scale to
# one a thousand times finer it adds the same again:

# %%
tiny = np.geomspace(1e-12, 1, 4001)
spike = (
    stats.norm.pdf(498, 400, 50) / (tiny**2 * 2 * math.pi * math.sqrt(3)) * stats.gamma.pdf(tiny, 2)
)
pieces = [
    np.trapezoid((spike * tiny)[i : i + 1001], np.log(tiny[i : i + 1001])) for i in (0, 1000, 2000)
]
assert np.allclose(pieces, pieces[0], rtol=1e-3)
print("from 1e-12 to 1e-9 g, to 1e-6 g, to 1e-3 g:", [f"{piece:.6f}" for piece in pieces])

# %% [markdown]
# A sampler that doesn't look would return draws, here as everywhere: perhaps none of the spike,
# perhaps nothing else. The fault is in the prior, which believes in standard deviations of a
# millionth of a gram, though the scale shows whole grams. Two of the remedies in the message: a
# shape of 4 instead of 2 (with rate 2, for the same 2 g on average), or `least_scale`, what the
# scale can show. Either leaves a posterior.

# %%
firm = DirichletNormalGamma(1, mean=400, mean_scale=50, shape=4, rate=2)
floored = DirichletNormalGamma(1, mean=400, mean_scale=50, shape=2, rate=1, least_scale=1)
assert floored.improper(np.array(boxes), np.ones(21), 2) is None
mended = gmm_jax.fit(boxes, 2, prior=firm)
print(mended)
by_hand = math.log(2) + math.lgamma(9) + math.lgamma(14) - math.lgamma(23)
by_hand += sum(log_marginal(kind, shape=4, rate=2) for kind in (light, [*heavy, 498]))
assert abs(mended.log_evidence - by_hand) < 0.02

# %% [markdown]
# So this is what the prior, the seconds and the thought have bought: odds that can be believed,
# answers from one cup, a probability for every number of kinds, and a plain refusal where there is
# nothing to say. Where the data are many and the kinds far apart, EM tells the same story, sooner.
