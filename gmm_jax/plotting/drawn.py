"""The numbers that pictures show: points, parameters, and densities of some of the features."""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from gmm_jax import posterior_means, relabelling
from gmm_jax._pytree import rebuild
from gmm_jax.families import (
    Bernoulli,
    Categorical,
    Exponential,
    Gamma,
    Heterogeneous,
    MultivariateNormal,
    MultivariateStudentT,
    Normal,
    PointMass,
    Poisson,
    Product,
    StudentT,
)
from gmm_jax.mixture import Mixture
from gmm_jax.plotting.axis import Axis
from gmm_jax.posterior_fit import PosteriorFit
from gmm_jax.results import PointFit

MOST_DRAWS, FEWER_DRAWS = 2000, 500
MOST_POINTS = 5000
"""More are not drawn one by one."""
MOST_WEIGHED = 20_000
"""So many points stand for all where moments are taken of points."""
CATEGORY, COUNT, NUMBER = "category", "count", "number"


class Parameters(NamedTuple):
    """Of a point estimate (s = 1), or of draws thinned to `MOST_DRAWS`; float64."""

    weights: np.ndarray
    """(s, k)."""
    centres: np.ndarray
    """(s, k, d): means, or probabilities of a one."""
    scales: np.ndarray
    """(s, k, d)."""
    correlations: np.ndarray
    """(s, k), of the first two features."""


def parameters(result: PointFit | PosteriorFit, dims: Sequence[int] | None = None) -> Parameters:
    """Centres and scales of the components, in the data's unit, of some features or of all.

    Of families without such parameters they are those of the points that a component holds.
    """
    mixture = exact(thinned(result))
    weights, components = mixture.weights, mixture.components
    chosen = slice(None) if dims is None else list(dims)
    correlations = np.zeros(weights.shape)
    if isinstance(components, MultivariateNormal | MultivariateStudentT):
        trils = components.scale_trils[..., chosen, :]
        scales = np.sqrt((trils**2).sum(-1))
        if scales.shape[-1] > 1:
            products = (trils[..., 0, :] * trils[..., 1, :]).sum(-1)
            correlations = products / scales[..., :2].prod(-1)
        return Parameters(weights, components.means[..., chosen], scales, correlations)
    moments = _moments(components)
    if moments is None:
        return _moments_of_points(result, chosen)
    flat = (np.broadcast_to(m, moments[0].shape).reshape(*weights.shape, -1) for m in moments)
    centres, scales = (a[..., chosen] for a in flat)
    return Parameters(weights, centres, np.maximum(scales, np.finfo(float).tiny), correlations)


def first_means(result: PosteriorFit) -> Float[np.ndarray, "s k"] | None:
    """Mean of the first feature under each component of every draw, where the family has such."""
    components = exact(result).components
    if isinstance(components, MultivariateNormal | MultivariateStudentT):
        return np.asarray(components.means)[..., 0]
    moments = _moments(components)
    return None if moments is None else moments[0].reshape(*result.inside.weights.shape, -1)[..., 0]


def _moments(components: Any) -> tuple[Any, Any] | None:
    """Centres and scales of independent features, where the family has such."""
    match components:
        case Normal() | StudentT():
            return components.means, components.scales
        case Poisson():
            return components.rates, np.sqrt(components.rates)
        case Exponential():
            return 1 / components.rates, 1 / components.rates
        case Gamma():
            return components.shapes / components.rates, np.sqrt(
                components.shapes
            ) / components.rates
        case Bernoulli():
            return components.probs, np.sqrt(components.probs * (1 - components.probs))
    return None


def _moments_of_points(result: PointFit | PosteriorFit, chosen: Any) -> Parameters:
    """Mean, standard deviation and correlation of the points that each component holds."""
    points, weight = real_points(result)
    index = some(len(points), MOST_WEIGHED)
    shares = np.asarray(result.responsibilities(as_data(result, points[index])), np.float64)
    shares = shares * weight[index, None]
    columns = points[index][:, chosen]
    seen = ~np.isnan(columns)
    middle, spread = np.nanmean(columns, 0), np.nanstd(columns, 0)
    off = np.where(seen, columns - middle, 0)
    mass = np.maximum(shares.T @ seen, np.finfo(float).tiny)
    means = shares.T @ off / mass
    scales = np.sqrt(np.maximum(shares.T @ off**2 / mass - means**2, 0))
    scales = np.maximum(scales, np.where(spread > 0, 1e-3 * spread, 1))
    weights = np.asarray(result.inside.weights, np.float64)
    correlations = np.zeros(weights.shape[-1])
    if columns.shape[1] > 1:
        both = np.maximum(shares.T @ seen[:, :2].all(1), np.finfo(float).tiny)
        products = shares.T @ off[:, :2].prod(1) / both - means[:, :2].prod(1)
        correlations = np.clip(products / scales[:, :2].prod(1), -0.999, 0.999)
    weights = weights.reshape(-1, weights.shape[-1]).mean(0)
    return Parameters(weights[None], (means + middle)[None], scales[None], correlations[None])


def exact(result: PointFit | PosteriorFit) -> Mixture:
    """The mixtures, on the first axis, in the data's unit and in float64.

    The result's own are in its precision, which may be too coarse far from zero.
    """
    inside = jax.tree.map(lambda a: np.asarray(a, np.float64), _stacked(result))
    moved = inside.components.affine(result.frame.centre, result.frame.unit)
    return rebuild(Mixture, weights=inside.weights, components=jax.tree.map(np.asarray, moved))


def _stacked(result: PointFit | PosteriorFit) -> Mixture:
    """The mixtures in the frame, on the first axis."""
    if isinstance(result, PosteriorFit):
        return result.inside
    return jax.tree.map(lambda a: a[None], result.inside)


@dataclasses.dataclass(frozen=True, eq=False)
class Renamed(PosteriorFit):
    """Draws whose components were relabelled for a picture."""


def as_named(result: Any) -> Any:
    """The same, or draws with labels that mean something where relabelling gives them such."""
    if not isinstance(result, PosteriorFit) or not result.doubt:
        return result
    relabelled = result.relabel("stephens")
    if not relabelled.told_apart:
        return result
    values = {field.name: getattr(result, field.name) for field in dataclasses.fields(result)}
    inside = relabelling.permuted(result.inside, relabelled.permutation)
    return Renamed(**(values | {"inside": inside}))


def thinned(result: Any, most: int = MOST_DRAWS) -> Any:
    """The same with at most so many draws."""
    if not isinstance(result, PosteriorFit) or result.n_draws <= most:
        return result
    picked = np.linspace(0, result.n_draws - 1, most).astype(int)
    inside = jax.tree.map(lambda a: np.asarray(a)[picked], result.inside)
    return dataclasses.replace(result, inside=inside)


def real_points(result: PointFit | PosteriorFit) -> tuple[np.ndarray, np.ndarray]:
    """Points that count, (n, d), and how much."""
    weight = np.asarray(result.sample_weight)
    points = np.asarray(result.data)[weight > 0].astype(np.float64)
    return points.reshape(len(points), -1), weight[weight > 0]


def as_data(result: PointFit | PosteriorFit, points: np.ndarray) -> np.ndarray:
    """Rows of features as the result takes them."""
    return points.reshape(-1, *result.data.shape[1:])


def some(n: int, most: int = MOST_POINTS) -> Int[np.ndarray, "m"]:
    """Which of n points are drawn: all, or so many at random, in order."""
    if n <= most:
        return np.arange(n)
    return np.sort(np.random.default_rng(0).choice(n, most, replace=False))


def axis_of(
    result: PointFit | PosteriorFit, drawn: Parameters, i: int, j: int, points: np.ndarray
) -> Axis:
    """Where to look for feature j, the i-th of those drawn, given its values; none below zero
    for families of counts and other positive numbers."""
    least, thinnest = -np.inf, 0.0
    if columns(result)[j] == COUNT:
        least, thinnest = (-0.7 if points.min() >= 0 else -np.inf), 0.3
    elif isinstance(result.inside.components, Exponential | Gamma):
        least = 0.0
    centres, scales = drawn.centres[..., i], np.maximum(drawn.scales[..., i], thinnest)
    return Axis.around(drawn.weights, centres, scales, points, least)


def columns(result: PointFit | PosteriorFit) -> list[str]:
    """What each feature is: `NUMBER`, `COUNT` or `CATEGORY`."""
    d = int(np.prod(result.data.shape[1:], dtype=int))
    return _columns(result.inside.components, d)


def _columns(components: Any, d: int) -> list[str]:
    if isinstance(components, Product):
        found = [NUMBER] * d
        for part, places in zip(components.parts, components.columns_of_parts, strict=True):
            places = np.atleast_1d(places)
            for place, word in zip(places, _columns(part, len(places)), strict=True):
                found[place] = word
        return found
    if isinstance(components, Heterogeneous):
        words = {word for part in components.parts for word in _columns(part, 1)}
        return [min(words, key=(NUMBER, CATEGORY, COUNT).index)] * d
    if isinstance(components, Bernoulli | Categorical):
        return [CATEGORY] * d
    return [COUNT if isinstance(components, Poisson | PointMass) else NUMBER] * d


def marginal_density(
    result: PointFit | PosteriorFit, dims: Sequence[int], points: Float[np.ndarray, "m e"]
) -> Float[np.ndarray, "m k"] | None:
    """Share times density of each component in some of the features; with draws, their mean.

    None where the family doesn't know its marginals.
    """
    d = int(np.prod(result.data.shape[1:], dtype=int))
    if list(dims) == list(range(d)):
        few = thinned(result, FEWER_DRAWS)
        return np.exp(np.asarray(few.log_joint(as_data(result, points)), np.float64))
    draws = _stacked(thinned(result, FEWER_DRAWS))
    components: Any = draws.components
    if not hasattr(components, "marginal"):
        return None
    chosen = jax.vmap(lambda c: c.marginal(list(dims)))(jax.tree.map(jnp.asarray, components))
    marginal = rebuild(Mixture, weights=jnp.asarray(draws.weights), components=chosen)
    centre, unit = (a[list(dims)] for a in result.frame)
    inside = jnp.asarray((points - centre) / unit, marginal.weights.dtype)
    log_joint, _ = posterior_means.mean_log_joint(marginal, inside)
    return np.exp(np.asarray(log_joint, np.float64) - np.log(unit).sum())
