"""How many chains found what holds the posterior: where few did, others may be missing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.datasets import load_wine

import gmm_jax
from gmm_jax import MixturePrior, NormalInverseGamma, NormalInverseWishart, gibbs
from gmm_jax import mixture_posterior as weighed
from gmm_jax.finders import Finders, count
from gmm_jax.table import Table

# Three clumps and two components: either pair of neighbours may be together.
CLUMPS = np.concatenate([c + np.linspace(-0.5, 0.5, 20) for c in (-10.0, 0.0, 10.0)])


def places(which):
    """Where chains stand: 0 for the left two clumps together, 1 for the right two."""
    which = np.asarray(which)[:, None]
    means = np.where(which == 0, [-5.0, 10.0], [-10.0, 5.0])
    scales = np.where(which == 0, [5.0, 0.3], [0.3, 5.0])
    weights = np.where(which == 0, [2 / 3, 1 / 3], [1 / 3, 2 / 3])
    mixtures = [
        gmm_jax.Mixture(w, gmm_jax.Normal(m, s))
        for w, m, s in zip(weights, means, scales, strict=True)
    ]
    return jax.tree.map(lambda *a: jnp.stack(a), *mixtures)


@pytest.mark.parametrize(
    ("stand", "chains", "lies", "expected"),
    [
        ([0] * 7 + [1], range(8), 0, 7),
        ([0] * 7 + [1], range(8), 1, 1),
        ([0] * 4 + [1] * 4, range(8), 1, 4),
        ([0] * 4 + [1] * 4, [0, 0, 0, 0, 1, 1, 1, 1], 1, 1),
        ([0] * 4 + [1] * 4, [0, 1, 2, 3, 3, 4, 5, 6], 0, 4),
    ],
)
def test_chains_that_stood_where_draws_lie_are_counted(stand, chains, lies, expected):
    """In effect: the conditionals of one place differ a little by chance."""
    prior = MixturePrior(1, NormalInverseGamma(0, 0.01, 2, 1))
    table = Table(jnp.asarray(CLUMPS, jnp.float32)[None], jnp.ones((1, len(CLUMPS))))
    prior = jax.tree.map(jnp.asarray, prior.spread(2, ()))
    floor, key = jnp.asarray(1e-6), jax.random.key(0)
    conditionals = gibbs.conditionals(key, places(stand), table, prior, floor)
    arguments = weighed.Arguments(table, prior, conditionals, jnp.full(8, -jnp.log(8.0)))
    draws = gibbs.conditionals(key, places([lies] * 50), table, prior, floor).sample(key)
    found = count(np.asarray(weighed.log_densities(draws, arguments)), np.asarray(chains), 8)
    assert found.of == 8
    assert found.effective == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize(
    ("effective", "of", "said"),
    [
        (2.9, 16, True),
        (3.1, 16, False),
        (1.9, 4, True),
        (2.1, 4, False),
        (1, 2, False),
        (1, 1, False),
    ],
)
def test_few_is_below_three_or_half_of_the_chains(effective, of, said):
    assert (Finders(effective, of).problem() is not None) == said


@pytest.mark.slow
@pytest.mark.parametrize("method", ["importance", "gibbs"])
def test_places_that_hardly_any_chain_finds_are_told(method):
    """In thirteen columns two to four wines make a component, if the prior expects narrow ones.

    Among thousands of such explanations each chain finds its own; the particles around the best
    agree perfectly.
    """
    wine = load_wine().data
    wine = (wine - wine.mean(0)) / wine.std(0)
    narrow = 2 / (5 * 3 ** (1 / 13)) ** 2 * np.eye(13)
    prior = MixturePrior(1, NormalInverseWishart(np.zeros(13), 1 / 25, 14, narrow))
    with pytest.warns(gmm_jax.FitWarning, match="found by few|do not agree|has collapsed"):
        gmm_jax.fit(
            wine, 3, prior=prior, method=method, n_draws=20_000 if method == "importance" else 1600
        )
