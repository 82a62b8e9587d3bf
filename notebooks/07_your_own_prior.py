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
# # Your own prior
#
# So far every prior came ready-made: so many components, so much known of each. But knowledge often
# has a shape of its own. Chibany's bentos now come from a chain of eight shops. All cook by the
# same two recipes, small and large, but each shop packs them in shares of its own. What do eight
# shops tell us about one of them? We say it as a program, and let `gmm_jax.sample` turn it round.
#
# 1. Two simple answers, both wrong.
# 2. The belief, as a program; and what it says before seeing data.
# 3. The posterior, against an exact answer.
# 4. Was it worth it? Boxes that nobody had seen, and the evidence.
# 5. And if nobody tells us the recipes?
# 6. Can it be trusted? Made-up chains whose truth we know.
#
# Every number in the text is checked by an `assert` beside it.

# %%
import math

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from genjax import gen, normal, seed
from scipy import stats
from scipy.special import expit, logsumexp

import gmm_jax
from gmm_jax import Normal, models
from gmm_jax.distributions import IndependentNormal

BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#555555"  # colour-blind safe

# %% [markdown]
# ## 1. Eight shops, two simple answers
#
# A small box weighs 420 g, a large one 500 g, each give or take 25 g. So the kinds overlap: a box
# of 460 g may be either. Three shops have sent 40 boxes each, three have sent 12, and two have sent
# 4. We made the boxes up, so that we know the true share of large boxes in every shop.

# %%
means, scales = np.array([420.0, 500.0]), np.array([25.0, 25.0])
true_share = np.array([0.45, 0.7, 0.85, 0.55, 0.62, 0.3, 0.75, 0.5])
sizes = np.array([40, 40, 40, 12, 12, 12, 4, 4])


def weigh(random, sizes):
    """Boxes of all shops, and the shop of each."""
    shop = np.repeat(np.arange(8), sizes)
    kind = (random.random(len(shop)) < true_share[shop]).astype(int)
    return shop, random.normal(means[kind], scales[kind])


shop, boxes = weigh(np.random.default_rng(0), sizes)
shop = jnp.asarray(shop)
assert len(boxes) == 164
assert stats.norm.pdf(460, 420, 25) == stats.norm.pdf(460, 500, 25)

# %% [markdown]
# **Every shop by itself.** The recipes are known, so that only the share is to be found. `fit_many`
# finds all eight in one call.
#
# **All shops as one.** Throw the boxes together, and there is one share for all.

# %%
recipes = {"means": means, "scales": scales}
apart = gmm_jax.fit_many([boxes[shop == j] for j in range(8)], fixed=recipes)
alone = np.asarray(apart.mixtures.weights, float)[:, 1]
pooled = float(gmm_jax.fit(boxes, fixed=recipes).mixture.weights[1])
print("alone: ", alone.round(2))
print("as one:", round(pooled, 2))

# %% [markdown]
# A second way to the same numbers, which we shall need again: the likelihood of every possible
# share, on a grid from 0 to 1.

# %%
grid = np.linspace(0.0025, 0.9975, 200)
density = stats.norm.pdf(boxes[:, None], means, scales)
each_box = np.log(density @ np.stack([1 - grid, grid]))
log_likelihood = np.stack([each_box[shop == j].sum(0) for j in range(8)])
assert np.allclose(alone, grid[log_likelihood.argmax(1)], atol=0.01)
assert np.allclose(pooled, grid[log_likelihood.sum(0).argmax()], atol=0.01)

# %% [markdown]
# Both answers are wrong. From four boxes the first says .84 of the last shop, where the truth is
# .5. The second says that all shops are alike, which shops with forty boxes deny. What we believe
# lies between: *the shops differ, but not wildly, and how much they differ, they tell us together.*

# %%
assert round(alone[7], 2) == 0.84

# %% [markdown]
# ## 2. The belief, as a program
#
# The chain has a `typical` share of large boxes, and every shop departs from it by a shift of its
# own. Shares can't leave 0 to 1, so we shift their log odds, $\log(p / (1 - p))$, which may be any
# number: 0 is one half, 1 is .73, 2 is .88.
#
# $$\log \text{odds}_j = \text{typical} + \text{spread} \cdot \text{own}_j, \qquad
# \text{own}_j \sim \text{Normal}(0, 1)$$
#
# How much do shops differ? That is `spread`: with 0 all are the same, with 3 they have nothing in
# common. We don't know it, so it gets a prior, too. This is the whole trick of a *hierarchy*.
#
# A generative function draws these one after the other, and gives each an address. A box is a draw
# from a mixture whose component is summed out, `marginal_mixture`. Even the recipes are unknown to
# this program. We shall tell it later, as data. (What must be positive is drawn as a logarithm.)


# %%
@models.checked
@gen
def chain(shop):
    means = models.site(IndependentNormal(jnp.full(2, 450.0), jnp.full(2, 50.0))) @ "means"
    log_scales = models.site(IndependentNormal(jnp.full(2, 3.0), jnp.full(2, 0.5))) @ "log_scales"
    typical = normal(0.0, 1.0) @ "typical"
    log_spread = normal(-0.5, 0.7) @ "log_spread"
    own = models.site(IndependentNormal(jnp.zeros(8), jnp.ones(8))) @ "own"
    large = jax.nn.sigmoid(typical + jnp.exp(log_spread) * own)
    weights = jnp.stack([1 - large[shop], large[shop]], axis=1)
    components = jax.jit(Normal)(means, jnp.exp(log_scales))
    box = models.marginal_mixture.vmap(in_axes=(0, None), axis_size=len(shop))
    return box(weights, components) @ "boxes"


def share_of(choices):
    """Share of large boxes in every shop, of many draws."""
    own, typical, log_spread = (np.asarray(choices[a]) for a in ("own", "typical", "log_spread"))
    return expit(typical[..., None] + np.exp(log_spread)[..., None] * own)


assert np.allclose(expit([0, 1, 2]), [0.5, 0.73, 0.88], atol=0.005)

# %% [markdown]
# Is the program what we mean? `assess` gives the log density of a full set of choices, and we can
# add up the same terms by hand.

# %%
known = {"means": jnp.asarray(means), "log_scales": jnp.log(scales)}
own = (stats.logistic.ppf(true_share) - 0.5) / 0.8  # a typical 0.5 and a spread of 0.8
choices = {"typical": 0.5, "log_spread": math.log(0.8), "own": own, "boxes": boxes, **known}
log_joint, _ = chain.assess(choices, shop)
share = true_share[np.asarray(shop)]
told = stats.norm.logpdf(means, 450, 50).sum() + stats.norm.logpdf(np.log(scales), 3, 0.5).sum()
by_hand = (
    told
    + stats.norm.logpdf(0.5, 0, 1)
    + stats.norm.logpdf(math.log(0.8), -0.5, 0.7)
    + stats.norm.logpdf(own).sum()
    + np.log((1 - share) * density[:, 0] + share * density[:, 1]).sum()
)
assert math.isclose(log_joint, by_hand, rel_tol=1e-5)

# %% [markdown]
# **What does it say before seeing data?** Run it forward, a thousand times. Every row on the left
# is a made-up chain: eight shops that resemble each other, more in some rows than in others. On the
# right, how far the shops of a chain are apart (sd). It can be anything from almost nothing to .3;
# had we written down a belief that we don't hold, this picture would have shown it.

# %%
keys = jax.random.split(jax.random.key(0), 1000)
made_up = jax.jit(jax.vmap(lambda key: seed(chain.simulate)(key, shop).get_choices()))(keys)
shares = share_of(made_up)
apart_by = shares.std(1)
low, high = np.quantile(apart_by, [0.05, 0.95])
print(f"sd among shops: 90 % from {low:.2f} to {high:.2f}")
assert abs(shares.mean() - 0.5) < 5 * 0.25 / math.sqrt(1000)
assert low < 0.05
assert 0.25 < high < 0.35

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
for i in range(12):
    left.plot(shares[i], np.full(8, i), "o", ms=5, alpha=0.6, color=BLUE)
    left.plot(expit(made_up["typical"][i]), i, "|", ms=14, mew=2, color=ORANGE)
left.set(xlabel="share of large boxes", ylabel="made-up chain", xlim=(0, 1), yticks=[])
left.set_title("Twelve chains; the bar is the typical share")
right.hist(apart_by, bins=30, color=BLUE)
right.axvline(true_share.std(), color=ORANGE, ls="--", label="the truth (which nobody knows)")
right.set(xlabel="sd of shares among shops", ylabel="chains", title="How much shops may differ")
_ = right.legend(fontsize=8)

# %% [markdown]
# ## 3. The posterior
#
# Say what is known, by address: the boxes, and (for now) the recipes. All that is left open is
# drawn. We ask for `method="smc"`, particles that go from the prior to the posterior, since it
# gives the evidence, too.

# %%
data = {"boxes": boxes, **known}
particles = {"method": "smc", "n_particles": 1000, "n_draws": 1000}
posterior = gmm_jax.sample(chain, data, args=(shop,), **particles)
print(posterior)
assert posterior.ess > 200

# %% [markdown]
# **Against an exact answer.** Once `typical` and `spread` are given, the shops have nothing to do
# with each other. So ten dimensions fall apart into sums over grids: two for the chain, and within
# them one for each shop.

# %%
typical = np.linspace(-4, 4, 61)[:, None, None]
log_spread = np.linspace(-4, 2.5, 61)[:, None]
z = np.linspace(-5, 5, 101)
weight_of_z = stats.norm.pdf(z) * (z[1] - z[0])
log_prior = (stats.norm.logpdf(typical, 0, 1) + stats.norm.logpdf(log_spread, -0.5, 0.7))[..., 0]
log_prior += math.log((typical[1, 0, 0] - typical[0, 0, 0]) * (log_spread[1, 0] - log_spread[0, 0]))
shares_on_grid = expit(typical + np.exp(log_spread) * z)


def exactly(log_likelihood):
    """Log evidence, and posterior means and sds of the eight shares."""
    sums, top = [], log_likelihood.max(1)
    for own, most in zip(log_likelihood, top, strict=True):
        likelihood = weight_of_z * np.interp(shares_on_grid, grid, np.exp(own - most))
        sums.append([(likelihood * shares_on_grid**power).sum(-1) for power in range(3)])
    sums = np.array(sums)
    log_joint = log_prior + np.log(sums[:, 0]).sum(0) + top.sum()
    log_evidence = logsumexp(log_joint)
    chance = np.exp(log_joint - log_evidence)
    mean, square = ((chance * sums[:, power] / sums[:, 0]).sum((1, 2)) for power in (1, 2))
    return log_evidence, mean, np.sqrt(square - mean**2)


log_evidence, exact_mean, exact_sd = exactly(log_likelihood)
between = share_of(posterior.draws)
print("exact:", exact_mean.round(3))
print("drawn:", between.mean(0).round(3))
assert math.isclose(np.exp(logsumexp(log_prior)), 1, abs_tol=2e-3)
assert np.all(np.abs(between.mean(0) - exact_mean) < 5 * exact_sd / math.sqrt(posterior.ess))
assert np.allclose(between.std(0), exact_sd, rtol=0.2)
# The recipes were given, and their own prior counts as a part of what was given.
print(f"log evidence {posterior.log_evidence - told:.2f}, exactly {log_evidence:.2f}")
assert abs(posterior.log_evidence - told - log_evidence) < 5 * posterior.log_evidence_error

# %% [markdown]
# **Shrinkage.** The estimates have moved from "alone" towards "as one": hardly where a shop sent 40
# boxes, a long way for the last, which sent four. Nobody told the program how far. It follows from
# how many boxes there are, and from how much the shops that we know well differ among themselves.

# %%
moved = np.abs(between.mean(0) - alone)
assert moved[:3].max() < 0.08
assert moved[7] > 0.15
inside = (np.quantile(between, 0.05, 0) < true_share) & (true_share < np.quantile(between, 0.95, 0))
print(f"{inside.sum()} of 8 true shares lie within their 90 % intervals")

figure, axes = plt.subplots(figsize=(9, 3.8), layout="constrained")
place = np.arange(8)
axes.axhline(pooled, color=GREY, ls=":", label="all as one")
axes.plot(place - 0.15, alone, "s", ms=8, color=ORANGE, label="alone")
axes.vlines(place + 0.1, *np.quantile(between, [0.05, 0.95], 0), color=BLUE, lw=4, alpha=0.4)
axes.plot(place + 0.1, between.mean(0), "o", ms=8, color=BLUE, label="hierarchy, with 90 %")
axes.plot(place + 0.25, true_share, "x", ms=8, mew=2, color="black", label="truth")
axes.set_xticks(place, [f"{n} boxes" for n in sizes])
axes.set(ylabel="share of large boxes", ylim=(-0.03, 1.03), title="Shops with few boxes borrow")
_ = axes.legend(loc="lower left", ncols=4, fontsize=9)

# %% [markdown]
# **A shop that nobody has seen.** A ninth shop opens. "Alone" has nothing to say of it, "as one"
# says its one share and is sure of it. The hierarchy draws a shop from the chain: .57, give or take
# .16.

# %%
random = np.random.default_rng(1)
habit, spread = (np.asarray(posterior.draws[name]) for name in ("typical", "log_spread"))
ninth = expit(random.normal(habit, np.exp(spread)))
print(f"ninth shop: {ninth.mean():.2f}, give or take {ninth.std():.2f}")
assert abs(ninth.mean() - 0.57) < 0.03
assert abs(ninth.std() - 0.16) < 0.02
assert ninth.std() > 1.5 * between[:, 0].std()

# %% [markdown]
# ## 4. Was it worth it?
#
# **New boxes.** The honest test is boxes that nobody has seen. Next month every shop sends 250. For
# each rule we take the mean log density of a new box, under the mixture with the share that the
# rule predicts. The best possible is that of the true shares; what a rule falls short of it is its
# price. The hierarchy's is little more than half that of the better simple rule.

# %%
new_shop, new_boxes = weigh(np.random.default_rng(2), np.full(8, 250))


def held_out(share):
    """Log density of each new box when its shop has this share of large ones."""
    small, large = stats.norm.pdf(new_boxes[:, None], means, scales).T
    own = np.broadcast_to(share, 8)[new_shop]
    return np.log((1 - own) * small + own * large)


best = held_out(true_share)
rules = {"alone": alone, "all as one": pooled, "hierarchy": between.mean(0)}
price = {name: (best - held_out(share)).mean() for name, share in rules.items()}
few = sizes[new_shop] <= 12
price_of_few = {name: (best - held_out(share))[few].mean() for name, share in rules.items()}
for name in rules:
    print(f"{name:<10} {price[name]:.4f} nats a box; shops with few boxes {price_of_few[name]:.4f}")
assert price["hierarchy"] < 0.6 * min(price["alone"], price["all as one"])

# %% [markdown]
# **The evidence.** Without new boxes we can still ask which program expects the old ones best. The
# evidence is the density of the data with all choices summed out. Here is the rival, which believes
# that all shops are one. It has a single open choice, so that plain importance sampling will do.
# The hierarchy expects these boxes more than ten times better.


# %%
@models.checked
@gen
def one_shop():
    large = jax.nn.sigmoid(normal(0.0, 1.0) @ "typical")
    components = jax.jit(Normal)(means, scales)
    return models.marginal_points(164)(jnp.stack([1 - large, large]), components) @ "boxes"


together = gmm_jax.sample(one_shop, {"boxes": boxes}, method="importance")
log_odds = np.linspace(-5, 5, 401)
as_one = np.interp(expit(log_odds), grid, log_likelihood.sum(0))
exact_together = logsumexp(as_one + stats.norm.logpdf(log_odds)) + math.log(10 / 400)
advantage = posterior.log_evidence - told - together.log_evidence
print(f"all as one: {together.log_evidence:.2f}, exactly {exact_together:.2f}")
print(f"the hierarchy expects the boxes {math.exp(advantage):.0f} times better")
assert abs(together.log_evidence - exact_together) < 5 * together.log_evidence_error + 0.01
assert log_evidence > exact_together + math.log(10)

# %% [markdown]
# ## 5. And if nobody tells us the recipes?
#
# Then leave them out of the data. The program is the same. One thing must be said: which of the two
# components is "large" is a matter of names, and chains of draws may come to different names. An
# order gives them some: `supports={"means": "ordered"}`. The sampler is now NUTS, which `sample`
# takes by itself where all open choices vary continuously.

# %%
unknown = gmm_jax.sample(
    chain,
    {"boxes": boxes},
    args=(shop,),
    supports={"means": "ordered"},
    n_warmup=500,
)
print(unknown)
found = np.asarray(unknown.draws["means"], float)
print("recipes:", found.mean(0).round(1), "give or take", found.std(0).round(1))
assert unknown.method == "nuts"
assert unknown.r_hat < 1.03
assert np.all(np.abs(found.mean(0) - means) < 3 * found.std(0))
assert np.all(found[:, 0] < found[:, 1])

# %% [markdown]
# The recipes come out right within their doubt, and that doubt has its price: the intervals of the
# shares get one and a half to two times as wide. A box of 460 g is now even harder to tell.

# %%
blurred = share_of(unknown.draws)
wider = blurred.std(0) / exact_sd
print("intervals are wider by a factor of", wider.round(2))
assert 1.2 < wider.min() < wider.max() < 2.5

figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.4), layout="constrained")
x = np.linspace(330, 590, 300)
left.hist(boxes, bins=np.arange(330, 600, 10), density=True, color="#CCCCCC", label="164 boxes")
parts = np.exp(unknown.draws["log_scales"])
overall = blurred[:, np.asarray(shop)].mean(1)
for i in range(0, 4000, 100):
    mixture = (1 - overall[i]) * stats.norm.pdf(x, found[i, 0], parts[i, 0])
    mixture += overall[i] * stats.norm.pdf(x, found[i, 1], parts[i, 1])
    left.plot(x, mixture, color=BLUE, lw=0.6, alpha=0.4, label="draws" if i == 0 else None)
left.set(xlabel="weight (g)", ylabel="density (per g)", title="All shops together")
left.legend(fontsize=8)
for values, colour, offset, name in (
    (between, BLUE, -0.12, "recipes known"),
    (blurred, GREEN, 0.12, "recipes unknown"),
):
    right.vlines(
        place + offset, *np.quantile(values, [0.05, 0.95], 0), color=colour, lw=4, alpha=0.4
    )
    right.plot(place + offset, values.mean(0), "o", color=colour, label=name)
right.plot(place, true_share, "x", mew=2, color="black", label="truth")
right.set_xticks(place, sizes)
right.set(xlabel="boxes of the shop", ylabel="share of large boxes", ylim=(-0.05, 1.05))
right.set_title("90 % intervals")
_ = right.legend(loc="lower left", fontsize=8)

# %% [markdown]
# ## 6. Can it be trusted?
#
# One chain of shops may be luck. So we let the program make up 12 chains, each with a truth that we
# know, and hand each back to be fitted. If all is well, 90 % intervals hold the truth nine times in
# ten: of 96 shares about 86. And the price of each rule, averaged over the chains, should be
# least for the hierarchy, which knows how the chains were made.


# %%
def shortfall(truth, share):
    """Nats that a new box costs on average when its shop is believed to have another share."""
    x = np.linspace(300, 620, 400)[:, None, None]
    small, large = stats.norm.pdf(x, 420, 25), stats.norm.pdf(x, 500, 25)
    p, q = ((1 - s) * small + s * large for s in (truth, share))
    return np.trapezoid(p * np.log(p / q), x[:, 0, 0], axis=0)


made = jax.jit(jax.vmap(lambda key: seed(chain.generate)(key, known, shop)[0].get_choices()))(
    jax.random.split(jax.random.key(5), 12)
)
truths, sets = share_of(made), np.asarray(made["boxes"], float)
held, guesses = [], {name: [] for name in rules}
for truth, own in zip(truths, sets, strict=True):
    fitted = gmm_jax.sample(chain, {"boxes": own, **known}, args=(shop,), **particles)
    drawn = share_of(fitted.draws)
    held.append((np.quantile(drawn, 0.05, 0) < truth) & (truth < np.quantile(drawn, 0.95, 0)))
    each_box = np.log(stats.norm.pdf(own[:, None], means, scales) @ np.stack([1 - grid, grid]))
    likelihood = np.stack([each_box[shop == j].sum(0) for j in range(8)])
    guesses["alone"].append(grid[likelihood.argmax(1)])
    guesses["all as one"].append(np.full(8, grid[likelihood.sum(0).argmax()]))
    guesses["hierarchy"].append(drawn.mean(0))
    assert np.allclose(drawn.mean(0), exactly(likelihood)[1], atol=0.06)
prices = {name: shortfall(truths, np.array(shares)) for name, shares in guesses.items()}
print(f"{np.sum(held)} of 96 intervals hold the truth")
for name, each in prices.items():
    print(f"{name:<10} {each.mean():.4f} nats a box")
assert abs(np.mean(held) - 0.9) < 5 * math.sqrt(0.9 * 0.1 / 96)
assert prices["hierarchy"].mean() < min(prices["alone"].mean(), prices["all as one"].mean())

figure, axes = plt.subplots(figsize=(8, 3.4), layout="constrained")
for offset, (name, each), colour in zip(
    (-0.27, 0, 0.27), prices.items(), (ORANGE, GREY, BLUE), strict=True
):
    axes.bar(place + offset, each.mean(0), 0.26, color=colour, label=name)
axes.set_xticks(place, sizes)
axes.set(xlabel="boxes of the shop", ylabel="price (nats a box)")
axes.set_title("Mean over 12 made-up chains")
_ = axes.legend()

# %% [markdown]
# The pattern is general: *things of one sort, of which some are well known and some hardly*. Pupils
# in schools, patients in hospitals, speakers in recordings. Write the program that makes them up,
# look at what it makes up, and condition it on what you know.
#
# **Try it.** Let the mean of the large recipe drift by so many grams a day: draw the drift, pass
# the day of each box as a second argument, and use `vmap` over the means as well. Or let shops
# differ in their recipes, too.
