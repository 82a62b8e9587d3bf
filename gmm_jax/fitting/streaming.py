"""`fit_chunks`: data larger than memory."""

import sys
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax import Array

from gmm_jax import chunked, em
from gmm_jax._chunks import as_chunks, survey
from gmm_jax._data import float_dtype
from gmm_jax._pytree import rebuild
from gmm_jax._warnings import warn
from gmm_jax.chunked_fit import ChunkedFit
from gmm_jax.families import kinds
from gmm_jax.families.limits import ALONE
from gmm_jax.fitting import arguments
from gmm_jax.fitting.point import ADVICE, SCALE_FLOOR, TOL, fit_point
from gmm_jax.mixture import Mixture


def fit_chunks(
    chunks: Any,
    n_components: int,
    *,
    family: Any = None,
    n_restarts: int | None = None,
    start: str = "kmeans++",
    max_steps: int = 1000,
    tol: float | None = None,
    sample_size: int = 20_000,
    progress: bool | None = None,
    key: Array | None = None,
) -> ChunkedFit:
    """Fit a mixture by EM to data that come in chunks and need not fit in memory.

    One pass finds the centre and unit of the data and draws a sample; EM restarts on the sample
    find the start; then every EM step is one pass over all data. The answer is that of `fit` on
    all data from that start, to rounding.

    Args:
        chunks: Anything that can be iterated over again and again, such as a list or an object
            whose `__iter__` starts a memory-mapped file from its beginning, or a function that
            returns a fresh iterator. Each chunk holds points, or is a pair (points,
            sample_weight). Chunks may differ in length.
        n_components: k.
        family: As in `fit`.
        n_restarts: How many starts on the sample; as in `fit`.
        start: Where EM on the sample starts: "kmeans++" or "random".
        max_steps: Most EM steps, on the sample and then on all data.
        tol: As in `fit`.
        sample_size: How many points the sample has.
        progress: Whether to report each pass on stderr; by default where that is a terminal.
        key: Random key; `jax.random.key(0)` if left out.

    Returns:
        `ChunkedFit`: a `PointFit` that holds the sample in place of the data, and the statistics
        of all data, so that `update` can learn from more.

    Raises:
        TypeError: a generator, which can be read only once; chunks that are not numbers.
        ValueError: chunks without data, of different shapes, or too few points.

    Example:
        >>> import gmm_jax
        >>> def read():
        ...     yield [498.0, 352.0, 501.0, 349.0]
        ...     yield [497.0, 503.0, 351.0, 500.0]
        >>> result = gmm_jax.fit_chunks(read, 2)
        >>> [round(float(mean), 2) for mean in result.mixture.components.means]
        [350.67, 499.8]
    """
    read = as_chunks(chunks)
    k = arguments.whole("n_components", n_components)
    arguments.one_of("start", start, ("kmeans++", "random"))
    max_steps = arguments.whole("max_steps", max_steps)
    sample_size = arguments.whole("sample_size", sample_size, k)
    first = next(read(), None)
    if first is None:
        raise ValueError("chunks hold no data: at least one point is needed.")
    chosen = arguments.choose_family(family, None, None, first[0])
    seed = 0 if key is None else np.asarray(jax.random.key_data(key))
    seen = survey(read, chosen, sample_size, np.random.default_rng(seed))
    arguments.check_enough(seen.sample, seen.sample_weight, k, chosen, {})
    chosen = kinds.seen(chosen, seen.high[None])
    volume = float(seen.frame.log_volume(seen.sample[:1])[0])
    dtype = float_dtype(seen.sample)
    tol = TOL[dtype.name] if tol is None else arguments.not_negative("tol", tol)
    found_start = fit_point(
        key, seen.sample, seen.sample_weight, k, None, chosen, {}, ALONE, "",
        start=start,
        n_restarts=arguments.restarts(n_restarts, seen.sample.size * k),
        max_steps=max_steps,
        tol=None,
    )  # fmt: skip
    n_starts = len(found_start.restarts.status) if found_start.restarts else 1
    report = _reporter(sys.stderr.isatty() if progress is None else progress, volume)
    inside = _reframed(found_start.inside, found_start.frame, seen.frame)
    found = chunked.run(inside, read, seen.frame, seen.size, SCALE_FLOOR, tol, max_steps, report)
    if found.status in ADVICE:
        warn(f"{em.MEANING[found.status]}. {ADVICE[found.status]}")
    return ChunkedFit(
        data=seen.sample,
        sample_weight=seen.sample_weight,
        frame=seen.frame,
        method="em",
        reason=f"Maximum likelihood by EM on chunks of data, from the best of "
        f"{n_starts} starts on {len(seen.sample)} points.",
        inside=found.mixture,
        log_likelihood=found.log_likelihood - seen.size * volume,
        n_parameters=found_start.n_parameters,
        status=found.status,
        history=found.history - volume,
        restarts=found_start.restarts,
        size=seen.size,
        statistics=found.statistics,
        about=found.mixture,
        floor=SCALE_FLOOR,
        check=chosen.check,
    )


def _reframed(mixture: Mixture, old: Any, new: Any) -> Mixture:
    """Move a mixture from one frame to another, in float64."""
    dtype = mixture.weights.dtype
    exact = jax.tree.map(lambda a: np.asarray(a, np.float64), mixture.components)
    moved = exact.affine((old.centre - new.centre) / new.unit, old.unit / new.unit)
    components = jax.tree.map(lambda a: np.asarray(a, dtype), moved)
    return rebuild(Mixture, weights=np.asarray(mixture.weights), components=components)


def _reporter(wanted: bool, log_volume: float) -> Callable[[int, float], None]:
    def report(number: int, objective: float) -> None:
        if wanted:
            text = f"\rpass {number}, log likelihood per point {objective - log_volume:.6f}"
            print(text, end="", file=sys.stderr, flush=True)

    return report
