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
# # On accelerators
#
# Everything in this package is compiled by JAX, and the same program runs on a processor, a
# graphics card (GPU) or a TPU. What must *you* do to make use of that? Mostly nothing. This
# notebook shows the things worth knowing:
#
# 1. Compile once, run often.
# 2. Thousands of fits in one call.
# 3. Time against size.
# 4. Data larger than memory.
# 5. Rows split over several devices.
# 6. And what 32 bits are enough for.
#
# **Which machine is this?** All seconds below are of the machine that runs the notebook, while
# whatever else runs there runs. They are printed and drawn, and nothing is claimed of them but what
# holds anywhere. What a GPU or a TPU would take is not in here: run it there, and see.

# %%
import inspect
import os
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import jax
import matplotlib.pyplot as plt
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

import gmm_jax
from gmm_jax import Mixture, MultivariateNormal

BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#555555"  # colour-blind safe
random = np.random.default_rng(0)
print(f"JAX {jax.__version__} on {jax.device_count()} device(s): {jax.devices()[0].device_kind}")


def timed(call):
    """What a call returns, and its seconds."""
    start = time.perf_counter()
    result = call()
    return result, time.perf_counter() - start


def clusters(n, d=3, k=5):
    """n points in k clusters."""
    centres = np.random.default_rng(1).normal(0, 4, (k, d))
    return (centres[random.integers(k, size=n)] + random.normal(size=(n, d))).astype(np.float32)


# %% [markdown]
# ## 1. Compile once, run often
#
# The first fit of its kind is compiled: a program is made for these shapes, on this machine. That
# takes seconds. The second fit of the same shapes only runs. Data are filled up with rows of weight
# 0 to the next of a few lengths, so that 3,000 and 3,050 points are the same shape.

# %%
_, first = timed(lambda: gmm_jax.fit(clusters(3000), 5))
_, second = timed(lambda: gmm_jax.fit(clusters(3000), 5))
_, other_length = timed(lambda: gmm_jax.fit(clusters(3050), 5))
print(f"first {first:.2f} s, second {second:.2f} s, another length {other_length:.2f} s")
assert first > second

# %% [markdown]
# So: fit once more rather than judge by the first time. And where a script is run again and again,
# let JAX keep what it compiled on disk. Two lines before the first fit do that; part 5
# shows them at work.
#
# ```python
# jax.config.update("jax_compilation_cache_dir", "/tmp/jax_cache")
# jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
# ```
#
# ## 2. Thousands of fits in one call
#
# A lab has 2,000 cells and 200 measurements of each; a chain has 2,000 shops. Every one of them
# needs a small fit. A loop spends its time on everything but arithmetic. `fit_many` lets hundreds
# of sets step side by side, and when one is done another takes its place.
#
# The rival is a loop over scikit-learn. To save time we let it fit 100 of the sets, and multiply.

# %%
n_sets, n_timed = 2000, 100
centres = 4 * random.normal(size=(n_sets, 3))
which = random.integers(3, size=(n_sets, 200))
sets = np.take_along_axis(centres, which, 1) + random.normal(size=(n_sets, 200))


def all_at_once():
    return gmm_jax.fit_many(sets, 3, n_restarts=1, tol=1e-4)


def one_by_one():
    return np.array(
        [
            GaussianMixture(3, random_state=0).fit(own[:, None]).score(own[:, None])
            for own in sets[:n_timed]
        ]
    )


with warnings.catch_warnings():
    warnings.simplefilter("ignore", ConvergenceWarning)
    warnings.simplefilter("ignore", gmm_jax.FitWarning)
    _, compiling = timed(all_at_once)
    many, ours = timed(all_at_once)
    theirs, loop = timed(one_by_one)
print(many)
print(f"\nfit_many, first call: {compiling:.2f} s; again: {ours:.2f} s for {n_sets} fits")
print(f"scikit-learn: {loop:.2f} s for {n_timed}, so about {loop * n_sets / n_timed:.0f} s for all")
print(f"ratio: {loop * n_sets / n_timed / ours:.0f}")

# %% [markdown]
# Are they the same fits? Both climb the same likelihood, from starts of their own, so that single
# sets may end on different hills. On average they are level: the log likelihood per point differs
# by less than a hundredth. And one of ours is what `fit` says of the same points.

# %%
per_point = many.log_likelihood[:n_timed] / 200
print(f"mean log likelihood per point: {per_point.mean():.4f}, scikit-learn {theirs.mean():.4f}")
assert abs(per_point.mean() - theirs.mean()) < 0.01
assert len(many) == 2000
own = many[7]
assert np.isclose(np.asarray(own.log_prob(), np.float64).sum(), many.log_likelihood[7], rtol=1e-4)
assert loop * n_sets / n_timed > 3 * ours  # it is far more, but machines may be busy

# %% [markdown]
# ## 3. Time against size
#
# How does time grow with the number of points? Full covariances of three columns, five components.
# Both programs begin at the same mixture, on purpose a little off, and stop at scikit-learn's own
# tolerance. scikit-learn gets no more than 100,000 points, to save time.


# %%
def climb(data, start):
    return gmm_jax.fit(data, 5, start=start, tol=1e-3)


def their_climb(data, start):
    model = GaussianMixture(
        5,
        weights_init=np.full(5, 0.2),
        means_init=np.asarray(start.components.means),
        precisions_init=np.tile(np.eye(3) / 4, (5, 1, 1)),
    )
    return model.fit(data)


middles = gmm_jax.fit(clusters(3000), 5).mixture.components.means
start = Mixture(
    np.full(5, 0.2), MultivariateNormal(middles + 0.5, np.tile(2 * np.eye(3), (5, 1, 1)))
)
lengths = [1_000, 10_000, 100_000, 1_000_000]
table = {"ours": [], "scikit-learn": []}
with warnings.catch_warnings():
    warnings.simplefilter("ignore", ConvergenceWarning)
    for n in lengths:
        data = clusters(n)
        climb(data, start)  # compiles
        fitted, took = timed(lambda data=data: climb(data, start))
        table["ours"].append(took)
        if n <= 100_000:
            rival, took = timed(lambda data=data: their_climb(data, start))
            table["scikit-learn"].append(took)
            each = fitted.log_likelihood / n
            assert each > rival.score(data) - 0.01
for i, n in enumerate(lengths):
    line = f"{n:>9,} points: {table['ours'][i]:7.3f} s"
    if n <= 100_000:
        line += f", scikit-learn {table['scikit-learn'][i]:7.3f} s"
    print(line)
assert table["ours"][-1] > table["ours"][0]

figure, axes = plt.subplots(figsize=(7, 3.6), layout="constrained")
axes.loglog(lengths, table["ours"], "o-", color=BLUE, label="gmm_jax")
axes.loglog(lengths[:3], table["scikit-learn"], "s--", color=ORANGE, label="scikit-learn")
straight = table["ours"][-1] * np.array(lengths) / lengths[-1]
axes.loglog(lengths, straight, ":", color=GREY, label="proportional to n")
axes.set(xlabel="points", ylabel="seconds for a fit", title="This machine, compiling left out")
_ = axes.legend()

# %% [markdown]
# For few points the time hardly depends on their number: what is left is the cost of a call. From
# then on it grows in proportion. Memory does not grow with $n \times k$: rows are taken block by
# block, and responsibilities of all points never exist at once.
#
# ## 4. Data larger than memory
#
# EM needs sums over the rows and nothing else, and sums can be taken piece by piece. `fit_chunks`
# takes a file that is mapped into memory, or a function that reads one chunk after the other. Every
# step is one pass over the file.

# %%
folder = Path(tempfile.mkdtemp())
rows = clusters(100_001)
np.save(folder / "rows.npy", rows)
on_disk = np.load(folder / "rows.npy", mmap_mode="r")
streamed, took = timed(lambda: gmm_jax.fit_chunks(on_disk, 5, n_restarts=5, tol=1e-5))
whole = gmm_jax.fit(rows, 5, n_restarts=5, tol=1e-5)
print(f"{took:.1f} s, {streamed.n_steps} passes over {on_disk.nbytes / 1e6:.1f} MB")
print(f"kept in memory: {streamed.data.nbytes / 1e6:.2f} MB, a sample of the rows")
assert abs(streamed.log_likelihood - whole.log_likelihood) / len(rows) < 1e-4
assert np.allclose(streamed.mixture.components.means, whole.mixture.components.means, atol=0.02)
assert len(streamed.data) == 20_000

# %% [markdown]
# A stream that goes on: `update` adds the sums of new rows to the old sums. The old rows are not
# read again.

# %%
later = streamed.update(clusters(50_000))
print(f"{streamed.size:,.0f} rows, then {later.size:,.0f}")
assert later.size == 150_001
assert np.allclose(later.mixture.components.means, streamed.mixture.components.means, atol=0.05)

# %% [markdown]
# ## 5. Rows split over several devices
#
# Data may lie on several GPUs, TPUs or machines. Split the rows with JAX's own means, and call
# `fit` as before: every device sums over its own rows, and only the sums travel. This cell runs
# with however many devices there are, be it one.


# %%
def fit_split(points):
    rows = NamedSharding(Mesh(np.array(jax.devices()), "rows"), PartitionSpec("rows"))
    extra = -len(points) % len(jax.devices())  # rows of weight 0, to share them out evenly
    data = jax.device_put(np.pad(points, ((0, extra), (0, 0))), rows)
    weight = jax.device_put(np.pad(np.ones(len(points), "float32"), (0, extra)), rows)
    return gmm_jax.fit(data, 5, n_restarts=5, tol=1e-5, sample_weight=weight)


split = fit_split(rows)
print(f"{jax.device_count()} device(s): log likelihood {split.log_likelihood:.1f}")
assert abs(split.log_likelihood - whole.log_likelihood) / len(rows) < 1e-4

# %% [markdown]
# A laptop has one device. JAX can pretend that a processor is four, which is no faster but runs the
# same program as four GPUs would. Devices are counted when JAX starts, so that we start a Python of
# its own, with the flag `XLA_FLAGS=--xla_force_host_platform_device_count=4`. We do it twice, with
# JAX's cache on disk from part 1: what the first compiles, the second finds.

# %%
script = f"""
import sys, time
import jax, numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
import gmm_jax

{inspect.getsource(fit_split)}
points = np.load(sys.argv[1])
start = time.perf_counter()
fitted = fit_split(points)
print(len(fitted.data.sharding.device_set), fitted.log_likelihood, time.perf_counter() - start)
"""
(folder / "split.py").write_text(script)
settings = {
    "XLA_FLAGS": "--xla_force_host_platform_device_count=4",
    "JAX_PLATFORMS": "cpu",
    "JAX_COMPILATION_CACHE_DIR": str(folder / "cache"),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "PYTHONPATH": str(Path(gmm_jax.__file__).parents[1]),  # the same gmm_jax as here
}


def on_four_devices():
    """Devices, log likelihood and seconds of a fit in a fresh Python."""
    command = [sys.executable, str(folder / "split.py"), str(folder / "rows.npy")]
    environment = {**os.environ, **settings}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    devices, log_likelihood, seconds = done.stdout.split()
    return int(devices), float(log_likelihood), float(seconds)


devices, log_likelihood, cold = on_four_devices()
_, again, warm = on_four_devices()
print(f"{devices} devices: log likelihood {log_likelihood:.1f}, one: {whole.log_likelihood:.1f}")
print(f"a fresh Python takes {cold:.1f} s for the fit, the next one {warm:.1f} s")
assert devices == 4
assert abs(log_likelihood - whole.log_likelihood) / len(rows) < 1e-4
assert again == log_likelihood
assert any((folder / "cache").iterdir())

# %% [markdown]
# ## 6. What 32 bits are enough for
#
# Accelerators are quick in 32 bits (about seven digits) and slow, or unable, in 64. Seven digits
# are plenty for a mixture, and too few for a careless formula. Take bentos of 350 and 500 g, whose
# scale also counts the truck: a million grams more. The textbook's variance, mean of squares minus
# square of mean, is nonsense in 32 bits:

# %%
light, heavy = random.normal(350, 2, 400), random.normal(500, 2, 600)
bentos = np.concatenate([light, heavy])
on_truck = bentos[bentos < 425].astype(np.float64) + 1e6
short = on_truck.astype(np.float32)
careless = np.mean(short**2) - np.mean(short) ** 2
print(f"variance of light boxes: {light.var():.2f}; carelessly in 32 bits: {careless:.2f}")
assert not np.isclose(careless, light.var(), rtol=0.5)

# %% [markdown]
# `fit` works in 32 bits, too, and gets the same spread with the truck and without. It centres and
# scales the data in 64 bits where they enter, and undoes that in the result. (The *means* are then
# a million and some, and in 32 bits good to 0.06 g. Subtract the truck yourself if that matters.)

# %%
without = gmm_jax.fit(bentos, 2)
with_truck = gmm_jax.fit(bentos + 1e6, 2)
print(
    "spreads without:",
    without.mixture.components.scales,
    " with:",
    with_truck.mixture.components.scales,
)
assert without.mixture.weights.dtype == np.float32
assert np.allclose(with_truck.mixture.components.scales, [light.std(), heavy.std()], rtol=1e-3)
assert np.allclose(without.mixture.components.scales, [light.std(), heavy.std()], rtol=1e-3)
assert float(np.spacing(np.float32(1e6))) == 0.0625

# %% [markdown]
# On a GPU one more thing matters: JAX may round what it multiplies in matrix products there. The
# package's formulas subtract before they square, so that the numbers which get rounded are small.
#
# ## On a GPU or a TPU
#
# Install JAX for it (`pip install "gmm_jax[cuda13]"`, or `cuda12`, or `tpu`), and run this notebook
# again: the code is the same. We have no figures to give here. Look at the picture of part 3 on
# yours: where the line is flat, the machine is not busy, and `fit_many` or more rows cost nothing.
