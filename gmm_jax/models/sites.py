"""Sampling sites that stay right under any nesting of `vmap`, and the sites of a mixture."""

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import jax
import jax.numpy as jnp
from genjax import Distribution
from genjax.core import distribution
from genjax.pjax import (
    LoweringSamplePrimitiveToMLIRException,
    PPPrimitive,
    global_counter,
    sample_p,
)
from jax import Array
from jax.core import ShapedArray, eval_jaxpr
from jaxtyping import ArrayLike, Bool, Float, Int

from gmm_jax._numerics import safe_log
from gmm_jax._pytree import rebuild
from gmm_jax.families import Family
from gmm_jax.mixture import Mixture


def keyed_distribution(
    sampler: Callable[..., Any], log_prob: Callable[..., ArrayLike], name: str | None = None
) -> Distribution:
    """Make a genjax distribution from a pure sampler and a log density, both for one event.

    Under genjax's `.vmap` and `modular_vmap`, nested at will, every row gets its own key and its
    own arguments, on whatever axis and in whatever pytree they come: the sampler runs under
    `jax.vmap`. A log density that turns out NaN is minus infinity: the value, or a parameter, lies
    outside its support.

    Args:
        sampler: `sampler(key, *args)` draws one event, an array or a pytree of arrays.
        log_prob: `log_prob(value, *args)` is the log density of the whole event, one number.
        name: What error messages call it.

    Returns:
        A distribution to call in a generative function, `d(*args) @ "address"`. Its log density
        raises ValueError if `log_prob` returns anything but one number.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from genjax import gen, seed
        >>> from gmm_jax.models import keyed_distribution
        >>> exponential = keyed_distribution(
        ...     lambda key, rate: jax.random.exponential(key) / rate,
        ...     lambda value, rate: jnp.where(value >= 0, jnp.log(rate) - rate * value, -jnp.inf),
        ... )
        >>> @gen
        ... def waits(rates):
        ...     return exponential.vmap(in_axes=(0,))(rates) @ "waits"
        >>> trace = seed(waits.simulate)(jax.random.key(0), jnp.array([1.0, 10.0]))
        >>> trace["waits"].shape
        (2,)
        >>> float(waits.assess({"waits": jnp.array([1.0, -1.0])}, jnp.array([1.0, 10.0]))[0])
        -inf
    """

    def draw(*args: Any, **kwargs: Any) -> Any:
        # Tracing with the arguments closed over keeps static ones static and makes the others,
        # with all else that the sampler refers to, explicit inputs.
        trace = jax.make_jaxpr(lambda key: sampler(key, *args, **kwargs), return_shape=True)
        closed, shapes = trace(jax.random.key(0))

        def leaves(key: Array, *inputs: Any) -> list[Any]:
            return eval_jaxpr(closed.jaxpr, inputs, key)

        drawn = _bind(leaves, closed.consts, closed.out_avals, name)
        return jax.tree.unflatten(jax.tree.structure(shapes), drawn)

    def density(value: Any, *args: Any, **kwargs: Any) -> Float[Array, ""]:
        result = jnp.asarray(log_prob(value, *args, **kwargs))
        if result.shape:
            raise ValueError(
                f"the log density of {name or 'a distribution'} has shape {result.shape}: it must "
                f"be one number for the whole event, so sum it over the entries."
            )
        return jnp.where(jnp.isnan(result), -jnp.inf, result)

    return distribution(draw, density, name=name)


def _bind(
    sampler: Callable[..., list[Any]], inputs: Sequence[Any], shapes: list[Any], name: str | None
) -> list[Any]:
    """Bind genjax's sampling primitive to `sampler(key, *inputs)`, with a batching rule of our own.

    genjax's rule leaves a batch of arguments to NumPy broadcasting, which misaligns them as soon as
    events, arguments and batches have different ranks; this one maps the sampler over the rows.
    """

    def keyless(*inputs: Any, **_: Any) -> list[Any]:
        global_counter.count += 1
        return sampler(jax.random.key(global_counter.count), *inputs)

    def keyful(key: Array, *inputs: Any, **_: Any) -> list[Any]:
        return sampler(key, *inputs)

    def batch(inputs: Any, axes: Any, *, axis_size: Any = None, ctx: Any = None, **_: Any) -> Any:
        if ctx != "modular_vmap":
            refuse()
        inputs, axes = inputs[1:], axes[1:]  # genjax puts a placeholder in front

        def rows(key: Array, *inputs: Any) -> list[Any]:
            keys = jax.random.split(key, axis_size)
            return jax.vmap(sampler, in_axes=(0, *axes), axis_size=axis_size)(keys, *inputs)

        batched = [ShapedArray((axis_size, *s.shape), s.dtype) for s in shapes]
        return _bind(rows, inputs, batched, name), (0,) * len(shapes)

    def refuse(*_: Any, **__: Any) -> NoReturn:
        # Not a stub. Without a key there is no rule for `vmap` or a gradient, and for a primitive
        # without a rule NotImplementedError is what JAX raises.
        raise NotImplementedError(unseeded)

    unseeded = (
        f"{name or 'a site'} draws without a key: wrap the function in genjax.seed first, then in "
        f"jax.jit, jax.vmap (over keys) or jax.grad. Within a generative function use `.vmap`."
    )
    primitive = PPPrimitive(
        sample_p,
        impl=keyless,
        abstract=lambda *_, **__: shapes,
        batch=batch,
        jvp=refuse,
        flat_keyful_sampler=keyful,
        lowering_exception=LoweringSamplePrimitiveToMLIRException(unseeded, {"sampler_name": name}),
    )
    return primitive.bind(*inputs, name=name)


site = keyed_distribution(
    lambda key, distribution: distribution.sample(key),
    lambda value, distribution: distribution.log_prob(value),
    name="site",
)
"""Any object with `sample(key)` and a scalar `log_prob(value)`, as one event:
`site(IndependentNormal(mean, scale)) @ "means"`."""


def _index_of(shape: tuple[int, ...]) -> Distribution:
    def draw(key: Array, weights: ArrayLike) -> Int[Array, "..."]:
        return jax.random.categorical(key, safe_log(jnp.asarray(weights)), shape=shape)

    def log_prob(value: ArrayLike, weights: ArrayLike) -> Float[Array, ""]:
        weights = jnp.asarray(weights)
        index, valid = _whole(_event("z", value, shape), weights.shape[0])
        terms = jnp.where(valid, safe_log(weights)[index], -jnp.inf)
        return jnp.where(_on_simplex(weights), terms.sum(), -jnp.inf)

    return keyed_distribution(draw, log_prob, name="component_index")


component_index = _index_of(())
"""Index of the component that produces one point: `component_index(weights) @ "z"`. Takes weights,
not logits; an index that is not one of 0, 1, ..., k - 1 is impossible."""


def _draw_component(key: Array, components: Family, z: ArrayLike) -> Float[Array, "..."]:
    index, _ = _whole(z, components.n_components)
    points = components.sample(key, index.reshape(-1))
    return points.reshape(*index.shape, *components.event_shape)


def _component_log_prob(value: ArrayLike, components: Family, z: ArrayLike) -> Float[Array, ""]:
    index, valid = _whole(z, components.n_components)
    points = _event("x", value, index.shape + components.event_shape)
    each = components.log_prob(points.reshape(-1, *components.event_shape))
    own = jnp.take_along_axis(each, index.reshape(-1, 1), axis=1).sum()
    return jnp.where(jnp.all(valid) & _defined(points), own, -jnp.inf)


component = keyed_distribution(_draw_component, _component_log_prob, name="component")
"""The point that component `z` of a family produces: `component(Normal(means, scales), z) @ "x"`;
with an array of indices, that many points as one event."""


def _marginal_of(shape: tuple[int, ...]) -> Distribution:
    def draw(key: Array, weights: ArrayLike, components: Family) -> Float[Array, "..."]:
        points, _ = _mixture(weights, components).sample(key, math.prod(shape))
        return points.reshape(*shape, *components.event_shape)

    def log_prob(value: ArrayLike, weights: ArrayLike, components: Family) -> Float[Array, ""]:
        mixture = _mixture(weights, components)
        points = _event("x", value, shape + components.event_shape)
        total = mixture.log_prob(points).sum()
        return jnp.where(_on_simplex(mixture.weights) & _defined(points), total, -jnp.inf)

    return keyed_distribution(draw, log_prob, name="marginal_mixture")


marginal_mixture = _marginal_of(())
"""One point of a mixture, its component summed out:
`marginal_mixture(weights, Normal(means, scales)) @ "x"`."""


def marginal_points(n: int) -> Distribution:
    """Make the distribution of `n` points of a mixture as one event, their components summed out.

    Example:
        >>> import jax.numpy as jnp
        >>> from gmm_jax import Normal
        >>> from gmm_jax.models import marginal_points
        >>> weights, components = jnp.array([0.4, 0.6]), Normal([350.0, 500.0], [2.0, 2.0])
        >>> log_density, _ = marginal_points(3).assess(
        ...     jnp.array([349.0, 500.0, 503.0]), weights, components
        ... )
        >>> round(float(log_density), 4)
        -8.0242
    """
    return _marginal_of((_count(n),))


def _count(n: int) -> int:
    if operator.index(n) < 1:
        raise ValueError(f"n, the number of points, must be above zero, got {n}.")
    return operator.index(n)


def _mixture(weights: ArrayLike, components: Family) -> Mixture:
    """A mixture with unchecked numbers: impossible ones have density zero, with and without jit."""
    weights = jnp.asarray(weights)
    if weights.shape != (components.n_components,):
        raise ValueError(
            f"weights has shape {weights.shape} but there are {components.n_components} components."
        )
    return rebuild(Mixture, weights=weights, components=components)


def _on_simplex(weights: Float[Array, "k"]) -> Bool[Array, ""]:
    return jnp.all(weights >= 0) & (jnp.abs(weights.sum() - 1) < 1e-3)


def _defined(points: Array) -> Bool[Array, ""]:
    """Whether there is no NaN, which families take for missing but a model cannot produce."""
    return ~jnp.any(jnp.isnan(points))


def _whole(z: ArrayLike, k: int) -> tuple[Int[Array, "..."], Bool[Array, "..."]]:
    """Indices that are safe to use, and which of `z` they are equal to."""
    z = jnp.asarray(z)
    valid = (z >= 0) & (z < k) & (z == jnp.floor(z))
    return jnp.where(valid, z, 0).astype(int), valid


def _event(name: str, value: ArrayLike, shape: tuple[int, ...]) -> Array:
    array = jnp.asarray(value)
    if array.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {array.shape}.")
    return array
