"""Whether a network looks tokens up in a table that has a row for each of them; found in its traced equations."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from flax import linen as nn

from cnnjax import _versions
from cnnjax.config import ConfigError, mode
from cnnjax.data.source import Source

# through these a token stays a token; where one is bounded or changed on purpose (a hash, say) nothing is said
_CARRIED = ("convert_element_type", "broadcast_in_dim", "reshape", "squeeze", "expand_dims", "transpose", "slice")
_CARRIED += ("copy", "rev", "select_n", "concatenate", "pad", "dynamic_slice")


def check_tables(model: Mapping, net: nn.Module, variables: Mapping, source: Source) -> None:
    """Refuses a network whose tables have fewer rows than the data have tokens: a gather would be silent about them."""
    words = len(source.facts.extra.get("words", ()))
    in_memory = (split.arrays["tokens"] for split in (source.train, source.eval, source.test) if split.resident)
    used = max((int(np.max(values, initial=0)) + 1 for values in in_memory), default=0)
    shape, dtype = source.facts.fields["tokens"]

    def call(variables, x):
        return net.apply(variables, x, rngs={"noise": jax.random.key(0)}, **mode(net, False))

    jaxpr = jax.make_jaxpr(call)(variables, jax.ShapeDtypeStruct((1, *shape), dtype)).jaxpr
    tables: list[int] = []
    _follow(jaxpr, {len(jaxpr.invars) - 1}, tables)
    if tables and min(tables) < max(words, used):
        what = f"the data have {words:,} words" if words >= used else f"tokens of the data go to {used - 1:,}"
        raise ConfigError(
            f"model.name is {model['name']!r}; a table of it has {min(tables):,} rows, but {what}\n"
            "a model whose function begins with facts is told: len(facts.extra['words'])"
        )


def _follow(jaxpr: Any, places: set[int], tables: list[int]) -> bool:
    """Whether what comes out may be the tokens that the arguments at these places are; notes tables read at them."""
    carried = {jaxpr.invars[place] for place in places}

    def among(value) -> bool:
        return not hasattr(value, "val") and value in carried  # what has a `val` is a constant

    for equation in jaxpr.eqns:
        inputs = {i for i, value in enumerate(equation.invars) if among(value)}
        inner = [part for part, _ in _versions.inner_jaxprs(equation)] if inputs else []
        passes = bool(inputs) and equation.primitive.name in _CARRIED
        if equation.primitive.name == "gather" and 1 in inputs:
            at = equation.params["dimension_numbers"].start_index_map
            tables += [equation.invars[0].aval.shape[axis] for axis in at]
        elif len(inner) == 1 and len(inner[0].invars) == len(equation.invars):
            passes = _follow(inner[0], inputs, tables)
        carried |= set(equation.outvars) if passes else set()
    return any(among(value) for value in jaxpr.outvars)
