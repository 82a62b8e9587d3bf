"""What all priors of components share; a new one is a new file with what is abstract here.

A prior of components is plain data, one array a hyperparameter: one number for all components, or
one per component. `sites` says what its parameters are and how they are distributed, which is all
that samplers need which follow gradients. A `ConditionalPrior` also knows how they are distributed
given points that are assigned: EM takes `mode` of it, other samplers take `given`. Of a
`ConjugatePrior` that is one of its kind.
"""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import ArrayLike, Float

from gmm_jax._checks import as_floats, positive
from gmm_jax._pytree import rebuild, set_fields
from gmm_jax.families.limits import Limits


class ComponentPrior(ABC):
    """Independent components, each from a distribution that may be its own."""

    entire: ClassVar[dict[str, int]] = {}
    """Parameters of which so many of the last axes are drawn as a whole."""
    kind: ClassVar[Any]
    """What the components are, where the hyperparameters don't matter for that."""
    supports: ClassVar[dict[str, str]]
    """The hyperparameters in order, each "real" or "positive"."""
    ranks: ClassVar[dict[str, int]] = {}
    """The fewest axes of which the first is the components', where that is not 1."""

    def __post_init__(self) -> None:
        for name, word in self.supports.items():
            value = as_floats(name, getattr(self, name))
            if word == "positive":
                positive(name, value)
            set_fields(self, **{name: value})

    @property
    def family(self) -> Any:
        """What the components are, as `fit` takes it."""
        return self.kind

    @property
    def exchangeable(self) -> bool:
        """Whether all components have the same prior (known hyperparameters only)."""
        return all(same_for_all(getattr(self, n), self.ranks.get(n, 1)) for n in self.supports)

    @property
    def hierarchical(self) -> bool:
        """Whether there are hyperparameters that are drawn, too; then see `refresh`."""
        return False

    @property
    def conditional(self) -> bool:
        """Whether there are `given` and `mode`."""
        return isinstance(self, ConditionalPrior)

    @property
    def conjugate(self) -> bool:
        """Whether `given` is of its own kind, and `geometric_mean` of the components'."""
        return isinstance(self, ConjugatePrior)

    def shapes(self, n_components: int, event_shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        """Of every hyperparameter, written out for each component and feature."""
        return dict.fromkeys(self.supports, (n_components, *event_shape))

    def spread(self, n_components: int, event_shape: tuple[int, ...] = ()) -> Any:
        """The same with every hyperparameter written out for each component and feature.

        Raises:
            ValueError: a hyperparameter is for another number of components or features.
        """
        shapes = self.shapes(n_components, event_shape).items()
        return self._with(
            {
                n: written_out(n, getattr(self, n), shape, self.ranks.get(n, 1))
                for n, shape in shapes
            }
        )

    def _with(self, values: dict[str, Any]) -> Any:
        return rebuild(type(self), **(vars(self) | values))

    def assemble(self, **values: Array) -> Any:
        """The components with these parameters."""
        return rebuild(self.kind, **values)

    def values(self, components: Any) -> dict[str, Array]:
        """The parameters of components, by the names of `sites`."""
        return dict(vars(components))

    def sample(self, key: Array) -> Any:
        """Draw components, when every hyperparameter is written out."""
        sites, values = self.sites(), {}
        for (name, site), own in zip(sites.items(), jax.random.split(key, len(sites)), strict=True):
            values[name] = resolved(site, values).sample(own)
        return self.assemble(**values)

    def log_prob(self, components: Any) -> Float[Array, "k"]:
        """Log density of the parameters of each component."""
        return self._log_prob(self.values(components))

    def log_prob_matched(self, components: Any) -> Float[Array, "k k"]:
        """Log density of every component (column) in the place of every other (row)."""

        def in_every_place(one: dict[str, Array]) -> Array:
            k = components.n_components
            return self._log_prob(
                {name: jnp.broadcast_to(a, (k, *a.shape)) for name, a in one.items()}
            )

        return jax.vmap(in_every_place, out_axes=1)(self.values(components))

    def _log_prob(self, values: dict[str, Array]) -> Float[Array, "k"]:
        total: Any = 0
        for name, site in self.sites().items():
            each = resolved(site, values).log_prob_each(values[name])
            total = total + by_component(each)
        return total

    @abstractmethod
    def sites(self) -> dict[str, Any]:
        """Distribution of each parameter, when every hyperparameter is written out.

        In place of one that depends on those before it stands a function of their values.
        """

    def check_known(self, known: dict[str, np.ndarray]) -> None:
        """Raise ValueError where draws cannot hold what is known; NaN stands for what is not."""
        for name in known.keys() & self.entire.keys():
            whole_or_not(name, known[name], self.entire[name])

    def refresh(self, key: Array, components: Any) -> Any:
        """The prior at hyperparameters drawn given `components`: itself where all are known."""
        return self

    def improper(
        self,
        points: Float[np.ndarray, "n ..."],
        weight: Float[np.ndarray, "n"],
        known: dict[str, np.ndarray],
    ) -> str | None:
        """Why `points`, counted `weight` times, leave no posterior at `known`, and what helps.

        It is asked when every hyperparameter is written out. None if there is a posterior, as
        always where the density vanishes exponentially at the edge.
        """
        return None

    def affine(self, shift: ArrayLike, scale: ArrayLike) -> Any:
        """The prior for `shift + scale * x` when this is that for x: the same unless it says so."""
        return self


class ConditionalPrior(ComponentPrior):
    """A prior whose distribution given statistics of assigned points can be drawn from."""

    @abstractmethod
    def given(self, components: Any, statistics: Any, floor: Float[Array, ""]) -> Any:
        """The distribution given `statistics` taken at `components`.

        It has `sample`, `redraw` and `log_prob_matched`; of a conjugate prior it is one of its
        kind.
        """

    def draw(
        self, key: Array, components: Any, statistics: Any, floor: Float[Array, ""], held: Any
    ) -> Any:
        """Draw the parameters that are not `held` given those that are, and `statistics`.

        Here entries are independent given the statistics; where they aren't, a prior says how.
        """
        drawn = self.given(components, statistics, floor).redraw(key, components)
        return jax.tree.map(jnp.where, held, components, drawn)

    @abstractmethod
    def mode(self, components: Any, statistics: Any, limits: Limits) -> Any:
        """The components where the density of `given` is highest, but for what is held."""


class ConjugatePrior(ConditionalPrior):
    """A prior whose `given` is one of its kind; variational inference takes these."""

    def redraw(self, key: Array, components: Any) -> Any:
        """Draw where a chain stands at `components`: as `sample` does, which is exact."""
        return self.sample(key)

    @abstractmethod
    def geometric_mean(self) -> tuple[Any, Float[Array, "k"]]:
        """The geometric mean of densities: exp E[log p(x)] over components drawn from this.

        Returns:
            Components whose densities these are, but for factors; and the logs of those.
        """

    @abstractmethod
    def divergence(self, other: Any) -> Float[Array, "k"]:
        """KL(this || another of its kind), in nats, of each component; see `geometric_mean`."""


def by_component(each: Float[Array, "k ..."]) -> Float[Array, "k"]:
    """Sum what entries contribute."""
    return each.reshape(len(each), -1).sum(-1)


def resolved(site: Any, values: dict[str, Array]) -> Any:
    """The distribution of a parameter, given those before it."""
    return site(values) if callable(site) else site


def whole_or_not(name: str, value: np.ndarray, rank: int) -> None:
    """Raise ValueError where only some numbers along the last `rank` axes are known."""
    absent = np.isnan(value).reshape(*value.shape[: value.ndim - rank], -1)
    mixed = absent.any(-1) & ~absent.all(-1)
    if mixed.any():
        raise ValueError(
            f"fixed[{name!r}] is known in part for component {int(np.argwhere(mixed)[0, 0])}, and "
            f"is drawn as a whole: give all of it or none, or use method='em'."
        )


def same_for_all(value: Array | np.ndarray, rank: int = 1) -> bool:
    """Whether all components have the same entries."""
    array = np.asarray(value)
    return array.ndim < rank or bool(np.all(array == array[:1]))


def written_out(
    name: str, value: Array | np.ndarray, shape: tuple[int, ...], rank: int = 1
) -> Array | np.ndarray:
    """Give every component, and feature, its own copy of a hyperparameter.

    Raises:
        ValueError: it is for another number of them.
    """
    if value.ndim == rank == 1 and len(shape) == 2 and value.shape[0] == shape[0]:
        value = value[:, None]
    whole = value.ndim >= rank and value.shape[:1] not in ((1,), shape[:1])
    if value.ndim > len(shape) or (value.ndim and whole) or not _broadcasts(value.shape, shape):
        expected = f"{shape[0]} components" + (f" of {shape[1:]}" if shape[1:] else "")
        raise ValueError(
            f"{name} of the prior has shape {value.shape} but the mixture has {expected}: give "
            "one number for all, or one per component"
            + (", or one row of features for all, [[...]]." if len(shape) == 2 else ".")
        )
    numpy: Any = np if isinstance(value, np.ndarray) else jnp
    return numpy.broadcast_to(value, shape)


def _broadcasts(own: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    return all(a in (1, b) for a, b in zip(own[::-1], shape[::-1], strict=False))
