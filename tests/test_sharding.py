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
import gmm_jax
from gmm_jax import MultivariateNormal, Normal

def split(array, explicit=False):
    "Rows that are missing to a multiple of 8 count for nothing."
    mesh = jax.make_mesh((8,), ("rows",)) if explicit else Mesh(np.array(jax.devices()), "rows")
    filled = np.concatenate([array, np.zeros((-len(array) % 8, *array.shape[1:]), array.dtype)])
    return jax.device_put(filled, NamedSharding(mesh, P("rows")))

def refused(call, words):
    try:
        call()
    except (TypeError, ValueError) as error:
        assert words in str(error), error
    else:
        raise AssertionError(f"no error that says {words}")

points, weight = table(1003)
"""
)


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
        ended = [process.communicate(timeout=120) for process in processes]
    finally:
        for process in processes:
            process.kill()
    for process, (_, errors) in zip(processes, ended, strict=True):
        assert process.returncode == 0, errors[-3000:]
    return [output for output, _ in ended]


@pytest.mark.parametrize(("family", "explicit"), [("Normal", True), ("MultivariateNormal", False)])
def test_eight_devices_have_the_answer_of_one(family, explicit):
    """Whether or not the types of arrays name the axes of the mesh."""
    check = f"""
asked = dict(family={family}, n_restarts=3, tol=1e-9)
one = gmm_jax.fit(points, 2, sample_weight=weight, **asked)
many = gmm_jax.fit(split(points, {explicit}), 2, sample_weight=split(weight), **asked)
assert many.converged and len(many.data.sharding.device_set) == 8
same(many.mixture, one.mixture)
assert abs(many.log_likelihood / one.log_likelihood - 1) < 1e-6
assert abs(many.bic / one.bic - 1) < 1e-6 and abs(many.icl / one.icl - 1) < 1e-6
shares = many.responsibilities()
assert len(shares.sharding.device_set) == 8 and not shares.is_fully_replicated
np.testing.assert_allclose(np.asarray(shares)[:1003], one.responsibilities(), atol=1e-4)
np.testing.assert_allclose(many.log_prob(points[:5]), one.log_prob(points[:5]), rtol=1e-4)
"""
    finish(start(ON_EIGHT + check, 8))


def test_missing_values_other_families_and_errors():
    check = """
holes = points.copy()
holes[::7, 0] = np.nan
one = gmm_jax.fit(holes, 2, sample_weight=weight, n_restarts=2, tol=1e-9)
many = gmm_jax.fit(split(holes), 2, sample_weight=split(weight), n_restarts=2, tol=1e-9)
same(many.mixture, one.mixture, 3e-4)  # EM is slow here and stops where gains drown in rounding
assert abs(many.log_likelihood / one.log_likelihood - 1) < 1e-6
each = np.asarray(many.log_prob())[:1003]
np.testing.assert_allclose(each, one.log_prob(), rtol=1e-3, atol=1e-3)

counts = np.random.default_rng(1).poisson([[2.0, 30.0]], (500, 2)).reshape(-1).astype(np.float32)
asked = dict(family=gmm_jax.Poisson, n_restarts=2, tol=1e-9)
one, many = (gmm_jax.fit(x, 2, **asked) for x in (counts, split(counts)))
same(many.mixture, one.mixture)

rows = split(points)
columns = jax.device_put(points[:, :2].T.copy()[:, :1000], NamedSharding(
    Mesh(np.array(jax.devices()), "x"), P(None, "x")))
refused(lambda: gmm_jax.fit(columns, 2), "split by rows")
refused(lambda: gmm_jax.fit(split(points.astype(int)), 2), "float32 or float64")
refused(lambda: gmm_jax.fit(split(np.where(points > 1005, np.inf, points + 900)), 2), "infinite")
refused(lambda: gmm_jax.fit(rows, 2, sample_weight=weight), "one entry for each of 1008")
refused(lambda: gmm_jax.fit(rows, 2, sample_weight=-np.ones(1008)), "not negative")
refused(lambda: gmm_jax.fit(split(-counts), 2, family=gmm_jax.Poisson), "counts")
prior = gmm_jax.DirichletNormalGamma(concentration=1, mean=5, mean_scale=50, shape=2, rate=1)
refused(lambda: gmm_jax.fit(split(counts), 2, prior=prior), "method='em'")
for ask in (many.impute, many.plot, many.standard_errors):
    refused(ask, "split over devices")
"""
    finish(start(ON_EIGHT + check, 8))


def test_devices_exchange_nothing_but_sums():
    """In the compiled program: no all-gather, and one all-reduce of the statistics a step."""
    check = """
from gmm_jax.fitting import point
real = point._run
def shown(*arguments, **options):
    print(real.lower(*arguments, **options).compile().as_text())
    return real(*arguments, **options)
point._run = shown
gmm_jax.fit(split(np.tile(points, (10, 1))), 2, n_restarts=2, max_steps=3)
"""
    (program,) = finish(start(ON_EIGHT + check, 8))
    exchanged = re.findall(r"= (.*?) (all-[a-z]+|collective-[a-z]+)(?:-start)?\(", program)
    assert {name for _, name in exchanged} == {"all-reduce"}
    statistics = [shapes for shapes, _ in exchanged if shapes.startswith("(")]
    assert len(statistics) == 2  # of the two ways to take a step, of which one is taken
    for shapes, _ in exchanged:
        sizes = [int(n) for shape in re.findall(r"\[([\d,]+)\]", shapes) for n in shape.split(",")]
        assert max(sizes, default=0) <= 10


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
one = gmm_jax.fit(points, 2, sample_weight=weight, n_restarts=2, tol=1e-9)
same(many.mixture, one.mixture)
assert abs(many.log_likelihood / one.log_likelihood - 1) < 1e-6
assert abs(many.bic / one.bic - 1) < 1e-6 and abs(many.icl / one.icl - 1) < 1e-6
shares = [part.data for part in many.responsibilities().addressable_shards]
np.testing.assert_allclose(np.concatenate(shares), one.responsibilities()[here], atol=1e-4)
print("answer", many.log_likelihood, many.mixture.components.means.tolist())
"""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    outputs = finish(*(start(START + check, 1, rank, port) for rank in "01"))
    first, second = (re.findall("answer.*", output) for output in outputs)
    assert first == second
    assert len(first) == 1
