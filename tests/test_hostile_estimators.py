"""What `test_hostile_inputs` gives to `fit`, given to the estimators of `gmm_jax.sklearn`.

They speak scikit-learn's language where it has one: X, not data.
"""

import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import sparse
from test_hostile_inputs import DATA, OPTIONS, WORKS, XY, Lazy, X
from test_hostile_inputs import impatient as impatient

import gmm_jax
from gmm_jax.sklearn import BayesianGaussianMixture, GaussianMixture, MixtureModel

ESTIMATORS = {
    "GaussianMixture": GaussianMixture(2, random_state=0),
    "BayesianGaussianMixture": BayesianGaussianMixture(n_components=2, random_state=0),
    "MixtureModel": MixtureModel(2, random_state=0),
}
SQUARES = "X has .*divide X by"
THEIRS = {  # what scikit-learn takes, or refuses, otherwise than `fit`
    "matrix": "np.matrix is not supported",
    "frame": "Expected unique column names",
    "words of numbers": WORKS,
    "complex": "Complex data not supported",
    "a number": "Expected 2D array, got scalar",
    "three axes": "Found array with dim 3",
    "a point": "Found array with 1 sample",
    "a row": "Found array with 1 sample",
}
OF_NORMALS = {  # which have `reg_covar`, and squares of the points as attributes
    "constant": WORKS,
    "zero": WORKS,
    "minus zero": WORKS,
    "a constant column": WORKS,
    "one value in a column": WORKS,
    "scale of 1e-300": WORKS,
    "below the normal numbers": WORKS,
    "float32 scale of 1e-38": WORKS,
    "scale of 1e300": SQUARES,
    "from end to end": SQUARES,
    "float32 scale of 1e30": f"{SQUARES}.*float64",
}
OF_BAYES = OF_NORMALS | {"float32 scale of 1e-38": "scale X, or pass a covariance_prior"}
OF_ANY = {"scale of 1e-300": WORKS, "scale of 1e300": WORKS}


def as_table(data):
    """Points of one feature as a column, whatever they are held in."""
    if isinstance(data, pd.Series | pd.Index | pl.Series):
        return data.to_frame()
    if isinstance(data, Lazy):
        return data if data.array is None else Lazy(data.array[:, None])
    if isinstance(data, list | tuple | range) and len(data) and not isinstance(data[0], list):
        return [[x] for x in data]
    return data[:, None] if getattr(data, "ndim", 0) == 1 else data


def words(name, says, estimator):
    """What is expected of an estimator."""
    own = {MixtureModel: OF_ANY, BayesianGaussianMixture: OF_BAYES}
    more = own.get(type(estimator), OF_NORMALS)
    says = (THEIRS | more).get(name, says)
    return says if says is None else says.replace("data", "(X|data)")


def is_long(data, says):
    """Whether it is of a shape or precision that few others share, and so takes compiling."""
    fits = says is None or "covariance_prior" in says
    table = as_table(data)
    array = np.asarray(table.array if isinstance(table, Lazy) else table) if fits else X
    plain = array.shape in ((24,), (24, 1)) and array.dtype != np.float32
    return not plain or pd.isna(array.astype(object)).any()


def entries():
    for kind, estimator in ESTIMATORS.items():
        for name, (data, says) in DATA.items():
            expected = words(name, says, estimator)
            marks = [pytest.mark.slow] if is_long(data, expected) else []
            yield pytest.param(estimator, data, expected, id=f"{kind}-{name}", marks=marks)


def refused(says):
    return pytest.raises((ValueError, TypeError), match=rf"(?s){says}")


def check_finite(model, data):
    """All that a fitted estimator says is numbers, and shares are shares."""
    for name, value in vars(model).items():
        if name.endswith("_") and name != "feature_names_in_":
            assert np.isfinite(np.asarray(value, np.float64)).all(), name
    shares = model.predict_proba(data)
    np.testing.assert_allclose(shares.sum(1), 1, rtol=1e-5)
    assert np.array_equal(shares.argmax(1), model.predict(data))
    assert np.isfinite(model.score_samples(data)).all()
    assert np.isfinite(model.sample(3)[0]).all()


@pytest.mark.parametrize(("estimator", "data", "says"), list(entries()))
def test_data(estimator, data, says):
    data = as_table(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if says is not None:
            with refused(says):
                estimator.fit(data)
            return
        check_finite(estimator.fit(data), data)


@pytest.mark.parametrize("estimator", ESTIMATORS.values(), ids=ESTIMATORS)
def test_one_axis_is_refused_as_in_scikit_learn(estimator):
    with refused("Expected 2D array, got 1D array instead.*Reshape your data"):
        estimator.fit(X)


NEW = {
    "a list": ([[1.0], [8]], WORKS),
    "nothing known": ([[np.nan], [1.0]], WORKS),
    "far": ([[1e30], [-1e30]], WORKS),
    "farther": ([[1e300]], "(X has .*divide X|density of every component is 0)"),
    "infinity": ([[np.inf]], "contains infinity.*drop those rows"),
    "another width": (XY, "X has 2 features, but .* is expecting 1 features"),
    "one axis": (X, "Reshape your data"),
    "empty": (np.zeros((0, 1)), "X is empty.*at least one point"),
    "words": ([["a"]], "X must be .*numbers"),
    "masked": (np.ma.masked_greater(X[:, None], 5), "X has masked entries: drop those rows"),
    "sparse": (sparse.csr_matrix(X[:, None]), "X is a sparse matrix: convert it"),
    "None": (None, "X must be numbers"),
}


@pytest.fixture(scope="module", params=ESTIMATORS)
def fitted(request):
    return ESTIMATORS[request.param].fit(X[:, None])


@pytest.mark.parametrize(("points", "says"), NEW.values(), ids=NEW)
def test_new_points(fitted, points, says):
    if says is WORKS:
        check_finite(fitted, points)
        assert np.all((fitted.uncertainty(points) >= 0) & (fitted.uncertainty(points) <= 0.5))
        return
    with refused(says):
        fitted.predict(points)


def test_points_that_no_component_reaches():
    model = MixtureModel(2, family=gmm_jax.Poisson, random_state=0).fit([[0], [1], [9], [11]] * 4)
    assert np.isneginf(model.score_samples([[1.0], [-3]])[1])
    with refused("X has 1 row.s. where the density .*first is row 1: drop them"):
        model.predict_proba([[1.0], [-3]])


WEIGHTS = {
    name: (options["sample_weight"], says)
    for name, (_, options, says) in OPTIONS.items()
    if name.startswith("sample_weight=")
}
WEIGHTS["sample_weight=one row"] = ([1.0] + [0.0] * 23, "n_components=2 but .* n_samples=1 points")


@pytest.mark.parametrize(("weight", "says"), WEIGHTS.values(), ids=WEIGHTS)
def test_weights(weight, says):
    model, data = ESTIMATORS["GaussianMixture"], X[:, None]
    if says is not None:
        with refused(says):
            model.fit(data, sample_weight=weight)
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check_finite(model.fit(data, sample_weight=weight), data)


LISTED = "must be one of"
WHOLE = "must be a whole number"
PARAMETERS = [  # refused by all that have the parameter
    ("n_components", 0, "must be at least 1"),
    ("n_components", 2.0, WHOLE),
    ("n_components", True, WHOLE),
    ("n_components", None, WHOLE),
    ("n_components", 10**8, "ask for fewer|must be at most"),
    ("n_components", 10**30, "must be at most"),
    ("covariance_type", "diagonal", LISTED),
    ("init_params", None, LISTED),
    ("tol", -1, "must not be negative"),
    ("tol", np.nan, "must not be negative"),
    ("tol", "1e-3", "must be a number"),
    ("tol", [1e-3], "must be a number"),
    ("reg_covar", -1, "must not be negative"),
    ("reg_covar", np.inf, "must be finite"),
    ("reg_covar", "1e-6", "must be a number"),
    ("max_iter", -1, "must be at least"),
    ("max_iter", 1e3, WHOLE),
    ("max_iter", 10**12, "must be at most"),
    ("n_init", 0, "must be at least 1"),
    ("n_init", 10**9, "must be at most"),
    ("random_state", "seed", "cannot be used to seed"),
    ("random_state", -1, "Seed must be between|cannot be used"),
    ("verbose", "loud", WHOLE),
    ("verbose_interval", 0, "must be at least 1"),
    ("weights_init", "even", "must be numbers"),
    ("weights_init", [np.nan, 1], "must be finite"),
    ("means_init", [[0.0, 1.0]], "of shape"),
    ("precisions_init", [[[-1.0]], [[1.0]]], "positive definite"),
    ("weight_concentration_prior", "a", "must be a number"),
    ("weight_concentration_prior", np.inf, "must be above zero and finite"),
    ("mean_precision_prior", [1.0], "must be a number"),
    ("mean_prior", [np.inf], "must be finite"),
    ("degrees_of_freedom_prior", 0, "must be above"),
    ("covariance_prior", [[0.0]], "positive definite"),
    ("covariance_prior", "wide", "must be numbers"),
    ("method", "magic", LISTED),
    ("family", "normal", "must be a family"),
    ("prior", "weak", LISTED),
]


@pytest.mark.parametrize(("name", "value", "says"), PARAMETERS)
def test_parameters(name, value, says):
    for estimator in ESTIMATORS.values():
        if name in estimator.get_params():
            model = type(estimator)(**{"n_components": 2, name: value})
            with refused(f"{'' if name == 'random_state' else name}.*({says})"):
                model.fit(X[:, None])


def test_steps_without_end():
    """What would fill the memory is cut short; the climb ends long before."""
    model = GaussianMixture(2, max_iter=10**9, n_init=2, random_state=0).fit(X[:, None])
    assert model.converged_


@pytest.mark.parametrize("name", ["GaussianMixture", "BayesianGaussianMixture"])
def test_a_warm_start_elsewhere(name):
    model = type(ESTIMATORS[name])(n_components=2, warm_start=True, random_state=0)
    model.fit(X[:, None])
    for other in ({"n_components": 3}, {"covariance_type": "diag"}):
        with refused("warm_start=True .*set warm_start=False"):
            type(model)(**model.get_params()).fit(X[:, None]).set_params(**other).fit(X[:, None])
    with refused("warm_start=True .*set warm_start=False"):
        model.fit(XY)


@pytest.mark.slow
def test_covariances_that_single_precision_does_not_hold():
    tiny = (X[:, None] * 1e-30).astype(np.float32)
    with refused("precisions_.*float32: scale X.*larger reg_covar"):
        GaussianMixture(2, reg_covar=0, init_params="random", random_state=0).fit(tiny)


def test_numbers_of_samples(fitted):
    for number in (0, -1, 2.5, "3", None):
        with refused("n_samples"):
            fitted.sample(number)


@pytest.mark.parametrize("covariance_type", ["tied", "spherical"])
def test_draws_have_no_shared_covariances(covariance_type):
    asked = dict(
        n_components=2, covariance_type=covariance_type, method="gibbs",
        weight_concentration_prior_type="dirichlet_distribution",
    )  # fmt: skip
    with refused("covariance_type='(tied|spherical)' is for method='variational': pass that"):
        BayesianGaussianMixture(**asked).fit(XY)
    if covariance_type == "tied":  # of one feature, too
        with refused("covariance_type='tied' is for method='variational': pass that"):
            BayesianGaussianMixture(**asked).fit(XY[:, :1])
