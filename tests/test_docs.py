"""The documentation: its Python runs, its links lead somewhere, and no public name is left out."""

import importlib
import inspect
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import unquote, urlsplit

import jax.numpy as jnp
import numpy as np
import pages
import pytest
import sklearn.mixture
import test_families
import test_priors
from scipy import stats

import gmm_jax

DOCS = pages.ROOT / "docs"


def run(name: str) -> dict[str, Any]:
    """What the Python of a whole page defines."""
    page = DOCS / name
    return pages.run(page, pages.blocks(page))


def test_every_page_with_python_is_run_here():
    with_python = {page.name for page in DOCS.rglob("*.md") if pages.blocks(page)}
    assert with_python == {
        "add_a_family.md",
        "from_numpyro_or_stan.md",
        "from_scikit_learn.md",
        "how_it_is_built.md",
    }


def test_how_it_is_built():
    """A few steps of EM on two clumps far apart: their means and shares."""
    mixture = run("how_it_is_built.md")["mixture"]
    np.testing.assert_allclose(mixture.components.means, [1052 / 3, 499.8], rtol=1e-5)
    np.testing.assert_allclose(mixture.weights, [3 / 8, 5 / 8], rtol=1e-5)


@pytest.mark.slow
def test_coming_from_scikit_learn():
    names = run("from_scikit_learn.md")
    X, result, theirs = names["X"], names["result"], names["theirs"]
    top = sklearn.mixture.GaussianMixture(2, tol=1e-10, max_iter=10_000, random_state=0).fit(X)
    assert result.log_likelihood == pytest.approx(len(X) * top.score(X), abs=0.01)
    assert result.mixture.components.means[0, 0] < result.mixture.components.means[1, 0]
    np.testing.assert_array_equal(np.isnan(names["holed"]), names["completed"] != X)
    np.testing.assert_allclose(names["mixture"].log_prob(X), theirs.score_samples(X), 1e-4, 1e-4)
    # A regression of the second feature on the first, within the second cloud.
    means, covariances = names["model"].means_, names["model"].covariances_
    j = means[:, 0].argmax()
    expected = means[j, 1] + covariances[j, 0, 1] / covariances[j, 0, 0] * (3 - means[j, 0])
    assert names["second_given_first"].icdf(0.5) == pytest.approx(expected, abs=0.05)
    assert names["posterior"].log_evidence < result.log_likelihood


@pytest.mark.slow
def test_coming_from_numpyro_or_stan():
    names = run("from_numpyro_or_stan.md")
    assert float(names["ours"]) == pytest.approx(float(names["theirs"]), rel=1e-5)
    assert names["posterior"].log_evidence == pytest.approx(-68.520791, abs=0.03)
    assert names["chains"].n_draws == 4000
    means = names["drawn"].draws["means"]
    np.testing.assert_allclose(means.mean(0), [350.25, 500], atol=0.3)
    assert names["drawn"].r_hat < 1.01


@pytest.fixture(scope="module")
def added() -> dict[str, Any]:
    """The family and the prior of the page that adds them."""
    return run("add_a_family.md")


@pytest.mark.slow
def test_the_fits_of_the_added_family(added):
    days, fitted = added["days"], added["machines"].mixture
    seen = days[np.isfinite(days)][:, None]
    probs, weights = (np.asarray(a, np.float64) for a in (fitted.components.probs, fitted.weights))
    joint = weights * stats.geom(probs, loc=-1).pmf(seen)
    shares = joint / joint.sum(1, keepdims=True)
    expected = shares.sum(0) / (shares.sum(0) + (shares * seen).sum(0))
    np.testing.assert_allclose(probs, expected, rtol=1e-3)  # EM has nothing left to do
    np.testing.assert_allclose(shares.mean(0), weights, atol=1e-3)
    assert added["half_known"].mixture.components.probs[0] == pytest.approx(0.2)
    drawn = added["posterior"].draws.components.probs
    assert np.abs(drawn.mean(0) - probs).max() < 3 * drawn.std(0).max()


CHECKS = [
    (module, name)
    for module in (test_families, test_priors)
    for name, check in inspect.getmembers(module, inspect.isfunction)
    if name.startswith("test_")
    and {"case"} <= inspect.signature(check).parameters.keys() <= {"case", "dtype", "x64"}
    and all(mark.name == "slow" for mark in getattr(check, "pytestmark", []))
]


@pytest.mark.slow
@pytest.mark.parametrize(("module", "name"), CHECKS, ids=[name for _, name in CHECKS])
def test_the_added_family_passes_the_shared_checks(added, module, name, x64):
    check = getattr(module, name)
    if module is test_families:
        case: Any = test_families.Case(*added["case"])
    else:
        components, data = added["prior_case"]
        case = gmm_jax.MixturePrior([1.5, 1.5], components), jnp.asarray(data)
    own = {"case": case, "dtype": np.float64, "x64": None}
    check(**{word: own[word] for word in inspect.signature(check).parameters})


class Page(HTMLParser):
    """What a page of HTML links to, and what can be linked to on it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = {""}
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("href", "src") and value is not None:
                self.links.append(value)
            if name == "id" and value is not None:
                self.anchors.add(value)


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> dict[Path, Page]:
    """Every page of the site, built without running the tutorials."""
    where = tmp_path_factory.mktemp("site").resolve()
    options = ["-W", "--keep-going", "--quiet", "-D", "nb_execution_mode=off"]
    paths = ["-d", where / "trees", DOCS, where / "html"]
    command = [sys.executable, "-m", "sphinx", *options, *paths]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr
    return {path: Page(path) for path in sorted((where / "html").rglob("*.html"))}


@pytest.mark.slow
def test_links_lead_somewhere(site):
    followed = 0
    for path, page in site.items():
        for link in page.links:
            there = urlsplit(link)
            if there.scheme or there.netloc:
                continue
            target = (path.parent / unquote(there.path)).resolve() if there.path else path
            assert target.exists(), f"{path.name} links to {link}"
            if target in site:
                anchor = unquote(there.fragment)
                assert anchor in site[target].anchors, f"{path.name} links to {link}"
                followed += 1
    assert followed > 1000


@pytest.mark.slow
def test_every_tutorial_is_on_the_site(site):
    pages_there = {path.stem for path in site}
    assert {path.stem for path in (pages.ROOT / "notebooks").glob("*.py")} <= pages_there


def public(module: ModuleType) -> Iterator[str]:
    """The names that a module offers."""
    if module is gmm_jax.plotting:
        return iter(["plot", "plot_prior", *module.PICTURES])
    return iter(module.__all__)


def found(name: str) -> Any:
    """What a full name stands for; None where it cannot be had, such as fields of a dataclass."""
    path, value = "gmm_jax", gmm_jax
    for part in name.removeprefix("module-").split(".")[1:]:
        path = f"{path}.{part}"
        if not hasattr(value, part):
            try:
                importlib.import_module(path)
            except ImportError:
                return None
        value = getattr(value, part)
    return value


@pytest.mark.slow
def test_every_public_name_is_in_the_reference(site):
    entries = {anchor for page in site.values() for anchor in page.anchors}
    names = [name for name in entries if name.removeprefix("module-").startswith("gmm_jax.")]
    there = [found(name) for name in names]
    modules = (
        gmm_jax,
        gmm_jax.families,
        gmm_jax.models,
        gmm_jax.plotting,
        gmm_jax.sklearn,
        gmm_jax.testing,
    )
    for module in modules:
        offered = {name: getattr(module, name) for name in public(module)}
        missing = [n for n, own in offered.items() if not any(own is entry for entry in there)]
        assert not missing, f"the reference has no entry for {missing} of {module.__name__}"
