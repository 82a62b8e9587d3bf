"""Importance sampling of the bentos from the prior: what does the generative function cost?

The same particles' work four ways: assignments sampled at GenJAX sites, assignments summed out by
the marginalised distribution, the log weight written by hand in JAX, and a loop over particles in
Python as a textbook would write it (timed on fewer particles, and scaled).
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.stats import norm
from paired import header, paired

from gmm_jax import DirichletNormalGamma, models
from gmm_jax.datasets import BENTOS

PARTICLES, LOOPED = 50_000, 200
PRIOR = DirichletNormalGamma(concentration=1, mean=400, mean_scale=50, shape=2, rate=1)


def through(model) -> jax.stages.Wrapped:
    """Log weights of particles of a generative function."""
    draw = models.importance_target(model, (), {"obs": {"x": BENTOS}})
    return jax.jit(lambda keys: jax.vmap(draw)(keys)[1])


@jax.jit
def by_hand(keys):
    """The same, assignments summed out, without GenJAX."""
    data = jnp.asarray(BENTOS, float)

    def log_weight(key):
        mixture = PRIOR.sample(key, 2)
        normals = mixture.components
        terms = norm.logpdf(data[:, None], normals.means, normals.scales)
        return jax.nn.logsumexp(jnp.log(mixture.weights) + terms, axis=1).sum()

    return jax.vmap(log_weight)(keys)


def looped() -> np.ndarray:
    """NumPy, a particle at a time, assignments sampled."""
    rng = np.random.default_rng(0)
    data = np.asarray(BENTOS, float)
    log_weights = []
    for _ in range(LOOPED):
        weights = rng.dirichlet(np.ones(2))
        means, scales = rng.normal(400, 50, 2), rng.gamma(2, 1, 2)
        total = 0.0
        for x in data:
            z = rng.choice(2, p=weights)
            total += -0.5 * ((x - means[z]) / scales[z]) ** 2 - np.log(
                scales[z] * np.sqrt(2 * np.pi)
            )
        log_weights.append(total)
    return np.array(log_weights)


def main() -> None:
    """Print seconds, and the ratio to the hand-written weight."""
    header("genjax")
    keys = jax.random.split(jax.random.key(0), PARTICLES)
    sites = through(models.bayesian_mixture(PRIOR, n_components=2, n=len(BENTOS)))
    marginal = through(models.marginal_bayesian_mixture(PRIOR, n_components=2, n=len(BENTOS)))
    seconds = paired(
        {
            "GenJAX sites, assignments sampled": lambda: sites(keys),
            "GenJAX, assignments summed out": lambda: marginal(keys),
            "hand-written, assignments summed out": lambda: by_hand(keys),
            "Python loop": looped,
        },
        rounds=5,
    )
    seconds["Python loop"] *= PARTICLES / LOOPED
    for name, value in seconds.items():
        ratio = value / seconds["hand-written, assignments summed out"]
        print(f"{name:<40} {value * 1e3:10.1f} ms   {ratio:9.2f} x hand-written")


if __name__ == "__main__":
    main()
