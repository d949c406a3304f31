import importlib
import inspect

import flax.linen as nn

from cnnjax.ops.shapes import choice

__all__ = ["backbone_net"]


def backbone_net(backbone) -> nn.Module | None:
    """The net that a name or a module stands for, without its head; None for an empty name.

    A config's section arrives as a module already: `cnnjax.config.call` builds nested entries first.
    """
    if isinstance(backbone, nn.Module):
        return backbone
    if not backbone:
        return None
    where, _, function = backbone.rpartition(":")
    room = importlib.import_module(where or "cnnjax.models")
    choice("backbone", function, [name for name, value in vars(room).items() if inspect.isfunction(value)])
    return getattr(room, function)(outputs=0)
