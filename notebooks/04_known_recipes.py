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
# # Known recipes
#
# Before we look for a recipe in data, let us see what a recipe tells us when we know it. A
# *mixture* is a recipe in two steps: pick a kind, then pick a value from that kind's own
# distribution. The first step is hidden, and we see the value alone. What can it tell us about the
# kind?
#
# All that you need to know is the normal distribution: a mean, and a standard deviation (sd for
# short) that says how far values stray from it. Every number in the text is checked by an `assert`
# beside it.

# %%
import io
import math

import jax
import matplotlib.pyplot as plt
import numpy as np
from scipy import integrate, stats

from gmm_jax import Mixture, Normal

BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#555555"  # colour-blind safe

# %% [markdown]
# ## 1. A cup of 80 mg
#
# Chibany's coffee shop sells two blends. Of all cups, 70 % are the *house* blend, with 70 mg of
# caffeine on average and an sd of 5 mg. The other 30 % are the *strong* blend, with 85 mg and an sd
# of 10 mg. The labels have come off. A cup has 80 mg. Which blend is it?
#
# Count. Of 1000 cups 700 are house, and 80 mg is two of its sds from its mean. There the normal
# curve is .0540 high (for an sd of 1; divide by the sd for ours), which leaves about $700 \times
# .0540 / 5 = 7.6$ cups within half a milligram of 80. Of 300 strong cups it is $300 \times .3521 /
# 10 = 10.6$. So of about 18.1 such cups 10.6 are strong: 58 %.

# %%
assert round(stats.norm.pdf(2), 4) == 0.0540
assert round(stats.norm.pdf(-0.5), 4) == 0.3521
house_cups = 700 * 0.0540 / 5
strong_cups = 300 * 0.3521 / 10
assert round(house_cups, 1) == 7.6
assert round(strong_cups, 1) == 10.6
assert round(house_cups + strong_cups, 1) == 18.1
by_counting = strong_cups / (house_cups + strong_cups)
assert round(by_counting, 2) == 0.58

# %% [markdown]
# That was Bayes' rule. In general
#
# $$P(\text{kind } k \mid x) = \frac{w_k\, p_k(x)}{\sum_j w_j\, p_j(x)},$$
#
# with shares $w_k$ and densities $p_k$. Above the line stands what one kind contributes at $x$,
# below it what all kinds do. The library calls these probabilities *responsibilities*.

# %%
shop = Mixture([0.7, 0.3], Normal(means=[70, 85], scales=[5, 10]))
print("house, strong:", np.round(shop.responsibilities(80.0), 3))
assert math.isclose(shop.responsibilities(80.0)[1], by_counting, abs_tol=1e-4)
assert math.isclose(shop.log_prob(80.0), math.log((house_cups + strong_cups) / 1000), abs_tol=1e-3)

# %% [markdown]
# A simulated shop agrees: make 200,000 cups, keep those within half a milligram of 80, and look up
# which blend they were.

# %%
cups, blends = (np.asarray(a) for a in shop.sample(jax.random.key(0), 200_000))
kept = blends[np.abs(cups - 80) < 0.5]
print(f"{len(kept)} cups near 80 mg, {kept.mean():.1%} of them strong")
assert abs(kept.mean() - by_counting) < 5 * math.sqrt(by_counting * (1 - by_counting) / len(kept))

# %% [markdown]
# ## 2. Where to draw the line: there are two
#
# Call a cup strong when strong is the more probable. From where on is that? At the *boundary* both
# kinds contribute the same. Take logs of both sides:
#
# $$\log\frac{.7}{5} - \frac{(x - 70)^2}{2 \cdot 5^2}
#   = \log\frac{.3}{10} - \frac{(x - 85)^2}{2 \cdot 10^2}.$$
#
# With two different sds the squares don't cancel. This is a quadratic equation, and it has **two**
# solutions: 79.2 mg and 50.8 mg.

# %%
quadratic = np.polyadd(  # times 200: 4 (x - 70)^2 - (x - 85)^2 - 200 log(.14 / .03) = 0
    4 * np.array([1, -140, 70**2]) - np.array([1, -170, 85**2]),
    [-200 * math.log((0.7 / 5) / (0.3 / 10))],
)
by_hand = np.sort(np.roots(quadratic))
low, high = shop.decision_boundaries()
assert np.allclose([low, high], by_hand)
assert [round(low, 1), round(high, 1)] == [50.8, 79.2]

# %% [markdown]
# The upper one is what we expected. The lower one says that a very weak cup, below 50.8 mg, is most
# probably *strong*! That is no mistake. For the house blend, 45 mg is five sds away, and all but
# impossible. For the strong blend it is four, and only very rare. **The wider kind owns both
# tails.**
#
# Such cups hardly ever come: about 13 in 100,000. If they do come, doubt the recipe first.

# %%
assert shop.assign(45.0) == 1
assert (70 - 45) / 5 == 5
assert (85 - 45) / 10 == 4
below = 0.7 * stats.norm.cdf(low, 70, 5) + 0.3 * stats.norm.cdf(low, 85, 10)
assert round(1e5 * below) == 13
assert math.isclose(shop.cdf(low), below, rel_tol=1e-3)

# %% [markdown]
# With *equal* sds the squares cancel. What is left is a straight line with one root: the midpoint,
# moved away from the more common kind. And a rare narrow kind in the middle of a common wide one
# may never win: no boundary at all.

# %%
equal = Mixture([0.7, 0.3], Normal([70, 85], [5, 5]))
moved = 77.5 + 5**2 / (85 - 70) * math.log(0.7 / 0.3)
assert np.allclose(equal.decision_boundaries(), [moved])
assert round(moved, 1) == 78.9

hidden = Mixture([0.1, 0.9], Normal([70, 70], [5, 10]))
assert 0.1 / 5 < 0.9 / 10  # at 70 mg, where the narrow kind is at its best
assert len(hidden.decision_boundaries()) == 0

# %% [markdown]
# **How often are we wrong?** The best rule errs where a cup lies on the wrong side for its kind:
# 11.3 % of all cups. No rule that sees caffeine alone does better.

# %%
house, strong = stats.norm(70, 5), stats.norm(85, 10)
house_wrong = 0.7 * (house.cdf(low) + house.sf(high))
strong_wrong = 0.3 * (strong.cdf(high) - strong.cdf(low))
wrong = house_wrong + strong_wrong
assert round(100 * wrong, 1) == 10.7
simulated = (np.asarray(shop.assign(cups)) != blends).mean()
assert abs(simulated - wrong) < 5 * math.sqrt(wrong * (1 - wrong) / len(cups))

# %% [markdown]
# ## 3. One picture of a recipe
#
# The function below draws a recipe. At the top is the density, as the sum of what the kinds
# contribute. Below it is the probability of each kind, with the boundaries dotted.


# %%
def draw(axes, share, means, sds, title=""):
    """Draw a mixture of two kinds: the density above, the probability of each kind below."""
    recipe = Mixture([share, 1 - share], Normal(means, sds))
    x = np.linspace(30, 130, 501)
    parts = np.exp(np.asarray(recipe.log_joint(x)))
    chances = np.asarray(recipe.responsibilities(x))
    top, bottom = axes
    top.stackplot(x, parts.T, colors=(BLUE, ORANGE), alpha=0.6)
    top.plot(x, parts.sum(1), color="black", lw=1)
    for kind, (name, style) in enumerate((("house", "-"), ("strong", "--"))):
        bottom.plot(x, chances[:, kind], style, color=(BLUE, ORANGE)[kind], label=name)
    for boundary in recipe.decision_boundaries():
        if x[0] < boundary < x[-1]:
            top.axvline(boundary, color=GREY, ls=":")
            bottom.axvline(boundary, color=GREY, ls=":")
    top.set_ylim(bottom=0)
    top.set_title(title)
    bottom.set(ylim=(-0.03, 1.03), xlabel="caffeine (mg)")


figure, axes = plt.subplots(
    2, 3, figsize=(10, 4.6), sharex=True, sharey="row", layout="constrained"
)
draw(axes[:, 0], 0.7, [70, 85], [5, 10], "the shop's: two boundaries")
draw(axes[:, 1], 0.7, [70, 85], [5, 5], "equal sds: one boundary")
draw(axes[:, 2], 0.1, [70, 70], [5, 10], "rare and narrow: none")
axes[0, 0].set_ylabel("density (per mg)")
axes[1, 0].set_ylabel("probability of the kind")
_ = axes[1, 1].legend(loc="center right")

# %% [markdown]
# **Now you.** In Jupyter the next cell shows sliders; move them and the picture follows. (Elsewhere
# nothing happens: the three settings above are what the sliders would show.) Some things to try:
#
# - Make both sds equal. One boundary runs away to the left, and out of the picture.
# - Take the share of house from 5 % to 95 %. The boundary moves towards the rarer kind.
# - Move the means apart until the density has two peaks, and back until it has one. Are there still
#   two kinds?

# %%
try:
    import ipywidgets
except ImportError:  # the three still pictures have to do
    ipywidgets = None


def as_png(share, house_mean, strong_mean, house_sd, strong_sd):
    """The picture of one setting, as the bytes of an image."""
    figure, axes = plt.subplots(2, 1, figsize=(6, 4.6), sharex=True, layout="constrained")
    draw(axes, share, [house_mean, strong_mean], [house_sd, strong_sd])
    axes[0].set_ylabel("density (per mg)")
    axes[1].set_ylabel("probability of the kind")
    axes[1].legend(loc="center right")
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=200)
    plt.close(figure)
    return image.getvalue()


def panel():
    """Sliders above a picture that follows them."""
    limits = {
        "share": ("share of house", 0.05, 0.95, 0.7, 0.05),
        "house_mean": ("house: mean", 50, 110, 70, 1),
        "strong_mean": ("strong: mean", 50, 110, 85, 1),
        "house_sd": ("house: sd", 2, 20, 5, 0.5),
        "strong_sd": ("strong: sd", 2, 20, 10, 0.5),
    }
    sliders = {
        name: ipywidgets.FloatSlider(
            min=least,
            max=most,
            value=value,
            step=step,
            description=label,
            continuous_update=False,
            style={"description_width": "8em"},
            layout={"width": "600px"},
        )
        for name, (label, least, most, value, step) in limits.items()
    }

    def picture():
        return as_png(**{name: slider.value for name, slider in sliders.items()})

    image = ipywidgets.Image(value=picture(), format="png", layout={"width": "600px"})

    def follow(change):
        image.value = picture()

    for slider in sliders.values():
        slider.observe(follow, names="value")
    return ipywidgets.VBox([*sliders.values(), image])


shown = panel() if ipywidgets else None
shown

# %%
if shown:  # a slider that is moved changes the picture, and moved back restores it
    first_slider, image = shown.children[0], shown.children[-1]
    before = image.value
    first_slider.value = 0.4
    assert image.value != before
    first_slider.value = 0.7
    assert image.value == before

# %% [markdown]
# ## 4. Two kinds, one peak
#
# A peak of the density is a *mode*. Two kinds need not make two of them. Take equal shares and
# equal sds: halfway between the means the density curves upwards, a valley, if each mean is more
# than one sd away, and downwards, a peak, if it is less. So there are two modes exactly if **the
# means are more than two sds apart**.


# %%
def curvature(apart):
    """Second derivative halfway between two normals of sd 1 that are so far apart."""
    z = apart / 2
    return stats.norm.pdf(z) * (z**2 - 1)  # of a normal density, at distance z


distances = (1.5, 1.9, 2.1, 3.0)
figure, axes = plt.subplots(1, 4, figsize=(10, 2.6), sharey=True, layout="constrained")
x = np.linspace(55, 105, 401)
for ax, apart in zip(axes, distances, strict=True):
    pair = Mixture([0.5, 0.5], Normal([80 - 2.5 * apart, 80 + 2.5 * apart], [5, 5]))
    modes = pair.modes()
    assert len(modes) == (2 if apart > 2 else 1) == (2 if curvature(apart) > 0 else 1)
    ax.stackplot(x, np.exp(np.asarray(pair.log_joint(x))).T, colors=(BLUE, ORANGE), alpha=0.6)
    ax.plot(modes, np.exp(pair.log_prob(modes)), "v", color="black")
    peaks = "one mode" if len(modes) == 1 else "two modes"
    ax.set(title=f"{apart} sds apart: {peaks}", xlabel="caffeine (mg)")
    ax.title.set_fontsize(10)
_ = axes[0].set_ylabel("density (per mg)")

# %% [markdown]
# With unequal shares or sds the rule changes. The shop's own means are three of the house's sds
# apart, and yet its density has one mode only, near 70 mg. The strong blend is a shoulder. So **do
# not count peaks to count kinds**; the next notebook has better ways.

# %%
assert (85 - 70) / 5 == 3
[mode] = shop.modes()
x = np.linspace(40, 120, 80_001)
density = 0.7 * house.pdf(x) + 0.3 * strong.pdf(x)
assert abs(x[density.argmax()] - mode) < 2e-3
assert ((density[1:-1] > density[:-2]) & (density[1:-1] > density[2:])).sum() == 1
assert round(mode, 1) == 70.3

# %% [markdown]
# ## 5. Half of all bentos
#
# A *quantile* answers: what weight do half of the boxes stay below? Chibany's kitchen makes 40 %
# light bentos, 350 g with an sd of 2 g, and 60 % heavy ones, 500 g with an sd of 2 g. The median is
# not halfway between the kinds. All light boxes come first, 40 %, so that 10 % more must come from
# the heavy ones, which is a sixth of these: 498.1 g.

# %%
kitchen = Mixture([0.4, 0.6], Normal([350, 500], [2, 2]))
median = float(kitchen.icdf(0.5))
assert math.isclose(median, 500 + 2 * stats.norm.ppf(0.1 / 0.6), abs_tol=1e-4)
assert round(median, 1) == 498.1
assert math.isclose(kitchen.cdf(median), 0.5, abs_tol=1e-4)

# %% [markdown]
# Where do nine in ten boxes lie? One answer cuts off 5 % at either end: from 347.7 to 502.8 g, an
# interval of 155 g, nearly all of it empty. The *highest-density region* keeps the weights where
# the density is highest and drops the rest. It may come in pieces; here it has two, of 13 g all
# told.

# %%
ends = kitchen.icdf([0.05, 0.95])
assert np.allclose(ends, [350 + 2 * stats.norm.ppf(1 / 8), 500 + 2 * stats.norm.ppf(1 - 1 / 12)])
region = kitchen.hdr(0.9)
print("from 5 % to 95 %:", ends.round(1), "  highest density:", np.round(region, 1).tolist())
assert np.allclose(ends, [347.7, 502.8], atol=0.05)
assert round(ends[1] - ends[0]) == 155
assert len(region) == 2
assert round(sum(b - a for a, b in region)) == 13


def kitchen_density(x):
    return 0.4 * stats.norm.pdf(x, 350, 2) + 0.6 * stats.norm.pdf(x, 500, 2)


inside = sum(integrate.quad(kitchen_density, a, b)[0] for a, b in region)
assert math.isclose(inside, 0.9, abs_tol=1e-6)
heights = kitchen_density(np.ravel(region))  # the same at all four ends
assert np.allclose(heights, heights[0], rtol=1e-4)

# %% [markdown]
# In the figure the height is cut at the dashed line: what sticks out above it is the region.

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), sharey=True, layout="constrained")
for ax, centre in ((left, 350), (right, 500)):
    x = np.linspace(centre - 10, centre + 10, 400)
    y = kitchen_density(x)
    ax.plot(x, y, color="black", lw=1)
    ax.fill_between(x, y, where=y >= heights[0], color=BLUE, alpha=0.6, label="90 %, the region")
    ax.axhline(heights[0], color=GREY, ls="--", lw=1)
    ax.set(xlabel="weight (g)", xticks=range(centre - 10, centre + 11, 5))
left.axvline(ends[0], color=ORANGE, ls=":", lw=2, label="5 % below")
right.axvline(ends[1], color=ORANGE, ls=":", lw=2, label="5 % above")
left.set(ylabel="density (per g)", title="light bentos")
right.set_title("heavy bentos")
left.legend(loc="upper left", fontsize=8)
_ = right.legend(loc="upper left", fontsize=8)

# %% [markdown]
# Everything here followed from the recipe: no data, no fit. The other notebooks go the other way,
# and find the recipe from the data.
