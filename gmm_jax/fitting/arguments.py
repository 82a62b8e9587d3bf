"""Checks on what people pass to `fit`, each with a message that says what to do."""

from collections.abc import Collection
from typing import Any

import jax.numpy as jnp
import numpy as np

from gmm_jax._data import as_points
from gmm_jax.families import MultivariateNormal, Normal


def choose_method(method: str, prior: Any) -> tuple[str, str]:
    """Return the method, "em" or "importance", and why."""
    one_of("method", method, ("auto", "em", "importance"))
    if method == "importance" and prior is None:
        raise ValueError(
            "method='importance' samples a posterior and needs a prior: "
            "pass prior=DirichletNormalGamma(...), or use method='em'."
        )
    if method == "auto":
        if prior is None:
            return "em", "Point estimate by EM, since no prior was given"
        return "importance", "Posterior by importance sampling, since a prior was given"
    if method == "em":
        what = "Maximum likelihood" if prior is None else "Posterior mode"
        return "em", f"{what} by EM, as asked"
    return "importance", "Posterior by importance sampling, as asked"


def choose_family(family: Any, prior: Any, points: np.ndarray) -> Any:
    """The class of the components."""
    if family is not None:
        if not hasattr(family, "shapes"):
            raise TypeError(f"family must be a family such as gmm_jax.Normal, got {family!r}.")
        return family
    if prior is not None:
        return getattr(prior, "family", Normal)
    several = points.ndim == 2 and points.shape[1] > 1
    return MultivariateNormal if several else Normal


def one_of(name: str, value: str, choices: Collection[str]) -> str:
    """Check a word."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}.")
    return value


def whole(name: str, value: Any, least: int = 1) -> int:
    """Check a whole number."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{name} must be a whole number, got {value!r}.")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, got {value}.")
    return int(value)


def not_negative(name: str, value: Any) -> float:
    """Check a number."""
    number = float(value)
    if not number >= 0:
        raise ValueError(f"{name} must not be negative, got {value!r}.")
    return number


def as_weights(sample_weight: Any, n: int) -> np.ndarray:
    """One weight per row, float64."""
    if sample_weight is None:
        return np.ones(n)
    weight = as_points(sample_weight, "sample_weight").astype(np.float64)
    if weight.shape != (n,):
        raise ValueError(
            f"sample_weight must have one entry for each of {n} rows, got shape {weight.shape}."
        )
    if np.any(weight < 0) or weight.sum() <= 0:
        raise ValueError("sample_weight must not be negative, and not all of it zero.")
    return weight


def as_fixed(
    fixed: dict[str, Any] | None, family: Any, n_components: int | None, event: tuple[int, ...]
) -> dict[str, np.ndarray]:
    """Known parameters by name, float64, NaN where free; every one with k entries."""
    names = ("weights", *family.shapes(1, event))
    known = {}
    for name, value in (fixed or {}).items():
        if name not in names:
            raise ValueError(
                f"fixed has no parameter called {name!r}: {family.__name__} mixtures have "
                f"{', '.join(names)}."
            )
        try:
            known[name] = np.asarray(value, np.float64)
        except (TypeError, ValueError) as error:
            raise TypeError(f"fixed[{name!r}] must be numbers, got {value!r}.") from error
    counts = {name: value.shape[0] for name, value in known.items() if value.ndim}
    if n_components is None and not counts:
        raise TypeError("n_components is missing: say how many components to fit.")
    k = next(iter(counts.values())) if n_components is None else n_components
    shapes = {"weights": (k,), **family.shapes(k, event)}
    for name, value in known.items():
        shape = shapes[name]
        if value.ndim == 1 and len(shape) == 2:
            value = np.broadcast_to(value[:, None], (value.shape[0], shape[1]))
        if value.ndim and value.shape != shape:
            raise ValueError(
                f"fixed[{name!r}] has shape {value.shape} but {k} components need {shape}. "
                f"Write nan for entries that are to be estimated."
            )
        known[name] = np.broadcast_to(value, shape)
    if "weights" in known and np.isfinite(known["weights"]).any():
        _check_fixed_weights(known["weights"])
    _check_fixed_components(known, family)
    return known


def count_components(n_components: int | None, known: dict[str, np.ndarray]) -> int:
    """k, as given or as implied by fixed parameters."""
    if n_components is None:
        return next(iter(known.values())).shape[0]
    return n_components


def check_enough(
    points: np.ndarray, weight: np.ndarray, k: int, family: Any, known: dict[str, np.ndarray]
) -> None:
    """Raise ValueError where maximum likelihood has no sensible answer."""
    n = int((weight > 0).sum())
    if k > n:
        raise ValueError(
            f"n_components is {k} but there are {n} points: maximum likelihood needs at least as "
            f"many points as components. Ask for fewer, or pass a prior."
        )
    if not family.centred or "scales" in known:
        return
    used = points[weight > 0].reshape(n, -1)
    constant = np.flatnonzero(np.ptp(used, axis=0) == 0)
    if constant.size:
        where = f"column {constant[0]} of data is" if points.ndim == 2 else "all points are"
        raise ValueError(
            f"{where} the same number, {used[0, constant[0]]:g}: no scale can be estimated. "
            f"Drop it, pass a prior, or fix the scale with fixed={{'scales': ...}}."
        )


def _check_fixed_weights(weights: np.ndarray) -> None:
    known = weights[np.isfinite(weights)]
    total = known.sum()
    complete = known.size == weights.size
    if np.any(known < 0) or total > 1 + 1e-4 or (complete and abs(total - 1) > 1e-4):
        raise ValueError(
            f"fixed['weights'] must be shares that sum to 1 (or less, with nan for free ones), "
            f"got {weights.tolist()}."
        )


def _check_fixed_components(known: dict[str, np.ndarray], family: Any) -> None:
    """Let the family check what is known, with harmless values in place of the rest."""
    components = {name: value for name, value in known.items() if name != "weights"}
    if not components:
        return
    k, *event = next(iter(components.values())).shape
    harmless = family.around(jnp.full((k, *event[:1]), 0.5), jnp.ones(()))
    filled = {
        name: np.where(np.isnan(components[name]), blank, components[name])
        if name in components
        else blank
        for name, blank in vars(harmless).items()
    }
    family(**filled)


def restarts(n_restarts: int | None, work: int) -> int:
    """How many starts: 10, or as many as cost about one pass over ten million numbers, but 2."""
    if n_restarts is None:
        return max(2, min(10, 10_000_000 // work))
    return whole("n_restarts", n_restarts)


def check_prior(prior: Any, family: Any, k: int, event: tuple[int, ...]) -> None:
    """Raise unless the prior speaks of k components of this family."""
    if not hasattr(prior, "sites"):
        raise TypeError(
            f"prior must be a prior such as DirichletNormalGamma(...), got {type(prior).__name__}."
        )
    if prior.family is not family:
        raise ValueError(
            f"prior is {type(prior).__name__}, which is for {prior.family.__name__} components, "
            f"not {family.__name__}."
        )
    prior.sites(k, event)
