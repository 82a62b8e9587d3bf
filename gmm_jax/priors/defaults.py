"""Weakly informative priors from the centre and the spread of the data."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from gmm_jax._checks import as_count
from gmm_jax._data import as_points
from gmm_jax._pytree import rebuild
from gmm_jax.families import (
    Bernoulli,
    Categorical,
    Exponential,
    Gamma,
    MultivariateNormal,
    Normal,
    Poisson,
    StudentT,
)
from gmm_jax.families.categorical import Levels
from gmm_jax.families.kinds import seen
from gmm_jax.families.product import ProductOf
from gmm_jax.priors.conjugate_rates import GammaExponential, GammaPoisson
from gmm_jax.priors.conjugate_shares import BetaBernoulli, DirichletCategorical
from gmm_jax.priors.gamma_inverse_gamma import GammaInverseGamma
from gmm_jax.priors.independent import Entries, IndependentPrior
from gmm_jax.priors.mixtures import MixturePrior
from gmm_jax.priors.normal_inverse_wishart import NormalInverseWishart
from gmm_jax.priors.products import ProductPrior
from gmm_jax.priors.semiconjugate_normal import SemiconjugateNormal

FINEST = 10
"""What the prior is worth fills one over this of the volume of a part."""


class Cut(NamedTuple):
    """Into how many parts k components cut each column."""

    parts: float
    finest: float
    """If there were `FINEST` times as many components."""


def default_prior(
    data: Any, n_components: int, family: Any = None, *, sample_weight: Any = None
) -> MixturePrior:
    """Build a weakly informative prior that knows where the data are and how wide, no more.

    With m and s the mean and standard deviation of a column, k components, which cut each of the d
    columns that have a unit into p = k^(1 / d) parts, and r = (10 k)^(1 / d), as if ten times as
    many components did::

        weights       ~ Dirichlet(1, ..., 1): every division is equally likely
        normal          variances ~ InverseGamma(1/2, (s / r)^2 / 2), means ~ N(m, 2 s)
        several         covariances ~ InverseWishart(d + 1, diag 2 (s / r)^2), means ~
                        N(m, r^2 covariances): every correlation is equally likely
        Student-t       means ~ N(m, 2 s), scales ~ LogNormal(log(s / 2 p), 1), and degrees of
                        freedom ~ Gamma(2, 1 / 10), which Juarez and Steel [3] take
        Poisson         rates ~ Gamma(1, 1 / m): exponential about the mean count
        exponential     rates ~ Gamma(1, 2 m / r): means of waits ~ InverseGamma(1, 2 m / r)
        gamma           sqrt(shapes) half-normal, scaled by 5 p; means ~ InverseGamma(1, 2 m / r)
        Bernoulli       probs ~ Beta(1, 1)
        categorical     probs ~ Dirichlet(1, ..., 1)

    Of a normal's standard deviation this is worth one point that deviates by s / r: in 90 of 100
    draws of the prior of a single column it lies between .05 / k and 1.6 / k of the data's. Of
    several features it is worth two points that deviate by s / r (from .58 to 4.4 s / r), and
    conjugate: means have a Student-t of 2 degrees of freedom, scaled by s. That a prior takes
    centre and spread from the data, and the width of components from the parts that these cut a
    column into, is Fraley and Raftery's [1]; theirs and Richardson and Green's [2] are surer of how
    wide components are, and would blur narrow ones far apart. The ten is one of volumes: were
    components so much narrower in each of many columns, clusters that are plainly apart would be
    more probable together, beside a few points that happen to lie close. Inverse gammas keep
    components from shrinking onto equal values, so that every posterior is proper, which densities
    of standard deviations that are merely low at 0 don't.

    Moving or rescaling the data moves or rescales the prior with them.

    Args:
        data: n points, (n,) or (n, d); NaN, a missing value, is passed over.
        n_components: How many, k.
        family: What each component is, as in `fit`; by default `MultivariateNormal` for several
            features and `Normal` for one.
        sample_weight: How often each point counts.

    Raises:
        ValueError: there is no prior of this family, or a column has no spread to go by.

    Example:
        >>> import gmm_jax
        >>> from gmm_jax.datasets import BENTOS
        >>> prior = gmm_jax.default_prior(BENTOS, n_components=2)
        >>> round(float(prior.components.mean), 1), round(float(prior.components.rate), 1)
        (440.1, 6.7)

    [1] Fraley and Raftery (2007), "Bayesian regularization for normal mixture estimation and
        model-based clustering".
    [2] Richardson and Green (1997), "On Bayesian analysis of mixtures with an unknown number of
        components".
    [3] Juarez and Steel (2010), "Model-based clustering of non-Gaussian panel data based on skew-t
        distributions".
    """
    points = as_points(data, missing=True).astype(np.float64)
    weight = np.ones(len(points))
    if sample_weight is not None:
        weight = as_points(sample_weight, "sample_weight").astype(np.float64)
        if weight.shape != (len(points),) or not np.any(weight > 0):
            raise ValueError(
                f"sample_weight must have one entry for each of {len(points)} rows, some above 0."
            )
    if family is None:
        several = points.ndim == 2 and points.shape[1] > 1
        family = MultivariateNormal if several else Normal
    if as_count("n_components", n_components) < 1:
        raise ValueError(f"n_components must be at least 1, got {n_components}.")
    used = points[weight > 0]
    d = max(1, int(np.broadcast_to(family.scaled, points.shape[1:]).sum()))
    cut = Cut(n_components ** (1 / d), (FINEST * n_components) ** (1 / d))
    return MixturePrior(1, _components(used, weight[weight > 0], cut, family))


def _components(points: np.ndarray, weight: np.ndarray, cut: Cut, family: Any) -> Any:
    """The prior of components that cut columns so; points all count."""
    if isinstance(family, ProductOf):
        pairs = zip(family.families, family.columns, strict=True)
        parts = [_components(points[:, c], weight, cut, own) for own, c in pairs]
        return ProductPrior(parts, family.columns)
    family = seen(family, points)
    if isinstance(family, Levels):
        return DirichletCategorical(np.ones(family.n_levels))
    if family not in MAKERS:
        names = ", ".join(kind.__name__ for kind in (*MAKERS, Categorical))
        raise ValueError(
            f"there is no prior of {getattr(family, '__name__', family)} components yet, only of "
            f"{names} and products of these: use method='em' without a prior."
        )
    family.check(points)
    mean, spread = _centre_and_spread(points, weight)
    return MAKERS[family](mean, spread, cut)


def _centre_and_spread(
    points: Float[np.ndarray, "n ..."], weight: Float[np.ndarray, "n"]
) -> tuple[Any, Any]:
    """Weighted mean and standard deviation of each column, of what is not missing."""
    there = ~np.isnan(points)
    share = np.where(there, weight.reshape(-1, *(1,) * (points.ndim - 1)), 0)
    total = share.sum(0)
    if not np.all(total > 0):
        raise ValueError("a column of data has no values, only NaN: drop it.")
    first = np.take_along_axis(points, np.argmax(there, 0)[None], 0)[0]
    shifted = np.where(there, points - first, 0)
    offset = (share * shifted).sum(0) / total
    squares = (share * np.where(there, shifted - offset, 0) ** 2).sum(0)
    return first + offset, np.sqrt(squares / total)


def _spread_to_go_by(spread: Any, mean: Any) -> Any:
    """Raise ValueError for a column of equal numbers, but for rounding."""
    if np.any(spread <= 8 * np.finfo(np.float64).eps * np.abs(mean)):
        raise ValueError(
            "a column of data is the same number throughout, so that its spread says nothing of "
            "how wide components may be: drop it, or write down a prior with a scale."
        )
    return spread


def _row(value: Any) -> Any:
    """One row of features for all components, or one number."""
    return np.asarray(value)[None] if np.ndim(value) else np.asarray(value)


def _normal(mean: Any, spread: Any, cut: Cut) -> SemiconjugateNormal:
    narrow = _spread_to_go_by(spread, mean) / cut.finest
    # Without the checks, which would round float64: a centre may be far from 0.
    return rebuild(
        SemiconjugateNormal,
        mean=_row(mean),
        mean_scale=_row(2 * spread),
        shape=np.asarray(0.5),
        rate=_row(narrow**2 / 2),
    )


def _multivariate_normal(mean: Any, spread: Any, cut: Cut) -> NormalInverseWishart:
    narrow = _spread_to_go_by(np.atleast_1d(spread), mean) / cut.finest
    return rebuild(
        NormalInverseWishart,
        mean=np.atleast_1d(mean),
        mean_count=np.asarray(cut.finest**-2.0),
        df=np.asarray(narrow.size + 1.0),
        scale_matrix=np.diag(2 * narrow**2),
    )


def _student_t(mean: Any, spread: Any, cut: Cut) -> IndependentPrior:
    from numpyro import distributions as dist

    usual = _spread_to_go_by(spread, mean) / (2 * cut.parts)
    return IndependentPrior(
        StudentT,
        means=Entries.exact("Normal", loc=_row(mean), scale=_row(2 * spread)),
        scales=dist.LogNormal(np.log(_row(usual)), 1.0),
        dfs=dist.Gamma(2.0, 0.1),
    )


def _poisson(mean: Any, spread: Any, cut: Cut) -> GammaPoisson:
    return GammaPoisson(1, 1 / _row(np.where(mean > 0, mean, 1)))


def _exponential(mean: Any, spread: Any, cut: Cut) -> GammaExponential:
    if not np.all(mean > 0):
        raise ValueError("a column of waiting times is 0 throughout: drop it.")
    return GammaExponential(1, 2 * _row(mean) / cut.finest)


def _gamma(mean: Any, spread: Any, cut: Cut) -> GammaInverseGamma:
    # The square of a half-normal scaled by r is a gamma of shape 1/2 and rate 1 / (2 r^2).
    return GammaInverseGamma(0.5, 0.5 / (5 * cut.parts) ** 2, 1, 2 * _row(mean) / cut.finest)


def _bernoulli(mean: Any, spread: Any, cut: Cut) -> BetaBernoulli:
    return BetaBernoulli(1, 1)


MAKERS: dict[Any, Any] = {
    Normal: _normal,
    MultivariateNormal: _multivariate_normal,
    Poisson: _poisson,
    Exponential: _exponential,
    Gamma: _gamma,
    Bernoulli: _bernoulli,
    StudentT: _student_t,
}
"""From mean and standard deviation of each column, which are of one unit, and how it is cut."""
