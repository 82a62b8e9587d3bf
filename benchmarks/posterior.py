"""Effective draws per second: our Gibbs chains against NumPyro's and blackjax's NUTS.

NUTS moves in the same density, assignments summed out, and all chains of a sampler set out from the
same places, half around EM fits and half drawn from the prior (`fit` finds its own such places, in
the time that is counted). What counts is the smallest bulk effective sample size of the log
likelihood and of the density at eight points, computed from the draws of all samplers in the same
way, over the seconds of a whole run, warm-up included. Each sampler has a process of its own: its
first run compiles (all that is to be imported was), the others must not, which is counted. R-hat
above 1.05 is no result.

    python benchmarks/posterior.py                      # all of it: an hour
    python benchmarks/posterior.py --quick              # bentos, short chains
    python benchmarks/posterior.py --problems bentos --samplers "Gibbs, fit" blackjax
"""

import argparse
import functools
import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from paired import header

import gmm_jax
from gmm_jax import (
    MixturePrior,
    NormalInverseGamma,
    NormalInverseWishart,
    convergence,
    mixture_gibbs,
    mixture_nuts,
    nuts,
)
from gmm_jax.datasets import BENTOS
from gmm_jax.fitting import chains
from gmm_jax.fitting.task import Task
from gmm_jax.table import log_joint

RIVALS = ("NumPyro", "blackjax")
WITNESSES = 8
CONVERGED = 1.05
COMPILED = "/jax/core/compile/backend_compile_duration"


class Problem(NamedTuple):
    """A posterior, and how many chains go through it."""

    data: np.ndarray
    prior: Any
    n_components: int
    n_chains: int


def bentos() -> Problem:
    """20 weights, with the tutorial's prior."""
    prior = gmm_jax.DirichletNormalGamma(concentration=1, mean=400, mean_scale=50, shape=2, rate=1)
    return Problem(np.asarray(BENTOS, np.float32), prior, 2, 16)


def plane() -> Problem:
    """A thousand points of four clusters in two columns."""
    rng = np.random.default_rng(0)
    centres = np.array([[-3.0, -3], [-3, 3], [3, -3], [3, 3]])
    data = centres[rng.integers(4, size=1000)] + rng.normal(size=(1000, 2))
    prior = NormalInverseWishart([0, 0], mean_count=0.05, df=4, scale_matrix=np.eye(2))
    return Problem(data.astype(np.float32), MixturePrior(1, prior), 4, 16)


def line() -> Problem:
    """Ten thousand numbers of four clusters."""
    rng = np.random.default_rng(0)
    data = np.array([-6.0, -2, 2, 6])[rng.integers(4, size=10_000)] + rng.normal(size=10_000)
    prior = NormalInverseGamma(mean=0, mean_count=0.02, shape=2, rate=2)
    return Problem(data.astype(np.float32), MixturePrior(1, prior), 4, 4)


def large() -> Problem:
    """A hundred thousand points of eight clusters that overlap, in eight columns."""
    rng = np.random.default_rng(0)
    centres = 2 * rng.normal(size=(8, 8))
    data = centres[rng.integers(8, size=100_000)] + rng.normal(size=(100_000, 8))
    prior = NormalInverseWishart(np.zeros(8), mean_count=0.05, df=10, scale_matrix=np.eye(8))
    return Problem(data.astype(np.float32), MixturePrior(1, prior), 8, 4)


PROBLEMS = {
    "bentos": bentos,
    "n 1e3, k 4, d 2": plane,
    "n 1e4, k 4, d 1": line,
    "n 1e5, k 8, d 8": large,
}


class Setting(NamedTuple):
    """One posterior in the form that all samplers take."""

    problem: Problem
    task: Task
    starts: Any
    """A mixture for each chain."""
    density: mixture_nuts.Arguments
    n_draws: int
    """Of each chain, after as many to warm up."""

    @classmethod
    def of(cls, problem: Problem, n_draws: int) -> "Setting":
        """Choose starts."""
        data, prior, k, n_chains = problem
        weight = np.ones(len(data))
        task = Task.of(data, weight, prior.family, prior, k, {})
        inside = jax.tree.map(jnp.asarray, task.prior)
        known = jax.tree.map(jnp.asarray, task.known)
        posterior = mixture_gibbs.Arguments(task.table(), inside, task.floor, None)
        starts = chains._starts(
            jax.random.key(99), posterior, known, family=task.family, n_chains=n_chains
        )
        sites = mixture_nuts._known(inside, known, None, starts)
        density = mixture_nuts.Arguments(posterior.table, inside, task.floor, sites)
        return cls(problem, task, starts, density, n_draws)

    @property
    def positions(self) -> Any:
        """The starts where every number may take any value."""
        return mixture_nuts._free(self.starts, self.density)


def fitted(setting: Setting, method: str) -> Callable[[Any], Any]:
    """Everything that `fit` does: starts, warm-up, draws, checks."""
    data, prior, k, n_chains = setting.problem
    options = dict(prior=prior, method=method)
    if method == "gibbs":
        options["n_chains"] = n_chains

    def run(key: Any) -> Any:
        result = gmm_jax.fit(data, k, n_draws=setting.n_draws * n_chains, key=key, **options)
        return jax.tree.map(lambda a: a.reshape(n_chains, -1, *a.shape[1:]), result.inside)

    return run


def gibbs_kernel(setting: Setting) -> Callable[[Any], Any]:
    """The kernel alone."""
    table, prior, floor, _ = setting.density
    arguments = mixture_gibbs.Arguments(table, prior, floor, None)
    temperatures = jnp.ones(2 * setting.n_draws, floor.dtype)

    def run(key: Any) -> Any:
        options = dict(named=False, partial=False)
        _, draws, _ = mixture_gibbs.advance(key, setting.starts, arguments, temperatures, **options)
        return jax.tree.map(lambda a: a[:, setting.n_draws :], draws)

    return run


def own_nuts(setting: Setting) -> Callable[[Any], Any]:
    """NumPyro's step in our loop."""
    positions, sizes = setting.positions, dict(n_warmup=setting.n_draws, n_draws=setting.n_draws)

    def run(key: Any) -> Any:
        drawn, _ = nuts.run(key, mixture_nuts.log_density, setting.density, positions, **sizes)
        return mixture_nuts._mixtures(drawn, setting.density)

    return run


def numpyro(setting: Setting) -> Callable[[Any], Any]:
    """NumPyro's NUTS by its own MCMC, chains vectorised.

    All in one `jit`, without which it compiles again in every run.
    """
    from numpyro.infer import MCMC, NUTS

    positions = setting.positions
    sizes = dict(num_warmup=setting.n_draws, num_samples=setting.n_draws)
    ways = dict(chain_method="vectorized", progress_bar=False)

    @jax.jit
    def every(key: Any, positions: Any, density: Any) -> Any:
        kernel = NUTS(potential_fn=lambda at: -mixture_nuts.log_density(at, density))
        sampler = MCMC(kernel, num_chains=setting.problem.n_chains, **sizes, **ways)
        sampler.run(key, init_params=positions)
        return sampler.get_samples(group_by_chain=True)

    def run(key: Any) -> Any:
        return mixture_nuts._mixtures(every(key, positions, setting.density), setting.density)

    return run


def blackjax(setting: Setting) -> Callable[[Any], Any]:
    """blackjax's NUTS after its window adaptation."""
    import blackjax as rival

    positions, n = setting.positions, setting.n_draws

    def chain(key: Any, start: Any, density: Any) -> Any:
        target = functools.partial(mixture_nuts.log_density, arguments=density)
        learn_key, draw_key = jax.random.split(key)
        learnt, _ = rival.window_adaptation(rival.nuts, target).run(learn_key, start, n)
        kernel = rival.nuts(target, **learnt.parameters)

        def step(state: Any, key: Any) -> Any:
            state, _ = kernel.step(key, state)
            return state, state.position

        return jax.lax.scan(step, learnt.state, jax.random.split(draw_key, n))[1]

    every = jax.jit(jax.vmap(chain, (0, 0, None)))

    def run(key: Any) -> Any:
        keys = jax.random.split(key, setting.problem.n_chains)
        return mixture_nuts._mixtures(every(keys, positions, setting.density), setting.density)

    return run


SAMPLERS = {
    "fit": functools.partial(fitted, method="auto"),
    "Gibbs, fit": functools.partial(fitted, method="gibbs"),
    "Gibbs, kernel": gibbs_kernel,
    "our NUTS": own_nuts,
    "NumPyro": numpyro,
    "blackjax": blackjax,
}


def quality(draws: Any, setting: Setting) -> convergence.Quality:
    """The worst of what does not depend on labels, of mixtures (c, s)."""
    points = setting.task.frame.enter(setting.problem.data, np.float32)
    order = np.argsort(points.reshape(len(points), -1)[:, 0])
    witnesses = points[order[np.linspace(0, len(points) - 1, WITNESSES).astype(int)]]

    @jax.jit
    def measure(draws: Any) -> Any:
        def one(mixture: Any) -> Any:
            at = jax.nn.logsumexp(log_joint(mixture, witnesses, False), -1)
            return jax.nn.logsumexp(log_joint(mixture, points, False), -1).sum(), at

        return jax.lax.map(lambda chain: jax.lax.map(one, chain, batch_size=32), draws)

    total, at = measure(jax.tree.map(jnp.asarray, draws))
    return convergence.worst(convergence.table({"log likelihood": total, "log density": at}))


def alone(problem: str, sampler: str, n_draws: int, rounds: int) -> None:
    """In a process of its own: a line for each run."""
    compiled = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, seconds, **_: compiled.append(seconds) if event == COMPILED else None
    )
    convergence.table({})  # imports what it needs, as the rivals' functions did
    setting = Setting.of(PROBLEMS[problem](), n_draws)
    run = SAMPLERS[sampler](setting)
    jax.clear_caches()  # `fit` finds starts of its own, by a program that those here have compiled
    for i in range(1 + rounds):
        compiled.clear()
        begin = time.perf_counter()
        draws = jax.block_until_ready(run(jax.random.key(i)))
        line = dict(seconds=time.perf_counter() - begin, compiling=sum(compiled))
        line |= dict(programs=len(compiled))
        r_hat, bulk, _ = quality(draws, setting)
        line |= dict(r_hat=r_hat, bulk=bulk)
        print(json.dumps(line), flush=True)


def supervised(problem: str, sampler: str, n_draws: int, rounds: int, limit: float) -> list[Any]:
    """The runs that were done within the limit."""
    command = [sys.executable, __file__, "--alone", problem, sampler]
    command += ["--draws", str(n_draws), "--rounds", str(rounds)]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, timeout=limit, check=False)
        output = done.stdout
        if done.returncode:
            print(f"  {sampler} stopped with an error", file=sys.stderr)
    except subprocess.TimeoutExpired as expired:
        output = expired.stdout or b""
    return [json.loads(line) for line in output.splitlines()]


def rates(runs: list[Any]) -> tuple[float, float]:
    """Effective draws per second of the first run, and of the others in the median."""
    if any(not run["r_hat"] <= CONVERGED for run in runs):
        return float("nan"), float("nan")
    each = [run["bulk"] / run["seconds"] for run in runs]
    return each[0] if each else float("nan"), float(np.median(each[1:])) if each[1:] else np.nan


def describe(sampler: str, runs: list[Any]) -> str:
    """One line of the table."""
    if not runs:
        return f"  {sampler:<14} no run within the time limit"
    r_hat, bulk = max(run["r_hat"] for run in runs), np.median([run["bulk"] for run in runs])
    first, later = rates(runs)
    seconds = [run["seconds"] for run in runs]
    median = f"{np.median(seconds[1:]):9.2f}" if len(runs) > 1 else " " * 9
    verdict = (
        f"{first:14.1f} {later:14.1f}" if np.isfinite(first) else "  did not converge".ljust(29)
    )
    programs = [run["programs"] for run in runs]
    again = "" if not sum(programs[1:]) else f"  compiled again: {programs[1:]}"
    return f"  {sampler:<14} {r_hat:6.3f} {bulk:8.0f} {seconds[0]:8.1f} {median} {verdict}{again}"


def main() -> None:
    """Print tables, and our rates over those of the better rival."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--problems", nargs="*", choices=PROBLEMS, default=list(PROBLEMS))
    parser.add_argument("--samplers", nargs="*", choices=SAMPLERS, default=list(SAMPLERS))
    parser.add_argument("--draws", type=int, default=1000, help="of each chain; and to warm up")
    parser.add_argument("--rounds", type=int, default=3, help="runs after the first")
    parser.add_argument("--limit", type=float, default=600, help="seconds for each sampler")
    parser.add_argument("--quick", action="store_true", help="bentos, 200 draws, 3 minutes each")
    parser.add_argument("--alone", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.alone:
        alone(*options.alone, options.draws, options.rounds)
        return
    if options.quick:
        options.problems, options.draws, options.rounds, options.limit = ["bentos"], 200, 1, 180.0
    header("numpyro", "blackjax", "arviz")
    for problem in options.problems:
        print(f"{problem}\n  sampler         R-hat     bulk  first, s   later, s  with compiling  "
              "per second")  # fmt: skip
        found = {}
        for sampler in options.samplers:
            runs = supervised(problem, sampler, options.draws, options.rounds, options.limit)
            found[sampler] = rates(runs)
            print(describe(sampler, runs), flush=True)
        best = np.nanmax([(0.0, 0.0), *(found[name] for name in RIVALS if name in found)], axis=0)
        for sampler in found:
            if sampler not in RIVALS and best.all():
                with_compiling, later = np.array(found[sampler]) / best
                print(f"  {sampler} over the better rival: {later:.1f}; with compiling "
                      f"{with_compiling:.1f}")  # fmt: skip


if __name__ == "__main__":
    main()
