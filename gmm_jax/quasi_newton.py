"""Where EM is slow: L-BFGS on the likelihood itself, in parameters that may take any value.

EM creeps where components overlap, since each step moves only as far as what is unknown allows.
The gradient of the log likelihood costs about as much as an EM step, and a quasi-Newton method
needs tens of them where EM needs thousands [1].

[1] Jamshidian and Jennrich (1997), "Acceleration of the EM algorithm by using quasi-Newton
    methods".
"""

from typing import Any, NamedTuple

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from gmm_jax._numerics import log_sum_exp, safe_log
from gmm_jax._pytree import rebuild
from gmm_jax.families.kinds import together
from gmm_jax.families.limits import Limits
from gmm_jax.mixture import Mixture
from gmm_jax.table import LARGE, Table, log_joint

MEMORY = 20
"""Steps from which L-BFGS learns the curvature."""
LEAST = 1e-13
"""Gain per point, relative to the objective, below which it stops."""


class Summit(NamedTuple):
    """Where a climb ended."""

    mixture: Mixture
    objective: float
    """Per unit of sample weight."""
    converged: bool
    evaluations: int


def climb(mixture: Mixture, table: Table, prior: Any, limits: Limits, most: int) -> Summit:
    """Climb from a mixture to the top of the objective that EM climbs.

    It computes in float64, whatever the table's precision: near the top of a flat objective
    float32 cannot tell up from down.

    Args:
        mixture: Where to start, in the frame of the table.
        table: The data.
        prior: Gives `log_prob(mixture)`.
        limits: What is held and shared.
        most: Most evaluations.
    """
    from scipy.optimize import minimize

    with jax.enable_x64(True):
        exact = jax.tree.map(lambda a: np.asarray(a, np.float64), (mixture, prior))
        start = np.asarray(jax.flatten_util.ravel_pytree(unbound(exact[0]))[0])
        free = np.isfinite(start)

        def whole(part: np.ndarray) -> np.ndarray:
            numbers = start.copy()
            numbers[free] = part
            return numbers

        def loss(part: np.ndarray) -> tuple[float, np.ndarray]:
            value, gradient = _evaluate(whole(part), exact[0], table, exact[1], limits)
            value, gradient = float(value), np.asarray(gradient)[free]
            if not np.isfinite(value) or not np.all(np.isfinite(gradient)):
                return np.inf, np.zeros_like(part)
            return -value, -gradient

        options = {"maxcor": MEMORY, "maxfun": most, "maxiter": most, "ftol": LEAST, "gtol": 1e-9}
        found = minimize(loss, start[free], jac=True, method="L-BFGS-B", options=options)
        top = jax.device_get(bound(whole(found.x), exact[0], limits))
    dtype = np.asarray(mixture.weights).dtype
    top = jax.tree.map(lambda a: a.astype(dtype), top)
    return Summit(top, -float(found.fun), found.status == 0, int(found.nfev))


def unbound(mixture: Mixture) -> Mixture:
    """Numbers that may take any value, weights as logs."""
    components = mixture.components.unconstrained()
    weights = safe_log(jnp.asarray(mixture.weights))
    return rebuild(Mixture, weights=weights, components=components)


@jax.jit
def bound(flat: Array, mixture: Mixture, limits: Limits) -> Mixture:
    """The mixture that these numbers stand for; what is held comes from `mixture`."""
    _, unflatten = jax.flatten_util.ravel_pytree(unbound(mixture))
    numbers = together(unflatten(flat), limits.sharing)
    held = limits.held
    left = 1 - jnp.where(held.weights, mixture.weights, 0).sum()
    relative = jnp.where(held.weights, -jnp.inf, numbers.weights)
    weights = jnp.where(held.weights, mixture.weights, left * jax.nn.softmax(relative))
    moved = numbers.components.constrained()
    components = jax.tree.map(jnp.where, held.components, mixture.components, moved)
    return rebuild(Mixture, weights=weights, components=components)


@jax.jit
def _evaluate(
    flat: Array, mixture: Mixture, table: Table, prior: Any, limits: Limits
) -> tuple[Float[Array, ""], Float[Array, "p"]]:
    """The objective per unit of sample weight, and its gradient, block by block."""

    def gradient_of(block_total):
        def over_block(points, weight):
            points, weight = points.astype(flat.dtype), weight.astype(flat.dtype)
            return jax.value_and_grad(
                lambda flat: block_total(bound(flat, mixture, limits), points, weight)
            )(flat)

        return lambda: table.summed(over_block)

    now = bound(flat, mixture, limits)
    directly = gradient_of(lambda *block: _compared(*block, table.incomplete))
    small = table.sample_weight.size < LARGE
    if small or table.incomplete or not hasattr(now.components, "features"):
        value, gradient = directly()
    else:
        suffice: Any = now.components
        value, gradient = jax.lax.cond(
            suffice.features_suffice(), gradient_of(_by_features), directly
        )
    own, slope = jax.value_and_grad(lambda flat: prior.log_prob(bound(flat, mixture, limits)))(flat)
    size = table.sample_weight.sum()
    return (value + own) / size, (gradient + slope) / size


def _compared(mixture: Mixture, points: Array, weight: Array, incomplete: bool) -> Array:
    """Log likelihood of a block, from differences between points and means."""
    log_prob = log_sum_exp(log_joint(mixture, points, incomplete), -1)
    return jnp.sum(jnp.where(weight > 0, weight * log_prob, 0))


def _by_features(mixture: Mixture, points: Array, weight: Array) -> Array:
    """Log likelihood of a block, from a product with the features of the points."""
    components: Any = mixture.components
    coefficients, constants = components.natural()
    features = jax.lax.stop_gradient(components.features(points))
    each = jnp.matmul(coefficients, features, precision="highest")
    each = each + (constants + safe_log(mixture.weights))[:, None]
    return jnp.sum(weight * log_sum_exp(each, 0))
