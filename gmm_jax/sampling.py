"""Condition any generative function on data: draws of the choices left open."""

import functools
import math
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from gmm_jax import diagnostics, importance, nuts
from gmm_jax._progress import telling
from gmm_jax._warnings import warn
from gmm_jax.convergence import AGREE
from gmm_jax.importance import ImportanceSample
from gmm_jax.model_posterior import ModelPosterior

if TYPE_CHECKING:
    from genjax import GFI

REMEDY = (
    "Pass a proposal that goes where the data are, sum assignments out "
    "(models.marginal_mixture), or use gmm_jax.fit for a plain mixture."
)
FROM_THE_MODEL = "method='importance' draws from the model itself, which supports don't change"
OTHER_WAYS = (
    " Where components can swap names, give them an order, as in supports={'means': 'ordered'}; "
    "where modes compete, use method='smc'."
)
METHODS = ("auto", "nuts", "smc", "importance")
PARTICLES = {"importance": 20_000, "smc": 4_000}
TRIES = 64
"""Each chain starts from one of so many draws from the model, picked by their likelihoods."""


def sample(
    model: "GFI",
    constraints: dict[str, Any],
    *,
    args: tuple = (),
    method: str = "auto",
    supports: dict[str, Any] | None = None,
    n_chains: int = 4,
    n_draws: int = 4000,
    n_warmup: int = 1000,
    n_particles: int | None = None,
    accept: float = 0.9,
    progress: bool | None = None,
    key: Array | None = None,
) -> ModelPosterior:
    """Draw from the posterior of any generative function given some of its choices.

    Write a mixture in it as `models.marginal_mixture` or `models.marginal_points`, which sum
    assignments out, so that all open choices vary continuously.

    Args:
        model: Any GenJAX generative function.
        constraints: Known choices by address, such as `{"obs": {"x": data}}`.
        args: The model's arguments.
        method: "nuts", the No-U-Turn sampler; "smc", particles that go from the model's prior to
            the posterior, which find several modes and give the evidence; "importance", draws from
            the prior by weight, for a handful of choices or discrete ones; "auto" takes NUTS where
            it can, and SMC where the chains of NUTS don't agree.
        supports: What choices may be, by address ("obs/mean"), where the model doesn't tell or
            more is known: "real", "positive", "unit", "simplex", "covariance", "ordered" (numbers
            that ascend, which gives components their names), or a pair (low, high). For NUTS; SMC
            takes those that the model's own draws keep to, importance sampling none.
        n_chains: Chains of NUTS.
        n_draws: How many draws to keep, of all chains together.
        n_warmup: Draws that NUTS learns from, and throws away, in every chain.
        n_particles: How many for the other methods.
        accept: Acceptance probability that NUTS aims for; higher makes smaller steps.
        progress: Whether to tell on stderr how far it is; by default where that is a terminal.
            An interrupt of NUTS keeps what was drawn.
        key: Random key; `jax.random.key(0)` if left out.

    Returns:
        `draws` by address, with their diagnostics; `print` shows a table.

    Raises:
        AddressError: an address that the model doesn't have; the nearest one is named.
        ValueError: a value of the wrong shape, NaN or infinite; a method that can't take an open
            choice, which is discrete or whose support is not known, or can't keep to `supports`.

    Warns:
        FitWarning: chains that don't agree, draws that diverged, or few that count.

    Example:
        >>> from genjax import gen, normal
        >>> from gmm_jax import sample
        >>> @gen
        ... def weighing():
        ...     mean = normal(0.0, 1.0) @ "mean"
        ...     return normal(mean, 1.0) @ "x"
        >>> posterior = sample(weighing, {"x": 1.0})
        >>> posterior.method, round(float(posterior.draws["mean"].mean()), 1)
        ('nuts', 0.5)
    """
    if method not in METHODS:
        raise ValueError(f"method must be one of {METHODS}, got {method!r}.")
    for name, count in dict(n_chains=n_chains, n_draws=n_draws, n_warmup=n_warmup).items():
        if count < 1:
            raise ValueError(f"{name} must be above zero, got {count}.")
    key = jax.random.key(0) if key is None else key
    asked, supports = method, supports or {}
    method, target, why = _chosen(method, model, args, constraints, supports)
    n_importance, n_tempered = (n_particles or PARTICLES[m] for m in ("importance", "smc"))
    if method == "importance":
        return _by_importance(key, model, constraints, args, n_importance, n_draws, why)
    if method == "smc":
        return _by_smc(key, target, n_tempered, n_draws, progress, why)
    posterior = _by_nuts(key, target, n_chains, n_draws, n_warmup, accept, progress, why)
    problem = posterior.verdict()
    if problem:
        barred = _why_not_smc(target, supports)
        if asked == "auto" and not barred:
            why = f"since NUTS did not do ({problem.partition(':')[0]})"
            return _by_smc(key, target, n_tempered, n_draws, progress, why)
        ways = f" {barred}." if barred else OTHER_WAYS if not posterior.r_hat <= AGREE else ""
        warn(f"The No-U-Turn sampler is not to be trusted yet: {problem}{ways}")
    return posterior


def _chosen(
    method: str, model: "GFI", args: tuple, constraints: dict[str, Any], supports: dict[str, Any]
) -> tuple[str, Any, str]:
    """The method, the posterior as it takes it, and why."""
    from gmm_jax.models.posterior import UnsuitedError, posterior_target

    if method == "importance":
        if supports:
            raise ValueError(f"{FROM_THE_MODEL}: use method='nuts', or leave supports out.")
        return method, None, "as asked"
    try:
        target = posterior_target(model, args, constraints, supports)
    except UnsuitedError as error:
        if method != "auto":
            raise
        if supports:
            raise ValueError(f"{error} {FROM_THE_MODEL}: leave supports out then.") from error
        return "importance", None, f"because {str(error).rstrip('.')}"
    if method == "smc" and (barred := _why_not_smc(target, supports)):
        raise ValueError(f"{barred}: use method='nuts', or leave that support out.")
    if method != "auto":
        return method, target, "as asked"
    return "nuts", target, "since all open choices vary continuously"


def _why_not_smc(target: Any, supports: dict[str, Any]) -> str:
    """Say which support the prior breaks, for then the evidence would be wrong; or nothing."""
    from gmm_jax.models.posterior import strays

    broken = [name for name in strays(target) if name in supports] if supports else []
    if not broken:
        return ""
    return (
        f"method='smc' can't be used, since it goes from the model's own prior, whose draws are "
        f"not all within supports[{broken[0]!r}] ({supports[broken[0]]!r})"
    )


def _by_nuts(
    key: Array,
    target: Any,
    n_chains: int,
    n_draws: int,
    n_warmup: int,
    accept: float,
    progress: bool | None,
    why: str,
) -> ModelPosterior:
    from gmm_jax.models.posterior import log_density

    start_key, key = jax.random.split(key)
    starts, sound = _starts(start_key, target, n_chains)
    n_steps = math.ceil(n_draws / n_chains)
    if not np.all(sound):
        raise ValueError(
            "constraints have density zero (or NaN) under every draw tried from the model: check "
            "the data's unit and the model's prior, or use method='smc'."
        )
    settings = dict(n_warmup=n_warmup, n_draws=n_steps, accept=accept)
    with telling("NUTS", progress) as report:
        positions, info = nuts.run(key, log_density, target, starts, **settings, report=report)
    asked, n_steps = n_steps, info.diverging.shape[1]
    if n_steps < asked:
        warn(f"interrupted after {n_steps} of {asked} draws of each chain.")
    flat = jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), positions)
    return ModelPosterior(
        draws=jax.device_get(_choices(flat, target)),
        method="nuts",
        reason=f"NUTS {why}: {n_chains} chains of {n_steps} draws after {n_warmup} of warm-up.",
        n_chains=n_chains,
        n_divergent=int(info.diverging.sum()),
    )


def _by_smc(
    key: Array, target: Any, n_particles: int, n_draws: int, progress: bool | None, why: str
) -> ModelPosterior:
    from gmm_jax import model_tempering

    sizes = dict(n_particles=n_particles, n_draws=n_draws)
    with telling("Tempered SMC", progress) as report:
        drawn = model_tempering.sample(key, target, **sizes, report=report)
    rows = [a.reshape(n_draws, -1) for a in jax.tree.leaves(drawn.draws)]
    effective = diagnostics.effective_among_families(jnp.concatenate(rows, 1), drawn.families)
    posterior = ModelPosterior(
        draws=jax.device_get(_choices(drawn.draws, target)),
        method="smc",
        reason=f"Tempered SMC {why}: {n_particles} particles went from the prior to the posterior "
        f"in {int(drawn.n_temperatures)} temperatures.",
        n_chains=1,
        log_evidence=float(drawn.log_evidence),
        log_evidence_error=float(drawn.log_evidence_error),
        effective_sample_size=float(effective.min()),
    )
    if not posterior.ess >= 25:
        warn(
            f"the particles of tempered SMC stem from so few at the start that they are worth "
            f"{posterior.ess:.0f} independent draws: pass more particles (n_particles)."
        )
    return posterior


def _by_importance(
    key: Array,
    model: "GFI",
    constraints: dict[str, Any],
    args: tuple,
    n_particles: int,
    n_draws: int,
    why: str,
) -> ModelPosterior:
    drawn = importance_resample(
        model, constraints, args=args, n_particles=n_particles, n_draws=n_draws, key=key
    )
    return ModelPosterior(
        draws=jax.device_get(drawn.draws),
        method="importance",
        reason=f"Importance sampling {why}; {n_particles} particles from the model's prior.",
        n_chains=1,
        log_evidence=float(drawn.log_evidence),
        log_evidence_error=float(drawn.log_evidence_error),
        effective_sample_size=float(min(drawn.effective_sample_size, n_draws)),
    )


@functools.partial(jax.jit, static_argnames="n_chains")
def _starts(key: Array, target: Any, n_chains: int) -> tuple[Any, Array]:
    """A position for every chain, and whether its density is a number."""
    from gmm_jax.models.posterior import from_prior, log_density

    def one(key: Array) -> tuple[Any, Array]:
        draw_key, pick_key = jax.random.split(key)
        tries, weights = jax.vmap(from_prior, (0, None))(jax.random.split(draw_key, TRIES), target)
        densities = jax.vmap(log_density, (0, None))(tries, target)
        possible = jnp.isfinite(densities) & jnp.isfinite(weights)
        weights = jnp.where(possible, weights, -jnp.inf)
        picked = jax.random.categorical(pick_key, weights)
        return jax.tree.map(lambda a: a[picked], tries), possible[picked]

    return jax.vmap(one)(jax.random.split(key, n_chains))


@jax.jit
def _choices(positions: Any, target: Any) -> dict[str, Any]:
    from gmm_jax.models.posterior import choices

    return jax.vmap(choices, (0, None))(positions, target)


def importance_resample(
    model: "GFI",
    constraints: dict[str, Any],
    *,
    args: tuple = (),
    proposal: "GFI | None" = None,
    proposal_args: tuple = (),
    n_particles: int = 10_000,
    n_draws: int | None = None,
    chunk_size: int = 1024,
    key: Array | None = None,
) -> ImportanceSample:
    """Draw from a generative function given some of its choices, by importance resampling.

    Args:
        model: Any GenJAX generative function.
        constraints: Known choices by address, such as `{"obs": {"x": data}}`.
        args: The model's arguments.
        proposal: A generative function of (some of) the other choices; the model's own prior
            draws what it leaves out.
        proposal_args: Its arguments.
        n_particles: How many to weigh.
        n_draws: How many to keep, all if left out.
        chunk_size: How many exist at once; memory does not depend on `n_particles` otherwise.
        key: Random key; `jax.random.key(0)` if left out.

    Returns:
        Equally weighted `draws` of the unknown choices by address, `log_evidence` with its
        standard error, `effective_sample_size`, `pareto_k` and `log_importance_weights`.

    Raises:
        AddressError: an address that the model doesn't have; the nearest one is named.
        ValueError: a value of the wrong shape, NaN or infinite.

    Warns:
        FitWarning: so few particles count that the draws mean little.

    Example:
        >>> from genjax import gen, normal
        >>> from gmm_jax import importance_resample
        >>> @gen
        ... def weighing():
        ...     mean = normal(0.0, 1.0) @ "mean"
        ...     return normal(mean, 1.0) @ "x"
        >>> sample = importance_resample(weighing, {"x": 1.0})
        >>> round(float(sample.log_evidence), 1), round(float(sample.draws["mean"].mean()), 1)
        (-1.5, 0.5)
    """
    from gmm_jax.models import importance_target

    draw = importance_target(model, args, constraints, proposal, proposal_args)
    sample = importance.run(
        jax.random.key(0) if key is None else key,
        DRAWN_WITH_WEIGHT,
        draw,
        n_particles=n_particles,
        n_draws=n_particles if n_draws is None else n_draws,
        chunk_size=chunk_size,
    )
    problem = importance.verdict(sample)
    if problem:
        warn(f"{problem} {REMEDY}")
    return sample._replace(draws=sample.draws[0])


def _propose(key: Array, draw: Any, size: int) -> Any:
    return jax.vmap(draw)(jax.random.split(key, size))


def _log_weight(particles: Any, draw: Any) -> Float[Array, "size"]:
    return particles[1]


DRAWN_WITH_WEIGHT = importance.Target(_propose, _log_weight)
