"""EM against scikit-learn: one iteration, and a whole fit, from the same start.

Diagonal covariances, which is what `Normal` with several features has. Both are told to take the
same number of steps; a step is timed as the difference of two run lengths.
"""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
from paired import header, paired
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

import gmm_jax
from gmm_jax import em
from gmm_jax._pytree import rebuild
from gmm_jax.mixture import Mixture
from gmm_jax.priors import MaximumLikelihood

SHAPES = [(20, 2, 1), (1000, 3, 1), (100_000, 8, 2), (100_000, 3, 3), (20_000, 16, 8)]
SHORT, LONG = 2, 8
BLOCK = 8192


def draw(n: int, k: int, d: int) -> tuple[np.ndarray, np.ndarray]:
    """Points of k clusters, and means to start from."""
    rng = np.random.default_rng(0)
    centres = 4 * rng.normal(size=(k, d))
    data = centres[rng.integers(k, size=n)] + rng.normal(size=(n, d))
    return data, centres + rng.normal(size=(k, d))


def ours(data: np.ndarray, means: np.ndarray, dtype: type, steps: int):
    """Our kernel for a fixed number of steps."""
    n, d = data.shape
    block = min(n, BLOCK)
    rows = -(-n // block) * block
    padded = np.zeros((rows, d), dtype)
    padded[:n] = data
    weight = (np.arange(rows) < n).astype(dtype)
    start = rebuild(
        Mixture,
        weights=jnp.full((1, len(means)), 1 / len(means), dtype),
        components=rebuild(
            gmm_jax.Normal,
            means=jnp.asarray(means[None], dtype),
            scales=jnp.ones((1, *means.shape), dtype),
        ),
    )
    held = jax.tree.map(lambda a: jnp.zeros(a.shape, bool), start)
    arrays = jnp.asarray(padded.reshape(-1, block, d)), jnp.asarray(weight.reshape(-1, block))
    floor = jnp.asarray(1e-5, dtype)

    @jax.jit
    def run(start, data, weight):
        def advance(_, state):
            return em.step(state, data, weight, MaximumLikelihood(), held, floor)[0]

        return jax.lax.fori_loop(0, steps, advance, em.init(start))

    return lambda: run(start, *arrays)


def theirs(data: np.ndarray, means: np.ndarray, dtype: type, steps: int):
    """scikit-learn for a fixed number of steps."""
    data = data.astype(dtype)

    def run():
        model = GaussianMixture(
            len(means),
            covariance_type="diag",
            max_iter=steps,
            tol=0,
            reg_covar=0,
            weights_init=np.full(len(means), 1 / len(means)),
            means_init=means,
            precisions_init=np.ones(means.shape),
        )
        model.fit(data)

    return run


def main() -> None:
    """Print milliseconds per step, then per fit, and ratios."""
    warnings.simplefilter("ignore", ConvergenceWarning)
    header("scikit-learn")
    print("\nOne EM step, milliseconds (ratio: scikit-learn over gmm_jax)")
    for dtype in (np.float32, np.float64):
        with jax.enable_x64(dtype == np.float64):
            for n, k, d in SHAPES:
                data, means = draw(n, k, d)
                rivals = {
                    f"{name} {steps}": make(data, means, dtype, steps)
                    for steps in (SHORT, LONG)
                    for name, make in (("ours", ours), ("theirs", theirs))
                }
                seconds = paired(rivals, rounds=5)
                step = {
                    name: (seconds[f"{name} {LONG}"] - seconds[f"{name} {SHORT}"])
                    / (LONG - SHORT)
                    * 1e3
                    for name in ("ours", "theirs")
                }
                print(
                    f"{dtype.__name__} n={n:<8} k={k:<3} d={d:<3} "
                    f"gmm_jax {step['ours']:9.4f}   scikit-learn {step['theirs']:9.4f}   "
                    f"ratio {step['theirs'] / step['ours']:.1f}"
                )

    print("\nA whole fit with ten starts, milliseconds")
    for n, k in ((20, 2), (1000, 3), (20_000, 4)):
        data = draw(n, k, 1)[0].astype(np.float32)
        seconds = paired(
            {
                "ours": lambda data=data, k=k: gmm_jax.fit(data[:, 0], k, n_restarts=10).inside,
                "theirs": lambda data=data, k=k: GaussianMixture(k, n_init=10).fit(data).means_,
            },
            rounds=5,
        )
        print(
            f"n={n:<8} k={k:<3} gmm_jax {seconds['ours'] * 1e3:9.2f}   "
            f"scikit-learn {seconds['theirs'] * 1e3:9.2f}   "
            f"ratio {seconds['theirs'] / seconds['ours']:.1f}"
        )


if __name__ == "__main__":
    main()
