import difflib
import importlib
import inspect

import flax.linen as nn

from cnnjax.models._network import Head, Network

__all__ = ["OnBackbone", "backbone_net", "backbone_with_maps"]


def backbone_net(backbone, outputs: int = 0, *, option: str = "backbone") -> nn.Module | None:
    """The net that a name or a module stands for, without its head or with so many outputs; None for an empty name.

    A config's section arrives as a module already: `cnnjax.config.call` builds nested entries first.
    """
    if isinstance(backbone, nn.Module):
        return backbone
    if not backbone:
        return None
    if not isinstance(backbone, str):
        raise ValueError(f"{option} is {backbone!r}; it must be the name of a net, or a net")
    where, _, function = backbone.rpartition(":")
    try:
        room = importlib.import_module(where or "cnnjax.models")
    except (ModuleNotFoundError, TypeError) as error:
        raise ValueError(f"{option} is {backbone!r}; {error}") from error
    known = [name for name, value in vars(room).items() if inspect.isfunction(value)]
    if function not in known:  # the whole list would be a page
        near = difflib.get_close_matches(function, known, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"{option} is {backbone!r}; it must be a net of cnnjax.models or module:function{hint}")
    entry = getattr(room, function)
    if "facts" in inspect.signature(entry).parameters:
        raise ValueError(f"{option} is {backbone!r}, which asks for the facts of the data; give the net that it makes")
    return entry(outputs=outputs)


def backbone_with_maps(backbone, asking: str) -> nn.Module:
    """The net that a name or a module stands for, without its head; refuses one that gives no maps."""
    net = backbone_net(backbone)
    if net is None or not hasattr(net, "features"):
        raise ValueError(f"backbone is {backbone!r}; {asking} needs a net with features(x, train)")
    return net


class OnBackbone(Network):
    """A head on the last of a backbone's maps; `features` says how the backbone is made to see the input."""

    outputs: int
    backbone: nn.Module
    dropout: float

    @property
    def strides(self):
        return tuple(self.backbone.strides)

    def setup(self):
        self.head = Head(self.outputs, self.dropout)

    def __call__(self, x, train=False):
        return self.head(list(self.features(x, train).values())[-1], train)
