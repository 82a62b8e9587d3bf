"""Component families: one file each, all with the contract of `Family`.

To add a family, write a frozen dataclass with `@pytree`, one array per parameter with the
components on its first axis, and the methods of `Family` and `Kind`. Where features are independent
inherit `Separable`: its abstract methods are what is left to write (`poisson.py` does it in 60
lines). Else `Parametric` gives what follows from the parameters alone. Import the family below and
list it in `tests/test_families.py`. EM, starts, sample weights, missing values, sharing, mixed
tables, sampling and the generative functions then work with it.
"""

from typing import Any, Protocol, runtime_checkable

import numpy as np
from jax import Array
from jaxtyping import ArrayLike, Float, Int

from gmm_jax.families.bernoulli import Bernoulli
from gmm_jax.families.categorical import Categorical
from gmm_jax.families.exponential import Exponential
from gmm_jax.families.fixed_range import PointMass, Uniform
from gmm_jax.families.gamma import Gamma
from gmm_jax.families.heterogeneous import Heterogeneous
from gmm_jax.families.limits import Limits, Outline
from gmm_jax.families.multivariate_normal import MultivariateNormal
from gmm_jax.families.multivariate_student_t import MultivariateStudentT
from gmm_jax.families.normal import Normal
from gmm_jax.families.poisson import Poisson
from gmm_jax.families.product import Product
from gmm_jax.families.student_t import StudentT
from gmm_jax.families.wrapped import Wrapped

__all__ = [
    "Bernoulli",
    "Categorical",
    "Exponential",
    "Family",
    "Gamma",
    "Heterogeneous",
    "MultivariateNormal",
    "MultivariateStudentT",
    "Normal",
    "PointMass",
    "Poisson",
    "Product",
    "StudentT",
    "Uniform",
    "Wrapped",
]


@runtime_checkable
class Family(Protocol):
    """What EM, samplers and generative functions ask of k components.

    NaN in data is a missing value.

    One point ("event") is a number, or a row of d features when the parameters have two axes.
    """

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

    def log_prob(self, data: Float[Array, "n ..."]) -> Float[Array, "n k"]:
        """Log density (or log mass) of what was observed of each point under every component."""
        ...

    def statistics(self, data: Float[Array, "n ..."], responsibilities: Float[Array, "n k"]) -> Any:
        """Sums over points, weighted by responsibility: they add up over blocks of rows.

        A missing value counts as is expected of it under each component. `counts` (k,) is the sum
        of responsibilities; the rest is the family's own.
        """
        ...

    def mode(self, statistics: Any, limits: Limits) -> "Family":
        """The components of maximum likelihood given `statistics` taken at these components.

        A component with no responsibility keeps its parameters.
        """
        ...

    def impute(
        self, data: Float[Array, "n ..."], responsibilities: Float[Array, "n k"]
    ) -> Float[Array, "n ..."]:
        """The data with what is expected, given the rest of the point, in place of the missing."""
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

    # Where the log density is linear in features of the data, EM on large data takes two matrix
    # products if the family also has `features`, `common_features`, `natural`, `from_features`,
    # `features_pay` and `features_suffice`: see `Normal`. With
    # `prepared`, what many points need is computed once: see `MultivariateNormal`.
    # With `cdf`, or with `marginal` and `condition`, mixtures answer these questions too.

    @property
    def order(self) -> Float[Array | np.ndarray, "k"]:
        """What components are sorted by when nothing else names them."""
        ...


class Kind(Protocol):
    """What `fit` asks of what it is to fit: of a family's class, or of families put together.

    Where it must know more of the data it also has `seeing(data)`, which returns the kind that
    does, and where distances between points are not those of their columns `embed`: see
    `Categorical`.
    """

    centred: Any
    """Whether shifting the data shifts the components (`affine`); one answer, or one a column."""
    scaled: Any
    """Whether rescaling the data rescales the components."""

    def count_free(self, limits: Limits) -> int:
        """How many numbers are free."""
        ...

    def check(self, data: np.ndarray) -> None:
        """Raise ValueError if no such component could have produced `data`."""
        ...

    def around(self, centres: Float[Array, "k ..."], outline: Outline) -> "Family":
        """Components to start from: at `centres`, as wide as the outline says."""
        ...
