"""Results in files: nothing is lost, nothing is trusted, and an old file is never half replaced."""

import dataclasses
import io
import json
import os
import pickle
import zipfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import gmm_jax
from gmm_jax import (
    FitWarning,
    Mixture,
    MixturePrior,
    Normal,
    NormalInverseGamma,
    Poisson,
    Product,
    Wrapped,
    chunked,
    fit,
)
from gmm_jax._pytree import rebuild
from gmm_jax.evidence import Evidence
from gmm_jax.saving import archive, parts

SAVED = Path(__file__).parent / "saved"
X = np.array([350.0, 425.0, 501.0])


def laplace(x, loc, scale):
    return -jnp.abs(x - loc) / scale - jnp.log(2 * scale)


def again(result, tmp_path, **options):
    result.save(tmp_path / "file.npz")
    return gmm_jax.load(tmp_path / "file.npz", **options)


def same(a, b):
    """The same down to types, dtypes and bits."""
    assert type(a) is type(b)
    if isinstance(a, np.ndarray | np.generic | jax.Array):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)
    elif dataclasses.is_dataclass(a) and not isinstance(a, type):
        for field in dataclasses.fields(a):
            same(getattr(a, field.name), getattr(b, field.name))
    elif isinstance(a, dict):
        assert list(a) == list(b)
        same(list(a.values()), list(b.values()))
    elif isinstance(a, tuple | list):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            same(x, y)
    else:
        assert a == b or (a != a and b != b)


@pytest.fixture(scope="module")
def point(bentos):
    return fit(bentos, 2)


@pytest.fixture(scope="module")
def table():
    """A measure and a count in two kinds of rows, with holes, and some rows twice."""
    rng = np.random.default_rng(0)
    kind = rng.random(60) < 0.4
    data = np.c_[rng.normal(30 * kind, 1.5), rng.poisson(np.where(kind, 3, 20))]
    data[rng.random(data.shape) < 0.1] = np.nan
    options = dict(family=Product.of(Normal, Poisson), shared={"parts[0].scales": True})
    weight = 1.0 + (np.arange(60) % 3 == 0)
    return fit(data, 2, sample_weight=weight, key=jax.random.key(3), **options)


def test_a_point_estimate_is_the_same_afterwards(table, tmp_path):
    loaded = again(table, tmp_path)
    same(loaded, table)
    assert loaded.summary() == table.summary()
    assert str(loaded.restarts) == str(table.restarts)
    new = np.array([[29.0, 2.0], [np.nan, 18.0]])
    for method in ("log_prob", "responsibilities", "impute"):
        for query in ((), (new,)):
            ours, theirs = getattr(loaded, method)(*query), getattr(table, method)(*query)
            np.testing.assert_array_equal(ours, theirs)
    for name in ("bic", "aic", "icl", "converged", "message", "n_steps"):
        assert getattr(loaded, name) == getattr(table, name)
    same(loaded.sample(jax.random.key(1), 5), table.sample(jax.random.key(1), 5))


def test_a_posterior_is_the_same_afterwards(draws_by_hand, tmp_path):
    loaded = again(draws_by_hand, tmp_path)
    same(loaded, draws_by_hand)
    assert loaded.summary() == draws_by_hand.summary()
    np.testing.assert_array_equal(loaded.log_prob(X), draws_by_hand.log_prob(X))
    np.testing.assert_array_equal(loaded.density_band(X), draws_by_hand.density_band(X))
    np.testing.assert_array_equal(loaded.similarity(), draws_by_hand.similarity())
    same(loaded.relabel(), draws_by_hand.relabel())
    same(loaded.sample(jax.random.key(1), 5), draws_by_hand.sample(jax.random.key(1), 5))


@pytest.mark.filterwarnings("ignore::gmm_jax.FitWarning")
@pytest.mark.slow
@pytest.mark.parametrize("method", ["importance", "gibbs", "smc", "nuts", "variational"])
def test_posteriors_by_all_methods(bentos, tmp_path, method):
    prior = MixturePrior(1, NormalInverseGamma(400, 0.01, 2, 4))
    result = fit(bentos, 2, prior=prior, method=method, n_draws=400)
    loaded = again(result, tmp_path)
    same(loaded, result)
    assert loaded.summary() == result.summary()


@pytest.mark.slow
def test_many_fits_and_chunks(bentos, tmp_path, monkeypatch):
    many = gmm_jax.fit_many([bentos, bentos[:15] + 3], 2)
    loaded = again(many, tmp_path)
    same(loaded, many)
    assert loaded[1].summary() == many[1].summary()
    monkeypatch.setattr(chunked, "BLOCK", 32)  # else 65,536 rows are filled up
    chunks = gmm_jax.fit_chunks([bentos[:12], bentos[12:]], 2)
    loaded = again(chunks, tmp_path)
    same(loaded, chunks)
    same(loaded.update([350.0, 497.0]), chunks.update([350.0, 497.0]))
    with pytest.raises(ValueError, match="new_points have shape"):
        loaded.update(np.zeros((3, 2)))


def test_selections(point, draws_by_hand, tmp_path):
    row = {
        "family": "Normal",
        "n_components": 2,
        "n_parameters": 5,
        "bic": np.nan,
        "status": "fine",
    }
    table = [row | {"log_likelihood": point.log_likelihood}]
    selection = gmm_jax.Selection(table, point, "bic")
    assert str(again(selection, tmp_path)) == str(selection)
    evidence = Evidence({2: draws_by_hand}, {2: 1.0})
    same(again(evidence, tmp_path), evidence)


def test_posteriors_of_models(tmp_path):
    draws = {
        "place": {"centre": jnp.arange(8.0)},
        "a/b": np.arange(8.0) % 3,
        "z": jnp.arange(8) % 2,
    }
    model = gmm_jax.ModelPosterior(draws, "nuts", "as asked.", n_chains=2)
    loaded = again(model, tmp_path)
    same(loaded, model)
    assert loaded.summary() == model.summary()


@pytest.mark.parametrize(
    "components",
    [
        Normal([[1.0, 2.0], [3.0, 4.0]], [[1.0, 1.0], [2.0, 2.0]]),
        gmm_jax.MultivariateNormal.from_covariances(np.zeros((2, 2)), [np.eye(2), 2 * np.eye(2)]),
        gmm_jax.StudentT([0.0, 1.0], [1.0, 2.0], [3.0, 4.0]),
        gmm_jax.Poisson([1.0, 2.0]),
        gmm_jax.Gamma([1.0, 2.0], [3.0, 4.0]),
        gmm_jax.Categorical([[0.2, 0.8], [0.5, 0.5]]),
        Product([Normal([1.0, 2.0], [1.0, 1.0]), Poisson([3.0, 4.0])], (1, 0)),
        gmm_jax.Heterogeneous([Normal([1.0], [1.0]), gmm_jax.Uniform([0.0], [9.0])]),
    ],
    ids=lambda components: type(components).__name__,
)
def test_mixtures_of_any_family(components, tmp_path):
    mixture = Mixture([0.3, 0.7], components)
    same(again(mixture, tmp_path), mixture)


def test_every_prior_of_ours_is_listed(point, tmp_path):
    """Whatever `gmm_jax` has to offer as a prior or as a family can be stored."""
    hierarchical = gmm_jax.HierarchicalNormal(0, 1, 2, rate_shape=0.2, rate_rate=1)
    product = gmm_jax.ProductPrior([hierarchical, gmm_jax.GammaPoisson(2, 1)])
    own = [MixturePrior(1, product), gmm_jax.DirichletNormalGamma([1.0, 2], 0, 1, 2, 1)]
    own.append(MixturePrior(2, gmm_jax.NormalInverseWishart([[0.0, 0]], 1, 3, np.eye(2))))
    for prior in own:
        same(again(dataclasses.replace(point, prior=prior), tmp_path).prior, prior)
    for name in gmm_jax.__all__:
        value = getattr(gmm_jax, name) if name[0].isupper() else None
        if hasattr(value, "supports") or hasattr(value, "save"):
            assert parts._class(name) is value


def test_what_is_wrapped_is_taken_again(tmp_path):
    family = Wrapped.of(laplace, loc="real", scale="positive")
    parameters = {"loc": jnp.array([2.0, 9.0]), "scale": jnp.array([0.5, 1.0])}
    mixture = Mixture([0.5, 0.5], rebuild(Wrapped, parameters=parameters, kind=family))
    loaded = again(mixture, tmp_path, functions={"laplace": laplace})
    same(loaded, mixture)
    np.testing.assert_allclose(
        loaded.log_prob(3.0),
        np.log(np.mean(stats.laplace.pdf(3.0, [2.0, 9.0], [0.5, 1.0]))),
        rtol=1e-6,
    )
    with pytest.raises(ValueError, match=r"functions=\{'laplace': laplace\}"):
        gmm_jax.load(tmp_path / "file.npz")
    other = Wrapped.of(lambda x, loc, scale: laplace(x, loc, scale), loc="real", scale="positive")
    other.distribution.__name__ = "laplace"
    both = Product([mixture.components, dataclasses.replace(mixture.components, kind=other)])
    with pytest.raises(TypeError, match=r"two distributions .* name 'laplace'"):
        Mixture([0.5, 0.5], both).save(tmp_path / "file.npz")


def test_what_is_not_ours_is_refused(point, tmp_path):
    class Normal:
        """A class of the same name as one of ours."""

    with pytest.raises(TypeError, match=r"PointFit.prior is .*Normal of .*save a `Mixture` alone"):
        dataclasses.replace(point, prior=Normal()).save(tmp_path / "file.npz")
    odd = dataclasses.replace(point, history=np.array([None]))
    with pytest.raises(TypeError, match=r"PointFit.history is of object, and a file keeps numbers"):
        odd.save(tmp_path / "file.npz")
    assert not list(tmp_path.iterdir())


def test_numpy_reads_the_arrays_and_the_header_says_where_they_are_from(point, bentos, tmp_path):
    point.save(tmp_path / "file.npz")
    with np.load(tmp_path / "file.npz", allow_pickle=False) as file:
        np.testing.assert_array_equal(file["data"], bentos)
        assert file["data"].dtype == np.float64
        header = json.loads(bytes(file["header.json"]))
    assert header["schema"] == archive.SCHEMA
    assert (header["class"], header["method"], header["dtype"]) == ("PointFit", "em", "float32")
    assert header["versions"]["jax"] == jax.__version__
    assert header["reason"] == point.reason


def test_float64_stays_float64(x64, bentos, tmp_path):
    exact = fit(bentos, 2)
    same(again(exact, tmp_path), exact)
    with jax.enable_x64(False), pytest.warns(FitWarning, match="holds a result in float64"):
        loaded = gmm_jax.load(tmp_path / "file.npz")
    same(loaded.inside, exact.inside)
    mixture = Mixture([1 / 3, 2 / 3], Normal([0.1, 0.2], [1.0, 1.0]))
    mixture.save(tmp_path / "file.npz")
    with jax.enable_x64(False), pytest.warns(FitWarning, match="jax_enable_x64"):
        loaded = gmm_jax.load(tmp_path / "file.npz")
    np.testing.assert_array_equal(loaded.weights, np.asarray(mixture.weights))
    assert loaded.weights.dtype == np.float64


def test_a_file_is_replaced_whole_or_not_at_all(point, draws_by_hand, tmp_path, monkeypatch):
    path = tmp_path / "file.npz"
    point.save(path)
    before = path.read_bytes()

    def fail(*_):
        raise OSError("the disk is full")

    for step in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, step, fail)
            with pytest.raises(OSError, match="the disk is full"):
                draws_by_hand.save(path)
        assert [p.name for p in tmp_path.iterdir()] == ["file.npz"]
        assert path.read_bytes() == before
    draws_by_hand.save(path)
    assert gmm_jax.load(path).method == "gibbs"
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*nowhere; make it first"):
        point.save(tmp_path / "nowhere" / "file.npz")
    (tmp_path / "link.npz").symlink_to(path)
    point.save(tmp_path / "link.npz")
    assert (tmp_path / "link.npz").is_symlink()
    assert gmm_jax.load(path).method == "em"


# Files that nobody should trust.


def members(path):
    with zipfile.ZipFile(path) as file:
        return {name: file.read(name) for name in file.namelist()}


def npy(array, **options) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.asarray(array), **options)
    return stream.getvalue()


def changed(entries, **changes):
    """The entries with some of the header changed: "a.b" is b of a."""
    header = json.loads(entries["header.json"])
    for path, value in changes.items():
        here = header
        *outer, last = path.split("__")
        for name in outer:
            here = here[name]
        here[last] = value
    return entries | {"header.json": json.dumps(header).encode()}


def huge(shape) -> bytes:
    stream = io.BytesIO()
    described = {"descr": "<f8", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, described)
    return stream.getvalue() + bytes(160)


def nested(entries):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as inner:
        inner.writestr("header.json", entries["header.json"])
    return stream.getvalue()


FIELDS = "result__fields__"
HOSTILE = {
    "another format": (lambda e: changed(e, format="theirs"), "gmm_jax did not write it"),
    "newer schema": (
        lambda e: changed(e, schema=99, versions__gmm_jax="9.0"),
        "gmm_jax 9.0 wrote it, by schema 99, .* update gmm_jax",
    ),
    "no header": (lambda e: {"data.npy": e["data.npy"]}, "no file that `save` wrote"),
    "not JSON": (lambda e: e | {"header.json": b"{"}, "save the result again"),
    "a list": (lambda e: e | {"header.json": b"[]"}, "save the result again"),
    "deep": (lambda e: e | {"header.json": b"[" * 10**6}, "save the result again"),
    "array missing": (
        lambda e: {name: raw for name, raw in e.items() if name != "data.npy"},
        "KeyError: 'data'",
    ),
    "array too many": (lambda e: e | {"extra.npy": npy([1.0])}, "what no result holds"),
    "script": (lambda e: e | {"run.py": b"import os"}, "save the result again"),
    "nested": (lambda e: e | {"data.npy": nested(e)}, "save the result again"),
    "pickle": (
        lambda e: e | {"data.npy": npy([print], allow_pickle=True)},
        "an array is of object, not of numbers",
    ),
    "bare pickle": (lambda e: e | {"data.npy": pickle.dumps([1.0])}, "save the result again"),
    "words": (lambda e: e | {"data.npy": npy(["a"] * 20)}, "not of numbers"),
    "huge": (lambda e: e | {"data.npy": huge((10**15,))}, "is cut short"),
    "below zero": (lambda e: e | {"data.npy": huge((-4, -5))}, "is cut short"),
    "overflow": (lambda e: e | {"data.npy": huge((2**32, 2**32, 2**32))}, "is cut short"),
    "float32": (
        lambda e: e | {"data.npy": npy(np.zeros(20, np.float32))},
        r"data should be float64 of shape \[20\], and is float32",
    ),
    "shorter": (lambda e: e | {"data.npy": npy(np.zeros(19))}, r"and is float64 of shape \[19\]"),
    "another class": (lambda e: changed(e, result__class="os"), "KeyError: 'os'"),
    "a module": (lambda e: changed(e, result__class="os.system"), "save the result again"),
    "unknown node": (lambda e: changed(e, **{FIELDS + "prior": {"is": "call"}}), "save the result"),
    "wrong type": (
        lambda e: changed(e, **{FIELDS + "status": "fine"}),
        "status of PointFit is str",
    ),
    "a class in place of components": (
        lambda e: changed(
            e, **{FIELDS + "inside__fields__components": {"is": "class", "class": "PointFit"}}
        ),
        "save the result again",
    ),
    "field too many": (
        lambda e: changed(e, **{FIELDS + "odd": 3}),
        "PointFit has the fields data, .* and here are",
    ),
    "no result": (
        lambda e: {"header.json": changed(e, result=3)["header.json"]},
        "what no result holds",
    ),
}


@pytest.mark.parametrize(("change", "message"), HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_files_are_refused(point, tmp_path, change, message):
    path = tmp_path / "file.npz"
    point.save(path)
    entries = change(members(path))
    with zipfile.ZipFile(path, "w") as file:
        for name, raw in entries.items():
            file.writestr(name, raw)
    with pytest.raises(ValueError, match=rf"(?s)file.npz cannot be loaded: .*{message}"):
        gmm_jax.load(path)


def test_compressed_truncated_and_foreign_files_are_refused(point, tmp_path):
    path = tmp_path / "file.npz"
    point.save(path)
    whole = path.read_bytes()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("header.json", b" " * 10**7)  # a thousandth of that in the file
    with pytest.raises(ValueError, match="its entries are compressed"):
        gmm_jax.load(path)
    for length in (0, 10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="no file that `save` wrote, or it was damaged"):
            gmm_jax.load(path)
    middle = whole.index(b"data.npy") + 200
    path.write_bytes(whole[:middle] + b"?" + whole[middle + 1 :])
    with pytest.raises(ValueError, match="Bad CRC-32"):
        gmm_jax.load(path)
    np.savez(path, data=[1.0])
    with pytest.raises(ValueError, match="no file that `save` wrote"):
        gmm_jax.load(path)
    with pytest.raises(FileNotFoundError):
        gmm_jax.load(tmp_path / "nowhere.npz")


def test_a_field_that_is_new_has_its_default(draws_by_hand, tmp_path):
    path = tmp_path / "file.npz"
    draws_by_hand.save(path)
    entries = members(path)
    header = json.loads(entries["header.json"])
    del header["result"]["fields"]["n_chains"]
    with zipfile.ZipFile(path, "w") as file:
        for name, raw in (entries | {"header.json": json.dumps(header).encode()}).items():
            file.writestr(name, raw)
    assert gmm_jax.load(path).n_chains == 1


@pytest.mark.parametrize("path", sorted(SAVED.glob("*.npz")), ids=lambda path: path.stem)
def test_files_of_older_schemas_are_read(path):
    """By formulas from the raw arrays of the file, in the unit of the data."""
    result = gmm_jax.load(path)
    with np.load(path) as file:
        unit, centre = file["frame.unit"], file["frame.centre"]
        weights = file["inside.weights"]
        means = centre + unit * file["inside.components.means"]
        scales = unit * file["inside.components.scales"]
    density = weights * stats.norm.pdf(X[:, None, None], means, scales)
    exact = np.log(density.sum(-1).mean(1))
    np.testing.assert_allclose(result.log_prob(X), exact, rtol=1e-4)
    assert result.summary().startswith(result.reason)
