"""Sums over, and draws of, the k! ways to match components with labels.

Over all permutations p, sum_p prod_r exp(M[r, p(r)]) is a permanent. Adding one row at a time over
subsets of columns costs k 2^(k-1) additions instead of k k!, and nothing cancels.
"""

import functools
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int

from gmm_jax._numerics import categorical, log_sum_exp


def log_permanent(log_matrix: Float[Array, "... k k"]) -> Float[Array, "..."]:
    """Log of the sum over permutations p of exp sum_r M[r, p(r)]."""
    return _partial_sums(log_matrix)[-1][0]


def sample_permutation(key: Array, log_matrix: Float[Array, "... k k"]) -> Int[Array, "... k"]:
    """Draw a permutation p with probability proportional to exp sum_r M[r, p(r)]."""
    k = log_matrix.shape[-1]
    sums = [jnp.moveaxis(a, 0, -1) for a in _partial_sums(log_matrix)]
    uniforms = jax.random.uniform(key, log_matrix.shape[:-1], log_matrix.dtype)
    subset = jnp.zeros(log_matrix.shape[:-2], int)
    chosen = []
    for row in reversed(range(k)):
        columns, previous = (jnp.asarray(table)[subset] for table in _transitions(k)[row])
        scores = jnp.take_along_axis(sums[row], previous, -1)
        scores = scores + jnp.take_along_axis(log_matrix[..., row, :], columns, -1)
        choice = categorical(uniforms[..., row], scores)[..., None]
        chosen.append(jnp.take_along_axis(columns, choice, -1)[..., 0])
        subset = jnp.take_along_axis(previous, choice, -1)[..., 0]
    return jnp.stack(chosen[::-1], -1)


def permute(mixture: Any, permutation: Int[Array, "k"]) -> Any:
    """Give component `permutation[i]` of a mixture the label i."""
    return jax.tree.map(lambda a: a[permutation], mixture)


def _partial_sums(log_matrix: Float[Array, "... k k"]) -> list[Array]:
    """For r = 0 .. k: log sums over matchings of the first r rows with each r columns.

    Subsets come first: picking some of them then copies long rows. The barrier keeps the compiler
    from computing the matrix anew for each.
    """
    rows = jnp.moveaxis(jax.lax.optimization_barrier(log_matrix), (-2, -1), (0, 1))
    sums = [jnp.zeros((1, *rows.shape[2:]), rows.dtype)]
    for row, (columns, previous) in zip(rows, _transitions(len(rows)), strict=True):
        sums.append(log_sum_exp(sums[-1][previous] + row[columns], 1))
    return sums


@functools.cache
def _transitions(k: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each row r: the subsets of r + 1 columns, as (column taken, subset that is left)."""
    steps = []
    rank = {frozenset(): 0}
    for row in range(k):
        subsets = [frozenset(s) for s in itertools.combinations(range(k), row + 1)]
        # 32 bits, whatever JAX is set to: it may remember these arrays from another precision.
        columns = np.array([sorted(s) for s in subsets], np.int32)
        previous = np.array([[rank[s - {c}] for c in sorted(s)] for s in subsets], np.int32)
        rank = {s: i for i, s in enumerate(subsets)}
        steps.append((columns, previous))
    return steps
