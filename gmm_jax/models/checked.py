"""Generative functions that refuse addresses, shapes and selections that make no sense."""

import difflib
import threading
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, NoReturn

import jax
import jax.numpy as jnp
import numpy as np
from genjax import GFI, Pytree, Selection, Tr, Trace, get_choices
from genjax.core import ComplSel, DictSel, InSel, OrSel, StrSel, TupleSel, handler_stack
from jax import Array

from gmm_jax._pytree import is_concrete

type Path = tuple[str, ...]

# genjax keeps the generative functions that are running in one global list.
_TRACING = threading.RLock()


class AddressError(KeyError, ValueError):
    """An address that the generative function does not have, or one that is missing."""

    __str__ = Exception.__str__


@Pytree.dataclass
class Checked(GFI):
    """A generative function with its addresses, shapes and selections checked; see `checked`."""

    gen_fn: GFI

    def simulate(self, *args: Any, **kwargs: Any) -> Tr:
        """Draw all choices."""
        with _TRACING:
            return self._own(self.gen_fn.simulate(*args, **kwargs), args, kwargs)

    def generate(self, x: Any, *args: Any, **kwargs: Any) -> tuple[Tr, Array]:
        """Draw the choices that `x` leaves open; the weight is the log density of `x` given them.

        Raises:
            AddressError: `x` has an address that does not exist.
            ValueError: a value in `x` has the wrong shape; all choices under a `.vmap` that has no
                `axis_size` are left open.
        """
        with _TRACING:
            x = None if x is None else conform(x, self.expected(*args, **kwargs))
            with _sizes_asked():
                trace, weight = self.gen_fn.generate(x, *args, **kwargs)
        return self._own(trace, args, kwargs), _one_number(weight)

    def assess(self, x: Any, *args: Any, **kwargs: Any) -> tuple[Array, Any]:
        """Log density of a complete set of choices, and what the function returns given them.

        Raises:
            AddressError: `x` has an address that does not exist, or lacks one.
            ValueError: a value in `x` has the wrong shape.
        """
        with _TRACING:
            expected = self.expected(*args, **kwargs)
            x = conform(x, expected)
            missing = [path for path in paths(expected) if path not in set(paths(x))]
            if missing:
                raise AddressError(
                    f"assess needs a value at every address; missing: {listed(missing)}."
                )
            log_density, value = self.gen_fn.assess(x, *args, **kwargs)
        return _one_number(log_density), value

    def update(self, tr: Trace, x_: Any, *args: Any, **kwargs: Any) -> tuple[Tr, Array, Any]:
        """Replace choices; the weight is by how much the log density grows.

        Raises:
            AddressError: `x_` has an address that does not exist.
            ValueError: a value in `x_` has the wrong shape.
        """
        with _TRACING:
            x_ = None if x_ is None else conform(x_, self.expected(*args, **kwargs))
            trace, weight, old = self.gen_fn.update(_inner(tr), x_, *args, **kwargs)
        return self._own(trace, args, kwargs), _one_number(weight), old

    def regenerate(
        self, tr: Trace, s: Selection, *args: Any, **kwargs: Any
    ) -> tuple[Tr, Array, Any]:
        """Draw the selected choices anew.

        Raises:
            AddressError: the selection names an address that does not exist, or selects nothing.
        """
        with _TRACING:
            choices = tr.get_choices()
            for path in _named(s):
                _look_up(path, choices)
            if not handler_stack and self.filter(choices, s)[0] is None:
                raise AddressError(
                    f"the selection selects nothing; the addresses are {listed(paths(choices))}."
                )
            trace, weight, old = self.gen_fn.regenerate(_inner(tr), s, *args, **kwargs)
        return self._own(trace, args, kwargs), _one_number(weight), old

    def merge(self, x: Any, x_: Any, check: Any = None) -> tuple[Any, Any]:
        """Join two sets of choices; the second wins."""
        return self.gen_fn.merge(x, x_, check)

    def filter(self, x: Any, selection: Selection) -> tuple[Any, Any]:
        """Divide choices into those that `regenerate` would draw anew, and the others."""
        if not isinstance(x, dict):
            return (x, None) if () in selection else (None, x)
        parts = {a: self.filter(value, selection.match(a)[1]) for a, value in x.items()}
        chosen, others = (
            {a: part[i] for a, part in parts.items() if part[i] is not None} for i in (0, 1)
        )
        return chosen or None, others or None

    def expected(self, *args: Any, **kwargs: Any) -> Any:
        """Shapes and dtypes of all choices, by address, without computing any."""
        with _TRACING:
            if all(isinstance(leaf, Array) for leaf in jax.tree.leaves((args, kwargs))):
                return jax.eval_shape(_simulated, self.gen_fn, args, kwargs)
            # Python numbers may shape the model: keep them as they are, and forgo jit's cache.
            return jax.eval_shape(lambda: _simulated(self.gen_fn, args, kwargs))

    def _own(self, trace: Trace, args: tuple, kwargs: dict) -> Tr:
        return Tr(self, (args, kwargs), trace, trace.get_retval(), trace.get_score())


def checked(gen_fn: GFI) -> Checked:
    """Make a generative function refuse what genjax would let pass in silence.

    An address that does not exist (in `generate`, `assess`, `update` and the selection of
    `regenerate`) is an error that names the nearest one; so is a value of the wrong shape, a
    selection of nothing, and a log density that is not one number. Numbers may come as lists or
    integers. Use it as a decorator above `@gen`; the result nests in other generative functions
    and goes through seed, jit and vmap as before, and may be traced by several threads at a time.
    The set of addresses must not depend on the values drawn.

    Raises:
        TypeError: `gen_fn` is not a generative function.

    Example:
        >>> from genjax import gen, normal
        >>> from gmm_jax.models import checked
        >>> @checked
        ... @gen
        ... def weighing():
        ...     mean = normal(400.0, 50.0) @ "mean"
        ...     return normal(mean, 2.0) @ "x"
        >>> weighing.assess({"maen": 400.0, "x": 401.0})  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        gmm_jax.models.checked.AddressError: there is no address 'maen'; the nearest is 'mean'. ...
    """
    if not isinstance(gen_fn, GFI):
        raise TypeError(
            f"checked takes a generative function, got {type(gen_fn).__name__}: "
            f"write @checked above @gen."
        )
    return gen_fn if isinstance(gen_fn, Checked) else Checked(gen_fn)


def conform(given: Any, expected: Any) -> Any:
    """Turn the values of `given` into arrays, with all addresses and shapes as in `expected`.

    None stands for "not given" and is left out.

    Raises:
        AddressError: an address that `expected` does not have.
        ValueError: a value of another shape.
        TypeError: a value that is not a number.
    """

    def walk(given: Any, expected: Any, path: Path) -> Any:
        if not isinstance(expected, dict):
            if isinstance(given, Mapping) and isinstance(expected, jax.ShapeDtypeStruct):
                _no_such((*path, *(list(given) or ["{}"])), known)
            return jax.tree.map(partial(_shaped, path), expected, given)
        if not isinstance(given, Mapping):
            inside = listed(path + inner for inner in paths(expected))
            where = f"the value at {_written(path)}" if path else "the choices"
            raise AddressError(f"{where} must be a dict with addresses among {inside}.")
        for address in given:
            if address not in expected:
                _no_such((*path, address), known)
        return {
            address: walk(value, expected[address], (*path, address))
            for address, value in given.items()
            if value is not None
        }

    known = paths(expected)
    return walk(get_choices(given), expected, ())


def finite(known: Any) -> Any:
    """Check that known choices have density: no model here takes NaN for a missing value.

    Raises:
        ValueError: NaN or infinite entries, unless a tracer hides them.
    """
    for path, value in jax.tree.leaves_with_path(known):
        if is_concrete(value) and not (sound := np.isfinite(value)).all():
            name = jax.tree_util.keystr(path, simple=True, separator="/")
            first = np.argwhere(~sound)[0].tolist()
            raise ValueError(
                f"the value at {name!r} has {(~sound).sum()} NaN or infinite entries"
                f"{f', the first at {first}' if first else ''}: leave them out, here and in the "
                f"model."
            )
    return known


def _shaped(path: Path, wanted: jax.ShapeDtypeStruct, value: Any) -> Array:
    try:
        array = jnp.asarray(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise TypeError(
            f"the value at {_written(path)} must be numbers, got {value!r:.60}."
        ) from error
    if array.shape != wanted.shape:
        raise ValueError(
            f"the value at {_written(path)} must have shape {wanted.shape}, got {array.shape}."
        )
    real = jnp.issubdtype(wanted.dtype, jnp.floating)
    cast = real and not jnp.issubdtype(array.dtype, jnp.floating)
    return array.astype(wanted.dtype) if cast else array


@contextmanager
def _sizes_asked() -> Iterator[None]:
    """Explain the IndexError of genjax, whose `.vmap` takes its size from choices that are open."""
    try:
        yield
    except IndexError as error:
        if traceback.extract_tb(error.__traceback__)[-1].name != "find_axis_size":
            raise
        raise ValueError(
            "genjax can't tell the size of a `.vmap` whose choices are all left open: write it, as "
            "in `normal.vmap(in_axes=(0, None), axis_size=3)`."
        ) from error


def _simulated(gen_fn: GFI, args: tuple, kwargs: dict) -> Any:
    return get_choices(gen_fn.simulate(*args, **kwargs))


def _inner(trace: Trace) -> Any:
    """The trace of the unchecked function within a trace of the checked one."""
    choices = trace._choices if isinstance(trace, Tr) else None
    return choices if isinstance(choices, Trace) else trace


def _one_number(log_density: Any) -> Array:
    array = jnp.asarray(log_density)
    if array.shape:
        raise ValueError(
            f"the log density has shape {array.shape}, not that of one number: a site has a vector "
            f"for its value and a log density for each entry, and genjax adds all other sites to "
            f"every entry. Use `.vmap`, or `site` with a distribution of the whole vector."
        )
    return array


def paths(choices: Any) -> list[Path]:
    """Every address of a set of choices, from the top."""
    if not isinstance(choices, dict):
        return [()]
    return [(a, *inner) for a, value in choices.items() for inner in paths(value)]


def _named(selection: Any) -> Iterator[Path]:
    """Every address that a selection mentions."""
    match selection:
        case StrSel():
            yield (selection.s.value,)
        case TupleSel():
            yield selection.t.value
        case DictSel():
            for address, inner in selection.d.items():
                yield from [(address, *path) for path in _named(inner)] or [(address,)]
        case Selection() | ComplSel():
            yield from _named(selection.s)
        case InSel() | OrSel():
            yield from [*_named(selection.s1), *_named(selection.s2)]


def _look_up(path: Path, choices: Any) -> None:
    here = choices
    for address in path:
        if not isinstance(here, dict) or address not in here:
            _no_such(path, paths(choices))
        here = here[address]


def _no_such(path: Path, known: list[Path]) -> NoReturn:
    def likeness(other: Path) -> float:
        pairs = [(_joined(path), _joined(other)), (str(path[-1]), str(other[-1]))]
        return max(difflib.SequenceMatcher(None, a, b).ratio() for a, b in pairs)

    if not any(known):
        raise AddressError(f"there is no address {_written(path)}: the one choice has none.")
    raise AddressError(
        f"there is no address {_written(path)}; the nearest is "
        f"{_written(max(known, key=likeness))}. The addresses are {listed(known)}."
    )


def _joined(path: Path) -> str:
    return "/".join(str(address) for address in path)


def _written(path: Path) -> str:
    return repr(_joined(path))


def listed(paths: Iterable[Path]) -> str:
    """Write addresses as they are written in messages."""
    return ", ".join(_written(path) for path in paths)
