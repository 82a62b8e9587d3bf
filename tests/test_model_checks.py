"""What checked generative functions refuse, and that they refuse nothing else."""

from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from genjax import Cond, Scan, const, flip, gen, normal, seed, sel

from gmm_jax import DirichletNormalGamma, Normal, models
from gmm_jax.models import AddressError, checked

KEY = jax.random.key(0)
PRIOR = DirichletNormalGamma(concentration=1, mean=0, mean_scale=1, shape=2, rate=1)
MODEL = models.bayesian_mixture(PRIOR, 2, 3)
CHOICES = {
    "weights": jnp.array([0.5, 0.5]),
    "means": jnp.array([0.0, 1.0]),
    "scales": jnp.array([1.0, 2.0]),
    "obs": {"z": jnp.array([0, 1, 1]), "x": jnp.array([0.5, 1.5, 2.5])},
}


def replaced(**changes):
    obs = changes.pop("obs", CHOICES["obs"])
    return {**CHOICES, **changes, "obs": obs}


ALL = "'means', 'obs/x', 'obs/z', 'scales', 'weights'"
UNKNOWN = [
    ({"mean": [0.0, 1.0]}, f"no address 'mean'; the nearest is 'means'. The addresses are {ALL}"),
    ({"scale": [0.0, 1.0]}, "no address 'scale'; the nearest is 'scales'"),
    ({"obs": {"y": [1.0, 2.0, 3.0]}}, "no address 'obs/y'; the nearest is 'obs/"),
    ({"x": [1.0, 2.0, 3.0]}, "no address 'x'; the nearest is 'obs/x'"),
    ({"obs": {"means": [1.0, 2.0]}}, "no address 'obs/means'; the nearest is 'means'"),
    ({"means": {"first": 1.0}}, "no address 'means/first'; the nearest is 'means'"),
    (
        {"obs": [1.0, 2.0, 3.0]},
        "value at 'obs' must be a dict with addresses among 'obs/x', 'obs/z'",
    ),
    ([1.0], f"the choices must be a dict with addresses among {ALL}"),
]
MISSHAPEN = [
    ({"means": [0.0, 1.0, 2.0]}, r"value at 'means' must have shape \(2,\), got \(3,\)"),
    ({"weights": 0.5}, r"value at 'weights' must have shape \(2,\), got \(\)"),
    ({"obs": {"x": [0.0, 1.0]}}, r"value at 'obs/x' must have shape \(3,\), got \(2,\)"),
    ({"obs": {"x": np.zeros((3, 1))}}, r"value at 'obs/x' must have shape \(3,\), got \(3, 1\)"),
]


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [(w, AddressError, m) for w, m in UNKNOWN] + [(w, ValueError, m) for w, m in MISSHAPEN],
)
def test_wrong_constraints_are_named(wrong, error, message):
    trace, _ = MODEL.generate(CHOICES)
    with pytest.raises(error, match=message):
        seed(MODEL.generate)(KEY, wrong)
    with pytest.raises(error, match=message):
        jax.jit(seed(MODEL.generate))(KEY, wrong)
    with pytest.raises(error, match=message):
        MODEL.update(trace, wrong)
    with pytest.raises(error, match=message):
        MODEL.assess({**CHOICES, **wrong} if isinstance(wrong, dict) else wrong)


def test_address_errors_are_key_errors_and_value_errors():
    for kind in (KeyError, ValueError):
        with pytest.raises(kind, match=r"^there is no address 'mean'"):
            MODEL.assess({"mean": 1.0})


def test_assess_names_what_is_missing():
    with pytest.raises(AddressError, match="missing: 'obs/z', 'scales'"):
        MODEL.assess({"weights": [0.5, 0.5], "means": [0, 1], "obs": {"x": [0, 1, 2], "z": None}})


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        (sel("mean"), "no address 'mean'; the nearest is 'means'"),
        (sel(("obs", "y")), "no address 'obs/y'; the nearest is 'obs/"),
        (sel(("means", "x")), "no address 'means/x'; the nearest is"),
        (sel({"obs": sel("w")}), "no address 'obs/w'"),
        (sel({"ops": sel("x")}), "no address 'ops/x'; the nearest is 'obs/x'"),
        (sel("means") | sel("scale"), "no address 'scale'; the nearest is 'scales'"),
        (~sel("scale"), "no address 'scale'"),
        (sel(), f"the selection selects nothing; the addresses are {ALL}"),
        (~sel(()), "the selection selects nothing"),
        (sel("means") ^ sel("scales"), "the selection selects nothing"),
    ],
)
def test_wrong_selections_are_named(selection, message):
    trace, _ = MODEL.generate(CHOICES)
    with pytest.raises(AddressError, match=message):
        seed(MODEL.regenerate)(KEY, trace, selection)


@pytest.mark.parametrize(
    ("selection", "chosen"),
    [
        (sel("means"), {"means"}),
        (sel(("obs", "z")), {"z"}),
        (sel("obs"), {"z", "x"}),
        (sel({"obs": sel("x")}), {"x"}),
        (sel("means") | sel("scales"), {"means", "scales"}),
        (~sel(("obs", "x")), {"weights", "means", "scales", "z"}),
        (~sel("obs"), {"weights", "means", "scales"}),
        (sel(()), {"weights", "means", "scales", "z", "x"}),
    ],
)
def test_filter_divides_as_regenerate_does(selection, chosen):
    def leaves(tree):
        return {path[-1].key for path, _ in jax.tree.leaves_with_path(tree)}

    selected, others = MODEL.filter(CHOICES, selection)
    assert leaves(selected) == chosen
    assert leaves(others or {}) == leaves(CHOICES) - chosen
    simple = models.points(3)
    trace, _ = simple.generate(CHOICES["obs"], CHOICES["weights"], Normal([0.0, 9.0], [1.0, 1.0]))
    if chosen == {"z"} or chosen == {"x"}:
        inner = sel(*chosen)
        arguments = (CHOICES["weights"], Normal([0.0, 9.0], [1.0, 1.0]))
        new, _, _ = seed(simple.regenerate)(KEY, trace, inner, *arguments)
        moved = {name for name in "zx" if np.any(new[name] != trace[name])}
        assert moved == chosen


def test_numbers_may_come_as_lists_integers_and_booleans():
    plain = {"weights": [0.5, 0.5], "means": [0, 1], "scales": np.array([1, 2])}
    plain["obs"] = {"z": [False, True, True], "x": [0.5, 1.5, 2.5]}
    trace, weight = MODEL.generate(plain)
    np.testing.assert_allclose(weight, MODEL.assess(CHOICES)[0])
    assert trace["means"].dtype == jnp.float32


@checked
@gen
def weighing(scale):
    mean = normal(0.0, 1.0) @ "mean"
    heavy = flip(0.3) @ "heavy"
    return normal(mean + heavy, scale) @ "x"


@gen
def two_weighings():
    first = weighing(1.0) @ "first"
    return weighing(2.0) @ "second" + first


def test_own_models_and_nesting():
    @gen
    def plain(scale):
        return weighing.gen_fn(scale) @ "all"

    choices = {"mean": 0.5, "heavy": True, "x": 2.0}
    expected = plain.assess({"all": jax.tree.map(jnp.asarray, choices)}, 1.0)[0]
    np.testing.assert_allclose(weighing.assess(choices, 1.0)[0], expected)
    np.testing.assert_allclose(weighing.assess(choices, scale=1.0)[0], expected)
    both = {"first": choices, "second": choices}
    trace, weight = two_weighings.generate(both)
    updated, ratio, _ = two_weighings.update(trace, {"first": {"x": 1.0}})
    np.testing.assert_allclose(two_weighings.assess(updated.get_choices())[0], weight + ratio)
    assert updated.get_choices()["second"]["x"] == 2.0
    new, _, _ = seed(two_weighings.regenerate)(KEY, updated, sel(("second", "x")))
    assert new["first"] == updated["first"]
    assert new["second"]["x"] != 2.0
    with pytest.raises(AddressError, match="no address 'y'; the nearest is"):
        two_weighings.generate({"first": {"y": 1.0}})
    with pytest.raises(AddressError, match="no address 'men'; the nearest is 'mean'"):
        seed(two_weighings.regenerate)(KEY, trace, sel(("first", "men")))


def test_under_vmap_scan_and_cond_of_genjax():
    scales = jnp.array([1.0, 2.0])
    choices = {"mean": jnp.zeros(2), "heavy": jnp.array([True, False]), "x": jnp.ones(2)}
    each = [
        weighing.assess(jax.tree.map(lambda leaf, i=i: leaf[i], choices), scales[i])[0]
        for i in range(2)
    ]
    rows = checked(weighing.vmap(in_axes=(0,)))
    np.testing.assert_allclose(rows.assess(choices, scales)[0], sum(each), rtol=1e-6)
    trace, _ = seed(rows.generate)(KEY, {"x": [1.0, 1.0]}, scales)
    updated, ratio, _ = trace.update(choices)
    np.testing.assert_allclose(-updated.get_score(), sum(each), rtol=1e-6)
    np.testing.assert_allclose(ratio, sum(each) + trace.get_score(), rtol=1e-5)
    with pytest.raises(ValueError, match=r"'x' must have shape \(2,\), got \(3,\)"):
        rows.assess({**choices, "x": jnp.ones(3)}, scales)

    @checked
    @gen
    def step(position, size):
        position = normal(position + size, 1.0) @ "at"
        return position, position

    walk = checked(Scan(step, length=const(2)))
    path = {"at": jnp.array([1.0, 3.0])}
    expected = jax.scipy.stats.norm.logpdf(jnp.array([0.5, 1.5])).sum()
    log_density = walk.assess(path, 0.0, jnp.array([0.5, 0.5]))[0]
    np.testing.assert_allclose(log_density, expected, rtol=1e-6)
    either = checked(Cond(weighing, weighing))
    one = {"mean": 0.5, "heavy": True, "x": 2.0}
    expected = weighing.assess(one, 1.0)[0]
    np.testing.assert_allclose(either.assess(one, jnp.array(True), 1.0)[0], expected, rtol=1e-6)
    single = checked(normal)
    np.testing.assert_allclose(single.assess(0, 0.0, 1.0)[0], -0.5 * np.log(2 * np.pi), rtol=1e-6)
    with pytest.raises(AddressError, match="no address 'x': the one choice has none"):
        single.assess({"x": 0.0}, 0.0, 1.0)


def test_a_vector_log_density_is_an_error():
    @checked
    @gen
    def vector():
        mean = normal(0.0, 1.0) @ "mean"
        return normal(jnp.full(3, mean), 1.0) @ "x"

    choices = {"mean": 0.0, "x": jnp.zeros(3)}
    for call in (vector.assess, vector.generate):
        with pytest.raises(ValueError, match=r"log density has shape \(3,\)"):
            call(choices)


def test_arguments_that_shape_the_model():
    @checked
    @gen
    def several(n):
        return [normal(0.0, 1.0) @ f"x{i}" for i in range(n)]

    assert several.assess({"x0": 0.0, "x1": 0.0}, 2)[0] < several.assess({"x0": 0.0}, 1)[0]
    with pytest.raises(AddressError, match="no address 'x1'"):
        several.assess({"x0": 0.0, "x1": 0.0}, 1)


def test_checked_takes_generative_functions_only():
    with pytest.raises(TypeError, match="checked"):
        checked(lambda: None)
    assert checked(MODEL) is MODEL


def test_six_threads_trace_at_a_time():
    arguments = (jnp.array([0.5, 0.5]), Normal([0.0, 9.0], [1.0, 1.0]))

    def work(number):
        for _ in range(4):
            model = models.points(3)
            trace = jax.eval_shape(seed(model.simulate), KEY, *arguments)
            log_density, _ = model.assess({**CHOICES["obs"], "z": [0, 0, number % 2]}, *arguments)
        return {a: value.shape for a, value in trace.get_choices().items()}, float(log_density)

    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(work, range(6)))
    assert together == [work(number) for number in range(6)]
