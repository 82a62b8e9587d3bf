"""The command line: `python -m gmm_jax FILE.csv --components 2`, and `python -m gmm_jax demo`."""

import argparse
import sys
import warnings
from typing import Any

import numpy as np


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    options = _parser().parse_args(arguments)
    warnings.showwarning = lambda message, *_, **__: print(f"warning: {message}", file=sys.stderr)
    try:
        if options.file == "demo":
            _demo(options.plot or "bentos.png")
        else:
            _fit_file(options)
    except (ValueError, TypeError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m gmm_jax",
        description="Fit a mixture to the columns of a CSV file, or show the demo.",
    )
    parser.add_argument("file", help='a CSV file, or "demo" for the mystery of the 20 bentos')
    parser.add_argument("--components", type=int, default=2, help="how many (default 2)")
    parser.add_argument(
        "--column", action="append", default=[], help="name or position; may be repeated"
    )
    parser.add_argument("--posterior", action="store_true", help="sample the posterior")
    parser.add_argument("--plot", metavar="PNG", help="save a picture")
    parser.add_argument("--seed", type=int, default=0, help="of the random numbers (default 0)")
    prior = parser.add_argument_group(
        "prior (with --posterior)",
        "Dirichlet weights, normal means, gamma standard deviations, in the data's unit; by "
        "default a weakly informative prior from the centre and spread of the data.",
    )
    prior.add_argument("--concentration", type=float, default=1.0, help="of the Dirichlet (1)")
    prior.add_argument("--prior-mean", type=float, help="expected mean")
    prior.add_argument("--prior-mean-scale", type=float, help="its uncertainty")
    prior.add_argument("--prior-shape", type=float, default=2.0, help="of the gamma (2)")
    prior.add_argument("--prior-rate", type=float, help="of the gamma")
    return parser


def _fit_file(options: argparse.Namespace) -> None:
    from gmm_jax._table import read_columns

    if not -(2**63) <= options.seed < 2**63:
        raise ValueError(f"--seed must be a number of 64 bits, got {options.seed}.")
    data, names = read_columns(options.file, options.column)
    import jax

    from gmm_jax import fit

    prior = _prior(options) if options.posterior else None
    key = jax.random.key(options.seed)
    result = fit(data, options.components, prior=prior, key=key)
    print(f"{len(data)} points of {', '.join(names)}")
    print(result)
    if options.plot:
        _save(result, options.plot, names[0])


def _prior(options: argparse.Namespace) -> Any:
    """The prior asked for."""
    from gmm_jax import DirichletNormalGamma

    given = {
        "mean": options.prior_mean,
        "mean_scale": options.prior_mean_scale,
        "rate": options.prior_rate,
    }
    if all(value is None for value in given.values()):
        return "default"
    if any(value is None for value in given.values()):
        raise ValueError("give --prior-mean, --prior-mean-scale and --prior-rate, or none of them.")
    return DirichletNormalGamma(options.concentration, shape=options.prior_shape, **given)


def _save(result: Any, path: str, label: str) -> None:
    axes = result.plot()
    axes.set_xlabel(label)
    axes.figure.savefig(path, dpi=150, bbox_inches="tight")
    print(f"picture saved as {path}")


def _demo(path: str) -> None:
    from gmm_jax import DirichletNormalGamma, fit
    from gmm_jax.datasets import BENTOS

    print(f"20 bentos weigh {np.mean(BENTOS):.1f} g on average, yet none weighs near that.\n")
    point = fit(BENTOS, 2)
    print("EM\n--")
    print(point)

    prior = DirichletNormalGamma(concentration=1, mean=400, mean_scale=50, shape=2, rate=1)
    posterior = fit(BENTOS, 2, prior=prior)
    print("\nPosterior\n---------")
    print(posterior)

    # Draws fitted to 20 bentos say little this far out; those fitted to all 21 do.
    tested: Any = fit([*BENTOS, 425], 2, prior=prior)
    light, heavy = np.asarray(tested.responsibilities_by_draw([425.0]))[:, 0].mean(0)
    print(
        f"\nA new bento of 425 g\n--------------------\n"
        f"If it is of one of these two kinds, it is a light one with probability {light:.4f} "
        f"and a heavy one with {heavy:.4f}.\n"
        f"But it weighs {425 - max(x for x in BENTOS if x < 425)} g more than any light one: "
        f"a third kind is the better guess.\n"
    )
    _save(posterior, path, "weight (g)")


if __name__ == "__main__":
    sys.exit(main())
