"""The command line: right numbers, and one clear sentence for each way to get it wrong."""

import numpy as np
import pytest

import gmm_jax
from gmm_jax.__main__ import main
from gmm_jax._table import read_columns
from gmm_jax.datasets import BENTOS


@pytest.fixture
def table(tmp_path):
    def write(text):
        path = tmp_path / "table.csv"
        path.write_text(text)
        return str(path)

    return write


@pytest.mark.parametrize(
    ("text", "wanted", "expected", "names"),
    [
        ("1\n2\n3\n", [], [1, 2, 3], ["1"]),
        ("g\n1\n\n2\n", [], [1, 2], ["g"]),
        ("a,b\n1,2\n3,4\n", [], [[1, 2], [3, 4]], ["a", "b"]),
        ("a;b\n1;2\n3;4\n", ["b"], [2, 4], ["b"]),
        ("name,b\nx,2\ny,4\n", ["2"], [2, 4], ["b"]),
        ('"a b","c"\n1e3,2\n-3.5,4\n', ["a b"], [1000, -3.5], ["a b"]),
    ],
)
def test_reads_columns(table, text, wanted, expected, names):
    data, found = read_columns(table(text), wanted)
    np.testing.assert_array_equal(data, expected)
    assert found == names


@pytest.mark.parametrize(
    ("text", "arguments", "sentence"),
    [
        ("", [], "is empty"),
        ("g\n", [], "no data"),
        ("g\n1\ntwo\n", [], "line 3: column 'g' holds 'two'"),
        ("a,b\n1,2\n3,\n", [], "line 3: column 'b' is empty"),
        ("a,b\n1,2\n3,4\n", ["--column", "c"], "no column 'c'; it has a, b"),
        ("1\n2\n", ["--components", "3"], "at least as many points as components"),
        ("1\n2\n", ["--components", "0"], "n_components must be at least 1"),
        ("1\ninf\n", [], "infinite entries"),
    ],
)
def test_says_what_is_wrong(table, capsys, text, arguments, sentence):
    assert main([table(text), *arguments]) == 1
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1


def test_missing_file(capsys):
    assert main(["no-such-file.csv"]) == 1
    assert "no-such-file.csv" in capsys.readouterr().err


def test_fits_a_file_and_saves_a_picture(table, tmp_path, capsys):
    picture = tmp_path / "picture.png"
    path = table("weight\n" + "\n".join(map(str, BENTOS)))
    assert main([path, "--components", "2", "--plot", str(picture)]) == 0
    printed = capsys.readouterr().out
    assert gmm_jax.fit(BENTOS, 2).summary().splitlines()[3] in printed
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_posterior_with_the_prior_of_the_tutorial(table, capsys):
    path = table("\n".join(map(str, BENTOS)))
    prior = ["--prior-mean", "400", "--prior-mean-scale", "50", "--prior-rate", "1"]
    assert main([path, "--posterior", *prior]) == 0
    printed = capsys.readouterr().out
    evidence = float(printed.split("log evidence ")[1].split()[0])
    assert evidence == pytest.approx(-68.520791, abs=0.03)


def test_part_of_a_prior_is_asked_for(table, capsys):
    path = table("1\n2\n5\n")
    assert main([path, "--posterior", "--prior-mean", "3"]) == 1
    assert "or none of them" in capsys.readouterr().err
