"""The notebooks run from top to bottom, so that every number they claim is asserted."""

import runpy
from pathlib import Path

import jupytext
import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.py"))


@pytest.fixture
def no_windows(monkeypatch, tmp_path):
    """Draw without a display, in a directory of its own."""
    plt = pytest.importorskip("matplotlib.pyplot")
    backend = plt.get_backend()
    plt.switch_backend("agg")
    monkeypatch.chdir(tmp_path)
    yield plt
    plt.close("all")
    plt.switch_backend(backend)


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(path, no_windows, tmp_path):
    runpy.run_path(str(path), run_name="__main__")
    assert no_windows.get_fignums()
    for number in no_windows.get_fignums():
        no_windows.figure(number).savefig(tmp_path / f"{number}.png")


def test_tutorials_are_numbered():
    assert [int(path.stem[:2]) for path in NOTEBOOKS] == list(range(1, 13))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_script_opens_as_a_notebook(path):
    notebook = jupytext.read(path)
    assert notebook.metadata.kernelspec.name == "python3"
    assert notebook.cells[0].cell_type == "markdown"
    assert notebook.cells[0].source.startswith("# ")
    assert any("assert " in cell.source for cell in notebook.cells if cell.cell_type == "code")
