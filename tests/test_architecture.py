"""Imports only go down, peers never meet, and the first import is cheap."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import gmm_jax

PACKAGE = Path(gmm_jax.__file__).parent
FLOORS = [  # from the ground up; a module imports from lower floors, and from its own package
    {"_pieces", "_sharding"},
    {
        "_warnings",
        "_compile",
        "_data",
        "_loop",
        "_numerics",
        "_progress",
        "_pytree",
        "_table",
        "datasets",
    },
    {"_checks", "_chunks", "_sets", "saving"},
    {
        "diagnostics",
        "distributions",
        "divergences",
        "families",
        "finders",
        "labellings",
        "proportions",
        "resampling",
        "transforms",
    },
    {"convergence", "initial", "mixture"},
    {"bridge", "posterior_means", "predictive_checks"},
    {"table"},
    {"landscape", "partitions", "priors", "relabelling"},
    {"quantiles"},
    {"em", "ensemble", "gibbs", "importance", "nuts", "quasi_newton", "smc", "variational"},
    {"em_starts"},
    {"chunked", "mixture_gibbs", "mixture_posterior", "mixture_tempering", "side_by_side"},
    {"mixture_jumps", "mixture_nuts", "summaries"},
    {"relabelled_draws", "results"},
    {"chunked_fit", "many_fits", "model_posterior", "posterior_fit", "spikes"},
    {"fitting", "models"},
    {"evidence", "model_tempering"},
    {"sampling", "selection", "sklearn", "standard_errors", "testing"},
    {"plotting"},
    {"", "__main__"},
]
FLOOR = {name: number for number, names in enumerate(FLOORS) for name in names}
KERNELS = ("em", "ensemble", "gibbs", "importance", "nuts", "smc", "variational")
CONFINED = {  # what may be imported where
    "genjax": {"models", "sampling"},
    "tensorflow_probability": {"models"},
    "numpyro": {"nuts", "priors"},
    "matplotlib": {"plotting"},
    "sklearn": {"sklearn"},
    "arviz": set(),
    "arviz_base": {"convergence", "model_posterior"},
    "arviz_stats": {"convergence"},
    "pandas": {"evidence", "many_fits", "selection", "summaries"},
    "polars": set(),
    "scipy": {
        "bridge",
        "partitions",
        "quantiles",
        "quasi_newton",
        "relabelling",
        "standard_errors",
    },
}
HEAVY = ["genjax", "tensorflow_probability", "numpyro", "matplotlib", "sklearn", "pandas", "scipy"]


def modules() -> dict[str, Path]:
    """Every file, by its name below gmm_jax; packages by their own."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(part for part in parts if part != "__init__")] = path
    return found


def top(name: str) -> str:
    return name.split(".")[0]


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)


def imports(path: Path, inside_calls: bool) -> set[str]:
    """Modules imported when the file is, and, if asked, those imported inside its functions."""
    found = set()

    def visit(node):
        for child in ast.iter_child_nodes(node):
            if is_type_checking(child):
                continue
            if isinstance(child, ast.FunctionDef) and not inside_calls:
                continue
            if isinstance(child, ast.Import):
                found.update(alias.name for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, f"{path.name} imports relatively"
                base = child.module
                found.update(f"{base}.{a.name}" if base == "gmm_jax" else base for a in child.names)
            visit(child)

    visit(ast.parse(path.read_text()))
    return found


def own(name: str) -> str:
    """The module of ours that is imported, below gmm_jax."""
    name = name.removeprefix("gmm_jax").removeprefix(".")
    return top(name) if top(name) in {top(m) for m in modules()} else ""


def test_every_module_has_a_floor():
    unknown = {top(name) for name in modules()} - FLOOR.keys()
    assert not unknown, f"say in FLOORS on which floor {sorted(unknown)} stand"


@pytest.mark.parametrize("name", modules().keys())
def test_imports_only_go_down(name):
    for imported in imports(modules()[name], inside_calls=False):
        if top(imported) == "gmm_jax" and own(imported) != top(name):
            assert FLOOR[own(imported)] < FLOOR[top(name)], f"{name} imports {imported}"


@pytest.mark.parametrize("name", KERNELS)
def test_kernels_do_not_meet(name):
    met = {own(i) for i in imports(modules()[name], inside_calls=True) if top(i) == "gmm_jax"}
    assert not met & set(KERNELS)


@pytest.mark.parametrize("name", modules().keys())
def test_heavy_libraries_stay_in_their_place(name):
    for imported in imports(modules()[name], inside_calls=True):
        if top(imported) in CONFINED:
            assert top(name) in CONFINED[top(imported)], f"{name} imports {imported}"


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300
    )
    return done.stdout.strip()


def test_an_em_fit_imports_nothing_heavy():
    """Modules that jax itself imports where they are installed are not ours to count."""
    loaded = f"print(sorted(set({HEAVY}) & set(sys.modules)))"
    by_jax = run(f"import sys, jax, jax.numpy, jax.scipy.special; {loaded}")
    code = "import sys, gmm_jax; gmm_jax.fit([1.0, 2.0, 8.0, 9.5], 2).log_prob(3.0)"
    assert run(f"{code}; {loaded}") == by_jax


def test_the_import_brings_in_nothing_but_jax_and_its_types():
    """What that takes in time is in benchmarks/first_fit.py."""
    code = "import sys, jax; by_jax = set(sys.modules); import gmm_jax"
    brought = "{name.partition('.')[0] for name in set(sys.modules) - by_jax}"
    found = run(f"{code}; print(*{brought} - sys.stdlib_module_names)")
    assert set(found.split()) <= {"gmm_jax", "jax", "jaxlib", "jaxtyping", "numpy"}


def test_models_are_there_when_asked_for():
    assert run("import gmm_jax; print(gmm_jax.models.__name__)") == "gmm_jax.models"
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = gmm_jax.nothing
