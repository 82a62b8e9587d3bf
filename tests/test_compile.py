"""Compiling with less effort where there is little to do."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gmm_jax
from gmm_jax import _compile
from gmm_jax._compile import at_once, jit_by_size


def test_small_and_large_calls_agree_and_are_compiled_once_each(monkeypatch):
    monkeypatch.setattr(_compile, "LITTLE", 10)
    traced = []

    def double(x, *, plus):
        traced.append(x.shape)
        return 2 * x + plus

    call = jit_by_size(double, lambda x, *, plus: x.size, static_argnames=("plus",))
    for size in (3, 30, 3, 30):
        np.testing.assert_allclose(call(jnp.arange(size), plus=1), 2 * np.arange(size) + 1)
    assert traced == [(3,), (30,)]
    assert call.__name__ == "double"


def test_programs_compiled_at_once_are_not_compiled_again(compilations):
    def first_of_two(x):
        return {"double": 2 * x}

    def second_of_two(doubled, *, plus):
        return doubled["double"] + plus

    first = jit_by_size(first_of_two, lambda x: x.size)
    second = jax.jit(second_of_two, static_argnames=("plus",))
    with at_once() as prepare:
        shapes = prepare(first, jax.ShapeDtypeStruct((7,), np.float32))
        prepare(second, shapes, plus=3)
    assert shapes["double"].shape == (7,)
    np.testing.assert_array_equal(second(first(jnp.ones(7)), plus=3), np.full(7, 5))
    assert (compilations["first_of_two"], compilations["second_of_two"]) == (1, 1)


@pytest.mark.parametrize(
    ("method", "programs"),
    [
        ("gibbs", ["_starts", "advance"]),
        ("importance", ["informed_conditionals", "draw", "weigh", "log_densities", "_figures"]),
    ],
)
def test_what_a_fit_compiles_at_once_is_what_it_runs(method, programs, compilations):
    data = np.r_[np.arange(17), 100 + np.arange(14)]  # so many points no other test has
    before = compilations.copy()
    gmm_jax.fit(data, 2, prior="default", method=method, n_draws=1700)
    assert [compilations[name] - before[name] for name in programs] == [1] * len(programs)
