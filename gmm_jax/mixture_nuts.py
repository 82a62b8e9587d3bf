"""The posterior of a mixture by the No-U-Turn sampler, assignments summed out.

So it takes every family that has a prior, of counts and categories too, and rows with missing
entries, which the density leaves out. It moves the parameters as the prior's sites have them, each
through its transform. Labels stay as they are in each chain, but for chance.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from gmm_jax import em_starts, gibbs, nuts
from gmm_jax._compile import jit_by_size
from gmm_jax._progress import Report, silent
from gmm_jax.mixture import Mixture
from gmm_jax.priors.components import resolved
from gmm_jax.table import Table, log_likelihood
from gmm_jax.transforms import TRANSFORMS, Transform, affine_of

ACCEPT = 0.9
"""Acceptance probability to aim for: the corners of mixtures take small steps."""
SCATTER = 0.1
"""How far from EM fits chains set out, where a sweep of Gibbs sampling can't take them away."""


class Known(NamedTuple):
    """Values of the prior's sites, and which are known: numbers and booleans by name."""

    values: dict[str, Array]
    held: dict[str, Array]


class Arguments(NamedTuple):
    """The posterior."""

    table: Table
    prior: Any
    floor: Float[Array, ""]
    known: Known


def sample(
    key: Array,
    table: Table,
    prior: Any,
    family: Any,
    floor: Float[Array, ""],
    known: Mixture,
    held: Mixture | None = None,
    *,
    n_chains: int,
    n_warmup: int,
    n_draws: int,
    report: Report = silent,
) -> tuple[Mixture, nuts.Info]:
    """Draw from the posterior, with chains that start around EM fits.

    Args:
        key: Random key.
        table: The data, centred and scaled, and how often each point counts, a fraction too.
        prior: In the unit of the data, spread.
        family: The class of the components.
        floor: Smallest scale.
        known: The form of the mixture, and the values of what is held.
        held: Booleans in the same form: true where a parameter stays; None for none.
        n_chains: How many, c.
        n_warmup: Draws to learn from, of every chain.
        n_draws: s, of every chain.
        report: Is told how far it is.

    Returns:
        Mixtures (c, s), and how the chains went; fewer after an interrupt.

    Raises:
        ValueError: some weights are held and others are not.
    """
    start_key, around_key, key = jax.random.split(key, 3)
    starts = _starts(start_key, table, prior, floor, known, held, family=family, n_chains=n_chains)
    arguments = Arguments(table, prior, floor, _known(prior, known, held, starts))
    settings = dict(n_warmup=n_warmup, n_draws=n_draws, accept=ACCEPT)
    free = _free(starts, arguments)
    if not prior.components.conditional:
        free = _scattered(around_key, free)
    positions, info = nuts.run(key, log_density, arguments, free, **settings, report=report)
    return _mixtures(positions, arguments), info


def log_density(position: dict[str, Array], arguments: Arguments) -> Float[Array, ""]:
    """Log posterior density at a position, up to a constant.

    In place of what is known the position has a standard normal of no consequence.
    """
    table, prior, _, _ = arguments
    values, total = _constrain(position, arguments)
    mixture = prior.mixture(**values)
    for name, site in _sites(arguments).items():
        total = total + resolved(site, values).log_prob(values[name])
    return total + log_likelihood(mixture, table)


def _sites(arguments: Arguments) -> dict[str, Any]:
    k = arguments.prior.concentration.shape[0]
    return arguments.prior.sites(k, arguments.table.points.shape[2:])


def _transforms(arguments: Arguments) -> dict[str, Transform]:
    """For every site; scales end at the floor, as in the other samplers."""
    values, transforms = arguments.known.values, {}
    for name, site in _sites(arguments).items():
        own = resolved(site, values)
        transforms[name] = TRANSFORMS[own.support]
        if name.split(".")[-1] == "scales":
            low = jnp.maximum(getattr(own, "least", 0), arguments.floor)
            transforms[name] = affine_of(transforms[name], low, jnp.ones_like(low))
    return transforms


def _constrain(
    position: dict[str, Array], arguments: Arguments
) -> tuple[dict[str, Array], Float[Array, ""]]:
    """Values of the sites, and the log of how much volume stretches."""
    total, values = jnp.zeros((), arguments.table.points.dtype), {}
    known, held = arguments.known
    for name, transform in _transforms(arguments).items():
        free, fixed = position[name], held[name]
        values[name] = jnp.where(fixed, known[name], transform.value(free))
        axes = tuple(range(-transform.event_axes, 0))
        idle = -0.5 * (free**2).sum(axes[-1:])
        each = jnp.where(fixed.all(axes), idle, transform.log_jacobian(free))
        total = total + each.sum()
    return values, total


@jax.jit
def _mixtures(positions: dict[str, Array], arguments: Arguments) -> Mixture:
    """The mixtures at positions (c, s)."""

    def one(position):
        return arguments.prior.mixture(**_constrain(position, arguments)[0])

    return jax.vmap(jax.vmap(one))(positions)


@jax.jit
def _free(mixtures: Mixture, arguments: Arguments) -> dict[str, Array]:
    """The positions of c mixtures, away from the edges of what they may be."""
    transforms = _transforms(arguments)

    def one(mixture):
        values = arguments.prior.values(mixture)
        return {name: t.free(values[name]) for name, t in transforms.items()}

    free = jax.vmap(one)(mixtures)
    return jax.tree.map(lambda a: jnp.nan_to_num(a, nan=0, posinf=10, neginf=-10), free)


def _scattered(key: Array, free: dict[str, Array]) -> dict[str, Array]:
    """Positions near those given."""
    keys = dict(zip(free, jax.random.split(key, len(free)), strict=True))
    return {n: a + SCATTER * jax.random.normal(keys[n], a.shape, a.dtype) for n, a in free.items()}


def _size(*given: Any, n_chains: int, **_: Any) -> int:
    _, table, _, _, known, _ = given
    return n_chains * known.n_components * table.points.size


@functools.partial(jit_by_size, size=_size, static_argnames=("family", "n_chains"))
def _starts(
    key: Array,
    table: Table,
    prior: Any,
    floor: Float[Array, ""],
    known: Mixture,
    held: Mixture | None,
    *,
    family: Any,
    n_chains: int,
) -> Mixture:
    """Fit all k components by EM, then draw around the fits where that can be."""
    em_key, gibbs_key = jax.random.split(key)
    k = known.n_components
    fits = em_starts.fits(em_key, table, family, floor, k, np.full(n_chains, k), known, held)
    if not prior.components.conditional:
        return fits
    state, _ = gibbs.step(gibbs_key, gibbs.init(fits), table, prior, floor, held, named=False)
    return state.mixtures


def _known(prior: Any, known: Mixture, held: Mixture | None, like: Mixture) -> Known:
    """What is known of the prior's sites."""
    first = jax.tree.map(lambda a: a[0], like)
    if held is None:
        values = prior.values(first)
        return Known(values, jax.tree.map(lambda a: jnp.zeros(a.shape, bool), values))
    weights = np.asarray(held.weights)
    if weights.any() and not weights.all():
        raise ValueError(
            "method='nuts' takes all weights as fixed or none: fix them all, or use method='gibbs'."
        )
    # Functions of known parameters are positive at ones, and zero or infinite at zeros.
    marked = prior.values(jax.tree.map(lambda a: jnp.asarray(a, first.weights.dtype), held))
    numbers = jax.tree.map(jnp.where, held, known, first)
    return Known(prior.values(numbers), jax.tree.map(lambda a: (a > 0) & (a < jnp.inf), marked))
