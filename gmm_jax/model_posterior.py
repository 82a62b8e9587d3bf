"""Draws of the open choices of a generative function, and how far they can be trusted."""

import functools
import math
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from gmm_jax.convergence import AGREE, Quality, table, worst
from gmm_jax.saving import Savable

FEWEST = 400
"""Effective draws below which R-hat and quantiles are rough."""
DIVERGENT = 0.001
"""So large a share of draws may diverge by rounding alone."""
MOST_ROWS = 40
"""A summary has at most so many."""


@dataclass(frozen=True, eq=False)
class ModelPosterior(Savable):
    """Equally weighted draws from the posterior of a generative function.

    What a method doesn't give is NaN.
    """

    draws: dict[str, Any]
    """By address, nested as the model's choices are, draws on the first axis; those of one chain
    follow those of the one before."""
    method: str
    """"nuts", "smc" or "importance"."""
    reason: str
    """Why this method, and what it did."""
    n_chains: int
    n_divergent: int = 0
    """Draws of NUTS at which the integrator lost its way."""
    log_evidence: float = math.nan
    """Log probability density of the constraints, in nats."""
    log_evidence_error: float = math.nan
    """Its standard error, in nats."""
    effective_sample_size: float = math.nan
    """How many independent draws those of the other methods are worth."""

    @functools.cached_property
    def values(self) -> dict[str, np.ndarray]:
        """Draws by address, written "obs/mean": (c, s, ...), c chains of s draws."""
        flat, _ = jax.tree.flatten_with_path(self.draws)
        return {
            "/".join(str(part.key) for part in path): np.asarray(a).reshape(
                self.n_chains, -1, *a.shape[1:]
            )
            for path, a in flat
        }

    @functools.cached_property
    def quality(self) -> dict[str, Quality]:
        """R-hat, bulk and tail effective draws of every number; of NUTS only."""
        return table(self.values) if self.method == "nuts" else {}

    @property
    def n_draws(self) -> int:
        """s, how many draws there are, of all chains together."""
        return jax.tree.leaves(self.draws)[0].shape[0]

    @property
    def r_hat(self) -> float:
        """The largest R-hat of all numbers; chains agree where it is below 1.01."""
        return worst(self.quality).r_hat

    @property
    def ess(self) -> float:
        """How many independent draws the mean of the worst number rests on."""
        nuts = self.method == "nuts"
        return worst(self.quality).ess_bulk if nuts else self.effective_sample_size

    def summary(self) -> str:
        """A table of means, standard deviations and 90 % intervals, one number a line.

        Of chains also whether they agree, but for numbers that never change.
        """
        of_chains = ["R-hat", "bulk", "tail"] if self.quality else []
        lines = [self.reason, "", _row("", ["mean", "sd", "5%", "95%", *of_chains])]
        entries = [
            (name + (f"[{', '.join(map(str, index))}]" if index else ""), a[(..., *index)])
            for name, a in self.values.items()
            for index in np.ndindex(a.shape[2:])
        ]
        for name, own in entries[:MOST_ROWS]:
            figures = [own.mean(), own.std(), *np.quantile(own, (0.05, 0.95))]
            cells = [f"{figure:.4g}" for figure in figures]
            if name in self.quality:
                r_hat, bulk, tail = self.quality[name]
                cells += [f"{r_hat:.3f}", f"{bulk:.0f}", f"{tail:.0f}"]
            lines.append(_row(name, cells))
        if len(entries) > MOST_ROWS:
            lines.append(f"... and {len(entries) - MOST_ROWS} more numbers")
        if math.isfinite(self.log_evidence):
            error = f"standard error {self.log_evidence_error:.2g}"
            lines += ["", f"log evidence {self.log_evidence:.4f} ({error})"]
        if self.method != "nuts":
            lines.append(f"worth {self.effective_sample_size:.0f} independent draws")
        return "\n".join(lines)

    __str__ = summary

    def to_arviz(self) -> Any:
        """The draws as ArviZ's tree of chains and draws; a choice "obs/mean" is "obs.mean" there.

        Those of SMC and importance sampling are one chain.
        """
        from arviz_base import from_dict

        return from_dict({"posterior": {k.replace("/", "."): a for k, a in self.values.items()}})

    def verdict(self) -> str | None:
        """Say what is wrong with the chains and what to do; None when all is well."""
        problems = []
        if not self.r_hat <= AGREE:
            problems.append(
                f"the chains do not agree (R-hat {self.r_hat:.2f}): draw more (n_warmup, n_draws)"
            )
        if not self.ess >= FEWEST:
            problems.append(
                f"the draws are worth only {self.ess:.0f} independent ones: draw more (n_draws)"
            )
        if self.n_divergent > DIVERGENT * self.n_draws:
            problems.append(
                f"{self.n_divergent} draws diverged, so a narrow corner may be missed: pass a "
                f"higher accept, such as 0.95, or scale choices within the model"
            )
        return "; ".join(problems) + "." if problems else None


def _row(name: str, cells: list[str]) -> str:
    return f"{name:<16}" + "".join(f"{cell:>12}" for cell in cells)
