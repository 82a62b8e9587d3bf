"""The posterior of a generative function as a density over numbers that may take any value."""

import inspect
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from genjax import GFI, Trace, seed
from genjax.core import Distribution
from jax import Array
from jaxtyping import Float

from gmm_jax._pytree import pytree, static
from gmm_jax.models.checked import Checked, Path, checked, conform, finite, listed, paths
from gmm_jax.models.target import _joined, _without
from gmm_jax.transforms import TRANSFORMS, Transform, affine_of

PROBES = 3
"""So many draws from the prior tell whether a support depends on other choices."""
TRIALS = 1000
"""So many tell whether the prior keeps to supports that somebody declared."""
ROUNDING = 1e-5
"""By so much of its width a value may lie outside an interval."""


@pytree
class Support:
    """What a choice may be: a word of `TRANSFORMS`, moved and stretched."""

    word: str = static()
    low: Float[Array, ""]
    width: Float[Array, ""]


class UnsuitedError(ValueError):
    """The model is sound, but its choices don't vary continuously over values that are known."""


class PosteriorTarget(NamedTuple):
    """A model given data; a pytree, so that other data of the same shape compile nothing."""

    model: Checked
    args: tuple
    constraints: dict[str, Any]
    supports: dict[Path, Any]
    """For each open choice a `Support`, or a bijector of TFP's."""


def posterior_target(
    model: GFI, args: tuple, constraints: dict[str, Any], supports: dict[str, Any]
) -> PosteriorTarget:
    """Find what the choices left open may be, and set up their posterior.

    Args:
        model: Any generative function.
        args: Its arguments.
        constraints: Known choices by address.
        supports: What choices may be, by address with "/" between its parts, where the model
            doesn't tell: a word of `TRANSFORMS` or a pair of numbers.

    Raises:
        AddressError: an address that the model doesn't have.
        UnsuitedError: an open choice is discrete, has an unknown support, or one that depends on
            other choices.
        ValueError: a value of the wrong shape, NaN or infinite; no choice is open.
    """
    model = checked(model)
    expected = model.expected(*args)
    if not isinstance(expected, dict):
        raise TypeError("the model has no addresses: write one with @gen that has this site.")
    constraints = finite(conform(constraints, expected))
    open_paths = paths(_without(expected, constraints))
    if not open_paths:
        raise ValueError("constraints fix every choice of the model: leave one open to infer.")
    unknown = set(supports) - {_name(path) for path in open_paths}
    if unknown:
        raise ValueError(
            f"supports has {sorted(unknown)}, but the open choices are {listed(open_paths)}."
        )
    traces = [_simulated(jax.random.key(i), model, args) for i in range(PROBES)]
    sites = [dict(_leaves(trace)) for trace in traces]
    found = {}
    for path in open_paths:
        if not jnp.issubdtype(_at(expected, path).dtype, jnp.floating):
            raise UnsuitedError(_discrete(path))
        if _name(path) in supports:
            found[path] = _declared(path, supports[_name(path)])
        else:
            found[path] = _support_of(path, [site.get(path) for site in sites])
    return PosteriorTarget(model, args, constraints, found)


@jax.jit
def _simulated(key: Array, model: Checked, args: tuple) -> Trace:
    return seed(model.simulate)(key, *args)


def log_density(position: dict[Path, Array], target: PosteriorTarget) -> Float[Array, ""]:
    """Log density of a position: of its choices and the data, and by how much volume stretches."""
    everything = _joined(choices(position, target), target.constraints)
    return target.model.assess(everything, *target.args)[0] + _stretch(position, target)


def log_parts(
    position: dict[Path, Array], target: PosteriorTarget
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """`log_density` as a sum: the prior of the position, and the likelihood of the data."""
    everything = _joined(choices(position, target), target.constraints)
    trace, _ = seed(lambda: target.model.generate(everything, *target.args))(jax.random.key(0))
    scores = {path: -jnp.sum(leaf.get_score()) for path, leaf in _leaves(trace)}
    likelihood = sum((scores[path] for path in paths(target.constraints)), jnp.zeros(()))
    return _stretch(position, target) - trace.get_score() - likelihood, likelihood


def _stretch(position: dict[Path, Array], target: PosteriorTarget) -> Float[Array, ""]:
    """Log of how much volume stretches from positions to choices."""
    each = (_transform(s).log_jacobian(position[p]).sum() for p, s in target.supports.items())
    return sum(each, jnp.zeros(()))


def choices(position: dict[Path, Array], target: PosteriorTarget) -> dict[str, Any]:
    """The open choices at a position, by address."""
    nested: dict[str, Any] = {}
    for path, support in target.supports.items():
        here = nested
        for address in path[:-1]:
            here = here.setdefault(address, {})
        here[path[-1]] = _transform(support).value(position[path])
    return nested


def position_of(values: dict[str, Any], target: PosteriorTarget) -> dict[Path, Array]:
    """Undo `choices`; what lies on an edge is moved inside."""
    free = {p: _transform(s).free(_at(values, p)) for p, s in target.supports.items()}
    return jax.tree.map(lambda a: jnp.nan_to_num(a, nan=0, posinf=10, neginf=-10), free)


def from_prior(key: Array, target: PosteriorTarget) -> tuple[dict[Path, Array], Float[Array, ""]]:
    """Draw a position from the model, and the log likelihood of the data there."""
    model, args = target.model, target.args
    trace, weight = seed(lambda: model.generate(target.constraints, *args))(key)
    return position_of(trace.get_choices(), target), weight


def strays(target: PosteriorTarget) -> list[str]:
    """Names of the choices whose draws from the model don't all lie within their supports."""
    return [_name(path) for path, outside in _outside(target).items() if outside]


@jax.jit
def _outside(target: PosteriorTarget) -> dict[Path, Array]:
    def one(key: Array) -> dict[Path, Array]:
        trace, _ = seed(lambda: target.model.generate(target.constraints, *target.args))(key)
        supports = {p: s for p, s in target.supports.items() if isinstance(s, Support)}
        return {p: _beyond(_at(trace.get_choices(), p), s) for p, s in supports.items()}

    found = jax.vmap(one)(jax.random.split(jax.random.key(0), TRIALS))
    return jax.tree.map(jnp.any, found)


def _beyond(value: Array, support: Support) -> Array:
    """Whether values lie outside an interval, or don't ascend where they should."""
    share = (value - support.low) / support.width
    match support.word:
        case "positive":
            return jnp.any(share < 0)
        case "unit":
            return jnp.any(jnp.abs(share - 0.5) > 0.5 + ROUNDING)
        case "ordered":
            return jnp.any(jnp.diff(share) < 0)
        case _:
            return jnp.zeros((), bool)


def has_parts(target: PosteriorTarget) -> bool:
    """Whether `log_parts` can see the densities of the data: not within every combinator."""
    trace = jax.eval_shape(lambda: target.model.simulate(*target.args))
    return set(paths(target.constraints)) <= {path for path, _ in _leaves(trace)}


def _transform(support: Any) -> Transform:
    if isinstance(support, Support):
        return affine_of(TRANSFORMS[support.word], support.low, support.width)
    return Transform(
        support.inverse,
        support.forward,
        lambda u: support.forward_log_det_jacobian(u, event_ndims=support.forward_min_event_ndims),
    )


def _leaves(trace: Any, path: Path = ()) -> Iterator[tuple[Path, Trace]]:
    """The traces of distributions, by address, also of those within `.vmap`."""
    inner = getattr(trace, "_choices", None)
    if isinstance(trace, Trace) and isinstance(trace.get_gen_fn(), Distribution):
        yield path, trace
    elif isinstance(inner, Mapping):
        for address, own in inner.items():
            yield from _leaves(own, (*path, address))
    elif isinstance(inner, Trace):
        yield from _leaves(inner, path)


def _support_of(path: Path, traces: list[Trace | None]) -> Any:
    """What the distribution of a site says, if it says the same in all traces."""
    supports = [None if trace is None else _told_by(path, trace) for trace in traces]
    if supports[0] is None:
        raise UnsuitedError(
            f"what values {_name(path)!r} may take is not known: pass "
            f"supports={{{_name(path)!r}: ...}} with one of {sorted(TRANSFORMS)} or a pair "
            f"(low, high), or method='importance'."
        )
    if any(_differ(supports[0], other) for other in supports[1:]):
        raise UnsuitedError(
            f"the values that {_name(path)!r} may take depend on other choices: draw a number "
            f"between fixed limits and scale it within the model, or use method='importance'."
        )
    return supports[0]


def _told_by(path: Path, trace: Trace) -> Any:
    args, kwargs = trace.get_args()
    if args and hasattr(args[0], "support"):  # `site` of a distribution of ours
        return _declared(path, args[0].support)
    make = inspect.getclosurevars(_innermost(trace.get_gen_fn())).nonlocals.get("dist")
    if make is None:
        return None
    distribution = make(*args, **kwargs)
    if not np.issubdtype(distribution.dtype, np.floating):
        raise UnsuitedError(_discrete(path))
    return distribution.experimental_default_event_space_bijector()


def _innermost(gen_fn: Any) -> Any:
    """The log density that `genjax.tfp_distribution` wrapped: it alone knows the distribution."""
    function = gen_fn._logpdf.value
    while True:
        wrapped = inspect.getclosurevars(function).nonlocals
        inner = [f for f in wrapped.values() if inspect.isfunction(f)]
        if "dist" in wrapped or len(inner) != 1:
            return function
        function = inner[0]


def _differ(a: Any, b: Any) -> bool:
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return not all(np.array_equal(x, y) for x, y in pairs)


def _declared(path: Path, what: Any) -> Support:
    if isinstance(what, str) and what in TRANSFORMS:
        return Support(what, jnp.zeros(()), jnp.ones(()))
    if not isinstance(what, str) and np.shape(what) == (2,) and what[0] < what[1]:
        return Support("unit", jnp.asarray(what[0], float), jnp.asarray(what[1] - what[0], float))
    raise ValueError(
        f"supports[{_name(path)!r}] must be one of {sorted(TRANSFORMS)} or a pair (low, high), "
        f"got {what!r}."
    )


def _discrete(path: Path) -> str:
    return (
        f"NUTS and SMC need choices that vary continuously, and {_name(path)!r} is discrete: sum "
        f"assignments out with models.marginal_mixture, or use method='importance'."
    )


def _at(values: Any, path: Path) -> Any:
    for address in path:
        values = values[address]
    return values


def _name(path: Path) -> str:
    return "/".join(str(address) for address in path)
