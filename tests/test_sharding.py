"""Data split over devices and machines: the answer of one array, and no data on the move.

Devices are counted when JAX starts, so everything here runs in processes of its own.
"""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
START = """
import sys
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P

def table(n):
    "Two clusters far from zero and apart, and weights."
    rng = np.random.default_rng(0)
    which = rng.integers(2, size=n)
    points = 1000 + 9 * which[:, None] + rng.normal(size=(n, 2)) * (1 + which[:, None])
    return points.astype(np.float32), rng.integers(0, 3, n).astype(np.float32)

def same(a, b, tol=1e-5):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, rtol=tol, atol=tol)
"""
ON_EIGHT = (
    START
    + """
import functools
import traceback
import gmm_jax
from gmm_jax import Gamma, Mixture, MultivariateNormal, Normal, Poisson, Product

def split(array, explicit=False):
    "Rows that are missing to a multiple of 8 count for nothing."
    mesh = jax.make_mesh((8,), ("rows",)) if explicit else Mesh(np.array(jax.devices()), "rows")
    filled = np.concatenate([array, np.zeros((-len(array) % 8, *array.shape[1:]), array.dtype)])
    return jax.device_put(filled, NamedSharding(mesh, P("rows")))

def refused(call, *words):
    try:
        call()
    except (TypeError, ValueError) as error:
        for word in words:
            assert word in str(error), error
    else:
        raise AssertionError(f"no error that says {words}")

points, weight = table(1003)
"""
)
CHECKS = {
    "starts": """
one, many = agree(dict(family=Normal, n_restarts=3), explicit=True)
assert abs(many.bic / one.bic - 1) < 1e-6 and abs(many.icl / one.icl - 1) < 1e-6
shares = many.responsibilities()
assert len(shares.sharding.device_set) == 8 and not shares.is_fully_replicated
np.testing.assert_allclose(np.asarray(shares)[:1003], one.responsibilities(), atol=1e-4)
np.testing.assert_allclose(many.log_prob(points[:5]), one.log_prob(points[:5]), rtol=1e-4)
""",
    "a given start": """
from gmm_jax.fitting import point
real = point._run
def shown(*arguments, **options):
    program = real.lower(*arguments, **options).compile()
    print(program.as_text())
    return program(*arguments)
def show():
    point._run = shown
one, many = agree(dict(start=near), before=show)
""",
    "missing values": """
holes = points.copy()
holes[::7, 0] = np.nan
one, many = agree(dict(start=near), data=holes, tol=3e-4)  # EM is slow, its gains drown
each = np.asarray(many.log_prob())[:1003]
np.testing.assert_allclose(each, one.log_prob(), rtol=1e-3, atol=1e-3)
for ask in (many.impute, many.plot, many.standard_errors):
    refused(ask, "split over devices")
""",
    "counts": """
counts = np.random.default_rng(1).poisson([[2.0, 30.0]], (1003, 2))[:, 0].astype(np.float32)
counts += 20 * (points[:, 0] > 1005)
agree(dict(start=Mixture([0.5, 0.5], Poisson([1.5, 25.0]))), data=counts)
""",
    "errors": """
rows = split(points)
columns = jax.device_put(points[:, :2].T.copy()[:, :1000], NamedSharding(
    Mesh(np.array(jax.devices()), "x"), P(None, "x")))
refused(lambda: gmm_jax.fit(columns, 2), "split by rows")
refused(lambda: gmm_jax.fit(split(points.astype(int)), 2), "float32 or float64")
holed = points.copy()
holed[[700, 900], 1] = np.inf
refused(lambda: gmm_jax.fit(split(holed), 2), "infinite", "row 700")
refused(lambda: gmm_jax.fit(rows, 2, sample_weight=weight), "one entry for each of 1008")
for wrong in (-1, np.nan, np.inf):
    weights = np.ones(1008, np.float32)
    weights[[800, 1000]] = wrong
    refused(lambda: gmm_jax.fit(rows, 2, sample_weight=weights), "not negative", "row 800")
refused(lambda: gmm_jax.fit(rows, 2, sample_weight=np.zeros(1008)), "not all of it zero")
prior = gmm_jax.DirichletNormalGamma(concentration=1, mean=5, mean_scale=50, shape=2, rate=1)
refused(lambda: gmm_jax.fit(split(points[:, 0]), 2, prior=prior), "method='em'")
""",
    "families check all rows": """
from gmm_jax.fitting import sharded
rng = np.random.default_rng(2)
counts = rng.poisson(5.0, 24_000).astype(np.float32)
chosen = np.random.default_rng(0).choice(24_000, sharded.SAMPLE, replace=False)
unseen = np.setdiff1d(np.arange(24_000), chosen)[1500:]  # on a device that is not the first
counts[unseen[[0, 9]]] = 2.5  # neither the least nor the largest value
fit = functools.partial(gmm_jax.fit, n_components=2, n_restarts=1, max_steps=3)
row = f"row {unseen[0]}: "
refused(lambda: fit(split(counts), family=Poisson), row + "data for Poisson", "got 2.5")
both = np.stack([rng.normal(size=24_000).astype(np.float32), counts], 1)
refused(lambda: fit(split(both), family=Product.of(Normal, Poisson)), row + "column 1 of data")
refused(lambda: fit(split(both[:, 0]), family=Gamma), "row ", "must be above zero")
for block in (2**22, 1000):  # rows that count for nothing may be anything
    sharded.CHECKED = block
    whole = sharded.look(split(counts), split(np.where(np.arange(24_000) == unseen[0], 0, 1)), None)
    refused(lambda: whole.check(Poisson), f"row {unseen[9]}: ")
    keep = np.where(np.isin(np.arange(24_000), unseen[[0, 9]]), 0, 1)
    sharded.look(split(counts), split(keep), None).check(Poisson)
""",
}
TOGETHER = """
near = Mixture([0.5, 0.5], MultivariateNormal(
    [[1000.5, 1000.5], [1008.5, 1008.5]], [[[1.5, 0], [0, 1.5]]] * 2))

def agree(asked, data=points, explicit=False, tol=1e-5, before=None):
    "Fit data in one place, and split over devices."
    asked = dict(n_components=2, tol=1e-9, **asked)
    if isinstance(asked.get("start"), Mixture):
        asked["family"] = type(asked["start"].components)
    one = gmm_jax.fit(data, sample_weight=weight, **asked)
    if before:
        before()
    many = gmm_jax.fit(split(data, explicit), sample_weight=split(weight), **asked)
    assert many.converged and len(many.data.sharding.device_set) == 8
    same(many.mixture, one.mixture, tol)
    assert abs(many.log_likelihood / one.log_likelihood - 1) < 1e-6
    return one, many
"""


def start(code: str, devices: int, *arguments: str) -> subprocess.Popen:
    flags = f"--xla_force_host_platform_device_count={devices}"
    settings = {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        env=os.environ | settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(*processes: subprocess.Popen) -> list[str]:
    """What each printed, once all have ended well."""
    try:
        ended = [process.communicate(timeout=300) for process in processes]
    finally:
        for process in processes:
            process.kill()
    for process, (_, errors) in zip(processes, ended, strict=True):
        assert process.returncode == 0, errors[-3000:]
    return [output for output, _ in ended]


@pytest.fixture(scope="module")
def on_eight() -> dict[str, str]:
    """What each of `CHECKS` printed, in one process with eight devices."""
    run = """
for name, code in checks.items():
    print(f"=== {name}")
    try:
        exec(code, dict(globals()))
    except BaseException:
        traceback.print_exc(file=sys.stdout)
"""
    (output,) = finish(start(f"{ON_EIGHT}{TOGETHER}checks = {CHECKS!r}{run}", 8))
    parts = [part.partition("\n") for part in output.split("=== ")[1:]]
    return {name: text for name, _, text in parts}


@pytest.mark.slow
@pytest.mark.parametrize("name", CHECKS)
def test_eight_devices_have_the_answer_of_one(name, on_eight):
    assert "Traceback" not in on_eight[name], on_eight[name]


@pytest.mark.slow
def test_devices_exchange_nothing_but_sums(on_eight):
    """In the compiled program: no all-gather, and one all-reduce of the statistics a step."""
    program = on_eight["a given start"]
    exchanged = re.findall(r"= (.*?) (all-[a-z]+|collective-[a-z]+)(?:-start)?\(", program)
    assert {name for _, name in exchanged} == {"all-reduce"}
    statistics = [shapes for shapes, _ in exchanged if shapes.startswith("(")]
    assert len(statistics) == 2  # of the two ways to take a step, of which one is taken
    for shapes, _ in exchanged:
        sizes = [int(n) for shape in re.findall(r"\[([\d,]+)\]", shapes) for n in shape.split(",")]
        assert max(sizes, default=0) <= 10


@pytest.mark.slow
def test_two_processes_have_the_answer_of_one():
    check = """
jax.config.update("jax_cpu_collectives_implementation", "gloo")
rank, port = int(sys.argv[1]), sys.argv[2]
jax.distributed.initialize(f"127.0.0.1:{port}", 2, rank)
import gmm_jax
points, weight = table(1000)
here = slice(500 * rank, 500 * (rank + 1))
rows = NamedSharding(Mesh(np.array(jax.devices()), "rows"), P("rows"))
data, counts = (jax.make_array_from_process_local_data(rows, a[here]) for a in (points, weight))
assert not data.is_fully_addressable
many = gmm_jax.fit(data, 2, sample_weight=counts, n_restarts=2, tol=1e-9)
bic, icl = many.bic, many.icl
if rank == 0:  # one is enough: both must print the same
    one = gmm_jax.fit(points, 2, sample_weight=weight, n_restarts=2, tol=1e-9)
    same(many.mixture, one.mixture)
    assert abs(many.log_likelihood / one.log_likelihood - 1) < 1e-6
    assert abs(bic / one.bic - 1) < 1e-6 and abs(icl / one.icl - 1) < 1e-6
shares = [part.data for part in many.responsibilities().addressable_shards]
expected = many.mixture.responsibilities(points[here])
np.testing.assert_allclose(np.concatenate(shares), expected, atol=1e-4)
wrong = points[:, 0].round()
wrong[700] += 0.5  # on the second machine, but both must stop
odd = jax.make_array_from_process_local_data(rows, wrong[here])
try:
    gmm_jax.fit(odd, 2, family=gmm_jax.Poisson)
except ValueError as error:
    words = "could not have produced" if rank == 0 else "must be counts"
    assert "row 700: " in str(error) and words in str(error), error
else:
    raise AssertionError("no error")
print("answer", many.log_likelihood, bic, icl, many.mixture.components.means.tolist())
"""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    outputs = finish(*(start(START + check, 1, rank, port) for rank in "01"))
    first, second = (re.findall("answer.*", output) for output in outputs)
    assert first == second
    assert len(first) == 1
