"""Components described by parameters with names, one entry per component and feature."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from gmm_jax._pytree import columns_of, rebuild

CHANGES = {
    "real": (lambda x: x, lambda x: x),
    "positive": (jnp.log, jnp.exp),
    "unit": (lambda x: jnp.log(x) - jnp.log1p(-x), jax.nn.sigmoid),
    "simplex": (jnp.log, lambda x: jax.nn.softmax(x, -1)),
}
"""To numbers that may take any value, and back."""


class Parametric:
    """What follows from the parameters alone, whatever the density.

    A family that inherits it says in `supports` what each of its parameters may be.
    """

    supports: ClassVar[dict[str, str]]
    """The parameters in order, each with a word of `CHANGES`."""

    def _described(self) -> dict[str, tuple[Any, str]]:
        """Every parameter by name, and what it may be."""
        return {name: (getattr(self, name), word) for name, word in self.supports.items()}

    def _with(self, values: dict[str, Any]) -> Any:
        """The same components with other parameters."""
        return rebuild(type(self), **values)

    @property
    def _leading(self) -> Any:
        return next(iter(self._described().values()))[0]

    @property
    def n_components(self) -> int:
        return self._leading.shape[0]

    @property
    def event_shape(self) -> tuple[int, ...]:
        return self._leading.shape[1:]

    @property
    def order(self) -> Float[Array | np.ndarray, "k"]:
        return self._leading.reshape(self.n_components, -1)[:, 0]

    @property
    def columns(self) -> dict[str, np.ndarray]:
        """Parameters by name, (k,), one column a feature where there are several; for tables."""
        return columns_of(**{name: value for name, (value, _) in self._described().items()})

    def unconstrained(self) -> Any:
        """The same structure with numbers that may take any value."""
        return self._changed(0)

    def constrained(self) -> Any:
        """Undo `unconstrained`."""
        return self._changed(1)

    def _changed(self, direction: int) -> Any:
        described = self._described().items()
        return self._with({name: CHANGES[word][direction](a) for name, (a, word) in described})
