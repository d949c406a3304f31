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
    Blocks that would run as one loop (modules whose call has an option `loop`) run one by one where any of them has
    such a layer: in a loop they can't be told apart.
    """
    if not program.plan.freeze:
        return contextlib.nullcontext()
    held, loops = {}, []  # loops: those that are running now; nothing in them is frozen
    for path, _ in jax.tree_util.tree_leaves_with_path(params):
        name = path_name(path)
        place = name.rpartition("/")[0]
        held[place] = held.get(place, True) and program.frozen(name)

    def still_kept(layer):
        return held.get(layer, program.frozen(layer))

    def evaluated(call, arguments, options, context):
        if loops or context.method_name != "__call__":
            return call(*arguments, **options)
        module, place, taken = context.module, "/".join(context.module.path), inspect.signature(call).parameters
        stats = module.variables.get("batch_stats", {})
        if "loop" in taken and not any(map(still_kept, _below(stats, place))):
            with _noted(loops, place):
                return call(*arguments, **options)
        keeps = any(not isinstance(value, Mapping) for value in stats.values())
        if keeps and place not in held and "params" in module.variables:
            raise ConfigError(
                f"optimizer.freeze can't tell which parameters {type(module).__name__} {place!r} has: the network runs "
                "it apart, in a loop perhaps; turn that off in the network"
            )
        changes = {"loop": False} if "loop" in taken else {}
        changes |= {"train": False} if keeps and still_kept(place) and "train" in taken else {}
        given = inspect.signature(call).bind(*arguments, **options)
        given.arguments.update(changes)
        return call(*given.args, **given.kwargs)

    return nn.intercept_methods(evaluated)


def _below(stats: Mapping, place: str) -> set[str]:
    """Paths of the layers at a place and below that keep statistics."""
    leaves = jax.tree_util.tree_leaves_with_path(stats)
    return {"/".join(filter(None, (place, path_name(path).rpartition("/")[0]))) for path, _ in leaves}


@contextlib.contextmanager
def _noted(places: list[str], place: str):
    places.append(place)
    try:
        yield
    finally:
        places.pop()
