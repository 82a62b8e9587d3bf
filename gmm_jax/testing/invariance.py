"""Does a kernel leave the joint distribution of parameters and data as it is?"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax import Array
from jaxtyping import Float

from gmm_jax.fitting.arguments import whole
from gmm_jax.testing.quantities import LEVEL, check_prior, evaluate, every_parameter, quick


@dataclass(frozen=True, eq=False)
class Invariance:
    """How far chains strayed from the joint distribution, quantity by quantity."""

    location: dict[str, float]
    """Standard errors by which the mean rank is off; above 0 the chains' values are too large."""
    spread: dict[str, float]
    """Standard errors by which the spread of the ranks is off; above 0 values are too extreme."""
    effective_sample_size: dict[str, float]
    """How many independent draws the chains are worth."""

    @property
    def pvalue(self) -> float:
        """Of the largest deviation, corrected for the number of deviations (Bonferroni)."""
        scores = [*self.location.values(), *self.spread.values()]
        return min(1.0, len(scores) * math.erfc(max(map(abs, scores)) / math.sqrt(2)))

    @property
    def passed(self) -> bool:
        """Whether nothing speaks against the kernel; a correct one fails once in a thousand."""
        return self.pvalue >= LEVEL

    def __str__(self) -> str:
        verdict = "nothing found" if self.passed else "the kernel is not invariant"
        size = 2 + max(map(len, self.location))
        lines = [
            f"{verdict}: p = {self.pvalue:.2g} over all quantities",
            f"{'':{size}}{'z of location':>15}{'z of spread':>15}{'effective draws':>17}",
        ]
        worst = {n: max(abs(z), abs(self.spread[n])) for n, z in self.location.items()}
        for n in sorted(worst, key=worst.__getitem__, reverse=True):
            scores = f"{self.location[n]:>15.1f}{self.spread[n]:>15.1f}"
            lines.append(f"{n:<{size}}{scores}{self.effective_sample_size[n]:>17.0f}")
        return "\n".join(lines)


def check_invariance(
    kernel: Callable[[Array, Any, Array], Any],
    prior: Any,
    n_components: int,
    n_points: int,
    *,
    event_shape: tuple[int, ...] = (),
    quantities: Callable[[Any, Array], dict[str, Array]] = every_parameter,
    n_chains: int = 1000,
    n_steps: int = 20,
    key: Array | None = None,
) -> Invariance:
    """Check that a kernel's steps have the posterior as their stationary distribution.

    After Geweke [1], parameters and data are drawn in two ways: parameters from the prior, then
    data from them; and in chains that start there, where the kernel moves the parameters and then
    data are drawn from those. Under a correct kernel both have the same distribution. Quantities
    are compared by their ranks, so that heavy tails do no harm, after each move and before its
    data are drawn, so that a kernel that neglects the data is found out, too. Standard errors come
    from the means of independent chains, which accounts for autocorrelation.

    Few points make a sharp test: the prior then matters, and chains mix.

    Args:
        kernel: `kernel(key, mixture, data)` returns the next mixture; pure, since it is compiled.
        prior: A prior of mixtures, or any object whose `sample(key, n_components, event_shape)`
            draws a pytree whose `sample(key, n_points)` returns data first.
        n_components: How many, k.
        n_points: How many points to draw.
        event_shape: () for points of one feature, (d,) for rows.
        quantities: Function of a mixture and data that returns a dictionary of named scalars; by
            default every parameter, the log likelihood, and means and spreads of the data.
        n_chains: How many chains, and draws for each step of theirs from the prior.
        n_steps: How often each chain moves.
        key: Random key; fixed if left out.

    Returns:
        The deviations: `passed` sums them up, and `print` shows them.

    Raises:
        TypeError: `prior` can't be drawn from; the kernel or `quantities` returns something of
            another form.
        ValueError: quantities of draws from the prior are NaN.

    Example:
        A kernel for a mean with known standard deviation 1, Normal(0, 1) before seeing the data:

        >>> import jax
        >>> from gmm_jax.testing import check_invariance
        >>> from typing import NamedTuple
        >>> class Model(NamedTuple):
        ...     mean: jax.Array
        ...     def sample(self, key, n):
        ...         return self.mean + jax.random.normal(key, (n,)), None
        >>> class Prior:
        ...     def sample(self, key, n_components, event_shape):
        ...         return Model(jax.random.normal(key))
        >>> def kernel(key, model, data):
        ...     spread = (1 + len(data)) ** -0.5
        ...     return Model(spread**2 * data.sum() + spread * jax.random.normal(key))
        >>> def quantities(model, data):
        ...     return {"mean": model.mean, "distance": abs(model.mean - data.mean())}
        >>> check_invariance(kernel, Prior(), 1, 3, quantities=quantities).passed
        True

    [1] Geweke (2004), "Getting it right: joint distribution tests of posterior simulators".
    """
    check_prior(prior)
    k, n = whole("n_components", n_components), whole("n_points", n_points)
    n_chains, n_steps = whole("n_chains", n_chains, 50), whole("n_steps", n_steps)
    key = jax.random.key(0) if key is None else key

    # Every step of all chains is one call of these, so that each is compiled once.
    draw = quick(jax.vmap(lambda key: prior.sample(key, k, event_shape)))
    observe = quick(jax.vmap(lambda key, mixture: mixture.sample(key, n)[0]))
    move = quick(jax.vmap(kernel))
    measure = quick(jax.vmap(lambda mixture, data: evaluate(quantities, mixture, data)))
    keys = jax.random.split(key, (n_steps + 1, 4, n_chains))
    mixtures = draw(keys[0, 0])
    data = observe(keys[0, 1], mixtures)
    pool, chains = [], []
    for prior_key, pool_key, kernel_key, data_key in keys[1:]:
        independent = draw(prior_key)
        pool.append(measure(independent, observe(pool_key, independent)))
        moved = move(kernel_key, mixtures, data)
        _check_form(mixtures, moved)
        chains.append(measure(moved, data))
        mixtures, data = moved, observe(data_key, moved)
    together = [jax.tree.map(lambda *a: np.stack(a, 1), *values) for values in (pool, chains)]
    return _compare(*together)


def _check_form(before: Any, after: Any) -> None:
    shapes = [jax.tree.map(lambda a: f"{a.dtype}{list(a.shape)}", tree) for tree in (before, after)]
    (given, one), (returned, other) = map(jax.tree.flatten, shapes)
    if (given, one) != (returned, other):
        raise TypeError(
            f"kernel must return a mixture of the form that it is given, but it was given "
            f"{shapes[0]} and returned {shapes[1]}."
        )


def _compare(
    pool: dict[str, Float[np.ndarray, "c t"]], chains: dict[str, Float[np.ndarray, "c t"]]
) -> Invariance:
    location, spread, effective = {}, {}, {}
    for name, table in pool.items():
        draws = table.ravel()
        if np.isnan(draws).any():
            raise ValueError(
                f"{name!r} is NaN for {int(np.isnan(draws).sum())} of {len(draws)} draws from the "
                "prior: leave it out of quantities, or narrow the prior."
            )
        own = chains[name]
        if np.ptp(draws) == 0 and np.all(own == draws[0]):
            continue  # such as the zeros of a triangle
        ordered = np.sort(draws)
        at_home, away = _ranks(ordered, draws), _ranks(ordered, own)
        location[name], effective[name] = _deviation(at_home, away)
        spread[name], _ = _deviation((at_home - 0.5) ** 2, (away - 0.5) ** 2)
        if np.isnan(own).any():
            location[name], effective[name] = math.inf, 0.0
    return Invariance(location, spread, effective)


def _ranks(ordered: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Share of `ordered` below each value; equal ones count half."""
    below = np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")
    return below / (2 * len(ordered))


def _deviation(draws: np.ndarray, chains: np.ndarray) -> tuple[float, float]:
    """Difference of means in standard errors, and how many draws the chains are worth."""
    means = chains.mean(1)
    difference = means.mean() - draws.mean()
    variance = means.var(ddof=1) / len(means)
    error = math.sqrt(variance + draws.var() / len(draws))
    if error == 0:
        return math.copysign(math.inf, difference) if difference else 0.0, 0.0
    effective = draws.var() / variance if variance > 0 else 0.0
    return float(difference / error), float(effective)
