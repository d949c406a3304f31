"""Nets for texts (B, T), the numbers of words: Kim's convolutions over their vectors."""

from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from cnnjax.annotations import AtLeastOne, NonNegative, Rate
from cnnjax.fields import Facts
from cnnjax.layers import Activation, Dropout, Initializer, Style, initializer
from cnnjax.models._network import Network

__all__ = ["textcnn"]

_REACH = 0.25  # of the numbers of a word's vector at first, about the deviation of word2vec's


def textcnn(
    facts: Facts,
    *,
    outputs: int,
    windows: tuple[AtLeastOne, ...] = (3, 4, 5),
    width: AtLeastOne = 100,
    size: AtLeastOne = 128,
    tables: Literal[1, 2] = 1,
    scale: NonNegative = 1.0,
    dropout: Rate = 0.5,
    max_norm: NonNegative = 3.0,
    activation: Activation = "relu",
    init: Initializer = "he_normal",
) -> nn.Module:
    """Convolutions of `width` features for each of `windows` over vectors of words, the greatest of each (Kim 2014).

    A window may begin before the text and end behind it; how far the text is filled up changes nothing. The weights of
    an output have a norm of `max_norm` at most (0: any), by what they are multiplied with. Vectors, of `size` numbers,
    are drawn, or come from a file, `train.init=vectors.safetensors`; `optimizer.freeze=("words",)` keeps them as they
    are. Those of a file may be larger than the drawn ones, 0.14 in deviation: `scale` multiplies all. Of two `tables`,
    which are read side by side, `optimizer.freeze=("fixed",)` keeps the second.
    """
    words = len(facts.extra.get("words", ()))
    if facts.input != "tokens" or not words:
        raise ValueError(f"textcnn reads tokens whose words are known; the data are {facts.input} without words")
    return TextCNN(
        outputs, words, windows, width, size, tables, scale, dropout, max_norm, Style("none", activation, init)
    )


class TextCNN(Network):
    """The map is that of the words' vectors."""

    outputs: int
    words: int
    windows: tuple[int, ...]
    width: int
    size: int
    tables: int
    scale: float
    dropout: float
    max_norm: float
    style: Style

    @property
    def strides(self):
        return (1,)

    def setup(self):
        self.table = Vectors(self.words, self.size, name="words")
        if self.tables == 2:
            self.fixed = Vectors(self.words, self.size)
        for window in dict.fromkeys(self.windows):
            conv = self.style.conv(self.width, window, padding=window - 1)
            setattr(self, f"window{window}", conv)
        self.noise = Dropout(self.dropout)
        if self.outputs:
            self.head = Bounded(self.outputs, self.max_norm)

    def features(self, x, train=False):
        vectors = self.table(x)
        vectors = jnp.concatenate([vectors, self.fixed(x)], -1) if self.tables == 2 else vectors
        return {"words": vectors * jnp.asarray(self.scale, vectors.dtype)}

    def __call__(self, x, train=False):
        vectors, found = self.features(x)["words"], []
        length = jnp.max(jnp.where(x > 0, jnp.arange(1, x.shape[1] + 1), 0), -1)
        for window in dict.fromkeys(self.windows):
            y = self.style.activate(getattr(self, f"window{window}")(vectors))
            touched = jnp.arange(y.shape[1]) < length[:, None] + window - 1
            found.append(jnp.max(jnp.where(touched[..., None], y, -jnp.inf), 1))
        y = jnp.concatenate(found, -1)
        return self.head(self.noise(y, train)) if self.outputs else y


class Vectors(nn.Module):
    """A vector for each of so many words, in the rows of `vectors`; 0, which fills up, has none."""

    words: int
    size: int

    @nn.compact
    def __call__(self, x):
        def uniform(key, shape, dtype):
            return jax.random.uniform(key, shape, dtype, -_REACH, _REACH)

        table = self.param("vectors", uniform, (self.words, self.size), jnp.float32)
        return table[x] * (x > 0)[..., None]


class Bounded(nn.Module):
    """A linear layer whose columns, the weights of an output, are scaled down to a norm of `most`; 0 leaves them.

    Scaled where they are used, not where they are kept: an optimizer's step may be scaled by a schedule, and weights
    that are cut back after it would not be exactly where it took them.
    """

    outputs: int
    most: float
    init: Initializer = "lecun_normal"

    @nn.compact
    def __call__(self, x):
        kernel = self.param("kernel", initializer(self.init), (x.shape[-1], self.outputs), jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (self.outputs,), jnp.float32)
        square = jnp.maximum(jnp.sum(kernel * kernel, 0), 1e-12)
        share = jnp.where(self.most > 0, jnp.minimum(1.0, self.most * jax.lax.rsqrt(square)), 1.0)
        return x @ (kernel * share).astype(x.dtype) + bias.astype(x.dtype)
