"""The smallest net that has everything whose numbers could depend on how a batch is spread, or be lost on the way."""

import flax.linen as nn

from cnnjax.layers import BatchNorm, Conv, Dense, Dropout
from cnnjax.ops import avg_pool


def small(*, outputs: int, width: int = 4, norm_group: int = 0, dropout: float = 0.3) -> nn.Module:
    """A convolution, batch normalisation, dropout and a dense layer."""
    return Small(outputs, width, norm_group, dropout)


class Small(nn.Module):
    outputs: int
    width: int
    norm_group: int
    dropout: float

    @nn.compact
    def __call__(self, x, train=False):
        x = Conv(self.width, 3, 2, name="conv")(x)
        x = nn.relu(BatchNorm(group=self.norm_group, name="norm")(x, train))
        x = Dropout(self.dropout)(avg_pool(x, 4), train)
        return Dense(self.outputs, name="head")(x.reshape(x.shape[0], -1))
