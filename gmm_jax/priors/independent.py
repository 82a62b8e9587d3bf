"""Independent distributions, NumPyro's, of the parameters of any family."""

import math
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import ArrayLike, Float

from gmm_jax._checks import as_floats
from gmm_jax._pytree import pytree, rebuild, set_fields, static
from gmm_jax.distributions import Independent
from gmm_jax.families import Normal, kinds
from gmm_jax.families.heterogeneous import HeterogeneousOf
from gmm_jax.families.wrapped import WrappedOf
from gmm_jax.priors.components import ComponentPrior, same_for_all, written_out
from gmm_jax.priors.propriety import spike

SUPPORTS = {"real": "real", "positive": "positive", "nonnegative": "positive", "unit": "unit"}
"""NumPyro's words, as they begin, and ours."""
WITHIN = {"real": {"real", "positive", "unit"}, "positive": {"positive", "unit"}, "unit": {"unit"}}
"""Of what a parameter may be, what its distribution may be over."""
DEPTHS = (1e-8, 1e-10), (1e-16, 1e-18)
"""Fractions of a usual value at which a density is asked how fast it vanishes at 0."""


@pytree
class IndependentPrior(ComponentPrior):
    """Each parameter of a family from a distribution of its own, all independent.

    For families that no other prior is for, such as `StudentT`, `Wrapped.of(...)` and
    `Heterogeneous.of(...)`, or another prior for those that one is for. The posterior is drawn by
    method="nuts"; for the evidence pass `models.marginal_bayesian_mixture(prior, k, n)` to
    `sample(..., method="smc")`.

    Args:
        of: The family.
        distributions: For each of its parameters by name a NumPyro distribution of real, positive
            or unit numbers, or a number where it is known. Either is for all components; with
            arrays for parameters, one per component (with several features, one row of features
            per component), components have names and are never reordered.

    Raises:
        TypeError: a parameter without a distribution; something that is none.
        ValueError: a distribution over anything but single numbers of those kinds.

    Example:
        >>> from numpyro import distributions as dist
        >>> from gmm_jax import IndependentPrior, MixturePrior, StudentT
        >>> robust = IndependentPrior(
        ...     StudentT, means=dist.Normal(400, 50), scales=dist.HalfNormal(10), dfs=4
        ... )
        >>> sorted(MixturePrior(1, robust).sites(2))
        ['means', 'scales', 'weights']
    """

    distributions: dict[str, "Entries"]
    known: dict[str, Float[Array, "..."]]
    of: Any = static()
    size: Any = static(default=None)
    """Number of components and shape of a point, once it is `spread`."""

    supports: ClassVar[dict[str, str]] = {}

    def __init__(self, of: Any, **distributions: Any) -> None:
        names = _names(of)
        if set(distributions) != set(names):
            raise TypeError(
                f"IndependentPrior of {getattr(of, '__name__', of)} needs a distribution or a "
                f"number for each of {', '.join(names)}, got {', '.join(distributions) or 'none'}."
            )
        entries, known = {}, {}
        for name, full in names.items():
            own = distributions[name]
            if isinstance(own, Entries):
                entries[full] = own
            elif hasattr(own, "arg_constraints"):
                entries[full] = Entries.of(name, own)
                _check_support(name, entries[full], dict(getattr(of, "supports", ())).get(name))
            else:
                known[full] = as_floats(name, own)
        set_fields(self, distributions=entries, known=known, of=of, size=None)

    @property
    def family(self) -> Any:
        return self.of

    @property
    def exchangeable(self) -> bool:
        alike = all(map(same_for_all, jax.tree.leaves((self.distributions, self.known))))
        return alike and not hasattr(self.of, "sizes")

    def spread(self, n_components: int, event_shape: tuple[int, ...] = ()) -> "IndependentPrior":
        shapes = kinds.named(kinds.blank(self.of, n_components, event_shape))
        own = {n: entries.spread(n, shapes[n].shape) for n, entries in self.distributions.items()}
        known = {n: written_out(n, value, shapes[n].shape) for n, value in self.known.items()}
        size = n_components, event_shape
        return self._with({"distributions": own, "known": known, "size": size})

    def sites(self) -> dict[str, Any]:
        return dict(self.distributions)

    def assemble(self, **values: Array) -> Any:
        every, blank = self.known | values, kinds.blank(self.of, *self.size)
        leaves = [every[name] for name in kinds.named(blank)]
        return jax.tree.unflatten(jax.tree.structure(blank), leaves)

    def values(self, components: Any) -> dict[str, Array]:
        return {n: a for n, a in kinds.named(components).items() if n in self.distributions}

    def improper(
        self,
        points: Float[np.ndarray, "n ..."],
        weight: Float[np.ndarray, "n"],
        known: dict[str, np.ndarray],
    ) -> str | None:
        remedy = (
            "Pass a distribution of scales that vanishes fast at 0, such as LogNormal or "
            "InverseGamma."
        )
        names = self.distributions.keys() & {"scales", "parameters['scale']"}
        scales = self.distributions[names.pop()] if names else None
        if scales is None:
            return None
        return spike(points, weight, scales.power_at_zero(), self.known | known, remedy)

    def affine(self, shift: ArrayLike, scale: ArrayLike) -> "IndependentPrior":
        """Move every parameter as the family does."""
        blank = kinds.blank(self.of, *self.size)

        def moved(value: float) -> dict[str, Any]:
            filled = jax.tree.map(lambda leaf: np.full(leaf.shape, value), blank)
            return kinds.named(filled.affine(shift, scale))

        origin, one = moved(0.0), moved(1.0)
        width = {name: one[name] - origin[name] for name in origin}
        own = {n: d.affine(origin[n], width[n]) for n, d in self.distributions.items()}
        known = {n: origin[n] + width[n] * value for n, value in self.known.items()}
        return self._with({"distributions": own, "known": known})


@pytree
class Entries(Independent):
    """One of NumPyro's distributions for each entry of a parameter, shifted and stretched."""

    parameters: dict[str, Float[Array, "..."]]
    shift: Float[Array, "..."]
    stretch: Float[Array, "..."]
    name: str = static()

    @classmethod
    def of(cls, name: str, distribution: Any) -> "Entries":
        """Take a distribution apart; `name` is that of the parameter."""
        from numpyro import distributions

        kind = type(distribution)
        own = {n: as_floats(n, getattr(distribution, n)) for n in kind.arg_constraints}
        entries = cls.exact(kind.__name__, **own)
        if getattr(distributions, kind.__name__, None) is not kind or not entries._complete():
            raise ValueError(
                f"{name} must be one of NumPyro's own distributions that numbers describe, such as "
                f"Normal or LogNormal, got {kind.__name__}."
            )
        if distribution.event_shape or entries.support not in SUPPORTS.values():
            raise ValueError(
                f"{name} must be a distribution of real, positive or unit numbers, and "
                f"{kind.__name__} is over {distribution.support}: choose another, or write the "
                f"model as a generative function for `sample`."
            )
        return entries

    @classmethod
    def exact(cls, name: str, **parameters: Any) -> "Entries":
        """The distribution of this name in NumPyro, without the checks, which round float64."""
        zero, one = np.zeros(()), np.ones(())
        return rebuild(cls, parameters=parameters, shift=zero, stretch=one, name=name)

    @property
    def support(self) -> str:
        """What the values may be."""
        kind = type(self._distribution.support).__name__.strip("_").lower()
        return next((ours for word, ours in SUPPORTS.items() if kind.startswith(word)), kind)

    @property
    def _distribution(self) -> Any:
        from numpyro import distributions

        return getattr(distributions, self.name)(**self.parameters)

    def _complete(self) -> bool:
        """Whether the numbers are all that the distribution is made of."""
        try:
            return self._distribution is not None
        except TypeError:
            return False

    def spread(self, name: str, shape: tuple[int, ...]) -> "Entries":
        """The same with every number written out for each entry."""
        return jax.tree.map(lambda a: written_out(name, a, shape), self)

    def affine(self, shift: Any, scale: Any) -> "Entries":
        """The distribution of `shift + scale * value`."""
        own = self.parameters
        if {"loc", "scale"} <= set(own) and self.support == "real":  # so that no digits are lost
            moved = own | {"loc": shift + scale * own["loc"], "scale": scale * own["scale"]}
            return rebuild(Entries, **(vars(self) | {"parameters": moved}))
        moved = dict(shift=shift + scale * self.shift, stretch=scale * self.stretch)
        return rebuild(Entries, **(vars(self) | moved))

    def sample(self, key: Array) -> Float[Array, "..."]:
        """Draw every entry."""
        return self.shift + self.stretch * self._distribution.sample(key)

    def log_prob_each(self, value: Float[Array, "..."]) -> Float[Array, "..."]:
        """Log density of every entry; minus infinity where it cannot be."""
        distribution = self._distribution
        inside = (value - self.shift) / self.stretch
        possible = distribution.support(inside)
        density = distribution.log_prob(jnp.where(possible, inside, 0.5)) - jnp.log(self.stretch)
        return jnp.where(possible, density, -jnp.inf)

    def power_at_zero(self) -> Float[np.ndarray, "..."]:
        """The power a with which the mass up to s > 0 vanishes as s^a; infinite where faster."""
        usual = jnp.abs(self.sample(jax.random.key(0)))

        def slope(high: float, low: float) -> np.ndarray:
            rise = self.log_prob_each(usual * high) - self.log_prob_each(usual * low)
            return np.asarray(rise, np.float64) / math.log(high / low)

        near, nearer = (slope(*depth) for depth in DEPTHS)
        steady = np.abs(nearer - near) < 0.1 * (1 + np.abs(near))
        return np.where(steady, 1 + nearer, np.inf)


def _check_support(name: str, entries: Entries, word: str | None) -> None:
    """Raise ValueError where a distribution draws what the parameter may not be."""
    if entries.support not in WITHIN.get(word or "real", ()):
        raise ValueError(
            f"{name} of this family must be {word}, and {entries.name} is over {entries.support} "
            f"numbers: choose {'Beta' if word == 'unit' else 'LogNormal or HalfNormal'}."
        )


def _names(family: Any) -> dict[str, str]:
    """The parameters as people write them, "loc" or "means", and in full."""
    if not _of_numbers(family):
        raise TypeError(
            f"IndependentPrior is for families of single numbers or of independent features, and "
            f"{getattr(family, '__name__', family)} is none: take NormalInverseWishart, "
            f"DirichletCategorical or a ProductPrior, or write the model as a generative function "
            f"for `sample`."
        )
    full = kinds.named(kinds.blank(family, 1, ()))
    return {name.removeprefix("parameters['").removesuffix("']"): name for name in full}


def _of_numbers(family: Any) -> bool:
    """Whether each parameter is one number for every component and feature."""
    if isinstance(family, HeterogeneousOf):
        return all(map(_of_numbers, family.families))
    return family is Normal or isinstance(family, WrappedOf) or hasattr(family, "sufficient")
