"""Condition any generative function on data: weighted draws of the choices left open."""

from typing import TYPE_CHECKING, Any

import jax
from jax import Array
from jaxtyping import Float

from gmm_jax import importance
from gmm_jax._warnings import warn
from gmm_jax.importance import ImportanceSample

if TYPE_CHECKING:
    from genjax import GFI

REMEDY = (
    "Pass a proposal that goes where the data are, sum assignments out "
    "(models.marginal_mixture), or use gmm_jax.fit for a plain mixture."
)


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
        ValueError: a value of the wrong shape.

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
