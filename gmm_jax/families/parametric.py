"""Components described by parameters with names, one entry per component and feature."""

from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int

from gmm_jax._pytree import columns_of, rebuild
from gmm_jax.families import _split

CHANGES = {
    "real": (lambda x: x, lambda x: x),
    "positive": (jnp.log, jnp.exp),
    "unit": (lambda x: jnp.log(x) - jnp.log1p(-x), jax.nn.sigmoid),
    "simplex": (jnp.log, lambda x: jax.nn.softmax(x, -1)),
}
"""To numbers that may take any value, and back."""


class Parametric:
    """What follows from the parameters alone, whatever the density of each independent feature.

    A family that inherits it says in `supports` what each of its parameters may be.
    """

    log_prob: Callable[[Any], Any]
    sample: Callable[[Any, Any], Any]

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

    def marginal(self, dims: Any) -> Any:
        """The components of some features; of a single number, one-dimensional ones."""
        chosen = _split.features(dims, *self.event_shape)
        index = chosen[0] if np.ndim(dims) == 0 else np.array(chosen)
        return self._with({name: a[:, index] for name, (a, _) in self._described().items()})

    def condition(self, dims: Any, values: Any) -> tuple[Any, Float[Array, "k"]]:
        """The components of the other features, and the log density of the known `values`."""
        known = _split.features(dims, *self.event_shape, some_left=True)
        row = _split.as_row(values, len(known), self._leading.dtype)
        rest = [j for j in range(self.event_shape[0]) if j not in known]
        return self.marginal(rest), self.marginal(known).log_prob(row[None])[0]

    def complete(
        self, key: Array, data: Float[Array, "n ..."], assignments: Int[Array, "n"]
    ) -> Float[Array, "n ..."]:
        """The data with draws from the assigned component in place of the missing values."""
        return jnp.where(jnp.isnan(data), self.sample(key, assignments), data)

    def unconstrained(self) -> Any:
        """The same structure with numbers that may take any value."""
        return self._changed(0)

    def constrained(self) -> Any:
        """Undo `unconstrained`."""
        return self._changed(1)

    def _changed(self, direction: int) -> Any:
        described = self._described().items()
        return self._with({name: CHANGES[word][direction](a) for name, (a, word) in described})
