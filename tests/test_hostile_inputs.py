"""Whatever is passed to `fit` and to the command line works, or is refused in words that help.

Every entry either works, which means numbers all of which are finite, or raises ValueError or
TypeError with a message that has the name of the argument and then what to do: `says` holds both,
as a regular expression. Nothing hangs.
"""

import decimal
import fractions
import inspect
import re
import signal
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import sparse

import gmm_jax
from gmm_jax import (
    Bernoulli,
    Categorical,
    DirichletNormalGamma,
    Exponential,
    FitWarning,
    Gamma,
    Heterogeneous,
    Mixture,
    MixturePrior,
    MultivariateNormal,
    Normal,
    NormalGamma,
    Poisson,
    Product,
    StudentT,
    Uniform,
    Wrapped,
    fit,
)
from gmm_jax.__main__ import main

WORKS = None
PATIENCE = 60
rng = np.random.default_rng(0)
X = np.r_[rng.normal(0, 1, 12), rng.normal(8, 2, 12)]
XY = np.c_[X, rng.normal(0, 1, 24) + X / 3]
COUNTS = rng.poisson(np.repeat([2, 20], 12))
HOLED = np.where(np.arange(24) % 5 == 2, np.nan, X)
LONG = {"long", "holes", "bayes, fixed scales", "bayes, halves of rows", "mode, with a prior"}
LONG |= {
    "huge",
    "tails",
    "a row missing",
    "counts of 1e15",
    "sizes alike",
    "waits of 0",
    "no truth",
}
"""What is compiled for one entry alone: for `make slow`."""
plain = inspect.unwrap  # tests check annotations, which would speak first


@pytest.fixture(autouse=True)
def impatient():
    """Raise where something takes minutes."""

    def stop(*_):
        raise TimeoutError(f"it took more than {PATIENCE} seconds")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(PATIENCE)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def check(says, *data, **options):
    """Fit, and hold the answers, or the message, against what is expected."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FitWarning)
        warnings.simplefilter("ignore", UserWarning)  # JAX tells of float64 that it rounds
        if says is not None:
            with pytest.raises((ValueError, TypeError), match=rf"(?s){says}"):
                plain(fit)(*data, **options)
            return
        result = plain(fit)(*data, **options)
        mixture = result.mixture if result.method == "em" else result.draws
        for leaf in jax.tree.leaves(mixture):
            assert np.isfinite(np.asarray(leaf)).all()
        np.testing.assert_allclose(np.asarray(mixture.weights).sum(-1), 1, rtol=1e-4)
        assert np.isfinite(np.asarray(result.log_prob())).all()
        assert np.isfinite(np.asarray(result.responsibilities())).all()
        if result.method == "em":
            assert np.isfinite(result.log_likelihood)
            assert "nan" not in result.summary()


def rows(table):
    """The entries of a table as pytest takes them."""
    return [
        pytest.param(*entry, id=name, marks=[pytest.mark.slow] if name in LONG else [])
        for name, entry in table.items()
    ]


class Lazy:
    """Something that NumPy can read, and something that it cannot."""

    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        if self.array is None:
            raise ValueError("no array today")
        return self.array


NOT_NUMBERS = "data must be (real )?numbers"
COLUMN = "data must be a column of n numbers or a table"
DATA = {
    "list": (X.tolist(), WORKS),
    "tuple": (tuple(X), WORKS),
    "range": (range(24), WORKS),
    "int8": (X.astype(np.int8), WORKS),
    "uint64": ((X + 100).astype(np.uint64), WORKS),
    "largest uint64": (np.r_[np.full(12, 2**64 - 1, np.uint64), np.arange(12)], WORKS),
    "truth": (X > 4, WORKS),
    "float16": (X.astype(np.float16), WORKS),
    "float32": (X.astype(np.float32), WORKS),
    "long double": (X.astype(np.longdouble), WORKS),
    "big-endian": (X.astype(">f8"), WORKS),
    "backwards": (X[::-1], WORKS),
    "every other": (np.repeat(X, 2)[::2], WORKS),
    "Fortran order": (np.asfortranarray(XY), WORKS),
    "read only": (np.broadcast_to(X, (24,)), WORKS),
    "JAX": (jnp.asarray(X), WORKS),
    "JAX bfloat16": (jnp.asarray(X, jnp.bfloat16), WORKS),
    "matrix": (np.asmatrix(X).T, WORKS),
    "masked, but nothing": (np.ma.masked_array(X), WORKS),
    "decimals": ([decimal.Decimal(str(x)) for x in X], WORKS),
    "fractions": ([fractions.Fraction(float(x)) for x in X], WORKS),
    "objects that are numbers": (X.astype(object), WORKS),
    "None among numbers": ([None, *X[1:]], WORKS),
    "NA": (pd.Series([pd.NA, *X[1:]], dtype="Float64"), WORKS),
    "categories that are numbers": (pd.Series(X.round()).astype("category"), WORKS),
    "frame": (pd.DataFrame(XY, columns=["a", "a"], index=list("zyxwvutsrqponmlkjihgfedc")), WORKS),
    "frame of mixed types": (pd.DataFrame({"a": X, "b": COUNTS}), WORKS),
    "frame with an index of dates": (
        pd.Series(X, pd.date_range("2020-01-01", periods=24)),
        WORKS,
    ),
    "polars": (pl.DataFrame({"a": X, "b": X**2}), WORKS),
    "polars null": (pl.Series([None, *X[1:]]), WORKS),
    "an object with __array__": (Lazy(X), WORKS),
    "a broken object": (Lazy(None), "data cannot be read as an array of numbers: no array"),
    "None": (None, f"{NOT_NUMBERS}.*pass"),
    "a word": ("weights.csv", f"{NOT_NUMBERS}.*Convert the column"),
    "bytes": (b"1,2,3", f"{NOT_NUMBERS}.*Convert the column"),
    "words of numbers": (["1", "2", "3"], f"{NOT_NUMBERS}.*Convert the column"),
    "a dict": ({"x": X}, f"{NOT_NUMBERS}.*pass"),
    "a set": ({1.0, 2.0, 3.0}, f"{NOT_NUMBERS}.*pass"),
    "a generator": ((x for x in X), f"{NOT_NUMBERS}.*pass"),
    "a function": (np.mean, f"{NOT_NUMBERS}.*pass"),
    "complex": (X + 1j, f"{NOT_NUMBERS}, got complex128"),
    "dates": (pd.date_range("2020-01-01", periods=24), f"{NOT_NUMBERS}.*Convert the column"),
    "time spans": (np.arange(24).astype("timedelta64[s]"), f"{NOT_NUMBERS}.*Convert the column"),
    "records": (np.zeros(24, [("a", float), ("b", int)]), f"{NOT_NUMBERS}.*Convert the column"),
    "unsorted categories": (
        pd.Series(list("cab") * 8).astype("category"),
        f"{NOT_NUMBERS}, but it holds 'c': convert or drop",
    ),
    "frame with words": (pd.DataFrame({"a": X, "b": ["w"] * 24}), f"{NOT_NUMBERS}.*holds 'w'"),
    "empty frame": (pd.DataFrame(), "data is empty.*at least one point"),
    "frame without rows": (pd.DataFrame({"a": []}), "data is empty.*at least one point"),
    "empty": ([], "data is empty.*at least one point"),
    "no rows": (np.zeros((0, 3)), "data is empty.*at least one point"),
    "no columns": (np.zeros((3, 0)), "data is empty.*at least one point"),
    "ragged": ([[1.0], [1.0, 2.0]], "data cannot be read as an array"),
    "a number": (3.0, COLUMN),
    "three axes": (np.zeros((2, 2, 2)), COLUMN),
    "sparse matrix": (sparse.csr_matrix(XY), r"data is a sparse matrix: convert it with .toarray"),
    "sparse array": (sparse.coo_array(XY), r"data is a sparse matrix: convert it with .toarray"),
    "masked": (np.ma.masked_greater(X, 5), "data has masked entries: drop those rows"),
    "infinity": ([np.inf, *X], "data has 1 infinite entries.*drop those rows"),
    "minus infinity": ([*X, -np.inf], "data has 1 infinite entries.*row 24: drop those rows"),
    "beyond float64": (np.r_[X, np.longdouble("1e400")], "data has 1 infinite"),
    "an endless integer": ([10**400, 1, 2], "data must be numbers.*convert or drop it"),
    "missing": (HOLED, WORKS),
    "all missing": (X * np.nan, "data has no values, only NaN: drop it"),
    "a column missing": (np.c_[X, X * np.nan], "column 1 of data has no values.*drop it"),
    "a row missing": (np.where(np.arange(24)[:, None] == 3, np.nan, XY), WORKS),
    "one value in a column": (np.c_[X, [1.0, *X[1:] * np.nan]], "column 1 of data.*Drop it"),
    "constant": (np.full(24, 3.0), "all points are the same number, 3.*pass a prior"),
    "zero": (np.zeros(24), "all points are the same number, 0.*pass a prior"),
    "minus zero": (np.r_[np.zeros(12), -np.zeros(12)], "all points are the same number"),
    "a constant column": (np.c_[X, np.ones(24)], "column 1 of data is the same number.*Drop it"),
    "two values": (np.r_[np.zeros(12), np.ones(12)], WORKS),
    "many duplicates": (np.r_[np.full(20, 5.0), X[:4]], WORKS),
    "offset of 1e8": (X + 1e8, WORKS),
    "offset of 1e15": (X + 1e15, WORKS),
    "offset of 1e8, float32": ((X + 1e8).astype(np.float32), WORKS),
    "scale of 1e-30": (X * 1e-30, WORKS),
    "scale of 1e30": (X * 1e30, WORKS),
    "scale of 1e-300": (X * 1e-300, "data spans .*divide it.*jax_enable_x64"),
    "scale of 1e300": (X * 1e300, "data spans .*divide it.*jax_enable_x64"),
    "below the normal numbers": (X * 1e-312, "data spans .*divide it"),
    "from end to end": ((X - 4) / 12 * 1.7e308, "data spans .*divide it"),
    "float32 scale of 1e30": ((X * 1e30).astype(np.float32), WORKS),
    "float32 scale of 1e-38": ((X * 1e-38).astype(np.float32), "data spans .*divide it"),
    "an outlier": ([*X[1:], 1e30], WORKS),
    "columns of 1e-30 and 1e30": (XY * [1e-30, 1e30], WORKS),
    "columns at 1e8": (XY + np.array([1e8, -1e8]), WORKS),
    "collinear": (np.c_[X, 2 * X + 1], WORKS),
    "a column twice": (np.c_[X, X], WORKS),
    "one column": (X[:, None], WORKS),
    "a point": ([5.0], "n_components is 2 but there are 1 points.*pass a prior"),
    "a row": (X[None, :5], "n_components is 2 but there are 1 points.*pass a prior"),
    "as many points as components": ([1.0, 5.0], WORKS),
    "sorted down": (np.sort(X)[::-1], WORKS),
}


@pytest.mark.parametrize(("data", "says"), rows(DATA))
def test_data(data, says):
    check(says, data, 2)


def test_a_memory_map_that_is_read_only(tmp_path):
    np.save(tmp_path / "x.npy", XY)
    check(WORKS, np.load(tmp_path / "x.npy", mmap_mode="r"), 2)


BAYES = dict(prior="default", method="gibbs", n_draws=100, n_chains=2)
NORMALS = Mixture([0.5, 0.5], Normal([0.0, 8.0], [1.0, 1.0]))
SHARES = np.full((24, 2), 0.5)
PRIOR = DirichletNormalGamma(concentration=1, mean=0, mean_scale=5, shape=2, rate=1)
OPTIONS = {
    **{
        f"n_components={k!r}": ((k,), {}, says)
        for k, says in [
            (0, "n_components must be at least 1"),
            (-3, "n_components must be at least 1"),
            (2.0, "n_components must be a whole number"),
            ("2", "n_components must be a whole number"),
            (True, "n_components must be a whole number"),
            (None, "n_components is missing: say how many"),
            ([2], "n_components must be a whole number"),
            (np.nan, "n_components must be a whole number"),
            (25, "n_components is 25 but there are 24 points.*Ask for fewer"),
            (10**9, "n_components must be at most"),
            (10**30, "n_components must be at most"),
            (np.int8(2), WORKS),
        ]
    },
    **{
        f"sample_weight={name}": ((2,), {"sample_weight": weight}, says)
        for name, weight, says in [
            ("too few", [1.0, 2.0], "sample_weight must have one entry for each of 24"),
            ("a table", np.ones((24, 2)), "sample_weight must have one entry for each of 24"),
            ("a number", 2.0, "sample_weight must"),
            ("negative", -np.ones(24), "sample_weight must not be negative"),
            ("zero", np.zeros(24), "sample_weight must not be negative, and not all of it zero"),
            ("NaN", HOLED, "sample_weight has 5 NaN"),
            ("infinite", [np.inf] * 24, "sample_weight has 24"),
            ("words", ["a"] * 24, "sample_weight must be real numbers"),
            ("None", None, WORKS),
            ("truth", X > -1, WORKS),
            ("1e25", np.full(24, 1e25), WORKS),
            ("1e-30", np.full(24, 1e-30), WORKS),
            ("1e300", np.full(24, 1e300), "sample_weight"),
            ("very uneven", np.geomspace(1e-12, 1e12, 24), WORKS),
            ("one row", [1.0] + [0.0] * 23, "n_components is 2 but there are 1 points"),
            ("Series", pd.Series(np.ones(24), range(100, 124)), WORKS),
        ]
    },
    **{
        f"fixed={fixed!r}": ((2,), {"fixed": fixed}, says)
        for fixed, says in [
            ("means", "fixed must be a dict.*fixed="),
            ([0.0, 8.0], "fixed must be a dict.*fixed="),
            ({"mean": 0.0}, "fixed has no parameter called 'mean'.*means"),
            ({0: 0.0}, "fixed has no parameter called 0"),
            ({"means": "a"}, r"fixed\['means'\] must be numbers"),
            ({"means": None}, WORKS),
            ({"means": [0.0, 1.0, 2.0]}, r"fixed\['means'\] has shape \(3,\) but 2 components"),
            ({"means": [[0.0, 1.0]]}, r"fixed\['means'\] has shape"),
            ({"means": [np.inf, 1.0]}, r"fixed\['means'\] .*finite.*nan"),
            ({"means": [1j, 0]}, r"fixed\['means'\] must be numbers"),
            ({"scales": 0.0}, "scales must be above zero"),
            ({"scales": -1.0}, "scales must be above zero"),
            ({"weights": [0.9, 0.9]}, r"fixed\['weights'\] must be shares"),
            ({"weights": [-0.1, 1.1]}, r"fixed\['weights'\] must be shares"),
            ({"weights": [0.0, 1.0]}, WORKS),
            ({"weights": [0.3, np.nan]}, WORKS),
            ({"means": [0.0, np.nan]}, WORKS),
            ({"means": [0.0, 1e30]}, WORKS),
            ({"means": [np.nan, np.nan]}, WORKS),
            ({"scales": [1e-30, np.nan]}, WORKS),
            ({}, WORKS),
        ]
    },
    **{
        f"shared={shared!r}": ((2,), {"shared": shared}, says)
        for shared, says in [
            ("scales", "shared must be a dict.*shared="),
            (["scales"], "shared must be a dict.*shared="),
            ({"scale": True}, "shared has no parameter called 'scale'.*scales"),
            ({"scales": False}, r"shared\['scales'\] must be True, or one group number"),
            ({"scales": "all"}, r"shared\['scales'\] must be True, or one group number"),
            ({"scales": [0, 0, 1]}, r"shared\['scales'\] must be True, or one group number"),
            ({"scales": [0.5, 0.7]}, r"shared\['scales'\] must be True, or one group number"),
            ({"scales": ["a", "b"]}, r"shared\['scales'\] must be True, or one group number"),
            ({"scales": True}, WORKS),
            ({"scales": [7, -7]}, WORKS),
            ({"means": True}, WORKS),
            ({"weights": True}, WORKS),
        ]
    },
    **{
        f"start={name}": ((2,), {"start": start}, says)
        for name, start, says in [
            ("unknown", "middle", "start must be one of 'kmeans"),
            ("None", None, "start must be 'kmeans"),
            ("a number", 3, "start must be 'kmeans"),
            ("words", [["a", "b"]] * 24, "start must be 'kmeans"),
            ("a dict", {"means": [0, 8]}, "start must be 'kmeans"),
            ("of other size", SHARES[:5], "start must be 'kmeans"),
            ("NaN", SHARES * np.nan, "start must be 'kmeans"),
            ("negative", SHARES + np.array([-1, 1]), "start must be 'kmeans"),
            ("not one", SHARES * 3, "start must be 'kmeans"),
            (
                "of three",
                Mixture([0.2, 0.3, 0.5], Normal(range(3), [1.0] * 3)),
                "start must be a m",
            ),
            ("of Poisson", Mixture([0.5, 0.5], Poisson([1.0, 2.0])), "start must be a mixture"),
            ("all alike", SHARES, WORKS),
            ("a mixture", NORMALS, WORKS),
            ("far away", Mixture([0.5, 0.5], Normal([1e8, 1e9], [1.0, 1.0])), WORKS),
        ]
    },
    **{
        f"{name}={value!r}": ((2,), {name: value}, says)
        for name, value, says in [
            ("method", "magic", "method must be one of 'auto', 'em'"),
            ("method", None, "method must be one of 'auto', 'em'"),
            ("method", ["em"], "method must be one of 'auto', 'em'"),
            ("method", "gibbs", "method='gibbs' .* needs a prior: pass prior="),
            ("covariance_type", "diagonal", "covariance_type must be one of 'full'"),
            ("covariance_type", 3, "covariance_type must be one of 'full'"),
            ("covariance_type", ["diag"], "covariance_type must be one of 'full'"),
            ("n_restarts", 0, "n_restarts must be at least 1"),
            ("n_restarts", 2.5, "n_restarts must be a whole number"),
            ("n_restarts", 10**15, "n_restarts must be at most"),
            ("max_steps", 0, "max_steps must be at least 1"),
            ("max_steps", "many", "max_steps must be a whole number"),
            ("max_steps", 1, WORKS),
            ("max_steps", 10**12, "max_steps must be at most"),
            ("max_steps", 10**9, WORKS),
            ("tol", -1, "tol must not be negative"),
            ("tol", np.nan, "tol must not be negative"),
            ("tol", "small", "tol must be a number"),
            ("tol", [1e-3], "tol must be a number"),
            ("tol", np.inf, WORKS),
            ("tol", 0, WORKS),
            ("key", 0, "key must be a random key such as jax.random.key"),
            ("key", "seed", "key must be a random key such as jax.random.key"),
            ("key", 1.5, "key must be a random key such as jax.random.key"),
            ("key", jax.random.split(jax.random.key(0)), "key must be a random key such as"),
            ("key", jax.random.PRNGKey(0), WORKS),
            ("prior", 3, "prior must be a prior such as DirichletNormalGamma"),
            ("prior", "weak", "prior must be one of 'default'"),
            ("prior", {"mean": 0}, "prior must be a prior such as"),
            ("prior", DirichletNormalGamma, "prior must be a prior such as"),
            ("prior", NormalGamma(0, 5, 2, 1), "prior must be a prior of mixtures.*MixturePrior"),
            ("prior", NORMALS, "prior must be a prior such as"),
            ("prior", DirichletNormalGamma([1.0] * 3, 0, 1, 2, 1), "concentration of the prior"),
            ("prior", DirichletNormalGamma(1, [0.0] * 3, 1, 2, 1), "mean of the prior has shape"),
            ("prior", MixturePrior(1, gmm_jax.GammaPoisson(2, 1)), "data for Poisson"),
        ]
    },
    "key of NumPy": ((2,), {"key": np.random.default_rng(0)}, "key must be a random key such as"),
    "bayes, three draws": ((2,), BAYES | {"n_draws": 3}, "n_draws must be at least 100"),
    "bayes, words of draws": ((2,), BAYES | {"n_draws": "1"}, "n_draws must be a whole number"),
    "bayes, endless draws": ((2,), BAYES | {"n_draws": 10**15}, "n_draws must be at most"),
    "bayes, one chain": ((2,), BAYES | {"n_chains": 1}, "n_chains must be at least 2"),
    "bayes, endless chains": ((2,), BAYES | {"n_chains": 10**15}, "n_chains must be at most"),
    "bayes, a wrong key": ((2,), BAYES | {"key": 0}, "key must be a random key such as"),
    "bayes, other proposal": ((2,), BAYES | {"proposal": "q"}, "proposal must be one of 'em'"),
    "bayes, shared": ((2,), BAYES | {"shared": {"scales": True}}, "shared .* with a prior"),
    "bayes, fixed scales": ((2,), BAYES | {"fixed": {"scales": [1.0, np.nan]}}, WORKS),
    "bayes, endless components": ((10**9,), BAYES, "n_components must be at most"),
    "bayes": ((2,), BAYES, WORKS),
    "bayes, halves of rows": ((2,), BAYES | {"sample_weight": np.full(24, 0.5)}, WORKS),
    "bayes, endless weights": (
        (2,),
        BAYES | {"sample_weight": np.full(24, 1e28)},
        "sample_weight makes .* copies",
    ),
    "mode, with a prior": ((2,), {"prior": PRIOR, "method": "em"}, WORKS),
    "fit of k with a family's k": (
        (3,),
        {"family": Heterogeneous.of(Normal, Uniform)},
        "n_components is 3 but family has 2",
    ),
    "covariance type and family": (
        (2,),
        {"family": Normal, "covariance_type": "diag"},
        "covariance_type is another way .* give it or family",
    ),
}


@pytest.mark.parametrize(("given", "options", "says"), rows(OPTIONS))
def test_options(given, options, says):
    check(says, X, *given, **options)


BAYES_DATA = {
    "holes": (HOLED, WORKS),
    "constant": (np.full(24, 3.0), "data .*write down a prior"),
    "offset of 1e8": (X + 1e8, WORKS),
    "scale of 1e-30": (X * 1e-30, WORKS),
    "scale of 1e30": (X * 1e30, WORKS),
    "two values": (np.r_[np.zeros(12), np.ones(12)], WORKS),
    "an outlier": ([*X[1:], 1e30], WORKS),
}


@pytest.mark.parametrize(("data", "says"), rows(BAYES_DATA))
def test_data_of_posteriors(data, says):
    check(says, data, 2, **BAYES)


FAMILIES = {
    "a word": (X, "normal", "family must be a family such as gmm_jax.Normal"),
    "a number": (X, 3, "family must be a family such as gmm_jax.Normal"),
    "a list": (X, [Normal, Normal], "family must be a family such as gmm_jax.Normal"),
    "a product of nothing in particular": (X, Product, "family must be a family such as"),
    "something wrapped": (X, Wrapped, "family must be a family such as"),
    "a mixture": (X, NORMALS, "family must be a family such as"),
    "rows for a number": (X, MultivariateNormal, "data .*must be rows of features"),
    "too few columns": (X, Product.of(Normal, Poisson), "data has shape .* for 2 columns"),
    "too many columns": (np.c_[XY, X], Product.of(Normal, Normal), "data has shape .* 2 columns"),
    "counts below 0": (COUNTS - 5, Poisson, "data for Poisson .*0, 1, 2"),
    "counts and a half": (COUNTS + 0.5, Poisson, "data for Poisson .*0, 1, 2"),
    "counts of 1e15": (COUNTS * 1e15, Poisson, WORKS),
    "no counts": (np.zeros(24), Poisson, WORKS),
    "truth of 2": (COUNTS, Bernoulli, "data .*must be 0 or 1"),
    "no truth": (np.zeros(24), Bernoulli, WORKS),
    "categories below 0": (COUNTS - 5, Categorical, "data for Categorical .*0, 1, 2"),
    "categories and a half": (COUNTS / 2, Categorical, "data for Categorical .*0, 1, 2"),
    "category of 1e9": (np.r_[COUNTS, 1e9], Categorical, "data for Categorical .*without gaps"),
    "waits of 0": (COUNTS * 0.0, Exponential, WORKS),
    "waits below 0": (X, Exponential, "data .*Exponential"),
    "sizes of 0": (np.r_[0.0, COUNTS[1:]], Gamma, "data .*Gamma .*above"),
    "sizes alike": (np.full(24, 3.0), Gamma, WORKS),
    "tails": (X, StudentT, WORKS),
    "background alone": (X, Uniform, WORKS),
    "no family at all": (X, None, WORKS),
}


@pytest.mark.parametrize(("data", "family", "says"), rows(FAMILIES))
def test_families(data, family, says):
    check(says, data, 2, family=family)


FILES = {
    "no file": (None, [], "No such file"),
    "empty": (b"", [], "is empty"),
    "names alone": (b"weight\n", [], "a line of names but no data"),
    "one number": (b"5\n", [], "n_components is 2 but there are 1 points"),
    "UTF-16": ("weight\n1\n2\n".encode("utf-16"), [], "is not .*UTF-8"),
    "bytes": (bytes(range(256)), [], "is not .*UTF-8"),
    "zero bytes": (b"1\n\x00\n3\n", [], "line 2"),
    "an endless cell": (b"1\n" + b"9" * 200_000 + b"\n", [], "line"),
    "ragged": (b"a,b\n1,2\n3\n", [], "line 3: column 'b' is empty"),
    "word": (b"1\ntwo\n", [], "line 2: column '1' holds 'two'"),
    "inf": (b"1\n2\ninf\n", [], "infinite entries"),
    "decimal comma": (b'"1,5"\n"2,5"\n', [], "has a line of names|holds '2,5'"),
    "constant": (b"3\n3\n3\n", [], "all points are the same number"),
    "unknown column": (b"a,b\n1,2\n3,4\n", ["--column", "c"], "no column 'c'; it has a, b"),
    "column 0": (b"a,b\n1,2\n3,4\n", ["--column", "0"], "no column '0'; it has a, b"),
    "no components": (b"1\n2\n", ["--components", "0"], "n_components must be at least 1"),
    "endless components": (
        b"1\n2\n",
        ["--components", "1" + "0" * 30],
        "n_components must be at most",
    ),
    "endless seed": (b"1\n2\n5\n", ["--seed", "1" + "0" * 30], "seed"),
    "no folder": (b"1\n2\n5\n9\n", ["--plot", "/nowhere/at/all.png"], "No such file"),
    "no format": (b"1\n2\n5\n9\n", ["--plot", "picture.xyz"], "xyz"),
    "half a prior": (b"1\n2\n5\n", ["--posterior", "--prior-mean", "3"], "or none of them"),
    "no concentration": (
        b"1\n2\n5\n",
        [
            "--posterior",
            "--prior-mean",
            "3",
            "--prior-mean-scale",
            "1",
            "--prior-rate",
            "1",
            "--concentration",
            "0",
        ],
        "concentration must be above zero",
    ),
    "a rate below 0": (
        b"1\n2\n5\n",
        ["--posterior", "--prior-mean", "3", "--prior-mean-scale", "1", "--prior-rate", "-1"],
        "rate must be above zero",
    ),
    "BOM and CRLF": (b"\xef\xbb\xbfweight\r\n" + b"\r\n".join(b"%f" % x for x in X), [], WORKS),
    "old line ends": (b"weight\r" + b"\r".join(b"%f" % x for x in X), [], WORKS),
    "spaces": (b" weight \n" + b"\n".join(b" %f " % x for x in X), [], WORKS),
    "tabs": (b"a\tb\n" + b"\n".join(b"%f\t%f" % tuple(row) for row in XY), [], WORKS),
    "missing": (b"a\nnan\n" + b"\n".join(b"%f" % x for x in X[1:]), [], WORKS),
    "a column twice": (
        b"a\n" + b"\n".join(b"%f" % x for x in X),
        ["--column", "a", "--column", "a"],
        WORKS,
    ),
    "quotes": (b'"weight"\n' + b"\n".join(b'"%f"' % x for x in X), [], WORKS),
    "an open quote": (b'"1\n2\n3\n', [], "a line of names but no data"),
    "quotes alone": (b'"' * 5001, [], "a line of names but no data|is empty"),
    "a name of two lines": (b'"a\nb",c\n1,2\n3,4\n', ["--column", "d"], "no column 'd'"),
    "spaces between": (b"1 2\n3 4\n", [], "line 2: .*separate cells by commas"),
    "bars between": (b"1|2\n3|4\n", [], "line 2: .*separate cells by commas"),
    "NA": (b"a\n1\nNA\n", [], "line 3: .*holds 'NA'.*write nan for a missing value"),
    "a hole": (b"a,b\n1,2\n,4\n", [], "line 3: column 'a' is empty.*write nan"),
    "nan alone": (b"nan\n" * 5, [], "data has no values, only NaN: drop it"),
    "decimal commas": (b"weight\n1,5\n2,5\n", [], "line 2 has 2 cells, but the first line has 1"),
    "a row too long": (b"a,b\n1,2\n3,4,5\n", [], "line 3 has 3 cells, but the first line has 2"),
    "underscores": (b"a\n1_000\n2\n", [], "line 2: column 'a' holds '1_000'"),
    "all in one row": (b"1,2,3,4,5\n", [], "n_components is 2 but there are 1 points"),
    "a picture": (b"\x89PNG\r\n\x1a\n" + bytes(99), [], "is not .*UTF-8"),
    "an archive": (b"PK\x03\x04\x14" + bytes(99), [], "a line of names but no data"),
    "a prior that is no number": (
        b"1\n2\n5\n",
        ["--posterior", "--prior-mean", "nan", "--prior-mean-scale", "1", "--prior-rate", "1"],
        "mean must be finite",
    ),
    "long": (b"\n".join(b"%f" % x for x in np.tile(X, 2_000)), [], WORKS),
    "a seed below 0": (b"\n".join(b"%f" % x for x in X), ["--seed", "-3"], WORKS),
}


@pytest.mark.parametrize(("raw", "arguments", "says"), rows(FILES))
def test_the_command_line(raw, arguments, says, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    if raw is not None:
        (tmp_path / "table.csv").write_bytes(raw)
    status = main(["table.csv", *arguments])
    printed = capsys.readouterr()
    if says is None:
        assert status == 0
        assert "log likelihood" in printed.out
        assert "nan" not in printed.out
        return
    assert status == 1
    assert printed.err.count("\n") == 1
    assert printed.err.startswith("error: ")
    assert re.search(says, printed.err)


def test_what_is_no_file(tmp_path, capsys):
    (tmp_path / "nowhere.csv").symlink_to(tmp_path / "gone.csv")
    for path, says in {"": "Is a directory", "nowhere.csv": "No such file", "a\0b": "null"}.items():
        assert main([str(tmp_path / path)]) == 1
        assert re.fullmatch(f"error: .*{says}.*\n", capsys.readouterr().err)


NORMAL = Normal([0.0, 8.0], [1.0, 1.0])
DOORS = {  # what else people call; each refuses
    "many, 1e300": (
        lambda: gmm_jax.fit_many([X, X * 1e300], 2),
        r"data_sets\[1\] spans .*divide it",
    ),
    "many, none": (lambda: gmm_jax.fit_many(None, 2), "data_sets must be a list of data sets"),
    "many, empty": (lambda: gmm_jax.fit_many([], 2), "data_sets is empty: at least one"),
    "many, constant": (lambda: gmm_jax.fit_many([X, X * 0], 2), r"data_sets\[1\] .*Leave that set"),
    "chunks, 1e300": (lambda: gmm_jax.fit_chunks([X, X * 1e300], 2), "data spans .*divide it"),
    "chunks, none": (lambda: gmm_jax.fit_chunks(None, 2), "chunks must be iterable"),
    "chunks, read once": (lambda: gmm_jax.fit_chunks(iter([X]), 2), "chunks .*pass the function"),
    "select, words": (
        lambda: plain(gmm_jax.select)(X, "12"),
        "n_components must be a whole number",
    ),
    "select, nothing": (lambda: gmm_jax.select(X, []), "n_components .* at least one candidate"),
    "default prior": (
        lambda: plain(gmm_jax.default_prior)(X, "a"),
        "n_components must be a whole number",
    ),
    "no prior of components": (lambda: MixturePrior(1, None), "components must be a prior of comp"),
    "a class of components": (lambda: Mixture([1.0], Normal), "components must be a family such"),
    "a word as weights": (lambda: Mixture("a", NORMAL), "weights must be real numbers"),
    "a point that is a word": (lambda: NORMALS.log_prob("a"), "data must be numbers, got 'a'"),
    "a share that is a word": (lambda: NORMALS.icdf("a"), "q must be numbers between 0 and 1"),
    "a share of 2": (lambda: NORMALS.icdf(2), "q must lie between 0 and 1"),
    "a sample's key": (
        lambda: inspect.unwrap(Mixture.sample)(NORMALS, 0, 3),
        "key must be a random",
    ),
    "a sample of -3": (lambda: NORMALS.sample(jax.random.key(0), -3), "n must not be negative"),
}


@pytest.mark.parametrize(("ask", "says"), rows(DOORS))
def test_other_doors(ask, says):
    with pytest.raises((ValueError, TypeError), match=rf"(?s){says}"):
        ask()


@pytest.mark.parametrize("arguments", [["x.csv", "--components", "two"], [], ["x.csv", "--bogus"]])
def test_the_command_line_says_how_it_is_used(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert "usage: python -m gmm_jax" in capsys.readouterr().err


def test_the_table_is_long():
    assert sum(map(len, (DATA, OPTIONS, BAYES_DATA, FAMILIES, FILES))) >= 150
