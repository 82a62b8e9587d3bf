"""Component families: one file each, all with the contract of `Family`.

To add a family, write a frozen dataclass with `@pytree`, one array per parameter with the
components on its first axis, and the methods of `Family`; import it below and list it in
`tests/test_families.py`. EM, starts, sample weights, sampling and the generative functions then
work with it.
"""

from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
from jax import Array
from jaxtyping import ArrayLike, Float, Int

from gmm_jax.families.bernoulli import Bernoulli
from gmm_jax.families.multivariate_normal import MultivariateNormal
from gmm_jax.families.normal import Normal

__all__ = ["Bernoulli", "Family", "MultivariateNormal", "Normal"]


@runtime_checkable
class Family(Protocol):
    """What EM, samplers and generative functions ask of k components.

    One point ("event") is a number, or a row of d features when the parameters have two axes.
    """

    centred: ClassVar[bool]
    """Whether shifting and rescaling the data shifts and rescales the components (`affine`)."""

    @property
    def n_components(self) -> int:
        """k, the number of components."""
        ...

    @property
    def event_shape(self) -> tuple[int, ...]:
        """Shape of one point: () or (d,)."""
        ...

    @property
    def columns(self) -> dict[str, np.ndarray]:
        """k numbers by name, for tables."""
        ...

    @staticmethod
    def shapes(k: int, event: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        """Shape of each parameter of k components of points of shape `event`."""
        ...

    @staticmethod
    def count_free(held: Any) -> int:
        """How many numbers are free where `held` is false."""
        ...

    @staticmethod
    def check(data: np.ndarray) -> None:
        """Raise ValueError if no component of this family could have produced `data`."""
        ...

    def log_prob(self, data: Float[Array, "n ..."]) -> Float[Array, "n k"]:
        """Log density (or log mass) of every point under every component."""
        ...

    def statistics(self, data: Float[Array, "n ..."], responsibilities: Float[Array, "n k"]) -> Any:
        """Sums over points, weighted by responsibility: they add up over blocks of rows."""
        ...

    def mode(self, statistics: Any, held: Any, floor: Float[Array, ""]) -> "Family":
        """The components of maximum likelihood given `statistics` taken at these components.

        `held` has this structure with booleans: where true, the parameter stays. A component
        with no responsibility keeps its parameters. `floor` bounds scales from below.
        """
        ...

    def unconstrained(self) -> "Family":
        """The same structure with numbers that may take any value, for extrapolation."""
        ...

    def constrained(self) -> "Family":
        """Undo `unconstrained`."""
        ...

    def collapsed(self, floor: Float[Array, ""]) -> Array:
        """Which components, k booleans, have shrunk onto a few equal points."""
        ...

    def sample(self, key: Array, assignments: Int[Array, "n"]) -> Float[Array, "n ..."]:
        """Draw one point from each named component."""
        ...

    def affine(self, shift: ArrayLike, scale: ArrayLike) -> "Family":
        """The components of `shift + scale * x` when these are those of x."""
        ...

    @classmethod
    def around(cls, centres: Float[Array, "k ..."], spread: Float[Array, ""]) -> "Family":
        """Components to start from: at `centres`, as wide as `spread`."""
        ...

    # Where the log density is linear in features of the data, EM on large data takes two matrix
    # products if the family also has `features`, `natural`, `from_features` and
    # `features_suffice`: see `Normal`.
    # With `cdf`, or with `marginal` and `condition`, mixtures answer these questions too.

    @property
    def order(self) -> Float[Array | np.ndarray, "k"]:
        """What components are sorted by when nothing else names them."""
        ...
