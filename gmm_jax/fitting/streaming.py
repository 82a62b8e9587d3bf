"""`fit_chunks`: data larger than memory."""

import warnings
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import Array

from gmm_jax import chunked, em
from gmm_jax._checks import as_key
from gmm_jax._chunks import Survey, as_chunks, survey
from gmm_jax._data import Frame, float_dtype
from gmm_jax._progress import telling
from gmm_jax._warnings import FitWarning, warn
from gmm_jax.chunked_fit import ChunkedFit
from gmm_jax.families import kinds
from gmm_jax.families.limits import Limits
from gmm_jax.fitting import arguments, options, setting
from gmm_jax.fitting.point import ADVICE, SCALE_FLOOR, TOL, fit_point
from gmm_jax.mixture import Mixture


def fit_chunks(
    chunks: Any,
    n_components: int | None = None,
    *,
    family: Any = None,
    covariance_type: str | None = None,
    fixed: dict[str, Any] | None = None,
    shared: dict[str, Any] | None = None,
    n_restarts: int | None = None,
    start: Any = "kmeans++",
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
            sample_weight). Chunks may differ in length. NaN is a value missing at random. One array
            of n points, such as a memory-mapped one, is read slice by slice.
        n_components: How many, k. May be left out when `fixed` gives one value per component.
        family: As in `fit`.
        covariance_type: As in `fit`.
        fixed: As in `fit`.
        shared: As in `fit`.
        n_restarts: How many starts on the sample; as in `fit`.
        start: Where EM on the sample starts, "kmeans++" or "random"; or a `Mixture` for EM on all
            data to start from.
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
        ValueError: chunks without data, of different shapes, or too few points; parameters that
            don't make sense.

    Warns:
        FitWarning: a collapsed component.

    Example:
        >>> import gmm_jax
        >>> def read():
        ...     yield [498.0, 352.0, 501.0, 349.0]
        ...     yield [497.0, 503.0, 351.0, 500.0]
        >>> result = gmm_jax.fit_chunks(read, 2)
        >>> [round(float(mean), 2) for mean in result.mixture.components.means]
        [350.67, 499.8]
    """
    key = None if key is None else as_key(key)
    read = as_chunks(chunks)
    if not isinstance(start, str | Mixture):
        raise TypeError(f"start must be 'kmeans++', 'random' or a Mixture, got {start!r}.")
    max_steps = arguments.whole("max_steps", max_steps)
    sample_size = arguments.whole("sample_size", sample_size)
    first = next(read(), None)
    if first is None:
        raise ValueError("chunks hold no data: at least one point is needed.")
    chosen = arguments.choose_family(family, covariance_type, None, first[0])
    seed = 0 if key is None else np.asarray(jax.random.key_data(key))
    seen = survey(read, chosen, sample_size, np.random.default_rng(seed))
    arguments.check_range(seen.columns.low, seen.columns.high, float_dtype(seen.sample))
    job = _job(seen, chosen, sample_size, n_components, fixed, shared, covariance_type)
    dtype = job.dtype
    tol = TOL[dtype.name] if tol is None else options.not_negative("tol", tol)
    start = arguments.as_start(start, job.family, len(seen.sample), job.k, job.event)
    inside, restarts = job.begin(start, n_restarts, max_steps, key)
    volume = seen.log_volume(job.frame)
    with telling("EM", progress) as tell:

        def report(number: int, objective: float) -> None:
            each = objective - volume / seen.size
            tell(f"pass {number}, log likelihood per point {each:.6f}")

        found = chunked.run(inside, read, job.frame, seen.size, job.limits, tol, max_steps, report)
    if found.status in ADVICE:
        warn(f"{em.MEANING[found.status]}. {ADVICE[found.status]}")
    mixture, statistics = found.mixture, found.statistics
    if not setting.are_named(job.known, job.limits.sharing):
        mixture, statistics = setting.in_order(mixture, statistics)
    return ChunkedFit(
        data=seen.sample,
        sample_weight=seen.sample_weight * (seen.size / seen.sample_weight.sum()),
        frame=job.frame,
        method="em",
        reason=_reason(restarts, len(seen.sample)),
        inside=mixture,
        log_likelihood=found.log_likelihood - volume,
        n_parameters=setting.count_free(job.limits, job.family),
        status=found.status,
        history=found.history - volume / seen.size,
        restarts=restarts,
        limits=job.limits,
        fixed=job.known,
        size=seen.size,
        statistics=statistics,
        about=mixture,
        family=job.family,
    )


class _Job(NamedTuple):
    """What is to be fitted, and a sample of what to."""

    points: np.ndarray
    weight: np.ndarray
    family: Any
    k: int
    known: dict[str, np.ndarray]
    values: Mixture
    """The known parameters in the frame."""
    limits: Limits
    frame: Frame
    dtype: Any

    @property
    def event(self) -> tuple[int, ...]:
        """Shape of one point."""
        return self.points.shape[1:]

    def begin(
        self, start: Any, n_restarts: int | None, max_steps: int, key: Array | None
    ) -> tuple[Mixture, Any]:
        """The mixture in the frame that EM on all data starts from, and runs on the sample."""
        if isinstance(start, Mixture):
            inside, runs = setting.begin_inside(start, self.frame, 0, 0, self.dtype), None
        else:
            work = self.points.size * self.k
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FitWarning)  # what counts is the end
                on_sample = fit_point(
                    key, self.points, self.weight, self.k, None, self.family, self.known,
                    self.limits.sharing, "", start=start, max_steps=max_steps, tol=None,
                    n_restarts=arguments.restarts(n_restarts, work), frame=self.frame,
                )  # fmt: skip
            inside, runs = on_sample.inside, on_sample.restarts
        return jax.tree.map(np.where, self.limits.held, self.values, inside), runs


def _job(
    seen: Survey,
    family: Any,
    sample_size: int,
    n_components: int | None,
    fixed: dict[str, Any] | None,
    shared: dict[str, Any] | None,
    covariance_type: str | None,
) -> _Job:
    """Check what is asked for, as `fit` does."""
    points, weight = seen.outline(sample_size)
    event, dtype = points.shape[1:], float_dtype(points)
    arguments.check_missing(points, weight)
    family = kinds.seen(family, points)
    n_components = arguments.as_number(n_components, family)
    known = arguments.as_fixed(fixed, family, n_components, event)
    k = arguments.count_components(n_components, known)
    arguments.whole("sample_size", sample_size, k)
    sharing = arguments.as_sharing(shared, covariance_type, arguments.parameters(family, k, event))
    known = setting.share_known(known, sharing)
    arguments.check_enough(points, weight, k, family, known)
    frame = setting.choose_frame(points, weight, family, None, sharing, seen.frame)
    values, held = setting.known_inside(known, family, frame, k, event, dtype)
    limits = Limits(held, np.asarray(SCALE_FLOOR, dtype), sharing)
    return _Job(points, weight, family, k, known, values, limits, frame, dtype)


def _reason(restarts: em.Fit | None, n: int) -> str:
    """What was done."""
    begun = "the mixture given"
    if restarts is not None:
        begun = f"the best of {len(restarts.status)} starts on {n} points"
    return f"Maximum likelihood by EM on chunks of data, from {begun}."
