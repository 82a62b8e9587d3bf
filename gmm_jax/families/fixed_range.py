"""Components that are not estimated: a uniform background, and a spike at one value."""

from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import ArrayLike, Float, Int

from gmm_jax._checks import as_floats, per_component, shaped_like
from gmm_jax._pytree import is_concrete, pytree, rebuild, set_fields
from gmm_jax.families.limits import Limits, Outline
from gmm_jax.families.separable import Separable, Sums


@pytree
class Uniform(Separable):
    """k uniform distributions, for background noise: EM leaves them where they are.

    Fitted, one covers the range of the data, which is its maximum likelihood estimate.

    Args:
        lows: Lower ends, k or k rows of d.
        highs: Upper ends.

    Raises:
        TypeError: not numbers.
        ValueError: an upper end that is not above the lower, shapes that differ, NaN.

    Example:
        >>> import jax.numpy as jnp
        >>> from gmm_jax import Uniform
        >>> round(float(Uniform(lows=[0.0], highs=[2.0]).log_prob(jnp.array([0.5]))[0, 0]), 4)
        -0.6931
    """

    lows: Float[Array, "k ..."]
    highs: Float[Array, "k ..."]

    centred: ClassVar[bool] = True
    scaled: ClassVar[bool] = True
    supports: ClassVar[dict[str, str]] = {"lows": "real", "highs": "real"}

    def __post_init__(self) -> None:
        lows = per_component("lows", self.lows)
        highs = shaped_like("highs", self.highs, "lows", lows)
        if is_concrete((lows, highs)) and not np.all(np.asarray(highs) > np.asarray(lows)):
            raise ValueError(f"highs must be above lows, got {highs} and {lows}.")
        set_fields(self, lows=lows, highs=highs)

    def log_density(self, data: Array) -> Array:
        inside = (data >= self.lows) & (data <= self.highs)
        return jnp.where(inside, -jnp.log(self.highs - self.lows), -jnp.inf)

    def expectation(self) -> Float[Array, "k ..."]:
        return (self.lows + self.highs) / 2

    def sufficient(self, data: Array) -> tuple[Array, ...]:
        return ()

    def expected_sufficient(self) -> tuple[Array, ...]:
        return ()

    def mode(self, statistics: Sums, limits: Limits) -> "Uniform":
        """Themselves."""
        return self

    def cdf(self, data: Float[Array, "n ..."]) -> Float[Array, "n k"]:
        """Share of each component below each point, of one feature."""
        below = (data[:, None] - self.lows) / (self.highs - self.lows)
        return jnp.clip(below, 0, 1).reshape(len(data), -1)

    def sample(self, key: Array, assignments: Int[Array, "n"]) -> Float[Array, "n ..."]:
        lows, highs = self.lows[assignments], self.highs[assignments]
        return lows + (highs - lows) * jax.random.uniform(key, lows.shape, lows.dtype)

    def affine(self, shift: ArrayLike, scale: ArrayLike) -> "Uniform":
        return rebuild(type(self), lows=shift + scale * self.lows, highs=shift + scale * self.highs)

    @classmethod
    def around(cls, centres: Float[Array, "k ..."], outline: Outline) -> "Uniform":
        """The range of the data, and a little more, so that rounding leaves no point outside."""
        little = 1e-5 * (outline.high - outline.low) + jnp.finfo(centres.dtype).eps
        return rebuild(
            cls,
            lows=jnp.broadcast_to(outline.low - little, centres.shape),
            highs=jnp.broadcast_to(outline.high + little, centres.shape),
        )


@pytree
class PointMass(Separable):
    """k spikes, each at one value: an excess of zeros. EM leaves them where they are.

    A density has no mass at a point: mix spikes with counts, not with continuous components.

    Args:
        values: Where the spikes are, k or k rows of d. Fitted, they are at zero unless fixed.

    Raises:
        TypeError: not numbers.
        ValueError: NaN, a wrong shape.

    Example:
        >>> import jax.numpy as jnp
        >>> from gmm_jax import PointMass
        >>> PointMass(values=[0.0]).log_prob(jnp.array([0.0, 1.0]))[:, 0].tolist()
        [0.0, -inf]
    """

    values: Float[Array, "k ..."]

    supports: ClassVar[dict[str, str]] = {"values": "real"}

    def __post_init__(self) -> None:
        set_fields(self, values=per_component("values", as_floats("values", self.values)))

    @classmethod
    def count_free(cls, limits: Limits) -> int:
        """None."""
        return 0

    def log_density(self, data: Array) -> Array:
        return jnp.where(data == self.values, 0.0, -jnp.inf)

    def expectation(self) -> Float[Array, "k ..."]:
        return self.values

    def sufficient(self, data: Array) -> tuple[Array, ...]:
        return ()

    def expected_sufficient(self) -> tuple[Array, ...]:
        return ()

    def mode(self, statistics: Sums, limits: Limits) -> "PointMass":
        """Themselves."""
        return self

    def cdf(self, data: Float[Array, "n ..."]) -> Float[Array, "n k"]:
        """Share of each component up to each point, of one feature."""
        below = (data[:, None] >= self.values).astype(self.values.dtype)
        return below.reshape(len(data), -1)

    def sample(self, key: Array, assignments: Int[Array, "n"]) -> Float[Array, "n ..."]:
        return self.values[assignments]

    @classmethod
    def around(cls, centres: Float[Array, "k ..."], outline: Outline) -> "PointMass":
        return rebuild(cls, values=jnp.zeros_like(centres))
