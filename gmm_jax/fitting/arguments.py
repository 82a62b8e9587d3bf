"""Checks on what people pass to `fit`, each with a message that says what to do."""

from typing import Any

import jax
import numpy as np

from gmm_jax._data import as_points
from gmm_jax.families import MultivariateNormal, Normal, kinds
from gmm_jax.families.limits import Sharing
from gmm_jax.fitting.options import by_name, one_of, whole
from gmm_jax.fitting.options import not_negative as not_negative
from gmm_jax.mixture import Mixture

FULL = (None, "full", "tied")
SAMPLERS = {
    "importance": "importance sampling",
    "smc": "tempered SMC",
    "gibbs": "Gibbs sampling",
    "nuts": "NUTS",
    "variational": "variational inference",
}
COVARIANCE_TYPES = ("full", "tied", "diag", "tied_diag", "spherical")
MOST_COMPONENTS, MOST_RESTARTS = 10**5, 10**5
"""More than anybody means, and fewer than fill the memory."""
ROOM = 1e4
"""Data stay so many times within the ends of their precision."""


def choose_method(method: Any, prior: Any) -> tuple[str, str]:
    """Return the method and why."""
    one_of("method", method, ("auto", "em", *SAMPLERS))
    if method in SAMPLERS and prior is None:
        raise ValueError(
            f"method={method!r} samples a posterior and needs a prior: "
            "pass prior=DirichletNormalGamma(...), or use method='em'."
        )
    if method == "auto":
        if prior is None:
            return "em", "Point estimate by EM, since no prior was given"
        if isinstance(prior, str):
            return "auto", "with the weakly informative default prior"
        return "auto", "since a prior was given"
    if method == "em":
        what = "Maximum likelihood" if prior is None else "Posterior mode"
        return "em", f"{what} by EM, as asked"
    return method, "as asked"


def choose_family(family: Any, covariance_type: Any, prior: Any, points: np.ndarray) -> Any:
    """The kind of components, and what they share by the covariance type's name."""
    if covariance_type is not None:
        one_of("covariance_type", covariance_type, COVARIANCE_TYPES)
        if family is not None:
            raise ValueError(
                "covariance_type is another way of naming a normal family: give it or family."
            )
    if family is not None:
        if not hasattr(family, "check"):
            raise TypeError(f"family must be a family such as gmm_jax.Normal, got {family!r}.")
        return family
    if prior is not None:
        return getattr(prior, "family", Normal)
    several = points.ndim == 2 and points.shape[1] > 1
    return MultivariateNormal if several and covariance_type in FULL else Normal


def as_sharing(
    shared: Any, covariance_type: str | None, names: dict[str, tuple[int, ...]]
) -> Sharing:
    """Which parameters have one value for several components, or for all features."""
    groups = {}
    for name, value in by_name("shared", shared, "{'scales': True}").items():
        if name not in names:
            raise ValueError(
                f"shared has no parameter called {name!r}: these mixtures have {', '.join(names)}."
            )
        k = names[name][0]
        if value is True:
            value = [0] * k
        if np.shape(value) != (k,) or np.asarray(value).dtype.kind not in "biu":
            raise ValueError(
                f"shared[{name!r}] must be True, or one group number for each of {k} components, "
                f"got {value!r}."
            )
        groups[name] = tuple(int(group) for group in value)
    if covariance_type in ("tied", "tied_diag"):
        groups["scale_trils" if "scale_trils" in names else "scales"] = (0,) * names["weights"][0]
    spherical = covariance_type == "spherical"
    return Sharing(tuple(sorted(groups.items())), frozenset({"scales"} if spherical else ()))


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
    if not 1e-30 <= weight.sum() <= 1e30:
        raise ValueError(
            f"sample_weight adds up to {weight.sum():g}, more or less than float32 holds well: "
            f"divide it by its mean."
        )
    return weight


def as_fixed(
    fixed: Any, family: Any, n_components: int | None, event: tuple[int, ...]
) -> dict[str, np.ndarray]:
    """Known parameters by name, float64, NaN where free; every one with k entries."""
    names = parameters(family, 1, event)
    known = {}
    for name, value in by_name("fixed", fixed, "{'means': [0, np.nan]}").items():
        if name not in names:
            raise ValueError(
                f"fixed has no parameter called {name!r}: these mixtures have {', '.join(names)}."
            )
        try:
            known[name] = np.asarray(value, np.float64)
        except (TypeError, ValueError) as error:
            raise TypeError(f"fixed[{name!r}] must be numbers, got {value!r}.") from error
        if np.isinf(known[name]).any():
            raise ValueError(
                f"fixed[{name!r}] must be finite, with nan for entries that are to be estimated, "
                f"got {value!r}."
            )
    counts = {
        name: value.shape[0] for name, value in known.items() if value.ndim and "[" not in name
    }
    if n_components is None and not counts:
        raise TypeError("n_components is missing: say how many components to fit.")
    k = next(iter(counts.values())) if n_components is None else n_components
    shapes = parameters(family, k, event)
    for name, value in known.items():
        shape = shapes[name]
        if value.ndim == 1 and len(shape) == 2 and value.shape[0] == shape[0]:
            value = np.broadcast_to(value[:, None], (value.shape[0], shape[1]))
        if value.ndim and value.shape != shape:
            raise ValueError(
                f"fixed[{name!r}] has shape {value.shape} but {k} components need {shape}. "
                f"Write nan for entries that are to be estimated."
            )
        known[name] = np.broadcast_to(value, shape)
    if "weights" in known and np.isfinite(known["weights"]).any():
        check_fixed_weights(known["weights"])
    _check_fixed_components(fixed, known, family, k, event)
    return known


def parameters(family: Any, k: int, event: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """Name and shape of every parameter of a mixture."""
    leaves = kinds.named(kinds.blank(family, k, event))
    return {"weights": (k,), **{name: leaf.shape for name, leaf in leaves.items()}}


def as_number(n_components: Any, family: Any) -> int | None:
    """k, as given or as the family implies; None where fixed parameters must say."""
    implied = getattr(family, "n_components", None)
    implied = implied if isinstance(implied, int) else None
    if n_components is None:
        return implied
    k = whole("n_components", n_components, most=MOST_COMPONENTS)
    if implied is not None and k != implied:
        raise ValueError(f"n_components is {k} but family has {implied} components.")
    return k


def count_components(n_components: int | None, known: dict[str, np.ndarray]) -> int:
    """k, as given or as implied by fixed parameters."""
    if n_components is None:
        return next(v.shape[0] for name, v in known.items() if "[" not in name)
    return n_components


def check_missing(points: np.ndarray, weight: np.ndarray) -> None:
    """Raise ValueError where a column has no values at all."""
    empty = np.flatnonzero(np.isnan(points[weight > 0]).all(0))
    if empty.size:
        where = f"column {empty[0]} of data" if points.ndim == 2 else "data"
        raise ValueError(f"{where} has no values, only NaN: drop it.")


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
    if "scales" in known:
        return
    used = points[weight > 0].reshape(n, -1)
    same = np.nanmin(used, axis=0) == np.nanmax(used, axis=0)
    constant = np.flatnonzero(same & np.asarray(family.centred))
    if constant.size:
        where = f"column {constant[0]} of data is" if points.ndim == 2 else "all points are"
        raise ValueError(
            f"{where} the same number, {np.nanmin(used[:, constant[0]]):g}: no scale can be "
            f"estimated. Drop it, pass a prior, or fix the scale with fixed={{'scales': ...}}."
        )


def check_fixed_weights(weights: np.ndarray) -> None:
    """Raise ValueError where fixed weights are no shares."""
    known = weights[np.isfinite(weights)]
    total = known.sum()
    complete = known.size == weights.size
    if np.any(known < 0) or total > 1 + 1e-4 or (complete and abs(total - 1) > 1e-4):
        raise ValueError(
            f"fixed['weights'] must be shares that sum to 1 (or less, with nan for free ones), "
            f"got {weights.tolist()}."
        )


def _check_fixed_components(
    fixed: Any, known: dict[str, np.ndarray], family: Any, k: int, event: tuple[int, ...]
) -> None:
    """Let the family check what is known, with harmless values in place of the rest."""
    if not set(known) - {"weights"}:
        return
    try:
        kinds.check_values(kinds.with_known(kinds.harmless(family, k, event), known))
    except ValueError as error:  # which shows the harmless values, too
        rule, _, _ = str(error).partition(", got ")
        raise ValueError(f"{rule.rstrip('.')}, got fixed={fixed!r}.") from None


def as_start(start: Any, family: Any, n: int, k: int, event: tuple[int, ...]) -> Any:
    """Where EM starts: a word, a mixture, or responsibilities, (n, k)."""
    if isinstance(start, str):
        return one_of("start", start, ("kmeans++", "random"))
    if isinstance(start, Mixture):
        expected = jax.tree.structure(kinds.blank(family, k, event))
        fits = jax.tree.structure(start.components) == expected
        if not fits or start.n_components != k or start.components.event_shape != event:
            raise ValueError(
                f"start must be a mixture of {k} components of the family and shape that is "
                f"fitted, got {start.n_components} of {type(start.components).__name__}."
            )
        return start
    try:
        shares = np.asarray(start, np.float64)
    except (TypeError, ValueError):
        shares = np.zeros(())
    if shares.shape != (n, k) or not np.allclose(shares.sum(1), 1, atol=1e-3) or shares.min() < 0:
        raise ValueError(
            f"start must be 'kmeans++', 'random', a Mixture, or responsibilities ({n}, {k}) whose "
            f"rows sum to one; got {type(start).__name__} of shape {shares.shape}."
        )
    return shares


def restarts(n_restarts: Any, work: int) -> int:
    """How many starts: 10, or as many as cost about one pass over ten million numbers, but 2."""
    if n_restarts is None:
        return max(2, min(10, 10_000_000 // work))
    return whole("n_restarts", n_restarts, most=MOST_RESTARTS)


def check_range(low: Any, high: Any, dtype: Any, sets: bool = False) -> None:
    """Raise ValueError where results would not be numbers of their precision.

    Args:
        low: The least value of each column, or of each column of each of many sets.
        high: The largest.
        dtype: The precision.
        sets: Whether there are many sets.
    """
    low, high = np.asarray(low, np.float64), np.asarray(high, np.float64)
    with np.errstate(over="ignore"):
        spread = high - low
    size, limits = np.maximum(np.maximum(abs(low), abs(high)), spread), np.finfo(dtype)
    wrong = ~(size <= limits.max / ROOM) | ((spread > 0) & (spread < limits.tiny * ROOM))
    if not np.any(wrong & ~np.isnan(spread)):
        return
    at = tuple(map(int, np.argwhere(wrong)[0]))
    name = f"data_sets[{at[0]}]" if sets else f"column {at[0]} of data" if at else "data"
    more = ", or call jax.config.update('jax_enable_x64', True) first and pass float64"
    raise ValueError(
        f"{name} spans from {low[at]:g} to {high[at]:g}, which {dtype} does not hold well: divide "
        f"it by a number near {size[at]:.0e}{'' if limits.bits == 64 else more}."
    )
