"""`fit`: check the data, choose the method, run the kernels, and say what was done."""

from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jax import Array

from gmm_jax._checks import as_key
from gmm_jax._data import as_points, float_dtype
from gmm_jax.families.kinds import seen
from gmm_jax.fitting import arguments, options, priors, setting, sharded
from gmm_jax.fitting.point import fit_point
from gmm_jax.fitting.shares import fit_shares
from gmm_jax.results import PointFit

if TYPE_CHECKING:
    from gmm_jax.posterior_fit import PosteriorFit

MOST_DRAWS, MOST_CHAINS = 10**7, 10**4
"""More than anybody means, and fewer than fill the memory."""


def fit(
    data: Any,
    n_components: int | None = None,
    *,
    prior: Any = None,
    method: str = "auto",
    family: Any = None,
    covariance_type: str | None = None,
    fixed: dict[str, Any] | None = None,
    shared: dict[str, Any] | None = None,
    sample_weight: Any = None,
    start: Any = "kmeans++",
    n_restarts: int | None = None,
    max_steps: int = 1000,
    tol: float | None = None,
    proposal: str = "em",
    n_draws: int | None = None,
    n_chains: int | None = None,
    progress: bool | None = None,
    key: Array | None = None,
) -> "PointFit | PosteriorFit":
    """Fit a mixture: a point estimate by EM, or the posterior when there is a prior.

    Args:
        data: n points: a list, array, series or data frame column (n,), or n rows of d features.
            NaN is a value missing at random. A JAX array whose rows are split over devices or
            machines stays where it is (EM only).
        n_components: How many, k. May be left out when `fixed` gives one value per component.
        prior: Such as `DirichletNormalGamma`, or "default" for `default_prior` of the data: with it
            the posterior is sampled.
        method: "auto" (EM without a prior; with one the cheapest of the following samplers that
            suits, and the next where it doesn't do), "em" (with a prior: the posterior mode),
            "importance", "gibbs" (Markov chains: for large data; takes `fixed`, as SMC and NUTS do;
            without it, chains that disagree jump between explanations, which tells the evidence,
            too), "smc" (tempered sequential Monte Carlo from the prior to the posterior: where
            several explanations compete; gives the evidence), "nuts" (NumPyro's Markov chains on
            the density with assignments summed out) or "variational" (coordinate ascent, for
            conjugate priors: the quickest, an approximation that says how close it is; gives a
            lower bound on the evidence).
        family: What each component is: `Normal` (independent features), `MultivariateNormal`,
            `StudentT`, `MultivariateStudentT`, `Poisson`, `Exponential`, `Gamma`, `Bernoulli`,
            `Categorical`; for tables of mixed columns `Product.of(...)`, for different families in
            one mixture `Heterogeneous.of(...)`. If left out, the prior's; without one,
            `MultivariateNormal` for several features and `Normal` for one.
        covariance_type: For normal components of several features: "full" (the default), "tied"
            (one matrix for all), "diag", "tied_diag" or "spherical" (one variance a component).
        fixed: Known parameters by name, such as `{"probs": [0.8, 0.3]}`; NaN entries are free.
        shared: Parameters that components have in common, by name: True for all of them, or a
            group number for each component, such as `{"scales": [0, 0, 1]}`.
        sample_weight: How often each point counts; weight 3 is three copies.
        start: Where EM starts: "kmeans++", "random", a `Mixture`, or responsibilities (n, k).
        n_restarts: How many starts; by default 10, fewer for large data.
        max_steps: Most EM steps per start.
        tol: EM stops when the objective still to be gained is below this, in nats per point; by
            default 1e-7 in float32 and 1e-12 in float64.
        proposal: Where importance sampling draws from: "em" (informed by EM and Gibbs runs) or
            "prior".
        n_draws: How many draws to return, of all chains together; importance sampling and SMC use
            as many particles. By default 20,000 for importance sampling, 4,000 for SMC and 1,000 of
            each chain.
        n_chains: How many chains; by default 16 of Gibbs sampling, fewer for large data, 4 of NUTS.
        progress: Whether to tell on stderr how far samplers are; by default where that is a
            terminal. An interrupt of Gibbs chains and of NUTS keeps what was drawn.
        key: Random key; `jax.random.key(0)` if left out, so that a call repeated is the same call.

    Returns:
        `PointFit` or `PosteriorFit`. Both answer log_prob, responsibilities, assign, sample,
        summary and plot; `reason` says what was chosen and why.

    Raises:
        TypeError: data or parameters that are not numbers.
        ValueError: data or parameters that don't make sense; the message says what to do.

    Warns:
        FitWarning: a collapsed component, or a sample of the posterior that has collapsed.

    Example:
        >>> import gmm_jax
        >>> result = gmm_jax.fit([498, 352, 501, 349, 497, 503, 351, 500], 2)
        >>> [round(float(mean), 2) for mean in result.mixture.components.means]
        [350.67, 499.8]
    """
    key = None if key is None else as_key(key)
    whole = sharded.look(data, sample_weight, key)
    if whole is None:
        points = as_points(data, missing=True)
        weight = arguments.as_weights(sample_weight, points.shape[0])
    else:
        points, weight = whole.sample, whole.weight
    arguments.check_missing(points, weight)
    used = points[weight > 0]
    arguments.check_range(np.nanmin(used, 0), np.nanmax(used, 0), float_dtype(points))
    priors.check_kind(prior)
    method, reason = arguments.choose_method(method, prior)
    of_prior = None if isinstance(prior, str) else prior
    chosen = arguments.choose_family(family, covariance_type, of_prior, points)
    if whole is None:
        chosen.check(points[weight > 0])
    else:
        whole.check(chosen)
    chosen, event = seen(chosen, points[weight > 0]), points.shape[1:]
    n_components = arguments.as_number(n_components, chosen)
    known = arguments.as_fixed(fixed, chosen, n_components, event)
    k = arguments.count_components(n_components, known)
    names = arguments.parameters(chosen, k, event)
    sharing = arguments.as_sharing(shared, covariance_type, names)
    known = setting.share_known(known, sharing)
    if isinstance(prior, str):
        from gmm_jax.priors.defaults import default_prior  # quicker to import when first used

        prior = default_prior(points, k, chosen, sample_weight=weight)
    if prior is not None:
        priors.check_suits(prior, chosen, k, event, sharing)
        if method == "em":
            priors.check_conditional(prior, method)
    if key is None:
        reason = f"{reason}; with key 0, since none was given"

    if method != "em":
        if whole is not None:
            raise ValueError(
                "data on several devices are for EM: pass method='em', or for draws from the "
                "posterior the data (or a sample of them) as one NumPy array."
            )
        if method == "auto" and proposal != "em":
            method = "importance"
        priors.check_sampled(points, weight, k, prior, known, method)
        options.one_of("proposal", proposal, ("em", "prior"))
        if n_draws is not None:
            n_draws = options.whole("n_draws", n_draws, 100, MOST_DRAWS)
        if n_chains is not None:
            n_chains = options.whole("n_chains", n_chains, 2, MOST_CHAINS)
        key = jax.random.key(0) if key is None else key
        from gmm_jax.fitting.posterior import fit_posterior  # quicker to import when first used

        return fit_posterior(
            key,
            points,
            weight,
            k,
            prior,
            chosen,
            known,
            reason,
            method=method,
            proposal=proposal,
            n_draws=n_draws,
            n_chains=n_chains,
            progress=progress,
        )

    known_components = all(
        name in known and np.isfinite(known[name]).all() for name in names if name != "weights"
    )
    exact = prior is None and whole is None and known_components
    if exact and not {"weights"} & {*known, *(shared or {})}:
        return fit_shares(points, weight, known, chosen)
    if prior is None:
        arguments.check_enough(points, weight, k, chosen, known)
    return fit_point(
        key,
        points,
        weight,
        k,
        prior,
        chosen,
        known,
        sharing,
        reason,
        start=arguments.as_start(start, chosen, len(points), k, event),
        n_restarts=arguments.restarts(n_restarts, (whole.points if whole else points).size * k),
        max_steps=options.whole("max_steps", max_steps),
        tol=None if tol is None else options.not_negative("tol", tol),
        whole=whole,
    )
