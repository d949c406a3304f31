"""Generative adversarial nets: one module whose two halves are the top-level parameter groups of its names."""

import flax.linen as nn
import jax.numpy as jnp

from cnnjax import ops
from cnnjax.annotations import AtLeastOne, Count, Rate
from cnnjax.layers import Activation, Conv, ConvTranspose, Dense, Initializer, Norm, Style
from cnnjax.models._network import Network, whole

__all__ = ["dcgan"]


def dcgan(
    *,
    outputs: int,
    width: AtLeastOne = 32,
    latent: AtLeastOne = 64,
    size: AtLeastOne = 28,
    channels: AtLeastOne = 1,
    hidden: Count = 0,
    norm: Norm = "group",
    critic_norm: Norm = "none",
    spectral: bool = False,
    norm_group: Count = 0,
    momentum: Rate = 0.9,
    activation: Activation = "relu",
    critic_activation: Activation = "leaky_relu",
    init: Initializer = "normal_002",
) -> nn.Module:
    """DCGAN (Radford 2016) for square images in [−1, 1]: `generator(z)` makes them, `discriminator(x)` scores them.

    The generator starts at a quarter of `size` and doubles twice. Called on images, the net gives {"main": scores
    (B, K), "generated": images made from a zero z}, so that `init` makes the parameters of both halves. Under batch
    normalisation real and made images are best scored in calls of their own, as in the paper. `hidden` is the width of
    a layer in each half that has the whole image in view, as in InfoGAN (Chen 2016): without it the critic's score is a
    sum over places. `spectral` divides each kernel of the critic by its largest singular value (Miyato 2018). First
    weights: normal with deviation 0.02.
    """
    whole("outputs", outputs, 0)
    whole("width", width)
    whole("channels", channels)
    if whole("size", size, 4) % 4:
        raise ValueError(f"size is {size}; the generator doubles twice, so it must be a multiple of 4")
    made = Style(norm=norm, act=activation, init=init, group=norm_group, groups=8, momentum=momentum)
    judged = Style(norm=critic_norm, act=critic_activation, init=init, group=norm_group, groups=8, momentum=momentum)
    critic = Discriminator(outputs, width, judged, spectral, hidden)
    return GAN(Generator(width, size, channels, made, hidden), critic, latent)


class Generator(nn.Module):
    """Images (B, size, size, channels) in [−1, 1] from z (B, N)."""

    width: int
    size: int
    channels: int
    style: Style
    hidden: int = 0

    @nn.compact
    def __call__(self, z, train=False):
        style, start = self.style, self.size // 4
        if self.hidden:
            z = Dense(self.hidden, kernel_init=style.init, name="hidden")(z)
            z = style.activate(style.normalize("norm_hidden")(z, train))
        x = Dense(start * start * 2 * self.width, kernel_init=style.init, name="dense")(z)
        x = x.reshape(z.shape[0], start, start, 2 * self.width)
        x = style.activate(style.normalize("norm0")(x, train))
        x = ConvTranspose(self.width, 4, 2, padding=1, kernel_init=style.init, name="up1")(x)
        x = style.activate(style.normalize("norm1")(x, train))
        x = ConvTranspose(self.channels, 4, 2, padding=1, kernel_init=style.init, name="up2")(x)
        return jnp.tanh(x)


class Discriminator(nn.Module):
    """Scores (B, K) of images, one logit unless said: large for real ones; named maps by `maps=True`."""

    outputs: int
    width: int
    style: Style
    spectral: bool = False
    hidden: int = 0

    @nn.compact
    def __call__(self, x, train=False, maps=False):
        style, one = self.style, {"kernel_init": self.style.init, "spectral": self.spectral}
        a = style.activate(Conv(self.width, 4, 2, 1, **one, name="conv1")(x))
        b = Conv(2 * self.width, 4, 2, 1, **one, name="conv2")(a)
        b = style.activate(style.normalize("norm2")(b, train))
        if maps:
            return {"conv1": a, "conv2": b}
        flat = ops.flat(b)
        if self.hidden:
            flat = Dense(self.hidden, **one, name="hidden")(flat)
            flat = style.activate(style.normalize("norm_hidden")(flat, train))
        return Dense(self.outputs, **one, name="output")(flat) if self.outputs else flat


class GAN(Network):
    """A generator and a discriminator."""

    generator: nn.Module
    discriminator: nn.Module
    latent: int

    @property
    def strides(self):
        return (2, 4)

    def features(self, x, train=False):
        return self.discriminator(x, train, maps=True)

    def __call__(self, x, train=False):
        z = jnp.zeros((x.shape[0], self.latent), x.dtype)
        return {"main": self.discriminator(x, train), "generated": self.generator(z, train)}
