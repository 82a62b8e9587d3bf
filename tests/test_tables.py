"""Tabulated densities of one number."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from gmm_jax.priors.tables import Table, _mass

DENSITIES = {
    "wide": stats.norm(1, 3),
    "narrow": stats.norm(-2.3, 1e-3),
    "far narrower": stats.norm(4.1, 2e-5),
    "skewed": stats.gumbel_l(0.3, 0.8),
    "at the lower edge": stats.expon(-20, 1.5),
    "at the upper edge": stats.expon(-20, 1.5),
    "level": stats.uniform(-20, 40),
}


def tabulated(name):
    """The density, and its table."""
    own = DENSITIES[name]
    turned = name == "at the upper edge"

    def log_density(x):
        x = -x if turned else x
        if own.dist.name == "norm":
            return -0.5 * ((x - own.mean()) / own.std()) ** 2
        if own.dist.name == "gumbel_l":
            z = (x - 0.3) / 0.8
            return z - jnp.exp(z)
        return -(x + 20) / 1.5 if own.dist.name == "expon" else jnp.zeros_like(x)

    ends = jnp.full((1,), -20.0), jnp.full((1,), 20.0)
    sign = -1 if turned else 1
    return own, sign, Table.of(log_density, *ends)


@pytest.mark.parametrize("name", DENSITIES)
def test_draws_follow_the_density(name, x64):
    own, sign, table = tabulated(name)
    uniforms = jax.random.uniform(jax.random.key(0), (20_000, 1))
    draws = sign * jax.vmap(table.quantile)(uniforms)[:, 0]
    assert stats.kstest(np.asarray(draws), own.cdf).pvalue > 1e-3


@pytest.mark.parametrize("name", DENSITIES)
def test_the_log_density_is_that_of_the_draws(name, x64):
    """It integrates to 1, has the moments of what it stands for, and nothing is outside."""
    own, sign, table = tabulated(name)
    low, width, cells = float(table.low[0]), float(table.width[0]), table.rise.shape[-1]
    middles = low + (np.arange(64 * cells) + 0.5) * width / 64
    log_prob = jax.vmap(lambda x: table.log_prob_matched(x[None])[0, 0])(jnp.asarray(middles))
    mass = np.exp(np.asarray(log_prob)) * width / 64
    assert mass.sum() == pytest.approx(1, abs=1e-5)
    mass /= mass.sum()
    mean = sign * mass @ middles
    spread = (mass @ (middles - sign * mean) ** 2) ** 0.5
    assert mean == pytest.approx(own.mean(), abs=2e-3 * own.std())
    assert spread == pytest.approx(own.std(), rel=1e-3)
    reached = own.cdf(sign * (middles + width / 128))
    below = np.cumsum(mass) if sign > 0 else 1 - np.cumsum(mass)
    np.testing.assert_allclose(below, reached, atol=1e-3)
    outside = table.log_prob_matched(jnp.array([low - width]))
    assert np.all(np.isneginf(outside))


def test_single_precision_does_not_lose_the_peak():
    """Half a million points: the log scale is known to a thousandth."""
    peak, spread = 3.7, 1e-3
    table = Table.of(
        lambda x: -0.5 * ((x - peak) / spread) ** 2, jnp.full((2, 3), -15.0), jnp.full((2, 3), 15.0)
    )
    draws = jax.vmap(table.quantile)(jax.random.uniform(jax.random.key(1), (5000, 2, 3)))
    assert draws.dtype == jnp.float32
    assert draws.shape == (5000, 2, 3)
    np.testing.assert_allclose(draws.mean(0), peak, atol=1e-4)
    np.testing.assert_allclose(draws.std(0), spread, rtol=0.05)


def test_where_the_density_vanishes_nothing_is_drawn():
    """A log density of minus infinity on one side, as where a number underflows."""
    ends = jnp.zeros(1), jnp.ones(1)
    table = Table.of(lambda x: jnp.where(x < 0.7, -jnp.inf, -x), *ends)
    draws = jax.vmap(table.quantile)(jax.random.uniform(jax.random.key(2), (5000, 1)))
    assert 0.65 < draws.min() < 0.7 + 0.02
    assert np.all(np.isfinite(table.log_density))


@pytest.mark.parametrize("name", DENSITIES)
def test_chains_follow_the_density_itself(name, x64):
    """Coarse cells make more draws fail the test, not the answer wrong; strangers come in."""
    own, sign, table = tabulated(name)
    coarse = _coarser(table)
    n_chains, n_steps = 20_000, 40
    starts = np.full((n_chains, 1), np.nan)
    starts[::2] = 100.0

    def step(i, now):
        uniforms = jax.random.uniform(jax.random.key(i), (n_chains, 2, 1))
        return jax.vmap(coarse.redraw)(now, uniforms)

    first = step(0, jnp.asarray(starts))
    assert np.all(np.isfinite(first))
    draws = sign * jax.lax.fori_loop(1, n_steps, step, first)[:, 0]
    assert stats.kstest(np.asarray(draws), own.cdf).pvalue > 1e-3


def _coarser(table):
    """The same density from a table that is off by up to a third."""
    wave = 0.3 * jnp.cos(3.0 * jnp.arange(table.rise.shape[-1]))
    off = table.log_density + wave
    return dataclasses.replace(table, log_density=off - jax.nn.logsumexp(_log_mass(off, table)))


def _log_mass(log_density, table):
    return jnp.log(_mass(log_density, table.rise) * table.width[..., None])
