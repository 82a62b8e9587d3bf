"""What both ways of putting families together share: part by part, family by family."""

from typing import Any, ClassVar, NamedTuple

from jax import Array
from jaxtyping import Float

from gmm_jax._pytree import rebuild
from gmm_jax.families.limits import Limits


class PartStatistics(NamedTuple):
    """Weighted numbers of points, and the statistics of every part."""

    counts: Float[Array, "k"]
    parts: tuple[Any, ...]


class Parts:
    """What both ways of putting families together do part by part."""

    parts: tuple[Any, ...]

    centred: ClassVar[Any] = False
    scaled: ClassVar[Any] = False

    def _each(self, method: str, *arguments: Any) -> Any:
        changed = tuple(getattr(part, method)(*arguments) for part in self.parts)
        return rebuild(type(self), **(vars(self) | {"parts": changed}))

    def mode(self, statistics: PartStatistics, limits: Limits) -> Any:
        """The mode of every part."""
        modes = tuple(
            part.mode(own, limits.part(i))
            for i, (part, own) in enumerate(zip(self.parts, statistics.parts, strict=True))
        )
        return rebuild(type(self), **(vars(self) | {"parts": modes}))

    def unconstrained(self) -> Any:
        return self._each("unconstrained")

    def constrained(self) -> Any:
        return self._each("constrained")

    def incomplete(self) -> Any:
        """The same for points with missing entries (NaN)."""
        views = (getattr(part, "incomplete", lambda part=part: part)() for part in self.parts)
        return rebuild(type(self), **(vars(self) | {"parts": tuple(views)}))


class KindOf:
    """What both kinds do family by family."""

    word: ClassVar[str]
    families: tuple[Any, ...]

    @property
    def __name__(self) -> str:
        return f"{self.word} of {', '.join(family.__name__ for family in self.families)}"

    def count_free(self, limits: Limits) -> int:
        """How many numbers are free."""
        return sum(f.count_free(limits.part(i)) for i, f in enumerate(self.families))
