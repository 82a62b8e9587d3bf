"""Changes of variables: they undo themselves, and their Jacobians are those of autodiff."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gmm_jax.transforms import TRANSFORMS, affine_of

FREE = np.random.default_rng(0).normal(size=6)


def independent(word, value):
    """The entries that determine the others."""
    if word == "simplex":
        return value[..., :-1]
    if word == "covariance":
        return value[..., *np.tril_indices(value.shape[-1])]
    return value


@pytest.mark.parametrize("word", TRANSFORMS)
def test_jacobians_are_those_of_autodiff(word, x64):
    transform = TRANSFORMS[word]
    free = jnp.asarray(FREE)
    jacobian = jax.jacobian(lambda u: independent(word, transform.value(u)))(free)
    assert transform.log_jacobian(free).sum() == pytest.approx(np.linalg.slogdet(jacobian)[1])
    np.testing.assert_allclose(transform.free(transform.value(free)), free, rtol=1e-9)


@pytest.mark.parametrize(
    ("word", "holds"),
    [
        ("positive", lambda v: np.all(v > 0)),
        ("unit", lambda v: np.all((v > 0) & (v < 1))),
        ("ordered", lambda v: np.all(np.diff(v) > 0)),
        ("simplex", lambda v: v.shape == (2, 4) and np.allclose(v.sum(-1), 1) and np.all(v > 0)),
        ("covariance", lambda v: v.shape == (2, 2, 2) and np.all(np.linalg.eigvalsh(v) > 0)),
    ],
)
def test_values_are_what_the_word_says_also_in_batches(word, holds):
    transform = TRANSFORMS[word]
    free = jnp.asarray(FREE.reshape(2, 3))
    assert holds(np.asarray(transform.value(free)))
    each = transform.log_jacobian(free)
    assert each.shape == ((2,) if transform.event_axes else (2, 3))


def test_shares_that_round_to_an_edge_are_moved_inside():
    shares = np.asarray(TRANSFORMS["unit"].value(jnp.array([-200.0, 17.0, 40.0])))
    assert shares.dtype == np.float32
    assert np.all((shares > 0) & (shares < 1))
    np.testing.assert_allclose(shares, [0, 1, 1], atol=1e-7)


def test_a_moved_and_stretched_transform_has_its_own_jacobian(x64):
    moved = affine_of(TRANSFORMS["unit"], jnp.asarray(-2.0), jnp.asarray(5.0))
    free = jnp.asarray(FREE)
    assert np.all((moved.value(free) > -2) & (moved.value(free) < 3))
    slopes = jnp.diagonal(jax.jacobian(moved.value)(free))
    np.testing.assert_allclose(moved.log_jacobian(free), jnp.log(slopes))
    np.testing.assert_allclose(moved.free(moved.value(free)), free)
