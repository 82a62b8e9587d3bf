"""Geweke's test of Gibbs sweeps under every prior, and calibration of whole fits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_priors import PRIORS

import gmm_jax
from gmm_jax import MixturePrior, default_prior, gibbs, mixture_jumps, mixture_posterior
from gmm_jax.table import Table
from gmm_jax.testing import calibrate, check_invariance

FLOOR = jnp.asarray(1e-5)


def gibbs_kernel(prior, event):
    """One chain, one step; labels move, since the prior may tell components apart."""

    def kernel(key, mixture, data):
        state = gibbs.init(jax.tree.map(lambda a: a[None], mixture))
        table = Table(data[None], jnp.ones((1, len(data))))
        state, _ = gibbs.step(key, state, table, prior, FLOOR)
        return jax.tree.map(lambda a: a[0], state.mixtures)

    return kernel


def jump_kernel(prior, event):
    """One chain, one jump to conditionals at places that know nothing of where it stands."""
    places = prior.sample(jax.random.key(7), 2, event, (6,))

    def kernel(key, mixture, data):
        rows, weight = data, jnp.ones(len(data))
        table = Table(rows[None], weight[None])
        conditionals = gibbs.conditionals(jax.random.key(8), places, table, prior, FLOOR)
        log_shares = jnp.log(jnp.array([0.3, 0.1, 0.1, 0.1, 0.1, 0.3]))
        proposal = mixture_posterior.Arguments(table, prior, conditionals, log_shares)
        chains = jax.tree.map(lambda a: a[None], mixture)
        after, _, _ = mixture_jumps.jump(key, chains, proposal, named=True)
        return jax.tree.map(lambda a: a[0], after)

    return kernel


@pytest.mark.slow
@pytest.mark.parametrize("kernel_of", [gibbs_kernel, jump_kernel])
@pytest.mark.parametrize("name", PRIORS)
def test_sweeps_and_jumps_are_invariant_under_every_prior(name, kernel_of):
    """Components with different concentrations, so that labels matter."""
    components, data = PRIORS[name]()
    event = data.shape[1:]
    prior = jax.tree.map(jnp.asarray, MixturePrior([1.5, 2.5], components).spread(2, event))
    found = check_invariance(
        kernel_of(prior, event), prior, 2, 4, event_shape=event, n_chains=400, n_steps=15
    )
    assert found.passed, found
    assert 400 < found.effective_sample_size["log likelihood"] < 15 * 400


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "n_draws"), [("gibbs", 4000), ("smc", 500), ("importance", 2000)]
)
def test_fits_are_calibrated(method, n_draws):
    """60 data sets from the default prior of some numbers; `benchmarks/calibration.py` has more."""
    prior = default_prior(np.array([-1.9, -0.7, 0.1, 0.6, 1.8]), 2)

    def fit(key, data):
        return gmm_jax.fit(data, 2, prior=prior, method=method, n_draws=n_draws, key=key)

    found = calibrate(fit, prior, n_components=2, n_points=6, n_replications=60)
    assert found.passed, found
