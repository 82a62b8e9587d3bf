"""What several test files share: data, precisions, and exact answers by other means."""

import collections
import gc
import itertools
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

# SciPy's L-BFGS solves tiny systems, which take ten times as long on several threads; its library
# reads this when it is loaded.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# What one process compiles the others read, pytest's workers and those that tests start. JAX's
# cache on disk is of this run alone, so that nothing is answered by an older one.
if "PYTEST_XDIST_WORKER" not in os.environ:
    COMPILED = tempfile.TemporaryDirectory(prefix="gmm_jax_compiled_", ignore_cleanup_errors=True)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = COMPILED.name
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"

import jax
import numpy as np
import pytest
from scipy import integrate, special, stats

from gmm_jax import DirichletNormalGamma, Mixture, Normal, PosteriorFit
from gmm_jax._data import Frame
from gmm_jax._pytree import rebuild
from gmm_jax.convergence import Quality


@pytest.fixture(autouse=True, scope="module")
def room_for_compiled_code():
    """Forget compiled programs before there are too many.

    Linux grants a process 65,530 mappings of memory, and a compiled fit takes hundreds; past the
    last one the compiler crashes.
    """
    yield
    mappings = Path("/proc/self/maps")
    if mappings.exists() and mappings.read_text().count("\n") > 25_000:
        jax.clear_caches()
        gc.collect()


@pytest.fixture(scope="session")
def compilations() -> collections.Counter:
    """How often this process has compiled each function, by name; it goes on counting."""
    counted: collections.Counter = collections.Counter()

    def note(event: str, _: float, *, fun_name: str = "", **__: Any) -> None:
        if event == "/jax/core/compile/jaxpr_to_mlir_module_duration":
            counted[fun_name.removeprefix("jit(").removesuffix(")")] += 1

    jax.monitoring.register_event_duration_secs_listener(note)
    return counted


@pytest.fixture(scope="session")
def bentos() -> np.ndarray:
    """The 20 bentos, in grams."""
    weights = [498, 352, 501, 349, 497, 503, 351, 500, 348, 502]
    return np.array([*weights, 499, 350, 498, 353, 501, 347, 499, 502, 352, 500], np.float64)


@pytest.fixture(scope="session")
def tutorial_prior() -> DirichletNormalGamma:
    return DirichletNormalGamma(concentration=1, mean=400, mean_scale=50, shape=2, rate=1)


@pytest.fixture(scope="session")
def draws_by_hand(bentos, tutorial_prior) -> PosteriorFit:
    """What a sampler would return, in no time."""
    rng = np.random.default_rng(0)
    means = (rng.normal([350, 500], 0.6, (300, 2)) - 440) / 64
    shares, scales = rng.dirichlet([9, 13], 300), rng.gamma(20, 0.1 / 64, (300, 2))
    weights, means, scales = (a.astype(np.float32) for a in (shares, means, scales))
    return PosteriorFit(
        data=bentos,
        sample_weight=np.ones(20),
        frame=Frame(np.array(440.0), np.array(64.0)),
        method="gibbs",
        reason="Posterior by hand.",
        inside=rebuild(
            Mixture, weights=weights, components=rebuild(Normal, means=means, scales=scales)
        ),
        prior=tutorial_prior,
        log_evidence=np.nan,
        log_evidence_error=-np.inf,
        effective_sample_size=np.float64(250),
        pareto_k=0.1,
        log_importance_weights=np.zeros(300, np.float32),
        ordered=True,
        n_chains=3,
        convergence={"log likelihood": Quality(1.001, 250.0, 90.0)},
    )


@pytest.fixture
def x64():
    """Double precision for one test."""
    with jax.enable_x64(True):
        yield


@pytest.fixture(params=["float32", "float64"])
def dtype(request) -> Any:
    """Each test in both precisions."""
    with jax.enable_x64(request.param == "float64"):
        yield np.dtype(request.param)


@pytest.fixture(scope="session")
def integrated() -> Callable:
    """Integrals over mean and scale of prior times likelihood of points of one normal."""

    def over(points, mean, mean_scale, shape, rate, function=np.ones_like):
        """Integrate `function(scale)` over the scale by quadrature; the mean goes in closed form.

        One point after another is predicted given those before it, whose normal posterior of the
        mean is known for each scale.
        """
        grid = np.linspace(-9, 6, 6001)
        scale = np.exp(grid)
        log_weight = stats.gamma.logpdf(scale, shape, scale=1 / rate) + grid
        centre, variance = np.full_like(scale, mean), np.full_like(scale, mean_scale**2)
        for x in points:
            log_weight += stats.norm.logpdf(x, centre, np.sqrt(variance + scale**2))
            gain = variance / (variance + scale**2)
            centre, variance = centre + gain * (x - centre), variance * (1 - gain)
        return integrate.trapezoid(function(scale) * np.exp(log_weight), grid)

    return over


@pytest.fixture(scope="session")
def enumerated(integrated) -> Callable:
    """The exact posterior over assignments of a few points, by going through all of them."""

    def posterior(points, concentration, mean, mean_scale, shape, rate):
        """Return the k^n assignments, their probabilities and the log evidence.

        Each argument after `points` has one entry per component.
        """
        k, n = len(concentration), len(points)
        points = np.asarray(points, np.float64)
        evidence = {}
        for j in range(k):
            for subset in itertools.product([False, True], repeat=n):
                evidence[j, subset] = integrated(
                    points[list(subset)], mean[j], mean_scale[j], shape[j], rate[j]
                )
        assignments = np.array(list(itertools.product(range(k), repeat=n)))
        log_joint = []
        total = np.sum(concentration)
        for z in assignments:
            counts = np.bincount(z, minlength=k)
            log_p = special.gammaln(total) - special.gammaln(total + n)
            log_p += np.sum(special.gammaln(counts + concentration))
            log_p -= np.sum(special.gammaln(concentration))
            log_p += sum(np.log(evidence[j, tuple(z == j)]) for j in range(k))
            log_joint.append(log_p)
        log_evidence = special.logsumexp(log_joint)
        return assignments, np.exp(log_joint - log_evidence), log_evidence

    return posterior
