"""What a net draws from a few numbers: pictures from noise, and along the plane of two of the numbers."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.stats import norm

from cnnjax.annotations import AtLeastOne
from cnnjax.ops import compiler_options
from cnnjax.refusals import ConfigError
from cnnjax.train.trained import Trained

__all__ = ["latent_plane", "latent_samples"]

_EDGE = 0.02  # the share of the prior that is left out at either side of a plane


def latent_samples(key: jax.Array, trained: Trained, count: AtLeastOne = 64) -> np.ndarray:
    """Pictures (N, H, W, C) in [0, 1] that a net draws from noise: a variational autoencoder from its prior, a gan."""
    return _decoded(trained, jax.random.normal(key, (count, _latent(trained))))


def latent_plane(
    trained: Trained, *, across: AtLeastOne = 15, axes: tuple[int, int] = (0, 1), middle: np.ndarray | tuple = ()
) -> np.ndarray:
    """Pictures (n, n, H, W, C) in [0, 1] of a walk along two of the numbers, by rows and columns, it is drawn from.

    They go through the prior in equal shares, from 2 % of it to 98 %; the other numbers are those of `middle` (N,), or
    0. `axes` say which two: those that the net tells most by have the greatest divergence.
    """
    latent = _latent(trained)
    if len(set(axes)) != 2 or not all(0 <= axis < latent for axis in axes):
        raise ValueError(f"axes are {axes}; they must be two numbers from 0 to {latent - 1}")
    steps = norm.ppf(jnp.linspace(_EDGE, 1 - _EDGE, across))
    codes = jnp.broadcast_to(jnp.asarray(middle, jnp.float32) if len(middle) else 0.0, (across, across, latent))
    codes = codes.at[..., axes[0]].set(steps[::-1, None]).at[..., axes[1]].set(steps)
    pictures = _decoded(trained, codes.reshape(-1, latent))
    return pictures.reshape(across, across, *pictures.shape[1:])


def _latent(trained: Trained) -> int:
    """How many numbers a picture is drawn from."""
    if hasattr(trained.net, "generator") and hasattr(trained.net, "latent"):
        return trained.net.latent
    if not (hasattr(trained.net, "encode") and hasattr(trained.net, "decode")):
        raise ConfigError(
            f"model.name is {trained.config['model']['name']!r}, which has neither the encode and decode of vae nor "
            "the generator of dcgan"
        )
    image = jax.ShapeDtypeStruct((1, *trained.prepared.program.seen.shape), jnp.float32)
    code: Any = jax.eval_shape(lambda v, x: trained.net.apply(v, x, method="encode"), trained.variables, image)
    return code.shape[-1]


def _decoded(trained: Trained, codes: jax.Array) -> np.ndarray:
    """Pictures (N, H, W, C) of codes (N, K)."""

    method = "decode" if hasattr(trained.net, "decode") else "generator"

    def draw(variables, codes):
        outputs = trained.net.apply(variables, codes, method=method)
        return trained.task.predict({"main": outputs} if method == "decode" else outputs, {})["image"]

    compiled = jax.jit(draw, compiler_options=compiler_options(jax.default_backend()))
    return np.asarray(compiled(trained.variables, codes))
