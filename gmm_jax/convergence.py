"""Whether Markov chains agree and how many draws they are worth, and draws for ArviZ.

ArviZ does the arithmetic: R-hat and effective sample sizes of normalised ranks [1].

[1] Vehtari, Gelman, Simpson, Carpenter and Buerkner (2021), "Rank-normalization, folding, and
    localization: an improved R-hat for assessing convergence of MCMC".
"""

import importlib
import threading
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from gmm_jax.families.kinds import named

AGREE = 1.01
"""Chains whose R-hat is above do not agree yet."""
TAILS = 0.1
"""Share of the draws whose two tails the tail's effective sample size is about."""


class Quality(NamedTuple):
    """What chains say about one quantity."""

    r_hat: float
    ess_bulk: float
    ess_tail: float


def get_ready() -> None:
    """Import ArviZ, which takes a second or two, while the chains are compiled."""
    name = "arviz_stats.base.array"
    threading.Thread(target=importlib.import_module, args=[name], daemon=True).start()


def table(values: dict[str, Any]) -> dict[str, Quality]:
    """R-hat and effective sample sizes of every quantity.

    Args:
        values: By name, (c, s, ...): c chains of s draws. Every entry is a quantity of its own,
            named as in "means[0]"; those that never change are left out.

    Returns:
        By name, `r_hat`, `ess_bulk` and `ess_tail`.

    Example:
        >>> import numpy as np
        >>> from gmm_jax.convergence import table
        >>> chains = np.random.default_rng(0).normal(size=(4, 1000))
        >>> table({"mean": chains})["mean"].r_hat < 1.01
        True
    """
    from arviz_stats.base.array import array_stats

    found = {}
    for name, array in values.items():
        array = np.asarray(array, np.float64)
        for index in np.ndindex(array.shape[2:]):
            own = array[(..., *index)]
            if np.ptp(own) == 0:
                continue
            axes = dict(chain_axis=0, draw_axis=1)
            label = name + (f"[{', '.join(map(str, index))}]" if index else "")
            found[label] = Quality(
                float(array_stats.rhat(own, **axes)),
                float(array_stats.ess(own, method="bulk", **axes)),
                float(array_stats.ess(own, method="tail", prob=TAILS, **axes)),
            )
    return found


def worth(values: Float[np.ndarray, "c s"]) -> float:
    """How many independent draws would tell the mean as well."""
    from arviz_stats.base.array import array_stats

    return float(array_stats.ess(values, chain_axis=0, draw_axis=1, method="mean"))


def worst(found: dict[str, Quality]) -> Quality:
    """The largest R-hat and the smallest effective sample sizes of all quantities."""
    rows = np.array(list(found.values())).reshape(-1, 3)
    if not rows.size:
        return Quality(np.nan, np.nan, np.nan)
    r_hat = np.inf if np.isnan(rows[:, 0]).any() else rows[:, 0].max()
    return Quality(float(r_hat), *(float(np.nanmin(rows[:, i])) for i in (1, 2)))


def tree(fit: Any, log_likelihood: bool) -> Any:
    """ArviZ's tree of a fit's draws."""
    from arviz_base import from_dict

    def by_chain(array: Any) -> np.ndarray:
        array = np.asarray(array)
        return array.reshape(fit.n_chains, -1, *array.shape[1:])

    posterior = {"weights": by_chain(fit.draws.weights)}
    dims = {"weights": ["component"]}
    for name, values in named(fit.draws.components).items():
        posterior[name] = by_chain(values)
        features = [f"{name}_{axis}" for axis in range(values.ndim - 2)]
        dims[name] = ["component", *features]
    groups = {"posterior": posterior, "observed_data": {"x": np.asarray(fit.data)}}
    dims["x"] = ["point", "feature"][: fit.data.ndim]
    if log_likelihood:
        density = fit.log_likelihood_by_draw()
        groups["log_likelihood"] = {"x": by_chain(density)}
    return from_dict(groups, dims=dims)
