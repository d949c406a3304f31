"""What `optimizer.freeze` means beside a zero update: no gradient is computed, and statistics stay as they are."""

import contextlib
import inspect
from collections.abc import Mapping

import jax
from flax import linen as nn

from cnnjax.config import ConfigError
from cnnjax.train.program import Program, path_name


def still(program: Program, params: Mapping) -> dict:
    """The parameters, with no gradient to those that are frozen: not for clipping, and not computed in vain."""
    if not program.plan.freeze:
        return params
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: jax.lax.stop_gradient(leaf) if program.frozen(path_name(path)) else leaf, params
    )


def frozen_statistics(program: Program, params: Mapping) -> contextlib.AbstractContextManager:
    """Inside, layers with statistics whose own parameters are all frozen run as in evaluation, and keep them.

    Only these: dropout in a frozen part still drops, as it does in PyTorch when a part has `requires_grad` off.
    """
    if not program.plan.freeze:
        return contextlib.nullcontext()
    held = {}
    for path, _ in jax.tree_util.tree_leaves_with_path(params):
        name = path_name(path)
        place = name.rpartition("/")[0]
        held[place] = held.get(place, True) and program.frozen(name)

    def evaluated(call, arguments, options, context):
        place = "/".join(context.module.path)
        own = context.module.variables.get("batch_stats", {}) if context.method_name == "__call__" else {}
        keeps = any(not isinstance(value, Mapping) for value in own.values())
        if keeps and place not in held and "params" in context.module.variables:
            raise ConfigError("optimizer.freeze can't tell apart blocks that run as one loop; set model.stack=false")
        if not keeps or not held.get(place, program.frozen(place)):
            return call(*arguments, **options)
        given = inspect.signature(call).bind(*arguments, **options)
        if "train" in inspect.signature(call).parameters:
            given.arguments["train"] = False
        return call(*given.args, **given.kwargs)

    return nn.intercept_methods(evaluated)
