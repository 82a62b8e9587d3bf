"""How far a point estimate may be from the truth: by resampling the data, or by curvature."""

from jax import Array

from gmm_jax import em
from gmm_jax._sharding import here
from gmm_jax.fitting.arguments import one_of, whole
from gmm_jax.results import PointFit
from gmm_jax.standard_errors.bootstrap import from_bootstrap
from gmm_jax.standard_errors.information import from_information
from gmm_jax.standard_errors.parameters import StandardErrors

__all__ = ["StandardErrors", "standard_errors"]


def standard_errors(
    fit: PointFit, method: str = "bootstrap", n_resamples: int = 200, key: Array | None = None
) -> StandardErrors:
    """Estimate the standard errors of a fit's parameters.

    Args:
        fit: A point estimate.
        method: "bootstrap" draws as many points as the data have, from the data and with
            replacement, and fits again; a point of weight 3 counts as 3. "information" inverts the
            curvature of the log likelihood at the estimate: quick, and right for large data.
        n_resamples: How often the bootstrap draws.
        key: Random key of the bootstrap; fixed if left out.

    Returns:
        Standard errors by parameter, and the covariance of all parameters.

    Raises:
        ValueError: the curvature is singular, or a parameter is on its boundary; most resamples
            have no sound fit.

    Warns:
        FitWarning: some resamples have no sound fit and were left out.

    Example:
        >>> import gmm_jax
        >>> errors = gmm_jax.fit([1.0, 2.0, 4.0, 5.0], 1).standard_errors("information")
        >>> round(float(errors.components.means[0]), 3)  # s / sqrt(n)
        0.791
    """
    one_of("method", method, ("bootstrap", "information"))
    here(fit.data, "standard_errors")
    if fit.status in (em.COLLAPSED, em.NOT_FINITE):
        raise ValueError(
            f"standard_errors needs a sound fit, but in this one {em.MEANING[fit.status]}: "
            "fit fewer components, or pass a prior."
        )
    if method == "information":
        return from_information(fit)
    n_resamples = whole("n_resamples", n_resamples, 2)
    return from_bootstrap(fit, n_resamples, key)
