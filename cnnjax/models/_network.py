"""The form of every net: a backbone of named maps and a head."""

import flax.linen as nn

from cnnjax.layers import Dense, Dropout, global_pooling

__all__ = ["Head", "Network"]


class Head(nn.Module):
    """Global pooling, dropout and the output layer: maps (B, *sizes, C) to outputs (B, K), or to (B, C) where K = 0."""

    outputs: int
    dropout: float = 0.0
    kernel_init: str = "lecun_normal"
    bias_init: str = "zeros"
    pool: str = "avg"

    @nn.compact
    def __call__(self, x, train=False):
        x = global_pooling(self.pool)(x)
        if not self.outputs:
            return x
        x = Dropout(self.dropout, name="dropout")(x, train)
        return Dense(self.outputs, kernel_init=self.kernel_init, bias_init=self.bias_init, name="output")(x)


class Network(nn.Module):
    """A net with `features(x, train)`: named maps, finest to coarsest, whose total strides are `strides`."""

    def __post_init__(self):
        for name, least in (("outputs", 0), ("width", 1), ("blocks", 1)):
            value = getattr(self, name, least)
            sizes = value if isinstance(value, tuple) else (value,)
            if not sizes or not all(hasattr(size, "__index__") and size >= least for size in sizes):
                kind = "whole numbers" if name == "blocks" else "a whole number"
                raise ValueError(f"{name} is {value!r}; it must be {kind} from {least} on")
        super().__post_init__()

    @property
    def strides(self) -> tuple[int, ...]:
        """Total stride of every map of `features`, in its order."""
        raise NotImplementedError

    def features(self, x, train=False):
        raise NotImplementedError

    def __call__(self, x, train=False):
        raise NotImplementedError
