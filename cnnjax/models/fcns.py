"""FCN (Long 2015): the maps of any backbone, each scored on its own, added up from coarse to fine."""

from typing import Annotated

import flax.linen as nn

from cnnjax import ops
from cnnjax.annotations import AtLeastOne, Rate
from cnnjax.layers import Conv, Dropout
from cnnjax.models._backbones import backbone_net
from cnnjax.models._network import Network
from cnnjax.refusals import refuse_misfits

__all__ = ["fcn"]


def fcn(
    *,
    outputs: int,
    backbone: Annotated[str, "models"] = "resnet18",
    finest: AtLeastOne = 8,
    dropout: Rate = 0.0,
) -> nn.Module:
    """A map (B, H, W, K) of logits from the maps of a backbone: FCN-8s with `finest` 8, FCN-32s with 32.

    A 1×1 convolution scores every map whose stride is `finest` or more; the coarsest is brought to the size of the next
    and added to it, and the sum to the input's, bilinearly throughout. Dropout stands before the coarsest score.
    """
    refuse_misfits(fcn, locals())
    net = backbone_net(backbone)
    named = backbone if isinstance(backbone, str) else type(backbone).__name__
    if net is None or 0 in net.strides or not net.strides:
        raise ValueError(f"backbone is {named!r}; give a net whose features lie in the image plane, such as resnet18")
    if max(net.strides) < finest:
        raise ValueError(f"finest is {finest}; the coarsest map of {named} has a stride of {max(net.strides)}")
    return FCN(outputs, net, finest, dropout)


class FCN(Network):
    """A backbone, and a score for each of its coarser maps."""

    outputs: int
    backbone: nn.Module
    finest: int
    dropout: float

    @property
    def strides(self):
        return self.backbone.strides

    def setup(self):
        for place in self._scored() if self.outputs else ():
            setattr(self, f"score{place}", Conv(self.outputs, 1, kernel_init="lecun_normal"))
        self.last_dropout = Dropout(self.dropout)

    def _scored(self):
        """The places of the maps that are scored, coarsest first."""
        return [place for place in reversed(range(len(self.strides))) if self.strides[place] >= self.finest]

    def features(self, x, train=False):
        return self.backbone.features(x, train)

    def __call__(self, x, train=False):
        maps = list(self.features(x, train).values())
        if not self.outputs:
            return ops.global_pool(maps[-1], "avg")
        maps[-1], total = self.last_dropout(maps[-1], train), 0
        for place in self._scored():
            scores = getattr(self, f"score{place}")(maps[place])
            total = scores + (0 if isinstance(total, int) else ops.resize(total, scores.shape[1:-1]))
        return ops.resize(total, x.shape[1:-1])
