"""Weighted draws from any generative function, given some of its choices."""

from typing import Any

import jax
import jax.numpy as jnp
from genjax import GFI, seed
from jax import Array
from jax.tree_util import Partial
from jaxtyping import Float

from gmm_jax.models.checked import AddressError, Checked, checked, conform, finite, listed, paths


def importance_target(
    model: GFI,
    args: tuple,
    constraints: dict[str, Any],
    proposal: GFI | None = None,
    proposal_args: tuple = (),
) -> Partial:
    """Make a pure function that draws the choices left open, and weighs them.

    With `constraints` y and the other choices x, a draw is x ~ q with log weight
    log p(x, y) - log q(x), so that the mean of exp(log weight) is the evidence p(y). q is the
    model's own prior unless a proposal is given; what the proposal leaves out comes from the prior,
    given what it proposes.

    Args:
        model: Any generative function; checks as in `checked` are put around it.
        args: The model's arguments.
        constraints: Known choices by address, `{"obs": {"x": data}}`.
        proposal: A generative function whose choices have addresses of the model.
        proposal_args: Its arguments.

    Returns:
        `draw(key) -> (choices, log_weight)`, a pytree itself: pass it to a jitted function as an
        argument, and new data of the same shape need no new compilation. Particles are
        `jax.vmap(draw)(jax.random.split(key, n))`. `choices` has all but the constrained ones.

    Raises:
        AddressError: a constraint, or a choice of the proposal, has an address that the model does
            not have; or the proposal proposes what is constrained.
        ValueError: a value of the wrong shape, NaN or infinite; a log density that is not one
            number.
        TypeError: `model` is not a generative function with addresses.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from genjax import gen, normal
        >>> from gmm_jax.models import importance_target
        >>> @gen
        ... def weighing():
        ...     mean = normal(0.0, 1.0) @ "mean"
        ...     return normal(mean, 1.0) @ "x"
        >>> @gen
        ... def proposal(mean):
        ...     normal(mean, 0.8) @ "mean"
        >>> draw = importance_target(weighing, (), {"x": 1.0}, proposal, (0.5,))
        >>> choices, log_weights = jax.vmap(draw)(jax.random.split(jax.random.key(0), 10_000))
        >>> round(float(jax.nn.logsumexp(log_weights) - jnp.log(10_000)), 2)
        -1.52
    """
    model, proposal = checked(model), None if proposal is None else checked(proposal)
    expected = model.expected(*args)
    if not isinstance(expected, dict):
        raise TypeError("the model has no addresses: write one with @gen that has this site.")
    constraints = finite(conform(constraints, expected))
    if proposal is not None:
        _check_proposal(proposal.expected(*proposal_args), expected, constraints)
    draw = Partial(_draw, model, args, constraints, proposal, proposal_args)
    jax.eval_shape(draw, jax.random.key(0))
    return draw


def _draw(
    model: Checked,
    args: tuple,
    constraints: dict[str, Any],
    proposal: Checked | None,
    proposal_args: tuple,
    key: Array,
) -> tuple[dict[str, Any], Float[Array, ""]]:
    given, log_proposal = constraints, jnp.zeros(())
    if proposal is not None:
        key, proposal_key = jax.random.split(key)
        proposed = seed(lambda: proposal.simulate(*proposal_args))(proposal_key)
        given = _joined(constraints, proposed.get_choices())
        log_proposal = -proposed.get_score()
    trace, log_weight = seed(lambda: model.generate(given, *args))(key)
    return _without(trace.get_choices(), constraints), jnp.asarray(log_weight - log_proposal)


def _check_proposal(proposed: Any, expected: Any, constraints: dict[str, Any]) -> None:
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), proposed)
    try:
        conform(zeros, expected)
    except ValueError as error:
        raise type(error)(f"the proposal does not fit the model: {error}") from error
    constrained = set(paths(constraints))
    twice = [path for path in paths(proposed) if path in constrained]
    if twice:
        raise AddressError(f"the proposal proposes what is constrained: {listed(twice)}.")


def _joined(a: Any, b: Any) -> Any:
    """Both sets of choices; they have no address in common."""
    both = {address: _joined(a[address], b[address]) for address in a if address in b}
    return {**a, **b, **both}


def _without(choices: Any, constraints: Any) -> Any:
    """The choices that are not constrained."""
    left = {}
    for address, value in choices.items():
        if address not in constraints:
            left[address] = value
        elif isinstance(value, dict) and (inner := _without(value, constraints[address])):
            left[address] = inner
    return left
