"""One EM step against scikit-learn and gmmx: the table of shapes, structures and precisions.

    python benchmarks/em.py                                     # the whole table
    python benchmarks/em.py --shapes 0,3 --types full --dtypes float32
    python benchmarks/em.py --accuracy                          # float32 against float64

All start from the same parameters. A step is timed as the difference of a long and a short run,
the rivals taking turns; medians over rounds, in CPU time, with wall time in brackets. The floor is
the arithmetic of a step over the rates of a matrix product and of exp, measured beforehand. gmmx
(full and diagonal only) takes part where it is installed and its arrays fit.
"""

import argparse
import importlib
import importlib.util
import time
import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from paired import each_round, header
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

import gmm_jax
from gmm_jax import em
from gmm_jax._data import Frame
from gmm_jax._pytree import rebuild
from gmm_jax.families.limits import Limits, Sharing
from gmm_jax.fitting.point import BLOCK
from gmm_jax.mixture import Mixture
from gmm_jax.priors import MaximumLikelihood

SHAPES = [
    (100_000, 8, 2),
    (1_000_000, 16, 8),
    (100_000, 64, 32),
    (1_000_000, 3, 3),
    (20_000, 32, 64),
]
TYPES = ["full", "diag", "tied", "spherical"]
DTYPES = ["float32", "float64"]
SECONDS = 0.5
"""How long the steps that a long run has more than a short one should take."""
LARGEST = 2e8
"""Most numbers n k d for which gmmx, which holds them all, takes part."""


def draw(n: int, k: int, d: int) -> tuple[np.ndarray, np.ndarray]:
    """Points of k clusters, and means to start from."""
    rng = np.random.default_rng(0)
    centres = 4 * rng.normal(size=(k, d))
    data = centres[rng.integers(k, size=n)] + rng.normal(size=(n, d))
    frame = Frame.of(data, np.ones(n))
    return (data - frame.centre) / 4, (centres + rng.normal(size=(k, d)) - frame.centre) / 4


def begin(means: np.ndarray, kind: str, dtype: Any) -> tuple[Mixture, Sharing]:
    """One run's start with unit covariances, and what the components share."""
    k, d = means.shape
    sharing = Sharing()
    if kind in ("full", "tied"):
        trils = jnp.broadcast_to(jnp.eye(d, dtype=dtype), (1, k, d, d))
        family, scales = gmm_jax.MultivariateNormal, {"scale_trils": trils}
        sharing = Sharing((("scale_trils", (0,) * k),)) if kind == "tied" else sharing
    else:
        family, scales = gmm_jax.Normal, {"scales": jnp.ones((1, k, d), dtype)}
        sharing = Sharing(features=frozenset({"scales"})) if kind == "spherical" else sharing
    components = rebuild(family, means=jnp.asarray(means[None], dtype), **scales)
    weights = jnp.full((1, k), 1 / k, dtype)
    return rebuild(Mixture, weights=weights, components=components), sharing


@jax.jit
def advance(start: Mixture, table: em.Table, limits: Limits, steps: Any) -> em.State:
    """Our kernel for a number of steps."""
    one = jax.tree.map(lambda a: a[0], start.components)
    table = table.with_constants(one, limits.sharing)

    def step(_, state):
        return em.step(state, table, MaximumLikelihood(), limits)[0]

    return jax.lax.fori_loop(0, steps, step, em.init(start))


def ours(data: np.ndarray, means: np.ndarray, kind: str, dtype: Any) -> Callable[[int], Any]:
    """Our kernel, on blocks of rows as `fit` makes them."""
    n, d = data.shape
    start, sharing = begin(means, kind, dtype)
    block = min(n, BLOCK)
    rows = -(-n // block) * block
    padded = np.zeros((rows, d), dtype)
    padded[:n] = data
    weight = (np.arange(rows) < n).astype(dtype).reshape(-1, block)
    table = em.Table(jnp.asarray(padded.reshape(-1, block, d)), jnp.asarray(weight))
    held = jax.tree.map(lambda a: jnp.zeros(a.shape[1:], bool), start)
    limits = Limits(held, jnp.asarray(1e-5, dtype), sharing)
    return lambda steps: advance(start, table, limits, steps)


def scikit_learn(
    data: np.ndarray, means: np.ndarray, kind: str, dtype: Any
) -> Callable[[int], Any]:
    """scikit-learn for a number of steps."""
    data, (k, d) = data.astype(dtype), means.shape
    unit = {"full": np.tile(np.eye(d), (k, 1, 1)), "tied": np.eye(d), "diag": np.ones((k, d))}

    def run(steps):
        GaussianMixture(
            k,
            covariance_type=kind,
            max_iter=steps,
            tol=0,
            reg_covar=1e-10,
            weights_init=np.full(k, 1 / k),
            means_init=means,
            precisions_init=unit.get(kind, np.ones(k)),
        ).fit(data)

    return run


def gmmx(data: np.ndarray, means: np.ndarray, kind: str, dtype: Any) -> Callable[[int], Any] | None:
    """The package gmmx for a number of steps, if it can."""
    k, d = means.shape
    possible = kind in ("full", "diag") and data.size * k <= LARGEST
    if not possible or importlib.util.find_spec("gmmx") is None:
        return None
    rival = importlib.import_module("gmmx")  # it need not be installed
    unit = np.tile(np.eye(d), (k, 1, 1)) if kind == "full" else np.ones((k, d))
    start = rival.GaussianMixtureModelJax.from_squeezed(
        means=jnp.asarray(means, dtype),
        covariances=jnp.asarray(unit, dtype),
        weights=jnp.full(k, 1 / k, dtype),
        covariance_type=kind,
    )
    array = jnp.asarray(data, dtype)

    def run(steps):
        fitter = rival.EMFitter(max_iter=steps, tol=-1.0, reg_covar=1e-10)
        return fitter.fit(array, start).log_likelihood

    return run


def rates(dtype: Any) -> tuple[float, float]:
    """Operations of a matrix product, and exponentials, per CPU second; the best of two ways."""
    square = np.random.default_rng(0).normal(size=(1024, 1024)).astype(dtype)
    on_device = jnp.asarray(square)
    product, exp = jax.jit(lambda a: a @ a), jax.jit(lambda a: jnp.exp(a))
    times = each_round(
        {
            "product": lambda: product(on_device),
            "product, NumPy": lambda: square @ square,
            "exp": lambda: [exp(on_device) for _ in range(4)],
            "exp, NumPy": lambda: [np.exp(square) for _ in range(4)],
        },
        rounds=9,
        clock=time.process_time,
    )
    seconds = {name: float(np.median(t)) for name, t in times.items()}
    products = 2 * 1024**3 / min(seconds["product"], seconds["product, NumPy"])
    return products, 4 * square.size / min(seconds["exp"], seconds["exp, NumPy"])


def arithmetic(n: int, k: int, d: int, kind: str) -> tuple[int, int]:
    """Operations of the two matrix products of a step, and exponentials, at least."""
    features = {"full": d + d * (d + 1) // 2, "diag": 2 * d, "tied": d, "spherical": d + 1}
    return 4 * n * k * features[kind], n * k


def per_step(rivals: dict[str, Callable[[int], Any]], rounds: int) -> dict[str, np.ndarray]:
    """Wall and CPU seconds of one step of each."""
    runs, more = {}, {}
    for name, run in rivals.items():
        jax.block_until_ready(run(1))
        begun = time.perf_counter()
        jax.block_until_ready(run(1))
        guess = time.perf_counter() - begun
        more[name] = int(np.clip(SECONDS / guess, 1, 200))
        runs[name, 1] = lambda run=run: run(1)
        runs[name, 2] = lambda run=run, steps=1 + more[name]: run(steps)
    times = each_round(runs, rounds)
    return {
        name: np.median(times[name, 2] - times[name, 1], axis=0) / more[name] for name in rivals
    }


def line(shape: tuple[int, int, int], kind: str, dtype: Any, speeds: Any, rounds: int) -> Any:
    """Time one cell of the table, print it, and return the ratios."""
    data, means = draw(*shape)
    makers = {"gmm_jax": ours, "scikit-learn": scikit_learn, "gmmx": gmmx}
    if dtype == np.float64:
        del makers["gmmx"]  # it makes float32 of what it is given
    rivals = {name: make(data, means, kind, dtype) for name, make in makers.items()}
    seconds = per_step({name: run for name, run in rivals.items() if run}, rounds)
    products, exps = arithmetic(*shape, kind)
    floor = products / speeds[0] + exps / speeds[1]
    mine = seconds["gmm_jax"][1]
    ratio = seconds["scikit-learn"][1] / mine
    against = seconds["gmmx"][1] / mine if "gmmx" in seconds else np.nan
    cells = "".join(f"{1e3 * s[1]:10.2f} ({1e3 * s[0]:8.2f})" for s in seconds.values())
    print(
        f"{np.dtype(dtype).name} {shape!s:18} {kind:9} {1e3 * floor:8.2f} {mine / floor:5.1f} "
        f"{ratio:6.1f} {against:6.1f} {cells}",
        flush=True,
    )
    return ratio, mine / floor, against


def table(shapes: list[int], types: list[str], dtypes: list[str], rounds: int) -> None:
    """Print milliseconds per step, and ratios of CPU times."""
    warnings.simplefilter("ignore", ConvergenceWarning)
    print(f"{'':7} {'n, k, d':18} {'':9} {'floor':>8} over sklearn  gmmx", end=" ")
    print("| ms of CPU (wall): gmm_jax, scikit-learn, gmmx")
    for name in dtypes:
        dtype = np.dtype(name)
        with jax.enable_x64(name == "float64"):
            speeds = rates(dtype)
            print(f"{name}: {speeds[0] / 1e9:.1f} G operations, {speeds[1] / 1e9:.2f} G exp per s")
            cells = np.array(
                [line(SHAPES[i], kind, dtype, speeds, rounds) for i in shapes for kind in types]
            )
            print(
                f"{name}: scikit-learn over gmm_jax: median {np.median(cells[:, 0]):.1f}, "
                f"least {cells[:, 0].min():.1f}; gmmx: median {_finite_median(cells[:, 2]):.1f}; "
                f"above the floor: median {np.median(cells[:, 1]):.1f}"
            )


def _finite_median(values: np.ndarray) -> float:
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if len(finite) else np.nan


def accuracy() -> None:
    """Print how far 30 steps in float32 end from 30 steps in float64, in mean log-likelihood."""
    rng = np.random.default_rng(1)
    n, k, d = 50_000, 4, 3
    centres, which = 4 * rng.normal(size=(k, d)), rng.integers(k, size=n)
    noise = rng.normal(size=(n, d))
    narrow = np.where((which == 0)[:, None], 1e-4 * noise, noise)
    print("Mean log-likelihood after 30 steps: float32 less float64")
    for kind in TYPES:
        for name, spread in (("even", noise), ("one 1e4 times narrower", narrow)):
            for offset in (0, 1e2, 1e4, 1e6):
                data = centres[which] + spread + offset
                frame = Frame.of(data, np.ones(n))
                inside = (data - frame.centre) / frame.unit
                means = (centres + 0.3 + offset - frame.centre) / frame.unit
                found = [_mean_log_prob(inside, means, kind, dtype) for dtype in DTYPES]
                print(f"{kind:9} {name:23} offset {offset:<9g} {found[0] - found[1]:+.1e}")


def _mean_log_prob(data: np.ndarray, means: np.ndarray, kind: str, dtype: str) -> float:
    """Mean log-likelihood, computed in float64, of where 30 steps lead."""
    with jax.enable_x64(dtype == "float64"):
        state = jax.device_get(ours(data, means, kind, np.dtype(dtype))(30))
    with jax.enable_x64(True):
        mixture = jax.tree.map(lambda a: jnp.asarray(a[0], np.float64), state.mixtures)
        return float(mixture.log_prob(jnp.asarray(data)).mean())


def main() -> None:
    """Read what part of the table is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shapes", default="0,1,2,3,4", help="indices into the list of shapes")
    parser.add_argument("--types", default=",".join(TYPES))
    parser.add_argument("--dtypes", default=",".join(DTYPES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--accuracy", action="store_true")
    chosen = parser.parse_args()
    header("scikit-learn", "numpy", "gmmx")
    if chosen.accuracy:
        return accuracy()
    shapes = [int(i) for i in chosen.shapes.split(",")]
    table(shapes, chosen.types.split(","), chosen.dtypes.split(","), chosen.rounds)


if __name__ == "__main__":
    main()
