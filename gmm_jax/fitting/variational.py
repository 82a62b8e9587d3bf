"""Draws from the best posterior in which assignments don't depend on parameters."""

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int

from gmm_jax import diagnostics, variational
from gmm_jax._pytree import rebuild
from gmm_jax.diagnostics import TRUSTED
from gmm_jax.fitting import arguments, setting
from gmm_jax.fitting.task import Sampled, Task
from gmm_jax.initial import components_around, uniforms_shape
from gmm_jax.labellings import log_permanent
from gmm_jax.mixture import Mixture
from gmm_jax.mixture_posterior import MOST_COMPONENTS
from gmm_jax.table import Table, expectation

DRAWS = 4000
MOST_STEPS = 2000
GAIN = 1e-10
"""In nats per point: a step that raises the bound by less is the last."""
MOST_WEIGHED, FEWEST_WEIGHED, WORK = 1000, 200, 2**28
"""So many draws are compared with the posterior, depending on how much work that is."""
ALIKE = 1e-3
"""Log weights that differ by less differ by rounding."""


class Found(NamedTuple):
    """The best of several runs."""

    posterior: Any
    bound: Float[Array, ""]
    """On the log evidence, in nats; of one labelling of the components."""
    steps: Int[Array, ""]


def by_variational(key: Array, task: Task, n_draws: int | None) -> Sampled:
    """Climb from several starts, and draw from the best posterior found."""
    _check(task)
    n_draws, k = DRAWS if n_draws is None else n_draws, task.n_components
    table = task.rows()
    prior = jax.tree.map(jnp.asarray, task.prior)
    n_starts = arguments.restarts(None, task.points.size * k)
    start_key, draws_key = jax.random.split(key)
    found = _climb(start_key, table, prior, task.floor, family=task.family, n_starts=n_starts)
    posterior = found.posterior
    if task.exchangeable:
        mean, _ = variational.geometric_mean(posterior)
        _, posterior = setting.in_order(mean, posterior)
        posterior = jax.tree.map(jnp.asarray, posterior)
    draws = _draw(draws_key, posterior, n_draws=n_draws)
    n_weighed = min(MOST_WEIGHED, n_draws, max(FEWEST_WEIGHED, WORK // (task.points.size * k)))
    weighed = jax.tree.map(lambda a: a[:n_weighed], draws)
    every = task.exchangeable and k <= MOST_COMPONENTS
    log_weights, gain = _weigh(weighed, posterior, table, prior, every_labelling=every)
    share = float(diagnostics.effective_sample_size(log_weights)) / n_weighed
    alike = float(jnp.ptp(log_weights)) < ALIKE
    pareto_k = -math.inf if alike else float(diagnostics.pareto_k(log_weights))
    return Sampled(
        jax.device_get(draws),
        f"the best of {n_starts} coordinate ascents, in {int(found.steps)} steps",
        dict(
            log_evidence=float(found.bound) + float(gain),
            log_evidence_error=math.nan,
            lower_bound=True,
            effective_sample_size=share * n_draws,
            pareto_k=pareto_k,
            log_importance_weights=np.zeros(n_draws, task.floor.dtype),
        ),
        _problem(found, pareto_k),
    )


def _check(task: Task) -> None:
    """Raise ValueError for what coordinate ascent does not do."""
    if task.held is not None:
        raise ValueError("fixed is not for method='variational': use method='gibbs' or 'smc'.")
    if not task.prior.components.conjugate:
        raise ValueError(
            f"method='variational' needs a conjugate prior of components, and "
            f"{type(task.prior.components).__name__} is none: pass MixturePrior(1, ...) with "
            f"NormalInverseGamma, NormalInverseWishart, GammaPoisson, GammaExponential, "
            f"BetaBernoulli, DirichletCategorical or a ProductPrior of these, or use "
            f"method='gibbs'."
        )


def _problem(found: Found, pareto_k: float) -> str | None:
    """Why draws of the posterior found mean little, and what to do."""
    remedy = "Use method='gibbs', or 'smc' where several explanations compete."
    if not np.isfinite(found.bound):
        return f"the bound of variational inference is not finite. {remedy}"
    if found.steps >= MOST_STEPS:
        return f"variational inference still climbs after {MOST_STEPS} steps. {remedy}"
    if not pareto_k <= TRUSTED:
        return (
            f"variational inference comes not close enough to the posterior: Pareto k is "
            f"{pareto_k:.2f}, and should be below {TRUSTED}; intervals are too narrow, as a rule. "
            f"{remedy}"
        )
    return None


@functools.partial(jax.jit, static_argnames=("family", "n_starts"))
def _climb(
    key: Array, table: Table, prior: Any, floor: Float[Array, ""], *, family: Any, n_starts: int
) -> Found:
    """Run from k-means++ starts: half with k components, the others with 1, 2, ... k."""
    k, dtype = prior.concentration.shape[0], table.points.dtype
    runs = jnp.arange(n_starts)
    occupied = jnp.where(runs % 2, (runs // 2) % k + 1, k)
    uniforms = jax.random.uniform(key, uniforms_shape(n_starts, k), dtype)
    rows = table.points.reshape(-1, *table.points.shape[2:])
    components = components_around(family, "kmeans++", uniforms, rows, table.sample_weight.ravel())
    weights = (jnp.arange(k) < occupied[:, None]) / occupied[:, None]
    starts = rebuild(Mixture, weights=weights.astype(dtype), components=components)
    tol = jnp.asarray(GAIN, dtype)
    fit = variational.run(starts, table, prior, floor, tol, MOST_STEPS)
    chosen = variational.best(fit)
    posterior = jax.tree.map(lambda a: a[chosen], fit.posteriors)
    return Found(posterior, fit.bound[chosen] * table.sample_weight.sum(), fit.steps[chosen])


@functools.partial(jax.jit, static_argnames="n_draws")
def _draw(key: Array, posterior: Any, *, n_draws: int) -> Mixture:
    return jax.vmap(posterior.sample)(jax.random.split(key, n_draws))


@functools.partial(jax.jit, static_argnames="every_labelling")
def _weigh(
    draws: Mixture, posterior: Any, table: Table, prior: Any, *, every_labelling: bool
) -> tuple[Float[Array, "s"], Float[Array, ""]]:
    """Log importance weights of draws for the true posterior, and what labels add to the bound.

    Where labels mean nothing, the same posterior q with components relabelled in every way, evenly
    mixed, is as good an approximation to each of the k! parts of the true one. Its bound is higher
    by E_q log(q / mixed q), which is log k! where components lie apart, and 0 where they are alike.
    """
    log_likelihood, _ = expectation(draws, table)
    target = log_likelihood + jax.vmap(prior.log_prob)(draws)
    matched = jax.vmap(posterior.log_prob_matched)(draws)
    own = jnp.trace(matched, axis1=1, axis2=2)
    if not every_labelling:
        return target - own, jnp.zeros((), own.dtype)
    mixed = log_permanent(matched) - math.lgamma(matched.shape[1] + 1)
    return target - mixed, (own - mixed).mean()
