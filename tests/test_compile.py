"""Compiling with less effort where there is little to do."""

import jax.numpy as jnp
import numpy as np

from gmm_jax import _compile
from gmm_jax._compile import jit_by_size


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
