"""What every way of fitting sets up: the frame of the data, known values in it, and the order."""

from typing import Any

import jax
import numpy as np

from gmm_jax._data import Frame
from gmm_jax._pytree import rebuild
from gmm_jax.families.kinds import filled
from gmm_jax.families.limits import ALONE, Limits, Sharing
from gmm_jax.fitting import arguments
from gmm_jax.mixture import Mixture


def choose_frame(
    points: np.ndarray,
    weight: np.ndarray,
    family: Any,
    prior: Any,
    sharing: Sharing = ALONE,
    frame: Frame | None = None,
) -> Frame:
    """Centre and scale the data, where the family allows it.

    Features that share a parameter share a unit.
    `frame` is that of the data where it is known already.
    Of a column without spread the unit is what the prior expects there, if there is one; it is
    given spread.
    """
    if frame is None:
        frame = Frame.of(points, weight, family.centred, family.scaled)
    if sharing.features:
        frame = frame._replace(unit=np.full_like(frame.unit, frame.unit.max()))
    if prior is None:
        return frame
    constant = np.ptp(points[weight > 0], axis=0) == 0
    if not np.any(constant):
        return frame
    scales = np.asarray(getattr(prior.components, "typical_scale", np.ones(1)))
    expected = np.broadcast_to(scales.mean(0), points.shape[1:])
    unit = np.where(constant, np.exp2(np.round(np.log2(expected))), frame.unit)
    return Frame(frame.centre, unit)


def prior_inside(prior: Any, frame: Frame, k: int, event: tuple[int, ...], dtype: Any) -> Any:
    """The prior of the mixture of centred and scaled data; computed in float64."""
    exact = jax.tree.map(lambda a: np.asarray(a, np.float64), prior).spread(k, event)
    moved = exact.affine(-frame.centre / frame.unit, 1 / frame.unit)
    return jax.tree.map(lambda a: np.asarray(a, dtype), moved)


def share_known(known: dict[str, np.ndarray], sharing: Sharing) -> dict[str, np.ndarray]:
    """Known parameters, with what is known of one component known of all that share it.

    Raises:
        ValueError: entries that are shared are fixed to different numbers.
    """
    known = dict(known)
    for name, value in known.items():
        groups = np.array(dict(sharing.groups).get(name, range(len(value))))
        axes = (0, -1) if name in sharing.features and value.ndim > 1 else (0,)
        filled = np.array(value)
        for group in np.unique(groups):
            own = value[groups == group]
            low = np.where(np.isnan(own), np.inf, own).min(axes, keepdims=True)
            high = np.where(np.isnan(own), -np.inf, own).max(axes, keepdims=True)
            if np.any(low < high):
                raise ValueError(
                    f"fixed[{name!r}] has different numbers for what shared or covariance_type "
                    f"says is one: fix it to one number, or don't share it."
                )
            filled[groups == group] = np.where(np.isfinite(low), low, np.nan)
        known[name] = filled
    if sharing.shares("weights") and "weights" in known:
        arguments.check_fixed_weights(known["weights"])
    return known


def known_inside(
    known: dict[str, np.ndarray],
    family: Any,
    frame: Frame,
    k: int,
    event: tuple[int, ...],
    dtype: Any,
) -> tuple[Mixture, Mixture]:
    """Known parameters in the frame, and which are known: two mixtures, of numbers and booleans."""
    values = dict(known)
    weights = values.pop("weights", np.full(k, np.nan))
    inside = filled(family, k, event, values).affine(-frame.centre / frame.unit, 1 / frame.unit)
    mixture = rebuild(Mixture, weights=weights, components=inside)
    held = jax.tree.map(lambda a: np.isfinite(a), mixture)
    return jax.tree.map(lambda a: np.nan_to_num(a).astype(dtype), mixture), held


def count_free(limits: Limits, family: Any) -> int:
    """How many numbers are free in a mixture; weights sum to one."""
    weights = limits.sharing.distinct("weights", ~np.asarray(limits.held.weights))
    return max(weights - 1, 0) + family.count_free(limits.components)


def are_named(known: dict[str, np.ndarray], sharing: Sharing, prior: Any = None) -> bool:
    """Whether something tells components apart, so that they must keep their places."""
    apart = any(not sharing.by_all(name) for name, _ in sharing.groups)
    return bool(known) or apart or not getattr(prior, "exchangeable", True)


def in_order(mixture: Mixture, *alike: Any) -> Any:
    """Sort components by their first feature's mean (or other leading parameter), ascending.

    What is `alike`, with components on the first axis of every array, is returned beside.
    """
    if mixture.components.order is None:
        return (mixture, *alike) if alike else mixture
    order = np.argsort(np.asarray(mixture.components.order), kind="stable")
    ordered = jax.tree.map(lambda a: np.asarray(a)[order], (mixture, *alike))
    return ordered if alike else ordered[0]


def each_in_order(mixtures: Mixture) -> Mixture:
    """Sort the components of each of many mixtures as `in_order` does those of one."""
    from gmm_jax import relabelling  # quicker to import when first used

    return relabelling.permuted(mixtures, relabelling.by_order(mixtures))


def begin_inside(start: Any, frame: Frame, n: int, rows: int, dtype: Any) -> Any:
    """A given start in the frame: a mixture, or responsibilities filled up to `rows` rows."""
    if isinstance(start, Mixture):
        exact = jax.tree.map(lambda a: np.asarray(a, np.float64), start.components)
        components = exact.affine(-frame.centre / frame.unit, 1 / frame.unit)
        moved = rebuild(Mixture, weights=start.weights, components=components)
        return jax.tree.map(lambda a: np.asarray(a, dtype), moved)
    return np.pad(np.asarray(start, dtype), ((0, rows - n), (0, 0)))
