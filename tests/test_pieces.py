"""Programs cut into pieces that the CPU's compiler makes one function of each."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gmm_jax import _pieces

POINTS = jnp.linspace(-2, 3, 24).reshape(6, 4)
KEY = jax.random.key(0)


def straight(x):
    weights = jax.nn.softmax(x, -1)
    return {"spread": jnp.sqrt((weights * x**2).sum(-1)), "largest": jnp.argmax(x, 0)}


def loop(x):
    def step(carry, key):
        noise = jax.random.normal(key, x.shape)
        carry = jnp.where(noise > 1, jnp.log1p(jnp.abs(carry)), carry - noise)
        return carry, carry.max()

    return jax.lax.scan(step, x, jax.random.split(KEY, 5))


def until(x):
    return jax.lax.while_loop(lambda x: x.sum() < 50, lambda x: jnp.exp(x / 9) + x, x)


def library(x):
    """A Cholesky factor, a sort and a scatter, in a loop among what pieces are made of."""

    def step(_, x):
        square = x.T @ x + jnp.eye(4)
        x = jnp.sort(x @ jnp.linalg.cholesky(square), 0) / jnp.trace(square)
        return x.at[jnp.array([1, 1, 3])].add(jnp.tanh(x[:3]))

    return jax.lax.fori_loop(0, 3, step, x)


def branches(x):
    return jax.lax.cond(x.sum() > 0, lambda x: jnp.sin(x), lambda x: jnp.cos(x), x)


def once(x):
    """The compiler finds out that the outer loop runs once, and what its counter is."""

    def step(i, x):
        start = jnp.where(x + i > x, x + i, x - 1)

        def inner(j, x):
            return jnp.sort(jnp.tanh(x + j) * jnp.exp(-x) + start)

        return jnp.clip(jax.lax.fori_loop(0, 3, inner, start), -9, 9)

    return jax.lax.fori_loop(0, 1, step, x)


def nothing(x):
    return x, 3.0, jnp.zeros(2)


def own_gradient(x):
    @jax.custom_jvp
    def doubled(x):
        return jnp.sinh(x) * 2

    doubled.defjvp(lambda primals, tangents: (doubled(*primals), tangents[0]))
    return jax.grad(lambda x: doubled(x).sum())(x) + doubled(x)


PROGRAMS = straight, loop, until, library, branches, once, nothing, own_gradient


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("most", [5, 12, 200])
def test_pieces_compute_what_the_whole_does(program, most, monkeypatch):
    monkeypatch.setattr(_pieces, "MOST", most)
    options = _pieces.compiler_options()
    cut = jax.jit(_pieces.in_pieces(program, ()), compiler_options=options)(POINTS)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-6), cut, program(POINTS))


def test_arguments_may_be_static_or_go_by_name():
    def power(x, exponent, *, shift=0.0):
        return x**exponent + shift

    cut = jax.jit(
        _pieces.in_pieces(power, ("exponent",)),
        static_argnames="exponent",
        compiler_options=_pieces.compiler_options(),
    )
    np.testing.assert_allclose(cut(POINTS, 3, shift=1.0), POINTS**3 + 1, rtol=1e-6)
    np.testing.assert_allclose(cut(exponent=2, x=POINTS), POINTS**2, rtol=1e-6)


def test_where_the_compiler_knows_no_pieces_the_function_stays(monkeypatch):
    monkeypatch.setattr(_pieces, "compiler_options", dict)
    assert _pieces.in_pieces(straight, ()) is straight
    assert _pieces.as_one(straight) is straight


def test_a_long_loop_is_cut_and_a_short_one_is_not(monkeypatch):
    def count(program, most):
        monkeypatch.setattr(_pieces, "MOST", most)
        return lowered(program, monkeypatch).count("xla_cpu_small_call")

    assert count(loop, 200) == 1
    assert count(loop, 5) == 3
    assert count(library, 200) == 3


def test_a_piece_gives_back_all_that_it_takes(monkeypatch):
    """Else the compiler would end the process where it finds that one of them is not needed."""
    monkeypatch.setattr(_pieces, "MOST", 12)
    form = r"func private @xla_metadata_call\w*\(([^\n]*)\) ->.*?\n    return ([^:]*)"
    pieces = re.findall(form, lowered(library, monkeypatch), re.DOTALL)
    taken = [set(re.findall(r"%arg\d+", takes)) for takes, _ in pieces]
    assert sum(map(len, taken)) > 3
    for arguments, (_, gives) in zip(taken, pieces, strict=True):
        assert arguments <= set(re.findall(r"%arg\d+", gives))


def lowered(program, monkeypatch):
    """What the compiler for CPUs is given, on whatever processor this runs."""
    monkeypatch.setattr(_pieces, "compiler_options", lambda: {"for a CPU": True})
    return jax.jit(_pieces.in_pieces(program, ())).lower(POINTS).as_text()
