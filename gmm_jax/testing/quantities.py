"""What both checks share: numbers by which mixtures and data are compared, and how to compile.

`quantities` are functions of a mixture and data that return named scalars.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from gmm_jax._compile import effort
from gmm_jax.families import kinds
from gmm_jax.mixture import Mixture

LEVEL = 1e-3
"""How often what is right is rejected."""


def every_parameter(mixture: Mixture, data: Float[Array, "n ..."]) -> dict[str, Array]:
    """Every parameter under its label, and what `label_free` and the data alone say."""
    leaves = {"weights": mixture.weights, **kinds.named(mixture.components)}
    own = {
        f"{name}[{', '.join(map(str, i))}]": leaf[i]
        for name, leaf in leaves.items()
        for i in np.ndindex(leaf.shape)
    }
    columns = data.reshape(len(data), -1).T
    means = {f"data mean[{i}]": column.mean() for i, column in enumerate(columns)}
    spreads = {f"data spread[{i}]": column.std() for i, column in enumerate(columns)}
    return own | label_free(mixture, data) | means | spreads


def label_free(mixture: Mixture, data: Float[Array, "n ..."]) -> dict[str, Array]:
    """Log likelihood, extreme weights, and leading parameters in ascending order."""
    leading = jnp.sort(jnp.asarray(mixture.components.order))
    values = {
        "log likelihood": mixture.log_prob(data).sum(),
        "largest weight": mixture.weights.max(),
    }
    return values | {f"leading parameter, rank {j}": value for j, value in enumerate(leading)}


def check_prior(prior: Any) -> None:
    """Raise TypeError unless parameters can be drawn from `prior`."""
    if isinstance(prior, type) or not callable(getattr(prior, "sample", None)):
        given = prior.__name__ if isinstance(prior, type) else repr(prior)
        raise TypeError(
            f"prior must be a prior of mixtures such as DirichletNormalGamma(...), or another "
            f"object whose sample(key, n_components, event_shape) draws them, got {given}."
        )


def evaluate(
    quantities: Any, mixture: Any, data: Float[Array, "n ..."]
) -> dict[str, Float[Array, ""]]:
    """What `quantities` says, checked.

    Raises:
        TypeError: it returns something other than named scalars.
    """
    values = quantities(mixture, data)
    wrong = not isinstance(values, dict) or any(jnp.shape(v) != () for v in values.values())
    if wrong:
        raise TypeError(
            "quantities must be a function of a mixture and data that returns a dictionary of "
            "named scalars, such as {'largest weight': mixture.weights.max()}."
        )
    return jax.tree.map(lambda value: jnp.asarray(value, float), values)


def quick(function: Callable) -> Callable:
    """Compile for few calls."""
    return jax.jit(function, compiler_options=effort(0))
