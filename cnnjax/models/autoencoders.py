"""Nets that draw their input anew from a few numbers."""

import math
from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from cnnjax.annotations import AtLeastOne, Count, Rate
from cnnjax.fields import Facts
from cnnjax.layers import Activation, Conv, ConvTranspose, Initializer, Norm, Style
from cnnjax.models._network import Network
from cnnjax.refusals import refuse_misfits

__all__ = ["vae"]


def vae(
    facts: Facts,
    *,
    outputs: int,
    latent: AtLeastOne = 16,
    width: AtLeastOne = 32,
    depth: AtLeastOne = 2,
    norm: Norm = "none",
    norm_group: Count = 0,
    momentum: Rate = 0.9,
    activation: Activation = "relu",
    init: Initializer = "he_normal",
) -> nn.Module:
    """A variational autoencoder of pictures (Kingma 2014) of convolutions alone; `latent` numbers stand for a picture.

    `encode(x)` gives means and log variances (B, 2, N), `decode(z)` pictures (B, H, W, K) of z (B, N). Called on
    pictures, the net gives {"main": what the means are drawn as, "mean", "spread": log variances (B, N)}. It halves the
    picture `depth` times, from `width` features on to twice as many each time. First weights: He's normal.
    """
    refuse_misfits(vae, {name: value for name, value in locals().items() if name != "facts"})
    if len(facts.shape) != 3:
        raise ValueError(f"vae reads pictures (height, width, channels); these data are {facts.input} {facts.shape}")
    style = Style(norm=norm, act=activation, init=init, group=norm_group, groups=8, momentum=momentum)
    widths, size = tuple(width * 2**i for i in range(depth)), tuple(facts.shape[:2])
    coarse = tuple(math.ceil(side / 2**depth) for side in size)
    return VAE(Encoder(latent, widths, coarse, style), Decoder(outputs, widths, coarse, size, style), depth)


class Encoder(nn.Module):
    """Means and log variances (B, 2, N) of pictures; named maps by `maps=True`."""

    latent: int
    widths: Sequence[int]
    coarse: Sequence[int]
    style: Style

    @nn.compact
    def __call__(self, x, train=False, maps=False):
        style, found = self.style, {}
        for i, width in enumerate(self.widths, 1):
            x = style.conv(width, 3, stride=2, padding=1, bias=True, name=f"down{i}")(x)
            x = found[f"down{i}"] = style.activate(style.normalize(f"norm{i}")(x, train))
        if maps:
            return found
        if x.shape[1:3] != tuple(self.coarse):
            sides = " × ".join(str(side) for side in x.shape[1:3])
            raise ValueError(
                f"this net is made for pictures of one size; these give maps of {sides}, not {self.coarse}"
            )
        code = Conv(2 * self.latent, tuple(self.coarse), kernel_init="lecun_normal", name="code")(x)
        return code.reshape(x.shape[0], 2, self.latent)


class Decoder(nn.Module):
    """Pictures (B, H, W, K) of numbers (B, N); the last maps where K is 0."""

    outputs: int
    widths: Sequence[int]
    coarse: Sequence[int]
    size: Sequence[int]
    style: Style

    @nn.compact
    def __call__(self, z, train=False):
        style, init = self.style, self.style.init
        x = z[:, None, None]
        x = ConvTranspose(self.widths[-1], tuple(self.coarse), 1, kernel_init=init, name="spread")(x)
        x = style.activate(style.normalize("norm0")(x, train))
        for i, width in enumerate((*self.widths[-2::-1], max(self.widths[0] // 2, 1)), 1):
            x = ConvTranspose(width, 4, 2, padding=1, kernel_init=init, name=f"up{i}")(x)
            x = style.activate(style.normalize(f"norm{i}")(x, train))
        x = x[:, : self.size[0], : self.size[1]]
        head = Conv(self.outputs, 3, padding=1, kernel_init="lecun_normal", name="output") if self.outputs else None
        return head(x) if head else x


class VAE(Network):
    """An encoder and a decoder."""

    encoder: nn.Module
    decoder: nn.Module
    depth: int

    @property
    def strides(self):
        return tuple(2**i for i in range(1, self.depth + 1))

    def encode(self, x: jax.Array, train: bool = False) -> jax.Array:
        """Means and log variances (B, 2, N) of pictures (B, H, W, C)."""
        return self.encoder(x, train)

    def decode(self, z: jax.Array, train: bool = False) -> jax.Array:
        """Pictures (B, H, W, K) of numbers (B, N)."""
        return self.decoder(z, train)

    def features(self, x, train=False):
        return self.encoder(x, train, maps=True)

    def __call__(self, x, train=False):
        mean, spread = jnp.moveaxis(self.encode(x, train), 1, 0)
        return {"main": self.decode(mean, train), "mean": mean, "spread": spread}
