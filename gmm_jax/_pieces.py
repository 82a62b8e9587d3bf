"""Programs for little data, compiled for a CPU in a few long functions.

XLA makes a function of every few operations. On small arrays, compiling and calling them is most of
the time. It knows another way and takes it for the shortest loops [1]: one function of everything,
run by one thread. Here whole programs are cut into pieces that are compiled so.

[1] `SmallWhileLoopHoistingPass` and `ComputationKernelEmitter` of XLA's CPU compiler.
"""

import functools
import inspect
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import jax
from jax.experimental.xla_metadata import xla_metadata_call
from jax.extend.core import Jaxpr, JaxprEqn, Literal, Var, jaxprs_in_params

FEWEST, MOST = 4, 200
"""Operations in a piece. The compiler turns to several pieces at once."""
LARGEST, PRODUCTS = 2**16, 2**15
"""Numbers in an array of a piece, and multiplications in a product of matrices: more are worth
several threads, and the library that is called otherwise."""
OPERATIONS = (
    "abs add add_any and argmax argmin bitcast_convert_type broadcast_in_dim cbrt ceil clamp "
    "concatenate cond convert_element_type copy cos cosh cumlogsumexp cummax cummin cumprod cumsum "
    "custom_jvp_call custom_vjp_call digamma div dot_general dynamic_slice dynamic_update_slice eq "
    "erf erf_inv erfc exp exp2 expm1 floor gather ge gt integer_pow iota is_finite jit le lgamma "
    "log log1p logistic lt max min mul ne neg nextafter not or pad pow random_bits random_fold_in "
    "random_seed random_split random_unwrap random_wrap reduce_and reduce_max reduce_min reduce_or "
    "reduce_prod reduce_sum rem reshape rev round rsqrt scan select_n shift_left "
    "shift_right_arithmetic shift_right_logical sign sin sinh slice sqrt square squeeze stack "
    "stop_gradient sub tan tanh threefry2x32 transpose unstack while xor"
)
"""What a piece may be made of; all else, LAPACK's functions among them, goes between pieces."""
TOGETHER = frozenset(OPERATIONS.split())
CALLS = {"jit": "jaxpr", "custom_jvp_call": "call_jaxpr", "custom_vjp_call": "call_jaxpr"}
LOOPS = {"scan": "jaxpr", "while": "body_jaxpr"}
"""Operations that can be cut, and where they keep what they are made of."""


@functools.cache
def compiler_options() -> dict[str, Any]:
    """Options for `jax.jit` without which `as_one` would be given large sums as library calls.

    Empty where the processor, or the version of the compiler, is another.
    """
    options = {"xla_cpu_experimental_ynn_fusion_type": ""}
    if jax.default_backend() != "cpu":
        return {}
    try:
        jax.jit(lambda x: x, compiler_options=options)(0.0)
    except jax.errors.JaxRuntimeError:
        return {}
    return options


def as_one(function: Callable[..., Any]) -> Callable[..., Any]:
    """Have the compiler for CPUs make one piece of code of a function of arrays.

    Otherwise it calls each of a few operations, on two threads where it finds two that are
    independent, which costs more than what they do. `function` must be made of
    `OPERATIONS`, need everything that it is given, and be compiled with `compiler_options`.
    """
    if not compiler_options():
        return function
    return xla_metadata_call(function, xla_cpu_small_call=True, inlineable=False)


def in_pieces(function: Callable[..., Any], static_argnames: Sequence[str]) -> Callable[..., Any]:
    """The same function for `jax.jit` with `compiler_options`: pieces are compiled as one each.

    Args:
        function: Pure.
        static_argnames: Its arguments that are not arrays.
    """
    if not compiler_options():
        return function
    signature = inspect.signature(function)

    @functools.wraps(function)
    def call(*args: Any, **named: Any) -> Any:
        given = signature.bind(*args, **named).arguments
        static = {name: given.pop(name) for name in given.keys() & set(static_argnames)}
        trace = jax.make_jaxpr(functools.partial(function, **static), return_shape=True)
        program, shapes = trace(**given)
        results = _by_pieces(program, jax.tree.leaves(given))
        return jax.tree.unflatten(jax.tree.structure(shapes), results)

    return call


def _by_pieces(program: Jaxpr, inputs: Sequence[Any]) -> list[Any]:
    """What a program computes."""
    values = _known(program, inputs)
    pieces = list(_cut(_needed(program)))
    last = {
        v: i for i, piece in enumerate(pieces) for step in piece for v in _variables(step.invars)
    }
    last |= dict.fromkeys(_variables(program.outvars), len(pieces))
    for i, piece in enumerate(pieces):
        if not _joins(piece[0]):
            _compute(piece[0], values, _by_pieces)
            continue
        taken = dict.fromkeys(v for step in piece for v in _variables(step.invars) if v in values)
        given = [v for step in piece for v in step.outvars if last.get(v, -1) > i]
        values |= _together(piece, {v: values[v] for v in taken}, given)
    return _values(program.outvars, values)


def _whole(program: Jaxpr, inputs: Sequence[Any]) -> list[Any]:
    """What a program computes, within a piece."""
    values = _known(program, inputs)
    for step in program.eqns:
        _compute(step, values, _whole)
    return _values(program.outvars, values)


def _together(
    piece: Sequence[JaxprEqn], values: dict[Var, Any], wanted: Sequence[Var]
) -> dict[Var, Any]:
    """Compute a piece as one."""

    def function(inputs):
        own = dict(zip(values, inputs, strict=True))
        for step in piece:
            _compute(step, own, _whole)
        return [own[v] for v in wanted], inputs

    # XLA ends the process where it finds that a piece can do without one of its inputs. So all are
    # results too, which nobody may leave out, and none is known to be a constant.
    one = function if sum(map(_length, piece)) < FEWEST else as_one(function)
    results, _ = jax.lax.optimization_barrier(
        one(jax.lax.optimization_barrier(list(values.values())))
    )
    return dict(zip(wanted, results, strict=True))


def _compute(step: JaxprEqn, values: dict[Var, Any], run: Callable[..., list[Any]]) -> None:
    """Add the results of a step; what a function or loop is made of goes to `run`."""
    name, parameters, inputs = step.primitive.name, dict(step.params), _values(step.invars, values)
    if name in CALLS:
        values |= zip(step.outvars, run(parameters[CALLS[name]], inputs), strict=True)
        return
    if name in LOOPS and run is _by_pieces:
        body = parameters[LOOPS[name]]
        parameters[LOOPS[name]] = jax.make_jaxpr(lambda *inputs: run(body, inputs))(*body.in_avals)
    with step.ctx.manager:
        results = step.primitive.bind(*inputs, **parameters)
    results = results if step.primitive.multiple_results else [results]
    values |= zip(step.outvars, results, strict=True)


def _needed(program: Jaxpr) -> list[JaxprEqn]:
    """The steps that the result depends on."""
    needed, steps = set(_variables(program.outvars)), []
    for step in reversed(program.eqns):
        if step.effects or not needed.isdisjoint(step.outvars):
            needed.update(_variables(step.invars))
            steps.append(step)
    return steps[::-1]


def _cut(steps: Sequence[JaxprEqn]) -> Iterator[list[JaxprEqn]]:
    """Divide consecutive steps into pieces; what cannot join one stands alone."""
    piece, length = [], 0
    for step in steps:
        joins, more = _joins(step), _length(step)
        if piece and not (joins and length + more <= MOST):
            yield piece
            piece, length = [], 0
        if joins:
            piece.append(step)
            length += more
        else:
            yield [step]
    if piece:
        yield piece


def _joins(step: JaxprEqn) -> bool:
    """Whether a step can be in a piece with others."""
    return _length(step) <= MOST and all(map(_suits, _within(step)))


def _suits(step: JaxprEqn) -> bool:
    """Whether an operation, but for what it is made of, is one for pieces."""
    size = max((getattr(v.aval, "size", 0) for v in step.outvars), default=0)
    products = 0
    if step.primitive.name == "dot_general":
        (contracted, _), _ = step.params["dimension_numbers"]
        shape: Any = getattr(step.invars[0].aval, "shape", ())
        products = size * math.prod(shape[i] for i in contracted)
    return step.primitive.name in TOGETHER and size <= LARGEST and products <= PRODUCTS


def _length(step: JaxprEqn) -> int:
    return sum(1 for _ in _within(step))


def _within(step: JaxprEqn) -> Iterator[JaxprEqn]:
    """It, and the steps that it is made of."""
    yield step
    for inner in jaxprs_in_params(step.params):
        for own in inner.eqns:
            yield from _within(own)


def _variables(atoms: Iterable[Any]) -> list[Var]:
    return [v for v in atoms if not isinstance(v, Literal)]


def _known(program: Jaxpr, inputs: Sequence[Any]) -> dict[Var, Any]:
    names = [*program.constvars, *program.invars]
    return dict(zip(names, [*program.consts, *inputs], strict=True))


def _values(atoms: Iterable[Any], values: dict[Var, Any]) -> list[Any]:
    return [atom.val if isinstance(atom, Literal) else values[atom] for atom in atoms]
