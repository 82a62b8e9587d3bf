"""Two explanations with three components share the posterior: `fit` says how much each holds."""

import numpy as np
import pytest
from modes import CASES, repeat

from gmm_jax.convergence import AGREE


@pytest.mark.slow
def test_both_explanations_matter_by_enumeration():
    """And nothing else does: the middle clumps are never together."""
    case = CASES["uneven, 12 points"]
    left, right = case.truth()
    assert min(left, right) > 0.1
    assert left + right == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.mirrored])
def test_mirrored_data_are_their_own_mirror_image(name):
    data = CASES[name].data.reshape(len(CASES[name].data), -1)
    mirrored = np.column_stack([-data[:, 0], data[:, 1:]])

    def rows(points):
        return np.array(sorted(map(tuple, np.nan_to_num(points, nan=99).round(9))))

    np.testing.assert_allclose(rows(mirrored), rows(data), atol=1e-8)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("line, 32 points", "auto"),
        ("line, 32 points", "smc"),
        ("line, 200 points", "auto"),
        ("line, 200 points", "smc"),
        ("plane, 40 points", "smc"),
        ("plane, gaps", "auto"),
        ("uneven, 12 points", "auto"),
        ("uneven, 12 points", "smc"),
        ("counts, 12 points", "auto"),
        ("counts, 12 points", "smc"),
    ],
)
def test_both_hold_what_they_should_and_runs_agree(name, method):
    """Within five of the errors that the runs report themselves."""
    case = CASES[name]
    runs = repeat(case, method, range(3))
    assert np.all(runs.shares > 0.1)
    if case.mirrored:
        difference, error = runs.between
        np.testing.assert_array_less(np.abs(difference), 5 * error)
        assert np.all(error < 0.15)
    else:
        np.testing.assert_array_less(np.abs(runs.shares - case.truth()), 5 * runs.errors + 1e-3)
        assert np.all(runs.errors < 0.05)
    assert runs.r_hat < AGREE
