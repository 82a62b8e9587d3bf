"""What fits to many data sets return."""

import functools
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gmm_jax import em
from gmm_jax._data import Frame
from gmm_jax._pytree import rebuild
from gmm_jax._sets import Sets
from gmm_jax.families.kinds import named, with_known
from gmm_jax.families.limits import Limits
from gmm_jax.mixture import Mixture
from gmm_jax.results import PointFit
from gmm_jax.saving import Savable


@dataclass(frozen=True, eq=False)
class ManyFits(Savable):
    """Point estimates of s data sets; index it for the `PointFit` of one."""

    sets: Sets
    """The data, end to end."""
    frame: Frame
    """A centre and a unit of each set."""
    reason: str
    """How the fits were made."""
    inside: Mixture
    """Mixtures in centred and scaled units, stacked on the first axis."""
    log_likelihood: np.ndarray
    """Of each set at its estimate, in nats, (s,)."""
    n_parameters: int
    """How many were free in each."""
    limits: Limits
    """What was held and shared in each."""
    status: np.ndarray
    """(s,); `em.MEANING` says what each number means."""
    n_steps: np.ndarray
    """EM steps of the run that was kept, (s,)."""
    fixed: dict[str, np.ndarray] | None = None
    """What was known of each, by name, in the data's unit; NaN where free."""

    def __len__(self) -> int:
        return len(self.status)

    def __getitem__(self, i: int) -> PointFit:
        """The fit of one set. Its history holds the last objective only."""
        i = range(len(self))[i]
        rows = self.sets.rows(i)
        frame = Frame(self.frame.centre[i], self.frame.unit[i])
        weight = self.sets.sample_weight[rows]
        history = np.full(max(1, self.n_steps[i]), np.nan)
        history[-1] = self.log_likelihood[i] / weight.sum()
        return PointFit(
            data=self.sets.points[rows],
            sample_weight=weight,
            frame=frame,
            method="em",
            reason=self.reason,
            inside=jax.tree.map(lambda a: a[i], self.inside),
            log_likelihood=float(self.log_likelihood[i]),
            n_parameters=self.n_parameters,
            status=int(self.status[i]),
            history=history,
            restarts=None,
            limits=self.limits,
            fixed=self.fixed,
        )

    @functools.cached_property
    def mixtures(self) -> Mixture:
        """The estimates in the data's units, stacked on the first axis of every array."""
        with jax.enable_x64(True):
            exact = jax.tree.map(lambda a: jnp.asarray(a, np.float64), self.inside.components)
            moved = jax.vmap(lambda c, centre, unit: c.affine(centre, unit))(exact, *self.frame)
            moved = with_known(jax.tree.map(np.asarray, moved), self.fixed)
        dtype = self.inside.weights.dtype
        components = jax.tree.map(lambda a: jnp.asarray(a.astype(dtype)), moved)
        return rebuild(Mixture, weights=jnp.asarray(self.inside.weights), components=components)

    @property
    def converged(self) -> np.ndarray:
        """Which sets' runs reached their optimum, (s,) booleans."""
        return self.status == em.CONVERGED

    @property
    def bic(self) -> np.ndarray:
        """Bayesian information criterion of each set: lower is better."""
        return -2 * self.log_likelihood + self.n_parameters * np.log(self.sets.sizes())

    @property
    def aic(self) -> np.ndarray:
        """Akaike information criterion of each set: lower is better."""
        return -2 * self.log_likelihood + 2 * self.n_parameters

    def summary(self) -> str:
        """How many sets ended how, and in how many steps."""
        k, name = self.inside.weights.shape[1], type(self.inside.components).__name__
        per_point = self.log_likelihood / self.sets.sizes()
        ended = [
            f"{count:>8} {em.MEANING[status]}"
            for status, count in enumerate(np.bincount(self.status, minlength=4))
            if count
        ]
        low, middle, high = np.quantile(per_point, (0, 0.5, 1))
        return "\n".join(
            [
                f"{len(self)} data sets, {k} {name} components each. {self.reason}",
                "",
                *ended,
                "",
                f"log likelihood per point: median {middle:.4f}, from {low:.4f} to {high:.4f}",
                f"steps: median {np.median(self.n_steps):.0f}, most {self.n_steps.max()}",
            ]
        )

    def to_frame(self) -> Any:
        """One row a set as a pandas data frame: how the fit went, and its parameters.

        Example:
            >>> import gmm_jax
            >>> many = gmm_jax.fit_many([[1.0, 2.0, 8.0, 9.5], [498, 352, 501, 349, 497]], 2)
            >>> round(float(many.to_frame()["means[1]"][1]), 2)
            498.67
        """
        import pandas

        parameters = {"weights": self.mixtures.weights, **named(self.mixtures.components)}
        columns = {
            "size": self.sets.sizes(),
            "log_likelihood": self.log_likelihood,
            "bic": self.bic,
            "aic": self.aic,
            "n_steps": self.n_steps,
            "status": [em.MEANING[status] for status in self.status],
        } | {
            f"{name}[{', '.join(map(str, index))}]": np.asarray(values)[:, *index]
            for name, values in parameters.items()
            for index in np.ndindex(values.shape[1:])
        }
        return pandas.DataFrame(columns).rename_axis("set")

    def __str__(self) -> str:
        return self.summary()
